//! The model: a map, a list of jobs, and every rule of the kernel's bridge in the plainest words.

use std::collections::{BTreeMap, VecDeque};

use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::tables::{Device, Domain, Flags, HostPort, Knobs, PortState, Role, Tables};

use super::support::{device, domain};
use super::vlans::{self, Flight, Membership, VIDS, domain_of};
use super::{Drops, id_of};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Job {
    Nothing,
    Bridge(u16),
    /// The host's port of this bridge, of which there is one at most.
    Host(u16),
    Wire(usize),
}

/// The host's address at every bridge.
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

#[derive(Clone, Copy, Debug)]
pub(super) struct Station {
    pub(super) device: usize,
    pub(super) seen: u32,
    pub(super) flags: Flags,
}

/// The plainest bridge: a map, a list of jobs, and a loop.
pub(super) struct Model {
    pub(super) jobs: Vec<Job>,
    pub(super) mtus: Vec<usize>,
    pub(super) knobs: Vec<Knobs>,
    pub(super) floods: Vec<[bool; 3]>, // whether frames to unknown stations, to groups and to all go there
    pub(super) limits: [usize; 2],     // how many stations each bridge may learn
    pub(super) filters: [Option<u16>; 2], // by which tags each bridge tells VLANs apart, if it does
    pub(super) vlans: Vec<Membership>,
    pub(super) stations: BTreeMap<(u16, u16, [u8; 6]), Station>, // by bridge and VLAN
    pub(super) out: Vec<VecDeque<Vec<u8>>>,
    pub(super) drops: Drops,
}

