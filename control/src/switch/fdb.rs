//! The forwarding database: what an operator changes in it, and ageing, both off the data path.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use rigswitch_dataplane::bridge::{BridgeConfig, FdbEntryConfig, FdbState};
use rigswitch_dataplane::ids::{DeviceId, DomainId, MacAddr, VlanId};
use rigswitch_dataplane::tables::{Egress, Entry, Flags, Generation, Key, MacTable, Peer, Tick};

use super::error::SwitchError;
use super::{Switch, grace};
use crate::config::{Config, Network};
use crate::domains::Domains;
use crate::far_ends::groups;
use crate::views::{FdbChange, FdbFlush, FdbHow, FdbRemoval, FdbStateWord};

/// Ageing: the table is gone through in slices, one a tick.
pub(super) struct Sweep {
    ageing: Vec<u32>, // by domain, in ticks
    slice: Range<usize>,
    length: usize,
    buckets: usize,
    pub(super) grace: Generation, // when all workers have seen it, what was removed from the table is nobody's any more
    pub(super) expired: u64,
}

impl Sweep {
    pub(super) fn new(table: &MacTable, grace: Generation) -> Self {
        let buckets = table.buckets().len();
        Self { ageing: Vec::new(), slice: 0..0, length: buckets, buckets, grace, expired: 0 }
    }

    /// Takes over the ageing times of this configuration.
    pub(super) fn configure(&mut self, config: &Config, domains: &Domains) {
        self.ageing = vec![u32::MAX; domains.places()];
        let bridges =
            config.bridges.iter().map(|bridge| (bridge.name.as_str().into(), ticks(bridge.ageing_time)));
        // The kernel keeps what is learned for ever where the time is none (`vxlan_cleanup`, drivers/net/vxlan/vxlan_core.c, is not run then).
        let time = |time: Duration| if time.is_zero() { u32::MAX } else { ticks(time) };
        let vxlans = config.networks().map(|network| (network.name, time(network.vxlan.ageing)));
        for (name, time) in bridges.chain(vxlans) {
            for domain in domains.all(&name) {
                self.ageing[usize::from(domain.number()) - 1] = time;
            }
        }
        self.pace();
    }

    /// From now on this is the ageing time of a domain.
    pub(super) fn set(&mut self, domain: DomainId, time: Duration) {
        let time = ticks(time);
        if let Some(ageing) = self.ageing.get_mut(usize::from(domain.number()) - 1)
            && std::mem::replace(ageing, time) != time
        {
            self.pace();
        }
    }

    /// All of it within an eighth of the shortest time, so that nothing outlives its time by more than that and [`Tick::GRAIN`]; ten
    /// seconds at most.
    fn pace(&mut self) {
        let turns = (self.ageing.iter().min().copied().unwrap_or(u32::MAX) / 8).clamp(1, 100);
        self.length = self.buckets.div_ceil(usize::try_from(turns).unwrap_or(1));
    }

    fn next_slice(&self) -> Range<usize> {
        let start = if self.slice.end < self.buckets { self.slice.end } else { 0 };
        start..(start + self.length).min(self.buckets)
    }
}

/// A time in ticks, rounded up.
pub(super) fn ticks(time: Duration) -> u32 {
    let ticks = time.as_millis().div_ceil(u128::from(Tick::MILLIS));
    u32::try_from(ticks).unwrap_or(Tick::LONGEST_AGEING).min(Tick::LONGEST_AGEING)
}

impl Switch {
    /// Adds an entry, or puts it in another's place, as `how` says (`__br_fdb_add` and `fdb_add_entry`, net/bridge/br_fdb.c).
    ///
    /// # Errors
    /// [`SwitchError`], when there is no such port, the address is no station's, or something is there that must not be.
    pub fn change_fdb(&mut self, change: &FdbChange) -> Result<(), SwitchError> {
        if change.names_far_end() || self.vxlan(&change.ifname).is_some() && !change.master {
            return self.change_far_end(change);
        }
        let mac = station(&change.mac)?;
        let (device, domain) = self.member(&change.ifname)?;
        let domains = self.domains_of_entry(&change.ifname, domain, change.vlan)?;
        let mut before = Vec::new();
        for domain in domains {
            let key = Key::new(domain, mac);
            before.push((key, self.entry(key)));
            if let Err(error) = self.change_entry(change, key, device) {
                before.into_iter().for_each(|(key, entry)| self.restore(key, entry));
                return Err(error);
            }
        }
        Ok(())
    }

