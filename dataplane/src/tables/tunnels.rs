//! Tunnels, compiled: far ends with their outer headers ready, and which tunnel takes what comes to an address of ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Listener, ListenerId, Services, Vxlan, VxlanId};
use crate::ids::{DeviceId, MacAddr};
use crate::wire::IpProtocol;
use crate::wire::outer::OuterHeader;
use crate::wire::tunnel::{Outer, OverIpv6};

/// The number of a [`Remote`] in [`Tunnels`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RemoteId(pub u32);

/// Whether a far end is to be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// By this device, where the station in the outer header is next.
    Ready(DeviceId),
    /// The same, but errors of the way there came, which senders are to be told of: control gets a copy of what goes.
    Failing(DeviceId),
    /// By this device, and who is next there is not known: control finds out, and sends what waits.
    Unresolved(DeviceId),
    /// Not: no route leads there.
    NoRoute,
    /// Not: the route to it leads by the tunnel itself.
    Loop,
}

/// The far end of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remote {
    /// What goes in front of every packet to it.
    pub header: OuterHeader,
    /// Whether and how it is reached.
    pub reach: Reach,
    /// Bytes of outer packet that the way there carries.
    pub mtu: u32,
}

/// The number of an [`IpTunnel`] in [`Tunnels`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IpTunnelId(pub u16);

/// A tunnel of IP packets in IP packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpTunnel {
    /// Its device.
    pub device: DeviceId,
    /// Where what it sends goes; `None` for the router that a route by it names.
    pub remote: Option<RemoteId>,
    /// How outer headers are filled in.
    pub outer: Outer,
    /// And how further if they are of IPv6.
    pub over_ipv6: Option<OverIpv6>,
    /// Which packets it carries.
    pub carries: Carries,
    /// Its address, in the frames that surface there.
    pub mac: MacAddr,
}

/// Which packets a tunnel carries (`mode` of ip-tunnel(8)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Carries {
    /// IPv4 (`ipip`, the default; over IPv6 `ipip6`).
    #[default]
    Ipv4,
    /// IPv6 (`ip6ip`, over IPv6 `ip6ip6`).
    Ipv6,
    /// Both (`any`).
    Both,
}

impl Carries {
    /// Whether it carries packets of this protocol.
    #[inline]
    pub fn has(self, protocol: IpProtocol) -> bool {
        match self {
            Self::Ipv4 => protocol == IpProtocol::IPV4,
            Self::Ipv6 => protocol == IpProtocol::IPV6,
            Self::Both => protocol == IpProtocol::IPV4 || protocol == IpProtocol::IPV6,
        }
    }
}

/// How what a tunnel of IP in IP sends leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpipDescent {
    /// Which.
    pub tunnel: IpTunnelId,
    /// The longest frame it sends, as [`Device::longest`](super::Device::longest), without the outer header.
    pub longest: u32,
}

/// The ends that packets to a tunnel have; `None` for any.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ends<A> {
    /// Ours.
    pub local: Option<A>,
    /// The other.
    pub remote: Option<A>,
}

/// Which tunnel takes what comes with which ends. Over IPv4 several may have the same that carry different things, and of several the one takes it that
/// names both, then the remote end, then the local one (`ip_tunnel_lookup`, net/ipv4/ip_tunnel.c). Over IPv6 ends are one tunnel's, whatever it carries, and the
/// local one comes first (`ip6_tnl_lookup`, net/ipv6/ip6_tunnel.c).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IpDemux {
    ipv4: Box<[(u64, IpTunnelId)]>, // sorted
    ipv6: Box<[(u64, IpTunnelId)]>,
    over_ipv6: Box<[([u128; 2], IpTunnelId)]>,
}

impl Ends<Ipv4Addr> {
    /// Both as one number, 0 for any: nobody has the address 0.0.0.0.
    fn key(self) -> u64 {
        let bits = |end: Option<Ipv4Addr>| end.map_or(0, |address| u64::from(address.to_bits()));
        bits(self.local) << 32 | bits(self.remote)
    }
}

