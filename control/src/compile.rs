//! Configuration → tables: what workers execute, decided before a frame arrives.

mod ipvlan;
mod macvlan;
mod own;
mod routing;
mod tunnels;
mod underlay;
mod vlans;
mod vxlan;

pub(crate) use routing::{Inputs, Known, Origin, Routed, connected_metric, set_neighbors};
pub(crate) use tunnels::{known_far_ends, narrow};
pub(crate) use underlay::address_on;
pub use vlans::VlanCounts;
pub use vxlan::NetworkCounts;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rigswitch_dataplane::bridge::{BridgeConfig, BridgePortConfig};
use rigswitch_dataplane::ids::{DeviceId, DomainId, MacAddr, VlanId};
use rigswitch_dataplane::ports::Capabilities;
use rigswitch_dataplane::tables::{
    Descent, Device, Domain, HostPort, IpvlanDescent, Knobs, Mdb, Neighbors, PortState, Role, Routing,
    Tables, Tags, TagsId, VlanDescent, VlanPort, WorkerId,
};
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};
use rigswitch_dataplane::vlan::VlanConfig;

use crate::config::Config;
use crate::domains::Domains;
use crate::far_ends::FarEnds;

/// What is known of a port that no file says. A bridge's own is one too, under the bridge's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortFacts<'a> {
    /// Its number.
    pub id: DeviceId,
    /// Its name.
    pub name: &'a str,
    /// The worker that sends for those without a queue of it.
    pub owner: WorkerId,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Bytes of payload that it carries.
    pub mtu: u32,
    /// Whether it has carrier. A member without is disabled, whatever the file says.
    pub up: bool,
    /// The state that a spanning tree gives it, if there is one.
    pub tree: Option<PortState>,
    /// What it does with offload state.
    pub capabilities: Capabilities,
    /// The number of the inside of it, if it is a bridge's own device, for something stands on that or it has addresses.
    pub inside: Option<DeviceId>,
}

/// Where frames are counted besides on their devices.
#[derive(Default)]
pub struct Counts {
    /// By VLAN.
    pub vlans: VlanCounts,
    /// By network of VXLAN devices that have many.
    pub networks: NetworkCounts,
}

