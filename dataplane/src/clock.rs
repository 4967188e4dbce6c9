//! Time: control writes it, workers read it once a burst; tests and replay own it.

use crate::ports::Now;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::tables::Tick;

/// The published time.
#[derive(Default)]
pub struct Clock {
    tick: AtomicU64,    // control writes, workers read
    unix_ns: AtomicU64, // control writes, workers read
}

impl Clock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self { tick: AtomicU64::new(0), unix_ns: AtomicU64::new(0) }
    }

    /// Sets the time: `tick` counts steps of 100 ms on a clock that never jumps, `now` is the time of day.
    pub fn set(&self, tick: Tick, now: Now) {
        self.tick.store(u64::from(tick.number()), Relaxed);
        self.unix_ns.store(now.unix_ns, Relaxed);
    }

    /// The time in units of MAC age.
    pub fn tick(&self) -> Tick {
        // A tick has 24 bits.
        #[allow(clippy::cast_possible_truncation)]
        Tick::new(self.tick.load(Relaxed) as u32)
    }

    /// The time of day.
    pub fn now(&self) -> Now {
        Now { unix_ns: self.unix_ns.load(Relaxed) }
    }
}