impl Ends<Ipv6Addr> {
    /// The same.
    fn key(self) -> [u128; 2] {
        [self.local, self.remote].map(|end| end.map_or(0, Ipv6Addr::to_bits))
    }
}

/// What is at the first of these keys that is among the sorted ones.
#[inline]
fn first<K: Ord + Copy>(of: &[(K, IpTunnelId)], mut keys: impl Iterator<Item = K>) -> Option<IpTunnelId> {
    let at = |key: K| of.binary_search_by_key(&key, |(key, _)| *key).ok();
    if of.is_empty() { None } else { keys.find_map(at).map(|place| of[place].1) }
}

impl IpDemux {
    /// These tunnels over IPv4; no two that carry the same have the same ends.
    pub fn new(tunnels: impl IntoIterator<Item = (Ends<Ipv4Addr>, Carries, IpTunnelId)>) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for (ends, carries, tunnel) in tunnels {
            for (protocol, of) in [(IpProtocol::IPV4, &mut ipv4), (IpProtocol::IPV6, &mut ipv6)] {
                if carries.has(protocol) {
                    of.push((ends.key(), tunnel));
                }
            }
        }
        ipv4.sort_unstable();
        ipv6.sort_unstable();
        Self { ipv4: ipv4.into(), ipv6: ipv6.into(), over_ipv6: Box::default() }
    }

    /// And these over IPv6; no two have the same ends.
    #[must_use]
    pub fn and_over_ipv6(self, tunnels: impl IntoIterator<Item = (Ends<Ipv6Addr>, IpTunnelId)>) -> Self {
        let mut over_ipv6: Vec<_> = tunnels.into_iter().map(|(ends, tunnel)| (ends.key(), tunnel)).collect();
        over_ipv6.sort_unstable();
        Self { over_ipv6: over_ipv6.into(), ..self }
    }

    fn all(&self) -> impl Iterator<Item = IpTunnelId> {
        let over_ipv4 = self.ipv4.iter().chain(&self.ipv6).map(|row| row.1);
        over_ipv4.chain(self.over_ipv6.iter().map(|row| row.1))
    }

    /// The tunnel that takes a packet of this protocol from `remote` to `local`.
    #[inline]
    pub fn find(&self, protocol: IpProtocol, local: Ipv4Addr, remote: Ipv4Addr) -> Option<IpTunnelId> {
        let of = match protocol {
            IpProtocol::IPV4 => &self.ipv4,
            IpProtocol::IPV6 => &self.ipv6,
            _ => return None,
        };
        let ends = [
            Ends { local: Some(local), remote: Some(remote) },
            Ends { local: None, remote: Some(remote) },
            Ends { local: Some(local), remote: None },
            Ends { local: None, remote: None },
        ];
        first(of, ends.into_iter().map(Ends::<Ipv4Addr>::key))
    }

    /// The tunnel whose a packet in an IPv6 packet from `remote` to `local` is, whether or not it carries it.
    #[inline]
    pub fn find_ipv6(&self, local: Ipv6Addr, remote: Ipv6Addr) -> Option<IpTunnelId> {
        let ends = [
            Ends { local: Some(local), remote: Some(remote) },
            Ends { local: Some(local), remote: None },
            Ends { local: None, remote: Some(remote) },
            Ends { local: None, remote: None },
        ];
        first(&self.over_ipv6, ends.into_iter().map(Ends::<Ipv6Addr>::key))
    }
}

/// A packet in an outer header that has come to its tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// A tunnel of IP in IP.
    Ip(IpTunnelId),
    /// A port at which VXLAN devices take packets.
    Vxlan(ListenerId),
}

/// Every tunnel of a switch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tunnels {
    /// Far ends, by number.
    pub remotes: Box<[Remote]>,
    /// Tunnels of IP in IP, by number.
    pub ip: Box<[IpTunnel]>,
    /// Far ends of those that name none, by tunnel and the station that stands for the router that a route names, sorted.
    pub by_next_hop: Box<[(IpTunnelId, MacAddr, RemoteId)]>,
    /// Which of them takes what comes.
    pub demux: IpDemux,
    /// VXLAN devices, by number.
    pub vxlans: Box<[Vxlan]>,
    /// The ports at which they take packets, by number.
    pub listeners: Box<[Listener]>,
    /// The groups that they are in, each by the device beneath, sorted.
    pub groups: Box<[(DeviceId, IpAddr)]>,
}

