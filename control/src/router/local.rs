//! Packets for our own addresses: echoes are answered, and what nobody takes is reported, as the kernel does.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::Routing;
use rigswitch_dataplane::wire::ethernet::Ethernet;
use rigswitch_dataplane::wire::icmp::{self, Icmp};
use rigswitch_dataplane::wire::icmpv6::{self, Icmpv6};
use rigswitch_dataplane::wire::ipv4::{self, Ipv4};
use rigswitch_dataplane::wire::ipv6::{self, Ipv6};
use rigswitch_dataplane::wire::mld;
use rigswitch_dataplane::wire::neighbor::Neighbor;
use rigswitch_dataplane::wire::{IpProtocol, tcp, udp};

use super::Router;
use super::icmp::Trouble;
use super::way::{Packet, Way, way};

/// All routers of a link.
pub(super) const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The protocol number that says that nothing follows (RFC 8200 §4.7).
const NOTHING: IpProtocol = IpProtocol(59);

impl Router {
    /// A packet for us.
    pub(super) fn hear_local(
        &mut self,
        device: DeviceId,
        ethernet: &Ethernet<'_>,
        packet: &Packet<'_>,
        routing: &Routing,
        now: Duration,
    ) {
        let trouble = match packet {
            Packet::Ipv4(ip) if ip.protocol() == IpProtocol::IGMP => return self.hear_igmp(device, ip, now),
            Packet::Ipv4(ip) => self.take_ipv4(ethernet, ip, packet, routing, now),
            Packet::Ipv6(ip) => self.take_ipv6(device, ethernet, ip, packet, routing, now),
        };
        if let Some(trouble) = trouble {
            self.report(device, ethernet, packet, trouble, routing, now);
        }
    }

    /// Takes it, unless it is something that its sender is to be told (`ip_protocol_deliver_rcu`).
    fn take_ipv4(
        &mut self,
        ethernet: &Ethernet<'_>,
        ip: &Ipv4<'_>,
        packet: &Packet<'_>,
        routing: &Routing,
        now: Duration,
    ) -> Option<Trouble> {
        if !self.devices.owns(ip.destination().into()) || ip.is_fragment() {
            self.ignore();
            return None;
        }
        match ip.protocol() {
            IpProtocol::ICMP => self.hear_icmp(ethernet, ip, routing, now),
            IpProtocol::TCP => match way(routing, ip.source().into(), packet.flow(routing)) {
                Way::Out(device, next) => self.refuse(packet, ip.payload(), (device, next), now),
                _ => self.counters.unroutable += 1,
            },
            IpProtocol::UDP if udp::Udp::view(ip.payload()).is_err() => self.malformed(),
            IpProtocol::UDP => return Some(Trouble::Port),
            _ => return Some(Trouble::Protocol),
        }
        None
    }

    fn hear_icmp(&mut self, ethernet: &Ethernet<'_>, ip: &Ipv4<'_>, routing: &Routing, now: Duration) {
        match Icmp::view(ip).map(|message| message.map(|it| it.message())) {
            Err(_) => self.malformed(),
            Ok(Some(icmp::Message::EchoRequest(_))) => {
                let mut reply = ethernet.payload()[..ip.header_len() + ip.payload().len()].to_vec();
                if icmp::answer(&mut reply, self.identification()) != Ok(true) {
                    return self.malformed();
                }
                let Ok(way) = Ipv4::view(&reply).map(|reply| Packet::Ipv4(reply).way(routing)) else {
                    return self.malformed();
                };
                let Way::Out(device, next) = way else { return self.counters.unroutable += 1 };
                self.counters.echoes += 1;
                self.transmit(device, next, &reply, now);
            }
            Ok(Some(icmp::Message::Error(error))) => {
                self.counters.errors_heard += 1;
                let quote = ip.payload().get(icmp::HEADER_LEN..).unwrap_or_default();
                self.hear_error(error, quote, now);
            }
            Ok(_) => self.ignore(),
        }
    }