    /// The domains of an entry behind a port.
    fn domains_of_entry(
        &self,
        ifname: &str,
        domain: DomainId,
        vlan: Option<u16>,
    ) -> Result<Vec<DomainId>, SwitchError> {
        let vlans = self.vlans_of_entry(ifname, domain, vlan)?.into_iter();
        Ok(vlans.filter_map(|vlan| self.domains.of_vlan(self.bridge(domain), vlan)).collect())
    }

    /// The VLANs of an entry behind a port: the one named, or all the port's (`br_fdb_add`, net/bridge/br_fdb.c; `br_mdb_add`,
    /// net/bridge/br_mdb.c); none where there are none.
    pub(super) fn vlans_of_entry(
        &self,
        ifname: &str,
        domain: DomainId,
        vlan: Option<u16>,
    ) -> Result<Vec<Option<VlanId>>, SwitchError> {
        let name = self.bridge(domain);
        let filters = |bridge: &&BridgeConfig| bridge.name == name && bridge.vlans.filtering;
        let Some(bridge) = self.config.bridges.iter().find(filters) else {
            return match vlan {
                None => Ok(vec![None]),
                Some(_) => Err(SwitchError::Vlan(format!(
                    "{name} does not filter by VLAN, and its entries are of none: leave the VLAN out, or `rigswitch bridge set \
                     {name} vlan_filtering true`"
                ))),
            };
        };
        let members = bridge.vlans_of(ifname).unwrap_or_default().members;
        if let Some(vlan) = vlan
            && !VlanId::new(vlan).is_some_and(|vid| members.contains_key(&vid))
        {
            return Err(SwitchError::Vlan(format!(
                "{ifname} is not in VLAN {vlan}: `rigswitch show vlans` lists what it is in"
            )));
        }
        let wanted = members.into_keys().filter(|vid| vlan.is_none_or(|vlan| vlan == vid.number()));
        Ok(wanted.map(Some).collect())
    }

    fn change_entry(&mut self, change: &FdbChange, key: Key, device: DeviceId) -> Result<(), SwitchError> {
        let (domain, mac) = (key.domain(), key.mac());
        let is_plain = change.state == FdbStateWord::Permanent && !change.extern_learn && !change.is_use;
        if self.ports.get(device).is_some_and(|port| port.is_host() || port.is_inside()) && !is_plain {
            return Err(SwitchError::NotPermanent { mac: mac.to_string(), bridge: change.ifname.clone() });
        }
        let found = self.entry(key);
        if change.is_use {
            self.use_station(key, device, found);
            return Ok(());
        }
        if change.extern_learn {
            let old = found.map_or(Flags::LEARNED, Entry::flags).without(Flags::LOCKED);
            return self.put(key, device, old.and(Flags::EXTERN_LEARN));
        }
        if change.sticky && change.state == FdbStateWord::Permanent {
            return Err(SwitchError::StickyPermanent(mac.to_string()));
        }
        if change.state == FdbStateWord::Dynamic && !self.learns(device) {
            return Err(SwitchError::NotLearning { mac: mac.to_string(), ifname: change.ifname.clone() });
        }
        if let Some(found) = found {
            let ifname = self.name(found.egress().device).to_owned();
            match change.how {
                FdbHow::Add => {
                    let bridge = self.bridge(domain).to_owned();
                    return Err(SwitchError::Exists { mac: mac.to_string(), bridge, ifname });
                }
                FdbHow::Append if found.egress().device != device => {
                    return Err(SwitchError::SecondPlace { mac: mac.to_string(), ifname });
                }
                FdbHow::Append | FdbHow::Replace => {}
            }
        }
        let state = match change.state {
            FdbStateWord::Static => FdbState::Static,
            FdbStateWord::Dynamic => FdbState::Dynamic,
            FdbStateWord::Permanent => FdbState::Permanent,
        };
        self.put(key, device, flags(state, change.sticky))
    }

