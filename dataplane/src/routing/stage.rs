//! The router's part of the line: is it for us, is it right, where to, and out.
//!
//! `ip_rcv`, `ip_route_input` and `ip_forward` of the kernel (net/ipv4/), and their like in net/ipv6/. Each step is a loop over
//! the whole burst, so that the lines of the route table are on their way into the cache before they are read. What needs state or an
//! answer (neighbours, echoes, errors) is control's: it gets the frame, or a copy of one that is dropped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::send::{self, Leaving};
use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, Frame};
use crate::ids::{DeviceId, MacAddr};
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::tables::next_hop::NextHop;
use crate::tables::route::Place;
use crate::tables::{Arrival, Interface, Routing, Tables};
use crate::tunnels;
use crate::wire::ethernet::{EtherType, Ethernet, HEADER_LEN};
use crate::wire::flow::FlowHash;
use crate::wire::forward::{self, Refused};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::{IpProtocol, vlan};

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It leaves by this device, to this neighbour.
    Forward(DeviceId, IpAddr, MacAddr),
    /// It is for one of our tunnels, and what is inside surfaces there.
    Decapsulate(Arrival),
    /// It is control's.
    Punt(PuntReason),
    /// It ends here, and its sender is told.
    Refuse(DropReason, PuntReason),
    /// It ends here.
    Drop(DropReason),
}

/// What reading a frame has found.
#[derive(Clone, Copy)]
enum Found {
    Ipv4(Place<Ipv4Addr>),
    Ipv6(Place<Ipv6Addr>),
    Ended(Fate),
}

/// The stage's working memory: what reading has found, frame by frame.
#[derive(Default)]
pub(crate) struct RoutingStage {
    found: ArrayVec<Found, BURST>,
}

impl RoutingStage {
    /// Routes a burst that came from `device`. It is empty afterwards.
    pub(crate) fn run<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        let tables = cx.tables;
        let routing = tables.routing();
        let Some(here) = routing.interface(device) else { unreachable!("what has the role is known") };
        self.found.clear();
        for (place, frame) in burst.iter_mut().enumerate() {
            cx.observer.see(Step::Turn(place), frame);
            let found = read(cx, routing, here, frame).unwrap_or_else(Found::Ended);
            // The burst has no more frames than this has room for.
            let _ = self.found.try_push(found);
        }
        for found in &mut self.found {
            match found {
                Found::Ipv4(place) => *place = routing.ipv4.approach(*place),
                Found::Ipv6(place) => *place = routing.ipv6.approach(*place),
                Found::Ended(_) => {}
            }
        }
        for (place, (frame, found)) in burst.drain().zip(&self.found).enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            let mut leaving = None;
            let fate = match found {
                Found::Ended(fate) => *fate,
                Found::Ipv4(place) => decide_ipv4(tables, here, device, *place, &frame, &mut leaving),
                Found::Ipv6(place) => decide_ipv6(routing, here, device, *place, &frame, &mut leaving),
            };
            cx.observer.see(Step::Routed(fate), &frame);
            match (fate, leaving) {
                (Fate::Forward(..), Some(leaving)) => send::forward(cx, device, leaving, frame, egress),
                (Fate::Forward(..), None) => unreachable!("what is forwarded leaves somehow"),
                (Fate::Decapsulate(arrival), _) => tunnels::receive(cx, device, arrival, frame, egress),
                (Fate::Punt(reason), _) => cx.punt(device, reason, frame),
                (Fate::Refuse(reason, told), _) => refuse(cx, device, reason, told, frame),
                (Fate::Drop(reason), _) => cx.discard(device, Direction::Rx, reason, frame),
            }
        }
    }
}

