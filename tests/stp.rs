//! Rings of bridges with a spanning tree: two of the kernel's and ours between them, and the kernel's in its place. Both
//! come to the same tree, whatever is set and whatever breaks.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::time::Duration;

use command::{Running, wait_for, wait_within};
use rig::{NIC, Plug, Rig, Wire, frame, has, run_in};
use rigswitch::lab::Host;
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::sys::poll::PollSet;
use rigswitch_dataplane::wire::bpdu::{self, Bpdu};
use serde_json::Value;

/// How long a tree may take: some seconds for what was heard to be too old, and some to listen and to learn.
const PATIENCE: Duration = Duration::from_secs(90);

/// The shortest times there can be.
const KERNELS: &str = "type bridge stp_state 1 hello_time 100 max_age 600 forward_delay 200 mcast_snooping 0";
const OURS: &str = "stp_state = true\nhello_time = \"1s\"\nmax_age = \"6s\"\nforward_delay = \"2s\"\n";

/// The three bridges: in the middle the one that is compared, around it two of the kernel's, `h0`'s and `h1`'s. Each of
/// those has a wire to the other and one to the middle, which has a host as well, behind its port 2.
struct Ring {
    rig: Rig,
    switch: Option<Running>,
}

/// What is set on the bridges.
#[derive(Clone, Copy)]
struct Setup {
    /// The middle's, `h0`'s and `h1`'s.
    priorities: [u16; 3],
    /// What is set on port 0 of the middle, and to what: bridge(8)'s words and the file's.
    port: Option<(&'static str, &'static str)>,
}

/// The ports of a bridge by name, and their states.
type States = Vec<(String, String)>;

/// What a bridge says of the tree: the root, the cost of the way there, and the ports with their states.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    root: String,
    cost: u64,
    changes: bool,
    ports: States,
}

impl Ring {
    fn new(test: &str, is_ours: bool, setup: &Setup) -> Option<Self> {
        let side = if is_ours { "o" } else { "k" };
        let rig = Rig::new(&format!("{test}-{side}"), &[Plug::Veth; 3], 1500)?.quiet();
        let [h0, h1] = [&rig.hosts[0], &rig.hosts[1]];
        h0.add_veth("x0", "x1", h1.netns()).unwrap();
        for (place, (host, devices)) in
            (0u8..).zip([(&rig.center, &["p0", "p1", "p2"][..]), (h0, &[NIC, "x0"]), (h1, &[NIC, "x1"])])
        {
            for (number, device) in (1..).zip(devices) {
                host.set_mac(device, MacAddr::new([2, 0, 0, 0, place, number])).unwrap();
                host.set_up(device).unwrap();
            }
        }
        let [middle, ..] = setup.priorities;
        let mut ring = Self { rig, switch: None };
        if is_ours {
            let knobs = setup.port.map(|(key, value)| format!(", {key} = {value}")).unwrap_or_default();
            let ports =
                format!("[{{ device = \"p0\"{knobs} }}, {{ device = \"p1\" }}, {{ device = \"p2\" }}]");
            let bridge = format!("[[bridge]]\nname = \"br0\"\n{OURS}priority = {middle}\nport = {ports}\n");
            ring.switch = Some(ring.rig.start("1", &bridge));
        } else {
            add_bridge(&ring.rig.center, middle, &["p0", "p1", "p2"]);
            if let Some((key, value)) = setup.port {
                let value = value.replace("true", "on");
                run_in(&ring.rig.center, &format!("bridge link set dev p0 {key} {value}"));
            }
        }
        let [h0, h1] = [&ring.rig.hosts[0], &ring.rig.hosts[1]];
        add_bridge(h0, setup.priorities[1], &[NIC, "x0"]);
        add_bridge(h1, setup.priorities[2], &[NIC, "x1"]);
        Some(ring)
    }

    /// What the middle, `h0`'s and `h1`'s bridge say.
    fn seen(&self) -> [Seen; 3] {
        let middle =
            if self.switch.is_some() { self.seen_by_ours() } else { seen_by_kernels(&self.rig.center) };
        [middle, seen_by_kernels(&self.rig.hosts[0]), seen_by_kernels(&self.rig.hosts[1])]
    }

    fn seen_by_ours(&self) -> Seen {
        let bridges = json(&self.rig.folder.ask("show bridges -j"));
        let ports = json(&self.rig.folder.ask("show ports -j"));
        let bridge = &bridges[0];
        Seen {
            root: bridge["root_id"].as_str().unwrap().to_owned(),
            cost: bridge["root_path_cost"].as_u64().unwrap(),
            changes: bridge["topology_change"].as_bool().unwrap(),
            ports: states(&ports),
        }
    }

