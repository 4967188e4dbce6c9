//! What happens to a router at random: packets, routes, neighbours and devices that change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::tables::next_hop::{NextHop, NextHopId, NextHops, Weight};
use rigswitch_dataplane::tables::route::{Address, Prefix, Routes};
use rigswitch_dataplane::tables::{Adjacencies, Device, Interface, Role, Routing, Tables};
use rigswitch_dataplane::wire::flow::Policy;

use super::id_of;
use super::random::Random;
use super::router::{Link, Router, seal};
use super::support::device;

/// Devices of a router.
pub(super) const DEVICES: usize = 4;
/// Ways that its routes lead.
pub(super) const WAYS: usize = 24;

fn any_ipv4(random: &mut Random) -> Ipv4Addr {
    let special = [
        "0.0.0.0",
        "0.0.0.1",
        "127.0.0.1",
        "224.0.0.5",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
    ];
    if random.one_in(12) {
        return special[random.below(8) as usize].parse().unwrap();
    }
    let last = [0, 1, 2, 3, 4, 255][random.below(6) as usize];
    Ipv4Addr::new(10, random.below(4) as u8, [0, 1, 255][random.below(3) as usize], last)
}

fn any_ipv6(random: &mut Random) -> Ipv6Addr {
    let special =
        ["::", "::1", "fe80::1", "ff02::1", "ff01::1", "ff00::1", "ff02::1:ff00:1", "::ffff:10.0.0.1"];
    if random.one_in(12) {
        return special[random.below(8) as usize].parse().unwrap();
    }
    let last = [0, 1, 2, 3, 0xffff][random.below(5) as usize];
    Ipv6Addr::new(0xfd00, random.below(4) as u16, 0, random.below(2) as u16, 0, 0, 0, last)
}

fn any_address(random: &mut Random) -> IpAddr {
    if random.one_in(2) { any_ipv4(random).into() } else { any_ipv6(random).into() }
}

fn any_prefix(random: &mut Random) -> (IpAddr, u8) {
    match any_address(random) {
        IpAddr::V4(address) => {
            let prefix =
                Prefix::of(address, [0, 8, 14, 15, 16, 23, 24, 30, 31, 32][random.below(10) as usize]);
            (prefix.address().into(), prefix.length())
        }
        IpAddr::V6(address) => {
            let prefix =
                Prefix::of(address, [0, 7, 16, 31, 32, 63, 64, 126, 127, 128][random.below(10) as usize]);
            (prefix.address().into(), prefix.length())
        }
    }
}

fn any_hop(random: &mut Random) -> NextHop {
    let device = id_of(random.below(DEVICES as u64) as usize);
    match random.below(20) {
        0 => NextHop::Blackhole,
        1 => NextHop::Unreachable,
        2 => NextHop::Prohibit,
        3 => NextHop::Local { device },
        4 => NextHop::Broadcast { device },
        5..12 => NextHop::Connected { device },
        _ => NextHop::Gateway { device, gateway: any_address(random) },
    }
}

/// A frame of the kind that a router gets, or of the kind that it should not.
pub(super) fn random_packet(random: &mut Random, to: Option<Link>) -> Vec<u8> {
    let router = to.map_or([2, 0, 0, 0, 0xaa, 9], |link| link.mac);
    let destination = match random.below(24) {
        0 => [0xff; 6],
        1 => [1, 0, 0x5e, 0, 0, 1],
        2 => [2, 0, 0, 0, 0xbb, 9],
        _ => router,
    };
    let mut frame = [&destination[..], &[2, 0, 0, 0, 0, 1]].concat();
    if random.one_in(12) {
        frame.extend([[0x81, 0], [0x88, 0xa8]][random.below(2) as usize]);
        frame.extend([[0, 0], [0xe0, 0], [0, 10]][random.below(3) as usize]);
    }
    let length = match random.below(8) {
        0 => 500 + random.below(1100),
        1 => random.below(2400),
        _ => random.below(80),
    };
    let payload: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    let (ether_type, packet) = match random.below(20) {
        0 => (0x0806, payload),
        1 => (0x88b5, payload),
        2..11 => (0x0800, ipv4_packet(random, &payload)),
        _ => (0x86dd, ipv6_packet(random, &payload)),
    };
    frame.extend(u16::to_be_bytes(ether_type));
    frame.extend(packet);
    match random.below(16) {
        0 => frame.truncate(random.below(1 + frame.len() as u64) as usize),
        1 | 2 => frame.resize(frame.len() + random.below(40) as usize, 0),
        _ => {}
    }
    frame
}

