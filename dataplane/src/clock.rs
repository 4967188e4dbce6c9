//! Time: control writes it, workers read it once a burst; tests and replay own it.

use std::time::SystemTime;

use crate::ports::Now;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::tables::Tick;

/// The published time.
#[derive(Default)]
pub struct Clock {
    tick: AtomicU64,    // control writes, workers read
    unix_ns: AtomicU64, // control writes, workers read
    runs: bool,
}

impl Clock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// A clock whose time of day goes on by itself, for those who ask exactly.
    pub fn running() -> Self {
        Self { runs: true, ..Self::default() }
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

    /// The time of day as it is at this moment, where it is not a test's or a replay's to say. For whoever writes down when a
    /// burst came.
    #[expect(clippy::disallowed_methods, reason = "asked once a burst, by workers that are watched")]
    pub fn exact(&self) -> Now {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) if self.runs => Now { unix_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) },
            _ => self.now(),
        }
    }

    /// The time of day, as of the last step.
    pub fn now(&self) -> Now {
        Now { unix_ns: self.unix_ns.load(Relaxed) }
    }
}
