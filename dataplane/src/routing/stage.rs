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
use crate::wire::forward::{self, Confined, Refused};
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
    Ipv4(Place<Ipv4Addr>, Packet),
    Ipv6(Place<Ipv6Addr>, Packet),
    Ended(Fate),
}

/// What is to be known of a packet besides where it goes, so that its frame is not read twice.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    /// Bytes, without what follows it in the frame.
    pub(super) length: u32,
    /// How many more routers it may pass.
    hops: u8,
    /// Whether a router may fragment it.
    pub(super) may_fragment: bool,
    /// Why its addresses mean nothing on another link, if they do not.
    confined: Option<Confined>,
}

/// The stage's working memory: what reading has found, frame by frame.
#[derive(Default)]
pub(crate) struct RoutingStage {
    found: ArrayVec<Found, BURST>,
}

impl RoutingStage {
    /// Routes a burst that came from `device`. It is empty afterwards. The steps are functions of their own: in one, the compiler has
    /// too few registers, and that costs a hundred instructions a packet.
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
        self.read(cx, routing, here, burst);
        self.approach(routing);
        self.leave(cx, (device, here), burst, egress);
    }

    /// Reads the packets, and asks the cache for the first lines of the tables.
    #[inline(never)]
    fn read<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        routing: &Routing,
        here: &Interface,
        burst: &mut Burst,
    ) {
        self.found.clear();
        for (place, frame) in burst.iter_mut().enumerate() {
            cx.observer.see(Step::Turn(place), frame);
            let found = read(cx, routing, here, frame).unwrap_or_else(Found::Ended);
            // The burst has no more frames than this has room for.
            let _ = self.found.try_push(found);
        }
    }

    /// Walks through the tables with all packets in step, as far as the tables say.
    fn approach(&mut self, routing: &Routing) {
        let [ipv4, ipv6] = [routing.ipv4.approaches(), routing.ipv6.approaches()];
        for turn in 0..ipv4.max(ipv6) {
            for found in &mut self.found {
                match found {
                    Found::Ipv4(place, _) if turn < ipv4 => *place = routing.ipv4.approach(*place),
                    Found::Ipv6(place, _) if turn < ipv6 => *place = routing.ipv6.approach(*place),
                    _ => {}
                }
            }
        }
    }

    /// Decides, and sends on what is to go on.
    #[inline(never)]
    fn leave<O: Observer, T: Transmit>(
        &self,
        cx: &mut Context<'_, O, T>,
        (device, here): (DeviceId, &Interface),
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        let tables = cx.tables;
        for (place, (frame, found)) in burst.drain().zip(&self.found).enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            let decided = decide(tables, here, device, found, &frame);
            let fate = match &decided {
                Ok(leaving) => Fate::Forward(leaving.to, leaving.next, leaving.mac),
                Err(fate) => *fate,
            };
            cx.observer.see(Step::Routed(found.destination(), fate), &frame);
            match decided {
                Ok(leaving) => send::forward(cx, device, &leaving, frame, egress),
                Err(fate) => end(cx, device, fate, frame, egress),
            }
        }
    }
}

/// Reads what routing goes by. A tag that has a priority and no VLAN is taken off.
#[inline(always)]
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
            let length = u32::from(ip.total_len());
            let may_fragment = !ip.dont_fragment();
            Ok(Found::Ipv4(place, Packet { length, hops: ip.ttl(), may_fragment, confined: None }))
        }
        EtherType::IPV6 => {
            let ip = forward::accept_ipv6(packet).map_err(refused)?;
            if to.is_group() || ip.destination().is_multicast() {
                return Err(group_ipv6(&ip));
            }
            let place = routing.ipv6.locate(ip.destination());
            routing.ipv6.prefetch(place);
            let length = ip.total_len();
            let confined = forward::may_forward_ipv6(ip.source(), ip.destination()).err();
            Ok(Found::Ipv6(place, Packet { length, hops: ip.hop_limit(), may_fragment: false, confined }))
        }
        EtherType::ARP => Err(Fate::Punt(PuntReason::Arp)),
        _ => Err(Fate::Drop(DropReason::UnknownProtocol)),
    }
}

