//! A bounded ring of byte records between two threads: the sender copies in, the receiver copies out.
//!
//! The words of a record are relaxed atomics, so that every access is defined whatever the other side does; the two
//! cursors order them. A cursor counts words since the beginning, modulo the machine word.

use std::iter::zip;

use crate::sync::{Arc, AtomicU64, AtomicUsize, Ordering};

/// A ring of at least `bytes` bytes. A record takes the bytes it has, rounded up to eight, and 24 more.
pub fn ring(bytes: usize) -> (Sender, Receiver) {
    let words = bytes.div_ceil(WORD).next_power_of_two();
    let words = std::iter::repeat_with(AtomicU64::default).take(words).collect();
    let shared = Arc::new(Shared { written: Cursor::default(), read: Cursor::default(), words });
    let sender = Sender { shared: Arc::clone(&shared), written: 0, flushed: 0, read: 0 };
    (sender, Receiver { shared, read: 0, written: 0 })
}

/// The ring has no room for a record, now or ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the ring is full")]
pub struct Full;

/// The end that records go into.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    written: usize,
    flushed: usize,
    /// The receiver's cursor when last looked at.
    read: usize,
}

/// The end that records come out of.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    read: usize,
    /// The sender's cursor when last looked at.
    written: usize,
}

/// A record without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Two words that the sender chose.
    pub meta: [u64; 2],
    /// How many bytes there are.
    pub len: usize,
}

/// A place between two records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark(usize);

impl Sender {
    /// Appends a record, whole or not at all. The receiver sees it after [`Self::flush`].
    ///
    /// # Errors
    /// If it has no room, which a record larger than the ring never has.
    #[inline]
    pub fn push(&mut self, meta: [u64; 2], bytes: &[u8]) -> Result<(), Full> {
        let words = record_words(bytes.len());
        if words > self.room() {
            self.read = self.shared.read.0.load(Ordering::Acquire);
            if words > self.room() {
                return Err(Full);
            }
        }
        for (offset, word) in [meta[0], meta[1], bytes.len() as u64].into_iter().enumerate() {
            self.shared.word(self.written.wrapping_add(offset)).store(word, Ordering::Relaxed);
        }
        self.shared.write(self.written.wrapping_add(HEADER), bytes);
        self.written = self.written.wrapping_add(words);
        Ok(())
    }

    /// Shows the receiver all records pushed so far; whether there were new ones.
    #[inline]
    pub fn flush(&mut self) -> bool {
        let news = self.flushed != self.written;
        if news {
            self.shared.written.0.store(self.written, Ordering::Release);
            self.flushed = self.written;
        }
        news
    }

    /// Free words, as far as is known.
    fn room(&self) -> usize {
        self.shared.words.len() - self.written.wrapping_sub(self.read)
    }
}

impl Receiver {
    /// The oldest record, which stays where it is.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the length was a usize")]
    pub fn peek(&mut self) -> Option<Record> {
        if self.read == self.written {
            self.written = self.shared.written.0.load(Ordering::Acquire);
            if self.read == self.written {
                return None;
            }
        }
        let [first, second, len] = std::array::from_fn(|offset| {
            self.shared.word(self.read.wrapping_add(offset)).load(Ordering::Relaxed)
        });
        Some(Record { meta: [first, second], len: len as usize })
    }

    /// Takes the oldest record, if there is one, and copies its bytes to `bytes`: as many as both have.
    #[inline]
    pub fn pop_into(&mut self, bytes: &mut [u8]) {
        let Some(record) = self.peek() else { return };
        let len = record.len.min(bytes.len());
        self.shared.read(self.read.wrapping_add(HEADER), &mut bytes[..len]);
        self.release(record);
    }

    /// Takes the oldest record, if there is one, and forgets it.
    #[inline]
    pub fn skip(&mut self) {
        if let Some(record) = self.peek() {
            self.release(record);
        }
    }

    /// The end of what the sender has shown by now.
    pub fn mark(&self) -> Mark {
        Mark(self.shared.written.0.load(Ordering::Acquire))
    }

    /// Whether every record before `mark` has been taken.
    pub fn has_passed(&self, mark: Mark) -> bool {
        mark.0.wrapping_sub(self.read).cast_signed() <= 0
    }

    /// Gives the record's room back.
    fn release(&mut self, record: Record) {
        self.read = self.read.wrapping_add(record_words(record.len));
        self.shared.read.0.store(self.read, Ordering::Release);
    }
}

const WORD: usize = size_of::<u64>();
/// Words before a record's bytes: its metadata and its length.
const HEADER: usize = 3;

fn record_words(len: usize) -> usize {
    HEADER + len.div_ceil(WORD)
}

#[derive(Debug)]
struct Shared {
    written: Cursor, // the sender writes: all words before it are the receiver's
    read: Cursor,    // the receiver writes: all words before it are the sender's again
    words: Box<[AtomicU64]>,
}

/// A count of words, on a cache line (and its pair, which the prefetcher fetches with it) of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cursor(AtomicUsize);

