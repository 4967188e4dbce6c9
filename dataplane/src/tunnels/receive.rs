//! What comes to an address of ours in an outer header: whose it is, and up to its device.

use std::net::IpAddr;

use crate::drops::Direction;
use crate::frames::Frame;
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Transmit};
use crate::tables::{Arrival, Tunnels};
use crate::wire::IpProtocol;
use crate::wire::ethernet::HEADER_LEN;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

use super::{ipip, vxlan};

/// What tunnels go by of an outer IP header, read once.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    /// The far end.
    pub(super) source: IpAddr,
    /// Type of service or traffic class.
    pub(super) tos: u8,
    /// What follows: of IPv6 behind extension headers.
    pub(super) protocol: IpProtocol,
    /// Whether it is a part of a packet only.
    pub(super) is_fragment: bool,
    /// Where in the frame what follows begins.
    pub(super) start: usize,
    /// And where it ends.
    pub(super) end: usize,
}

/// The tunnel that takes a packet for an address of ours, and its outer header; `None` if none does.
#[inline(always)]
pub(crate) fn find(tunnels: &Tunnels, frame: &Frame) -> Option<(Arrival, Outer)> {
    let packet = frame.bytes().get(HEADER_LEN..)?;
    let ip = Ipv4::view(packet).ok()?;
    let start = HEADER_LEN + ip.header_len();
    let outer = Outer {
        source: ip.source().into(),
        tos: ip.tos(),
        protocol: ip.protocol(),
        is_fragment: ip.is_fragment(),
        start,
        end: start + ip.payload().len(),
    };
    let arrival = match outer.protocol {
        // Of the later fragments of a packet nobody knows whose they are, and of the first it is no use to know.
        IpProtocol::UDP if outer.is_fragment => tunnels.any_listener(false).map(Arrival::Vxlan),
        IpProtocol::UDP => listener(tunnels, false, ip.payload()),
        protocol @ (IpProtocol::IPV4 | IpProtocol::IPV6) => {
            tunnels.demux.find(protocol, ip.destination(), ip.source()).map(Arrival::Ip)
        }
        _ => None,
    };
    Some((arrival?, outer))
}

/// The same of IPv6.
pub(crate) fn find_ipv6(tunnels: &Tunnels, frame: &Frame) -> Option<(Arrival, Outer)> {
    if tunnels.listeners.is_empty() {
        return None;
    }
    let packet = frame.bytes().get(HEADER_LEN..)?;
    let ip = Ipv6::view(packet).ok()?;
    let (protocol, payload) = ip.upper_layer().ok()?;
    let end = HEADER_LEN + ipv6::HEADER_LEN + ip.payload().len();
    let outer = Outer {
        source: ip.source().into(),
        tos: ip.traffic_class(),
        protocol,
        is_fragment: protocol == ipv6::FRAGMENT,
        start: end - payload.len(),
        end,
    };
    let arrival = match (protocol, payload) {
        (IpProtocol::UDP, payload) => listener(tunnels, true, payload),
        (ipv6::FRAGMENT, [next, ..]) if *next == IpProtocol::UDP.0 => {
            tunnels.any_listener(true).map(Arrival::Vxlan)
        }
        _ => None,
    };
    Some((arrival?, outer))
}

/// The port that a datagram is for, if it is one at which VXLAN devices take packets.
#[inline]
fn listener(tunnels: &Tunnels, is_ipv6: bool, datagram: &[u8]) -> Option<Arrival> {
    let &[_, _, high, low] = datagram.first_chunk()?;
    tunnels.listens(is_ipv6, u16::from_be_bytes([high, low])).map(Arrival::Vxlan)
}

/// Takes the outer header off a packet that `find` has found the tunnel of, and lets what is inside surface there.
#[inline(always)]
pub(crate) fn receive<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    (arrival, outer): (Arrival, Outer),
    mut frame: Frame,
    egress: &mut Egress,
) {
    let tables = cx.tables;
    let unwrapped = match arrival {
        Arrival::Ip(tunnel) => {
            let tunnel = tables.tunnels().ip(tunnel);
            ipip::unwrap(tunnel.mac, &outer, &mut frame).map(|()| tunnel.device)
        }
        Arrival::Vxlan(listener) => vxlan::unwrap(cx, from, listener, &outer, &mut frame),
    };
    match unwrapped {
        Ok(device) => egress.surface(cx, device, frame),
        Err(reason) => cx.discard(from, Direction::Rx, reason, frame),
    }
}
