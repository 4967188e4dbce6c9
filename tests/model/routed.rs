//! The routing stage against the model of a router: random packets and changes, one worker and two, each frame, drop and punt compared.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rigswitch_dataplane::drops::DropReason;
use rigswitch_dataplane::frames::PoolConfig;
use rigswitch_dataplane::ports::{Capabilities, Memory, MemoryEnd, Wire};

use super::packets::{Compiled, DEVICES, WAYS, random_packet, reconfigure};
use super::random::{Random, seeds};
use super::router::Router;
use super::support::{Rig, worker};
use super::{Log, Recorder, id_of};

/// Why packets went no further in it, and how many left in fragments.
fn run(seed: u64, workers: usize) -> (BTreeSet<DropReason>, u64) {
    let mut random = Random(seed);
    let mut model = Router::new(DEVICES, WAYS);
    let mut compiled = Compiled::new(&model);
    for _ in 0..200 {
        reconfigure(&mut random, &mut model, &mut compiled);
    }
    let memory = PoolConfig { frames: 1024, runs: 0, run_chunks: 0 };
    let (mut rig, mut links) = Rig::new(workers, compiled.tables(&model, workers), memory, 64);
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
            rig.open(id % workers, id_of(id), Box::new(port));
            end
        })
        .collect();
    let mut sent = 0;
    for now in 0..150 {
        // Some ticks are long, so that what may be handed over in one is used up.
        if random.one_in(30) {
            rig.at(now);
            model.tick();
        }
        if random.one_in(2) {
            reconfigure(&mut random, &mut model, &mut compiled);
            rig.publisher.publish(compiled.tables(&model, workers));
        }
        let (few, many) = (random.below(90), random.below(DEVICES as u64) as usize);
        for _ in 0..few {
            let to = if random.one_in(2) { many } else { random.below(DEVICES as u64) as usize };
            let _ = ends[to].send(random_packet(&mut random, model.links[to]));
        }
        let (mut quiet, mut punts) = (0, Vec::new());
        while quiet < 3 || ends.iter().any(|end| end.unread() > 0) {
            let moved: usize = running.iter_mut().map(|worker| worker.turn()).sum();
            quiet = if moved == 0 { quiet + 1 } else { 0 };
            for of in &mut rig.punts {
                let next = std::iter::from_fn(|| of.receive());
                punts.extend(next.map(|(punted, bytes)| (punted.device.index(), punted.reason, bytes)));
            }
        }
        for (from, frame) in log.borrow_mut().drain(..) {
            model.frame(from, &frame);
        }
        sent += compare(seed, &mut model, &ends, workers);
        // Of two workers nobody knows who was first, and of a burst what is for us is handed over last.
        let mut expected = std::mem::take(&mut model.punts);
        let order = |(device, reason, bytes): &(usize, _, Vec<u8>)| (*device, *reason as u8, bytes.clone());
        expected.sort_by_key(order);
        punts.sort_by_key(order);
        assert!(punts == expected, "seed {seed}: {} handed over, not {}", punts.len(), expected.len());
        assert_eq!(*drops.borrow(), model.drops, "seed {seed}");
    }
    let counted = model.drops.iter().filter(|((device, direction, reason), count)| {
        let of =
            rig.counters.iter().map(|counters| counters.device(id_of(*device)).drops(*direction, *reason));
        of.map(|drops| drops.volume().packets).sum::<u64>() != **count
    });
    assert_eq!(counted.count(), 0, "seed {seed}: counters say what the observer saw");
    let ledger = rig.ledger();
    assert_eq!(ledger.imbalance(), (0, 0), "seed {seed}: {ledger:?}");
    let dropped: u64 = model.drops.values().sum();
    assert_eq!(
        (ledger.consumed, ledger.forwarded, ledger.sent, ledger.frames_dropped, ledger.copies_dropped),
        (model.consumed, model.forwarded, sent, dropped, 0),
        "seed {seed}"
    );
    assert!(sent > 100, "seed {seed}: the router does something");
    (model.drops.keys().map(|(_, _, reason)| *reason).collect(), sent - model.forwarded)
}

/// Runs all seeds, and sees that whatever a router does has happened in them.
fn run_all(workers: usize) {
    use DropReason::*;
    let all = [
        Blackhole,
        IpChecksum,
        IpGroup,
        IpMalformed,
        IpOption,
        IpScope,
        Martian,
        NoRoute,
        NoVlanDevice,
        NotForwarding,
        OtherHost,
        Prohibited,
        PuntFull,
        ReversePath,
        TooBig,
        Truncated,
        TtlExceeded,
        UnknownProtocol,
        Unreachable,
        Unused,
    ];
    let runs: Vec<_> = seeds(20).into_iter().map(|seed| run(seed, workers)).collect();
    if runs.len() > 1 {
        let missing: Vec<_> =
            all.iter().filter(|reason| !runs.iter().any(|run| run.0.contains(reason))).collect();
        assert!(missing.is_empty(), "{missing:?} never happened");
        assert!(runs.iter().any(|run| run.1 > 0), "nothing was fragmented");
    }
}

/// The same frames out of each device; how many.
fn compare(seed: u64, model: &mut Router, ends: &[MemoryEnd], workers: usize) -> u64 {
    let mut count = 0;
    for (id, end) in ends.iter().enumerate() {
        let mut expected: Vec<_> = model.out[id].drain(..).collect();
        let mut sent: Vec<_> = std::iter::from_fn(|| end.receive()).map(|wire: Wire| wire.bytes).collect();
        if workers > 1 {
            expected.sort();
            sent.sort();
        }
        let differs = sent.iter().zip(&expected).find(|(a, b)| a != b);
        assert!(
            sent.len() == expected.len() && differs.is_none(),
            "seed {seed}: device {id} sent {} frames, not {}; {differs:02x?}",
            sent.len(),
            expected.len()
        );
        count += sent.len() as u64;
    }
    count
}

#[test]
fn one_worker_routes_as_the_model_does() {
    run_all(1);
}

#[test]
fn two_workers_route_as_the_model_does() {
    run_all(2);
}
