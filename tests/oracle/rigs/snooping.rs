//! A bridge that snoops, and filters by VLAN: who is in a group is so in a VLAN, and routers and queriers are the bridge's
//! (`mcast_vlan_snooping` 0, its default).

use super::{Rig, Step, carrying, checksum, customer, station};
use crate::rig::tagged;

const ALL_HOSTS: [u8; 4] = [224, 0, 0, 1];
const ALL_ROUTERS: [u8; 4] = [224, 0, 0, 2];
const GROUP: [u8; 4] = [239, 1, 1, 1];
const OTHER: [u8; 4] = [239, 1, 1, 2];
const GROUP_6: u16 = 0x0111; // the end of ff05::111

const QUERY: u8 = 0x11;
const REPORT: u8 = 0x16;
const LEAVE: u8 = 0x17;

/// Ports p0 in VLAN 10 and p2 in VLAN 20, untagged, and p1 and p3 in both; behind p3 is a router.
pub(super) fn rigs() -> Vec<Rig> {
    let mut kernel =
        "ip link add br0 type bridge mcast_snooping 1 vlan_filtering 1\nip link set br0 up\n".to_owned();
    let mut ours = "[[bridge]]\nname = \"br0\"\nvlan_filtering = true\n".to_owned();
    let trunk = "trunk = [10, 20]\n";
    for (n, (ours_of, vids)) in [
        ("access = 10\n", &["10 pvid untagged"][..]),
        (trunk, &["10", "20"]),
        ("access = 20\n", &["20 pvid untagged"]),
        (trunk, &["10", "20"]),
    ]
    .into_iter()
    .enumerate()
    {
        kernel += &format!("ip link set p{n} master br0\nbridge vlan del dev p{n} vid 1\n");
        vids.iter().for_each(|vid| kernel += &format!("bridge vlan add dev p{n} vid {vid}\n"));
        ours += &format!("[[bridge.port]]\ndevice = \"p{n}\"\n{ours_of}");
    }
    kernel += "bridge link set dev p1 fastleave on\n";
    ours = ours.replacen(trunk, &format!("{trunk}mcast_fast_leave = true\n"), 1);
    let cases = vec![
        ("nobody asks: groups are flooded in their VLAN", everything()),
        ("a router asks in VLAN 20, and is one for all", asked()),
        ("a station is in a group in its VLAN", joined()),
        ("who is asked for in one VLAN is not in another", asked_for()),
        ("who leaves fast leaves one VLAN", left()),
        ("by hand: in one VLAN, and in each of the port's", by_hand()),
        ("IPv6", ipv6()),
    ];
    vec![Rig::new("groups by VLAN", kernel, ours, cases)]
}

/// What is for both groups, and for a group that is not of IP, from every port in each VLAN that it is in.
fn everything() -> Vec<Step> {
    let frames = |tag: Option<u16>, n: usize| {
        let of_ip = [GROUP, OTHER].map(|group| ipv4(n, group, 17, &[7; 20]));
        let other = carrying([3, 0, 0, 0, 0, 1], of(n), super::EXPERIMENT, &[7; 46]);
        of_ip.into_iter().chain([other]).map(move |frame| send(n, tag, &frame))
    };
    let ports = [(0, None), (1, Some(10)), (1, Some(20)), (2, None), (3, Some(10)), (3, Some(20))];
    ports.into_iter().flat_map(|(n, tag)| frames(tag, n)).collect()
}

fn asked() -> Vec<Step> {
    [vec![query(Some(20), 3, [0; 4]), Step::Wait(500)], everything()].concat()
}

fn joined() -> Vec<Step> {
    let joins = vec![
        igmp(1, Some(10), REPORT, GROUP),
        igmp(2, None, REPORT, GROUP),
        igmp(0, Some(0), REPORT, OTHER), // tagged with a priority only: it is in the PVID
        igmp(0, Some(20), REPORT, OTHER), // which the port is not in
        Step::Wait(200),
    ];
    [joins, everything()].concat()
}

fn asked_for() -> Vec<Step> {
    [vec![query(Some(20), 3, GROUP), Step::Wait(1000)], everything()].concat()
}

fn left() -> Vec<Step> {
    let both = |kind| [10, 20].map(|vid| igmp(1, Some(vid), kind, OTHER));
    let leave = igmp(1, Some(10), LEAVE, OTHER);
    [both(REPORT).to_vec(), vec![Step::Wait(200)], everything(), vec![leave, Step::Wait(200)], everything()]
        .concat()
}

