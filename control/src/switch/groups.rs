//! The snooping of each bridge: what drives its engine, and carries out what that answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rigswitch_dataplane::bridge::vlan_of;
use rigswitch_dataplane::bridge::{BridgeConfig, MdbEntryConfig, MulticastPort, RouterPort, group_fault};
use rigswitch_dataplane::drops::Direction;
use rigswitch_dataplane::ids::{DeviceId, DomainId, MacAddr, VlanId};
use rigswitch_dataplane::punt::Injection;
use rigswitch_dataplane::tables::{Mdb, PortState, Tables};
use rigswitch_dataplane::wire::multicast::Group;
use rigswitch_dataplane::wire::{igmp, mld};

use super::Switch;
use super::error::SwitchError;
use super::host;
use super::port::Port;
use super::ports::Ports;
use crate::domains::Domains;
use crate::events::Event;
use crate::snooping::{GroupIn, Lasts, Mdbs, Membership, Notice, Place, Query, Snooping};
use crate::views::{MdbChange, MdbEntryView, MdbState, MdbView, RouterView};

/// The snooping of every bridge, by its domain.
#[derive(Default)]
pub(super) struct Groups(BTreeMap<DomainId, Snooped>);

struct Snooped {
    snooping: Snooping,
    ports: BTreeSet<DeviceId>,
    mdbs: Option<Mdbs>,
}

impl Groups {
    /// Makes it what the configuration says, and the states that a spanning tree or a guard gives ports.
    pub(super) fn follow(
        &mut self,
        bridges: &[BridgeConfig],
        domains: &Domains,
        ports: &Ports,
        state: impl Fn(DeviceId) -> Option<PortState>,
        now: Duration,
    ) {
        let bridges: BTreeMap<_, _> =
            bridges.iter().filter_map(|bridge| Some((domains.of(&bridge.name)?, bridge))).collect();
        self.0.retain(|domain, _| bridges.contains_key(domain));
        for (domain, bridge) in bridges {
            let address = host::address(bridge, ports).unwrap_or(MacAddr::ZERO);
            let snooped = self.0.entry(domain).or_insert_with(|| Snooped {
                snooping: Snooping::new(bridge.multicast, address, bridge.vlans.filtering, now),
                ports: BTreeSet::new(),
                mdbs: None,
            });
            snooped.snooping.set(bridge.multicast, address, bridge.vlans.filtering, now);
            snooped.follow(bridge, ports, &state, now);
            snooped.look();
        }
    }

    /// The databases that workers are to consult: of bridges, and of each VLAN of those that filter.
    pub(super) fn mdbs(&self, domains: &Domains) -> BTreeMap<DomainId, Arc<Mdb>> {
        let of_bridge = |(domain, of): (&DomainId, &Snooped)| {
            let mdbs = of.mdbs.clone()?;
            let vlans = domains.vlans(domains.bridge(*domain)?).map(|(vid, domain)| (Some(vid), domain));
            let all = vlans.chain([(None, *domain)]);
            Some(all.map(move |(vlan, domain)| (domain, Arc::clone(mdbs.of(vlan)))))
        };
        self.0.iter().filter_map(of_bridge).flatten().collect()
    }

    /// The memberships in a group.
    pub(super) fn members(&self, domain: DomainId, of: GroupIn) -> Vec<Membership> {
        let members = self.0.get(&domain).into_iter().flat_map(|of| of.snooping.members());
        members.filter(|(other, _)| *other == of).map(|(_, member)| member).collect()
    }

    /// A port has heard this; `tables` say in which VLAN.
    pub(super) fn hear(&mut self, device: DeviceId, frame: &[u8], tables: &Tables, now: Duration) {
        if let Some(of) = self.0.values_mut().find(|of| of.ports.contains(&device)) {
            let place = Place { device, vlan: vlan_of(tables, device, frame) };
            of.snooping.hear(place, frame, now);
        }
    }

    /// Whatever is due, and whether the workers' databases are others then.
    pub(super) fn tick(&mut self, now: Duration) -> (Vec<(DomainId, Query)>, bool) {
        let (mut queries, mut changed) = (Vec::new(), false);
        for (domain, of) in &mut self.0 {
            queries.extend(of.snooping.tick(now).into_iter().map(|query| (*domain, query)));
            changed |= of.look();
        }
        (queries, changed)
    }

    /// What there is to tell, by bridge.
    fn notices(&mut self) -> Vec<(DomainId, Notice)> {
        let of = |(domain, of): (&DomainId, &mut Snooped)| {
            let domain = *domain;
            of.snooping.notices().into_iter().map(move |notice| (domain, notice))
        };
        self.0.iter_mut().flat_map(of).collect()
    }
}

