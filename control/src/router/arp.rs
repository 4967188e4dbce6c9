//! ARP (RFC 826): what is asked of us and told to us, as the kernel takes it (`arp_process`, net/ipv4/arp.c).

use std::net::Ipv4Addr;
use std::time::Duration;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::wire::arp::{self, Arp, Operation};
use rigswitch_dataplane::wire::ethernet::Ethernet;

use super::neighbors::{Heard, Override};
use super::{Output, Router};

impl Router {
    /// A request or a reply. Whatever of our addresses is asked for is answered, be it of this device or another (`arp_ignore` 0), and
    /// who asks is learned. Others are learned only of whom we know or are looking for (`arp_accept` 0).
    pub(super) fn hear_arp(&mut self, device: DeviceId, ethernet: &Ethernet<'_>, now: Duration) {
        let here = self.devices.find(device).filter(|device| device.has_neighbors);
        let Some(mac) = here.map(|device| device.mac) else { return self.ignore() };
        let Ok(message) = Arp::view(ethernet.payload()) else { return self.malformed() };
        let operation = message.operation();
        if !matches!(operation, Operation::REQUEST | Operation::REPLY) {
            return self.ignore();
        }
        let (sender, address, target) =
            (message.sender(), message.sender_address(), message.target_address());
        // RFC 1812 §3.3.2: no group is a host; and `ip_route_input_slow` for the addresses.
        if sender.is_group() || sender.is_zero() || is_martian(address) {
            return self.malformed();
        }
        if self.devices.is_own_mac(sender) {
            return self.ignore();
        }
        let is_for_us = operation == Operation::REQUEST && self.devices.owns(target.into());
        // Somebody wants to know whether it can have the address (RFC 5227 §2.1.1).
        if address.is_unspecified() {
            return if is_for_us { self.answer_arp(device, &message, mac) } else { self.ignore() };
        }
        if self.devices.owns(address.into()) {
            return self.conflict(device, address.into(), sender, now);
        }
        let key = (device, address.into());
        if is_for_us {
            let heard =
                Heard { mac: Some(sender), confirms: false, creates: true, overrides: Override::Always };
            self.neighbors.learn(key, heard, now);
            return self.answer_arp(device, &message, mac);
        }
        let is_reply = operation == Operation::REPLY;
        let is_gratuitous = address == target && (!is_reply || message.target() == sender);
        let heard = Heard {
            mac: Some(sender),
            // What is told to all asserts no reachability.
            confirms: is_reply && ethernet.destination() == mac,
            creates: false,
            overrides: if is_gratuitous { Override::Always } else { Override::Late },
        };
        self.neighbors.learn(key, heard, now);
    }

    fn answer_arp(&mut self, device: DeviceId, request: &Arp<'_>, mac: MacAddr) {
        self.counters.answered += 1;
        self.outputs.push_back(Output::Send { device, frame: request.reply(mac).to_vec() });
    }

    /// Asks the station `to`, or all, for an address (`arp_solicit`). Who has no address anywhere cannot ask.
    pub(super) fn request(&mut self, device: DeviceId, address: Ipv4Addr, to: Option<MacAddr>) {
        let Some(mac) = self.devices.find(device).map(|device| device.mac) else { return };
        let Some(ours) = self.devices.source_ipv4(device, address) else { return };
        let frame = arp::request((mac, ours), address, to.unwrap_or(MacAddr::BROADCAST)).to_vec();
        self.outputs.push_back(Output::Send { device, frame });
    }

    /// Tells all that an address is ours (RFC 5227 §2.3; `arp_notify`).
    pub(super) fn announce_ipv4(&mut self, device: DeviceId, address: Ipv4Addr) {
        let Some(mac) = self.devices.find(device).map(|device| device.mac) else { return };
        let frame = arp::request((mac, address), address, MacAddr::BROADCAST).to_vec();
        self.outputs.push_back(Output::Send { device, frame });
    }
}

/// Whether no host has this address.
fn is_martian(address: Ipv4Addr) -> bool {
    address.is_multicast() || address.is_broadcast() || address.is_loopback()
}
