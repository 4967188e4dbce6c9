//! A router of two devices, told what comes and when: what it learns, answers, and reports.

mod arp;
mod detection;
mod discovery;
mod errors;
mod fragments;
mod groups;
mod local;
mod neighbors;
mod pair;
mod random;

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use rigswitch_dataplane::tables::Interface;
use rigswitch_dataplane::tables::next_hop::{NextHop, NextHops};
use rigswitch_dataplane::tables::route::{Prefix, Routes};
use rigswitch_dataplane::wire::ethernet;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);
const HERE: DeviceId = DeviceId(0);
const THERE: DeviceId = DeviceId(1);

/// Our stations.
const MACS: [MacAddr; 2] = [MacAddr::new([2, 0, 0, 0, 0xaa, 0]), MacAddr::new([2, 0, 0, 0, 0xaa, 1])];

/// A station that is not ours.
fn station(n: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, n])
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Device 0 is 10.0.0.1/24 and fd00::1/64, device 1 is 10.0.1.1/24 and fd01::1/64 with an MTU of 1,400.
fn setting() -> Setting {
    let device = |n: usize, mtu| RoutedDevice {
        id: DeviceId(u16::try_from(n).unwrap()),
        mac: MACS[n],
        mtu,
        is_up: true,
        addresses: vec![(ip(&format!("10.0.{n}.1")), 24), (ip(&format!("fd0{n}::1")), 64)],
        has_neighbors: true,
        is_hosts: false,
    };
    Setting {
        devices: vec![device(0, 1500), device(1, 1400)],
        fixed: Vec::new(),
        far_ends: BTreeMap::new(),
        groups: BTreeSet::new(),
        vxlan_ends: BTreeSet::new(),
        icmp_rate: Rate::ICMP,
        dad_transmits: 0,
    }
}

/// What workers would consult: our addresses and their networks; all of 10.9/16 is a blackhole, 10.8/16 unreachable, 10.7/16 prohibited, of
/// fd08::/16 and fd07::/16 the same; 198/8 goes by 10.0.1.2, and fdc6::/16 by fd01::2.
fn routing(router: &Router, setting: &Setting) -> Routing {
    let mut next_hops = NextHops::new();
    let (mut routes_ipv4, mut routes_ipv6) = (BTreeMap::new(), BTreeMap::new());
    let mut add = |address: IpAddr, length, next_hop| {
        let id = next_hops.add(next_hop).unwrap();
        match address {
            IpAddr::V4(address) => drop(routes_ipv4.insert(Prefix::of(address, length), id)),
            IpAddr::V6(address) => drop(routes_ipv6.insert(Prefix::of(address, length), id)),
        }
    };
    for (device, address, length) in router.local_addresses() {
        add(address, length, NextHop::Connected { device });
        add(address, 128, NextHop::Local { device });
    }
    add(ip("10.0.0.255"), 32, NextHop::Broadcast { device: HERE });
    for (text, next_hop) in [
        ("10.9.0.0", NextHop::Blackhole),
        ("10.8.0.0", NextHop::Unreachable),
        ("10.7.0.0", NextHop::Prohibit),
        ("fd08::", NextHop::Unreachable),
        ("fd07::", NextHop::Prohibit),
        ("fdc6::", NextHop::Gateway { device: THERE, gateway: ip("fd01::2") }),
    ] {
        add(ip(text), 16, next_hop);
    }
    add(ip("198.0.0.0"), 8, NextHop::Gateway { device: THERE, gateway: ip("10.0.1.2") });
    let interface = |it: &RoutedDevice| Interface {
        mac: it.mac,
        mtu: it.mtu,
        forwards: true,
        checks_source: false,
        has_neighbors: it.has_neighbors,
    };
    let interfaces = setting.devices.iter().map(|it| (it.is_up && !it.is_hosts).then(|| interface(it)));
    Routing {
        interfaces: interfaces.collect(),
        ipv4: Routes::new(routes_ipv4).into(),
        ipv6: Routes::new(routes_ipv6).into(),
        next_hops: next_hops.into(),
        ..Routing::default()
    }
}

struct Rig {
    router: Router,
    routing: Routing,
    now: Duration,
}

impl Rig {
    /// Its addresses have been announced.
    fn new() -> Self {
        let mut rig = Self { router: Router::new(), routing: Routing::default(), now: Duration::ZERO };
        rig.set(setting());
        rig.wait(TICK);
        rig
    }