impl Snooped {
    fn follow(
        &mut self,
        bridge: &BridgeConfig,
        ports: &Ports,
        given: &impl Fn(DeviceId) -> Option<PortState>,
        now: Duration,
    ) {
        // What the host has asked for goes up to it, and routers behind the host are not the bridge's business. What stands on
        // the bridge asks for nothing, and hears every group.
        let router =
            if ports.inside(&bridge.name).is_some() { RouterPort::Always } else { RouterPort::Never };
        let of_host = MulticastPort { router, ..MulticastPort::default() };
        let members = bridge.ports.iter().map(|port| (&port.device, port.multicast, port.state));
        let members = members.chain([(&bridge.name, of_host, PortState::Forwarding)]);
        let members: BTreeMap<_, _> =
            members.filter_map(|(name, of, state)| Some((ports.member(name)?, (of, state)))).collect();
        for device in self.ports.iter().filter(|device| !members.contains_key(device)) {
            self.snooping.remove_port(*device);
        }
        self.ports = members.keys().copied().collect();
        for (device, (setup, state)) in members {
            let is_up = ports.get(device).is_some_and(|port| port.is_running());
            let state = given(device).unwrap_or(state);
            let state = if is_up { state } else { PortState::Disabled };
            self.snooping.set_port(device, setup, state, now);
        }
        let fixed = |entry: &MdbEntryConfig| Some((group_in(entry), ports.find(&entry.device)?));
        self.snooping.set_permanent(&bridge.mdb.iter().filter_map(fixed).collect());
    }

    /// Takes over what workers are to do, and says whether it is news.
    fn look(&mut self) -> bool {
        let Some(news) = self.snooping.news() else { return false };
        let is_news = self.mdbs != news;
        self.mdbs = news;
        is_news
    }
}

fn group_in(entry: &MdbEntryConfig) -> GroupIn {
    GroupIn { group: entry.group, vlan: entry.vlan }
}

impl Switch {
    /// Sends what bridges ask.
    pub(super) fn send_queries(&mut self, queries: Vec<(DomainId, Query)>) {
        for (domain, Query { device, ipv4, group, response }) in queries {
            let name = self.bridge(domain);
            let Some(bridge) = self.config.bridges.iter().find(|bridge| bridge.name == name) else {
                continue;
            };
            let source = host::address(bridge, &self.ports).unwrap_or(MacAddr::ZERO);
            let frame: &[u8] = match group {
                Some(Group::Ip(std::net::IpAddr::V4(group))) => {
                    &igmp::query_frame(source, Some(group), response)
                }
                Some(Group::Ip(std::net::IpAddr::V6(group))) => {
                    &mld::query_frame(source, Some(group), response)
                }
                None if ipv4 => &igmp::query_frame(source, None, response),
                None => &mld::query_frame(source, None, response),
                Some(Group::Mac(_)) => continue, // nobody asks for those
            };
            let Some(port) = self.ports.get(device) else { continue };
            let member = &mut self.crew.members[port.owner.index()];
            // A ring that is full of what control has made before loses this, as a wire might: it is asked again.
            let _ = member.inject.offer(Injection { device, direction: Direction::Tx }, frame);
            member.wake();
        }
    }

    /// Tells whoever listens of memberships, and an operator of a bridge that gives up.
    pub(super) fn tell_groups(&mut self) {
        for (domain, notice) in self.groups.notices() {
            let master = self.bridge(domain).to_owned();
            let event = match notice {
                Notice::Joined(GroupIn { group, vlan }, device) => {
                    let (grp, ifname) = (group.to_string(), self.name(device).to_owned());
                    Event::Joined { grp, ifname, master, vid: vlan.map(VlanId::number) }
                }
                Notice::Left(GroupIn { group, vlan }, device) => {
                    let (grp, ifname) = (group.to_string(), self.name(device).to_owned());
                    Event::Left { grp, ifname, master, vid: vlan.map(VlanId::number) }
                }
                Notice::Overflowed => {
                    let message = format!(
                        "bridge {master}: more groups than mcast_hash_max, so that it snoops no longer: raise it, or turn \
                         mcast_snooping off and on"
                    );
                    Event::Warning { message }
                }
            };
            self.events.tell(event);
        }
    }

    /// The multicast database, as `bridge -j mdb` has it: one element with all entries and all routers.
    pub fn mdb(&self) -> Vec<MdbView> {
        let now = self.time.elapsed();
        let (mut mdb, mut router) = (Vec::new(), BTreeMap::new());
        for (domain, of) in &self.groups.0 {
            let dev = self.bridge(*domain);
            let view = |(of, member): (GroupIn, Membership)| {
                let (state, left) = match member.lasts {
                    Lasts::Permanent => (MdbState::Permanent, Duration::ZERO),
                    Lasts::Until(until) => (MdbState::Temp, until.saturating_sub(now)),
                };
                MdbEntryView {
                    index: u32::from(domain.number()),
                    dev: dev.to_owned(),
                    port: self.name(member.device).to_owned(),
                    grp: of.group.to_string(),
                    state,
                    flags: Vec::new(),
                    vid: of.vlan.map(VlanId::number),
                    timer: Some(format!("{:7.2}", left.as_secs_f64())),
                }
            };
            mdb.extend(of.snooping.members().map(view));
            let is_port = |device: &DeviceId| !self.ports.get(*device).is_some_and(Port::is_inside);
            let routers = of.snooping.routers().into_iter().filter(is_port);
            let routers: Vec<_> =
                routers.map(|device| RouterView { port: self.name(device).to_owned() }).collect();
            if !routers.is_empty() {
                router.insert(dev.to_owned(), routers);
            }
        }
        vec![MdbView { mdb, router }]
    }

