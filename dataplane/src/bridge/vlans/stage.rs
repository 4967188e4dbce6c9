//! The line of a bridge that filters by VLAN: as the plain bridge's, in the domain of each frame's VLAN.
//!
//! The VLAN is that of the frame as it came; what it is tagged with is settled where it leaves, copy by copy.

use arrayvec::ArrayVec;

use super::super::host::to_host;
use super::super::knobs::{Teaches, admit, deliver};
use super::super::proxy::{Asked, ask};
use super::super::snooping::snooped;
use super::super::stage::{Class, classify, decide_rare, news, show_left_out};
use super::ingress::{TAGGED, enter, enter_special, origin};
use super::tag::{Tag, VlanTarget};
use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, Frame};
use crate::ids::{DeviceId, DomainId, MacAddr, VlanId};
use crate::pipeline::{Context, Egress, LeftOut, Lesson, Observer, Step, Transmit, Verdict};
use crate::tables::{Entry, Flood, Key, Knobs, Learned, Role, Spot, Tables, Target, VlanPort, Vlans};
use crate::wire::vlan::TAG_LEN;

/// What parsing found in a frame.
#[derive(Clone, Copy)]
struct Parsed {
    source: Spot,
    destination: Spot,
    class: Class,
    tag: Tag,
}

/// The stage's working memory: what parsing found, frame by frame.
#[derive(Default)]
pub(crate) struct VlanStage {
    parsed: ArrayVec<Parsed, BURST>,
}

/// Where a burst came from.
#[derive(Clone, Copy)]
pub(super) struct Here<'t> {
    pub(super) device: DeviceId,
    pub(super) bridge: DomainId,
    pub(super) vlans: &'t Vlans,
    pub(super) port: &'t VlanPort,
}

impl<'t> Here<'t> {
    pub(super) fn of(tables: &'t Tables, device: DeviceId, bridge: DomainId) -> Self {
        let (Some(vlans), Some(port)) = (&tables.domain(bridge).vlans, tables.vlan_port(device)) else {
            unreachable!("tables are whole: what is in a bridge that filters is in VLANs")
        };
        Self { device, bridge, vlans, port }
    }

    /// Counts a frame that came in, where somebody wants that.
    pub(super) fn count<O: Observer, T: Transmit>(self, cx: &Context<'_, O, T>, tag: Tag, frame: &Frame) {
        let stats = self.port.special.stats.as_ref();
        if let Some(traffic) = stats.and_then(|stats| stats.of(cx.counters.worker(), tag.vid())) {
            traffic.received.add(1, tag.counted(frame));
        }
    }

    /// How a copy of a frame with this tag leaves by a port that is in its VLAN.
    #[inline(always)]
    pub(super) fn leaving<O: Observer, T: Transmit>(
        self,
        cx: &Context<'t, O, T>,
        target: impl Into<Target>,
        tag: Tag,
    ) -> VlanTarget<'t> {
        VlanTarget::new(cx.tables, cx.counters.worker(), target.into(), tag, self.vlans.protocol)
    }
}

