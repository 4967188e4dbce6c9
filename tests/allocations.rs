//! Workers never allocate per frame: an allocator that counts must read zero over a hundred thousand frames.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // helpers of tests are tests

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Burst, Checksum, PoolConfig};
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::ports::{Generator, PortGone, PortIo, PortQueue};
use rigswitch_dataplane::tables::{Device, Domain, Entry, Flags, Key, Knobs, Neighbors, Role, Tables, Tick};
use rigswitch_dataplane::watch::{Scope, Stages, Watch, WatchId, capture, follow};
use rigswitch_dataplane::worker::{Command, Links};
use support::ipvlan::{self, Packets};
use support::tunnel::{self, Sender};
use support::vxlan;
use support::{Rig, access_and_trunks, device, domain, macvlans, one_bridge, worker};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

fn count() {
    // A thread that is ending has no counter any more, and nobody who asks for it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's word is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's word is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations and frees by this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Turns worker 0 of a rig until it has taken in `frames`, once to warm up and once counted.
fn turn(rig: &Rig, links: &mut Links, ports: Vec<Box<dyn PortQueue + Send>>, frames: usize) -> usize {
    let mut at = None;
    let (mut worker, _) = worker(links, (), &mut at);
    for (id, port) in (0..).zip(ports) {
        rig.open(0, DeviceId(id), port);
    }
    let mut run = || {
        let mut moved = 0;
        while moved < frames {
            moved += worker.turn();
        }
    };
    run();
    allocations(run)
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 2);
}

#[test]
fn forwarding_and_learning_allocate_nothing() {
    let (rig, mut links) = Rig::new(1, one_bridge(2, 1), PoolConfig::singles(1024), 1024);
    let ports: Vec<Box<dyn PortQueue + Send>> =
        vec![Box::new(Generator::new(64, 0, 1, 256, 64)), Box::new(Generator::new(1518, 1, 0, 256, 64))];
    assert_eq!(turn(&rig, &mut links[0], ports, 100_000), 0);
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}

#[test]
fn being_watched_allocates_nothing() {
    let (rig, mut links) = Rig::new(1, one_bridge(2, 1), PoolConfig::singles(1024), 1024);
    let all = Stages { rx: true, tx: true, drop: true };
    let (seen, mut reader) = capture(all, 128, 1 << 24, 2, Arc::clone(&rig.bells[0]));
    let (steps, accounts) = follow(u32::MAX, 1024);
    for (number, watch) in [Watch::Capture(seen), Watch::Follow(steps)].into_iter().enumerate() {
        rig.commands[0].send(Command::Observe(WatchId(number as u64), Scope::all(), watch)).unwrap();
    }
    let ports: Vec<Box<dyn PortQueue + Send>> =
        vec![Box::new(Generator::new(64, 0, 1, 256, 64)), Box::new(Generator::new(1518, 1, 0, 256, 64))];
    assert_eq!(turn(&rig, &mut links[0], ports, 50_000), 0);
    assert!(reader.receive(&mut Vec::new()).is_some() && accounts.receive().is_some());
    assert!(reader.missed().count() > 0 && accounts.missed() > 0);
}

#[test]
fn flooding_a_hundred_ports_and_a_full_table_allocate_nothing() {
    let (rig, mut links) = Rig::new(1, one_bridge(100, 1), PoolConfig::singles(2048), 16);
    // Nobody is behind port 200: everything is flooded.
    let ports =
        (0..100).map(|id| Box::new(Generator::new(64, id, 200, 4096, 4)) as Box<dyn PortQueue + Send>);
    assert_eq!(turn(&rig, &mut links[0], ports.collect(), 20_000), 0);
    assert!(rig.counters[0].table_full.value() > 0);
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}

#[test]
fn sorting_out_to_macvlans_and_flooding_them_allocates_nothing() {
    for by_source in [false, true] {
        let (rig, mut links) = Rig::new(1, macvlans(by_source, 64), PoolConfig::singles(1024), 16);
        let ports: Vec<Box<dyn PortQueue + Send>> =
            vec![Box::new(Generator::new(64, 0, 1, 64, 64)), Box::new(Generator::new(64, 1, 0, 64, 64))];
        assert_eq!(turn(&rig, &mut links[0], ports, 20_000), 0);
        assert!(rig.counters[0].surfaced.value() > 10_000);
        assert_eq!(rig.ledger().imbalance(), (0, 0));
    }
    // 0x0300_0000_0000 on is a group.
    let (rig, mut links) = Rig::new(1, macvlans(false, 64), PoolConfig::singles(1024), 16);
    let ports: Vec<Box<dyn PortQueue + Send>> =
        vec![Box::new(Generator::new(64, 0, 0x100, 64, 4)), Box::new(Generator::new(64, 1, 0, 64, 0))];
    assert_eq!(turn(&rig, &mut links[0], ports, 2_000), 0);
    assert!(rig.counters[0].surfaced.value() >= 64 * 4_000);
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}

#[test]
fn into_a_tunnel_and_out_of_one_allocates_nothing() {
    // Stations inside send to those behind the far end, and those to them; or to somebody nobody knows, by three far ends.
    for (there, far_ends) in [(1, 1), (9, 3)] {
        let (rig, mut links) = Rig::new(1, vxlan::bridged(far_ends, true), PoolConfig::singles(2048), 1024);
        let ports: Vec<Box<dyn PortQueue + Send>> =
            vec![Box::new(Generator::new(64, 0, there, 64, 32)), Box::new(vxlan::Packets::new(64, 64))];
        assert_eq!(turn(&rig, &mut links[0], ports, 20_000), 0);
        assert!(rig.counters[0].device(vxlan::TUNNEL).sent.volume().packets > 1_000);
        assert!(rig.counters[0].surfaced.value() > 1_000);
        assert_eq!(rig.ledger().imbalance(), (0, 0));
    }
}