    /// Refuses a connection: nobody listens (`tcp_v4_send_reset`, `tcp_v6_send_reset`). Whether the segment's checksum is right only its
    /// sender's device may know.
    fn refuse(
        &mut self,
        packet: &Packet<'_>,
        segment: &[u8],
        (device, next): (DeviceId, IpAddr),
        now: Duration,
    ) {
        let addresses = match packet {
            Packet::Ipv4(ip) => ip.addresses(),
            Packet::Ipv6(ip) => ip.addresses(),
        };
        let Some(reset) = tcp::reset(segment, addresses) else { return self.ignore() };
        let mut room = [0; ipv6::HEADER_LEN + tcp::HEADER_LEN];
        let header_len = match packet {
            Packet::Ipv4(_) => ipv4::HEADER_LEN,
            Packet::Ipv6(_) => ipv6::HEADER_LEN,
        };
        let reply = &mut room[..header_len + tcp::HEADER_LEN];
        reply[header_len..].copy_from_slice(&reset);
        let written = match packet {
            Packet::Ipv4(ip) => ipv4::Header {
                tos: ip.tos(),
                identification: 0,
                dont_fragment: true,
                ttl: ipv4::Header::DEFAULT_TTL,
                protocol: IpProtocol::TCP,
                source: ip.destination(),
                destination: ip.source(),
            }
            .emit(reply),
            Packet::Ipv6(ip) => ipv6::Header {
                traffic_class: 0,
                hop_limit: ipv6::Header::DEFAULT_HOP_LIMIT,
                next_header: IpProtocol::TCP,
                source: ip.destination(),
                destination: ip.source(),
            }
            .emit(reply),
        };
        if written.is_some() {
            self.counters.resets += 1;
            self.transmit(device, next, reply, now);
        }
    }

    /// The same for IPv6 (`ip6_protocol_deliver_rcu`).
    fn take_ipv6(
        &mut self,
        device: DeviceId,
        ethernet: &Ethernet<'_>,
        ip: &Ipv6<'_>,
        packet: &Packet<'_>,
        routing: &Routing,
        now: Duration,
    ) -> Option<Trouble> {
        let Some(here) = self.devices.find(device) else {
            self.ignore();
            return None;
        };
        let to = ip.destination();
        let is_icmp = || matches!(ip.transport(), Ok((IpProtocol::ICMPV6, _)));
        let hears = || here.hears(to) || is_all_routers(ip, device, routing) && is_icmp();
        let is_ours = if to.is_multicast() { hears() } else { self.devices.takes(device, to.into()) };
        if !is_ours {
            self.ignore();
            return None;
        }
        let Ok((protocol, transport)) = ip.transport() else {
            self.malformed();
            return None;
        };
        match protocol {
            IpProtocol::ICMPV6 => self.hear_icmpv6(device, ethernet, ip, packet, routing, now),
            IpProtocol::TCP if !to.is_multicast() => match self.back(device, ip.source(), packet, routing) {
                Some(way) => self.refuse(packet, transport, way, now),
                None => self.counters.unroutable += 1,
            },
            IpProtocol::TCP | NOTHING | ipv6::FRAGMENT => self.ignore(),
            IpProtocol::UDP if udp::Udp::view(transport).is_err() => self.malformed(),
            IpProtocol::UDP => return Some(Trouble::Port),
            // The error points at it, and only the one right behind the header is where it says.
            _ if protocol == ip.next_header() => return Some(Trouble::Protocol),
            _ => self.ignore(),
        }
        None
    }

    fn hear_icmpv6(
        &mut self,
        device: DeviceId,
        ethernet: &Ethernet<'_>,
        ip: &Ipv6<'_>,
        packet: &Packet<'_>,
        routing: &Routing,
        now: Duration,
    ) {
        match mld::question(ip) {
            Err(_) => return self.malformed(),
            Ok(Some(asked)) => return self.hear_question(device, ip, asked, routing, now),
            Ok(None) => {}
        }
        let message = match Icmpv6::view(ip) {
            Err(_) => return self.malformed(),
            Ok(None) => return self.ignore(),
            Ok(Some(message)) => message,
        };
        let quote = message.payload();
        if let Ok(Some(message)) = Neighbor::view(ethernet.payload()) {
            return self.hear_neighbor(device, ethernet, ip, &message, routing, now);
        }
        match message.message() {
            icmpv6::Message::EchoRequest(_) => {
                let Some((by, next)) = self.back(device, ip.source(), packet, routing) else {
                    return self.counters.unroutable += 1;
                };
                let to = ip.destination();
                let source =
                    if to.is_multicast() { self.devices.source_ipv6(by, ip.source()) } else { Some(to) };
                let Some(source) = source else { return self.counters.unroutable += 1 };
                let mut reply = ethernet.payload()[..ipv6::HEADER_LEN + ip.payload().len()].to_vec();
                // One behind extension headers is left alone.
                if icmpv6::answer(&mut reply, source) != Ok(true) {
                    return self.ignore();
                }
                self.counters.echoes += 1;
                self.transmit(by, next, &reply, now);
            }
            icmpv6::Message::Error(error) => {
                self.counters.errors_heard += 1;
                self.hear_error_ipv6(error, quote, routing, now);
            }
            _ => self.ignore(),
        }
    }
}

/// Whether it is for all routers of the link, which we are one of (RFC 4291 §2.8).
fn is_all_routers(ip: &Ipv6<'_>, device: DeviceId, routing: &Routing) -> bool {
    let forwards = routing.interface(device).is_some_and(|interface| interface.forwards);
    forwards && ip.destination() == ALL_ROUTERS
}
