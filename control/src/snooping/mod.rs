//! Who wants which group, and where the routers are, in one bridge: what it learns at each event, and no more. It knows
//! neither clock nor port; whoever drives it says what happened and when.
//!
//! IGMP and MLD snooping (RFC 4541) as the kernel's bridge does it with its default versions, IGMPv2 and MLDv1
//! (net/bridge/br_multicast.c): reports of the newer versions count, their lists of sources do not.

mod heard;
mod querier;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use rigswitch_dataplane::bridge::{MulticastConfig, MulticastPort, RouterPort};
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::{Family, Mdb, PortState, Target};
use rigswitch_dataplane::wire::multicast::Group;

use querier::OtherQuerier;
pub(crate) use querier::Query;

/// What one bridge has learned and been told.
#[derive(Debug)]
pub(crate) struct Snooping {
    config: MulticastConfig,
    /// The bridge's own address, which its queries come from.
    address: MacAddr,
    /// It had to learn more groups than it may: it floods them all from then on, as the kernel's bridge does.
    overflowed: bool,
    others: [OtherQuerier; 2], // of IPv4 and of IPv6
    ports: BTreeMap<DeviceId, Port>,
    groups: BTreeMap<Group, Vec<Membership>>,
    changed: bool,
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

/// A port in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Membership {
    pub(crate) device: DeviceId,
    /// Who has said so, if somebody has.
    station: Option<MacAddr>,
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
    Joined(Group, DeviceId),
    /// And no longer.
    Left(Group, DeviceId),
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
    pub(crate) fn new(config: MulticastConfig, address: MacAddr, now: Duration) -> Self {
        let mut snooping = Self {
            config: MulticastConfig { querier: false, ..config },
            address,
            overflowed: false,
            others: Default::default(),
            ports: BTreeMap::new(),
            groups: BTreeMap::new(),
            changed: true,
            now,
            queries: Vec::new(),
            notices: Vec::new(),
        };
        snooping.set(config, address, now);
        snooping
    }

    /// From now on the bridge is set like this.
    pub(crate) fn set(&mut self, config: MulticastConfig, address: MacAddr, now: Duration) {
        (self.now, self.address) = (now, address);
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
    pub(crate) fn set_permanent(&mut self, fixed: &BTreeSet<(Group, DeviceId)>) {
        self.retain(|group, member| {
            member.lasts != Lasts::Permanent || fixed.contains(&(group, member.device))
        });
        for &(group, device) in fixed {
            let members = self.groups.entry(group).or_default();
            let lasts = Lasts::Permanent;
            match members.iter_mut().find(|member| member.device == device) {
                Some(member) if member.lasts == lasts => {}
                Some(member) => *member = Membership { device, station: None, lasts },
                None => self.put(group, Membership { device, station: None, lasts }),
            }
        }
    }

    /// Whether a membership may be put there by hand.
    ///
    /// # Errors
    /// [`Refusal`], as the kernel's (`br_mdb_add`, net/bridge/br_mdb.c), but a bound that is reached ends nothing.
    pub(crate) fn admits(&self, device: DeviceId, group: Group, is_permanent: bool) -> Result<(), Refusal> {
        if !self.is_on() {
            return Err(Refusal::Off);
        }
        let port = self.ports.get(&device).filter(|port| is_permanent || port.state != PortState::Disabled);
        let port = port.ok_or(Refusal::Down)?;
        let is_in = |members: &Vec<Membership>| members.iter().any(|member| member.device == device);
        if self.groups.get(&group).is_some_and(is_in) {
            return Err(Refusal::Joined);
        }
        if self.is_full_for(group) {
            return Err(Refusal::Full(self.config.hash_max));
        }
        if self.is_full_port(device, port) {
            return Err(Refusal::PortFull(port.setup.max_groups));
        }
        Ok(())
    }

    /// Makes a port a member for as long as one that was reported.
    pub(crate) fn add(&mut self, device: DeviceId, group: Group, now: Duration) {
        self.now = now;
        let lasts = Lasts::Until(now + self.config.membership_interval);
        self.put(group, Membership { device, station: None, lasts });
    }

    /// Takes a membership away; whether there was one.
    pub(crate) fn remove(&mut self, device: DeviceId, group: Group) -> bool {
        let mut first = true;
        let count = self.groups.get(&group).map_or(0, Vec::len);
        self.retain(|of, member| of != group || member.device != device || !std::mem::take(&mut first));
        self.groups.get(&group).map_or(0, Vec::len) != count
    }

    /// Whether the bridge has an eye on groups.
    pub(crate) fn is_on(&self) -> bool {
        self.config.snooping && !self.overflowed
    }

    /// Every membership, and how long it lasts from now.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Group, Membership)> {
        self.groups.iter().flat_map(|(group, members)| members.iter().map(|member| (*group, *member)))
    }