    /// How many groups each bridge has, and whether it snoops.
    pub fn mdb_counts(&self) -> Vec<(&str, usize, bool)> {
        let counts = self.groups.0.iter();
        counts
            .map(|(domain, of)| (self.bridge(*domain), of.snooping.group_count(), of.snooping.is_on()))
            .collect()
    }

    /// Makes a port a member of a group, for the usual time or for good; where there are VLANs, in the one named, or in each that the
    /// port is in (`br_mdb_add`, net/bridge/br_mdb.c).
    ///
    /// # Errors
    /// [`SwitchError`], when there is no such port, the group is none that can be joined, or a rule or a bound is in the way.
    pub fn add_mdb(&mut self, change: &MdbChange) -> Result<(), SwitchError> {
        let (domain, device, groups) = self.memberships(change)?;
        let (now, is_permanent) = (self.time.elapsed(), change.state == MdbState::Permanent);
        let Some(of) = self.groups.0.get_mut(&domain) else {
            return Err(SwitchError::NotABridge(change.dev.clone()));
        };
        if !is_permanent && groups.iter().any(|of| matches!(of.group, Group::Mac(_))) {
            let why = format!("`{}`: nobody reports groups that are not of IP: say permanent", change.grp);
            return Err(SwitchError::NotAGroup { why });
        }
        for &of_vlan in &groups {
            if let Err(why) = of.snooping.admits(device, of_vlan, is_permanent) {
                let (why, grp, port) = (why.to_string(), change.grp.clone(), change.port.clone());
                return Err(SwitchError::Membership { why, grp, port });
            }
        }
        if is_permanent {
            for bridge in self.config.bridges.iter_mut().filter(|bridge| bridge.name == change.dev) {
                let entry =
                    |&GroupIn { group, vlan }| MdbEntryConfig { device: change.port.clone(), group, vlan };
                bridge.mdb.extend(groups.iter().map(entry));
            }
        } else {
            groups.iter().for_each(|of_vlan| of.snooping.add(device, *of_vlan, now));
        }
        self.publish();
        Ok(())
    }

    /// Takes a membership away; where there are VLANs, that of the one named, or all.
    ///
    /// # Errors
    /// [`SwitchError`], when there is none.
    pub fn remove_mdb(&mut self, change: &MdbChange) -> Result<(), SwitchError> {
        let (domain, device, groups) = self.memberships(change)?;
        let of = self.groups.0.get_mut(&domain);
        let remove = |of: &mut Snooped| {
            groups.iter().filter(|of_vlan| of.snooping.remove(device, **of_vlan)).count() > 0
        };
        if !of.is_some_and(remove) {
            let (grp, port, bridge) = (change.grp.clone(), change.port.clone(), change.dev.clone());
            return Err(SwitchError::NoMembership { grp, port, bridge });
        }
        for bridge in self.config.bridges.iter_mut().filter(|bridge| bridge.name == change.dev) {
            bridge.mdb.retain(|entry| entry.device != change.port || !groups.contains(&group_in(entry)));
        }
        self.publish();
        Ok(())
    }

    /// What a change is about.
    fn memberships(&self, change: &MdbChange) -> Result<(DomainId, DeviceId, Vec<GroupIn>), SwitchError> {
        let domain =
            self.domains.of(&change.dev).ok_or_else(|| SwitchError::NotABridge(change.dev.clone()))?;
        let wrong = || SwitchError::NotAPortOf { port: change.port.clone(), bridge: change.dev.clone() };
        let (device, of) = self.member(&change.port).map_err(|_| wrong())?;
        // The host says itself what it is in.
        if domain != of || change.port == change.dev {
            return Err(wrong());
        }
        let not_a_group = |why: String| SwitchError::NotAGroup { why };
        let group: Group = change.grp.parse().map_err(|error| not_a_group(format!("{error}")))?;
        match group_fault(group) {
            Some(fault) => Err(not_a_group(format!("`{group}` {fault}: name a group that hosts join"))),
            None => {
                let vlans = self.vlans_of_entry(&change.port, domain, change.vid)?;
                let groups = vlans.into_iter().map(|vlan| GroupIn { group, vlan }).collect();
                Ok((domain, device, groups))
            }
        }
    }
}
