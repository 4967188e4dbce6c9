//! The Internet checksum (RFC 1071): sums, pseudo-headers, and completing one that an offload left undone.

use super::{IpProtocol, Malformed, put_u16};

/// A one's-complement sum of big-endian 16-bit words. It is zero only if every word was, so 0xffff
/// is the zero that a sum of something folds to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum(u16);

impl Sum {
    /// The sum of `bytes`; an odd last byte counts as the high half of a word.
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        // The sum is the same in any byte order (RFC 1071 §2 B): words are taken as they lie in memory,
        // in 32-bit halves, so that carries gather in the top of the accumulator and the loop vectorises.
        let (words, rest) = bytes.as_chunks();
        let (pairs, odd) = rest.as_chunks();
        let halves = |word: &[u8; 8]| {
            let word = u64::from_ne_bytes(*word);
            (word >> 32) + (word & 0xffff_ffff)
        };
        let mut sum: u64 = words.iter().map(halves).sum();
        sum += pairs.iter().map(|pair| u64::from(u16::from_ne_bytes(*pair))).sum::<u64>();
        sum += odd.first().map_or(0, |&high| u64::from(u16::from_ne_bytes([high, 0])));
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        Self(u16::from_be((sum & 0xffff) as u16))
    }

    /// The sum itself, folded but not complemented: what a partial checksum field holds.
    pub const fn folded(self) -> u16 {
        self.0
    }

    /// What a checksum field must hold for these words, with the field taken as zero.
    pub const fn checksum(self) -> u16 {
        !self.0
    }

    /// As [`checksum`](Self::checksum), but never 0: where 0 says "no checksum" (RFC 768), its other
    /// representation, 0xffff. For every protocol, as the kernel does: a receiver finds both right.
    pub const fn checksum_not_zero(self) -> u16 {
        if self.checksum() == 0 { 0xffff } else { self.checksum() }
    }

    /// Whether words that include their checksum, and its pseudo-header if it has one, are intact.
    pub const fn is_intact(self) -> bool {
        self.checksum() == 0
    }
}

impl std::ops::Add for Sum {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        let (sum, carry) = self.0.overflowing_add(other.0);
        Self(sum.wrapping_add(u16::from(carry)))
    }
}

impl std::ops::Add<u16> for Sum {
    type Output = Self;

    #[inline]
    fn add(self, word: u16) -> Self {
        self + Self(word)
    }
}

impl<const N: usize> std::ops::Add<[u16; N]> for Sum {
    type Output = Self;

    /// All of them, with their carries at the end.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "what is left of so few words")]
    fn add(self, words: [u16; N]) -> Self {
        const { assert!(N < 0x8000, "their carries fit half a word") }
        let sum = words.iter().fold(u32::from(self.0), |sum, word| sum + u32::from(*word));
        let sum = (sum & 0xffff) + (sum >> 16);
        Self((sum + (sum >> 16)) as u16)
    }
}

/// What a checksum becomes when words that it covers change from `old` to `new` (RFC 1624 equation 3). It stays wrong if it was.
/// Of words that are not all zero it is what a full computation gives.
#[inline]
pub fn updated(checksum: u16, old: Sum, new: Sum) -> u16 {
    (Sum(!checksum) + Sum(!old.0) + new).checksum()
}

/// The sum of a pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1). `addresses` is source and destination
/// as they follow one another in an IPv4 or IPv6 header, `len` the bytes of the transport.
#[inline]
pub fn pseudo_header(addresses: &[u8], protocol: IpProtocol, len: u16) -> Sum {
    Sum::of(addresses) + u16::from(protocol.0) + len
}

/// Completes a checksum as `virtio_net_hdr` describes it: the field at `start + offset` holds the
/// folded pseudo-header sum; it is replaced by the complement of the sum from `start` to the end of
/// `frame`, 0 becoming 0xffff. Pass a shorter slice to end the sum earlier.
///
/// # Errors
/// [`Malformed::ChecksumOffset`] if the field does not lie in `frame`; nothing is changed.
#[inline]
pub fn complete(frame: &mut [u8], start: usize, offset: usize) -> Result<(), Malformed> {
    let covered = frame.get_mut(start..).ok_or(Malformed::ChecksumOffset)?;
    let checksum = Sum::of(covered).checksum_not_zero();
    put_u16(covered, offset, checksum).ok_or(Malformed::ChecksumOffset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use proptest::prelude::*;

    /// As RFC 1071 §1 words it.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn example_of_rfc_1071_sums_to_ddf2() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).folded(), 0xddf2);
        assert_eq!(Sum::of(&bytes).checksum(), 0x220d);
    }

    #[test]
    fn largest_frames_do_not_overflow() {
        let bytes = vec![0xff; if cfg!(miri) { 1 << 10 } else { 1 << 20 }];
        assert_eq!(Sum::of(&bytes).folded(), 0xffff);
        assert_eq!(Sum::of(&[]).folded(), 0);
    }

    #[test]
    fn zero_is_written_as_ffff() {
        // The words after the field sum to 0xffff with the pseudo-header sum in it: the checksum is 0.
        let mut frame = [0xaa, 0x12, 0x34, 0xed, 0xcb];
        complete(&mut frame, 1, 0).unwrap();
        assert_eq!(frame, [0xaa, 0xff, 0xff, 0xed, 0xcb]);
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn sum_equals_the_naive_one(bytes in prop::collection::vec(any::<u8>(), 0..600), skip in 0..8usize) {
            let bytes = bytes.get(skip..).unwrap_or(&[]);
            prop_assert_eq!(Sum::of(bytes).folded(), naive(bytes));
        }

        #[test]
        fn sums_of_parts_add_up(words in prop::collection::vec(any::<[u8; 2]>(), 0..40), at in 0..40usize) {
            let bytes = words.as_flattened();
            let (a, b) = bytes.split_at((at * 2).min(bytes.len()));
            prop_assert_eq!((Sum::of(a) + Sum::of(b)).folded(), naive(bytes));
        }

        #[test]
        fn completed_sum_is_intact(
            frame in prop::collection::vec(any::<u8>(), 2..200),
            start in 0..100usize,
            word in 0..60usize,
        ) {
            let (mut frame, offset) = (frame, word * 2);
            let before = frame.clone();
            let fits = start + offset + 2 <= frame.len();
            prop_assert_eq!(complete(&mut frame, start, offset).is_ok(), fits);
            if fits {
                // The sum now falls short of zero by what stood in the field: the pseudo-header.
                let field = start + offset;
                let pseudo = Sum::of(&before[field..field + 2]);
                prop_assert!((Sum::of(&frame[start..]) + pseudo).is_intact());
                frame[field..field + 2].copy_from_slice(&before[field..field + 2]);
            }
            prop_assert_eq!(frame, before);
        }
    }
}
