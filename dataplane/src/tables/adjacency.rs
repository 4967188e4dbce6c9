//! Who is behind a routed device: link-layer addresses by device and IP address, as control has resolved them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::ids::{DeviceId, MacAddr};
use crate::wire::flow::scramble;

/// An address of either family, as words to hash.
pub trait Words: Copy + Eq {
    /// Its bits, in as many words as it has.
    fn words(self) -> [u64; 2];
}

impl Words for Ipv4Addr {
    fn words(self) -> [u64; 2] {
        [u64::from(self.to_bits()), 0]
    }
}

impl Words for Ipv6Addr {
    fn words(self) -> [u64; 2] {
        let [high, low] = [self.to_bits() >> 64, self.to_bits()];
        #[expect(clippy::cast_possible_truncation, reason = "the halves")]
        [high as u64, low as u64]
    }
}

/// The neighbours of one address family. Open addressing at most half full: a neighbour is found in its first line of memory or the
/// next, nearly always.
#[derive(Clone, Debug)]
pub struct Adjacencies<A> {
    slots: Box<[Option<Neighbor<A>>]>, // a power of two
    key: u64,
}

#[derive(Clone, Copy, Debug)]
struct Neighbor<A> {
    device: DeviceId,
    address: A,
    mac: MacAddr,
}

impl<A: Words> Adjacencies<A> {
    /// These neighbours; no address may be twice behind one device. `key` keeps those who choose addresses from choosing places.
    pub fn new(neighbors: impl ExactSizeIterator<Item = (DeviceId, A, MacAddr)>, key: u64) -> Self {
        let room = (2 * neighbors.len()).next_power_of_two().max(1);
        let mut table = Self { slots: vec![None; room].into(), key };
        for (device, address, mac) in neighbors {
            let place = table.probe(device, address).find(|&place| table.slots[place].is_none());
            table.slots[place.expect("half of the places are free")] =
                Some(Neighbor { device, address, mac });
        }
        table
    }

    /// The link-layer address of a neighbour, if it is known.
    #[inline]
    pub fn find(&self, device: DeviceId, address: A) -> Option<MacAddr> {
        for place in self.probe(device, address) {
            let neighbor = self.slots[place].as_ref()?;
            if neighbor.device == device && neighbor.address == address {
                return Some(neighbor.mac);
            }
        }
        None
    }

    /// Where a neighbour may be, in order.
    #[inline]
    fn probe(&self, device: DeviceId, address: A) -> impl Iterator<Item = usize> + use<A> {
        let [high, low] = address.words();
        let hash = scramble(scramble(self.key ^ low ^ u64::from(device.0) << 48) ^ high);
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        (0..=mask).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }
}

impl<A: Words> Default for Adjacencies<A> {
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
                .map(|((device, address), mac)| ((DeviceId(device), Ipv4Addr::from_bits(address)), MacAddr::from_bits(mac)))
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
