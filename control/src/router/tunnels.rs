//! What is heard of the ways to the far ends of tunnels: that they are narrower than their first link, or lead nowhere; and of packets that were
//! too long for one. Whoever sent what is inside is told as if the tunnel were a link (RFC 2003 §4, RFC 2473 §8; `ipip_err`, `tnl_update_pmtu`,
//! `ip6_tnl_err`). An error of IPv4 need not quote what is inside: the senders of the next packets are told. One of IPv6 quotes enough, and they are at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::Routing;
use rigswitch_dataplane::wire::icmpv6::{self, Problem};
use rigswitch_dataplane::wire::ipv4::{self, Ipv4};
use rigswitch_dataplane::wire::ipv6::{self, Ipv6};
use rigswitch_dataplane::wire::{IpProtocol, icmp, limit};

use super::Router;
use super::icmp::Trouble;
use super::way::{Packet, Way};

/// The far end of a tunnel, as the configuration has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FarEnd {
    /// The tunnel.
    pub tunnel: DeviceId,
    /// Whether its outer packets live as long as the file says, and not as long as what is inside: one that dies on the way is the tunnel's then.
    pub has_ttl: bool,
}

/// How long it is believed that a way is narrow (`net.ipv4.route.mtu_expires`, `net.ipv6.route.mtu_expires`).
const EXPIRES: Duration = Duration::from_secs(600);
/// No way of IPv4 is taken to be narrower (`net.ipv4.route.min_pmtu`).
const NARROWEST: u32 = 552;
/// Nor is one of IPv6 (RFC 8200 §5).
const NARROWEST_IPV6: u32 = 1280;
/// How long after an error the senders of next packets are told (`IPTUNNEL_ERR_TIMEO`, include/net/ip_tunnels.h).
const FAILING: Duration = Duration::from_secs(30);

/// Far ends, and how narrow the ways to them are known to be.
#[derive(Debug, Default)]
pub(super) struct Ways {
    far_ends: BTreeMap<IpAddr, FarEnd>,
    vxlan_ends: BTreeSet<IpAddr>,
    narrow: BTreeMap<IpAddr, (u32, Duration)>,  // and until when
    failing: BTreeMap<IpAddr, (u32, Duration)>, // errors that nobody was told of yet, and until when somebody is
    pub(super) generation: u64,
}

impl Ways {
    /// These far ends, and no others.
    pub(super) fn set(&mut self, far_ends: BTreeMap<IpAddr, FarEnd>, vxlan_ends: BTreeSet<IpAddr>) {
        self.retain(|address, _| far_ends.contains_key(address) || vxlan_ends.contains(address));
        let before = self.failing.len();
        self.failing.retain(|address, _| far_ends.contains_key(address));
        self.generation += u64::from(self.failing.len() != before);
        (self.far_ends, self.vxlan_ends) = (far_ends, vxlan_ends);
    }

    /// The tunnel that a packet of this protocol to there is of; `None` inside if it is VXLAN's.
    fn of(&self, protocol: IpProtocol, far_end: IpAddr) -> Option<Option<FarEnd>> {
        match protocol {
            IpProtocol::IPV4 | IpProtocol::IPV6 => self.far_ends.get(&far_end).copied().map(Some),
            IpProtocol::UDP => self.vxlan_ends.contains(&far_end).then_some(None),
            _ => None,
        }
    }

    /// Forgets what was heard long ago.
    pub(super) fn tick(&mut self, now: Duration) {
        self.retain(|_, until| until > now);
        let before = self.failing.len();
        self.failing.retain(|_, (_, until)| *until > now);
        self.generation += u64::from(self.failing.len() != before);
    }

    fn retain(&mut self, mut stays: impl FnMut(&IpAddr, Duration) -> bool) {
        let before = self.narrow.len();
        self.narrow.retain(|address, (_, until)| stays(address, *until));
        self.generation += u64::from(self.narrow.len() != before);
    }

