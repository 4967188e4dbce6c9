//! What happens to a switch at random: frames, changes, and the seeds that tell one run from another.

use std::collections::{BTreeMap, BTreeSet};

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::{Egress, Entry, Flags, Key, Knobs, PortState, Tick};

use super::bridge::{Job, Model, Station};
use super::support::{Rig, domain};
use super::vlans::{Membership, VIDS, domain_of};

/// Devices of a rig.
pub(super) const DEVICES: usize = 7;

/// A small generator of pseudo-random numbers (SplitMix64): the run depends on the seed alone.
#[derive(Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

pub(super) fn id_of(device: usize) -> DeviceId {
    DeviceId(u16::try_from(device).unwrap())
}

/// A frame of the kind that lives in a rig, or of the kind that should not.
pub(super) fn random_frame(random: &mut Random) -> Vec<u8> {
    let station = |random: &mut Random| -> [u8; 6] {
        match random.below(40) {
            0 => [0xff; 6],
            1 => [1, 0, 0x5e, 0, 0, random.below(4) as u8],
            2 => [1, 0x80, 0xc2, 0, 0, random.below(20) as u8],
            3 => [0; 6],
            _ => [2, 0, 0, 0, 0, random.below(24) as u8],
        }
    };
    let mut frame = Vec::new();
    frame.extend(station(random));
    let source = station(random);
    frame.extend(if random.one_in(4) { source } else { [2, 0, 0, 0, 0, random.below(24) as u8] });
    let depth =
        if random.one_in(16) { random.below(40) } else { [0, 0, 0, 1, 1, 2][random.below(6) as usize] };
    for _ in 0..depth {
        let vid = if random.one_in(12) { 4095 } else { random.below(6) as u16 };
        frame.extend(if random.one_in(4) { [0x88, 0xa8] } else { [0x81, 0] });
        frame.extend((vid | (random.next() as u16 & 0xf000)).to_be_bytes());
    }
    frame.extend([0x88, 0xb5]);
    let length = match random.below(20) {
        0 => random.below(22),
        1 if depth > 0 => 12 + 4 * depth + random.below(4), // nothing behind the tags, or half of that
        1 => 1500 + random.below(40),
        2 => random.below(3000),
        _ => 60,
    };
    frame.resize(length as usize, random.next() as u8);
    frame
}

/// Gives some device another job, another MTU, or the table another entry: to both.
pub(super) fn reconfigure(random: &mut Random, model: &mut Model, rig: &mut Rig, workers: usize, now: u32) {
    let device = random.below(DEVICES as u64) as usize;
    if random.one_in(3) {
        let (mac, bridge) = ([2, 0, 0, 0, 0, random.below(24) as u8], 1 + random.below(2) as u16);
        let sticky = Flags::STATIC.and(Flags::STICKY);
        let all = [Flags::STATIC, Flags::LOCAL, Flags::DYNAMIC, Flags::STICKY, sticky, Flags::EXTERN_LEARN];
        let flags = all[random.below(6) as usize];
        let vid = if random.one_in(2) { 0 } else { 1 + random.below(4) as u16 };
        let key = Key::new(domain_of(bridge, vid), rigswitch_dataplane::ids::MacAddr::new(mac));
        let entry = Entry::new(Egress::from(id_of(device)), Tick::new(now), flags);
        rig.set_fixed(key, entry);
        model.stations.insert((bridge, vid, mac), Station { device, seen: now, flags });
        return;
    }
    if random.one_in(6) {
        let bridge = random.below(2);
        let limit = random.below(12) as u32;
        rig.macs.table().set_limit(domain(1 + bridge as u16), limit);
        model.limits[bridge as usize] = if limit == 0 { usize::MAX } else { limit as usize };
    }
    if random.one_in(4) {
        let bridge = random.below(2) as usize;
        model.filters[bridge] = [None, Some(0x8100), Some(0x8100), Some(0x88a8)][random.below(4) as usize];
    }
    model.vlans[device] = random_membership(random);
    model.knobs[device] = if random.one_in(2) { Knobs::PLAIN } else { random_knobs(random) };
    model.floods[device] = [(); 3].map(|()| !random.one_in(6));
    if let Job::Wire(peer) = model.jobs[device] {
        model.jobs[peer] = Job::Nothing;
    }
    model.mtus[device] = if random.one_in(3) { 100 } else { 1500 };
    let free: BTreeSet<_> =
        (0..DEVICES).filter(|&other| other != device && model.jobs[other] == Job::Nothing).collect();
    model.jobs[device] = match (random.below(8), free.first()) {
        (0, _) => Job::Nothing,
        (1, Some(&peer)) => {
            model.jobs[peer] = Job::Wire(device);
            Job::Wire(peer)
        }
        (2 | 3, _) if (1..=2).any(|of| !model.jobs.contains(&Job::Host(of))) => {
            Job::Host(if model.jobs.contains(&Job::Host(1)) { 2 } else { 1 })
        }
        (n, _) => Job::Bridge(1 + (n & 1) as u16),
    };
    rig.publisher.publish(model.tables(workers));
}

/// Some VLANs, some without tags.
fn random_membership(random: &mut Random) -> Membership {
    let members: BTreeMap<_, _> = VIDS
        .filter(|_| !random.one_in(3))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|vid| (vid, random.one_in(2)))
        .collect();
    let pvid = members.keys().nth(random.below(5) as usize).copied().unwrap_or(0);
    Membership { tunnel: pvid != 0 && random.one_in(6), members, pvid }
}

/// Some knobs turned, most not.
pub(super) fn random_knobs(random: &mut Random) -> Knobs {
    let state =
        if random.one_in(3) { PortState::ALL[random.below(5) as usize] } else { PortState::Forwarding };
    let passes = match random.below(4) {
        0 => random.next() as u16 | 1,
        1 => u16::MAX,
        _ => 1,
    };
    Knobs {
        state,
        learning: !random.one_in(4),
        linklocal_learn: !random.one_in(4),
        hairpin: random.one_in(4),
        isolated: random.one_in(3),
        locked: random.one_in(4),
        mab: random.one_in(2),
        neigh_suppress: false,
        answers: false,
        passes,
        punts: 0,
    }
}

/// The seeds of a test: the one asked for, or the first few.
pub(super) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("RIGSWITCH_SEED") {
        Ok(seed) => vec![seed.parse().expect("RIGSWITCH_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}
