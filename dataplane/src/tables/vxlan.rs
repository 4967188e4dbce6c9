//! VXLAN devices, compiled: the far ends that stations of each are behind, and which device takes what comes.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Neighbors, Peer, RemoteId};
use crate::counters::NetworkStats;
use crate::ids::{DeviceId, DomainId, MacAddr, VlanId, Vni};
use crate::wire::ethernet::EtherType;
use crate::wire::flow::{FlowHasher, SourcePorts};

/// The number of a [`Vxlan`] in the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VxlanId(pub u16);

/// How what a VXLAN device sends leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VxlanDescent {
    /// Which.
    pub vxlan: VxlanId,
    /// The longest frame it sends, as [`Device::longest`](super::Device::longest), without the outer header.
    pub longest: u32,
}

/// When an outer IPv4 header says that its packet may not be fragmented (`df` of ip-link(8)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Df {
    /// Never.
    #[default]
    Unset,
    /// Always.
    Set,
    /// When the packet inside does, or is IPv6.
    Inherit,
}

/// A VXLAN device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vxlan {
    /// It.
    pub device: DeviceId,
    /// The domain of its entries in the MAC table.
    pub domain: DomainId,
    /// Its address: what comes from it is what it has sent.
    pub mac: MacAddr,
    /// Time to live of outer headers; `None` for that of what is inside.
    pub ttl: Option<u8>,
    /// Type of service of outer headers, of which the two bits of ECN do not count; `None` for that of what is inside.
    pub tos: Option<u8>,
    /// Whether they say that they may not be fragmented.
    pub df: Df,
    /// Whether outer UDP has a checksum.
    pub has_checksum: bool,
    /// The source ports that tell of flows.
    pub source_ports: SourcePorts,
    /// Tells flows apart.
    pub hasher: FlowHasher,
    /// Whether it learns who is behind which far end.
    pub learns: bool,
    /// Bits of the header that have no meaning, and are not taken.
    pub reserved: u64,
    /// What sets it apart if it is one of the networks of a device.
    pub network: Option<Box<Network>>,
    /// The far ends.
    pub peers: Peers,
    /// What it does besides; most do nothing.
    pub services: Option<Box<Services>>,
}

/// What a VXLAN device does besides finding far ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Services {
    /// It answers questions about neighbours itself, and sends none of them (`proxy`).
    pub proxy: bool,
    /// What is for a router goes to the station that has its destination instead (`rsc`).
    pub rsc: bool,
    /// Control is told of stations that there is no entry for (`l2miss`).
    pub l2miss: bool,
    /// Control is told of addresses that no neighbour has (`l3miss`).
    pub l3miss: bool,
    /// The tag of a frame says of which network it is (`external`).
    pub networks: Option<Networks>,
    /// Who has which address.
    pub neighbors: Neighbors,
    /// The stations that are routers, sorted.
    pub routers: Box<[MacAddr]>,
}

impl Services {
    /// Whether a station is a router.
    pub fn is_router(&self, station: MacAddr) -> bool {
        self.routers.binary_search(&station).is_ok()
    }
}

/// One of the networks of a device that is `external`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// It.
    pub vni: Vni,
    /// The tag that its bridge knows it by, which frames without one get (`vlan_tunnel`).
    pub tag: Option<(EtherType, VlanId)>,
    /// Where its frames are counted.
    pub stats: Arc<NetworkStats>,
}

/// The networks of a device that is `external`, by the tags that its bridge knows them by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Networks {
    /// What is in a frame ahead of such a tag.
    pub tpid: EtherType,
    /// Each network, sorted by its VLAN.
    pub by_vlan: Box<[(VlanId, VxlanId)]>,
}

impl Networks {
    /// The network of a VLAN.
    pub fn find(&self, vlan: VlanId) -> Option<VxlanId> {
        let place = self.by_vlan.binary_search_by_key(&vlan, |(vlan, _)| *vlan).ok()?;
        Some(self.by_vlan[place].1)
    }
}

/// The far ends of a VXLAN device, by the numbers that its entries in the MAC table have for them. What is for a group may have several.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Peers {
    groups: Box<[Group]>, // by number, less one
    remotes: Box<[RemoteId]>,
    of_unknown: Option<Peer>,
    by_address: Box<[(IpAddr, Peer)]>, // sorted
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Group {
    first: u32, // of the remotes
    count: u32,
    only: Option<RemoteId>, // where there is one
    address: u128,          // of the first, as of an outer header; zero where there is none
}

