//! Bridges and wires made up: whatever they are, one tree comes of them, and it mends itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::PortState;
use rigswitch_dataplane::wire::bpdu::{Bpdu, BridgeId, PortId};

use super::{Action, BridgeSetup, PortSetup, Root, Stp, Timing};

const TIMING: Timing = Timing {
    max_age: Duration::from_secs(6),
    hello_time: Duration::from_secs(1),
    forward_delay: Duration::from_secs(2),
};
const TICK: Duration = Duration::from_millis(100);

/// A port of a bridge: its place among all bridges, and its device.
type End = (usize, DeviceId);

/// Bridges and the wires between them. A wire may have any number of ends, one included.
struct Network {
    bridges: Vec<Stp>,
    wires: Vec<Vec<End>>,
    cut: BTreeSet<usize>,
    now: Duration,
    sent: Vec<(End, Bpdu)>,
}

impl Network {
    /// Bridges of these priorities, each with a port, of this cost, on each of its wires.
    fn new(priorities: &[u16], wires: &[Vec<(usize, u32)>]) -> Self {
        let setup = |(priority, n): (&u16, u16)| BridgeSetup { id: bridge_id(*priority, n), timing: TIMING };
        let bridges = priorities.iter().zip(0..).map(|of| Stp::new(setup(of), Duration::ZERO)).collect();
        let mut network =
            Self { bridges, wires: Vec::new(), cut: BTreeSet::new(), now: Duration::ZERO, sent: Vec::new() };
        let mut numbers = vec![0; priorities.len()];
        for wire in wires {
            let ends = wire.iter().map(|&(bridge, path_cost)| {
                numbers[bridge] += 1;
                let device = DeviceId(numbers[bridge]);
                let id = PortId::new(32, numbers[bridge]);
                let setup = PortSetup { id, path_cost, guard: false, root_block: false };
                network.bridges[bridge].set_port(device, setup, Duration::ZERO);
                network.bridges[bridge].enable(device, Duration::ZERO);
                (bridge, device)
            });
            let ends = ends.collect();
            network.wires.push(ends);
        }
        network
    }

    fn wire_of(&self, end: End) -> usize {
        self.wires.iter().position(|wire| wire.contains(&end)).unwrap()
    }

    /// Lets time pass, and messages get through at once.
    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += TICK;
            self.bridges.iter_mut().for_each(|bridge| bridge.tick(self.now));
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        for _ in 0..1000 {
            let mut messages = Vec::new();
            for (bridge, stp) in self.bridges.iter_mut().enumerate() {
                for action in stp.actions() {
                    if let Action::Send(device, bpdu) = action {
                        messages.push(((bridge, device), bpdu));
                    }
                }
            }
            if messages.is_empty() {
                return;
            }
            for (from, bpdu) in messages {
                self.sent.push((from, bpdu));
                let wire = self.wire_of(from);
                if !self.cut.contains(&wire) {
                    for &(bridge, device) in self.wires[wire].iter().filter(|end| **end != from) {
                        self.bridges[bridge].hear(device, &bpdu, self.now);
                    }
                }
            }
        }
        panic!("they talk without end");
    }

    /// Cuts a wire, or mends it: the ends notice.
    fn set_cut(&mut self, wire: usize, cut: bool) {
        let changed = if cut { self.cut.insert(wire) } else { self.cut.remove(&wire) };
        for &(bridge, device) in self.wires[wire].iter().filter(|_| changed) {
            let stp = &mut self.bridges[bridge];
            if cut { stp.disable(device, self.now) } else { stp.enable(device, self.now) }
        }
        self.deliver();
    }

    /// That the ports which forward make a tree of what is connected, the root is the best bridge of it, and the ways
    /// there cost the least.
    fn check(&self) {
        let costs = self.cheapest();
        for (place, stp) in self.bridges.iter().enumerate() {
            let Root { bridge, root, cost, port } = stp.root();
            assert_eq!((root, cost), costs[place], "bridge {place}");
            assert_eq!(port.is_none(), bridge == root, "bridge {place}");
        }
        // One island at first for each bridge; a wire joins those that forward on it, and never the same twice.
        let mut island: Vec<usize> = (0..self.bridges.len()).collect();
        for (number, wire) in self.wires.iter().enumerate().filter(|(number, _)| !self.cut.contains(number)) {
            let states: Vec<_> =
                wire.iter().map(|&(bridge, port)| self.bridges[bridge].state(port).unwrap()).collect();
            let forwarding: Vec<_> =
                wire.iter().zip(&states).filter(|(_, state)| **state == PortState::Forwarding).collect();
            assert!(!forwarding.is_empty(), "wire {number} is served: {states:?}");
            assert!(states.iter().all(|state| matches!(state, PortState::Forwarding | PortState::Blocking)));
            let first = island[forwarding[0].0.0];
            for ((bridge, _), _) in &forwarding[1..] {
                let other = island[*bridge];
                assert_ne!(first, other, "wire {number} closes a loop");
                island.iter_mut().filter(|island| **island == other).for_each(|island| *island = first);
            }
        }
        for (a, root_a) in costs.iter().enumerate() {
            for (b, root_b) in costs.iter().enumerate() {
                assert_eq!(island[a] == island[b], root_a.0 == root_b.0, "{a} and {b}");
            }
        }
    }

    /// The best bridge that each can reach, and the cost of the cheapest way there, found by brute force.
    fn cheapest(&self) -> Vec<(BridgeId, u32)> {
        let mut best: Vec<_> = self.bridges.iter().map(|stp| (stp.root().bridge, 0)).collect();
        for _ in 0..self.bridges.len() {
            for wire in
                self.wires.iter().enumerate().filter(|(n, _)| !self.cut.contains(n)).map(|(_, wire)| wire)
            {
                for &(from, _) in wire {
                    for &(to, port) in wire {
                        let (root, cost) = best[from];
                        let cost = cost + self.bridges[to].path_cost(port);
                        if to != from && root <= best[to].0 && (root, cost) < best[to] {
                            best[to] = (root, cost);
                        }
                    }
                }
            }
        }
        best
    }
}

