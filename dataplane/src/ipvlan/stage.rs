//! Sorting frames out to ipvlans by the addresses that they are for, and sending what those send: to each other if they may, and
//! out by the device that they stand on.

use arrayvec::ArrayVec;

use super::routed;
use super::seek::{End, address};
use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, Frame};
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::tables::{Children, IpvlanDescent, IpvlanFlag, Place};
use crate::wire::ethernet::{EtherType, Ethernet};

/// Which ipvlans a frame is for.
#[derive(Clone, Copy)]
enum Sought {
    /// The one with the address that is looked for there: this one, as soon as that is known.
    One(Place, Option<DeviceId>),
    /// All of them.
    All,
    /// None of them, for this reason.
    Nobody(DropReason),
}

/// The stage's working memory: what was found in a burst, frame by frame.
#[derive(Default)]
pub(crate) struct IpvlanStage {
    sought: ArrayVec<Sought, BURST>,
    rest: Burst, // of one, what is for the device below
}

impl IpvlanStage {
    /// Sorts a burst from `device` out to those that stand on it (`ipvlan_handle_mode_l2` and `ipvlan_handle_mode_l3`,
    /// drivers/net/ipvlan/ipvlan_core.c). What is for none of them is left in it in mode L3, where the device is routed; in mode L2 it
    /// has no other use for that.
    pub(crate) fn run<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        children: &Children,
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        let is_routed = children.ways.is_some() && cx.tables.routing().interface(device).is_some();
        self.sought.clear();
        for frame in burst.iter() {
            let sought = seek(children, frame.bytes());
            if let Sought::One(place, _) = sought {
                children.prefetch(place);
            }
            // The burst has no more frames than this has room for.
            let _ = self.sought.try_push(sought);
        }
        for sought in &mut self.sought {
            if let Sought::One(place, found) = sought {
                *found = children.find(*place);
                found.iter().for_each(|&child| cx.prefetch(child));
            }
        }
        for (place, (frame, sought)) in burst.drain().zip(self.sought.iter()).enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            let reason = match *sought {
                Sought::One(place, child) => {
                    show(cx, place, child, &frame);
                    match child {
                        Some(child) => {
                            egress.surface(cx, child, frame);
                            continue;
                        }
                        None => DropReason::NoIpvlan,
                    }
                }
                Sought::All => {
                    egress.surface_on(cx, device, children.all().iter().copied(), frame);
                    continue;
                }
                Sought::Nobody(reason) => reason,
            };
            if !is_routed {
                cx.discard(device, Direction::Rx, reason, frame);
            } else if self.rest.push(frame).is_err() {
                unreachable!("it has room for a burst");
            }
        }
        std::mem::swap(burst, &mut self.rest);
        for (place, frame) in burst.iter().enumerate() {
            cx.observer.see(Step::Turn(place), frame);
            cx.observer.see(Step::Resumed, frame);
        }
    }
}

/// Whom a frame from outside is for.
#[inline]
fn seek(children: &Children, frame: &[u8]) -> Sought {
    let Ok(header) = Ethernet::view(frame) else { return Sought::Nobody(DropReason::Truncated) };
    if header.destination().is_group() && children.ways.is_none() {
        return seek_group(children, &header);
    }
    match address(&header, End::Destination) {
        Ok(Some(address)) => Sought::One(children.locate(address), None),
        Ok(None) => Sought::Nobody(DropReason::NoIpvlan),
        Err(_) => Sought::Nobody(DropReason::IpvlanMalformed),
    }
}

/// The same of one to a group or to all. What they have sent themselves has been to the others (`ipvlan_external_frame`), and PAUSE
/// is for the device alone (`ipvlan_multicast_enqueue`).
#[cold]
fn seek_group(children: &Children, header: &Ethernet<'_>) -> Sought {
    let is_own = || {
        let source = address(header, End::Source).ok().flatten();
        source.is_some_and(|source| children.find(children.locate(source)).is_some())
    };
    if header.ether_type() == EtherType::MAC_CONTROL || header.source() == children.mac && is_own() {
        return Sought::Nobody(DropReason::NoIpvlan);
    }
    Sought::All
}

/// Tells an observer who was found.
#[inline]
fn show<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    place: Place,
    child: Option<DeviceId>,
    frame: &Frame,
) {
    if O::LOOKS {
        cx.observer.see(Step::Sought(place.address(), child), frame);
    }
}

/// Sends what leaves by `child` (`ipvlan_xmit_mode_l2`). That it is for another on the same device shows in its two addresses, which
/// are the same then; in mode L3, whatever they are, in whom the packet is for.
pub(crate) fn send<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    child: DeviceId,
    way: IpvlanDescent,
    frame: Frame,
    egress: &mut Egress,
) {
    let tables = cx.tables;
    let children = tables.children(way.children);
    let Ok(header) = Ethernet::view(frame.bytes()) else {
        unreachable!("what leaves has an Ethernet header")
    };
    let is_aside = children.ways.is_some() || header.destination() == header.source();
    if children.flag != IpvlanFlag::Vepa && is_aside {
        return send_aside(cx, child, way, children, frame, egress);
    }
    if let Some(ways) = &children.ways {
        return routed::send(cx, child, way, (children.mac, ways), frame, egress);
    }
    if header.destination().is_group() {
        return send_to_all(cx, child, way, children, frame, egress);
    }
    egress.pass_down(cx, way.link, frame);
}

/// To another of them, if one has the address; else it is for the device that they stand on, which routes it in mode L3.
fn send_aside<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    child: DeviceId,
    way: IpvlanDescent,
    children: &Children,
    frame: Frame,
    egress: &mut Egress,
) {
    let header = Ethernet::view(frame.bytes());
    let address = header.and_then(|header| address(&header, End::Destination)).ok().flatten();
    let sibling = address.and_then(|address| {
        let place = children.locate(address);
        let sibling = children.find(place);
        show(cx, place, sibling, &frame);
        sibling
    });
    match sibling {
        Some(_) if children.flag == IpvlanFlag::Private => {
            egress.refuse(cx, child, DropReason::IpvlanPrivate, frame);
        }
        Some(sibling) => egress.rise(cx, sibling, frame),
        None => match &children.ways {
            Some(ways) => routed::send(cx, child, way, (children.mac, ways), frame, egress),
            None => egress.rise(cx, way.link, frame),
        },
    }
}

/// To all the others, and out (`ipvlan_process_multicast`).
fn send_to_all<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    child: DeviceId,
    way: IpvlanDescent,
    children: &Children,
    frame: Frame,
    egress: &mut Egress,
) {
    if Ethernet::view(frame.bytes()).is_ok_and(|header| header.ether_type() == EtherType::MAC_CONTROL) {
        return egress.refuse(cx, child, DropReason::NoIpvlan, frame);
    }
    for &sibling in children.all().iter().filter(|&&sibling| sibling != child) {
        egress.copy_up(cx, sibling, &frame);
    }
    egress.pass_down(cx, way.link, frame);
}
