//! What a VXLAN device does besides finding far ends, if it is asked to: it answers for neighbours (`proxy`: `arp_reduce`, `neigh_reduce`), takes the short
//! way past a router (`rsc`: `route_shortcircuit`), and tells control of what it does not know (`l2miss`, `l3miss`).

use std::net::{IpAddr, Ipv6Addr};

use super::networks;
use crate::drops::DropReason;
use crate::frames::{Checksum, Frame};
use crate::ids::{DeviceId, MacAddr};
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::tables::{Services, Vxlan, VxlanId};
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::{EtherType, Ethernet};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::neighbor::{self, Neighbor};

/// What a VXLAN device was asked for and does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// Which far end a station is behind (`l2miss`).
    Station(MacAddr),
    /// Which station has an address (`l3miss`).
    Address(IpAddr),
}

impl Miss {
    fn encode(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        match self {
            Self::Station(mac) => bytes[1..7].copy_from_slice(&mac.octets()),
            Self::Address(address) => {
                bytes[0] = 1;
                let address = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                bytes[1..].copy_from_slice(&address.octets());
            }
        }
        bytes
    }

    /// What a worker told for [`PuntReason::Miss`]; `None` if these bytes are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match <&[u8; 17]>::try_from(bytes).ok()?.split_first()? {
            (0, [a, b, c, d, e, f, ..]) => Some(Self::Station(MacAddr::new([*a, *b, *c, *d, *e, *f]))),
            (1, address) => {
                let address = Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?);
                Some(Self::Address(address.to_canonical()))
            }
            _ => None,
        }
    }
}

/// Tells control.
fn tell<O: Observer, T: Transmit>(cx: &mut Context<'_, O, T>, device: DeviceId, miss: Miss, frame: &Frame) {
    let taken = cx.punt.offer(device, PuntReason::Miss, cx.tick, &miss.encode());
    cx.observer.see(Step::CopiedToControl(PuntReason::Miss, taken), frame);
}

/// A frame for this station is dropped, for there is no entry that says where to.
#[cold]
pub(super) fn missed<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    vxlan: &Vxlan,
    station: MacAddr,
    frame: &Frame,
) {
    if vxlan.services.as_ref().is_some_and(|services| services.l2miss) && !station.is_group() {
        tell(cx, vxlan.device, Miss::Station(station), frame);
    }
}

/// What a frame meets before it is looked for where it goes; the frame, if it still goes anywhere, and of which network of the device it is.
#[cold]
pub(super) fn serve<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    services: &Services,
    mut frame: Frame,
    egress: &mut Egress,
) -> Option<(Option<VxlanId>, Frame)> {
    if let Some(networks) = &services.networks {
        return match networks::enter(cx, networks, &mut frame) {
            Some(id) => Some((Some(id), frame)),
            None => {
                egress.refuse(cx, device, DropReason::TunnelTxinfo, frame);
                None
            }
        };
    }
    if services.proxy {
        match question(frame.bytes()) {
            Question::None => {}
            Question::Unanswerable => {
                egress.refuse(cx, device, DropReason::VxlanProxy, frame);
                return None;
            }
            Question::Who(address) => {
                answer(cx, device, services, address, frame, egress);
                return None;
            }
        }
    }
    if services.rsc {
        shorten(cx, device, services, &mut frame);
    }
    Some((None, frame))
}

/// What is asked of a device that answers for neighbours.
enum Question {
    /// Nothing.
    None,
    /// Who has this address.
    Who(IpAddr),
    /// Something that it neither answers nor sends on.
    Unanswerable,
}