    /// Waits until it sees this, and answers all of it.
    fn wait(&self, what: &str, until: impl Fn(&[Seen; 3]) -> bool) -> [Seen; 3] {
        wait_within(PATIENCE, what, || {
            let seen = self.seen();
            if until(&seen) {
                return Some(seen);
            }
            PollSet::new().wait(Some(Duration::from_millis(100))).unwrap();
            None
        })
    }

    /// Whether the middle knows where this station is.
    fn knows(&self, station: &str) -> bool {
        let fdb = if self.switch.is_some() {
            self.rig.folder.ask("show fdb -j")
        } else {
            run_in(&self.rig.center, "bridge -j fdb show br br0")
        };
        json(&fdb).as_array().unwrap().iter().any(|entry| entry["mac"] == station)
    }

    fn set(&self, place: usize, device: &str, up: &str) {
        let host = if place == 0 { &self.rig.center } else { &self.rig.hosts[place - 1] };
        run_in(host, &format!("ip link set dev {device} {up}"));
    }

    /// The tree, when all is quiet: one port blocks, if the ring is whole, and the others that have a link forward.
    fn tree(&self, blocking: usize) -> [Seen; 3] {
        self.wait("a tree", |seen| {
            let states = || seen.iter().flat_map(|seen| &seen.ports).map(|(_, state)| state.as_str());
            let settled = states().all(|state| ["forwarding", "blocking", "disabled"].contains(&state));
            let roots = seen.iter().all(|one| one.root == seen[0].root);
            settled && roots && states().filter(|state| *state == "blocking").count() == blocking
        })
    }
}

/// A bridge of the kernel's over these devices.
fn add_bridge(host: &Host, priority: u16, devices: &[&str]) {
    run_in(host, &format!("ip link add br0 {KERNELS} priority {priority}"));
    devices.iter().for_each(|device| drop(run_in(host, &format!("ip link set dev {device} master br0"))));
    run_in(host, "ip link set dev br0 up");
}

fn seen_by_kernels(host: &Host) -> Seen {
    let bridges = json(&run_in(host, "ip -d -j link show dev br0"));
    let data = &bridges[0]["linkinfo"]["info_data"];
    // Some versions of ip(8) show a bridge its own identifier for the root's; those of its ports are right.
    let ports = json(&run_in(host, "ip -d -j link show master br0"));
    let root = &ports[0]["linkinfo"]["info_slave_data"]["root_id"];
    let (priority, address) = root.as_str().unwrap().split_once('.').unwrap();
    let octets: Vec<_> = address.split(':').map(|octet| format!("{octet:0>2}")).collect();
    Seen {
        root: format!("{priority:0>4}.{}", octets.join(":")),
        cost: data["root_path_cost"].as_u64().unwrap(),
        changes: data["topology_change"].as_u64().unwrap() == 1,
        ports: states(&json(&run_in(host, "bridge -j link"))),
    }
}

