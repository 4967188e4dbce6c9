//! What control does with the MAC table beside running workers: fixed entries, removal, ageing and dumps.

use std::ops::{Deref, Range};

use super::bucket::{Settled, Slot};
use super::table::Spot;
use super::{Bucket, Buckets, Entry, Key, MacTable};
use crate::sync::Arc;

/// Control's hold on a MAC table. There is one for each table, so that there is one thread that frees slots.
///
/// Removal takes effect at once, but a removed slot is of use again only after [`Self::reclaim`], which is to be called
/// a grace period later: when every worker has passed a quiescent point.
#[derive(Debug)]
pub struct MacControl<S = Buckets> {
    table: Arc<MacTable<S>>,
}

/// Why a fixed entry has no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} in domain {}: the MAC table has no room, for fixed entries hold all it could use", .0.mac(), .0.domain().number())]
pub struct TableFull(pub Key);

/// How many fixed entries in a row may be moved to make room for one.
const MOVES: u32 = 2;

impl<S: Deref<Target = [Bucket]>> MacControl<S> {
    /// Control of `table`.
    pub fn new(table: MacTable<S>) -> Self {
        Self { table: Arc::new(table) }
    }

    /// The table, to share with workers.
    pub fn table(&self) -> &Arc<MacTable<S>> {
        &self.table
    }

    /// Sets the entry of `key`, whatever the table says of it. A fixed entry is refused only if fixed entries are all
    /// there is: otherwise a learned one makes way, or a fixed one is moved. `grace` is called where that is needed,
    /// and returns when every worker has passed a quiescent point since.
    ///
    /// # Errors
    /// If there is no room even so.
    pub fn insert(&mut self, key: Key, entry: Entry, mut grace: impl FnMut()) -> Result<(), TableFull> {
        let spot = self.table.locate(key);
        let placed = self.table.holding(spot).any(|slot| self.set(key, slot, entry))
            || self.place(spot, &self.table.preferred(spot), entry, MOVES, &mut grace);
        self.table.settle_duplicates(spot);
        if placed { Ok(()) } else { Err(TableFull(key)) }
    }

    /// Removes the entry of `key`; what it was.
    pub fn remove(&mut self, key: Key) -> Option<Entry> {
        let mut removed = None;
        for slot in self.table.holding(self.table.locate(key)) {
            removed = self.end(slot, |_| true).or(removed);
        }
        removed
    }

    /// Removes the entries in a range of buckets that `keep` does not hold for, fixed ones too; how many. Ageing is
    /// this with [`Entry::has_expired`], a slice at a time; a flush is this over all buckets.
    pub fn retain(&mut self, buckets: Range<usize>, mut keep: impl FnMut(Key, Entry) -> bool) -> usize {
        let mut removed = 0;
        for slot in self.slots(buckets) {
            if let Some((key, _)) = slot.live() {
                removed += usize::from(self.end(slot, |entry| !keep(key, entry)).is_some());
            } else {
                slot.bury();
            }
        }
        removed
    }

    /// Frees the slots in a range of buckets whose entries have been removed; how many. Every worker must have passed
    /// a quiescent point since anything was last removed from there.
    pub fn reclaim(&mut self, buckets: Range<usize>) -> usize {
        self.slots(buckets).filter(|slot| slot.free()).count()
    }

    /// The same where the entry of `key` may have been.
    pub fn reclaim_at(&mut self, key: Key) -> usize {
        let buckets = self.table.pair(self.table.locate(key));
        buckets.into_iter().flat_map(Bucket::slots).filter(|slot| slot.free()).count()
    }

    /// All entries. Those that change meanwhile are seen before or after; one that two workers learn right now may
    /// be seen twice.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Entry)> {
        self.entries(0..self.table.buckets().len())
    }

    /// The entries in a range of buckets, likewise.
    pub fn entries(&self, buckets: Range<usize>) -> impl Iterator<Item = (Key, Entry)> {
        self.slots(buckets).filter_map(|slot| slot.live())
    }

    /// Gives `entry` a slot in one of `buckets`, moving up to `moves` fixed entries in a row out of the way.
    fn place(
        &self,
        spot: Spot,
        buckets: &[&Bucket],
        entry: Entry,
        moves: u32,
        grace: &mut dyn FnMut(),
    ) -> bool {
        let slots = || buckets.iter().flat_map(|bucket| bucket.slots());
        if slots()
            .any(|slot| slot.is_free() && self.claim(spot.key(), slot) && self.set(spot.key(), slot, entry))
        {
            return true;
        }
        let dead = || slots().find(|slot| slot.bury());
        let learned = || slots().find(|slot| self.end(*slot, Entry::is_learned).is_some());
        let moved = || slots().find(|slot| moves > 0 && self.relocate(*slot, moves - 1, grace));
        let Some(slot) = dead().or_else(learned).or_else(moved) else { return false };
        grace();
        slot.inhabit(spot.key(), entry);
        true
    }

    /// Moves a fixed entry to its other bucket; its slot is buried.
    fn relocate(&self, slot: Slot<'_>, moves: u32, grace: &mut dyn FnMut()) -> bool {
        let Some((key, entry)) = slot.live() else { return false };
        let spot = self.table.locate(key);
        let other = self.table.pair(spot).into_iter().filter(|bucket| !bucket.slots().any(|s| s.is(slot)));
        let moved = other.take(1).any(|bucket| self.place(spot, &[bucket], entry, moves, grace));
        if moved {
            grace(); // Who looked in the other bucket before the move still finds the entry here.
        }
        moved && self.end(slot, |_| true).is_some()
    }

    /// Takes a free slot. What is claimed counts as learned until it is seen not to be: a worker may be quicker.
    fn claim(&self, key: Key, slot: Slot<'_>) -> bool {
        let claimed = slot.claim(key);
        if claimed {
            self.table.quotas().add(key.domain());
        }
        claimed
    }

    /// Makes a slot of `key` say `entry`; whether it was not dead.
    fn set(&self, key: Key, slot: Slot<'_>, entry: Entry) -> bool {
        let settled = slot.settle(entry, |_| false);
        let counted = match settled {
            Settled::Published => true,
            Settled::Replaced(old) => old.is_learned(),
            Settled::Kept(_) | Settled::Dead => false,
        };
        if counted && !entry.is_learned() {
            self.table.quotas().release(key.domain());
        }
        settled != Settled::Dead
    }

    /// Removes what a slot says, if it fulfils `condition`.
    fn end(&self, slot: Slot<'_>, condition: impl FnMut(Entry) -> bool) -> Option<Entry> {
        let (key, _) = slot.live()?;
        let entry = slot.kill_while(condition)?;
        if entry.is_learned() {
            self.table.quotas().release(key.domain());
        }
        slot.bury();
        Some(entry)
    }

    fn slots(&self, buckets: Range<usize>) -> impl Iterator<Item = Slot<'_>> {
        self.table.buckets()[buckets].iter().flat_map(Bucket::slots)
    }
}
