//! Sub-interfaces: of a port, stacked, and as members of a bridge.

use super::{BROADCAST, EXPERIMENT, PORTS, Rig, Step, customer, plain, service, station, wired, with_tags};
use crate::rig::{frame, tagged};

pub(super) fn rigs() -> Vec<Rig> {
    vec![
        rig(
            "two of a port",
            &[("v10", "p0", "", 10), ("v20", "p0", "", 20)],
            &[("v10", "p1"), ("v20", "p2")],
            &[],
        ),
        rig(
            "stacked",
            &[("s10", "p0", "802.1ad", 10), ("c20", "s10", "", 20), ("c10", "p0", "", 10)],
            &[("c20", "p1"), ("s10", "p2"), ("c10", "p3")],
            &[],
        ),
        rig("q in q", &[("v10", "p0", "", 10), ("v20", "v10", "", 20)], &[("v20", "p1"), ("v10", "p2")], &[]),
        rig("in a bridge", &[("v10", "p0", "", 10), ("v20", "p2", "", 20)], &[], &["v10", "p1", "v20"]),
        rig("beside its port in a bridge", &[("v10", "p0", "", 10)], &[("v10", "p3")], &["p0", "p1", "p2"]),
        rig(
            "of both in two bridges' stead",
            &[("v10", "p0", "", 10), ("w10", "p1", "", 10)],
            &[],
            &["v10", "w10", "p2"],
        ),
    ]
}

/// Sub-interfaces (name, link, protocol, id), what is wired to which port, and what a bridge has for members.
fn rig(name: &str, vlans: &[(&str, &str, &str, u16)], wires: &[(&str, &str)], members: &[&str]) -> Rig {
    let (mut kernel, mut ours) = (String::new(), String::new());
    for (name, link, protocol, id) in vlans {
        let [words, key] = match *protocol {
            "" => [String::new(), String::new()],
            protocol => [format!("protocol {protocol} "), format!("protocol = \"{protocol}\"\n")],
        };
        kernel +=
            &format!("ip link add link {link} name {name} type vlan {words}id {id}\nip link set {name} up\n");
        ours += &format!("[[vlan]]\nname = \"{name}\"\nlink = \"{link}\"\nid = {id}\n{key}");
    }
    for (device, port) in wires {
        let [theirs, mine] = wired(device, port);
        kernel += &theirs;
        ours += &mine;
    }
    if !members.is_empty() {
        kernel += "ip link add br0 type bridge mcast_snooping 0\nip link set br0 up\n";
        ours += "[[bridge]]\nname = \"br0\"\nmcast_snooping = false\n";
    }
    for member in members {
        kernel += &format!("ip link set {member} master br0\n");
        ours += &format!("[[bridge.port]]\ndevice = \"{member}\"\n");
    }
    Rig::new(name, kernel, ours, vec![("everything from everywhere", everything()), ("lengths", lengths())])
}

fn everything() -> Vec<Step> {
    let stacks: [&[[u8; 4]]; 12] = [
        &[],
        &[customer(0xb000)],
        &[customer(10)],
        &[customer(0xb00a)], // priority 5, drop eligible
        &[customer(20)],
        &[customer(30)],
        &[customer(0xfff)],
        &[service(10)],
        &[service(10), customer(20)],
        &[service(10), customer(30)],
        &[customer(10), customer(20)],
        &[customer(10), customer(0xb000), customer(20)],
    ];
    let all = |from: usize| {
        let source = station(0, u8::try_from(from).unwrap());
        stacks.map(|tags| with_tags(from, BROADCAST, source, tags))
    };
    let to_one =
        |from: usize| plain(from, station(0, u8::try_from((from + 1) % PORTS).unwrap()), station(0, 9));
    (0..PORTS).flat_map(all).chain((0..PORTS).map(to_one)).collect()
}

fn lengths() -> Vec<Step> {
    let [a, b] = [1, 2].map(|n| station(1, n));
    let plain = |length| frame(b, a, EXPERIMENT, length, 1);
    let untagged = [14, 15, 60, 1514, 1515, 1518].map(|length| Step::Send(1, plain(length)));
    let with_tag =
        [14, 60, 1514, 1515, 1518].map(|length| Step::Send(0, tagged(&plain(length), customer(10))));
    untagged.into_iter().chain(with_tag).collect()
}
