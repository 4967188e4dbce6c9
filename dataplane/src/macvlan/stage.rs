//! Sorting frames out to macvlans by their addresses, and what those send to each other and out.
//!
//! Each step is a loop over the whole burst, so that the lines of the tables are on their way into the cache before the first of
//! them is read.

use arrayvec::ArrayVec;

use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, Frame};
use crate::ids::{DeviceId, MacAddr};
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::sys::hints;
use crate::tables::{Child, Hearers, MacSpot as Spot, MacvlanDescent, MacvlanMode, Macvlans, MacvlansId};
use crate::wire::ethernet::{EtherType, Ethernet};

/// Who a frame is for among the macvlans of a device, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// This one hears its source.
    Source(DeviceId),
    /// This one has its destination.
    Address(DeviceId),
    /// This one takes the whole of the device.
    Whole(DeviceId),
    /// It is to a group, and this one sent it and has it back from outside.
    Back(DeviceId),
    /// It is to a group and from outside: for all that hear groups.
    All,
    /// It is to a group and from this one, which is of mode VEPA, and came back: for those of mode bridge and VEPA.
    Reflected(DeviceId),
    /// It is to a group and from this one, which is of mode bridge, and came back: for those of mode VEPA, as those of mode bridge
    /// had it on its way out.
    ReflectedToVepas(DeviceId),
    /// This one of mode bridge sends it to a group: for the others of that mode, and out.
    Siblings(DeviceId),
    /// This one sends it, and it leaves by the device they stand on.
    Out(DeviceId),
}

/// What there is to look up about a frame.
#[derive(Clone, Copy)]
enum Look {
    /// It is none.
    NoFrame,
    /// Nothing: it is for those that hear its source.
    Alone,
    /// The child that has its destination.
    Destination(Spot),
    /// It is to a group: the child that it is from.
    Sender(Spot),
}

/// The stage's working memory: what it found, frame by frame.
#[derive(Default)]
pub(crate) struct MacvlanStage {
    sources: ArrayVec<Spot, BURST>,    // none where nobody hears any
    hearers: ArrayVec<Hearers, BURST>, // of those
    looks: ArrayVec<Look, BURST>,
    children: ArrayVec<Option<Child>, BURST>, // of those
}

impl MacvlanStage {
    /// Sorts a burst that came from `device` out to its macvlans. It is empty afterwards.
    pub(crate) fn run<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        id: MacvlansId,
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        let tables = cx.tables;
        let macvlans = tables.macvlans(id);
        self.hearers.clear();
        if macvlans.hears_sources() {
            self.hear(macvlans, burst);
        }
        self.look(macvlans, burst);
        self.find(cx, macvlans);
        let mut room = macvlans.queue.length;
        let found = self.looks.iter().zip(&self.children);
        for (place, (frame, (look, child))) in burst.drain().zip(found).enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            let sources = self.hearers.get(place).map_or(&[][..], |&hearers| macvlans.hearers(hearers));
            match (*look, sources, child) {
                (Look::NoFrame, ..) => cx.discard(device, Direction::Rx, DropReason::Truncated, frame),
                (Look::Destination(_), [], Some(child)) if macvlans.is_plain => {
                    cx.observer.see(Step::Macvlan(Ruling::Address(child.device)), &frame);
                    egress.surface_to(cx, child.device, child.onward, frame);
                }
                (Look::Alone, [one], _) => {
                    cx.observer.see(Step::Macvlan(Ruling::Source(*one)), &frame);
                    egress.surface(cx, *one, frame);
                }
                _ => {
                    let onward = match look {
                        Look::NoFrame | Look::Alone => Err(DropReason::NoMacvlan),
                        Look::Destination(_) => individual(macvlans, child.as_ref(), || source(&frame)),
                        Look::Sender(_) => group(macvlans, child.as_ref(), &frame, &mut room),
                    };
                    let taken = Taken { sources, onward };
                    taken.show(cx, &frame);
                    deliver(cx, device, &taken, frame, egress);
                }
            }
        }
    }

    /// Finds who hears the sources.
    fn hear(&mut self, macvlans: &Macvlans, burst: &Burst) {
        self.sources.clear();
        for frame in burst.iter() {
            let spot = macvlans.locate_source(source(frame));
            macvlans.prefetch_source(spot);
            // The burst has no more frames than this has room for.
            let _ = self.sources.try_push(spot);
        }
        for &spot in &self.sources {
            let _ = self.hearers.try_push(macvlans.find_source(spot));
        }
    }

    /// Finds those children, and asks the cache for what will be read and written of them.
    #[inline]
    fn find<O: Observer, T: Transmit>(&mut self, cx: &Context<'_, O, T>, macvlans: &Macvlans) {
        self.children.clear();
        for look in &self.looks {
            let child = match *look {
                Look::NoFrame | Look::Alone => None,
                Look::Sender(spot) => macvlans.find(spot),
                Look::Destination(spot) => macvlans.find(spot).inspect(|child| {
                    if child.onward.is_none_or(|onward| onward == child.device) {
                        cx.tables.prefetch(child.device);
                    }
                    hints::prefetch(&cx.counters.device(child.device).received);
                }),
            };
            let _ = self.children.try_push(child);
        }
    }

    /// Finds out where the children are that have to do with the frames.
    #[inline]
    fn look(&mut self, macvlans: &Macvlans, burst: &Burst) {
        self.looks.clear();
        for (place, frame) in burst.iter().enumerate() {
            let look = match Ethernet::view(frame.bytes()) {
                Err(_) => Look::NoFrame,
                Ok(_) if self.hearers.get(place).is_some_and(|hearers| hearers.alone) => Look::Alone,
                Ok(header) => {
                    let destination = header.destination();
                    let is_group = destination.is_group();
                    let spot = macvlans.locate(if is_group { header.source() } else { destination });
                    macvlans.prefetch(spot);
                    if is_group { Look::Sender(spot) } else { Look::Destination(spot) }
                }
            };
            let _ = self.looks.try_push(look);
        }
    }
}