impl Model {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            jobs: vec![Job::Nothing; devices],
            mtus: vec![1500; devices],
            knobs: vec![Knobs::PLAIN; devices],
            floods: vec![[true; 3]; devices],
            limits: [usize::MAX; 2],
            filters: [None; 2],
            vlans: vec![Membership::default(); devices],
            stations: BTreeMap::new(),
            out: vec![VecDeque::new(); devices],
            drops: BTreeMap::new(),
        }
    }

    fn drop(&mut self, device: usize, direction: Direction, reason: DropReason) {
        *self.drops.entry((device, direction, reason)).or_default() += 1;
    }

    /// A burst from one device: all of it is learned from before any of it is looked up.
    pub(super) fn burst(&mut self, from: usize, frames: &[Vec<u8>], now: u32) {
        if let Job::Host(bridge) = self.jobs[from] {
            return frames.iter().for_each(|frame| self.send_of_host(from, bridge, frame));
        }
        let Job::Bridge(bridge) = self.jobs[from] else {
            for frame in frames {
                match self.jobs[from] {
                    Job::Wire(_) if frame.len() < 14 => self.drop(from, Direction::Rx, DropReason::Truncated),
                    Job::Wire(to) => self.send(to, &Flight::plain(frame)),
                    _ => self.drop(from, Direction::Rx, DropReason::Unused),
                }
            }
            return;
        };
        let admitted: Vec<_> = frames.iter().map(|frame| self.admit(from, bridge, frame, now)).collect();
        for (frame, admitted) in frames.iter().zip(admitted) {
            match admitted {
                Err(reason) => self.drop(from, Direction::Rx, reason),
                Ok(flight) => self.forward(from, bridge, frame, &flight),
            }
        }
    }

    fn reserved(frame: &[u8]) -> Option<u8> {
        (frame[..5] == [1, 0x80, 0xc2, 0, 0] && frame[5] < 16).then_some(frame[5])
    }

    fn refusal(frame: &[u8]) -> Option<DropReason> {
        if frame.len() < 14 {
            Some(DropReason::Truncated)
        } else if frame[6] & 1 == 1 {
            Some(DropReason::SourceGroup)
        } else if frame[6..12] == [0; 6] {
            Some(DropReason::SourceZero)
        } else {
            None
        }
    }

    /// Of which VLAN a frame is.
    fn enter(&self, from: usize, bridge: u16, frame: &[u8]) -> Result<Flight, DropReason> {
        match self.filters[usize::from(bridge) - 1] {
            None => Ok(Flight::plain(frame)),
            Some(protocol) => Flight::enter(frame, protocol, &self.vlans[from]),
        }
    }

    /// Learns from a frame, if that may be, and says of which VLAN it is, or why it goes no further.
    fn admit(&mut self, from: usize, bridge: u16, frame: &[u8], now: u32) -> Result<Flight, DropReason> {
        let knobs = self.knobs[from];
        let may_learn = matches!(knobs.state, PortState::Learning | PortState::Forwarding);
        if let Some(reason) = Self::refusal(frame) {
            return Err(reason);
        }
        let source: [u8; 6] = frame[6..12].try_into().unwrap();
        let flight = self.enter(from, bridge, frame);
        if let Some(last) = Self::reserved(frame)
            && knobs.passes >> last & 1 == 0
        {
            if last != 1
                && knobs.learning
                && knobs.linklocal_learn
                && may_learn
                && let Ok(flight) = flight
            {
                self.learn(from, bridge, flight.vid, source, now, Flags::LEARNED);
            }
            return Err(DropReason::ReservedAddress);
        }
        if !may_learn {
            return Err(DropReason::PortState);
        }
        let flight = flight?;
        let known = self.find(bridge, flight.vid, source);
        let is_here = known.is_some_and(|station| station.device == from && station.flags != Flags::LOCAL);
        let has_leave = is_here && known.is_some_and(|station| !station.flags.has(Flags::LOCKED));
        if knobs.locked && !has_leave {
            if is_here || (known.is_none() && knobs.mab) {
                self.learn(from, bridge, flight.vid, source, now, Flags::LOCKED);
            }
            return Err(DropReason::Locked);
        }
        if knobs.learning {
            self.learn(from, bridge, flight.vid, source, now, Flags::LEARNED);
        }
        if knobs.state == PortState::Learning { Err(DropReason::PortState) } else { Ok(flight) }
    }

    fn learn(&mut self, from: usize, bridge: u16, vid: u16, source: [u8; 6], now: u32, flags: Flags) {
        if self.own(bridge, vid, source).is_some() {
            return;
        }
        let noted = now / 8 * 8; // coarsely, so that who is seen all the time is seldom written down
        let room = self.learned(bridge) < self.limits[usize::from(bridge) - 1];
        match self.stations.get_mut(&(bridge, vid, source)) {
            Some(station) if station.flags == Flags::LOCAL => {}
            Some(station) if station.flags.has(Flags::STICKY) => station.seen = noted,
            Some(station) => {
                if station.device != from {
                    station.flags = match station.flags {
                        Flags::EXTERN_LEARN => Flags::DYNAMIC,
                        Flags::LOCKED => Flags::LEARNED,
                        flags => flags,
                    };
                }
                (station.device, station.seen) = (from, noted);
            }
            None if room => {
                let station = Station { device: from, seen: noted, flags };
                self.stations.insert((bridge, vid, source), station);
            }
            None => {}
        }
    }

    /// Whether a device is in a VLAN of its bridge; every one is where there are none.
    fn is_in(&self, device: usize, vid: u16) -> bool {
        vid == 0 || self.vlans[device].members.contains_key(&vid)
    }

    /// The entry of an address of the bridge's own, which is one for all VLANs.
    fn own(&self, bridge: u16, vid: u16, station: [u8; 6]) -> Option<Station> {
        let own = self.stations.get(&(bridge, 0, station)).copied().filter(|_| vid != 0)?;
        // Where it is need not be a port of this bridge, but of one that filters.
        let filters = match self.jobs[own.device] {
            Job::Bridge(of) | Job::Host(of) => self.filters[usize::from(of) - 1].is_some(),
            _ => false,
        };
        (own.flags.has(Flags::LOCAL) && filters && self.is_in(own.device, vid)).then_some(own)
    }

    fn find(&self, bridge: u16, vid: u16, station: [u8; 6]) -> Option<Station> {
        self.stations.get(&(bridge, vid, station)).copied().or_else(|| self.own(bridge, vid, station))
    }

    /// How many stations a bridge has learned.
    pub(super) fn learned(&self, bridge: u16) -> usize {
        self.stations
            .iter()
            .filter(|((of, ..), station)| *of == bridge && !station.flags.has(Flags::DYNAMIC))
            .count()
    }

    fn forward(&mut self, from: usize, bridge: u16, frame: &[u8], flight: &Flight) {
        let destination: [u8; 6] = frame[..6].try_into().unwrap();
        let group = destination[0] & 1 == 1;
        let Some(station) = self.place(bridge, flight.vid, destination).filter(|_| !group) else {
            return self.flood(from, bridge, frame, flight);
        };
        let (here, there) = (self.knobs_of(from), self.knobs_of(station.device));
        let host = (0..self.jobs.len()).find(|&id| self.jobs[id] == Job::Host(bridge));
        let refused = if station.flags == Flags::LOCAL {
            match host {
                Some(host) if self.is_in(host, flight.vid) => {
                    return self.send(host, &flight.clone().to(HOST));
                }
                Some(_) => DropReason::VlanEgress,
                None => DropReason::NoHost,
            }
        } else if station.device == from && !here.hairpin {
            DropReason::SamePort
        } else if there.state != PortState::Forwarding {
            DropReason::PortState
        } else if !self.is_in(station.device, flight.vid) {
            DropReason::VlanEgress
        } else if here.isolated && there.isolated {
            DropReason::Isolated
        } else {
            return self.send(station.device, flight);
        };
        self.drop(from, Direction::Rx, refused);
    }

    /// Where a station of a bridge is.
    fn place(&self, bridge: u16, vid: u16, station: [u8; 6]) -> Option<Station> {
        let station = self.find(bridge, vid, station)?;
        [Job::Bridge(bridge), Job::Host(bridge)].contains(&self.jobs[station.device]).then_some(station)
    }

    /// A host's port has no knobs.
    fn knobs_of(&self, device: usize) -> Knobs {
        if let Job::Host(_) = self.jobs[device] { Knobs::PLAIN } else { self.knobs[device] }
    }

    /// What the host sends is not learned from, and to groups it goes to ports that take no floods of others, too.
    fn send_of_host(&mut self, host: usize, bridge: u16, frame: &[u8]) {
        if frame.len() < 14 {
            return self.drop(host, Direction::Rx, DropReason::Truncated);
        }
        let is_group = frame[0] & 1 == 1;
        let flight = match self.enter(host, bridge, frame) {
            Ok(flight) => flight,
            Err(reason) => return self.drop(host, Direction::Rx, reason),
        };
        let station = self.place(bridge, flight.vid, frame[..6].try_into().unwrap());
        let refused = match station.filter(|_| !is_group) {
            None => {
                let takes = |to: &usize| {
                    self.jobs[*to] == Job::Bridge(bridge)
                        && self.knobs[*to].state == PortState::Forwarding
                        && self.is_in(*to, flight.vid)
                        && (is_group || self.floods[*to][0])
                };
                let others: Vec<_> = (0..self.jobs.len()).filter(takes).collect();
                return self.send_all(host, &others, &flight);
            }
            Some(station) if station.device == host => DropReason::SamePort,
            Some(station) if self.knobs[station.device].state != PortState::Forwarding => {
                DropReason::PortState
            }
            Some(station) if !self.is_in(station.device, flight.vid) => DropReason::VlanEgress,
            Some(station) => return self.send(station.device, &flight),
        };
        self.drop(host, Direction::Rx, refused);
    }

    fn flood(&mut self, from: usize, bridge: u16, frame: &[u8], flight: &Flight) {
        let kind = if frame[..6] == [0xff; 6] { 2 } else { usize::from(frame[0] & 1) };
        let here = self.knobs[from];
        let takes = |to: usize| match self.jobs[to] {
            Job::Bridge(of) => {
                of == bridge
                    && self.knobs[to].state == PortState::Forwarding
                    && self.floods[to][kind]
                    && (to != from || here.hairpin)
                    && !(here.isolated && self.knobs[to].isolated)
            }
            Job::Host(of) => of == bridge && kind > 0,
            _ => false,
        };
        let others: Vec<_> =
            (0..self.jobs.len()).filter(|&to| takes(to) && self.is_in(to, flight.vid)).collect();
        self.send_all(from, &others, flight);
    }

    fn send_all(&mut self, from: usize, others: &[usize], flight: &Flight) {
        if others.is_empty() {
            self.drop(from, Direction::Rx, DropReason::NoEgress);
        }
        others.iter().for_each(|&to| self.send(to, flight));
    }

    fn send(&mut self, to: usize, flight: &Flight) {
        let protocol = match self.jobs[to] {
            Job::Bridge(of) | Job::Host(of) => self.filters[usize::from(of) - 1],
            _ => None,
        };
        let (bytes, measured) = flight.leave(protocol.unwrap_or(0), &self.vlans[to]);
        let is_bound = !matches!(self.jobs[to], Job::Host(_));
        if is_bound && measured > self.mtus[to] + 18 {
            self.drop(to, Direction::Tx, DropReason::MtuExceeded);
        } else {
            self.out[to].push_back(bytes);
        }
    }

    pub(super) fn age(&mut self, now: u32, ageing: u32) {
        let ageless = [Flags::STATIC, Flags::LOCAL, Flags::EXTERN_LEARN];
        self.stations.retain(|_, station| {
            ageless.iter().any(|flag| station.flags.has(*flag)) || now - station.seen < ageing + 8
        });
    }

    /// The same as tables, device `n` owned by worker `n % workers`.
    pub(super) fn tables(&self, workers: usize) -> Tables {
        let all = [1, 2]
            .into_iter()
            .flat_map(|bridge| [(bridge, 0)].into_iter().chain(VIDS.map(move |vid| (bridge, vid))));
        let mut domains = vec![Domain::default(); 2 + 2 * usize::from(*VIDS.end())];
        for (bridge, vid) in all {
            let filter = self.filters[usize::from(bridge) - 1];
            if vid != 0 && filter.is_none() {
                continue;
            }
            let takes = |id: usize, kind: usize| match self.jobs[id] {
                _ if !self.is_in(id, vid) => false,
                Job::Bridge(of) => {
                    of == bridge
                        && self.knobs[id].state == PortState::Forwarding
                        && (kind == 3 || self.floods[id][kind])
                }
                Job::Host(of) => of == bridge && [1, 2].contains(&kind),
                _ => false,
            };
            let list = |kind| (0..self.jobs.len()).filter(|&id| takes(id, kind)).map(id_of).collect();
            let host =
                (0..self.jobs.len()).find(|&id| self.jobs[id] == Job::Host(bridge) && self.is_in(id, vid));
            let host = host.map(|id| HostPort { device: id_of(id), mac: MacAddr::new(HOST) });
            let [unicast, multicast, broadcast, from_host] = [0, 1, 2, 3].map(list);
            let vlans = filter.filter(|_| vid == 0).map(|protocol| Box::new(vlans::vlans(bridge, protocol)));
            let of = vlans::of(bridge, vid);
            domains[usize::from(domain_of(bridge, vid).number()) - 1] =
                Domain { unicast, multicast, broadcast, from_host, host, vlans, of, ..Domain::default() };
        }
        let filters = |bridge: u16| self.filters[usize::from(bridge) - 1].is_some();
        let ports: Vec<_> = self.vlans.iter().map(|membership| Box::new(vlans::port(membership))).collect();
        let devices = self.jobs.iter().zip(&self.mtus).enumerate().map(|(id, (job, mtu))| {
            let knobs = self.knobs_of(id);
            let role = match *job {
                Job::Nothing => Role::Unused,
                Job::Host(bridge) => Role::Host(domain(bridge)),
                Job::Bridge(bridge) if filters(bridge) => {
                    Role::vlan_member(domain(bridge), &knobs, &ports[id])
                }
                Job::Bridge(bridge) => Role::member(domain(bridge), &knobs),
                Job::Wire(to) => Role::Xconnect(id_of(to)),
            };
            let longest = if let Job::Host(_) = job { u32::MAX } else { u32::try_from(mtu + 18).unwrap() };
            Device { longest, knobs, ..device(role, id % workers) }
        });
        let of_filter = |job: &Job| matches!(*job, Job::Bridge(of) | Job::Host(of) if filters(of));
        let vlan_ports = self.jobs.iter().zip(&ports).map(|(job, port)| of_filter(job).then(|| port.clone()));
        Tables::with_vlans(devices.collect(), domains.into(), vlan_ports.collect())
    }
}
