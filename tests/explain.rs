//! `explain` and the pipeline never disagree: what is explained of a frame happens to it.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // helpers of tests are tests

#[allow(dead_code)] // what it generates is wanted here, not what it expects
#[path = "model/bridge.rs"]
mod bridge;
#[path = "model/random.rs"]
mod random;
mod support;
#[allow(dead_code)] // likewise
#[path = "model/vlans.rs"]
mod vlans;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bridge::Model;
use random::{DEVICES, Random, id_of, random_frame, reconfigure, seeds};
use rigswitch::explain::run;
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Checksum, Frame, PoolConfig};
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::pipeline::{Observer, Step};
use rigswitch_dataplane::ports::{Capabilities, Memory, MemoryEnd, Wire};
use rigswitch_dataplane::tables::{
    Descent, Device, IpvlanFlag, Macvlan, MacvlanDescent, MacvlanMode, Macvlans, MacvlansId, Role, Tables,
    Tick,
};
use rigswitch_dataplane::worker::Worker;
use support::{Rig, device, ipvlan, worker};

/// What the model counts, which takes no part here.
type Drops = BTreeMap<(usize, Direction, DropReason), u64>;

/// Every step of what workers do.
#[derive(Clone, Default)]
struct Recorder(Rc<RefCell<Vec<Step>>>);

impl Observer for Recorder {
    fn see(&mut self, step: Step, _frame: &Frame) {
        if !matches!(step, Step::Turn(_)) {
            self.0.borrow_mut().push(step);
        }
    }
}

/// What is explained of a frame that comes from a device is what happens to it, and what leaves by every device.
fn agree(
    rig: &Rig,
    (worker, recorder): (&mut Worker<'_, Recorder>, &Recorder),
    ends: &[(DeviceId, &MemoryEnd)],
    (from, bytes): (DeviceId, Vec<u8>),
    label: &str,
) {
    let tables = rig.publisher.current().clone();
    let clock = (rig.clock.now(), Tick::new((rig.clock.now().unix_ns / 100_000_000) as u32));
    let told = run(&tables, &rig.macs.table().copy(), clock, from, &bytes);
    let wire = Wire { checksum: Checksum::Unknown, ..Wire::from(bytes) };
    ends.iter().find(|(id, _)| *id == from).unwrap().1.send(wire).unwrap();
    while worker.turn() > 0 {}
    let steps: Vec<Step> = told.steps.iter().map(|seen| seen.step).collect();
    assert_eq!(steps, recorder.0.take(), "{label}");
    for (id, end) in ends {
        let sent: Vec<_> = std::iter::from_fn(|| end.receive()).map(|wire| wire.bytes).collect();
        let of = told.sent.iter().filter(|(device, _)| device == id);
        let explained: Vec<_> = of.map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(explained, sent, "{label}, device {id}");
    }
}

/// Some hundred frames from all sides through ipvlans of every kind.
fn run_ipvlans(seed: u64) {
    let mut random = Random(seed);
    let flags = [IpvlanFlag::Bridge, IpvlanFlag::Private, IpvlanFlag::Vepa];
    let tables = ipvlan::all_kinds(flags[random.below(3) as usize]);
    let (rig, mut links) = Rig::new(1, tables, PoolConfig::singles(512), 64);
    let recorder = Recorder::default();
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], recorder.clone(), &mut at);
    let ends = ipvlan::WITH_QUEUES.map(|id| {
        let (port, end) = Memory::new(64, Capabilities::default());
        rig.open(0, DeviceId(id), Box::new(port));
        (DeviceId(id), end)
    });
    let ends = ends.each_ref().map(|(id, end)| (*id, end));
    worker.turn();
    for number in 0..500 {
        let bytes = ipvlan::any_frame(|limit| random.below(limit as u64) as usize);
        let (from, _) = ends[random.below(ends.len() as u64) as usize];
        let label = format!("seed {seed}, frame {number}: {bytes:02x?} from {from}");
        agree(&rig, (&mut worker, &recorder), &ends, (from, bytes), &label);
    }
    let ledger = rig.ledger();
    assert_eq!(ledger.imbalance(), (0, 0));
    assert!(ledger.surfaced > 100 && ledger.sent > 200, "{ledger:?}");
}

