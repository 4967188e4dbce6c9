//! Into an outer header: which far ends a frame is for, whether it fits on the way there, and off (`vxlan_xmit`).

use super::{networks, services};
use crate::drops::DropReason;
use crate::frames::{Checksum, Frame};
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Step, Transmit, longest};
use crate::tables::{Df, Key, Peer, Remote, RemoteId, Vxlan, VxlanDescent};
use crate::tunnels::underlay;
use crate::wire::checksum::{Sum, pseudo_header};
use crate::wire::ethernet::{EtherType, Ethernet, HEADER_LEN};
use crate::wire::flow::{FlowHash, Policy};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::Ipv6;
use crate::wire::tunnel::{Ecn, Inner};
use crate::wire::{IpProtocol, path_mtu, udp};

/// Sends what leaves by a VXLAN device: to the far end that the station is behind, or to all of those that take part in the group or stand for
/// what nothing is known of (head-end replication).
#[inline(always)]
pub(crate) fn send<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    way: VxlanDescent,
    frame: Frame,
    egress: &mut Egress,
) {
    let tables = cx.tables;
    let tunnels = tables.tunnels();
    let vxlan = tunnels.vxlan(way.vxlan);
    let (vxlan, frame) = match &vxlan.services {
        None => (vxlan, frame),
        Some(services) => match services::serve(cx, device, services, frame, egress) {
            Some((network, frame)) => (network.map_or(vxlan, |id| tunnels.vxlan(id)), frame),
            None => return,
        },
    };
    let Ok(header) = Ethernet::view(frame.bytes()) else {
        return egress.refuse(cx, device, DropReason::Truncated, frame);
    };
    let station = header.destination();
    let entry = cx.macs.find(cx.macs.locate(Key::new(vxlan.domain, station)));
    let peer = entry.map(|entry| entry.egress().peer).or(vxlan.peers.of_unknown());
    cx.observer.see(Step::Remotes(device, station, entry), &frame);
    match peer.and_then(|peer| vxlan.peers.only(peer)) {
        Some(only) => to_one(cx, device, vxlan, only, frame, egress),
        None => to_all(cx, device, vxlan, peer, frame, egress),
    }
}

/// Sends copies of a frame to far ends that are not one: to the last of them the original.
#[cold]
fn to_all<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    vxlan: &Vxlan,
    peer: Option<Peer>,
    frame: Frame,
    egress: &mut Egress,
) {
    let remotes = peer.map_or(&[][..], |peer| vxlan.peers.remotes(peer));
    let Some((&last, others)) = remotes.split_first() else {
        if let Ok(header) = Ethernet::view(frame.bytes()) {
            services::missed(cx, vxlan, header.destination(), &frame);
        }
        return egress.refuse(cx, device, DropReason::VxlanNoRemote, frame);
    };
    for &other in others {
        if let Some(copy) = egress.copy(cx, device, &frame) {
            to_one(cx, device, vxlan, other, copy, egress);
        }
    }
    to_one(cx, device, vxlan, last, frame, egress);
}

/// Sends a frame, which may be a super-frame, to one far end.
#[inline(always)]
fn to_one<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    vxlan: &Vxlan,
    id: RemoteId,
    frame: Frame,
    egress: &mut Egress,
) {
    let remote = cx.tables.tunnels().remote(id);
    let most = (remote.mtu as usize + HEADER_LEN).saturating_sub(remote.header.len().into());
    if frame.is_wire_ready() && frame.len() <= most {
        encapsulate(cx, device, vxlan, (id, remote), true, frame, egress);
    } else {
        fit(cx, device, vxlan, ((id, remote), most), frame, egress);
    }
}

/// The same for a frame that is not fit for the wire, or longer than `most`.
#[cold]
fn fit<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    vxlan: &Vxlan,
    (remote, most): ((RemoteId, &Remote), usize),
    mut frame: Frame,
    egress: &mut Egress,
) {
    if frame.len() > most {
        let Some(goes_on) = too_long(cx, vxlan, most, frame, egress) else { return };
        frame = goes_on;
    }
    egress.each_whole(cx, device, frame, |egress, cx, frame| {
        encapsulate(cx, device, vxlan, remote, false, frame, egress);
    });
}

/// Puts the outer header before a frame that is fit for the wire, and sends it; `fits` as [`underlay::send`] has it.
#[inline(always)]
fn encapsulate<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    vxlan: &Vxlan,
    (id, remote): (RemoteId, &Remote),
    fits: bool,
    mut frame: Frame,
    egress: &mut Egress,
) {
    match wrap(vxlan, remote, &mut frame, egress) {
        Ok(()) => underlay::send(cx, device, (id, remote), fits, frame, egress),
        Err(reason) => egress.refuse(cx, device, reason, frame),
    }
}

