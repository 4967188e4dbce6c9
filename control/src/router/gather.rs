//! Fragments that come to us: put together, answered, or handed back to the line whole, so that a tunnel's packet goes where it would have gone.

use std::net::IpAddr;
use std::time::Duration;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::Routing;
use rigswitch_dataplane::wire::IpProtocol;
use rigswitch_dataplane::wire::ethernet::Ethernet;
use rigswitch_dataplane::wire::reassembly::Fragment;

use super::fragments::{Refused, Whole};
use super::icmp::Trouble;
use super::way::Packet;
use super::{Output, Router};

impl Router {
    /// A fragment of a packet for us.
    pub(super) fn gather(
        &mut self,
        device: DeviceId,
        frame: &[u8],
        packet: &Packet<'_>,
        routing: &Routing,
        now: Duration,
    ) {
        let (source, to): (IpAddr, IpAddr) = match packet {
            Packet::Ipv4(ip) => (ip.source().into(), ip.destination().into()),
            Packet::Ipv6(ip) => (ip.source().into(), ip.destination().into()),
        };
        if !self.devices.takes(device, to) && !self.memberships.has(device, to) {
            return self.ignore();
        }
        let fragment = match Fragment::view(packet.of_frame(frame)) {
            Err(_) => return self.malformed(),
            Ok(None) => return self.ignore(),
            Ok(Some(fragment)) => fragment,
        };
        // What is for a group comes by every link that we are in it by.
        let is_near = to.is_multicast() || matches!(to, IpAddr::V6(to) if to.is_unicast_link_local());
        let whole = Whole {
            addresses: [to, source],
            link: is_near.then_some(device),
            // In IPv6 only the first says what it carries.
            protocol: if to.is_ipv4() { fragment.protocol.0 } else { 0 },
            identification: fragment.identification,
        };
        let fragments = &mut self.fragments[usize::from(to.is_ipv6())];
        match fragments.add(whole, (device, frame), &fragment, now) {
            Ok(None) => {}
            Ok(Some(whole)) => self.hear_whole(device, whole, routing, now),
            Err(why) => {
                let Ok(ethernet) = Ethernet::view(frame) else { return };
                if let Some(pointer) = wrong_at(why, &fragment) {
                    self.report(device, &ethernet, packet, Trouble::Header(pointer), routing, now);
                }
            }
        }
    }

    /// What may be a tunnel's is received again; the rest is for us.
    fn hear_whole(&mut self, device: DeviceId, frame: Vec<u8>, routing: &Routing, now: Duration) {
        let Ok(ethernet) = Ethernet::view(&frame) else { return self.malformed() };
        let packet = match Packet::of(&ethernet) {
            Ok(Some(packet)) => packet,
            _ => return self.malformed(),
        };
        let carries = match &packet {
            Packet::Ipv4(ip) => ip.protocol(),
            Packet::Ipv6(ip) => ip.transport().map_or(IpProtocol(0), |(protocol, _)| protocol),
        };
        if matches!(carries, IpProtocol::UDP | IpProtocol::IPV4 | IpProtocol::IPV6) {
            return self.outputs.push_back(Output::Receive { device, frame });
        }
        self.hear_local(device, &ethernet, &packet, routing, now);
    }

    /// Tells the senders of packets whose fragments did not all come in time, if the first one did.
    pub(super) fn give_up_fragments(&mut self, routing: &Routing, now: Duration) {
        let expired: Vec<_> = self.fragments.iter_mut().flat_map(|of| of.tick(now)).collect();
        for first in expired {
            let Ok(ethernet) = Ethernet::view(&first.frame) else { continue };
            if let Ok(Some(packet)) = Packet::of(&ethernet) {
                self.report(first.device, &ethernet, &packet, Trouble::NotWhole, routing, now);
            }
        }
    }

    /// Packets for us that have begun to come, and the bytes that are kept for them.
    pub fn gathering(&self) -> (usize, usize) {
        let [ipv4, ipv6] = [self.fragments[0].size(), self.fragments[1].size()];
        (ipv4.0 + ipv6.0, ipv4.1 + ipv6.1)
    }
}

/// Where the header of a refused fragment is wrong, which its sender is told in IPv6 (RFC 8200 §4.5).
fn wrong_at(why: Refused, fragment: &Fragment<'_>) -> Option<u32> {
    const PAYLOAD_LEN: u32 = 4;
    const OFFSET_IN_FRAGMENT_HEADER: u32 = 2;
    let header = u32::try_from(fragment.fragment_header_at()?).ok()?;
    match why {
        Refused::Length => Some(PAYLOAD_LEN),
        Refused::TooLong => Some(header + OFFSET_IN_FRAGMENT_HEADER),
        Refused::Contradicts => None,
    }
}
