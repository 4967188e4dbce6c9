//! Fit for the wire: checksums completed, super-frames cut, for a device that does neither or a tunnel that takes neither.

use super::egress::SLICE;
use super::{Context, Egress, Observer, Step, Transmit};
use crate::drops::DropReason;
use crate::frames::{Checksum, Frame, Gso, Pool};
use crate::ids::DeviceId;
use crate::tables::Device;
use crate::wire::{self, ethernet::Ethernet, segment::Segmenter, vlan::TAG_LEN};

impl Egress {
    /// Gives `each` a frame that nobody is to cut or complete any more, for it will be inside of another: a super-frame segment by segment.
    pub(crate) fn each_whole<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        tunnel: DeviceId,
        mut frame: Frame,
        mut each: impl FnMut(&mut Self, &mut Context<'_, O, T>, Frame),
    ) {
        if frame.is_wire_ready() {
            each(self, cx, frame);
        } else if frame.gso().is_some() {
            self.cut(cx, tunnel, frame, each);
        } else {
            find_partial_checksums(cx, tunnel, &mut frame);
            match finish(cx, tunnel, cx.tables.device(tunnel), &mut frame) {
                Ok(()) => each(self, cx, frame),
                Err(reason) => self.refuse(cx, tunnel, reason, frame),
            }
        }
    }

    /// Cuts a super-frame into segments, each a frame of its own, which `each` sends.
    #[cold]
    pub(crate) fn cut<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        whole: Frame,
        mut each: impl FnMut(&mut Self, &mut Context<'_, O, T>, Frame),
    ) {
        let Some(gso) = whole.gso() else { unreachable!("only super-frames are cut") };
        let Ok(segmenter) = segmenter(&whole, gso) else {
            return self.refuse(cx, to, DropReason::MalformedOffload, whole);
        };
        cx.observer.see(Step::Cut(to, segmenter.count()), &whole);
        for n in 0..segmenter.count() {
            if self.waiting >= SLICE {
                self.flush(cx);
            }
            let Some(segment) = segment(cx.pool, &segmenter, n) else {
                self.unmade(cx, to, DropReason::PoolEmpty, &whole);
                continue;
            };
            cx.counters.device(to).segments_made.add(1);
            each(self, cx, segment);
        }
        cx.pool.free(whole);
    }
}

/// Makes a frame that is not to be cut fit for `device`: a checksum that the device would not pass on is completed.
pub(super) fn finish<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    to: DeviceId,
    device: &Device,
    frame: &mut Frame,
) -> Result<(), DropReason> {
    // A device that takes a super-frame whole takes its checksum as it is.
    if let Checksum::Partial { start, offset } = frame.checksum()
        && frame.gso().is_none()
        && !device.capabilities.partial_checksum
    {
        wire::checksum::complete(frame.bytes_mut(), start.into(), offset.into())
            .map_err(|_| DropReason::MalformedOffload)?;
        frame.set_checksum(Checksum::Complete);
        cx.observer.see(Step::ChecksumCompleted(to), frame);
        cx.counters.device(to).checksums_completed.add(1);
    }
    Ok(())
}

/// What counts against an MTU, in bytes: of a super-frame its longest segment, and of a frame with a tag what is left without the
/// outermost one, unless tags are measured too.
pub(super) fn size(frame: &Frame, measures_tags: bool) -> Result<usize, DropReason> {
    let longest = longest(frame)?;
    let has_tag =
        !measures_tags && Ethernet::view(frame.bytes()).is_ok_and(|header| header.ether_type().is_tag());
    Ok(if has_tag { longest - TAG_LEN } else { longest })
}

/// Bytes of the longest frame that it is on the wire: of a super-frame, its longest segment.
///
/// # Errors
/// If it is not the super-frame that its offload state claims.
pub(crate) fn longest(frame: &Frame) -> Result<usize, DropReason> {
    match frame.gso() {
        Some(gso) => Ok(segmenter(frame, gso)?.longest()),
        None => Ok(frame.len()),
    }
}

/// What cuts `frame`, if it is the super-frame that its offload state claims.
fn segmenter(frame: &Frame, gso: Gso) -> Result<Segmenter<'_>, DropReason> {
    let Checksum::Partial { start, .. } = frame.checksum() else { return Err(DropReason::MalformedOffload) };
    Segmenter::new(frame.bytes(), gso.kind, gso.size, start.into()).map_err(|_| DropReason::MalformedOffload)
}

/// Segment `n` in memory of its own; `None` if there is none left.
fn segment(pool: &mut Pool, segmenter: &Segmenter<'_>, n: usize) -> Option<Frame> {
    let mut frame = pool.alloc_sized(segmenter.longest())?;
    let fits = segmenter.write(n, frame.bytes_mut()).is_some_and(|len| frame.set_len(len));
    debug_assert!(fits, "the segment is one of those there are, and no longer than the longest");
    Some(frame)
}

/// Frames of AF_XDP come with no word about their checksums: partial ones are found by looking, once, before any copy
/// is made.
#[cold]
pub(crate) fn find_partial_checksums<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    frame: &mut Frame,
) {
    if frame.checksum() == Checksum::Unknown {
        let completed = wire::partial::complete_partial(frame.bytes_mut());
        frame.set_checksum(Checksum::Complete);
        if completed > 0 {
            cx.observer.see(Step::ChecksumsFound(completed), frame);
            cx.counters.device(from).checksums_completed.add(u64::from(completed));
        }
    }
}
