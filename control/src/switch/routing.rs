//! The routed devices: what drives the router, carries out what it says, and has workers know what it has found out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rigswitch_dataplane::bell::Bell;
use rigswitch_dataplane::drops::Direction;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::{AddressConfig, HostAddress, PortKind};
use rigswitch_dataplane::punt::{Injection, PuntReason};
use rigswitch_dataplane::rate::Rate;
use rigswitch_dataplane::routing::{HopConfig, RouteConfig, RouteWay};
use rigswitch_dataplane::tables::Routing;
use rigswitch_dataplane::tunnels::TunnelConfig;
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};

use super::Switch;
use super::port::Port;
use super::ports::Ports;
use super::shared::own_link_local;
use crate::compile::{Inputs, Known, Routed, connected_metric, known_far_ends, narrow, set_neighbors};
use crate::config::Config;
use crate::config::network_of;
use crate::events::Event;
use crate::far_ends::FarEnds;
use crate::router::{Counters, Notice, Output, RoutedDevice, Router, Setting, Unused};
use crate::views::{AddressView, AddressesView, NextHopView, RouteView};

/// The router, and what workers were told of it.
pub(super) struct Roads {
    pub(super) router: Router,
    /// Rung by a worker that has handed something over.
    pub(super) bell: Arc<Bell>,
    inputs: Option<Inputs>,
    routing: Arc<Routing>,
    told: u64, // the generation of neighbours that workers know
}

impl Roads {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            router: Router::new(),
            bell: Arc::new(Bell::new()?),
            inputs: None,
            routing: Arc::default(),
            told: 0,
        })
    }

    /// What workers are to route by, as configuration and devices are now.
    pub(super) fn follow(
        &mut self,
        config: &Config,
        ports: &Ports,
        vxlans: &FarEnds,
        now: Duration,
    ) -> Arc<Routing> {
        let names = routed(config);
        let of = |name: &str| {
            let id = ports.find(name)?;
            Some((id, ports.get(id).filter(|port| !port.leaving)?))
        };
        let known: BTreeMap<&str, (DeviceId, &Port)> =
            names.iter().filter_map(|name| Some((*name, of(name)?))).collect();
        let device = |(name, (id, port)): (&&str, &(DeviceId, &Port))| Routed {
            id: *id,
            name: (*name).to_owned(),
            mac: port.station_address(),
            mtu: port.mtu,
            is_up: port.is_usable(),
            has_neighbors: !matches!(port.config.kind, PortKind::Socket(_))
                && !packet_tunnels(config)
                    .map(|tunnel| &*tunnel.name)
                    .chain(without_neighbors(config))
                    .any(|other| other == *name),
        };
        let devices: Vec<_> = known.iter().map(device).collect();
        // Nothing is routed by them; who sends by them is told what becomes of it.
        let hosts = packet_tunnels(config).filter(|tunnel| tunnel.host.is_some());
        let hosts: Vec<_> =
            hosts.filter_map(|tunnel| Some(device((&&*tunnel.name, &of(&tunnel.name)?)))).collect();
        let addresses = |name: &str| {
            let said = config.addresses.iter().filter(|said| said.device == name);
            let said = said.map(|said| (said.address.address, said.address.prefix_length));
            said.chain(own_link_local(config, name).map(|address| (address, 64))).collect()
        };
        let routed = |device: &Routed| RoutedDevice {
            id: device.id,
            mac: device.mac,
            mtu: device.mtu,
            is_up: device.is_up,
            addresses: addresses(&device.name),
            has_neighbors: device.has_neighbors,
            is_hosts: false,
        };
        let of_host = |device: &Routed| RoutedDevice { is_hosts: true, ..routed(device) };
        let number = |name: &str| {
            devices.iter().chain(&hosts).find(|device| device.name == name).map(|device| device.id)
        };
        let setting = Setting {
            devices: devices.iter().map(routed).chain(hosts.iter().map(of_host)).collect(),
            fixed: config
                .neighbors
                .iter()
                .filter(|of| of.vlan.is_none()) // of a VLAN: the bridge's, which answers for them
                .filter_map(|of| Some((known.get(&*of.device)?.0, of.address, of.mac)))
                .collect(),
            far_ends: known_far_ends(config, number),
            groups: config
                .groups()
                .into_iter()
                .filter_map(|(dev, group)| Some((known.get(dev)?.0, group)))
                .collect(),
            vxlan_ends: vxlans.addresses().collect(),
            dad_transmits: config.routing.dad_transmits,
            icmp_rate: match config.routing.icmp_ratelimit {
                0 => Rate::UNLIMITED,
                per_second => Rate { per_second, ..Rate::ICMP },
            },
        };
        self.router.set(setting, now);
        let inputs =
            Inputs { devices, own: self.router.local_addresses().collect(), routes: config.routes.clone() };
        let parents: BTreeSet<_> =
            routed_parents(config).filter_map(|link| Some(known.get(link)?.0)).collect();
        let is_same = |before: &Inputs| *before == inputs && parents.iter().eq(self.routing.ways.keys());
        let mut routing = match &self.inputs {
            Some(before) if is_same(before) => {
                let mut routing = Routing::clone(&self.routing);
                inputs.describe(config, &mut routing);
                routing
            }
            _ => {
                let ways = parents.iter().map(|&link| (link, inputs.ways(config, link)));
                Routing { ways: ways.collect(), ..inputs.compile(config) }
            }
        };
        self.told = self.router.generation();
        set_neighbors(&mut routing, self.router.neighbors());
        routing.path_mtus = self.router.path_mtus().collect();
        routing.failing = self.router.failing().collect();
        narrow(config, &inputs.devices, &mut routing);
        (self.inputs, self.routing) = (Some(inputs), Arc::new(routing));
        Arc::clone(&self.routing)
    }

    /// The route that packets for an address take, and what it comes of.
    pub(super) fn known(&self, to: IpAddr) -> Option<Known<'_>> {
        self.inputs.as_ref()?.known_to(to)
    }

    /// A route to an address that is of no use, for its devices are down.
    pub(super) fn asleep(&self, to: IpAddr) -> Option<&RouteConfig> {
        self.inputs.as_ref()?.asleep(to)
    }

    /// A worker has handed this over.
    pub(super) fn hear(&mut self, device: DeviceId, reason: PuntReason, frame: &[u8], now: Duration) {
        self.router.hear(device, reason, frame, &self.routing, now);
    }

    /// Whatever is due, and whether workers are to know other neighbours then.
    pub(super) fn tick(&mut self, now: Duration) -> bool {
        self.router.tick(&self.routing, now);
        self.router.generation() != self.told
    }
}