impl Stp {
    fn path_cost(&self, device: DeviceId) -> u32 {
        self.ports[self.index(device).unwrap()].setup.path_cost
    }

    fn setup(&self, device: DeviceId) -> PortSetup {
        self.ports[self.index(device).unwrap()].setup
    }
}

fn bridge_id(priority: u16, n: u16) -> BridgeId {
    BridgeId::new(priority, MacAddr::from_bits(0x0200_0000_0000 + u64::from(n)))
}

/// Long enough for what was heard to become too old, and for ports to listen and learn after that, twice.
const SETTLED: Duration = Duration::from_secs(30);

/// Two bridges with two wires between them, and a host on each.
fn pair() -> Network {
    let mut pair =
        Network::new(&[1, 2], &[vec![(0, 2), (1, 2)], vec![(0, 2), (1, 2)], vec![(0, 2)], vec![(1, 2)]]);
    pair.run(SETTLED);
    pair.check();
    pair
}

fn states(network: &Network, bridge: usize) -> Vec<PortState> {
    network.bridges[bridge].ports.iter().map(|port| port.state).collect()
}

#[test]
fn a_port_listens_and_learns_before_it_forwards() {
    let mut alone = Network::new(&[1], &[vec![(0, 2)]]);
    let mut seen = BTreeMap::new();
    while alone.now < SETTLED {
        seen.entry(format!("{:?}", states(&alone, 0)[0])).or_insert(alone.now.as_millis());
        alone.run(TICK);
    }
    let expected = [("Forwarding", 4000), ("Learning", 2000), ("Listening", 0)];
    assert_eq!(seen, expected.map(|(state, at)| (state.to_owned(), at)).into());
}

#[test]
fn a_loop_is_cut_and_mended() {
    let mut pair = pair();
    use PortState::{Blocking, Disabled, Forwarding, Listening};
    assert_eq!(states(&pair, 1), [Forwarding, Blocking, Forwarding]);
    pair.set_cut(0, true);
    assert_eq!(states(&pair, 1), [Disabled, Listening, Forwarding]);
    pair.run(TIMING.forward_delay * 2 + TICK);
    assert_eq!(states(&pair, 1), [Disabled, Forwarding, Forwarding]);
    pair.set_cut(0, false);
    pair.run(SETTLED);
    assert_eq!(states(&pair, 1), [Forwarding, Blocking, Forwarding]);
    pair.check();
}

#[test]
fn a_bridge_that_falls_silent_is_given_up() {
    let mut pair = pair();
    pair.cut.extend([0, 1]); // nobody notices
    pair.run(SETTLED);
    let Root { bridge, root, cost, port } = pair.bridges[1].root();
    assert_eq!((root, cost, port), (bridge, 0, None));
}

