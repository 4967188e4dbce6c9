//! A bridge that filters by VLAN.

use super::{
    BROADCAST, Case, EXPERIMENT, PORTS, Rig, Step, customer, plain, service, station, text, wired, with_tags,
};
use crate::rig::{Random, frame, tagged};

/// One port: the VLANs it is in, each in bridge(8)'s words, and its knobs in ip-link(8)'s. Without VLANs it has the bridge's default.
type Port = (&'static [&'static str], &'static str);

const ACCESS_10: Port = (&["10 pvid untagged"], "");
const ACCESS_20: Port = (&["20 pvid untagged"], "");
const TRUNK: Port = (&["10", "20-30"], "");
const DEFAULT: Port = (&[], "");

pub(super) fn rigs() -> Vec<Rig> {
    let native = (&["10", "20 pvid untagged", "21-25"] as _, "");
    let mut rigs = vec![
        rig("access, trunk and native", "", [ACCESS_10, TRUNK, native, DEFAULT], learning()),
        rig("access to access", "", [ACCESS_10, ACCESS_10, ACCESS_20, TRUNK], lengths()),
        rig("fdb by vlan", "", [ACCESS_10, TRUNK, ACCESS_20, TRUNK], entries()),
        rig("vlan_default_pvid 5", "vlan_default_pvid 5", [DEFAULT, DEFAULT, (&["5"], ""), TRUNK], vec![]),
        rig("vlan_default_pvid 0", "vlan_default_pvid 0", [DEFAULT, ACCESS_10, TRUNK, DEFAULT], vec![]),
        rig(
            "untagged of several, a pvid that leaves tagged, and no pvid",
            "",
            [
                (&["10 untagged", "20 pvid untagged"], ""),
                (&["10 pvid", "20"], ""),
                (&["10 untagged", "20"], ""),
                TRUNK,
            ],
            vec![],
        ),
        rig(
            "hairpin and isolated",
            "",
            [
                (&["10 pvid untagged", "20"], "hairpin on"),
                (&["10", "20"], "isolated on"),
                (&["10 pvid untagged", "20"], "isolated on hairpin on"),
                TRUNK,
            ],
            learning(),
        ),
        rig(
            "locked, no flood, no learning",
            "",
            [
                (&["10 pvid untagged", "20"], "locked on"),
                (&["10", "20"], "flood off"),
                (&["10 pvid untagged", "20"], "learning off"),
                TRUNK,
            ],
            [learning(), entries()].concat(),
        ),
        rig(
            "802.1ad",
            "vlan_protocol 802.1ad",
            [
                (&["10 pvid untagged"], ""),
                (&["10", "20"], ""),
                (&["20 pvid untagged"], ""),
                (&["10 pvid untagged"], ""),
            ],
            [learning(), lengths()].concat(),
        ),
        rig(
            "every vlan",
            "",
            [(&["2-4094"], ""), (&["2-4094"], ""), (&["1 pvid untagged"], ""), TRUNK],
            ids(),
        ),
        rig(
            "random frames",
            "",
            [ACCESS_10, TRUNK, native, (&["10", "20 untagged"], "")],
            vec![("random frames", random())],
        ),
    ];
    for (name, protocol) in [("mangled tags", ""), ("mangled tags, 802.1ad", "vlan_protocol 802.1ad")] {
        let ports = [ACCESS_10, native, (&["10 untagged", "20"], ""), (&["10", "20", "30"], "")];
        rigs.push(rig(name, protocol, ports, mangled()));
    }
    rigs.push(off());
    rigs.push(own());
    rigs
}

/// A bridge with these words, and its ports.
fn rig(name: &str, bridge: &str, ports: [Port; PORTS], cases: Vec<Case>) -> Rig {
    let mut kernel = format!("ip link add br0 type bridge mcast_snooping 0 vlan_filtering 1 {bridge}")
        .trim_end()
        .to_owned();
    kernel += "\nip link set br0 up\n";
    let mut ours = "[[bridge]]\nname = \"br0\"\nmcast_snooping = false\nvlan_filtering = true\n".to_owned();
    if let Some((key, value)) = bridge.split_once(' ') {
        let value = if key == "vlan_protocol" { format!("\"{value}\"") } else { value.into() };
        ours += &format!("{key} = {value}\n");
    }
    for (n, (vlans, knobs)) in ports.iter().enumerate() {
        kernel += &format!("ip link set p{n} master br0\n");
        ours += &format!("[[bridge.port]]\ndevice = \"p{n}\"\n");
        if !vlans.is_empty() {
            kernel += &format!("bridge vlan del dev p{n} vid 1\n");
            ours += &membership(vlans, bridge);
        }
        vlans.iter().for_each(|vlan| kernel += &format!("bridge vlan add dev p{n} vid {vlan}\n"));
        if !knobs.is_empty() {
            kernel += &format!("ip link set p{n} type bridge_slave {knobs}\n");
        }
        let words: Vec<_> = knobs.split_whitespace().collect();
        words.chunks(2).for_each(|pair| ours += &format!("{} = {}\n", pair[0], pair[1] == "on"));
    }
    Rig::new(name, kernel, ours, [vec![("everything from everywhere", everything())], cases].concat())
}

