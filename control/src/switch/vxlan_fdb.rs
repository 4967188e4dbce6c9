//! The entries of VXLAN devices as bridge(8) shows and changes them with `self`: those of the file are edited, learned ones are in the MAC table.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use rigswitch_dataplane::bridge::FdbState;
use rigswitch_dataplane::ids::{MacAddr, Vni};
use rigswitch_dataplane::tables::{Egress, Entry, Flags, Key, Peer};
use rigswitch_dataplane::tunnels::{TunnelKind, VxlanConfig, VxlanEntryConfig};

use super::error::SwitchError;
use super::report::seconds;
use super::{Switch, grace};
use crate::config::{Config, Network, device_of, network_name, vni_of};
use crate::far_ends::{FarEnd, groups};
use crate::views::{FdbChange, FdbFlush, FdbHow, FdbRemoval, FdbStateWord, FdbView};

impl Switch {
    /// As [`Switch::change_fdb`], of the far ends of a VXLAN device (`vxlan_fdb_update`, drivers/net/vxlan/vxlan_core.c).
    pub(super) fn change_far_end(&mut self, change: &FdbChange) -> Result<(), SwitchError> {
        let (name, vxlan) = self.network(&change.ifname, change.src_vni)?;
        let (name, vxlan) = (&name, &*vxlan);
        let refuse = |why: String| Err(SwitchError::FarEnd(why));
        if change.vlan.is_some() || change.sticky || change.extern_learn || change.is_use {
            return refuse(format!(
                "an entry of {name} itself has `dst`, `port`, `vni`, and permanent, static or dynamic: leave the rest out"
            ));
        }
        let Some(dst) = &change.dst else {
            return refuse(format!("say which far end of {name} it is behind: `dst IP`"));
        };
        let mac = any_mac(&change.mac)?;
        let end = far_end(vxlan, dst, change.port, change.vni, change.via.clone())?;
        if let Some(via) = end.via.as_ref().filter(|via| self.ports.find(via).is_none()) {
            return refuse(format!(
                "`via {via}`: there is no such device; `rigswitch show ports` lists those there are"
            ));
        }
        let is_group = mac.is_group() || mac.is_zero();
        let said = groups(vxlan).get(&mac).cloned();
        let learned = self.far_end_entry(name, mac);
        let is_there = said.is_some() || learned.is_some();
        let has_it = said.as_ref().is_some_and(|group| group.contains(&end));
        match change.how {
            FdbHow::Add if is_there => {
                return refuse(format!(
                    "{mac} has an entry in {name}: `fdb replace` or `fdb append` changes it"
                ));
            }
            FdbHow::Append if has_it => return Ok(()),
            FdbHow::Append if is_there && !is_group => {
                return refuse(format!(
                    "{mac} is one station, and behind a far end of {name} already: `fdb replace` moves it; only a group and \
                     00:00:00:00:00:00 have several"
                ));
            }
            FdbHow::Replace if is_group && is_there => {
                return refuse(format!(
                    "{mac} may have several far ends, of which none is replaced: `fdb del`, and `fdb append` the other"
                ));
            }
            _ => {}
        }
        let count = u32::try_from(groups(vxlan).len()).unwrap_or(u32::MAX);
        let learned_count = self.domains.of(name).map_or(0, |domain| self.macs.table().learned(domain));
        if vxlan.maxaddress > 0 && !is_there && count.saturating_add(learned_count) >= vxlan.maxaddress {
            return refuse(format!(
                "{name} has as many addresses as `maxaddress` allows, {}: raise it",
                vxlan.maxaddress
            ));
        }
        let state = match change.state {
            FdbStateWord::Permanent => FdbState::Permanent,
            FdbStateWord::Static => FdbState::Static,
            FdbStateWord::Dynamic if is_group => {
                return refuse(format!(
                    "{mac} is no station, and its entry does not age: say permanent or static"
                ));
            }
            FdbStateWord::Dynamic => FdbState::Dynamic,
        };
        let entry = VxlanEntryConfig {
            mac,
            dst: end.dst,
            port: end.port,
            vni: end.vni,
            via: end.via.clone(),
            src_vni: vni_of(name),
            state,
            router: change.router,
        };
        let src_vni = entry.src_vni;
        self.edit_far_ends(name, |vxlan| {
            if change.how == FdbHow::Replace {
                vxlan.fdb.retain(|other| other.mac != mac || other.src_vni != src_vni);
            }
            if state != FdbState::Dynamic {
                vxlan.fdb.push(entry);
            }
        })?;
        if state == FdbState::Dynamic { self.put_dynamic(name, mac, end) } else { Ok(()) }
    }

