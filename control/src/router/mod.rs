//! The control side of the router: neighbours, and what is answered and reported. It knows neither clock nor device; whoever drives it says
//! what came and when, and sends what it puts out.
//!
//! Workers route. What they may not decide themselves comes here: ARP and neighbour discovery, packets for our own addresses, packets for
//! neighbours whose link-layer address is not known, and copies of those that they dropped and whose senders are to be told.

mod arp;
mod counters;
mod detection;
mod devices;
mod discovery;
mod fragments;
mod gather;
mod groups;
mod held;
mod icmp;
mod igmp;
mod limits;
mod local;
mod neighbors;
mod send;
#[cfg(test)]
mod tests;
mod tunnels;
mod way;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::punt::PuntReason;
use rigswitch_dataplane::rate::Rate;
use rigswitch_dataplane::tables::Routing;
use rigswitch_dataplane::wire::ethernet::{EtherType, Ethernet};
use rigswitch_dataplane::wire::limit;

pub use counters::Counters;
pub use detection::Unused;
pub use devices::{RoutedDevice, link_local};
pub use neighbors::{NeighborState, Nud};
pub use tunnels::FarEnd;

use devices::Devices;
use fragments::Fragments;
use groups::Reports;
use icmp::Trouble;
use igmp::Memberships;
use limits::Limits;
use neighbors::{Key, Neighbors};
use tunnels::Ways;
use way::Packet;
pub(crate) use way::{Way, way};

/// What the configuration says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The routed devices.
    pub devices: Vec<RoutedDevice>,
    /// Neighbours that are given by hand.
    pub fixed: Vec<(DeviceId, IpAddr, MacAddr)>,
    /// The far ends of tunnels.
    pub far_ends: BTreeMap<IpAddr, FarEnd>,
    /// The groups that tunnels are in, and the devices that they are in them by.
    pub groups: BTreeSet<(DeviceId, IpAddr)>,
    /// The far ends of VXLAN devices, of which only how much the ways there carry is heard.
    pub vxlan_ends: BTreeSet<IpAddr>,
    /// ICMP errors in all ([`Rate::ICMP`] is the kernel's default).
    pub icmp_rate: Rate,
    /// How often others are asked whether they have an IPv6 address of ours, before it is used.
    pub dad_transmits: u8,
}

/// A frame that is to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Straight out of the device. Where there are no link-layer addresses, the destination is the one that stands for the next hop (`station_of`).
    Send {
        /// The device.
        device: DeviceId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// As if it had come from the device again: it waited for a neighbour, which workers are to know by then ([`Router::generation`]).
    Receive {
        /// The device.
        device: DeviceId,
        /// The frame.
        frame: Vec<u8>,
    },
}

/// Something that whoever watches wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Another station has one of our addresses, too (RFC 5227 §2.4, RFC 4861 §7.2.5).
    Conflict {
        /// Behind which device.
        device: DeviceId,
        /// Which address.
        address: IpAddr,
        /// Who.
        mac: MacAddr,
    },
    /// Another station has an address that was to be ours, or wants it, too: we do not use it (RFC 4862 §5.4.5).
    Duplicate {
        /// Behind which device.
        device: DeviceId,
        /// Which address.
        address: Ipv6Addr,
        /// Who.
        mac: MacAddr,
    },
}

/// The control side of the router.
#[derive(Debug)]
pub struct Router {
    devices: Devices,
    neighbors: Neighbors,
    ways: Ways,
    limits: Limits,
    /// Our addresses that neighbours are to be told at the next tick.
    announcements: VecDeque<Key>,
    reports: Reports,
    fragments: [Fragments; 2], // IPv4 and IPv6
    memberships: Memberships,
    outputs: VecDeque<Output>,
    notices: Vec<Notice>,
    told: BTreeMap<Key, Duration>, // when a conflict was told, by our address
    counters: Counters,
    identification: u16,
    fragmented: u32, // packets of IPv6 that were
}

/// Announcements in one tick of 100 ms.
const ANNOUNCE_PER_TICK: usize = 100;
/// Conflicts that are remembered.
const MOST_TOLD: usize = 1024;
/// How long the fragments of a packet have to come (`ipfrag_time`, `ip6frag_time`; RFC 8200 §4.5).
const IPV4_FRAGMENTS: Duration = Duration::from_secs(30);
const IPV6_FRAGMENTS: Duration = Duration::from_secs(60);
/// How often the same conflict is told (`DEFEND_INTERVAL` of RFC 5227 §1.1).
const TELL_AGAIN: Duration = Duration::from_secs(10);