/// Some hundred frames through a switch that is changed all the time; each is explained first.
fn run_seed(seed: u64) {
    let mut random = Random(seed);
    let mut model = Model::new(DEVICES);
    let (mut rig, mut links) = Rig::new(1, model.tables(1), PoolConfig::singles(512), 64);
    let recorder = Recorder::default();
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], recorder.clone(), &mut at);
    let ends: Vec<MemoryEnd> = (0..DEVICES)
        .map(|id| {
            let (port, end) = Memory::new(64, Capabilities::default());
            rig.open(0, id_of(id), Box::new(port));
            end
        })
        .collect();
    worker.turn();
    for now in 0..300 {
        if random.one_in(3) {
            reconfigure(&mut random, &mut model, &mut rig, 1, now);
        }
        rig.at(now);
        let (from, bytes) = (random.below(DEVICES as u64) as usize, random_frame(&mut random));
        let ends: Vec<_> = ends.iter().enumerate().map(|(id, end)| (id_of(id), end)).collect();
        agree(
            &rig,
            (&mut worker, &recorder),
            &ends,
            (id_of(from), bytes),
            &format!("seed {seed}, frame {now}"),
        );
    }
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}

#[test]
fn what_is_explained_is_what_happens() {
    seeds(6).into_iter().for_each(run_seed);
}

/// Children of port 0 in modes that change, each wired to a port.
fn run_macvlans(seed: u64) {
    const CHILDREN: usize = 4;
    let mut random = Random(seed);
    let (mut rig, mut links) = Rig::new(1, macvlans(&mut random, CHILDREN), PoolConfig::singles(512), 64);
    let recorder = Recorder::default();
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], recorder.clone(), &mut at);
    let ends: Vec<_> = (0..=CHILDREN)
        .map(|id| {
            let (port, end) = Memory::new(64, Capabilities::default());
            rig.open(0, id_of(id), Box::new(port));
            end
        })
        .collect();
    let ends: Vec<_> = ends.iter().enumerate().map(|(id, end)| (id_of(id), end)).collect();
    worker.turn();
    for number in 0..300 {
        if random.one_in(10) {
            rig.publisher.publish(macvlans(&mut random, CHILDREN));
        }
        let from = id_of(random.below(CHILDREN as u64 + 1) as usize);
        let addresses =
            [station(1), station(2), station(3), station(4), station(9), [0xff; 6], [1, 0, 0x5e, 0, 0, 1]];
        let mut any = |of: u64| addresses[random.below(of) as usize];
        let (to, source) = (any(7), any(5));
        let bytes = [&to[..], &source, &[0x88, 0xb5], &[0; 50]].concat();
        let label = format!("macvlans, seed {seed}, frame {number}");
        agree(&rig, (&mut worker, &recorder), &ends, (from, bytes), &label);
    }
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}

fn station(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, n]
}

/// Device 0 is the parent, those after it are the ends of wires, and those after them the children.
fn macvlans(random: &mut Random, count: usize) -> Tables {
    use MacvlanMode::{Bridge, Passthru, Private, PrivateCompat, Source, Vepa};
    let siblings = MacvlansId(0);
    let modes = [Bridge, Private, PrivateCompat, Source, Vepa];
    let modes: Vec<_> = (0..count).map(|_| modes[random.below(5) as usize]).collect();
    let modes = if random.one_in(6) { vec![Passthru] } else { modes };
    let sources = [1, 9].map(|n| MacAddr::new(station(n)));
    let mut devices = vec![device(Role::Unused, 0); 1 + 2 * count];
    devices[0].role = Role::Macvlan(siblings);
    let family = modes.into_iter().enumerate().map(|(n, mode)| {
        let (port, child) = (n + 1, n + 1 + count);
        let way = MacvlanDescent { link: id_of(0), child: id_of(child), siblings, mode, longest: 1518 };
        devices[port].role = Role::Xconnect(id_of(child));
        devices[child] =
            Device { descent: Descent::Macvlan(way), longest: 0, ..device(Role::Xconnect(id_of(port)), 0) };
        let sources: &[_] = if mode == Source { &sources } else { &[] };
        let mac = MacAddr::new(station(port as u8));
        Macvlan {
            device: id_of(child),
            mac,
            mode,
            sources,
            nodst: random.one_in(2),
            own_only: random.one_in(2),
        }
    });
    let family = Macvlans::new(&family.collect::<Vec<_>>(), 1000, 1);
    Tables::new(devices.into(), Box::default()).with_macvlans(Box::new([family]))
}

#[test]
fn what_is_explained_of_ipvlans_is_what_happens() {
    seeds(12).into_iter().for_each(run_ipvlans);
}

#[test]
fn what_is_explained_of_macvlans_is_what_happens() {
    seeds(6).into_iter().for_each(run_macvlans);
}