    /// As [`Switch::remove_fdb`].
    pub(super) fn remove_far_end(&mut self, removal: &FdbRemoval) -> Result<(), SwitchError> {
        let (name, vxlan) = self.network(&removal.ifname, removal.src_vni)?;
        let (name, vxlan, src_vni) = (&name, &*vxlan, vni_of(&name));
        let mac = any_mac(&removal.mac)?;
        let end = removal
            .dst
            .as_ref()
            .map(|dst| far_end(vxlan, dst, removal.port, removal.vni, removal.via.clone()))
            .transpose()?;
        let is_wanted = |other: &FarEnd| end.as_ref().is_none_or(|end| end == other);
        let is_said = groups(vxlan).get(&mac).is_some_and(|group| group.iter().any(is_wanted));
        if is_said {
            return self.edit_far_ends(name, |vxlan| {
                vxlan.forget_remote(src_vni, |remote| mac.is_zero() && is_wanted(&FarEnd::at(remote)));
                vxlan.fdb.retain(|entry| {
                    entry.mac != mac || entry.src_vni != src_vni || !is_wanted(&entry.into())
                });
            });
        }
        let learned = self.far_end_entry(name, mac);
        let is_there = learned
            .is_some_and(|(_, entry)| self.far_ends_of(name, entry.egress().peer).iter().any(is_wanted));
        let Some((key, _)) = learned.filter(|_| is_there) else {
            let behind = end.map(|end| format!(" behind {}", end.dst)).unwrap_or_default();
            return Err(SwitchError::FarEnd(format!(
                "{name} has no entry of {mac}{behind}: `rigswitch show fdb` lists those there are"
            )));
        };
        self.macs.remove(key);
        grace(&mut self.publisher);
        self.macs.reclaim_at(key);
        Ok(())
    }

    /// As [`Switch::flush_fdb`].
    pub(super) fn flush_far_ends(&mut self, flush: &FdbFlush) -> Result<u64, SwitchError> {
        let device = self.vxlan_of(&flush.dev)?;
        if device.external.is_none() || flush.src_vni.is_some() {
            return self.flush_network(&flush.dev, flush);
        }
        let of_it = self.config.networks().filter(|network| network.tunnel.name == flush.dev);
        let vnis: Vec<_> = of_it.filter_map(|network| vni_of(&network.name)).collect();
        vnis.into_iter().try_fold(0, |sum, vni| {
            let of_one = FdbFlush { src_vni: Some(vni.number()), ..flush.clone() };
            Ok(sum + self.flush_network(&flush.dev, &of_one)?)
        })
    }

