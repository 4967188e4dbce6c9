//! The model: a map, a list of jobs, and every rule of the kernel's bridge in the plainest words.

use std::collections::{BTreeMap, VecDeque};

use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::tables::{Device, Domain, Flags, HostPort, Knobs, PortState, Role, Tables};

use super::support::{device, domain};
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
    pub(super) stations: BTreeMap<(u16, [u8; 6]), Station>,
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
                    Job::Wire(to) => self.send(to, frame),
                    _ => self.drop(from, Direction::Rx, DropReason::Unused),
                }
            }
            return;
        };
        let refused: Vec<_> = frames.iter().map(|frame| self.admit(from, bridge, frame, now)).collect();
        for (frame, refused) in frames.iter().zip(refused) {
            match refused {
                Some(reason) => self.drop(from, Direction::Rx, reason),
                None => self.forward(from, bridge, frame),
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

    /// Learns from a frame, if that may be, and says why it goes no further, if it does not.
    fn admit(&mut self, from: usize, bridge: u16, frame: &[u8], now: u32) -> Option<DropReason> {
        let knobs = self.knobs[from];
        let may_learn = matches!(knobs.state, PortState::Learning | PortState::Forwarding);
        if let Some(reason) = Self::refusal(frame) {
            return Some(reason);
        }
        let source: [u8; 6] = frame[6..12].try_into().unwrap();
        if let Some(last) = Self::reserved(frame)
            && knobs.passes >> last & 1 == 0
        {
            if last != 1 && knobs.learning && knobs.linklocal_learn && may_learn {
                self.learn(from, bridge, source, now, Flags::LEARNED);
            }
            return Some(DropReason::ReservedAddress);
        }
        if !may_learn {
            return Some(DropReason::PortState);
        }
        let known = self.stations.get(&(bridge, source)).copied();
        let is_here = known.is_some_and(|station| station.device == from && station.flags != Flags::LOCAL);
        let has_leave = is_here && known.is_some_and(|station| !station.flags.has(Flags::LOCKED));
        if knobs.locked && !has_leave {
            if is_here || (known.is_none() && knobs.mab) {
                self.learn(from, bridge, source, now, Flags::LOCKED);
            }
            return Some(DropReason::Locked);
        }
        if knobs.learning {
            self.learn(from, bridge, source, now, Flags::LEARNED);
        }
        (knobs.state == PortState::Learning).then_some(DropReason::PortState)
    }

    fn learn(&mut self, from: usize, bridge: u16, source: [u8; 6], now: u32, flags: Flags) {
        let room = self.learned(bridge) < self.limits[usize::from(bridge) - 1];
        match self.stations.get_mut(&(bridge, source)) {
            Some(station) if station.flags == Flags::LOCAL => {}
            Some(station) if station.flags.has(Flags::STICKY) => station.seen = now,
            Some(station) => {
                if station.device != from {
                    station.flags = match station.flags {
                        Flags::EXTERN_LEARN => Flags::DYNAMIC,
                        Flags::LOCKED => Flags::LEARNED,
                        flags => flags,
                    };
                }
                (station.device, station.seen) = (from, now);
            }
            None if room => {
                let station = Station { device: from, seen: now, flags };
                self.stations.insert((bridge, source), station);
            }
            None => {}
        }
    }

    /// How many stations a bridge has learned.
    pub(super) fn learned(&self, bridge: u16) -> usize {
        self.stations
            .iter()
            .filter(|((of, _), station)| *of == bridge && !station.flags.has(Flags::DYNAMIC))
            .count()
    }

    fn forward(&mut self, from: usize, bridge: u16, frame: &[u8]) {
        let destination: [u8; 6] = frame[..6].try_into().unwrap();
        let Some(station) = self.place(bridge, destination) else {
            return self.flood(from, bridge, frame);
        };
        let (here, there) = (self.knobs_of(from), self.knobs_of(station.device));
        let host = (0..self.jobs.len()).find(|&id| self.jobs[id] == Job::Host(bridge));
        let refused = if station.flags == Flags::LOCAL {
            match host {
                Some(host) => return self.send(host, &[&HOST, &frame[6..]].concat()),
                None => DropReason::NoHost,
            }
        } else if station.device == from && !here.hairpin {
            DropReason::SamePort
        } else if there.state != PortState::Forwarding {
            DropReason::PortState
        } else if here.isolated && there.isolated {
            DropReason::Isolated
        } else {
            return self.send(station.device, frame);
        };
        self.drop(from, Direction::Rx, refused);
    }

    /// Where a station of a bridge is.
    fn place(&self, bridge: u16, station: [u8; 6]) -> Option<Station> {
        let station = self.stations.get(&(bridge, station)).copied()?;
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
        let refused = match self.place(bridge, frame[..6].try_into().unwrap()).filter(|_| !is_group) {
            None => {
                let takes = |to: &usize| {
                    self.jobs[*to] == Job::Bridge(bridge)
                        && self.knobs[*to].state == PortState::Forwarding
                        && (is_group || self.floods[*to][0])
                };
                let others: Vec<_> = (0..self.jobs.len()).filter(takes).collect();
                return self.send_all(host, &others, frame);
            }
            Some(station) if station.device == host => DropReason::SamePort,
            Some(station) if self.knobs[station.device].state != PortState::Forwarding => {
                DropReason::PortState
            }
            Some(station) => return self.send(station.device, frame),
        };
        self.drop(host, Direction::Rx, refused);
    }

    fn flood(&mut self, from: usize, bridge: u16, frame: &[u8]) {
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
        let others: Vec<_> = (0..self.jobs.len()).filter(|&to| takes(to)).collect();
        self.send_all(from, &others, frame);
    }

    fn send_all(&mut self, from: usize, others: &[usize], frame: &[u8]) {
        if others.is_empty() {
            self.drop(from, Direction::Rx, DropReason::NoEgress);
        }
        others.iter().for_each(|&to| self.send(to, frame));
    }

    fn send(&mut self, to: usize, frame: &[u8]) {
        let is_bound = !matches!(self.jobs[to], Job::Host(_));
        if is_bound && frame.len() > self.mtus[to] + 18 {
            self.drop(to, Direction::Tx, DropReason::MtuExceeded);
        } else {
            self.out[to].push_back(frame.to_vec());
        }
    }

    pub(super) fn age(&mut self, now: u32, ageing: u32) {
        let ageless = [Flags::STATIC, Flags::LOCAL, Flags::EXTERN_LEARN];
        self.stations.retain(|_, station| {
            ageless.iter().any(|flag| station.flags.has(*flag)) || now - station.seen <= ageing
        });
    }

    /// The same as tables, device `n` owned by worker `n % workers`.
    pub(super) fn tables(&self, workers: usize) -> Tables {
        let bridges = self.jobs.iter().filter_map(|job| match job {
            Job::Bridge(number) | Job::Host(number) => Some(*number),
            _ => None,
        });
        let domains = (1..=bridges.max().unwrap_or(0)).map(|bridge| {
            let takes = |id: usize, kind: usize| match self.jobs[id] {
                Job::Bridge(of) => {
                    of == bridge
                        && self.knobs[id].state == PortState::Forwarding
                        && (kind == 3 || self.floods[id][kind])
                }
                Job::Host(of) => of == bridge && [1, 2].contains(&kind),
                _ => false,
            };
            let list = |kind| (0..self.jobs.len()).filter(|&id| takes(id, kind)).map(id_of).collect();
            let host = (0..self.jobs.len()).find(|&id| self.jobs[id] == Job::Host(bridge));
            let host = host.map(|id| HostPort { device: id_of(id), mac: MacAddr::new(HOST) });
            let [unicast, multicast, broadcast, from_host] = [0, 1, 2, 3].map(list);
            Domain { unicast, multicast, broadcast, from_host, host, ..Domain::default() }
        });
        let devices = self.jobs.iter().zip(&self.mtus).enumerate().map(|(id, (job, mtu))| {
            let knobs = self.knobs_of(id);
            let role = match *job {
                Job::Nothing => Role::Unused,
                Job::Host(bridge) => Role::Host(domain(bridge)),
                Job::Bridge(bridge) => Role::member(domain(bridge), &knobs),
                Job::Wire(to) => Role::Xconnect(id_of(to)),
            };
            let longest = if let Job::Host(_) = job { u32::MAX } else { u32::try_from(mtu + 18).unwrap() };
            Device { longest, knobs, ..device(role, id % workers) }
        });
        Tables::new(devices.collect(), domains.collect())
    }
}
