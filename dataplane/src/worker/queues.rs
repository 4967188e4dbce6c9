//! The queues a worker owns, and how a burst finds the one it leaves by.

use super::handoff::HandoffSender;
use crate::counters::WorkerCounters;
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Pool};
use crate::ids::DeviceId;
use crate::pipeline::{Transmit, TransmitIo};
use crate::ports::{Now, PortGone, PortIo, PortQueue, Witness};
use crate::sys::poll::{Interest, PollSet};
use crate::tables::WorkerId;

/// One open queue.
struct Slot {
    device: DeviceId,
    queue: Box<dyn PortQueue + Send>,
    gone: Option<PortGone>,
}

/// All queues of one worker, and its ways to the others.
pub(super) struct Queues<'a> {
    worker: WorkerId,
    slots: Vec<Slot>,
    by_device: Vec<Option<u16>>,               // the slot a device sends by
    handoffs: &'a mut [Option<HandoffSender>], // by worker
    any_gone: bool,
}

/// What queues are lent for one call.
pub(super) struct QueueIo<'a> {
    pub(super) pool: &'a mut Pool,
    pub(super) counters: &'a WorkerCounters,
    pub(super) now: Now,
    pub(super) witness: Option<&'a mut dyn Witness>,
}

impl QueueIo<'_> {
    /// What one of `device` is lent.
    fn of(&mut self, device: DeviceId) -> PortIo<'_> {
        let witness = self.witness.as_mut().map(|witness| (device, &mut **witness as &mut dyn Witness));
        PortIo { pool: self.pool, counters: self.counters.device(device), now: self.now, witness }
    }
}

impl<'a> Queues<'a> {
    pub(super) fn new(worker: WorkerId, handoffs: &'a mut [Option<HandoffSender>]) -> Self {
        Self { worker, slots: Vec::new(), by_device: Vec::new(), handoffs, any_gone: false }
    }

    /// How many queues there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whose queue `index` is.
    pub(super) fn device(&self, index: usize) -> DeviceId {
        self.slots[index].device
    }

    /// Takes a queue over, and has it start.
    pub(super) fn open(
        &mut self,
        device: DeviceId,
        mut queue: Box<dyn PortQueue + Send>,
        mut io: QueueIo<'_>,
    ) {
        let gone = queue.start(&mut io.of(device)).err();
        self.any_gone |= gone.is_some();
        self.slots.push(Slot { device, queue, gone });
        self.index();
    }

    fn index(&mut self) {
        self.by_device.clear();
        for (slot, index) in self.slots.iter().zip(0u16..) {
            if slot.gone.is_some() {
                continue;
            }
            if self.by_device.len() <= slot.device.index() {
                self.by_device.resize(slot.device.index() + 1, None);
            }
            self.by_device[slot.device.index()].get_or_insert(index);
        }
    }

    /// What the kernel dropped before each queue could see it.
    pub(super) fn lost_before_us(&self) -> Vec<(DeviceId, &'static str, u64)> {
        let of_slot = |slot: &Slot| {
            let device = slot.device;
            slot.queue.lost_before_us().into_iter().map(move |(counter, frames)| (device, counter, frames))
        };
        self.slots.iter().flat_map(of_slot).collect()
    }

    /// Closes the queues of `device`, or all of them, whose frames go back to the pool.
    pub(super) fn close(&mut self, device: Option<DeviceId>, mut io: QueueIo<'_>) {
        let mut index = 0;
        while index < self.slots.len() {
            if device.is_none_or(|device| self.slots[index].device == device) {
                let slot = self.slots.remove(index);
                slot.queue.close(&mut io.of(slot.device));
            } else {
                index += 1;
            }
        }
        self.index();
    }

    /// Closes the queues that have found their device gone, and names one device of them; `None` when there are none.
    pub(super) fn reap(&mut self, mut io: QueueIo<'_>) -> Option<(DeviceId, PortGone)> {
        if !self.any_gone {
            return None;
        }
        let Some(index) = self.slots.iter().position(|slot| slot.gone.is_some()) else {
            self.any_gone = false;
            return None;
        };
        let slot = self.slots.remove(index);
        slot.queue.close(&mut io.of(slot.device));
        self.index();
        slot.gone.map(|gone| (slot.device, gone))
    }

    /// Receives a burst from queue `index`, and says from which device.
    pub(super) fn receive(&mut self, index: usize, mut io: QueueIo<'_>, burst: &mut Burst) -> DeviceId {
        let slot = &mut self.slots[index];
        if slot.gone.is_none()
            && let Err(gone) = slot.queue.rx_burst(&mut io.of(slot.device), burst)
        {
            slot.gone = Some(gone);
            self.any_gone = true;
        }
        slot.device
    }

    /// Collects what the kernel is done sending; returns how many frames the queues still hold.
    pub(super) fn complete(&mut self, mut io: QueueIo<'_>) -> usize {
        let mut held = 0;
        for slot in &mut self.slots {
            if slot.gone.is_some() || slot.queue.held() == 0 {
                continue;
            }
            if let Err(gone) = slot.queue.complete(&mut io.of(slot.device)) {
                slot.gone = Some(gone);
                self.any_gone = true;
            }
            held += slot.queue.held();
        }
        held
    }

    /// What to poll for while asleep.
    pub(super) fn watch(&self, set: &mut PollSet) {
        for slot in &self.slots {
            if let Some(fd) = slot.queue.readiness() {
                set.add(&fd, Interest::Read);
            }
        }
    }

    /// Sends out of one of this worker's own queues.
    fn send(&mut self, index: u16, mut io: PortIo<'_>, burst: &mut Burst) {
        let slot = &mut self.slots[usize::from(index)];
        let reason = match slot.gone {
            Some(_) => DropReason::PortGone,
            None => match slot.queue.tx_burst(&mut io, burst) {
                Ok(()) => DropReason::RingFull,
                Err(gone) => {
                    slot.gone = Some(gone);
                    self.any_gone = true;
                    DropReason::PortGone
                }
            },
        };
        discard_all(&mut io, reason, burst);
    }
}

impl Transmit for Queues<'_> {
    fn transmit(&mut self, io: TransmitIo<'_>, device: DeviceId, burst: &mut Burst) {
        let TransmitIo { pool, counters, tables, now, witness } = io;
        let mut io = QueueIo { pool, counters, now, witness };
        let own = self.by_device.get(device.index()).copied().flatten();
        if let Some(index) = own {
            return self.send(index, io.of(device), burst);
        }
        let owner = tables.device(device).owner;
        match self.handoffs.get_mut(owner.index()) {
            Some(Some(handoff)) if owner != self.worker => {
                counters.handed_off.add(handoff.send(io.of(device), device, burst));
            }
            _ => discard_all(&mut io.of(device), DropReason::PortDown, burst),
        }
    }
}

fn discard_all(io: &mut PortIo<'_>, reason: DropReason, burst: &mut Burst) {
    for frame in burst.drain() {
        io.discard(frame, Direction::Tx, reason);
    }
}