impl VlanStage {
    /// Takes a burst that came from `device`, a member of `bridge`, through it. It is empty afterwards. `knobs` are those of a
    /// member that is not a plain one.
    pub(crate) fn run<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        bridge: DomainId,
        knobs: Option<&Knobs>,
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        let here = Here::of(cx.tables, device, bridge);
        match knobs {
            None => {
                self.parse(cx, here, burst);
                self.learn(cx, here, burst);
            }
            Some(knobs) => {
                self.parse_special(cx, here, knobs, burst);
                self.admit(cx, here, knobs, burst);
            }
        }
        for (place, (mut frame, parsed)) in burst.drain().zip(self.parsed.iter()).enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            let Some((to, untagged)) = straight(cx, here, parsed, &frame) else {
                settle(cx, here, knobs, parsed, egress, frame);
                continue;
            };
            if O::LOOKS {
                let entry = cx.macs.find(parsed.destination);
                cx.observer.see(Step::Decided(entry, Verdict::Forward(to)), &frame);
            }
            if let Some(retag) = parsed.tag.apply(&mut frame, here.vlans.protocol, untagged) {
                cx.observer.see(Step::Retagged(to, retag), &frame);
            }
            egress.forward(cx, device, to, frame);
        }
    }

    /// Reads addresses and tags, sorts the frames by them, and asks the cache for the lines of the table.
    #[inline]
    fn parse<O: Observer, T: Transmit>(&mut self, cx: &Context<'_, O, T>, here: Here<'_>, burst: &Burst) {
        self.parsed.clear();
        for frame in burst.iter() {
            let Some(header) = frame.bytes().first_chunk::<TAGGED>() else {
                self.note_special(cx, here, frame);
                continue;
            };
            let (class, destination, source) = classify(header, None);
            let Some(tag) = enter(here.vlans, here.port, header) else {
                self.note_special(cx, here, frame);
                continue;
            };
            self.note(cx, here, (class, destination, source), tag);
        }
    }

    /// The same of a frame that is refused, or short.
    #[cold]
    fn note_special<O: Observer, T: Transmit>(
        &mut self,
        cx: &Context<'_, O, T>,
        here: Here<'_>,
        frame: &Frame,
    ) {
        let (class, destination, source) = classify(frame.bytes(), None);
        let entered = enter_special(here.vlans, here.port, frame.bytes(), source);
        let (class, tag) =
            entered.map_or_else(|reason| (refused(class, reason), Tag::NONE), |tag| (class, tag));
        self.note(cx, here, (class, destination, source), tag);
    }

    /// The same of a port that is not plain. What its state refuses is not asked for its VLAN.
    #[cold]
    fn parse_special<O: Observer, T: Transmit>(
        &mut self,
        cx: &Context<'_, O, T>,
        here: Here<'_>,
        knobs: &Knobs,
        burst: &Burst,
    ) {
        self.parsed.clear();
        for frame in burst.iter() {
            let (class, destination, source) = classify(frame.bytes(), Some(knobs));
            let entered = enter_special(here.vlans, here.port, frame.bytes(), source);
            let is_bound = matches!(class, Class::Individual | Class::Multicast | Class::Broadcast);
            let (class, tag) = match entered {
                Err(_) if is_bound && !knobs.state.learns() => {
                    (Class::Refused(DropReason::PortState), Tag::NONE)
                }
                Err(reason) => (refused(class, reason), Tag::NONE),
                Ok(tag) => {
                    if is_bound && knobs.state.learns() {
                        here.count(cx, tag, frame);
                    }
                    (class, tag)
                }
            };
            self.note(cx, here, (class, destination, source), tag);
        }
    }

    #[inline(always)]
    fn note<O: Observer, T: Transmit>(
        &mut self,
        cx: &Context<'_, O, T>,
        here: Here<'_>,
        (class, destination, source): (Class, MacAddr, MacAddr),
        tag: Tag,
    ) {
        let domain = here.vlans.domain(tag.vid());
        let source = cx.macs.locate(Key::new(domain, source));
        let destination = cx.macs.locate(Key::new(domain, destination));
        cx.macs.prefetch(source);
        cx.macs.prefetch(destination);
        // The burst has no more frames than this has room for.
        let _ = self.parsed.try_push(Parsed { source, destination, class, tag });
    }

    /// Notes who is behind `device`, VLAN by VLAN. A table that knows already is not written to.
    #[inline]
    fn learn<O: Observer, T: Transmit>(&self, cx: &mut Context<'_, O, T>, here: Here<'_>, burst: &Burst) {
        for (place, (frame, parsed)) in burst.iter().zip(self.parsed.iter()).enumerate() {
            show(cx, here, place, frame, parsed);
            if !matches!(parsed.class, Class::Refused(_)) {
                learn(cx, here, parsed, frame);
            }
        }
    }

    /// The same behind a port with knobs, which also say which frames are not let in.
    #[cold]
    fn admit<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        here: Here<'_>,
        knobs: &Knobs,
        burst: &Burst,
    ) {
        for (place, (frame, parsed)) in burst.iter().zip(self.parsed.iter_mut()).enumerate() {
            show(cx, here, place, frame, parsed);
            let admitted = admit(knobs, parsed.class, || find(cx, here, parsed.source), here.device);
            let is_in_vlan = parsed.tag.vid() != 0;
            match admitted.teaches {
                Teaches::Station if is_in_vlan => learn(cx, here, parsed, frame),
                Teaches::Locked if is_in_vlan => {
                    let learned = cx.macs.learn_locked(parsed.source, here.device.into(), cx.tick);
                    let lesson = news(cx, here.device, parsed.source, learned);
                    cx.observer.see(Step::Learned(lesson), frame);
                }
                _ => cx.observer.see(Step::Unlearned, frame),
            }
            parsed.class = admitted.class;
        }
    }
}