impl Shared {
    fn write(&self, at: usize, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks();
        let (until_end, from_start) = self.runs(at);
        let (first, second) = whole.split_at(whole.len().min(until_end.len()));
        let copy = |(word, bytes): (&AtomicU64, &[u8; WORD])| {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        };
        zip(until_end, first).for_each(copy);
        zip(from_start, second).for_each(copy);
        if !rest.is_empty() {
            let mut last = [0; WORD];
            last[..rest.len()].copy_from_slice(rest);
            self.word(at.wrapping_add(whole.len())).store(u64::from_ne_bytes(last), Ordering::Relaxed);
        }
    }

    fn read(&self, at: usize, bytes: &mut [u8]) {
        let (whole, rest) = bytes.as_chunks_mut();
        let (until_end, from_start) = self.runs(at);
        let (first, second) = whole.split_at_mut(whole.len().min(until_end.len()));
        let copy = |(word, bytes): (&AtomicU64, &mut [u8; WORD])| {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        };
        zip(until_end, first).for_each(copy);
        zip(from_start, second).for_each(copy);
        if !rest.is_empty() {
            let last = self.word(at.wrapping_add(whole.len())).load(Ordering::Relaxed).to_ne_bytes();
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }

    /// The words from `at` on, and those that follow when the ring wraps.
    fn runs(&self, at: usize) -> (&[AtomicU64], &[AtomicU64]) {
        let (from_start, until_end) = self.words.split_at(self.index(at));
        (until_end, from_start)
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words[self.index(at)]
    }

    /// Where the word that a cursor counts is; there is a power of two of them.
    #[inline]
    fn index(&self, at: usize) -> usize {
        at & (self.words.len() - 1)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::VecDeque;
    use std::thread;

    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    fn pop(receiver: &mut Receiver) -> Option<([u64; 2], Vec<u8>)> {
        let Record { meta, len } = receiver.peek()?;
        let mut bytes = vec![0xee; len];
        receiver.pop_into(&mut bytes);
        Some((meta, bytes))
    }

    #[test]
    fn records_are_seen_after_a_flush() {
        let (mut sender, mut receiver) = ring(256);
        sender.push([1, 2], b"frame").unwrap();
        assert_eq!(receiver.peek(), None);
        assert!(sender.flush());
        assert!(!sender.flush());
        assert_eq!(receiver.peek(), Some(Record { meta: [1, 2], len: 5 }));
        assert_eq!(pop(&mut receiver), Some(([1, 2], b"frame".to_vec())));
        assert_eq!(receiver.peek(), None);
    }

    #[test]
    fn what_does_not_fit_leaves_no_trace() {
        let (mut sender, mut receiver) = ring(64);
        assert_eq!(sender.push([0; 2], &[0; 41]), Err(Full));
        sender.push([1; 2], &[1; 8]).unwrap();
        assert_eq!(sender.push([2; 2], &[2; 9]), Err(Full));
        sender.push([3; 2], &[3; 8]).unwrap();
        assert_eq!(sender.push([4; 2], &[]), Err(Full));
        sender.flush();
        assert_eq!(pop(&mut receiver), Some(([1; 2], vec![1; 8])));
        sender.push([5; 2], &[5; 7]).unwrap();
        sender.flush();
        assert_eq!(pop(&mut receiver), Some(([3; 2], vec![3; 8])));
        assert_eq!(pop(&mut receiver), Some(([5; 2], vec![5; 7])));
        sender.push([6; 2], &[6; 40]).unwrap();
    }

    #[test]
    fn a_mark_is_passed_when_all_that_was_there_has_been_taken() {
        let (mut sender, mut receiver) = ring(256);
        assert!(receiver.has_passed(receiver.mark()));
        (0..2).for_each(|meta| sender.push([meta; 2], b"frame").unwrap());
        sender.flush();
        let mark = receiver.mark();
        sender.push([2; 2], b"later").unwrap();
        sender.flush();
        receiver.skip();
        assert!(!receiver.has_passed(mark));
        receiver.skip();
        assert!(receiver.has_passed(mark));
        receiver.skip();
        assert!(receiver.has_passed(mark));
    }

    #[test]
    fn a_record_is_taken_in_part_or_not_at_all() {
        let (mut sender, mut receiver) = ring(256);
        for meta in 0..3 {
            sender.push([meta; 2], b"0123456789").unwrap();
        }
        sender.flush();
        let (mut short, mut long) = ([0; 9], [0; 12]);
        receiver.pop_into(&mut short);
        receiver.skip();
        receiver.pop_into(&mut long);
        assert_eq!((&short, &long), (b"012345678", b"0123456789\0\0"));
        receiver.skip();
        assert_eq!(receiver.peek(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push([u64; 2], Vec<u8>),
        Flush,
        Pop,
        Skip,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<[u64; 2]>(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(meta, bytes)| Step::Push(meta, bytes)),
            2 => Just(Step::Flush),
            2 => Just(Step::Pop),
            1 => Just(Step::Skip),
        ]
    }

    proptest! {
        #![proptest_config(Config {
            cases: if cfg!(miri) { 4 } else { 512 },
            failure_persistence: None,
            ..Config::default()
        })]

        #[test]
        fn behaves_like_a_bounded_queue(size in 1usize..300, steps in prop::collection::vec(step(), 0..200)) {
            let (mut sender, mut receiver) = ring(size);
            let capacity = size.div_ceil(8).next_power_of_two();
            let words = |queue: &VecDeque<([u64; 2], Vec<u8>)>| -> usize {
                queue.iter().map(|(_, bytes)| 3 + bytes.len().div_ceil(8)).sum()
            };
            let (mut pushed, mut visible) = (VecDeque::new(), VecDeque::new());
            for step in steps {
                match step {
                    Step::Push(meta, bytes) => {
                        let result = sender.push(meta, &bytes);
                        pushed.push_back((meta, bytes));
                        let fits = words(&pushed) + words(&visible) <= capacity;
                        prop_assert_eq!(result.is_ok(), fits);
                        if !fits {
                            pushed.pop_back();
                        }
                    }
                    Step::Flush => {
                        prop_assert_eq!(sender.flush(), !pushed.is_empty());
                        visible.append(&mut pushed);
                    }
                    Step::Pop => prop_assert_eq!(pop(&mut receiver), visible.pop_front()),
                    Step::Skip => {
                        receiver.skip();
                        visible.pop_front();
                    }
                }
                let next = visible.front().map(|(meta, bytes)| Record { meta: *meta, len: bytes.len() });
                prop_assert_eq!(receiver.peek(), next);
            }
        }
    }

