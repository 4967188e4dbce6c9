//! Counters: per worker, per device, per reason; and the ledger that they must balance in.
//!
//! Each counter has one writer, its worker, which adds with a plain load and store; control sums over workers at
//! any time. A total may therefore be a burst old, never torn.

mod networks;
mod vlans;

pub use networks::{NetworkStats, NetworkTraffic};
pub use vlans::{VlanStats, VlanTraffic};

use std::ops::{Add, AddAssign};
use std::sync::OnceLock;

use crate::drops::{Direction, DropReason};
use crate::ids::DeviceId;
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// One number with one writer.
#[derive(Default)]
pub struct Counter(AtomicU64); // its worker writes, control reads

impl Counter {
    /// Adds, without a locked instruction: only its one writer may call this.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Moves the value to `sum`: for the one writer of both.
    fn move_to(&self, sum: &Self) {
        sum.add(self.value());
        self.0.store(0, Relaxed);
    }
}

/// Packets and bytes; bytes from the destination address on, without preamble and frame check sequence.
#[derive(Default)]
pub struct Traffic {
    packets: Counter,
    bytes: Counter,
}

impl Traffic {
    /// Counts `packets` of `bytes` bytes together.
    #[inline]
    pub fn add(&self, packets: u64, bytes: u64) {
        self.packets.add(packets);
        self.bytes.add(bytes);
    }

    /// The sums now.
    pub fn volume(&self) -> Volume {
        Volume { packets: self.packets.value(), bytes: self.bytes.value() }
    }

    fn move_to(&self, sum: &Self) {
        self.packets.move_to(&sum.packets);
        self.bytes.move_to(&sum.bytes);
    }
}

/// A sum read from a [`Traffic`] counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Volume {
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Add for Volume {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What one worker counts on one device. What every frame adds to is on one line of the cache, and those of thousands of devices on few
/// pages; the rest, which is much more, is elsewhere.
#[derive(Default)]
#[repr(align(64))]
pub struct DeviceCounters {
    /// Frames taken from the device.
    pub received: Traffic,
    /// Copies the device has sent: accepted by the kernel, or completed by its ring.
    pub sent: Traffic,
    /// Partial checksums completed in software before sending.
    pub checksums_completed: Counter,
    /// Segments cut in software from super-frames before sending.
    pub segments_made: Counter,
    drops: Box<[Drops; 2]>, // by direction
}

const _: () = assert!(size_of::<DeviceCounters>() == 64);

/// Drops of one direction, by reason.
struct Drops([Traffic; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Traffic::default()))
    }
}

impl DeviceCounters {
    /// The frames dropped in this direction for this reason.
    #[inline]
    pub fn drops(&self, direction: Direction, reason: DropReason) -> &Traffic {
        &self.drops[direction as usize].0[reason.index()]
    }

    /// All drops of one direction together.
    pub fn dropped(&self, direction: Direction) -> Volume {
        self.drops[direction as usize].0.iter().fold(Volume::default(), |sum, one| sum + one.volume())
    }

    fn move_to(&self, sum: &Self) {
        self.received.move_to(&sum.received);
        self.sent.move_to(&sum.sent);
        self.checksums_completed.move_to(&sum.checksums_completed);
        self.segments_made.move_to(&sum.segments_made);
        let drops =
            self.drops.iter().zip(sum.drops.iter()).flat_map(|(drops, sums)| drops.0.iter().zip(&sums.0));
        drops.for_each(|(drop, sum)| drop.move_to(sum));
    }
}

const SEGMENT: usize = 64;
/// As many as the number of a device can tell of, so that none has to be checked.
const SEGMENTS: usize = DeviceId::LIMIT.div_ceil(SEGMENT);

