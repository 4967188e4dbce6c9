//! The switch against a model of it: the same seeded random frames, reconfigurations and faults, once through workers on
//! memory ports, once through the plainest bridge that can be written.
//!
//! An observer tells the model in which order the workers took the frames in; all else the model decides for itself. A
//! failing run prints its seed: `RIGSWITCH_SEED=n cargo test -p rigswitch-dataplane --test model` repeats it alone.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // helpers of tests are tests

#[path = "model/bridge.rs"]
mod bridge;
mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bridge::{Job, Model, Station};
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Frame, PoolConfig};
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::pipeline::{Observer, Step};
use rigswitch_dataplane::ports::{Capabilities, Fault, Faulty, Memory, MemoryEnd, Wire};
use rigswitch_dataplane::tables::{Egress, Entry, Flags, Key, Knobs, PortState, Tick};
use support::{Rig, domain, worker};

/// A small generator of pseudo-random numbers (SplitMix64): the run depends on the seed alone.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Drops by device, direction and reason.
type Drops = BTreeMap<(usize, Direction, DropReason), u64>;

/// What the workers took in: bursts of frames, in order.
type Log = Rc<RefCell<Vec<(usize, Vec<u8>)>>>;

/// Writes down what comes in, and checks that whatever is seen to happen is seen to happen to a frame that came in.
struct Recorder {
    received: Log,
    drops: Rc<RefCell<Drops>>,
}

impl Observer for Recorder {
    fn see(&mut self, step: Step, frame: &Frame) {
        match step {
            Step::Received(device) => {
                self.received.borrow_mut().push((device.index(), frame.bytes().to_vec()));
            }
            Step::Dropped(device, direction, reason) => {
                *self.drops.borrow_mut().entry((device.index(), direction, reason)).or_default() += 1;
            }
            _ => {}
        }
    }
}

fn id_of(device: usize) -> DeviceId {
    DeviceId(u16::try_from(device).unwrap())
}

/// A frame of the kind that lives in a rig, or of the kind that should not.
fn random_frame(random: &mut Random) -> Vec<u8> {
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
    frame.extend([0x88, 0xb5]);
    let length = match random.below(20) {
        0 => random.below(14),
        1 => 1500 + random.below(40),
        2 => random.below(3000),
        _ => 60,
    };
    frame.resize(length as usize, random.next() as u8);
    frame
}

const DEVICES: usize = 7;
const AGEING: u32 = 30;

/// One run: some hundred steps of frames, changes and the passing of time.
fn run(seed: u64, workers: usize, faults: bool) {
    let mut random = Random(seed);
    let mut model = Model::new(DEVICES);
    let memory = PoolConfig { frames: 512, runs: 0, run_chunks: 0 };
    let (mut rig, mut links) = Rig::new(workers, model.tables(workers), memory, 64);
    let (log, drops) = (Log::default(), Rc::new(RefCell::new(BTreeMap::new())));
    let mut at = vec![None; workers];
    let mut running: Vec<_> = links
        .iter_mut()
        .zip(&mut at)
        .map(|(links, at)| {
            let recorder = Recorder { received: Rc::clone(&log), drops: Rc::clone(&drops) };
            worker(links, recorder, at).0
        })
        .collect();
    let ends: Vec<MemoryEnd> = (0..DEVICES)
        .map(|id| {
            let (port, end) = Memory::new(1024, Capabilities::default());
            let mut schedule = Random(seed ^ id as u64);
            let port = Faulty::new(port, move || match schedule.below(if faults { 12 } else { u64::MAX }) {
                0 => Some(Fault::RxStall),
                1 => Some(Fault::TxFull),
                2 => Some(Fault::TxOne),
                _ => None,
            });
            rig.open(id % workers, id_of(id), Box::new(port));
            end
        })
        .collect();

    let mut now = 0;
    for _ in 0..150 {
        if random.one_in(6) {
            reconfigure(&mut random, &mut model, &mut rig, workers, now);
        }
        if random.one_in(4) {
            now += random.below(20) as u32;
            rig.at(now);
            rig.retain(|_, entry| !entry.has_expired(Tick::new(now), AGEING));
            model.age(now, AGEING);
        }
        for _ in 0..random.below(90) {
            let end = &ends[random.below(DEVICES as u64) as usize];
            let _ = end.send(random_frame(&mut random));
        }
        let mut quiet = 0;
        while quiet < 3 || ends.iter().any(|end| end.unread() > 0) {
            let mut moved = 0;
            for worker in &mut running {
                moved += worker.turn();
                replay(&mut model, &log, now);
            }
            quiet = if moved == 0 { quiet + 1 } else { 0 };
        }
        compare(seed, &mut model, &ends, &mut drops.borrow_mut(), &rig, workers, faults);
    }
}