impl Router {
    /// A router without devices.
    pub fn new() -> Self {
        const SEED: u64 = 0x7269_6773_7769_7463;
        Self {
            devices: Devices::new(SEED),
            neighbors: Neighbors::new(SEED),
            ways: Ways::default(),
            limits: Limits::new(Rate::ICMP),
            announcements: VecDeque::new(),
            reports: Reports::default(),
            fragments: [IPV4_FRAGMENTS, IPV6_FRAGMENTS].map(Fragments::new),
            memberships: Memberships::default(),
            outputs: VecDeque::new(),
            notices: Vec::new(),
            told: BTreeMap::new(),
            counters: Counters::default(),
            identification: 0,
            fragmented: 0,
        }
    }

    /// From now on it is set like this. What was learned of devices that stay as they are stays; an address that is new, or whose device
    /// has come up, is announced at the next tick, or when nobody else is found to have it.
    pub fn set(&mut self, setting: Setting, now: Duration) {
        let changes = self.devices.set(setting.devices, setting.dad_transmits, now);
        self.limits.set(setting.icmp_rate, now);
        self.ways.set(setting.far_ends, setting.vxlan_ends);
        let devices = &self.devices;
        let is_ours = |(id, address): Key| devices.find(id).is_some_and(|device| device.has(address));
        self.neighbors.retain(|key| !changes.void.contains(&key.0) && !is_ours(key));
        self.announcements.retain(|key| !changes.void.contains(&key.0) && is_ours(*key));
        let joins = changes.fresh.iter().filter(|(_, address)| address.is_ipv6()).map(|(device, _)| *device);
        self.reports.retain(|device| !changes.void.contains(&device));
        self.memberships.set(setting.groups);
        let is_up = |device| devices.find(device).is_some();
        let joins: BTreeSet<_> = joins.chain(self.memberships.join(&changes.void, is_up, now)).collect();
        joins.into_iter().for_each(|device| self.reports.join(device, now));
        self.announcements.extend(changes.announce);
        self.neighbors.fix(setting.fixed.into_iter().map(|(device, ip, mac)| ((device, ip), mac)).collect());
        self.told.retain(|(_, address), _| devices.owns(*address));
        for fragments in &mut self.fragments {
            let is_gone = |link: DeviceId| changes.void.contains(&link);
            fragments.retain(|whole| devices.owns(whole.addresses[0]) && !whole.link.is_some_and(is_gone));
        }
        self.settle(None, now);
    }

    /// A worker has handed over a frame that came from `device`, or a copy of one that it dropped, for this reason.
    pub fn hear(
        &mut self,
        device: DeviceId,
        reason: PuntReason,
        frame: &[u8],
        routing: &Routing,
        now: Duration,
    ) {
        let Ok(ethernet) = Ethernet::view(frame) else { return self.malformed() };
        if reason == PuntReason::Arp {
            self.hear_one_arp(device, &ethernet, now);
            return self.settle(Some(routing), now);
        }
        let packet = match Packet::of(&ethernet) {
            Ok(Some(packet)) => packet,
            Ok(None) => return self.ignore(),
            Err(_) => return self.malformed(),
        };
        let way = match routing.ways.get(&device) {
            // What an ipvlan sends leaves by the device that it stands on, and by no other.
            Some(ways) if reason == PuntReason::Outgoing => packet.way_by(device, ways, routing),
            _ => packet.way(routing),
        };
        let trouble = match (reason, way) {
            (PuntReason::Local, _) => {
                self.hear_local(device, &ethernet, &packet, routing, now);
                None
            }
            (PuntReason::Fragment, _) => {
                self.gather(device, frame, &packet, routing, now);
                None
            }
            (PuntReason::TunnelTooBig, _) => {
                self.tell_inside(device, &packet, routing, now);
                None
            }
            (PuntReason::TunnelFailing, _) => {
                self.tell_of_failure(device, &packet, routing, now);
                None
            }
            (PuntReason::Outgoing, Way::Out(by, next)) => {
                self.transmit(by, next, packet.of_frame(frame), now);
                None
            }
            (PuntReason::Unresolved, Way::Out(to, next)) => {
                self.wait_for((to, next), device, frame, now);
                None
            }
            (PuntReason::TtlExceeded, _) => Some(Trouble::TtlExceeded),
            (PuntReason::TooBig, _) => Some(Trouble::TooBig),
            (PuntReason::Unreachable, Way::NoRoute) => Some(Trouble::NoRoute),
            (PuntReason::Unreachable, Way::Unreachable) => Some(Trouble::Unreachable),
            (PuntReason::Prohibited, _) => Some(Trouble::Prohibited),
            (PuntReason::BeyondScope, _) => Some(Trouble::BeyondScope),
            (PuntReason::TunnelLimit, _) => {
                // Where the limit itself is (RFC 2473 §6.7).
                limit::find(ethernet.payload()).map(|(option, _)| Trouble::Header(option + 2))
            }
            // There is another way by now, or it is nothing that a router is told.
            _ => return self.ignore(),
        };
        if let Some(trouble) = trouble {
            self.report(device, &ethernet, &packet, trouble, routing, now);
        }
        self.settle(Some(routing), now);
    }

