//! A bucket is one cache line of four slots; here is the life of a slot, one atomic step a method.
//!
//! ```text
//!             claim           settle                   kill                bury              free
//! (0, 0) free ───► (K, 0) claimed ───► (K, entry) live ───► (K, DEAD) dying ───► (TOMB, DEAD) ───► (0, 0)
//!             any thread      any thread               any thread          control           control, after
//!                                                                                            a grace period
//! ```
//! A reader matches a key and then reads the value: two loads. Between them the slot may die but never become another
//! key's, because the slot has carried a key that nobody matches for a whole grace period before it is free.

use super::entry::{Entry, Key};
use crate::sync::{AtomicU64, Ordering};

/// The value of a dying slot: neither an entry nor free.
const DEAD: u64 = 1 << 7;
/// The key of a dead slot: it has no domain, so nothing matches it.
const TOMB: u64 = 1;

/// Four slots on one cache line. A zeroed bucket is empty.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Bucket {
    keys: [AtomicU64; Bucket::SLOTS],
    values: [AtomicU64; Bucket::SLOTS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64 && align_of::<Bucket>() == 64);

impl Bucket {
    /// Slots in a bucket.
    pub const SLOTS: usize = 4;

    /// The live entry of `key`.
    #[inline(always)]
    pub(super) fn find(&self, key: Key) -> Option<Entry> {
        let value = self.values.get(self.first(key))?;
        Entry::from_word(value.load(Ordering::Acquire)).or_else(|| self.find_beyond(key))
    }

    /// The same when the first slot of the key is none that lives: there may be another, if there was a race.
    #[cold]
    fn find_beyond(&self, key: Key) -> Option<Entry> {
        self.holding(key).find_map(Slot::entry)
    }

    /// Whether the first slot of `key` agrees with `entry`: where else one may be is not looked.
    #[inline(always)]
    pub(super) fn agrees(&self, key: Key, entry: Entry) -> bool {
        let value = self.values.get(self.first(key));
        value.is_some_and(|value| entry.agrees_with(value.load(Ordering::Acquire)))
    }

    /// The slots, in order.
    #[inline]
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.keys.iter().zip(&self.values).map(|(key, value)| Slot { key, value })
    }

    /// The slots that carry `key`: one, unless there was a race.
    #[inline]
    pub(super) fn holding(&self, key: Key) -> impl Iterator<Item = Slot<'_>> {
        self.slots().filter(move |slot| slot.key.load(Ordering::Acquire) == key.word())
    }

    /// How many slots are not free.
    pub(super) fn used(&self) -> usize {
        self.slots().filter(|slot| !slot.is_free()).count()
    }

    /// Makes a bucket that nobody else has hold the same.
    pub(super) fn copy_to(&self, other: &Self) {
        for (from, to) in self.slots().zip(other.slots()) {
            to.key.store(from.key.load(Ordering::Acquire), Ordering::Relaxed);
            to.value.store(from.value.load(Ordering::Acquire), Ordering::Relaxed);
        }
    }

    /// The lowest slot that carries `key`, or [`Bucket::SLOTS`]; all four are compared without a branch, for which one it is no
    /// branch predictor can know.
    #[inline(always)]
    fn first(&self, key: Key) -> usize {
        let [a, b, c, d] = &self.keys;
        let is = |slot: &AtomicU64| slot.load(Ordering::Acquire) == key.word();
        let last = if is(d) { 3 } else { Self::SLOTS };
        let last = if is(c) { 2 } else { last };
        let last = if is(b) { 1 } else { last };
        if is(a) { 0 } else { last }
    }
}

/// One (key, value) pair of a bucket.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    key: &'a AtomicU64,
    value: &'a AtomicU64,
}

/// What [`Slot::settle`] met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settled {
    /// Nothing: the slot was claimed, and is live now.
    Published,
    /// An entry, now replaced.
    Replaced(Entry),
    /// An entry, which stays.
    Kept(Entry),
    /// The slot is dead; look elsewhere.
    Dead,
}

impl<'a> Slot<'a> {
    /// The key and its live entry.
    pub(super) fn live(self) -> Option<(Key, Entry)> {
        let key = Key::from_word(self.key.load(Ordering::Acquire))?;
        Some((key, self.entry()?))
    }

    /// The live entry, whatever the key.
    #[inline]
    pub(super) fn entry(self) -> Option<Entry> {
        Entry::from_word(self.value.load(Ordering::Acquire))
    }

    pub(super) fn is_free(self) -> bool {
        self.key.load(Ordering::Acquire) == 0
    }

    /// Takes a free slot for `key`; false if another thread was first.
    pub(super) fn claim(self, key: Key) -> bool {
        self.key.compare_exchange(0, key.word(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Makes the slot say `fresh`, unless it is dead or `keep` holds for the entry that is there.
    #[inline]
    pub(super) fn settle(self, fresh: Entry, keep: impl Fn(Entry) -> bool) -> Settled {
        self.settle_as(|_| fresh, keep)
    }

    /// The same, saying what `heir` makes of the entry that is there.
    #[inline]
    pub(super) fn settle_as(
        self,
        heir: impl Fn(Option<Entry>) -> Entry,
        keep: impl Fn(Entry) -> bool,
    ) -> Settled {
        let mut seen = self.value.load(Ordering::Acquire);
        loop {
            let met = match Entry::from_word(seen) {
                Some(entry) if keep(entry) => return Settled::Kept(entry),
                Some(entry) => Settled::Replaced(entry),
                None if seen == DEAD => return Settled::Dead,
                None => Settled::Published,
            };
            let fresh = heir(Entry::from_word(seen));
            match self.value.compare_exchange(seen, fresh.word(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return met,
                Err(now) => seen = now,
            }
        }
    }

    /// Kills the slot while its entry fulfils `condition`; what the entry was. From here on it is a miss.
    pub(super) fn kill_while(self, mut condition: impl FnMut(Entry) -> bool) -> Option<Entry> {
        let mut seen = self.value.load(Ordering::Acquire);
        loop {
            let entry = Entry::from_word(seen).filter(|entry| condition(*entry))?;
            match self.value.compare_exchange(seen, DEAD, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(entry),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes the key off a dying slot; whether the slot is dead now. Control only.
    pub(super) fn bury(self) -> bool {
        let dead = self.value.load(Ordering::Acquire) == DEAD;
        if dead {
            self.key.store(TOMB, Ordering::Release);
        }
        dead
    }

    /// Frees a dead slot; whether it was one. Control only, a grace period after [`Self::bury`].
    pub(super) fn free(self) -> bool {
        let dead = self.key.load(Ordering::Relaxed) == TOMB;
        if dead {
            self.value.store(0, Ordering::Relaxed);
            self.key.store(0, Ordering::Release);
        }
        dead
    }

    /// Gives a dead slot a new life, whole at once. Control only, a grace period after [`Self::bury`].
    pub(super) fn inhabit(self, key: Key, entry: Entry) {
        self.value.store(entry.word(), Ordering::Relaxed);
        self.key.store(key.word(), Ordering::Release);
    }

    /// Whether both are the same slot.
    pub(super) fn is(self, other: Slot<'_>) -> bool {
        std::ptr::eq(self.key, other.key)
    }
}