/// All counters of one worker. They outlive it: a restarted worker goes on where the old one stopped.
pub struct WorkerCounters {
    worker: u16,
    devices: Box<[OnceLock<Box<[DeviceCounters; SEGMENT]>>; SEGMENTS]>, // control fills before a device is published
    /// What was counted on devices that are no more.
    pub departed: DeviceCounters,
    /// Frames put on a device by control.
    pub originated: Counter,
    /// Frames handed to control.
    pub consumed: Counter,
    /// Frames sent on, whatever number of copies that took.
    pub forwarded: Counter,
    /// Copies made for the devices they were sent on to: one for a forward, n for a flood or for n segments.
    pub copies: Counter,
    /// Copies that came in at a device that stands on another, and are frames there.
    pub surfaced: Counter,
    /// Copies handed to other workers.
    pub handed_off: Counter,
    /// Copies taken from other workers.
    pub handed_on: Counter,
    /// Copies that ports hold at the moment, waiting for the kernel to be done with them.
    pub held: AtomicU64,
    /// MACs learned.
    pub learned: Counter,
    /// MACs that moved to another device.
    pub moved: Counter,
    /// MACs not learned because the table had no room.
    pub table_full: Counter,
    /// MACs not learned because the bridge had as many as it may.
    pub limited: Counter,
    /// Frames that say something about multicast groups and of which control had no room for a copy.
    pub unheard: Counter,
    /// Turns of the loop that moved frames.
    pub busy_turns: Counter,
    /// CPU time used, in nanoseconds.
    pub cpu_ns: Counter,
    /// Times the worker went to sleep.
    pub sleeps: Counter,
}

impl WorkerCounters {
    /// Counters of the first worker, and of no device yet.
    pub fn new() -> Self {
        Self::of(0)
    }

    /// Counters of this worker, and of no device yet.
    pub fn of(worker: u16) -> Self {
        Self {
            worker,
            devices: Box::new([const { OnceLock::new() }; SEGMENTS]),
            departed: DeviceCounters::default(),
            originated: Counter::default(),
            consumed: Counter::default(),
            forwarded: Counter::default(),
            copies: Counter::default(),
            surfaced: Counter::default(),
            handed_off: Counter::default(),
            handed_on: Counter::default(),
            held: AtomicU64::new(0),
            learned: Counter::default(),
            moved: Counter::default(),
            table_full: Counter::default(),
            limited: Counter::default(),
            unheard: Counter::default(),
            busy_turns: Counter::default(),
            cpu_ns: Counter::default(),
            sleeps: Counter::default(),
        }
    }

    /// Which worker's they are, from 0.
    #[inline]
    pub fn worker(&self) -> usize {
        usize::from(self.worker)
    }

    /// Makes room for a device; control calls it before it publishes the device.
    pub fn prepare(&self, device: DeviceId) {
        self.devices[device.index() / SEGMENT]
            .get_or_init(|| Box::new(std::array::from_fn(|_| DeviceCounters::default())));
    }

    /// Moves what was counted on a device that is no more to [`Self::departed`], so that its number can be another's. For
    /// the worker, when it will count nothing more on that device.
    pub fn retire(&self, device: DeviceId) {
        self.device(device).move_to(&self.departed);
    }

    /// The counters of a device.
    ///
    /// # Panics
    /// If the device was never prepared.
    #[inline]
    pub fn device(&self, device: DeviceId) -> &DeviceCounters {
        let segment = self.devices[device.index() / SEGMENT].get().expect("a published device has counters");
        &segment[device.index() % SEGMENT]
    }
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self::new()
    }
}

/// Where all frames and all copies are, in packets, summed over workers and devices.
///
/// Every frame ends in one place, and so does every copy:
/// `received + originated = consumed + dropped + forwarded`, and `copies = sent + surfaced + dropped + held`. A copy that
/// leaves by a device that stands on another is sent by each of them, and one that surfaces on such a device is received by it.
/// The sums are exact when no worker is in the middle of a burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// Frames taken from devices.
    pub received: u64,
    /// Frames put on devices by control.
    pub originated: u64,
    /// Frames handed to control.
    pub consumed: u64,
    /// Frames dropped on the way in.
    pub frames_dropped: u64,
    /// Frames sent on.
    pub forwarded: u64,
    /// Copies made of those.
    pub copies: u64,
    /// Copies sent.
    pub sent: u64,
    /// Copies that surfaced on devices that stand on others, which have received them.
    pub surfaced: u64,
    /// Copies dropped on the way out.
    pub copies_dropped: u64,
    /// Copies in transmit rings and between workers. Negative for a moment: one may be counted as taken over by a worker
    /// that was read later than the one that handed it over.
    pub held: i64,
}