fn source(frame: &Frame) -> MacAddr {
    Ethernet::view(frame.bytes()).map_or(MacAddr::ZERO, |header| header.source())
}

/// Who gets a frame that came in from below (`macvlan_handle_frame`).
struct Taken<'t> {
    /// Those that hear its source.
    sources: &'t [DeviceId],
    /// Those it is for by its destination, or why there are none.
    onward: Result<Onward<'t>, DropReason>,
}

#[derive(Clone, Copy)]
struct Onward<'t> {
    ruling: Ruling,
    to: &'t [DeviceId],
    but: Option<DeviceId>, // of those
}

impl<'t> Onward<'t> {
    fn one(ruling: Ruling, device: &'t DeviceId) -> Result<Self, DropReason> {
        Ok(Self { ruling, to: std::slice::from_ref(device), but: None })
    }

    fn devices(self) -> impl Iterator<Item = DeviceId> {
        self.to.iter().copied().filter(move |&device| Some(device) != self.but)
    }
}

impl Taken<'_> {
    fn devices(&self) -> impl Iterator<Item = DeviceId> {
        self.sources.iter().copied().chain(self.onward.into_iter().flat_map(Onward::devices))
    }

    /// Has whoever looks see who it is.
    fn show<O: Observer, T: Transmit>(&self, cx: &mut Context<'_, O, T>, frame: &Frame) {
        if O::LOOKS {
            let rulings = self.sources.iter().map(|&device| Ruling::Source(device));
            for ruling in rulings.chain(self.onward.map(|onward| onward.ruling)) {
                cx.observer.see(Step::Macvlan(ruling), frame);
            }
        }
    }
}

/// What came in from `device` goes where it is to go.
fn deliver<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    taken: &Taken<'_>,
    frame: Frame,
    egress: &mut Egress,
) {
    match *taken {
        Taken { sources: [], onward: Err(reason) } => {
            return cx.discard(device, Direction::Rx, reason, frame);
        }
        Taken { onward: Err(DropReason::BroadcastFull), .. } => {
            egress.unmade(cx, device, DropReason::BroadcastFull, &frame);
        }
        Taken { sources: [], onward: Ok(Onward { to: [one], but: None, .. }) }
        | Taken { sources: [one], onward: Err(_) } => return egress.surface(cx, *one, frame),
        Taken { .. } => {}
    }
    egress.surface_on(cx, device, taken.devices(), frame);
}

/// Who a frame to one station is for; `child` has its destination.
fn individual<'t>(
    macvlans: &'t Macvlans,
    child: Option<&'t Child>,
    source: impl FnOnce() -> MacAddr,
) -> Result<Onward<'t>, DropReason> {
    if let Some(whole) = macvlans.whole() {
        if macvlans.is_own_only && child.is_none() {
            return Err(DropReason::NoMacvlan);
        }
        return Onward::one(Ruling::Whole(*whole), whole);
    }
    let child = child.filter(|child| child.mode != MacvlanMode::Source).ok_or(DropReason::NoMacvlan)?;
    if macvlans.is_strict {
        // What ip-link(8) promises, and the kernel keeps for ARP only: no word between them, also by way of a switch that
        // reflects.
        let sender = macvlans.find(macvlans.locate(source()));
        let is_private = |mode| mode == MacvlanMode::Private;
        let is_apart = |sender: Child| is_private(child.mode) || is_private(sender.mode);
        if sender.is_some_and(|sender| sender != *child && is_apart(sender)) {
            return Err(DropReason::MacvlanPrivate);
        }
    }
    Onward::one(Ruling::Address(child.device), &child.device)
}