/// What is said of a port, and the default that `del … vid 1` does not take away, unless it is said anew.
fn membership(said: &[&str], bridge: &str) -> String {
    let default = if bridge == "vlan_default_pvid 5" { Some("5 pvid untagged") } else { None };
    let default = default.filter(|_| !said.iter().any(|vlan| vlan.split(' ').next() == Some("5")));
    let vlans: Vec<_> = said.iter().copied().chain(default).collect();
    let list = |untagged: bool| {
        let wanted = vlans.iter().filter(|vlan| vlan.contains("untagged") == untagged);
        let ids = wanted.map(|vlan| vlan.split(' ').next().unwrap());
        let ids = ids.map(|id| if id.contains('-') { format!("\"{id}\"") } else { id.into() });
        ids.collect::<Vec<_>>().join(", ")
    };
    let pvid = vlans.iter().find(|vlan| vlan.contains("pvid")).map(|vlan| vlan.split(' ').next().unwrap());
    let pvid = pvid.map(|id| format!("pvid = {id}, ")).unwrap_or_default();
    format!("vlan = {{ {pvid}untagged = [{}], tagged = [{}] }}\n", list(true), list(false))
}

/// The VLAN ID that means none, with a priority of 5 and the drop eligible indicator.
const PRIORITY: [u8; 4] = [0x81, 0, 0xb0, 0];

/// To all from a station behind every port, with every kind of tag.
fn everything() -> Vec<Step> {
    let stacks: [&[[u8; 4]]; 16] = [
        &[],
        &[PRIORITY],
        &[customer(1)],
        &[customer(5)],
        &[customer(0x600a)], // VID 10, priority 3
        &[customer(0x1014)], // VID 20, drop eligible
        &[customer(25)],
        &[customer(30)],
        &[customer(31)],
        &[customer(0xfff)],
        &[service(10)],
        &[service(0)],
        &[customer(10), customer(20)],
        &[PRIORITY, customer(20)],
        &[service(10), customer(20)],
        &[customer(10), service(20), customer(30)],
    ];
    let all = |from: usize| {
        let source = station(0, u8::try_from(from).unwrap());
        stacks.map(|tags| with_tags(from, BROADCAST, source, tags))
    };
    (0..PORTS).flat_map(all).collect()
}