    /// A router along the way to a far end says what it carries. Nobody makes a way wider by saying so.
    fn hear(&mut self, far_end: IpAddr, mtu: u32, now: Duration) {
        if far_end.is_ipv6() && mtu < NARROWEST_IPV6 {
            return; // RFC 8201 §4
        }
        let mtu = mtu.max(NARROWEST);
        let known = self.narrow.get(&far_end).map(|(mtu, _)| *mtu);
        if known.is_none_or(|known| mtu <= known) {
            self.narrow.insert(far_end, (mtu, now + EXPIRES));
            self.generation += u64::from(known != Some(mtu));
        }
    }

    /// What the ways carry that are known to be narrow.
    pub(super) fn narrow(&self) -> impl Iterator<Item = (IpAddr, u32)> {
        self.narrow.iter().map(|(address, (mtu, _))| (*address, *mtu))
    }

    /// An error of the way to a far end came that says nothing of how much that carries.
    fn fail(&mut self, far_end: IpAddr, now: Duration) {
        let (count, until) = self.failing.entry(far_end).or_default();
        self.generation += u64::from(*count == 0);
        (*count, *until) = (count.saturating_add(1), now + FAILING);
    }

    /// Whether a sender is to be told of such an error, and no other is told of the same one.
    fn tells(&mut self, far_end: IpAddr) -> bool {
        let Some((count, _)) = self.failing.get_mut(&far_end) else { return false };
        *count -= 1;
        if *count == 0 {
            self.failing.remove(&far_end);
            self.generation += 1;
        }
        true
    }

    /// The far ends of whose ways such errors came that nobody was told of yet.
    pub(super) fn failing(&self) -> impl Iterator<Item = IpAddr> {
        self.failing.keys().copied()
    }
}

impl Router {
    /// The outer packet of `tunnel` was too long for its way: whoever sent what is inside is told what would have fitted.
    pub(super) fn tell_inside(
        &mut self,
        tunnel: DeviceId,
        outer: &Packet<'_>,
        routing: &Routing,
        now: Duration,
    ) {
        let Way::Out(device, _) = outer.way(routing) else { return self.ignore() };
        let Some(inside) = Inside::of(outer) else { return self.malformed() };
        let first = routing.interface(device).map_or(u32::MAX, |interface| interface.mtu);
        let way = routing.path_mtus.get(&inside.far_end).map_or(first, |mtu| first.min(*mtu));
        // Less than every link of IPv6 carries is nothing that a sender could be told.
        if inside.protocol == IpProtocol::IPV6 && inside.bytes.len() <= NARROWEST_IPV6 as usize {
            return self.ignore();
        }
        let trouble = Trouble::TooLongFor(way.saturating_sub(inside.overhead));
        self.report_inside(tunnel, &inside, trouble, routing, now);
    }

    /// The outer packet of `tunnel` has gone, but an error of the way came: whoever sent what is inside is told if nobody was yet (`dst_link_failure`).
    pub(super) fn tell_of_failure(
        &mut self,
        tunnel: DeviceId,
        outer: &Packet<'_>,
        routing: &Routing,
        now: Duration,
    ) {
        let Some(inside) = Inside::of(outer) else { return self.malformed() };
        match self.ways.tells(inside.far_end) {
            true => self.report_inside(tunnel, &inside, Trouble::Unresolved, routing, now),
            false => self.ignore(),
        }
    }

    /// An ICMP error came to us about a packet that begins like this: is it one of a tunnel's?
    pub(super) fn hear_error(&mut self, error: icmp::Error, quote: &[u8], now: Duration) {
        // As much is always quoted.
        let Some(header) = quote.first_chunk::<{ ipv4::HEADER_LEN }>() else { return };
        let [.., a, b, c, d, e, f, g, h] = *header;
        let (ours, far_end) = (IpAddr::from([a, b, c, d]), IpAddr::from([e, f, g, h]));
        let Some(of) = self.ways.of(IpProtocol(header[9]), far_end) else { return };
        if header[0] >> 4 != 4 || !self.devices.owns(ours) {
            return;
        }
        match (error, of) {
            (icmp::Error::FragmentationNeeded { mtu }, _) => self.ways.hear(far_end, mtu.into(), now),
            (icmp::Error::Unreachable(icmp::Unreachable::SOURCE_ROUTE), _) => {}
            (icmp::Error::TtlExceeded, Some(FarEnd { has_ttl: false, .. })) => {}
            // All are told as one: the far end of a link is not there (RFC 2003 §4.1).
            (icmp::Error::Unreachable(_) | icmp::Error::TtlExceeded, Some(_)) => self.ways.fail(far_end, now),
            _ => {}
        }
    }

