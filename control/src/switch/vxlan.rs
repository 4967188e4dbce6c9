//! What VXLAN devices know: the entries of the file are put in the MAC table, and far ends that workers meet get numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rigswitch_dataplane::bridge::FdbState;
use rigswitch_dataplane::ids::{DeviceId, DomainId};
use rigswitch_dataplane::tables::{Egress, Entry, Flags, Key, Peer};
use rigswitch_dataplane::tunnels::{FarEnd as Met, VxlanConfig};

use super::error::SwitchError;
use super::{Switch, grace};
use crate::config::{Network, device_of};
use crate::far_ends::{FarEnd, FarEnds, groups};

/// The numbers of far ends, and what there is in the MAC table because the file says so.
#[derive(Default)]
pub(super) struct Vxlans {
    pub(super) far_ends: FarEnds,
    placed: HashMap<Key, Placed>,
    met: BTreeMap<Key, (DeviceId, Met)>, // by workers, since the last look
}

/// What an entry of the file is in the MAC table.
type Placed = (DeviceId, Peer, Flags);

/// Stations behind far ends without a number that are remembered at a time: there will be more frames of the others.
const MOST_MET: usize = 1024;

impl Vxlans {
    /// A worker has met a far end that has no number.
    pub(super) fn hear(&mut self, device: DeviceId, met: Option<Met>) {
        if let Some(met) = met.filter(|_| self.met.len() < MOST_MET) {
            self.met.insert(met.key, (device, met));
        }
    }

    /// Whether workers have met any since.
    pub(super) fn has_met(&self) -> bool {
        !self.met.is_empty()
    }
}

/// The flags of an entry of the file: neither kind moves with its station.
fn flags(state: FdbState) -> Flags {
    match state {
        FdbState::Permanent => Flags::LOCAL,
        FdbState::Static => Flags::STATIC.and(Flags::STICKY),
        FdbState::Dynamic => Flags::DYNAMIC,
    }
}

impl Switch {
    /// Makes the MAC table say what the entries of the file do. The tables in force know all their far ends.
    pub(super) fn place_vxlan_entries(&mut self) {
        let wanted = self.wanted_vxlan_entries();
        let gone: Vec<Key> =
            self.vxlans.placed.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.vxlans.placed.remove(&key);
            self.remove(key);
        }
        for (key, placed) in wanted {
            if self.vxlans.placed.get(&key) == Some(&placed) {
                continue;
            }
            let (device, peer, flags) = placed;
            let entry = Entry::new(Egress { device, peer }, self.clock.tick(), flags);
            match self.macs.insert(key, entry, || grace(&mut self.publisher)) {
                Ok(()) => drop(self.vxlans.placed.insert(key, placed)),
                Err(_) => self.warn_of(&SwitchError::TableFull(key.mac().to_string())),
            }
            self.sweep.grace = self.publisher.advance();
        }
        self.release_far_ends();
    }

    fn wanted_vxlan_entries(&self) -> HashMap<Key, Placed> {
        let mut wanted = HashMap::new();
        for Network { name, tunnel, vxlan, .. } in self.config.networks() {
            let (vxlan, place) = (&*vxlan, self.ports.find(&tunnel.name).zip(self.domains.of(&name)));
            let (Some((device, domain)), Some(numbers)) = (place, self.vxlans.far_ends.of(&name)) else {
                continue;
            };
            let states: BTreeMap<_, _> = vxlan.fdb.iter().map(|entry| (entry.mac, entry.state)).collect();
            // What is for a station that nothing is known of is not looked up.
            for (mac, group) in groups(vxlan).into_iter().filter(|(mac, _)| !mac.is_zero()) {
                let state = states.get(&mac).copied().unwrap_or(FdbState::Permanent);
                if let Some(peer) = numbers.number(&group) {
                    wanted.insert(Key::new(domain, mac), (device, peer, flags(state)));
                }
            }
        }
        wanted
    }

    /// Takes numbers away that nobody is behind any more.
    fn release_far_ends(&mut self) {
        for Network { name, vxlan, .. } in self.config.networks() {
            if !self.vxlans.far_ends.has_surplus(&name, &vxlan) {
                continue;
            }
            let domain = self.domains.of(&name);
            let of_it = self.macs.iter().filter(|(key, _)| Some(key.domain()) == domain);
            let used: BTreeSet<_> = of_it.map(|(_, entry)| entry.egress().peer).collect();
            self.vxlans.far_ends.release(&name, &vxlan, &used);
        }
    }

    /// Gives the far ends numbers that workers have met, and has their stations behind them: workers know them then.
    pub(super) fn learn_far_ends(&mut self) {
        let met = std::mem::take(&mut self.vxlans.met);
        let mut learned = Vec::new();
        for (key, (device, met)) in met {
            let Some(name) = self.domains.bridge(key.domain()).map(str::to_owned) else { continue };
            if !self.vxlan(device_of(&name)).is_some_and(|vxlan| vxlan.learning) {
                continue;
            }
            let peer = self.vxlans.far_ends.admit(&name, [FarEnd::at(met.address)].into());
            learned.extend(peer.map(|peer| (key, Egress { device, peer })));
        }
        if learned.is_empty() {
            return;
        }
        self.publish();
        let (table, now) = (self.macs.table(), self.clock.tick());
        for (key, egress) in learned {
            table.learn(table.locate(key), egress, now);
        }
    }

    /// The far ends of a VXLAN device that are behind a number.
    pub(super) fn far_ends_of(&self, device: &str, peer: Peer) -> &[FarEnd] {
        let group = self.vxlans.far_ends.of(device).and_then(|numbers| numbers.group(peer));
        group.map_or(&[], |group| group)
    }

    /// The VXLAN device of this name.
    pub(super) fn vxlan(&self, name: &str) -> Option<&VxlanConfig> {
        self.config.vxlans().find(|(tunnel, _)| tunnel.name == name).map(|(_, vxlan)| vxlan)
    }

    /// Whether a domain is that of a VXLAN device.
    pub(super) fn is_vxlan(&self, domain: DomainId) -> bool {
        self.domains.bridge(domain).is_some_and(|name| self.vxlan(device_of(name)).is_some())
    }
}
