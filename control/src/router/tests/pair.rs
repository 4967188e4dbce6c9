//! Two routers on one wire: they find each other, keep each other, and part.

use super::*;

/// A router with its other device, 1, towards a network of its own.
struct Node {
    router: Router,
    routing: Routing,
}

fn node(n: u8) -> Node {
    let device = |id: u16, addresses| RoutedDevice {
        id: DeviceId(id),
        mac: MacAddr::new([2, 0, 0, 0, n, u8::try_from(id).unwrap()]),
        mtu: 1500,
        is_up: true,
        addresses,
        has_neighbors: true,
        is_hosts: false,
    };
    let inner = vec![(ip(&format!("10.0.{n}.1")), 24), (ip(&format!("fd0{n}::1")), 64)];
    let outer = vec![(ip(&format!("192.0.2.{n}")), 24), (ip(&format!("fdaa::{n}")), 64)];
    let devices = vec![device(0, outer), device(1, inner)];
    let setting = Setting {
        devices,
        fixed: Vec::new(),
        far_ends: BTreeMap::new(),
        groups: BTreeSet::new(),
        vxlan_ends: BTreeSet::new(),
        icmp_rate: Rate::ICMP,
        dad_transmits: 0,
    };
    let mut router = Router::new();
    router.set(setting.clone(), Duration::ZERO);
    // The other's network is behind the other.
    let other = 3 - n;
    let mut next_hops = NextHops::new();
    let (mut routes_ipv4, mut routes_ipv6) = (Vec::new(), Vec::new());
    let gateways = [ip(&format!("192.0.2.{other}")), ip(&format!("fdaa::{other}"))];
    let [by_ipv4, by_ipv6] =
        gateways.map(|gateway| next_hops.add(NextHop::Gateway { device: HERE, gateway }).unwrap());
    routes_ipv4.push((Prefix::of(v4(&format!("10.0.{other}.0")), 24), by_ipv4));
    routes_ipv6.push((Prefix::of(v6(&format!("fd0{other}::")), 64), by_ipv6));
    for (device, address, length) in router.local_addresses().collect::<Vec<_>>() {
        let [near, ours] = [NextHop::Connected { device }, NextHop::Local { device }]
            .map(|next_hop| next_hops.add(next_hop).unwrap());
        match address {
            IpAddr::V4(address) => {
                routes_ipv4.extend([(Prefix::of(address, length), near), (Prefix::of(address, 32), ours)])
            }
            IpAddr::V6(address) if address.is_unicast_link_local() => {}
            IpAddr::V6(address) => {
                routes_ipv6.extend([(Prefix::of(address, length), near), (Prefix::of(address, 128), ours)])
            }
        }
    }
    let interface = |it: &RoutedDevice| {
        Some(Interface {
            mac: it.mac,
            mtu: it.mtu,
            forwards: true,
            checks_source: false,
            has_neighbors: it.has_neighbors,
        })
    };
    let routing = Routing {
        interfaces: setting.devices.iter().map(interface).collect(),
        ipv4: Routes::new(routes_ipv4).into(),
        ipv6: Routes::new(routes_ipv6).into(),
        next_hops: next_hops.into(),
        ..Routing::default()
    };
    Node { router, routing }
}

/// The wire between their devices 0.
struct Wire {
    nodes: [Node; 2],
    is_cut: bool,
    now: Duration,
    /// What came out towards the first one's own network.
    inside: Vec<Vec<u8>>,
}

