//! What VXLAN costs with no I/O beside the plain bridge: into an outer header, and out of one, between a port of a bridge and a far end, with
//! 64-byte frames inside and learning on.
//!
//! `cargo bench -p rigswitch-dataplane --bench vxlan`, optionally `-- --rounds 5 --seconds 1 --macs 64,65536`. Without a UDP checksum, which
//! costs a sum over the frame; `--udpcsum` has one.
//! For instructions a frame: `-- --frames 2000000 --macs 64 --only bridge`, `encap` or `decap`, under `valgrind --tool=callgrind`.
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
use rigswitch_dataplane::ports::{Generator, PortQueue};

use support::vxlan::{BENEATH, INSIDE, Packets, bridged, learn};
use support::{Rig, one_bridge, worker};

/// What is measured, in turn.
const KINDS: [&str; 3] = ["bridge", "encap", "decap"];

fn main() {
    let (mut rounds, mut seconds, mut frames) = (5, 1.0, None);
    let (mut macs, mut only, mut has_checksum) = (vec![64, 65_536], None, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--rounds" => rounds = value().parse().expect("a number of rounds"),
            "--seconds" => seconds = value().parse().expect("seconds"),
            "--frames" => frames = Some(value().parse().expect("a number of frames")),
            "--macs" => macs = value().split(',').map(|n| n.parse().expect("a number of MACs")).collect(),
            "--only" => only = Some(value()),
            "--udpcsum" => has_checksum = true,
            "--bench" => {} // cargo says so
            other => panic!("{other}: not an option of this bench"),
        }
    }
    for stations in macs {
        let mut results = KINDS.map(|_| Vec::new());
        for _ in 0..if frames.is_some() { 1 } else { rounds } {
            for (kind, results) in KINDS.iter().zip(&mut results) {
                if only.as_deref().is_none_or(|only| only == *kind) {
                    results.push(forward(kind, stations, has_checksum, frames, seconds));
                }
            }
        }
        for (kind, results) in KINDS.iter().zip(&mut results).filter(|(_, results)| !results.is_empty()) {
            results.sort_by(f64::total_cmp);
            println!("{stations:>8} stations, {kind}: {:.1} ns a frame", results[results.len() / 2]);
        }
    }
}

/// Nanoseconds a frame.
fn forward(kind: &str, stations: u64, has_checksum: bool, frames: Option<u64>, seconds: f64) -> f64 {
    let of_port = stations / 2;
    let tables = if kind == "bridge" { one_bridge(2, 1) } else { bridged(1, has_checksum) };
    let (mut rig, mut links) =
        Rig::new(1, tables, PoolConfig::singles(1024), (4 * stations as usize).max(1024));
    if kind != "bridge" {
        learn(&mut rig, of_port);
    }
    let sink = || Box::new(Generator::new(64, 1, 0, 1, 0)) as Box<dyn PortQueue + Send>;
    let source = || Box::new(Generator::new(64, 0, 1, of_port, 64)) as Box<dyn PortQueue + Send>;
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let (inside, beneath) = match kind {
        "bridge" => (source(), Box::new(Generator::new(64, 1, 0, of_port, 64)) as Box<dyn PortQueue + Send>),
        "encap" => (source(), sink()),
        _ => (sink(), Box::new(Packets::new(64, of_port)) as Box<dyn PortQueue + Send>),
    };
    rig.open(0, INSIDE, inside);
    rig.open(0, BENEATH, beneath);
    let mut turns = |most: Option<u64>| {
        let (start, mut count) = (Instant::now(), 0);
        while most.map_or(start.elapsed().as_secs_f64() < seconds, |most| count < most) {
            for _ in 0..64 {
                count += worker.turn() as u64;
            }
        }
        start.elapsed().as_secs_f64() * 1e9 / count as f64
    };
    if frames.is_none() {
        turns(Some(16 * stations));
    }
    let ns = turns(frames);
    let ledger = rig.ledger();
    assert_eq!((ledger.imbalance(), ledger.frames_dropped, ledger.copies_dropped), ((0, 0), 0, 0));
    ns
}