fn hops(random: &mut Random) -> u8 {
    [0, 1, 2, 64, 255][random.below(16).min(4) as usize]
}

fn ipv4_packet(random: &mut Random, payload: &[u8]) -> Vec<u8> {
    let options: &[u8] = match random.below(30) {
        0 => &[1, 1, 1, 0],
        1 => &[148, 4, 0, 0],
        2 => &[7, 7, 4, 0, 0, 0, 0, 0],
        3 => &[131, 3, 4, 0],
        4 => &[1, 148, 9, 0],
        5 => &[7, 3, 4, 148, 4, 0, 0, 1],
        _ => &[],
    };
    let header = 20 + options.len();
    let mut packet = vec![0x45 + (options.len() / 4) as u8, random.next() as u8];
    packet.extend(((header + payload.len()) as u16).to_be_bytes());
    packet.extend((random.next() as u16).to_be_bytes());
    let word = match random.below(8) {
        0..3 => 0x4000,
        3 => 0x2000 | random.next() as u16 & 0x1fff,
        4 => random.next() as u16,
        _ => 0,
    };
    packet.extend(word.to_be_bytes());
    packet.extend([hops(random), [1, 2, 6, 17][random.below(4) as usize], 0, 0]);
    packet.extend(any_ipv4(random).octets());
    packet.extend(any_ipv4(random).octets());
    packet.extend(options);
    seal(&mut packet);
    if random.one_in(20) {
        let bit = random.below(8 * header as u64) as usize;
        packet[bit / 8] ^= 1 << (bit % 8);
    }
    packet.extend(payload);
    packet
}

fn ipv6_packet(random: &mut Random, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, random.next() as u8, random.next() as u8, 7];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([[58, 17, 6, 44, 0][random.below(5) as usize], hops(random)]);
    packet.extend(any_ipv6(random).octets());
    packet.extend(any_ipv6(random).octets());
    if random.one_in(20) {
        packet[random.below(6) as usize] ^= 1 << random.below(8);
    }
    packet.extend(payload);
    packet
}

/// The tables that a router has, made anew or from those before.
pub(super) struct Compiled {
    ways: Vec<NextHopId>,
    next_hops: Arc<NextHops>,
    ipv4: Arc<Routes<Ipv4Addr>>,
    ipv6: Arc<Routes<Ipv6Addr>>,
}

impl Compiled {
    pub(super) fn new(model: &Router) -> Self {
        let mut next_hops = NextHops::new();
        let ways = model.ways.iter().map(|way| {
            let members: Vec<_> = way
                .iter()
                .map(|(hop, weight)| (next_hops.add(*hop).unwrap(), Weight::new(*weight).unwrap()))
                .collect();
            if members.len() == 1 { members[0].0 } else { next_hops.add_group(&members).unwrap() }
        });
        let ways: Vec<_> = ways.collect();
        let ipv4 = Arc::new(Routes::new(of_family(model, &ways, v4)));
        let ipv6 = Arc::new(Routes::new(of_family(model, &ways, v6)));
        Self { ways, next_hops: Arc::new(next_hops), ipv4, ipv6 }
    }

    /// The same after these routes have changed.
    fn change(&mut self, model: &Router, changed: &[(IpAddr, u8)]) {
        let of = |address: fn(IpAddr) -> Option<Ipv4Addr>| {
            changed.iter().filter_map(move |(network, length)| Some(Prefix::of(address(*network)?, *length)))
        };
        let changed_ipv4: Vec<_> = of(v4).collect();
        let changed_ipv6: Vec<_> =
            changed.iter().filter_map(|(network, length)| Some(Prefix::of(v6(*network)?, *length))).collect();
        self.ipv4 = Arc::new(self.ipv4.updated(&of_family(model, &self.ways, v4), &changed_ipv4));
        self.ipv6 = Arc::new(self.ipv6.updated(&of_family(model, &self.ways, v6), &changed_ipv6));
    }

