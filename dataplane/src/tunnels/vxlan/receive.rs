//! Out of an outer header: is it right, whose is it, who is behind its far end, and up (`vxlan_rcv`).

use std::net::{IpAddr, Ipv6Addr};

use crate::bridge::news;
use crate::drops::DropReason;
use crate::frames::{Checksum, Frame};
use crate::ids::{DeviceId, DomainId, MacAddr};
use crate::pipeline::{Context, Observer, Step, Transmit, find_partial_checksums};
use crate::punt::PuntReason;
use crate::tables::{self, Key, Learned, ListenerId, Vxlan};
use crate::wire::IpProtocol;
use crate::wire::checksum::{Sum, pseudo_header};
use crate::wire::ethernet::{EtherType, Ethernet, HEADER_LEN};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tunnel::{Ecn, Lost, set_ecn};
use crate::wire::udp::{self, Udp};
use crate::wire::vxlan::{self, Vxlan as Header};

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

/// What an outer packet says.
struct Outer {
    source: IpAddr,
    tos: u8,
    start: usize, // of the datagram
    end: usize,
}

/// Takes the outer header off a packet to a port at which VXLAN devices take packets, and says which takes it.
///
/// # Errors
/// Why none does.
pub(crate) fn unwrap<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    id: ListenerId,
    frame: &mut Frame,
) -> Result<DeviceId, DropReason> {
    let tables = cx.tables;
    let tunnels = tables.tunnels();
    let listener = tunnels.listener(id);
    find_partial_checksums(cx, from, frame);
    let outer = outer(frame.bytes(), frame.checksum(), listener.takes_unsummed)?;
    if is_super_outside(frame, &outer) {
        return Err(DropReason::MalformedOffload);
    }
    let message = frame.bytes().get(outer.start + udp::HEADER_LEN..outer.end).unwrap_or_default();
    if message.len() < vxlan::HEADER_LEN + HEADER_LEN {
        return Err(DropReason::VxlanTruncated);
    }
    let header = Header::view(message).map_err(|_| DropReason::VxlanNoVni)?;
    let vxlan = tunnels.vxlan(listener.find(header.vni()).ok_or(DropReason::VxlanUnknownVni)?);
    if header.bits(vxlan.reserved) != 0 {
        return Err(DropReason::VxlanReserved);
    }
    let inner = Ethernet::view(header.payload()).map_err(|_| DropReason::VxlanTruncated)?;
    let source = inner.source();
    if source == vxlan.mac {
        return Err(DropReason::VxlanLoop);
    }
    if vxlan.learns {
        learn(cx, vxlan, source, outer.source, frame)?;
    }
    let shortened = frame.set_len(outer.end)
        && frame
            .pull_front(u16::try_from(outer.start + udp::HEADER_LEN + vxlan::HEADER_LEN).unwrap_or_default());
    debug_assert!(shortened, "the headers were there, and what follows the packet gets no longer");
    congest(frame.bytes_mut(), outer.tos)?;
    Ok(vxlan.device)
}

/// Reads the outer headers. What has a checksum has the right one, unless whoever sent it has left that to its device.
#[inline]
fn outer(frame: &[u8], checksum: Checksum, takes_unsummed: bool) -> Result<Outer, DropReason> {
    let ethernet = Ethernet::view(frame).map_err(|_| DropReason::Truncated)?;
    let packet = ethernet.payload();
    let (outer, addresses, payload): (Outer, &[u8], &[u8]) = match ethernet.ether_type() {
        EtherType::IPV4 => {
            let ip = Ipv4::view(packet).map_err(|_| DropReason::IpMalformed)?;
            if ip.is_fragment() {
                return Err(DropReason::TunnelFragment);
            }
            let start = HEADER_LEN + ip.header_len();
            let outer = Outer { source: ip.source().into(), tos: ip.tos(), start, end: start };
            (outer, ip.addresses(), ip.payload())
        }
        _ => {
            let ip = Ipv6::view(packet).map_err(|_| DropReason::IpMalformed)?;
            let (protocol, payload) = ip.upper_layer().map_err(|_| DropReason::IpMalformed)?;
            if protocol == ipv6::FRAGMENT {
                return Err(DropReason::TunnelFragment);
            }
            let start = HEADER_LEN + ipv6::HEADER_LEN + ip.payload().len() - payload.len();
            let outer = Outer { source: ip.source().into(), tos: ip.traffic_class(), start, end: start };
            (outer, ip.addresses(), payload)
        }
    };
    let datagram = Udp::view(payload).map_err(|_| DropReason::UdpMalformed)?;
    let length = udp::HEADER_LEN + datagram.payload().len();
    if datagram.checksum() == 0 {
        if !takes_unsummed {
            return Err(DropReason::UdpChecksum);
        }
    } else if !matches!(checksum, Checksum::Partial { .. }) {
        let length_word = u16::try_from(length).map_err(|_| DropReason::UdpMalformed)?;
        let sum = pseudo_header(addresses, IpProtocol::UDP, length_word) + Sum::of(&payload[..length]);
        if sum.checksum() != 0 {
            return Err(DropReason::UdpChecksum);
        }
    }
    Ok(Outer { end: outer.start + length, ..outer })
}

/// Whether it is the outer packet that would have to be cut, of which no port of ours speaks.
fn is_super_outside(frame: &Frame, outer: &Outer) -> bool {
    let starts_inside =
        |checksum| matches!(checksum, Checksum::Partial { start, .. } if usize::from(start) > outer.start);
    frame.gso().is_some() && !starts_inside(frame.checksum())
}

/// Notes that a station is behind a far end (`vxlan_snoop`).
///
/// # Errors
/// If it cannot be: it is none, or an entry says that it is elsewhere and is not learning's to change.
#[inline]
fn learn<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    vxlan: &Vxlan,
    source: MacAddr,
    far_end: IpAddr,
    frame: &Frame,
) -> Result<(), DropReason> {
    if source.is_group() || source.is_zero() {
        return Err(if source.is_zero() { DropReason::SourceZero } else { DropReason::SourceGroup });
    }
    let spot = cx.macs.locate(Key::new(vxlan.domain, source));
    let known = cx.macs.find(spot);
    let place = known.filter(|entry| vxlan.peers.address(entry.egress().peer) == Some(far_end));
    if let Some(entry) = place {
        cx.macs.learn(spot, entry.egress(), cx.tick);
        return Ok(());
    }
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
fn congest(frame: &mut [u8], outer: u8) -> Result<(), DropReason> {
    if Ecn::of(outer) == Ecn::NotEct {
        return Ok(());
    }
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
