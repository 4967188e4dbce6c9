//! What a tunnel costs with no I/O: 60-byte frames of one flow into an IPIP tunnel and out of one, beside a plain bridge and a router on the like,
//! in the same interleaved run.
//!
//! `cargo bench -p rigswitch-dataplane --bench tunnels`, optionally `-- --rounds 5 --seconds 1 --only encap`.
//! For instructions a frame: `-- --frames 2000000 --only encap` under `valgrind --tool=callgrind`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::cast_possible_truncation,
    clippy::unwrap_used
)] // a bench reads the clock and prints

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use rigswitch_dataplane::frames::PoolConfig;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::Tables;
use support::tunnel::{self, Sender};
use support::{Rig, one_bridge, worker};

/// Bytes of payload of a datagram in the shortest frame.
const PAYLOAD: usize = 26;

/// What is measured: its name, the tables, who sends, and the device that it comes from.
type Case = (&'static str, fn() -> Tables, fn() -> Sender, u16);

fn cases() -> [Case; 4] {
    [
        ("bridge", || one_bridge(2, 1), || Sender::inside(PAYLOAD), 0),
        ("route", || tunnel::tables(false), || Sender::inside(PAYLOAD), 0),
        ("encap", || tunnel::tables(true), || Sender::inside(PAYLOAD), 0),
        ("decap", || tunnel::tables(true), || Sender::underlay(PAYLOAD), 1),
    ]
}

/// How long to forward.
enum Until {
    Elapsed(f64),
    Frames(u64),
}

/// Nanoseconds a frame.
fn forward(tables: Tables, sender: Sender, from: u16, until: &Until) -> f64 {
    let (rig, mut links) = Rig::new(1, tables, PoolConfig::singles(1024), 1024);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    rig.open(0, DeviceId(from), Box::new(sender));
    rig.open(0, DeviceId(1 - from), Box::new(Sender::mute()));
    let (start, mut frames) = (Instant::now(), 0);
    while match until {
        Until::Elapsed(seconds) => start.elapsed().as_secs_f64() < *seconds,
        Until::Frames(count) => frames < *count,
    } {
        for _ in 0..64 {
            frames += worker.turn() as u64;
        }
    }
    let ns = start.elapsed().as_secs_f64() * 1e9 / frames as f64;
    let ledger = rig.ledger();
    assert_eq!((ledger.imbalance(), ledger.frames_dropped, ledger.copies_dropped), ((0, 0), 0, 0));
    ns
}

fn main() {
    let (mut rounds, mut until, mut only) = (5, Until::Elapsed(1.0), None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--rounds" => rounds = value().parse().expect("a number of rounds"),
            "--seconds" => until = Until::Elapsed(value().parse().expect("seconds")),
            "--frames" => {
                (rounds, until) = (1, Until::Frames(value().parse().expect("a number of frames")));
            }
            "--only" => only = Some(value()),
            "--bench" => {} // cargo says so
            other => panic!("{other}: not an option of this bench"),
        }
    }
    let wanted: Vec<_> =
        cases().into_iter().filter(|case| only.as_ref().is_none_or(|only| only == case.0)).collect();
    let mut samples = vec![Vec::new(); wanted.len()];
    for _ in 0..rounds {
        for (samples, (_, tables, sender, from)) in samples.iter_mut().zip(&wanted) {
            samples.push(forward(tables(), sender(), *from, &until));
        }
    }
    println!("one worker, one flow; median (min..max) of {rounds} interleaved rounds");
    let mut reference = None;
    for (samples, (name, ..)) in samples.iter_mut().zip(&wanted) {
        samples.sort_by(f64::total_cmp);
        let (low, middle, high) = (samples[0], samples[samples.len() / 2], samples[samples.len() - 1]);
        let ratio = middle / *reference.get_or_insert(middle);
        println!("{name:<8} {middle:>7.1} ns ({low:.1}..{high:.1})   {ratio:.2} x {}", wanted[0].0);
    }
}
