//! Ports that are shared with the host: what of their devices is the switch's comes before the tables that need it, and goes
//! after them. Ports on the host's sockets: the groups that those take part in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::ports::{Mine, PortConfig};
use rigswitch_dataplane::sys::netns::inside;
use rigswitch_dataplane::sys::stacking;

use super::Switch;
use super::error::SwitchError;
use super::port::{OpenResult, Port, is_shared};
use crate::compile::address_on;
use crate::config::Config;
use crate::events::Events;
use crate::router::link_local;

impl Switch {
    /// Takes what is ours by `wanted` beside what is by now, unless some of it is the host's.
    pub(super) fn claim_also(&mut self, wanted: &Config) -> Result<(), SwitchError> {
        for port in &wanted.ports {
            let Some(mut mine) = mine(wanted, &port.name) else { continue };
            self.check_host(port, &mine)?;
            if let Some(before) = self::mine(&self.config, &port.name) {
                mine.macs.extend(before.macs);
                mine.addresses.extend(before.addresses);
            }
            let Some(open) = self.ports.find(&port.name).and_then(|id| self.ports.get_mut(id)) else {
                continue;
            };
            let failed = |source| SwitchError::Port { name: port.name.clone(), source };
            open.claim(&mine).map_err(failed)?;
        }
        Ok(())
    }

    /// Takes what is ours by the configuration in force, and no more.
    pub(super) fn claim(&mut self) {
        for (_, port) in self.ports.iter_mut().filter(|(_, port)| port.is_shared()) {
            let Some(mut mine) = mine(&self.config, &port.config.name) else { continue };
            // The host may have been given ours since.
            mine.macs.remove(&port.address());
            let result = port.claim(&mine);
            tell(port, result, &mut self.events);
        }
    }

    /// Has the host's sockets take part in the groups that tunnels are in by them, and in no others.
    pub(super) fn take_part(&mut self) {
        for (_, port) in self.ports.iter_mut() {
            let groups = groups(&self.config, &port.config.name);
            let result = port.take_part(&groups);
            tell(port, result, &mut self.events);
        }
    }

    /// Has them join groups anew where the host's addresses have gone and come: a device that is made again is in none.
    pub(super) fn take_part_anew(&mut self) {
        for (_, port) in self.ports.iter_mut() {
            let result = port.take_part_anew();
            tell(port, result, &mut self.events);
        }
    }

    /// Whether the program on a shared device leaves a frame to the host.
    pub(super) fn leaves(&self, port: &str, frame: &[u8]) -> bool {
        mine(&self.config, port).is_some_and(|mine| !mine.takes(frame))
    }

    /// What would be taken must not be an address of the host's, whichever of its devices has it: it answers for it on all.
    fn check_host(&self, config: &PortConfig, mine: &Mine) -> Result<(), SwitchError> {
        let Some(port) = self.ports.find(&config.name).and_then(|id| self.ports.get(id)) else {
            return Ok(());
        };
        let port_name = || config.name.clone();
        if mine.macs.contains(&port.address()) {
            return Err(SwitchError::HostsMac { port: port_name(), mac: port.address().to_string() });
        }
        let Some(namespace) = port.namespace(&self.watch) else { return Ok(()) };
        let failed = |source: std::io::Error| SwitchError::Port { name: port_name(), source: source.into() };
        let addresses = inside(self.watch.netns(namespace), stacking::addresses).and_then(|found| found);
        let mut addresses = addresses.map_err(failed)?.into_iter().map(|(_, address, _)| address);
        match addresses.find(|address| mine.addresses.contains(address)) {
            Some(address) => {
                Err(SwitchError::HostsAddress { port: port_name(), address: address.to_string() })
            }
            None => Ok(()),
        }
    }
}

/// Tells what a port was refused, once.
fn tell(port: &mut Port, result: OpenResult<()>, events: &mut Events) {
    if let Err(source) = result {
        let error = SwitchError::Port { name: port.config.name.clone(), source };
        port.tell_once(error.to_string(), events);
    }
}

/// The groups that tunnels are in by the device `name`, each with the address that they send from there.
fn groups(config: &Config, name: &str) -> BTreeSet<(IpAddr, IpAddr)> {
    let by_it = config.networks().filter(|network| network.vxlan.dev.as_deref() == Some(name));
    let at = by_it.filter_map(|network| {
        let group = network.vxlan.group?;
        let local = network.vxlan.local.or_else(|| address_on(config, name, group))?;
        Some((group, local))
    });
    at.collect()
}

/// What is the switch's on the device of this port, if that is shared with the host.
fn mine(config: &Config, name: &str) -> Option<Mine> {
    let mac = shared(config, name)?;
    let own = config.addresses.iter().filter(|said| said.device == name).map(|said| said.address.address);
    let addresses: BTreeSet<_> = own.chain(own_link_local(config, name)).collect();
    Some(Mine { macs: mac.into_iter().collect(), addresses })
}

/// The link-local address that the switch makes itself there: that of the device's MAC address would be the host's.
pub(super) fn own_link_local(config: &Config, name: &str) -> Option<IpAddr> {
    let mac = shared(config, name)?;
    let own = config.addresses.iter().filter(|said| said.device == name);
    let ipv6 = own.filter_map(|said| match said.address.address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    });
    let ipv6: Vec<_> = ipv6.collect();
    let is_made = !ipv6.is_empty() && !ipv6.iter().any(|address| address.is_unicast_link_local());
    is_made.then(|| link_local(mac.unwrap_or_else(|| MacAddr::of_name(name))).into())
}

/// The switch's own MAC address, if it has one, on the device of this port; `None` unless that is shared with the host.
fn shared(config: &Config, name: &str) -> Option<Option<MacAddr>> {
    let port = config.ports.iter().find(|port| port.name == name)?;
    is_shared(&port.kind).then_some(port.address)
}
