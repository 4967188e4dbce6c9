//! What a bridge that filters knows of VLANs, compiled: the learning domain of each, and what each port is in.

use std::sync::Arc;

use crate::counters::VlanStats;
use crate::ids::{DomainId, MacAddr, VlanId};
use crate::wire::ethernet::EtherType;

/// The VLANs of one bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vlans {
    /// The tags that count: [`EtherType::CTAG`] or [`EtherType::STAG`]. Any other is payload.
    pub protocol: EtherType,
    /// Which stations are of which VLAN, wherever they send from.
    pub macs: MacVlans,
    domains: Box<[DomainId; VlanId::COUNT]>, // by VID; the bridge's own for none
}

impl Vlans {
    /// The bridge of this domain, with these VLANs, each a learning domain.
    pub fn new(
        bridge: DomainId,
        protocol: EtherType,
        domains: impl IntoIterator<Item = (VlanId, DomainId)>,
    ) -> Self {
        let mut numbers = Box::new([bridge; VlanId::COUNT]);
        domains.into_iter().for_each(|(vid, domain)| numbers[vid.index()] = domain);
        Self { protocol, macs: MacVlans::default(), domains: numbers }
    }

    /// The learning domain of a VLAN; the bridge's own, which no frame is of, if the bridge has none of this identifier.
    #[inline]
    pub fn domain(&self, vid: u16) -> DomainId {
        self.domains[usize::from(vid) % VlanId::COUNT]
    }
}

/// A port of a bridge that filters; the host's port too.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VlanPort {
    pvid: u16, // zero for none
    words: Words,
    /// What sets it apart from others that are in some VLANs.
    pub special: Special,
}

/// Sixty-four VLANs: which the port is in, and which leave it without a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(align(16))]
struct Word {
    member: u64,
    untagged: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Words([Word; VlanId::COUNT / 64]);

impl Default for Words {
    fn default() -> Self {
        Self([Word::default(); VlanId::COUNT / 64])
    }
}

/// What a port does with VLANs beyond being in them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Special {
    /// Whatever a frame carries is payload, and the PVID is its VLAN (dot1q-tunnel).
    pub tunnel: bool,
    /// Whether the VLAN of an untagged frame may be that of its source address.
    pub asks_macs: bool,
    /// VLANs that have other identifiers on its wire.
    pub translation: Option<Arc<Translation>>,
    /// Where its frames are counted by VLAN.
    pub stats: Option<Arc<VlanStats>>,
}

impl VlanPort {
    /// A port in no VLAN.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes it a member of a VLAN, whose frames leave it tagged or not.
    pub fn join(&mut self, vid: VlanId, untagged: bool) {
        let (word, bit) = (&mut self.words.0[vid.index() / 64], 1 << (vid.index() % 64));
        word.member |= bit;
        word.untagged = if untagged { word.untagged | bit } else { word.untagged & !bit };
    }

    /// Has frames without a VLAN be of this one, of which it is a member.
    pub fn set_pvid(&mut self, pvid: Option<VlanId>) {
        self.pvid = pvid.map_or(0, VlanId::number);
    }

    /// The VLAN of frames that come without one; zero if they may not come.
    #[inline]
    pub fn pvid(&self) -> u16 {
        self.pvid
    }

    /// Whether it is in the VLAN of this identifier. None is of 0 and of 4095.
    #[inline]
    pub fn is_in(&self, vid: u16) -> bool {
        self.word(vid).member >> (vid % 64) & 1 != 0
    }

    /// Whether frames of this VLAN leave it without a tag.
    #[inline]
    pub fn untags(&self, vid: u16) -> bool {
        self.word(vid).untagged >> (vid % 64) & 1 != 0
    }

    #[inline]
    fn word(&self, vid: u16) -> Word {
        self.words.0[usize::from(vid) / 64 % (VlanId::COUNT / 64)]
    }

    /// Whether all there is to it are the VLANs that it is in.
    pub fn is_plain(&self) -> bool {
        self.special == Special::default()
    }

    /// The VLANs it is in.
    pub fn vlans(&self) -> impl Iterator<Item = VlanId> {
        VlanId::all().filter(|vid| self.is_in(vid.number()))
    }
}

/// The identifiers that VLANs have on the wire of a port instead of their own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Translation {
    inward: [u16; VlanId::COUNT],
    outward: [u16; VlanId::COUNT],
}

