//! Tunnels over IPv6 (`type ip6tnl`): the bytes of encapsulation and decapsulation, and what errors along the way come to, between a routed network
//! at p0 and the underlay at p1.

use super::{Ipv4, Ipv6, Rig, Step, carrying, checksum, v6};

/// Addresses of the rig's p0 and p1, and of who is behind them.
const INSIDE: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xaa, 0], [2, 0, 0, 0, 1, 0]];
const UNDERLAY: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xaa, 1], [2, 0, 0, 0, 1, 1]];
const HERE: [u8; 4] = [10, 1, 0, 2];
const THERE: [u8; 4] = [10, 2, 0, 2];
const HERE_6: [u8; 16] = v6(0xfd01, 2);
const THERE_6: [u8; 16] = v6(0xfd02, 2);
const LOCAL: [u8; 16] = v6(0xfd00, 1);
const REMOTE: [u8; 16] = v6(0xfd00, 2);
const UDP: u8 = 17;
const IPV4: u8 = 4;
const IPV6: u8 = 41;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;

pub(super) fn rigs() -> Vec<Rig> {
    let both = "local fd00::1 remote fd00::2";
    vec![
        rig("defaults", both, bothways()),
        rig("ipip6", &format!("{both} mode ipip6"), bothways()),
        rig("ip6ip6", &format!("{both} mode ip6ip6"), bothways()),
        rig("no encapsulation limit", &format!("{both} encaplimit none"), bothways()),
        rig("fixed", &format!("{both} encaplimit 0 hoplimit 7 tclass 0x28 flowlabel 0x12345"), bothways()),
        rig("inherited", &format!("{both} hoplimit 0 tclass inherit flowlabel inherit"), bothways()),
        rig(
            "any remote",
            "local fd00::1",
            vec![("decapsulation", [decapsulation(), from_another()].concat())],
        ),
        rig("errors", both, vec![("errors", errors(8))]),
        rig(
            "errors without encapsulation limit",
            &format!("{both} encaplimit none"),
            vec![("errors", errors(0))],
        ),
    ]
}

