//! What a device that stands on another, or is a bridge's own, has from below: whether frames go out, its address and its MTU.

use rigswitch_dataplane::ids::MacAddr;

use super::Port;
use crate::events::{Event, Events};

/// What it takes after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::switch) struct Standing {
    /// Whether frames go out of the device it stands on, or of any port of its bridge.
    pub(in crate::switch) is_running: bool,
    /// Its own address, or else that of the device it stands on.
    pub(in crate::switch) mac: MacAddr,
    /// Bytes of payload.
    pub(in crate::switch) mtu: u32,
}

impl Port {
    /// The address that the switch itself has there. A TAP's is that of whoever is behind it, and files have none.
    pub(in crate::switch) fn station_address(&self) -> MacAddr {
        self.config.address.or(self.own_address()).unwrap_or_else(|| MacAddr::of_name(&self.config.name))
    }

    /// Goes up or down with the carrier of its bridge, if it is that one's own, and tells so. Whether that is news.
    pub(in crate::switch) fn carry(&mut self, carrier: bool, events: &mut Events) -> bool {
        let Some(standing) = self.standing.filter(|standing| standing.is_running != carrier) else {
            return false;
        };
        self.stand(Standing { is_running: carrier, ..standing }, events);
        true
    }

    /// Takes after the device it stands on, and tells what is new about that. Whether it is down now, and was not.
    pub(in crate::switch) fn stand(&mut self, standing: Standing, events: &mut Events) -> bool {
        let was_running = self.is_running();
        let before = self.standing.replace(standing);
        let is_running = self.is_running();
        let mtu = std::mem::replace(&mut self.mtu, standing.mtu);
        let ifname = || self.config.name.clone();
        if let Some(before) = before {
            if before.mac != standing.mac {
                events.tell(Event::Address { ifname: ifname(), address: standing.mac.to_string() });
            }
            if mtu != standing.mtu {
                events.tell(Event::Mtu { ifname: ifname(), mtu: standing.mtu });
            }
            match (was_running, is_running) {
                (true, false) => events.tell(Event::Down { ifname: ifname() }),
                (false, true) => events.tell(Event::Up { ifname: ifname() }),
                _ => {}
            }
        }
        was_running && !is_running
    }
}