impl Tunnels {
    /// Whether each refers to what is there only, of so many devices.
    pub(super) fn is_sound(&self, devices: usize) -> bool {
        let has = |id: RemoteId| (id.0 as usize) < self.remotes.len();
        let has_device = |device: DeviceId| device.index() < devices;
        let by = |remote: &Remote| match remote.reach {
            Reach::Ready(device) | Reach::Failing(device) | Reach::Unresolved(device) => has_device(device),
            Reach::NoRoute | Reach::Loop => true,
        };
        let of_demux = |id: &IpTunnelId| usize::from(id.0) < self.ip.len();
        let of_it = |id: VxlanId| usize::from(id.0) < self.vxlans.len();
        let of_services = |services: &Services| {
            services.networks.iter().flat_map(|of| &of.by_vlan).all(|(_, id)| of_it(*id))
        };
        self.remotes.iter().all(by)
            && self.ip.iter().all(|tunnel| has_device(tunnel.device) && tunnel.remote.is_none_or(has))
            && self.by_next_hop.iter().all(|(tunnel, _, remote)| of_demux(tunnel) && has(*remote))
            && self.vxlans.iter().all(|vxlan| has_device(vxlan.device) && vxlan.peers.all().all(has))
            && self.listeners.iter().flat_map(|of| &of.networks).all(|(_, id)| of_it(*id))
            && self.listeners.iter().filter_map(|of| of.others).all(of_it)
            && self.vxlans.iter().filter_map(|of| of.services.as_deref()).all(of_services)
            && self.demux.all().all(|tunnel| of_demux(&tunnel))
    }

    /// A far end that these tables tell of.
    #[inline]
    pub fn remote(&self, id: RemoteId) -> &Remote {
        &self.remotes[id.0 as usize]
    }

    /// A tunnel of IP in IP that a device of these tables tells of.
    #[inline]
    pub fn ip(&self, id: IpTunnelId) -> &IpTunnel {
        &self.ip[usize::from(id.0)]
    }

    /// The device on which what has arrived surfaces; `None` if what is inside has to be read first.
    pub fn device_of(&self, arrival: Arrival) -> Option<DeviceId> {
        match arrival {
            Arrival::Ip(tunnel) => Some(self.ip(tunnel).device),
            Arrival::Vxlan(_) => None,
        }
    }

    /// A VXLAN device that a device of these tables tells of.
    #[inline]
    pub fn vxlan(&self, id: VxlanId) -> &Vxlan {
        &self.vxlans[usize::from(id.0)]
    }

    /// The port of this number in these tables.
    #[inline]
    pub fn listener(&self, id: ListenerId) -> &Listener {
        &self.listeners[usize::from(id.0)]
    }

    /// Whether packets for a group that come by this device are for us.
    pub fn is_in(&self, device: DeviceId, group: IpAddr) -> bool {
        self.groups.binary_search(&(device, group)).is_ok()
    }

    /// The UDP port at which VXLAN devices take packets.
    #[inline]
    pub fn listens(&self, is_ipv6: bool, port: u16) -> Option<ListenerId> {
        let is_it = |listener: &Listener| listener.port == port && listener.is_ipv6 == is_ipv6;
        let place = self.listeners.iter().position(is_it)?;
        u16::try_from(place).ok().map(ListenerId)
    }

    /// The far end behind a tunnel that names none, of a frame for the station that stands for its next hop.
    pub fn toward(&self, tunnel: IpTunnelId, station: MacAddr) -> Option<RemoteId> {
        let place = self.by_next_hop.binary_search_by_key(&(tunnel, station), |row| (row.0, row.1)).ok()?;
        Some(self.by_next_hop[place].2)
    }
}

