//! Who asks, and when: this bridge, or another querier that it has heard of.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::wire::mld;
use rigswitch_dataplane::wire::multicast::Group;

use super::{Lasts, Snooping};

/// A query that is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Query {
    /// Where it leaves.
    pub(crate) device: DeviceId,
    /// Whether it is about groups of IPv4.
    pub(crate) ipv4: bool,
    /// Whose members are asked; all, if none.
    pub(crate) group: Option<Group>,
    /// How long they may take to answer.
    pub(crate) response: Duration,
}

/// A querier that is not this bridge.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct OtherQuerier {
    /// Who it is, and until when it is believed to be there.
    known: Option<(IpAddr, Duration)>,
    /// Until when hosts may not have answered yet who ask now: frames are flooded.
    settled_at: Duration,
}

impl OtherQuerier {
    pub(super) fn is_there(&self) -> bool {
        self.known.is_some()
    }
}

impl Snooping {
    /// Whoever answers the first questions may take this long.
    pub(super) fn settle(&mut self) {
        let at = self.now + self.config.query_response_interval;
        self.others.iter_mut().filter(|other| !other.is_there()).for_each(|other| other.settled_at = at);
    }

    /// Every port is asked at once, and soon again.
    pub(super) fn start_asking(&mut self, family: usize) {
        self.ports.values_mut().for_each(|port| port.asks[family] = (self.now, 0));
    }

    /// A router asks. The one with the lowest address goes on doing so (RFC 2236 §3); whoever is silent for long has lost.
    pub(super) fn hear_querier(&mut self, device: DeviceId, ipv4: bool, querier: IpAddr, response: Duration) {
        // Of IPv4 this bridge asks from nobody's address, and gives way to any.
        let own = || (!ipv4 && self.config.querier).then(|| self.own_address().into());
        let other = &self.others[usize::from(!ipv4)];
        let known = other.known.map(|(address, _)| address).or_else(own);
        if known.is_some_and(|known: IpAddr| querier > known && known != IpAddr::from([0; 4])) {
            return;
        }
        let until = self.now + self.config.querier_interval;
        let other = &mut self.others[usize::from(!ipv4)];
        if other.known.replace((querier, until)).is_none() {
            other.settled_at = self.now + response;
            self.changed = true;
        }
        self.mark_router(device, ipv4);
    }

    /// What its queries of IPv6 come from.
    fn own_address(&self) -> Ipv6Addr {
        mld::link_local(self.address)
    }

    /// Whatever was due until now. Queries to be sent are answered.
    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Query> {
        self.now = now;
        self.retain(|_, member| !matches!(member.lasts, Lasts::Until(until) if until <= now));
        for family in [0, 1] {
            if self.others[family].known.take_if(|(_, until)| *until <= now).is_some() {
                self.changed = true;
                self.start_asking(family);
            }
        }
        for until in self.ports.values_mut().flat_map(|port| &mut port.router) {
            self.changed |= until.take_if(|until| *until <= now).is_some();
        }
        self.ask();
        std::mem::take(&mut self.queries)
    }

    /// Asks on every port whose time has come, unless another querier does.
    fn ask(&mut self) {
        if !self.config.querier || !self.is_on() {
            return;
        }
        let config = &self.config;
        for (&device, port) in self.ports.iter_mut().filter(|(_, port)| port.can_ask()) {
            for (family, (next, sent)) in port.asks.iter_mut().enumerate() {
                if *next > self.now || self.others[family].is_there() {
                    continue;
                }
                *sent = (*sent + 1).min(config.startup_query_count);
                let is_startup = *sent < config.startup_query_count;
                *next =
                    self.now + if is_startup { config.startup_query_interval } else { config.query_interval };
                let response = config.query_response_interval;
                self.queries.push(Query { device, ipv4: family == 0, group: None, response });
            }
        }
    }

    pub(super) fn has_querier(&self) -> [bool; 2] {
        self.others.map(|other| {
            let is_known = other.known.is_some_and(|(_, until)| until > self.now);
            (self.config.querier || is_known) && other.settled_at <= self.now
        })
    }
}
