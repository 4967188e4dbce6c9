//! ipvlan: children of a port by their IP addresses, each wired to a port of its own; in L3 mode the port routes for them.

use super::{BROADCAST, Case, EXPERIMENT, Ipv4, Rig, Step, carrying, checksum, station, text, wired};
use crate::rig::frame;

/// The address that the port shares with its children.
const SHARED: [u8; 6] = [2, 0, 0, 0, 0xaa, 0];
/// Stations outside.
const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 1, 1];
const UDP: u8 = 17;

pub(super) fn rigs() -> Vec<Rig> {
    let flags = ["bridge", "private", "vepa"];
    // In L3S the kernel hands what comes in to its own stack behind the device's ingress, where no wire gets hold of it.
    flags.map(rig).into_iter().chain(flags.map(routed)).collect()
}

fn v4(n: u8) -> [u8; 4] {
    [10, 66, 0, n]
}

fn v6(n: u8) -> [u8; 16] {
    [0xfd, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]
}

/// Children 1 and 2 with addresses of both kinds behind p1 and p2.
fn rig(flag: &str) -> Rig {
    let [kernel, ours] = children("l2", flag);
    Rig::new(flag, kernel, ours, vec![("from outside", inward()), ("from the children", outward()), others()])
}

fn children(mode: &str, flag: &str) -> [String; 2] {
    let (mut kernel, mut ours) = (String::new(), String::new());
    for n in [1, 2] {
        let [name, port] = [format!("iv{n}"), format!("p{n}")];
        kernel += &format!("ip link add {name} link p0 type ipvlan mode {mode} {flag}\n");
        // The kernel sorts groups out by a hash that is new at every boot: it hears all. Its own stack has nothing to say:
        // it asks for no neighbour, and is in no group that others hear of.
        kernel +=
            &format!("ip link set {name} addrgenmode none allmulticast on up\nip link set {name} arp off\n");
        kernel += &format!("echo 0 >/proc/sys/net/ipv6/conf/{name}/disable_ipv6\n");
        kernel +=
            &format!("ip addr add 10.66.0.{n}/24 dev {name}\nip addr add fd66::{n}/64 dev {name} nodad\n");
        ours +=
            &format!("[[ipvlan]]\nname = \"{name}\"\nlink = \"p0\"\nmode = \"{mode}\"\nflag = \"{flag}\"\n");
        ours += &format!("[[address]]\ndevice = \"{name}\"\naddress = \"10.66.0.{n}/24\"\n");
        ours += &format!("[[address]]\ndevice = \"{name}\"\naddress = \"fd66::{n}/64\"\n");
        let [theirs, mine] = wired(&name, &port);
        kernel += &theirs;
        ours += &mine;
    }
    [kernel, ours]
}

/// The same in mode L3: p0 has an address of its own, and routes for them; one leads by p3.
fn routed(flag: &str) -> Rig {
    let [mut kernel, mut ours] = children("l3", flag);
    ours += "[routing]\nforwarding = false\n"; // as the kernel is
    for (device, address) in [("p0", "10.66.9.1"), ("p3", "10.99.0.1")] {
        kernel += &format!("ip addr add {address}/24 dev {device}\n");
        ours += &format!("[[address]]\ndevice = \"{device}\"\naddress = \"{address}/24\"\n");
    }
    for (to, via) in
        [("0.0.0.0/0", "10.66.9.254"), ("10.77.0.0/16", "10.66.9.253"), ("10.79.0.0/16", "10.99.0.2")]
    {
        kernel += &format!("ip route add {to} via {via}\n");
        ours += &format!("[[route]]\nto = \"{to}\"\nvia = \"{via}\"\n");
    }
    kernel += "ip route replace blackhole 10.78.0.0/16\n";
    ours += "[[route]]\nto = \"10.78.0.0/16\"\ntype = \"blackhole\"\n";
    let neighbours = [("p0", "10.66.9.254", 254), ("p0", "10.66.9.253", 253), ("p0", "10.66.9.50", 1)];
    for (device, address, n) in
        neighbours.into_iter().chain([("p0", "10.78.0.1", 78), ("p3", "10.99.0.2", 99)])
    {
        let mac = text(station(1, n));
        kernel += &format!("ip neigh add {address} dev {device} lladdr {mac}\n");
        ours += &format!("[[neighbor]]\ndevice = \"{device}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n");
    }
    let name = format!("l3, {flag}");
    Rig::new(
        &name,
        kernel,
        ours,
        vec![("from outside", routed_inward()), ("from the children", routed_outward())],
    )
}

