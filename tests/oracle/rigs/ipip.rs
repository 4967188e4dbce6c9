//! IPIP: the bytes of encapsulation and decapsulation, between a routed network at p0 and the underlay at p1.

use super::{Ipv4, Rig, Step, carrying};

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
