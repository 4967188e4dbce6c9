//! Changing while it runs: not a frame of an untouched path is lost, doubled or overtaken, numbers are given to others only
//! when nothing is left of the first, and what cannot be done is not done by half.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use command::{Folder, PATIENCE, wait_for};
use rig::{NIC, Plug, Rig, Wire, frame};
use rigswitch::config::Config;
use rigswitch::switch::{Switch, TICK};
use rigswitch::views::FdbView;
use rigswitch_dataplane::ports::MemoryEnd;
use rigswitch_dataplane::sys::cpu;

/// The station at an end of a path. Those of one path are not those of another, for stations do not move here.
fn station(path: u8, end: u8) -> [u8; 6] {
    [2, 0, 0, 0, path, end]
}

/// The group that no bridge may drop.
const ALL: [u8; 6] = [0xff; 6];

/// Frame `number` of a path: every fourth is a broadcast.
fn numbered(to: [u8; 6], from: [u8; 6], number: u64) -> Vec<u8> {
    frame(if number.is_multiple_of(4) { ALL } else { to }, from, 0x88b5, 100, number)
}

/// The number of a frame from `from`; others are noise.
fn number_of(bytes: &[u8], from: [u8; 6]) -> Option<u64> {
    let is_ours = bytes.get(6..14)? == [&from[..], &[0x88, 0xb5]].concat();
    is_ours.then(|| u64::from_be_bytes(bytes[14..22].try_into().unwrap()))
}

/// One direction of a path: how many frames were sent into it, and how many came out, each the next one.
#[derive(Default)]
struct Flow {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Flow {
    /// Frames on their way at a time: fewer than any ring holds.
    const WINDOW: u64 = 32;

    /// The next frame to be sent, unless enough are on their way.
    fn next(&self, to: [u8; 6], from: [u8; 6]) -> Option<Vec<u8>> {
        let sent = self.sent.load(Relaxed);
        (sent < self.received.load(Relaxed) + Self::WINDOW).then(|| numbered(to, from, sent))
    }

    fn check(&self, bytes: &[u8], from: [u8; 6]) {
        if let Some(number) = number_of(bytes, from) {
            let expected = self.received.fetch_add(1, Relaxed);
            assert_eq!(number, expected, "a frame from {from:x?} is lost, doubled or overtaken");
        }
    }
}

/// Sends and receives frames both ways, as fast as the window lets it, until told otherwise; then until all have come out.
fn exchange(path: u8, ends: [&impl Host; 2], flows: &[Flow; 2], over: &AtomicBool) {
    // On one CPU, so that its frames take one queue of a veth, and keep their order.
    cpu::pin(cpu::allowed()[0]).unwrap();
    let [a, b] = [1, 2].map(|end| station(path, end));
    let is_done = || {
        let is_whole = |flow: &Flow| flow.sent.load(Relaxed) == flow.received.load(Relaxed);
        over.load(Relaxed) && flows.iter().all(is_whole)
    };
    let turn = || {
        let mut moved = false;
        for (flow, (near, far), (to, from)) in
            [(&flows[0], (ends[0], ends[1]), (b, a)), (&flows[1], (ends[1], ends[0]), (a, b))]
        {
            if !over.load(Relaxed)
                && let Some(frame) = flow.next(to, from)
                && near.send(&frame)
            {
                flow.sent.fetch_add(1, Relaxed);
            }
            while let Some(bytes) = far.receive() {
                flow.check(&bytes, from);
                moved = true;
            }
        }
        moved
    };
    while !is_done() {
        wait_for("the next frame", || (turn() || is_done()).then_some(()));
    }
}

/// Does `work` while frames cross both ways, and says how many did.
fn between(path: u8, ends: [&(impl Host + Sync); 2], work: impl FnOnce(&[Flow; 2])) -> u64 {
    let (flows, over) = (<[Flow; 2]>::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| exchange(path, ends, &flows, &over));
        // Also when the work panics.
        struct Ends<'a>(&'a AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let _ends = Ends(&over);
        work(&flows);
    });
    flows.iter().map(|flow| flow.received.load(Relaxed)).sum()
}

