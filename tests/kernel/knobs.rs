//! The table of what knobs do: what is set, what is done then, and how many frames are to come out of either bridge.

use super::{BROADCAST, HOSTS, Knobs, Step, station, text, usual};

/// A case: its name, its knobs, its steps, and how many frames are to come out of each bridge.
pub(super) type Case = (&'static str, Knobs, Vec<Step>, usize);

const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
const LLDP: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 0xe];

fn ports(ports: [&'static str; HOSTS]) -> Knobs {
    Knobs { ports, ..Knobs::default() }
}

fn bridge(bridge: &'static str) -> Knobs {
    Knobs { bridge, ..Knobs::default() }
}

fn fdb(words: &str, mac: [u8; 6]) -> Step {
    Step::Fdb(words.replace("MAC", &text(mac)))
}

/// Every case.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = flooding();
    cases.extend(ways());
    cases.extend(locked());
    cases.extend(bypass());
    cases.extend(states());
    cases.extend(reserved());
    cases.extend(entries());
    cases.extend(flushes());
    cases.push(bound());
    cases
}

/// A bridge that learns two stations: they move, the third waits until one of them is forgotten.
fn bound() -> Case {
    let [a, b, c] = [1, 2, 3].map(|n| station(19, n));
    let steps = vec![
        usual(0, BROADCAST, a),
        usual(1, BROADCAST, b),
        usual(2, BROADCAST, c),
        usual(0, c, a), // to all
        usual(0, b, a),
        usual(1, BROADCAST, a),
        usual(2, a, c),
        fdb("del MAC dev p1 master", a),
        usual(2, BROADCAST, c),
        usual(0, c, b),
    ];
    ("fdb_max_learned", bridge("fdb_max_learned 2"), steps, 2 + 2 + 2 + 2 + 1 + 2 + 1 + 2 + 1)
}

fn flooding() -> Vec<Case> {
    let [a, b, c] = [1, 2, 3].map(|n| station(1, n));
    // To nobody, to a group, to all; and to one who is known.
    let all =
        || vec![usual(0, b, a), usual(0, GROUP, a), usual(0, BROADCAST, a), usual(2, a, c), usual(0, c, a)];
    vec![
        ("learning off", ports(["learning off", "", ""]), vec![usual(0, BROADCAST, a), usual(1, a, b)], 4),
        ("flood off", ports(["", "", "flood off"]), all(), 1 + 2 + 2 + 1 + 1),
        ("mcast_flood off", ports(["", "", "mcast_flood off"]), all(), 2 + 1 + 2 + 1 + 1),
        ("bcast_flood off", ports(["", "", "bcast_flood off"]), all(), 2 + 2 + 1 + 1 + 1),
        ("nothing is flooded", ports(["flood off mcast_flood off bcast_flood off"; HOSTS]), all(), 2),
    ]
}

fn ways() -> Vec<Case> {
    let [a, b, c] = [1, 2, 3].map(|n| station(2, n));
    let steps = || {
        vec![
            usual(0, BROADCAST, a),
            usual(0, a, b), // to one behind the same port
            usual(0, c, a),
            usual(1, BROADCAST, b),
            usual(0, b, a),
            usual(2, b, c),
            usual(2, BROADCAST, c),
            usual(0, c, a),
        ]
    };
    vec![
        ("hairpin", ports(["hairpin on", "", ""]), steps(), 3 + 1 + 3 + 2 + 1 + 1 + 2 + 1),
        ("isolated", ports(["isolated on", "isolated on", ""]), steps(), 1 + 1 + 1 + 1 + 2 + 1),
        ("one isolated", ports(["isolated on", "", ""]), steps(), 2 + 2 + 2 + 1 + 1 + 2 + 1),
        (
            "isolated hairpin",
            ports(["isolated on hairpin on", "isolated on", ""]),
            steps(),
            1 + 1 + 1 + 1 + 2 + 1,
        ),
    ]
}

