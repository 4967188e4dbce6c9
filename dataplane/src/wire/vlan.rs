//! VLAN tags (IEEE 802.1Q §9.5): a tag control word and the EtherType of what it tags.

use super::Malformed;
use super::ethernet::{self, ADDRESSES_LEN, EtherType, Ethernet};

/// Bytes a tag adds to a frame.
pub const TAG_LEN: usize = 4;

/// How deep a stack of tags is walked.
pub const MAX_TAGS: usize = 4;

/// Tag control information: PCP (3 bits), DEI (1 bit), VID (12 bits).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tci(pub u16);

impl Tci {
    /// VLAN identifier; 0 is a priority tag, 4095 is reserved.
    pub const fn vid(self) -> u16 {
        self.0 & 0xfff
    }

    /// Whether the frame may be dropped first.
    pub const fn dei(self) -> bool {
        self.0 & 0x1000 != 0
    }

    /// Priority, 0 to 7.
    pub const fn pcp(self) -> u8 {
        (self.0 >> 13) as u8
    }

    /// The same priority in another VLAN; of `vid` the low 12 bits count.
    #[must_use]
    pub const fn with_vid(self, vid: u16) -> Self {
        Self(self.0 & 0xf000 | vid & 0xfff)
    }
}

/// What stands behind the EtherType of a tag: its control word, the next EtherType and the rest.
#[derive(Clone, Copy, Debug)]
pub struct Vlan<'a> {
    header: &'a [u8; TAG_LEN],
    payload: &'a [u8],
}

impl<'a> Vlan<'a> {
    /// The tag whose control word is at the start of `bytes`: the payload of an [`Ethernet`] or
    /// another [`Vlan`] whose EtherType [is a tag](EtherType::is_tag).
    ///
    /// # Errors
    /// [`Malformed::Vlan`] if there are fewer than 4 bytes.
    #[inline]
    pub fn view(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Malformed::Vlan)?;
        Ok(Self { header, payload })
    }

    /// Tag control information.
    #[inline]
    pub fn tci(&self) -> Tci {
        Tci(u16::from_be_bytes([self.header[0], self.header[1]]))
    }

    /// What follows the tag.
    #[inline]
    pub fn ether_type(&self) -> EtherType {
        EtherType(u16::from_be_bytes([self.header[2], self.header[3]]))
    }

    /// Everything after the tag, padding included.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Walks over the Ethernet header and the tags: the EtherType of what they carry, and its offset in `frame`.
///
/// # Errors
/// [`Malformed::Ethernet`] or [`Malformed::Vlan`] if a header is cut short or there are more than
/// [`MAX_TAGS`] tags.
#[inline]
pub fn untagged(frame: &[u8]) -> Result<(EtherType, usize), Malformed> {
    let ethernet = Ethernet::view(frame)?;
    let (mut ether_type, mut payload) = (ethernet.ether_type(), ethernet.payload());
    let mut offset = ethernet::HEADER_LEN;
    while ether_type.is_tag() {
        let tag = Vlan::view(payload)?;
        (ether_type, payload) = (tag.ether_type(), tag.payload());
        offset += TAG_LEN;
        if offset > ethernet::HEADER_LEN + MAX_TAGS * TAG_LEN {
            return Err(Malformed::Vlan);
        }
    }
    Ok((ether_type, offset))
}

/// Pushes a tag, outermost, into the frame that starts 4 bytes into `bytes`; afterwards it starts at
/// the first byte. `tpid` is [`EtherType::CTAG`] or [`EtherType::STAG`].
///
/// # Errors
/// [`Malformed::Ethernet`] if behind the 4 spare bytes there is no Ethernet header; nothing is changed.
#[inline]
pub fn push(bytes: &mut [u8], tpid: EtherType, tci: Tci) -> Result<(), Malformed> {
    let (start, _) =
        bytes.split_first_chunk_mut::<{ TAG_LEN + ethernet::HEADER_LEN }>().ok_or(Malformed::Ethernet)?;
    start.copy_within(TAG_LEN..TAG_LEN + ADDRESSES_LEN, 0);
    let [a, b] = tpid.0.to_be_bytes();
    let [c, d] = tci.0.to_be_bytes();
    start[ADDRESSES_LEN..ADDRESSES_LEN + TAG_LEN].copy_from_slice(&[a, b, c, d]);
    Ok(())
}