fn question(frame: &[u8]) -> Question {
    let Ok(ethernet) = Ethernet::view(frame) else { return Question::None };
    match ethernet.ether_type() {
        EtherType::ARP => {
            /// Ethernet and IEEE 802 (IANA, ARP hardware types).
            const HARDWARE: [Option<&[u8; 2]>; 2] = [Some(&[0, 1]), Some(&[0, 6])];
            let Ok(arp) = Arp::view(ethernet.payload()) else { return Question::Unanswerable };
            let target = arp.target_address();
            let is_one = arp.operation() == Operation::REQUEST
                && HARDWARE.contains(&ethernet.payload().first_chunk())
                && !target.is_loopback()
                && !target.is_multicast();
            if is_one { Question::Who(target.into()) } else { Question::Unanswerable }
        }
        EtherType::IPV6 => match Neighbor::view(ethernet.payload()) {
            Ok(Some(asked)) if asked.is_solicitation() => {
                let is_one = !asked.destination().is_loopback() && !asked.target().is_multicast();
                if is_one { Question::Who(asked.target().into()) } else { Question::Unanswerable }
            }
            _ => Question::None,
        },
        _ => Question::None,
    }
}

/// The frame, which asks for the station that has this address, becomes the answer, and comes out of the device as if that station had sent it.
fn answer<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    services: &Services,
    address: IpAddr,
    mut frame: Frame,
    egress: &mut Egress,
) {
    let Some(mac) = services.neighbors.find(address) else {
        if services.l3miss {
            tell(cx, device, Miss::Address(address), &frame);
        }
        return egress.refuse(cx, device, DropReason::VxlanProxy, frame);
    };
    let mut reply = [0; neighbor::FRAME_LEN];
    let length = reply_to(frame.bytes(), mac, services.is_router(mac), &mut reply);
    let reply = length.and_then(|length| reply.get(..length));
    let Some(reply) = reply.filter(|reply| frame.fill(reply)) else {
        return egress.refuse(cx, device, DropReason::VxlanProxy, frame);
    };
    frame.set_gso(None);
    frame.set_checksum(Checksum::Complete);
    debug_assert_eq!(reply.len(), frame.len());
    cx.observer.see(Step::Proxied(device, address, mac), &frame);
    egress.rise(cx, device, frame);
}

/// Writes the answer to a question: `mac` has the address that it asks for. Its length, if it can be answered.
fn reply_to(frame: &[u8], mac: MacAddr, is_router: bool, reply: &mut [u8]) -> Option<usize> {
    let ethernet = Ethernet::view(frame).ok()?;
    let mut write = |bytes: &[u8]| {
        reply.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(bytes.len())
    };
    if ethernet.ether_type() == EtherType::ARP {
        return write(&Arp::view(ethernet.payload()).ok()?.reply(mac));
    }
    let asked = Neighbor::view(ethernet.payload()).ok()??;
    let given = asked.source_link_address().ok()?;
    write(&asked.advertisement_of(given.unwrap_or(ethernet.source()), mac, is_router))
}

/// A packet to a router goes to the station that has its destination instead, if that is known.
fn shorten<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    services: &Services,
    frame: &mut Frame,
) {
    let Ok(ethernet) = Ethernet::view(frame.bytes()) else { return };
    let router = ethernet.destination();
    if !services.is_router(router) || router.is_group() {
        return;
    }
    let destination = match ethernet.ether_type() {
        EtherType::IPV4 => Ipv4::view(ethernet.payload()).map(|packet| IpAddr::V4(packet.destination())),
        EtherType::IPV6 => Ipv6::view(ethernet.payload()).map(|packet| IpAddr::V6(packet.destination())),
        _ => return,
    };
    let Ok(destination) = destination else { return };
    match services.neighbors.find(destination) {
        Some(station) if station != router => {
            if let Some(addresses) = frame.bytes_mut().first_chunk_mut::<12>() {
                addresses[..6].copy_from_slice(&station.octets());
                addresses[6..].copy_from_slice(&router.octets());
            }
            cx.observer.see(Step::Shortened(device, destination, station), frame);
        }
        None if services.l3miss => tell(cx, device, Miss::Address(destination), frame),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_to_control_comes_out_as_it_went_in() {
        for miss in [
            Miss::Station(MacAddr::new([2, 0, 0, 0, 0, 9])),
            Miss::Address("192.0.2.1".parse().unwrap()),
            Miss::Address("2001:db8::1".parse().unwrap()),
        ] {
            assert_eq!(Miss::decode(&miss.encode()), Some(miss));
        }
        assert_eq!(Miss::decode(&[2; 17]), None);
        assert_eq!(Miss::decode(&[0; 16]), None);
    }
}
