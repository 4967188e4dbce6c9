//! What does not show with one worker and two ports: flooding, a thousand ports, and more workers than cores. 64-byte frames,
//! learning on, generator ports, no I/O.
//!
//! `cargo bench -p rigswitch-dataplane --bench scale`, optionally `-- --rounds 5 --seconds 0.5`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::cast_possible_truncation,
    clippy::unwrap_used
)] // a bench reads the clock and prints

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use rigswitch_dataplane::frames::PoolConfig;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::Generator;
use rigswitch_dataplane::tables::{Domain, Role, Tables};
use rigswitch_dataplane::worker::{Command, Idle, run};
use support::{Rig, device, domain, one_bridge, worker};

/// Nobody is behind a port of this number.
const NOBODY: u16 = 0x7fff;

/// Nanoseconds for each frame sent by a bridge of `ports` ports on one worker, each of the first `talking` of which sends to
/// the next one, or to nobody, which floods.
fn bridge(ports: usize, talking: usize, flood: bool, seconds: f64) -> f64 {
    let (rig, mut links) = Rig::new(1, one_bridge(ports, 1), PoolConfig::singles(4096), 65_536);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    for id in 0..ports {
        let next = ((id + 1) % talking.max(1)) as u16;
        let there = if flood { NOBODY } else { next };
        let burst = if id < talking { 64 } else { 0 };
        rig.open(0, DeviceId(id as u16), Box::new(Generator::new(64, id as u16, there, 16, burst)));
    }
    let mut turns = |seconds: f64| {
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            (0..8).for_each(|_| {
                worker.turn();
            });
        }
        start.elapsed()
    };
    turns(seconds / 4.0); // to learn them all
    let before = rig.ledger().sent;
    let elapsed = turns(seconds);
    let sent = rig.ledger().sent - before;
    assert_eq!(rig.ledger().imbalance(), (0, 0));
    elapsed.as_secs_f64() * 1e9 / sent as f64
}

/// Millions of frames a second through `workers` workers, each with a bridge of its own, or, `across`, each with one port of
/// two in a bridge whose other port is the next worker's.
fn workers(workers: usize, across: bool, seconds: f64) -> f64 {
    let owner = |id: usize| if across { (id / 2 + id % 2) % workers } else { id / 2 };
    let bridge = |id: usize| domain((id / 2 + 1) as u16);
    let members = |first: usize| [first, first + 1].map(|id| DeviceId(id as u16));
    let devices = (0..2 * workers).map(|id| device(Role::Bridge(bridge(id)), owner(id)));
    let domains = (0..workers).map(|n| Domain::of(members(2 * n)));
    let tables = Tables::new(devices.collect(), domains.collect());
    let (rig, links) = Rig::new(workers, tables, PoolConfig::singles(4096), 65_536);
    std::thread::scope(|scope| {
        for mut links in links {
            links.idle = Idle::Spin;
            scope.spawn(|| run(links, || ()));
        }
        for id in 0..2 * workers {
            let (here, there) = (id as u16, id as u16 ^ 1);
            rig.open(owner(id), DeviceId(here), Box::new(Generator::new(64, here, there, 16, 64)));
        }
        std::thread::sleep(Duration::from_secs_f64(seconds / 4.0));
        let (before, start) = (rig.ledger().sent, Instant::now());
        std::thread::sleep(Duration::from_secs_f64(seconds));
        let rate = (rig.ledger().sent - before) as f64 / start.elapsed().as_secs_f64() / 1e6;
        rig.commands.iter().for_each(|commands| commands.send(Command::Stop).unwrap());
        rate
    })
}

fn main() {
    let (mut rounds, mut seconds) = (5usize, 0.5f64);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match (word.as_str(), &mut words) {
            ("--rounds", words) => rounds = words.next().unwrap().parse().unwrap(),
            ("--seconds", words) => seconds = words.next().unwrap().parse().unwrap(),
            ("--bench", _) => {} // cargo says so
            (other, _) => panic!("{other}: not an option of this bench"),
        }
    }
    type Case = (&'static str, &'static str, Box<dyn Fn(f64) -> f64>);
    let cases: Vec<Case> = vec![
        ("unicast between 2 of 2 ports", "ns a copy", Box::new(|s| bridge(2, 2, false, s))),
        ("flood from 1 of 3 ports", "ns a copy", Box::new(|s| bridge(3, 1, true, s))),
        ("flood from 1 of 16 ports", "ns a copy", Box::new(|s| bridge(16, 1, true, s))),
        ("flood from 1 of 1,000 ports", "ns a copy", Box::new(|s| bridge(1000, 1, true, s))),
        ("unicast among 1,000 ports", "ns a copy", Box::new(|s| bridge(1000, 1000, false, s))),
        ("1 worker", "Mpps", Box::new(|s| workers(1, false, s))),
        ("2 workers", "Mpps", Box::new(|s| workers(2, false, s))),
        ("4 workers", "Mpps", Box::new(|s| workers(4, false, s))),
        ("2 workers, every frame to the other", "Mpps", Box::new(|s| workers(2, true, s))),
        ("4 workers, every frame to the next", "Mpps", Box::new(|s| workers(4, true, s))),
    ];
    let mut samples = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for (samples, (_, _, case)) in samples.iter_mut().zip(&cases) {
            samples.push(case(seconds));
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("64-byte frames, learning, {cores} cores; median (min..max) of {rounds} interleaved rounds");
    for (samples, (name, unit, _)) in samples.iter_mut().zip(&cases) {
        samples.sort_by(f64::total_cmp);
        let (low, high) = (samples[0], samples[samples.len() - 1]);
        println!("{name:<38} {:>7.2} {unit} ({low:.2}..{high:.2})", samples[samples.len() / 2]);
    }
}
