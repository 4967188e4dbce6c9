//! The routed devices and our addresses on them: whose an address is, and which one to speak from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::route::{Address, Prefix};
use rigswitch_dataplane::wire::neighbor::solicited_node;

use super::detection::Detection;
use super::neighbors::Key;

/// A routed device as the configuration has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoutedDevice {
    /// Which.
    pub id: DeviceId,
    /// Its link-layer address.
    pub mac: MacAddr,
    /// Bytes of packet that it carries.
    pub mtu: u32,
    /// Whether it is up and has carrier.
    pub is_up: bool,
    /// Our addresses on it and how many bits of each are the network's, in the order in which they were given. Where one is of IPv6
    /// and none link-local, the link-local one of its link-layer address is added (RFC 4291 §2.1).
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether link-layer addresses lead to neighbours there; not of a tunnel.
    pub has_neighbors: bool,
    /// Whether it is a tunnel by which the host sends, not we: we have no address there, and route nothing by it.
    pub is_hosts: bool,
}

/// The link-local address that a link-layer address gives (RFC 4291 §2.5.6 and appendix A).
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// All routed devices.
#[derive(Debug)]
pub(super) struct Devices {
    all: BTreeMap<DeviceId, RoutedDevice>,
    addresses: BTreeSet<IpAddr>,
    macs: BTreeSet<MacAddr>,
    pub(super) detection: Detection,
}

/// What is new of them.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// They are gone, down, or others than before: what was learned there is void.
    pub(super) void: BTreeSet<DeviceId>,
    /// Our addresses there that are new, or whose links are.
    pub(super) fresh: Vec<Key>,
    /// Those of them that neighbours are to be told at once.
    pub(super) announce: Vec<Key>,
}

impl Devices {
    /// None.
    pub(super) fn new(seed: u64) -> Self {
        let (all, addresses, macs) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { all, addresses, macs, detection: Detection::new(seed) }
    }

    /// These, and no others; so often is asked whether an IPv6 address is somebody else's.
    pub(super) fn set(&mut self, devices: Vec<RoutedDevice>, questions: u8, now: Duration) -> Changes {
        let complete = |mut device: RoutedDevice| {
            device.complete();
            (device.id, device)
        };
        let all: BTreeMap<_, _> = devices.into_iter().map(complete).collect();
        let before = std::mem::replace(&mut self.all, all);
        self.addresses = self.local().map(|(_, address, _)| address).collect();
        self.macs = self.all.values().map(|device| device.mac).collect();
        let mut changes = Changes::default();
        for (id, was) in &before {
            if !self.all.get(id).is_some_and(|is| is.is_up && is.is_same_link(was)) {
                changes.void.insert(*id);
            }
        }
        for is in self.all.values().filter(|is| is.is_up && is.has_neighbors) {
            let was = before.get(&is.id).filter(|was| was.is_up && was.is_same_link(is));
            let is_new = |address| was.is_none_or(|was| !was.has(address));
            let fresh = is.addresses.iter().map(|(address, _)| *address).filter(|address| is_new(*address));
            changes.fresh.extend(fresh.map(|address| (is.id, address)));
        }
        let has = |(id, address): Key| self.all.get(&id).is_some_and(|device| device.has(address));
        self.detection.ask(questions);
        self.detection.retain(|key| !changes.void.contains(&key.0) && has(key));
        let at_once = changes.fresh.iter().filter(|key| self.detection.begin(**key, now));
        changes.announce = at_once.copied().collect();
        changes
    }

    /// A device that is up.
    pub(super) fn find(&self, device: DeviceId) -> Option<&RoutedDevice> {
        self.all.get(&device).filter(|device| device.is_up)
    }

    /// Whether the host sends by a device, and not we.
    pub(super) fn is_hosts(&self, device: DeviceId) -> bool {
        self.all.get(&device).is_some_and(|device| device.is_hosts)
    }

    /// Whether an address is ours, on whatever device.
    pub(super) fn owns(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Whether a packet for an address that comes by this device is for us: a link-local one is of its device only.
    pub(super) fn takes(&self, device: DeviceId, address: IpAddr) -> bool {
        match address {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                self.find(device).is_some_and(|here| here.has(address))
            }
            _ => self.owns(address),
        }
    }

