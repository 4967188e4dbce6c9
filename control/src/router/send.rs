//! What leaves: packets of ours, and what was held until its next hop was known.

use std::net::IpAddr;
use std::time::Duration;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::{Routing, station_of};
use rigswitch_dataplane::wire::ethernet::{self, EtherType, Ethernet};
use rigswitch_dataplane::wire::fragment::{Fragmenter, FragmenterIpv6};

use super::held::Held;
use super::icmp::Trouble;
use super::neighbors::{Event, Key};
use super::way::Packet;
use super::{Output, Router};

impl Router {
    /// Holds a packet that is passing until its next hop is known.
    pub(super) fn wait_for(&mut self, key: Key, from: DeviceId, frame: &[u8], now: Duration) {
        let has_neighbors = self.devices.find(key.0).is_some_and(|device| device.has_neighbors);
        if !has_neighbors {
            return self.ignore();
        }
        let held = Held { frame: frame.to_vec(), from: Some(from), to: key.0 };
        match self.neighbors.find(key) {
            // Workers have learned it since.
            Some(mac) => self.release(mac, held),
            None => self.neighbors.hold(key, held, now),
        }
    }

    /// Sends a packet of ours, in fragments if it has to be and can.
    pub(super) fn transmit(&mut self, device: DeviceId, next: IpAddr, packet: &[u8], now: Duration) {
        let Some(mtu) = self.devices.find(device).map(|device| device.mtu) else {
            return self.counters.unroutable += 1;
        };
        if packet.len() <= mtu as usize {
            return self.send(device, next, packet, now);
        }
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let mut pieces = Vec::new();
        let mut out = vec![0; mtu.into()];
        if next.is_ipv4() {
            let Ok(cut) = Fragmenter::new(packet, mtu) else { return self.counters.unroutable += 1 };
            let piece = |n| cut.write(n, &mut out).and_then(|len| out.get(..len).map(<[u8]>::to_vec));
            pieces.extend((0..cut.count()).map_while(piece));
        } else {
            self.fragmented = self.fragmented.wrapping_add(1);
            let cut = FragmenterIpv6::new(packet, mtu, self.fragmented);
            let Ok(cut) = cut else { return self.counters.unroutable += 1 };
            let piece = |n| cut.write(n, &mut out).and_then(|len| out.get(..len).map(<[u8]>::to_vec));
            pieces.extend((0..cut.count()).map_while(piece));
        }
        pieces.iter().for_each(|piece| self.send(device, next, piece, now));
    }

    fn send(&mut self, device: DeviceId, next: IpAddr, packet: &[u8], now: Duration) {
        let Some(to) = self.devices.find(device) else { return };
        let (ours, has_neighbors) = (to.mac, to.has_neighbors);
        let ether_type = if packet.first().is_some_and(|first| first >> 4 == 6) {
            EtherType::IPV6
        } else {
            EtherType::IPV4
        };
        let mut header = [0; ethernet::HEADER_LEN];
        ethernet::emit(&mut header, ours, ours, ether_type);
        let held = Held { frame: [&header, packet].concat(), from: None, to: device };
        let known = if has_neighbors { self.neighbors.find((device, next)) } else { Some(station_of(next)) };
        match known {
            Some(mac) => self.release(mac, held),
            None => self.neighbors.hold((device, next), held, now),
        }
    }

    /// Lets a frame go whose next hop is known.
    fn release(&mut self, mac: MacAddr, held: Held) {
        let Held { mut frame, from, to } = held;
        self.outputs.push_back(match from {
            Some(device) => Output::Receive { device, frame },
            None => {
                if let Some(destination) = frame.first_chunk_mut() {
                    *destination = mac.octets();
                }
                Output::Send { device: to, frame }
            }
        });
    }

    /// Does what has come of what neighbours said, or did not say. Without routes nobody is told of a failure.
    pub(super) fn settle(&mut self, routing: Option<&Routing>, now: Duration) {
        while let Some(event) = self.neighbors.event() {
            match event {
                Event::Solicit((device, IpAddr::V4(address)), to) => self.request(device, address, to),
                Event::Solicit((device, IpAddr::V6(address)), to) => self.solicit(device, address, to),
                Event::Known(mac, held) => held.into_iter().for_each(|held| self.release(mac, held)),
                Event::Failed(held) => {
                    let Some(routing) = routing else { continue };
                    for held in held {
                        self.give_up(&held, routing, now);
                    }
                }
            }
        }
    }

    /// Tells the sender of a packet that its next hop does not answer; of our own nobody is told.
    fn give_up(&mut self, held: &Held, routing: &Routing, now: Duration) {
        let Some(device) = held.from else { return };
        let Ok(ethernet) = Ethernet::view(&held.frame) else { return };
        if let Ok(Some(packet)) = Packet::of(&ethernet) {
            self.report(device, &ethernet, &packet, Trouble::Unresolved, routing, now);
        }
    }
}
