//! What ties a port on files to whoever turns the clock: when its next record is due, and what went wrong.

use std::fmt;
use std::sync::PoisonError;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering::Relaxed};

/// A handle on both; two are equal if they are handles on the same.
#[derive(Clone)]
pub struct Pace(Arc<State>);

struct State {
    next: AtomicU64, // the port writes, control reads
    read: AtomicU64, // the port writes, control reads
    trouble: Mutex<Option<String>>,
}

/// No record is due, ever.
const NEVER: u64 = u64::MAX;

impl Default for Pace {
    fn default() -> Self {
        let (next, read) = (AtomicU64::new(NEVER), AtomicU64::new(0));
        Self(Arc::new(State { next, read, trouble: Mutex::new(None) }))
    }
}

impl Pace {
    /// When the next record is due, in nanoseconds since 1970; `None` at the end of the file.
    pub fn next(&self) -> Option<u64> {
        Some(self.0.next.load(Relaxed)).filter(|next| *next != NEVER)
    }

    /// Bytes of the file that have been read.
    pub fn read(&self) -> u64 {
        self.0.read.load(Relaxed)
    }

    /// What went wrong first since this was last asked: what was read or written no further, and why.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn set(&self, next: Option<u64>, read: u64) {
        self.0.next.store(next.map_or(NEVER, |next| next.min(NEVER - 1)), Relaxed);
        self.0.read.store(read, Relaxed);
    }

    pub(super) fn tell(&self, trouble: &str) {
        let mut told = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        told.get_or_insert_with(|| trouble.to_owned());
    }
}

impl PartialEq for Pace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Pace {}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("next", &self.next()).field("read", &self.read()).finish()
    }
}