impl Wire {
    fn new() -> Self {
        let mut wire =
            Self { nodes: [1, 2].map(node), is_cut: false, now: Duration::ZERO, inside: Vec::new() };
        wire.wait(TICK);
        wire
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += TICK;
            for Node { router, routing } in &mut self.nodes {
                router.tick(routing, self.now);
            }
            self.run();
        }
    }

    /// Until nothing is on the wire.
    fn run(&mut self) {
        loop {
            let of = |node: usize, nodes: &mut [Node; 2]| -> Vec<_> {
                nodes[node].router.outputs().map(|output| (node, output)).collect()
            };
            let outputs = [0, 1].map(|n| of(n, &mut self.nodes)).concat();
            if outputs.is_empty() {
                return;
            }
            for (from, output) in outputs {
                match output {
                    Output::Send { device: HERE, frame } => self.carry(1 - from, &frame),
                    Output::Send { frame, .. } if from == 0 => self.inside.push(frame),
                    Output::Send { .. } => {}
                    Output::Receive { frame, .. } => self.forward(from, frame),
                }
            }
        }
    }

    /// What a worker does with a frame for a neighbour that it knows.
    fn forward(&mut self, node: usize, mut frame: Vec<u8>) {
        let known: Vec<_> = self.nodes[node].router.neighbors().filter(|it| it.0 == HERE).collect();
        let is_ipv4 = frame[12] == 8;
        let (_, _, mac) = known.into_iter().find(|it| it.1.is_ipv4() == is_ipv4 && !is_near(it.1)).unwrap();
        frame[..6].copy_from_slice(&mac.octets());
        self.carry(1 - node, &frame);
    }

    /// What a worker does with a frame from the wire.
    fn carry(&mut self, node: usize, frame: &[u8]) {
        let Node { router, routing } = &mut self.nodes[node];
        let ethernet = Ethernet::view(frame).unwrap();
        let ours = routing.interface(HERE).unwrap().mac;
        let reason =
            if ethernet.ether_type() == EtherType::ARP { PuntReason::Arp } else { PuntReason::Local };
        if !self.is_cut && (ethernet.destination() == ours || ethernet.destination().is_group()) {
            let is_passing = match Packet::of(&ethernet) {
                Ok(Some(packet)) => matches!(packet.way(routing), Way::Out(THERE, _)),
                _ => false,
            };
            let reason = if is_passing { PuntReason::Unresolved } else { reason };
            router.hear(HERE, reason, frame, routing, self.now);
        }
    }

    fn ping(&mut self, from: &str, to: &str) {
        let Node { router, routing } = &mut self.nodes[0];
        router.hear(THERE, PuntReason::Unresolved, &ping(from, to, b"far"), routing, self.now);
        self.run();
    }

    fn states(&self, node: usize) -> Vec<(IpAddr, Nud)> {
        let all = self.nodes[node].router.view(self.now).into_iter();
        all.filter(|line| line.device == HERE && !is_near(line.address))
            .map(|line| (line.address, line.state))
            .collect()
    }
}

fn is_near(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[test]
fn echo_crosses_both_and_its_answer_comes_back() {
    for (from, to, gateways) in
        [("10.0.1.9", "10.0.2.1", ["192.0.2.1", "192.0.2.2"]), ("fd01::9", "fd02::1", ["fdaa::1", "fdaa::2"])]
    {
        let mut wire = Wire::new();
        wire.ping(from, to);
        assert_eq!(wire.states(0), [(ip(gateways[1]), Nud::Reachable)]);
        // The second one has answered the echo: the first one is to pass it on, and looks for its host.
        assert_eq!(wire.nodes[1].router.counters().echoes, 1);
        let known = wire.states(1);
        assert!(
            known.contains(&(ip(gateways[0]), Nud::Stale))
                || known.contains(&(ip(gateways[0]), Nud::Reachable)),
            "{known:?}"
        );
        assert_eq!(wire.nodes[0].router.held().0, 1);
        assert!(!wire.inside.is_empty());
    }
}

#[test]
fn neighbors_keep_each_other_while_the_wire_is_there_and_no_longer() {
    let mut wire = Wire::new();
    wire.ping("10.0.1.9", "10.0.2.1");
    wire.ping("fd01::9", "fd02::1");
    for _ in 0..3000 {
        wire.wait(TICK);
        for node in [0, 1] {
            let states = wire.states(node);
            assert_eq!(states.len(), 2, "{states:?}");
            assert!(
                states.iter().all(|(_, state)| !matches!(state, Nud::Failed | Nud::Incomplete)),
                "{states:?}"
            );
        }
    }
    wire.is_cut = true;
    // The longest that a neighbour is believed, and asked.
    wire.wait(SECOND * (45 + 5 + 3) + TICK);
    for node in [0, 1] {
        assert!(wire.states(node).iter().all(|(_, state)| *state == Nud::Failed));
        assert_eq!(wire.nodes[node].router.neighbors().count(), 0);
    }
    // What the first one's host is told: there is nobody.
    wire.is_cut = false;
    wire.ping("10.0.1.9", "10.0.2.1");
    assert!(wire.states(0).contains(&(ip("192.0.2.2"), Nud::Reachable)));
}
