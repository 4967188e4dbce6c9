//! What workers do with the MAC table: look up and learn, without a lock, from any number of threads.

use std::ops::Deref;

use super::bucket::{Settled, Slot};
use super::quota::Quotas;
use super::{BadStorage, Bucket, Buckets, Egress, Entry, Flags, Key, Tick, storage};
use crate::ids::DomainId;
use crate::sync::{Ordering, fence};
use crate::sys::hints;
use crate::wire::flow::scramble;

/// The MAC table over storage that is handed in and holds no pointer.
///
/// A worker may use what it found until it next passes a quiescent point, and must pass one between bursts:
/// that is the grace period after which control frees what it has removed.
#[derive(Debug)]
pub struct MacTable<S = Buckets> {
    storage: S,
    mask: u32,
    seed: [u64; 2],
    quotas: Quotas,
}

/// A key and its two buckets: computed once a frame, then prefetched, learned and looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    key: Key,
    first: u32,
    second: u32,
}

impl Spot {
    /// The key that the spot is for.
    pub fn key(self) -> Key {
        self.key
    }
}

/// What learning did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// Nothing: the table said so already, and as of this step ([`Tick::GRAIN`]).
    Known,
    /// The entry is of this step now.
    Refreshed,
    /// The station is new. Of threads that learn it at the same moment, more than one may be told so.
    New,
    /// The station was behind another device or peer.
    Moved {
        /// Where it was.
        from: Egress,
    },
    /// A local or sticky entry says otherwise, and stays where it is.
    Refused,
    /// Both buckets are full; nothing was evicted.
    Full,
    /// The domain has learned as many as it may.
    Limited,
}

/// Buckets in 4 KiB: the two of a key lie within as many, for the price of one TLB entry.
const NEAR: u32 = 64;
/// Free slots that let a key into its first bucket without a look at the second.
const ROOMY: usize = 2;
/// How often a new station races others for a slot before it is left to the next frame.
const ATTEMPTS: usize = 4;

impl<S: Deref<Target = [Bucket]>> MacTable<S> {
    /// A table over `storage`; zeroed buckets are empty. `seed` keys the hash: keep it from those who choose MACs.
    ///
    /// # Errors
    /// If the number of buckets is no power of two, or is below 2 or above 2^32.
    pub fn new(storage: S, seed: u64) -> Result<Self, BadStorage> {
        let mask = storage::mask(&storage)?;
        let seed = [scramble(seed), scramble(!seed) | 1];
        Ok(Self { storage, mask, seed, quotas: Quotas::default() })
    }

    /// The same, counting what is learned in each of the first `domains` domains, which can be bounded then.
    pub fn with_quotas(self, domains: u16) -> Self {
        Self { quotas: Quotas::new(domains), ..self }
    }

    /// How many addresses a domain has learned; exact when no worker is learning.
    pub fn learned(&self, domain: DomainId) -> u32 {
        self.quotas.learned(domain)
    }

    /// Bounds how many addresses a domain may have learned; zero is no bound. Those beyond it stay.
    pub fn set_limit(&self, domain: DomainId, limit: u32) {
        self.quotas.set_limit(domain, limit);
    }

    /// Has `domain` count, and be bounded, together with `other`, which counts for itself; with itself, on its own. For control,
    /// while no table that workers consult has the domain, and nothing is learned of it.
    pub fn share_quota(&self, domain: DomainId, other: DomainId) {
        self.quotas.share(domain, other);
    }

    pub(super) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The buckets.
    pub fn buckets(&self) -> &[Bucket] {
        &self.storage
    }

    /// Where `key` is, if it is anywhere.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a hash")]
    pub fn locate(&self, key: Key) -> Spot {
        let product = u128::from(key.word() ^ self.seed[0]) * u128::from(self.seed[1]);
        // Once more: one product of addresses in a row is rows again, which some seeds fold into a few buckets.
        let folded = (product as u64 ^ (product >> 64) as u64).wrapping_mul(self.seed[1]);
        let hash = folded ^ folded >> 32;
        let first = hash as u32 & self.mask;
        // An odd distance: never the same bucket, and the same way back.
        let second = first ^ ((hash >> 32) as u32 & self.mask & (NEAR - 1) | 1);
        Spot { key, first, second }
    }

    /// Starts to bring the bucket of `spot` closer that most keys are in.
    #[inline]
    pub fn prefetch(&self, spot: Spot) {
        hints::prefetch_nth(&self.storage, spot.first as usize);
    }

    /// Where the station is.
    #[inline(always)]
    pub fn find(&self, spot: Spot) -> Option<Entry> {
        self.bucket(spot.first).find(spot.key).or_else(|| self.bucket(spot.second).find(spot.key))
    }

    /// Notes that the station was seen behind `egress`. Writes only if the table says otherwise: a steady flow
    /// writes once in [`Tick::GRAIN`].
    #[inline]
    pub fn learn(&self, spot: Spot, egress: Egress, now: Tick) -> Learned {
        if self.knows(spot, egress, now) {
            return Learned::Known;
        }
        self.learn_news(spot, Entry::sighting(egress, now, Flags::LEARNED))
    }

