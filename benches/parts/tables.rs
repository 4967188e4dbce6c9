//! Look-ups, a burst of 64 each: all places are found and prefetched first, then read.

use std::net::{Ipv4Addr, Ipv6Addr};

use criterion::{BenchmarkId, Criterion, Throughput};
use rigswitch_dataplane::ids::{DeviceId, MacAddr, VlanId};
use rigswitch_dataplane::tables::route::Routes;
use rigswitch_dataplane::tables::{
    Adjacencies, Buckets, Entry, Flags, Key, MacControl, MacTable, Tick, VlanPort, Vlans,
};
use rigswitch_dataplane::wire::ethernet::EtherType;

use crate::support::domain;
use crate::support::routes::{Random, Sample, routes};

const BURST: usize = 64;

pub(crate) fn tables(criterion: &mut Criterion) {
    macs(criterion);
    of_routes::<Ipv4Addr>(criterion, "IPv4");
    of_routes::<Ipv6Addr>(criterion, "IPv6");
    neighbors(criterion);
    vlans(criterion);
}

/// Bursts of these, one after the other for ever, in an order that no prefetcher guesses.
struct Bursts<T>(Vec<T>, usize);

impl<T: Copy> Bursts<T> {
    fn of(all: &[T], random: &mut Random) -> Self {
        let count = all.len().max(BURST).next_multiple_of(BURST);
        Self((0..count).map(|_| all[random.below(all.len())]).collect(), 0)
    }

    fn burst(&mut self) -> &[T; BURST] {
        let at = self.1;
        self.1 = (at + BURST) % self.0.len();
        self.0[at..].first_chunk().unwrap()
    }
}

fn macs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tables/mac");
    group.throughput(Throughput::Elements(BURST as u64));
    for stations in [64, 1 << 16, 1 << 20] {
        let table = MacTable::new(Buckets::for_macs(stations), 0x5eed).unwrap().with_quotas(16);
        let mut control = MacControl::new(table);
        let key = |station: usize| Key::new(domain(1), MacAddr::from_bits(0x0200_0000_0000 | station as u64));
        let keys: Vec<_> = (0..stations).map(key).collect();
        for &key in &keys {
            let entry = Entry::new(DeviceId(1).into(), Tick::default(), Flags::LEARNED);
            control.insert(key, entry, || ()).unwrap();
        }
        let (table, mut bursts) = (control.table(), Bursts::of(&keys, &mut Random(7)));
        group.bench_function(BenchmarkId::from_parameter(stations), |bencher| {
            bencher.iter(|| {
                let spots = bursts.burst().map(|key| table.locate(key));
                spots.iter().for_each(|spot| table.prefetch(*spot));
                spots.iter().filter(|spot| table.find(**spot).is_some()).count()
            });
        });
    }
    group.finish();
}

fn of_routes<A: Sample>(criterion: &mut Criterion, version: &str) {
    const COUNT: usize = 100_000;
    let mut random = Random(7);
    let routes = routes::<A>(COUNT, &mut random);
    let table = Routes::new(routes.iter().copied());
    let hosts: Vec<_> = routes.iter().map(|(prefix, _)| A::within(*prefix, &mut random)).collect();
    let mut bursts = Bursts::of(&hosts, &mut random);
    let mut group = criterion.benchmark_group("tables/routes");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function(BenchmarkId::new(version, COUNT), |bencher| {
        bencher.iter(|| {
            let mut places = bursts.burst().map(|address| table.locate(address));
            places.iter().for_each(|place| table.prefetch(*place));
            for _ in 0..table.approaches() {
                places = places.map(|place| table.approach(place));
            }
            places.iter().filter(|place| table.find(**place).is_some()).count()
        });
    });
    group.finish();
}

fn neighbors(criterion: &mut Criterion) {
    const COUNT: u32 = 1024;
    let hosts: Vec<_> = (0..COUNT).map(|n| Ipv4Addr::from_bits(0x0a00_0000 | n)).collect();
    let mac = |host: &Ipv4Addr| MacAddr::from_bits(0x0200_0000_0000 | u64::from(host.to_bits()));
    let table = Adjacencies::new(hosts.iter().map(|host| (DeviceId(1), *host, mac(host))), 0x5eed);
    let mut bursts = Bursts::of(&hosts, &mut Random(7));
    let mut group = criterion.benchmark_group("tables/neighbors");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function(BenchmarkId::new("IPv4", COUNT), |bencher| {
        bencher
            .iter(|| bursts.burst().iter().filter(|host| table.find(DeviceId(1), **host).is_some()).count());
    });
    group.finish();
}

/// The domain of a VLAN, and whether a port is in it with its tag.
fn vlans(criterion: &mut Criterion) {
    let all: Vec<_> = (1..=4094).filter_map(VlanId::new).collect();
    let mut port = VlanPort::new();
    all.iter().for_each(|vid| port.join(*vid, false));
    let table =
        Vlans::new(domain(1), EtherType::CTAG, all.iter().map(|vid| (*vid, domain(1 + vid.number()))));
    let mut bursts = Bursts::of(&all, &mut Random(7));
    let mut group = criterion.benchmark_group("tables/vlans");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function(BenchmarkId::from_parameter(all.len()), |bencher| {
        bencher.iter(|| {
            let tagged = bursts.burst().iter().map(|vid| vid.number()).filter(|vid| port.is_in(*vid));
            tagged
                .filter(|vid| !port.untags(*vid))
                .map(|vid| usize::from(table.domain(vid).number()))
                .sum::<usize>()
        });
    });
    group.finish();
}