    /// What would follow if the station sent something through this port, learning or not, but not counted as learned.
    fn use_station(&mut self, key: Key, device: DeviceId, found: Option<Entry>) {
        let name = self.bridge(key.domain());
        let keeps = |bridge: &BridgeConfig| bridge.name == name && !bridge.ageing_time.is_zero();
        if !self.learns(device) || !self.config.bridges.iter().any(keeps) {
            return;
        }
        if found.is_some() {
            let table = self.macs.table();
            table.learn(table.locate(key), device.into(), self.clock.tick());
        }
        let now = self.entry(key);
        let place = now.map_or(device, |entry| entry.egress().device);
        let flags = now.map_or(Flags::LEARNED, Entry::flags).and(Flags::DYNAMIC);
        // A table without room for a station that is only seen is not told: learning would not be either.
        let _ = self.put(key, place, flags);
    }

    /// Whether a port may learn just now.
    fn learns(&self, device: DeviceId) -> bool {
        self.publisher.current().device(device).knobs.state.learns()
    }

    /// Takes an entry away.
    ///
    /// # Errors
    /// [`SwitchError`], when there is none behind that port.
    pub fn remove_fdb(&mut self, removal: &FdbRemoval) -> Result<(), SwitchError> {
        if removal.names_far_end() || self.vxlan(&removal.ifname).is_some() && !removal.master {
            return self.remove_far_end(removal);
        }
        let mac = station(&removal.mac)?;
        let (device, domain) = self.member(&removal.ifname)?;
        let domains = self.domains_of_entry(&removal.ifname, domain, removal.vlan)?;
        let keys = domains.into_iter().map(|domain| Key::new(domain, mac));
        let is_there = |key: &Key| self.entry(*key).is_some_and(|entry| entry.egress().device == device);
        let keys: Vec<_> = keys.filter(is_there).collect();
        if keys.is_empty() {
            let bridge = self.bridge(domain).to_owned();
            return Err(SwitchError::NoEntry {
                mac: mac.to_string(),
                bridge,
                ifname: removal.ifname.clone(),
            });
        }
        for key in &keys {
            self.macs.remove(*key);
        }
        // Its room is free at once: who takes one station away again and again would else fill its buckets.
        grace(&mut self.publisher);
        for key in &keys {
            self.macs.reclaim_at(*key);
        }
        let gone = |of: &str, entry: &FdbEntryConfig| {
            let domain = self.domains.of_vlan(of, entry.vlan);
            keys.iter().any(|key| entry.mac == mac && domain == Some(key.domain()))
        };
        for bridge in &mut self.config.bridges {
            let name = &bridge.name;
            bridge.fdb.retain(|entry| !gone(name, entry));
        }
        Ok(())
    }

