//! The UDP header (RFC 768).

use super::Malformed;

/// Bytes in a header.
pub const HEADER_LEN: usize = 8;

/// Offset of the length in the header.
pub const LENGTH_OFFSET: usize = 4;

/// Offset of the checksum in the header.
pub const CHECKSUM_OFFSET: usize = 6;

/// A UDP datagram whose length lies within the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// The datagram at the start of `bytes`; what follows its length is not part of it.
    ///
    /// # Errors
    /// [`Malformed::Udp`] if the header is cut short, or its length is below 8 or beyond the bytes.
    #[inline]
    pub fn view(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, _) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Udp)?;
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let payload = bytes.get(HEADER_LEN..len).ok_or(Malformed::Udp)?;
        Ok(Self { header, payload })
    }

    /// Source port.
    #[inline]
    pub fn source(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// Destination port.
    #[inline]
    pub fn destination(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// The checksum field; 0 says that there is none.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]])
    }

    /// Everything after the header, up to the datagram's length.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::UdpHeader;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn header_of_another_maker_reads_back(ports: [u16; 2], checksum: u16, payload: Vec<u8>, padding: Vec<u8>) {
            let length = u16::try_from(HEADER_LEN + payload.len()).unwrap();
            let header = UdpHeader { source_port: ports[0], destination_port: ports[1], length, checksum };
            let bytes = [&header.to_bytes()[..], &payload, &padding].concat();
            let view = Udp::view(&bytes).unwrap();
            prop_assert_eq!([view.source(), view.destination()], ports);
            prop_assert_eq!(view.checksum(), checksum);
            prop_assert_eq!(view.payload(), payload);
        }

        #[test]
        fn noise_is_refused_or_in_bounds(
            mut bytes in prop::collection::vec(any::<u8>(), 0..40),
            short_length: bool,
        ) {
            if short_length && bytes.len() > LENGTH_OFFSET {
                bytes[LENGTH_OFFSET] = 0;
            }
            match Udp::view(&bytes) {
                Ok(view) => prop_assert!(HEADER_LEN + view.payload().len() <= bytes.len()),
                Err(why) => prop_assert_eq!(why, Malformed::Udp),
            }
        }
    }
}
