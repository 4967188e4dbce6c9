//! A frame through a worker, from one port that makes it to another that throws it away: the stages, and what protocols add.

use std::net::Ipv4Addr;
use std::time::Instant;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use rigswitch_dataplane::frames::PoolConfig;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::{Generator, PortQueue};
use rigswitch_dataplane::tables::Tables;
use rigswitch_dataplane::worker::Links;

use crate::support::ipvlan::{self, Packets};
use crate::support::routes::{self, Random};
use crate::support::tunnel::{self, Sender};
use crate::support::{Rig, access_and_trunks, learn_in_vlans, macvlans, one_bridge, vxlan, worker};

/// Stations behind a port.
const STATIONS: u64 = 32;
/// Bytes of payload of a datagram in the shortest frame.
const PAYLOAD: usize = 26;

type Port = Box<dyn PortQueue + Send>;

/// Frames of 64 bytes from the stations behind a port to those behind the other.
fn stations(here: u16) -> Generator {
    Generator::new(64, here, 1 - here, STATIONS, 64)
}

/// A port that makes nothing.
fn sink() -> Port {
    Box::new(Generator::new(64, 1, 0, 1, 0))
}

pub(crate) fn stages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Elements(1));
    let both = || [0, 1].map(|here| Box::new(stations(here)) as Port);
    forward(&mut group, "bridge", rig(one_bridge(2, 1)), both());
    let tagged = [0, 1].map(|here| Box::new(stations(here).with_vlans(STATIONS, here == 1)) as Port);
    let mut vlans = rig(access_and_trunks(2, 32));
    learn_in_vlans(&mut vlans.0, STATIONS, STATIONS);
    forward(&mut group, "vlans", vlans, tagged);
    let mut random = Random(7);
    let routes = routes::routes::<Ipv4Addr>(64, &mut random);
    let packets = [0, 1].map(|here| Box::new(routes::Packets::new(here, &routes, &mut random)) as Port);
    forward(&mut group, "routing", rig(routes::router_of(&routes)), packets);
    group.finish();
}

pub(crate) fn protocols(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("protocols");
    group.throughput(Throughput::Elements(1));
    let ipip = || rig(tunnel::tables(true));
    let inside = Box::new(Sender::inside(PAYLOAD));
    forward(&mut group, "ipip/into", ipip(), [inside, Box::new(Sender::mute()) as Port]);
    let underlay = Box::new(Sender::underlay(PAYLOAD));
    forward(&mut group, "ipip/out of", ipip(), [Box::new(Sender::mute()) as Port, underlay]);
    let vxlan = || {
        let (mut rig, links) = rig(vxlan::bridged(1, false));
        vxlan::learn(&mut rig, STATIONS);
        (rig, links)
    };
    forward(&mut group, "vxlan/into", vxlan(), [Box::new(stations(0)) as Port, sink()]);
    let outer = Box::new(vxlan::Packets::new(64, STATIONS));
    forward(&mut group, "vxlan/out of", vxlan(), [sink(), outer]);
    forward(&mut group, "macvlan/to", rig(macvlans(false, 32)), [Box::new(stations(0)) as Port, sink()]);
    let ipvlans = || rig(ipvlan::many(64));
    let [to, from] = [Packets::inward(64), Packets::outward()];
    let mute = || Box::new(Packets::outward().mute()) as Port;
    forward(&mut group, "ipvlan/to", ipvlans(), [Box::new(to) as Port, mute()]);
    forward(&mut group, "ipvlan/from", ipvlans(), [mute(), Box::new(from)]);
    group.finish();
}

fn rig(tables: Tables) -> (Rig, Vec<Links>) {
    Rig::new(1, tables, PoolConfig::singles(1024), 1024)
}

/// Measures a frame through a worker, of all that these ports make.
fn forward(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    (rig, mut links): (Rig, Vec<Links>),
    ports: [Port; 2],
) {
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    for (id, port) in (0..).zip(ports) {
        rig.open(0, DeviceId(id), port);
    }
    // Opens them, and learns who is behind.
    (0..64).for_each(|_| {
        worker.turn();
    });
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|wanted| {
            let (start, mut frames) = (Instant::now(), 0);
            while frames < wanted {
                frames += worker.turn() as u64;
            }
            start.elapsed().mul_f64(wanted as f64 / frames as f64)
        });
    });
    let ledger = rig.ledger();
    assert_eq!((ledger.imbalance(), ledger.copies_dropped), ((0, 0), 0), "{name}");
}