    /// Takes away every entry that matches, and says how many they were.
    ///
    /// # Errors
    /// [`SwitchError`], when the names are not a bridge's and its port's.
    pub fn flush_fdb(&mut self, flush: &FdbFlush) -> Result<u64, SwitchError> {
        let is_vxlan = self.vxlan(&flush.dev).is_some() && !flush.master;
        if is_vxlan || flush.dst.is_some() || flush.vni.is_some() {
            return self.flush_far_ends(flush);
        }
        let (domain, device) = match (self.domains.of(&flush.dev), &flush.brport) {
            (Some(domain), None) => (domain, None),
            (Some(domain), Some(port)) => {
                let wrong = || SwitchError::NotAPortOf { port: port.clone(), bridge: flush.dev.clone() };
                let (device, of) = self.member(port).map_err(|_| wrong())?;
                if domain != of {
                    return Err(wrong());
                }
                (domain, Some(device))
            }
            (None, _) => {
                let member = self.member(&flush.dev);
                let (device, domain) = member.map_err(|_| SwitchError::NotABridge(flush.dev.clone()))?;
                (domain, Some(device))
            }
        };
        let is_wanted = |entry: Entry| {
            let flags = entry.flags();
            let (local, fixed) = (entry.is_local(), entry.is_local() || flags.has(Flags::STATIC));
            let is = |asked: Option<bool>, so: bool| asked.is_none_or(|wanted| wanted == so);
            device.is_none_or(|device| entry.egress().device == device)
                && is(flush.permanent, local)
                && is(flush.fixed, fixed)
                // What is permanent is static too, but who says `static` alone does not mean it.
                && !(flush.fixed == Some(true) && flush.permanent.is_none() && local)
                && is(flush.dynamic, !fixed)
                && is(flush.extern_learn, flags.has(Flags::EXTERN_LEARN))
                && is(flush.sticky, flags.has(Flags::STICKY))
                && is(flush.locked, flags.has(Flags::LOCKED))
        };
        let name = self.bridge(domain);
        let domains: HashSet<_> = match flush.vlan {
            None => self.domains.all(name).collect(),
            Some(vlan) => {
                VlanId::new(vlan).and_then(|vid| self.domains.of_vlan(name, Some(vid))).into_iter().collect()
            }
        };
        let removed = self.forget(|key, entry| domains.contains(&key.domain()) && is_wanted(entry));
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }

    /// Forgets who was last seen behind a port that is down or gone, as the kernel does (`br_stp_disable_port`): they may be
    /// reached another way.
    pub(super) fn forget_stations(&mut self, device: DeviceId) {
        self.forget(|_, entry| entry.ages() && entry.egress().device == device);
    }

    /// Removes every entry that is wanted, and says how many they were. Their room is free at once: who flushes between
    /// tests, or a port that flaps, would fill it with what is removed long before the sweep comes by.
    pub(super) fn forget(&mut self, wanted: impl Fn(Key, Entry) -> bool) -> usize {
        let all = 0..self.sweep.buckets;
        let removed = self.macs.retain(all.clone(), |key, entry| !wanted(key, entry));
        grace(&mut self.publisher);
        self.macs.reclaim(all);
        removed
    }

    /// Puts an entry of the file in place.
    pub(super) fn put_configured(&mut self, bridge: &str, entry: &FdbEntryConfig) -> Result<(), SwitchError> {
        let place = self.ports.member(&entry.device).zip(self.domains.of_vlan(bridge, entry.vlan));
        let Some((device, domain)) = place else { return Ok(()) };
        self.put(Key::new(domain, entry.mac), device, flags(entry.state, entry.sticky))
    }

    /// Puts an entry back in place as it was.
    pub(super) fn restore(&mut self, key: Key, before: Option<Entry>) {
        match before {
            // There is room: it was there.
            Some(entry) => drop(self.macs.insert(key, entry, || grace(&mut self.publisher))),
            None => drop(self.macs.remove(key)),
        }
        self.sweep.grace = self.publisher.advance();
    }

    /// Frees what was taken out of the last slice of the table, and forgets what was not seen for too long in the next.
    pub(super) fn age(&mut self) {
        if !self.publisher.all_seen(self.sweep.grace) {
            return; // a worker is in a long burst: next tick
        }
        self.macs.reclaim(self.sweep.slice.clone());
        self.sweep.slice = self.sweep.next_slice();
        let slice = self.sweep.slice.clone();
        let (now, ageing) = (self.clock.tick(), &self.sweep.ageing);
        let limit = |key: Key| ageing.get(usize::from(key.domain().number()) - 1).copied().unwrap_or(0);
        let mut aged = Vec::new();
        self.macs.retain(slice, |key, entry| {
            let expired = entry.has_expired(now, limit(key));
            aged.extend(expired.then(|| (key, entry.egress().device)));
            !expired
        });
        self.sweep.expired += aged.len() as u64;
        self.sweep.grace = self.publisher.advance();
        aged.into_iter().for_each(|(key, device)| self.tell_aged(key, device));
    }

