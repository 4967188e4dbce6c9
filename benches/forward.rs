//! What the bridge costs with no I/O: one worker, two generator ports, 64-byte frames, learning on, at 64, 64 K and 1 M
//! stations; beside it, when DPDK is installed, testpmd's macswap on the null driver in the same interleaved run.
//!
//! `cargo bench -p rigswitch-dataplane --bench forward`, optionally `-- --rounds 5 --seconds 1 --macs 64,65536,1048576`.
//! `--vlans 1,4094` puts an access port and a trunk in place of the two, with so many VLANs, and measures the plain bridge on the
//! very frames beside it; `--vlans 4094 --only vlan` or `plain` measures one of the two.
//! `--ipvlan 1,1000,60000` measures sorting out to that many children of a device instead, and what one of them sends.
//! `--macvlan 64,65533` measures instead what sorting out to so many macvlans costs, `--sources 65536` to those that hear so many
//! stations; all of them go on by one port.
//! `--routes 64,1000000` measures instead a router with so many routes of IPv4, `--routes-ipv6 64,200000` of IPv6, destinations at random,
//! and beside it the plain bridge with as many stations; `--only routed` or `plain` one of the two.
//! `--watch capture`, `follow` or `elsewhere` arms the worker, and reads what it shows.
//! For instructions a frame: `-- --frames 2000000 --macs 64` under `valgrind --tool=callgrind`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::cast_possible_truncation,
    clippy::unwrap_used
)] // a bench reads the clock and prints

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{self, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rigswitch_dataplane::frames::PoolConfig;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::{Generator, PortQueue};
use rigswitch_dataplane::watch::{
    CaptureReader, FollowReader, Scope, Stages, Watch, WatchId, capture, follow,
};
use rigswitch_dataplane::worker::{Command, Links, Worker};
use support::ipvlan::{self, Packets};
use support::routes::{self, Random, Sample};
use support::{Rig, access_and_trunks, learn_in_vlans, one_bridge, worker};

struct Options {
    rounds: usize,
    seconds: f64,
    frames: Option<u64>,
    macs: Vec<usize>,
    peers: bool,
    watch: Option<String>,
    vlans: Vec<u16>,
    only: Option<String>,
    ipvlans: Vec<u16>,
    family: Option<Family>,
    routes: Vec<usize>,
    routes_ipv6: Vec<usize>,
}

/// Macvlans in place of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    /// So many, each with an address that frames come for.
    Children,
    /// One that hears so many stations.
    Sources,
}

fn options() -> Options {
    let mut options = Options {
        rounds: 5,
        seconds: 1.0,
        frames: None,
        macs: vec![64, 65_536, 1 << 20],
        peers: true,
        watch: None,
        vlans: Vec::new(),
        only: None,
        ipvlans: Vec::new(),
        family: None,
        routes: Vec::new(),
        routes_ipv6: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--rounds" => options.rounds = value().parse().expect("a number of rounds"),
            "--seconds" => options.seconds = value().parse().expect("seconds"),
            "--frames" => options.frames = Some(value().parse().expect("a number of frames")),
            "--macs" => {
                options.macs = value().split(',').map(|n| n.parse().expect("a number of MACs")).collect()
            }
            "--ipvlan" => {
                options.ipvlans =
                    value().split(',').map(|n| n.parse().expect("a number of children")).collect();
            }
            "--macvlan" | "--sources" => {
                options.family = Some(if word == "--macvlan" { Family::Children } else { Family::Sources });
                options.macs = value().split(',').map(|n| n.parse().expect("a number of them")).collect();
                options.peers = false;
            }
            "--routes" | "--routes-ipv6" => {
                let counts = value().split(',').map(|n| n.parse().expect("a number of routes")).collect();
                *(if word == "--routes" { &mut options.routes } else { &mut options.routes_ipv6 }) = counts;
            }
            "--watch" => options.watch = Some(value()),
            "--vlans" => {
                options.vlans = value().split(',').map(|n| n.parse().expect("a number of VLANs")).collect()
            }
            "--only" => options.only = Some(value()),
            "--no-peers" => options.peers = false,
            "--bench" => {} // cargo says so
            other => panic!("{other}: not an option of this bench"),
        }
    }
    options
}

