//! The ipvlans of one device, compiled: which of them has an address.

use std::net::IpAddr;

use super::Ways;
use crate::ids::{DeviceId, MacAddr};
use crate::sys::hints;

/// A number of [`Children`] in the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChildrenId(pub u16);

/// How the ipvlans of one device reach each other (`IPVLAN_F_PRIVATE` and `IPVLAN_F_VEPA`, include/uapi/linux/if_link.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpvlanFlag {
    /// At once.
    #[default]
    Bridge,
    /// Not at all, but by broadcasts and groups.
    Private,
    /// By whatever is on the wire, which sends back what is for them.
    Vepa,
}

/// The ipvlans that stand on one device.
#[derive(Clone, Debug)]
pub struct Children {
    /// The address that they share with it.
    pub mac: MacAddr,
    /// How they reach each other.
    pub flag: IpvlanFlag,
    /// By which routes of their device what they send leaves, in mode L3; `None` in mode L2.
    pub ways: Option<Ways>,
    all: Box<[DeviceId]>,
    slots: Box<[Slot]>, // a power of two, and at least half of them free
}

/// An address as it is looked for, as a number and of which family, and where in the table that begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    number: u128,
    family: Family,
    first: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    /// None: the slot is free.
    Free,
    Ipv4,
    Ipv6,
}

/// Two are on a cache line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    number: u128,
    family: Family,
    device: DeviceId,
}

const _: () = assert!(size_of::<Slot>() == 32 && size_of::<Place>() == 32);

impl Children {
    /// These ipvlans, with these addresses. No address may be two's.
    pub fn new(
        mac: MacAddr,
        flag: IpvlanFlag,
        all: impl IntoIterator<Item = DeviceId>,
        addresses: impl IntoIterator<Item = (IpAddr, DeviceId)>,
    ) -> Self {
        let addresses: Vec<_> = addresses.into_iter().collect();
        let free = Slot { number: 0, family: Family::Free, device: DeviceId(0) };
        let slots = vec![free; (2 * addresses.len()).next_power_of_two()].into();
        let mut children = Self { mac, flag, ways: None, all: all.into_iter().collect(), slots };
        for (address, device) in addresses {
            let Place { number, family, first } = children.locate(address);
            let mut slot = first as usize;
            while children.slots[slot].family != Family::Free {
                slot = children.after(slot);
            }
            children.slots[slot] = Slot { number, family, device };
        }
        children
    }

    /// All of them, in order.
    pub fn all(&self) -> &[DeviceId] {
        &self.all
    }

    /// Where an address is looked for.
    #[inline]
    pub fn locate(&self, address: IpAddr) -> Place {
        let (number, family) = match address {
            IpAddr::V4(address) => (u32::from(address).into(), Family::Ipv4),
            IpAddr::V6(address) => (address.into(), Family::Ipv6),
        };
        // A table of more slots than that does not fit a configuration file.
        let last = u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX);
        Place { number, family, first: scatter(number) & last }
    }

    /// Starts to bring that place closer.
    #[inline]
    pub fn prefetch(&self, place: Place) {
        hints::prefetch(&self.slots[place.first as usize]);
    }

    /// The one that has the address of `place`.
    #[inline]
    pub fn find(&self, place: Place) -> Option<DeviceId> {
        let mut slot = place.first as usize;
        loop {
            let Slot { number, family, device } = self.slots[slot];
            if (number, family) == (place.number, place.family) {
                return Some(device);
            }
            if family == Family::Free {
                return None;
            }
            slot = self.after(slot);
        }
    }

    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }
}

impl Place {
    /// The address that is looked for.
    pub fn address(self) -> IpAddr {
        let octets = self.number.to_be_bytes();
        match (self.family, octets.last_chunk::<4>()) {
            (Family::Ipv4, Some(&octets)) => octets.into(),
            _ => octets.into(),
        }
    }
}

/// A number of which every bit depends on the low bits of both halves: addresses of one network differ in those of one.
#[inline]
fn scatter(number: u128) -> u32 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let [high, low] = halves(number);
    (high.wrapping_mul(GOLDEN).wrapping_add(low).wrapping_mul(GOLDEN) >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are what is left")]
fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children(addresses: impl IntoIterator<Item = (IpAddr, DeviceId)>) -> Children {
        Children::new(MacAddr::ZERO, IpvlanFlag::Bridge, [1, 2].map(DeviceId), addresses)
    }

    fn find(children: &Children, address: impl Into<IpAddr>) -> Option<u16> {
        let place = children.locate(address.into());
        children.prefetch(place);
        children.find(place).map(|device| device.0)
    }

    #[test]
    fn each_is_found_by_its_addresses_and_nobody_else() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let children = children([
            (address("10.66.0.1"), DeviceId(1)),
            (address("fd66::1"), DeviceId(1)),
            (address("10.66.0.2"), DeviceId(2)),
        ]);
        for (text, child) in [
            ("10.66.0.1", Some(1)),
            ("10.66.0.2", Some(2)),
            ("10.66.0.3", None),
            ("fd66::1", Some(1)),
            ("fd66::2", None),
            // The same number, and of the other family.
            ("::10.66.0.1", None),
            ("0.0.0.0", None),
            ("::", None),
        ] {
            assert_eq!(find(&children, address(text)), child, "{text}");
            assert_eq!(children.locate(address(text)).address(), address(text));
        }
        assert_eq!(children.all(), [1, 2].map(DeviceId));
        assert_eq!(find(&self::children([]), address("10.66.0.1")), None);
    }

    #[test]
    fn many_are_found_in_few_steps() {
        const COUNT: u16 = 30_000;
        let of = |n: u16| -> [IpAddr; 2] {
            let v4 = 0x0a00_0000 + u32::from(n);
            // Networks of one address each: they differ in the upper half.
            let v6 = (0xfd66_u128 << 112) + (u128::from(n) << 64) + 1;
            [v4.to_be_bytes().into(), v6.to_be_bytes().into()]
        };
        let children = children((0..COUNT).flat_map(|n| of(n).map(|it| (it, DeviceId(n)))));
        let longest = children.slots.split(|slot| slot.family == Family::Free).map(<[_]>::len).max();
        assert!(longest < Some(64), "{longest:?} slots in a row are taken");
        for n in 0..COUNT {
            assert_eq!(of(n).map(|it| find(&children, it)), [Some(n); 2]);
            assert_eq!(of(COUNT + n).map(|it| find(&children, it)), [None; 2]);
        }
    }
}