/// A station with a wire.
trait Host {
    fn send(&self, frame: &[u8]) -> bool;
    fn receive(&self) -> Option<Vec<u8>>;
}

impl Host for MemoryEnd {
    fn send(&self, frame: &[u8]) -> bool {
        self.send(frame.to_vec()).is_ok()
    }

    fn receive(&self) -> Option<Vec<u8>> {
        self.receive().map(|wire| wire.bytes)
    }
}

impl Host for Wire {
    fn send(&self, frame: &[u8]) -> bool {
        self.try_send(frame)
    }

    fn receive(&self) -> Option<Vec<u8>> {
        self.poll()
    }
}

fn config(text: &str) -> Config {
    Config::parse(text, "rig.toml").unwrap()
}

fn memory_port(name: &str) -> String {
    format!("[[port]]\nname = \"{name}\"\nmemory = true\n")
}

fn memory_ports<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(memory_port).collect()
}

fn bridge_of(name: &str, rest: &str, ports: &[&str]) -> String {
    let ports: Vec<_> = ports.iter().map(|port| format!("{{ device = \"{port}\" }}")).collect();
    format!("[[bridge]]\nname = \"{name}\"\n{rest}\nport = [{}]\n", ports.join(", "))
}

const SPIN: &str = "[switch]\nidle = \"spin\"\nmac_table = 1024\n";

/// Ticks as `run` does until `done`, within reason.
fn tick_until<T>(switch: &mut Switch, what: &str, mut done: impl FnMut(&mut Switch) -> Option<T>) -> T {
    let mut next = Instant::now();
    wait_for(what, || {
        if Instant::now() >= next {
            switch.tick();
            next = Instant::now() + TICK;
        }
        done(switch)
    })
}

fn balances(switch: &mut Switch) {
    tick_until(switch, "a balanced ledger", |switch| {
        let ledger = switch.drops().ledger;
        (ledger.balanced && ledger.held == 0).then_some(())
    });
}

/// Round `n` of a hundred: ports come, go, change bridge, worker and MTU, bridges come and go, wires too; p0 and p1 are in
/// br0 all along.
fn round(workers: u16, n: usize) -> String {
    let mut text = format!("{SPIN}workers = {workers}\n{}", memory_ports(["p0", "p1"]));
    let (mut br0, mut br1) = (vec!["p0", "p1"], Vec::new());
    for (bit, port) in ["p2", "p3", "p4"].into_iter().enumerate() {
        // Gray code: one port comes or goes a round.
        if (n ^ n >> 1) >> bit & 1 == 1 {
            text += &memory_port(port);
            text +=
                &format!("worker = {}\nmtu = {}\n", n / 8 % usize::from(workers), 1500 + n / 4 % 2 * 7500);
            if (n / 8 + bit).is_multiple_of(2) { br0.push(port) } else { br1.push(port) }
        }
    }
    // br1 is before br0 in the file, and often is not.
    if !n.is_multiple_of(5) {
        text += &bridge_of("br1", "ageing_time = 20", &br1);
    }
    text += &bridge_of("br0", &format!("ageing_time = {}", 100 + n % 3), &br0);
    if n.is_multiple_of(2) {
        text += &memory_ports(["x0", "x1"]);
        text += "[[xconnect]]\na = \"x0\"\nb = \"x1\"\n";
    }
    text
}

