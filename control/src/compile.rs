//! Configuration → tables: what workers execute, decided before a frame arrives.

use std::collections::HashMap;

use rigswitch_dataplane::bridge::{BridgeConfig, XconnectConfig};
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::Capabilities;
use rigswitch_dataplane::tables::{Device, Domain, Role, Tables, WorkerId};

use crate::domains::Domains;

/// What is known of a port that no file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortFacts<'a> {
    /// Its number.
    pub id: DeviceId,
    /// Its name.
    pub name: &'a str,
    /// The worker that sends for those without a queue of it.
    pub owner: WorkerId,
    /// Bytes of payload that it carries.
    pub mtu: u32,
    /// What it does with offload state.
    pub capabilities: Capabilities,
}

/// Tables of these ports in the roles that bridges and cross-connects give them. Each bridge has a domain already.
pub fn compile(
    ports: &[PortFacts<'_>],
    bridges: &[BridgeConfig],
    xconnects: &[XconnectConfig],
    numbers: &Domains,
) -> Tables {
    let ids: HashMap<&str, DeviceId> = ports.iter().map(|port| (port.name, port.id)).collect();
    let places = ports.iter().map(|port| port.id.index() + 1).max().unwrap_or(0);
    let mut roles = vec![Role::Unused; places];
    let mut domains = vec![Domain::default(); numbers.places()];
    for bridge in bridges {
        let Some(domain) = numbers.of(&bridge.name) else { continue };
        let members: Box<[_]> =
            bridge.ports.iter().filter_map(|port| ids.get(&*port.device).copied()).collect();
        members.iter().for_each(|member| roles[member.index()] = Role::Bridge(domain));
        domains[usize::from(domain.number()) - 1] = Domain { members, punts_reserved: false };
    }
    for wire in xconnects {
        let (Some(&a), Some(&b)) = (ids.get(&*wire.a), ids.get(&*wire.b)) else { continue };
        roles[a.index()] = Role::Xconnect(b);
        roles[b.index()] = Role::Xconnect(a);
    }
    let mut devices = vec![Device::NONE; places];
    for port in ports {
        devices[port.id.index()] = Device {
            role: roles[port.id.index()],
            owner: port.owner,
            longest: Device::longest_for_mtu(port.mtu),
            capabilities: port.capabilities,
        };
    }
    Tables::new(devices.into(), domains.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_port_has_the_role_that_the_file_gives_it() {
        let text = r#"
            port = [
                { name = "p0", memory = true }, { name = "p1", memory = true }, { name = "p2", memory = true },
                { name = "p3", memory = true }, { name = "p4", memory = true },
            ]
            bridge = [{ name = "br0" }, { name = "br1", port = [{ device = "p3" }, { device = "p0" }] }]
            xconnect = [{ a = "p1", b = "p4" }]
        "#;
        let config = Config::parse(text, "rig.toml").unwrap();
        let facts = |id: u16| PortFacts {
            id: DeviceId(id),
            name: &config.ports[usize::from(id)].name,
            owner: WorkerId(u16::from(id > 2)),
            mtu: 1500,
            capabilities: Capabilities::default(),
        };
        let mut domains = Domains::default();
        domains.admit(&config.bridges);
        let tables = compile(&[0, 1, 2, 3, 4].map(facts), &config.bridges, &config.xconnects, &domains);
        let roles: Vec<_> = tables.devices().iter().map(|device| device.role).collect();
        let domain = |bridge| domains.of(bridge).unwrap();
        let br1 = Role::Bridge(domain("br1"));
        assert_eq!(roles, [br1, Role::Xconnect(DeviceId(4)), Role::Unused, br1, Role::Xconnect(DeviceId(1))]);
        assert_eq!(*tables.domain(domain("br1")).members, [DeviceId(3), DeviceId(0)]);
        assert!(tables.domain(domain("br0")).members.is_empty());
        assert_eq!(
            (tables.device(DeviceId(3)).owner, tables.device(DeviceId(3)).longest),
            (WorkerId(1), 1518)
        );
    }

    #[test]
    fn a_number_without_a_port_is_nothing() {
        let config = Config::parse("port = [{ name = \"p0\", memory = true }]", "rig.toml").unwrap();
        let (owner, capabilities) = (WorkerId(0), Capabilities::default());
        let port = PortFacts { id: DeviceId(2), name: &config.ports[0].name, owner, mtu: 1500, capabilities };
        let tables = compile(&[port], &[], &[], &Domains::default());
        assert_eq!(tables.devices()[..2], [Device::NONE; 2]);
        assert_eq!([0, 2, 3].map(|id| tables.has(DeviceId(id))), [false, true, false]);
    }
}
