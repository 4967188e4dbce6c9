//! What comes to an address of ours in an outer header: whose it is, and up to its device.

use std::net::IpAddr;

use crate::drops::{Direction, DropReason};
use crate::frames::{Checksum, Frame};
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Transmit};
use crate::punt::PuntReason;
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
    /// Where in the frame what follows begins.
    pub(super) start: usize,
    /// And where it ends.
    pub(super) end: usize,
}

/// Whose a packet for an address of ours is.
pub(crate) enum Owner {
    /// A tunnel's.
    Tunnel((Arrival, Outer)),
    /// Control's, for this reason.
    Control(PuntReason),
}

impl From<Option<(Arrival, Outer)>> for Owner {
    #[inline]
    fn from(arrived: Option<(Arrival, Outer)>) -> Self {
        arrived.map_or(Self::Control(PuntReason::Local), Self::Tunnel)
    }
}

/// Whose an IPv4 packet for us is. Only control puts fragments together, of a tunnel's as of others.
#[inline(always)]
pub(crate) fn find(tunnels: &Tunnels, frame: &Frame) -> Owner {
    let packet = frame.bytes().get(HEADER_LEN..).unwrap_or_default();
    let Ok(ip) = Ipv4::view(packet) else { return Owner::Control(PuntReason::Local) };
    if ip.is_fragment() {
        return Owner::Control(PuntReason::Fragment);
    }
    let (protocol, start) = (ip.protocol(), HEADER_LEN + ip.header_len());
    let end = start + ip.payload().len();
    let outer = Outer { source: ip.source().into(), tos: ip.tos(), protocol, start, end };
    let arrival = match protocol {
        IpProtocol::UDP => listener(tunnels, false, ip.payload()),
        IpProtocol::IPV4 | IpProtocol::IPV6 => {
            tunnels.demux.find(protocol, ip.destination(), ip.source()).map(Arrival::Ip)
        }
        _ => None,
    };
    arrival.map(|arrival| (arrival, outer)).into()
}

/// The same of an IPv6 packet.
pub(crate) fn find_ipv6(tunnels: &Tunnels, frame: &Frame) -> Owner {
    let packet = frame.bytes().get(HEADER_LEN..).unwrap_or_default();
    let Ok(ip) = Ipv6::view(packet) else { return Owner::Control(PuntReason::Local) };
    if ip.is_fragment() {
        return Owner::Control(PuntReason::Fragment);
    }
    let Ok((protocol, payload)) = ip.upper_layer() else { return Owner::Control(PuntReason::Local) };
    let end = HEADER_LEN + ipv6::HEADER_LEN + ip.payload().len();
    let start = end - payload.len();
    let outer = Outer { source: ip.source().into(), tos: ip.traffic_class(), protocol, start, end };
    let arrival = match protocol {
        IpProtocol::UDP => listener(tunnels, true, payload),
        _ => None,
    };
    arrival.map(|arrival| (arrival, outer)).into()
}

/// The port that a datagram is for, if it is one at which VXLAN devices take packets.
#[inline]
fn listener(tunnels: &Tunnels, is_ipv6: bool, datagram: &[u8]) -> Option<Arrival> {
    let &[_, _, high, low] = datagram.first_chunk()?;
    tunnels.listens(is_ipv6, u16::from_be_bytes([high, low])).map(Arrival::Vxlan)
}

/// Takes the outer header off a packet whose tunnel was found, and lets what is inside surface there.
#[inline(always)]
pub(crate) fn receive<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    arrived: (Arrival, Outer),
    mut frame: Frame,
    egress: &mut Egress,
) {
    if !frame.is_wire_ready() && is_super_outside(&frame, &arrived.1) {
        return receive_super(cx, from, frame, egress);
    }
    match unwrap(cx, from, &arrived, &mut frame) {
        Ok(device) => egress.surface(cx, device, frame),
        Err(reason) => cx.discard(from, Direction::Rx, reason, frame),
    }
}

/// Takes the outer header off; the device on which what is inside surfaces.
#[inline(always)]
fn unwrap<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    (arrival, outer): &(Arrival, Outer),
    frame: &mut Frame,
) -> Result<DeviceId, DropReason> {
    match *arrival {
        Arrival::Ip(tunnel) => {
            let tunnel = cx.tables.tunnels().ip(tunnel);
            ipip::unwrap(tunnel.mac, outer, frame).map(|()| tunnel.device)
        }
        Arrival::Vxlan(listener) => vxlan::unwrap(cx, from, listener, outer, frame),
    }
}

/// Whether it is the outer packet that is one for many: what a far end sends that leaves the cutting to its device (`UDP_SEGMENT`, udp(7)).
fn is_super_outside(frame: &Frame, outer: &Outer) -> bool {
    let starts_inside =
        matches!(frame.checksum(), Checksum::Partial { start, .. } if usize::from(start) > outer.start);
    frame.gso().is_some() && !starts_inside
}

/// The same of one outer packet that stands for many: cut, each goes up by itself (`udp_rcv_segment`, include/net/udp.h).
#[cold]
fn receive_super<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    whole: Frame,
    egress: &mut Egress,
) {
    egress.count_forwarded();
    let is_ipv4 = Ipv4::view(whole.bytes().get(HEADER_LEN..).unwrap_or_default()).is_ok();
    egress.cut(cx, from, whole, |egress, cx, mut segment| {
        let tunnels = cx.tables.tunnels();
        let owner = if is_ipv4 { find(tunnels, &segment) } else { find_ipv6(tunnels, &segment) };
        let unwrapped = match owner {
            Owner::Tunnel(arrived) => unwrap(cx, from, &arrived, &mut segment),
            Owner::Control(_) => Err(DropReason::MalformedOffload),
        };
        match unwrapped {
            Ok(device) => egress.rise(cx, device, segment),
            Err(reason) => egress.refuse(cx, from, reason, segment),
        }
    });
}