#[test]
fn a_hundred_reloads_between_memory_ports() {
    for (workers, rounds) in [(1, 20), (2, 100)] {
        let mut switch = Switch::start(config(&round(workers, 0))).unwrap();
        let ends = ["p0", "p1"].map(|port| switch.memory_end(port).unwrap());
        let crossed = between(0, [&ends[0], &ends[1]], |flows| {
            for n in 1..=rounds {
                let received = || flows.iter().map(|flow| flow.received.load(Relaxed)).min().unwrap();
                let wanted = config(&round(workers, n));
                assert!(!switch.apply(wanted.clone()).unwrap().is_empty(), "round {n}");
                assert!(switch.plan(&wanted).unwrap().is_empty(), "round {n}");
                let before = received();
                tick_until(&mut switch, "frames to cross", |_| (received() > before + 8).then_some(()));
            }
        });
        balances(&mut switch);
        let view = switch.drops();
        let on_path = |device: &str| device == "p0" || device == "p1";
        assert!(!view.drops.iter().any(|drop| on_path(&drop.device)), "{:?}", view.drops);
        let ports = switch.ports();
        let [p0, p1] = [0, 1].map(|place: usize| ports[place].clone());
        assert_eq!((p0.ifname.as_str(), p1.ifname.as_str()), ("p0", "p1"), "numbers are kept");
        assert_eq!(p0.rx.packets + p1.rx.packets, crossed);
        switch.stop(PATIENCE).unwrap();
    }
}

#[test]
fn a_hundred_reloads_between_real_devices() {
    let plugs = [Plug::Veth, Plug::Veth, Plug::Tap, Plug::Veth, Plug::Tap];
    let Some(rig) = Rig::new("reload", &plugs, 1500).map(Rig::quiet) else { return };
    // Ports 3 and 4 come and go.
    let text = |n: usize| {
        let all = rig.config("2", "");
        let ports: Vec<_> = all.split("[[port]]").collect();
        let with =
            |on: bool, port: usize| if on { format!("[[port]]{}", ports[port + 1]) } else { String::new() };
        let (veth, tap) = (n % 4 == 1, n % 4 == 2);
        let mut members = vec!["p0", "p1", "p2"];
        members.extend(veth.then_some("p3").into_iter().chain(tap.then_some("p4")));
        let mut text = ports[0].to_owned() + &(0..3).map(|port| with(true, port)).collect::<String>();
        text += &(with(veth, 3) + &with(tap, 4));
        if n.is_multiple_of(3) {
            text += &bridge_of("br1", "", &[]);
        }
        text + &bridge_of("br0", &format!("ageing_time = {}", 100 + n), &members)
    };
    let _switch = rig.folder.start(&text(0));
    for (path, ends, rounds) in [(0, [0, 1], 1..=50), (1, [1, 2], 51..=100)] {
        // Opened anew: what nobody reads fills up with what is flooded.
        let wires = ends.map(|host| rig.wire(host));
        between(path, [&wires[0], &wires[1]], |flows| {
            for n in rounds {
                rig.folder.write("rig.toml", &text(n));
                let before = flows[0].received.load(Relaxed);
                assert_ne!(rig.folder.ask("apply rig.toml"), "no changes\n");
                wait_for("frames to cross", || (flows[0].received.load(Relaxed) > before + 8).then_some(()));
            }
        });
    }
    let view = rig.settled();
    let untouched = view.drops.iter().find(|drop| ["p0", "p1", "p2"].contains(&drop.device.as_str()));
    assert!(untouched.is_none(), "{untouched:?}");
}

fn stations(switch: &Switch) -> Vec<(String, String)> {
    let row = |entry: FdbView| {
        (entry.mac[15..].to_owned(), format!("{} {}", entry.master.unwrap_or_default(), entry.ifname))
    };
    switch.fdb().into_iter().map(row).collect()
}

fn learn(switch: &mut Switch, port: &str, from: u8) {
    let end = switch.memory_end(port).unwrap();
    end.send(frame(ALL, [2, 0, 0, 0, 0, from], 0x88b5, 60, 0)).unwrap();
    let mac = format!("02:00:00:00:00:{from:02x}");
    tick_until(switch, "a station to be learned", |switch| {
        switch.fdb().iter().any(|entry| entry.mac == mac && entry.ifname == port).then_some(())
    });
}