/// How long to forward.
enum Until {
    Elapsed(f64),
    Frames(u64),
}

/// Whoever reads what a watched worker shows.
enum Reader {
    Nobody,
    Capture(CaptureReader, Vec<u8>),
    Follow(FollowReader),
}

impl Reader {
    /// Arms worker 0: `capture` copies every frame at rx and tx, `follow` tells every step, `elsewhere` looks at another device.
    fn arm(rig: &Rig, watch: &str) -> Self {
        let (scope, watch, reader) = match watch {
            "follow" => {
                let (steps, reader) = follow(u32::MAX, 1 << 12);
                (Scope::all(), Watch::Follow(steps), Self::Follow(reader))
            }
            _ => {
                let stages = Stages { rx: true, tx: true, drop: true };
                let (copies, reader) = capture(stages, 128, 1 << 20, 2, Arc::clone(&rig.bells[0]));
                let scope = if watch == "elsewhere" { Scope::devices([DeviceId(9)]) } else { Scope::all() };
                (scope, Watch::Capture(copies), Self::Capture(reader, Vec::new()))
            }
        };
        rig.commands[0].send(Command::Observe(WatchId(1), scope, watch)).unwrap();
        reader
    }

    fn read(&mut self) {
        match self {
            Self::Nobody => {}
            Self::Capture(reader, bytes) => while reader.receive(bytes).is_some() {},
            Self::Follow(reader) => while reader.receive().is_some() {},
        }
    }
}

/// Nanoseconds a frame through the bridge, with `macs` stations in all.
fn ours(macs: usize, until: &Until, watch: Option<&str>) -> f64 {
    let (rig, links) = Rig::new(1, one_bridge(2, 1), PoolConfig::singles(1024), macs.max(1024));
    let generator = |here, there| Generator::new(64, here, there, macs as u64 / 2, 64);
    forward(rig, links, [generator(0, 1), generator(1, 0)], macs, until, watch)
}

/// The same between an access port and a trunk, with `vlans` VLANs; or in the plain bridge.
fn tagging(macs: usize, vlans: u16, filters: bool, until: &Until) -> f64 {
    let memory = PoolConfig::singles(1024);
    let tables = if filters { access_and_trunks(2, vlans) } else { one_bridge(2, 1) };
    let (mut rig, links) = Rig::new(1, tables, memory, (2 * macs).max(1024));
    let (of_port, count) = (macs as u64 / 2, u64::from(vlans));
    if filters {
        learn_in_vlans(&mut rig, of_port, count);
    }
    let generator = |here, there| Generator::new(64, here, there, of_port, 64).with_vlans(count, here == 1);
    forward(rig, links, [generator(0, 1), generator(1, 0)], macs, until, None)
}

/// Nanoseconds a packet from each of two devices to hosts behind the other, by `count` routes.
fn routed<A: Sample>(count: usize, until: &Until) -> f64 {
    let mut random = Random(7);
    let routes = routes::routes::<A>(count, &mut random);
    let (rig, links) = Rig::new(1, routes::router_of(&routes), PoolConfig::singles(1024), 1024);
    let generators = [0, 1].map(|here| routes::Packets::new(here, &routes, &mut random));
    drop(routes);
    forward(rig, links, generators, count, until, None)
}

/// Nanoseconds a frame from each of two generators to the other.
fn forward<P: PortQueue + Send + 'static>(
    rig: Rig,
    mut links: Vec<Links>,
    generators: [P; 2],
    macs: usize,
    until: &Until,
    watch: Option<&str>,
) -> f64 {
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    for (id, generator) in (0..).zip(generators) {
        rig.open(0, DeviceId(id), Box::new(generator));
    }
    let mut reader = watch.map_or(Reader::Nobody, |watch| Reader::arm(&rig, watch));
    let warm_up = if matches!(until, Until::Frames(_)) { 0 } else { 16 * macs as u64 }; // learn them all first
    turns(&mut worker, &mut reader, &Until::Frames(warm_up));
    let ns = turns(&mut worker, &mut reader, until);
    let ledger = rig.ledger();
    assert_eq!((ledger.imbalance(), ledger.frames_dropped, ledger.copies_dropped), ((0, 0), 0, 0));
    ns
}