    /// How many groups there are.
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
    pub(crate) fn news(&mut self) -> Option<Option<Mdb>> {
        std::mem::take(&mut self.changed).then(|| self.is_on().then(|| self.compile()))
    }

    fn routers_of(&self, family: usize) -> impl Iterator<Item = DeviceId> {
        let is_router = move |port: &Port| match port.setup.router {
            RouterPort::Never => false,
            RouterPort::Learned => port.router[family].is_some(),
            RouterPort::Always => port.state != PortState::Disabled,
        };
        self.ports.iter().filter(move |(_, port)| is_router(port)).map(|(device, _)| *device)
    }

    fn put(&mut self, group: Group, member: Membership) {
        self.groups.entry(group).or_default().push(member);
        self.notices.push(Notice::Joined(group, member.device));
        self.changed = true;
    }

    fn retain(&mut self, mut keeps: impl FnMut(Group, &Membership) -> bool) {
        for (&group, members) in &mut self.groups {
            members.retain(|member| {
                let stays = keeps(group, member);
                self.notices.extend((!stays).then_some(Notice::Left(group, member.device)));
                self.changed |= !stays;
                stays
            });
        }
        self.groups.retain(|_, members| !members.is_empty());
    }

    /// Whether one group more would be too many.
    fn is_full_for(&self, group: Group) -> bool {
        !self.groups.contains_key(&group) && self.groups.len() >= self.config.hash_max as usize
    }

    fn is_full_port(&self, device: DeviceId, port: &Port) -> bool {
        let most = port.setup.max_groups as usize;
        most > 0 && self.members().filter(|(_, member)| member.device == device).count() >= most
    }

    fn compile(&self) -> Mdb {
        let has_querier = self.has_querier();
        let [ipv4, ipv6] = [0, 1].map(|family| Family {
            routers: self.routers_of(family).map(Target::from).collect(),
            has_querier: has_querier[family],
        });
        let mut groups = HashMap::new();
        for (&group, members) in &self.groups {
            let mut targets: Vec<Target> = match group {
                Group::Ip(address) if address.is_ipv6() => ipv6.routers.to_vec(),
                // What is not IP, too (`br_multicast_get_first_rport_node`, net/bridge/br_private.h).
                _ => ipv4.routers.to_vec(),
            };
            let routers = targets.len();
            for target in members.iter().map(|member| self.target(member)) {
                // A router gets what is for the group, as it is; its port needs no second copy.
                let has_router = targets[..routers].iter().any(|router| router.device == target.device);
                if !has_router && !targets.contains(&target) {
                    targets.push(target);
                }
            }
            groups.insert(group, targets.into());
        }
        let is_full = self.groups.len() >= self.config.hash_max as usize;
        let full = self.ports.iter().filter(|(device, port)| self.is_full_port(**device, port));
        Mdb { groups, ipv4, ipv6, is_full, full_ports: full.map(|(device, _)| *device).collect() }
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
