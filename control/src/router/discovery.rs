//! Neighbour discovery (RFC 4861 §7.2), as the kernel does it (`ndisc_recv_ns`, `ndisc_recv_na`, net/ipv6/ndisc.c).

use std::net::Ipv6Addr;
use std::time::Duration;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::Routing;
use rigswitch_dataplane::wire::ethernet::Ethernet;
use rigswitch_dataplane::wire::ipv6::Ipv6;
use rigswitch_dataplane::wire::neighbor::{
    Advertisement, HOP_LIMIT, Neighbor, group_mac, solicitation, solicited_node,
};

use super::neighbors::{Heard, Override};
use super::{Output, Router};

pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl Router {
    /// A solicitation or an advertisement whose checksum is right.
    pub(super) fn hear_neighbor(
        &mut self,
        device: DeviceId,
        ethernet: &Ethernet<'_>,
        ip: &Ipv6<'_>,
        message: &Neighbor<'_>,
        routing: &Routing,
        now: Duration,
    ) {
        // RFC 4861 §7.1: it comes from this link, and is about one node.
        if ip.hop_limit() != HOP_LIMIT || message.target().is_multicast() {
            return self.malformed();
        }
        if message.is_solicitation() {
            self.hear_solicitation(device, ethernet, message, routing, now);
        } else {
            self.hear_advertisement(device, ethernet, message, now);
        }
    }

    fn hear_solicitation(
        &mut self,
        device: DeviceId,
        ethernet: &Ethernet<'_>,
        message: &Neighbor<'_>,
        routing: &Routing,
        now: Duration,
    ) {
        let Some(here) = self.devices.find(device) else { return self.ignore() };
        let (source, address, mac) = (message.source(), message.target(), here.mac);
        let is_ours = here.has(address.into());
        let is_to_group = message.destination().is_multicast();
        let Ok(given) = message.source_link_address() else { return self.malformed() };
        // RFC 4861 §7.1.1: who has no address yet asks a group, and tells no link-layer address.
        let is_probe = source.is_unspecified();
        let is_odd_probe = is_probe && (given.is_some() || message.destination() != solicited_node(address));
        if is_odd_probe {
            return self.malformed();
        }
        if !is_ours {
            return self.ignore();
        }
        if self.devices.detection.of((device, address.into())).is_some() {
            // RFC 4862 §5.4.3: two that ask for the same are two that want the same; all others ask in vain.
            let from = ethernet.source();
            return if is_probe && !self.devices.is_own_mac(from) {
                self.duplicate(device, address, from);
            } else {
                self.ignore();
            };
        }
        let is_router = routing.interface(device).is_some_and(|interface| interface.forwards);
        let said = Advertisement { mac, address, is_router, is_solicited: !is_probe, overrides: is_to_group };
        if is_probe {
            return self.advertise(device, said, (group_mac(ALL_NODES), ALL_NODES));
        }
        let station = given.unwrap_or(ethernet.source());
        if station.is_group() || station.is_zero() {
            return self.malformed();
        }
        if self.devices.is_own_mac(station) {
            return self.ignore();
        }
        if self.devices.owns(source.into()) && !source.is_unicast_link_local() || self.has(device, source) {
            return self.conflict(device, source.into(), station, now);
        }
        let heard = Heard { mac: given, confirms: false, creates: true, overrides: Override::Always };
        self.neighbors.learn((device, source.into()), heard, now);
        self.advertise(device, said, (station, source));
    }

    fn hear_advertisement(
        &mut self,
        device: DeviceId,
        ethernet: &Ethernet<'_>,
        message: &Neighbor<'_>,
        now: Duration,
    ) {
        let Some(here) = self.devices.find(device) else { return self.ignore() };
        let address = message.target();
        let is_ours = here.has(address.into());
        // RFC 4861 §7.1.2: what is told to many was asked by nobody.
        if message.destination().is_multicast() && message.is_solicited() {
            return self.malformed();
        }
        let given = match message.target_link_address() {
            Ok(Some(mac)) if mac.is_group() || mac.is_zero() => return self.malformed(),
            Ok(given) => given,
            Err(_) => return self.malformed(),
        };
        if is_ours {
            let from = given.unwrap_or(ethernet.source());
            if self.devices.detection.of((device, address.into())).is_some() && !self.devices.is_own_mac(from)
            {
                return self.duplicate(device, address, from);
            }
            return match given {
                Some(mac) if !self.devices.is_own_mac(mac) => self.conflict(device, address.into(), mac, now),
                _ => self.ignore(),
            };
        }
        let key = (device, address.into());
        if self.neighbors.is_failed(key) {
            return self.ignore();
        }
        let overrides = if message.overrides() { Override::Always } else { Override::Doubt };
        let heard = Heard { mac: given, confirms: message.is_solicited(), creates: false, overrides };
        self.neighbors.learn(key, heard, now);
    }

    fn advertise(&mut self, device: DeviceId, said: Advertisement, to: (MacAddr, Ipv6Addr)) {
        self.counters.answered += 1;
        self.outputs.push_back(Output::Send { device, frame: said.frame(to).to_vec() });
    }

    fn has(&self, device: DeviceId, address: Ipv6Addr) -> bool {
        self.devices.find(device).is_some_and(|device| device.has(address.into()))
    }

    /// Asks the station `to`, or those whose address ends alike, for an address (`ndisc_solicit`), from the link-local address.
    pub(super) fn solicit(&mut self, device: DeviceId, address: Ipv6Addr, to: Option<MacAddr>) {
        let Some(mac) = self.devices.find(device).map(|device| device.mac) else { return };
        let Some(ours) = self.devices.source_ipv6(device, ALL_NODES) else { return };
        let group = solicited_node(address);
        let to = to.map_or((group_mac(group), group), |mac| (mac, address));
        let frame = solicitation((mac, ours), address, to).to_vec();
        self.outputs.push_back(Output::Send { device, frame });
    }

    /// Tells all that an address is ours (RFC 4861 §7.2.6; `ndisc_send_unsol_na`).
    pub(super) fn announce_ipv6(&mut self, device: DeviceId, address: Ipv6Addr, routing: &Routing) {
        let Some(mac) = self.devices.find(device).map(|device| device.mac) else { return };
        let is_router = routing.interface(device).is_some_and(|interface| interface.forwards);
        let said = Advertisement { mac, address, is_router, is_solicited: false, overrides: true };
        let frame = said.frame((group_mac(ALL_NODES), ALL_NODES)).to_vec();
        self.outputs.push_back(Output::Send { device, frame });
    }
}
