//! The kernel's clocks, where the standard library does not say which one it reads.

use std::time::Duration;

use super::check;

/// Time since some point in the past, as everything on this machine counts it (`CLOCK_MONOTONIC`).
pub fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// A clock that every Linux has.
pub(super) fn read(clock: libc::clockid_t) -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes a timespec into `now`, which lives across the call.
    let result = check(unsafe { libc::clock_gettime(clock, &raw mut now) });
    debug_assert!(result.is_ok(), "the clock is always there");
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn time_does_not_go_back() {
        let before = monotonic();
        assert!(before > Duration::ZERO && monotonic() >= before);
    }
}
