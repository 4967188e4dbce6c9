//! Packets for our own addresses.

use etherparse::{Icmpv4Type, Icmpv6Type};
use rigswitch_dataplane::tables::station_of;
use rigswitch_dataplane::wire::arp::{self, Arp};
use rigswitch_dataplane::wire::neighbor::{Advertisement, group_mac};

use super::*;

impl Rig {
    /// 10.0.0.2 and fd00::2 are station 1, behind device 0, and 10.0.1.2 is station 2, behind device 1.
    pub(super) fn with_hosts() -> Self {
        let mut rig = Self::new();
        let mut more = setting();
        more.fixed = vec![
            (HERE, ip("10.0.0.2"), station(1)),
            (HERE, ip("fd00::2"), station(1)),
            (HERE, ip("fe80::2"), station(1)),
            (THERE, ip("10.0.1.2"), station(2)),
            (THERE, ip("fd01::2"), station(2)),
        ];
        rig.set(more);
        rig
    }

    fn local(&mut self, frame: &[u8]) -> Vec<(DeviceId, Vec<u8>)> {
        self.sent(HERE, PuntReason::Local, frame)
    }
}

#[test]
fn echoes_come_back_from_the_address_that_was_asked() {
    for (from, to) in [
        ("10.0.0.2", "10.0.0.1"),
        ("10.0.0.2", "10.0.1.1"),
        ("fd00::2", "fd00::1"),
        ("fd00::2", "fd01::1"),
        ("fe80::2", "fe80::ff:fe00:aa00"),
    ] {
        let mut rig = Rig::with_hosts();
        let mut request = ping(from, to, b"data");
        request.extend([0; 20]); // padding
        let answers = rig.local(&request);
        let [(HERE, answer)] = &answers[..] else { panic!("{answers:?}") };
        let (stations, addresses, ttl, transport, payload) = read(answer);
        assert_eq!((stations, addresses, ttl), ([station(1), MACS[0]], [ip(to), ip(from)], 64));
        match transport {
            TransportHeader::Icmpv4(icmp) => {
                let Icmpv4Type::EchoReply(echo) = icmp.icmp_type else { panic!("{icmp:?}") };
                assert_eq!((echo.id, echo.seq), (7, 8));
            }
            TransportHeader::Icmpv6(icmp) => {
                let Icmpv6Type::EchoReply(echo) = icmp.icmp_type else { panic!("{icmp:?}") };
                assert_eq!((echo.id, echo.seq), (7, 8));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(payload, b"data");
        assert_eq!(rig.router.counters().echoes, 1);
    }
}

#[test]
fn echo_to_all_nodes_is_answered_from_an_address_of_the_same_scope() {
    for (from, to, ours) in [
        ("fe80::2", "ff02::1", "fe80::ff:fe00:aa00"),
        ("fd00::2", "ff02::1", "fd00::1"),
        ("fd00::2", "ff02::2", "fd00::1"),
        ("fd00::2", "ff02::1:ff00:1", "fd00::1"),
    ] {
        let mut rig = Rig::with_hosts();
        let mut request = ping(from, to, b"data");
        request[..6].copy_from_slice(&group_mac(v6(to)).octets());
        let answers = rig.local(&request);
        assert_eq!(read(&answers[0].1).1, [ip(ours), ip(from)], "{to}");
    }
    // A group that we are not in.
    assert_eq!(Rig::with_hosts().local(&ping("fd00::2", "ff02::5", b"")), []);
}

#[test]
fn answers_go_by_the_routing_table_and_wait_for_the_neighbor() {
    let mut rig = Rig::new();
    // It came by device 0, and the way back is by device 1.
    let asked = rig.local(&ping("198.1.2.3", "10.0.0.1", b"data"));
    let question = arp::request((MACS[1], v4("10.0.1.1")), v4("10.0.1.2"), MacAddr::BROADCAST);
    assert_eq!(asked, [(THERE, question.to_vec())]);
    let outputs = rig.sent(THERE, PuntReason::Arp, &Arp::view(&question[14..]).unwrap().reply(station(2)));
    let [(THERE, answer)] = &outputs[..] else { panic!("{outputs:?}") };
    let (stations, addresses, ..) = read(answer);
    assert_eq!((stations, addresses), ([station(2), MACS[1]], [ip("10.0.0.1"), ip("198.1.2.3")]));

    let asked = rig.local(&ping("fdc6::3", "fd00::1", b"data"));
    assert_eq!(asked.len(), 1);
    let said = Advertisement {
        mac: station(3),
        address: v6("fd01::2"),
        is_router: true,
        is_solicited: true,
        overrides: true,
    };
    let outputs = rig.sent(THERE, PuntReason::Local, &said.frame((MACS[1], link_local(MACS[1]))));
    assert_eq!(read(&outputs[0].1).0, [station(3), MACS[1]]);
    // No way leads back there.
    for from in ["192.0.2.1", "10.9.0.1", "10.8.0.1", "10.0.0.1", "10.0.0.255", "2001:db8::1", "fd08::1"] {
        let to = if from.contains(':') { "fd00::1" } else { "10.0.0.1" };
        assert_eq!(rig.local(&ping(from, to, b"")), [], "{from}");
    }
    assert_eq!(rig.router.counters().unroutable, 7);
}

#[test]
fn long_answers_are_fragmented_where_that_may_be() {
    let mut rig = Rig::with_hosts();
    let answers = rig.local(&ping("198.1.2.3", "10.0.0.1", &[7; 1472]));
    assert_eq!(answers.iter().map(|(_, frame)| frame.len()).collect::<Vec<_>>(), [14 + 1396, 14 + 20 + 104]);
    // In IPv6 whoever sends fragments, and the headers are longer by eight bytes.
    let answers = rig.local(&ping("fdc6::3", "fd00::1", &[7; 1452]));
    assert_eq!(answers.iter().map(|(_, frame)| frame.len()).collect::<Vec<_>>(), [14 + 1400, 14 + 48 + 108]);
}

#[test]
fn device_without_neighbors_takes_packets_as_they_are() {
    let mut rig = Rig::new();
    let mut tunnel = setting();
    tunnel.devices[1].has_neighbors = false;
    rig.set(tunnel);
    let answers = rig.local(&ping("198.1.2.3", "10.0.0.1", b"data"));
    assert_eq!((answers[0].0, read(&answers[0].1).0), (THERE, [station_of(ip("10.0.1.2")), MACS[1]]));
    assert!(rig.router.view(rig.now).is_empty());
}

#[test]
fn what_nobody_takes_is_reported() {
    use etherparse::icmpv4::DestUnreachableHeader as V4;
    use etherparse::icmpv6::{DestUnreachableCode, ParameterProblemCode, ParameterProblemHeader};
    let v4 = |header| {
        Some(TransportHeader::Icmpv4(etherparse::Icmpv4Header::new(Icmpv4Type::DestinationUnreachable(
            header,
        ))))
    };
    let v6 = |kind: Icmpv6Type| Some(TransportHeader::Icmpv6(etherparse::Icmpv6Header::new(kind)));
    let problem = ParameterProblemHeader { code: ParameterProblemCode::UnrecognizedNextHeader, pointer: 6 };
    // Of IPv4 the protocol is byte 23 of a frame and the header's checksum at 24, of IPv6 byte 20.
    for (to, protocol, expected) in [
        ("10.0.1.1", 17, v4(V4::Port)),
        ("10.0.1.1", 47, v4(V4::Protocol)),
        ("10.0.1.1", 2, None),
        ("fd01::1", 17, v6(Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Port))),
        ("fd01::1", 47, v6(Icmpv6Type::ParameterProblem(problem))),
        ("fd01::1", 59, None),
    ] {
        let mut rig = Rig::with_hosts();
        let is_ipv6 = to.contains(':');
        let mut frame = udp(if is_ipv6 { "fd00::2" } else { "10.0.0.2" }, to, 9, b"data");
        if is_ipv6 {
            frame[20] = protocol;
        } else {
            let sum = u16::from_be_bytes([frame[24], frame[25]]) + 17 - u16::from(protocol);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
            frame[23] = protocol;
        }
        let reports = rig.local(&frame);
        let Some(expected) = expected else {
            assert_eq!((reports, rig.router.counters().ignored), (vec![], 1), "{to} {protocol}");
            continue;
        };
        let (stations, addresses, ttl, transport, quoted) = read(&reports[0].1);
        assert_eq!((stations, ttl), ([station(1), MACS[0]], 64));
        assert_eq!(addresses[0], ip(to), "from the address that it was for");
        assert_eq!(quoted, frame[14..]);
        assert_eq!(kind(&transport), kind(&expected));
    }
}

/// A segment from station 1 that begins a connection, or refuses one.
fn segment(from: &str, to: &str, begins: bool) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(station(1).octets(), MACS[0].octets());
    let builder = match (ip(from), ip(to)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 9),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 9),
        _ => panic!("of one family"),
    };
    let builder = builder.tcp(1000, 22, 77, 500);
    let mut frame = Vec::new();
    if begins { builder.syn() } else { builder.rst() }.write(&mut frame, &[]).unwrap();
    frame
}

