//! Immutable snapshots, published with a generation: control writes, every worker adopts between bursts.
//!
//! A generation is *seen* by a reader that has adopted it, since it will never again touch what older ones offered.
//! "All have seen g" is the grace period for everything that workers may still hold: slots of the MAC table, ports.
//! A parked reader touches nothing and counts as having seen all; before it touches anything again it says so, and
//! only then looks which generation is the newest. Either the publisher finds it unparked, or it finds what was published.

use std::sync::PoisonError;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering, fence};

/// A point in the sequence of what one [`Publisher`] published.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(u64);

impl Generation {
    const FIRST: Self = Self(0);
    /// What a parked reader has seen.
    const ALL: Self = Self(u64::MAX);

    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The one writer of snapshots. It frees them too, so that no reader ever does while the publisher lives.
#[derive(Debug)]
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
    newest: Latest<T>,
    retired: Vec<Arc<T>>,
    readers: Vec<Arc<Seen>>,
}

/// One worker's view of the snapshots.
#[derive(Debug)]
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    adopted: Latest<T>,
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Shared<T> {
    generation: AtomicU64, // the publisher writes, readers look: whether the mutex holds anything new
    latest: Mutex<Latest<T>>,
}

#[derive(Debug)]
struct Latest<T> {
    generation: Generation,
    snapshot: Arc<T>,
}

/// The generation that a reader has seen: it writes, the publisher reads; on a cache line (and its pair) of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Seen(AtomicU64);

impl<T> Publisher<T> {
    /// Publishes the first snapshot.
    pub fn new(first: T) -> Self {
        let newest = Latest { generation: Generation::FIRST, snapshot: Arc::new(first) };
        let generation = AtomicU64::new(newest.generation.0);
        let shared = Arc::new(Shared { generation, latest: Mutex::new(newest.clone()) });
        Self { shared, newest, retired: Vec::new(), readers: Vec::new() }
    }

    /// A reader that has adopted the newest generation. It is awake, so all grace periods wait for it from now on.
    pub fn reader(&mut self) -> Reader<T> {
        let adopted = self.newest.clone();
        let seen = Arc::new(Seen(AtomicU64::new(adopted.generation.0)));
        self.readers.push(Arc::clone(&seen));
        Reader { shared: Arc::clone(&self.shared), adopted, seen }
    }

    /// Publishes a snapshot. Older ones are freed here, once no reader holds them.
    pub fn publish(&mut self, snapshot: T) -> Generation {
        let old = std::mem::replace(&mut self.newest.snapshot, Arc::new(snapshot));
        self.retired.push(old);
        self.advance()
    }

    /// Begins a new generation of the same snapshot, for a grace period of something beside it. Frees like
    /// [`Self::publish`].
    pub fn advance(&mut self) -> Generation {
        self.newest.generation = self.newest.generation.next();
        *self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner) = self.newest.clone();
        self.shared.generation.store(self.newest.generation.0, Ordering::Release);
        // Before any look at who has seen it; pairs with the fence in `unpark`.
        fence(Ordering::SeqCst);
        self.readers.retain(|reader| Arc::strong_count(reader) > 1);
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.newest.generation
    }

    /// Whether every reader has adopted `generation` or a later one, is parked, or is gone.
    pub fn all_seen(&self, generation: Generation) -> bool {
        self.readers.iter().all(|reader| reader.0.load(Ordering::Acquire) >= generation.0)
    }

    /// The newest snapshot.
    pub fn current(&self) -> &Arc<T> {
        &self.newest.snapshot
    }
}

impl<T> Reader<T> {
    /// The adopted snapshot.
    #[inline]
    pub fn current(&self) -> &T {
        &self.adopted.snapshot
    }

    /// Adopts the newest generation; whether it brought a new snapshot. Costs one load if there is nothing new, and
    /// never waits: news that is just being written is left for the next call.
    #[inline]
    pub fn adopt(&mut self) -> bool {
        self.has_news() && self.try_adopt()
    }