/// What becomes of an IPv6 packet to a group: control hears what is about neighbours, or asks who is in which group, behind a router
/// alert (RFC 3810 §5).
#[cold]
fn group_ipv6(ip: &Ipv6<'_>) -> Fate {
    match ip.transport() {
        Ok((IpProtocol::ICMPV6, _)) => Fate::Punt(PuntReason::Local),
        _ => Fate::Drop(DropReason::IpGroup),
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

/// How a packet leaves.
///
/// # Errors
/// What becomes of one that does not.
#[inline(always)]
fn decide(
    tables: &Tables,
    here: &Interface,
    device: DeviceId,
    found: &Found,
    frame: &Frame,
) -> Result<Leaving, Fate> {
    let routing = tables.routing();
    let (id, packet) = match found {
        Found::Ipv4(place, packet) => (routing.ipv4.find(*place), packet),
        Found::Ipv6(place, packet) => (routing.ipv6.find(*place), packet),
        Found::Ended(fate) => return Err(*fate),
    };
    let next_hop = id.and_then(|id| routing.next_hops.choose(id, || flow(routing, frame)));
    let (to, next) = match next_hop {
        Some(NextHop::Gateway { device, gateway }) => (device, gateway),
        Some(NextHop::Connected { device }) => match found.destination() {
            Some(to) => (device, to),
            None => unreachable!("it was read"),
        },
        Some(NextHop::Local { .. }) => return Err(arrive(tables, frame)),
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
    let Some(there) = routing.interface(to) else {
        return Err(Fate::Refuse(DropReason::NoRoute, PuntReason::Unreachable));
    };
    if here.checks_source && !would_answer(routing, device, frame) {
        return Err(Fate::Drop(DropReason::ReversePath));
    }
    if packet.hops <= 1 {
        return Err(Fate::Refuse(DropReason::TtlExceeded, PuntReason::TtlExceeded));
    }
    if let Some(why) = packet.confined {
        confine(why, to == device)?;
    }
    send::prepare(routing, (to, there, next), *packet, frame)
}

/// Whether a packet goes on all the same whose addresses are of one link: on that, it does (`ip6_forward`, net/ipv6/ip6_output.c).
#[cold]
fn confine(why: Confined, stays: bool) -> Result<(), Fate> {
    match why {
        Confined::LinkLocalDestination => Err(Fate::Drop(DropReason::IpScope)),
        _ if stays => Ok(()),
        Confined::LinkLocalSource => Err(Fate::Refuse(DropReason::IpScope, PuntReason::BeyondScope)),
        Confined::Unspecified => Err(Fate::Drop(DropReason::IpScope)),
    }
}

impl Found {
    /// Where the packet goes, if that could be read.
    #[inline]
    fn destination(&self) -> Option<IpAddr> {
        match self {
            Self::Ipv4(place, _) => Some(place.address().into()),
            Self::Ipv6(place, _) => Some(place.address().into()),
            Self::Ended(_) => None,
        }
    }
}

/// What becomes of a packet that is for us.
#[cold]
fn arrive(tables: &Tables, frame: &Frame) -> Fate {
    let packet = frame.bytes().get(HEADER_LEN..).unwrap_or_default();
    let arrival = match (Ipv4::view(packet), Ipv6::view(packet)) {
        (Ok(ip), _) => tunnels::find(tables.tunnels(), &ip),
        (_, Ok(ip)) => tunnels::find_ipv6(tables.tunnels(), &ip),
        _ => None,
    };
    arrival.map_or(Fate::Punt(PuntReason::Local), Fate::Decapsulate)
}

/// What flow a packet is of.
#[cold]
fn flow(routing: &Routing, frame: &Frame) -> FlowHash {
    let packet = frame.bytes().get(HEADER_LEN..).unwrap_or_default();
    match (Ipv4::view(packet), Ipv6::view(packet)) {
        (Ok(ip), _) => routing.hasher.ipv4(&ip, routing.policy),
        (_, Ok(ip)) => routing.hasher.ipv6(&ip, routing.policy),
        _ => FlowHash(0),
    }
}

/// Whether an answer to an IPv4 packet would leave by `device` (RFC 3704 §2.2).
#[cold]
fn would_answer(routing: &Routing, device: DeviceId, frame: &Frame) -> bool {
    let Ok(ip) = Ipv4::view(frame.bytes().get(HEADER_LEN..).unwrap_or_default()) else { return true };
    let Some(id) = routing.ipv4.find(routing.ipv4.locate(ip.source())) else { return false };
    routing.next_hops.leads_by(id, device)
}

/// What does not leave ends.
#[cold]
fn end<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    fate: Fate,
    frame: Frame,
    egress: &mut Egress,
) {
    match fate {
        Fate::Forward(..) => unreachable!("what is forwarded leaves"),
        Fate::Decapsulate(arrival) => tunnels::receive(cx, device, arrival, frame, egress),
        Fate::Punt(reason) => cx.punt(device, reason, frame),
        Fate::Refuse(reason, told) => refuse(cx, device, reason, told, frame),
        Fate::Drop(reason) => cx.discard(device, Direction::Rx, reason, frame),
    }
}

/// Drops a frame, and gives control a copy, to tell its sender.
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
