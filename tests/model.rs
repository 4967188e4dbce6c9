//! The switch against models of it: the same seeded random frames, reconfigurations and faults, once through workers on
//! memory ports, once through the plainest bridge, or the plainest router, that can be written.
//!
//! An observer tells the model in which order the workers took the frames in; all else the model decides for itself. A
//! failing run prints its seed: `RIGSWITCH_SEED=n cargo test -p rigswitch-dataplane --test model` repeats it alone.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // helpers of tests are tests

#[path = "model/bridge.rs"]
mod bridge;
#[path = "model/packets.rs"]
mod packets;
#[path = "model/random.rs"]
mod random;
#[path = "model/routed.rs"]
mod routed;
#[path = "model/router.rs"]
mod router;
mod support;
#[path = "model/vlans.rs"]
mod vlans;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bridge::Model;
use random::{DEVICES, Random, id_of, random_frame, reconfigure, seeds};
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Frame, PoolConfig};
use rigswitch_dataplane::pipeline::{Observer, Step};
use rigswitch_dataplane::ports::{Capabilities, Fault, Faulty, Memory, MemoryEnd, Wire};
use rigswitch_dataplane::tables::Tick;
use support::{Rig, domain, worker};
use vlans::{VIDS, domain_of};

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

const AGEING: u32 = 30;

/// One run: some hundred steps of frames, changes and the passing of time.
fn run(seed: u64, workers: usize, faults: bool) {
    let mut random = Random(seed);
    let mut model = Model::new(DEVICES);
    let memory = PoolConfig { frames: 512, runs: 0, run_chunks: 0 };
    let (mut rig, mut links) = Rig::new(workers, model.tables(workers), memory, 64);
    for bridge in [1, 2] {
        VIDS.for_each(|vid| rig.macs.table().share_quota(domain_of(bridge, vid), domain(bridge)));
    }
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