#[test]
fn connections_are_refused() {
    for (from, to) in [("10.0.0.2", "10.0.1.1"), ("fd00::2", "fd01::1")] {
        let mut rig = Rig::with_hosts();
        let resets = rig.local(&segment(from, to, true));
        let (stations, addresses, ttl, transport, payload) = read(&resets[0].1);
        assert_eq!((stations, addresses, ttl), ([station(1), MACS[0]], [ip(to), ip(from)], 64));
        let TransportHeader::Tcp(tcp) = transport else { panic!("{transport:?}") };
        assert_eq!((tcp.source_port, tcp.destination_port, tcp.acknowledgment_number), (22, 1000, 78));
        assert!(tcp.rst && tcp.ack && payload.is_empty());
        assert_eq!(rig.router.counters().resets, 1);
        // A refusal is not refused.
        assert_eq!((rig.local(&segment(from, to, false)), rig.router.counters().ignored), (vec![], 1));
    }
}

/// A message's type, without its checksum.
fn kind(transport: &TransportHeader) -> String {
    match transport {
        TransportHeader::Icmpv4(icmp) => format!("{:?}", icmp.icmp_type),
        TransportHeader::Icmpv6(icmp) => format!("{:?}", icmp.icmp_type),
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_for_us_are_counted_and_what_is_broken_too() {
    let mut rig = Rig::with_hosts();
    let reports = rig.local(&udp("10.0.0.2", "10.0.1.1", 9, b"data"));
    let mut back = reports[0].1.clone();
    // It goes the other way round: the sums stay.
    let (from, to): ([u8; 4], [u8; 4]) =
        (*back[26..].first_chunk().unwrap(), *back[30..].first_chunk().unwrap());
    back[26..30].copy_from_slice(&to);
    back[30..34].copy_from_slice(&from);
    assert_eq!((rig.local(&back), rig.router.counters().errors_heard), (vec![], 1));
    let mut broken = ping("10.0.0.2", "10.0.0.1", b"data");
    broken[40] ^= 1;
    assert_eq!((rig.local(&broken), rig.router.counters().malformed), (vec![], 1));
    let mut header = ping("10.0.0.2", "10.0.0.1", b"data");
    header[24] ^= 1;
    assert_eq!((rig.local(&header), rig.router.counters().malformed), (vec![], 2));
    // An address that is not ours, or not any more; a link-local one of another device.
    for (from, to) in [("10.0.0.2", "10.0.0.77"), ("fd00::2", "fd00::77"), ("fe80::2", "fe80::ff:fe00:aa01")]
    {
        assert_eq!(rig.local(&ping(from, to, b"")), []);
    }
    assert_eq!(rig.router.counters().ignored, 3);
}
