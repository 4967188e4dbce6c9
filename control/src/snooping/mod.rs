//! Who wants which group, and where the routers are, in one bridge: what it learns at each event, and no more. It knows
//! neither clock nor port; whoever drives it says what happened and when.
//!
//! IGMP and MLD snooping (RFC 4541) as the kernel's bridge does it with its default versions, IGMPv2 and MLDv1
//! (net/bridge/br_multicast.c): reports of the newer versions count, their lists of sources do not. Where the bridge tells VLANs
//! apart, members are of a group in a VLAN; routers and queriers are the bridge's (`mcast_vlan_snooping` 0).

mod heard;
mod querier;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rigswitch_dataplane::bridge::{MulticastConfig, MulticastPort, RouterPort};
use rigswitch_dataplane::ids::{DeviceId, MacAddr, VlanId};
use rigswitch_dataplane::tables::{Family, Mdb, PortState, Target};
use rigswitch_dataplane::wire::multicast::Group;

pub(crate) use heard::Place;
use querier::OtherQuerier;
pub(crate) use querier::Query;

/// What one bridge has learned and been told.
#[derive(Debug)]
pub(crate) struct Snooping {
    config: MulticastConfig,
    /// The bridge's own address, which its queries come from.
    address: MacAddr,
    /// Whether it tells VLANs apart.
    filters: bool,
    /// It had to learn more groups than it may: it floods them all from then on, as the kernel's bridge does.
    overflowed: bool,
    others: [OtherQuerier; 2], // of IPv4 and of IPv6
    ports: BTreeMap<DeviceId, Port>,
    groups: BTreeMap<GroupIn, Vec<Membership>>,
    changed: bool,
    /// Whether workers were told that somebody asks, of IPv4 and of IPv6: it comes true as time goes by.
    told: [bool; 2],
    now: Duration,
    queries: Vec<Query>,
    notices: Vec<Notice>,
}

#[derive(Debug)]
struct Port {
    setup: MulticastPort,
    state: PortState,
    /// Until when a router is believed to be there, by IPv4 and IPv6.
    router: [Option<Duration>; 2],
    /// When this bridge asks next, if it does, and how often it has asked.
    asks: [(Duration, u32); 2],
}

/// What ports are members of: a group, and of a bridge that filters, in a VLAN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct GroupIn {
    pub(crate) group: Group,
    pub(crate) vlan: Option<VlanId>,
}

/// What workers are to do: in each VLAN with members, and wherever there are none or no VLANs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mdbs {
    rest: Arc<Mdb>,
    vlans: BTreeMap<VlanId, Arc<Mdb>>,
}

impl Mdbs {
    /// The database of a VLAN, or of the bridge.
    pub(crate) fn of(&self, vlan: Option<VlanId>) -> &Arc<Mdb> {
        vlan.and_then(|vid| self.vlans.get(&vid)).unwrap_or(&self.rest)
    }
}

/// A port in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Membership {
    pub(crate) device: DeviceId,
    /// Who has said so; nobody, where it was put there by hand.
    pub(crate) station: Option<MacAddr>,
    pub(crate) lasts: Lasts,
}

/// How long a membership lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lasts {
    /// Until then, unless it is heard again.
    Until(Duration),
    /// Until somebody takes it away.
    Permanent,
}

/// Something that whoever watches wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// A port is in a group.
    Joined(GroupIn, DeviceId),
    /// And no longer.
    Left(GroupIn, DeviceId),
    /// It has learned as many groups as it may, and snoops no longer.
    Overflowed,
}

/// Why a membership is not put there by hand, and what to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the bridge does not snoop: turn mcast_snooping on, or off and on if it gave up")]
    Off,
    #[error("the port is down, and only a permanent entry outlasts that: say permanent")]
    Down,
    #[error("it is in that group already: `mdb del` takes it out")]
    Joined,
    #[error("the bridge has {0} groups, as many as its mcast_hash_max: raise it")]
    Full(u32),
    #[error("the port is in {0} groups, as many as its mcast_max_groups: raise it")]
    PortFull(u32),
}

impl Snooping {
    /// The snooping of a bridge without ports.
    pub(crate) fn new(config: MulticastConfig, address: MacAddr, filters: bool, now: Duration) -> Self {
        let mut snooping = Self {
            config: MulticastConfig { querier: false, ..config },
            address,
            filters: false,
            overflowed: false,
            others: Default::default(),
            ports: BTreeMap::new(),
            groups: BTreeMap::new(),
            changed: true,
            told: [false; 2],
            now,
            queries: Vec::new(),
            notices: Vec::new(),
        };
        snooping.set(config, address, filters, now);
        snooping
    }

