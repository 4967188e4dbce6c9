//! The neighbours: who is behind which device, how sure that is, and when to ask.
//!
//! States and times are those of the kernel (net/core/neighbour.c, RFC 4861 §7.3), of ARP as of ND. Workers do not say which neighbours
//! they use, so each is taken to be in use: it is asked again whenever its time is over.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};

use super::held::{Held, Waiting};

/// A neighbour: an address behind a device.
pub(super) type Key = (DeviceId, IpAddr);

/// How long a neighbour that has answered is believed, on average (`base_reachable_time_ms`).
const BASE_REACHABLE: Duration = Duration::from_secs(30);
/// How long it is believed after that before it is asked (`delay_first_probe_time`).
const DELAY_FIRST_PROBE: Duration = Duration::from_secs(5);
/// How long to wait for an answer (`retrans_time_ms`).
const RETRANS: Duration = Duration::from_secs(1);
/// How often all are asked for one that is not known (`mcast_solicit`), and how often the one itself (`ucast_solicit`).
const SOLICITS: u32 = 3;
/// How long it is remembered that one does not answer (`gc_stale_time`).
const GC_STALE: Duration = Duration::from_secs(60);
/// How long an ARP reply holds against others that contradict it (`locktime`).
const LOCK_TIME: Duration = Duration::from_secs(1);
/// Neighbours of one family at most (`gc_thresh3`).
pub(super) const MOST: usize = 1024;
/// How many go when there is no room for another, so that looking for them costs little.
const EVICT: usize = 64;

/// How sure a neighbour's link-layer address is (ip-neighbour(8)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Nud {
    /// It was given by hand.
    Permanent,
    /// It has answered lately.
    Reachable,
    /// It was heard of, without being asked.
    Stale,
    /// It has not answered lately, and is to be asked soon.
    Delay,
    /// It is being asked.
    Probe,
    /// It is not known yet; all are being asked.
    Incomplete,
    /// Nobody has answered.
    Failed,
}

impl Nud {
    /// As `ip neigh` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Permanent => "PERMANENT",
            Self::Reachable => "REACHABLE",
            Self::Stale => "STALE",
            Self::Delay => "DELAY",
            Self::Probe => "PROBE",
            Self::Incomplete => "INCOMPLETE",
            Self::Failed => "FAILED",
        }
    }
}

/// One line of `show neighbors`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborState {
    /// Behind which device.
    pub device: DeviceId,
    /// Which address.
    pub address: IpAddr,
    /// Its link-layer address, if that is known.
    pub mac: Option<MacAddr>,
    /// How sure that is.
    pub state: Nud,
    /// Since when it is in this state, or was confirmed in it; zero of a permanent one.
    pub age: Duration,
}

/// What somebody has said of a neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// Its link-layer address, if that was said.
    pub(super) mac: Option<MacAddr>,
    /// Whether it answers a question, so that the neighbour hears us, too.
    pub(super) confirms: bool,
    /// Whether one that is not known is to be entered.
    pub(super) creates: bool,
    pub(super) overrides: Override,
}

/// What becomes of another link-layer address that was known (`NEIGH_UPDATE_F_OVERRIDE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Override {
    /// It is replaced.
    Always,
    /// It is replaced unless it is quite new, so that of several answers to a broadcast the first one counts.
    Late,
    /// It stays, but is less sure than before (RFC 4861 §7.2.5).
    Doubt,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Event {
    /// Ask that station for it, or all.
    Solicit(Key, Option<MacAddr>),
    /// It is known; these were held for it.
    Known(MacAddr, Vec<Held>),
    /// It does not answer; these were held for it.
    Failed(Vec<Held>),
}

#[derive(Debug)]
struct Neighbor {
    state: Nud,
    mac: Option<MacAddr>, // in the states in which it is used
    updated: Duration,
    confirmed: Duration,
    due: Duration,
    probes: u32,
    held: VecDeque<u64>,
}

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) resolved: u64,
    pub(super) failed: u64,
    pub(super) evicted: u64,
    pub(super) refused: u64,
    pub(super) held: u64,
    pub(super) held_dropped: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Neighbors {
    fixed: BTreeMap<Key, MacAddr>,
    families: [BTreeMap<Key, Neighbor>; 2], // IPv4 and IPv6
    waiting: Waiting,
    events: VecDeque<Event>,
    random: u64,
    pub(super) generation: u64,
    pub(super) tally: Tally,
}

