//! How many ICMP errors are sent: so many in all, and few to each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rigswitch_dataplane::ports::Now;
use rigswitch_dataplane::rate::{Limiter, Rate};

/// What is sent to one destination (`net.ipv4.icmp_ratelimit`, `net.ipv6.icmp.ratelimit`; `inet_peer_xrlim_allow`).
const TO_EACH: Rate = Rate { per_second: 1, burst: 6 };
/// How long it takes until nothing is left to know of a destination.
const REFILL: Duration = Duration::from_secs(6);
/// Destinations that are known at most.
const MOST: usize = 4096;

/// The limits of a router.
#[derive(Debug)]
pub(super) struct Limits {
    rate: Rate,
    all: Limiter,
    each: BTreeMap<IpAddr, (Limiter, Duration)>,
}

impl Limits {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, all: Limiter::new(rate, at(Duration::ZERO)), each: BTreeMap::new() }
    }

    /// From now on so many in all.
    pub(super) fn set(&mut self, rate: Rate, now: Duration) {
        if rate != self.rate {
            (self.rate, self.all) = (rate, Limiter::new(rate, at(now)));
        }
    }

    /// Whether one more may go to this destination: always if there is no limit, for that is the kernel's of each. Each one's share comes first, so that who has none left takes nothing
    /// from others.
    pub(super) fn allow(&mut self, destination: IpAddr, now: Duration) -> bool {
        if self.rate == Rate::UNLIMITED {
            return true;
        }
        if self.each.len() >= MOST && !self.each.contains_key(&destination) {
            self.each.retain(|_, (_, last)| *last + REFILL > now);
            // More at once than can be told apart: the limit for all still holds.
            if self.each.len() >= MOST {
                self.each.clear();
            }
        }
        let fresh = || (Limiter::new(TO_EACH, at(now)), now);
        let (limiter, last) = self.each.entry(destination).or_insert_with(fresh);
        *last = now;
        limiter.allows(at(now)) && self.all.allows(at(now))
    }

    /// How many destinations are known.
    #[cfg(test)]
    pub(super) fn destinations(&self) -> usize {
        self.each.len()
    }
}

fn at(now: Duration) -> Now {
    Now { unix_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX) }
}
