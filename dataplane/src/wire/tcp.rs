//! The TCP header (RFC 9293 §3.1), and the refusal of a segment.

use super::checksum::{Sum, pseudo_header};
use super::{IpProtocol, Malformed, put_u16};

/// Bytes in a header without options.
pub const HEADER_LEN: usize = 20;

/// Offset of the checksum in the header.
pub const CHECKSUM_OFFSET: usize = 16;

/// A TCP segment whose data offset lies within the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    header: &'a [u8; HEADER_LEN],
    header_len: usize,
}

impl<'a> Tcp<'a> {
    /// The segment that `bytes` is.
    ///
    /// # Errors
    /// [`Malformed::Tcp`] if the header is cut short or its data offset is below 20 bytes.
    #[inline]
    pub fn view(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(Malformed::Tcp)?;
        let header_len = usize::from(header[12] >> 4) * 4;
        if (HEADER_LEN..=bytes.len()).contains(&header_len) {
            Ok(Self { header, header_len })
        } else {
            Err(Malformed::Tcp)
        }
    }

    /// Header bytes, options included: 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Sequence number of the first payload byte.
    #[inline]
    pub fn sequence(&self) -> u32 {
        u32::from_be_bytes([self.header[4], self.header[5], self.header[6], self.header[7]])
    }

    /// The control bits.
    #[inline]
    pub fn flags(&self) -> Flags {
        Flags(self.header[13])
    }

    /// The checksum field.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[16], self.header[17]])
    }
}

/// Control bits (RFC 9293 §3.1, RFC 3168).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// A connection begins.
    pub const SYN: Self = Self(0x02);
    /// There is no connection.
    pub const RST: Self = Self(0x04);
    /// Push what is buffered.
    pub const PSH: Self = Self(0x08);
    /// An acknowledgement number is there.
    pub const ACK: Self = Self(0x10);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// Whether one of `others` is among these.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// These without `others`.
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

/// The segment that refuses this one, for which there is no connection (RFC 9293 §3.10.7.1); `None` if it is none, or a refusal
/// itself. `addresses` is source and destination of either, as they follow one another in a header.
pub fn reset(segment: &[u8], addresses: &[u8]) -> Option<[u8; HEADER_LEN]> {
    const LEN: u16 = 20;
    let tcp = Tcp::view(segment).ok()?;
    let flags = tcp.flags();
    if flags.has(Flags::RST) {
        return None;
    }
    let mut reply = [0; HEADER_LEN];
    reply[..2].copy_from_slice(&tcp.header[2..4]);
    reply[2..4].copy_from_slice(&tcp.header[..2]);
    reply[12] = 5 << 4;
    if flags.has(Flags::ACK) {
        reply[4..8].copy_from_slice(&tcp.header[8..12]);
        reply[13] = Flags::RST.0;
    } else {
        // Begin and end of a connection count as a byte each.
        let counted = usize::from(flags.has(Flags::SYN)) + usize::from(flags.has(Flags::FIN));
        let len = u32::try_from(segment.len() - tcp.header_len() + counted).ok()?;
        reply[8..12].copy_from_slice(&tcp.sequence().wrapping_add(len).to_be_bytes());
        reply[13] = Flags::RST.0 | Flags::ACK.0;
    }
    let sum = pseudo_header(addresses, IpProtocol::TCP, LEN) + Sum::of(&reply);
    put_u16(&mut reply, CHECKSUM_OFFSET, sum.checksum())?;
    Some(reply)
}

/// Gives the header at the start of `segment` a new sequence number and flags; its checksum is left
/// for later. `None` if it is cut short.
pub(super) fn relabel(segment: &mut [u8], sequence: u32, flags: Flags) -> Option<()> {
    let header = segment.first_chunk_mut::<HEADER_LEN>()?;
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    header[13] = flags.0;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::TcpHeader;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn header_of_another_maker_reads_back(
            sequence: [u32; 2],
            flags: [u8; 2],
            checksum: u16,
            options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
            payload: Vec<u8>,
        ) {
            let mut header = TcpHeader::new(1, 2, sequence[0], 3);
            header.checksum = checksum;
            header.set_options_raw(options.as_flattened()).unwrap();
            let mut bytes = header.to_bytes().to_vec();
            bytes[13] = flags[0];
            bytes.extend(&payload);

            let view = Tcp::view(&bytes).unwrap();
            prop_assert_eq!(view.header_len(), header.header_len());
            prop_assert_eq!((view.sequence(), view.flags()), (sequence[0], Flags(flags[0])));
            prop_assert_eq!(view.checksum(), checksum);

            relabel(&mut bytes, sequence[1], Flags(flags[1])).unwrap();
            let (again, rest) = TcpHeader::from_slice(&bytes).unwrap();
            prop_assert_eq!(again.sequence_number, sequence[1]);
            prop_assert_eq!(again.fin, flags[1] & Flags::FIN.0 != 0);
            prop_assert_eq!(again.psh, flags[1] & Flags::PSH.0 != 0);
            prop_assert_eq!(again.cwr, flags[1] & Flags::CWR.0 != 0);
            prop_assert_eq!(again.checksum, checksum);
            prop_assert_eq!(rest, payload);
        }

        /// RFC 9293 §3.10.7.1, in the words of another maker.
        #[test]
        fn refusal_is_what_the_rfc_asks_for(
            addresses: [[u8; 4]; 2],
            sequence: [u32; 2],
            bits: [bool; 3],
            options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut header = TcpHeader::new(1, 2, sequence[0], 3);
            [header.syn, header.fin, header.ack] = bits;
            header.acknowledgment_number = sequence[1];
            header.set_options_raw(options.as_flattened()).unwrap();
            let segment = [&header.to_bytes()[..], &payload].concat();

            let mut expected = TcpHeader::new(2, 1, 0, 0);
            (expected.rst, expected.ack) = (true, !header.ack);
            if header.ack {
                expected.sequence_number = sequence[1];
            } else {
                let counted = payload.len() + usize::from(header.syn) + usize::from(header.fin);
                expected.acknowledgment_number = sequence[0].wrapping_add(u32::try_from(counted).unwrap());
            }
            expected.checksum = expected.calc_checksum_ipv4_raw(addresses[1], addresses[0], &[]).unwrap();
            let reply = reset(&segment, addresses.as_flattened()).unwrap();
            prop_assert_eq!(&reply[..], &expected.to_bytes()[..]);
            prop_assert_eq!(reset(&reply, addresses.as_flattened()), None);
            prop_assert_eq!(reset(&segment[..HEADER_LEN - 1], addresses.as_flattened()), None);
        }

        #[test]
        fn noise_is_refused_or_in_bounds(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            match Tcp::view(&bytes) {
                Ok(view) => prop_assert!((HEADER_LEN..=bytes.len()).contains(&view.header_len())),
                Err(why) => prop_assert_eq!(why, Malformed::Tcp),
            }
            prop_assert_eq!(Tcp::view(&bytes).is_ok(), etherparse::TcpSlice::from_slice(&bytes).is_ok());
        }
    }
}