/// Reads what routing goes by. A tag that has a priority and no VLAN is taken off.
#[inline]
fn read<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    routing: &Routing,
    here: &Interface,
    frame: &mut Frame,
) -> Result<Found, Fate> {
    let ethernet = Ethernet::view(frame.bytes()).map_err(|_| Fate::Drop(DropReason::Truncated))?;
    let (to, mut ether_type) = (ethernet.destination(), ethernet.ether_type());
    if to != here.mac && !to.is_group() {
        return Err(Fate::Drop(DropReason::OtherHost));
    }
    if ether_type.is_tag() {
        ether_type = without_priority(cx, frame)?;
    }
    let packet = frame.bytes().get(HEADER_LEN..).unwrap_or_default();
    match ether_type {
        EtherType::IPV4 => {
            let ip = forward::accept_ipv4(packet).map_err(refused)?;
            // A router passes nothing on that was sent to all (RFC 1812 §5.3.4), and has joined no group.
            if to.is_group() || ip.destination().is_multicast() || ip.destination().is_broadcast() {
                return Err(Fate::Drop(DropReason::IpGroup));
            }
            let place = routing.ipv4.locate(ip.destination());
            routing.ipv4.prefetch(place);
            Ok(Found::Ipv4(place))
        }
        EtherType::IPV6 => {
            let ip = forward::accept_ipv6(packet).map_err(refused)?;
            if to.is_group() || ip.destination().is_multicast() {
                let is_icmp = ip.next_header() == IpProtocol::ICMPV6;
                return Err(if is_icmp {
                    Fate::Punt(PuntReason::Local)
                } else {
                    Fate::Drop(DropReason::IpGroup)
                });
            }
            let place = routing.ipv6.locate(ip.destination());
            routing.ipv6.prefetch(place);
            Ok(Found::Ipv6(place))
        }
        EtherType::ARP => Err(Fate::Punt(PuntReason::Arp)),
        _ => Err(Fate::Drop(DropReason::UnknownProtocol)),
    }
}

/// Takes a priority tag off (IEEE 802.1Q §6.9.1), and says what is beneath. A tag of a VLAN is for a sub-interface, and there is none.
#[cold]
fn without_priority<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    frame: &mut Frame,
) -> Result<EtherType, Fate> {
    let ethernet = Ethernet::view(frame.bytes()).map_err(|_| Fate::Drop(DropReason::Truncated))?;
    let tpid = ethernet.ether_type();
    let tag = vlan::Vlan::view(ethernet.payload()).map_err(|_| Fate::Drop(DropReason::VlanMalformed))?;
    let (tci, inner) = (tag.tci(), tag.ether_type());
    if tci.vid() != 0 || inner.is_tag() {
        return Err(Fate::Drop(DropReason::NoVlanDevice));
    }
    let popped = vlan::pop(frame.bytes_mut()).is_ok() && frame.pull_front(4);
    debug_assert!(popped, "the tag was there");
    cx.observer.see(Step::Popped(tpid, tci), frame);
    Ok(inner)
}

fn refused(why: Refused) -> Fate {
    Fate::Drop(match why {
        Refused::Header(_) => DropReason::IpMalformed,
        Refused::Checksum => DropReason::IpChecksum,
        Refused::SourceRoute | Refused::Option { .. } => DropReason::IpOption,
        Refused::MartianSource | Refused::MartianDestination => DropReason::Martian,
    })
}

/// Where an IPv4 packet goes.
#[inline]
fn decide_ipv4(
    tables: &Tables,
    here: &Interface,
    device: DeviceId,
    place: Place<Ipv4Addr>,
    frame: &Frame,
    leaving: &mut Option<Leaving>,
) -> Fate {
    let routing = tables.routing();
    let packet = frame.bytes().get(HEADER_LEN..).unwrap_or_default();
    let Ok(ip) = Ipv4::view(packet) else { return Fate::Drop(DropReason::IpMalformed) };
    let Some(id) = routing.ipv4.find(place) else {
        return Fate::Refuse(DropReason::NoRoute, PuntReason::Unreachable);
    };
    let next_hop = if routing.next_hops.is_group(id) {
        routing.next_hops.choose(id, routing.hasher.ipv4(&ip, routing.policy))
    } else {
        routing.next_hops.choose(id, FlowHash(0))
    };
    let to = match onward(routing, here, next_hop, ip.destination().into()) {
        Ok(to) => to,
        Err(Fate::Punt(reason)) => {
            return tunnels::find(tables.tunnels(), &ip).map_or(Fate::Punt(reason), Fate::Decapsulate);
        }
        Err(fate) => return fate,
    };
    if here.checks_source && !would_answer(routing, device, ip.source()) {
        return Fate::Drop(DropReason::ReversePath);
    }
    if ip.ttl() <= 1 {
        return Fate::Refuse(DropReason::TtlExceeded, PuntReason::TtlExceeded);
    }
    let length = HEADER_LEN + ip.header_len() + ip.payload().len();
    send::prepare(routing, to, frame, length, !ip.dont_fragment(), leaving)
}

