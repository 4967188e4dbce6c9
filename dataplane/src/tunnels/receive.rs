//! What comes to an address of ours in an outer header: whose it is, and up to its device.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::drops::{Direction, DropReason};
use crate::frames::{Checksum, Frame};
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Transmit};
use crate::punt::PuntReason;
use crate::tables::{Arrival, Tunnels};
use crate::wire::ethernet::HEADER_LEN;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::{IpProtocol, ipv4};

use super::{ipip, vxlan};

/// What tunnels go by of an outer IP header, read once. All of it numbers, as those stay in registers: a variant would be written to memory in
/// pieces and read back whole.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    /// The far end, IPv4 as IPv6 maps it (RFC 4291 §2.5.5.2).
    pub(super) source: u128,
    /// Type of service or traffic class.
    pub(super) tos: u8,
    /// What follows: of IPv6 behind extension headers.
    pub(super) protocol: IpProtocol,
    /// Where in the frame what follows begins.
    pub(super) start: usize,
    /// And where it ends.
    pub(super) end: usize,
}

impl Outer {
    /// The far end.
    #[inline]
    pub(super) fn source(&self) -> IpAddr {
        Ipv6Addr::from_bits(self.source).to_canonical()
    }

    /// Whether that is this one.
    #[inline]
    pub(super) fn is_from(&self, far_end: Ipv6Addr) -> bool {
        far_end.to_bits() == self.source
    }
}

/// Whose an IPv4 packet of so many bytes for us is, that routing has found right; if it is no tunnel's, it is control's for this reason.
/// Only control puts fragments together, of a tunnel's as of others.
#[inline(always)]
pub(crate) fn find(tunnels: &Tunnels, frame: &Frame, length: u32) -> Result<(Arrival, Outer), PuntReason> {
    let bytes = frame.bytes();
    let Some(header) = bytes.get(HEADER_LEN..).and_then(<[u8]>::first_chunk::<{ ipv4::HEADER_LEN }>) else {
        return Err(PuntReason::Local);
    };
    let [words, tos, _, _, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    if u16::from_be_bytes([f0, f1]) & ipv4::FRAGMENT != 0 {
        return Err(PuntReason::Fragment);
    }
    let source = Ipv4Addr::new(s0, s1, s2, s3);
    let protocol = IpProtocol(protocol);
    let (start, end) = (HEADER_LEN + usize::from(words & 0xf) * 4, HEADER_LEN + length as usize);
    let arrival = match protocol {
        IpProtocol::UDP => listener(tunnels, false, bytes.get(start..end).unwrap_or_default()),
        IpProtocol::IPV4 | IpProtocol::IPV6 => {
            tunnels.demux.find(protocol, Ipv4Addr::new(d0, d1, d2, d3), source).map(Arrival::Ip)
        }
        _ => None,
    };
    let arrival = arrival.ok_or(PuntReason::Local)?;
    Ok((arrival, Outer { source: source.to_ipv6_mapped().to_bits(), tos, protocol, start, end }))
}

/// The same of an IPv6 packet.
pub(crate) fn find_ipv6(tunnels: &Tunnels, frame: &Frame) -> Result<(Arrival, Outer), PuntReason> {
    let packet = frame.bytes().get(HEADER_LEN..).unwrap_or_default();
    let ip = Ipv6::view(packet).map_err(|_| PuntReason::Local)?;
    if ip.is_fragment() {
        return Err(PuntReason::Fragment);
    }
    let (protocol, payload) = ip.upper_layer().map_err(|_| PuntReason::Local)?;
    let end = HEADER_LEN + ipv6::HEADER_LEN + ip.payload().len();
    let start = end - payload.len();
    let arrival = match protocol {
        IpProtocol::UDP => listener(tunnels, true, payload),
        IpProtocol::IPV4 | IpProtocol::IPV6 => {
            tunnels.demux.find_ipv6(ip.destination(), ip.source()).map(Arrival::Ip)
        }
        _ => None,
    };
    let arrival = arrival.ok_or(PuntReason::Local)?;
    Ok((arrival, Outer { source: ip.source().to_bits(), tos: ip.traffic_class(), protocol, start, end }))
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
            ipip::unwrap(tunnel, outer, frame).map(|()| tunnel.device)
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
    egress.cut(cx, from, whole, |egress, cx, mut segment| {
        let tunnels = cx.tables.tunnels();
        let arrived = match Ipv4::view(segment.bytes().get(HEADER_LEN..).unwrap_or_default()) {
            Ok(ip) => find(tunnels, &segment, ip.total_len().into()),
            Err(_) => find_ipv6(tunnels, &segment),
        };
        let unwrapped = match arrived {
            Ok(arrived) => unwrap(cx, from, &arrived, &mut segment),
            Err(_) => Err(DropReason::MalformedOffload),
        };
        match unwrapped {
            Ok(device) => egress.rise(cx, device, segment),
            Err(reason) => egress.refuse(cx, from, reason, segment),
        }
    });
}
