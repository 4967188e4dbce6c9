//! Out of an outer header: is it right, whose is it, who is behind its far end, and up (`vxlan_rcv`).

use std::net::{IpAddr, Ipv6Addr};

use super::networks;
use crate::bridge::news;
use crate::drops::DropReason;
use crate::frames::{Checksum, Frame};
use crate::ids::{DeviceId, DomainId, MacAddr};
use crate::pipeline::{Context, Observer, Step, Transmit, find_partial_checksums};
use crate::punt::PuntReason;
use crate::tables::{self, Entry, Key, Learned, Listener, ListenerId, Spot, Tunnels, Vxlan as Device};
use crate::tunnels::Outer;
use crate::wire::IpProtocol;
use crate::wire::checksum::{Sum, pseudo_header};
use crate::wire::ethernet::{EtherType, Ethernet, HEADER_LEN};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::Ipv6;
use crate::wire::tunnel::{Ecn, Lost, set_ecn};
use crate::wire::udp::{self, Udp};
use crate::wire::vxlan::{self, Header, Vxlan};

/// A station seen behind a far end that the device has no number for: control gives it one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FarEnd {
    /// The station.
    pub key: Key,
    /// The address of the far end.
    pub address: IpAddr,
}

impl FarEnd {
    fn encode(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..2].copy_from_slice(&self.key.domain().number().to_be_bytes());
        bytes[2..8].copy_from_slice(&self.key.mac().octets());
        let address = match self.address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        bytes[8..].copy_from_slice(&address.octets());
        bytes
    }

    /// What a worker told for [`PuntReason::FarEnd`]; `None` if these bytes are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, address) = <&[u8; 24]>::try_from(bytes).ok()?.split_first_chunk::<8>()?;
        let [a, b, mac @ ..] = *key;
        let domain = DomainId::new(u16::from_be_bytes([a, b]))?;
        let address = Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_canonical();
        Some(Self { key: Key::new(domain, MacAddr::new(mac)), address })
    }
}

/// A packet like most, of which one look at its headers says all.
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    /// The port that it is for.
    pub(crate) listener: ListenerId,
    outer: Outer,
    header: Header,
    source: MacAddr,
}

/// Bytes of the headers of such a packet, the outer Ethernet header included, up to the frame inside.
const PLAIN: usize = HEADER_LEN + ipv4::HEADER_LEN + udp::HEADER_LEN + vxlan::HEADER_LEN;

/// Reads a frame of an IPv4 packet of so many bytes, that routing has found right, if it is like most: nothing in it is left to its device, it has no IP
/// options, is no fragment, and its UDP has no checksum. `None` for all others, of which that says nothing.
#[inline(always)]
pub(crate) fn plain(tunnels: &Tunnels, frame: &Frame, length: u32) -> Option<Plain> {
    /// From the IP header on, in words of 16 bits.
    const WORDS: usize = (PLAIN - HEADER_LEN) / 2;
    let headers: &[u8; PLAIN + HEADER_LEN] = frame.bytes().first_chunk()?;
    let (outer, inner) = headers.split_at(PLAIN);
    let words: &[[u8; 2]; WORDS] = outer.get(HEADER_LEN..)?.as_chunks().0.first_chunk()?;
    let word = |at: usize| u16::from_be_bytes(words[at]);
    let [version, tos] = words[0];
    let is_plain = words[4][1] == IpProtocol::UDP.0
        && frame.is_wire_ready()
        && version == 0x45
        && word(3) & ipv4::FRAGMENT == 0
        && usize::from(word(12)) + ipv4::HEADER_LEN == length as usize
        && length as usize >= PLAIN
        && word(13) == 0;
    if !is_plain {
        return None;
    }
    let header = Header::read(*outer.last_chunk()?)?;
    let source = Ethernet::view(inner).ok()?.source();
    let start = HEADER_LEN + ipv4::HEADER_LEN;
    let outer = Outer {
        source: tables::mapped(u32::from(word(6)) << 16 | u32::from(word(7))),
        tos,
        protocol: IpProtocol::UDP,
        start,
        end: HEADER_LEN + length as usize,
    };
    Some(Plain { listener: tunnels.listens(false, word(11))?, outer, header, source })
}

