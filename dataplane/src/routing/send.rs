//! Sending a packet on: does it fit, who is next, and a header for that one.

use std::net::IpAddr;

use super::Fate;
use super::stage::Packet;
use crate::drops::{Direction, DropReason};
use crate::frames::{Checksum, Frame};
use crate::ids::{DeviceId, MacAddr};
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::tables::{Interface, Routing, station_of};
use crate::wire::ethernet::{self, ADDRESSES_LEN, EtherType, HEADER_LEN};
use crate::wire::fragment::Fragmenter;
use crate::wire::segment::Segmenter;
use crate::wire::{checksum, forward, partial};

/// How a packet is sent on.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    /// Where it leaves.
    pub(super) to: DeviceId,
    /// Who is to have it next.
    pub(super) next: IpAddr,
    /// The same one's link-layer address.
    pub(super) mac: MacAddr,
    source: MacAddr,
    length: usize,    // of the frame, without what follows the packet
    mtu: Option<u16>, // if it is to be fragmented to that
}

/// How a packet is sent on to a neighbour: it has to fit the link, and the neighbour to be known.
#[inline(always)]
pub(super) fn prepare(
    routing: &Routing,
    (to, there, next): (DeviceId, &Interface, IpAddr),
    packet: Packet,
    frame: &Frame,
) -> Result<Leaving, Fate> {
    let length = HEADER_LEN + packet.length as usize;
    let mut mtu = None;
    if packet.length > there.mtu && longest(frame, length) > there.mtu as usize + HEADER_LEN {
        if !packet.may_fragment {
            return Err(Fate::Refuse(DropReason::TooBig, PuntReason::TooBig));
        }
        mtu = Some(u16::try_from(there.mtu).unwrap_or(u16::MAX));
    }
    let mac = if there.has_neighbors { routing.neighbor(to, next) } else { Some(station_of(next)) };
    let Some(mac) = mac else { return Err(Fate::Punt(PuntReason::Unresolved)) };
    Ok(Leaving { to, next, mac, source: there.mac, length, mtu })
}

/// Bytes of the longest frame that it is on the wire: of a super-frame, its longest segment.
#[cold]
fn longest(frame: &Frame, length: usize) -> usize {
    let (Some(gso), Checksum::Partial { start, .. }) = (frame.gso(), frame.checksum()) else { return length };
    // What claims to be a super-frame and is not ends where it is cut.
    Segmenter::new(frame.bytes(), gso.kind, gso.size, start.into()).map_or(length, |it| it.longest())
}

/// Sends it: one hop less, and in a frame for the neighbour.
#[inline]
pub(super) fn forward<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    leaving: &Leaving,
    mut frame: Frame,
    egress: &mut Egress,
) {
    // Padding of short frames ends here.
    let trimmed = frame.set_len(leaving.length.min(frame.len()));
    debug_assert!(trimmed, "it gets no longer");
    let Some((header, packet)) = frame.bytes_mut().split_first_chunk_mut::<HEADER_LEN>() else {
        unreachable!("it had a header when it was read")
    };
    let ether_type = EtherType(u16::from_be_bytes([header[ADDRESSES_LEN], header[ADDRESSES_LEN + 1]]));
    ethernet::set_addresses(header, leaving.mac, leaving.source);
    let counted = if ether_type == EtherType::IPV4 {
        forward::decrement_ttl(packet)
    } else {
        forward::decrement_hop_limit(packet)
    };
    debug_assert!(counted.is_ok(), "it had more than one hop left when it was read");
    match leaving.mtu {
        None => egress.forward(cx, from, leaving.to, frame),
        Some(mtu) => match fragment(cx, leaving.to, mtu, frame, egress) {
            Ok(()) => egress.count_forwarded(),
            Err(frame) => cx.discard(from, Direction::Rx, DropReason::TooBig, frame),
        },
    }
}

/// Sends a packet out of `to` in fragments, each a frame of its own (RFC 791 §3.2, RFC 1812 §4.2.2.7).
///
/// # Errors
/// The frame, if that cannot be.
#[cold]
pub(crate) fn fragment<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    to: DeviceId,
    mtu: u16,
    mut whole: Frame,
    egress: &mut Egress,
) -> Result<(), Frame> {
    complete(&mut whole);
    let fragments =
        match whole.bytes().split_first_chunk::<HEADER_LEN>().map(|(_, p)| Fragmenter::new(p, mtu)) {
            Some(Ok(fragments)) if whole.gso().is_none() => fragments,
            _ => return Err(whole),
        };
    cx.observer.see(Step::Fragmented(to, fragments.count()), &whole);
    let header: [u8; HEADER_LEN] = whole.bytes().first_chunk().copied().unwrap_or_default();
    let mut pieces = 0..fragments.count();
    let piece = |cx: &mut Context<'_, O, T>, n: usize| -> Option<Frame> {
        let mut piece = cx.pool.alloc(HEADER_LEN + fragments.longest())?;
        let room = piece.set_len(HEADER_LEN + fragments.longest());
        debug_assert!(room, "alloc gave the room that was asked for");
        let (start, rest) = piece.bytes_mut().split_at_mut(HEADER_LEN);
        start.copy_from_slice(&header);
        let length = fragments.write(n, rest).unwrap_or(0);
        let fits = piece.set_len(HEADER_LEN + length);
        debug_assert!(fits, "it gets no longer");
        piece.set_checksum(Checksum::Complete);
        Some(piece)
    };
    egress.split(cx, to, &whole, |cx| pieces.next().map(|n| piece(cx, n)));
    cx.pool.free(whole);
    Ok(())
}

/// Completes the checksum that a sender left to its device, which sums up the whole of what it sends.
fn complete(frame: &mut Frame) {
    match frame.checksum() {
        Checksum::Partial { start, offset } => {
            // One that lies outside of the frame is dropped when it is to leave.
            let _ = checksum::complete(frame.bytes_mut(), start.into(), offset.into());
        }
        Checksum::Unknown => drop(partial::complete_partial(frame.bytes_mut())),
        Checksum::Complete => {}
    }
}
