//! IPIP: the bytes of encapsulation and decapsulation, between a routed network at p0 and the underlay at p1.

use super::{Ipv4, Rig, Step, carrying, checksum};

/// Addresses of the rig's p0 and p1, and of who is behind them.
const INSIDE: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xaa, 0], [2, 0, 0, 0, 1, 0]];
const UNDERLAY: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xaa, 1], [2, 0, 0, 0, 1, 1]];
const HERE: [u8; 4] = [10, 1, 0, 2];
const THERE: [u8; 4] = [10, 2, 0, 2];
const LOCAL: [u8; 4] = [192, 0, 2, 1];
const REMOTE: [u8; 4] = [192, 0, 2, 2];
const UDP: u8 = 17;
const IPIP: u8 = 4;

pub(super) fn rigs() -> Vec<Rig> {
    let both = "local 192.0.2.1 remote 192.0.2.2";
    vec![
        rig("defaults", both),
        rig("fixed ttl and tos", &format!("{both} ttl 7 tos 0x28")),
        rig("tos inherited", &format!("{both} tos inherit")),
        rig("nopmtudisc", &format!("{both} nopmtudisc")),
        rig("any remote", "local 192.0.2.1"),
        Rig { cases: vec![("errors", errors())], ..rig("errors", both) },
        Rig { cases: vec![("errors", errors())], ..rig("errors and a fixed ttl", &format!("{both} ttl 9")) },
    ]
}

fn rig(name: &str, tunnel: &str) -> Rig {
    let pairs = tunnel.split(' ').filter(|word| *word != "nopmtudisc").collect::<Vec<_>>();
    let keys = pairs.chunks(2).map(|pair| match pair[0] {
        "ttl" => format!("ttl = {}\n", pair[1]),
        key => format!("{key} = \"{}\"\n", pair[1]),
    });
    let keys: String = keys.collect();
    let pmtudisc = if tunnel.contains("nopmtudisc") { "pmtudisc = false\n" } else { "" };
    let kernel = format!(
        "ip addr add 10.1.0.1/24 dev p0\nip addr add 192.0.2.1/24 dev p1\n\
         ip neigh add 10.1.0.2 dev p0 lladdr 02:00:00:00:01:00\nip neigh add 192.0.2.2 dev p1 lladdr 02:00:00:00:01:01\n\
         ip link add tun0 type ipip {tunnel}\nip link set tun0 up\nip route add 10.2.0.0/24 dev tun0\n\
         echo 1 >/proc/sys/net/ipv4/ip_forward\n"
    );
    let address =
        |device, address| format!("[[address]]\ndevice = \"{device}\"\naddress = \"{address}/24\"\n");
    let neighbour = |device, address, mac| {
        format!("[[neighbor]]\ndevice = \"{device}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n")
    };
    let ours = [
        "[routing]\nforwarding = true\nicmp_ratelimit = 0\n".to_owned(),
        format!("[[ipip]]\nname = \"tun0\"\n{keys}{pmtudisc}"),
        address("p0", "10.1.0.1"),
        address("p1", "192.0.2.1"),
        neighbour("p0", "10.1.0.2", "02:00:00:00:01:00"),
        neighbour("p1", "192.0.2.2", "02:00:00:00:01:01"),
        "[[route]]\nto = \"10.2.0.0/24\"\ndevice = \"tun0\"\n".to_owned(),
    ];
    let cases = vec![("encapsulation", encapsulation()), ("decapsulation", decapsulation())];
    Rig::new(name, kernel, ours.concat(), cases)
}

fn inner(source: [u8; 4], destination: [u8; 4]) -> Ipv4 {
    Ipv4 { source, destination, protocol: UDP, ttl: 64, tos: 0, dont_fragment: false }
}

fn udp(length: usize) -> Vec<u8> {
    let total = u16::try_from(length).unwrap().to_be_bytes();
    [&[0x30, 0x39, 0x30, 0x3a, total[0], total[1], 0, 0][..], &vec![7; length - 8]].concat()
}

fn from_inside(packet: &[u8]) -> Step {
    Step::Send(0, carrying(INSIDE[0], INSIDE[1], 0x0800, packet))
}

fn from_underlay(packet: &[u8]) -> Step {
    Step::Send(1, carrying(UNDERLAY[0], UNDERLAY[1], 0x0800, packet))
}

