//! The IPv4 header (RFC 791 §3.1).

use std::net::Ipv4Addr;

use super::checksum::Sum;
use super::{IpProtocol, Malformed, put_u16, u16_at};

/// Bytes in a header without options.
pub const HEADER_LEN: usize = 20;

/// The least MTU of a link that carries IPv4 (RFC 791 §3.2).
pub const MIN_MTU: u16 = 68;

/// Whether the checksum of a header without options is right. Words of 32 bits sum up to what those of 16 bits do (RFC 1071 §2 B), and that is not
/// nothing: there is a version.
#[inline]
pub(super) fn is_intact(header: &[u8; HEADER_LEN]) -> bool {
    let (words, _) = header.as_chunks();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum.is_multiple_of(0xffff)
}

/// An IPv4 packet: version, header length and total length agree with the bytes. Its header
/// checksum is not looked at: a bridge forwards what it is given.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    header: &'a [u8; HEADER_LEN],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// The packet that starts at the first byte of `bytes`; what follows its total length is not part of it.
    ///
    /// # Errors
    /// [`Malformed::Ipv4`] if the version is not 4, or header or packet are cut short.
    #[inline]
    pub fn view(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse(bytes).ok_or(Malformed::Ipv4)
    }

    /// The same of a packet that an error quotes, which may be cut short behind its header.
    ///
    /// # Errors
    /// [`Malformed::Ipv4`] if the version is not 4, or the header is cut short.
    pub fn quoted(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let rest = |packet: Self| {
            let total_len = usize::from(packet.total_len()).max(packet.header_len()).min(bytes.len());
            Some(Self { payload: bytes.get(packet.header_len()..total_len)?, ..packet })
        };
        Self::parse_header(bytes).and_then(rest).ok_or(Malformed::Ipv4)
    }

    #[inline(always)]
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        /// Version 4, and a header of five words.
        const WITHOUT_OPTIONS: u8 = 0x45;
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        if header[0] != WITHOUT_OPTIONS {
            return Self::parse_options(bytes);
        }
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let payload = rest.get(..total_len.checked_sub(HEADER_LEN)?)?;
        Some(Self { header, options: &[], payload })
    }

    #[cold]
    fn parse_options(bytes: &'a [u8]) -> Option<Self> {
        let packet = Self::parse_header(bytes)?;
        let payload = bytes.get(packet.header_len()..usize::from(packet.total_len()))?;
        Some(Self { payload, ..packet })
    }

    /// The same without what follows the header.
    fn parse_header(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        let header_len = usize::from(header[0] & 0xf) * 4;
        if header[0] >> 4 != 4 {
            return None;
        }
        Some(Self { header, options: bytes.get(HEADER_LEN..header_len)?, payload: &[] })
    }

    /// Header bytes, options included: 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// Bytes in all, header and payload.
    #[inline]
    pub fn total_len(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Type of service: DSCP (RFC 2474) and ECN (RFC 3168).
    #[inline]
    pub fn tos(&self) -> u8 {
        self.header[1]
    }

    /// Whether this is a fragment, first or later: its payload is not a whole transport segment.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment_word() & FRAGMENT != 0
    }

    /// Whether this is a fragment, but not the first one: its payload begins with no transport header.
    #[inline]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment_word() & OFFSET_MASK != 0
    }

    /// Whether it may not be fragmented.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment_word() & DONT_FRAGMENT != 0
    }

    /// Flags and fragment offset as they stand.
    #[inline]
    pub(super) fn fragment_word(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]])
    }

    /// What tells its fragments from those of others.
    #[inline]
    pub fn identification(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    /// Time to live.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// What the payload is.
    #[inline]
    pub fn protocol(&self) -> IpProtocol {
        IpProtocol(self.header[9])
    }

    /// Source and destination, four octets each, as a pseudo-header has them.
    #[inline]
    pub fn addresses(&self) -> &'a [u8] {
        &self.header[12..20]
    }

    /// Where it comes from.
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Where it goes.
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Whether the header's checksum is right.
    #[inline]
    pub fn is_intact(&self) -> bool {
        if self.options.is_empty() {
            is_intact(self.header)
        } else {
            (Sum::of(self.header) + Sum::of(self.options)).is_intact()
        }
    }

    /// The options; a multiple of four bytes.
    #[inline]
    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// Whether a source-route option is present: the packet's final destination, which the
    /// transport's checksum covers, may then be another than the header's.
    #[inline]
    pub fn is_source_routed(&self) -> bool {
        !self.options.is_empty() && has_source_route(self.options)
    }

    /// Everything after the header, up to the total length.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// In the word of flags and offset: do not fragment.
