//! Sending a packet on: does it fit, who is next, and a header for that one.

use super::Fate;
use super::lead::Way;
use super::stage::Packet;
use crate::drops::{Direction, DropReason};
use crate::frames::{Checksum, Frame};
use crate::ids::{DeviceId, MacAddr};
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::wire::ethernet::{self, HEADER_LEN};
use crate::wire::fragment::Fragmenter;
use crate::wire::segment::Segmenter;
use crate::wire::{checksum, forward, partial};

/// How a packet is sent on to a neighbour.
#[derive(Clone, Copy)]
pub(super) struct Leaving<'l> {
    /// Where.
    pub(super) way: &'l Way,
    /// The neighbour's link-layer address.
    pub(super) mac: MacAddr,
    must_fragment: bool,
}

impl<'l> Leaving<'l> {
    /// By this way: it has to fit the link, and the neighbour to be known.
    ///
    /// # Errors
    /// What becomes of it otherwise.
    #[inline(always)]
    pub(super) fn by(way: &'l Way, packet: &Packet, frame: &Frame) -> Result<Self, Fate> {
        let must_fragment = packet.length > way.mtu && is_too_long(way, packet, frame)?;
        let Some(mac) = way.mac else { return Err(Fate::Punt(PuntReason::Unresolved)) };
        Ok(Self { way, mac, must_fragment })
    }
}

/// Whether a packet of more bytes than the link carries has to be fragmented. A super-frame has not, if what is made of it fits.
///
/// # Errors
/// If it may not be.
#[cold]
fn is_too_long(way: &Way, packet: &Packet, frame: &Frame) -> Result<bool, Fate> {
    let fits = longest(frame, HEADER_LEN + packet.length as usize) <= way.mtu as usize + HEADER_LEN;
    if !fits && !packet.may_fragment {
        return Err(Fate::Refuse(DropReason::TooBig, PuntReason::TooBig));
    }
    Ok(!fits)
}

/// Bytes of the longest frame that it is on the wire: of a super-frame, its longest segment.
fn longest(frame: &Frame, length: usize) -> usize {
    let (Some(gso), Checksum::Partial { start, .. }) = (frame.gso(), frame.checksum()) else { return length };
    // What claims to be a super-frame and is not ends where it is cut.
    Segmenter::new(frame.bytes(), gso.kind, gso.size, start.into()).map_or(length, |it| it.longest())
}

/// Sends a packet of `length` bytes on: one hop less, and in a frame for the neighbour.
#[inline]
pub(super) fn forward<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    leaving: Leaving<'_>,
    length: u32,
    is_ipv4: bool,
    mut frame: Frame,
    egress: &mut Egress,
) {
    let length = HEADER_LEN + length as usize;
    // Padding of short frames ends here.
    if frame.len() > length {
        let trimmed = frame.set_len(length);
        debug_assert!(trimmed, "it gets no longer");
    }
    let Some((header, packet)) = frame.bytes_mut().split_first_chunk_mut::<HEADER_LEN>() else {
        unreachable!("it had a header when it was read")
    };
    ethernet::set_addresses(header, leaving.mac, leaving.way.source);
    let counted = if is_ipv4 { forward::decrement_ttl(packet) } else { forward::decrement_hop_limit(packet) };
    debug_assert!(counted.is_ok(), "it had more than one hop left when it was read");
    let to = leaving.way.to;
    if !leaving.must_fragment {
        return egress.forward(cx, from, to, frame);
    }
    let mtu = u16::try_from(leaving.way.mtu).unwrap_or(u16::MAX);
    match fragment(cx, to, mtu, frame, egress, |egress, cx, piece| egress.leave(cx, to, piece)) {
        Ok(()) => egress.count_forwarded(),
        Err(frame) => cx.discard(from, Direction::Rx, DropReason::TooBig, frame),
    }
}

/// Sends a packet out of `to` in fragments, each a frame of its own, which goes by `each` (RFC 791 §3.2, RFC 1812 §4.2.2.7).
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
    each: impl FnMut(&mut Egress, &mut Context<'_, O, T>, Frame),
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
        let mut piece = cx.pool.alloc_sized(HEADER_LEN + fragments.longest())?;
        let (start, rest) = piece.bytes_mut().split_at_mut(HEADER_LEN);
        start.copy_from_slice(&header);
        let length = fragments.write(n, rest).unwrap_or(0);
        let fits = piece.set_len(HEADER_LEN + length);
        debug_assert!(fits, "it gets no longer");
        piece.set_checksum(Checksum::Complete);
        Some(piece)
    };
    egress.split(cx, to, &whole, |cx| pieces.next().map(|n| piece(cx, n)), each);
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