/// Gives the model what the workers have taken in since, burst by burst.
fn replay(model: &mut Model, log: &Log, now: u32) {
    let received = std::mem::take(&mut *log.borrow_mut());
    for burst in received.chunk_by(|a, b| a.0 == b.0) {
        let frames: Vec<_> = burst.iter().map(|(_, frame)| frame.clone()).collect();
        for frames in frames.chunks(64) {
            model.burst(burst[0].0, frames, now);
        }
    }
}

/// Gives some device another job, another MTU, or the table another entry: to both.
fn reconfigure(random: &mut Random, model: &mut Model, rig: &mut Rig, workers: usize, now: u32) {
    let device = random.below(DEVICES as u64) as usize;
    if random.one_in(3) {
        let (mac, bridge) = ([2, 0, 0, 0, 0, random.below(24) as u8], 1 + random.below(2) as u16);
        let sticky = Flags::STATIC.and(Flags::STICKY);
        let all = [Flags::STATIC, Flags::LOCAL, Flags::DYNAMIC, Flags::STICKY, sticky, Flags::EXTERN_LEARN];
        let flags = all[random.below(6) as usize];
        let key = Key::new(domain(bridge), rigswitch_dataplane::ids::MacAddr::new(mac));
        let entry = Entry::new(Egress::from(id_of(device)), Tick::new(now), flags);
        rig.set_fixed(key, entry);
        model.stations.insert((bridge, mac), Station { device, seen: now, flags });
        return;
    }
    if random.one_in(6) {
        let bridge = random.below(2);
        let limit = random.below(12) as u32;
        rig.macs.table().set_limit(domain(1 + bridge as u16), limit);
        model.limits[bridge as usize] = if limit == 0 { usize::MAX } else { limit as usize };
    }
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

/// Some knobs turned, most not.
fn random_knobs(random: &mut Random) -> Knobs {
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

/// Same frames out of each device, same drops, and a ledger that balances.
fn compare(
    seed: u64,
    model: &mut Model,
    ends: &[MemoryEnd],
    drops: &mut Drops,
    rig: &Rig,
    workers: usize,
    faults: bool,
) {
    assert_eq!(rig.ledger().imbalance(), (0, 0), "seed {seed}: {:?}", rig.ledger());
    for (id, end) in ends.iter().enumerate() {
        let mut expected: Vec<_> = model.out[id].drain(..).collect();
        let mut sent: Vec<_> = std::iter::from_fn(|| end.receive()).map(|wire: Wire| wire.bytes).collect();
        if workers > 1 {
            expected.sort(); // what two workers send out of one device has no order between them
            sent.sort();
        }
        if faults {
            // A full ring loses frames, but it invents none and reorders none.
            let mut rest = expected.iter();
            for frame in &sent {
                assert!(rest.any(|other| other == frame), "seed {seed}: device {id} sent what it should not");
            }
        } else {
            assert!(
                sent == expected,
                "seed {seed}: device {id} sent {} frames, not {}",
                sent.len(),
                expected.len()
            );
        }
    }
    assert_eq!(*drops, model.drops, "seed {seed}");
    for bridge in [1, 2] {
        let learned = rig.macs.table().learned(domain(bridge)) as usize;
        assert_eq!(learned, model.learned(bridge), "seed {seed}: learned by bridge {bridge}");
    }
}

/// The seeds of a test: the one asked for, or the first few.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("RIGSWITCH_SEED") {
        Ok(seed) => vec![seed.parse().expect("RIGSWITCH_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

#[test]
fn one_worker_does_what_the_model_does() {
    seeds(20).into_iter().for_each(|seed| run(seed, 1, false));
}

#[test]
fn two_workers_do_what_the_model_does() {
    seeds(20).into_iter().for_each(|seed| run(seed, 2, false));
}

#[test]
fn faults_lose_frames_but_the_ledger_finds_each() {
    seeds(20).into_iter().for_each(|seed| run(seed, 1 + (seed % 2) as usize, true));
}
