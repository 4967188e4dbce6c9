//! The same frames through our bridge and through the kernel's, on devices alike: the same output, byte for byte.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

#[path = "kernel/cases.rs"]
mod cases;
mod command;
#[path = "kernel/host.rs"]
mod host;
#[path = "kernel/knobs.rs"]
mod knobs;
#[path = "kernel/neighbors.rs"]
mod neighbors;
mod rig;
#[path = "kernel/setup.rs"]
mod setup;
#[path = "kernel/snooping.rs"]
mod snooping;

use std::cell::Cell;

use command::{Running, http, wait_for};
use rig::{NIC, Plug, Random, Rig, Wire, frame, has, run_in, tagged};
use rigswitch::views::{DropsView, PortView};
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::sys::cpu;
use setup::{config, kernels_bridge};

/// Hosts on each bridge.
const HOSTS: usize = 3;
/// The host that both run on: what it sends and hears is what crosses br0.
const HOST: usize = HOSTS;
/// What goes in at port 0 may be longer than what fits the others.
const MTUS: [u16; HOSTS] = [4000, 1500, 1500];
/// An EtherType for local experiments (IEEE 802-2014 §9.2.3).
const EXPERIMENT: u16 = 0x88b5;
const BROADCAST: [u8; 6] = [0xff; 6];

/// What is set on a bridge and on its ports, in ip-link(8)'s words: ours are made of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Knobs {
    bridge: &'static str,
    ports: [&'static str; HOSTS],
}

/// One of the two bridges, and the wires of its hosts.
struct Side {
    far: Vec<Wire>,
    near: Vec<Wire>,
    host: Option<Wire>,        // br0, of the bridge that there is
    dark: Cell<Option<usize>>, // the host whose wire carries nothing
    kind: Kind,
    rig: Rig,
}

enum Kind {
    /// And how many frames it was sent.
    Ours(Option<Running>, Cell<u64>),
    Kernels,
}

/// What came out at every host, and at br0.
type Outputs = [Vec<Vec<u8>>; HOSTS + 1];

/// One thing that is done to both.
#[derive(Clone, Debug)]
enum Step {
    /// Host `n` sends this.
    Send(usize, Vec<u8>),
    /// The forwarding database is told this, in bridge(8)'s words.
    Fdb(String),
    /// The bridge is told this of its neighbours, in ip-neighbour(8)'s words.
    Neighbor(String),
    /// So is the multicast database. It must be all right to one as to the other.
    Mdb(String),
}

impl Side {
    fn new(test: &str, kind: Kind) -> Option<Self> {
        let rig = Rig::with_mtus(test, &[Plug::Veth; HOSTS], &MTUS)?.quiet();
        (0..HOSTS)
            .for_each(|n| rig.center.set_mac(&format!("p{n}"), MacAddr::new(host::of_port(n))).unwrap());
        let far = (0..HOSTS).map(|n| rig.wire(n)).collect();
        let near = (0..HOSTS).map(|n| Wire::new(&rig.center, &format!("p{n}"))).collect();
        Some(Self { far, near, host: None, dark: Cell::new(None), kind, rig })
    }

    /// A new bridge with these knobs over all ports, in the place of any there was.
    fn bridge(&mut self, knobs: Knobs) {
        self.host = None;
        match &mut self.kind {
            Kind::Ours(running, sent) => {
                drop(running.take());
                // Nothing overtakes on one CPU: a veth hands frames to its far end on the sender's.
                let worker = format!("[{}]", cpu::allowed()[0]);
                *running = Some(self.rig.start(&worker, &config(knobs, &self.rig)));
                sent.set(0);
                wait_for("the host's port to have a carrier", || {
                    let shown = self.rig.folder.ask("show ports -j");
                    let ports: Vec<PortView> = serde_json::from_str(&shown).unwrap();
                    ports.into_iter().find(|port| port.ifname == "br0" && port.operstate == "UP")
                });
            }
            Kind::Kernels => kernels_bridge(&self.rig, knobs),
        }
        self.host = Some(Wire::new(&self.rig.center, "br0"));
    }

    /// Where host `n` sends and hears, br0 for the last.
    fn wire(&self, n: usize) -> &Wire {
        self.far.get(n).or(self.host.as_ref()).unwrap()
    }

