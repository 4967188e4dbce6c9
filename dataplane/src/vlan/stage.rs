//! Sorting frames out to sub-interfaces by their tag, and putting the tag on what those send.

use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Frame};
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::tables::{Role, Tags, VlanDescent};
use crate::wire::ethernet::{EtherType, Ethernet, HEADER_LEN};
use crate::wire::vlan::{self, Tci, Vlan};

/// Sorts out of a burst from `device` what is for the sub-interfaces that stand on it; what is not is `rest`. The burst is empty
/// afterwards.
pub(crate) fn sort<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    tags: &Tags,
    burst: &mut Burst,
    rest: &mut Burst,
    egress: &mut Egress,
) {
    let is_last = cx.tables.device(device).role == Role::Unused;
    for (place, mut frame) in burst.drain().enumerate() {
        cx.observer.see(Step::Turn(place), &frame);
        if let Some((to, tag)) = find_at_once(tags, frame.bytes()) {
            pop(cx, &mut frame, tag);
            egress.surface(cx, to, frame);
            continue;
        }
        match find_beneath(cx, tags, is_last, &mut frame) {
            Ok(Some((to, tag))) => {
                pop(cx, &mut frame, tag);
                egress.surface(cx, to, frame);
            }
            Ok(None) => {
                if rest.push(frame).is_err() {
                    unreachable!("it has room for a burst");
                }
            }
            Err(reason) => cx.discard(device, Direction::Rx, reason, frame),
        }
    }
    for (place, frame) in rest.iter().enumerate() {
        cx.observer.see(Step::Turn(place), frame);
        cx.observer.see(Step::Resumed, frame);
    }
}

/// A tag: its kind and what it says.
type Tag = (EtherType, Tci);

/// The sub-interface that takes a frame by its outermost tag, and that, of a frame which is as it should be: most are, and all that is asked of
/// them is a comparison or two. What [`find_beneath`] answers has more forms, and goes through memory in pieces that are read whole.
#[inline(always)]
fn find_at_once(tags: &Tags, frame: &[u8]) -> Option<(DeviceId, Tag)> {
    let [.., p0, p1, c0, c1, _, _, _, _] = *frame.first_chunk::<{ HEADER_LEN + vlan::TAG_LEN + BEHIND }>()?;
    let (tpid, tci) = (EtherType(u16::from_be_bytes([p0, p1])), Tci(u16::from_be_bytes([c0, c1])));
    Some((tags.find(tpid, tci)?, (tpid, tci)))
}

/// The same of a frame that no sub-interface takes by its outermost tag: by the one beneath, if the outermost names no VLAN. None if it is for
/// no sub-interface; `is_last` says that the device has no other use for what has a tag.
fn find_beneath<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    tags: &Tags,
    is_last: bool,
    frame: &mut Frame,
) -> Result<Option<(DeviceId, Tag)>, DropReason> {
    let Some((outermost, inner)) = outermost(frame.bytes())? else { return Ok(None) };
    if !is_last {
        return Ok(None);
    }
    if outermost.1.vid() != 0 || !inner.is_tag() {
        return Err(DropReason::NoVlanDevice);
    }
    // A priority without a VLAN around another tag (`__netif_receive_skb_core`, net/core/dev.c).
    pop(cx, frame, outermost);
    let Some((beneath, _)) = self::outermost(frame.bytes())? else { return Err(DropReason::NoVlanDevice) };
    let to = tags.find(beneath.0, beneath.1).ok_or(DropReason::NoVlanDevice)?;
    Ok(Some((to, beneath)))
}

/// Bytes that there must be behind a tag (`skb_vlan_untag`, net/core/skbuff.c).
const BEHIND: usize = 2;

/// The outermost tag of a frame and what it tags, if it has one.
fn outermost(frame: &[u8]) -> Result<Option<(Tag, EtherType)>, DropReason> {
    let Ok(header) = Ethernet::view(frame) else { return Err(DropReason::Truncated) };
    if !header.ether_type().is_tag() {
        return Ok(None);
    }
    match Vlan::view(header.payload()) {
        Ok(tag) if tag.payload().len() >= BEHIND => {
            Ok(Some(((header.ether_type(), tag.tci()), tag.ether_type())))
        }
        _ => Err(DropReason::VlanMalformed),
    }
}

/// Takes the outermost tag off, which is this one.
fn pop<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    frame: &mut Frame,
    (tpid, tci): (EtherType, Tci),
) {
    let popped = vlan::pop(frame.bytes_mut()).is_ok() && frame.pull_front(4);
    debug_assert!(popped, "the tag was there");
    cx.observer.see(Step::Popped(tpid, tci), frame);
}

/// Sends what leaves by a sub-interface: the tag goes on it, its priority 0 (`vlan_dev_hard_start_xmit`,
/// net/8021q/vlan_dev.c, whose map of priorities is empty at first).
pub(crate) fn send<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    way: VlanDescent,
    mut frame: Frame,
    egress: &mut Egress,
) {
    let tci = Tci(way.vlan.number());
    if !frame.push_front(4) {
        return egress.refuse(cx, way.link, DropReason::NoHeadroom, frame);
    }
    if vlan::push(frame.bytes_mut(), way.tpid, tci).is_err() {
        unreachable!("what leaves has an Ethernet header");
    }
    cx.observer.see(Step::Pushed(way.tpid, tci), &frame);
    egress.pass_down(cx, way.link, frame);
}
