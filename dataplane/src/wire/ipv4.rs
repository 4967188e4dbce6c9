//! The IPv4 header (RFC 791 §3.1).

use super::checksum::Sum;
use super::{IpProtocol, Malformed, put_u16, u16_at};

/// Bytes in a header without options.
pub const HEADER_LEN: usize = 20;

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

    #[inline]
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let header_len = usize::from(header[0] & 0xf) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 {
            return None;
        }
        let options = bytes.get(HEADER_LEN..header_len)?;
        let payload = bytes.get(header_len..total_len)?;
        Some(Self { header, options, payload })
    }

    /// Header bytes, options included: 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// Whether this is a fragment, first or later: its payload is not a whole transport segment.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        const MORE_FRAGMENTS_AND_OFFSET: u16 = 0x3fff;
        u16::from_be_bytes([self.header[6], self.header[7]]) & MORE_FRAGMENTS_AND_OFFSET != 0
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

/// Makes the header of `packet`, `header_len` bytes long, say that it ends where the bytes end, moves its
/// identification on by so many, and puts its checksum right. `None` if that is no IPv4 packet's length.
pub(super) fn relabel(packet: &mut [u8], header_len: usize, identifications: u16) -> Option<()> {
    const TOTAL_LEN: usize = 2;
    const IDENTIFICATION: usize = 4;
    const CHECKSUM: usize = 10;
    let total_len = u16::try_from(packet.len()).ok()?;
    let header = packet.get_mut(..header_len)?;
    let identification = u16_at(header, IDENTIFICATION)?.wrapping_add(identifications);
    put_u16(header, TOTAL_LEN, total_len)?;
    put_u16(header, IDENTIFICATION, identification)?;
    put_u16(header, CHECKSUM, 0)?;
    put_u16(header, CHECKSUM, Sum::of(header).checksum())
}

fn has_source_route(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    loop {
        options = match *options {
            [] | [END, ..] => return false,
            [NO_OPERATION, ref rest @ ..] => rest,
            [LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, ..] => return true,
            [_, len, ..] if len >= 2 => options.get(usize::from(len)..).unwrap_or(&[]),
            _ => return false,
        }
    }
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

            relabel(&mut bytes, header.header_len(), 3).unwrap();
            let (again, _) = Ipv4Header::from_slice(&bytes).unwrap();
            prop_assert_eq!(again.header_checksum, again.calc_header_checksum());
            prop_assert_eq!(usize::from(again.total_len), bytes.len());
            prop_assert_eq!(again.identification, id.wrapping_add(3));
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