fn states(ports: &Value) -> States {
    let text = |port: &Value, key: &str| port[key].as_str().unwrap().to_owned();
    let ports = ports.as_array().unwrap().iter();
    let mut states: Vec<_> = ports.map(|port| (text(port, "ifname"), text(port, "state"))).collect();
    states.sort();
    states
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The part of what is seen that does not change by itself.
fn tree(seen: &[Seen; 3]) -> Vec<(&str, u64, &States)> {
    seen.iter().map(|seen| (seen.root.as_str(), seen.cost, &seen.ports)).collect()
}

/// Both rings, ours first.
fn rings(test: &str, setup: &Setup) -> Option<[Ring; 2]> {
    has(test, "bridge").then_some(())?;
    Some([Ring::new(test, true, setup)?, Ring::new(test, false, setup)?])
}

/// What comes of the same on both, one beside the other.
fn both<T: Send>(rings: &[Ring; 2], act: impl Fn(&Ring) -> T + Sync) -> [T; 2] {
    std::thread::scope(|scope| {
        rings.each_ref().map(|ring| scope.spawn(|| act(ring))).map(|run| run.join().unwrap())
    })
}

/// That every frame from the middle's host comes to the others once, and none back: whichever way there is, it is one.
fn check_ways(ring: &Ring) {
    const EXPERIMENT: u16 = 0x88b5;
    let far = ["h0", "h1"].map(|name| format!("leaf-{name}"));
    for (host, device) in ring.rig.hosts.iter().zip(&far) {
        run_in(host, &format!("ip link add link br0 name {device} type macvlan"));
        run_in(host, &format!("ip link set dev {device} up"));
    }
    let wires: Vec<_> =
        ring.rig.hosts.iter().zip(&far).map(|(host, device)| Wire::new(host, device)).collect();
    let host = ring.rig.wire(2);
    let frames: Vec<_> =
        (0..20).map(|seed| frame([0xff; 6], [2, 0, 0, 0, 9, 9], EXPERIMENT, 60, seed)).collect();
    frames.iter().for_each(|frame| host.send(frame));
    let is_ours = |frame: &Vec<u8>| frame[12..14] == EXPERIMENT.to_be_bytes();
    for wire in &wires {
        let mut got = wire.receive_until(&frames[19]);
        got.retain(is_ours);
        assert_eq!(got, frames[..19]);
    }
    let back = std::iter::from_fn(|| host.poll()).filter(is_ours);
    assert_eq!(back.count(), 0, "a frame came back");
}

#[test]
fn a_ring_of_the_kernels_bridges_and_ours_has_the_tree_of_the_kernels() {
    let cases: [(&str, Setup); 3] = [
        ("stp-root", Setup { priorities: [1, 2, 3], port: None }),
        ("stp-ends", Setup { priorities: [3, 1, 2], port: None }),
        ("stp-cost", Setup { priorities: [2, 1, 3], port: Some(("cost", "40")) }),
    ];
    std::thread::scope(|scope| {
        for (test, setup) in &cases {
            scope.spawn(move || {
                let Some(rings) = rings(test, setup) else { return };
                let [ours, kernels] = both(&rings, |ring| ring.tree(1));
                assert_eq!(tree(&ours), tree(&kernels), "{test}");
                check_ways(&rings[0]);
                let [ours, kernels] = both(&rings, |ring| {
                    ring.set(1, NIC, "down");
                    ring.tree(0)
                });
                assert_eq!(tree(&ours), tree(&kernels), "{test}, cut");
            });
        }
    });
}

#[test]
fn a_bpdu_takes_a_guarded_port_out_of_service_as_the_kernels() {
    let setup = Setup { priorities: [1, 2, 3], port: Some(("guard", "true")) };
    let Some(rings) = rings("stp-guard", &setup) else { return };
    let seen = both(&rings, |ring| {
        let mut said = [0; bpdu::LONGEST];
        let length = bpdu::emit(&mut said, MacAddr::new([2, 0, 0, 0, 9, 9]), &Bpdu::TopologyChange);
        ring.rig.wire(0).send(&said[..length]);
        // The others find their way around it.
        ring.wait("the guard", |seen| {
            let states = |place: usize| seen[place].ports.iter().map(|(_, state)| state.as_str());
            let around = states(1).chain(states(2)).all(|state| state == "forwarding");
            around && states(0).eq(["disabled", "forwarding", "forwarding"]) && seen[1].cost == 4
        })
    });
    assert_eq!(tree(&seen[0]), tree(&seen[1]));
}

#[test]
fn a_root_blocked_port_never_leads_to_the_root_and_the_kernels_neither() {
    let setup = Setup { priorities: [2, 1, 3], port: Some(("root_block", "true")) };
    let Some(rings) = rings("stp-block", &setup) else { return };
    let [ours, kernels] = both(&rings, |ring| ring.tree(1));
    assert_eq!(tree(&ours), tree(&kernels));
    assert!(ours[0].ports.iter().map(|(_, state)| state.as_str()).eq([
        "blocking",
        "forwarding",
        "forwarding"
    ]));
}

#[test]
fn a_change_below_is_told_to_the_root_as_by_the_kernels_and_stations_age_fast() {
    let setup = Setup { priorities: [3, 1, 2], port: None };
    let Some(rings) = rings("stp-tcn", &setup) else { return };
    both(&rings, |ring| {
        ring.tree(1);
        ring.wait("quiet", |seen| seen.iter().all(|seen| !seen.changes));
        // One behind the port that goes, and one behind the port that stays.
        ring.rig.wire(2).send(&frame([0xff; 6], [2, 0, 0, 0, 9, 9], 0x88b5, 60, 0));
        ring.rig.wire(0).send(&frame([0xff; 6], [2, 0, 0, 0, 9, 8], 0x88b5, 60, 0));
        wait_for("the stations", || (ring.knows("02:00:00:00:09:09") && ring.knows(STAYS)).then_some(()));
        for up in ["down", "up"] {
            run_in(&ring.rig.hosts[2], &format!("ip link set dev {NIC} {up}"));
            let expected = if up == "up" { "forwarding" } else { "disabled" };
            ring.wait("the host's link", |seen| seen[0].ports[2].1 == expected);
        }
        ring.wait("the change to be known to all", |seen| seen.iter().all(|seen| seen.changes));
        // It would stay three hundred seconds without the change; as it does with the kernel's, which has its collector
        // sleep that long already (br_fdb_cleanup, net/bridge/br_fdb.c).
        if ring.switch.is_some() {
            wait_for("the station to be forgotten", || (!ring.knows(STAYS)).then_some(()));
        }
    });
}

const STAYS: &str = "02:00:00:00:09:08";