#[test]
fn a_number_is_anothers_only_when_nothing_is_left_of_the_first() {
    let rig = |ports: &[&str]| {
        SPIN.to_owned() + &memory_ports(ports.iter().copied()) + &bridge_of("br0", "", ports)
    };
    let mut switch = Switch::start(config(&rig(&["p0", "p1", "p2"]))).unwrap();
    learn(&mut switch, "p1", 1);
    learn(&mut switch, "p2", 2);
    let received = switch.drops().ledger.received;
    switch.apply(config(&rig(&["p0", "p2"]))).unwrap();
    assert_eq!(stations(&switch), [("02".into(), "br0 p2".into())]);
    assert_eq!(switch.drops().ledger.received, received, "what p1 had received is still counted");

    // p3 has the number that p1 had, and nothing else of it.
    switch.apply(config(&rig(&["p0", "p2", "p3"]))).unwrap();
    let ports = switch.ports();
    let names: Vec<_> = ports.iter().map(|port| port.ifname.as_str()).collect();
    assert_eq!(names, ["p0", "p3", "p2"]);
    assert_eq!((ports[1].rx.packets, ports[1].tx.packets, ports[1].drops.len()), (0, 0, 0));
    let [p0, p2, p3] = ["p0", "p2", "p3"].map(|port| switch.memory_end(port).unwrap());
    while p2.receive().is_some() {}
    p0.send(frame([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9], 0x88b5, 60, 7)).unwrap();
    for end in [&p2, &p3] {
        tick_until(&mut switch, "a flood", |_| end.receive());
    }
    balances(&mut switch);
    switch.stop(PATIENCE).unwrap();
}

#[test]
fn a_bridge_that_goes_leaves_the_stations_of_others_where_they_are() {
    let bridges = |both: bool| {
        let first = if both { bridge_of("br1", "", &["p0"]) } else { String::new() };
        SPIN.to_owned() + &memory_ports(["p0", "p1", "p2"]) + &first + &bridge_of("br2", "", &["p1", "p2"])
    };
    let mut switch = Switch::start(config(&bridges(true))).unwrap();
    learn(&mut switch, "p0", 1);
    learn(&mut switch, "p1", 2);
    switch.apply(config(&bridges(false))).unwrap();
    assert_eq!(stations(&switch), [("02".into(), "br2 p1".into())]);
    switch.apply(config(&bridges(true))).unwrap();
    assert_eq!(stations(&switch), [("02".into(), "br2 p1".into())]);
    let [p1, p2] = ["p1", "p2"].map(|port| switch.memory_end(port).unwrap());
    while p1.receive().is_some() {}
    p2.send(frame([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 9], 0x88b5, 60, 7)).unwrap();
    tick_until(&mut switch, "the frame", |_| p1.receive());
    switch.stop(PATIENCE).unwrap();
}