fn encapsulation() -> Vec<Step> {
    let plain = inner(HERE, THERE);
    let mut steps = vec![from_inside(&plain.packet(&udp(26)))];
    for dont_fragment in [false, true] {
        for tos in [0x28, 1, 2, 3, 0xbb] {
            steps.push(from_inside(&Ipv4 { dont_fragment, tos, ..plain }.packet(&udp(26))));
        }
        for ttl in [0, 1, 2, 255] {
            steps.push(from_inside(&Ipv4 { dont_fragment, ttl, ..plain }.packet(&udp(26))));
        }
        // The last that fits a tunnel of 1,480 bytes, and the first that does not.
        for length in [1460, 1461, 1480] {
            steps.push(from_inside(&Ipv4 { dont_fragment, ..plain }.packet(&udp(length))));
        }
    }
    // A packet in a packet in a packet.
    steps.push(from_inside(&Ipv4 { protocol: IPIP, ..plain }.packet(&plain.packet(&udp(26)))));
    steps
}

fn decapsulation() -> Vec<Step> {
    let (plain, outer) = (inner(THERE, HERE), Ipv4 { protocol: IPIP, ..inner(REMOTE, LOCAL) });
    let mut steps = vec![from_underlay(&outer.packet(&plain.packet(&udp(26))))];
    let wrap = |outer: Ipv4, inner: Ipv4| from_underlay(&outer.packet(&inner.packet(&udp(26))));
    for tos in [0, 1, 2, 3, 0x28] {
        for inner_tos in [0, 1, 2, 3] {
            steps.push(wrap(Ipv4 { tos, ..outer }, Ipv4 { tos: inner_tos, ..plain }));
        }
    }
    for ttl in [1, 2] {
        steps.push(wrap(Ipv4 { ttl, ..outer }, plain));
        steps.push(wrap(outer, Ipv4 { ttl, ..plain }));
    }
    steps.push(wrap(Ipv4 { dont_fragment: true, ..outer }, plain));
    steps.push(wrap(outer, Ipv4 { dont_fragment: true, ..plain }));
    steps.push(wrap(Ipv4 { source: [192, 0, 2, 3], ..outer }, plain)); // of nobody's tunnel
    let whole = outer.packet(&plain.packet(&udp(26)));
    // Inner headers that are cut off, or are none.
    steps
        .extend([20, 21, 39, 40, 41].map(|length| from_underlay(&outer.packet(&whole[20..][..length - 20]))));
    steps.push(from_underlay(&outer.packet(&[&[0x65][..], &whole[21..]].concat())));
    steps.push(from_underlay(&outer.packet(&[&[0x44][..], &whole[21..]].concat())));
    steps
}

/// An error of ICMP from a router along the way, about this packet.
fn error(kind: u8, code: u8, about: &[u8]) -> Step {
    let mut message = [&[kind, code, 0, 0, 0, 0, 0, 0][..], about].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    from_underlay(&Ipv4 { protocol: 1, ..inner(REMOTE, LOCAL) }.packet(&message))
}

/// What routers along the way say of packets of the tunnel, and what becomes of those that follow.
fn errors() -> Vec<Step> {
    let short = inner(HERE, THERE).packet(&udp(26));
    let outer = Ipv4 { protocol: IPIP, ..inner(LOCAL, REMOTE) }.packet(&short);
    let (next, other) = (from_inside(&short), from_inside(&inner(HERE, THERE).packet(&udp(27))));
    let mut steps = vec![next.clone()];
    for (kind, code) in [(3, 0), (3, 1), (3, 2), (3, 3), (3, 5), (3, 13), (11, 0), (11, 1), (12, 0), (4, 0)] {
        for about in [&outer[..], &outer[..28]] {
            steps.extend([error(kind, code, about), next.clone(), other.clone()]);
        }
    }
    // Of several, as many senders are told; of nobody's packet and of no tunnel's, none.
    steps.extend([3, 3, 3].map(|kind| error(kind, 1, &outer[..28])));
    steps.extend([&next, &other, &next, &other].map(Clone::clone));
    let mut forged = outer.clone();
    forged[19] = 9;
    steps.extend([error(3, 1, &forged), next.clone()]);
    steps
}
