//! Hand-off: frames for a port of another worker are copied into that worker's memory through a ring.
//!
//! The ingress worker has done all the egress work; the owner only sends. Frames never change worker, bytes do, so no pool
//! needs a lock.

use std::sync::Arc;

use crate::bell::Bell;
use crate::counters::WorkerCounters;
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Pool};
use crate::ids::DeviceId;
use crate::ports::PortIo;
use crate::ring;

/// The way to another worker.
pub struct HandoffSender {
    ring: ring::Sender,
    bell: Arc<Bell>,
}

/// The way from another worker.
pub struct HandoffReceiver(ring::Receiver);

/// Bytes of ring between two workers: some 2,000 short frames, or sixteen super-frames.
const RING_BYTES: usize = 1 << 20;

/// A way to the worker that `bell` wakes.
pub fn handoff(bell: Arc<Bell>) -> (HandoffSender, HandoffReceiver) {
    let (sender, receiver) = ring::ring(RING_BYTES);
    (HandoffSender { ring: sender, bell }, HandoffReceiver(receiver))
}

impl HandoffSender {
    /// Copies the frames of `burst` to the worker that owns `device`, and frees them; how many it took.
    pub(super) fn send(&mut self, mut io: PortIo<'_>, device: DeviceId, burst: &mut Burst) -> u64 {
        let mut sent = 0;
        for frame in burst.drain() {
            match self.ring.push([u64::from(device.0), frame.offload_word()], frame.bytes()) {
                Ok(()) => {
                    sent += 1;
                    io.pool.free(frame);
                }
                Err(ring::Full) => io.discard(frame, Direction::Tx, DropReason::HandoffFull),
            }
        }
        if self.ring.flush() {
            self.bell.ring();
        }
        sent
    }
}

impl HandoffReceiver {
    /// The end of what has been handed over by now.
    pub(super) fn mark(&self) -> ring::Mark {
        self.0.mark()
    }

    /// Whether everything before `mark` has been received.
    pub(super) fn has_passed(&self, mark: ring::Mark) -> bool {
        self.0.has_passed(mark)
    }

    /// Takes up to a burst of frames, all for one device; `None` if nothing waits.
    pub(super) fn receive(
        &mut self,
        pool: &mut Pool,
        counters: &WorkerCounters,
        burst: &mut Burst,
    ) -> Option<DeviceId> {
        let mut target = None;
        while let Some(record) = self.0.peek() {
            let [device, offload] = record.meta;
            let device = DeviceId(u16::try_from(device).expect("a worker hands off for a device"));
            if burst.spare() == 0 || target.is_some_and(|target| target != device) {
                break;
            }
            target = Some(device);
            counters.handed_on.add(1);
            let Some(mut frame) = pool.alloc_sized(record.len) else {
                counters.device(device).drops(Direction::Tx, DropReason::PoolEmpty).add(1, record.len as u64);
                self.0.skip();
                continue;
            };
            self.0.pop_into(frame.bytes_mut());
            frame.set_offload_word(offload);
            if burst.push(frame).is_err() {
                unreachable!("the burst had room");
            }
        }
        target
    }
}