    /// Tries again until it comes true; the other thread must let it, long before the bound.
    fn eventually(mut attempt: impl FnMut() -> bool) {
        let came = (0..100_000_000).any(|_| {
            attempt() || {
                thread::yield_now();
                false
            }
        });
        assert!(came, "the other side has stopped");
    }

    #[test]
    fn two_threads_lose_and_mix_up_nothing() {
        let records: u64 = if cfg!(miri) { 200 } else { 200_000 };
        let record = |number: u64| {
            vec![number.to_le_bytes()[0]; usize::from(number.wrapping_mul(0x9e37_79b9).to_le_bytes()[3])]
        };
        let (mut sender, mut receiver) = ring(2048);
        thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..records {
                    let bytes = record(number);
                    eventually(|| {
                        let pushed = sender.push([number, !number], &bytes).is_ok();
                        if !pushed || number % 7 == 0 {
                            sender.flush();
                        }
                        pushed
                    });
                }
                sender.flush();
            });
            for number in 0..records {
                eventually(|| receiver.peek().is_some());
                assert_eq!(pop(&mut receiver), Some(([number, !number], record(number))));
            }
        });
        assert_eq!(receiver.peek(), None);
    }
}

#[cfg(all(test, loom))]
mod models {
    use std::sync::Mutex;

    use loom::cell::UnsafeCell;
    use loom::thread;

    use super::*;

    /// The ring has room for one record of two words and a bit of the next, so that records wrap and one of the
    /// sides is always near its limit; what is not pushed is lost, but what comes is whole and in order.
    #[test]
    fn loom_records_arrive_whole_and_in_order_around_the_end() {
        loom::model(|| {
            let (mut sender, mut receiver) = ring(64);
            let producer = thread::spawn(move || {
                let mut pushed = 0;
                for number in 1..=3u8 {
                    pushed += u64::from(sender.push([pushed + 1, 7], &[number; 9]).is_ok());
                    sender.flush();
                }
                pushed
            });
            let mut taken = 0;
            let mut take = || {
                let Some(record) = receiver.peek() else { return false };
                taken += 1;
                let mut bytes = [0; 9];
                receiver.pop_into(&mut bytes);
                assert_eq!(record, Record { meta: [taken, 7], len: 9 });
                assert!(bytes.iter().all(|byte| *byte == bytes[0] && u64::from(*byte) >= taken));
                true
            };
            take();
            take();
            let pushed = producer.join().unwrap();
            while take() {}
            assert_eq!(taken, pushed);
        });
    }

    /// loom cannot let a relaxed load see a later store, so that who owns the words is shown on a cell that the same
    /// two cursors hand to and fro; the mutex makes it `Sync` and orders nothing that loom sees.
    #[test]
    fn loom_a_record_and_its_room_change_hands() {
        loom::model(|| {
            let (mut sender, mut receiver) = ring(32);
            let written = Arc::new(Mutex::new(UnsafeCell::new(())));
            let read = Arc::clone(&written);
            let producer = thread::spawn(move || {
                for _ in 0..2 {
                    if sender.push([0; 2], &[0; 8]).is_ok() {
                        written.try_lock().unwrap().with_mut(|_| ());
                        sender.flush();
                    }
                }
            });
            for _ in 0..2 {
                if receiver.peek().is_some() {
                    read.try_lock().unwrap().with(|_| ());
                    receiver.skip();
                }
            }
            producer.join().unwrap();
        });
    }
}