    /// From now on the bridge is set like this. Once it tells VLANs apart, nobody is a member in none any more, and the other way
    /// round.
    pub(crate) fn set(&mut self, config: MulticastConfig, address: MacAddr, filters: bool, now: Duration) {
        (self.now, self.address) = (now, address);
        if std::mem::replace(&mut self.filters, filters) != filters {
            self.retain(|of, _| of.vlan.is_some() == filters);
        }
        let before = std::mem::replace(&mut self.config, config);
        self.changed |= before != config;
        if config.snooping && !before.snooping || config.hash_max > before.hash_max {
            self.overflowed = false;
        }
        if config.querier && !before.querier {
            self.settle();
        }
        if (config.querier && !before.querier) || (config.snooping && !before.snooping) {
            [0, 1].into_iter().for_each(|family| self.start_asking(family));
        }
    }

    /// The port is there, set like this, and in this state.
    pub(crate) fn set_port(
        &mut self,
        device: DeviceId,
        setup: MulticastPort,
        state: PortState,
        now: Duration,
    ) {
        self.now = now;
        let fresh = Port { setup, state: PortState::Disabled, router: [None; 2], asks: [(now, 0); 2] };
        let port = self.ports.entry(device).or_insert(fresh);
        self.changed |= (port.setup, port.state) != (setup, state);
        let could_ask = port.can_ask();
        let was = std::mem::replace(&mut port.state, state);
        if port.can_ask() && !could_ask {
            port.asks = [(now, 0); 2];
        }
        let goes_down = state == PortState::Disabled && was != state;
        if goes_down || std::mem::replace(&mut port.setup, setup).router != setup.router {
            port.router = [None; 2];
        }
        port.setup = setup;
        if goes_down {
            self.retain(|_, member| member.device != device || member.lasts == Lasts::Permanent);
        }
    }

    /// The port is no longer the bridge's.
    pub(crate) fn remove_port(&mut self, device: DeviceId) {
        self.changed |= self.ports.remove(&device).is_some();
        self.retain(|_, member| member.device != device);
    }

    /// These memberships, and no others, last until they are taken away.
    pub(crate) fn set_permanent(&mut self, fixed: &BTreeSet<(GroupIn, DeviceId)>) {
        self.retain(|of, member| member.lasts != Lasts::Permanent || fixed.contains(&(of, member.device)));
        for &(of, device) in fixed {
            let members = self.groups.entry(of).or_default();
            let lasts = Lasts::Permanent;
            match members.iter_mut().find(|member| member.device == device) {
                Some(member) if member.lasts == lasts => {}
                Some(member) => *member = Membership { device, station: None, lasts },
                None => self.put(of, Membership { device, station: None, lasts }),
            }
        }
    }

    /// Whether a membership may be put there by hand.
    ///
    /// # Errors
    /// [`Refusal`], as the kernel's (`br_mdb_add`, net/bridge/br_mdb.c), but a bound that is reached ends nothing.
    pub(crate) fn admits(&self, device: DeviceId, of: GroupIn, is_permanent: bool) -> Result<(), Refusal> {
        if !self.is_on() {
            return Err(Refusal::Off);
        }
        let port = self.ports.get(&device).filter(|port| is_permanent || port.state != PortState::Disabled);
        let port = port.ok_or(Refusal::Down)?;
        let is_in = |members: &Vec<Membership>| members.iter().any(|member| member.device == device);
        if self.groups.get(&of).is_some_and(is_in) {
            return Err(Refusal::Joined);
        }
        if self.is_full_for(of) {
            return Err(Refusal::Full(self.config.hash_max));
        }
        if self.is_full_port(device, port) {
            return Err(Refusal::PortFull(port.setup.max_groups));
        }
        Ok(())
    }

    /// Makes a port a member for as long as one that was reported.
    pub(crate) fn add(&mut self, device: DeviceId, of: GroupIn, now: Duration) {
        self.now = now;
        let lasts = Lasts::Until(now + self.config.membership_interval);
        self.put(of, Membership { device, station: None, lasts });
    }

    /// Takes a membership away; whether there was one.
    pub(crate) fn remove(&mut self, device: DeviceId, of: GroupIn) -> bool {
        let mut first = true;
        let count = self.groups.get(&of).map_or(0, Vec::len);
        self.retain(|other, member| other != of || member.device != device || !std::mem::take(&mut first));
        self.groups.get(&of).map_or(0, Vec::len) != count
    }

    /// Whether the bridge has an eye on groups.
    pub(crate) fn is_on(&self) -> bool {
        self.config.snooping && !self.overflowed
    }