/// Puts the outer header before a frame.
#[inline(always)]
fn wrap(vxlan: &Vxlan, remote: &Remote, frame: &mut Frame, egress: &mut Egress) -> Result<(), DropReason> {
    let (flow, inner) = inside(vxlan, frame.bytes());
    let fields = fields(vxlan, remote, inner);
    let datagram = underlay::wrap(remote, frame, IpProtocol::UDP, fields, egress)?;
    let length = u16::try_from(datagram.len()).map_err(|_| DropReason::MtuExceeded)?;
    let Some(header) = datagram.first_chunk_mut::<{ udp::HEADER_LEN }>() else {
        unreachable!("the tail of the header begins with it")
    };
    header[..2].copy_from_slice(&vxlan.source_ports.of(flow).to_be_bytes());
    header[udp::LENGTH_OFFSET..][..2].copy_from_slice(&length.to_be_bytes());
    if vxlan.has_checksum {
        sum(remote, length, frame.bytes_mut());
    }
    Ok(())
}

/// Writes the checksum of the outer datagram, of so many bytes.
fn sum(remote: &Remote, length: u16, frame: &mut [u8]) {
    let start = remote.header.tail_start();
    let (before, datagram) = frame.split_at_mut(start);
    let addresses = if start == HEADER_LEN + ipv4::HEADER_LEN { 8 } else { 32 };
    let sum = pseudo_header(&before[start - addresses..], IpProtocol::UDP, length) + Sum::of(datagram);
    datagram[udp::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.checksum_not_zero().to_be_bytes());
}

/// Which flow a frame is of, and what is to be known of a packet in it.
#[inline(always)]
fn inside(vxlan: &Vxlan, frame: &[u8]) -> (FlowHash, Inner) {
    const NOT_IP: Inner = Inner { tos: 0, ttl: 0, dont_fragment: false };
    let hasher = &vxlan.hasher;
    if let Ok(header) = Ethernet::view(frame) {
        match header.ether_type() {
            EtherType::IPV4 => {
                if let Ok(packet) = Ipv4::view(header.payload()) {
                    return (hasher.ipv4(&packet, Policy::Ports), Inner::from(&packet));
                }
            }
            EtherType::IPV6 => {
                if let Ok(packet) = Ipv6::view(header.payload()) {
                    let inner = Inner { dont_fragment: true, ..Inner::from(&packet) };
                    return (hasher.ipv6(&packet, Policy::Ports), inner);
                }
            }
            _ => {}
        }
    }
    (hasher.ethernet(frame), NOT_IP)
}

/// What the outer header says, of a frame that has this inside (`vxlan_xmit_one`).
#[inline(always)]
fn fields(vxlan: &Vxlan, remote: &Remote, inner: Inner) -> Inner {
    let ttl = vxlan.ttl.unwrap_or(inner.ttl);
    Inner {
        tos: Ecn::of(inner.tos).encapsulated().set_in(vxlan.tos.unwrap_or(inner.tos)),
        ttl: match ttl {
            0 if remote.header.is_to_group() => 1,
            0 => ipv4::Header::DEFAULT_TTL,
            ttl => ttl,
        },
        dont_fragment: match vxlan.df {
            Df::Unset => false,
            Df::Set => true,
            Df::Inherit => inner.dont_fragment,
        },
    }
}

/// A frame longer than `most` is on its way to a far end. Its sender is told, in the name of the receiver (`skb_tunnel_check_pmtu`): what comes back
/// from the device is an answer as if the far end had sent it. The frame, if it goes on all the same, in pieces if need be.
#[cold]
fn too_long<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    vxlan: &Vxlan,
    most: usize,
    mut frame: Frame,
    egress: &mut Egress,
) -> Option<Frame> {
    let device = vxlan.device;
    match longest(&frame) {
        Err(reason) => {
            egress.refuse(cx, device, reason, frame);
            return None;
        }
        Ok(longest) if longest <= most => return Some(frame),
        Ok(_) => {}
    }
    let mtu = u16::try_from(most.saturating_sub(HEADER_LEN)).unwrap_or(u16::MAX);
    let mut answer = [0; path_mtu::MAX_LEN];
    let Some(length) = path_mtu::answer(frame.bytes(), mtu, &mut answer) else { return Some(frame) };
    frame.set_gso(None);
    frame.set_checksum(Checksum::Complete);
    let filled = answer.get(..length).is_some_and(|answer| frame.fill(answer));
    debug_assert!(filled, "it is shorter than what it answers");
    cx.observer.see(Step::PathTold(device, mtu), &frame);
    if let Some(network) = &vxlan.network
        && let Err(reason) = networks::received(cx, vxlan.device, network, &mut frame)
    {
        egress.refuse(cx, device, reason, frame);
        return None;
    }
    egress.rise(cx, device, frame);
    None
}
