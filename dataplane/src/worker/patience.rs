//! How long a worker that finds nothing asks on before it sleeps.
//!
//! To be woken costs the sender of the next frame more than its sending, so a worker with a CPU of its own asks on for longer
//! than most answers take. Where others want the CPU, it is the sender who waits for it (a veth's receive work is done there),
//! and sleeping at once moves most frames: `notes/idle.md` has the figures.

use std::time::{Duration, Instant};

/// Empty turns between two offers of the CPU to others. Few: they may be the ones who bring frames.
const TURNS: u32 = 8;

/// Empty receive calls, whatever the number of queues, before a worker with a CPU of its own sleeps: some 100 µs.
const CALLS: usize = 2800;

/// An offer that takes longer was taken up: somebody else ran.
const TAKEN_UP: Duration = Duration::from_micros(20);

/// Idle times in which the CPU is held to be shared, once an offer was taken up.
const CROWDED: u32 = 64;

/// What is left of it.
#[derive(Default)]
pub(super) struct Patience {
    empty: u32,
    crowded: u32,
}

impl Patience {
    /// Something came.
    #[inline]
    pub(super) fn renew(&mut self) {
        self.empty = 0;
    }

    /// After one more empty turn over `queues` queues: whether it is time to sleep. May offer the CPU to others.
    pub(super) fn has_ended(&mut self, queues: usize) -> bool {
        self.empty = self.empty.saturating_add(1);
        if !self.empty.is_multiple_of(TURNS) {
            return self.empty as usize * queues.max(1) > CALLS;
        }
        if self.crowded > 0 {
            self.crowded -= 1;
            return true;
        }
        if is_taken_up() {
            self.crowded = CROWDED;
        }
        false
    }
}

/// Offers the CPU to others, and tells whether one of them ran.
#[expect(clippy::disallowed_methods, reason = "a worker with nothing in hand may read the clock")]
fn is_taken_up() -> bool {
    let offered = Instant::now();
    std::thread::yield_now();
    offered.elapsed() > TAKEN_UP
}
