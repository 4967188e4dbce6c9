//! Fragmentation of IPv4 packets (RFC 791 §2.3, §3.2), into the same fragments as the kernel's (`ip_do_fragment`), and of IPv6 packets of our own
//! (RFC 8200 §4.5; `ip6_fragment`).

use super::ipv4::{self, Ipv4, MORE_FRAGMENTS, OFFSET_MASK};
use super::ipv6::{self, Ipv6};
use super::put_u16;
use super::reassembly::{FRAGMENT_HEADER_LEN, UNIT};

/// Why a packet is not fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotFragmented {
    /// It says so itself: its sender is to be told the MTU (RFC 1191).
    #[error("DF is set")]
    DontFragment,
    /// The MTU has no room for its header and eight bytes of payload, or is below the 68 bytes that every link carries (RFC 791 §3.2).
    #[error("an MTU of {0}")]
    Mtu(u16),
    /// That is no packet, or one whose fragments lie beyond the longest packet.
    #[error("no packet that has fragments")]
    Packet,
}

/// A packet about to be fragmented. A fragment is fragmented as the packet that it is of would have been.
#[derive(Clone, Copy, Debug)]
pub struct Fragmenter<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    size: usize, // a multiple of 8, not zero
    offset: u16, // of the packet itself, in units of 8 bytes
    more_follow: bool,
}

impl<'a> Fragmenter<'a> {
    /// Prepares to fragment the packet at the start of `bytes` to at most `mtu` bytes each. Its checksums must be complete: what a
    /// device completes is a whole segment.
    ///
    /// # Errors
    /// If it may not be fragmented, or not to this size.
    pub fn new(bytes: &'a [u8], mtu: u16) -> Result<Self, NotFragmented> {
        let packet = Ipv4::view(bytes).map_err(|_| NotFragmented::Packet)?;
        let (header, _) = bytes.split_at_checked(packet.header_len()).ok_or(NotFragmented::Packet)?;
        let word = packet.fragment_word();
        if packet.dont_fragment() {
            return Err(NotFragmented::DontFragment);
        }
        let size = usize::from(mtu).saturating_sub(header.len()) / UNIT * UNIT;
        if mtu < ipv4::MIN_MTU || size == 0 {
            return Err(NotFragmented::Mtu(mtu));
        }
        let offset = word & OFFSET_MASK;
        let last = usize::from(offset) + packet.payload().len() / UNIT;
        if last > usize::from(OFFSET_MASK) {
            return Err(NotFragmented::Packet);
        }
        let more_follow = word & MORE_FRAGMENTS != 0;
        Ok(Self { header, payload: packet.payload(), size, offset, more_follow })
    }

    /// How many fragments there are, at least one.
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.size).max(1)
    }

    /// Bytes in the longest of them.
    pub fn longest(&self) -> usize {
        self.header.len() + self.payload.len().min(self.size)
    }

    /// Writes fragment `n`, counted from 0, at the start of `out` and returns its length. `None` if there is no such fragment, or if
    /// `out` is shorter than it.
    pub fn write(&self, n: usize, out: &mut [u8]) -> Option<usize> {
        const TOTAL_LEN: usize = 2;
        const FRAGMENT_WORD: usize = 6;
        if n >= self.count() {
            return None;
        }
        let start = n * self.size;
        let payload = self.payload.get(start..self.payload.len().min(start + self.size))?;
        let fragment = out.get_mut(..self.header.len() + payload.len())?;
        let len = u16::try_from(fragment.len()).ok()?;
        let (header, body) = fragment.split_at_mut_checked(self.header.len())?;
        header.copy_from_slice(self.header);
        body.copy_from_slice(payload);

        let is_last = n + 1 == self.count();
        let more = if is_last && !self.more_follow { 0 } else { MORE_FRAGMENTS };
        let offset = self.offset + u16::try_from(start / UNIT).ok()?;
        put_u16(header, TOTAL_LEN, len)?;
        put_u16(header, FRAGMENT_WORD, more | offset)?;
        // The kernel takes those of a later fragment for blanked already.
        if n > 0 && self.offset == 0 {
            blank_options(&self.header[ipv4::HEADER_LEN..], &mut header[ipv4::HEADER_LEN..]);
        }
        ipv4::seal(header)?;
        Some(fragment.len())
    }
}

/// An IPv6 packet about to be fragmented by whoever sends it. It has no extension headers: all behind the fixed one is cut.
#[derive(Clone, Copy, Debug)]
pub struct FragmenterIpv6<'a> {
    header: &'a [u8; ipv6::HEADER_LEN],
    payload: &'a [u8],
    size: usize, // a multiple of 8, not zero
    identification: u32,
}

