//! A rig's worst days, each by its name: after every one the ledger balances, and what was not hit goes on as before.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::cast_possible_truncation,
    clippy::unwrap_used
)] // a test that waits bounds its waiting

mod support;
#[path = "support/veth.rs"]
mod veth;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Area, Borrower, Burst, Loan, PoolConfig};
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::ports::{
    Capabilities, Fault, Faulty, Generator, Memory, MemoryEnd, Now, PortGone, PortIo, PortQueue, XdpConfig,
    XdpDevice,
};
use rigswitch_dataplane::tables::{Entry, Flags, Key, Tick};
use rigswitch_dataplane::worker::{Command, Event, Idle, Links, Worker, run};
use support::{Rig, domain, one_bridge, worker};
use veth::wait_for;

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const BROADCAST: [u8; 6] = [0xff; 6];

fn frame(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    [&to[..], &from, &[0x88, 0xb5], &[0; 46]].concat()
}

fn id(device: usize) -> DeviceId {
    DeviceId(device as u16)
}

/// One worker over `devices` members of a bridge, with `frames` frames of memory, and its ports to be opened.
fn rig(devices: usize, frames: usize, macs: usize) -> (Rig, Links) {
    let (rig, mut links) = Rig::new(1, one_bridge(devices, 1), PoolConfig::singles(frames), macs);
    (rig, links.pop().unwrap())
}

fn memory(rig: &Rig, device: usize, depth: usize) -> MemoryEnd {
    let (port, end) = Memory::new(depth, Capabilities::default());
    rig.open(0, id(device), Box::new(port));
    end
}

fn drops(rig: &Rig, device: usize, direction: Direction, reason: DropReason) -> u64 {
    rig.counters[0].device(id(device)).drops(direction, reason).volume().packets
}

fn sent(rig: &Rig, device: usize) -> u64 {
    rig.counters[0].device(id(device)).sent.volume().packets
}

fn turns(worker: &mut Worker<'_, ()>, count: usize) {
    for _ in 0..count {
        worker.turn();
    }
}

fn balances(rig: &Rig) {
    assert_eq!(rig.ledger().imbalance(), (0, 0), "{:?}", rig.ledger());
}

/// A port whose kernel does not say that anything was sent, until it is told to: what it is given stays lent.
struct Hoarder {
    borrower: Option<Borrower>,
    lent: Vec<Loan>,
    let_go: Arc<AtomicBool>,
}

impl PortQueue for Hoarder {
    fn rx_burst(&mut self, _io: &mut PortIo<'_>, _burst: &mut Burst) -> Result<(), PortGone> {
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let borrower = *self.borrower.get_or_insert_with(|| io.pool.borrower());
        self.lent.extend(burst.drain().map(|frame| io.pool.lend(borrower, frame)));
        Ok(())
    }

