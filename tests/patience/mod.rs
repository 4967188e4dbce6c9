//! Waiting for a condition: as long as it takes, and not for ever.
#![allow(dead_code)] // each test uses its part

use std::time::{Duration, Instant};

/// How long anything may take before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, ask)
}

/// The same for what may take longer, or not as long.
pub(crate) fn wait_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let answer = std::iter::repeat_with(|| {
        std::thread::yield_now();
        ask()
    });
    let in_time = answer.take_while(|answer| answer.is_some() || start.elapsed() < patience);
    in_time.flatten().next().unwrap_or_else(|| panic!("{what} never came"))
}
