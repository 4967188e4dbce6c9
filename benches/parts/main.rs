//! What each part costs, measured by Criterion: reading and making headers, tables, stages, and protocols.
//!
//! `cargo bench -p rigswitch-dataplane --bench parts`, optionally `-- --quick tables/mac`. A run is compared with the one before. What a whole switch
//! costs, and beside what, the other benches measure in rounds that are taken by turns.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a bench reads the clock

mod stages;
#[path = "../../tests/support/mod.rs"]
mod support;
mod tables;
mod wire;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    wire::wire(&mut criterion);
    tables::tables(&mut criterion);
    stages::stages(&mut criterion);
    stages::protocols(&mut criterion);
    criterion.final_summary();
}
