//! What is heard of the ways to the far ends of tunnels: that they are narrower than their first link, or lead nowhere; and of packets that were
//! too long for one. Whoever sent what is inside is told as if the tunnel were a link (RFC 2003 §4; `ipip_err`, `tnl_update_pmtu`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::Routing;
use rigswitch_dataplane::wire::ethernet::{self, EtherType, Ethernet};
use rigswitch_dataplane::wire::ipv4::{self, Ipv4};
use rigswitch_dataplane::wire::{IpProtocol, icmp};

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

/// How long it is believed that a way is narrow (`net.ipv4.route.mtu_expires`).
const EXPIRES: Duration = Duration::from_secs(600);
/// No way is taken to be narrower (`net.ipv4.route.min_pmtu`).
const NARROWEST: u16 = 552;

/// Far ends, and how narrow the ways to them are known to be.
#[derive(Debug, Default)]
pub(super) struct Ways {
    pub(super) far_ends: BTreeMap<IpAddr, FarEnd>,
    narrow: BTreeMap<IpAddr, (u16, Duration)>, // and until when
    pub(super) generation: u64,
}

impl Ways {
    /// These far ends, and no others.
    pub(super) fn set(&mut self, far_ends: BTreeMap<IpAddr, FarEnd>) {
        self.retain(|address, _| far_ends.contains_key(address));
        self.far_ends = far_ends;
    }

    /// Forgets what was heard long ago.
    pub(super) fn tick(&mut self, now: Duration) {
        self.retain(|_, until| until > now);
    }

    fn retain(&mut self, mut stays: impl FnMut(&IpAddr, Duration) -> bool) {
        let before = self.narrow.len();
        self.narrow.retain(|address, (_, until)| stays(address, *until));
        self.generation += u64::from(self.narrow.len() != before);
    }

    /// A router along the way to a far end says what it carries. Nobody makes a way wider by saying so.
    fn hear(&mut self, far_end: IpAddr, mtu: u16, now: Duration) {
        let mtu = mtu.max(NARROWEST);
        let known = self.narrow.get(&far_end).map(|(mtu, _)| *mtu);
        if known.is_none_or(|known| mtu <= known) {
            self.narrow.insert(far_end, (mtu, now + EXPIRES));
            self.generation += u64::from(known != Some(mtu));
        }
    }

    /// What the ways carry that are known to be narrow.
    pub(super) fn narrow(&self) -> impl Iterator<Item = (IpAddr, u32)> {
        self.narrow.iter().map(|(address, (mtu, _))| (*address, u32::from(*mtu)))
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
        let Packet::Ipv4(ip) = outer else { return self.ignore() };
        let first = routing.interface(device).map_or(u32::MAX, |interface| interface.mtu);
        let way = routing.path_mtus.get(&ip.destination().into()).map_or(first, |mtu| first.min(*mtu));
        let mtu = way.saturating_sub(u32::try_from(ip.header_len()).unwrap_or_default());
        self.report_inside(tunnel, ip.protocol(), ip.payload(), Trouble::TooLongFor(mtu), routing, now);
    }

    /// An ICMP error came to us about a packet that begins like this: is it one of a tunnel's?
    pub(super) fn hear_error(&mut self, error: icmp::Error, quote: &[u8], routing: &Routing, now: Duration) {
        // As much is always quoted.
        let Some(header) = quote.first_chunk::<{ ipv4::HEADER_LEN }>() else { return };
        let [.., a, b, c, d, e, f, g, h] = *header;
        let (ours, far_end) = (IpAddr::from([a, b, c, d]), IpAddr::from([e, f, g, h]));
        let Some(FarEnd { tunnel, has_ttl }) = self.ways.far_ends.get(&far_end).copied() else { return };
        if header[0] >> 4 != 4 || !self.devices.owns(ours) {
            return;
        }
        match error {
            icmp::Error::FragmentationNeeded { mtu } => self.ways.hear(far_end, mtu, now),
            icmp::Error::Unreachable(icmp::Unreachable::SOURCE_ROUTE) => {}
            icmp::Error::TtlExceeded if !has_ttl => {}
            // All are told as one: the far end of a link is not there (RFC 2003 §4.1).
            icmp::Error::Unreachable(_) | icmp::Error::TtlExceeded => {
                // More than its header may not be there, and what is not is not made up.
                if let Ok(outer) = Ipv4::view(quote) {
                    let trouble = Trouble::Unresolved;
                    self.report_inside(tunnel, outer.protocol(), outer.payload(), trouble, routing, now);
                }
            }
            icmp::Error::ReassemblyTimeExceeded | icmp::Error::ParameterProblem { .. } => {}
        }
    }

    /// Tells the sender of a packet inside of another.
    fn report_inside(
        &mut self,
        tunnel: DeviceId,
        protocol: IpProtocol,
        inner: &[u8],
        trouble: Trouble,
        routing: &Routing,
        now: Duration,
    ) {
        let ether_type = match protocol {
            IpProtocol::IPV4 => EtherType::IPV4,
            IpProtocol::IPV6 => EtherType::IPV6,
            _ => return self.ignore(),
        };
        let mut header = [0; ethernet::HEADER_LEN];
        ethernet::emit(&mut header, MacAddr::ZERO, MacAddr::ZERO, ether_type);
        let frame = [&header, inner].concat();
        let Ok(ethernet) = Ethernet::view(&frame) else { return self.malformed() };
        match Packet::of(&ethernet) {
            Ok(Some(packet)) => self.report(tunnel, &ethernet, &packet, trouble, routing, now),
            _ => self.malformed(),
        }
    }
}
