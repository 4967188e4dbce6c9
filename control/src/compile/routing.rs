//! Routing, compiled: the routes that the file and the addresses make, by next hop. What stays the same is not compiled again.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::routing::{HopConfig, Network, RouteConfig, RouteWay};
use rigswitch_dataplane::tables::next_hop::{NextHop, NextHopId, NextHops, Weight};
use rigswitch_dataplane::tables::route::{Prefix, Routes};
use rigswitch_dataplane::tables::{Adjacencies, Interface, Routing, Ways};
use rigswitch_dataplane::wire::flow::FlowHasher;

use crate::config::{Config, network_of};

/// A routed device, as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Routed {
    /// Its number.
    pub(crate) id: DeviceId,
    /// Its name.
    pub(crate) name: String,
    /// The router's address there.
    pub(crate) mac: MacAddr,
    /// Bytes of packet that it carries.
    pub(crate) mtu: u32,
    /// Whether packets leave by it.
    pub(crate) is_up: bool,
    /// Whether link-layer addresses lead to neighbours there; not of a tunnel of packets.
    pub(crate) has_neighbors: bool,
}

/// What routing is compiled of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inputs {
    /// The routed devices.
    pub(crate) devices: Vec<Routed>,
    /// Our addresses, with the lengths of their networks.
    pub(crate) own: Vec<(DeviceId, IpAddr, u8)>,
    /// The file's routes.
    pub(crate) routes: Vec<RouteConfig>,
}

/// A route, and what it comes of.
pub(crate) struct Known<'i> {
    pub(crate) network: Network,
    metric: u32,
    pub(crate) origin: Origin<'i>,
}

/// What a route comes of.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'i> {
    /// The file's route.
    Route(&'i RouteConfig),
    /// The network of this address of a device.
    Network(DeviceId, IpAddr),
    /// The address of all stations in this network of a device.
    Broadcast(DeviceId, Network),
    /// An address of this device.
    Own(DeviceId),
}

/// The metric of an address's network, if that is not zero (`IP6_RT_PRIO_ADDRCONF`, include/net/ip6_fib.h).
pub(crate) fn connected_metric(address: IpAddr) -> Option<u32> {
    address.is_ipv6().then_some(256)
}

/// Whether a network has an address.
fn holds(network: Network, address: IpAddr) -> bool {
    network.address.is_ipv4() == address.is_ipv4() && network_of(address, network.prefix_length) == network
}

/// The key of hashes that others must not be able to choose: neighbours' places and flows' ways.
const SEED: u64 = 0x7261_6e64_6f6d_6c79;

impl Inputs {
    /// Routes and next hops of these.
    pub(crate) fn compile(&self, config: &Config) -> Routing {
        let (numbers, groups) = (HashMap::new(), HashMap::new());
        let (ipv4, ipv6) = (Vec::new(), Vec::new());
        let mut work = Work { inputs: self, hops: NextHops::new(), numbers, groups, ipv4, ipv6 };
        let mut known: Vec<_> = self.known().collect();
        // Of those for one prefix the last one counts.
        known.sort_by_key(|known| Reverse(known.metric));
        for Known { network, origin, .. } in known {
            if let Some(id) = work.way(origin) {
                work.add(network.address, network.prefix_length, id);
            }
        }
        let mut routing = Routing {
            ipv4: Arc::new(Routes::new(work.ipv4)),
            ipv6: Arc::new(Routes::new(work.ipv6)),
            next_hops: Arc::new(work.hops),
            hasher: FlowHasher::new(SEED),
            policy: config.routing.multipath,
            ..Routing::default()
        };
        self.describe(config, &mut routing);
        routing
    }

    /// The routes that lead by this device, and no other.
    pub(crate) fn ways(&self, config: &Config, device: DeviceId) -> Ways {
        let devices = self.devices.iter().filter(|it| it.id == device).cloned().collect();
        let own = self.own.iter().filter(|(it, ..)| *it == device).copied().collect();
        let routing = Self { devices, own, routes: self.routes.clone() }.compile(config);
        Ways { ipv4: routing.ipv4, ipv6: routing.ipv6, next_hops: routing.next_hops }
    }

    /// The file's route to `to` of the longest prefix that is of no use.
    pub(crate) fn asleep(&self, to: IpAddr) -> Option<&RouteConfig> {
        let routes = self.routes.iter().filter(|route| !self.is_of_use(route) && holds(route.to, to));
        routes.max_by_key(|route| route.to.prefix_length)
    }

