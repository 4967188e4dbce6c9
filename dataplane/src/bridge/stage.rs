//! The bridge's part of the line: parse, learn, look up, and out.
//!
//! IEEE 802.1Q §8.6–8.8 in the kernel's reading (net/bridge/br_input.c). Each step is a loop over the whole burst, so that the
//! table's lines are on their way into the cache before the first of them is read.

use arrayvec::ArrayVec;

use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, Frame};
use crate::ids::{DeviceId, DomainId, MacAddr};
use crate::pipeline::{Context, Egress, LeftOut, Lesson, Observer, Step, Transmit, Verdict};
use crate::punt::{Move, PuntReason};
use crate::tables::{Entry, Flood, Key, Knobs, Learned, PortState, Role, Spot, Tables};
use crate::wire::ethernet::reserved_group;

use super::host::to_host;
use super::knobs::{Teaches, admit, deliver, is_in_vlan, reserved};
use super::proxy::{Asked, ask};
use super::snooping::{as_it_is, snooped};

/// What parsing found in a frame: its class, and its addresses as places in the MAC table.
#[derive(Clone, Copy)]
struct Parsed {
    source: Spot,
    destination: Spot,
    class: Class,
}

/// What the addresses say about the frame's way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// To one station.
    Individual,
    /// To a group.
    Multicast,
    /// To all.
    Broadcast,
    /// To an address that bridges keep to themselves: it is control's.
    Punted,
    /// To such an address: learned from, and ends here.
    Ended,
    /// Not to be forwarded.
    Refused(DropReason),
}

/// The stage's working memory: what parsing found, frame by frame.
#[derive(Default)]
pub(crate) struct BridgeStage {
    parsed: ArrayVec<Parsed, BURST>,
}

impl BridgeStage {
    /// Takes a burst that came from `device`, a member of `domain`, through the bridge. It is empty afterwards. `knobs` are
    /// those of a member that is not a plain one.
    pub(crate) fn run<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        domain: DomainId,
        knobs: Option<&Knobs>,
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        self.parse(cx, domain, knobs, burst);
        match knobs {
            None => self.learn(cx, device, burst),
            Some(knobs) => self.admit(cx, device, knobs, burst),
        }
        for (place, (frame, parsed)) in burst.drain().zip(self.parsed.iter()).enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            let known =
                if parsed.class == Class::Individual { cx.macs.find(parsed.destination) } else { None };
            if let Some(entry) = known
                && let Some(to) = straight(cx.tables, device, domain, entry)
            {
                cx.observer.see(Step::Decided(known, Verdict::Forward(to)), &frame);
                egress.forward(cx, device, to, frame);
            } else {
                settle(cx, device, domain, (parsed.class, known), knobs, egress, frame);
            }
        }
    }

    /// Reads the addresses, sorts the frames by them, and asks the cache for the lines of the table.
    #[inline]
    fn parse<O: Observer, T: Transmit>(
        &mut self,
        cx: &Context<'_, O, T>,
        domain: DomainId,
        knobs: Option<&Knobs>,
        burst: &Burst,
    ) {
        let macs = cx.macs;
        self.parsed.clear();
        // The burst has no more frames than there is room for.
        self.parsed.extend(burst.iter().map(|frame| {
            let (class, destination, source) = classify(frame.bytes(), knobs);
            let source = macs.locate(Key::new(domain, source));
            let destination = macs.locate(Key::new(domain, destination));
            macs.prefetch(source);
            macs.prefetch(destination);
            Parsed { source, destination, class }
        }));
    }

    /// Notes who is behind `device`. A table that knows already is not written to.
    #[inline]
    fn learn<O: Observer, T: Transmit>(&self, cx: &mut Context<'_, O, T>, device: DeviceId, burst: &Burst) {
        for (place, (frame, parsed)) in burst.iter().zip(self.parsed.iter()).enumerate() {
            cx.observer.see(Step::Turn(place), frame);
            cx.observer.see(Step::Classified(parsed.class), frame);
            if !matches!(parsed.class, Class::Refused(_)) {
                learn(cx, device, parsed.source, frame);
            }
        }
    }

    /// The same behind a port with knobs, which also say which frames are not let in.
    #[cold]
    fn admit<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        knobs: &Knobs,
        burst: &Burst,
    ) {
        for (place, (frame, parsed)) in burst.iter().zip(self.parsed.iter_mut()).enumerate() {
            cx.observer.see(Step::Turn(place), frame);
            cx.observer.see(Step::Classified(parsed.class), frame);
            let macs = cx.macs;
            let admitted = admit(knobs, parsed.class, || macs.find(parsed.source), device);
            match admitted.teaches {
                Teaches::Nothing => cx.observer.see(Step::Unlearned, frame),
                Teaches::Station => learn(cx, device, parsed.source, frame),
                Teaches::Locked => {
                    let learned = macs.learn_locked(parsed.source, device.into(), cx.tick);
                    let lesson = news(cx, device, parsed.source, learned);
                    cx.observer.see(Step::Learned(lesson), frame);
                }
            }
            parsed.class = admitted.class;
        }
    }
}