    pub(super) fn tables(&self, model: &Router, workers: usize) -> Tables {
        let devices = model.links.iter().enumerate().map(|(id, link)| {
            let role = if link.is_some() { Role::Routed } else { Role::Unused };
            let mtu = link.map_or(1500, |link| link.mtu);
            Device { longest: Device::longest_for_mtu(mtu as u32), ..device(role, id % workers) }
        });
        let interface = |link: Link| Interface {
            mac: MacAddr::new(link.mac),
            mtu: link.mtu as u32,
            forwards: link.forwards,
            checks_source: link.checks_source,
            has_neighbors: true,
        };
        let neighbors = |(&(device, address), &mac): (&(usize, IpAddr), &[u8; 6])| {
            (id_of(device), address, MacAddr::new(mac))
        };
        let of = model.neighbors.iter().map(neighbors);
        let ipv4: Vec<_> = of.clone().filter_map(|(device, at, mac)| Some((device, v4(at)?, mac))).collect();
        let ipv6: Vec<_> = of.filter_map(|(device, at, mac)| Some((device, v6(at)?, mac))).collect();
        let routing = Routing {
            interfaces: model.links.iter().map(|link| link.map(interface)).collect(),
            ipv4: Arc::clone(&self.ipv4),
            ipv6: Arc::clone(&self.ipv6),
            next_hops: Arc::clone(&self.next_hops),
            neighbors_ipv4: Adjacencies::new(ipv4.into_iter(), 3),
            neighbors_ipv6: Adjacencies::new(ipv6.into_iter(), 3),
            hasher: model.hasher,
            policy: model.policy,
            ..Routing::default()
        };
        Tables::new(devices.collect(), Box::default()).with_routing(Arc::new(routing))
    }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    if let IpAddr::V4(address) = address { Some(address) } else { None }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    if let IpAddr::V6(address) = address { Some(address) } else { None }
}

fn of_family<A: Address>(
    model: &Router,
    ways: &[NextHopId],
    family: fn(IpAddr) -> Option<A>,
) -> BTreeMap<Prefix<A>, NextHopId> {
    let route = |(&(network, length), &way): (&(IpAddr, u8), &usize)| {
        Some((Prefix::of(family(network)?, length), ways[way]))
    };
    model.routes.iter().filter_map(route).collect()
}

/// Changes a device, some routes, a way or some neighbours: of both.
pub(super) fn reconfigure(random: &mut Random, model: &mut Router, compiled: &mut Compiled) {
    match random.below(6) {
        0 => {
            let id = random.below(DEVICES as u64) as usize;
            model.links[id] = (!random.one_in(6)).then(|| Link {
                mac: [2, 0, 0, 0, 0xaa, random.below(4) as u8],
                mtu: [1500, 1500, 1280, 296][random.below(4) as usize],
                forwards: !random.one_in(8),
                checks_source: random.one_in(4),
            });
        }
        1 => {
            let several = if random.one_in(3) { 2 + random.below(3) } else { 1 };
            let way: Vec<_> =
                (0..several).map(|_| (any_hop(random), [1, 1, 3, 256][random.below(4) as usize])).collect();
            model.ways[random.below(WAYS as u64) as usize] = way;
            *compiled = Compiled::new(model);
        }
        2 | 3 => {
            let changed: Vec<_> = (0..1 + random.below(6)).map(|_| any_prefix(random)).collect();
            for prefix in &changed {
                if random.one_in(4) {
                    model.routes.remove(prefix);
                } else {
                    model.routes.insert(*prefix, random.below(WAYS as u64) as usize);
                }
            }
            compiled.change(model, &changed);
        }
        4 => model.policy = [Policy::Addresses, Policy::Ports][random.below(2) as usize],
        _ => {
            for _ in 0..20 {
                let key = (random.below(DEVICES as u64) as usize, any_address(random));
                if random.one_in(4) {
                    model.neighbors.remove(&key);
                } else {
                    model.neighbors.insert(key, [2, 0, 0, 0, 9, random.next() as u8]);
                }
            }
        }
    }
}
