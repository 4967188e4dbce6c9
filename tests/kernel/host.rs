//! br0 itself: the table of what goes up to the host and of what the host sends, and how the device is.

use std::collections::BTreeSet;

use rigswitch::views::FdbView;

use super::rig::{NIC, run_in};
use super::{
    BROADCAST, EXPERIMENT, HOST, HOSTS, Kind, Knobs, Side, Step, compare_all, frame, sides, station, tagged,
    text, usual, wait_for,
};

const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
const LLDP: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 0xe];
/// The lowest of the ports' addresses, and so the bridge's.
const OWN: [u8; 6] = of_port(0);
/// An address that is given to the bridge.
const GIVEN: [u8; 6] = [2, 0xbb, 0, 0, 0, 9];

/// The address of port `n` of both bridges.
#[allow(clippy::cast_possible_truncation)] // there are three
pub(super) const fn of_port(n: usize) -> [u8; 6] {
    [2, 0xaa, 0, 0, 0, n as u8]
}

/// A frame from the kernel's br0 as it comes from ours: what is for the bridge is for the host's own address there, whichever
/// of the bridge's it was sent to.
pub(super) fn readdress(frame: &mut [u8]) {
    if frame[0] & 1 == 0 {
        frame[..6].copy_from_slice(&OWN);
    }
}