/// The class of a frame that its VLAN keeps out. One that ends in the bridge still does, and teaches nothing
/// (`br_should_learn`).
#[cold]
fn refused(class: Class, reason: DropReason) -> Class {
    match class {
        Class::Individual | Class::Multicast | Class::Broadcast => Class::Refused(reason),
        Class::Ended => Class::Refused(DropReason::ReservedAddress),
        Class::Punted | Class::Refused(_) => class,
    }
}

/// Tells an observer what parsing found.
#[inline(always)]
fn show<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    here: Here<'_>,
    place: usize,
    frame: &Frame,
    parsed: &Parsed,
) {
    if !O::LOOKS {
        return;
    }
    cx.observer.see(Step::Turn(place), frame);
    cx.observer.see(Step::Classified(parsed.class), frame);
    if let Some(vid) = VlanId::new(parsed.tag.vid()) {
        let source = parsed.source.key().mac();
        let from = origin(here.vlans, here.port, frame.bytes(), source, parsed.tag);
        cx.observer.see(Step::InVlan(vid, from), frame);
    }
}

/// Notes that the sender of a frame is behind the port that it came from.
#[inline(always)]
fn learn<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    here: Here<'_>,
    parsed: &Parsed,
    frame: &Frame,
) {
    let is_known = cx.macs.knows(parsed.source, here.device.into(), cx.tick);
    let lesson = if is_known { Lesson::Known } else { learn_news(cx, here, parsed.source) };
    cx.observer.see(Step::Learned(lesson), frame);
}

#[inline(never)]
fn learn_news<O: Observer, T: Transmit>(cx: &mut Context<'_, O, T>, here: Here<'_>, source: Spot) -> Lesson {
    if own(cx, here, source.key()).is_some() {
        return Lesson::Pinned;
    }
    let learned = cx.macs.learn(source, here.device.into(), cx.tick);
    if learned == Learned::Known { Lesson::Known } else { news(cx, here.device, source, learned) }
}

/// The entry of a station.
#[inline(always)]
pub(super) fn find<O: Observer, T: Transmit>(
    cx: &Context<'_, O, T>,
    here: Here<'_>,
    spot: Spot,
) -> Option<Entry> {
    cx.macs.find(spot).or_else(|| own(cx, here, spot.key()))
}

/// The entry of an address of the bridge's own, in a VLAN. There is one for all VLANs, in the domain of the bridge: it holds in
/// those that its port is in, and the address of a port that is the bridge's too in those of the bridge (the kernel's
/// `fdb_local_vlan_0`).
#[cold]
fn own<O: Observer, T: Transmit>(cx: &Context<'_, O, T>, here: Here<'_>, key: Key) -> Option<Entry> {
    let domain = cx.tables.domain(key.domain());
    let vid = domain.of?.vid;
    let entry = cx.macs.find(cx.macs.locate(Key::new(here.bridge, key.mac())))?;
    let is_of_port =
        || cx.tables.vlan_port(entry.egress().device).is_some_and(|port| port.is_in(vid.number()));
    let is_of_bridge = domain.host.is_some_and(|host| host.mac == key.mac());
    (entry.is_local() && (is_of_bridge || is_of_port())).then_some(entry)
}

