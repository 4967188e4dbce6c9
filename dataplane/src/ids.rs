//! Units are types: devices, domains, VLANs and MAC addresses cannot be mistaken for one another.

use std::fmt;
use std::str::FromStr;

/// A device: dense, stable, chosen by control when the device is configured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// How many devices one switch can hold; [`DeviceId`]s run from 0 to `LIMIT - 1`.
    pub const LIMIT: usize = 65_535;

    /// As an index into a table of devices.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A learning domain: one bridge, or one VLAN of one bridge. Zero names no domain, so that a
/// table key made from a domain is never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DomainId(std::num::NonZeroU16);

impl DomainId {
    /// The domain of this number; `None` for zero.
    pub fn new(number: u16) -> Option<Self> {
        std::num::NonZeroU16::new(number).map(Self)
    }

    /// The number, 1 to 65,535.
    pub fn number(self) -> u16 {
        self.0.get()
    }
}

/// A VLAN: an identifier that names one, 1 to 4,094 (IEEE 802.1Q §9.6: 0 is none, 4,095 reserved).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VlanId(std::num::NonZeroU16);

impl VlanId {
    /// How many identifiers twelve bits make, those that name no VLAN with them.
    pub const COUNT: usize = 1 << 12;
    /// The highest.
    pub const MAX: u16 = 4094;

    /// The VLAN of this identifier; `None` for one that names none.
    #[inline]
    pub const fn new(number: u16) -> Option<Self> {
        match std::num::NonZeroU16::new(number) {
            Some(number) if number.get() <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// The identifier.
    #[inline]
    pub const fn number(self) -> u16 {
        self.0.get()
    }

    /// As an index into a table of [`VlanId::COUNT`].
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.number())
    }

    /// Every VLAN.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=Self::MAX).filter_map(Self::new)
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A VXLAN network identifier: 24 bits (RFC 7348 §4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vni(u32);

impl Vni {
    /// The highest.
    pub const MAX: u32 = (1 << 24) - 1;

    /// The identifier of this number; `None` if it has more than 24 bits.
    #[inline]
    pub const fn new(number: u32) -> Option<Self> {
        if number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The number.
    #[inline]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A 48-bit MAC address, in the low bits, first octet on the wire highest (IEEE 802-2014 §8.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(u64);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self(0xffff_ffff_ffff);
    /// `00:00:00:00:00:00`, valid as neither source nor destination.
    pub const ZERO: Self = Self(0);

    /// The address of six octets, in wire order.
    pub const fn new(octets: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = octets;
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// The address in the low 48 bits of `bits`; the rest is ignored.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::BROADCAST.0)
    }

    /// The address that goes with a name: always the same, locally administered, and of one station (IEEE
    /// 802-2014 §8.4). It is the name's FNV-1a hash, so that two switches make the same of one name.
    pub fn of_name(name: &str) -> Self {
        const LOCAL: u64 = 0b10 << 40;
        const GROUP: u64 = 0b01 << 40;
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::from_bits((hash ^ hash >> 48) & !GROUP | LOCAL)
    }

    /// The address as an integer, first octet highest.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Six octets in wire order.
    pub const fn octets(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// Whether the I/G bit is set: multicast or broadcast (IEEE 802-2014 §8.2.2).
    pub const fn is_group(self) -> bool {
        self.0 & (1 << 40) != 0
    }

    /// Whether all bits are zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.octets();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a MAC address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a MAC address: write six octets in hex, as 02:00:00:00:00:01")]
pub struct NotAMac(String);

impl FromStr for MacAddr {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let refuse = || NotAMac(text.to_owned());
        let mut octets = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().ok_or_else(refuse)?;
            let hex = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
            *octet = hex.then(|| u8::from_str_radix(part, 16).ok()).flatten().ok_or_else(refuse)?;
        }
        if parts.next().is_some() { Err(refuse()) } else { Ok(Self::new(octets)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "many rounds of safe arithmetic")]
    fn names_have_addresses_of_their_own() {
        assert_eq!(MacAddr::of_name("mv0"), MacAddr::of_name("mv0"));
        let addresses: std::collections::BTreeSet<_> =
            (0..10_000).map(|n| MacAddr::of_name(&format!("mv{n}"))).collect();
        assert_eq!(addresses.len(), 10_000);
        assert!(addresses.iter().all(|mac| !mac.is_group() && mac.octets()[0] & 0b10 != 0));
    }

    #[test]
    fn mac_text_round_trips() {
        let mac: MacAddr = "02:38:4a:12:3B:43".parse().unwrap();
        assert_eq!(mac.octets(), [0x02, 0x38, 0x4a, 0x12, 0x3b, 0x43]);
        assert_eq!(mac.to_string(), "02:38:4a:12:3b:43");
    }

    #[test]
    fn mac_text_that_is_not_six_octets_is_refused() {
        for text in ["", "02", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:0g", "+2:0:0:0:0:0"]
        {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_vlan_is_one_of_4094() {
        let numbers = [0, 1, 4094, 4095, 4096].map(|number| VlanId::new(number).map(VlanId::number));
        assert_eq!(numbers, [None, Some(1), Some(4094), None, None]);
        assert_eq!(VlanId::all().count(), 4094);
    }

    #[test]
    fn group_bit_is_the_low_bit_of_the_first_octet() {
        assert!(MacAddr::new([1, 0, 0, 0, 0, 0]).is_group());
        assert!(MacAddr::BROADCAST.is_group());
        assert!(!MacAddr::new([2, 0xff, 0, 0, 0, 0]).is_group());
    }
}