/// Where a station is that `entry` tells of, if frames to it are merely to be forwarded there.
#[inline(always)]
fn straight(tables: &Tables, device: DeviceId, domain: DomainId, entry: Entry) -> Option<DeviceId> {
    let to = entry.egress().device;
    let is_there = tables.device(to).role == Role::Bridge(domain) && to != device && !entry.is_local();
    is_there.then_some(to)
}

/// Does what else may be to do with a frame of that class, `known` being what the table says of its destination.
#[cold]
fn settle<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    (class, known): (Class, Option<Entry>),
    knobs: Option<&Knobs>,
    egress: &mut Egress,
    frame: Frame,
) {
    let verdict = match known {
        Some(entry) => deliver(cx.tables, device, domain, entry),
        None => Some(decide_rare(domain, class)),
    };
    let (verdict, entry) = match verdict {
        Some(verdict) => (verdict, known),
        None => (Verdict::Flood(domain, Flood::Unicast), None),
    };
    cx.observer.see(Step::Decided(entry, verdict), &frame);
    match verdict {
        Verdict::Forward(to) => egress.forward(cx, device, to, frame),
        Verdict::Flood(domain, kind) => flood(cx, device, domain, kind, knobs, egress, frame),
        Verdict::Host(host) => to_host(cx, device, host, host.device, egress, frame),
        Verdict::Drop(reason) => cx.discard(device, Direction::Rx, reason, frame),
        Verdict::Punt(reason) => cx.punt(device, reason, frame),
    }
}

/// Notes that the station at `source` is behind `device`. A call of its own would cost eight instructions a frame.
#[inline(always)]
fn learn<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    source: Spot,
    frame: &Frame,
) {
    let learned = cx.macs.learn(source, device.into(), cx.tick);
    let lesson = if learned == Learned::Known { Lesson::Known } else { news(cx, device, source, learned) };
    cx.observer.see(Step::Learned(lesson), frame);
}

/// Counts what a source address taught, and tells control of a station that has moved where it wants to know. It is told
/// of no more than it can follow.
pub(crate) fn news<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    source: Spot,
    learned: Learned,
) -> Lesson {
    let counters = cx.counters;
    match learned {
        Learned::Known | Learned::Refreshed => Lesson::Known,
        Learned::New => {
            counters.learned.add(1);
            Lesson::Learned
        }
        Learned::Moved { from } => {
            counters.moved.add(1);
            if cx.tables.domain(source.key().domain()).tells_moves {
                let moved = Move { key: source.key(), from: from.device };
                let _ = cx.punt.offer(device, PuntReason::Move, cx.tick, &moved.encode());
            }
            Lesson::Moved(from.device)
        }
        Learned::Refused => Lesson::Pinned,
        Learned::Full => {
            counters.table_full.add(1);
            Lesson::TableFull
        }
        Learned::Limited => {
            counters.limited.add(1);
            Lesson::Limited
        }
    }
}

/// What the addresses of a frame say about its way, and they themselves: destination, then source.
#[inline]
pub(super) fn classify(bytes: &[u8], knobs: Option<&Knobs>) -> (Class, MacAddr, MacAddr) {
    let Some(header) = bytes.first_chunk::<14>() else {
        return (Class::Refused(DropReason::Truncated), MacAddr::ZERO, MacAddr::ZERO);
    };
    // Eight bytes from the start and the last eight hold an address each: one load apiece.
    let (Some(first), Some(last)) = (header.first_chunk(), header.last_chunk()) else {
        unreachable!("14 are enough")
    };
    let destination = MacAddr::from_bits(u64::from_be_bytes(*first) >> 16);
    let source = MacAddr::from_bits(u64::from_be_bytes(*last) >> 16);
    let class = if source.is_group() || source.is_zero() {
        Class::Refused(if source.is_zero() { DropReason::SourceZero } else { DropReason::SourceGroup })
    } else if destination.is_group() {
        group(destination, knobs)
    } else {
        Class::Individual
    };
    (class, destination, source)
}