    /// Every membership, and how long it lasts from now.
    pub(crate) fn members(&self) -> impl Iterator<Item = (GroupIn, Membership)> {
        self.groups.iter().flat_map(|(of, members)| members.iter().map(|member| (*of, *member)))
    }

    /// How many groups there are, one for each VLAN that it has members in.
    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Every port with a router behind it.
    pub(crate) fn routers(&self) -> BTreeSet<DeviceId> {
        [0, 1].into_iter().flat_map(|family| self.routers_of(family)).collect()
    }

    /// What there is to tell.
    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What workers are to do from now on, if it is news: nothing at all while it does not snoop.
    pub(crate) fn news(&mut self) -> Option<Option<Mdbs>> {
        let has_querier = self.has_querier();
        let other = std::mem::replace(&mut self.told, has_querier) != has_querier;
        (std::mem::take(&mut self.changed) || other).then(|| self.is_on().then(|| self.compile()))
    }

    fn routers_of(&self, family: usize) -> impl Iterator<Item = DeviceId> {
        let is_router = move |port: &Port| match port.setup.router {
            RouterPort::Never => false,
            RouterPort::Learned => port.router[family].is_some(),
            RouterPort::Always => port.state != PortState::Disabled,
        };
        self.ports.iter().filter(move |(_, port)| is_router(port)).map(|(device, _)| *device)
    }

    fn put(&mut self, of: GroupIn, member: Membership) {
        self.groups.entry(of).or_default().push(member);
        self.notices.push(Notice::Joined(of, member.device));
        self.changed = true;
    }

    fn retain(&mut self, mut keeps: impl FnMut(GroupIn, &Membership) -> bool) {
        for (&of, members) in &mut self.groups {
            members.retain(|member| {
                let stays = keeps(of, member);
                self.notices.extend((!stays).then_some(Notice::Left(of, member.device)));
                self.changed |= !stays;
                stays
            });
        }
        self.groups.retain(|_, members| !members.is_empty());
    }

    /// Whether one group more would be too many.
    fn is_full_for(&self, of: GroupIn) -> bool {
        !self.groups.contains_key(&of) && self.groups.len() >= self.config.hash_max as usize
    }

    fn is_full_port(&self, device: DeviceId, port: &Port) -> bool {
        let most = port.setup.max_groups as usize;
        most > 0 && self.members().filter(|(_, member)| member.device == device).count() >= most
    }

    fn compile(&self) -> Mdbs {
        let has_querier = self.has_querier();
        let [ipv4, ipv6] = [0, 1].map(|family| Family {
            routers: self.routers_of(family).map(Target::from).collect(),
            has_querier: has_querier[family],
        });
        let is_full = self.groups.len() >= self.config.hash_max as usize;
        let full = self.ports.iter().filter(|(device, port)| self.is_full_port(**device, port));
        let full_ports = full.map(|(device, _)| *device).collect();
        let rest = Mdb { ipv4, ipv6, is_full, full_ports, ..Mdb::default() };
        let mut mdbs: BTreeMap<Option<VlanId>, Mdb> = BTreeMap::new();
        for (of, members) in &self.groups {
            let mut targets: Vec<Target> = match of.group {
                Group::Ip(address) if address.is_ipv6() => rest.ipv6.routers.to_vec(),
                // What is not IP, too (`br_multicast_get_first_rport_node`, net/bridge/br_private.h).
                _ => rest.ipv4.routers.to_vec(),
            };
            let routers = targets.len();
            for target in members.iter().map(|member| self.target(member)) {
                // A router gets what is for the group, as it is; its port needs no second copy.
                let has_router = targets[..routers].iter().any(|router| router.device == target.device);
                if !has_router && !targets.contains(&target) {
                    targets.push(target);
                }
            }
            let mdb = mdbs.entry(of.vlan).or_insert_with(|| rest.clone());
            mdb.groups.insert(of.group, targets.into());
        }
        let rest = Arc::new(mdbs.remove(&None).unwrap_or(rest));
        let vlans = mdbs.into_iter().filter_map(|(vlan, mdb)| Some((vlan?, Arc::new(mdb)))).collect();
        Mdbs { rest, vlans }
    }

    fn target(&self, member: &Membership) -> Target {
        let to_each = self.ports.get(&member.device).is_some_and(|port| port.setup.to_unicast);
        Target { device: member.device, station: member.station.filter(|_| to_each) }
    }
}

impl Port {
    /// Whether queries leave by it.
    fn can_ask(&self) -> bool {
        !matches!(self.state, PortState::Disabled | PortState::Blocking)
    }
}
