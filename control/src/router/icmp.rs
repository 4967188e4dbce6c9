//! ICMP errors: why a packet did not arrive, told to its sender, where that may be told and not too often.
//!
//! RFC 1812 §4.3 and `icmp_send` (net/ipv4/icmp.c); RFC 4443 and `icmp6_send` (net/ipv6/icmp.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::Routing;
use rigswitch_dataplane::wire::ethernet::Ethernet;
use rigswitch_dataplane::wire::icmpv6::Problem;
use rigswitch_dataplane::wire::ipv4::Ipv4;
use rigswitch_dataplane::wire::ipv6::Ipv6;
use rigswitch_dataplane::wire::{icmp, icmpv6};

use super::Router;
use super::way::{Packet, Way, way};

/// What has befallen a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// It passed too many routers.
    TtlExceeded,
    /// It is too long for the next link.
    TooBig,
    /// It is too long for the way through a tunnel, which carries so many bytes.
    TooLongFor(u32),
    /// There is no route.
    NoRoute,
    /// The route leads nowhere.
    Unreachable,
    /// The last hop does not answer (`arp_error_report`, `ndisc_error_report`).
    Unresolved,
    /// An administrator forbids it.
    Prohibited,
    /// It comes from an address of its link, and would leave that (RFC 4443 §3.1).
    BeyondScope,
    /// It came to us, and we do not take its protocol.
    Protocol,
    /// It came to us, and nobody listens at its port.
    Port,
    /// It is the first fragment of a packet for us, and the others did not come in time.
    NotWhole,
    /// Its header, an IPv6 one, is wrong at this offset.
    Header(u32),
}

/// The offset of what an IPv6 header says is next.
const NEXT_HEADER: u32 = 6;

impl Router {
    /// Tells the sender of the packet in a frame, which came from `device`.
    pub(super) fn report(
        &mut self,
        device: DeviceId,
        ethernet: &Ethernet<'_>,
        packet: &Packet<'_>,
        trouble: Trouble,
        routing: &Routing,
        now: Duration,
    ) {
        let about = (ethernet.payload(), ethernet.destination().is_group());
        self.report_about(device, about, packet, trouble, routing, now);
    }

    /// The same of a packet of these bytes, which may be the start of it only, and whether it was sent to many.
    pub(super) fn report_about(
        &mut self,
        device: DeviceId,
        (about, to_group): (&[u8], bool),
        packet: &Packet<'_>,
        trouble: Trouble,
        routing: &Routing,
        now: Duration,
    ) {
        match packet {
            Packet::Ipv4(ip) => {
                let Some(error) = error_ipv4(trouble, packet, routing) else { return self.ignore() };
                // Path MTU discovery is not limited (`icmpv4_mask_allow`).
                let is_free = matches!(error, icmp::Error::FragmentationNeeded { .. });
                if icmp::may_report(ip, to_group).is_err() {
                    return self.ignore();
                }
                let Some((way, source)) = self.source_ipv4(device, ip, packet, routing) else {
                    return self.counters.unroutable += 1;
                };
                if !is_free && !self.limits.allow(ip.source().into(), now) {
                    return self.counters.icmp_suppressed += 1;
                }
                let mut out = [0; icmp::MAX_ERROR_LEN];
                let written = icmp::report(error, about, source, self.identification(), &mut out);
                self.tell(way, written.and_then(|len| out.get(..len)), now);
            }
            Packet::Ipv6(ip) => {
                let Some(error) = error_ipv6(trouble, packet, routing) else { return self.ignore() };
                let is_free = matches!(error, icmpv6::Error::PacketTooBig { .. });
                if icmpv6::may_report(error, ip, to_group).is_err() {
                    return self.ignore();
                }
                let Some((way, source)) = self.source_ipv6(device, ip, packet, routing) else {
                    return self.counters.unroutable += 1;
                };
                if !is_free && !self.limits.allow(ip.source().into(), now) {
                    return self.counters.icmp_suppressed += 1;
                }
                let mut out = [0; icmpv6::MAX_ERROR_LEN];
                let written = icmpv6::report(error, about, source, &mut out);
                self.tell(way, written.and_then(|len| out.get(..len)), now);
            }
        }
    }

    fn tell(&mut self, (device, next): (DeviceId, IpAddr), packet: Option<&[u8]>, now: Duration) {
        let Some(packet) = packet else { return self.malformed() };
        self.counters.icmp_sent += 1;
        self.transmit(device, next, packet, now);
    }

    /// By which way, and from which address an error goes: the address that the packet was for if that is ours, else one of the device that
    /// the error leaves by (RFC 1812 §4.3.2.4; `icmp_errors_use_inbound_ifaddr` 0), or else of the one that the packet came by. To the host, by a
    /// tunnel that it has, it goes as from where the packet was to go, which is what it has a route to there (`iptunnel_pmtud_build_icmp`).
    fn source_ipv4(
        &self,
        device: DeviceId,
        ip: &Ipv4<'_>,
        packet: &Packet<'_>,
        routing: &Routing,
    ) -> Option<((DeviceId, IpAddr), Ipv4Addr)> {
        if self.devices.is_hosts(device) {
            return Some(((device, ip.source().into()), ip.destination()));
        }
        let Way::Out(by, next) = way(routing, ip.source().into(), packet.flow(routing)) else { return None };
        let ours = Some(ip.destination()).filter(|address| self.devices.owns((*address).into()));
        let near = || match next {
            IpAddr::V4(next) => self.devices.source_ipv4(by, next),
            IpAddr::V6(_) => self.devices.source_ipv4(device, ip.source()),
        };
        Some(((by, next), ours.or_else(near)?))
    }