    fn flush_network(&mut self, device: &str, flush: &FdbFlush) -> Result<u64, SwitchError> {
        let (name, vxlan) = self.network(device, flush.src_vni)?;
        let (name, vxlan) = (&name, &*vxlan);
        let address = flush.dst.as_ref().map(|dst| parse_address(dst)).transpose()?;
        let vni = flush.vni.map(parse_vni).transpose()?;
        let own = vxlan.id;
        let is_of = |end: &FarEnd| {
            address.is_none_or(|address| end.dst == address)
                && vni.is_none_or(|vni| end.vni.unwrap_or(own) == vni)
        };
        let is = |asked: Option<bool>, so: bool| asked.is_none_or(|wanted| wanted == so);
        let is_kind = |is_permanent: bool, is_static: bool, is_dynamic: bool| {
            is(flush.permanent, is_permanent)
                && is(flush.fixed, is_static)
                && is(flush.dynamic, is_dynamic)
                && is(flush.extern_learn, false)
                && is(flush.sticky, false)
                && is(flush.locked, false)
        };
        let matches = |entry: &VxlanEntryConfig| {
            let is_permanent = entry.state == FdbState::Permanent;
            is_of(&entry.into()) && is_kind(is_permanent, !is_permanent, false)
        };
        let said = vxlan.entries().filter(matches).count();
        if said > 0 {
            let src_vni = vni_of(name);
            self.edit_far_ends(name, |vxlan| {
                let of_it = src_vni.map_or_else(|| vxlan.clone(), |vni| vxlan.of_network(vni));
                let own = of_it.entries().next().filter(|_| of_it.remote.or(of_it.group).is_some());
                if own.as_ref().is_some_and(matches) {
                    vxlan.forget_remote(src_vni, |_| true);
                }
                vxlan.fdb.retain(|entry| entry.src_vni != src_vni || !matches(entry));
            })?;
        }
        let mut peers = BTreeSet::new();
        if let Some(numbers) = self.vxlans.far_ends.of(name) {
            let behind =
                (1..).zip(numbers.places()).filter_map(|(n, group)| Some((Peer(n), group.as_ref()?)));
            peers.extend(behind.filter(|(_, group)| group.iter().any(is_of)).map(|(peer, _)| peer));
        }
        let domain = self.domains.of(name);
        let learned = self.forget(|key, entry| {
            Some(key.domain()) == domain
                && entry.ages()
                && !entry.is_fixed()
                && peers.contains(&entry.egress().peer)
                && is_kind(false, false, true)
        });
        Ok(u64::try_from(said + learned).unwrap_or(u64::MAX))
    }

    /// Every entry of VXLAN devices about themselves: those of the file, and those in the MAC table that are not of it.
    pub(super) fn far_end_views(&self, entries: &[(Key, Entry)]) -> Vec<FdbView> {
        let mut rows = Vec::new();
        for Network { name, tunnel, vxlan, .. } in self.config.networks() {
            let said = vxlan.entries().map(|entry| {
                let key = self.domains.of(&name).map(|domain| Key::new(domain, entry.mac));
                let there = key.and_then(|key| self.entry(key));
                let age = there.map_or(0, |there| seconds(self.clock.tick().since(there.updated())));
                ((&entry).into(), entry.mac, entry.state.name(), age, entry.router)
            });
            let domain = self.domains.of(&name);
            let others =
                entries.iter().filter(|(key, entry)| Some(key.domain()) == domain && !entry.is_fixed());
            let others = others.flat_map(|(key, entry)| {
                let age = seconds(self.clock.tick().since(entry.updated()));
                let ends = self.far_ends_of(&name, entry.egress().peer).iter().cloned();
                ends.map(move |end| (end, key.mac(), "", age, false))
            });
            let mut of_it: Vec<(FarEnd, MacAddr, &str, u32, bool)> = said.chain(others).collect();
            of_it.sort_by_key(|(_, mac, ..)| *mac);
            rows.extend(of_it.into_iter().map(|(end, mac, state, age, is_router)| FdbView {
                mac: mac.to_string(),
                ifname: tunnel.name.clone(),
                vlan: None,
                dst: Some(end.dst.to_string()),
                port: end.port,
                vni: end.vni.map(Vni::number),
                src_vni: vni_of(&name).map(Vni::number),
                via: end.via,
                used: Some(age),
                updated: Some(age),
                flags: ["self"].into_iter().chain(is_router.then_some("router")).map(str::to_owned).collect(),
                master: None,
                state: state.to_owned(),
            }));
        }
        rows
    }

    /// Applies the configuration in force with other entries of a VXLAN device.
    fn edit_far_ends(&mut self, name: &str, edit: impl FnOnce(&mut VxlanConfig)) -> Result<(), SwitchError> {
        let mut wanted: Config = self.config();
        let mut tunnels = wanted.tunnels.iter_mut();
        if let Some(TunnelKind::Vxlan(vxlan)) =
            tunnels.find(|tunnel| tunnel.name == device_of(name)).map(|it| &mut it.kind)
        {
            edit(vxlan);
        }
        self.apply(wanted).map(drop)
    }

