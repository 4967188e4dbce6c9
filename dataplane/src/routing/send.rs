//! Sending a packet on: does it fit, who is next, and a header for that one.

use std::net::IpAddr;

use super::Fate;
use crate::drops::{Direction, DropReason};
use crate::frames::{Checksum, Frame};
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::tables::{Routing, station_of};
use crate::wire::ethernet::{ADDRESSES_LEN, EtherType, HEADER_LEN};
use crate::wire::fragment::Fragmenter;
use crate::wire::segment::Segmenter;
use crate::wire::{checksum, forward, partial};

/// A packet that is to be sent on.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    to: DeviceId,
    addresses: [u8; ADDRESSES_LEN],
    length: usize,    // of the frame, without what follows the packet
    mtu: Option<u16>, // if it is to be fragmented to that
}

/// Whether a packet can be sent on to a neighbour: it fits the link, and the neighbour is known. `length` is that of the frame without
/// what follows the packet.
#[inline]
pub(super) fn prepare(
    routing: &Routing,
    (to, next): (DeviceId, IpAddr),
    frame: &Frame,
    length: usize,
    may_fragment: bool,
    leaving: &mut Option<Leaving>,
) -> Fate {
    let Some(there) = routing.interface(to) else {
        return Fate::Refuse(DropReason::NoRoute, PuntReason::Unreachable);
    };
    let mut fragments = None;
    let most = there.mtu as usize + HEADER_LEN;
    if length > most && longest(frame, length) > most {
        if !may_fragment {
            return Fate::Refuse(DropReason::TooBig, PuntReason::TooBig);
        }
        fragments = Some(u16::try_from(there.mtu).unwrap_or(u16::MAX));
    }
    let mac = if there.has_neighbors { routing.neighbor(to, next) } else { Some(station_of(next)) };
    let Some(mac) = mac else { return Fate::Punt(PuntReason::Unresolved) };
    let mut addresses = [0; ADDRESSES_LEN];
    let (destination, source) = addresses.split_at_mut(ADDRESSES_LEN / 2);
    destination.copy_from_slice(&mac.octets());
    source.copy_from_slice(&there.mac.octets());
    *leaving = Some(Leaving { to, addresses, length, mtu: fragments });
    Fate::Forward(to, next, mac)
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
    leaving: Leaving,
    mut frame: Frame,
    egress: &mut Egress,
) {
    // Padding of short frames ends here.
    let trimmed = frame.set_len(leaving.length.min(frame.len()));
    debug_assert!(trimmed, "it gets no longer");
    let Some((header, packet)) = frame.bytes_mut().split_first_chunk_mut::<HEADER_LEN>() else {
        unreachable!("it had a header when it was read")
    };
    header[..ADDRESSES_LEN].copy_from_slice(&leaving.addresses);
    let is_ipv4 = header[ADDRESSES_LEN..] == EtherType::IPV4.0.to_be_bytes();
    let counted = if is_ipv4 { forward::decrement_ttl(packet) } else { forward::decrement_hop_limit(packet) };
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
