//! Waking a thread that sleeps in `poll`, at almost no cost while it is awake.
//!
//! The owner says that it is about to sleep, looks at all its sources once more, and only then sleeps; who rings has
//! filled a source before, and only then looks whether the owner sleeps. One of the two sees the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::sync::{AtomicBool, Ordering, fence};
use crate::sys::eventfd::EventFd;

/// What a sleeper waits for: readable from a ring until it is cleared.
pub trait Notify {
    /// Makes it readable.
    fn ring(&self);
    /// Makes it unreadable.
    fn clear(&self);
}

/// A bell with one owner, who sleeps, and any number of ringers.
///
/// The owner calls [`Self::prepare_to_sleep`], looks at its sources, polls the descriptor if they are all empty, and
/// calls [`Self::awake`] in either case.
#[derive(Debug, Default)]
pub struct Bell<N = EventFd> {
    /// The owner sets it; the owner and whoever rings first clear it. All swap, so that each write is ordered after the
    /// one before it.
    asleep: AtomicBool,
    notify: N,
}

impl Bell {
    /// A bell whose owner is awake.
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { asleep: AtomicBool::new(false), notify: EventFd::new()? })
    }
}

impl<N: Notify> Bell<N> {
    /// Wakes the owner if it sleeps or is about to: it will see all that the caller has written to its sources. The
    /// kernel is called once a sleep, by whoever rings first.
    #[inline]
    pub fn ring(&self) {
        // After what was written to the source; pairs with the fence in `prepare_to_sleep`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.notify.ring();
        }
    }

    /// From here on a ring makes the descriptor readable. The owner must look at its sources after this, before it
    /// polls.
    pub fn prepare_to_sleep(&self) {
        self.asleep.swap(true, Ordering::AcqRel);
        // Before the last look at the sources; pairs with the fence in `ring`.
        fence(Ordering::SeqCst);
    }

    /// From here on the owner looks at its sources by itself. A ring that comes late may end its next sleep early.
    pub fn awake(&self) {
        self.asleep.swap(false, Ordering::AcqRel);
        self.notify.clear();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notify.as_fd()
    }
}

impl Notify for EventFd {
    fn ring(&self) {
        self.ring();
    }

    fn clear(&self) {
        self.clear();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::sys::poll::{Interest, PollSet};

    /// Counts the rings since the last clear.
    #[derive(Default)]
    struct Count(Cell<u32>);

    impl Notify for Count {
        fn ring(&self) {
            self.0.set(self.0.get() + 1);
        }

        fn clear(&self) {
            self.0.set(0);
        }
    }

    #[test]
    fn an_awake_owner_is_not_notified() {
        let bell = Bell::<Count>::default();
        bell.ring();
        bell.prepare_to_sleep();
        bell.awake();
        bell.ring();
        assert_eq!(bell.notify.0.get(), 0);
    }

    #[test]
    fn a_sleep_is_ended_by_one_notification() {
        let bell = Bell::<Count>::default();
        for _ in 0..2 {
            bell.prepare_to_sleep();
            bell.ring();
            bell.ring();
            assert_eq!(bell.notify.0.get(), 1);
            bell.awake();
            assert_eq!(bell.notify.0.get(), 0);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn a_ring_is_found_by_poll() {
        let bell = Bell::new().unwrap();
        let mut set = PollSet::new();
        set.add(&bell, Interest::Read);
        bell.prepare_to_sleep();
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0);
        thread::scope(|scope| {
            scope.spawn(|| bell.ring());
            assert_eq!(set.wait(Some(Duration::from_secs(60))).unwrap(), 1);
        });
        bell.awake();
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0);
    }
}

#[cfg(all(test, loom))]
mod models {
    use loom::sync::{Condvar, Mutex};
    use loom::thread;

    use super::*;
    use crate::sync::{Arc, AtomicU64};

    /// An eventfd that loom understands.
    #[derive(Default)]
    struct Alarm {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Alarm {
        /// Sleeps until it is rung; loom fails the model if that never comes.
        fn poll(&self) {
            let mut rung = self.rung.lock().unwrap();
            while !*rung {
                rung = self.changed.wait(rung).unwrap();
            }
        }
    }

    impl Notify for Alarm {
        fn ring(&self) {
            *self.rung.lock().unwrap() = true;
            self.changed.notify_one();
        }

        fn clear(&self) {
            *self.rung.lock().unwrap() = false;
        }
    }

    /// Each ringer fills a source of its own `rounds` times; the owner sleeps whenever all are empty.
    fn model(ringers: usize, rounds: u64) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3); // Enough to fail without any one of the fences, in seconds.
        builder.check(move || {
            let bell = Arc::new(Bell::<Alarm>::default());
            let sources: Vec<_> = (0..ringers).map(|_| Arc::new(AtomicU64::new(0))).collect();
            for source in &sources {
                let (bell, source) = (Arc::clone(&bell), Arc::clone(source));
                thread::spawn(move || {
                    for round in 1..=rounds {
                        source.store(round, Ordering::Release);
                        bell.ring();
                    }
                });
            }
            let total = rounds * u64::try_from(ringers).unwrap();
            let look = || sources.iter().map(|source| source.load(Ordering::Acquire)).sum::<u64>();
            let mut taken = look();
            while taken < total {
                bell.prepare_to_sleep();
                let found = look();
                if found == taken {
                    bell.notify.poll();
                }
                bell.awake();
                taken = found;
            }
        });
    }

    #[test]
    fn loom_no_wake_up_is_lost() {
        model(1, 2);
    }

    #[test]
    fn loom_no_wake_up_is_lost_between_two_ringers() {
        model(2, 1);
    }
}