/// The station that stands for a next hop behind a device where neighbours have no link-layer addresses: 02:00 and its IPv4 address, or 02 and forty bits that
/// are made of all of its IPv6 address.
#[inline]
pub fn station_of(next_hop: IpAddr) -> MacAddr {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let low = match next_hop {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let [high, low] = [address.to_bits() >> 64, address.to_bits() & u128::from(u64::MAX)]
                .map(|half| u64::try_from(half).unwrap_or_default());
            (high.wrapping_mul(SPREAD) ^ low).wrapping_mul(SPREAD) >> 24
        }
    };
    MacAddr::from_bits(0x02 << 40 | low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Against the rule, read aloud.
        #[test]
        fn the_tunnel_that_names_more_ends_takes_it(
            tunnels in prop::collection::btree_map((prop::option::of(1..4u32), prop::option::of(1..4u32), 0..2usize), any::<u16>(), 0..20),
        ) {
            let carries = [Carries::Ipv4, Carries::Ipv6];
            let address = |end: Option<u32>| end.map(Ipv4Addr::from_bits);
            let known: BTreeMap<_, _> = tunnels.iter().map(|(key, device)| (*key, IpTunnelId(*device))).collect();
            let demux = IpDemux::new(tunnels.iter().map(|((local, remote, kind), device)| {
                (Ends { local: address(*local), remote: address(*remote) }, carries[*kind], IpTunnelId(*device))
            }));
            for (local, remote) in (1..5).flat_map(|local| (1..5).map(move |remote| (local, remote))) {
                for (kind, protocol) in [IpProtocol::IPV4, IpProtocol::IPV6].into_iter().enumerate() {
                    let ends = [(Some(local), Some(remote)), (None, Some(remote)), (Some(local), None), (None, None)];
                    let expected = ends.iter().find_map(|(local, remote)| known.get(&(*local, *remote, kind)));
                    let found = demux.find(protocol, Ipv4Addr::from_bits(local), Ipv4Addr::from_bits(remote));
                    prop_assert_eq!(found, expected.copied());
                }
            }
            // Over IPv6 the local end comes first.
            let over: BTreeMap<_, _> = tunnels.iter().map(|((local, remote, _), device)| ((*local, *remote), IpTunnelId(*device))).collect();
            let address = |end: u32| Ipv6Addr::from_bits(end.into());
            let demux = demux.and_over_ipv6(over.iter().map(|((local, remote), tunnel)| {
                (Ends { local: local.map(address), remote: remote.map(address) }, *tunnel)
            }));
            for (local, remote) in (1..5).flat_map(|local| (1..5).map(move |remote| (local, remote))) {
                let ends = [(Some(local), Some(remote)), (Some(local), None), (None, Some(remote)), (None, None)];
                let expected = ends.iter().find_map(|ends| over.get(ends)).copied();
                prop_assert_eq!(demux.find_ipv6(address(local), address(remote)), expected);
            }
            prop_assert_eq!(demux.find(IpProtocol::UDP, Ipv4Addr::from_bits(1), Ipv4Addr::from_bits(1)), None);
        }

        #[test]
        fn next_hops_that_differ_have_stations_that_do(bits in any::<[u32; 2]>(), shift in 0..96u32) {
            let ipv4 = bits.map(|bits| station_of(Ipv4Addr::from_bits(bits).into()));
            let ipv6 = bits.map(|bits| station_of(Ipv6Addr::from_bits(u128::from(bits) << shift).into()));
            for [one, other] in [ipv4, ipv6] {
                prop_assert_eq!(one == other, bits[0] == bits[1]);
                prop_assert!(!one.is_group());
            }
        }
    }

    #[test]
    fn a_tunnel_of_both_kinds_takes_both() {
        let any = Ends { local: None, remote: None };
        let demux = IpDemux::new([(any, Carries::Both, IpTunnelId(7))]);
        let find = |protocol| demux.find(protocol, Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        assert_eq!(
            [IpProtocol::IPV4, IpProtocol::IPV6, IpProtocol::TCP].map(find),
            [Some(IpTunnelId(7)), Some(IpTunnelId(7)), None]
        );
    }
}
