//! The numbers of learning domains: a bridge keeps its own for as long as it is there, whatever comes and goes beside it.

use rigswitch_dataplane::bridge::BridgeConfig;
use rigswitch_dataplane::ids::DomainId;

/// Which bridge has which domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domains(Vec<Option<String>>);

impl Domains {
    /// Gives a number to every bridge that has none: the lowest that are free.
    pub fn admit(&mut self, bridges: &[BridgeConfig]) {
        for bridge in bridges.iter().map(|bridge| &bridge.name) {
            if self.of(bridge).is_some() {
                continue;
            }
            match self.0.iter_mut().find(|place| place.is_none()) {
                Some(free) => *free = Some(bridge.clone()),
                None => self.0.push(Some(bridge.clone())),
            }
        }
    }

    /// Takes their numbers from all but these bridges. Nothing may be left in the tables of a number that is free.
    pub fn release_all_but(&mut self, bridges: &[BridgeConfig]) {
        for place in &mut self.0 {
            place.take_if(|name| bridges.iter().all(|bridge| bridge.name != *name));
        }
    }

    /// The domain of a bridge.
    pub fn of(&self, bridge: &str) -> Option<DomainId> {
        let place = self.0.iter().position(|name| name.as_deref() == Some(bridge))?;
        DomainId::new(u16::try_from(place + 1).ok()?)
    }

    /// The bridge of a domain.
    pub fn bridge(&self, domain: DomainId) -> Option<&str> {
        self.0.get(usize::from(domain.number()) - 1)?.as_deref()
    }

    /// The highest number there has been, which is how many places tables need.
    pub fn places(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn bridges(names: &[&str]) -> Vec<BridgeConfig> {
        let text: String = names.iter().map(|name| format!("[[bridge]]\nname = \"{name}\"\n")).collect();
        Config::parse(&text, "rig.toml").unwrap().bridges
    }

    #[test]
    fn a_bridge_keeps_its_domain_and_a_new_one_gets_the_lowest_that_is_free() {
        let mut domains = Domains::default();
        let number = |domains: &Domains, name| domains.of(name).map(DomainId::number);
        domains.admit(&bridges(&["a", "b", "c"]));
        domains.release_all_but(&bridges(&["c", "b"]));
        assert_eq!(["a", "b", "c"].map(|name| number(&domains, name)), [None, Some(2), Some(3)]);
        domains.admit(&bridges(&["d", "c", "b", "e"]));
        assert_eq!(
            ["d", "c", "b", "e"].map(|name| number(&domains, name)),
            [Some(1), Some(3), Some(2), Some(4)]
        );
        assert_eq!(domains.bridge(DomainId::new(4).unwrap()), Some("e"));
        assert_eq!((domains.bridge(DomainId::new(5).unwrap()), domains.places()), (None, 4));
    }
}
