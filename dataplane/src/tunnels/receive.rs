//! What comes to an address of ours in an outer header: whose it is, and up to its device.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::drops::{Direction, DropReason};
use crate::frames::{Checksum, Frame};
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Transmit};
use crate::punt::PuntReason;
use crate::tables::{self, Arrival, Tunnels};
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

    /// The same as a number.
    #[inline]
    pub(super) fn source_bits(&self) -> u128 {
        self.source
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
    let word = |number: usize| header.as_chunks().0.get(number).map_or(0, |word| u32::from_be_bytes(*word));
    if word(1) & u32::from(ipv4::FRAGMENT) != 0 {
        return Err(PuntReason::Fragment);
    }
    let [words, tos, ..] = word(0).to_be_bytes();
    let [_, protocol, ..] = word(2).to_be_bytes();
    let protocol = IpProtocol(protocol);
    let (start, end) = (HEADER_LEN + usize::from(words & 0xf) * 4, HEADER_LEN + length as usize);
    let arrival = match protocol {
        IpProtocol::UDP => listener(tunnels, false, bytes.get(start..end).unwrap_or_default()),
        IpProtocol::IPV4 | IpProtocol::IPV6 => {
            let [source, destination] = [word(3), word(4)].map(Ipv4Addr::from_bits);
            tunnels.demux.find(protocol, destination, source).map(Arrival::Ip)
        }
        _ => None,
    };
    let arrival = arrival.ok_or(PuntReason::Local)?;
    let source = tables::mapped(word(3));
    Ok((arrival, Outer { source, tos, protocol, start, end }))
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

/// Does both at once with an IPv4 packet for us like most, and says whether it was one; `see` has whoever looks see whose it is.
#[inline(always)]
pub(crate) fn receive_plain<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    length: u32,
    mut frame: Frame,
    egress: &mut Egress,
    see: impl FnOnce(&mut O, Arrival, &Frame),
) -> Result<(), Frame> {
    let tables = cx.tables;
    let Some(packet) = vxlan::plain(tables.tunnels(), &frame, length) else { return Err(frame) };
    see(cx.observer, Arrival::Vxlan(packet.listener), &frame);
    match vxlan::unwrap_plain(cx, &packet, &mut frame) {
        Ok(device) => egress.surface(cx, device, frame),
        Err(reason) => cx.discard(from, Direction::Rx, reason, frame),
    }
    Ok(())
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
