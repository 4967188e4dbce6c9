//! The router's part of the line: is it for us, is it right, where to, and out.
//!
//! `ip_rcv`, `ip_route_input` and `ip_forward` of the kernel (net/ipv4/), and their like in net/ipv6/. Each step is a loop over
//! the whole burst, so that the lines of the route table are on their way into the cache before they are read. What needs state or an
//! answer (neighbours, echoes, errors) is control's: it gets the frame, or a copy of one that is dropped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::lead::{Lately, Lead, Way};
use super::send::{self, Leaving};
use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, Frame};
use crate::ids::{DeviceId, MacAddr};
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::tables::next_hop::NextHopId;
use crate::tables::route::Place;
use crate::tables::{Arrival, Interface, Routing, Tables, Tunnels};
use crate::tunnels;
use crate::wire::ethernet::{EtherType, Ethernet, HEADER_LEN};
use crate::wire::flow::FlowHash;
use crate::wire::forward::{self, Confined, Plain, Refused};
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
    /// For a group that tunnels of ours are in, and so many bytes long.
    Group(IpAddr, u32),
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

impl From<Plain> for Packet {
    #[inline]
    fn from(packet: Plain) -> Self {
        let (length, may_fragment) = (packet.total_len.into(), !packet.dont_fragment);
        Self { length, hops: packet.ttl, may_fragment, confined: None }
    }
}

/// The stage's working memory: what reading has found, frame by frame.
#[derive(Default)]
pub(crate) struct RoutingStage {
    found: ArrayVec<Found, BURST>,
    ours: Ours,
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
        self.read(cx, routing, (device, here), burst);
        self.approach(routing);
        if self.is_all_ours(routing, here, burst) {
            self.ours.take(burst);
        } else {
            self.leave(cx, (device, here), burst, egress);
        }
        if !self.ours.turns.is_empty() {
            self.arrive(cx, device, egress);
        }
    }

    /// Reads the packets, and asks the cache for the first lines of the tables.
    #[inline(never)]
    fn read<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        routing: &Routing,
        at: (DeviceId, &Interface),
        burst: &mut Burst,
    ) {
        self.found.clear();
        let is_large = routing.ipv4.approaches() > 0;
        for (place, frame) in burst.iter_mut().enumerate() {
            cx.observer.see(Step::Turn(place), frame);
            // The burst has no more frames than this has room for. Each way writes its own: what could be either is copied byte by byte.
            let _ = match plain(at.1, frame) {
                Some(packet) => {
                    let place = routing.ipv4.locate(packet.destination);
                    if is_large {
                        routing.ipv4.prefetch(place);
                    }
                    self.found.try_push(Found::Ipv4(place, Packet::from(packet)))
                }
                None => self.found.try_push(read(cx, routing, at, frame).unwrap_or_else(Found::Ended)),
            };
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

    /// Whether all packets are to one address, which is ours: so it is with a burst that comes through a tunnel.
    fn is_all_ours(&self, routing: &Routing, here: &Interface, burst: &Burst) -> bool {
        let (Some(Found::Ipv4(first, _)), Some(frame)) = (self.found.first(), burst.first()) else {
            return false;
        };
        let (lead, _) = lead(routing, here, frame, routing.ipv4.find(*first), first.address());
        let is_like_first =
            |found: &Found| matches!(found, Found::Ipv4(place, _) if place.address() == first.address());
        matches!(lead, Lead::Here) && self.found.iter().all(is_like_first)
    }

    /// Decides, and sends on what is to go on. What is for us is set aside.
    #[inline(never)]
    fn leave<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        (device, here): (DeviceId, &Interface),
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        let tables = cx.tables;
        let routing = tables.routing();
        let mut lately = Lately::none();
        for (turn, (frame, found)) in burst.drain().zip(&self.found).enumerate() {
            cx.observer.see(Step::Turn(turn), &frame);
            let (lead, packet, is_ipv4) = match found {
                Found::Ipv4(place, packet) => {
                    let find = || lead(routing, here, &frame, routing.ipv4.find(*place), place.address());
                    (lately.ipv4.or_find(place.address(), find), packet, true)
                }
                Found::Ipv6(place, packet) => {
                    let find = || lead(routing, here, &frame, routing.ipv6.find(*place), place.address());
                    (lately.ipv6.or_find(place.address(), find), packet, false)
                }
                Found::Group(..) => {
                    self.ours.add(turn, frame);
                    continue;
                }
                Found::Ended(fate) => {
                    end(cx, device, found, *fate, frame);
                    continue;
                }
            };
            let decided = match lead {
                Lead::On(way) => decide(tables, (device, here), way, packet, &frame),
                Lead::Nowhere(fate) => Err(*fate),
                Lead::Here => {
                    self.ours.add(turn, frame);
                    continue;
                }
            };
            match decided {
                Ok(leaving) => {
                    let fate = Fate::Forward(leaving.way.to, leaving.way.next, leaving.mac);
                    cx.observer.see(Step::Routed(found.destination(), fate), &frame);
                    send::forward(cx, device, leaving, packet.length, is_ipv4, frame, egress);
                }
                Err(fate) => end(cx, device, found, fate, frame),
            }
        }
    }

    /// Lets what is in our tunnels surface; all else that is for us is control's. A loop of its own, as the compiler has too few registers for this, too.
    #[inline(never)]
    fn arrive<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        egress: &mut Egress,
    ) {
        let tunnels = cx.tables.tunnels();
        for (turn, frame) in self.ours.drain() {
            cx.observer.see(Step::Turn(turn), &frame);
            let found = &self.found[turn];
            let see = |observer: &mut O, arrival, frame: &Frame| {
                observer.see_made(|| Step::Routed(found.destination(), Fate::Decapsulate(arrival)), frame);
            };
            let frame = match found {
                Found::Ipv4(_, packet) => {
                    match tunnels::receive_plain(cx, device, packet.length, frame, egress, see) {
                        Ok(()) => continue,
                        Err(frame) => frame,
                    }
                }
                _ => frame,
            };
            let arrived = match found {
                Found::Ipv4(_, packet) => tunnels::find(tunnels, &frame, packet.length),
                Found::Group(IpAddr::V4(_), length) => tunnels::find(tunnels, &frame, *length),
                _ => tunnels::find_ipv6(tunnels, &frame),
            };
            match arrived {
                Ok(arrived) => {
                    see(cx.observer, arrived.0, &frame);
                    tunnels::receive(cx, device, arrived, frame, egress);
                }
                Err(reason) => end(cx, device, found, Fate::Punt(reason), frame),
            }
        }
    }
}