fn by_hand() -> Vec<Step> {
    let told = |words: &str| Step::Mdb(words.into());
    [
        vec![
            told("add dev br0 port p1 grp 239.1.1.1 permanent vid 20"),
            told("del dev br0 port p1 grp 239.1.1.1 vid 10"),
        ],
        everything(),
        vec![
            told("add dev br0 port p1 grp 239.1.1.7 permanent"),
            told("add dev br0 port p2 grp 239.1.1.7 temp vid 20"),
        ],
        data_of([239, 1, 1, 7]),
        vec![told("del dev br0 port p1 grp 239.1.1.7 vid 20")],
        data_of([239, 1, 1, 7]),
        vec![told("add dev br0 port p0 grp 03:00:00:00:00:01 permanent")],
        everything(),
    ]
    .concat()
}

fn data_of(group: [u8; 4]) -> Vec<Step> {
    [10, 20].map(|vid| send(3, Some(vid), &ipv4(3, group, 17, &[9; 20]))).to_vec()
}

fn ipv6() -> Vec<Step> {
    const MLD_QUERY: u8 = 130;
    const MLD_REPORT: u8 = 131;
    let data = || {
        let ports = [(0, None), (1, Some(20)), (2, None), (3, Some(10)), (3, Some(20))];
        ports.map(|(n, tag)| send(n, tag, &ipv6_packet(n, 0xff05, GROUP_6, 17, &[5; 20]))).to_vec()
    };
    [
        data(),
        vec![mld(3, Some(10), MLD_QUERY, 0), Step::Wait(500)],
        data(),
        vec![mld(0, None, MLD_REPORT, GROUP_6), mld(1, Some(20), MLD_REPORT, GROUP_6), Step::Wait(200)],
        data(),
    ]
    .concat()
}

fn of(n: usize) -> [u8; 6] {
    station(u8::try_from(n).unwrap(), 1)
}

fn send(n: usize, tag: Option<u16>, frame: &[u8]) -> Step {
    Step::Send(n, tag.map_or_else(|| frame.to_vec(), |vid| tagged(frame, customer(vid))))
}

fn ipv4(n: usize, to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [_, b, c, d] = to;
    let header = super::Ipv4 {
        source: [10, 0, 0, u8::try_from(n).unwrap() + 1],
        destination: to,
        protocol,
        ttl: 1,
        tos: 0,
        dont_fragment: false,
    };
    carrying([1, 0, 0x5e, b & 0x7f, c, d], of(n), 0x0800, &header.packet(payload))
}

/// Port `n` hears this about a group.
fn igmp(n: usize, tag: Option<u16>, kind: u8, group: [u8; 4]) -> Step {
    let to = if kind == LEAVE { ALL_ROUTERS } else { group };
    send(n, tag, &ipv4(n, to, 2, &message(kind, 0, group)))
}

/// A router asks who is in this group, or in any: the answer is to come within a tenth of a second.
fn query(tag: Option<u16>, n: usize, group: [u8; 4]) -> Step {
    let to = if group == [0; 4] { ALL_HOSTS } else { group };
    send(n, tag, &ipv4(n, to, 2, &message(QUERY, 1, group)))
}

fn message(kind: u8, response: u8, group: [u8; 4]) -> Vec<u8> {
    let mut message = [&[kind, response, 0, 0][..], &group].concat();
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// A packet to a group that starts with these 16 bits and ends with those.
fn ipv6_packet(n: usize, start: u16, end: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [source, group] = addresses(n, start, end);
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let header = [&[0x60, 0, 0, 0, length[0], length[1], protocol, 1][..], &source, &group].concat();
    let [.., a, b, c, d] = group;
    carrying([0x33, 0x33, a, b, c, d], of(n), 0x86dd, &[&header, payload].concat())
}

/// A link-local address of port `n`'s, and a group's.
fn addresses(n: usize, start: u16, end: u16) -> [[u8; 16]; 2] {
    let address = |start: u16, end: u16| (u128::from(start) << 112 | u128::from(end)).to_be_bytes();
    [address(0xfe80, u16::try_from(n).unwrap() + 1), address(start, end)]
}

/// Port `n` hears MLDv1 about a group, or all, with the router alert that it has to have (RFC 2710 §3).
fn mld(n: usize, tag: Option<u16>, kind: u8, end: u16) -> Step {
    let (start, last) = if end == 0 { (0xff02, 1) } else { (0xff05, end) };
    let [source, to] = addresses(n, start, last);
    let group = if end == 0 { [0; 16] } else { to };
    let mut message = [&[kind, 0, 0, 0, 0, 100, 0, 0][..], &group].concat();
    let pseudo = [&source[..], &to, &[0, 0, 0, 24, 0, 0, 0, 58]].concat();
    let sum = checksum(&[&pseudo[..], &message].concat()).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let hop_by_hop = [58, 0, 5, 2, 0, 0, 1, 0];
    send(n, tag, &ipv6_packet(n, start, last, 0, &[&hop_by_hop[..], &message].concat()))
}
