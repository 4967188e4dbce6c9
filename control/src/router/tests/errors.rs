//! Errors about packets that did not arrive.

use etherparse::icmpv4::{DestUnreachableHeader, TimeExceededCode};
use etherparse::icmpv6::{DestUnreachableCode, TimeExceededCode as TimeExceededV6};
use etherparse::{Icmpv4Type, Icmpv6Type, IpNumber};
use rigswitch_dataplane::tables::station_of;

use super::*;

impl Rig {
    /// What is told of a packet: whence, and what.
    fn report(
        &mut self,
        reason: PuntReason,
        from: &str,
        to: &str,
        payload: &[u8],
    ) -> Option<(IpAddr, String)> {
        let frame = udp(from, to, 1, payload);
        let reports = self.sent(HERE, reason, &frame);
        let [(HERE, report)] = &reports[..] else {
            assert_eq!(reports, []);
            return None;
        };
        let (stations, addresses, ttl, transport, quoted) = read(report);
        assert_eq!((stations, addresses[1], ttl), ([station(1), MACS[0]], ip(from), 64));
        assert!(frame[14..].starts_with(&quoted) && quoted.len() >= 28);
        let kind = match transport {
            TransportHeader::Icmpv4(icmp) => format!("{:?}", icmp.icmp_type),
            TransportHeader::Icmpv6(icmp) => format!("{:?}", icmp.icmp_type),
            other => panic!("{other:?}"),
        };
        Some((addresses[0], kind))
    }
}

#[test]
fn each_trouble_has_its_message() {
    use DestUnreachableHeader as V4;
    use PuntReason::{Prohibited, TooBig, TtlExceeded, Unreachable};
    let v4 = |header| Icmpv4Type::DestinationUnreachable(header);
    let v6 = |code| Icmpv6Type::DestinationUnreachable(code);
    let needed = v4(V4::FragmentationNeeded { next_hop_mtu: 1400 });
    for (reason, to, expected) in [
        (TtlExceeded, "10.0.1.2", Icmpv4Type::TimeExceeded(TimeExceededCode::TtlExceededInTransit)),
        (TooBig, "10.0.1.2", needed.clone()),
        (TooBig, "198.1.2.3", needed),
        (Unreachable, "192.0.2.1", v4(V4::Network)),
        (Unreachable, "10.8.0.1", v4(V4::Host)),
        (Prohibited, "10.7.0.1", v4(V4::FilterProhibited)),
    ] {
        let told = Rig::with_hosts().report(reason, "10.0.0.2", to, &[0; 1450]);
        assert_eq!(told, Some((ip("10.0.0.1"), format!("{expected:?}"))));
    }
    for (reason, to, expected) in [
        (TtlExceeded, "fd01::2", Icmpv6Type::TimeExceeded(TimeExceededV6::HopLimitExceeded)),
        (TooBig, "fd01::2", Icmpv6Type::PacketTooBig { mtu: 1400 }),
        (Unreachable, "2001:db8::1", v6(DestUnreachableCode::NoRoute)),
        (Unreachable, "fd08::1", v6(DestUnreachableCode::NoRoute)),
        (Prohibited, "fd07::1", v6(DestUnreachableCode::Prohibited)),
    ] {
        let told = Rig::with_hosts().report(reason, "fd00::2", to, &[0; 1450]);
        assert_eq!(told, Some((ip("fd00::1"), format!("{expected:?}"))));
    }
}

#[test]
fn senders_of_held_packets_are_told_that_the_host_is_unreachable() {
    for (from, to, expected) in [
        (
            "10.0.0.2",
            "10.0.1.9",
            format!("{:?}", Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Host)),
        ),
        (
            "fd00::2",
            "fd01::9",
            format!("{:?}", Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Address)),
        ),
    ] {
        let mut rig = Rig::with_hosts();
        rig.hear(HERE, PuntReason::Unresolved, &udp(from, to, 9, b"waits"));
        let outputs = rig.wait(SECOND * 3);
        let (device, told) = sent(outputs.last().unwrap().1.clone());
        let kind = match read(&told).3 {
            TransportHeader::Icmpv4(icmp) => format!("{:?}", icmp.icmp_type),
            TransportHeader::Icmpv6(icmp) => format!("{:?}", icmp.icmp_type),
            other => panic!("{other:?}"),
        };
        assert_eq!((device, kind), (HERE, expected));
    }
}