/// Frames of a burst that are for us, and which of its frames they were.
#[derive(Default)]
struct Ours {
    frames: Burst,
    turns: ArrayVec<u8, BURST>,
}

const _: () = assert!(BURST <= 256, "a turn is an octet");

impl Ours {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a turn is an octet")]
    fn add(&mut self, turn: usize, frame: Frame) {
        self.turns.push(turn as u8);
        if self.frames.push(frame).is_err() {
            unreachable!("a burst has room for a burst");
        }
    }

    /// A whole burst is for us.
    #[expect(clippy::cast_possible_truncation, reason = "a turn is an octet")]
    fn take(&mut self, burst: &mut Burst) {
        debug_assert!(self.turns.is_empty(), "it is the first to be set aside");
        std::mem::swap(&mut self.frames, burst);
        self.turns.extend((0..self.frames.len()).map(|turn| turn as u8));
    }

    fn drain(&mut self) -> impl Iterator<Item = (usize, Frame)> {
        self.turns.drain(..).map(usize::from).zip(self.frames.drain())
    }
}

/// Where packets to `destination` go, whose route leads by the next hop `id`, and whether all do: where there are several ways it depends on the flow.
fn lead<A: Into<IpAddr>>(
    routing: &Routing,
    here: &Interface,
    frame: &Frame,
    id: Option<NextHopId>,
    destination: A,
) -> (Lead, bool) {
    let mut is_for_all = true;
    let next_hop = id.and_then(|id| {
        routing.next_hops.choose(id, || {
            is_for_all = false;
            flow(routing, frame)
        })
    });
    (Lead::by(routing, here, next_hop, destination.into()), is_for_all)
}

