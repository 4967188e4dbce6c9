//! Leaving: does the frame fit the device, is it fit for the wire, and then into the device's burst.

use super::finish::{find_partial_checksums, finish, size};
use super::surface::{DEEPEST, Risen};
use super::{Context, Observer, Step};
use crate::counters::WorkerCounters;
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Frame, Pool};
use crate::ids::DeviceId;
use crate::ipvlan;
use crate::ports::{Now, Witness};
use crate::tables::{Descent, Device, IpipDescent, Role, Tables, Target};
use crate::wire::ethernet::HEADER_LEN;
use crate::wire::ipv4::Ipv4;
use crate::{macvlan, routing, tunnels, vlan};

/// Where frames go out: the ports of a worker, or whatever stands for them.
pub trait Transmit {
    /// Sends the frames of `burst` out of `device`: it is empty afterwards, each frame sent, held, or dropped with a reason.
    fn transmit(&mut self, io: TransmitIo<'_>, device: DeviceId, burst: &mut Burst);
}

/// What [`Transmit`] works with.
pub struct TransmitIo<'a> {
    /// The worker's packet memory.
    pub pool: &'a mut Pool,
    /// The worker's counters.
    pub counters: &'a WorkerCounters,
    /// Who owns what.
    pub tables: &'a Tables,
    /// The time of this burst.
    pub now: Now,
    /// Who wants to see what is discarded.
    pub witness: Option<&'a mut dyn Witness>,
}

/// How one copy of a frame leaves.
pub(crate) trait Leaving: Copy {
    /// Where.
    fn device(self) -> DeviceId;

    /// Makes the copy what it is to be there.
    ///
    /// # Errors
    /// [`DropReason`], if that cannot be: the copy ends.
    fn dress<O: Observer>(self, observer: &mut O, frame: &mut Frame) -> Result<(), DropReason>;
}

/// As it is.
impl Leaving for DeviceId {
    #[inline(always)]
    fn device(self) -> DeviceId {
        self
    }

    #[inline(always)]
    fn dress<O: Observer>(self, _observer: &mut O, _frame: &mut Frame) -> Result<(), DropReason> {
        Ok(())
    }
}

/// To the target's station, if it has one.
impl Leaving for Target {
    #[inline]
    fn device(self) -> DeviceId {
        self.device
    }

    #[inline]
    fn dress<O: Observer>(self, _observer: &mut O, frame: &mut Frame) -> Result<(), DropReason> {
        if let Some(station) = self.station
            && let Some(destination) = frame.bytes_mut().first_chunk_mut()
        {
            *destination = station.octets();
        }
        Ok(())
    }
}

/// Copies that may wait to be sent at one time: a flood goes out in slices, so that one broadcast on a thousand ports
/// needs no more packet memory than this.
pub(super) const SLICE: usize = 256;

/// Frames on their way out, by device.
#[derive(Default)]
pub struct Egress {
    queues: Vec<Burst>,        // by device
    dirty: Vec<DeviceId>,      // those with frames in them
    pub(super) waiting: usize, // frames in all of them
    pub(super) forwarded: u64,
    pub(super) copies: u64,
    pub(super) rises: u64,
    identification: u16,          // of the last packet of ours that needed one
    pub(super) depth: u8,         // how often the frame in hand has gone from device to device
    pub(super) risen: Box<Risen>, // those that wait for the next round
}

impl Egress {
    /// Makes room for `devices` devices.
    pub(super) fn prepare(&mut self, devices: usize) {
        if self.queues.len() < devices {
            self.queues.resize_with(devices, Burst::new);
            self.dirty.reserve(devices);
        }
        self.prepare_to_surface();
    }

