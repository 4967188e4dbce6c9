//! The numbers of learning domains: a bridge keeps its own, and those of its VLANs, for as long as they are there, whatever
//! comes and goes beside them; and so does a VXLAN device, or each network of one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rigswitch_dataplane::bridge::BridgeConfig;
use rigswitch_dataplane::ids::{DomainId, VlanId};

use crate::config::Config;

/// Which bridge or VXLAN device, and which VLAN of a bridge that filters, has which domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domains {
    places: Vec<Option<(Arc<str>, Option<VlanId>)>>,
    numbers: BTreeMap<Arc<str>, BTreeMap<Option<VlanId>, DomainId>>,
}

/// There are more bridges, VLANs and VXLAN devices than there are numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

impl Domains {
    /// As many bridges, VLANs of bridges and VXLAN devices as there can be together.
    pub const LIMIT: usize = u16::MAX as usize;

    /// How many a bridge takes.
    pub fn needed(bridge: &BridgeConfig) -> usize {
        1 + bridge.vlans_in_use().len()
    }

    /// Gives a number to everything of this configuration that has none: the lowest that are free.
    ///
    /// # Errors
    /// [`TooMany`], and some have none.
    pub fn admit(&mut self, config: &Config) -> Result<(), TooMany> {
        let mut place = 0;
        for (name, vlans) in owners(config) {
            let name: Arc<str> = Arc::from(&*name);
            let numbers = self.numbers.entry(Arc::clone(&name)).or_default();
            for vlan in [None].into_iter().chain(vlans.into_iter().map(Some)) {
                if numbers.contains_key(&vlan) {
                    continue;
                }
                while self.places.get(place).is_some_and(Option::is_some) {
                    place += 1;
                }
                let number = u16::try_from(place + 1).ok().and_then(DomainId::new).ok_or(TooMany)?;
                if place == self.places.len() {
                    self.places.push(None);
                }
                self.places[place] = Some((Arc::clone(&name), vlan));
                numbers.insert(vlan, number);
            }
        }
        Ok(())
    }

    /// Takes their numbers from all that this configuration does not have. Nothing may be left in the tables of a number that is free.
    pub fn release_all_but(&mut self, config: &Config) {
        let staying: BTreeMap<_, _> = owners(config).collect();
        let stays = |name: &str, vlan: Option<VlanId>| {
            staying.get(name).is_some_and(|vlans| vlan.is_none_or(|vid| vlans.contains(&vid)))
        };
        for place in &mut self.places {
            place.take_if(|(name, vlan)| !stays(name, *vlan));
        }
        for (name, numbers) in &mut self.numbers {
            numbers.retain(|vlan, _| stays(name, *vlan));
        }
        self.numbers.retain(|_, numbers| !numbers.is_empty());
    }

    /// The domain of a bridge; where each VLAN has its own, the one that bridge and ports are known by.
    pub fn of(&self, bridge: &str) -> Option<DomainId> {
        self.of_vlan(bridge, None)
    }

    /// The domain of a VLAN of a bridge.
    pub fn of_vlan(&self, bridge: &str, vlan: Option<VlanId>) -> Option<DomainId> {
        self.numbers.get(bridge)?.get(&vlan).copied()
    }

    /// Every VLAN of a bridge and its domain.
    pub fn vlans<'d>(&'d self, bridge: &str) -> impl Iterator<Item = (VlanId, DomainId)> + use<'d> {
        let numbers = self.numbers.get(bridge).into_iter().flatten();
        numbers.filter_map(|(vlan, domain)| Some(((*vlan)?, *domain)))
    }

    /// The domain of a bridge, and those of its VLANs.
    pub fn all<'d>(&'d self, bridge: &str) -> impl Iterator<Item = DomainId> + use<'d> {
        self.numbers.get(bridge).into_iter().flatten().map(|(_, domain)| *domain)
    }

    /// The bridge or VXLAN device of a domain.
    pub fn bridge(&self, domain: DomainId) -> Option<&str> {
        Some(&self.place(domain)?.0)
    }

    /// The VLAN of a domain, if it is of one.
    pub fn vlan(&self, domain: DomainId) -> Option<VlanId> {
        self.place(domain)?.1
    }

    fn place(&self, domain: DomainId) -> Option<&(Arc<str>, Option<VlanId>)> {
        self.places.get(usize::from(domain.number()) - 1)?.as_ref()
    }

    /// The highest number there has been, which is how many places tables need.
    pub fn places(&self) -> usize {
        self.places.len()
    }
}