    /// Puts an entry that ages in the MAC table.
    fn put_dynamic(&mut self, name: &str, mac: MacAddr, end: FarEnd) -> Result<(), SwitchError> {
        let place = self.ports.find(device_of(name)).zip(self.domains.of(name));
        let peer = self.vxlans.far_ends.admit(name, [end].into());
        let (Some((device, domain)), Some(peer)) = (place, peer) else {
            return Err(SwitchError::TableFull(mac.to_string()));
        };
        self.publish();
        let entry = Entry::new(Egress { device, peer }, self.clock.tick(), Flags::DYNAMIC);
        let inserted = self.macs.insert(Key::new(domain, mac), entry, || grace(&mut self.publisher));
        self.sweep.grace = self.publisher.advance();
        inserted.map_err(|_| SwitchError::TableFull(mac.to_string()))
    }

    /// What the MAC table says of a station behind a far end of a VXLAN device.
    fn far_end_entry(&self, name: &str, mac: MacAddr) -> Option<(Key, Entry)> {
        let key = Key::new(self.domains.of(name)?, mac);
        Some((key, self.entry(key)?))
    }

    /// What is meant of a device: itself, or a network of one that is `external`; by its name, and what is said of it.
    fn network(
        &self,
        device: &str,
        src_vni: Option<u32>,
    ) -> Result<(String, Cow<'_, VxlanConfig>), SwitchError> {
        let vxlan = self.vxlan_of(device)?;
        match (&vxlan.external, src_vni.map(parse_vni).transpose()?) {
            (None, None) => Ok((device.to_owned(), Cow::Borrowed(vxlan))),
            (Some(_), Some(vni)) => Ok((network_name(device, vni), Cow::Owned(vxlan.of_network(vni)))),
            (Some(_), None) => Err(SwitchError::FarEnd(format!(
                "{device} is external, and has a network for each VNI: say which the frames are of, `src_vni N`"
            ))),
            (None, Some(_)) => Err(SwitchError::FarEnd(format!(
                "{device} is of one network, {}: `src_vni` is for devices that are external",
                vxlan.id
            ))),
        }
    }

    fn vxlan_of(&self, name: &str) -> Result<&VxlanConfig, SwitchError> {
        self.vxlan(name).ok_or_else(|| {
            SwitchError::FarEnd(format!(
                "{name} is no VXLAN device, and only those have entries with far ends: `rigswitch show tunnels` lists them"
            ))
        })
    }
}

fn any_mac(text: &str) -> Result<MacAddr, SwitchError> {
    let why = || SwitchError::FarEnd(format!("`{text}` is not a MAC address: write six octets in hex"));
    text.parse().map_err(|_| why())
}

fn parse_address(text: &str) -> Result<IpAddr, SwitchError> {
    let why = || {
        SwitchError::FarEnd(format!("`{text}` is not the IP address of a far end: write one as 192.0.2.1"))
    };
    let is_one = |address: &IpAddr| !address.is_multicast() && !address.is_unspecified();
    text.parse().ok().filter(is_one).ok_or_else(why)
}

fn parse_vni(number: u32) -> Result<Vni, SwitchError> {
    let why = || SwitchError::FarEnd(format!("network {number}: give a number from 0 to {}", Vni::MAX));
    Vni::new(number).ok_or_else(why)
}

/// The far end that is meant: of the device's version of IP, and with nothing said that is the device's own.
fn far_end(
    vxlan: &VxlanConfig,
    dst: &str,
    port: Option<u16>,
    vni: Option<u32>,
    via: Option<String>,
) -> Result<FarEnd, SwitchError> {
    let dst = parse_address(dst)?;
    if dst.is_ipv6() != vxlan.is_ipv6() {
        let version = if vxlan.is_ipv6() { 6 } else { 4 };
        return Err(SwitchError::FarEnd(format!(
            "{dst}: the device sends over IPv{version}; name such an address"
        )));
    }
    let vni = vni.map(parse_vni).transpose()?.filter(|vni| *vni != vxlan.id);
    let via = via.filter(|via| Some(via) != vxlan.dev.as_ref());
    Ok(FarEnd { dst, port: port.filter(|port| *port != vxlan.dstport), vni, via })
}