    /// Whether a route leads anywhere now, or is to lead nowhere.
    fn is_of_use(&self, route: &RouteConfig) -> bool {
        match &route.way {
            RouteWay::Hops(hops) => hops.iter().any(|hop| self.by(hop).is_some()),
            RouteWay::Blackhole | RouteWay::Unreachable | RouteWay::Prohibit => true,
        }
    }

    /// Every route that is of use, those of our addresses last.
    fn known(&self) -> impl Iterator<Item = Known<'_>> {
        let of_file = self.routes.iter().filter(|route| self.is_of_use(route)).map(|route| Known {
            network: route.to,
            metric: route.metric,
            origin: Origin::Route(route),
        });
        of_file.chain(self.own.iter().flat_map(|&(device, address, length)| self.of(device, address, length)))
    }

    /// An address of ours, and its network (`fib_add_ifaddr`, net/ipv4/fib_frontend.c).
    fn of(&self, device: DeviceId, address: IpAddr, length: u8) -> impl Iterator<Item = Known<'_>> {
        let is_up = self.devices.iter().any(|of| of.id == device && of.is_up);
        let bits = if address.is_ipv4() { 32 } else { 128 };
        // A network of one is no network; a link-local one is the same on every link.
        let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        let has_network = is_up && length < bits && !is_link_local;
        let network = network_of(address, length);
        let known = |network, metric, origin| Known { network, metric, origin };
        let connected = has_network.then(|| {
            known(network, connected_metric(address).unwrap_or(0), Origin::Network(device, address))
        });
        let all = match address {
            IpAddr::V4(address) if has_network && length < 31 => {
                let last = Ipv4Addr::from_bits(address.to_bits() | u32::MAX >> length);
                Some(known(network_of(last.into(), bits), 0, Origin::Broadcast(device, network)))
            }
            _ => None,
        };
        let own = known(network_of(address, bits), 0, Origin::Own(device));
        connected.into_iter().chain(all).chain([own])
    }

    /// The route that packets for `to` take.
    pub(crate) fn known_to(&self, to: IpAddr) -> Option<Known<'_>> {
        let holds = |known: &Known<'_>| holds(known.network, to);
        // Of equal ones the last.
        self.known().filter(holds).max_by_key(|known| (known.network.prefix_length, Reverse(known.metric)))
    }

    /// The device of a way, if packets leave by it now.
    fn by(&self, hop: &HopConfig) -> Option<DeviceId> {
        Some(self.devices.iter().find(|device| device.is_up && device.name == hop.device)?.id)
    }

    /// What there is to know of the devices.
    pub(crate) fn describe(&self, config: &Config, routing: &mut Routing) {
        let count = self.devices.iter().map(|device| device.id.index() + 1).max().unwrap_or(0);
        let mut interfaces = vec![None; count];
        for device in &self.devices {
            interfaces[device.id.index()] = Some(Interface {
                mac: device.mac,
                mtu: device.mtu,
                forwards: config.routing.forwarding,
                checks_source: config.routing.rp_filter,
                has_neighbors: device.has_neighbors,
            });
        }
        (routing.interfaces, routing.policy) = (interfaces.into(), config.routing.multipath);
    }
}

/// Puts these neighbours in place of those there are.
pub(crate) fn set_neighbors(
    routing: &mut Routing,
    neighbors: impl Iterator<Item = (DeviceId, IpAddr, MacAddr)>,
) {
    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for (device, address, mac) in neighbors {
        match address {
            IpAddr::V4(address) => ipv4.push((device, address, mac)),
            IpAddr::V6(address) => ipv6.push((device, address, mac)),
        }
    }
    routing.neighbors_ipv4 = Adjacencies::new(ipv4.into_iter(), SEED);
    routing.neighbors_ipv6 = Adjacencies::new(ipv6.into_iter(), SEED);
}

struct Work<'i> {
    inputs: &'i Inputs,
    hops: NextHops,
    /// What leads alike has one number, however many routes lead there: tables stay small, and near.
    numbers: HashMap<NextHop, NextHopId>,
    groups: HashMap<Vec<(NextHopId, u16)>, NextHopId>,
    ipv4: Vec<(Prefix<Ipv4Addr>, NextHopId)>,
    ipv6: Vec<(Prefix<Ipv6Addr>, NextHopId)>,
}

