//! Who is behind a routed device: link-layer addresses by device and IP address, as control has resolved them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::ids::{DeviceId, MacAddr};
use crate::wire::flow::scramble;

/// An address of either family, to be hashed.
pub trait Hashed: Copy + Eq {
    /// Nobody's.
    const UNSPECIFIED: Self;

    /// A number that all its bits and those of `seed` matter to.
    fn hash(self, seed: u64) -> u64;
}

impl Hashed for Ipv4Addr {
    const UNSPECIFIED: Self = Self::UNSPECIFIED;

    #[inline]
    fn hash(self, seed: u64) -> u64 {
        scramble(seed ^ u64::from(self.to_bits()))
    }
}

impl Hashed for Ipv6Addr {
    const UNSPECIFIED: Self = Self::UNSPECIFIED;

    #[inline]
    fn hash(self, seed: u64) -> u64 {
        let [high, low] = [self.to_bits() >> 64, self.to_bits()];
        #[expect(clippy::cast_possible_truncation, reason = "the halves")]
        scramble(scramble(seed ^ low as u64) ^ high as u64)
    }
}

/// The neighbours of one address family. Open addressing at most half full: a neighbour is found in its first line of memory or the
/// next, nearly always.
#[derive(Clone, Debug)]
pub struct Adjacencies<A> {
    slots: Box<[Neighbor<A>]>, // a power of two
    key: u64,
}

#[derive(Clone, Copy, Debug)]
struct Neighbor<A> {
    mac: MacAddr, // zero, which nobody has, in a slot that is free
    device: DeviceId,
    address: A,
}

const _: () = assert!(size_of::<Neighbor<Ipv4Addr>>() == 16 && size_of::<Neighbor<Ipv6Addr>>() == 32);

impl<A: Hashed> Adjacencies<A> {
    /// These neighbours; no address may be twice behind one device, and nobody's link-layer address be zero. `key` keeps those who
    /// choose addresses from choosing places.
    pub fn new(neighbors: impl ExactSizeIterator<Item = (DeviceId, A, MacAddr)>, key: u64) -> Self {
        let room = (2 * neighbors.len()).next_power_of_two().max(1);
        let free = Neighbor { mac: MacAddr::ZERO, device: DeviceId(0), address: A::UNSPECIFIED };
        let mut table = Self { slots: vec![free; room].into(), key };
        for (device, address, mac) in neighbors {
            let place = table.probe(device, address).find(|&place| table.slots[place].mac.is_zero());
            table.slots[place.expect("half of the places are free")] = Neighbor { mac, device, address };
        }
        table
    }

    /// The link-layer address of a neighbour, if it is known.
    #[inline]
    pub fn find(&self, device: DeviceId, address: A) -> Option<MacAddr> {
        for place in self.probe(device, address) {
            let neighbor = &self.slots[place];
            if neighbor.mac.is_zero() {
                return None;
            }
            if neighbor.device == device && neighbor.address == address {
                return Some(neighbor.mac);
            }
        }
        None
    }

    /// Where a neighbour may be, in order.
    #[inline]
    fn probe(&self, device: DeviceId, address: A) -> impl Iterator<Item = usize> + use<A> {
        let hash = address.hash(self.key ^ u64::from(device.0) << 48);
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        (0..self.slots.len()).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }
}

impl<A: Hashed> Default for Adjacencies<A> {
    fn default() -> Self {
        Self::new(std::iter::empty(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn neighbours_are_found_behind_their_device_and_nowhere_else(
            known in prop::collection::btree_map((0..3u16, 0..40u32), any::<u64>(), 0..80),
            key: u64,
        ) {
            let known: BTreeMap<_, _> = known.into_iter()
                .map(|((device, address), mac)| ((DeviceId(device), Ipv4Addr::from_bits(address)), MacAddr::from_bits(mac | 1)))
                .collect();
            let table = Adjacencies::new(known.iter().map(|((device, address), mac)| (*device, *address, *mac)), key);
            let mapped = known.iter().map(|((device, address), mac)| (*device, address.to_ipv6_mapped(), *mac));
            let wide = Adjacencies::new(mapped, key);
            for device in (0..4).map(DeviceId) {
                for address in (0..41).map(Ipv4Addr::from_bits) {
                    let expected = known.get(&(device, address)).copied();
                    prop_assert_eq!(table.find(device, address), expected);
                    prop_assert_eq!(wide.find(device, address.to_ipv6_mapped()), expected);
                }
            }
        }
    }
}