impl<'a> FragmenterIpv6<'a> {
    const HEADERS: usize = ipv6::HEADER_LEN + FRAGMENT_HEADER_LEN;

    /// Prepares to fragment the packet at the start of `bytes` to at most `mtu` bytes each.
    ///
    /// # Errors
    /// If it cannot be fragmented, or not to this size.
    pub fn new(bytes: &'a [u8], mtu: u16, identification: u32) -> Result<Self, NotFragmented> {
        let packet = Ipv6::view(bytes).map_err(|_| NotFragmented::Packet)?;
        let header = bytes.first_chunk().ok_or(NotFragmented::Packet)?;
        let size = usize::from(mtu).saturating_sub(Self::HEADERS) / UNIT * UNIT;
        if size == 0 {
            return Err(NotFragmented::Mtu(mtu));
        }
        Ok(Self { header, payload: packet.payload(), size, identification })
    }

    /// How many fragments there are, at least one.
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.size).max(1)
    }

    /// Bytes in the longest of them.
    pub fn longest(&self) -> usize {
        Self::HEADERS + self.payload.len().min(self.size)
    }

    /// Writes fragment `n`, counted from 0, at the start of `out` and returns its length. `None` if there is no such fragment, or if
    /// `out` is shorter than it.
    pub fn write(&self, n: usize, out: &mut [u8]) -> Option<usize> {
        const NEXT_HEADER: usize = 6;
        if n >= self.count() {
            return None;
        }
        let start = n * self.size;
        let payload = self.payload.get(start..self.payload.len().min(start + self.size))?;
        let packet = out.get_mut(..Self::HEADERS + payload.len())?;
        let (header, rest) = packet.split_first_chunk_mut::<{ ipv6::HEADER_LEN }>()?;
        *header = *self.header;
        header[NEXT_HEADER] = ipv6::FRAGMENT.0;
        let (fragment, body) = rest.split_first_chunk_mut::<FRAGMENT_HEADER_LEN>()?;
        let more = u16::from(n + 1 < self.count());
        let [high, low] = (u16::try_from(start).ok()? | more).to_be_bytes();
        let [a, b, c, d] = self.identification.to_be_bytes();
        *fragment = [self.header[NEXT_HEADER], 0, high, low, a, b, c, d];
        body.copy_from_slice(payload);
        ipv6::relabel(packet)?;
        Some(packet.len())
    }
}