/// The devices that are routed: those with addresses that have no other use, and tunnels of packets, which have none unless they are the host's.
pub(crate) fn routed(config: &Config) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = config.addresses.iter().map(|said| &*said.device).collect();
    for port in config.bridges.iter().flat_map(|bridge| &bridge.ports) {
        names.remove(&*port.device);
    }
    for wire in &config.xconnects {
        names.remove(&*wire.a);
        names.remove(&*wire.b);
    }
    let hosts = config.uppers.iter().filter(|upper| upper.host.is_some()).map(|upper| &*upper.name);
    let tunnels = config.tunnels.iter().filter(|tunnel| tunnel.host.is_some()).map(|tunnel| &*tunnel.name);
    hosts.chain(tunnels).for_each(|name| {
        names.remove(name);
    });
    names.extend(packet_tunnels(config).filter(|tunnel| tunnel.host.is_none()).map(|tunnel| &*tunnel.name));
    names
}

/// The tunnels that carry packets: routed, whether or not they have an address, or the host's.
fn packet_tunnels(config: &Config) -> impl Iterator<Item = &TunnelConfig> {
    config.tunnels.iter().filter(|tunnel| tunnel.kind.carries_packets())
}

/// The ipvlans of mode L3, whose device finds their way (`ipvlan_set_port_mode`, drivers/net/ipvlan/ipvlan_main.c).
fn without_neighbors(config: &Config) -> impl Iterator<Item = &str> {
    routed_ipvlans(config).map(|ipvlan| &*ipvlan.name)
}

/// What those stand on.
fn routed_parents(config: &Config) -> impl Iterator<Item = &str> {
    routed_ipvlans(config).map(|ipvlan| &*ipvlan.link)
}

fn routed_ipvlans(config: &Config) -> impl Iterator<Item = &UpperConfig> {
    let is_one = |kind: &UpperKind| matches!(kind, UpperKind::Ipvlan(ipvlan) if ipvlan.mode.is_routed());
    config.uppers.iter().filter(move |upper| is_one(&upper.kind))
}

impl Switch {
    /// A descriptor that is readable when a worker has something for [`Switch::hear_workers`].
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn heard(&self) -> io::Result<OwnedFd> {
        self.roads.bell.as_fd().try_clone_to_owned()
    }

    /// Acts on what workers have handed over since the last call. [`Switch::tick`] does so too, later.
    pub fn hear_workers(&mut self) {
        self.roads.bell.awake();
        self.run_protocols();
        self.roads.bell.prepare_to_sleep();
        // What came between the two rang nobody.
        self.run_protocols();
    }