    /// `frame`, which came from `from`, leaves by `to`.
    #[inline(always)]
    pub(crate) fn forward<O: Observer, T: Transmit, L: Leaving>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        from: DeviceId,
        to: L,
        frame: Frame,
    ) {
        self.forwarded += 1;
        if frame.is_wire_ready() {
            self.leave_as(cx, to, frame);
        } else {
            self.forward_unready(cx, from, to, frame);
        }
    }

    /// The same of a frame that is not fit for the wire as it is.
    #[cold]
    fn forward_unready<O: Observer, T: Transmit, L: Leaving>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        from: DeviceId,
        to: L,
        mut frame: Frame,
    ) {
        find_partial_checksums(cx, from, &mut frame);
        self.leave_as(cx, to, frame);
    }

    /// `frame`, which the host sends by `upper`, leaves this way.
    pub(super) fn forward_by<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        upper: DeviceId,
        way: Descent,
        frame: Frame,
    ) {
        self.forwarded += 1;
        match way {
            Descent::Ipip(IpipDescent { longest, .. }) if frame.len() > longest as usize => {
                self.forward_long(cx, upper, way, longest, frame);
            }
            _ => self.descend(cx, upper, way, frame),
        }
    }

    /// The same of a frame that is longer than what a tunnel carries, as the host may not know: a packet that may be fragmented is. Who sends
    /// another is told where it does not fit.
    #[cold]
    fn forward_long<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        upper: DeviceId,
        way: Descent,
        longest: u32,
        frame: Frame,
    ) {
        let packet = Ipv4::view(frame.bytes().get(HEADER_LEN..).unwrap_or_default());
        let may_fragment = packet.is_ok_and(|packet| !packet.dont_fragment());
        if !may_fragment || super::longest(&frame).is_ok_and(|length| length <= longest as usize) {
            return self.descend(cx, upper, way, frame);
        }
        if frame.gso().is_some() {
            return self.cut(cx, upper, frame, |egress, cx, segment| {
                egress.forward_long(cx, upper, way, longest, segment);
            });
        }
        let mtu = u16::try_from(longest as usize - HEADER_LEN).unwrap_or(u16::MAX);
        let each =
            |egress: &mut Self, cx: &mut Context<'_, O, T>, piece| egress.descend(cx, upper, way, piece);
        if let Err(frame) = routing::fragment(cx, upper, mtu, frame, self, each) {
            self.refuse(cx, upper, DropReason::TooBig, frame);
        }
    }

    /// A frame was forwarded in pieces.
    pub(crate) fn count_forwarded(&mut self) {
        self.forwarded += 1;
    }

    /// A number for a packet that may be fragmented, another one than those before.
    #[inline]
    pub(crate) fn identification(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }

    /// `whole` leaves by `to` in pieces, which `next` makes one after the other, and `each` sends: one there is no memory for is none.
    pub(crate) fn split<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        whole: &Frame,
        mut next: impl FnMut(&mut Context<'_, O, T>) -> Option<Option<Frame>>,
        mut each: impl FnMut(&mut Self, &mut Context<'_, O, T>, Frame),
    ) {
        while let Some(piece) = next(cx) {
            if self.waiting >= SLICE {
                self.flush(cx);
            }
            match piece {
                Some(piece) => each(self, cx, piece),
                None => self.unmade(cx, to, DropReason::PoolEmpty, whole),
            }
        }
    }

    /// `frame`, which came from `from`, leaves for all of `members`: fresh copies for all but the last, which takes the
    /// original.
    pub(crate) fn flood<O: Observer, T: Transmit, L: Leaving>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        from: DeviceId,
        mut members: impl Iterator<Item = L>,
        mut frame: Frame,
    ) {
        let Some(mut member) = members.next() else {
            return cx.discard(from, Direction::Rx, DropReason::NoEgress, frame);
        };
        self.forwarded += 1;
        find_partial_checksums(cx, from, &mut frame);
        for next in members {
            self.copy_out(cx, member, &frame);
            member = next;
        }
        self.leave_as(cx, member, frame);
    }

    fn copy_out<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: impl Leaving,
        frame: &Frame,
    ) {
        if let Some(copy) = self.copy(cx, to.device(), frame) {
            self.leave_as(cx, to, copy);
        }
    }

    /// A copy of `frame` surfaces on `to`.
    pub(crate) fn copy_up<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        frame: &Frame,
    ) {
        if let Some(copy) = self.copy(cx, to, frame) {
            self.rise(cx, to, copy);
        }
    }

    /// A copy for `to` that is not made: for want of packet memory, or because there have been enough.
    #[cold]
    pub(crate) fn unmade<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        reason: DropReason,
        of: &Frame,
    ) {
        self.copies += 1;
        cx.observer.see(Step::Dropped(to, Direction::Tx, reason), of);
        cx.counters.device(to).drops(Direction::Tx, reason).add(1, of.len() as u64);
    }

    /// A copy of a frame to go on with, when what waits is not too much for packet memory already; `None`, and that is counted,
    /// if there is none left.
    pub(crate) fn copy<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        frame: &Frame,
    ) -> Option<Frame> {
        if self.waiting >= SLICE {
            self.flush(cx);
        }
        let copy = cx.pool.copy(frame);
        if copy.is_none() {
            self.unmade(cx, to, DropReason::PoolEmpty, frame);
        }
        copy
    }

    /// One copy leaves, made what it is to be there.
    #[inline(always)]
    fn leave_as<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: impl Leaving,
        mut frame: Frame,
    ) {
        match to.dress(cx.observer, &mut frame) {
            Ok(()) => self.leave(cx, to.device(), frame),
            Err(reason) => {
                self.copies += 1;
                cx.discard(to.device(), Direction::Tx, reason, frame);
            }
        }
    }

    /// One copy leaves by `to`.
    #[inline(always)]
    pub(crate) fn leave<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        frame: Frame,
    ) {
        let device = cx.tables.device(to);
        if frame.is_wire_ready() && frame.len() <= device.longest as usize {
            self.enqueue(cx, to, frame);
        } else {
            self.leave_unready(cx, to, device, frame);
        }
    }

    /// The same for a frame that is too long, or not fit for the wire as it is, and for a device without queues.
    #[cold]
    fn leave_unready<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        device: &Device,
        frame: Frame,
    ) {
        let (longest, measures_tags) = match device.descent.longest() {
            None => (device.longest, device.capabilities.measures_tags),
            // Most are fit, and not too long with any tag.
            Some(longest) if frame.is_wire_ready() && frame.len() <= longest as usize => {
                return self.go_down(cx, to, device.descent, frame);
            }
            Some(longest) => (longest, false),
        };
        match size(&frame, measures_tags) {
            Err(reason) => self.refuse(cx, to, reason, frame),
            Ok(size) if size > longest as usize => self.refuse(cx, to, DropReason::MtuExceeded, frame),
            Ok(_) if device.descent == Descent::Queues => self.leave_by_queue(cx, to, frame),
            Ok(_) => self.descend(cx, to, device.descent, frame),
        }
    }

    /// A copy that is not too long leaves by a queue of `to`.
    fn leave_by_queue<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        mut frame: Frame,
    ) {
        let device = cx.tables.device(to);
        if frame.gso().is_some() && !device.capabilities.gso {
            self.cut(cx, to, frame, |egress, cx, segment| egress.enqueue(cx, to, segment));
        } else if let Err(reason) = finish(cx, to, device, &mut frame) {
            self.refuse(cx, to, reason, frame);
        } else {
            self.enqueue(cx, to, frame);
        }
    }

    /// A copy that came down from a device above, where it was not too long, leaves by `link`. Only a device that measures what
    /// was put before it does so again: a queue of the kernel's does not (`__dev_queue_xmit`, net/core/dev.c).
    pub(crate) fn pass_down<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        link: DeviceId,
        frame: Frame,
    ) {
        let device = cx.tables.device(link);
        match (device.role, device.descent) {
            (Role::Upper(way), _) => self.descend(cx, link, way, frame),
            (_, Descent::Queues) if device.capabilities.measures_tags => self.leave(cx, link, frame),
            (_, Descent::Queues) => self.leave_by_queue(cx, link, frame),
            (_, way) => self.descend(cx, link, way, frame),
        }
    }

    /// A copy that was to leave by `to` ends here.
    #[cold]
    pub(crate) fn refuse<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        reason: DropReason,
        frame: Frame,
    ) {
        self.copies += 1;
        cx.discard(to, Direction::Tx, reason, frame);
    }

    /// A copy leaves by `upper`, which stands on another device.
    #[inline(never)]
    fn descend<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        upper: DeviceId,
        way: Descent,
        frame: Frame,
    ) {
        self.go_down(cx, upper, way, frame);
    }

    #[inline(always)]
    fn go_down<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        upper: DeviceId,
        way: Descent,
        frame: Frame,
    ) {
        if self.depth == DEEPEST {
            return self.refuse(cx, upper, DropReason::Recursion, frame);
        }
        self.copies += 1;
        cx.observer.see(Step::Descended(upper), &frame);
        cx.counters.device(upper).sent.add(1, frame.len() as u64);
        self.depth += 1;
        match way {
            Descent::Queues => unreachable!("a device with queues of its own sends by them"),
            Descent::Vlan(way) => vlan::send(cx, way, frame, self),
            Descent::Ipvlan(way) => ipvlan::send(cx, upper, way, frame, self),
            Descent::Macvlan(way) => macvlan::send(cx, way, frame, self),
            Descent::Vxlan(way) => tunnels::vxlan::send(cx, upper, way, frame, self),
            Descent::Ipip(way) if frame.is_wire_ready() => tunnels::ipip::send(cx, upper, way, frame, self),
            Descent::Ipip(way) => self.each_whole(cx, upper, frame, |egress, cx, frame| {
                tunnels::ipip::send(cx, upper, way, frame, egress);
            }),
            Descent::Patch(way) => self.rise(cx, way.peer, frame),
        }
        self.depth -= 1;
    }

    #[inline(always)]
    fn enqueue<O: Observer, T: Transmit>(&mut self, cx: &mut Context<'_, O, T>, to: DeviceId, frame: Frame) {
        self.copies += 1;
        cx.observer.see(Step::Queued(to), &frame);
        let queue = &mut self.queues[to.index()];
        if queue.is_empty() {
            return self.enqueue_first(to, frame);
        }
        match queue.push(frame) {
            Ok(()) => self.waiting += 1,
            Err(frame) => self.enqueue_after_flush(cx, to, frame),
        }
    }

    /// Puts a frame into an empty queue.
    #[inline(never)]
    fn enqueue_first(&mut self, to: DeviceId, frame: Frame) {
        self.dirty.push(to);
        self.waiting += 1;
        if self.queues[to.index()].push(frame).is_err() {
            unreachable!("an empty queue has room");
        }
    }

    #[cold]
    fn enqueue_after_flush<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        to: DeviceId,
        frame: Frame,
    ) {
        self.flush(cx);
        self.enqueue_first(to, frame);
    }

    /// Sends all that waits.
    pub(super) fn flush<O: Observer, T: Transmit>(&mut self, cx: &mut Context<'_, O, T>) {
        cx.counters.forwarded.add(std::mem::take(&mut self.forwarded));
        cx.counters.copies.add(std::mem::take(&mut self.copies));
        cx.counters.surfaced.add(std::mem::take(&mut self.rises));
        for device in self.dirty.drain(..) {
            let (counters, tables, now) = (cx.counters, cx.tables, cx.now);
            let io = TransmitIo { pool: cx.pool, counters, tables, now, witness: cx.observer.witness() };
            cx.ports.transmit(io, device, &mut self.queues[device.index()]);
        }
        self.waiting = 0;
        cx.observer.flushed();
    }
}