#[test]
fn error_comes_from_the_device_that_it_leaves_by() {
    let mut rig = Rig::with_hosts();
    let frame = udp("198.1.2.3", "192.0.2.1", 1, b"data");
    let reports = rig.sent(HERE, PuntReason::TtlExceeded, &frame);
    let (stations, addresses, ..) = read(&reports[0].1);
    assert_eq!((reports[0].0, stations), (THERE, [station(2), MACS[1]]));
    assert_eq!(addresses, [ip("10.0.1.1"), ip("198.1.2.3")]);
    // One that has no address speaks with another's.
    let mut bare = setting();
    bare.devices[1].addresses.clear();
    bare.fixed = vec![(THERE, ip("10.0.1.2"), station(2))];
    rig.set(bare);
    let reports = rig.sent(HERE, PuntReason::TtlExceeded, &frame);
    assert_eq!(read(&reports[0].1).1[0], ip("10.0.0.1"));
}

#[test]
fn the_host_is_told_of_a_tunnel_that_it_has_as_from_where_its_packet_was_to_go() {
    const TUNNEL: DeviceId = DeviceId(2);
    let mut rig = Rig::with_hosts();
    let mut setting = setting();
    let of_host = RoutedDevice {
        addresses: Vec::new(),
        has_neighbors: false,
        is_hosts: true,
        ..setting.devices[0].clone()
    };
    setting.devices.push(RoutedDevice { id: TUNNEL, mac: station(9), ..of_host });
    rig.set(setting);
    let mut told = |from: &str, to: &str| {
        let inside = udp(from, to, 9, &[0; 1400]);
        let protocol = if from.contains(':') { IpNumber::IPV6 } else { IpNumber::IPV4 };
        let outer = PacketBuilder::ethernet2([2; 6], [2; 6]).ipv4([10, 0, 1, 1], [10, 0, 1, 2], 9);
        let mut frame = Vec::new();
        outer.write(&mut frame, protocol, &inside[14..]).unwrap();
        let reports = rig.sent(TUNNEL, PuntReason::TunnelTooBig, &frame);
        reports.into_iter().next().map(|(device, report)| {
            let (stations, addresses, _, transport, _) = read(&report);
            assert_eq!((device, stations), (TUNNEL, [station_of(ip(from)), station(9)]));
            (addresses, transport)
        })
    };
    let needs =
        Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1380 });
    let (addresses, transport) = told("172.16.0.1", "172.16.1.1").unwrap();
    assert_eq!(addresses, [ip("172.16.1.1"), ip("172.16.0.1")]);
    assert_eq!(transport.icmpv4().unwrap().icmp_type, needs);
    let (addresses, transport) = told("fd45::1", "fd46::1").unwrap();
    assert_eq!(addresses, [ip("fd46::1"), ip("fd45::1")]);
    assert_eq!(transport.icmpv6().unwrap().icmp_type, Icmpv6Type::PacketTooBig { mtu: 1380 });
    assert_eq!(told("fd45::1", "ff0e::1"), None, "nobody sends from a group");
}

#[test]
fn link_local_sender_is_told_that_its_address_ends_here() {
    let mut rig = Rig::with_hosts();
    let mut near = setting();
    near.fixed = vec![(HERE, ip("fe80::2"), station(1))];
    rig.set(near);
    let told = rig.report(PuntReason::BeyondScope, "fe80::2", "fd01::2", &[0; 9]);
    let expected = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::BeyondScope);
    assert_eq!(told, Some((link_local(MACS[0]).into(), format!("{expected:?}"))));
    assert_eq!(
        rig.report(PuntReason::BeyondScope, "10.0.0.2", "10.0.1.2", &[]),
        None,
        "IPv4 has no such thing"
    );
}

#[test]
fn mtu_of_ipv6_is_never_told_to_be_less_than_1280() {
    let mut rig = Rig::with_hosts();
    let mut narrow = setting();
    narrow.devices[1].mtu = 600;
    narrow.fixed = vec![(HERE, ip("fd00::2"), station(1))];
    rig.set(narrow);
    let told = rig.report(PuntReason::TooBig, "fd00::2", "fd01::2", &[0; 1450]);
    assert_eq!(told.unwrap().1, format!("{:?}", Icmpv6Type::PacketTooBig { mtu: 1280 }));
}