/// Options of which only the first fragment has a copy become no-operations, so that all headers are of one length
/// (`ip_options_fragment`). `original` are the options as they were.
fn blank_options(original: &[u8], options: &mut [u8]) {
    const COPIED: u8 = 0x80;
    let whole = ipv4::options(original).filter_map(|(offset, option)| Some((offset, option?)));
    for (offset, option) in whole.filter(|(_, option)| option[0] & COPIED == 0) {
        options[offset..][..option.len()].fill(ipv4::NO_OPERATION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::{IpFragOffset, IpNumber, Ipv4Header};
    use proptest::prelude::*;

    fn packet(options: &[u8], payload: &[u8], change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
        let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
        (header.identification, header.dont_fragment) = (0x1234, false);
        header.options = options.try_into().unwrap();
        header.set_payload_len(payload.len()).unwrap();
        change(&mut header);
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes()[..], payload].concat()
    }

    fn fragments(bytes: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let fragmenter = Fragmenter::new(bytes, mtu).unwrap();
        let mut out = vec![0xa5; fragmenter.longest()];
        let write = |n| fragmenter.write(n, &mut out).map(|len| out[..len].to_vec());
        (0..fragmenter.count()).map_while(write).collect()
    }

    /// What a receiver makes of fragments, in any order: the first one's header and all payloads at their places.
    fn reassemble(fragments: &[Vec<u8>]) -> (Ipv4Header, Vec<u8>) {
        let mut whole = None;
        let mut payload = Vec::new();
        for fragment in fragments.iter().rev() {
            let (header, rest) = Ipv4Header::from_slice(fragment).unwrap();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!(usize::from(header.total_len), fragment.len());
            let start = usize::from(header.fragment_offset.value()) * 8;
            payload.resize(payload.len().max(start + rest.len()), 0);
            payload[start..start + rest.len()].copy_from_slice(rest);
            whole = Some(header);
        }
        (whole.unwrap(), payload)
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn fragments_reassemble_to_the_packet(
            options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
            payload in prop::collection::vec(any::<u8>(), 0..samples::LONG),
            padding in 0..40usize,
            mtu in 68..1600u16,
        ) {
            let mut bytes = packet(options.as_flattened(), &payload, |_| ());
            let len = bytes.len();
            bytes.extend(vec![0xa5; padding]);
            let pieces = fragments(&bytes, mtu);
            let header_len = len - payload.len();
            let size = (usize::from(mtu) - header_len) / 8 * 8;
            prop_assert_eq!(pieces.len(), payload.len().div_ceil(size).max(1));
            for (n, piece) in pieces.iter().enumerate() {
                let (header, rest) = Ipv4Header::from_slice(piece).unwrap();
                let is_last = n + 1 == pieces.len();
                prop_assert!(piece.len() <= usize::from(mtu));
                prop_assert!(is_last || rest.len() % 8 == 0 && piece.len() + 8 > usize::from(mtu));
                prop_assert_eq!((header.more_fragments, header.dont_fragment), (!is_last, false));
                prop_assert_eq!(header.identification, 0x1234);
            }
            let (whole, body) = reassemble(&pieces);
            prop_assert_eq!(body, payload);
            let (original, _) = Ipv4Header::from_slice(&bytes).unwrap();
            let like_original = Ipv4Header {
                more_fragments: false,
                total_len: original.total_len,
                header_checksum: original.header_checksum,
                ..whole
            };
            prop_assert_eq!(like_original, original);
        }

        /// RFC 791 §3.2: fragments of fragments are those that a lower MTU on the way would have made.
        #[test]
        fn fragments_of_fragments_reassemble_too(
            payload in prop::collection::vec(any::<u8>(), 1..samples::LONG),
            mtus in [68..1600u16, 68..1600u16],
        ) {
            let once = fragments(&packet(&[], &payload, |_| ()), mtus[0]);
            let twice: Vec<_> = once.iter().flat_map(|piece| fragments(piece, mtus[1])).collect();
            prop_assert_eq!(reassemble(&twice).1, payload);
            let last = twice.iter().filter(|piece| piece[6] & 0x20 == 0).count();
            prop_assert_eq!(last, 1);
            prop_assert_eq!(twice.last().unwrap()[6] & 0x20, 0);
        }

        #[test]
        fn noise_is_refused_or_cut_in_bounds(
            bytes in prop::collection::vec(any::<u8>(), 0..120),
            words in prop::collection::vec(0..64u8, 0..60),
            mtu in 0..200u16,
        ) {
            let crafted = [&[0x4f, 0, 0, 80, 0, 0, 0, 0, 64, 17, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2][..], &words, &bytes].concat();
            for bytes in [bytes, crafted] {
                let Ok(fragmenter) = Fragmenter::new(&bytes, mtu) else { continue };
                let mut out = vec![0; fragmenter.longest()];
                for n in 0..fragmenter.count() {
                    prop_assert!(fragmenter.write(n, &mut out).unwrap() <= usize::from(mtu));
                }
                prop_assert_eq!(fragmenter.write(fragmenter.count(), &mut out), None);
                let short = out.len() - 1;
                prop_assert_eq!(fragmenter.write(0, &mut out[..short]), None);
            }
        }
    }

    #[test]
    fn options_without_copy_bit_are_in_the_first_fragment_only() {
        // Record route (7), router alert (148, copied), a security option (130, copied), timestamp (68).
        let options = [7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0, 130, 3, 9, 68, 8, 5, 0, 1, 2, 3, 4, 0];
        let pieces = fragments(&packet(&options, &[7; 200], |_| ()), 150);
        let of = |piece: &[u8]| Ipv4::view(piece).unwrap().options().to_vec();
        assert_eq!(of(&pieces[0]), options);
        let later = [1, 1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0, 130, 3, 9, 1, 1, 1, 1, 1, 1, 1, 1, 0];
        assert_eq!(of(&pieces[1]), later);
    }

    #[test]
    fn refusals_have_their_reasons() {
        let refused = |bytes: &[u8], mtu| Fragmenter::new(bytes, mtu).err();
        let plain = packet(&[], &[0; 100], |_| ());
        assert_eq!(refused(&plain, 68), None);
        assert_eq!(refused(&plain, 67), Some(NotFragmented::Mtu(67)));
        let kept = packet(&[], &[0; 100], |header| header.dont_fragment = true);
        assert_eq!(refused(&kept, 68), Some(NotFragmented::DontFragment));
        let beyond =
            packet(&[], &[0; 100], |header| header.fragment_offset = IpFragOffset::try_new(8185).unwrap());
        assert_eq!(refused(&beyond, 68), Some(NotFragmented::Packet));
        assert_eq!(refused(&plain[..19], 68), Some(NotFragmented::Packet));
    }
}