/// Takes the outer header off such a packet, and says which device takes what is inside.
///
/// # Errors
/// Why none does.
#[inline(always)]
pub(crate) fn unwrap_plain<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    packet: &Plain,
    frame: &mut Frame,
) -> Result<DeviceId, DropReason> {
    let listener = cx.tables.tunnels().listener(packet.listener);
    take(cx, listener, (packet.header, packet.source), &packet.outer, packet.outer.end, frame)
}

/// Takes the outer header off a packet to a port at which VXLAN devices take packets, and says which takes it.
///
/// # Errors
/// Why none does.
#[inline]
pub(crate) fn unwrap<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    id: ListenerId,
    outer: &Outer,
    frame: &mut Frame,
) -> Result<DeviceId, DropReason> {
    let listener = cx.tables.tunnels().listener(id);
    let message = message(cx, from, listener, outer, frame)?;
    // What there is to look at is in the first bytes: one look says that they are there.
    let Some(headers) = message.first_chunk::<{ vxlan::HEADER_LEN + HEADER_LEN }>() else {
        return Err(DropReason::VxlanTruncated);
    };
    let end = outer.start + udp::HEADER_LEN + message.len();
    let packet = Vxlan::view(headers).map_err(|_| DropReason::VxlanNoVni)?;
    let inner = Ethernet::view(packet.payload()).map_err(|_| DropReason::VxlanTruncated)?;
    let read = (packet.header(), inner.source());
    take(cx, listener, read, outer, end, frame)
}

/// Takes the outer header off a packet that ends at `end`, whose VXLAN header and inner source address are read.
#[inline(always)]
fn take<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    listener: &Listener,
    (header, source): (Header, MacAddr),
    outer: &Outer,
    end: usize,
    frame: &mut Frame,
) -> Result<DeviceId, DropReason> {
    let tables = cx.tables;
    let vxlan = tables.tunnels().vxlan(listener.find(header.vni()).ok_or(DropReason::VxlanUnknownVni)?);
    if header.bits(vxlan.reserved) != 0 {
        return Err(networks::wrong(cx, vxlan, DropReason::VxlanReserved));
    }
    if source == vxlan.mac {
        return Err(DropReason::VxlanLoop);
    }
    if vxlan.learns {
        learn(cx, vxlan, source, outer, frame)?;
    }
    let headers = u16::try_from(outer.start + udp::HEADER_LEN + vxlan::HEADER_LEN).unwrap_or_default();
    let shortened = (frame.len() == end || frame.set_len(end)) && frame.pull_front(headers);
    debug_assert!(shortened, "the headers were there, and what follows the packet gets no longer");
    if Ecn::of(outer.tos) != Ecn::NotEct {
        congest(frame.bytes_mut(), outer.tos).map_err(|reason| networks::wrong(cx, vxlan, reason))?;
    }
    if let Some(network) = &vxlan.network {
        networks::received(cx, vxlan.device, network, frame)?;
    }
    Ok(vxlan.device)
}

/// What is in a datagram. If that has a checksum it is the right one, unless whoever sent it has left that to its device.
///
/// # Errors
/// Why it is none, or not to be taken.
#[inline(always)]
fn message<'f, O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    listener: &Listener,
    outer: &Outer,
    frame: &'f mut Frame,
) -> Result<&'f [u8], DropReason> {
    if !frame.is_wire_ready() {
        find_partial_checksums(cx, from, frame);
    }
    let checksum = frame.checksum();
    let payload = frame.bytes().get(outer.start..outer.end).unwrap_or_default();
    let datagram = Udp::view(payload).map_err(|_| DropReason::UdpMalformed)?;
    let is_right = match datagram.checksum() {
        0 => listener.takes_unsummed,
        _ => {
            matches!(checksum, Checksum::Partial { .. })
                || is_intact(frame.bytes(), outer, payload, &datagram)
        }
    };
    if is_right { Ok(datagram.payload()) } else { Err(DropReason::UdpChecksum) }
}

