//! The Ethernet II header (IEEE 802.3 §3.1.1): two addresses and an EtherType.

use super::Malformed;
use crate::ids::MacAddr;

/// Bytes in an Ethernet header.
pub const HEADER_LEN: usize = 14;

/// Bytes the two addresses take, ahead of the EtherType or the first VLAN tag.
pub const ADDRESSES_LEN: usize = 12;

/// What an Ethernet payload is (IEEE 802 numbers); below 0x0600 it is a length instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// Reverse ARP.
    pub const RARP: Self = Self(0x8035);
    /// A customer VLAN tag (IEEE 802.1Q C-TAG).
    pub const CTAG: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// MAC control: PAUSE among others (IEEE 802.3 §31).
    pub const MAC_CONTROL: Self = Self(0x8808);
    /// A service VLAN tag (IEEE 802.1ad S-TAG).
    pub const STAG: Self = Self(0x88a8);

    /// Whether a VLAN tag follows.
    pub const fn is_tag(self) -> bool {
        matches!(self, Self::CTAG | Self::STAG)
    }
}

/// A frame with at least an Ethernet header.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// The frame that starts at the first byte of `bytes`.
    ///
    /// # Errors
    /// [`Malformed::Ethernet`] if there are fewer than 14 bytes.
    #[inline]
    pub fn view(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Malformed::Ethernet)?;
        Ok(Self { header, payload })
    }

    /// Destination address.
    #[inline]
    pub fn destination(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = *self.header;
        MacAddr::new([a, b, c, d, e, f])
    }

    /// Source address.
    #[inline]
    pub fn source(&self) -> MacAddr {
        let [_, _, _, _, _, _, a, b, c, d, e, f, _, _] = *self.header;
        MacAddr::new([a, b, c, d, e, f])
    }

    /// What follows the header; a VLAN tag if [`EtherType::is_tag`].
    #[inline]
    pub fn ether_type(&self) -> EtherType {
        EtherType(u16::from_be_bytes([self.header[12], self.header[13]]))
    }

    /// Everything after the header, padding included.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Writes a header.
pub fn emit(header: &mut [u8; HEADER_LEN], destination: MacAddr, source: MacAddr, ether_type: EtherType) {
    set_addresses(header, destination, source);
    header[ADDRESSES_LEN..].copy_from_slice(&ether_type.0.to_be_bytes());
}

/// Puts other addresses into a header.
#[inline]
pub fn set_addresses(header: &mut [u8; HEADER_LEN], destination: MacAddr, source: MacAddr) {
    // As two words: byte by byte it is thirty instructions.
    let both = u128::from(destination.bits()) << 80 | u128::from(source.bits()) << 32;
    header[..ADDRESSES_LEN].copy_from_slice(&both.to_be_bytes()[..ADDRESSES_LEN]);
}

/// The X of a reserved group address 01:80:C2:00:00:0X, 0 to 15: what a bridge answers itself and
/// does not forward unless told to (IEEE 802.1Q §8.6.3). `None` for any other address.
#[inline]
pub const fn reserved_group(address: MacAddr) -> Option<u8> {
    const GROUP: u64 = 0x0180_c200_0000;
    let x = address.bits() ^ GROUP;
    if x < 16 { Some((x & 0xf) as u8) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use proptest::prelude::*;

    #[test]
    fn reserved_groups_are_sixteen() {
        assert_eq!(reserved_group("01:80:c2:00:00:00".parse().unwrap()), Some(0));
        assert_eq!(reserved_group("01:80:c2:00:00:0f".parse().unwrap()), Some(15));
        for other in ["01:80:c2:00:00:10", "01:80:c2:00:01:00", "00:80:c2:00:00:00", "ff:ff:ff:ff:ff:ff"] {
            assert_eq!(reserved_group(other.parse().unwrap()), None, "{other}");
        }
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn emitted_header_reads_back(to: [u8; 6], from: [u8; 6], ether_type: u16, rest: Vec<u8>) {
            let mut header = [0; HEADER_LEN];
            emit(&mut header, MacAddr::new(to), MacAddr::new(from), EtherType(ether_type));
            let reference = etherparse::Ethernet2Header::from_bytes(header);
            prop_assert_eq!((reference.destination, reference.source), (to, from));
            prop_assert_eq!(reference.ether_type.0, ether_type);

            let frame = [&header[..], &rest].concat();
            let view = Ethernet::view(&frame).unwrap();
            prop_assert_eq!((view.destination().octets(), view.source().octets()), (to, from));
            prop_assert_eq!(view.ether_type(), EtherType(ether_type));
            prop_assert_eq!(view.payload(), rest);
        }

        #[test]
        fn short_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(Ethernet::view(&bytes).is_ok(), bytes.len() >= HEADER_LEN);
        }
    }
}