/// Where an IPv6 packet goes.
#[inline]
fn decide_ipv6(
    routing: &Routing,
    here: &Interface,
    _device: DeviceId,
    place: Place<Ipv6Addr>,
    frame: &Frame,
    leaving: &mut Option<Leaving>,
) -> Fate {
    let packet = frame.bytes().get(HEADER_LEN..).unwrap_or_default();
    let Ok(ip) = Ipv6::view(packet) else { return Fate::Drop(DropReason::IpMalformed) };
    let Some(id) = routing.ipv6.find(place) else {
        return Fate::Refuse(DropReason::NoRoute, PuntReason::Unreachable);
    };
    let next_hop = if routing.next_hops.is_group(id) {
        routing.next_hops.choose(id, routing.hasher.ipv6(&ip, routing.policy))
    } else {
        routing.next_hops.choose(id, FlowHash(0))
    };
    let to = match onward(routing, here, next_hop, ip.destination().into()) {
        Ok(to) => to,
        Err(fate) => return fate,
    };
    if forward::may_forward_ipv6(ip.source(), ip.destination()).is_err() {
        return Fate::Drop(DropReason::IpScope);
    }
    if ip.hop_limit() <= 1 {
        return Fate::Refuse(DropReason::TtlExceeded, PuntReason::TtlExceeded);
    }
    let length = HEADER_LEN + crate::wire::ipv6::HEADER_LEN + ip.payload().len();
    send::prepare(routing, to, frame, length, false, leaving)
}

/// The device that a packet leaves by, and the neighbour there that is to have it next.
#[inline]
fn onward(
    routing: &Routing,
    here: &Interface,
    next_hop: Option<NextHop>,
    destination: IpAddr,
) -> Result<(DeviceId, IpAddr), Fate> {
    let to = match next_hop {
        Some(NextHop::Gateway { device, gateway }) => (device, gateway),
        Some(NextHop::Connected { device }) => (device, destination),
        Some(NextHop::Local { .. }) => return Err(Fate::Punt(PuntReason::Local)),
        Some(NextHop::Broadcast { .. }) => return Err(Fate::Drop(DropReason::IpGroup)),
        Some(NextHop::Blackhole) => return Err(Fate::Drop(DropReason::Blackhole)),
        Some(NextHop::Unreachable) => {
            return Err(Fate::Refuse(DropReason::Unreachable, PuntReason::Unreachable));
        }
        Some(NextHop::Prohibit) => return Err(Fate::Refuse(DropReason::Prohibited, PuntReason::Prohibited)),
        None => return Err(Fate::Refuse(DropReason::NoRoute, PuntReason::Unreachable)),
    };
    if !here.forwards {
        return Err(Fate::Drop(DropReason::NotForwarding));
    }
    // A route by a device that is down, or no more, leads nowhere.
    if routing.interface(to.0).is_none() {
        return Err(Fate::Refuse(DropReason::NoRoute, PuntReason::Unreachable));
    }
    Ok(to)
}

/// Whether an answer to `source` would leave by `device` (RFC 3704 §2.2).
#[cold]
fn would_answer(routing: &Routing, device: DeviceId, source: Ipv4Addr) -> bool {
    let Some(id) = routing.ipv4.find(routing.ipv4.locate(source)) else { return false };
    routing.next_hops.leads_by(id, device)
}

/// Drops a frame, and gives control a copy, to tell its sender.
#[cold]
fn refuse<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    reason: DropReason,
    told: PuntReason,
    frame: Frame,
) {
    let taken = cx.punt.offer(device, told, cx.tick, frame.bytes());
    cx.observer.see(Step::CopiedToControl(told, taken), &frame);
    cx.discard(device, Direction::Rx, reason, frame);
}
