//! What befalls a switch under traffic: it is killed, stopped, loses a device; nothing stays, nothing else suffers,
//! nothing is lost sight of.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use command::{PATIENCE, wait_for};
use rig::{NIC, Plug, Rig, Wire, bridge, frame, has, run_in};
use rigswitch::config::Config;
use rigswitch::switch::Switch;

const PLUGS: [Plug; 3] = [Plug::Veth, Plug::Veth, Plug::Tap];

/// A frame to everybody that tells one `number` from another.
fn numbered(number: u64) -> Vec<u8> {
    frame([0xff; 6], [2, 0, 0, 0, 0, 1], 0x88b5, 200, number)
}

/// Does `work` while a host sends one frame after the other.
fn under_traffic<T>(from: &Wire, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    // Also when the work panics.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                from.try_send(&numbered(u64::MAX));
                thread::yield_now();
            }
        });
        let _ends = Ends(&over);
        work()
    })
}

/// Waits until frames come out of the wire that were sent after this was called.
fn carries(wire: &Wire) {
    while wire.poll().is_some() {}
    wire.receive();
}

#[test]
fn a_switch_that_ends_under_traffic_leaves_nothing_and_starts_again() {
    const NAME: &str = "life-ends";
    if !has(NAME, "ip") {
        return;
    }
    let Some(rig) = Rig::new(NAME, &PLUGS, 1500).map(Rig::quiet) else { return };
    let (source, sink) = (rig.wire(0), rig.wire(1));
    let link = |port| run_in(&rig.center, &format!("ip -d link show {port}"));
    under_traffic(&source, || {
        for (signal, code) in [("KILL", None), ("TERM", Some(0)), ("KILL", None)] {
            let mut switch = rig.start_bridge("2");
            carries(&sink);
            assert!(
                link("p0").contains("prog/xdp") && !link("p0").contains("promiscuity 0"),
                "{}",
                link("p0")
            );
            switch.signal(signal);
            assert_eq!(switch.wait().code(), code, "{signal}");
            for port in ["p0", "p1"] {
                wait_for("the device to be as it was", || {
                    let text = link(port);
                    (!text.contains("prog/xdp") && text.contains("promiscuity 0")).then_some(())
                });
            }
            assert!(rig.hosts[2].netdev(NIC).unwrap().index().is_err(), "the TAP went with the switch");
        }
        assert_eq!(rig.folder.left_behind().len(), 2, "the socket and its lock, of the one that was killed");
        let _switch = rig.start_bridge("2");
        carries(&sink);
    });
    drop(rig.start_bridge("1"));
}

#[test]
fn a_device_that_goes_takes_no_frame_of_others_along() {
    let plugs = [Plug::Veth, Plug::Veth, Plug::Tap, Plug::Veth, Plug::Tap];
    let Some(rig) = Rig::new("life-lost", &plugs, 1500).map(Rig::quiet) else { return };
    let _switch = rig.start_bridge("2");
    let (source, others) = (rig.wire(0), [rig.wire(1), rig.wire(2)]);
    let rounds = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            source.send(&numbered(number));
            others.iter().for_each(|wire| assert_eq!(wire.receive(), numbered(number)));
        }
    };
    rounds(0..100);
    for gone in [3, 4] {
        let before = gone * 1000;
        thread::scope(|scope| {
            scope.spawn(|| rounds(before..before + 300));
            rig.hosts[usize::try_from(gone).unwrap()].delete(NIC).unwrap();
        });
        let port = usize::try_from(gone).unwrap();
        wait_for("the port to be gone", || (rig.port(port).operstate == "NOTPRESENT").then_some(()));
        rounds(before + 300..before + 400);
    }
    let view = rig.settled();
    assert_eq!(view.ledger.received, 900, "{view:?}");
    let elsewhere = view.drops.iter().find(|drop| !["p3", "p4"].contains(&drop.device.as_str()));
    assert!(elsewhere.is_none(), "{elsewhere:?}");
}

/// What slow, dead and hostile clients say.
const MISDEEDS: [&[u8]; 8] = [
    b"",
    b"GET /v1/ev",
    b"POST /v1/fdb HTTP/1.1\r\nHost: rig\r\nContent-Length: 60000\r\n\r\n{",
    b"POST /v1/fdb HTTP/1.1\r\nHost: rig\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{",
    b"GET /v1/events HTTP/1.1\r\nHost: rig\r\n\r\n",
    b"GET /v1/openapi.json HTTP/1.1\r\nHost: rig\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /metrics HTTP/1.1\r\nHost: rig\r\nX-Long: ",
];

#[test]
fn a_hundred_slow_dead_and_hostile_clients_cost_no_frame_and_lock_nobody_out() {
    const FRAMES: u64 = 1000;
    let Some(rig) = Rig::new("life-crowd", &[Plug::Veth, Plug::Veth], 1500).map(Rig::quiet) else { return };
    let _switch = rig.start_bridge("1");
    let (source, sink, over) = (rig.wire(0), rig.wire(1), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        let carrier = scope.spawn(|| {
            let mut number = 0;
            while number < FRAMES || !over.load(Relaxed) {
                source.send(&numbered(number));
                assert_eq!(sink.receive(), numbered(number));
                number += 1;
            }
            number
        });
        for _ in 0..3 {
            let client = |number: usize| {
                let mut stream = UnixStream::connect(rig.folder.socket()).unwrap();
                stream.set_nonblocking(true).unwrap();
                // Again and again, and nothing is ever read; the switch may refuse to hear it all.
                (0..50).for_each(|_| drop(stream.write(MISDEEDS[number % MISDEEDS.len()])));
                // Every fifth dies.
                (!number.is_multiple_of(5)).then_some(stream)
            };
            let crowd: Vec<_> = (0..100).map(client).collect();
            let ports = rig.folder.ask("show ports -j");
            assert!(ports.contains("\"UP\""), "{ports}");
            drop(crowd);
        }
        over.store(true, Relaxed);
        carrier.join().unwrap()
    });
    let view = rig.settled();
    assert_eq!((view.ledger.received, view.ledger.sent), (sent, sent));
    assert!(view.drops.is_empty() && view.lost.is_empty(), "{view:?}");
}

#[test]
fn a_switch_that_is_stopped_under_traffic_has_accounted_for_every_frame() {
    let Some(rig) = Rig::new("life-stop", &PLUGS, 1500).map(Rig::quiet) else { return };
    let source = rig.wire(0);
    let sink = rig.wire(1);
    for workers in ["1", "2"] {
        let text = rig.config(workers, &bridge("br0", 0..PLUGS.len()));
        let mut switch = Switch::start(Config::parse(&text, "rig.toml").unwrap()).unwrap();
        under_traffic(&source, || {
            carries(&sink);
            switch.stop(PATIENCE).unwrap();
        });
        let ledger = switch.drops().ledger;
        assert!(ledger.balanced && ledger.held == 0 && ledger.received > 0, "{workers} workers: {ledger:?}");
    }
}
