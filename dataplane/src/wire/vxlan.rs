//! The VXLAN header (RFC 7348 §5).

use super::Malformed;

/// Bytes in a header.
pub const HEADER_LEN: usize = 8;

/// UDP destination port (RFC 7348 §5).
pub const PORT: u16 = 4789;

/// UDP destination port of Linux before the RFC, still its default and flannel's.
pub const LINUX_PORT: u16 = 8472;

/// A VXLAN packet with a valid network identifier.
#[derive(Clone, Copy, Debug)]
pub struct Vxlan<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> Vxlan<'a> {
    /// The packet that `bytes`, a UDP payload, is. Reserved bits are ignored (RFC 7348 §5).
    ///
    /// # Errors
    /// [`Malformed::Vxlan`] if the header is cut short or its I flag is clear.
    #[inline]
    pub fn view(bytes: &'a [u8]) -> Result<Self, Malformed> {
        const VALID_VNI: u8 = 0x08;
        match bytes.split_first_chunk::<HEADER_LEN>() {
            Some((header, payload)) if header[0] & VALID_VNI != 0 => Ok(Self { header, payload }),
            _ => Err(Malformed::Vxlan),
        }
    }

    /// VXLAN network identifier, 24 bits.
    #[inline]
    pub fn vni(&self) -> u32 {
        u32::from_be_bytes([0, self.header[4], self.header[5], self.header[6]])
    }

    /// The inner Ethernet frame.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use proptest::prelude::*;

    #[test]
    fn header_of_the_rfc_reads_back() {
        let view = [0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0, 0xaa];
        let view = Vxlan::view(&view).unwrap();
        assert_eq!((view.vni(), view.payload()), (0x0012_3456, &[0xaa][..]));
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn only_a_whole_header_with_the_i_flag_is_accepted(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            let expected = bytes.len() >= HEADER_LEN && bytes[0] & 0x08 != 0;
            match Vxlan::view(&bytes) {
                Err(why) => prop_assert_eq!((why, expected), (Malformed::Vxlan, false)),
                Ok(view) => {
                    prop_assert!(expected);
                    prop_assert_eq!(view.vni() << 8, u32::from_be_bytes([bytes[4], bytes[5], bytes[6], 0]));
                    prop_assert_eq!(view.payload(), &bytes[HEADER_LEN..]);
                }
            }
        }
    }
}