    /// Sends what the router says, when workers know the neighbours that it is for.
    pub(super) fn route_on(&mut self, has_news: bool) {
        if has_news {
            self.publish();
        }
        let outputs: Vec<_> = self.roads.router.outputs().collect();
        for output in outputs {
            let (device, direction, frame) = match output {
                Output::Send { device, frame } => (device, Direction::Tx, frame),
                Output::Receive { device, frame } => (device, Direction::Rx, frame),
            };
            let Some(port) = self.ports.get(device) else { continue };
            let member = &mut self.crew.members[port.owner.index()];
            // A ring that is full of what control has made before loses this, as a wire might: it is sent again.
            let _ = member.inject.offer(Injection { device, direction }, &frame);
            member.wake();
        }
        for notice in self.roads.router.notices() {
            let message = match notice {
                Notice::Conflict { device, address, mac } => {
                    let ifname = self.name(device);
                    format!(
                        "{address}, an address of {ifname}, is claimed by {mac} too: give one of them another"
                    )
                }
                Notice::Duplicate { device, address, mac } => {
                    let ifname = self.name(device);
                    format!(
                        "{address}, an address of {ifname}, is used by {mac} already, so it is not used here (dadfailed): give one of them \
                         another, or set the link down and up when the other is gone"
                    )
                }
            };
            self.events.tell(Event::Warning { message });
        }
    }

    /// What has happened in routing, in numbers.
    pub fn router_counters(&self) -> Counters {
        self.roads.router.counters()
    }

    /// The addresses of routed devices, and which of them are not used.
    pub fn addresses(&self) -> Vec<AddressesView> {
        let mut devices: BTreeMap<DeviceId, Vec<AddressView>> = BTreeMap::new();
        for (device, address, prefixlen, unused) in self.roads.router.addresses() {
            let is_near = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
            devices.entry(device).or_default().push(AddressView {
                family: if address.is_ipv4() { "inet" } else { "inet6" }.into(),
                local: address.to_string(),
                prefixlen,
                scope: if is_near { "link" } else { "global" }.into(),
                tentative: unused.is_some(),
                dadfailed: unused == Some(Unused::Duplicate),
            });
        }
        let view = |(device, addr_info)| AddressesView { ifname: self.name(device).to_owned(), addr_info };
        devices.into_iter().map(view).collect()
    }

    /// How sure each neighbour of a routed device is.
    pub(super) fn neighbor_states(&self) -> BTreeMap<(DeviceId, IpAddr), &'static str> {
        let states = self.roads.router.view(self.time.elapsed());
        states.into_iter().map(|of| ((of.device, of.address), of.state.word())).collect()
    }

    /// Every route, as `ip route` tells them: the networks of our addresses, and the file's.
    pub fn routes(&self) -> Vec<RouteView> {
        let is_down = |name: &str| {
            !self.ports.find(name).and_then(|id| self.ports.get(id)).is_some_and(Port::is_usable)
        };
        let flags = |name: &str, onlink: bool| {
            let words = [(onlink, "onlink"), (is_down(name), "linkdown")];
            words.iter().filter(|(is, _)| *is).map(|(_, word)| (*word).to_owned()).collect::<Vec<_>>()
        };
        let names = routed(&self.config);
        let own = self.config.addresses.iter().filter(|said| names.contains(&*said.device));
        let network = |said: &AddressConfig| {
            let HostAddress { address, prefix_length } = said.address;
            let bits = if address.is_ipv4() { 32 } else { 128 };
            (prefix_length < bits).then(|| RouteView {
                dst: network_of(address, prefix_length).to_string(),
                dev: Some(said.device.clone()),
                protocol: "kernel".into(),
                scope: address.is_ipv4().then(|| "link".into()),
                metric: connected_metric(address),
                prefsrc: address.is_ipv4().then(|| address.to_string()),
                flags: flags(&said.device, false),
                ..RouteView::default()
            })
        };
        let of_file = |route: &RouteConfig| {
            let plain = RouteView {
                dst: route.to.to_string(),
                protocol: "static".into(),
                metric: Some(route.metric).filter(|&metric| metric != 0),
                ..RouteView::default()
            };
            let nowhere = |kind: &str| RouteView { kind: Some(kind.into()), ..plain.clone() };
            match &route.way {
                RouteWay::Blackhole => nowhere("blackhole"),
                RouteWay::Unreachable => nowhere("unreachable"),
                RouteWay::Prohibit => nowhere("prohibit"),
                RouteWay::Hops(hops) => match &hops[..] {
                    [hop] => RouteView {
                        gateway: hop.via.map(|via| via.to_string()),
                        dev: Some(hop.device.clone()),
                        scope: hop.via.is_none().then(|| "link".into()),
                        flags: flags(&hop.device, hop.onlink),
                        ..plain
                    },
                    hops => {
                        let view = |hop: &HopConfig| NextHopView {
                            gateway: hop.via.map(|via| via.to_string()),
                            dev: hop.device.clone(),
                            weight: hop.weight.number(),
                            flags: flags(&hop.device, hop.onlink),
                        };
                        RouteView { nexthops: hops.iter().map(view).collect(), ..plain }
                    }
                },
            }
        };
        own.filter_map(network).chain(self.config.routes.iter().map(of_file)).collect()
    }
}