    /// Whether the table, where one looks first, says of the station what [`MacTable::learn`] would note: that has nothing to write then.
    #[inline(always)]
    pub fn knows(&self, spot: Spot, egress: Egress, now: Tick) -> bool {
        self.bucket(spot.first).agrees(spot.key, Entry::sighting(egress, now, Flags::LEARNED))
    }

    /// Notes that a station without leave to send was seen behind `egress`: locked, if it is new.
    pub fn learn_locked(&self, spot: Spot, egress: Egress, now: Tick) -> Learned {
        self.learn_news(spot, Entry::sighting(egress, now, Flags::LOCKED))
    }

    #[inline(never)]
    fn learn_news(&self, spot: Spot, fresh: Entry) -> Learned {
        let domain = spot.key.domain();
        for _ in 0..ATTEMPTS {
            if let Some(learned) = self.holding(spot).find_map(|slot| recognise(slot, fresh)) {
                return learned;
            }
            let Some(slot) = self.vacancy(spot) else { return Learned::Full };
            if !self.quotas.reserve(domain) {
                return Learned::Limited;
            }
            if slot.claim(spot.key) {
                return self.publish(spot, slot, fresh);
            }
            self.quotas.release(domain);
        }
        Learned::Full
    }

    /// Publishes `fresh` in a slot that was just claimed, unless the same station was learned elsewhere meanwhile.
    fn publish(&self, spot: Spot, slot: Slot<'_>, fresh: Entry) -> Learned {
        let learned = recognise(slot, fresh);
        match self.settle_duplicates(spot) {
            Some(winner) if !winner.is(slot) => recognise(winner, fresh).or(learned),
            _ => learned,
        }
        // Learned by another thread, and removed, since we claimed the slot.
        .unwrap_or(Learned::Full)
    }

    /// Kills all learned entries of a key but one, and names that: the one that control set, else the lowest.
    ///
    /// Whoever publishes a key does so first and looks for others then, with a fence between. Of two threads at least
    /// one therefore sees both entries; and a learned one falls only to a lower or fixed one seen alive.
    pub(super) fn settle_duplicates(&self, spot: Spot) -> Option<Slot<'_>> {
        fence(Ordering::SeqCst);
        let mut live = self.holding(spot).filter_map(|slot| Some((slot, slot.entry()?)));
        let (mut winner, mut entry) = live.next()?;
        for (mut loser, other) in live {
            if !other.is_learned() && entry.is_learned() {
                (winner, loser, entry) = (loser, winner, other);
            }
            if loser.kill_while(Entry::is_learned).is_some() {
                self.quotas.release(spot.key.domain());
            }
        }
        Some(winner)
    }

    /// The slots that carry the key of `spot`, lowest first.
    #[inline]
    pub(super) fn holding(&self, spot: Spot) -> impl Iterator<Item = Slot<'_>> {
        self.pair(spot).into_iter().flat_map(move |bucket| bucket.holding(spot.key))
    }

    /// A free slot for the key of `spot`; `None` if both buckets are full.
    fn vacancy(&self, spot: Spot) -> Option<Slot<'_>> {
        self.preferred(spot).into_iter().flat_map(Bucket::slots).find(|slot| slot.is_free())
    }

    /// The buckets of `spot`, the one to insert into first: its first while that is roomy, else the emptier.
    pub(super) fn preferred(&self, spot: Spot) -> [&Bucket; 2] {
        let [first, second] = self.pair(spot);
        let used = first.used();
        let roomy = Bucket::SLOTS - used >= ROOMY;
        if roomy || used <= second.used() { [first, second] } else { [second, first] }
    }

    pub(super) fn pair(&self, spot: Spot) -> [&Bucket; 2] {
        [self.bucket(spot.first), self.bucket(spot.second)]
    }

    #[inline]
    fn bucket(&self, number: u32) -> &Bucket {
        &self.storage[number as usize]
    }
}

impl MacTable {
    /// A table of its own that says the same. For control: nothing may be freed meanwhile; what workers learn meanwhile is in it
    /// or not.
    pub fn copy(&self) -> Self {
        let (mask, seed, quotas) = (self.mask, self.seed, self.quotas.copy());
        Self { storage: Buckets::copy_of(&self.storage), mask, seed, quotas }
    }
}

/// Compares what a slot says of a station with `fresh`, and writes on news; `None` if the slot is dead.
fn recognise(slot: Slot<'_>, fresh: Entry) -> Option<Learned> {
    let heir = |entry: Option<Entry>| entry.map_or(fresh, |entry| entry.seen(fresh));
    Some(match slot.settle_as(heir, |entry| entry.seen(fresh) == entry) {
        Settled::Published => Learned::New,
        Settled::Replaced(old) if old.egress() == fresh.egress() => Learned::Refreshed,
        Settled::Replaced(old) if old.seen(fresh).egress() == old.egress() => Learned::Refused,
        Settled::Replaced(old) => Learned::Moved { from: old.egress() },
        Settled::Kept(entry) if entry.egress() == fresh.egress() => Learned::Known,
        Settled::Kept(_) => Learned::Refused,
        Settled::Dead => return None,
    })
}
