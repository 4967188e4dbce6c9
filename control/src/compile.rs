//! Configuration → tables: what workers execute, decided before a frame arrives.

use std::collections::HashMap;

use rigswitch_dataplane::bridge::{BridgeConfig, XconnectConfig};
use rigswitch_dataplane::ids::{DeviceId, DomainId};
use rigswitch_dataplane::ports::Capabilities;
use rigswitch_dataplane::tables::{Device, Domain, Role, Tables, WorkerId};

/// What is known of a port that no file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// The worker that sends for those without a queue of it.
    pub owner: WorkerId,
    /// Bytes of payload that it carries.
    pub mtu: u32,
    /// What it does with offload state.
    pub capabilities: Capabilities,
}

/// Tables of these ports, numbered as they come, in the roles that bridges and cross-connects give them. A bridge's domain
/// is its place among them, from one.
pub fn compile(ports: &[PortFacts<'_>], bridges: &[BridgeConfig], xconnects: &[XconnectConfig]) -> Tables {
    let ids: HashMap<&str, DeviceId> =
        ports.iter().zip(0..).map(|(port, id)| (port.name, DeviceId(id))).collect();
    let mut roles = vec![Role::Unused; ports.len()];
    let mut domains = Vec::new();
    for (bridge, number) in bridges.iter().zip(1..) {
        let members: Box<[_]> =
            bridge.ports.iter().filter_map(|port| ids.get(&*port.device).copied()).collect();
        let domain = domain(number);
        members.iter().for_each(|member| roles[member.index()] = Role::Bridge(domain));
        domains.push(Domain { members, punts_reserved: false });
    }
    for wire in xconnects {
        let (Some(&a), Some(&b)) = (ids.get(&*wire.a), ids.get(&*wire.b)) else { continue };
        roles[a.index()] = Role::Xconnect(b);
        roles[b.index()] = Role::Xconnect(a);
    }
    let device = |(port, role): (&PortFacts<'_>, Role)| Device {
        role,
        owner: port.owner,
        longest: Device::longest_for_mtu(port.mtu),
        capabilities: port.capabilities,
    };
    Tables::new(ports.iter().zip(roles).map(device).collect(), domains.into())
}

/// The learning domain of the bridge in this place, from one.
///
/// # Panics
/// For zero.
pub fn domain(place: u16) -> DomainId {
    DomainId::new(place).expect("bridges are counted from one")
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
        let facts = |index: usize| PortFacts {
            name: &config.ports[index].name,
            owner: WorkerId(u16::from(index > 2)),
            mtu: 1500,
            capabilities: Capabilities::default(),
        };
        let ports: Vec<_> = (0..config.ports.len()).map(facts).collect();
        let tables = compile(&ports, &config.bridges, &config.xconnects);
        let roles: Vec<_> = tables.devices().iter().map(|device| device.role).collect();
        let br1 = Role::Bridge(domain(2));
        assert_eq!(roles, [br1, Role::Xconnect(DeviceId(4)), Role::Unused, br1, Role::Xconnect(DeviceId(1))]);
        assert_eq!(*tables.domain(domain(2)).members, [DeviceId(3), DeviceId(0)]);
        assert!(tables.domain(domain(1)).members.is_empty());
        assert_eq!(
            (tables.device(DeviceId(3)).owner, tables.device(DeviceId(3)).longest),
            (WorkerId(1), 1518)
        );
    }
}