fn locked() -> Vec<Case> {
    let [a, b, c] = [1, 2, 3].map(|n| station(3, n));
    let steps = || {
        vec![
            usual(0, b, a), // nobody knows a
            usual(1, a, b),
            fdb("add MAC dev p0 master static", a),
            usual(0, b, a),
            usual(0, BROADCAST, a),
            usual(1, b, a), // a moves to where it may
            usual(0, b, a),
            fdb("replace MAC dev p0 master dynamic", a),
            usual(0, b, a),
            fdb("replace MAC dev p0 master permanent", a),
            usual(0, b, a),
            usual(0, LLDP, c), // link-local traffic is let in
            usual(0, b, c),
        ]
    };
    let learning = ports(["locked on", "", ""]);
    let not = ports(["locked on learning off", "", ""]);
    let passing = Knobs { bridge: "group_fwd_mask 0x4000", ..learning };
    vec![
        ("locked", learning, steps(), 2 + 1 + 2 + 1 + 1),
        ("locked, learning off", not, steps(), 2 + 1 + 2 + 1),
        ("locked, and LLDP passes", passing, steps(), 2 + 1 + 2 + 1),
    ]
}

/// Stations that a locked port gives locked entries, and what makes those entries others.
fn bypass() -> Vec<Case> {
    let [a, b, c] = [1, 2, 3].map(|n| station(20, n));
    let replaced = |mac, words: &str| {
        vec![
            usual(0, b, mac),
            usual(0, b, mac), // not by being known
            usual(1, mac, b), // but it is known
            fdb(&format!("replace MAC dev p0 {words}"), mac),
            usual(0, b, mac),
        ]
    };
    let of = |n| station(20, n);
    let one = [
        replaced(of(4), "master static"),
        replaced(of(5), "master dynamic"),
        replaced(of(6), "master extern_learn"),
        replaced(of(7), "master use"), // which sees it there, no more
        replaced(of(8), "master permanent"),
        vec![
            usual(0, b, c),
            usual(1, b, c), // it moves to where it may send
            usual(2, c, of(9)),
            usual(0, b, c), // and not back
            usual(2, c, of(9)),
            usual(0, b, a),
            fdb("del MAC dev p0 master", a),
            usual(1, a, b),
            usual(0, b, a),
            Step::Fdb("flush dev br0 nopermanent nostatic".into()),
            usual(1, a, b),
            usual(0, LLDP, of(10)), // link-local traffic teaches as ever
            usual(0, b, of(10)),
            usual(0, b, of(11)),
            usual(0, LLDP, of(11)), // but makes no locked entry another
            usual(0, b, of(11)),
        ],
    ];
    let two = vec![
        usual(0, c, a),
        usual(1, c, a), // not from one locked port to another
        usual(2, a, c),
        usual(0, c, a),
        fdb("replace MAC dev p1 master static", a),
        usual(0, c, a),
        usual(1, c, a),
        usual(2, a, c),
    ];
    let ageless = vec![usual(0, b, a), usual(1, a, b)];
    let locked = ["locked on mab on", "", ""];
    vec![
        ("mab", ports(locked), one.concat(), 15),
        ("mab on two ports", ports(["locked on mab on", "locked on mab on", ""]), two, 3),
        ("mab without ageing", Knobs { bridge: "ageing_time 0", ports: locked }, ageless, 2),
    ]
}

fn states() -> Vec<Case> {
    let [a, b, c] = [1, 2, 3].map(|n| station(4, n));
    let steps = || {
        vec![
            usual(0, BROADCAST, a),
            usual(2, a, c),         // is it let in?
            usual(2, BROADCAST, c), // and learned from?
            usual(0, c, a),
            fdb("add MAC dev p2 master static", b),
            usual(0, b, a),
            usual(1, b, c),
            usual(0, c, a),
            usual(2, LLDP, station(4, 4)),
            usual(0, station(4, 4), a),
        ]
    };
    vec![
        ("disabled", ports(["", "", "state 0"]), steps(), 1 + 1 + 1 + 1),
        ("listening", ports(["", "", "state 1"]), steps(), 1 + 1 + 1 + 1),
        ("learning", ports(["", "", "state 2"]), steps(), 1 + 1),
        ("forwarding", ports(["", "", "state 3"]), steps(), 2 + 1 + 2 + 1 + 1 + 1 + 1 + 1),
    ]
}