/// All that has domains, by name, and the VLANs that have one each.
fn owners(config: &Config) -> impl Iterator<Item = (Cow<'_, str>, BTreeSet<VlanId>)> {
    let bridges = config.bridges.iter().map(|bridge| (Cow::from(&*bridge.name), bridge.vlans_in_use()));
    bridges.chain(config.networks().map(|network| (network.name, BTreeSet::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridges(names: &[&str]) -> Config {
        let text: String = names.iter().map(|name| format!("[[bridge]]\nname = \"{name}\"\n")).collect();
        Config::parse(&text, "rig.toml").unwrap()
    }

    fn filtering(vlans: &str) -> Config {
        let text = format!(
            "[[bridge]]\nname = \"a\"\nvlan_filtering = true\nvlan = {{ tagged = [{vlans}] }}\n\
             [[bridge]]\nname = \"b\"\n"
        );
        Config::parse(&text, "rig.toml").unwrap()
    }

    #[test]
    fn a_bridge_keeps_its_domain_and_a_new_one_gets_the_lowest_that_is_free() {
        let mut domains = Domains::default();
        let number = |domains: &Domains, name| domains.of(name).map(DomainId::number);
        domains.admit(&bridges(&["a", "b", "c"])).unwrap();
        domains.release_all_but(&bridges(&["c", "b"]));
        assert_eq!(["a", "b", "c"].map(|name| number(&domains, name)), [None, Some(2), Some(3)]);
        domains.admit(&bridges(&["d", "c", "b", "e"])).unwrap();
        assert_eq!(
            ["d", "c", "b", "e"].map(|name| number(&domains, name)),
            [Some(1), Some(3), Some(2), Some(4)]
        );
        assert_eq!(domains.bridge(DomainId::new(4).unwrap()), Some("e"));
        assert_eq!((domains.bridge(DomainId::new(5).unwrap()), domains.places()), (None, 4));
    }

    #[test]
    fn every_vlan_of_a_bridge_that_filters_has_a_domain_which_it_keeps() {
        let mut domains = Domains::default();
        domains.admit(&filtering("10, \"20-21\"")).unwrap();
        let vlans = |domains: &Domains| -> Vec<_> {
            domains.vlans("a").map(|(vid, domain)| (vid.number(), domain.number())).collect()
        };
        assert_eq!(vlans(&domains), [(10, 2), (20, 3), (21, 4)]);
        assert_eq!((domains.of("a"), domains.of("b")), (DomainId::new(1), DomainId::new(5)));
        domains.admit(&filtering("21, 30")).unwrap();
        domains.release_all_but(&filtering("21, 30"));
        assert_eq!(vlans(&domains), [(21, 4), (30, 6)]);
        domains.admit(&filtering("20, 21, 30")).unwrap();
        assert_eq!(vlans(&domains), [(20, 2), (21, 4), (30, 6)]);
        let three = DomainId::new(2).unwrap();
        assert_eq!((domains.bridge(three), domains.vlan(three)), (Some("a"), VlanId::new(20)));
        assert_eq!(domains.all("a").count(), 4);
    }

    #[test]
    fn there_are_no_more_domains_than_numbers() {
        let mut config = Config::default();
        let bridges = &mut config.bridges;
        let [full, _] = &filtering("\"1-4094\"").bridges[..] else { panic!("two bridges") };
        for number in 0..16 {
            bridges.push(BridgeConfig { name: format!("br{number}"), ..full.clone() });
        }
        assert_eq!(bridges.iter().map(Domains::needed).sum::<usize>(), Domains::LIMIT - 15);
        let mut domains = Domains::default();
        domains.admit(&config).unwrap();
        config.bridges.push(BridgeConfig { name: "br16".into(), ..full.clone() });
        assert_eq!(domains.admit(&config), Err(TooMany));
    }
}
