//! What the host sends through its bridge, if that filters: it is in the bridge's own VLANs (`br_dev_xmit`,
//! net/bridge/br_device.c).

use super::super::host::verdict;
use super::super::proxy::{Asked, ask};
use super::super::snooping::snooped;
use super::super::stage::show_left_out;
use super::ingress::{enter_special, origin};
use super::stage::{Here, VlanStage, find};
use super::tag::{Tag, VlanTarget};
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Frame};
use crate::ids::{DeviceId, DomainId, MacAddr, VlanId};
use crate::pipeline::{Context, Egress, LeftOut, Observer, Step, Transmit, Verdict};
use crate::tables::{Flood, Key, Target};

impl VlanStage {
    /// Takes a burst that the host sent through its bridge. It is empty afterwards.
    pub(crate) fn run_host<O: Observer, T: Transmit>(
        cx: &mut Context<'_, O, T>,
        host: DeviceId,
        bridge: DomainId,
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        let here = Here::of(cx.tables, host, bridge);
        for (place, frame) in burst.drain().enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            send(cx, here, egress, frame);
        }
    }
}

fn send<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    here: Here<'_>,
    egress: &mut Egress,
    frame: Frame,
) {
    let (tables, host) = (cx.tables, here.device);
    let (destination, source, tag) = match read(here, frame.bytes()) {
        Ok(read) => read,
        Err(reason) => {
            cx.observer.see(Step::Decided(None, Verdict::Drop(reason)), &frame);
            return cx.discard(host, Direction::Rx, reason, frame);
        }
    };
    if let (true, Some(vid)) = (O::LOOKS, VlanId::new(tag.vid())) {
        let from = origin(here.vlans, here.port, frame.bytes(), source, tag);
        cx.observer.see(Step::InVlan(vid, from), &frame);
    }
    here.count(cx, tag, &frame);
    let domain = here.vlans.domain(tag.vid());
    let entry = if destination.is_group() {
        None
    } else {
        find(cx, here, cx.macs.locate(Key::new(domain, destination)))
    };
    let (verdict, entry) = verdict(tables, host, domain, destination, entry);
    cx.observer.see(Step::Decided(entry, verdict), &frame);
    let (worker, protocol) = (cx.counters.worker(), here.vlans.protocol);
    let leaving = |target: Target| VlanTarget::new(tables, worker, target, tag, protocol);
    match verdict {
        Verdict::Forward(to) => egress.forward(cx, host, leaving(to.into()), frame),
        Verdict::Flood(domain, kind) => flood(cx, here, domain, kind, tag, egress, frame),
        Verdict::Drop(reason) => cx.discard(host, Direction::Rx, reason, frame),
        Verdict::Host(_) | Verdict::Punt(_) => unreachable!("what the host sends does not come back"),
    }
}

/// Sends a frame to every port of its VLAN that takes what the host floods, once whom it asks for has been looked for.
fn flood<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    here: Here<'_>,
    domain: DomainId,
    kind: Flood,
    tag: Tag,
    egress: &mut Egress,
    frame: Frame,
) {
    let (tables, host) = (cx.tables, here.device);
    let (worker, protocol) = (cx.counters.worker(), here.vlans.protocol);
    let leaving = |target: Target| VlanTarget::new(tables, worker, target, tag, protocol);
    let back = (tag.is_there(), VlanTarget::answer(here.port, host, tag, protocol));
    let answers = tables.device(host).knobs.answers;
    let asked = if answers { ask(cx, host, domain, back, egress, &frame) } else { Asked::Flood };
    let Some(frame) = snooped(cx, host, domain, kind, (tag.is_there(), leaving), egress, frame) else {
        return;
    };
    let members = match kind {
        Flood::Unicast => &tables.domain(domain).unicast,
        Flood::Multicast | Flood::Broadcast => &tables.domain(domain).from_host,
    };
    let is_spared = |member| asked != Asked::Flood && tables.device(member).knobs.neigh_suppress;
    let others = members.iter().copied().filter(|&member| member != host && !is_spared(member));
    let rest = if asked == Asked::Flood { LeftOut::Unwanted } else { LeftOut::Suppressed };
    show_left_out(cx, host, domain, rest, others.clone(), &frame);
    let mut others = others.peekable();
    if asked == Asked::Answered && others.peek().is_none() {
        cx.counters.consumed.add(1);
        return cx.pool.free(frame);
    }
    egress.flood(cx, host, others.map(|member| leaving(member.into())), frame);
}

/// The addresses of a frame that the host sends, destination first, and its tag.
fn read(here: Here<'_>, bytes: &[u8]) -> Result<(MacAddr, MacAddr, Tag), DropReason> {
    let header = crate::wire::ethernet::Ethernet::view(bytes).map_err(|_| DropReason::Truncated)?;
    let (destination, source) = (header.destination(), header.source());
    let tag = enter_special(here.vlans, here.port, bytes, source)?;
    Ok((destination, source, tag))
}