/// A case: its name, its knobs, its steps, and how many frames are to come out of each bridge and go up.
type Case = (&'static str, Knobs, Vec<Step>, [usize; 2]);

fn ports(ports: [&'static str; HOSTS]) -> Knobs {
    Knobs { ports, ..Knobs::default() }
}

fn cases() -> Vec<Case> {
    let [a, b, c] = [1, 2, 3].map(|n| station(100, n));
    let plain = Knobs::default();
    // To an unknown station, a group, all, a known station, and from it to the host.
    let all = || {
        vec![
            usual(HOST, c, OWN),
            usual(HOST, GROUP, OWN),
            usual(HOST, BROADCAST, OWN),
            usual(2, OWN, a),
            usual(HOST, a, OWN),
        ]
    };
    let mut cases = vec![
        (
            "what is for the bridge goes up",
            plain,
            vec![
                usual(0, OWN, a),
                usual(1, of_port(1), b),
                usual(1, of_port(0), b),
                usual(0, of_port(2), a),
                usual(0, BROADCAST, a),
                usual(1, GROUP, b),
                usual(0, c, a), // nobody knows c
                usual(0, b, a),
            ],
            [2 + 2 + 2 + 1, 4 + 1 + 1],
        ),
        (
            "what the host sends is forwarded, and not learned from",
            plain,
            vec![
                usual(HOST, a, OWN),
                usual(HOST, c, OWN),
                usual(HOST, BROADCAST, OWN),
                usual(HOST, GROUP, OWN),
                usual(HOST, BROADCAST, c),
                usual(0, c, a),
                usual(HOST, b, a),
                usual(1, a, b),
            ],
            [1 + 3 + 3 + 3 + 3 + 2 + 1 + 1, 0],
        ),
        (
            "the host to the bridge's own addresses",
            plain,
            vec![usual(HOST, OWN, c), usual(HOST, of_port(1), OWN), usual(HOST, of_port(2), OWN)],
            [3, 0],
        ),
        (
            "sources that name no station, from the host",
            plain,
            vec![usual(HOST, a, [0; 6]), usual(HOST, a, GROUP), usual(HOST, a, BROADCAST)],
            [3, 0],
        ),
        (
            "a port that takes no floods",
            ports(["", "", "flood off mcast_flood off bcast_flood off"]),
            all(),
            [2 + 3 + 3 + 1, 1],
        ),
        ("isolated ports", ports(["isolated on"; HOSTS]), all(), [3 + 3 + 3 + 1, 1]),
        ("a locked port", ports(["", "", "locked on"]), all(), [3 + 3 + 3 + 3, 0]),
        ("a port that does not learn", ports(["", "", "learning off"]), all(), [3 + 3 + 3 + 3, 1]),
        ("a disabled port", ports(["", "", "state 0"]), all(), [2 + 2 + 2 + 2, 0]),
        ("a learning port", ports(["", "", "state 2"]), all(), [2 + 2 + 2, 0]),
        ("hairpin", ports(["hairpin on", "", ""]), vec![usual(0, BROADCAST, a), usual(0, OWN, a)], [3, 2]),
    ];
    cases.extend(reserved());
    cases.extend(lengths());
    cases.extend(entries()); // the last of them leaves the bridge without its own addresses
    cases
}

fn reserved() -> Vec<Case> {
    let to = |from, source| (0..16).map(move |last| usual(from, [1, 0x80, 0xc2, 0, 0, last], source));
    let passing = Knobs { bridge: "group_fwd_mask 0x4000", ..Knobs::default() };
    vec![
        ("reserved addresses", Knobs::default(), to(0, station(101, 1)).collect(), [2, 1]),
        ("reserved addresses, from the host", Knobs::default(), to(HOST, OWN).collect(), [16 * 3, 0]),
        ("LLDP that passes goes up too", passing, vec![usual(0, LLDP, station(101, 2))], [2, 1]),
    ]
}

fn entries() -> Vec<Case> {
    let [a, _, _] = [1, 2, 3].map(|n| station(102, n));
    let fdb = |words: &str| Step::Fdb(words.replace("MAC", &text(GIVEN)));
    let probes = || [usual(0, GIVEN, a), usual(HOST, GIVEN, OWN)];
    let around =
        |add: &str, del: &str| [vec![fdb(add)], probes().into(), vec![fdb(del)], probes().into()].concat();
    vec![
        (
            "an address given to the bridge",
            Knobs::default(),
            around("add MAC dev br0 self permanent", "del MAC dev br0 self"),
            [2 + 3, 1],
        ),
        (
            "an address given to a port",
            Knobs::default(),
            around("add MAC dev p1 master permanent", "del MAC dev p1 master"),
            [1 + 2 + 3, 1],
        ),
        (
            "a station behind a port",
            Knobs::default(),
            around("add MAC dev p1 master static", "del MAC dev p1 master"),
            [1 + 1 + 2 + 3, 0],
        ),
        (
            "own addresses that are flushed",
            Knobs::default(),
            vec![usual(0, OWN, a), Step::Fdb("flush dev br0 permanent".into()), usual(0, OWN, a)],
            [2, 1],
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let a = station(103, 1);
    let sized = |to, length| Step::Send(0, frame(to, a, EXPERIMENT, length, 1));
    let lengths = [14, 15, 59, 60, 1514, 1515, 1518, 1519, 4000, 4014];
    let mut steps: Vec<_> = lengths.map(|length| sized(OWN, length)).into();
    let plain = frame(OWN, a, EXPERIMENT, 100, 2);
    for tag in [[0x81, 0, 0x60, 100], [0x88, 0xa8, 0x0f, 0xff], [0x81, 0, 0xe0, 0]] {
        steps.push(Step::Send(0, tagged(&plain, tag)));
        steps.push(Step::Send(0, tagged(&tagged(&plain, [0x81, 0, 0, 7]), tag)));
    }
    vec![("lengths and tags, on the way up", Knobs::default(), steps, [0, 16])]
}

#[test]
fn what_crosses_the_bridges_device_is_what_crosses_the_kernels() {
    let Some(mut sides) = sides("kernel-host", Knobs::default()) else { return };
    let mut set = Knobs::default();
    for (name, knobs, steps, expected) in cases() {
        if knobs != std::mem::replace(&mut set, knobs) {
            sides.iter_mut().for_each(|side| side.bridge(knobs));
        }
        assert_eq!(compare_all(&sides, name, &steps), expected, "{name}: frames out and up");
    }
    sides[0].rig.settled();
}

/// How br0 is: its address, its MTU, and whether it has a carrier.
fn likeness(side: &Side) -> ([u8; 6], u32, bool) {
    let br0 = side.rig.center.netdev("br0").unwrap();
    (br0.mac().unwrap().octets(), br0.mtu().unwrap(), br0.is_running().unwrap())
}

/// The bridge's own addresses, and whose they are.
fn own_addresses(side: &Side) -> BTreeSet<(String, String)> {
    let shown = match side.kind {
        Kind::Ours(..) => side.rig.folder.ask("show fdb -j"),
        Kind::Kernels => run_in(&side.rig.center, "bridge -j fdb show br br0"),
    };
    let entries: Vec<FdbView> = serde_json::from_str(&shown).unwrap();
    // What the kernel says of devices by themselves has no master.
    let own = |entry: &FdbView| entry.master.is_some() && entry.state == "permanent";
    entries.into_iter().filter(own).map(|entry| (entry.mac, entry.ifname)).collect()
}

#[test]
fn the_bridges_device_follows_its_ports_and_its_user_as_the_kernels_does() {
    let Some(sides) = sides("kernel-br0", Knobs::default()) else { return };
    let change = |line: &str| sides.iter().for_each(|side| drop(run_in(&side.rig.center, line)));
    let both_are = |what: &str, expected: ([u8; 6], u32, bool), own: &[([u8; 6], &str)]| {
        let own: BTreeSet<_> = own.iter().map(|(mac, of)| (text(*mac), (*of).to_owned())).collect();
        for side in &sides {
            wait_for(what, || (likeness(side) == expected && own_addresses(side) == own).then_some(()));
        }
    };
    let (low, lower) = ([2, 0xa0, 0, 0, 0, 1], [2, 0x9f, 0, 0, 0, 1]);
    let [p0, p1, p2] = [0, 1, 2].map(|n| (of_port(n), ["p0", "p1", "p2"][n]));
    both_are("what follows from the ports", (OWN, 1500, true), &[p0, p1, p2]);
    change(&format!("ip link set p1 address {}", text(low)));
    both_are("the lowest address", (low, 1500, true), &[p0, (low, "p1"), p2]);
    change("ip link set p2 mtu 1300");
    both_are("the smallest MTU", (low, 1300, true), &[p0, (low, "p1"), p2]);
    change("ip link set br0 mtu 1200");
    change("ip link set p2 mtu 1250");
    change(&format!("ip link set br0 address {}", text(GIVEN)));
    change(&format!("ip link set p1 address {}", text(lower)));
    let own = [p0, (lower, "p1"), p2, (GIVEN, "br0")];
    both_are("what was chosen by hand", (GIVEN, 1200, true), &own);
    let set_up = |n: usize, up| {
        sides.iter().for_each(|side| side.rig.hosts[n].netdev(NIC).unwrap().set_up(up).unwrap());
    };
    (0..HOSTS).for_each(|n| set_up(n, false));
    both_are("no carrier", (GIVEN, 1200, false), &own);
    set_up(2, true);
    both_are("a carrier", (GIVEN, 1200, true), &own);
}
