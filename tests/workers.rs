//! Workers as threads: they sleep and wake, adopt tables, hand off, punt, survive a panic and a lost device, and end.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::cast_possible_truncation,
    clippy::unwrap_used
)] // a test that waits bounds its waiting

mod patience;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use patience::{PATIENCE, wait_for};
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::PoolConfig;
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::ports::{Capabilities, Fault, Faulty, Memory, MemoryEnd};
use rigswitch_dataplane::punt::{Injection, PuntReason, Punted};
use rigswitch_dataplane::tables::{Device, Domain, Key, Knobs, Role, Tables};
use rigswitch_dataplane::worker::{Command, Event, Links, run};
use support::{Rig, device, domain, one_bridge};

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const LLDP: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 0xe];

fn frame(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    [&to[..], &from, &[0x88, 0xb5], &[0; 46]].concat()
}

/// Workers on threads, with memory ports.
struct Running {
    rig: Rig,
    threads: Vec<JoinHandle<()>>,
    ends: Vec<MemoryEnd>,
}

impl Running {
    /// `workers` workers; device `n` is a memory port of worker `n % workers`.
    fn start(workers: usize, devices: usize, tables: Tables) -> Self {
        let (rig, links) = Rig::new(workers, tables, PoolConfig::singles(256), 64);
        let threads =
            links.into_iter().map(|links: Links| std::thread::spawn(|| run(links, || ()))).collect();
        let mut running = Self { rig, threads, ends: Vec::new() };
        for _ in 0..workers {
            running.expect(|event| matches!(event, Event::Ready { incarnation: 0, .. }));
        }
        for id in 0..devices {
            let (port, end) = Memory::new(64, Capabilities::default());
            running.rig.open(id % workers, DeviceId(id as u16), Box::new(port));
            running.ends.push(end);
        }
        running
    }

    /// The next event but that a queue was taken over, which must be the expected one.
    fn expect(&self, expected: impl Fn(&Event) -> bool) -> Event {
        loop {
            let (_, event) = self.rig.events.recv_timeout(PATIENCE).expect("an event");
            if !matches!(event, Event::Opened(_)) {
                assert!(expected(&event));
                return event;
            }
        }
    }

    fn send(&self, device: usize, frame: Vec<u8>) {
        self.ends[device].send(frame).expect("room in the port");
        self.rig.bells.iter().for_each(|bell| bell.ring());
    }

    /// The next frame out of a device; the bell is rung as a new frame would.
    fn receive(&self, device: usize) -> Vec<u8> {
        until(|| self.ends[device].receive()).bytes
    }

    /// Ends the workers, and checks that nothing is missing.
    fn stop(self) {
        for (commands, bell) in self.rig.commands.iter().zip(&self.rig.bells) {
            commands.send(Command::Stop).unwrap();
            bell.ring();
        }
        for thread in self.threads {
            thread.join().expect("a worker ends well");
        }
        assert_eq!(self.rig.ledger().imbalance(), (0, 0), "{:?}", self.rig.ledger());
    }
}

/// Asks until there is an answer.
fn until<T>(answer: impl FnMut() -> Option<T>) -> T {
    wait_for("what was asked for", answer)
}

#[test]
fn a_sleeping_worker_wakes_for_a_frame_and_sleeps_again() {
    let running = Running::start(1, 2, one_bridge(2, 1));
    for _ in 0..3 {
        let sleeps = running.rig.counters[0].sleeps.value();
        until(|| (running.rig.counters[0].sleeps.value() > sleeps).then_some(()));
        running.send(0, frame(B, A));
        assert_eq!(running.receive(1), frame(B, A));
    }
    running.stop();
}

#[test]
fn frames_cross_from_worker_to_worker() {
    let running = Running::start(2, 2, one_bridge(2, 2));
    for n in 0..200u8 {
        let mut there = frame(B, A);
        there[20] = n;
        running.send(0, there.clone());
        assert_eq!(running.receive(1), there);
        running.send(1, frame(A, B));
        assert_eq!(running.receive(0), frame(A, B));
    }
    assert_eq!(running.rig.counters[0].handed_off.value(), 200);
    assert_eq!(running.rig.counters[1].handed_on.value(), 200);
    running.stop();
}

#[test]
fn a_published_table_is_in_force_when_all_have_seen_it() {
    let mut running = Running::start(2, 2, one_bridge(2, 2));
    let wires = Tables::new(
        Box::new([device(Role::Xconnect(DeviceId(1)), 0), device(Role::Xconnect(DeviceId(0)), 1)]),
        Box::new([]),
    );
    let generation = running.rig.publisher.publish(wires);
    until(|| running.rig.publisher.all_seen(generation).then_some(()));
    // A bridge would keep this to itself; a wire does not.
    running.send(0, frame(LLDP, A));
    assert_eq!(running.receive(1), frame(LLDP, A));
    running.stop();
}