    /// The same of ICMPv6, which quotes as much as it can (`ip6_tnl_err`, `ip4ip6_err`, `ip6ip6_err`).
    pub(super) fn hear_error_ipv6(
        &mut self,
        error: icmpv6::Error,
        quote: &[u8],
        routing: &Routing,
        now: Duration,
    ) {
        let Ok(ip) = Ipv6::quoted(quote) else { return };
        let inside = Inside::of(&Packet::Ipv6(ip)).filter(|_| self.devices.owns(ip.source().into()));
        let Some(inside) = inside else { return };
        let Some(of) = self.ways.of(inside.protocol, inside.far_end) else { return };
        if let icmpv6::Error::PacketTooBig { mtu } = error {
            self.ways.hear(inside.far_end, mtu, now);
        }
        let Some(FarEnd { tunnel, .. }) = of else { return };
        let trouble = match error {
            icmpv6::Error::Unreachable(_) | icmpv6::Error::HopLimitExceeded => Trouble::Unresolved,
            icmpv6::Error::ParameterProblem { problem: Problem::HEADER, pointer }
                if limit::find(quote).is_some_and(|(at, limit)| limit == 0 && at + 2 == pointer) =>
            {
                Trouble::Unresolved
            }
            icmpv6::Error::PacketTooBig { mtu } => {
                let fits = mtu.saturating_sub(inside.overhead).max(NARROWEST_IPV6);
                let carried = routing.interface(tunnel).map_or(u32::MAX, |interface| interface.mtu);
                if ip.total_len() <= fits || inside.protocol == IpProtocol::IPV4 && fits > carried {
                    return;
                }
                Trouble::TooLongFor(fits)
            }
            icmpv6::Error::ReassemblyTimeExceeded | icmpv6::Error::ParameterProblem { .. } => return,
        };
        self.report_inside(tunnel, &inside, trouble, routing, now);
    }

    /// Tells the sender of a packet inside of another.
    fn report_inside(
        &mut self,
        tunnel: DeviceId,
        inside: &Inside<'_>,
        trouble: Trouble,
        routing: &Routing,
        now: Duration,
    ) {
        let packet = match inside.protocol {
            IpProtocol::IPV4 => Ipv4::quoted(inside.bytes).map(Packet::Ipv4),
            IpProtocol::IPV6 => Ipv6::quoted(inside.bytes).map(Packet::Ipv6),
            _ => return self.ignore(),
        };
        match packet {
            Ok(packet) => self.report_about(tunnel, (inside.bytes, false), &packet, trouble, routing, now),
            Err(_) => self.malformed(),
        }
    }
}

/// What is in an outer packet.
struct Inside<'p> {
    /// Where that went.
    far_end: IpAddr,
    /// Bytes of its headers.
    overhead: u32,
    protocol: IpProtocol,
    bytes: &'p [u8],
}

impl<'p> Inside<'p> {
    /// `None` if what follows its header is nothing that can be read.
    fn of(outer: &Packet<'p>) -> Option<Self> {
        let (far_end, length, protocol, bytes) = match outer {
            Packet::Ipv4(ip) => {
                let length = ip.header_len() + ip.payload().len();
                (ip.destination().into(), length, ip.protocol(), ip.payload())
            }
            Packet::Ipv6(ip) => {
                let (protocol, bytes) = ip.upper_layer().ok()?;
                (ip.destination().into(), ipv6::HEADER_LEN + ip.payload().len(), protocol, bytes)
            }
        };
        Some(Self { far_end, overhead: u32::try_from(length - bytes.len()).ok()?, protocol, bytes })
    }
}
