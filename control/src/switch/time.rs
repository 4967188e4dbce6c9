//! The time as the switch has it: the machine's, or that of whoever turns it by hand.

use std::time::{Duration, Instant, SystemTime};

use rigswitch_dataplane::clock::Clock;
use rigswitch_dataplane::ports::Now;
use rigswitch_dataplane::tables::Tick;

/// Time since the switch was started, and of day.
pub(super) enum Time {
    /// The machine's.
    Machine(Instant),
    /// Stands still between two calls of [`Time::set`].
    ByHand {
        /// When the switch was started.
        start: Now,
        /// What it is now.
        now: Now,
    },
}

impl Time {
    /// The machine's, from now on.
    pub(super) fn of_machine() -> Self {
        Self::Machine(Instant::now())
    }

    /// Another, that starts at `start`.
    pub(super) fn by_hand(start: Now) -> Self {
        Self::ByHand { start, now: start }
    }

    /// Makes it `to`, unless it is the machine's.
    pub(super) fn set(&mut self, to: Now) {
        if let Self::ByHand { now, .. } = self {
            *now = to;
        }
    }

    /// What tells it to the workers.
    pub(super) fn clock(&self) -> Clock {
        let clock = if let Self::Machine(_) = self { Clock::running() } else { Clock::new() };
        self.publish(&clock);
        clock
    }

    /// How long ago the switch was started.
    pub(super) fn elapsed(&self) -> Duration {
        match self {
            Self::Machine(start) => start.elapsed(),
            Self::ByHand { start, now } => Duration::from_nanos(now.unix_ns.saturating_sub(start.unix_ns)),
        }
    }

    /// Tells it to the workers.
    pub(super) fn publish(&self, clock: &Clock) {
        let millis = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        clock.set(Tick::from_millis(millis), self.of_day());
    }

    fn of_day(&self) -> Now {
        match self {
            Self::Machine(_) => {
                let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Now { unix_ns: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX) }
            }
            Self::ByHand { now, .. } => *now,
        }
    }
}