impl Neighbors {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            fixed: BTreeMap::new(),
            families: Default::default(),
            waiting: Waiting::default(),
            events: VecDeque::new(),
            random: seed,
            generation: 0,
            tally: Tally::default(),
        }
    }

    /// These are given by hand; what was learned of them is forgotten.
    pub(super) fn fix(&mut self, fixed: BTreeMap<Key, MacAddr>) {
        self.generation += u64::from(self.fixed != fixed);
        for (key, mac) in &fixed {
            if let Some(neighbor) = self.families[family(*key)].remove(key) {
                self.events.push_back(Event::Known(*mac, self.waiting.take(neighbor.held)));
            }
        }
        self.fixed = fixed;
    }

    /// Forgets those learned ones that are not to stay, and drops what was held for them; says how many.
    pub(super) fn retain(&mut self, stays: impl Fn(Key) -> bool) -> usize {
        let gone = |(key, _): &(&Key, &Neighbor)| !stays(**key);
        let gone: Vec<Key> = self.families.iter().flatten().filter(gone).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| self.remove(*key));
        gone.len()
    }

    /// The link-layer address of a neighbour, if it is known.
    pub(super) fn find(&self, key: Key) -> Option<MacAddr> {
        let learned = || self.families[family(key)].get(&key)?.mac;
        self.fixed.get(&key).copied().or_else(learned)
    }

    /// All whose link-layer address is known.
    pub(super) fn known(&self) -> impl Iterator<Item = (Key, MacAddr)> {
        let learned = self.families.iter().flatten();
        let learned = learned.filter_map(|(key, neighbor)| Some((*key, neighbor.mac?)));
        self.fixed.iter().map(|(key, mac)| (*key, *mac)).chain(learned)
    }

    /// Whether nobody has answered for it.
    pub(super) fn is_failed(&self, key: Key) -> bool {
        self.families[family(key)].get(&key).is_some_and(|neighbor| neighbor.state == Nud::Failed)
    }

    /// All, known or not.
    pub(super) fn view(&self, now: Duration) -> Vec<NeighborState> {
        let line =
            |(device, address): Key, mac, state, age| NeighborState { device, address, mac, state, age };
        let fixed =
            self.fixed.iter().map(|(key, mac)| line(*key, Some(*mac), Nud::Permanent, Duration::ZERO));
        let learned = self.families.iter().flatten().map(|(key, neighbor)| {
            let confirmed =
                if neighbor.state == Nud::Reachable { neighbor.confirmed } else { neighbor.updated };
            line(*key, neighbor.mac, neighbor.state, now.saturating_sub(confirmed))
        });
        let mut all: Vec<_> = fixed.chain(learned).collect();
        all.sort_by_key(|line| (line.device, line.address));
        all
    }

    /// The next thing to be done.
    pub(super) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Keeps a frame for a neighbour that is not known, and sees to it that it is asked for (`__neigh_event_send`).
    pub(super) fn hold(&mut self, key: Key, held: Held, now: Duration) {
        self.tally.held += 1;
        let is_asked = self.families[family(key)].get(&key).is_some_and(|it| it.state == Nud::Incomplete);
        if !is_asked {
            if !self.make_room(key, true) {
                self.tally.held_dropped += 1;
                return;
            }
            let fresh =
                Neighbor { state: Nud::Incomplete, due: now + RETRANS, probes: 1, ..Neighbor::new(now) };
            self.families[family(key)].insert(key, fresh);
            self.events.push_back(Event::Solicit(key, None));
        }
        let Some(neighbor) = self.families[family(key)].get_mut(&key) else { return };
        neighbor.held.push_back(self.waiting.push(key, held));
        if neighbor.held.len() > Waiting::FOR_ONE {
            self.tally.held_dropped += 1;
            drop(self.waiting.take(neighbor.held.drain(..1)));
        }
        while let Some(oldest) = self.waiting.excess() {
            self.tally.held_dropped += 1;
            if let Some(neighbor) = self.families[family(oldest)].get_mut(&oldest) {
                neighbor.held.pop_front();
            }
        }
    }

    /// Takes in what was said of a neighbour (`neigh_update`).
    pub(super) fn learn(&mut self, key: Key, heard: Heard, now: Duration) {
        if self.fixed.contains_key(&key) {
            return;
        }
        let is_new = !self.families[family(key)].contains_key(&key);
        if is_new && !(heard.creates && heard.mac.is_some() && self.make_room(key, false)) {
            return;
        }
        let reachable = now + self.reachable_time();
        let neighbor = self.families[family(key)].entry(key).or_insert_with(|| Neighbor::new(now));
        let Some(mut mac) = heard.mac.or(neighbor.mac) else { return };
        let (before, known) = (neighbor.state, neighbor.mac);
        let mut state = if heard.confirms { Nud::Reachable } else { Nud::Stale };
        if let Some(known) = known {
            if mac == known {
                state = if heard.confirms { state } else { before };
            } else if !heard.overrides.allows(now.saturating_sub(neighbor.updated)) {
                if heard.overrides != Override::Doubt || before != Nud::Reachable {
                    return;
                }
                (mac, state) = (known, Nud::Stale);
            }
        }
        let is_news = state != before || known != Some(mac);
        if is_news {
            neighbor.updated = now;
        }
        match state {
            Nud::Reachable if heard.confirms => (neighbor.confirmed, neighbor.due) = (now, reachable),
            _ if is_news => neighbor.due = now + DELAY_FIRST_PROBE,
            _ => {}
        }
        (neighbor.state, neighbor.mac) = (state, Some(mac));
        self.generation += u64::from(known != Some(mac));
        self.tally.resolved += u64::from(before == Nud::Incomplete);
        if known.is_none() {
            let held = self.waiting.take(std::mem::take(&mut neighbor.held));
            self.events.push_back(Event::Known(mac, held));
        }
    }

    /// Whatever was due until now (`neigh_timer_handler`, `neigh_periodic_work`).
    pub(super) fn tick(&mut self, now: Duration) {
        let mut gone = Vec::new();
        for (key, neighbor) in self.families.iter_mut().flatten().filter(|(_, neighbor)| neighbor.due <= now)
        {
            match neighbor.state {
                Nud::Reachable => neighbor.enter(Nud::Delay, now, DELAY_FIRST_PROBE),
                Nud::Stale | Nud::Delay => neighbor.enter(Nud::Probe, now, Duration::ZERO),
                Nud::Failed => gone.push(*key),
                Nud::Probe | Nud::Incomplete | Nud::Permanent => {}
            }
            if !matches!(neighbor.state, Nud::Probe | Nud::Incomplete) {
                continue;
            }
            if neighbor.probes < SOLICITS {
                neighbor.probes += 1;
                neighbor.due = now + RETRANS;
                self.events.push_back(Event::Solicit(*key, neighbor.mac));
                continue;
            }
            neighbor.enter(Nud::Failed, now, GC_STALE);
            self.generation += u64::from(neighbor.mac.take().is_some());
            self.tally.failed += 1;
            let held = self.waiting.take(std::mem::take(&mut neighbor.held));
            self.events.push_back(Event::Failed(held));
        }
        gone.into_iter().for_each(|key| self.remove(key));
    }

    /// How many frames are held, and how many bytes they have.
    pub(super) fn held(&self) -> (usize, usize) {
        self.waiting.size()
    }

    /// Whether one more has room, after some others have gone that are missed least (`neigh_forced_gc`): those that failed; and for one
    /// that is wanted, those that are asked for, then those that nobody has confirmed. Who is only heard of drives nobody out.
    fn make_room(&mut self, key: Key, is_wanted: bool) -> bool {
        let table = &self.families[family(key)];
        if table.len() < MOST || table.contains_key(&key) {
            return true;
        }
        let rank = |state| match state {
            Nud::Failed => Some(0),
            Nud::Incomplete if is_wanted => Some(1),
            Nud::Stale if is_wanted => Some(2),
            Nud::Probe if is_wanted => Some(3),
            _ => None,
        };
        let ranked = |(key, it): (&Key, &Neighbor)| Some((rank(it.state)?, it.updated, *key));
        let mut those: Vec<_> = table.iter().filter_map(ranked).collect();
        if those.is_empty() {
            self.tally.refused += 1;
            return false;
        }
        if those.len() > EVICT {
            those.select_nth_unstable(EVICT);
            those.truncate(EVICT);
        }
        self.tally.evicted += those.len() as u64;
        those.into_iter().for_each(|(.., key)| self.remove(key));
        true
    }

    fn remove(&mut self, key: Key) {
        let Some(neighbor) = self.families[family(key)].remove(&key) else { return };
        self.generation += u64::from(neighbor.mac.is_some());
        self.tally.held_dropped += self.waiting.take(neighbor.held).len() as u64;
    }

    /// Between a half and one and a half of the base time (RFC 4861 §6.3.2, `neigh_rand_reach_time`), by SplitMix64.
    fn reachable_time(&mut self) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        BASE_REACHABLE / 2 + Duration::from_millis(word % 30_000)
    }
}

impl Neighbor {
    /// Of which nothing is known.
    fn new(now: Duration) -> Self {
        let (state, mac, held) = (Nud::Failed, None, VecDeque::new());
        Self { state, mac, updated: now, confirmed: now, due: now + GC_STALE, probes: 0, held }
    }

    fn enter(&mut self, state: Nud, now: Duration, lasts: Duration) {
        (self.state, self.updated, self.due, self.probes) = (state, now, now + lasts, 0);
    }
}

impl Override {
    fn allows(self, age: Duration) -> bool {
        self == Self::Always || self == Self::Late && age > LOCK_TIME
    }
}

fn family(key: Key) -> usize {
    usize::from(key.1.is_ipv6())
}
