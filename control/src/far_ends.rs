//! The numbers of far ends: what entries of a VXLAN device in the MAC table say in place of addresses, and what is behind each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use rigswitch_dataplane::ids::{MacAddr, Vni};
use rigswitch_dataplane::tables::Peer;
use rigswitch_dataplane::tunnels::{VxlanConfig, VxlanEntryConfig};

use crate::config::Config;

/// One far end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FarEnd {
    /// Its address.
    pub dst: IpAddr,
    /// Its UDP port; `None` for the device's own.
    pub port: Option<u16>,
    /// The network there; `None` for the device's own.
    pub vni: Option<Vni>,
    /// The device that packets to it leave by; `None` for whichever the device's do.
    pub via: Option<String>,
}

impl FarEnd {
    /// The one at this address that a device means if nothing else is said, and learns of.
    pub fn at(dst: IpAddr) -> Self {
        Self { dst, port: None, vni: None, via: None }
    }
}

impl From<&VxlanEntryConfig> for FarEnd {
    fn from(entry: &VxlanEntryConfig) -> Self {
        Self { dst: entry.dst, port: entry.port, vni: entry.vni, via: entry.via.clone() }
    }
}

/// Far ends that a station is behind: several, if it is a group.
pub type Group = Arc<[FarEnd]>;

/// Every number of every VXLAN device, or of each network of one, by its name.
#[derive(Clone, Debug, Default)]
pub struct FarEnds {
    devices: BTreeMap<String, Numbers>,
}

/// The numbers of one device.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    places: Vec<Option<Group>>, // by number, less one
    numbers: BTreeMap<Group, Peer>,
}

/// Far ends of which a device has learned that are remembered; beyond that those that nobody is behind make way.
pub const MOST_LEARNED: usize = 4096;

impl FarEnds {
    /// Has numbers for all that the entries of this configuration say, and for none of devices that it does not have.
    pub fn follow(&mut self, config: &Config) {
        let names: BTreeSet<_> = config.networks().map(|network| network.name).collect();
        self.devices.retain(|name, _| names.contains(&**name));
        for network in config.networks() {
            let numbers = self.devices.entry(network.name.into_owned()).or_default();
            for group in said(&network.vxlan) {
                numbers.admit(group);
            }
        }
    }

    /// Those of a device.
    pub fn of(&self, device: &str) -> Option<&Numbers> {
        self.devices.get(device)
    }

    /// The addresses of all.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let groups = self.devices.values().flat_map(|of| of.places.iter().flatten());
        groups.flat_map(|group| group.iter().map(|end| end.dst))
    }

    /// The number of a group of a device, which gets one if it has none; `None` if there is no such device, or there are none left.
    pub fn admit(&mut self, device: &str, group: Group) -> Option<Peer> {
        self.devices.get_mut(device)?.admit(group)
    }

    /// Whether a device has numbers that may not be in use: some that its entries do not say and were not learned, or too many learned ones.
    pub fn has_surplus(&self, device: &str, vxlan: &VxlanConfig) -> bool {
        let Some(numbers) = self.devices.get(device) else { return false };
        let said: BTreeSet<_> = said(vxlan).collect();
        let rest = numbers.numbers.keys().filter(|group| !said.contains(*group));
        let (learned, others) = rest.fold((0, 0), |(learned, others), group| match &group[..] {
            [FarEnd { port: None, vni: None, via: None, .. }] => (learned + 1, others),
            _ => (learned, others + 1),
        });
        others > 0 || learned > MOST_LEARNED
    }

    /// Takes the numbers of a device away that neither its entries say nor `used` has.
    pub fn release(&mut self, device: &str, vxlan: &VxlanConfig, used: &BTreeSet<Peer>) {
        let Some(numbers) = self.devices.get_mut(device) else { return };
        let said: BTreeSet<_> = said(vxlan).collect();
        numbers.numbers.retain(|group, peer| said.contains(group) || used.contains(peer));
        let staying: BTreeSet<_> = numbers.numbers.values().copied().collect();
        for (number, place) in (1..).zip(&mut numbers.places) {
            place.take_if(|_| !staying.contains(&Peer(number)));
        }
    }
}

impl Numbers {
    /// The group of a number.
    pub fn group(&self, peer: Peer) -> Option<&Group> {
        self.places.get(usize::from(peer.0).checked_sub(1)?)?.as_ref()
    }