#[test]
fn a_panic_costs_what_was_in_hand_and_nothing_that_was_learned() {
    let mut running = Running::start(1, 3, one_bridge(3, 1));
    running.send(1, frame(A, B));
    assert_eq!(running.receive(0), frame(A, B));
    assert_eq!(running.receive(2), frame(A, B));

    // Device 0 gets a port that panics when it is asked to send.
    running.rig.commands[0].send(Command::Close(DeviceId(0))).unwrap();
    running.rig.bells[0].ring();
    running.expect(|event| matches!(event, Event::Closed(DeviceId(0))));
    let (port, _end) = Memory::new(64, Capabilities::default());
    let armed = Arc::new(AtomicBool::new(false));
    let fuse = Arc::clone(&armed);
    running.rig.open(
        0,
        DeviceId(0),
        Box::new(Faulty::new(port, move || fuse.load(SeqCst).then_some(Fault::Panic))),
    );
    running.rig.bells[0].ring();
    running.send(2, frame(LLDP, A)); // wakes it, goes nowhere, and teaches where A is
    until(|| (running.rig.counters[0].device(DeviceId(2)).received.volume().packets == 1).then_some(()));
    armed.store(true, SeqCst);
    running.rig.bells[0].ring();
    let panicked = running.expect(|event| matches!(event, Event::Panicked { .. }));
    assert!(matches!(panicked, Event::Panicked { message } if message.contains("a fault was asked for")));
    running.expect(|event| matches!(event, Event::Ready { incarnation: 1, .. }));

    running.ends.clear();
    for id in 0..3 {
        let (port, end) = Memory::new(64, Capabilities::default());
        let open = Command::Open { device: DeviceId(id), queue: Box::new(port), incarnation: 1 };
        running.rig.commands[0].send(open).unwrap();
        running.ends.push(end);
    }
    // What was learned before is known still: the frame is not flooded.
    running.send(0, frame(B, [2, 0, 0, 0, 0, 0xc]));
    assert_eq!(running.receive(1), frame(B, [2, 0, 0, 0, 0, 0xc]));
    assert_eq!(running.ends[2].receive(), None);
    let table = running.rig.macs.table();
    let key = Key::new(domain(1), MacAddr::new(A));
    assert_eq!(table.find(table.locate(key)).map(|entry| entry.egress().device), Some(DeviceId(2)));
    running.stop();
}

#[test]
fn a_device_that_vanishes_takes_no_other_along() {
    let running = Running::start(1, 2, one_bridge(3, 1));
    let (port, _end) = Memory::new(64, Capabilities::default());
    running.rig.open(0, DeviceId(2), Box::new(Faulty::new(port, || Some(Fault::Gone))));
    running.rig.bells[0].ring();
    running.expect(|event| matches!(event, Event::Gone { device: DeviceId(2), .. }));
    running.send(0, frame(B, A));
    assert_eq!(running.receive(1), frame(B, A));
    let lost = running.rig.counters[0].device(DeviceId(2)).drops(Direction::Tx, DropReason::PortDown);
    until(|| (lost.volume().packets == 1).then_some(()));
    running.stop();
}

#[test]
fn reserved_frames_go_to_control_when_asked_for_and_control_can_answer() {
    let members = Domain::of([DeviceId(0), DeviceId(1)]);
    let knobs = Knobs { punts: 1 << 0xe, ..Knobs::PLAIN };
    let devices = [Device { knobs, ..device(Role::member(domain(1), &knobs), 0) }; 2];
    let mut running = Running::start(1, 2, Tables::new(Box::new(devices), Box::new([members])));
    running.send(0, frame(LLDP, A));
    let (punted, bytes) = until(|| running.rig.punts[0].receive());
    assert_eq!(punted, Punted { device: DeviceId(0), reason: PuntReason::ReservedAddress });
    assert_eq!(bytes, frame(LLDP, A));

    let out = Injection { device: DeviceId(0), direction: Direction::Tx };
    running.rig.injects[0].offer(out, &frame(LLDP, B)).unwrap();
    running.rig.bells[0].ring();
    assert_eq!(running.receive(0), frame(LLDP, B));
    let in_ = Injection { device: DeviceId(0), direction: Direction::Rx };
    running.rig.injects[0].offer(in_, &frame([0xff; 6], B)).unwrap();
    running.rig.bells[0].ring();
    assert_eq!(running.receive(1), frame([0xff; 6], B));
    running.stop();
}

#[test]
fn a_full_way_to_another_worker_loses_frames_and_counts_them() {
    // Worker 1 does not run: what is handed to it stays in the ring.
    let (rig, mut links) = Rig::new(2, one_bridge(2, 2), PoolConfig::singles(256), 64);
    let mut at = None;
    let (mut worker, _) = support::worker(&mut links[0], (), &mut at);
    rig.open(0, DeviceId(0), Box::new(rigswitch_dataplane::ports::Generator::new(1500, 0, 1, 16, 64)));
    let lost = rig.counters[0].device(DeviceId(1)).drops(Direction::Tx, DropReason::HandoffFull);
    until(|| {
        worker.turn();
        (lost.volume().packets > 0).then_some(())
    });
    let ledger = rig.ledger();
    assert_eq!(ledger.imbalance(), (0, 0));
    assert_eq!(ledger.held, rig.counters[0].handed_off.value().cast_signed());
}