impl Translation {
    /// What is `from` on the wire is `to` in the bridge, each way; no two are from one or to one.
    pub fn new(pairs: impl IntoIterator<Item = (VlanId, VlanId)>) -> Self {
        let mut same = [0; VlanId::COUNT];
        same.iter_mut().zip(0..).for_each(|(vid, number)| *vid = number);
        let mut translation = Self { inward: same, outward: same };
        for (from, to) in pairs {
            translation.inward[from.index()] = to.number();
            translation.outward[to.index()] = from.number();
        }
        translation
    }

    /// The VLAN of what is tagged like this.
    pub fn inward(&self, vid: u16) -> u16 {
        self.inward[usize::from(vid) % VlanId::COUNT]
    }

    /// What frames of this VLAN are tagged with.
    pub fn outward(&self, vid: u16) -> u16 {
        self.outward[usize::from(vid) % VlanId::COUNT]
    }
}

/// The VLANs of stations by their addresses, and parts of them: the more bits a rule names, the sooner it holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MacVlans(Box<[Masked]>);

/// The rules of one mask, sorted by address.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Masked {
    mask: u64,
    vlans: Box<[(MacAddr, VlanId)]>,
}

impl MacVlans {
    /// These rules: an address, the bits of it that count, and the VLAN. No two are of the same address and bits.
    pub fn new(rules: impl IntoIterator<Item = (MacAddr, MacAddr, VlanId)>) -> Self {
        let mut by_mask = std::collections::BTreeMap::<_, Vec<_>>::new();
        for (mac, mask, vid) in rules {
            let bits = mask.bits();
            by_mask.entry((bits.count_ones(), bits)).or_default().push((masked(mac, bits), vid));
        }
        let sorted = |((_, mask), mut vlans): ((u32, u64), Vec<_>)| {
            vlans.sort_unstable();
            Masked { mask, vlans: vlans.into() }
        };
        Self(by_mask.into_iter().rev().map(sorted).collect())
    }

    /// The VLAN of a station, if a rule has it.
    pub fn of(&self, station: MacAddr) -> Option<VlanId> {
        self.0.iter().find_map(|rules| {
            let key = masked(station, rules.mask);
            let place = rules.vlans.binary_search_by_key(&key, |(mac, _)| *mac).ok()?;
            Some(rules.vlans[place].1)
        })
    }
}

fn masked(mac: MacAddr, mask: u64) -> MacAddr {
    MacAddr::from_bits(mac.bits() & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vlan(number: u16) -> VlanId {
        VlanId::new(number).unwrap()
    }

    #[test]
    fn a_port_is_in_what_it_joined_and_nothing_is_in_what_is_no_vlan() {
        let mut port = VlanPort::new();
        for (number, untagged) in [(1, true), (63, false), (64, true), (4094, false)] {
            port.join(vlan(number), untagged);
        }
        assert_eq!(port.vlans().map(VlanId::number).collect::<Vec<_>>(), [1, 63, 64, 4094]);
        let untags = |vid| port.untags(vid);
        assert_eq!([1, 2, 63, 64, 4094].map(untags), [true, false, false, true, false]);
        assert!([0, 2, 4095, u16::MAX].iter().all(|&vid| !port.is_in(vid)));
        port.join(vlan(1), false);
        assert!(port.is_in(1) && !port.untags(1) && port.is_plain());
    }

    #[test]
    fn a_translation_goes_both_ways() {
        let translation = Translation::new([(vlan(10), vlan(110))]);
        assert_eq!([10, 11, 110].map(|vid| translation.inward(vid)), [110, 11, 110]);
        assert_eq!([10, 11, 110].map(|vid| translation.outward(vid)), [10, 11, 10]);
    }

    #[test]
    fn the_rule_that_names_the_most_of_an_address_holds() {
        let mac = |text: &str| text.parse::<MacAddr>().unwrap();
        let rules = MacVlans::new([
            (mac("00:1b:21:00:00:00"), mac("ff:ff:ff:00:00:00"), vlan(30)),
            (mac("00:1b:21:00:00:07"), MacAddr::BROADCAST, vlan(40)),
            (mac("00:1b:00:00:00:00"), mac("ff:ff:00:00:00:00"), vlan(20)),
            (mac("00:1b:21:77:77:77"), mac("ff:ff:ff:ff:00:00"), vlan(50)),
        ]);
        let of = |text| rules.of(mac(text)).map(VlanId::number);
        assert_eq!(of("00:1b:21:00:00:07"), Some(40));
        assert_eq!(of("00:1b:21:00:00:08"), Some(30));
        assert_eq!(of("00:1b:21:77:00:08"), Some(50));
        assert_eq!(of("00:1b:22:77:00:08"), Some(20));
        assert_eq!(of("00:1c:22:77:00:08"), None);
        assert_eq!(MacVlans::default().of(MacAddr::ZERO), None);
    }
}