impl Work<'_> {
    fn add(&mut self, address: IpAddr, length: u8, to: NextHopId) {
        match address {
            IpAddr::V4(address) => self.ipv4.push((Prefix::of(address, length), to)),
            IpAddr::V6(address) => self.ipv6.push((Prefix::of(address, length), to)),
        }
    }

    fn hop(&mut self, hop: NextHop) -> Option<NextHopId> {
        if let Some(&id) = self.numbers.get(&hop) {
            return Some(id);
        }
        let id = self.hops.add(hop)?;
        self.numbers.insert(hop, id);
        Some(id)
    }

    fn group(&mut self, members: &[(NextHopId, Weight)]) -> Option<NextHopId> {
        let key: Vec<_> = members.iter().map(|(id, weight)| (*id, weight.number())).collect();
        if let Some(&id) = self.groups.get(&key) {
            return Some(id);
        }
        let id = self.hops.add_group(members).ok()?;
        self.groups.insert(key, id);
        Some(id)
    }

    /// Where a route leads.
    fn way(&mut self, origin: Origin<'_>) -> Option<NextHopId> {
        let hops = match origin {
            Origin::Network(device, _) => return self.hop(NextHop::Connected { device }),
            Origin::Broadcast(device, _) => return self.hop(NextHop::Broadcast { device }),
            Origin::Own(device) => return self.hop(NextHop::Local { device }),
            Origin::Route(route) => match &route.way {
                RouteWay::Blackhole => return self.hop(NextHop::Blackhole),
                RouteWay::Unreachable => return self.hop(NextHop::Unreachable),
                RouteWay::Prohibit => return self.hop(NextHop::Prohibit),
                RouteWay::Hops(hops) => hops,
            },
        };
        let usable: Vec<(NextHop, Weight)> = hops.iter().filter_map(|hop| self.usable(hop)).collect();
        match usable[..] {
            [] => None,
            [(hop, _)] => self.hop(hop),
            _ => {
                let members = usable.iter().map(|&(hop, weight)| Some((self.hop(hop)?, weight)));
                let members: Vec<_> = members.collect::<Option<_>>()?;
                self.group(&members)
            }
        }
    }

    fn usable(&self, hop: &HopConfig) -> Option<(NextHop, Weight)> {
        let device = self.inputs.by(hop)?;
        let next = match hop.via {
            Some(gateway) => NextHop::Gateway { device, gateway },
            None => NextHop::Connected { device },
        };
        Some((next, hop.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rigswitch_dataplane::wire::flow::FlowHash;

    fn compiled(text: &str, up: [bool; 2]) -> (Inputs, Routing) {
        let ports = "port = [{ name = \"p0\", memory = true }, { name = \"p1\", memory = true }]\n";
        let config = Config::parse(&format!("{ports}{text}"), "rig.toml").map_err(|e| e.to_string()).unwrap();
        let devices = (0..).zip(up).map(|(id, is_up)| Routed {
            id: DeviceId(id),
            name: format!("p{id}"),
            mac: MacAddr::ZERO,
            mtu: 1500,
            is_up,
            has_neighbors: true,
        });
        let devices: Vec<_> = devices.collect();
        let id = |name: &str| devices.iter().find(|device| device.name == name).unwrap().id;
        let own = config
            .addresses
            .iter()
            .map(|said| (id(&said.device), said.address.address, said.address.prefix_length));
        let inputs = Inputs { own: own.collect(), routes: config.routes.clone(), devices: devices.clone() };
        let routing = inputs.compile(&config);
        (inputs, routing)
    }

    const RIG: &str = r#"
        address = [{ device = "p0", address = "10.0.0.1/24" }, { device = "p1", address = "10.0.1.1/24" },
                   { device = "p1", address = "fd01::1/64" }]
        route = [{ to = "default", via = "10.0.0.254" }, { to = "10.9.0.0/16", type = "blackhole" },
                 { to = "10.8.0.0/16", nexthop = [{ via = "10.0.0.2" }, { via = "10.0.1.2", weight = 3 }] },
                 { to = "fd09::/16", via = "fd01::9" }, { to = "10.7.0.0/24", device = "p1" }]
    "#;

    fn next(routing: &Routing, to: &str) -> Option<NextHop> {
        let id = match to.parse().unwrap() {
            IpAddr::V4(address) => routing.ipv4.find(routing.ipv4.locate(address)),
            IpAddr::V6(address) => routing.ipv6.find(routing.ipv6.locate(address)),
        };
        routing.next_hops.choose(id?, || FlowHash(u32::MAX))
    }

    #[test]
    fn every_address_leads_where_file_and_addresses_say() {
        let (_, routing) = compiled(RIG, [true, true]);
        let [p0, p1] = [0, 1].map(DeviceId);
        let gateway = |device, text: &str| Some(NextHop::Gateway { device, gateway: text.parse().unwrap() });
        for (to, expected) in [
            ("10.0.0.1", Some(NextHop::Local { device: p0 })),
            ("10.0.0.9", Some(NextHop::Connected { device: p0 })),
            ("10.0.1.255", Some(NextHop::Broadcast { device: p1 })),
            ("198.51.100.1", gateway(p0, "10.0.0.254")),
            ("10.9.9.9", Some(NextHop::Blackhole)),
            ("10.8.1.1", gateway(p1, "10.0.1.2")),
            ("10.7.0.3", Some(NextHop::Connected { device: p1 })),
            ("fd01::7", Some(NextHop::Connected { device: p1 })),
            ("fd09::7", gateway(p1, "fd01::9")),
            ("fd55::7", None),
        ] {
            assert_eq!(next(&routing, to), expected, "{to}");
        }
    }

    #[test]
    fn routes_that_lead_alike_have_one_next_hop() {
        let ways = r#"route = [{ to = "10.5.0.0/16", via = "10.0.0.2" }, { to = "10.6.0.0/16", via = "10.0.0.2" },
            { to = "10.7.0.0/16", nexthop = [{ via = "10.0.0.2" }, { via = "10.0.0.3" }] },
            { to = "10.8.0.0/16", nexthop = [{ via = "10.0.0.2" }, { via = "10.0.0.3" }] },
            { to = "10.9.0.0/16", nexthop = [{ via = "10.0.0.2" }, { via = "10.0.0.3", weight = 2 }] }]"#;
        let (_, routing) = compiled(
            &format!("address = [{{ device = \"p0\", address = \"10.0.0.1/24\" }}]\n{ways}"),
            [true; 2],
        );
        let id = |address| routing.ipv4.find(routing.ipv4.locate(Ipv4Addr::from(address))).unwrap();
        assert_eq!(id([10, 5, 0, 1]), id([10, 6, 0, 1]));
        assert_eq!(id([10, 7, 0, 1]), id([10, 8, 0, 1]));
        assert_ne!(id([10, 7, 0, 1]), id([10, 9, 0, 1]));
    }

    #[test]
    fn the_least_metric_counts_of_those_that_are_of_use() {
        let ways = r#"address = [{ device = "p0", address = "10.0.0.1/24" }, { device = "p1", address = "10.0.1.1/24" },
                                 { device = "p0", address = "fd00::1/64" }]
            route = [{ to = "10.9.0.0/16", via = "10.0.0.2", metric = 10 }, { to = "10.9.0.0/16", via = "10.0.1.2", metric = 20 },
                     { to = "10.9.0.0/16", type = "unreachable", metric = 30 },
                     { to = "10.0.0.0/24", via = "10.0.1.9", metric = 1 }, { to = "fd00::/64", type = "blackhole", metric = 7 }]"#;
        let gateway = |device: u8, last| NextHop::Gateway {
            device: DeviceId(device.into()),
            gateway: [10, 0, device, last].into(),
        };
        for (up, expected, network) in [
            ([true, true], gateway(0, 2), NextHop::Connected { device: DeviceId(0) }),
            ([false, true], gateway(1, 2), gateway(1, 9)),
            ([false, false], NextHop::Unreachable, NextHop::Unreachable),
        ] {
            let (inputs, routing) = compiled(ways, up);
            assert_eq!(next(&routing, "10.9.0.1"), Some(expected));
            if up[1] {
                assert_eq!(next(&routing, "10.0.0.7"), Some(network), "a network is of metric 0");
            }
            assert_eq!(next(&routing, "fd00::7"), Some(NextHop::Blackhole), "of IPv6 it is of 256");
            let named = inputs.known_to("10.9.0.1".parse().unwrap()).map(|known| known.metric);
            assert_eq!(
                named,
                Some(if up[0] {
                    10
                } else if up[1] {
                    20
                } else {
                    30
                })
            );
        }
    }

    #[test]
    fn nothing_leads_by_a_device_that_is_down() {
        let (_, routing) = compiled(RIG, [false, true]);
        let p1 = DeviceId(1);
        assert_eq!(next(&routing, "198.51.100.1"), None);
        assert_eq!(next(&routing, "10.0.0.9"), None);
        assert_eq!(
            next(&routing, "10.0.0.1"),
            Some(NextHop::Local { device: DeviceId(0) }),
            "it is ours still"
        );
        let rest = NextHop::Gateway { device: p1, gateway: "10.0.1.2".parse().unwrap() };
        assert_eq!(next(&routing, "10.8.1.1"), Some(rest), "the way that is left");
    }
}