/// Whom the parent knows, and whom it does not.
const FAR: [[u8; 4]; 7] = [
    [10, 66, 9, 50],
    [10, 77, 0, 1],
    [10, 78, 0, 1],
    [10, 79, 0, 1],
    [198, 51, 100, 1],
    [255; 4],
    [224, 1, 2, 3],
];

fn routed_inward() -> Vec<Step> {
    let mut steps = Vec::new();
    for target in [1, 2, 9] {
        for to in [SHARED, station(1, 9), BROADCAST] {
            steps.push(ipv4(0, [to, OUTSIDE], [FAR[0], v4(target)]));
        }
        steps.push(ipv6(0, [SHARED, OUTSIDE], [v6(50), v6(target)], 59, &[]));
    }
    for target in [1, 2] {
        steps.push(arp(0, [BROADCAST, OUTSIDE], 1, [50, target]));
        let (address, group) = solicited(v6(target));
        steps.push(neighbour(0, [address, OUTSIDE], [v6(50), group], 135, v6(target)));
        steps.push(neighbour(0, [SHARED, OUTSIDE], [v6(50), v6(target)], 135, v6(target)));
    }
    steps.push(ipv4(0, [BROADCAST, OUTSIDE], [FAR[0], [255; 4]]));
    steps.push(ipv4(0, [[1, 0, 0x5e, 1, 2, 3], OUTSIDE], [FAR[0], [224, 1, 2, 3]]));
    steps
}

fn routed_outward() -> Vec<Step> {
    let mut steps = Vec::new();
    for (from, own) in [(1, 1), (2, 2)] {
        for to in [SHARED, OUTSIDE, BROADCAST] {
            steps.extend(FAR.map(|far| ipv4(from, [to, SHARED], [v4(own), far])));
            steps.extend([1, 2].map(|sibling| ipv4(from, [to, SHARED], [v4(own), v4(sibling)])));
            steps.extend([1, 2, 50].map(|n| ipv6(from, [to, SHARED], [v6(own), v6(n)], 59, &[])));
            steps.push(arp(from, [to, SHARED], 1, [own, 3 - own]));
            steps.push(arp(from, [to, SHARED], 1, [own, 50]));
            steps.push(Step::Send(from, frame(to, SHARED, EXPERIMENT, 60, 1)));
        }
        steps.push(ipv4(from, [SHARED, SHARED], [v4(9), FAR[4]])); // not its address
        // The last hop is none that this takes.
        let header = Ipv4 {
            source: v4(own),
            destination: FAR[4],
            protocol: UDP,
            ttl: 1,
            tos: 0x28,
            dont_fragment: false,
        };
        let packet = header.packet(&[&[0x30, 0x39, 0x30, 0x3a, 0, 26, 0, 0][..], &[7; 18]].concat());
        steps.push(Step::Send(from, carrying(SHARED, SHARED, 0x0800, &packet)));
    }
    steps
}

/// An ARP request or reply.
fn arp(from: usize, [destination, source]: [[u8; 6]; 2], operation: u8, [sender, target]: [u8; 2]) -> Step {
    let start = [0, 1, 8, 0, 6, 4, 0, operation];
    let (sender, target) = (v4(sender), v4(target));
    let payload =
        [&start[..], &source, &sender, if operation == 1 { &[0; 6] } else { &destination }, &target].concat();
    Step::Send(from, carrying(destination, source, 0x0806, &[payload, vec![0; 18]].concat()))
}

fn ipv4(from: usize, addresses: [[u8; 6]; 2], [source, destination]: [[u8; 4]; 2]) -> Step {
    let header = Ipv4 { source, destination, protocol: UDP, ttl: 64, tos: 0, dont_fragment: true };
    let udp = [0x30, 0x39, 0x30, 0x3a, 0, 26, 0, 0];
    let packet = header.packet(&[&udp[..], &[7; 18]].concat());
    Step::Send(from, carrying(addresses[0], addresses[1], 0x0800, &packet))
}

fn ipv6(
    from: usize,
    addresses: [[u8; 6]; 2],
    [source, destination]: [[u8; 16]; 2],
    next: u8,
    payload: &[u8],
) -> Step {
    let length = u8::try_from(payload.len()).unwrap();
    let header = [&[0x60, 0, 0, 0, 0, length, next, 255], &source[..], &destination].concat();
    Step::Send(from, carrying(addresses[0], addresses[1], 0x86dd, &[&header, payload].concat()))
}