/// Where a frame goes that is for a station behind a plain member of its VLAN, and whether it leaves untagged. `None` for all else, and for what is too long or has no room for a tag.
#[inline(always)]
fn straight<O: Observer, T: Transmit>(
    cx: &Context<'_, O, T>,
    here: Here<'_>,
    parsed: &Parsed,
    frame: &Frame,
) -> Option<(DeviceId, bool)> {
    if parsed.class != Class::Individual {
        return None;
    }
    let entry = cx.macs.find(parsed.destination)?;
    let to = entry.egress().device;
    let there = cx.tables.device(to);
    let is_plain = there.role == Role::VlanBridge(here.bridge) && to != here.device && !entry.is_local();
    let port = cx.tables.vlan_port(to)?;
    let vid = parsed.tag.vid();
    let fits = frame.len() <= there.longest as usize && frame.headroom() >= TAG_LEN;
    (is_plain && port.is_in(vid) && fits).then(|| (to, port.untags(vid)))
}

/// Does with a frame what is to be done.
#[inline(never)]
fn settle<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    here: Here<'_>,
    knobs: Option<&Knobs>,
    parsed: &Parsed,
    egress: &mut Egress,
    frame: Frame,
) {
    let device = here.device;
    let (verdict, entry) = decide(cx, here, parsed);
    cx.observer.see(Step::Decided(entry, verdict), &frame);
    match verdict {
        Verdict::Forward(to) => {
            let to = here.leaving(cx, to, parsed.tag);
            egress.forward(cx, device, to, frame);
        }
        Verdict::Flood(domain, kind) => flood(cx, here, domain, kind, (knobs, parsed.tag), egress, frame),
        Verdict::Host(host) => {
            let to = here.leaving(cx, host.device, parsed.tag);
            to_host(cx, device, host, to, egress, frame);
        }
        Verdict::Drop(reason) => cx.discard(device, Direction::Rx, reason, frame),
        Verdict::Punt(reason) => cx.punt(device, reason, frame),
    }
}

/// What is to become of a frame, and the entry that says so, if one does.
fn decide<O: Observer, T: Transmit>(
    cx: &Context<'_, O, T>,
    here: Here<'_>,
    parsed: &Parsed,
) -> (Verdict, Option<Entry>) {
    let domain = parsed.destination.key().domain();
    if parsed.class != Class::Individual {
        return (decide_rare(domain, parsed.class), None);
    }
    let Some(entry) = find(cx, here, parsed.destination) else {
        return (Verdict::Flood(domain, Flood::Unicast), None);
    };
    match deliver(cx.tables, here.device, domain, entry) {
        Some(verdict) => (verdict, Some(entry)),
        None => (Verdict::Flood(domain, Flood::Unicast), None),
    }
}

/// Sends a frame to all members of its VLAN that take floods of its kind, but those that it is kept from.
fn flood<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    here: Here<'_>,
    domain: DomainId,
    kind: Flood,
    (knobs, tag): (Option<&Knobs>, Tag),
    egress: &mut Egress,
    frame: Frame,
) {
    let (tables, device) = (cx.tables, here.device);
    let knobs = knobs.unwrap_or(&Knobs::PLAIN);
    let (worker, protocol) = (cx.counters.worker(), here.vlans.protocol);
    let leaving = |target: Target| VlanTarget::new(tables, worker, target, tag, protocol);
    let back = (tag.is_there(), VlanTarget::answer(here.port, device, tag, protocol));
    let asked = if knobs.answers { ask(cx, device, domain, back, egress, &frame) } else { Asked::Flood };
    let Some(frame) = snooped(cx, device, domain, kind, (tag.is_there(), leaving), egress, frame) else {
        return;
    };
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
    egress.flood(cx, device, members.map(|member| leaving(member.into())), frame);
}