    fn source_ipv6(
        &self,
        device: DeviceId,
        ip: &Ipv6<'_>,
        packet: &Packet<'_>,
        routing: &Routing,
    ) -> Option<((DeviceId, IpAddr), Ipv6Addr)> {
        if self.devices.is_hosts(device) {
            let one = Some(ip.destination()).filter(|address| !address.is_multicast())?;
            return Some(((device, ip.source().into()), one));
        }
        let (by, next) = self.back(device, ip.source(), packet, routing)?;
        let ours = Some(ip.destination()).filter(|address| self.devices.owns((*address).into()));
        Some(((by, next), ours.or_else(|| self.devices.source_ipv6(by, ip.source()))?))
    }

    /// By which way something goes to whoever sent a packet of IPv6: a link-local address is on the link that it came by.
    pub(super) fn back(
        &self,
        device: DeviceId,
        to: Ipv6Addr,
        packet: &Packet<'_>,
        routing: &Routing,
    ) -> Option<(DeviceId, IpAddr)> {
        if to.is_unicast_link_local() {
            return Some((device, to.into()));
        }
        match way(routing, to.into(), packet.flow(routing)) {
            Way::Out(device, next) => Some((device, next)),
            _ => None,
        }
    }
}

/// The bytes that the next link carries, if there is one.
fn next_mtu(packet: &Packet<'_>, routing: &Routing) -> Option<u32> {
    let Way::Out(device, _) = packet.way(routing) else { return None };
    routing.interface(device).map(|interface| interface.mtu)
}

/// What is told of it in IPv4 (`ip_error`, net/ipv4/route.c).
fn error_ipv4(trouble: Trouble, packet: &Packet<'_>, routing: &Routing) -> Option<icmp::Error> {
    use icmp::{Error, Unreachable};
    Some(match trouble {
        Trouble::TtlExceeded => Error::TtlExceeded,
        Trouble::TooBig => {
            let mtu = next_mtu(packet, routing)?;
            Error::FragmentationNeeded { mtu: u16::try_from(mtu).unwrap_or(u16::MAX) }
        }
        Trouble::TooLongFor(mtu) => {
            Error::FragmentationNeeded { mtu: u16::try_from(mtu).unwrap_or(u16::MAX) }
        }
        Trouble::NoRoute => Error::Unreachable(Unreachable::NET),
        Trouble::Unreachable | Trouble::Unresolved => Error::Unreachable(Unreachable::HOST),
        Trouble::Prohibited => Error::Unreachable(Unreachable::PROHIBITED),
        Trouble::BeyondScope => return None,
        Trouble::Protocol => Error::Unreachable(Unreachable::PROTOCOL),
        Trouble::Port => Error::Unreachable(Unreachable::PORT),
        Trouble::NotWhole => Error::ReassemblyTimeExceeded,
        Trouble::Header(_) => return None,
    })
}

/// What is told of it in IPv6 (`ip6_pkt_discard`, `ip6_pkt_prohibit`, net/ipv6/route.c; `ip6_forward`).
fn error_ipv6(trouble: Trouble, packet: &Packet<'_>, routing: &Routing) -> Option<icmpv6::Error> {
    use icmpv6::{Error, Unreachable};
    Some(match trouble {
        Trouble::TtlExceeded => Error::HopLimitExceeded,
        Trouble::TooBig => {
            // No link of IPv6 carries less (RFC 8200 §5).
            Error::PacketTooBig { mtu: next_mtu(packet, routing)?.max(MIN_MTU_IPV6) }
        }
        Trouble::TooLongFor(mtu) => Error::PacketTooBig { mtu: mtu.max(MIN_MTU_IPV6) },
        Trouble::NoRoute | Trouble::Unreachable => Error::Unreachable(Unreachable::NO_ROUTE),
        Trouble::Unresolved => Error::Unreachable(Unreachable::ADDRESS),
        Trouble::Prohibited => Error::Unreachable(Unreachable::PROHIBITED),
        Trouble::BeyondScope => Error::Unreachable(Unreachable::BEYOND_SCOPE),
        Trouble::Protocol => Error::ParameterProblem { problem: Problem::NEXT_HEADER, pointer: NEXT_HEADER },
        Trouble::Port => Error::Unreachable(Unreachable::PORT),
        Trouble::NotWhole => Error::ReassemblyTimeExceeded,
        Trouble::Header(pointer) => Error::ParameterProblem { problem: Problem::HEADER, pointer },
    })
}

const MIN_MTU_IPV6: u32 = 1280;
