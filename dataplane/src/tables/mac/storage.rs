//! Where the buckets of a MAC table live.

use std::ops::Deref;

use super::Bucket;
use crate::sys::hints;

/// Buckets on the heap of this process, on large pages where the kernel has them.
#[derive(Debug)]
pub struct Buckets(Vec<Bucket>);

impl Buckets {
    /// Empty buckets for `macs` stations: four slots for each, rounded up to a power of two, which refuses about
    /// none of a million. 64 bytes a station, up to twice that by the rounding.
    pub fn for_macs(macs: usize) -> Self {
        Self::new(macs.next_power_of_two())
    }

    /// Buckets that hold what these hold.
    pub(super) fn copy_of(buckets: &[Bucket]) -> Self {
        let copy = Self::new(buckets.len());
        buckets.iter().zip(&copy.0).for_each(|(from, to)| from.copy_to(to));
        copy
    }

    fn new(count: usize) -> Self {
        let mut buckets = hints::on_large_pages(count.max(MINIMUM));
        buckets.resize_with(buckets.capacity(), Bucket::default);
        Self(buckets)
    }
}

impl Deref for Buckets {
    type Target = [Bucket];

    fn deref(&self) -> &[Bucket] {
        &self.0
    }
}

/// A key has two buckets.
const MINIMUM: usize = 2;

/// Why storage cannot hold a MAC table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a MAC table of {0} buckets: give it a power of two from 2 to 2^32")]
pub struct BadStorage(pub usize);

/// The number of buckets in `storage`, less one: the mask of a bucket's number.
pub(super) fn mask(storage: &[Bucket]) -> Result<u32, BadStorage> {
    let count = storage.len();
    let mask = u32::try_from(count.wrapping_sub(1)).map_err(|_| BadStorage(count))?;
    if count.is_power_of_two() && count >= MINIMUM { Ok(mask) } else { Err(BadStorage(count)) }
}