/// A port whose station asks for a neighbour, again and again.
struct Asker;

impl PortQueue for Asker {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        const REQUEST: [u8; 42] = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0,
            0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
        ];
        while let Some(mut frame) = io.pool.alloc(REQUEST.len()) {
            assert!(frame.fill(&REQUEST));
            if let Err(frame) = burst.push(frame) {
                io.pool.free(frame);
                break;
            }
        }
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        for frame in burst.drain() {
            io.counters.sent.add(1, frame.len() as u64);
            io.pool.free(frame);
        }
        Ok(())
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}

#[test]
fn answering_for_neighbors_allocates_nothing() {
    let asking = Knobs { answers: true, ..Knobs::PLAIN };
    let spared = Knobs { neigh_suppress: true, ..Knobs::PLAIN };
    let devices =
        [asking, spared].map(|knobs| Device { knobs, ..device(Role::member(domain(1), &knobs), 0) });
    let station = MacAddr::new([2, 0, 0, 0, 0, 2]);
    let neighbors = Neighbors::new([("10.0.0.2".parse().unwrap(), station)]);
    let domains = [Domain { neighbors, ..Domain::of([DeviceId(0), DeviceId(1)]) }];
    let tables = Tables::new(Box::new(devices), Box::new(domains));
    let (mut rig, mut links) = Rig::new(1, tables, PoolConfig::singles(1024), 16);
    rig.set_fixed(
        Key::new(domain(1), station),
        Entry::new(DeviceId(1).into(), Tick::default(), Flags::STATIC),
    );
    assert_eq!(turn(&rig, &mut links[0], vec![Box::new(Asker)], 10_000), 0);
    let ledger = rig.ledger();
    assert_eq!(
        (ledger.originated, ledger.sent, ledger.consumed),
        (ledger.received, ledger.received, ledger.received)
    );
    assert_eq!(ledger.imbalance(), (0, 0));
}

#[test]
fn tagging_allocates_nothing() {
    let (rig, mut links) = Rig::new(1, access_and_trunks(3, 4), PoolConfig::singles(1024), 1024);
    // One way tags are pushed and the other they are popped; what is for nobody known is flooded to both kinds of port.
    let port = |here, there| -> Box<dyn PortQueue + Send> {
        Box::new(Generator::new(128, here, there, 16, 32).with_vlans(4, here > 0))
    };
    assert_eq!(turn(&rig, &mut links[0], vec![port(0, 1), port(1, 0), port(2, 9)], 10_000), 0);
    assert_eq!(rig.ledger().imbalance(), (0, 0));
    assert!(rig.ledger().copies > rig.ledger().forwarded);
}

#[test]
fn handing_off_and_completing_checksums_allocate_nothing() {
    let (rig, mut links) = Rig::new(2, one_bridge(2, 2), PoolConfig::singles(1024), 1024);
    let port = Generator::new(128, 0, 1, 16, 64).with_checksum(Checksum::Unknown);
    assert_eq!(turn(&rig, &mut links[0], vec![Box::new(port)], 10_000), 0);
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}

#[test]
fn sorting_out_to_ipvlans_and_what_they_send_allocate_nothing() {
    let (rig, mut links) = Rig::new(1, ipvlan::many(500), PoolConfig::singles(1024), 16);
    let ports: Vec<Box<dyn PortQueue + Send>> =
        vec![Box::new(Packets::inward(500)), Box::new(Packets::outward())];
    assert_eq!(turn(&rig, &mut links[0], ports, 20_000), 0);
    let ledger = rig.ledger();
    assert!(ledger.surfaced > 20_000 && ledger.frames_dropped == 0, "{ledger:?}");
    assert_eq!(ledger.imbalance(), (0, 0));
}

#[test]
fn tunnels_allocate_nothing_both_ways() {
    let (rig, mut links) = Rig::new(1, tunnel::tables(true), PoolConfig::singles(1024), 16);
    let ports: Vec<Box<dyn PortQueue + Send>> =
        vec![Box::new(Sender::inside(26)), Box::new(Sender::underlay(26))];
    assert_eq!(turn(&rig, &mut links[0], ports, 20_000), 0);
    let ledger = rig.ledger();
    assert!(
        ledger.surfaced > 10_000 && ledger.frames_dropped == 0 && ledger.copies_dropped == 0,
        "{ledger:?}"
    );
    assert_eq!(ledger.imbalance(), (0, 0));
}

#[test]
fn a_broadcast_to_more_ipvlans_than_may_wait_allocates_nothing_and_is_bounded() {
    const COUNT: u16 = 1500;
    const ROOM: u64 = 1024;
    let (rig, mut links) = Rig::new(1, ipvlan::idle(COUNT), PoolConfig::singles(4096), 16);
    assert_eq!(turn(&rig, &mut links[0], vec![Box::new(Packets::to_all())], 3), 0);
    let received = rig.counters[0].device(DeviceId(0)).received.volume().packets;
    let drops = |reason| {
        let of = |id| rig.counters[0].device(DeviceId(id)).drops(Direction::Rx, reason).volume().packets;
        (1..=COUNT).map(of).sum::<u64>()
    };
    assert!(drops(DropReason::Unused) >= ROOM && received > 0);
    assert_eq!(drops(DropReason::Unused) + drops(DropReason::SurfaceFull), rig.ledger().surfaced);
    assert!(drops(DropReason::SurfaceFull) >= u64::from(COUNT) - ROOM);
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}