/// What a group address says about a frame's way.
#[cold]
fn group(destination: MacAddr, knobs: Option<&Knobs>) -> Class {
    match reserved_group(destination) {
        Some(number) => reserved(knobs.unwrap_or(&Knobs::PLAIN), number),
        None if destination == MacAddr::BROADCAST => Class::Broadcast,
        None => Class::Multicast,
    }
}

/// What is to become of a frame that no entry says anything of.
#[cold]
pub(super) fn decide_rare(domain: DomainId, class: Class) -> Verdict {
    match class {
        Class::Individual => Verdict::Flood(domain, Flood::Unicast),
        Class::Multicast => Verdict::Flood(domain, Flood::Multicast),
        Class::Broadcast => Verdict::Flood(domain, Flood::Broadcast),
        Class::Punted => Verdict::Punt(PuntReason::ReservedAddress),
        Class::Ended => Verdict::Drop(DropReason::ReservedAddress),
        Class::Refused(reason) => Verdict::Drop(reason),
    }
}

/// Sends a frame to all members that take floods of its kind, but to the port that it came from.
fn flood<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    kind: Flood,
    knobs: Option<&Knobs>,
    egress: &mut Egress,
    frame: Frame,
) {
    if let Some(knobs) = knobs {
        return flood_with(cx, device, domain, kind, knobs, egress, frame);
    }
    let tables = cx.tables;
    let Some(frame) = snooped(cx, device, domain, kind, (true, as_it_is), egress, frame) else { return };
    let members = tables.domain(domain).members(kind).iter().copied();
    let members = members.filter(|&member| member != device);
    show_left_out(cx, device, domain, LeftOut::Unwanted, members.clone(), &frame);
    egress.flood(cx, device, members, frame);
}

/// The same for a port with knobs: back to it too if they say so, and not to those that they keep it from.
#[cold]
fn flood_with<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    kind: Flood,
    knobs: &Knobs,
    egress: &mut Egress,
    frame: Frame,
) {
    let tables = cx.tables;
    let asked =
        if knobs.answers { ask(cx, device, domain, (false, device), egress, &frame) } else { Asked::Flood };
    let Some(frame) = snooped(cx, device, domain, kind, (true, as_it_is), egress, frame) else { return };
    let keeps_from = |member| {
        let other = &tables.device(member).knobs;
        knobs.isolated && other.isolated || asked != Asked::Flood && other.neigh_suppress
    };
    let members = tables.domain(domain).members(kind).iter().copied();
    let members = members.filter(|&member| (member != device || knobs.hairpin) && !keeps_from(member));
    let rest = if asked == Asked::Flood { LeftOut::Unwanted } else { LeftOut::Suppressed };
    show_left_out(cx, device, domain, rest, members.clone(), &frame);
    let mut members = members.peekable();
    if asked == Asked::Answered && members.peek().is_none() {
        cx.counters.consumed.add(1);
        return cx.pool.free(frame);
    }
    egress.flood(cx, device, members, frame);
}

/// Tells an observer which members of a domain are not among the `targets` of a flood; what has no other reason has `rest`.
#[inline]
pub(super) fn show_left_out<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    domain: DomainId,
    rest: LeftOut,
    targets: impl Iterator<Item = DeviceId> + Clone,
    frame: &Frame,
) {
    if !O::LOOKS {
        return;
    }
    let tables = cx.tables;
    let here = &tables.device(from).knobs;
    for (id, device) in (0..).map(DeviceId).zip(tables.devices()) {
        if device.role.domain() != Some(tables.bridge_of(domain))
            || targets.clone().any(|target| target == id)
        {
            continue;
        }
        let why = if id == from && !here.hairpin {
            LeftOut::Ingress
        } else if device.knobs.state != PortState::Forwarding {
            LeftOut::State
        } else if !is_in_vlan(tables, domain, id) {
            LeftOut::Vlan
        } else if here.isolated && device.knobs.isolated {
            LeftOut::Isolated
        } else {
            rest
        };
        cx.observer.see(Step::LeftOut(id, why), frame);
    }
}