/// Tables of these ports in the roles that the configuration gives them. Each bridge has a domain already, and a database of
/// groups, as has each of its VLANs, if it snoops; VLANs and networks are counted where there is a place for that. A device that `routing` knows is routed.
pub fn compile(
    ports: &[PortFacts<'_>],
    config: &Config,
    numbers: &Domains,
    mdbs: &BTreeMap<DomainId, Arc<Mdb>>,
    counts: &Counts,
    routing: &Arc<Routing>,
    far_ends: &FarEnds,
) -> Tables {
    let named: Named<'_> = ports.iter().map(|port| (port.name, port)).collect();
    let numbers_of = |port: &PortFacts<'_>| port.id.index().max(port.inside.map_or(0, DeviceId::index)) + 1;
    let mut devices = vec![Device::NONE; ports.iter().map(numbers_of).max().unwrap_or(0)];
    for port in ports {
        devices[port.id.index()] = Device {
            owner: port.owner,
            longest: Device::longest_for_mtu(port.mtu),
            capabilities: port.capabilities,
            ..Device::NONE
        };
    }
    let uppers: HashMap<_, _> = config.uppers.iter().map(|upper| (&*upper.name, upper)).collect();
    let mut domains = vec![Domain::default(); numbers.places()];
    let mut vlan_ports: Vec<Option<Box<VlanPort>>> = vec![None; devices.len()];
    for bridge in &config.bridges {
        let Some(domain) = numbers.of(&bridge.name) else { continue };
        let mut members = Vec::new();
        let mut vlans = bridge.vlans.filtering.then(|| vlans::bridge(bridge, domain, numbers, &counts.vlans));
        for port in &bridge.ports {
            let Some(facts) = named.get(&*port.device) else { continue };
            let knobs = knobs(bridge, port, facts);
            let device = &mut devices[facts.id.index()];
            (device.role, device.knobs) = (Role::member(domain, &knobs), knobs);
            if vlans.is_some() {
                let vlan_port = vlans::port(bridge, port, &counts.vlans);
                device.role = Role::vlan_member(domain, &knobs, &vlan_port);
                vlan_ports[facts.id.index()] = Some(Box::new(vlan_port));
            }
            if knobs.state == PortState::Forwarding {
                members.push((facts.id, port));
            }
        }
        let list = |takes: fn(&BridgePortConfig) -> bool, host: Option<HostPort>| {
            let ports = members.iter().filter(|(_, port)| takes(port)).map(|(id, _)| *id);
            ports.chain(host.map(|host| host.device)).collect()
        };
        let own = named.get(&*bridge.name);
        if let Some(facts) = own {
            let member = own::place(bridge, domain, facts, &mut devices);
            let vlans = vlans.as_mut().map(|vlans| Box::new(std::mem::take(&mut vlans.own)));
            vlan_ports[member.index()] = vlans;
        }
        let is_device = own.is_some_and(|facts| facts.inside.is_some());
        let host = own.filter(|facts| facts.up).map(|facts| own::host_port(facts));
        let promiscuous = host.filter(|host| is_device && own::is_promiscuous(&uppers, bridge, host.mac));
        let whole = Domain {
            unicast: list(|port| port.flood, promiscuous),
            multicast: list(|port| port.mcast_flood, host),
            broadcast: list(|port| port.bcast_flood, host),
            from_host: list(|_| true, None),
            host,
            mdb: mdbs.get(&domain).cloned(),
            tells_moves: bridge.mac_moves.limit > 0,
            neighbors: neighbors(config, &bridge.name, None),
            vlans: vlans.map(|vlans| Box::new(vlans.vlans)),
            of: None,
        };
        let place = |domain: DomainId| usize::from(domain.number()) - 1;
        let port = |id: DeviceId| vlan_ports[id.index()].as_deref();
        if whole.vlans.is_some() {
            for (vlan, mut of_vlan) in vlans::domains(domain, &bridge.name, numbers, &whole, mdbs, port) {
                of_vlan.neighbors = neighbors(config, &bridge.name, numbers.vlan(vlan));
                domains[place(vlan)] = of_vlan;
            }
        }
        domains[place(domain)] = whole;
    }
    let children = ipvlan::children(config, &named, routing, &mut devices);
    stand(config, &named, &mut devices);
    for wire in &config.xconnects {
        let (Some(a), Some(b)) = (named.get(&*wire.a), named.get(&*wire.b)) else { continue };
        devices[a.id.index()].role = Role::Xconnect(b.id);
        devices[b.id.index()].role = Role::Xconnect(a.id);
    }
    let is_routed = |id: usize| u16::try_from(id).is_ok_and(|id| routing.interface(DeviceId(id)).is_some());
    for (_, device) in devices.iter_mut().enumerate().filter(|(id, _)| is_routed(*id)) {
        // What ipvlans of mode L3 leave over is.
        if !matches!(device.role, Role::Ipvlan(_)) {
            device.role = Role::Routed;
        }
    }
    let tags = tags(config, &named, &mut devices);
    let macvlans = macvlan::macvlans(config, &named, &mut devices);
    let mut tunnels = tunnels::tunnels(config, &named, routing, &mut devices);
    let work =
        vxlan::Work { config, named: &named, routing, domains: numbers, far_ends, counts: &counts.networks };
    let mut remotes = tunnels.remotes.into_vec();
    (tunnels.vxlans, tunnels.listeners) = vxlan::vxlans(&work, &mut remotes, &mut devices);
    tunnels.remotes = remotes.into();
    tunnels.groups = vxlan::groups_beneath(config, &named);
    let tables = Tables::with_vlans(devices.into(), domains.into(), vlan_ports.into());
    let tables = tables.with_tags(tags).with_children(children).with_macvlans(macvlans);
    tables.with_tunnels(Arc::new(tunnels)).with_routing(Arc::clone(routing))
}

type Named<'p> = HashMap<&'p str, &'p PortFacts<'p>>;

/// How what devices send leaves that stand on others: those of the host's by what it sends, the rest by what they are sent.
fn stand(config: &Config, named: &Named<'_>, devices: &mut [Device]) {
    for upper in &config.uppers {
        let (Some(facts), Some(link)) = (named.get(&*upper.name), named.get(&*upper.link)) else { continue };
        let descent = match upper.kind {
            UpperKind::Vlan(VlanConfig { id, protocol }) => Descent::Vlan(VlanDescent {
                link: link.id,
                tpid: protocol,
                vlan: id,
                longest: Device::longest_for_mtu(facts.mtu),
            }),
            UpperKind::Ipvlan(_) => {
                let Role::Ipvlan(children) = devices[link.id.index()].role else { continue };
                let longest = Device::longest_for_mtu(facts.mtu);
                Descent::Ipvlan(IpvlanDescent { link: link.id, children, longest })
            }
            UpperKind::Macvlan(_) => continue, // with those beside it
        };
        descend(&mut devices[facts.id.index()], upper, descent);
    }
}

/// What a device sends that stands on another leaves this way.
fn descend(device: &mut Device, upper: &UpperConfig, descent: Descent) {
    give_way(device, upper.host.is_some(), descent);
}

/// What a device without queues of its own sends leaves this way, or what the host sends by one that it has.
fn give_way(device: &mut Device, is_hosts: bool, descent: Descent) {
    if is_hosts {
        (device.role, device.longest) = (Role::Upper(descent), u32::MAX);
    } else {
        (device.descent, device.longest) = (descent, 0);
    }
}

/// The sub-interfaces of every device that has some, of which it then tells.
fn tags(config: &Config, named: &Named<'_>, devices: &mut [Device]) -> Box<[Tags]> {
    let mut by_link: BTreeMap<DeviceId, Vec<_>> = BTreeMap::new();
    for upper in &config.uppers {
        let (Some(facts), Some(link)) = (named.get(&*upper.name), named.get(&*upper.link)) else { continue };
        let UpperKind::Vlan(VlanConfig { id, protocol }) = upper.kind else { continue };
        // A wire takes everything.
        if matches!(devices[link.id.index()].role, Role::Xconnect(_)) {
            continue;
        }
        by_link.entry(link.id).or_default().push((protocol, id, facts.id));
    }
    for (link, number) in by_link.keys().zip(0..) {
        devices[link.index()].tags = Some(TagsId(number));
    }
    by_link.into_values().map(Tags::new).collect()
}

/// Who has which address, as a bridge was told, in a VLAN or in none.
fn neighbors(config: &Config, bridge: &str, vlan: Option<VlanId>) -> Neighbors {
    let told = config.neighbors.iter().filter(|of| of.device == bridge && of.vlan == vlan);
    Neighbors::new(told.map(|neighbor| (neighbor.address, neighbor.mac)))
}

/// The bit of a mask of reserved addresses that stands for 01:80:C2:00:00:00.
const BPDUS: u16 = 1;

/// The knobs of a port: its own, and those of its bridge that bear on what comes from it.
fn knobs(bridge: &BridgeConfig, port: &BridgePortConfig, facts: &PortFacts<'_>) -> Knobs {
    let mask = if port.transparent { u16::MAX } else { bridge.group_fwd_mask | port.group_fwd_mask };
    let takes_bpdus = bridge.spanning_tree.enabled;
    Knobs {
        state: if facts.up { facts.tree.unwrap_or(port.state) } else { PortState::Disabled },
        // The kernel forgets at once by not learning at all (`br_fdb_update`, net/bridge/br_fdb.c).
        learning: port.learning && !bridge.ageing_time.is_zero(),
        linklocal_learn: !bridge.no_linklocal_learn,
        hairpin: port.hairpin,
        isolated: port.isolated,
        locked: port.locked,
        mab: port.mab && !bridge.ageing_time.is_zero(),
        neigh_suppress: port.neigh_suppress,
        answers: !port.neigh_suppress && bridge.ports.iter().any(|other| other.neigh_suppress),
        passes: mask | if takes_bpdus { 0 } else { BPDUS },
        punts: if takes_bpdus { BPDUS } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use rigswitch_dataplane::ids::DomainId;

    use super::*;

    const PORTS: &str = r#"
        port = [
            { name = "p0", memory = true }, { name = "p1", memory = true }, { name = "p2", memory = true },
            { name = "p3", memory = true }, { name = "p4", memory = true },
        ]
    "#;

    fn compiled(bridges: &str, down: Option<&str>) -> Tables {
        let config = Config::parse(&format!("{PORTS}\n{bridges}"), "rig.toml").unwrap();
        let facts = |index: u16| {
            let name = &*config.ports[usize::from(index)].name;
            PortFacts {
                id: DeviceId(index),
                name,
                owner: WorkerId(u16::from(index > 2)),
                mac: MacAddr::ZERO,
                mtu: 1500,
                up: down != Some(name),
                tree: None,
                capabilities: Capabilities::default(),
                inside: None,
            }
        };
        let ports: Vec<_> = (0..5).map(facts).collect();
        let mut domains = Domains::default();
        domains.admit(&config).unwrap();
        compile(
            &ports,
            &config,
            &domains,
            &BTreeMap::new(),
            &Counts::default(),
            &Arc::default(),
            &FarEnds::default(),
        )
    }

    fn domain(place: u16) -> DomainId {
        DomainId::new(place).unwrap()
    }

    #[test]
    fn every_port_has_the_role_that_the_file_gives_it() {
        let tables = compiled(
            r#"
            bridge = [{ name = "br0" }, { name = "br1", port = [{ device = "p3" }, { device = "p0" }] }]
            xconnect = [{ a = "p1", b = "p4" }]
            "#,
            None,
        );
        let roles: Vec<_> = tables.devices().iter().map(|device| device.role).collect();
        let br1 = Role::Bridge(domain(2));
        assert_eq!(roles, [br1, Role::Xconnect(DeviceId(4)), Role::Unused, br1, Role::Xconnect(DeviceId(1))]);
        assert_eq!(*tables.domain(domain(2)), Domain::of([DeviceId(3), DeviceId(0)]));
        assert_eq!(*tables.domain(domain(1)), Domain::default());
        assert_eq!(
            (tables.device(DeviceId(3)).owner, tables.device(DeviceId(3)).longest),
            (WorkerId(1), 1518)
        );
    }

    #[test]
    fn knobs_at_rest_leave_a_plain_member_and_those_of_flooding_too() {
        let tables = compiled(
            r#"
            [[bridge]]
            name = "br0"
            port = [
                { device = "p0", flood = false }, { device = "p1", mcast_flood = false, bcast_flood = false },
                { device = "p2", isolated = true }, { device = "p3", state = "blocking" }, { device = "p4" },
            ]
            "#,
            Some("p4"),
        );
        let br0 = |id: u16| tables.device(DeviceId(id)).role == Role::Bridge(domain(1));
        assert_eq!([0, 1, 2, 3, 4].map(br0), [true, true, false, false, false]);
        assert!(tables.devices().iter().all(|device| device.role.domain() == Some(domain(1))));
        let domain = tables.domain(domain(1));
        assert_eq!(*domain.unicast, [1, 2].map(DeviceId));
        assert_eq!(*domain.multicast, [0, 2].map(DeviceId));
        assert_eq!(domain.broadcast, domain.multicast);
        assert_eq!(tables.device(DeviceId(3)).knobs.state, PortState::Blocking);
        assert_eq!(tables.device(DeviceId(4)).knobs.state, PortState::Disabled);
    }

    #[test]
    fn a_port_passes_the_reserved_addresses_of_its_own_mask_and_of_its_bridges() {
        let tables = compiled(
            r#"
            [[bridge]]
            name = "br0"
            group_fwd_mask = 0x4000
            port = [{ device = "p0", group_fwd_mask = 4 }, { device = "p1", transparent = true }, { device = "p2" }]
            "#,
            None,
        );
        let passes = |id: u16| tables.device(DeviceId(id)).knobs.passes;
        assert_eq!([0, 1, 2].map(passes), [0x4005, 0xffff, 0x4001]);
    }

    #[test]
    fn a_number_without_a_port_is_nothing() {
        let port = PortFacts {
            id: DeviceId(2),
            name: "p0",
            owner: WorkerId(0),
            mac: MacAddr::ZERO,
            mtu: 1500,
            up: true,
            tree: None,
            capabilities: Capabilities::default(),
            inside: None,
        };
        let tables = compile(
            &[port],
            &Config::default(),
            &Domains::default(),
            &BTreeMap::new(),
            &Counts::default(),
            &Arc::default(),
            &FarEnds::default(),
        );
        assert_eq!(tables.devices()[..2], [Device::NONE; 2]);
        assert_eq!([0, 2, 3].map(|id| tables.has(DeviceId(id))), [false, true, false]);
    }
}