impl Peers {
    /// Those behind every number from 1 on, each with its address, in order; a number without any is not in use. `of_unknown` is the one for
    /// stations that nothing is known of, and `learned` have the numbers that stations are learned under.
    pub fn new<'g>(
        groups: impl IntoIterator<Item = &'g [(IpAddr, RemoteId)]>,
        of_unknown: Option<Peer>,
        learned: impl IntoIterator<Item = (IpAddr, Peer)>,
    ) -> Self {
        let (mut places, mut remotes) = (Vec::new(), Vec::new());
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        for group in groups {
            let address = group.first().map_or(0, |(address, _)| bits(*address));
            let only = if let [(_, only)] = group { Some(*only) } else { None };
            places.push(Group { first: number(remotes.len()), count: number(group.len()), only, address });
            remotes.extend(group.iter().map(|(_, remote)| *remote));
        }
        let mut by_address: Vec<_> = learned.into_iter().collect();
        by_address.sort_unstable();
        Self { groups: places.into(), remotes: remotes.into(), of_unknown, by_address: by_address.into() }
    }

    /// The far ends of this number, in order; none of a number that is not in use.
    #[inline]
    pub fn remotes(&self, peer: Peer) -> &[RemoteId] {
        let Some(group) = self.group(peer) else { return &[] };
        self.remotes
            .get(group.first as usize..)
            .and_then(|rest| rest.get(..group.count as usize))
            .unwrap_or(&[])
    }

    /// The only one of this number.
    #[inline]
    pub fn only(&self, peer: Peer) -> Option<RemoteId> {
        self.group(peer)?.only
    }

    /// The address of the first of them as a number, IPv4's as IPv6 maps them (RFC 4291 §2.5.5.2); zero of a number that is not in use, an
    /// address that nobody has.
    #[inline]
    pub fn address_bits(&self, peer: Peer) -> Option<u128> {
        self.group(peer).map(|group| group.address)
    }

    /// Where what is for a station goes that nothing is known of.
    #[inline]
    pub fn of_unknown(&self) -> Option<Peer> {
        self.of_unknown
    }

    /// The number that stations behind this address are learned under.
    pub fn find(&self, address: IpAddr) -> Option<Peer> {
        let place = self.by_address.binary_search_by_key(&address, |(address, _)| *address).ok()?;
        Some(self.by_address[place].1)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = RemoteId> {
        self.remotes.iter().copied()
    }

    #[inline]
    fn group(&self, peer: Peer) -> Option<&Group> {
        self.groups.get(usize::from(peer.0).wrapping_sub(1))
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => mapped(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An IPv4 address as IPv6 maps it (RFC 4291 §2.5.5.2), both as numbers.
#[inline]
pub(crate) fn mapped(address: u32) -> u128 {
    const PREFIX: u128 = 0xffff << 32;
    PREFIX | u128::from(address)
}

/// The number of a [`Listener`] in the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(pub u16);

/// A UDP port at which VXLAN devices take packets of one version of IP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// Whether of IPv6, or else of IPv4.
    pub is_ipv6: bool,
    /// Whether packets without a checksum are taken (of IPv4 they are always: RFC 768).
    pub takes_unsummed: bool,
    /// Who takes which network, sorted.
    pub networks: Box<[(Vni, VxlanId)]>,
    /// Who takes all others.
    pub others: Option<VxlanId>,
}

impl Listener {
    /// The device that takes this network.
    #[inline]
    pub fn find(&self, vni: Vni) -> Option<VxlanId> {
        match self.networks.binary_search_by_key(&vni, |(vni, _)| *vni) {
            Ok(place) => Some(self.networks[place].1),
            Err(_) => self.others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_ends_are_found_by_number_and_by_address() {
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let remote = |n: u8| (address(n), RemoteId(n.into()));
        let groups = [vec![remote(2)], vec![], vec![remote(3), remote(4)]];
        let peers = Peers::new(
            groups.iter().map(Vec::as_slice),
            Some(Peer(3)),
            [(address(9), Peer(2)), (address(2), Peer(1))],
        );
        let found: Vec<_> = (0..5).map(|n| peers.remotes(Peer(n)).to_vec()).collect();
        assert_eq!(found, [vec![], vec![RemoteId(2)], vec![], vec![RemoteId(3), RemoteId(4)], vec![]]);
        assert_eq!(
            [0, 1, 2, 3].map(|n| peers.address_bits(Peer(n))),
            [None, Some(bits(address(2))), Some(0), Some(bits(address(3)))]
        );
        assert_eq!([2, 3, 9].map(|n| peers.find(address(n))), [Some(Peer(1)), None, Some(Peer(2))]);
        assert_eq!((peers.of_unknown(), peers.all().count()), (Some(Peer(3)), 3));
        assert_eq!(Peers::default().remotes(Peer(1)), []);
    }

    #[test]
    fn a_port_has_a_device_for_each_network() {
        let vni = |n| Vni::new(n).unwrap();
        let networks = Box::new([(vni(1), VxlanId(4)), (vni(7), VxlanId(0))]);
        let listener = Listener { port: 4789, is_ipv6: false, takes_unsummed: true, networks, others: None };
        assert_eq!(
            [0, 1, 7, 8].map(|n| listener.find(vni(n))),
            [None, Some(VxlanId(4)), Some(VxlanId(0)), None]
        );
        let listener = Listener { others: Some(VxlanId(9)), ..listener };
        assert_eq!([1, 8].map(|n| listener.find(vni(n))), [Some(VxlanId(4)), Some(VxlanId(9))]);
    }
}
