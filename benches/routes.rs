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

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use rigswitch_dataplane::tables::next_hop::NextHopId;
use rigswitch_dataplane::tables::route::{Address, Prefix, Routes};

const BURST: usize = 64;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// One of these lengths, as often as its weight of 100 says.
    fn length(&mut self, weights: &[(u8, usize)]) -> u8 {
        let mut at = self.below(100);
        let chosen = weights.iter().find(|(_, weight)| {
            let found = at < *weight;
            at = at.saturating_sub(*weight);
            found
        });
        chosen.unwrap().0
    }
}

/// An address family with a likeness of what its routes are.
trait Sample: Address {
    fn route(random: &mut Random) -> Prefix<Self>;
    /// An address with these leading bits.
    fn within(prefix: Prefix<Self>, random: &mut Random) -> Self;
}

impl Sample for Ipv4Addr {
    fn route(random: &mut Random) -> Prefix<Self> {
        // As bgp.potaroo.net counts them, roughly; and a few hosts.
        let length = random.length(&[
            (24, 58),
            (23, 11),
            (22, 12),
            (21, 5),
            (20, 5),
            (19, 3),
            (16, 2),
            (18, 2),
            (32, 2),
        ]);
        let address = Self::from_bits(random.next() as u32 % 0xe000_0000);
        Prefix::of(address, length)
    }

    fn within(prefix: Prefix<Self>, random: &mut Random) -> Self {
        let host = u32::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
        Self::from_bits(prefix.address().to_bits() | random.next() as u32 & host)
    }
}

impl Sample for Ipv6Addr {
    fn route(random: &mut Random) -> Prefix<Self> {
        let length = random.length(&[
            (48, 46),
            (32, 14),
            (44, 12),
            (40, 10),
            (36, 5),
            (29, 4),
            (46, 3),
            (64, 3),
            (128, 3),
        ]);
        // Of a /12 of each registry, the longer ones within some 20,000 allocations.
        let registry = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00][random.below(6)];
        let allocation = Random(random.next() % 3500 + registry).next() >> 52;
        let high = registry << 48 | allocation << 36 | random.next() & 0xf_ffff_ffff;
        let address = Self::from_bits(u128::from(high) << 64 | u128::from(random.next()));
        Prefix::of(address, length)
    }

    fn within(prefix: Prefix<Self>, random: &mut Random) -> Self {
        let host = u128::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        Self::from_bits(prefix.address().to_bits() | bits & host)
    }
}

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
    let mut routes: Vec<_> = (0..count)
        .map(|_| (A::route(&mut random), NextHopId::new(random.below(64) as u32).unwrap()))
        .collect();
    routes.sort_by_key(|route| route.0);
    routes.dedup_by_key(|route| route.0);
    while routes.len() < count {
        routes.push((A::route(&mut random), NextHopId::new(random.below(64) as u32).unwrap()));
    }
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