fn rig(name: &str, tunnel: &str, cases: Vec<(&'static str, Vec<Step>)>) -> Rig {
    let pairs = tunnel.split(' ').collect::<Vec<_>>();
    let keys = pairs.chunks(2).map(|pair| match pair {
        ["hoplimit", value] => format!("hoplimit = {value}\n"),
        ["encaplimit", value] if *value != "none" => format!("encaplimit = {value}\n"),
        pair => format!("{} = \"{}\"\n", pair[0], pair[1]),
    });
    let keys: String = keys.collect();
    let knobs = "for knob in all/forwarding=1 default/disable_ipv6=0 default/accept_dad=0 default/addr_gen_mode=1 p0/addr_gen_mode=1 \
         p1/addr_gen_mode=1 p0/disable_ipv6=0 p1/disable_ipv6=0; do echo \"${knob#*=}\" >\"/proc/sys/net/ipv6/conf/${knob%=*}\"; done\n";
    let kernel = format!(
        "{knobs}ip addr add 10.1.0.1/24 dev p0\nip addr add fd01::1/64 dev p0 nodad\nip addr add fd00::1/64 dev p1 nodad\n\
         ip neigh add 10.1.0.2 dev p0 lladdr 02:00:00:00:01:00\nip neigh add fd01::2 dev p0 lladdr 02:00:00:00:01:00\n\
         ip neigh add fd00::2 dev p1 lladdr 02:00:00:00:01:01\n\
         ip link add tun0 type ip6tnl {tunnel}\nip link set tun0 up\nip route add 10.2.0.0/24 dev tun0\n\
         ip route add fd02::/64 dev tun0\necho 1 >/proc/sys/net/ipv4/ip_forward\nbusybox usleep 300000\n"
    );
    let address = |device, address| format!("[[address]]\ndevice = \"{device}\"\naddress = \"{address}\"\n");
    let neighbour = |device, address, mac| {
        format!("[[neighbor]]\ndevice = \"{device}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n")
    };
    let ours = [
        "[routing]\nforwarding = true\nicmp_ratelimit = 0\ndad_transmits = 0\n".to_owned(),
        format!("[[ipip]]\nname = \"tun0\"\n{keys}"),
        address("p0", "10.1.0.1/24"),
        address("p0", "fd01::1/64"),
        address("p1", "fd00::1/64"),
        neighbour("p0", "10.1.0.2", "02:00:00:00:01:00"),
        neighbour("p0", "fd01::2", "02:00:00:00:01:00"),
        neighbour("p1", "fd00::2", "02:00:00:00:01:01"),
        "[[route]]\nto = \"10.2.0.0/24\"\ndevice = \"tun0\"\n".to_owned(),
        "[[route]]\nto = \"fd02::/64\"\ndevice = \"tun0\"\n".to_owned(),
    ];
    Rig::new(name, kernel, ours.concat(), cases)
}

fn bothways() -> Vec<(&'static str, Vec<Step>)> {
    vec![("encapsulation", encapsulation()), ("decapsulation", decapsulation())]
}

fn inner(source: [u8; 4], destination: [u8; 4]) -> Ipv4 {
    Ipv4 { source, destination, protocol: UDP, ttl: 64, tos: 0, dont_fragment: false }
}

fn inner_6(source: [u8; 16], destination: [u8; 16]) -> Ipv6 {
    Ipv6 { source, destination, next_header: UDP, hop_limit: 64, traffic_class: 0, flow_label: 0 }
}

fn udp(length: usize) -> Vec<u8> {
    let total = u16::try_from(length).unwrap().to_be_bytes();
    [&[0x30, 0x39, 0x30, 0x3a, total[0], total[1], 0, 0][..], &vec![7; length - 8]].concat()
}

/// A header of destination options with an encapsulation limit, and what it says is next (RFC 2473 §4.1.1).
fn limited(next: u8, limit: u8, rest: &[u8]) -> Vec<u8> {
    [&[next, 0, 4, 1, limit, 1, 1, 0][..], rest].concat()
}

fn frame(stations: [[u8; 6]; 2], packet: &[u8]) -> Vec<u8> {
    let ether_type = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
    carrying(stations[0], stations[1], ether_type, packet)
}

fn from_inside(packet: &[u8]) -> Step {
    Step::Send(0, frame(INSIDE, packet))
}

fn from_underlay(packet: &[u8]) -> Step {
    Step::Send(1, frame(UNDERLAY, packet))
}

fn encapsulation() -> Vec<Step> {
    let (plain, plain_6) = (inner(HERE, THERE), inner_6(HERE_6, THERE_6));
    let mut steps = vec![from_inside(&plain.packet(&udp(26)))];
    for dont_fragment in [false, true] {
        steps.extend(
            [0x28, 1, 2, 3, 0xbb]
                .map(|tos| from_inside(&Ipv4 { dont_fragment, tos, ..plain }.packet(&udp(26)))),
        );
        steps.extend(
            [1, 2, 255].map(|ttl| from_inside(&Ipv4 { dont_fragment, ttl, ..plain }.packet(&udp(26)))),
        );
        // Around what fits a tunnel of 1,452 bytes, and one of 1,460.
        for length in [1452, 1453, 1460, 1461, 1480] {
            steps.push(from_inside(&Ipv4 { dont_fragment, ..plain }.packet(&udp(length - 20))));
        }
    }
    steps.push(from_inside(&plain_6.packet(&udp(26))));
    for traffic_class in [0x28, 1, 2, 3, 0xbb] {
        steps.push(from_inside(&Ipv6 { traffic_class, ..plain_6 }.packet(&udp(26))));
    }
    steps.extend([1, 2, 255].map(|hop_limit| from_inside(&Ipv6 { hop_limit, ..plain_6 }.packet(&udp(26)))));
    steps.push(from_inside(&Ipv6 { flow_label: 0xabcde, ..plain_6 }.packet(&udp(26))));
    for length in [1452, 1453, 1460, 1461, 1480] {
        steps.push(from_inside(&plain_6.packet(&udp(length - 40))));
    }
    let options = Ipv6 { next_header: DESTINATION_OPTIONS, ..plain_6 };
    steps.extend([0, 1, 5].map(|limit| from_inside(&options.packet(&limited(UDP, limit, &udp(26))))));
    // Behind padding, behind other options, and one that is too long.
    for start in [[1, 1, 0, 0, 4, 1], [0, 0, 0x1e, 0, 4, 1], [0, 0, 0, 4, 2, 1]] {
        steps.push(from_inside(
            &options.packet(&[&[UDP, 1][..], &start, &[3, 1, 5, 0, 0, 0, 0, 0], &udp(26)].concat()),
        ));
    }
    let hop = Ipv6 { next_header: 0, ..plain_6 };
    let hops = [&[DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0][..], &limited(UDP, 3, &udp(26))].concat();
    steps.push(from_inside(&hop.packet(&hops)));
    // What has met a tunnel already, and what comes from where it would go.
    steps.push(from_inside(&Ipv6 { next_header: IPV6, ..plain_6 }.packet(&plain_6.packet(&udp(26)))));
    steps.push(from_inside(&inner_6(REMOTE, THERE_6).packet(&udp(26))));
    steps
}

fn decapsulation() -> Vec<Step> {
    let (plain, plain_6) = (inner(THERE, HERE), inner_6(THERE_6, HERE_6));
    let outer = Ipv6 { next_header: IPV4, ..inner_6(REMOTE, LOCAL) };
    let outer_6 = Ipv6 { next_header: IPV6, ..outer };
    let mut steps = vec![
        from_underlay(&outer.packet(&plain.packet(&udp(26)))),
        from_underlay(&outer_6.packet(&plain_6.packet(&udp(26)))),
    ];
    for traffic_class in [0, 1, 2, 3, 0x28] {
        for tos in [0, 1, 2, 3] {
            let inside = Ipv4 { tos, ..plain }.packet(&udp(26));
            steps.push(from_underlay(&Ipv6 { traffic_class, ..outer }.packet(&inside)));
            let inside = Ipv6 { traffic_class: tos, ..plain_6 }.packet(&udp(26));
            steps.push(from_underlay(&Ipv6 { traffic_class, ..outer_6 }.packet(&inside)));
        }
    }
    for (hop_limit, inside) in [(1, 64), (2, 64), (9, 1), (9, 2)] {
        let packet = Ipv4 { ttl: inside, ..plain }.packet(&udp(26));
        steps.push(from_underlay(&Ipv6 { hop_limit, ..outer }.packet(&packet)));
        let packet = Ipv6 { hop_limit: inside, ..plain_6 }.packet(&udp(26));
        steps.push(from_underlay(&Ipv6 { hop_limit, ..outer_6 }.packet(&packet)));
    }
    let (whole, whole_6) = (plain.packet(&udp(26)), plain_6.packet(&udp(26)));
    // With a limit, and behind other headers.
    let options = Ipv6 { next_header: DESTINATION_OPTIONS, ..outer };
    for limit in [0, 4] {
        steps.push(from_underlay(&options.packet(&limited(IPV4, limit, &whole))));
        steps.push(from_underlay(&options.packet(&limited(IPV6, limit, &whole_6))));
    }
    let hop = Ipv6 { next_header: 0, ..outer };
    steps.push(from_underlay(&hop.packet(&[&[IPV4, 0, 1, 4, 0, 0, 0, 0][..], &whole].concat())));
    steps.push(from_underlay(&outer.packet(&[&whole[..], &[0xa5; 9]].concat()))); // more than it says
    // Inner headers that are cut off, or are none.
    steps.extend([0, 1, 19, 20, 21].map(|length| from_underlay(&outer.packet(&whole[..length]))));
    steps.extend([0, 1, 39, 40, 41].map(|length| from_underlay(&outer_6.packet(&whole_6[..length]))));
    steps.push(from_underlay(&outer.packet(&whole_6)));
    steps.push(from_underlay(&outer_6.packet(&whole)));
    steps
}

/// From a far end that nothing names.
fn from_another() -> Vec<Step> {
    let outer = Ipv6 { next_header: IPV4, ..inner_6(v6(0xfd00, 3), LOCAL) };
    vec![from_underlay(&outer.packet(&inner(THERE, HERE).packet(&udp(26))))]
}

/// An error of ICMPv6 from a router along the way, about this packet.
fn error(kind: u8, code: u8, word: u32, about: &[u8]) -> Step {
    let source = v6(0xfd00, 2);
    let quoted = &about[..about.len().min(1232)];
    let mut message = [&[kind, code, 0, 0][..], &word.to_be_bytes(), quoted].concat();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let pseudo = [&source[..], &LOCAL, &length, &[0, 0, 0, ICMPV6], &message].concat();
    let sum = checksum(&pseudo);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    from_underlay(&Ipv6 { next_header: ICMPV6, ..inner_6(source, LOCAL) }.packet(&message))
}

/// What routers along the way say of packets of the tunnel, whose outer header has `options` bytes of them.
fn errors(options: usize) -> Vec<Step> {
    let (plain, plain_6) = (inner(HERE, THERE), inner_6(HERE_6, THERE_6));
    let outer = |protocol: u8, limit: u8, inside: &[u8]| {
        let outer = Ipv6 { next_header: protocol, ..inner_6(LOCAL, REMOTE) };
        match options {
            0 => outer.packet(inside),
            _ => Ipv6 { next_header: DESTINATION_OPTIONS, ..outer }.packet(&limited(protocol, limit, inside)),
        }
    };
    let (short, short_6) = (plain.packet(&udp(26)), plain_6.packet(&udp(26)));
    let mut steps = Vec::new();
    for (kind, code, word) in [(1, 0, 0), (1, 3, 0), (3, 0, 0), (3, 1, 0), (4, 1, 6), (4, 0, 44), (4, 0, 42)]
    {
        for limit in [4, 0] {
            steps.push(error(kind, code, word, &outer(IPV4, limit, &short)));
            steps.push(error(kind, code, word, &outer(IPV6, limit, &short_6)));
        }
        // What follows is not told, and goes as ever.
        steps.push(from_inside(&short));
        steps.push(from_inside(&short_6));
    }
    // Headers only, and less; of nobody's tunnel, and of a protocol that it does not have.
    let whole = outer(IPV4, 4, &short);
    steps.extend([40, 48, 60, 68].map(|length| error(1, 3, 0, &whole[..length])));
    let mut forged = whole.clone();
    forged[39] = 9;
    steps.push(error(1, 3, 0, &forged));
    // The way is narrower than its first link.
    let (long, long_6) = (plain.packet(&udp(1400)), plain_6.packet(&udp(1400)));
    for mtu in [1480, 1400, 1450, 1320, 1000] {
        steps.push(error(2, 0, mtu, &outer(IPV4, 4, &long)));
        steps.push(error(2, 0, mtu, &outer(IPV6, 4, &long_6)));
        // What fits on goes as ever; what does not, the kernel drops here, and not where routers do.
        steps.push(from_inside(&plain.packet(&udp(1240))));
        steps.push(from_inside(&plain_6.packet(&udp(1220))));
    }
    steps
}
