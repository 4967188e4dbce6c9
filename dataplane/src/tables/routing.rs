//! What routing consults, compiled: routes, next hops, neighbours, and what there is to know of every routed device.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::adjacency::Adjacencies;
use super::next_hop::{NextHop, NextHops};
use super::route::Routes;
use crate::drops::DropReason;
use crate::ids::{DeviceId, MacAddr};
use crate::wire::flow::{FlowHash, FlowHasher, Policy};

/// A device that is routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The address that frames for the router have, and those that leave by it come from.
    pub mac: MacAddr,
    /// Bytes of packet that it carries.
    pub mtu: u32,
    /// Whether what it receives for others is sent on (`net.ipv4.conf.DEV.forwarding`).
    pub forwards: bool,
    /// Whether only such packets are taken from it as answers to would leave by it (`net.ipv4.conf.DEV.rp_filter` 1; RFC 3704 §2.2).
    pub checks_source: bool,
    /// Whether link-layer addresses lead to neighbours there; not of a tunnel (`IFF_NOARP`).
    pub has_neighbors: bool,
}

/// The routes that lead by one device: what stands on it and is routed there leaves by no other (`flowi_oif` of the kernel).
#[derive(Clone, Debug)]
pub struct Ways {
    /// Those of IPv4, the device's own addresses among them.
    pub ipv4: Arc<Routes<Ipv4Addr>>,
    /// Those of IPv6.
    pub ipv6: Arc<Routes<Ipv6Addr>>,
    /// Where they lead.
    pub next_hops: Arc<NextHops>,
}

impl Ways {
    /// Who on the device's link is to have a packet for `to` next; nobody if it is for the device itself.
    ///
    /// # Errors
    /// [`DropReason`], if it is not to go anywhere.
    pub fn next(&self, to: IpAddr, flow: impl FnOnce() -> FlowHash) -> Result<Option<IpAddr>, DropReason> {
        let id = match to {
            IpAddr::V4(to) if to.is_multicast() || to.is_broadcast() => {
                return Err(DropReason::IpvlanNotRouted);
            }
            IpAddr::V6(to) if to.is_multicast() => return Err(DropReason::IpvlanNotRouted),
            IpAddr::V4(to) => self.ipv4.find(self.ipv4.locate(to)),
            IpAddr::V6(to) => self.ipv6.find(self.ipv6.locate(to)),
        };
        match id.and_then(|id| self.next_hops.choose(id, flow)) {
            Some(NextHop::Gateway { gateway, .. }) => Ok(Some(gateway)),
            Some(NextHop::Connected { .. }) => Ok(Some(to)),
            Some(NextHop::Local { .. }) => Ok(None),
            Some(NextHop::Broadcast { .. }) => Err(DropReason::IpvlanNotRouted),
            // Who is told the device takes what no route is for to be on its link (`ip_route_output_key_hash_rcu`, net/ipv4/route.c).
            _ if to.is_ipv4() => Ok(Some(to)),
            Some(NextHop::Blackhole) => Err(DropReason::Blackhole),
            Some(NextHop::Unreachable) => Err(DropReason::Unreachable),
            Some(NextHop::Prohibit) => Err(DropReason::Prohibited),
            None => Err(DropReason::NoRoute),
        }
    }
}

/// Everything that routing consults.
#[derive(Clone, Debug)]
pub struct Routing {
    /// The routed ones, by the device's number.
    pub interfaces: Box<[Option<Interface>]>,
    /// Routes of IPv4, the own addresses among them.
    pub ipv4: Arc<Routes<Ipv4Addr>>,
    /// Routes of IPv6.
    pub ipv6: Arc<Routes<Ipv6Addr>>,
    /// Where they lead.
    pub next_hops: Arc<NextHops>,
    /// Who is behind which device.
    pub neighbors_ipv4: Adjacencies<Ipv4Addr>,
    /// The same for IPv6.
    pub neighbors_ipv6: Adjacencies<Ipv6Addr>,
    /// Bytes of packet that the ways to the far ends of tunnels carry, where routers along them have said that it is less than their first link
    /// does (RFC 1191). Control compiles far ends by it.
    pub path_mtus: BTreeMap<IpAddr, u32>,
    /// The far ends to which control says [`Reach::Failing`](super::Reach::Failing).
    pub failing: BTreeSet<IpAddr>,
    /// Of devices that ipvlans of mode L3 stand on, the routes by each alone.
    pub ways: BTreeMap<DeviceId, Ways>,
    /// Chooses among several ways.
    pub hasher: FlowHasher,
    /// By what.
    pub policy: Policy,
}

impl Routing {
    /// What there is to know of a device, if it is routed.
    #[inline]
    pub fn interface(&self, device: DeviceId) -> Option<&Interface> {
        self.interfaces.get(device.index())?.as_ref()
    }

    /// The link-layer address of a neighbour, if it is known.
    #[inline]
    pub fn neighbor(&self, device: DeviceId, address: IpAddr) -> Option<MacAddr> {
        match address {
            IpAddr::V4(address) => self.neighbors_ipv4.find(device, address),
            IpAddr::V6(address) => self.neighbors_ipv6.find(device, address),
        }
    }
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            interfaces: Box::default(),
            ipv4: Arc::new(Routes::new([])),
            ipv6: Arc::new(Routes::new([])),
            next_hops: Arc::default(),
            neighbors_ipv4: Adjacencies::default(),
            neighbors_ipv6: Adjacencies::default(),
            path_mtus: BTreeMap::new(),
            failing: BTreeSet::new(),
            ways: BTreeMap::new(),
            hasher: FlowHasher::new(0),
            policy: Policy::Addresses,
        }
    }
}
