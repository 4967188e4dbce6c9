//! Answering for neighbours, so that who is known need not be asked: ARP and neighbour discovery by the rules of the kernel's
//! bridge (`br_do_proxy_suppress_arp` and `br_do_suppress_nd`, net/bridge/br_arp_nd_proxy.c). None of this runs for frames from
//! a port of a bridge without `neigh_suppress`, nor for those that are not flooded.

use std::net::IpAddr;

use crate::drops::{Direction, DropReason};
use crate::frames::{Checksum, Frame};
use crate::ids::{DeviceId, DomainId, MacAddr};
use crate::pipeline::{Context, Egress, Leaving, Observer, Step, Transmit};
use crate::tables::Key;
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::{EtherType, Ethernet};
use crate::wire::neighbor::Neighbor;
use crate::wire::vlan::Vlan;

/// What is left to do with a frame that is to be flooded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// All there was: the bridge knows nothing of it.
    Flood,
    /// Ports with `neigh_suppress` are spared.
    Spare,
    /// The same, and whoever asked has been answered.
    Answered,
}

/// Looks into a frame from `device` that is to be flooded in `domain`, and answers what it asks if that is known; the answer leaves
/// by `back`. Behind the bridge's own tag, if it has one, is what it asks.
#[cold]
pub(super) fn ask<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    (is_tagged, back): (bool, impl Leaving),
    egress: &mut Egress,
    frame: &Frame,
) -> Asked {
    let Ok(ethernet) = Ethernet::view(frame.bytes()) else { return Asked::Flood };
    let (mut ether_type, mut payload) = (ethernet.ether_type(), ethernet.payload());
    if is_tagged {
        let Ok(tag) = Vlan::view(payload) else { return Asked::Flood };
        (ether_type, payload) = (tag.ether_type(), tag.payload());
    }
    match ether_type {
        EtherType::ARP | EtherType::RARP => Arp::view(payload)
            .map_or(Asked::Flood, |arp| arp_asks(cx, device, domain, back, egress, &ethernet, arp)),
        EtherType::IPV6 => match Neighbor::view(payload) {
            Ok(Some(neighbor)) => neighbor_asks(cx, device, domain, back, egress, &ethernet, neighbor),
            _ => Asked::Flood,
        },
        _ => Asked::Flood,
    }
}

fn arp_asks<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    back: impl Leaving,
    egress: &mut Egress,
    ethernet: &Ethernet<'_>,
    arp: Arp<'_>,
) -> Asked {
    let (sender, target) = (arp.sender_address(), arp.target_address());
    let is_request = arp.operation() == Operation::REQUEST;
    let is_probe = is_request && !ethernet.destination().is_group(); // whether who is known is still there
    if target.is_loopback() || target.is_multicast() || is_probe {
        return Asked::Flood;
    }
    let is_reverse = matches!(arp.operation(), Operation::REVERSE_REQUEST | Operation::REVERSE_REPLY);
    if !is_reverse && (sender.is_unspecified() || sender == target) {
        return Asked::Spare; // a station that looks for another of its address, or tells of itself
    }
    let tables = cx.tables;
    let known = if is_request { tables.domain(domain).neighbors.ipv4(target) } else { None };
    answer(cx, device, domain, back, egress, (target.into(), known), |mac| Some(arp.reply(mac)))
}

fn neighbor_asks<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    back: impl Leaving,
    egress: &mut Egress,
    ethernet: &Ethernet<'_>,
    message: Neighbor<'_>,
) -> Asked {
    if !message.is_solicitation() {
        return if message.is_solicited() { Asked::Flood } else { Asked::Spare };
    }
    if !ethernet.destination().is_group() {
        return Asked::Flood;
    }
    if message.source().is_unspecified() || message.source() == message.destination() {
        return Asked::Spare;
    }
    let tables = cx.tables;
    let known = tables.domain(domain).neighbors.ipv6(message.target());
    answer(cx, device, domain, back, egress, (message.target().into(), known), |mac| {
        let given = message.source_link_address().ok()?;
        Some(message.advertisement(given.unwrap_or(ethernet.source()), mac))
    })
}

/// Sends `reply` out of `device`, as `back` says, if the station that has the `address` is known, and behind a port with `neigh_suppress`.
fn answer<O: Observer, T: Transmit, const LEN: usize>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    back: impl Leaving,
    egress: &mut Egress,
    (address, known): (IpAddr, Option<MacAddr>),
    reply: impl FnOnce(MacAddr) -> Option<[u8; LEN]>,
) -> Asked {
    let Some(mac) = known else { return Asked::Flood };
    let Some(entry) = cx.macs.find(cx.macs.locate(Key::new(domain, mac))) else { return Asked::Flood };
    let there = cx.tables.device(entry.egress().device);
    if there.role.domain() != Some(cx.tables.bridge_of(domain)) {
        return Asked::Flood;
    }
    let reply = if there.knobs.neigh_suppress { reply(mac) } else { None };
    let Some(reply) = reply else { return Asked::Spare };
    cx.counters.originated.add(1);
    match cx.pool.frame_of(&reply) {
        Some(mut frame) => {
            frame.set_checksum(Checksum::Complete);
            cx.observer.see(Step::Answered(device, address, mac), &frame);
            egress.forward(cx, device, back, frame);
        }
        // A frame that never was: counted, so that it is neither lost nor invented.
        None => cx.counters.device(device).drops(Direction::Rx, DropReason::PoolEmpty).add(1, LEN as u64),
    }
    Asked::Answered
}