pub(super) const DONT_FRAGMENT: u16 = 0x4000;
/// Of the same word, what only a fragment has.
pub(crate) const FRAGMENT: u16 = MORE_FRAGMENTS | OFFSET_MASK;
/// More fragments follow.
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset, in units of eight bytes.
pub(super) const OFFSET_MASK: u16 = 0x1fff;

/// A header without options, to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// What tells the packet's fragments from those of others (RFC 6864).
    pub identification: u16,
    /// Whether it may not be fragmented.
    pub dont_fragment: bool,
    /// Time to live.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: IpProtocol,
    /// Where it comes from.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Ipv4Addr,
}

impl Header {
    /// The time to live that the kernel gives what it sends (`net.ipv4.ip_default_ttl`).
    pub const DEFAULT_TTL: u8 = 64;

    /// Writes the header at the start of `packet`, whose rest is the payload. `None`, and nothing written, if that is no IPv4
    /// packet's length.
    pub fn emit(&self, packet: &mut [u8]) -> Option<()> {
        let [len_high, len_low] = u16::try_from(packet.len()).ok()?.to_be_bytes();
        let [id_high, id_low] = self.identification.to_be_bytes();
        let flags = if self.dont_fragment { DONT_FRAGMENT.to_be_bytes()[0] } else { 0 };
        let header: &mut [u8; HEADER_LEN] = packet.first_chunk_mut()?;
        let start = [0x45, self.tos, len_high, len_low, id_high, id_low, flags, 0, self.ttl, self.protocol.0];
        header[..10].copy_from_slice(&start);
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..].copy_from_slice(&self.destination.octets());
        seal(header)
    }
}

/// Offset of the checksum in the header.
pub(super) const CHECKSUM_OFFSET: usize = 10;

/// Makes the header of `packet`, `header_len` bytes long, say that it ends where the bytes end, moves its
/// identification on by so many, and puts its checksum right. `None` if that is no IPv4 packet's length.
pub(super) fn relabel(packet: &mut [u8], header_len: usize, identifications: u16) -> Option<()> {
    const TOTAL_LEN: usize = 2;
    const IDENTIFICATION: usize = 4;
    let total_len = u16::try_from(packet.len()).ok()?;
    let header = packet.get_mut(..header_len)?;
    let identification = u16_at(header, IDENTIFICATION)?.wrapping_add(identifications);
    put_u16(header, TOTAL_LEN, total_len)?;
    put_u16(header, IDENTIFICATION, identification)?;
    seal(header)
}

/// Puts the checksum of a whole header right.
pub(super) fn seal(header: &mut [u8]) -> Option<()> {
    put_u16(header, CHECKSUM_OFFSET, 0)?;
    put_u16(header, CHECKSUM_OFFSET, Sum::of(header).checksum())
}

/// Loose source and record route.
pub(super) const LOOSE_SOURCE_ROUTE: u8 = 131;
/// Strict source and record route.
pub(super) const STRICT_SOURCE_ROUTE: u8 = 137;
/// The option of one byte that does nothing.
pub(super) const NO_OPERATION: u8 = 1;

/// The options in these bytes, each with its offset, up to the end of the list or what is cut short: of that, `None`.
pub(super) fn options(bytes: &[u8]) -> impl Iterator<Item = (usize, Option<&[u8]>)> {
    const END: u8 = 0;
    let mut offset = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(offset..)?;
        let len = match *rest {
            [] | [END, ..] => return None,
            [NO_OPERATION, ..] => 1,
            [_, len, ..] => usize::from(len),
            [_] => 0,
        };
        let option =
            rest.get(..len).filter(|option| option.len() >= 2 || len == 1 && rest[0] == NO_OPERATION);
        let item = (offset, option);
        offset = option.map_or(bytes.len(), |option| offset + option.len());
        Some(item)
    })
}

