//! The VXLAN header (RFC 7348 §5).

use super::Malformed;
use crate::ids::Vni;

/// Bytes in a header.
pub const HEADER_LEN: usize = 8;

/// UDP destination port (RFC 7348 §5).
pub const PORT: u16 = 4789;

/// UDP destination port of Linux before the RFC, still its default and flannel's.
pub const LINUX_PORT: u16 = 8472;

/// Every bit of the header that the RFC reserves: all but the I flag and the identifier. What the kernel takes for `reserved_bits` where
/// nothing is said.
pub const RESERVED: u64 = 0xf7ff_ffff_0000_00ff;

/// The I flag: the identifier is valid.
const VALID_VNI: u64 = 0x08 << 56;

/// A header with a valid network identifier.
#[derive(Clone, Copy, Debug)]
pub struct Header(u64);

impl Header {
    /// The header that these bytes are; `None` if its I flag is clear. Reserved bits are ignored (RFC 7348 §5).
    #[inline]
    pub fn read(bytes: [u8; HEADER_LEN]) -> Option<Self> {
        let word = u64::from_be_bytes(bytes);
        if word & VALID_VNI == 0 { None } else { Some(Self(word)) }
    }

    /// VXLAN network identifier.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    #[expect(clippy::missing_panics_doc, reason = "24 bits are an identifier")]
    pub fn vni(self) -> Vni {
        Vni::new(self.0 as u32 >> 8).expect("24 bits are an identifier")
    }

    /// The bits of the header that are among these, as they lie on the wire.
    #[inline]
    pub fn bits(self, mask: u64) -> u64 {
        self.0 & mask
    }
}

/// A VXLAN packet with a valid network identifier.
#[derive(Clone, Copy, Debug)]
pub struct Vxlan<'a> {
    header: Header,
    payload: &'a [u8],
}

impl<'a> Vxlan<'a> {
    /// The packet that `bytes`, a UDP payload, is.
    ///
    /// # Errors
    /// [`Malformed::Vxlan`] if the header is cut short or its I flag is clear.
    #[inline]
    pub fn view(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Malformed::Vxlan)?;
        Ok(Self { header: Header::read(*header).ok_or(Malformed::Vxlan)?, payload })
    }

    /// Its header.
    #[inline]
    pub fn header(&self) -> Header {
        self.header
    }

    /// The inner Ethernet frame.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// The header of what is in this network.
#[inline]
pub fn header(vni: Vni) -> [u8; HEADER_LEN] {
    (VALID_VNI | u64::from(vni.number()) << 8).to_be_bytes()
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
        assert_eq!((view.header().vni().number(), view.payload()), (0x0012_3456, &[0xaa][..]));
        assert_eq!(header(view.header().vni()), [0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0]);
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
                    let number = view.header().vni().number();
                    prop_assert_eq!(number << 8, u32::from_be_bytes([bytes[4], bytes[5], bytes[6], 0]));
                    prop_assert_eq!(view.payload(), &bytes[HEADER_LEN..]);
                    // What is reserved, and what is not, is the whole of the header.
                    let word = u64::from_be_bytes(*bytes.first_chunk().unwrap());
                    prop_assert_eq!(view.header().bits(RESERVED) | u64::from_be_bytes(header(view.header().vni())), word);
                }
            }
        }
    }
}