    /// Leaves the tables: until [`Self::unpark`] this reader holds up no grace period, and must not act on anything
    /// that one guards.
    pub fn park(&mut self) {
        self.seen.0.store(Generation::ALL.0, Ordering::Release);
    }

    /// Comes back to the tables, with the newest generation adopted; whether it brought a new snapshot.
    pub fn unpark(&mut self) -> bool {
        self.seen.0.store(self.adopted.generation.0, Ordering::Release);
        // Before the look at what is newest; pairs with the fence in `advance`.
        fence(Ordering::SeqCst);
        self.has_news() && {
            let latest = self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            self.take(latest)
        }
    }

    #[inline]
    fn has_news(&self) -> bool {
        self.shared.generation.load(Ordering::Acquire) != self.adopted.generation.0
    }

    #[cold]
    fn try_adopt(&mut self) -> bool {
        let Ok(latest) = self.shared.latest.try_lock().map(|latest| latest.clone()) else { return false };
        self.take(latest)
    }

    fn take(&mut self, latest: Latest<T>) -> bool {
        let old = std::mem::replace(&mut self.adopted, latest);
        self.seen.0.store(self.adopted.generation.0, Ordering::Release);
        !Arc::ptr_eq(&old.snapshot, &self.adopted.snapshot)
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.park();
    }
}

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Self {
        Self { generation: self.generation, snapshot: Arc::clone(&self.snapshot) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_its_snapshot_until_it_adopts() {
        let mut publisher = Publisher::new("a");
        let mut reader = publisher.reader();
        assert!(!reader.adopt());
        publisher.publish("b");
        publisher.publish("c");
        assert_eq!(*reader.current(), "a");
        assert!(reader.adopt());
        assert_eq!((*reader.current(), **publisher.current()), ("c", "c"));
        assert!(!reader.adopt());
    }

    #[test]
    fn a_generation_is_seen_when_the_last_reader_has_adopted_it() {
        let mut publisher = Publisher::new(0);
        let (mut one, mut two) = (publisher.reader(), publisher.reader());
        let generation = publisher.publish(1);
        assert!(!publisher.all_seen(generation));
        one.adopt();
        assert!(!publisher.all_seen(generation));
        two.adopt();
        assert!(publisher.all_seen(generation));
    }

    #[test]
    fn an_advance_is_seen_but_brings_nothing_new() {
        let mut publisher = Publisher::new(0);
        let mut reader = publisher.reader();
        let generation = publisher.advance();
        assert!(!publisher.all_seen(generation));
        assert!(!reader.adopt());
        assert!(publisher.all_seen(generation));
    }

    #[test]
    fn a_new_snapshot_is_new_whatever_advances_surround_it() {
        let mut publisher = Publisher::new(0);
        let mut reader = publisher.reader();
        publisher.advance();
        publisher.publish(1);
        publisher.advance();
        assert!(reader.adopt());
        assert_eq!(*reader.current(), 1);
    }

    #[test]
    fn a_parked_reader_holds_up_nobody_and_returns_up_to_date() {
        let mut publisher = Publisher::new(0);
        let mut reader = publisher.reader();
        reader.park();
        let generation = publisher.publish(1);
        assert!(publisher.all_seen(generation));
        assert!(reader.unpark());
        assert_eq!(*reader.current(), 1);
        assert!(!publisher.all_seen(generation.next()));
        reader.park();
        assert!(!reader.unpark());
    }

    #[test]
    fn a_dropped_reader_holds_up_nobody() {
        let mut publisher = Publisher::new(0);
        let reader = publisher.reader();
        let generation = publisher.publish(1);
        assert!(!publisher.all_seen(generation));
        drop(reader);
        assert!(publisher.all_seen(generation));
        publisher.advance();
        assert!(publisher.readers.is_empty());
    }

    #[test]
    fn snapshots_are_freed_by_the_publisher_and_only_when_nobody_holds_them() {
        let mut publisher = Publisher::new(());
        let (mut one, mut two) = (publisher.reader(), publisher.reader());
        let first = Arc::downgrade(publisher.current());
        publisher.publish(());
        two.park();
        one.adopt();
        publisher.advance();
        assert!(first.upgrade().is_some(), "a parked reader still refers to it");
        two.unpark();
        assert!(first.upgrade().is_some(), "readers do not free");
        publisher.advance();
        assert!(first.upgrade().is_none());
    }
}

#[cfg(all(test, loom))]
mod models {
    use loom::cell::UnsafeCell;
    use loom::thread;

    use super::*;

    /// Something beside the snapshots that a grace period guards: `linked` says that readers may find it.
    struct Guarded {
        linked: AtomicU64,
        /// loom fails the model if a reader's access and the reclaiming are not ordered; the mutex orders nothing
        /// that loom sees, it makes the cell `Sync`.
        memory: std::sync::Mutex<UnsafeCell<()>>,
    }

    impl Guarded {
        fn new() -> Arc<Self> {
            Arc::new(Self { linked: AtomicU64::new(1), memory: std::sync::Mutex::new(UnsafeCell::new(())) })
        }

        fn read(&self) {
            if self.linked.load(Ordering::Acquire) == 1 {
                self.memory.try_lock().unwrap().with(|_| ());
            }
        }

        fn unlink(&self) {
            self.linked.store(0, Ordering::Relaxed);
        }

        fn reclaim(&self) {
            self.memory.try_lock().unwrap().with_mut(|_| ());
        }
    }

    /// A reader does as `reader` says while the publisher reclaims what all have seen unlinked, in some order at least.
    fn model(reader: fn(&mut Reader<u8>, &Guarded)) {
        let reclaimed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ever_reclaimed = std::sync::Arc::clone(&reclaimed);
        loom::model(move || {
            let guarded = Guarded::new();
            let mut publisher = Publisher::new(0);
            let worker = {
                let (mut worker, guarded) = (publisher.reader(), Arc::clone(&guarded));
                thread::spawn(move || reader(&mut worker, &guarded))
            };
            guarded.unlink();
            let generation = publisher.advance();
            if publisher.all_seen(generation) {
                guarded.reclaim();
                reclaimed.store(true, Ordering::Relaxed);
            }
            worker.join().unwrap();
            assert!(publisher.all_seen(generation), "the reader is gone");
        });
        assert!(ever_reclaimed.load(Ordering::Relaxed));
    }

    #[test]
    fn loom_what_all_have_seen_unlinked_is_read_by_nobody() {
        model(|reader, guarded| {
            guarded.read();
            reader.adopt();
            guarded.read();
        });
    }

    #[test]
    fn loom_a_parked_reader_returns_to_what_is_in_force() {
        model(|reader, guarded| {
            guarded.read();
            reader.park();
            reader.unpark();
            guarded.read();
        });
    }

    #[test]
    fn loom_a_parked_reader_has_seen_all_however_often_it_parks() {
        model(|reader, guarded| {
            reader.park();
            reader.unpark();
            guarded.read();
            reader.park();
            reader.unpark();
            guarded.read();
        });
    }

    /// A snapshot that its publisher must free.
    struct Snapshot(u8, thread::ThreadId);

    impl Drop for Snapshot {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1);
        }
    }

    #[test]
    fn loom_readers_go_forward_and_never_free() {
        loom::model(|| {
            let own = thread::current().id();
            let mut publisher = Publisher::new(Snapshot(0, own));
            let mut reader = publisher.reader();
            let worker = thread::spawn(move || {
                let mut last = 0;
                for _ in 0..2 {
                    let fresh = reader.adopt();
                    assert!(if fresh { reader.current().0 > last } else { reader.current().0 == last });
                    last = reader.current().0;
                }
            });
            publisher.publish(Snapshot(1, own));
            publisher.publish(Snapshot(2, own));
            worker.join().unwrap();
        });
    }
}