/// A neighbour solicitation for `target`, or an advertisement of it.
fn neighbour(
    from: usize,
    addresses: [[u8; 6]; 2],
    [source, destination]: [[u8; 16]; 2],
    kind: u8,
    target: [u8; 16],
) -> Step {
    const ICMPV6: u8 = 58;
    let option = [&[if kind == 135 { 1 } else { 2 }, 1][..], &addresses[1]].concat();
    let mut message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target, &option].concat();
    let length = u8::try_from(message.len()).unwrap();
    let pseudo = [&source[..], &destination, &[0, 0, 0, length, 0, 0, 0, ICMPV6], &message].concat();
    message[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    ipv6(from, addresses, [source, destination], ICMPV6, &message)
}

/// The group that `target` is solicited by, and its address on the wire.
fn solicited(target: [u8; 16]) -> ([u8; 6], [u8; 16]) {
    let last: [u8; 3] = target[13..].try_into().unwrap();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, last[0], last[1], last[2]];
    ([0x33, 0x33, 0xff, last[0], last[1], last[2]], group)
}

fn inward() -> Vec<Step> {
    let mut steps = Vec::new();
    for target in [1, 2, 9] {
        steps.push(arp(0, [BROADCAST, OUTSIDE], 1, [50, target]));
        steps.push(arp(0, [SHARED, OUTSIDE], 2, [50, target]));
        steps.push(ipv4(0, [SHARED, OUTSIDE], [v4(50), v4(target)]));
        steps.push(ipv4(0, [station(1, 9), OUTSIDE], [v4(50), v4(target)]));
        steps.push(ipv6(0, [SHARED, OUTSIDE], [v6(50), v6(target)], 59, &[]));
        let (address, group) = solicited(v6(target));
        steps.push(neighbour(0, [address, OUTSIDE], [v6(50), group], 135, v6(target)));
        steps.push(neighbour(0, [SHARED, OUTSIDE], [v6(50), v6(target)], 135, v6(target)));
        steps.push(neighbour(0, [SHARED, OUTSIDE], [v6(50), v6(target)], 136, v6(50)));
    }
    steps.push(ipv4(0, [BROADCAST, OUTSIDE], [v4(50), [255; 4]]));
    steps.push(ipv4(0, [[1, 0, 0x5e, 1, 2, 3], OUTSIDE], [v4(50), [224, 1, 2, 3]]));
    steps
}

fn outward() -> Vec<Step> {
    let mut steps = Vec::new();
    for (from, own) in [(1, 1), (2, 2)] {
        for target in [1, 2, 50] {
            let to = if target == 50 { OUTSIDE } else { SHARED };
            steps.push(arp(from, [BROADCAST, SHARED], 1, [own, target]));
            steps.push(arp(from, [to, SHARED], 2, [own, target]));
            steps.push(ipv4(from, [to, SHARED], [v4(own), v4(target)]));
            steps.push(ipv6(from, [to, SHARED], [v6(own), v6(target)], 59, &[]));
            let (address, group) = solicited(v6(target));
            steps.push(neighbour(from, [address, SHARED], [v6(own), group], 135, v6(target)));
            steps.push(neighbour(from, [to, SHARED], [v6(own), v6(target)], 136, v6(own)));
        }
        steps.push(ipv4(from, [BROADCAST, SHARED], [v4(own), [255; 4]]));
        steps.push(ipv4(from, [OUTSIDE, station(1, 8)], [v4(own), v4(50)])); // not its address
        steps.push(ipv4(from, [OUTSIDE, SHARED], [v4(9), v4(50)])); // not its address
    }
    steps
}

/// What carries no address to go by.
fn others() -> Case {
    let mut steps = Vec::new();
    for (from, source) in [(0, OUTSIDE), (1, SHARED)] {
        let [b, c] = [SHARED, BROADCAST].map(|to| Step::Send(from, frame(to, source, EXPERIMENT, 60, 1)));
        let cut = [34, 33, 14].map(|length| match ipv4(from, [SHARED, source], [v4(50), v4(1)]) {
            Step::Send(from, frame) => Step::Send(from, frame[..length].to_vec()),
            _ => unreachable!(),
        });
        steps.extend([b, c].into_iter().chain(cut));
    }
    ("nothing to go by, and cut off", steps)
}
