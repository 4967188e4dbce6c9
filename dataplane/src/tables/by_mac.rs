//! A compiled table by MAC address: open-addressed buckets of a cache line, about half full, and never written to again.

use crate::ids::MacAddr;
use crate::sys::hints;

/// Values by address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ByMac<V> {
    buckets: Box<[Bucket<V>]>, // a power of two of them
    shift: u32,
    factor: u64,
}

/// An address and the bucket that it is in, or in one of those that follow: computed once a frame, then prefetched and looked
/// up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacSpot {
    key: u64, // the address as a number
    bucket: u32,
}

/// Pairs in a bucket of a line.
const PAIRS: usize = 4;

/// Pairs from the first on; no address is zero, which marks the place as free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(64))]
struct Bucket<V> {
    keys: [u64; PAIRS],
    values: [Option<V>; PAIRS],
}

impl<V: Copy> Bucket<V> {
    const EMPTY: Self = Self { keys: [0; PAIRS], values: [None; PAIRS] };

    /// The value of `key`, if it is here. All places are compared and one branch is taken: which place it is cannot be foretold.
    #[inline]
    fn get(&self, key: u64) -> Option<V> {
        let hits = self.keys.iter().rev().fold(0, |hits: u32, &other| hits << 1 | u32::from(other == key));
        if hits == 0 { None } else { self.values[hits.trailing_zeros() as usize % PAIRS] }
    }

    fn is_full(&self) -> bool {
        self.keys[PAIRS - 1] != 0
    }
}

impl<V: Copy> ByMac<V> {
    /// Odd numbers to multiply by, the first of them 2^64 divided by the golden ratio (Knuth, volume 3, §6.4), the others for
    /// sets of addresses that this one does not spread well.
    const FACTORS: [u64; 4] =
        [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
    /// Buckets in a row that are worth a larger table, and how much larger it may get for that.
    const LONG: usize = 2;
    const GROWTHS: u32 = 2;

    /// These; of two with one address the first stays, and what has none (the address zero) is not to be found.
    pub(super) fn new(pairs: impl IntoIterator<Item = (MacAddr, V)>) -> Self {
        let pairs: Vec<_> = pairs.into_iter().filter(|(mac, _)| !mac.is_zero()).collect();
        let least = (pairs.len() * 2).div_ceil(PAIRS).next_power_of_two();
        let sizes = (0..=Self::GROWTHS).map(|growth| least << growth);
        let mut tries = sizes.flat_map(|size| Self::FACTORS.map(|factor| (size, factor)));
        let near = tries.find_map(|(size, factor)| Self::filled(&pairs, size, factor, Self::LONG));
        let anywhere = || Self::filled(&pairs, least, Self::FACTORS[0], least);
        near.or_else(anywhere).expect("half of the places are free")
    }

    /// A table of so many buckets, unless an address would be further from its own than `longest`.
    fn filled(pairs: &[(MacAddr, V)], buckets: usize, factor: u64, longest: usize) -> Option<Self> {
        let shift = u64::BITS - buckets.trailing_zeros().max(1);
        let mut empty = hints::on_large_pages(buckets.max(2));
        empty.resize(buckets.max(2), Bucket::EMPTY);
        let mut table = Self { buckets: empty.into(), shift, factor };
        for &(mac, value) in pairs {
            let spot = table.locate(mac);
            if table.find(spot).is_some() {
                continue;
            }
            let near = (0..longest).map(|step| spot.step(step, table.buckets.len()));
            let place = near.into_iter().find_map(|bucket| {
                let free = table.buckets[bucket].keys.iter().position(|&key| key == 0)?;
                Some((bucket, free))
            });
            let (bucket, free) = place?;
            let bucket = &mut table.buckets[bucket];
            (bucket.keys[free], bucket.values[free]) = (spot.key, Some(value));
        }
        Some(table)
    }

    /// Where `mac` is, if it is anywhere.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 2^32 buckets")]
    pub(super) fn locate(&self, mac: MacAddr) -> MacSpot {
        let key = mac.bits();
        MacSpot { key, bucket: (key.wrapping_mul(self.factor) >> self.shift) as u32 }
    }

    /// Starts to bring the bucket of `spot` closer.
    #[inline]
    pub(super) fn prefetch(&self, spot: MacSpot) {
        hints::prefetch(&self.buckets[spot.bucket as usize]);
    }

    /// What the address has.
    #[inline]
    pub(super) fn find(&self, spot: MacSpot) -> Option<V> {
        for step in 0..self.buckets.len() {
            let bucket = &self.buckets[spot.step(step, self.buckets.len())];
            let found = bucket.get(spot.key);
            if found.is_some() || !bucket.is_full() {
                return found;
            }
        }
        None
    }

    /// The same, to be changed before the table is anybody's.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.buckets.iter_mut().flat_map(|bucket| &mut bucket.values).flatten()
    }

    /// All of them, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = V> {
        self.buckets.iter().flat_map(|bucket| bucket.values).flatten()
    }
}

impl MacSpot {
    /// The bucket so many after its own, of a power of two of them.
    #[inline]
    fn step(self, step: usize, buckets: usize) -> usize {
        (self.bucket as usize + step) & (buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_in_a_row_are_never_far_from_their_bucket() {
        for (count, stride) in [(0, 1), (1, 1), (65_535, 1), (65_535, 256), (4096, 0x0001_0000_0001)] {
            let mac = |n: u64| MacAddr::from_bits(0x0200_0000_0001 + n * stride);
            let table = ByMac::new((0..count).map(|n| (mac(n), n)));
            assert!((0..count).all(|n| table.find(table.locate(mac(n))) == Some(n)));
            assert_eq!(table.find(table.locate(mac(count))), None);
            assert_eq!(table.values().count() as u64, count);
            assert!(table.buckets.len() as u64 <= count.next_power_of_two().max(2) * 2);
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map(pairs in proptest::collection::btree_map(1u64..200, any::<u16>(), 0..100)) {
            let mac = MacAddr::from_bits;
            let table = ByMac::new(pairs.iter().map(|(&bits, &value)| (mac(bits), value)));
            let pairs: BTreeMap<_, _> = pairs;
            for bits in 0..200 {
                prop_assert_eq!(table.find(table.locate(mac(bits))), pairs.get(&bits).copied(), "{}", bits);
            }
        }
    }
}