/// What the bridge learns, and from which frames.
fn learning() -> Vec<Case> {
    let [a, b, c] = [1, 2, 3].map(|n| station(1, n));
    let vid = |vid| [customer(vid)];
    vec![
        (
            "each vlan has stations of its own",
            vec![
                with_tags(1, BROADCAST, b, &vid(10)),
                plain(0, b, a),
                plain(2, b, c),
                with_tags(2, b, c, &vid(10)),
                with_tags(1, a, b, &vid(10)),
                with_tags(1, a, b, &vid(20)),
                with_tags(1, c, b, &vid(20)),
                with_tags(3, b, a, &vid(10)), // a moves in one vlan
                with_tags(1, a, b, &vid(10)),
            ],
        ),
        (
            "a frame that may not come in teaches nothing",
            vec![
                with_tags(0, BROADCAST, station(2, 1), &vid(20)),
                with_tags(0, BROADCAST, station(2, 1), &vid(31)),
                with_tags(1, station(2, 1), b, &vid(20)),
                plain(1, BROADCAST, station(2, 2)),
                plain(0, station(2, 2), a),
            ],
        ),
        (
            "a priority without a vlan is of the pvid",
            vec![
                with_tags(0, BROADCAST, station(3, 1), &[PRIORITY]),
                with_tags(1, station(3, 1), b, &vid(10)),
                with_tags(1, BROADCAST, station(3, 2), &[PRIORITY]),
                with_tags(0, station(3, 2), a, &[PRIORITY]),
            ],
        ),
        (
            "groups and reserved addresses",
            vec![
                plain(0, [1, 0, 0x5e, 0, 0, 1], a),
                with_tags(1, [0x33, 0x33, 0, 0, 0, 1], b, &vid(20)),
                plain(0, [1, 0x80, 0xc2, 0, 0, 0], a),
                plain(1, [1, 0x80, 0xc2, 0, 0, 0], b),
                with_tags(1, [1, 0x80, 0xc2, 0, 0, 0], b, &vid(10)),
                with_tags(1, [1, 0x80, 0xc2, 0, 0, 0xe], station(4, 1), &vid(10)),
                plain(0, station(4, 1), a),
                plain(1, [1, 0x80, 0xc2, 0, 0, 0xe], station(4, 2)),
                plain(0, station(4, 2), a),
            ],
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let [a, b] = [1, 2].map(|n| station(5, n));
    let sized = |from, length| Step::Send(from, frame(b, a, EXPERIMENT, length, 1));
    let untagged = [14, 15, 59, 60, 61, 1513, 1514, 1515, 1518, 1519].map(|length| sized(0, length)).to_vec();
    let of = |tag: [u8; 4]| {
        [14, 15, 59, 60, 1510, 1514, 1515, 1518, 1519]
            .map(|length| Step::Send(3, tagged(&frame(b, a, EXPERIMENT, length, 1), tag)))
    };
    // The tag itself cut off.
    let cut = [14, 15, 16, 17].map(|length| {
        let whole = tagged(&frame(b, a, EXPERIMENT, 60, 1), customer(10));
        Step::Send(3, whole[..length].to_vec())
    });
    let tagged = [of(customer(10)), of(service(10))].concat();
    vec![("lengths without a tag", untagged), ("lengths with a tag", tagged), ("a tag cut off", cut.to_vec())]
}

/// Stacks of tags that are cut off anywhere, have nothing behind them, are deeper than anybody reads, or are of VLANs that there
/// are not: from everywhere.
fn mangled() -> Vec<Case> {
    let stack = |from: usize, tags: &[[u8; 4]], length: Option<usize>| {
        let inner = frame(BROADCAST, station(10, u8::try_from(from).unwrap()), EXPERIMENT, 60, 1);
        let mut whole = tags.iter().rev().fold(inner, |frame, tag| tagged(&frame, *tag));
        whole.truncate(length.unwrap_or(whole.len()));
        Step::Send(from, whole)
    };
    let outer = [customer(10), service(10), PRIORITY, service(0), customer(0xfff), service(0xfff)];
    let foreign = [0x91, 0, 0, 10];
    let everywhere =
        |tags: &[[u8; 4]], length| (0..PORTS).map(|from| stack(from, tags, length)).collect::<Vec<_>>();
    let cut =
        |tag: [u8; 4]| (14..=20).flat_map(move |length| everywhere(&[tag], Some(length))).collect::<Vec<_>>();
    let cut_within = |pair: [[u8; 4]; 2]| (18..=24).flat_map(move |length| everywhere(&pair, Some(length)));
    let pairs = [
        [customer(10), customer(20)],
        [service(10), customer(10)],
        [PRIORITY, customer(10)],
        [PRIORITY, PRIORITY],
        [customer(10), foreign],
        [foreign, customer(10)],
    ];
    let reserved = [
        [customer(0xfff), customer(10)],
        [customer(10), customer(0xfff)],
        [PRIORITY, customer(0xfff)],
        [service(0xfff), customer(10)],
        [service(10), customer(0xfff)],
    ];
    let deep = [3, 4, 5, 8, 9, 50, 300].into_iter().flat_map(|depth| {
        [customer(10), service(10), PRIORITY].map(|tag| everywhere(&vec![tag; depth], None)).concat()
    });
    let nothing = (1..=9).flat_map(|depth| {
        [customer(10), service(10), PRIORITY]
            .map(|tag| everywhere(&vec![tag; depth], Some(14 + 4 * depth)))
            .concat()
    });
    vec![
        ("one tag, cut off", outer.into_iter().flat_map(cut).collect()),
        ("the second of two, cut off", pairs.into_iter().flat_map(cut_within).collect()),
        ("no vlan has it", reserved.into_iter().flat_map(|tags| everywhere(&tags, None)).collect()),
        ("deep", deep.collect()),
        ("nothing behind them", nothing.collect()),
    ]
}

fn entries() -> Vec<Case> {
    let [a, b] = [1, 2].map(|n| station(6, n));
    let fdb = |words: &str| Step::Fdb(words.replace("MAC", &text(b)));
    let both = || [plain(0, b, a), with_tags(3, b, a, &[customer(20)]), with_tags(3, b, a, &[customer(25)])];
    let mut steps = Vec::new();
    for change in [
        "add MAC dev p1 master static vlan 10",
        "add MAC dev p1 master static vlan 20",
        "replace MAC dev p2 master dynamic vlan 20",
        "del MAC dev p1 master vlan 10",
        "replace MAC dev p1 master static vlan 10",
        "flush dev br0 vlan 20",
        "flush dev br0 vlan 10",
        "replace MAC dev p1 master static", // in every vlan of the port
        "flush dev br0",
    ] {
        steps.push(fdb(change));
        steps.extend(both());
    }
    vec![("entries of one vlan", steps)]
}

/// The lowest and the highest, and a few between.
fn ids() -> Vec<Case> {
    let each = |vid: u16| {
        let [high, low] = vid.to_be_bytes();
        let source = [2, 0, 0, 7, high, low];
        [
            with_tags(0, BROADCAST, source, &[customer(vid)]),
            with_tags(1, source, station(7, 1), &[customer(vid)]),
        ]
    };
    vec![("ids", [1, 2, 3, 255, 256, 1023, 2048, 4093, 4094, 4095].into_iter().flat_map(each).collect())]
}

fn random() -> Vec<Step> {
    let mut random = Random(0x5eed_0006);
    let stations: Vec<_> = (0..4).map(|n| station(8, n)).collect();
    let rare = [BROADCAST, [1, 0x80, 0xc2, 0, 0, 0], [1, 0, 0x5e, 0, 0, 7], station(8, 9)];
    let tags = [
        [0; 4],
        [0; 4],
        PRIORITY,
        customer(10),
        customer(20),
        customer(21),
        customer(31),
        customer(0xfff),
        service(10),
    ];
    let mut step = |number| {
        let [destination, source] = [3, 20].map(|one_in| {
            let is_rare = random.below(one_in) == 0;
            *random.pick(if is_rare { &rare[..] } else { &stations })
        });
        let length = *random.pick(&[14, 60, 61, 1510]);
        let mut bytes = frame(destination, source, EXPERIMENT, length, number);
        for _ in 0..*random.pick(&[0, 1, 1, 1, 2]) {
            let tag = *random.pick(&tags);
            bytes = if tag == [0; 4] { bytes } else { tagged(&bytes, tag) };
        }
        Step::Send(random.below(PORTS), bytes)
    };
    (0..400).map(&mut step).collect()
}

/// Memberships do nothing while the bridge does not filter.
fn off() -> Rig {
    let mut rig = rig("filtering off", "", [ACCESS_10, TRUNK, ACCESS_20, DEFAULT], learning());
    rig.kernel = rig.kernel.replace("vlan_filtering 1", "vlan_filtering 0");
    rig.ours = rig.ours.replace("vlan_filtering = true", "vlan_filtering = false");
    rig
}

/// The bridge's own memberships: what its host hears in two VLANs, through p2 and p3.
fn own() -> Rig {
    let mut rig = rig("the bridge's own vlans", "", [ACCESS_10, TRUNK, DEFAULT, DEFAULT], vec![]);
    let start = rig.kernel.find("ip link set p2").unwrap();
    rig.kernel.truncate(start);
    rig.ours.truncate(rig.ours.find("[[bridge.port]]\ndevice = \"p2\"").unwrap());
    rig.ours = rig
        .ours
        .replace("vlan_filtering", "vlan = { pvid = 1, untagged = [1], tagged = [10] }\nvlan_filtering")
        .replace("name = \"br0\"", "name = \"br0\"\naddress = \"02:00:00:00:bb:00\"");
    rig.kernel += "bridge vlan add dev br0 vid 10 self\n";
    rig.kernel += "ip link set br0 address 02:00:00:00:bb:00\n";
    rig.kernel += "ip link add link br0 name v10 type vlan id 10\nip link set v10 up\n";
    rig.ours += "[[vlan]]\nname = \"v10\"\nlink = \"br0\"\nid = 10\n";
    for (device, port) in [("v10", "p2"), ("br0", "p3")] {
        let [kernel, ours] = wired(device, port);
        rig.kernel += &kernel;
        rig.ours += &ours;
    }
    let [host, a] = [[2, 0, 0, 0, 0xbb, 0], station(9, 1)];
    let steps = vec![
        plain(0, host, a),
        plain(2, a, host),
        with_tags(1, host, station(9, 2), &[customer(10)]),
        with_tags(1, host, station(9, 2), &[customer(20)]),
        plain(2, station(9, 9), host),
        plain(3, BROADCAST, host),
        with_tags(3, BROADCAST, host, &[customer(10)]),
        with_tags(3, BROADCAST, host, &[customer(20)]),
    ];
    rig.cases.push(("to and from the host", steps));
    rig
}