    /// Whether a link-layer address is ours.
    pub(super) fn is_own_mac(&self, mac: MacAddr) -> bool {
        self.macs.contains(&mac)
    }

    /// Our addresses, and how many bits of each are the network's.
    pub(super) fn local(&self) -> impl Iterator<Item = (DeviceId, IpAddr, u8)> {
        let of = |device: &RoutedDevice| device.addresses.clone().into_iter();
        self.all
            .iter()
            .flat_map(move |(id, device)| of(device).map(move |(address, length)| (*id, address, length)))
    }

    /// The address that we speak to `to` from, on this device; another device's if it has none (`inet_select_addr`).
    pub(super) fn source_ipv4(&self, device: DeviceId, to: Ipv4Addr) -> Option<Ipv4Addr> {
        let here = self.all.get(&device).into_iter().flat_map(RoutedDevice::ipv4);
        let near = here.clone().find(|(address, length)| Prefix::of(*address, *length).holds(to));
        let any = || self.all.values().flat_map(RoutedDevice::ipv4).next();
        near.or_else(|| here.clone().next()).or_else(any).map(|(address, _)| address)
    }

    /// The same for IPv6, by the rules of RFC 6724 §5 that tell our addresses apart: the same scope (2), the device it leaves by (5),
    /// the longest common prefix (8). One that may be somebody else's is none to speak from.
    pub(super) fn source_ipv6(&self, device: DeviceId, to: Ipv6Addr) -> Option<Ipv6Addr> {
        let used = |of: &RoutedDevice| {
            let id = of.id;
            of.ipv6()
                .filter(move |address| self.detection.of((id, (*address).into())).is_none())
                .collect::<Vec<_>>()
        };
        let here = self.all.get(&device).into_iter().flat_map(used);
        let is_near = to.is_unicast_link_local() || to.is_multicast();
        if is_near && let Some(found) = here.clone().find(Ipv6Addr::is_unicast_link_local) {
            return Some(found);
        }
        let best = |all: &mut dyn Iterator<Item = Ipv6Addr>| {
            let wide = all.filter(|address| !address.is_unicast_link_local());
            // Of equals the first.
            wide.reduce(|best, next| if next.shared(to) > best.shared(to) { next } else { best })
        };
        let elsewhere = || best(&mut self.all.values().flat_map(used));
        best(&mut here.clone()).or_else(elsewhere).or_else(|| here.clone().next())
    }
}

impl RoutedDevice {
    /// Whether an address is ours, on this device.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(ours, _)| *ours == address)
    }

    /// Whether this device hears what is sent to a group: that of all nodes, or of one of its addresses (RFC 4291 §2.8).
    pub(super) fn hears(&self, group: Ipv6Addr) -> bool {
        const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        group == ALL_NODES || self.ipv6().any(|ours| solicited_node(ours) == group)
    }

    /// The groups in which its addresses are asked for.
    pub(super) fn solicited_nodes(&self) -> BTreeSet<Ipv6Addr> {
        self.ipv6().map(solicited_node).collect()
    }

    fn ipv4(&self) -> impl Iterator<Item = (Ipv4Addr, u8)> + Clone {
        self.addresses.iter().filter_map(|(address, length)| match address {
            IpAddr::V4(address) => Some((*address, *length)),
            IpAddr::V6(_) => None,
        })
    }

    fn ipv6(&self) -> impl Iterator<Item = Ipv6Addr> + Clone {
        self.addresses.iter().filter_map(|(address, _)| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(*address),
        })
    }

    fn complete(&mut self) {
        const LENGTH: u8 = 64;
        if self.ipv6().next().is_some() && !self.ipv6().any(|address| address.is_unicast_link_local()) {
            self.addresses.push((link_local(self.mac).into(), LENGTH));
        }
    }

    fn is_same_link(&self, other: &Self) -> bool {
        (self.mac, self.has_neighbors) == (other.mac, other.has_neighbors)
    }
}