#[test]
fn nothing_is_told_where_nothing_may_be() {
    let mut rig = Rig::with_hosts();
    for (reason, from, to) in [
        // From no host, a group, us, or nobody we know a way to.
        (PuntReason::TtlExceeded, "240.0.0.1", "10.0.1.2"),
        (PuntReason::TtlExceeded, "10.0.0.255", "10.0.1.2"),
        (PuntReason::TtlExceeded, "10.0.1.1", "10.0.1.2"),
        (PuntReason::TtlExceeded, "192.0.2.1", "10.0.1.2"),
        (PuntReason::TtlExceeded, "10.0.0.2", "224.0.0.5"),
        (PuntReason::TtlExceeded, "2001:db8::1", "fd01::2"),
        // There is a way meanwhile, or none where the next link would be.
        (PuntReason::Unreachable, "10.0.0.2", "10.0.1.2"),
        (PuntReason::TooBig, "10.0.0.2", "192.0.2.1"),
        (PuntReason::Unresolved, "10.0.0.2", "192.0.2.1"),
        (PuntReason::Membership, "10.0.0.2", "10.0.1.2"),
    ] {
        assert_eq!(rig.report(reason, from, to, b"data"), None, "{reason:?} {from} {to}");
    }
    // In a frame to all; an error; a later fragment.
    let mut to_all = udp("10.0.0.2", "10.0.1.2", 1, b"data");
    to_all[..6].fill(0xff);
    let error = rig.sent(HERE, PuntReason::TtlExceeded, &udp("10.0.0.2", "10.0.1.2", 1, b"data")).remove(0).1;
    let mut later = udp("10.0.0.2", "10.0.1.2", 1, b"data");
    let sum = u16::from_be_bytes([later[24], later[25]]) - 1;
    later[24..26].copy_from_slice(&sum.to_be_bytes());
    later[21] += 1;
    for frame in [to_all, error, later] {
        assert_eq!(rig.sent(HERE, PuntReason::TtlExceeded, &frame), []);
    }
    assert_eq!(rig.router.counters().icmp_sent, 1);
}

#[test]
fn one_sender_is_told_six_times_at_once_and_then_once_a_second() {
    let mut rig = Rig::with_hosts();
    let told = |rig: &mut Rig, from: &str, count: usize| {
        let to = if from.contains(':') { "fd01::2" } else { "10.0.1.2" };
        (0..count).filter(|_| rig.report(PuntReason::TtlExceeded, from, to, b"data").is_some()).count()
    };
    assert_eq!(told(&mut rig, "10.0.0.2", 20), 6);
    assert_eq!(told(&mut rig, "fd00::2", 20), 6);
    assert_eq!(rig.router.counters().icmp_suppressed, 28);
    rig.wait(SECOND);
    assert_eq!(told(&mut rig, "10.0.0.2", 20), 1);
    rig.wait(SECOND * 20);
    assert_eq!(told(&mut rig, "10.0.0.2", 20), 6);
    // Path MTU discovery is not held up.
    let mtu = |rig: &mut Rig| rig.report(PuntReason::TooBig, "10.0.0.2", "10.0.1.2", &[0; 1450]).is_some();
    assert_eq!((0..20).filter(|_| mtu(&mut rig)).count(), 20);
}

#[test]
fn all_senders_are_told_fifty_times_at_once_and_then_as_the_rate_says() {
    let mut rig = Rig::with_hosts();
    let told = |rig: &mut Rig, count: u32| {
        let before = rig.router.counters().icmp_sent;
        for n in 0..count {
            let from = Ipv4Addr::from_bits(0xc600_0000 + n).to_string();
            rig.hear(HERE, PuntReason::TtlExceeded, &udp(&from, "10.0.1.2", 1, b"data"));
        }
        rig.router.counters().icmp_sent - before
    };
    assert_eq!(told(&mut rig, 10_000), 50);
    assert!(rig.router.limits.destinations() <= 4096);
    rig.now += Duration::from_millis(10);
    assert_eq!(told(&mut rig, 10_000), 10);
    let mut slow = setting();
    slow.icmp_rate = Rate { per_second: 1, burst: 3 };
    slow.fixed = vec![(THERE, ip("10.0.1.2"), station(2))];
    rig.set(slow.clone());
    assert_eq!(told(&mut rig, 100), 3);
    // The same again fills nothing up.
    rig.set(slow);
    assert_eq!(told(&mut rig, 100), 0);
}