    /// The number of a group.
    pub fn number(&self, group: &[FarEnd]) -> Option<Peer> {
        self.numbers.get(group).copied()
    }

    /// Every place, by number less one.
    pub fn places(&self) -> &[Option<Group>] {
        &self.places
    }

    /// The lowest that is free.
    fn admit(&mut self, group: Group) -> Option<Peer> {
        if let Some(peer) = self.number(&group) {
            return Some(peer);
        }
        let place = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        let peer = Peer(u16::try_from(place + 1).ok()?);
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(Arc::clone(&group));
        self.numbers.insert(group, peer);
        Some(peer)
    }
}

/// Every group that the entries of a device say; and every far end of those by itself, which stations will be learned behind.
fn said(vxlan: &VxlanConfig) -> impl Iterator<Item = Group> {
    let single = |entry: VxlanEntryConfig| Group::from([FarEnd::at(entry.dst)]);
    groups(vxlan).into_values().chain(vxlan.entries().map(single))
}

/// The far ends that the entries of a device say of each station, in order.
pub fn groups(vxlan: &VxlanConfig) -> BTreeMap<MacAddr, Group> {
    let mut lists: BTreeMap<MacAddr, Vec<FarEnd>> = BTreeMap::new();
    for entry in vxlan.entries() {
        lists.entry(entry.mac).or_default().push((&entry).into());
    }
    lists.into_iter().map(|(mac, list)| (mac, list.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(fdb: &str) -> Config {
        Config::parse(&format!("[[vxlan]]\nname = \"vx0\"\nid = 1\nfdb = [{fdb}]"), "rig.toml").unwrap()
    }

    #[test]
    fn groups_keep_their_numbers_and_new_ones_get_the_lowest_that_is_free() {
        let to = |mac: u8, dst: &str| format!("{{ mac = \"02:00:00:00:00:{mac:02x}\", dst = \"{dst}\" }},");
        let zero = |dst: &str| format!("{{ mac = \"00:00:00:00:00:00\", dst = \"{dst}\" }},");
        let mut ends = FarEnds::default();
        let before =
            config(&[zero("192.0.2.1"), zero("192.0.2.2"), to(1, "192.0.2.1"), to(2, "192.0.2.1")].concat());
        ends.follow(&before);
        let end = |dst: &str| FarEnd::at(dst.parse().unwrap());
        let (one, two) = (end("192.0.2.1"), end("192.0.2.2"));
        let number =
            |ends: &FarEnds, group: &[FarEnd]| ends.of("vx0").unwrap().number(group).map(|peer| peer.0);
        assert_eq!(number(&ends, &[one.clone(), two.clone()]), Some(1));
        assert_eq!(number(&ends, std::slice::from_ref(&one)), Some(2));

        let after = config(&[zero("192.0.2.2"), to(1, "192.0.2.1")].concat());
        let vxlan = after.vxlans().next().unwrap().1;
        ends.follow(&after);
        assert_eq!(number(&ends, std::slice::from_ref(&two)), Some(3), "by itself, from the first");
        assert!(ends.has_surplus("vx0", vxlan));
        ends.release("vx0", vxlan, &BTreeSet::new());
        assert_eq!(number(&ends, &[one.clone(), two.clone()]), None);
        assert!(!ends.has_surplus("vx0", vxlan));

        let three: Group = [end("192.0.2.3")].into();
        assert_eq!(ends.admit("vx0", Arc::clone(&three)), Some(Peer(1)));
        assert_eq!(ends.of("vx0").unwrap().group(Peer(1)), Some(&three));
        ends.release("vx0", vxlan, &BTreeSet::from([Peer(1)]));
        assert_eq!(number(&ends, &three), Some(1), "somebody is behind it");
        ends.follow(&Config::default());
        assert!(ends.of("vx0").is_none());
        assert_eq!(ends.admit("vx0", three), None);
    }

    #[test]
    fn there_are_no_more_groups_than_numbers() {
        let mut numbers = Numbers::default();
        let end = |n: u32| Group::from([FarEnd::at(IpAddr::from(n.to_be_bytes()))]);
        assert!((1..=65_535).all(|n| numbers.admit(end(n)).is_some()));
        assert_eq!((numbers.admit(end(65_536)), numbers.admit(end(1))), (None, Some(Peer(1))));
    }
}
