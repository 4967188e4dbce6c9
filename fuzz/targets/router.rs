//! The fuzz target about the control side of the router: whatever workers hand over, in whatever order. A plain function, as in
//! [`frames.rs`](frames.rs).

use std::net::IpAddr;
use std::time::Duration;

use rigswitch::router::{Output, RoutedDevice, Router, Setting};
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::punt::PuntReason;
use rigswitch_dataplane::rate::Rate;
use rigswitch_dataplane::tables::next_hop::{NextHop, NextHops};
use rigswitch_dataplane::tables::route::{Prefix, Routes};
use rigswitch_dataplane::tables::{Interface, Routing};
use rigswitch_dataplane::wire::arp::Arp;
use rigswitch_dataplane::wire::ethernet::{EtherType, Ethernet};
use rigswitch_dataplane::wire::forward;

const MACS: [MacAddr; 2] = [MacAddr::new([2, 0, 0, 0, 0xaa, 0]), MacAddr::new([2, 0, 0, 0, 0xaa, 1])];

/// Events, one after the other: one byte of which reason, device and how much later, one of length in units of two, the frame, and again.
/// What is put out is whole, and what is held is bounded.
pub(crate) fn router(mut bytes: &[u8]) {
    const MOST_HELD: usize = 4096;
    let (mut router, routing) = set_up();
    let mut now = Duration::ZERO;
    while let [how, length, rest @ ..] = bytes {
        let (frame, rest) = rest.split_at(rest.len().min(usize::from(*length) * 2));
        bytes = rest;
        let reason = PuntReason::ALL[usize::from(how & 0xf) % PuntReason::ALL.len()];
        router.hear(DeviceId((how >> 4 & 1).into()), reason, frame, &routing, now);
        for _ in 0..how >> 5 << 3 {
            now += Duration::from_millis(100);
            router.tick(&routing, now);
        }
        assert!(router.held().0 <= MOST_HELD);
        for output in router.outputs() {
            let Output::Send { frame, .. } = output else { continue };
            let ethernet = Ethernet::view(&frame).expect("a frame has a header");
            match ethernet.ether_type() {
                EtherType::ARP => assert!(Arp::view(ethernet.payload()).is_ok()),
                EtherType::IPV4 => assert!(forward::accept_ipv4(ethernet.payload()).is_ok()),
                _ => assert!(forward::accept_ipv6(ethernet.payload()).is_ok()),
            }
        }
        assert!(router.neighbors().all(|(_, _, mac)| !mac.is_group() && !mac.is_zero()));
    }
}

/// Two devices: 10.0.0.1/24 and fd00::1/64, 10.0.1.1/24 and fd01::1/64.
fn set_up() -> (Router, Routing) {
    let device = |n: u16| {
        let octet = n.to_be_bytes()[1];
        let ipv4 = IpAddr::from([10, 0, octet, 1]);
        let ipv6 = IpAddr::from([0xfd00 | n, 0, 0, 0, 0, 0, 0, 1]);
        RoutedDevice {
            id: DeviceId(n),
            mac: MACS[usize::from(n)],
            mtu: 1500 - 100 * u32::from(n),
            is_up: true,
            addresses: vec![(ipv4, 24), (ipv6, 64)],
            has_neighbors: true,
            is_hosts: false,
        }
    };
    let devices = vec![device(0), device(1)];
    let interface = |it: &RoutedDevice| Interface {
        mac: it.mac,
        mtu: it.mtu,
        forwards: true,
        checks_source: false,
        has_neighbors: it.has_neighbors,
    };
    let interfaces = devices.iter().map(|it| Some(interface(it))).collect();
    let mut router = Router::new();
    router.set(
        Setting {
            devices,
            fixed: Vec::new(),
            far_ends: std::collections::BTreeMap::new(),
            groups: std::collections::BTreeSet::new(),
            vxlan_ends: std::collections::BTreeSet::new(),
            icmp_rate: Rate::ICMP,
            dad_transmits: 1,
        },
        Duration::ZERO,
    );
    let mut next_hops = NextHops::new();
    let (mut ipv4, mut ipv6) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    for (device, address, length) in router.local_addresses() {
        for (length, next_hop) in [(length, NextHop::Connected { device }), (128, NextHop::Local { device })]
        {
            let id = next_hops.add(next_hop).expect("a few");
            match address {
                IpAddr::V4(address) => drop(ipv4.insert(Prefix::of(address, length), id)),
                IpAddr::V6(address) => drop(ipv6.insert(Prefix::of(address, length), id)),
            }
        }
    }
    let (ipv4, ipv6) = (Routes::new(ipv4), Routes::new(ipv6));
    let next_hops = next_hops.into();
    (router, Routing { interfaces, ipv4: ipv4.into(), ipv6: ipv6.into(), next_hops, ..Routing::default() })
}