    /// Bounds what each bridge may learn, in all of its VLANs together (`fdb_n_learned`, net/bridge/br_fdb.c).
    pub(super) fn bound_learning(&self) {
        let table = self.macs.table();
        for bridge in &self.config.bridges {
            let Some(domain) = self.domains.of(&bridge.name) else { continue };
            self.domains.all(&bridge.name).for_each(|of| table.share_quota(of, domain));
            table.set_limit(domain, bridge.fdb_max_learned);
        }
        for Network { name, vxlan, .. } in self.config.networks() {
            let Some(domain) = self.domains.of(&name) else { continue };
            let fixed = u32::try_from(groups(&vxlan).len()).unwrap_or(u32::MAX);
            table.share_quota(domain, domain);
            // Where there is no room at all the device does not learn.
            table.set_limit(domain, vxlan.maxaddress.saturating_sub(fixed));
        }
    }

    /// How many addresses each bridge has learned.
    pub fn fdb_n_learned(&self) -> Vec<(&str, u32)> {
        let named = |bridge: &BridgeConfig| self.domains.of(&bridge.name);
        let count = |bridge| named(bridge).map_or(0, |domain| self.macs.table().learned(domain));
        self.config.bridges.iter().map(|bridge| (bridge.name.as_str(), count(bridge))).collect()
    }

    /// Takes an entry out; its room is free when the sweep has come by.
    pub(super) fn remove(&mut self, key: Key) {
        self.macs.remove(key);
        self.sweep.grace = self.publisher.advance();
    }

    pub(super) fn put(&mut self, key: Key, device: DeviceId, flags: Flags) -> Result<(), SwitchError> {
        self.own.remove(&key);
        let entry = Entry::new(Egress { device, peer: Peer::NONE }, self.clock.tick(), flags);
        let inserted = self.macs.insert(key, entry, || grace(&mut self.publisher));
        self.sweep.grace = self.publisher.advance();
        inserted.map_err(|_| SwitchError::TableFull(key.mac().to_string()))
    }

    pub(super) fn entry(&self, key: Key) -> Option<Entry> {
        let table = self.macs.table();
        table.find(table.locate(key))
    }

    /// A bridge's port, its host's too, and the domain it belongs to.
    pub(super) fn member(&self, port: &str) -> Result<(DeviceId, DomainId), SwitchError> {
        let is_in = |bridge: &&BridgeConfig| {
            bridge.ports.iter().any(|member| member.device == port) || bridge.name == port
        };
        let bridge = self.config.bridges.iter().find(is_in);
        let domain = bridge.and_then(|bridge| self.domains.of(&bridge.name));
        self.ports.member(port).zip(domain).ok_or_else(|| SwitchError::NotAMember(port.to_owned()))
    }

    /// The name of the bridge of a domain.
    pub(super) fn bridge(&self, domain: DomainId) -> &str {
        self.domains.bridge(domain).unwrap_or("?")
    }

    /// The name of a device.
    pub(super) fn name(&self, device: DeviceId) -> &str {
        self.ports.get(device).map_or("?", |port| &port.config.name)
    }
}

/// The flags of an entry that is put there.
fn flags(state: FdbState, sticky: bool) -> Flags {
    let flags = match state {
        FdbState::Static => Flags::STATIC,
        FdbState::Dynamic => Flags::DYNAMIC,
        FdbState::Permanent => Flags::LOCAL,
    };
    if sticky { flags.and(Flags::STICKY) } else { flags }
}

fn station(text: &str) -> Result<MacAddr, SwitchError> {
    let mac = text.parse().ok().filter(|mac: &MacAddr| !mac.is_group() && *mac != MacAddr::ZERO);
    mac.ok_or_else(|| SwitchError::NotAStation(text.to_owned()))
}