/// What is in a frame like most: for us, and with an IPv4 packet that is easily read.
#[inline(always)]
fn plain(here: &Interface, frame: &Frame) -> Option<Plain> {
    let ethernet = Ethernet::view(frame.bytes()).ok()?;
    if ethernet.destination() == here.mac { forward::plain_ipv4(frame.bytes()) } else { None }
}

/// Reads what routing goes by. A tag that has a priority and no VLAN is taken off.
#[inline(never)]
fn read<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    routing: &Routing,
    (device, here): (DeviceId, &Interface),
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
            if to.is_group() || ip.destination().is_multicast() || ip.destination().is_broadcast() {
                return group_ipv4(cx.tables.tunnels(), device, &ip);
            }
            let place = routing.ipv4.locate(ip.destination());
            routing.ipv4.prefetch(place);
            Ok(Found::Ipv4(place, Packet::from(Plain::from(&ip))))
        }
        EtherType::IPV6 => {
            let ip = forward::accept_ipv6(packet).map_err(refused)?;
            if to.is_group() || ip.destination().is_multicast() {
                return group_ipv6(cx.tables.tunnels(), device, &ip);
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

/// What is known of a packet to a group, or to all: a router passes none on (RFC 1812 §5.3.4), and is in those of its tunnels only. Control
/// hears who asks for their members.
#[cold]
fn group_ipv4(tunnels: &Tunnels, device: DeviceId, ip: &Ipv4<'_>) -> Result<Found, Fate> {
    match ip.protocol() {
        IpProtocol::UDP if tunnels.is_in(device, ip.destination().into()) => {
            Ok(Found::Group(ip.destination().into(), ip.total_len().into()))
        }
        IpProtocol::IGMP if !tunnels.groups.is_empty() => Err(Fate::Punt(PuntReason::Local)),
        _ => Err(Fate::Drop(DropReason::IpGroup)),
    }
}

/// The same of IPv6: control hears what is about neighbours, or asks who is in which group, behind a router alert (RFC 3810 §5).
#[cold]
fn group_ipv6(tunnels: &Tunnels, device: DeviceId, ip: &Ipv6<'_>) -> Result<Found, Fate> {
    match ip.transport() {
        Ok((IpProtocol::ICMPV6, _)) => Err(Fate::Punt(PuntReason::Local)),
        Ok(_) if ip.carries() == Ok(IpProtocol::UDP) && tunnels.is_in(device, ip.destination().into()) => {
            Ok(Found::Group(ip.destination().into(), ip.total_len()))
        }
        _ => Err(Fate::Drop(DropReason::IpGroup)),
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

/// How a packet leaves by this way.
///
/// # Errors
/// What becomes of one that does not.
#[inline(always)]
fn decide<'l>(
    tables: &Tables,
    (device, here): (DeviceId, &Interface),
    way: &'l Way,
    packet: &Packet,
    frame: &Frame,
) -> Result<Leaving<'l>, Fate> {
    if here.checks_source && !would_answer(tables.routing(), device, frame) {
        return Err(Fate::Drop(DropReason::ReversePath));
    }
    if packet.hops <= 1 {
        return Err(Fate::Refuse(DropReason::TtlExceeded, PuntReason::TtlExceeded));
    }
    if let Some(why) = packet.confined {
        confine(why, way.to == device)?;
    }
    Leaving::by(way, packet, frame)
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
            Self::Group(group, _) => Some(*group),
            Self::Ended(_) => None,
        }
    }
}

/// What flow a packet is of.
#[cold]
pub(crate) fn flow(routing: &Routing, frame: &Frame) -> FlowHash {
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
    found: &Found,
    fate: Fate,
    frame: Frame,
) {
    cx.observer.see(Step::Routed(found.destination(), fate), &frame);
    match fate {
        Fate::Forward(..) => unreachable!("what is forwarded leaves"),
        Fate::Decapsulate(_) => unreachable!("what is in a packet surfaces"),
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