fn has_source_route(bytes: &[u8]) -> bool {
    options(bytes).any(|(offset, _)| matches!(bytes[offset], LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv4Options};
    use proptest::prelude::*;

    fn with_options(options: &[u8]) -> Vec<u8> {
        let mut header = Ipv4Header::new(0, 64, IpNumber::TCP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
        header.options = Ipv4Options::try_from(options).unwrap();
        header.set_payload_len(0).unwrap();
        header.to_bytes().to_vec()
    }

    #[test]
    fn source_routes_are_seen_among_options() {
        for (options, expected) in [
            (&[][..], false),
            (&[1, 1, 1, 0], false),
            (&[148, 4, 0, 0], false),
            (&[131, 3, 4, 0], true),
            (&[1, 148, 4, 0, 0, 137, 3, 4], true),
            // The list ends ahead of what would be one; lengths of 0, 1 and beyond the header.
            (&[0, 131, 3, 4], false),
            (&[7, 0, 131, 3], false),
            (&[7, 1, 131, 3], false),
            (&[7, 200, 131, 3], false),
        ] {
            let packet = with_options(options);
            assert_eq!(Ipv4::view(&packet).unwrap().is_source_routed(), expected, "{options:?}");
        }
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn header_of_another_maker_reads_back(
            payload: Vec<u8>,
            padding: Vec<u8>,
            id: u16,
            more: bool,
            offset in 0..=0x1fffu16,
            protocol: u8,
            addresses: [[u8; 4]; 2],
            options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
        ) {
            let mut header = Ipv4Header::new(0, 64, IpNumber(protocol), addresses[0], addresses[1]).unwrap();
            header.identification = id;
            header.more_fragments = more;
            header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
            header.options = Ipv4Options::try_from(options.as_flattened()).unwrap();
            header.set_payload_len(payload.len()).unwrap();
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(&payload);
            bytes.extend(&padding);

            let view = Ipv4::view(&bytes).unwrap();
            prop_assert_eq!(view.header_len(), header.header_len());
            prop_assert_eq!(view.is_fragment(), header.is_fragmenting_payload());
            prop_assert_eq!(view.protocol(), IpProtocol(protocol));
            prop_assert_eq!(view.addresses(), addresses.as_flattened());
            prop_assert_eq!(view.payload(), &payload);
            prop_assert_eq!((view.tos(), view.ttl()), (0, 64));
            prop_assert_eq!(view.is_later_fragment(), offset > 0);
            prop_assert_eq!([view.source().octets(), view.destination().octets()], addresses);
            prop_assert_eq!(view.options(), options.as_flattened());
            prop_assert_eq!(view.is_intact(), header.header_checksum == header.calc_header_checksum());

            relabel(&mut bytes, header.header_len(), 3).unwrap();
            let (again, _) = Ipv4Header::from_slice(&bytes).unwrap();
            prop_assert_eq!(again.header_checksum, again.calc_header_checksum());
            prop_assert_eq!(usize::from(again.total_len), bytes.len());
            prop_assert_eq!(again.identification, id.wrapping_add(3));
        }

        #[test]
        fn emitted_header_is_what_another_maker_writes(
            payload: Vec<u8>,
            tos: u8,
            identification: u16,
            dont_fragment: bool,
            ttl: u8,
            protocol: u8,
            addresses: [[u8; 4]; 2],
        ) {
            let mut theirs = Ipv4Header::new(0, ttl, IpNumber(protocol), addresses[0], addresses[1]).unwrap();
            (theirs.identification, theirs.dont_fragment) = (identification, dont_fragment);
            (theirs.dscp, theirs.ecn) = ((tos >> 2).try_into().unwrap(), (tos & 3).try_into().unwrap());
            theirs.set_payload_len(payload.len()).unwrap();
            theirs.header_checksum = theirs.calc_header_checksum();
            let [source, destination] = addresses.map(Ipv4Addr::from);
            let protocol = IpProtocol(protocol);
            let ours = Header { tos, identification, dont_fragment, ttl, protocol, source, destination };
            let mut packet = [&[0xa5; HEADER_LEN], &payload[..]].concat();
            ours.emit(&mut packet).unwrap();
            prop_assert_eq!(&packet, &[&theirs.to_bytes()[..], &payload].concat());
            prop_assert!(Ipv4::view(&packet).unwrap().is_intact());
            prop_assert_eq!(ours.emit(&mut packet[..HEADER_LEN - 1]), None);
        }

        #[test]
        fn noise_is_refused_or_in_bounds(first in 0x40..=0x4fu8, rest in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = vec![first, 0, 0];
            bytes.extend(rest);
            match Ipv4::view(&bytes) {
                Ok(view) => {
                    view.is_source_routed();
                    prop_assert!(view.header_len() + view.payload().len() <= bytes.len());
                }
                Err(why) => prop_assert_eq!(why, Malformed::Ipv4),
            }
            for cut in 0..bytes.len().min(HEADER_LEN) {
                prop_assert!(Ipv4::view(&bytes[..cut]).is_err());
            }
        }
    }
}
