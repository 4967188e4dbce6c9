//! A switch in memory: what it forwards, what survives a worker's panic, and what moves between workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::{Capabilities, Fault, Faulty, Memory, MemoryEnd, Now};
use rigswitch_dataplane::worker::Command;

mod guards;

use super::{Switch, TICK};
use crate::config::Config;
use crate::views::{FdbChange, FdbFlush, FdbRemoval, FdbStateWord};

/// Ticks as `run` does until `done`, within reason.
fn tick_until(switch: &mut Switch, what: &str, mut done: impl FnMut(&mut Switch, &[String]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut next = Instant::now();
    let mut all_news = Vec::new();
    loop {
        if Instant::now() >= next {
            all_news.extend(switch.tick());
            next = Instant::now() + TICK;
        }
        if done(switch, &all_news) {
            return;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}; the news were {all_news:?}");
        std::thread::yield_now();
    }
}

fn switch(workers: u16, ports: u16, idle: &str) -> Switch {
    let mut text = format!("[switch]\nmac_table = 1024\nidle = \"{idle}\"\nworkers = {workers}\n");
    (0..ports).for_each(|port| text += &format!("[[port]]\nname = \"p{port}\"\nmemory = true\n"));
    text += "[[bridge]]\nname = \"br0\"\n";
    (0..ports).for_each(|port| text += &format!("[[bridge.port]]\ndevice = \"p{port}\"\n"));
    Switch::start(Config::parse(&text, "rig.toml").unwrap()).unwrap()
}

/// A frame from station `from` to station `to`; nobody is station 0.
fn frame(from: u8, to: u8) -> Vec<u8> {
    let mut bytes = vec![0; 60];
    (bytes[0], bytes[5]) = (2, to);
    (bytes[6], bytes[11]) = (2, from);
    bytes
}

fn carried(switch: &mut Switch, from: &MemoryEnd, frame: Vec<u8>, to: &MemoryEnd) {
    from.send(frame.clone()).unwrap();
    tick_until(switch, "a frame", |_, _| to.receive().is_some_and(|wire| wire.bytes == frame));
}

fn balances(switch: &mut Switch) {
    tick_until(switch, "a balanced ledger", |switch, _| switch.drops().ledger.balanced);
}

#[test]
fn frames_cross_from_worker_to_worker() {
    let mut switch = switch(2, 4, "spin");
    let ends: Vec<_> = (0..4).map(|port| switch.memory_end(&format!("p{port}")).unwrap()).collect();
    let owners: Vec<_> = switch.workers().into_iter().map(|worker| worker.ports).collect();
    assert_eq!(owners, [["p0", "p2"], ["p1", "p3"]]);
    for (from, end) in (1u8..).zip(&ends) {
        end.send(frame(from, 0)).unwrap();
        for other in (1u8..).zip(&ends).filter(|(number, _)| *number != from).map(|(_, end)| end) {
            tick_until(&mut switch, "a flood", |_, _| other.receive().is_some());
        }
    }
    for from in 0..4u8 {
        let to = (from + 1) % 4;
        let (near, far) = (&ends[usize::from(from)], &ends[usize::from(to)]);
        carried(&mut switch, near, frame(from + 1, to + 1), far);
    }
    balances(&mut switch);
    assert!(ends.iter().all(|end| end.receive().is_none()), "what is known is not flooded");
    assert_eq!(switch.fdb().len(), 4);
    assert_eq!(switch.drops().ledger.sent, 4 * 3 + 4);
    switch.stop(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_file_is_not_read_before_every_way_out_is_open() {
    let folder = std::env::temp_dir().join(format!("rsw-replay-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    // A capture of its own making: what is sent into a memory port, on a wire to a file.
    let config = |text: &str| Config::parse(text, "rig.toml").unwrap();
    let record = format!(
        "port = [{{ name = \"m\", memory = true }}, {{ name = \"f\", pcap = {{ output = \"{}\" }} }}]\n\
         xconnect = [{{ a = \"m\", b = \"f\" }}]\n[switch]\nidle = \"spin\"",
        path("in.pcap")
    );
    let mut switch = Switch::start(config(&record)).unwrap();
    let end = switch.memory_end("m").unwrap();
    (0..500).for_each(|_| end.send(frame(1, 2)).unwrap());
    tick_until(&mut switch, "the capture", |switch, _| switch.drops().ledger.sent == 500);
    switch.stop(Duration::from_secs(10)).unwrap();

    let replay = format!(
        "port = [{{ name = \"in\", pcap = \"{}\", worker = 0 }}, {{ name = \"out\", worker = 1, pcap = {{ output = \"{}\" }} }}]\n\
         xconnect = [{{ a = \"in\", b = \"out\" }}]\n[switch]\nworkers = 2\nidle = \"spin\"",
        path("in.pcap"),
        path("out.pcap")
    );
    for _ in 0..5 {
        let mut switch = Switch::start(config(&replay)).unwrap();
        tick_until(&mut switch, "the replay", |switch, _| switch.drops().ledger.received == 500);
        balances(&mut switch);
        assert_eq!(switch.drops().drops, []);
        switch.stop(Duration::from_secs(10)).unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_worker_that_panics_starts_again_and_the_tables_survive() {
    let mut switch = switch(1, 2, "spin");
    let [p0, p1] = ["p0", "p1"].map(|port| switch.memory_end(port).unwrap());
    p0.send(frame(1, 0)).unwrap();
    tick_until(&mut switch, "a flood", |_, _| p1.receive().is_some());
    assert_eq!(switch.fdb().len(), 1);

    // One more queue of p1, which panics once.
    let armed = Arc::new(AtomicBool::new(true));
    let schedule = move || armed.swap(false, Ordering::Relaxed).then_some(Fault::Panic);
    let (memory, _far) = Memory::new(1, Capabilities::default());
    let incarnation = switch.crew.members[0].ready.as_ref().unwrap().incarnation;
    let queue = Box::new(Faulty::new(memory, schedule));
    switch.crew.members[0].ask(Command::Open { device: DeviceId(1), queue, incarnation });
    tick_until(&mut switch, "the restart", |switch, news| {
        let restarted =
            switch.crew.members[0].ready.as_ref().is_some_and(|ready| ready.incarnation == incarnation + 1);
        restarted && news.iter().any(|line| line.starts_with("worker 0 panicked and starts again: "))
    });

    assert_eq!(switch.workers()[0].panics, 1);
    assert_eq!(switch.fdb().len(), 1, "the table survived");
    carried(&mut switch, &p1, frame(2, 1), &p0);
    carried(&mut switch, &p0, frame(1, 2), &p1);
    balances(&mut switch);
    switch.stop(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_table_full_of_fixed_entries_refuses_the_next_one_by_name() {
    let mut switch = switch(1, 1, "adaptive");
    let entry = |number: u32| {
        let [a, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes(); // odd: no two alike
        let mac = format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        FdbChange { mac, ifname: "p0".into(), state: FdbStateWord::Static, ..FdbChange::default() }
    };
    let refused = (0..=u32::from(u16::MAX)).find_map(|number| switch.change_fdb(&entry(number)).err());
    let text = refused.expect("a table is finite").to_string();
    assert!(text.starts_with("no room for 02:00:"), "{text}");
    let entries = switch.fdb().len();
    assert!(entries >= 1024, "there is room for what was asked for: {entries}");
    let all = FdbFlush { dev: "br0".into(), ..FdbFlush::default() };
    assert_eq!(switch.flush_fdb(&all).unwrap(), entries as u64);
    assert!(switch.fdb().is_empty());
}

#[test]
fn a_station_that_is_taken_away_is_learned_again_however_often() {
    let text = r#"
        port = [{ name = "p0", memory = true }, { name = "p1", memory = true }]
        bridge = [{ name = "br0", port = [{ device = "p0" }, { device = "p1" }] }]
        [switch]
        mac_table = 1024
        idle = "spin"
    "#;
    let mut switch = Switch::start(Config::parse(text, "rig.toml").unwrap()).unwrap();
    let [p0, p1] = ["p0", "p1"].map(|port| switch.memory_end(port).unwrap());
    for _ in 0..32 {
        carried(&mut switch, &p0, frame(1, 0), &p1);
        let learned = switch.fdb().pop().expect("a station");
        let removal = FdbRemoval { mac: learned.mac, ifname: "p0".into(), ..FdbRemoval::default() };
        switch.remove_fdb(&removal).unwrap();
        assert!(switch.fdb().is_empty());
    }
    assert_eq!(switch.workers()[0].table_full, 0);
    switch.stop(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_bridge_learns_as_many_as_it_may_and_says_how_many_it_has() {
    let text = r#"
        port = [{ name = "p0", memory = true }, { name = "p1", memory = true }]
        [switch]
        mac_table = 1024
        workers = 2
        idle = "spin"
        [[bridge]]
        name = "br0"
        fdb_max_learned = 3
        port = [{ device = "p0" }, { device = "p1" }]
    "#;
    let mut switch = Switch::start(Config::parse(text, "rig.toml").unwrap()).unwrap();
    let [p0, p1] = ["p0", "p1"].map(|port| switch.memory_end(port).unwrap());
    let entry = FdbChange {
        mac: "02:00:00:00:01:01".into(),
        ifname: "p0".into(),
        state: FdbStateWord::Dynamic,
        ..FdbChange::default()
    };
    switch.change_fdb(&entry).unwrap(); // put there, and so not learned
    for from in (1..=10).step_by(2) {
        p0.send(frame(from, 0)).unwrap();
        p1.send(frame(from + 1, 0)).unwrap();
    }
    tick_until(&mut switch, "ten frames", |switch, _| switch.drops().ledger.sent == 10);
    assert_eq!(switch.fdb_n_learned(), [("br0", 3)]);
    assert_eq!(switch.fdb().len(), 3 + 1);
    assert_eq!(switch.workers().iter().map(|worker| worker.limited).sum::<u64>(), 7);
    let all = FdbFlush { dev: "br0".into(), ..FdbFlush::default() };
    assert_eq!(switch.flush_fdb(&all).unwrap(), 4);
    assert_eq!(switch.fdb_n_learned(), [("br0", 0)]);
    carried(&mut switch, &p0, frame(11, 0), &p1); // what station 7 said may be waiting there yet
    assert_eq!(switch.fdb_n_learned(), [("br0", 1)]);
    balances(&mut switch);
    switch.stop(Duration::from_secs(10)).unwrap();
}

#[test]
fn by_hand_a_switch_does_nothing_until_it_is_turned_and_ages_by_the_time_it_is_told() {
    const SECOND: u64 = 1_000_000_000;
    let text = r#"
        port = [{ name = "p0", memory = true, worker = 1 }, { name = "p1", memory = true }]
        [switch]
        mac_table = 1024
        workers = 2
        [[bridge]]
        name = "br0"
        ageing_time = "10s"
        port = [{ device = "p0" }, { device = "p1" }]
        fdb = [{ mac = "02:00:00:00:00:09", device = "p1" }]
    "#;
    let config = Config::parse(text, "rig.toml").unwrap();
    let start = 1_700_000_000 * SECOND;
    Switch::by_hand(config, Now { unix_ns: start }, |hand| {
        let [p0, p1] = ["p0", "p1"].map(|port| hand.switch().memory_end(port).unwrap());
        p0.send(frame(1, 0)).unwrap();
        assert!(p1.receive().is_none());
        assert_eq!((hand.step(), hand.step()), (1, 0));
        assert!(p1.receive().is_some());
        let mut stations_at = |tenth: u64| {
            hand.set_time(Now { unix_ns: start + tenth * SECOND / 10 });
            hand.tick();
            hand.switch().fdb().len()
        };
        assert!((1..100).all(|tenth| stations_at(tenth) == 2));
        (100..120).map(&mut stations_at).count();
        assert_eq!(stations_at(120), 1, "what is in the file does not age");
        assert!(hand.switch().drops().ledger.balanced);
    })
    .unwrap();
}
