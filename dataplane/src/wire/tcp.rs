//! The TCP header (RFC 9293 §3.1).

use super::Malformed;

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
    /// Push what is buffered.
    pub const PSH: Self = Self(0x08);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// These without `others`.
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
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
