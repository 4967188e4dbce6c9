//! What stations and routers say, and what follows from it.

use std::time::Duration;

use rigswitch_dataplane::ids::{DeviceId, MacAddr, VlanId};
use rigswitch_dataplane::tables::PortState;
use rigswitch_dataplane::wire::ethernet::Ethernet;
use rigswitch_dataplane::wire::multicast::{Group, Message, Multicast, is_for_all};

use super::{GroupIn, Lasts, Membership, Notice, Query, Snooping};
use rigswitch_dataplane::bridge::RouterPort;

/// Where something was heard: behind a port, and of a bridge that filters, in a VLAN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) device: DeviceId,
    pub(crate) vlan: Option<VlanId>,
}

impl Place {
    /// A group, there.
    fn group(self, group: Group) -> GroupIn {
        GroupIn { group, vlan: self.vlan }
    }
}

impl Snooping {
    /// This frame was heard there.
    pub(crate) fn hear(&mut self, place: Place, frame: &[u8], now: Duration) {
        let Ok(station) = Ethernet::view(frame).map(|header| header.source()) else { return };
        match Multicast::view(frame) {
            Ok(Multicast::Message { ipv4, message: Some(message) }) => {
                self.hear_message(place, station, ipv4, &message, now);
            }
            Ok(Multicast::Data { group: Group::Ip(group), from_router: true, .. }) => {
                self.hear_router(place.device, group.is_ipv4(), now);
            }
            _ => {}
        }
    }

    /// The station there has said this.
    pub(super) fn hear_message(
        &mut self,
        place: Place,
        station: MacAddr,
        ipv4: bool,
        said: &Message<'_>,
        now: Duration,
    ) {
        // What is of no VLAN where there are some was in one until just now.
        if !self.listens(place.device, now) || place.vlan.is_some() != self.filters {
            return;
        }
        match *said {
            Message::Join(group) => self.join(place, station, group),
            Message::Leave(group) => self.leave(place, station, ipv4, group),
            Message::Query { group: None, response, querier } => {
                self.hear_querier(place.device, ipv4, querier, response);
            }
            Message::Query { group: Some(group), response, .. } => {
                let until = now + response * self.config.last_member_count;
                if let Some(members) = self.groups.get_mut(&place.group(group)) {
                    members.iter_mut().for_each(|member| member.hasten(until));
                }
            }
            Message::Report(records) => {
                for record in records.into_iter().flatten() {
                    if record.leaves {
                        self.leave(place, station, ipv4, record.group);
                    } else {
                        self.join(place, station, record.group);
                    }
                }
            }
        }
    }

    /// There is a router behind the port: it says so.
    pub(super) fn hear_router(&mut self, device: DeviceId, ipv4: bool, now: Duration) {
        if self.listens(device, now) {
            self.mark_router(device, ipv4);
        }
    }

    fn listens(&mut self, device: DeviceId, now: Duration) -> bool {
        self.now = now;
        self.is_on() && self.ports.get(&device).is_some_and(|port| port.state != PortState::Disabled)
    }

    /// Whether the port has one membership a station, and not one for all of them.
    fn has_each(&self, device: DeviceId) -> bool {
        self.ports.get(&device).is_some_and(|port| port.setup.to_unicast)
    }

    fn join(&mut self, place: Place, station: MacAddr, group: Group) {
        let (device, of) = (place.device, place.group(group));
        if self.overflowed || matches!(group, Group::Ip(address) if is_for_all(address)) {
            return;
        }
        let lasts = Lasts::Until(self.now + self.config.membership_interval);
        let each = self.has_each(device);
        let members = self.groups.get_mut(&of).into_iter().flatten();
        if let Some(member) = members.into_iter().find(|member| member.is_of(device, station, each)) {
            if member.lasts != Lasts::Permanent {
                member.lasts = lasts;
            }
        } else if self.is_full_for(of) {
            (self.overflowed, self.changed) = (true, true);
            self.notices.push(Notice::Overflowed);
        } else if self.ports.get(&device).is_some_and(|port| !self.is_full_port(device, port)) {
            self.put(of, Membership { device, station: Some(station), lasts });
        }
    }

    fn leave(&mut self, place: Place, station: MacAddr, ipv4: bool, group: Group) {
        let (device, of) = (place.device, place.group(group));
        let (family, each) = (usize::from(!ipv4), self.has_each(device));
        let Some(members) = self.groups.get_mut(&of) else { return };
        let Some(port) = self.ports.get_mut(&device) else { return };
        if port.setup.fast_leave {
            let leaves =
                |member: &Membership| member.is_of(device, station, each) && member.lasts != Lasts::Permanent;
            return self.retain(|other, member| other != of || !leaves(member));
        }
        if self.others[family].is_there() {
            return; // that one will ask
        }
        let response = self.config.last_member_interval;
        let until = self.now + response * self.config.last_member_count;
        if self.config.querier {
            self.queries.push(Query { device, ipv4, group: Some(group), response });
            // All are asked as soon as this one is answered.
            port.asks[family].0 = until;
            let own = members.iter_mut().find(|member| member.is_of(device, station, each));
            own.into_iter().for_each(|member| member.hasten(until));
        }
        // Whoever is the first of the port, the kernel's bridge takes it to be the one.
        let first = members.iter_mut().find(|member| member.device == device);
        first.into_iter().for_each(|member| member.hasten(until));
    }

    pub(super) fn mark_router(&mut self, device: DeviceId, ipv4: bool) {
        let until = self.now + self.config.querier_interval;
        if let Some(port) = self.ports.get_mut(&device)
            && port.setup.router == RouterPort::Learned
        {
            self.changed |= port.router[usize::from(!ipv4)].replace(until).is_none();
        }
    }
}

impl Membership {
    /// Whether a report of this station is about it. A port that does not have one each has one for all.
    fn is_of(&self, device: DeviceId, station: MacAddr, each: bool) -> bool {
        self.device == device && (!each || self.station == Some(station))
    }

    /// It ends sooner, if nothing else is heard.
    fn hasten(&mut self, to: Duration) {
        if let Lasts::Until(until) = &mut self.lasts {
            *until = to.min(*until);
        }
    }
}