    /// Does it, and answers what came of it.
    fn step(&self, step: &Step) -> Outputs {
        match (step, &self.kind) {
            (Step::Send(from, frame), kind) => {
                self.wire(*from).send(frame);
                if let Kind::Ours(_, sent) = kind {
                    sent.set(sent.get() + 1);
                }
            }
            (Step::Fdb(words), Kind::Ours(..)) => {
                drop(self.rig.folder.ask(&format!("fdb {}", words.replace(" self", ""))));
            }
            (Step::Fdb(words), Kind::Kernels) => {
                drop(run_in(&self.rig.center, &format!("bridge fdb {words}")))
            }
            (Step::Neighbor(words), Kind::Ours(..)) => {
                drop(self.rig.folder.ask(&format!("neighbor {words}")));
            }
            (Step::Neighbor(words), Kind::Kernels) => {
                drop(run_in(&self.rig.center, &format!("ip neigh {words}")));
            }
            (Step::Mdb(words), _) => self.change_mdb(words),
        }
        self.outputs()
    }

    /// Everything that was on its way. A word straight onto each wire, waited for, comes behind what was sent before: when
    /// the first is there the kernel's bridge is done, and before the second comes all it has sent.
    fn outputs(&self) -> Outputs {
        if let Kind::Ours(_, sent) = &self.kind {
            wait_for("the switch to be done", || {
                let answer = http(&self.rig.folder.socket(), "GET /v1/drops HTTP/1.0\r\n\r\n");
                let view: DropsView = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).unwrap();
                let ledger = view.ledger;
                (ledger.balanced && ledger.held == 0 && ledger.received == sent.get()).then_some(())
            });
        }
        let mut outputs = Outputs::default();
        for round in 0..2 {
            for n in (0..HOSTS).filter(|n| self.dark.get() != Some(*n)) {
                let marker = frame(BROADCAST, [2, 0xfe, 0, 0, 0, round], EXPERIMENT, 60, 0);
                self.near[n].send(&marker);
                outputs[n].extend(self.far[n].receive_until(&marker));
            }
        }
        // What goes up is there when what goes out is.
        outputs[HOST].extend(std::iter::from_fn(|| self.wire(HOST).poll()));
        // What a bridge says of groups by itself it says when it likes.
        outputs.map(|out| out.into_iter().filter(|frame| !snooping::is_bridges_own(frame)).collect())
    }
}

/// Both, on one CPU and with a plain bridge each.
fn sides(test: &str, knobs: Knobs) -> Option<[Side; 2]> {
    cpu::pin(cpu::allowed()[0]).unwrap();
    let kernels = has(test, "bridge").then(|| Side::new(&format!("{test}-k"), Kind::Kernels))??;
    let ours = Side::new(&format!("{test}-o"), Kind::Ours(None, Cell::new(0)))?;
    let mut sides = [ours, kernels];
    sides.iter_mut().for_each(|side| side.bridge(knobs));
    Some(sides)
}

/// Does the steps to both, and compares what comes of each. Answers how many frames came out of the bridge.
fn compare(sides: &[Side; 2], what: &str, steps: &[Step]) -> usize {
    compare_all(sides, what, steps)[0]
}

/// The same, and how many went up to the host.
fn compare_all(sides: &[Side; 2], what: &str, steps: &[Step]) -> [usize; 2] {
    let mut count = [0; 2];
    for (number, step) in steps.iter().enumerate() {
        let [ours, mut kernels] = [0, 1].map(|side| sides[side].step(step));
        kernels[HOST].iter_mut().for_each(|frame| host::readdress(frame));
        let lengths =
            |outputs: &Outputs| outputs.each_ref().map(|out| out.iter().map(Vec::len).collect::<Vec<_>>());
        assert!(
            ours == kernels,
            "{what}, step {number}: {step:02x?}\nlengths out of ours: {:?}, of the kernel's: {:?}",
            lengths(&ours),
            lengths(&kernels),
        );
        count[0] += ours[..HOSTS].iter().map(Vec::len).sum::<usize>();
        count[1] += ours[HOST].len();
    }
    count
}