/// Whether the checksum of a datagram, which begins `payload`, is right.
fn is_intact(frame: &[u8], outer: &Outer, payload: &[u8], datagram: &Udp<'_>) -> bool {
    let packet = frame.get(HEADER_LEN..).unwrap_or_default();
    let addresses = match outer.source() {
        IpAddr::V4(_) => Ipv4::view(packet).map(|ip| ip.addresses()),
        IpAddr::V6(_) => Ipv6::view(packet).map(|ip| ip.addresses()),
    };
    let length = udp::HEADER_LEN + datagram.payload().len();
    let (Ok(addresses), Ok(length_word)) = (addresses, u16::try_from(length)) else { return false };
    let sum = pseudo_header(addresses, IpProtocol::UDP, length_word) + Sum::of(&payload[..length]);
    sum.checksum() == 0
}

/// Notes that a station is behind a far end (`vxlan_snoop`).
///
/// # Errors
/// If it cannot be: it is none, or an entry says that it is elsewhere and is not learning's to change.
#[inline(always)]
fn learn<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    vxlan: &Device,
    source: MacAddr,
    outer: &Outer,
    frame: &Frame,
) -> Result<(), DropReason> {
    if source.is_group() || source.is_zero() {
        return Err(if source.is_zero() { DropReason::SourceZero } else { DropReason::SourceGroup });
    }
    let spot = cx.macs.locate(Key::new(vxlan.domain, source));
    let known = cx.macs.find(spot);
    if let Some(entry) = known
        && vxlan.peers.address_bits(entry.egress().peer) == Some(outer.source_bits())
    {
        if !entry.is_noted_at(cx.tick) {
            cx.macs.learn(spot, entry.egress(), cx.tick);
        }
        return Ok(());
    }
    learn_anew(cx, vxlan, (spot, known), outer.source(), frame)
}

/// The same of a station that was not behind it.
#[cold]
fn learn_anew<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    vxlan: &Device,
    (spot, known): (Spot, Option<Entry>),
    far_end: IpAddr,
    frame: &Frame,
) -> Result<(), DropReason> {
    if known.is_some_and(|entry| entry.is_fixed()) {
        return Err(DropReason::VxlanFixed);
    }
    let Some(peer) = vxlan.peers.find(far_end) else {
        let told = FarEnd { key: spot.key(), address: far_end };
        let taken = cx.punt.offer(vxlan.device, PuntReason::FarEnd, cx.tick, &told.encode());
        cx.observer.see(Step::CopiedToControl(PuntReason::FarEnd, taken), frame);
        return Ok(());
    };
    let egress = tables::Egress { device: vxlan.device, peer };
    let learned = cx.macs.learn(spot, egress, cx.tick);
    let lesson = news(cx, vxlan.device, spot, learned);
    cx.observer.see(Step::LearnedBehind(lesson, far_end), frame);
    if learned == Learned::Refused { Err(DropReason::VxlanFixed) } else { Ok(()) }
}

/// The packet inside says that there was congestion if the outer header does (RFC 6040 §4.2).
#[cold]
fn congest(frame: &mut [u8], outer: u8) -> Result<(), DropReason> {
    let Some((header, packet)) = frame.split_first_chunk_mut::<HEADER_LEN>() else {
        return Err(DropReason::VxlanTruncated);
    };
    let ether_type = EtherType(u16::from_be_bytes([header[12], header[13]]));
    let tos = match ether_type {
        EtherType::IPV4 => Ipv4::view(packet).map(|ip| ip.tos()),
        EtherType::IPV6 => Ipv6::view(packet).map(|ip| ip.traffic_class()),
        _ => return Ok(()),
    };
    let Ok(tos) = tos else { return Ok(()) };
    let inner = Ecn::of(tos);
    let ecn = inner.decapsulated(Ecn::of(outer)).map_err(|Lost| DropReason::TunnelCongested)?.ecn;
    if ecn != inner {
        let set = set_ecn(packet, ecn);
        debug_assert!(set.is_some(), "there is a header");
    }
    Ok(())
}
