//! A bridge that answers for neighbours (`neigh_suppress`), and filters by VLAN: the kernel has a neighbour of a VLAN on a device of
//! that VLAN, on the bridge.

use super::{Rig, Step, carrying, customer, station};
use crate::rig::tagged;

/// Who is known: in VLAN 10 behind p3, which is spared questions, and the one with the second address behind p2, which is not.
const KNOWN: [u8; 4] = [10, 0, 0, 9];
const ELSEWHERE: [u8; 4] = [10, 0, 0, 8];
const UNKNOWN: [u8; 4] = [10, 0, 0, 7];

const REQUEST: u8 = 1;
const REPLY: u8 = 2;

pub(super) fn rigs() -> Vec<Rig> {
    let mut kernel =
        "ip link add br0 type bridge mcast_snooping 0 vlan_filtering 1\nip link set br0 up\n".to_owned();
    let mut ours = "[[bridge]]\nname = \"br0\"\nvlan_filtering = true\nmcast_snooping = false\n".to_owned();
    let trunk = ("vlan = { tagged = [10, 20] }", &["10", "20"][..]);
    let ports = [
        ("vlan = { pvid = 10, untagged = [10, 20] }", &["10 pvid untagged", "20 untagged"][..]),
        trunk,
        ("vlan = { pvid = 10, tagged = [10, 20] }", &["10 pvid", "20"]),
        trunk,
    ];
    for (n, (said, vids)) in ports.into_iter().enumerate() {
        kernel += &format!("ip link set p{n} master br0\nbridge vlan del dev p{n} vid 1\n");
        vids.iter().for_each(|vid| kernel += &format!("bridge vlan add dev p{n} vid {vid}\n"));
        ours += &format!("[[bridge.port]]\ndevice = \"p{n}\"\n{said}\n");
    }
    kernel += "bridge link set dev p3 neigh_suppress on\n";
    ours += "neigh_suppress = true\n";
    kernel += "bridge vlan add dev br0 vid 10 self\n";
    kernel += "ip link add link br0 name v10 type vlan id 10\nip link set v10 up\n";
    for (address, n) in [(KNOWN, 9), (ELSEWHERE, 8)] {
        let (address, mac) = (address.map(|octet| octet.to_string()).join("."), super::text(station(0, n)));
        kernel += &format!("ip neigh add {address} lladdr {mac} dev v10 nud permanent\n");
        ours +=
            &format!("[[neighbor]]\ndevice = \"br0\"\nvlan = 10\naddress = \"{address}\"\nmac = \"{mac}\"\n");
    }
    let at = |n: u8, port: usize| {
        Step::Fdb(format!("add {} dev p{port} master static vlan 10", super::text(station(0, n))))
    };
    let asked = |target| {
        let untagged = [0, 2].map(|port| arp(port, None, REQUEST, target));
        let tagged = [(0, 20), (1, 10), (1, 0xa00a), (1, 20), (2, 10), (2, 20), (3, 10), (3, 20)]
            .map(|(port, tci)| arp(port, Some(tci), REQUEST, target));
        [&untagged[..], &tagged].concat()
    };
    let cases = vec![
        ("nobody is anywhere yet", asked(KNOWN)),
        ("who is known is answered for in its VLAN", [vec![at(9, 3), at(8, 2)], asked(KNOWN)].concat()),
        ("not who is behind a port that is not spared", asked(ELSEWHERE)),
        ("not who is unknown", asked(UNKNOWN)),
        (
            "replies, and telling of oneself",
            vec![
                arp(0, None, REPLY, KNOWN),
                arp(1, Some(10), REPLY, KNOWN),
                arp(1, Some(10), REQUEST, [10, 0, 0, 2]), // its own
                arp(1, Some(20), REQUEST, [10, 0, 0, 2]),
            ],
        ),
    ];
    vec![Rig::new("neighbours by VLAN", kernel, ours, cases)]
}

/// The station behind `port` asks all who has `target`, or tells it so, with a tag of these contents.
fn arp(port: usize, tci: Option<u16>, operation: u8, target: [u8; 4]) -> Step {
    let n = u8::try_from(port).unwrap() + 1;
    let source = station(1, n);
    let start = [0, 1, 8, 0, 6, 4, 0, operation];
    let payload = [&start[..], &source, &[10, 0, 0, n], &[0; 6], &target, &[0; 18]].concat();
    let frame = carrying([0xff; 6], source, 0x0806, &payload);
    Step::Send(port, tci.map_or(frame.clone(), |tci| tagged(&frame, customer(tci))))
}