/// Nanoseconds a frame to `count` ipvlans of a device, whose far ends are one port; or from one of them to the outside.
fn ipvlans(count: u16, inward: bool, until: &Until) -> f64 {
    let (rig, mut links) = Rig::new(1, ipvlan::many(count), PoolConfig::singles(1024), 1024);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let packets = if inward { Packets::inward(count) } else { Packets::outward() };
    let quiet = Packets::outward().mute();
    let ports = if inward { [packets, quiet] } else { [quiet, packets] };
    for (id, port) in (0..).zip(ports) {
        rig.open(0, DeviceId(id), Box::new(port));
    }
    let ns = turns(&mut worker, &mut Reader::Nobody, until);
    let ledger = rig.ledger();
    assert_eq!((ledger.imbalance(), ledger.frames_dropped, ledger.copies_dropped), ((0, 0), 0, 0));
    ns
}

/// Turns a worker until it has forwarded for so long; nanoseconds a frame.
fn turns(worker: &mut Worker<'_, ()>, reader: &mut Reader, until: &Until) -> f64 {
    let (start, mut frames) = (Instant::now(), 0);
    while match until {
        Until::Elapsed(seconds) => start.elapsed().as_secs_f64() < *seconds,
        Until::Frames(count) => frames < *count,
    } {
        for _ in 0..64 {
            frames += worker.turn() as u64;
            reader.read();
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / frames as f64
}

/// Nanoseconds a frame from device 0 to macvlans of it, from device 2 on, which go on by device 1.
fn macvlans(family: Family, count: usize, until: &Until) -> f64 {
    let (rig, mut links) =
        Rig::new(1, support::macvlans(family == Family::Sources, count), PoolConfig::singles(1024), 1024);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let stations = count.next_power_of_two() as u64;
    rig.open(0, DeviceId(0), Box::new(Generator::new(64, 0, 1, stations, 64)));
    rig.open(0, DeviceId(1), Box::new(Generator::new(64, 1, 0, 1, 0)));
    let mut turns = |until: &Until| {
        let (start, mut frames) = (Instant::now(), 0);
        while match until {
            Until::Elapsed(seconds) => start.elapsed().as_secs_f64() < *seconds,
            Until::Frames(count) => frames < *count,
        } {
            for _ in 0..64 {
                frames += worker.turn() as u64;
            }
        }
        start.elapsed().as_secs_f64() * 1e9 / frames as f64
    };
    turns(&Until::Frames(if matches!(until, Until::Frames(_)) { 0 } else { 4 * count as u64 }));
    let ns = turns(until);
    assert_eq!(rig.ledger().imbalance(), (0, 0));
    assert!(rig.counters[0].surfaced.value() > 0);
    ns
}

/// Nanoseconds a frame through `testpmd --forward-mode=macswap` on the null driver; `None` without testpmd.
fn testpmd(seconds: f64) -> Option<f64> {
    let mut child = process::Command::new("dpdk-testpmd")
        .args([
            "-l",
            "0,1",
            "--main-lcore",
            "1",
            "--no-huge",
            "-m",
            "512",
            "--no-pci",
            "--file-prefix",
            "rigbench",
        ])
        .args(["--vdev", "net_null0,size=60,copy=0", "--vdev", "net_null1,size=60,copy=0", "--"])
        .args(["--forward-mode=macswap", "--nb-cores=1", "--total-num-mbufs=32768", "--auto-start", "-i"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let mut say = |line: &str, wait: f64| {
        let _ = writeln!(stdin, "{line}");
        std::thread::sleep(Duration::from_secs_f64(wait));
    };
    say("", 2.0);
    say("show port stats all", seconds);
    say("show port stats all", 0.2);
    say("quit", 0.0);
    drop(stdin);
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rates: Vec<f64> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Tx-pps:")?.split_whitespace().next()?.parse().ok())
        .collect();
    let [.., a, b] = rates[..] else { return None };
    Some(1e9 / (a + b))
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn report(name: &str, samples: &mut [f64], reference: Option<f64>) -> f64 {
    let middle = median(samples);
    let (low, high) = (samples[0], samples[samples.len() - 1]);
    let ratio = reference
        .map_or(String::new(), |reference| format!("   {:.2} x testpmd macswap", reference / middle));
    println!("{name:<28} {middle:>7.1} ns ({low:.1}..{high:.1})   {:>6.2} Mpps{ratio}", 1e3 / middle);
    middle
}

/// Measures `plain`, a bridge, and what is `named`, and says how much more that costs.
fn beside(
    options: &Options,
    rounds: usize,
    only: &str,
    (plain_name, plain): (&str, impl Fn() -> f64),
    (name, other): (&str, impl Fn() -> f64),
) {
    let wants = |name| options.only.as_deref().is_none_or(|only| only == name);
    let (mut plains, mut others) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        plains.extend(wants("plain").then(&plain));
        others.extend(wants(only).then(&other));
    }
    let reference = (!plains.is_empty()).then(|| report(plain_name, &mut plains, None));
    if !others.is_empty() {
        let middle = report(name, &mut others, None);
        if let Some(plain) = reference {
            println!(
                "{:>36.2} x the plain bridge, {:.2} x of the least",
                middle / plain,
                others[0] / plains[0]
            );
        }
    }
}

/// Access to trunk and back, beside the plain bridge.
fn compare_tagging(options: &Options, until: &Until, rounds: usize) {
    println!(
        "64-byte frames between an access port and a trunk; median (min..max) of {rounds} interleaved rounds"
    );
    for &vlans in &options.vlans {
        for &macs in &options.macs {
            let plain = (&*format!("plain bridge, {macs} MACs"), || tagging(macs, vlans, false, until));
            let vlan = (&*format!("{vlans} VLANs, {macs} MACs"), || tagging(macs, vlans, true, until));
            beside(options, rounds, "vlan", plain, vlan);
        }
    }
}

/// A router between two devices, beside the plain bridge with as many stations.
fn compare_routing(options: &Options, until: &Until, rounds: usize) {
    println!("64-byte frames, one worker; median (min..max) of {rounds} interleaved rounds");
    let counts = |counts: &[usize], routed: fn(usize, &Until) -> f64, version| {
        for &count in counts {
            let macs = count.next_power_of_two();
            let plain = (&*format!("plain bridge, {macs} MACs"), || ours(macs, until, None));
            let routed = (&*format!("{count} routes of {version}"), || routed(count, until));
            beside(options, rounds, "routed", plain, routed);
        }
    };
    counts(&options.routes, routed::<Ipv4Addr>, "IPv4");
    counts(&options.routes_ipv6, routed::<Ipv6Addr>, "IPv6");
}

fn main() {
    let options = options();
    let until = options.frames.map_or(Until::Elapsed(options.seconds), Until::Frames);
    let rounds = if options.frames.is_some() { 1 } else { options.rounds };
    if !options.vlans.is_empty() {
        return compare_tagging(&options, &until, rounds);
    }
    if !options.routes.is_empty() || !options.routes_ipv6.is_empty() {
        return compare_routing(&options, &until, rounds);
    }
    if !options.ipvlans.is_empty() {
        println!("60-byte frames, one worker; median (min..max) of {rounds} rounds");
        for (&count, inward) in options.ipvlans.iter().flat_map(|count| [(count, true), (count, false)]) {
            let mut samples: Vec<_> = (0..rounds).map(|_| ipvlans(count, inward, &until)).collect();
            let way = if inward { "to" } else { "from one of" };
            report(&format!("{way} {count} ipvlans"), &mut samples, None);
        }
        return;
    }
    let mut samples = vec![Vec::new(); options.macs.len()];
    let mut peer = Vec::new();
    for _ in 0..rounds {
        for (samples, &macs) in samples.iter_mut().zip(&options.macs) {
            samples.push(match options.family {
                None => ours(macs, &until, options.watch.as_deref()),
                Some(family) => macvlans(family, macs, &until),
            });
        }
        if options.peers && options.frames.is_none() {
            peer.extend(testpmd(options.seconds));
        }
    }
    println!("64-byte frames, one worker, learning; median (min..max) of {rounds} interleaved rounds");
    let reference = (!peer.is_empty()).then(|| report("testpmd macswap, null PMD", &mut peer, None));
    for (samples, macs) in samples.iter_mut().zip(&options.macs) {
        let what = options.family.map_or("MACs".into(), |family| format!("{family:?}").to_lowercase());
        report(&format!("rigswitch, {macs} {what}"), samples, reference);
    }
}