impl Ledger {
    /// Adds what one worker has counted on `devices` and on those that are no more.
    pub fn add_worker(&mut self, worker: &WorkerCounters, devices: impl Iterator<Item = DeviceId>) {
        for device in devices.map(|device| worker.device(device)).chain([&worker.departed]) {
            self.received += device.received.volume().packets;
            self.sent += device.sent.volume().packets;
            self.frames_dropped += device.dropped(Direction::Rx).packets;
            self.copies_dropped += device.dropped(Direction::Tx).packets;
        }
        self.originated += worker.originated.value();
        self.consumed += worker.consumed.value();
        self.forwarded += worker.forwarded.value();
        self.copies += worker.copies.value();
        self.surfaced += worker.surfaced.value();
        // What one worker has handed off is another's to have handed on: only the sum over all makes sense.
        let between = worker.handed_off.value().wrapping_sub(worker.handed_on.value());
        self.held += worker.held.load(Relaxed).wrapping_add(between).cast_signed();
    }

    /// What is missing (positive) or too many (negative) among frames and among copies: both zero when it balances.
    pub fn imbalance(&self) -> (i128, i128) {
        let sum = |terms: &[u64]| terms.iter().map(|&term| i128::from(term)).sum::<i128>();
        let frames = sum(&[self.received, self.originated])
            - sum(&[self.consumed, self.frames_dropped, self.forwarded]);
        let copies = sum(&[self.copies])
            - sum(&[self.sent, self.surfaced, self.copies_dropped])
            - i128::from(self.held);
        (frames, copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_when_every_frame_has_ended_somewhere() {
        let worker = WorkerCounters::new();
        let (a, b) = (DeviceId(0), DeviceId(70));
        worker.prepare(a);
        worker.prepare(b);
        worker.device(a).received.add(3, 180);
        worker.device(a).drops(Direction::Rx, DropReason::SourceZero).add(1, 60);
        worker.forwarded.add(2);
        worker.copies.add(2);
        worker.device(b).sent.add(1, 60);
        let mut ledger = Ledger::default();
        ledger.add_worker(&worker, [a, b].into_iter());
        assert_eq!(ledger.imbalance(), (0, 1));
        worker.device(b).drops(Direction::Tx, DropReason::RingFull).add(1, 60);
        let mut ledger = Ledger::default();
        ledger.add_worker(&worker, [a, b].into_iter());
        assert_eq!(ledger.imbalance(), (0, 0));
    }

    #[test]
    fn what_a_device_has_counted_outlives_it_and_its_number_starts_afresh() {
        let worker = WorkerCounters::new();
        let device = DeviceId(3);
        worker.prepare(device);
        for _ in 0..2 {
            worker.device(device).received.add(2, 120);
            worker.device(device).drops(Direction::Rx, DropReason::SourceZero).add(2, 120);
            worker.retire(device);
            assert_eq!(worker.device(device).received.volume(), Volume::default());
            assert_eq!(worker.device(device).dropped(Direction::Rx), Volume::default());
        }
        let mut ledger = Ledger::default();
        ledger.add_worker(&worker, [device].into_iter());
        assert_eq!((ledger.received, ledger.frames_dropped, ledger.imbalance()), (4, 4, (0, 0)));
    }

    #[test]
    fn a_copy_taken_over_before_it_is_seen_handed_off_is_one_too_many_and_no_more() {
        let (from, to) = (WorkerCounters::new(), WorkerCounters::new());
        let device = DeviceId(0);
        [&from, &to].iter().for_each(|worker| worker.prepare(device));
        let mut ledger = Ledger::default();
        ledger.add_worker(&from, [device].into_iter());
        to.handed_on.add(1);
        to.device(device).sent.add(1, 60);
        ledger.add_worker(&to, [device].into_iter());
        assert_eq!((ledger.held, ledger.imbalance()), (-1, (0, 0)));
    }
}