/// Station `n` of case `case`, which no other case knows.
fn station(case: u8, n: u8) -> [u8; 6] {
    [2, 0, 0, 0, case, n]
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// Frames of a usual length.
fn usual(from: usize, destination: [u8; 6], source: [u8; 6]) -> Step {
    Step::Send(from, frame(destination, source, EXPERIMENT, 100, from as u64))
}

#[test]
fn every_case_comes_out_as_from_the_kernels_bridge() {
    let Some(sides) = sides("kernel-cases", Knobs::default()) else { return };
    for (name, steps, expected) in cases::cases() {
        assert_eq!(compare(&sides, name, &steps), expected, "{name}: frames out");
    }
    sides[0].rig.settled();
}

#[test]
fn every_knob_does_what_the_kernels_does() {
    let Some(mut sides) = sides("kernel-knobs", Knobs::default()) else { return };
    let mut set = Knobs::default();
    for (name, knobs, steps, expected) in knobs::cases() {
        if knobs != std::mem::replace(&mut set, knobs) {
            sides.iter_mut().for_each(|side| side.bridge(knobs));
        }
        assert_eq!(compare(&sides, name, &steps), expected, "{name}: frames out");
    }
}

#[test]
fn random_frames_come_out_as_from_the_kernels_bridge() {
    const SEED: u64 = 0x5eed_0001;
    let Some(sides) = sides("kernel-random", Knobs::default()) else { return };
    let mut random = Random(SEED);
    let steps: Vec<_> = (0..600).map(|number| random_step(&mut random, number)).collect();
    let out = compare(&sides, &format!("seed {SEED:#x}"), &steps);
    assert!(out > 400, "{out} frames came out");
    sides[0].rig.settled();
}

fn random_step(random: &mut Random, number: u64) -> Step {
    let stations: Vec<_> = (0..5).map(|n| station(0, n)).collect();
    let port = random.below(HOSTS);
    if random.below(25) == 0 {
        let mac = text(*random.pick(&stations));
        let state = random.pick(&["static", "dynamic", "permanent"]);
        return Step::Fdb(match random.below(6) {
            0 => "flush dev br0 nopermanent nostatic".into(),
            1 => "flush dev br0".into(),
            _ => format!("replace {mac} dev p{port} master {state}"),
        });
    }
    let rare = [
        [0; 6],
        BROADCAST,
        [1, 0x80, 0xc2, 0, 0, u8::try_from(random.below(17)).unwrap()],
        [1, 0, 0x5e, 0, 0, 7],
        [0x33, 0x33, 0, 0, 0, 9],
        station(0, 9),
    ];
    let [destination, source] = [4, 12].map(|one_in| {
        let is_rare = random.below(one_in) == 0;
        *random.pick(if is_rare { &rare[..] } else { &stations })
    });
    let ethertype = *random.pick(&[0x0800, 0x86dd, 0x0806, EXPERIMENT, 0x8808, 46]);
    let length = *random.pick(&[14, 15, 33, 60, 61, 100, 590, 1500, 1514]);
    let mut bytes = frame(destination, source, ethertype, length, number);
    // A tag that is cut off never reaches the kernel's bridge, nor, from ours, the far host.
    if random.below(4) == 0 && (18..=1510).contains(&length) {
        bytes = tagged(&bytes, *random.pick(&[[0x81, 0, 0, 1], [0x81, 0, 0x2f, 0xff], [0x88, 0xa8, 0, 7]]));
    }
    Step::Send(port, bytes)
}

#[test]
fn stations_are_forgotten_as_by_the_kernels_bridge() {
    for (test, bridge) in [("kernel-ageing", "ageing_time 100"), ("kernel-ageless", "ageing_time 0")] {
        let Some(sides) = sides(test, Knobs { bridge, ..Knobs::default() }) else { return };
        for side in &sides {
            let [a, b, _] = [1, 2, 3].map(|n| station(0, n));
            let probe = || side.step(&usual(0, b, a)).map(|out| out.len());
            if bridge != "ageing_time 0" {
                wait_for("a machine quick enough to find the station known", || {
                    side.step(&usual(1, a, b));
                    (probe() == [0, 1, 0, 0]).then_some(())
                });
            }
            side.step(&usual(1, a, b));
            wait_for("the station to be forgotten", || (probe() == [0, 1, 1, 0]).then_some(()));
        }
    }
}

#[test]
fn a_member_without_carrier_is_left_out_as_by_the_kernels_bridge() {
    let Some(sides) = sides("kernel-carrier", Knobs::default()) else { return };
    for side in &sides {
        let [a, _, c] = [1, 2, 3].map(|n| station(0, n));
        let probe = || side.step(&usual(0, c, a)).map(|out| out.len());
        side.step(&usual(2, BROADCAST, c));
        assert_eq!(probe(), [0, 0, 1, 0]);
        let end = side.rig.hosts[2].netdev(NIC).unwrap();
        side.dark.set(Some(2));
        end.set_up(false).unwrap();
        wait_for("who was behind it to be forgotten", || (probe() == [0, 1, 0, 0]).then_some(()));
        end.set_up(true).unwrap();
        // The kernel says late that there is carrier, and drops until then what is sent.
        let word = frame(BROADCAST, [2, 0xfe, 0, 0, 0, 9], EXPERIMENT, 60, 0);
        wait_for("its carrier", || {
            side.near[2].try_send(&word);
            side.far[2].poll().filter(|heard| *heard == word)
        });
        side.dark.set(None);
        wait_for("it to be let in again", || (probe() == [0, 1, 1, 0]).then_some(()));
    }
}