#[test]
fn what_fails_half_way_leaves_no_trace() {
    let before = format!(
        "{SPIN}{}{}fdb = [{{ mac = \"02:00:00:00:00:05\", device = \"p0\" }}]\n",
        memory_ports(["p0", "p1", "p2"]),
        bridge_of("br0", "ageing_time = 60", &["p0", "p1"]),
    );
    let mut switch = Switch::start(config(&before)).unwrap();
    learn(&mut switch, "p1", 1);
    let (shown, stations_before) = (switch.config(), stations(&switch));
    // Ports that can come, change and go, entries that move, and one port that cannot come.
    let wanted = format!(
        "{SPIN}{}mtu = 9000\n{}{}{}fdb = [{{ mac = \"02:00:00:00:00:05\", device = \"p1\" }}]\n",
        memory_ports(["p0"]),
        memory_ports(["p1", "p3"]),
        "[[port]]\nname = \"late\"\npcap = { input = \"/nowhere/in.pcap\" }\n",
        bridge_of("br0", "ageing_time = 10", &["p0", "p1", "p3"]),
    );
    for _ in 0..3 {
        let refused = switch.apply(config(&wanted)).unwrap_err().to_string();
        assert!(refused.starts_with("port late: ") && refused.contains("/nowhere/in.pcap"), "{refused}");
        assert_eq!((switch.config(), stations(&switch)), (shown.clone(), stations_before.clone()));
        assert!(switch.plan(&config(&before)).unwrap().is_empty());
        assert_eq!(
            switch.ports().iter().map(|port| (&*port.ifname, port.mtu)).collect::<Vec<_>>(),
            [("p0", 1500), ("p1", 1500), ("p2", 1500)]
        );
    }
    let [p0, p1] = ["p0", "p1"].map(|port| switch.memory_end(port).unwrap());
    let crossed = between(7, [&p0, &p1], |flows| {
        wait_for("frames to cross", || (flows[0].received.load(Relaxed) > 100).then_some(()));
    });
    assert!(crossed > 100);
    balances(&mut switch);
    switch.stop(PATIENCE).unwrap();
}

fn refused(folder: &Folder, words: &str) -> String {
    let said = folder.say(words);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{words}");
    said.err
}

#[test]
fn a_device_goes_from_port_to_port_and_back_when_that_fails() {
    let Some(rig) = Rig::new("reload-hands", &[Plug::Veth, Plug::Tap], 1500).map(Rig::quiet) else { return };
    let with = |text: String, members: &[&str]| text + &bridge_of("br0", "", members);
    let before = with(rig.config("2", ""), &["p0", "p1"]);
    let _switch = rig.folder.start(&before);
    let index = || rig.hosts[1].netdev(NIC).unwrap().index().unwrap();
    let (first, fdb) = (index(), rig.folder.ask("show config"));
    let works = || {
        let crossed = between(3, [&rig.wire(0), &rig.wire(1)], |flows| {
            wait_for("frames to cross", || (flows[1].received.load(Relaxed) > 50).then_some(()));
        });
        assert!(crossed > 100);
    };
    works();
    // Both ports under other names, one of them on another worker, and one that cannot be.
    let renamed = before.replace("\"p1\"", "\"q1\"").replace("name = \"p0\"", "worker = 1\nname = \"p0\"");
    rig.folder.write("bad.toml", &format!("{renamed}[[port]]\nname = \"x\"\npcap = \"none.pcap\"\n"));
    assert!(refused(&rig.folder, "apply bad.toml").contains("port x: "));
    assert_eq!((rig.folder.ask("show config"), index()), (fdb, first));
    works();
    // What fails only after the devices were let go of: there is no other device for p1 to have.
    let gone = rig.center.name();
    rig.folder.write("worse.toml", &{
        let tail = format!("[[port]]\nname = \"x\"\ntap = \"{NIC}\"\nnetns = \"{}\"\n", rig.hosts[1].name());
        let port = format!("[[port]]\nname = \"p1\"\nxdp = \"nothing\"\nnetns = \"{gone}\"\n");
        let all = before.split("[[port]]").collect::<Vec<_>>();
        let (_, rest) = all[2].split_once("[[bridge]]").unwrap();
        format!("{}[[port]]{}{port}{tail}[[bridge]]{rest}", all[0], all[1])
    });
    let line = refused(&rig.folder, "apply worse.toml");
    assert!(line.starts_with("rigswitch: port p1: "), "{line}");
    assert_eq!((&*rig.folder.ask("plan rig.toml"), index()), ("no changes\n", first));
    works();
    rig.folder.write("good.toml", &renamed);
    rig.folder.ask("apply good.toml");
    assert!(rig.folder.ask("show ports").contains("q1"));
    assert_eq!(index(), first, "a TAP under another name is the same for its host");
    works();
    assert_eq!(rig.settled().ledger.frames_missing, 0);
}