    fn complete(&mut self, io: &mut PortIo<'_>) -> Result<(), PortGone> {
        if self.let_go.load(SeqCst) {
            for loan in self.lent.drain(..) {
                let frame = io.pool.reclaim(self.borrower.unwrap(), loan.address, loan.len).unwrap();
                io.counters.sent.add(1, frame.len() as u64);
                io.pool.free(frame);
            }
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.lent.len()
    }

    fn close(self: Box<Self>, io: &mut PortIo<'_>) {
        assert!(self.lent.is_empty(), "the test lets go before it ends");
        drop((self, io));
    }
}

#[test]
fn a_full_ring_drops_by_that_name_and_only_there() {
    let (rig, mut links) = rig(3, 512, 64);
    let mut at = None;
    let (mut worker, _) = worker(&mut links, (), &mut at);
    rig.open(0, id(0), Box::new(Generator::new(64, 0, 9, 1, 32))); // to nobody: flooded to both
    let mut calls = 0;
    let every_third = move || {
        calls += 1;
        (calls % 3 == 0).then_some(Fault::TxFull)
    };
    rig.open(0, id(1), Box::new(Faulty::new(Generator::new(64, 1, 0, 1, 0), every_third)));
    rig.open(0, id(2), Box::new(Generator::new(64, 2, 0, 1, 0)));
    turns(&mut worker, 1000);
    let received = rig.ledger().received;
    let full = drops(&rig, 1, Direction::Tx, DropReason::RingFull);
    assert!(full > 0 && received > 10_000);
    assert_eq!((sent(&rig, 1) + full, sent(&rig, 2)), (received, received));
    assert_eq!(rig.ledger().copies_dropped, full);
    balances(&rig);
}

#[test]
fn an_empty_pool_drops_by_that_name_and_is_over_when_memory_comes_back() {
    let (rig, mut links) = rig(2, 256, 64);
    let mut at = None;
    let (mut worker, _) = worker(&mut links, (), &mut at);
    let end = memory(&rig, 0, 4096);
    let let_go = Arc::new(AtomicBool::new(false));
    rig.open(0, id(1), Box::new(Hoarder { borrower: None, lent: Vec::new(), let_go: Arc::clone(&let_go) }));
    (0..1000).for_each(|_| end.send(frame(B, A)).unwrap());
    turns(&mut worker, 100);
    let (held, lost) = (rig.ledger().held, drops(&rig, 0, Direction::Rx, DropReason::PoolEmpty));
    assert_eq!((held, lost, rig.ledger().received), (256, 744, 1000));
    balances(&rig);

    let_go.store(true, SeqCst);
    worker.turn();
    (0..100).for_each(|_| end.send(frame(B, A)).unwrap());
    turns(&mut worker, 100);
    assert_eq!((sent(&rig, 1), drops(&rig, 0, Direction::Rx, DropReason::PoolEmpty)), (356, 744));
    balances(&rig);
}

#[test]
fn a_port_that_goes_in_mid_burst_takes_its_own_copies_along_and_nothing_else() {
    let (rig, mut links) = rig(3, 512, 64);
    let mut at = None;
    let (mut worker, _) = worker(&mut links, (), &mut at);
    rig.open(0, id(0), Box::new(Generator::new(64, 0, 9, 1, 32)));
    let mut calls = 0;
    let the_seventh = move || {
        calls += 1;
        (calls >= 7).then_some(Fault::Gone)
    };
    rig.open(0, id(1), Box::new(Faulty::new(Generator::new(64, 1, 0, 1, 0), the_seventh)));
    rig.open(0, id(2), Box::new(Generator::new(64, 2, 0, 1, 0)));
    turns(&mut worker, 100);
    let gone = |event| matches!(event, (_, Event::Gone { device: DeviceId(1), .. }));
    assert!(rig.events.try_iter().any(gone));
    let received = rig.ledger().received;
    let lost = [DropReason::PortGone, DropReason::PortDown].map(|why| drops(&rig, 1, Direction::Tx, why));
    assert_eq!((sent(&rig, 1) + lost[0] + lost[1], sent(&rig, 2)), (received, received));
    assert!(sent(&rig, 1) > 0 && lost[1] > 0);
    balances(&rig);
}

/// Runs a worker on a thread of its own, and ends it.
fn on_a_thread<T>(rig: &Rig, links: Links, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(links, || ()));
        let result = work();
        rig.commands[0].send(Command::Stop).unwrap();
        rig.bells[0].ring();
        running.join().expect("a worker ends well");
        result
    })
}

fn ready(rig: &Rig) -> (u32, Arc<Area>) {
    wait_for("a worker that is ready", || match rig.events.try_recv() {
        Ok((_, Event::Ready { incarnation, area })) => Some((incarnation, area)),
        _ => None,
    })
}

#[test]
fn a_panic_wherever_it_comes_leaves_a_ledger_that_balances() {
    for calls_before in 0..12 {
        let (rig, mut links) = rig(3, 512, 64);
        links.idle = Idle::Spin;
        on_a_thread(&rig, links, || {
            ready(&rig);
            let calls = AtomicU32::new(0);
            let panic = move || (calls.fetch_add(1, SeqCst) == calls_before).then_some(Fault::Panic);
            rig.open(0, id(1), Box::new(Faulty::new(Generator::new(64, 1, 0, 1, 3), panic)));
            rig.open(0, id(0), Box::new(Generator::new(64, 0, 9, 1, 32)));
            rig.open(0, id(2), Box::new(Generator::new(64, 2, 0, 1, 5)));
            assert_eq!(ready(&rig).0, 1);
            balances(&rig);
        });
        balances(&rig);
    }
}

#[test]
fn a_panic_on_af_xdp_gives_the_sockets_back_and_the_next_worker_takes_them() {
    let Some(rig_of_veths) = veth::Rig::veth("faults-xdp", 1, 1500) else { return };
    let far = rig_of_veths.far_socket("far0");
    let (rig, links) = rig(2, 8192, 64);
    let config = XdpConfig::new("near0");
    let mut device = XdpDevice::open(&config, Some(&rig_of_veths.near), None).unwrap();
    on_a_thread(&rig, links, || {
        let mut ends = Vec::new();
        for turn in 0..3 {
            let (incarnation, area) = ready(&rig);
            assert_eq!(incarnation, turn);
            // The old socket closes with the worker that panicked, and the kernel takes a moment to let the queue go.
            let queue = wait_for("the queue to be free", || device.open_queue(0, &area).ok());
            let armed = Arc::new(AtomicBool::new(false));
            let fuse = Arc::clone(&armed);
            let faulty = Faulty::new(queue, move || fuse.load(SeqCst).then_some(Fault::Panic));
            let (port, end) = Memory::new(64, Capabilities::default());
            for (device, queue) in
                [(id(0), Box::new(faulty) as Box<dyn PortQueue + Send>), (id(1), Box::new(port))]
            {
                rig.commands[0].send(Command::Open { device, queue, incarnation }).unwrap();
            }
            rig.bells[0].ring();
            let opened = |event: &(_, Event)| matches!(event, (_, Event::Opened(DeviceId(1))));
            wait_for("the ports to be open", || rig.events.try_recv().ok().filter(opened));
            wait_for("a frame over AF_XDP", || {
                far.send(&frame(B, A)).unwrap();
                end.receive().map(|wire| assert_eq!(wire.bytes, frame(B, A)))
            });
            if turn < 2 {
                armed.store(true, SeqCst);
                rig.bells[0].ring();
            }
            ends.push(end);
        }
    });
    balances(&rig);
}