fn reserved() -> Vec<Case> {
    // Whether each is forwarded, and whether it taught where its source is.
    let all = |from: usize| -> Vec<Step> {
        let each = |last| {
            let teacher = station(5, last);
            [usual(from, [1, 0x80, 0xc2, 0, 0, last], teacher), usual(1 - from, teacher, station(6, 1))]
        };
        (0..16).flat_map(each).collect()
    };
    let lldp = [0, 1].into_iter().flat_map(all).collect::<Vec<_>>();
    vec![
        ("bridge mask", bridge("group_fwd_mask 0xfff8"), all(0), 14 * 2 + 15 + 2),
        ("port mask", ports(["group_fwd_mask 0xfffd", "", ""]), all(0), 15 * 2 + 15 + 2),
        (
            "both masks",
            Knobs { bridge: "group_fwd_mask 0x4000", ports: ["group_fwd_mask 4", "", ""] },
            lldp,
            44,
        ),
        ("no_linklocal_learn", bridge("no_linklocal_learn 1"), all(0), 33),
    ]
}

fn entries() -> Vec<Case> {
    let stations = |case: u8| [1, 2].map(|n| station(case, n));
    let steps = |case, words: &str| {
        let [a, b] = stations(case);
        vec![
            fdb(&format!("add MAC dev p1 master {words}"), b),
            usual(0, b, a),
            usual(2, a, b), // seen elsewhere
            usual(0, b, a),
            usual(1, b, a),
            fdb(&format!("replace MAC dev p1 master {words}"), b),
            usual(0, b, a),
        ]
    };
    let put = |case, words: &str, over: &str| {
        let [a, b] = stations(case);
        vec![
            fdb(&format!("add MAC dev p1 master {words}"), b),
            fdb(&format!("replace MAC dev p1 master {over}"), b),
            usual(2, a, b),
            usual(0, b, a),
        ]
    };
    vec![
        ("use without learning", ports(["", "learning off", ""]), steps(7, "use"), 5),
        ("use without ageing", bridge("ageing_time 0"), steps(7, "use"), 10),
        ("nothing learns without ageing", bridge("ageing_time 0"), steps(8, "static"), 5),
        ("static sticky", Knobs::default(), steps(9, "static sticky"), 4),
        ("dynamic sticky", Knobs::default(), steps(10, "dynamic sticky"), 4),
        ("extern_learn", Knobs::default(), steps(11, "extern_learn"), 5),
        ("use", Knobs::default(), steps(12, "use"), 5),
        ("use of a sticky one", Knobs::default(), put(13, "static sticky", "use"), 3),
        ("extern_learn of a sticky one", Knobs::default(), put(14, "static sticky", "extern_learn"), 3),
        ("static in place of a sticky one", Knobs::default(), put(15, "static sticky", "static"), 3),
        ("dynamic in place of a permanent one", Knobs::default(), put(16, "permanent", "dynamic"), 3),
    ]
}

/// Entries of every kind, a flush, and one frame to each to see who is left.
fn flushes() -> Vec<Case> {
    let kinds = ["permanent", "static", "dynamic", "static sticky", "dynamic sticky", "extern_learn"];
    let filters = [
        "",
        "permanent",
        "nopermanent",
        "static",
        "nostatic",
        "dynamic",
        "nodynamic",
        "extern_learn",
        "noextern_learn",
        "sticky",
        "nosticky",
        "static permanent",
        "static nopermanent",
        "dynamic noextern_learn",
        "brport p1",
        "brport p2 nosticky",
    ];
    let mut steps = Vec::new();
    for filter in filters {
        for (kind, n) in kinds.iter().zip(0..) {
            steps.push(fdb(&format!("replace MAC dev p{} master {kind}", 1 + n % 2), station(17, n)));
        }
        steps.push(usual(1, BROADCAST, station(17, 9)));
        steps.push(Step::Fdb(format!("flush dev br0 {filter}").trim_end().into()));
        steps.extend([0, 1, 2, 3, 4, 5, 9].map(|n| usual(0, station(17, n), station(18, 1))));
        steps.push(Step::Fdb("flush dev br0 nopermanent".into()));
        steps.push(Step::Fdb("flush dev br0 permanent".into()));
    }
    vec![("flushes", Knobs::default(), steps, 188)]
}
