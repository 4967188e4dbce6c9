//! Devices that stand on others: they go up and down with those, and take after them.

use std::collections::HashMap;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::MacvlanMode;
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};

use super::Switch;
use super::error::SwitchError;
use super::port::{Likeness, Port, Standing};

impl Switch {
    /// Has every device that stands on another take after it, those lower down first. Returns those that went down.
    pub(super) fn follow_links(&mut self) -> Vec<DeviceId> {
        let mut uppers = self.config.uppers.clone();
        // There may be tens of thousands of them.
        let links: HashMap<_, _> =
            self.config.uppers.iter().map(|upper| (&*upper.name, &*upper.link)).collect();
        uppers.sort_by_cached_key(|upper| {
            let below = |link: &&str| links.get::<str>(link).copied();
            std::iter::successors(Some(&*upper.link), below).take(UpperConfig::HIGHEST).count()
        });
        let ports = self.ports.iter().map(|(id, port)| (port.config.name.clone(), id));
        let numbers: HashMap<_, _> = ports.filter(|_| !uppers.is_empty()).collect();
        let mut fallen = Vec::new();
        for upper in uppers {
            let link = numbers.get(&upper.link).and_then(|&id| self.ports.get(id));
            let standing = standing(&upper, link);
            let Some(&id) = numbers.get(&upper.name) else { continue };
            let Some(port) = self.ports.get_mut(id) else { continue };
            if upper.host.is_some() {
                let said = (upper.own_address(), upper.mtu.map(|_| standing.mtu));
                let likeness = Likeness { said, follows: (Some(standing.mac), standing.mtu) };
                let followed = port.follow_bridge(likeness, &mut self.watch, &mut self.events);
                port.set_carrier(standing.is_running);
                if let Err(source) = followed {
                    self.warn_of(&SwitchError::Port { name: upper.name, source: source.into() });
                }
            } else if port.stand(standing, &mut self.events) {
                fallen.push(id);
            }
        }
        fallen
    }

    /// No macvlan is to have the address of the device it stands on, but for one that has the whole of it (`macvlan_addr_busy`,
    /// drivers/net/macvlan.c).
    pub(super) fn check_addresses(&self, uppers: &[UpperConfig]) -> Result<(), SwitchError> {
        for upper in uppers {
            let UpperKind::Macvlan(macvlan) = &upper.kind else { continue };
            let link = self.ports.find(&upper.link).and_then(|id| self.ports.get(id));
            let below = link.map(|link| link.address()).filter(|address| !address.is_zero());
            if macvlan.mode != MacvlanMode::Passthru && below.is_some() && below == upper.own_address() {
                return Err(SwitchError::SharedAddress {
                    upper: upper.name.clone(),
                    link: upper.link.clone(),
                });
            }
        }
        Ok(())
    }
}

/// What it takes after (`vlan_device_event` and `vlan_dev_change_mtu`, net/8021q).
fn standing(upper: &UpperConfig, link: Option<&Port>) -> Standing {
    let mtu = link.map_or(0, |link| link.mtu);
    let own = upper.own_address().filter(|address| !address.is_zero());
    Standing {
        is_running: link.is_some_and(|link| link.is_running()),
        mac: own.or(link.map(|link| link.station_address())).unwrap_or(MacAddr::ZERO),
        mtu: upper.mtu.map_or(mtu, |own| mtu.min(own.into())),
    }
}