    fn set(&mut self, setting: Setting) {
        self.router.set(setting.clone(), self.now);
        self.routing = routing(&self.router, &setting);
    }

    fn hear(&mut self, device: DeviceId, reason: PuntReason, frame: &[u8]) -> Vec<Output> {
        self.router.hear(device, reason, frame, &self.routing, self.now);
        self.router.outputs().collect()
    }

    /// As [`hear`](Self::hear), where what is put out is frames to send.
    fn sent(&mut self, device: DeviceId, reason: PuntReason, frame: &[u8]) -> Vec<(DeviceId, Vec<u8>)> {
        self.hear(device, reason, frame).into_iter().map(sent).collect()
    }

    /// What is put out meanwhile, and when.
    fn wait(&mut self, time: Duration) -> Vec<(Duration, Output)> {
        let until = self.now + time;
        let mut outputs = Vec::new();
        while self.now < until {
            self.now += TICK;
            self.router.tick(&self.routing, self.now);
            outputs.extend(self.router.outputs().map(|output| (self.now, output)));
        }
        outputs
    }

    fn state(&self, address: &str) -> Option<Nud> {
        let all = self.router.view(self.now);
        all.into_iter().find(|line| line.address == ip(address)).map(|line| line.state)
    }

    /// Waits, for a minute at most, until a neighbour is in this state; says how long that took.
    fn until(&mut self, address: &str, state: Nud) -> Duration {
        let start = self.now;
        while self.state(address) != Some(state) {
            assert!(self.now < start + SECOND * 60, "{address} is {:?}", self.state(address));
            self.wait(TICK);
        }
        self.now - start
    }

    fn knows(&self, address: &str) -> Option<MacAddr> {
        self.router.neighbors().find(|it| it.1 == ip(address)).map(|it| it.2)
    }
}

fn sent(output: Output) -> (DeviceId, Vec<u8>) {
    match output {
        Output::Send { device, frame } => (device, frame),
        Output::Receive { .. } => panic!("{output:?}"),
    }
}

/// A frame from station 1 to device 0 with this payload.
fn udp(source: &str, destination: &str, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(station(1).octets(), MACS[0].octets());
    let builder = match (ip(source), ip(destination)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), ttl),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), ttl),
        _ => panic!("of one family"),
    };
    let mut frame = Vec::new();
    builder.udp(1000, 2000).write(&mut frame, payload).unwrap();
    frame
}

/// An echo request from station 1 to device 0.
fn ping(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(station(1).octets(), MACS[0].octets());
    let mut frame = Vec::new();
    match (ip(source), ip(destination)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let builder = builder.ipv4(from.octets(), to.octets(), 9).icmpv4_echo_request(7, 8);
            builder.write(&mut frame, payload).unwrap();
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let builder = builder.ipv6(from.octets(), to.octets(), 9).icmpv6_echo_request(7, 8);
            builder.write(&mut frame, payload).unwrap();
        }
        _ => panic!("of one family"),
    }
    frame
}

/// What another maker reads in a frame: its stations and addresses, its TTL, what it carries, and the rest; every checksum is right.
fn read(frame: &[u8]) -> ([MacAddr; 2], [IpAddr; 2], u8, TransportHeader, Vec<u8>) {
    let parsed = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let link = parsed.link.unwrap().ethernet2().unwrap();
    let payload = parsed.payload.slice();
    let transport = parsed.transport.unwrap();
    let (addresses, ttl): ([IpAddr; 2], u8) = match parsed.net.unwrap() {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!(14 + usize::from(ip.total_len), frame.len(), "nothing pads it");
            if let TransportHeader::Icmpv4(icmp) = &transport {
                assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(payload));
            }
            ([ip.source, ip.destination].map(|octets| Ipv4Addr::from(octets).into()), ip.time_to_live)
        }
        NetHeaders::Ipv6(ip, _) => {
            assert_eq!(54 + usize::from(ip.payload_length), frame.len(), "nothing pads it");
            if let TransportHeader::Icmpv6(icmp) = &transport {
                let sum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, payload).unwrap();
                assert_eq!(icmp.checksum, sum);
            }
            ([ip.source, ip.destination].map(|octets| Ipv6Addr::from(octets).into()), ip.hop_limit)
        }
        NetHeaders::Arp(_) => panic!("no packet"),
    };
    ([link.destination, link.source].map(MacAddr::new), addresses, ttl, transport, payload.to_vec())
}
