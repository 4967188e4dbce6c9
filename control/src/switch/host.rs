//! What makes the device of a bridge the bridge's own, be it the host's or not: its address and MTU, its carrier, and the
//! addresses that are not forwarded but go up to it.

use std::collections::{BTreeMap, HashMap};

use rigswitch_dataplane::bridge::{BridgeConfig, FdbEntryConfig};
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::{Entry, Flags, Key};

use super::Switch;
use super::port::{Likeness, Port};
use super::ports::Ports;

/// The MTU of a bridge without ports (the kernel's `ETH_DATA_LEN`).
const EMPTY_MTU: u32 = 1500;

/// Entries that nobody put there: those of the bridges' and their ports' own addresses.
pub(super) type OwnEntries = BTreeMap<Key, DeviceId>;

impl Switch {
    /// Gives bridges' own devices a carrier as long as a port of the bridge forwards (`br_port_state_selection`,
    /// net/bridge/br_stp_if.c). Whether one that the host does not have has gained or lost it, and what stands on it with it.
    pub(super) fn carry_bridges(&mut self) -> bool {
        let (tables, used) = (self.publisher.current(), self.config.used_devices());
        let is_device = |bridge: &&BridgeConfig| bridge.host.is_some() || used.contains(&*bridge.name);
        let mut changed = false;
        for bridge in self.config.bridges.iter().filter(is_device) {
            let Some(domain) = self.domains.of(&bridge.name) else { continue };
            let Some(device) = self.ports.find(&bridge.name).and_then(|id| self.ports.get_mut(id)) else {
                continue;
            };
            let carrier = !tables.domain(domain).from_host.is_empty();
            match bridge.host {
                Some(_) => device.set_carrier(carrier),
                None => changed |= device.carry(carrier, &mut self.events),
            }
        }
        changed
    }

    /// Puts the bridges' own addresses and those of their ports in the MAC table: frames to them go no further. What somebody
    /// has put there for one of them stays (`fdb_add_local`, net/bridge/br_fdb.c).
    pub(super) fn note_own_addresses(&mut self) {
        let wanted = self.own_addresses();
        for (key, id) in std::mem::take(&mut self.own) {
            if wanted.get(&key) == Some(&id) {
                self.own.insert(key, id);
            } else if self.entry(key).is_some_and(|entry| entry.is_local() && entry.egress().device == id) {
                self.remove(key);
            }
        }
        for (key, id) in wanted {
            if self.own.contains_key(&key) || self.is_in_file(key) {
                continue;
            }
            let found = self.entry(key);
            if found.is_none_or(Entry::is_learned) {
                if let Err(full) = self.put(key, id, Flags::LOCAL) {
                    self.warn_of(&full);
                    continue;
                }
            } else if !found.is_some_and(|entry| entry.is_local() && entry.egress().device == id) {
                continue;
            }
            self.own.insert(key, id);
        }
    }

    /// Whose they are. Of ports with one address it is the first's.
    fn own_addresses(&self) -> OwnEntries {
        let named: HashMap<&str, (DeviceId, &Port)> =
            self.ports.iter().filter(|(_, port)| !port.leaving).map(|it| (&*it.1.config.name, it)).collect();
        let mut own = OwnEntries::new();
        for bridge in &self.config.bridges {
            let Some(domain) = self.domains.of(&bridge.name) else { continue };
            let members = bridge.ports.iter().map(|port| &port.device).chain([&bridge.name]);
            for (id, port) in members.filter_map(|name| named.get(&**name)) {
                if let Some(address) = port.own_address() {
                    let inside = self.ports.inside(&port.config.name);
                    own.entry(Key::new(domain, address)).or_insert(inside.unwrap_or(*id));
                }
            }
        }
        own
    }

    fn is_in_file(&self, key: Key) -> bool {
        let name = self.bridge(key.domain());
        let bridge = self.config.bridges.iter().find(|bridge| bridge.name == name);
        let is =
            |entry: &FdbEntryConfig| entry.mac == key.mac() && entry.vlan == self.domains.vlan(key.domain());
        bridge.is_some_and(|bridge| bridge.fdb.iter().any(is))
    }
}

/// What a bridge would have its own device be like.
pub(super) fn likeness(bridge: &BridgeConfig, ports: &Ports) -> Likeness {
    let open = bridge.ports.iter().filter_map(|port| ports.get(ports.find(&port.device)?));
    let mtus = open.filter(|port| !port.is_gone()).map(|port| port.mtu);
    Likeness {
        said: (bridge.address, bridge.mtu.map(u32::from)),
        follows: (lowest(bridge, ports, Port::own_address), mtus.min().unwrap_or(EMPTY_MTU)),
    }
}

/// The address that a bridge is known by: that of its host's port, its own, or else the lowest of its ports', of TAPs only where
/// there is no other (`br_stp_recalculate_bridge_id`, net/bridge/br_stp_if.c).
pub(super) fn address(bridge: &BridgeConfig, ports: &Ports) -> Option<MacAddr> {
    let host = ports.find(&bridge.name).and_then(|id| ports.get(id)?.own_address());
    let any = |port: &Port| Some(port.address()).filter(|address| !address.is_zero());
    let of_ports = || lowest(bridge, ports, Port::own_address).or_else(|| lowest(bridge, ports, any));
    host.or(bridge.address).or_else(of_ports)
}

/// The MTU of a bridge: that of its host's port.
pub(super) fn mtu(bridge: &BridgeConfig, ports: &Ports) -> Option<u32> {
    Some(ports.get(ports.find(&bridge.name)?)?.mtu)
}

fn lowest(
    bridge: &BridgeConfig,
    ports: &Ports,
    address: impl Fn(&Port) -> Option<MacAddr>,
) -> Option<MacAddr> {
    let members = bridge.ports.iter().filter_map(|port| ports.get(ports.find(&port.device)?));
    members.filter_map(address).min_by_key(|address| address.bits())
}
