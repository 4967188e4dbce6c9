//! Addresses of both versions, as bits, and their prefixes.

use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An IP address, as routes look at it.
pub trait Address: Copy + Ord + Debug {
    /// Bits in it.
    const BITS: u8;

    /// One of its octets, in wire order; the number wraps.
    fn octet(self, number: u8) -> u8;

    /// How many leading bits are those of `other`.
    fn shared(self, other: Self) -> u8;

    /// The address with these first 16 bits, the rest zero.
    fn from_head(head: u16) -> Self;

    /// The same with all but the first so many bits zero.
    fn truncated(self, length: u8) -> Self;
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;

    #[inline]
    fn octet(self, number: u8) -> u8 {
        self.octets()[usize::from(number % 4)]
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
    fn shared(self, other: Self) -> u8 {
        (self.to_bits() ^ other.to_bits()).leading_zeros() as u8
    }

    fn from_head(head: u16) -> Self {
        Self::from_bits(u32::from(head) << 16)
    }

    fn truncated(self, length: u8) -> Self {
        let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
        Self::from_bits(self.to_bits() & !host)
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;

    #[inline]
    fn octet(self, number: u8) -> u8 {
        self.octets()[usize::from(number % 16)]
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most 128")]
    fn shared(self, other: Self) -> u8 {
        (self.to_bits() ^ other.to_bits()).leading_zeros() as u8
    }

    fn from_head(head: u16) -> Self {
        Self::from_bits(u128::from(head) << 112)
    }

    fn truncated(self, length: u8) -> Self {
        let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
        Self::from_bits(self.to_bits() & !host)
    }
}

/// The first so many bits of an address. Prefixes sort by address, one that holds another ahead of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Prefix<A> {
    address: A, // bits behind the length are zero
    length: u8,
}

/// Why something is no prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPrefix {
    /// An address has fewer bits.
    #[error("a prefix of {length} bits of an address that has {bits}")]
    Length {
        /// Bits asked for.
        length: u8,
        /// Bits there are.
        bits: u8,
    },
    /// Bits behind its length are set.
    #[error("bits are set behind the first {0}: clear them, or give a longer prefix")]
    HostBits(u8),
}

impl<A: Address> Prefix<A> {
    /// The prefix `address/length`.
    ///
    /// # Errors
    /// If an address has fewer bits, or has others set behind them. The kernel refuses those of IPv4 (`fib_valid_key_len`) and
    /// clears those of IPv6 (`ip6_route_info_create`).
    pub fn new(address: A, length: u8) -> Result<Self, BadPrefix> {
        if length > A::BITS {
            return Err(BadPrefix::Length { length, bits: A::BITS });
        }
        if address.truncated(length) != address {
            return Err(BadPrefix::HostBits(length));
        }
        Ok(Self { address, length })
    }

    /// The first so many bits of an address, all if it has fewer.
    pub fn of(address: A, length: u8) -> Self {
        let length = length.min(A::BITS);
        Self { address: address.truncated(length), length }
    }

    /// Its address, zero behind its length.
    pub fn address(self) -> A {
        self.address
    }

    /// How many bits.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether `address` begins with it.
    pub fn holds(self, address: A) -> bool {
        self.address.shared(address) >= self.length
    }
}