#[test]
fn priority_decides_who_is_the_root_and_cost_the_way() {
    let mut pair = pair();
    pair.bridges[1].set(BridgeSetup { id: bridge_id(0, 1), timing: TIMING }, pair.now);
    pair.run(SETTLED);
    pair.check();
    assert_eq!(pair.bridges[0].root().root, bridge_id(0, 1));
    let dearer = PortSetup { path_cost: 9, ..pair.bridges[0].setup(DeviceId(1)) };
    assert_eq!(pair.bridges[0].root().port, Some(DeviceId(1)));
    pair.bridges[0].set_port(DeviceId(1), dearer, pair.now);
    pair.run(SETTLED);
    pair.check();
    assert_eq!(pair.bridges[0].root().port, Some(DeviceId(2)));
    let preferred = PortSetup { id: PortId::new(8, 1), ..pair.bridges[1].setup(DeviceId(1)) };
    pair.bridges[0].set_port(DeviceId(1), PortSetup { path_cost: 2, ..dearer }, pair.now);
    pair.bridges[1].set_port(DeviceId(1), preferred, pair.now);
    pair.run(SETTLED);
    pair.check();
    assert_eq!(pair.bridges[0].root().port, Some(DeviceId(1)));
}

#[test]
fn a_guarded_port_goes_out_of_service_at_the_first_bpdu_until_its_link_comes_again() {
    let mut pair = pair();
    let guarded = PortSetup { guard: true, ..pair.bridges[1].setup(DeviceId(1)) };
    pair.bridges[1].set_port(DeviceId(1), guarded, pair.now);
    pair.run(TIMING.hello_time * 2);
    assert_eq!(pair.bridges[1].state(DeviceId(1)), Some(PortState::Disabled));
    pair.bridges[1].set_port(DeviceId(1), PortSetup { guard: false, ..guarded }, pair.now);
    pair.bridges[1].enable(DeviceId(1), pair.now);
    pair.run(SETTLED);
    pair.check();
}

#[test]
fn a_root_blocked_port_does_not_lead_to_the_root_and_forwards_when_nobody_claims_that_it_does() {
    let mut pair = pair();
    for port in [DeviceId(1), DeviceId(2)] {
        let setup = PortSetup { root_block: true, ..pair.bridges[1].setup(port) };
        pair.bridges[1].set_port(port, setup, pair.now);
    }
    pair.run(SETTLED);
    let root = pair.bridges[1].root();
    assert_eq!(root.root, root.bridge);
    assert_eq!(states(&pair, 1), [PortState::Listening, PortState::Listening, PortState::Forwarding]);
    pair.cut.extend([0, 1]);
    pair.run(SETTLED);
    assert_eq!(states(&pair, 1), [PortState::Forwarding; 3]);
}

#[test]
fn a_change_below_is_told_to_the_root_and_by_it_to_all() {
    let line = &[vec![(0, 2), (1, 2)], vec![(1, 2), (2, 2)], vec![(2, 2)]];
    let mut line = Network::new(&[1, 2, 3], line);
    line.run(Duration::from_secs(60));
    let fast = |line: &Network| line.bridges.iter().map(Stp::fast_ageing).collect::<Vec<_>>();
    assert_eq!(fast(&line), [None; 3]);
    line.sent.clear();
    line.set_cut(2, true);
    line.set_cut(2, false);
    line.run(TIMING.forward_delay * 2 + TIMING.hello_time * 3);
    assert_eq!(fast(&line), [Some(TIMING.forward_delay); 3]);
    let notifications = line.sent.iter().filter(|(_, bpdu)| *bpdu == Bpdu::TopologyChange);
    assert_eq!(notifications.map(|((bridge, _), _)| *bridge).collect::<BTreeSet<_>>(), [1, 2].into());
    line.run(TIMING.forward_delay + TIMING.max_age + TIMING.hello_time * 3);
    assert_eq!(fast(&line), [None; 3]);
}

#[test]
fn a_port_that_is_taken_away_leaves_the_others_their_places() {
    let mut pair = pair();
    pair.bridges[1].remove_port(DeviceId(1), pair.now);
    pair.wires[0].pop();
    pair.run(SETTLED);
    pair.check();
    assert_eq!(pair.bridges[1].root().port, Some(DeviceId(2)));
}

fn networks() -> impl Strategy<Value = (Vec<u16>, Vec<Vec<(usize, u32)>>)> {
    prop::collection::vec(0..4u16, 1..7).prop_flat_map(|priorities| {
        let end = (0..priorities.len(), 1..30u32);
        // A bridge may not be twice on one wire: it would hear itself, which is another story.
        let wire = prop::collection::vec(end, 1..4).prop_map(|mut ends| {
            ends.sort_unstable();
            ends.dedup_by_key(|end| end.0);
            ends
        });
        (Just(priorities), prop::collection::vec(wire, 1..12))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_network_comes_to_one_tree_whatever_breaks(
        (priorities, wires) in networks(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0..80u32), 0..8),
    ) {
        let mut network = Network::new(&priorities, &wires);
        network.run(SETTLED);
        network.check();
        for (wire, cut, ticks) in cuts {
            network.set_cut(wire.index(wires.len()), cut);
            network.run(TICK * ticks);
        }
        network.run(SETTLED * 2);
        network.check();
    }
}
