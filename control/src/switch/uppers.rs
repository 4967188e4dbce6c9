//! Devices that stand on others: they go up and down with those, and take after them.

use std::collections::HashMap;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::MacvlanMode;
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};

use super::error::SwitchError;
use super::port::{Likeness, Port, Standing};
use super::{Switch, host};
use crate::config::Above;
use crate::events::Event;

impl Switch {
    /// Has every device that stands on another, and every bridge's own, take after what is below, those lower down first.
    /// Returns those that went down.
    pub(super) fn follow_links(&mut self) -> Vec<DeviceId> {
        let Self { config, ports, watch, events, .. } = self;
        let above = config.upward();
        // There may be tens of thousands of them.
        let named = ports.iter().map(|(id, port)| (port.config.name.clone(), id));
        let numbers: HashMap<_, _> = named.filter(|_| !above.is_empty()).collect();
        let of = |name: &String| numbers.get(name).copied();
        let mut fallen = Vec::new();
        for above in above {
            let (name, host, likeness, standing) = match above {
                Above::Bridge(bridge) => {
                    let likeness = host::likeness(bridge, ports);
                    let own = of(&bridge.name).and_then(|id| ports.get(id));
                    let is_running = own.is_some_and(Port::is_running); // until it is known better
                    (&bridge.name, &bridge.host, likeness, likeness.standing(&bridge.name, is_running))
                }
                Above::Upper(upper) => {
                    let link = of(&upper.link).and_then(|id| ports.get(id));
                    let standing = standing(upper, link);
                    let said = (upper.own_address(), upper.mtu.map(|_| standing.mtu));
                    let likeness = Likeness { said, follows: (Some(standing.mac), standing.mtu) };
                    (&upper.name, &upper.host, likeness, standing)
                }
            };
            let Some(id) = of(name) else { continue };
            let Some(port) = ports.get_mut(id) else { continue };
            if host.is_none() {
                fallen.extend(port.stand(standing, events).then_some(id));
                continue;
            }
            let followed = port.follow_below(likeness, watch, events);
            if let Above::Upper(_) = above {
                port.set_carrier(standing.is_running);
            }
            if let Err(source) = followed {
                let error = SwitchError::Port { name: name.clone(), source: source.into() };
                events.tell(Event::Warning { message: error.to_string() });
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