/// Who hears a frame to a group (`macvlan_multicast_rx`); `child` has its source. `room` is how many more there is room for.
fn group<'t>(
    macvlans: &'t Macvlans,
    child: Option<&'t Child>,
    frame: &Frame,
    room: &mut u32,
) -> Result<Onward<'t>, DropReason> {
    let (destination, ether_type) = Ethernet::view(frame.bytes())
        .map_or((MacAddr::BROADCAST, EtherType(0)), |header| (header.destination(), header.ether_type()));
    let onward = match child {
        // `macvlan_broadcast` leaves PAUSE to the device itself.
        None | Some(Child { mode: MacvlanMode::Vepa | MacvlanMode::Bridge, .. })
            if ether_type == EtherType::MAC_CONTROL =>
        {
            return Err(DropReason::NoMacvlan);
        }
        None => Onward { ruling: Ruling::All, to: macvlans.all(), but: None },
        Some(&Child { device, mode: MacvlanMode::Vepa, .. }) => {
            Onward { ruling: Ruling::Reflected(device), to: macvlans.bridges_and_vepas(), but: Some(device) }
        }
        Some(&Child { device, mode: MacvlanMode::Bridge, .. }) => {
            Onward { ruling: Ruling::ReflectedToVepas(device), to: macvlans.vepas(), but: None }
        }
        Some(Child { device, .. }) => return Onward::one(Ruling::Back(*device), device),
    };
    if onward.devices().next().is_none() {
        return Err(DropReason::NoMacvlan);
    }
    if macvlans.queue.takes(destination) {
        *room = room.checked_sub(1).ok_or(DropReason::BroadcastFull)?;
    }
    Ok(onward)
}

/// Sends what leaves by a child (`macvlan_queue_xmit`): to others of mode bridge at once, if it is of that mode, and everything
/// else out.
pub(crate) fn send<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    way: MacvlanDescent,
    frame: Frame,
    egress: &mut Egress,
) {
    let tables = cx.tables;
    let macvlans = tables.macvlans(way.siblings);
    if way.mode == MacvlanMode::Bridge {
        let Ok(header) = Ethernet::view(frame.bytes()) else {
            unreachable!("what leaves has an Ethernet header")
        };
        let (destination, source) = (header.destination(), header.source());
        if destination.is_group() {
            if header.ether_type() != EtherType::MAC_CONTROL {
                cx.observer.see(Step::Macvlan(Ruling::Siblings(way.child)), &frame);
                let siblings = macvlans.bridges().iter().filter(|&&sibling| sibling != way.child);
                siblings.for_each(|&sibling| egress.copy_up(cx, sibling, &frame));
            }
        } else if let Some(sibling) = macvlans.find(macvlans.locate(destination))
            && sibling.mode == MacvlanMode::Bridge
        {
            return across(cx, way, macvlans, &sibling, source, frame, egress);
        }
    }
    cx.observer.see(Step::Macvlan(Ruling::Out(way.child)), &frame);
    egress.pass_down(cx, way.link, frame);
}

/// Over to a sibling, as if it had come in from below (`dev_forward_skb`): to a sub-interface that takes its tag first, and to
/// those that hear its source.
fn across<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    way: MacvlanDescent,
    macvlans: &Macvlans,
    sibling: &Child,
    source: MacAddr,
    frame: Frame,
    egress: &mut Egress,
) {
    if cx.tables.device(way.link).tags.is_some() {
        return egress.rise(cx, way.link, frame);
    }
    let hearers = macvlans.find_source(macvlans.locate_source(source));
    let onward = match hearers.alone {
        true => Err(DropReason::NoMacvlan),
        false => individual(macvlans, Some(sibling), || source),
    };
    let taken = Taken { sources: macvlans.hearers(hearers), onward };
    taken.show(cx, &frame);
    match taken {
        Taken { sources: [], onward: Err(reason) } => egress.refuse(cx, sibling.device, reason, frame),
        taken => egress.rise_on(cx, taken.devices(), frame),
    }
}