#[test]
fn clocks_that_jump_neither_age_nor_stop_anything() {
    let (mut rig, mut links) = rig(2, 256, 64);
    let mut at = None;
    let (mut worker, _) = worker(&mut links, (), &mut at);
    let (one, two) = (memory(&rig, 0, 64), memory(&rig, 1, 64));
    let ageing = 3000;
    let expired = |rig: &mut Rig, now: u32| rig.retain(|_, entry| !entry.has_expired(Tick::new(now), ageing));
    rig.at(10_000);
    one.send(frame(B, A)).unwrap();
    worker.turn();
    // The wall clock: a day back, ten years on, the epoch. Ages are told by another one.
    let day = 86_400_000_000_000;
    for unix_ns in [day, 3650 * day, 0, u64::MAX] {
        rig.clock.set(Tick::new(10_001), Now { unix_ns });
        two.send(frame(A, B)).unwrap();
        worker.turn();
        assert_eq!(one.receive().map(|wire| wire.bytes), Some(frame(A, B)));
        assert_eq!(expired(&mut rig, 10_001), 0);
    }
    // The clock of ages does not go back; a reader that is late by a little must not find everything ancient.
    assert_eq!(expired(&mut rig, 9_990), 0);
    // Asleep for an hour (a suspended machine): what was learned has had its time.
    rig.at(10_001 + 36_000);
    assert_eq!(expired(&mut rig, 10_001 + 36_000), 2);
    one.send(frame(B, A)).unwrap();
    worker.turn();
    assert_eq!(two.receive().map(|wire| wire.bytes), Some(frame(B, A)));
    balances(&rig);
}

#[test]
fn a_flood_of_100_000_macs_fills_the_table_and_moves_no_static_entry() {
    const MACS: u64 = 100_000;
    let (mut rig, mut links) = rig(3, 512, 16_384);
    let known = Key::new(domain(1), MacAddr::new(B));
    rig.set_fixed(known, Entry::new(id(1).into(), Tick::default(), Flags::STATIC));
    let mut at = None;
    let (mut worker, _) = worker(&mut links, (), &mut at);
    let (from, to) = (memory(&rig, 0, 64), memory(&rig, 1, 64));
    let aside = memory(&rig, 2, 64);
    let mut out = 0;
    for number in 0..MACS {
        let [.., a, b, c] = number.to_be_bytes();
        from.send(frame(B, [2, 1, 1, a, b, c])).unwrap();
        if from.unread() == 64 || number == MACS - 1 {
            worker.turn();
            while to.receive().is_some() {
                out += 1;
            }
        }
    }
    let counters = &rig.counters[0];
    let (learned, full) = (counters.learned.value(), counters.table_full.value());
    assert_eq!((learned + full, out), (MACS, MACS));
    assert!(learned >= 16_384 && full > 0, "{learned} learned, {full} refused");
    assert_eq!(aside.receive(), None, "the station that was set is known throughout");
    // A station set by hand finds room where a learned one does not.
    let late = Key::new(domain(1), MacAddr::new([2, 2, 2, 2, 2, 2]));
    rig.set_fixed(late, Entry::new(id(2).into(), Tick::default(), Flags::STATIC));
    from.send(frame([2, 2, 2, 2, 2, 2], A)).unwrap();
    worker.turn();
    assert!(aside.receive().is_some() && to.receive().is_none());
    balances(&rig);
}

#[test]
fn a_storm_of_broadcasts_on_1_000_ports_needs_little_memory_and_loses_nothing() {
    const PORTS: usize = 1000;
    let (rig, mut links) = rig(PORTS, 1024, 4096);
    let mut at = None;
    let (mut worker, _) = worker(&mut links, (), &mut at);
    let ends: Vec<_> = (0..PORTS).map(|device| memory(&rig, device, 2 * PORTS)).collect();
    for (end, number) in ends.iter().zip(0u16..) {
        let [high, low] = number.to_be_bytes();
        end.send(frame(BROADCAST, [2, 0, 0, 9, high, low])).unwrap();
    }
    wait_for("the storm to pass", || (worker.turn() == 0).then_some(()));
    let ledger = rig.ledger();
    assert_eq!((ledger.received, ledger.forwarded), (PORTS as u64, PORTS as u64));
    assert_eq!((ledger.sent, ledger.copies_dropped), ((PORTS * (PORTS - 1)) as u64, 0));
    assert!(ends.iter().all(|end| std::iter::from_fn(|| end.receive()).count() == PORTS - 1));
    balances(&rig);
}
