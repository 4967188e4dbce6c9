//! Rate limits: a token bucket that time fills.

use crate::ports::Now;

/// So many a second, and so many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many a second; 0 is no limit.
    pub per_second: u32,
    /// How many at once after a pause; at least one.
    pub burst: u32,
}

impl Rate {
    /// ICMP errors of a host (`net.ipv4.icmp_msgs_per_sec`, `net.ipv4.icmp_msgs_burst`; RFC 1812 §4.3.2.8, RFC 4443 §2.4(f)).
    pub const ICMP: Self = Self { per_second: 1000, burst: 50 };

    /// No limit.
    pub const UNLIMITED: Self = Self { per_second: 0, burst: 0 };
}

/// What is left of a rate at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limiter {
    rate: Rate,
    tokens: u64, // in parts of a thousand million, so that a nanosecond brings a whole number
    at: Now,
}

/// One token.
const TOKEN: u64 = 1_000_000_000;

impl Limiter {
    /// A full bucket.
    pub fn new(rate: Rate, now: Now) -> Self {
        Self { rate, tokens: Self::capacity(rate), at: now }
    }

    /// Whether one more may go now; if so it counts. Time that goes back brings nothing and takes nothing.
    #[inline]
    pub fn allows(&mut self, now: Now) -> bool {
        if self.rate.per_second == 0 {
            return true;
        }
        let elapsed = now.unix_ns.saturating_sub(self.at.unix_ns);
        let fresh = elapsed.saturating_mul(self.rate.per_second.into());
        self.at = now;
        self.tokens = self.tokens.saturating_add(fresh).min(Self::capacity(self.rate));
        let left = self.tokens.checked_sub(TOKEN);
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }

    fn capacity(rate: Rate) -> u64 {
        u64::from(rate.burst.max(1)) * TOKEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const START: u64 = 1_700_000_000_000_000_000;
    const SECOND: u64 = 1_000_000_000;

    fn at(unix_ns: u64) -> Now {
        Now { unix_ns }
    }

    /// How many of `count` go at one moment.
    fn passed(limiter: &mut Limiter, count: usize, now: u64) -> usize {
        (0..count).filter(|_| limiter.allows(at(now))).count()
    }

    #[test]
    fn kernels_default_lets_fifty_go_and_then_one_a_millisecond() {
        let mut limiter = Limiter::new(Rate::ICMP, at(START));
        assert_eq!(passed(&mut limiter, 100_000, START), 50);
        assert_eq!(passed(&mut limiter, 10, START + 999_999), 0);
        assert_eq!(passed(&mut limiter, 10, START + 1_000_000), 1);
        assert_eq!(passed(&mut limiter, 10, START + 3_500_000), 2);
        assert_eq!(passed(&mut limiter, 10, START + 4_000_000), 1);
        assert_eq!(passed(&mut limiter, 1000, START + 3600 * SECOND), 50);
    }

    #[test]
    fn zero_is_no_limit_and_a_burst_of_zero_is_one() {
        assert_eq!(passed(&mut Limiter::new(Rate::UNLIMITED, at(0)), 100_000, 0), 100_000);
        let mut slow = Limiter::new(Rate { per_second: 1, burst: 0 }, at(START));
        assert_eq!(passed(&mut slow, 10, START), 1);
        assert_eq!(passed(&mut slow, 10, START + SECOND), 1);
    }

    #[test]
    fn time_that_jumps_neither_blocks_nor_floods() {
        let mut limiter = Limiter::new(Rate::ICMP, at(START));
        assert_eq!(passed(&mut limiter, 100, START), 50);
        assert_eq!(passed(&mut limiter, 100, START / 2), 0);
        assert_eq!(passed(&mut limiter, 100, START / 2 + SECOND / 100), 10);
        assert_eq!(passed(&mut limiter, 100, u64::MAX), 50);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Never more than the burst and what time brings; and all of it, if enough ask often enough.
        #[test]
        fn no_window_lets_more_go_than_the_rate(
            per_second in 1..100_000u32,
            burst in 1..100u32,
            steps in vec((0..50_000_000u64, 0..40usize), 1..60),
        ) {
            let mut limiter = Limiter::new(Rate { per_second, burst }, at(START));
            let mut now = START;
            let mut went = Vec::new();
            for (pause, count) in steps {
                now += pause;
                went.push((now, passed(&mut limiter, count, now)));
            }
            for first in 0..went.len() {
                for last in first..went.len() {
                    let sum: usize = went[first..=last].iter().map(|step| step.1).sum();
                    let window = u128::from(went[last].0 - went[first].0);
                    let most = u128::from(burst) + window * u128::from(per_second) / u128::from(SECOND);
                    prop_assert!(sum as u128 <= most, "{sum} of {most} in {window} ns");
                }
            }
        }

        /// A pause brings one at most, so there is always room for it beside what is left over.
        #[test]
        fn those_who_ask_always_get_the_whole_rate(per_second in 1..100_000u32, burst in 2..100u32, pause in 1..10_000u64) {
            let mut limiter = Limiter::new(Rate { per_second, burst }, at(START));
            let mut sum = 0u128;
            let steps = 200;
            for step in 0..=steps {
                while limiter.allows(at(START + step * pause)) {
                    sum += 1;
                }
            }
            let window = u128::from(steps * pause);
            prop_assert_eq!(sum, u128::from(burst) + window * u128::from(per_second) / u128::from(SECOND));
        }
    }
}