    /// Whatever was due until now.
    pub fn tick(&mut self, routing: &Routing, now: Duration) {
        self.detect_duplicates(now);
        for _ in 0..ANNOUNCE_PER_TICK {
            match self.announcements.pop_front() {
                Some((device, IpAddr::V4(address))) => self.announce_ipv4(device, address),
                Some((device, IpAddr::V6(address))) => self.announce_ipv6(device, address, routing),
                None => break,
            }
        }
        self.tell_groups(routing, now);
        self.tell_igmp(now);
        self.neighbors.tick(now);
        self.ways.tick(now);
        self.give_up_fragments(routing, now);
        self.settle(Some(routing), now);
    }

    /// What is to go since the last call, in order.
    pub fn outputs(&mut self) -> impl Iterator<Item = Output> {
        self.outputs.drain(..)
    }

    /// What there is to tell.
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The neighbours that workers are to know.
    pub fn neighbors(&self) -> impl Iterator<Item = (DeviceId, IpAddr, MacAddr)> {
        self.neighbors.known().map(|((device, address), mac)| (device, address, mac))
    }

    /// The ways to far ends of tunnels that carry less than their first link, and how many bytes.
    pub fn path_mtus(&self) -> impl Iterator<Item = (IpAddr, u32)> {
        self.ways.narrow()
    }

    /// The far ends of tunnels of whose ways errors came that senders are to be told of.
    pub fn failing(&self) -> impl Iterator<Item = IpAddr> {
        self.ways.failing()
    }

    /// Another number whenever [`neighbors`](Self::neighbors), [`path_mtus`](Self::path_mtus) or [`failing`](Self::failing) are others.
    pub fn generation(&self) -> u64 {
        self.neighbors.generation + self.ways.generation
    }

    /// All neighbours, known or not, by device and address.
    pub fn view(&self, now: Duration) -> Vec<NeighborState> {
        self.neighbors.view(now)
    }

    /// Forgets what was learned behind a device, or behind all, of an address, or of all; says how many neighbours that were.
    pub fn flush(&mut self, device: Option<DeviceId>, address: Option<IpAddr>) -> usize {
        let goes = |key: Key| device.is_none_or(|it| it == key.0) && address.is_none_or(|it| it == key.1);
        self.neighbors.retain(|key| !goes(key))
    }

    /// Our addresses, the link-local ones among them, and how many bits of each are the network's.
    pub fn local_addresses(&self) -> impl Iterator<Item = (DeviceId, IpAddr, u8)> {
        self.devices.local()
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        let tally = self.neighbors.tally;
        let [ipv4, ipv6] = [&self.fragments[0].tally, &self.fragments[1].tally];
        Counters {
            fragments: ipv4.fragments + ipv6.fragments,
            reassembled: ipv4.whole + ipv6.whole,
            reassembly_failed: ipv4.failed + ipv6.failed,
            resolved: tally.resolved,
            failed: tally.failed,
            evicted: tally.evicted,
            refused: tally.refused,
            held: tally.held,
            held_dropped: tally.held_dropped,
            ..self.counters
        }
    }

    /// Frames that are held for neighbours, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        self.neighbors.held()
    }

    fn hear_one_arp(&mut self, device: DeviceId, ethernet: &Ethernet<'_>, now: Duration) {
        match ethernet.ether_type() {
            EtherType::ARP => self.hear_arp(device, ethernet, now),
            _ => self.ignore(),
        }
    }

    fn conflict(&mut self, device: DeviceId, address: IpAddr, mac: MacAddr, now: Duration) {
        self.counters.conflicts += 1;
        let last = self.told.get(&(device, address));
        if last.is_none_or(|last| *last + TELL_AGAIN <= now) {
            if self.told.len() >= MOST_TOLD {
                self.told.clear();
            }
            self.told.insert((device, address), now);
            self.notices.push(Notice::Conflict { device, address, mac });
        }
    }

    fn identification(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }

    fn malformed(&mut self) {
        self.counters.malformed += 1;
    }

    fn ignore(&mut self) {
        self.counters.ignored += 1;
    }
}

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}