/// Takes the outermost tag, whatever its EtherType, out of the frame at the start of `bytes`; afterwards the frame starts 4
/// bytes further on.
///
/// # Errors
/// [`Malformed::Vlan`] if there is none, for want of bytes; nothing is changed.
#[inline]
pub fn pop(bytes: &mut [u8]) -> Result<(), Malformed> {
    let (start, _) = bytes.split_first_chunk_mut::<{ ADDRESSES_LEN + TAG_LEN }>().ok_or(Malformed::Vlan)?;
    start.copy_within(..ADDRESSES_LEN, TAG_LEN);
    Ok(())
}

/// Writes another control word into the outermost tag of the frame.
///
/// # Errors
/// [`Malformed::Vlan`] if there is none, for want of bytes; nothing is changed.
#[inline]
pub fn rewrite(bytes: &mut [u8], tci: Tci) -> Result<(), Malformed> {
    let (start, _) = bytes.split_first_chunk_mut::<{ ADDRESSES_LEN + TAG_LEN }>().ok_or(Malformed::Vlan)?;
    start[ADDRESSES_LEN + 2..].copy_from_slice(&tci.0.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use proptest::prelude::*;

    #[test]
    fn tci_splits_as_the_standard_says() {
        let tci = Tci(0xb064);
        assert_eq!((tci.pcp(), tci.dei(), tci.vid()), (5, true, 100));
        assert_eq!(tci.with_vid(0x1007), Tci(0xb007));
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn pushed_tags_are_walked_and_read_back(
            frame in prop::collection::vec(any::<u8>(), 14..64),
            tcis in prop::collection::vec(any::<u16>(), 0..=MAX_TAGS + 1),
        ) {
            let mut frame = frame;
            frame[12..14].copy_from_slice(&[0x08, 0x00]);
            let original = frame.clone();
            for &tci in &tcis {
                frame.splice(0..0, [0xee; TAG_LEN]);
                push(&mut frame, EtherType::STAG, Tci(tci)).unwrap();
                let (reference, _) = etherparse::Ethernet2Header::from_slice(&frame).unwrap();
                prop_assert_eq!(reference.ether_type.0, EtherType::STAG.0);
                let (tag, _) = etherparse::SingleVlanHeader::from_slice(&frame[14..]).unwrap();
                prop_assert_eq!(tag.vlan_id.value(), Tci(tci).vid());
                prop_assert_eq!(tag.pcp.value(), Tci(tci).pcp());
                prop_assert_eq!(tag.drop_eligible_indicator, Tci(tci).dei());
                let view = Vlan::view(Ethernet::view(&frame).unwrap().payload()).unwrap();
                prop_assert_eq!(view.tci(), Tci(tci));
                prop_assert_eq!(view.ether_type().0, tag.ether_type.0);
            }
            if let [.., last] = tcis[..] {
                let mut other = frame.clone();
                rewrite(&mut other, Tci(!last)).unwrap();
                prop_assert_eq!(&other[14..16], &(!last).to_be_bytes());
                pop(&mut other).unwrap();
                let mut shorter = original.clone();
                for &tci in &tcis[..tcis.len() - 1] {
                    shorter.splice(0..0, [0xee; TAG_LEN]);
                    push(&mut shorter, EtherType::STAG, Tci(tci)).unwrap();
                }
                prop_assert_eq!(&other[TAG_LEN..], &shorter[..]);
            }
            prop_assert_eq!(&frame[..12], &original[..12]);
            prop_assert!(frame.ends_with(&original[12..]));
            let walked = untagged(&frame);
            if tcis.len() > MAX_TAGS {
                prop_assert_eq!(walked, Err(Malformed::Vlan));
            } else {
                prop_assert_eq!(walked, Ok((EtherType::IPV4, 14 + 4 * tcis.len())));
            }
        }

        #[test]
        fn noise_is_walked_within_bounds(bytes: Vec<u8>, tags in 0..6usize) {
            let mut frame = vec![0; 12];
            frame.extend([0x81, 0x00, 0, 0].repeat(tags));
            frame.extend(&bytes);
            if let Ok((_, offset)) = untagged(&frame) {
                prop_assert!(offset <= frame.len());
            }
            let before = bytes.clone();
            let mut bytes = bytes;
            if push(&mut bytes, EtherType::CTAG, Tci(1)).is_err() {
                prop_assert!(before.len() < TAG_LEN + ethernet::HEADER_LEN);
                prop_assert_eq!(&bytes, &before);
            }
            let mut bytes = before.clone();
            if rewrite(&mut bytes, Tci(1)).and_then(|()| pop(&mut bytes)).is_err() {
                prop_assert!(before.len() < ADDRESSES_LEN + TAG_LEN);
                prop_assert_eq!(bytes, before);
            }
        }
    }
}
