//! What a look-up of a route costs: 10 to 1 M routes of IPv4 and 200 K of IPv6, destinations at random or few, in bursts of 64.
//! The routes are random: lengths as in a full table of the Internet, each with a next hop of 64.
//!
//! `cargo bench -p rigswitch-dataplane --bench routes`, optionally `-- --rounds 5 --lookups 2000000`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::cast_possible_truncation,
    clippy::unwrap_used
)] // a bench reads the clock and prints

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use rigswitch_dataplane::tables::next_hop::NextHopId;
use rigswitch_dataplane::tables::route::Routes;
use support::routes::{Random, Sample, routes};

const BURST: usize = 64;

/// How a burst is looked up.
#[derive(Clone, Copy)]
enum Way {
    /// Address by address.
    Alone,
    /// All located and prefetched, then this many approaches, then found.
    Together(usize),
}

/// Nanoseconds for each address.
fn look_up<A: Sample>(table: &Routes<A>, addresses: &[A], way: Way) -> (f64, u64) {
    let start = Instant::now();
    let mut sum = 0u64;
    let mut note = |found: Option<NextHopId>| sum += u64::from(found.map_or(0, NextHopId::number));
    for burst in addresses.chunks_exact(BURST) {
        match way {
            Way::Alone => burst.iter().for_each(|address| note(table.find(table.locate(*address)))),
            Way::Together(approaches) => {
                let mut places = [table.locate(burst[0]); BURST];
                for (place, address) in places.iter_mut().zip(burst) {
                    *place = table.locate(*address);
                    table.prefetch(*place);
                }
                for _ in 0..approaches {
                    for place in &mut places {
                        *place = table.approach(*place);
                    }
                }
                places.iter().for_each(|place| note(table.find(*place)));
            }
        }
    }
    (start.elapsed().as_secs_f64() * 1e9 / addresses.len() as f64, sum)
}

fn measure<A: Sample>(name: &str, count: usize, rounds: usize, lookups: usize) {
    let mut random = Random(7);
    let routes = routes::<A>(count, &mut random);
    let start = Instant::now();
    let table = Routes::new(routes.iter().copied());
    let compiled = start.elapsed();
    let map: BTreeMap<_, _> = routes.iter().copied().collect();
    let start = Instant::now();
    let updated = table.updated(&map, &[routes[count / 2].0]);
    println!(
        "{name}, {count} routes: {:.1} KiB, compiled in {:.2} ms, one changed in {:.2} ms",
        table.bytes() as f64 / 1024.0,
        compiled.as_secs_f64() * 1e3,
        start.elapsed().as_secs_f64() * 1e3
    );
    drop(updated);
    let lookups = lookups / BURST * BURST;
    let spread: Vec<_> =
        (0..lookups).map(|_| A::within(routes[random.below(count)].0, &mut random)).collect();
    let few: Vec<_> = (0..256).map(|n| spread[n]).collect();
    let local: Vec<_> = (0..lookups).map(|_| few[random.below(256)]).collect();
    for (what, addresses) in [("random", &spread), ("256 hosts", &local)] {
        let ways = [
            Way::Alone,
            Way::Together(0),
            Way::Together(1),
            Way::Together(2),
            Way::Together(3),
            Way::Together(4),
        ];
        let mut samples = vec![Vec::new(); ways.len()];
        let mut sums = Vec::new();
        for _ in 0..rounds {
            for (samples, way) in samples.iter_mut().zip(ways) {
                let (ns, sum) = look_up(&table, addresses, way);
                samples.push(ns);
                sums.push(sum);
            }
        }
        assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "each way finds the same");
        print!("  {what:<10}");
        for (samples, way) in samples.iter_mut().zip(ways) {
            samples.sort_by(f64::total_cmp);
            let (middle, low) = (samples[rounds / 2], samples[0]);
            match way {
                Way::Alone => print!("  alone {middle:.1} ({low:.1})"),
                Way::Together(approaches) => print!("  +{approaches} {middle:.1} ({low:.1})"),
            }
        }
        println!();
    }
}

fn main() {
    let (mut rounds, mut lookups) = (5usize, 2_000_000usize);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--rounds" => rounds = value().parse().expect("a number of rounds"),
            "--lookups" => lookups = value().parse().expect("a number of look-ups"),
            "--bench" => {} // cargo says so
            other => panic!("{other}: not an option of this bench"),
        }
    }
    println!(
        "ns a look-up, median (least) of {rounds} interleaved rounds; +n: prefetched, then n approaches, then found"
    );
    for count in [10, 1000, 100_000, 1_000_000] {
        measure::<Ipv4Addr>("IPv4", count, rounds, lookups);
    }
    measure::<Ipv6Addr>("IPv6", 200_000, rounds, lookups);
}
