//! What stands on what: how high devices are above those that stand on nothing.

use std::collections::BTreeMap;

use rigswitch_dataplane::bridge::BridgeConfig;
use rigswitch_dataplane::upper::UpperConfig;

use super::Config;

/// On how many devices each stands: those that stand on others on those, bridges on their ports.
pub(super) struct Heights<'c> {
    below: BTreeMap<&'c str, Vec<&'c str>>,
    known: BTreeMap<&'c str, usize>,
}

impl<'c> Heights<'c> {
    /// Of devices and those below each.
    pub(super) fn new(pairs: impl IntoIterator<Item = (&'c str, &'c str)>) -> Self {
        let mut below: BTreeMap<_, Vec<_>> = BTreeMap::new();
        pairs.into_iter().for_each(|(device, link)| below.entry(device).or_default().push(link));
        Self { below, known: BTreeMap::new() }
    }

    /// That of a device; `None` if there is no end to it, or none as far up as may be.
    pub(super) fn of(&mut self, device: &'c str) -> Option<usize> {
        self.under(device, &mut Vec::new())
    }

    fn under(&mut self, device: &'c str, above: &mut Vec<&'c str>) -> Option<usize> {
        if let Some(&height) = self.known.get(device) {
            return (above.len() + height <= UpperConfig::HIGHEST).then_some(height);
        }
        if above.contains(&device) || above.len() > UpperConfig::HIGHEST {
            return None;
        }
        let mut height = 0;
        above.push(device);
        for below in self.below.get(device).cloned().unwrap_or_default() {
            height = height.max(1 + self.under(below, above)?);
        }
        above.pop();
        self.known.insert(device, height);
        Some(height)
    }
}

/// A device that takes after others.
pub(crate) enum Above<'c> {
    /// A bridge's own, after the ports.
    Bridge(&'c BridgeConfig),
    /// One that stands on another, after that.
    Upper(&'c UpperConfig),
}

impl Config {
    /// Every device that takes after others, those lower down first.
    pub(crate) fn upward(&self) -> Vec<Above<'_>> {
        let used = self.used_devices();
        let is_device = |bridge: &&BridgeConfig| bridge.host.is_some() || used.contains(&*bridge.name);
        let bridges: Vec<_> = self.bridges.iter().filter(is_device).collect();
        let members = bridges.iter().flat_map(|bridge| {
            bridge.ports.iter().map(|port| (&*bridge.name, &*port.device)).collect::<Vec<_>>()
        });
        let links = self.uppers.iter().map(|upper| (&*upper.name, &*upper.link));
        let mut heights = Heights::new(members.chain(links));
        let bridges = bridges.iter().map(|bridge| Above::Bridge(bridge));
        let mut all: Vec<_> = bridges.chain(self.uppers.iter().map(Above::Upper)).collect();
        all.sort_by_cached_key(|above| match above {
            Above::Bridge(bridge) => heights.of(&bridge.name),
            Above::Upper(upper) => heights.of(&upper.name),
        });
        all
    }
}
