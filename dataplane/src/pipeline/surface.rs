//! Going up: frames that surface on a device which stands on the one they came from are received by it, and go down the
//! line again.

use super::finish::find_partial_checksums;
use super::{Context, Egress, Observer, Step, Transmit};
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Frame};
use crate::ids::DeviceId;

/// How many times a frame may go from device to device within the switch (the kernel's `XMIT_RECURSION_LIMIT` is 8).
pub(super) const DEEPEST: u8 = 8;

/// How often a frame has gone from device to device that goes on at once all the same. Deeper, it waits for the next round with all
/// others: where devices that share one are wired to each other, every step makes many of one frame.
const SHALLOW: u8 = 1;

/// Frames that may wait on their way up at one time besides a burst of one device (the kernel's macvlan queues 1,000,
/// `MACVLAN_DEFAULT_BC_QUEUE_LEN`).
const ROOM: usize = 1024;

/// A frame, and the device that has received it.
pub(super) struct Surfaced {
    pub(super) device: DeviceId,
    pub(super) frame: Frame,
}

/// Frames that have surfaced, in order. Most often all of a burst do so on one device: they stay a burst, and go on as one.
pub(super) struct Risen {
    device: DeviceId, // of the burst
    burst: Burst,
    more: Vec<Surfaced>, // what came after the first of another device, or after a whole burst; as many as there was made room for
}

impl Default for Risen {
    fn default() -> Self {
        Self { device: DeviceId(0), burst: Burst::new(), more: Vec::new() }
    }
}

impl Risen {
    /// Appends a frame; gives it back if there is no room.
    #[inline(always)]
    fn push(&mut self, device: DeviceId, frame: Frame) -> Result<(), Frame> {
        if self.burst.is_empty() {
            self.device = device;
        }
        if device != self.device || !self.more.is_empty() {
            return self.push_more(device, frame);
        }
        self.burst.push(frame).or_else(|frame| self.push_more(device, frame))
    }

    #[inline(never)]
    fn push_more(&mut self, device: DeviceId, frame: Frame) -> Result<(), Frame> {
        if self.more.len() == self.more.capacity() {
            return Err(frame);
        }
        self.more.push(Surfaced { device, frame });
        Ok(())
    }
}

/// Those that go down the line in one round: what surfaces meanwhile is the next one's.
#[derive(Default)]
pub(super) struct Round {
    risen: Box<Risen>, // of the rest, the next one last
}

impl Round {
    /// Makes room; never called on the path.
    pub(super) fn prepare(&mut self) {
        self.risen.more.reserve(ROOM);
    }

    /// Takes over what has surfaced so far.
    pub(super) fn begin(&mut self, egress: &mut Egress) {
        debug_assert!(self.risen.burst.is_empty() && self.risen.more.is_empty(), "the round before is over");
        std::mem::swap(&mut self.risen, &mut egress.risen);
        self.risen.more.reverse();
    }

    /// The next frames that one device has received, in order, to be taken out; `None` if there are no more.
    pub(super) fn next(&mut self) -> Option<(DeviceId, &mut Burst)> {
        let Risen { device, burst, more } = &mut *self.risen;
        if burst.is_empty() {
            *device = more.last()?.device;
            while burst.spare() > 0
                && let Some(Surfaced { frame, .. }) = more.pop_if(|next| next.device == *device)
            {
                if burst.push(frame).is_err() {
                    unreachable!("there is room");
                }
            }
        }
        Some((*device, burst))
    }

    /// All that are left.
    pub(super) fn rest(&mut self) -> impl Iterator<Item = Surfaced> {
        let Risen { device, burst, more } = &mut *self.risen;
        let device = *device;
        burst.drain().map(move |frame| Surfaced { device, frame }).chain(more.drain(..).rev())
    }
}

impl Egress {
    /// Makes room; never called on the path.
    pub(super) fn prepare_to_surface(&mut self) {
        self.risen.more.reserve(ROOM);
    }

    /// Whether anything is on its way up.
    #[inline]
    pub(super) fn has_surfaced(&self) -> bool {
        !self.risen.burst.is_empty()
    }

    /// `frame` surfaces on `to`, and nowhere else. Calls of their own would cost eight instructions a frame.
    #[inline(always)]
    pub(crate) fn surface<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        frame: Frame,
    ) {
        self.forwarded += 1;
        self.rise(cx, to, frame);
    }

    /// The same where it is known by which device it leaves, if that is [decided](crate::tables::Device::onward).
    #[inline(always)]
    pub(crate) fn surface_to<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        onward: Option<DeviceId>,
        frame: Frame,
    ) {
        self.forwarded += 1;
        self.rise_to(cx, to, onward, frame);
    }

    /// `frame`, which came from `from`, surfaces on all of `uppers`, of which there is one at least.
    pub(crate) fn surface_on<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        from: DeviceId,
        uppers: impl Iterator<Item = DeviceId>,
        mut frame: Frame,
    ) {
        self.forwarded += 1;
        find_partial_checksums(cx, from, &mut frame);
        self.rise_on(cx, uppers, frame);
    }

    /// One copy surfaces on all of `uppers`, of which there is one at least: fresh copies of it on all but the last, which takes
    /// the original.
    pub(crate) fn rise_on<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        mut uppers: impl Iterator<Item = DeviceId>,
        frame: Frame,
    ) {
        let Some(mut upper) = uppers.next() else { unreachable!("there is one at least") };
        for next in uppers {
            self.copy_up(cx, upper, &frame);
            upper = next;
        }
        self.rise(cx, upper, frame);
    }

    /// One copy surfaces on `to`. What is decided already happens at once, or soon; all else in the next round.
    #[inline(always)]
    pub(crate) fn rise<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        frame: Frame,
    ) {
        self.rise_to(cx, to, cx.tables.device(to).onward(to), frame);
    }

    /// The same where it is known what is [decided](crate::tables::Device::onward).
    #[inline(always)]
    fn rise_to<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        onward: Option<DeviceId>,
        frame: Frame,
    ) {
        self.copies += 1;
        self.rises += 1;
        cx.observer.see(Step::Surfaced(to), &frame);
        cx.counters.device(to).received.add(1, frame.len() as u64);
        match onward {
            Some(onward) if self.depth <= SHALLOW => self.go_on(cx, to, onward, frame),
            _ => {
                if let Err(frame) = self.risen.push(to, frame) {
                    cx.discard(to, Direction::Rx, DropReason::SurfaceFull, frame);
                }
            }
        }
    }

    /// A frame that has surfaced on `from` leaves by `to`.
    #[inline(always)]
    fn go_on<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        from: DeviceId,
        to: DeviceId,
        frame: Frame,
    ) {
        self.depth += 1;
        self.forward(cx, from, to, frame);
        self.depth -= 1;
    }
}
