//! The bridge's host port: what the host sends, and what goes up to it.
//!
//! The kernel's `br0` (`br_dev_xmit`, net/bridge/br_device.c; `br_pass_frame_up`, net/bridge/br_input.c). What goes up in floods is in the
//! lists of the [`Domain`](crate::tables::Domain).

use super::BridgeStage;
use super::knobs::is_in_vlan;
use super::proxy::{Asked, ask};
use super::snooping::{as_it_is, snooped};
use super::stage::show_left_out;
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Frame};
use crate::ids::{DeviceId, DomainId, MacAddr};
use crate::pipeline::{Context, Egress, Leaving, LeftOut, Observer, Step, Transmit, Verdict};
use crate::tables::{Entry, Flood, HostPort, Key, PortState, Tables};

impl BridgeStage {
    /// Takes a burst that the host sent through its bridge. Nobody is learned, and no address is too odd for the host to send
    /// from or to. The burst is empty afterwards.
    pub(crate) fn run_host<O: Observer, T: Transmit>(
        cx: &mut Context<'_, O, T>,
        host: DeviceId,
        domain: DomainId,
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        for (place, frame) in burst.drain().enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            let (verdict, entry) = decide(cx, host, domain, &frame);
            cx.observer.see(Step::Decided(entry, verdict), &frame);
            match verdict {
                Verdict::Forward(to) => egress.forward(cx, host, to, frame),
                Verdict::Flood(domain, kind) => flood(cx, host, domain, kind, egress, frame),
                Verdict::Drop(reason) => cx.discard(host, Direction::Rx, reason, frame),
                Verdict::Host(_) | Verdict::Punt(_) => unreachable!("what the host sends does not come back"),
            }
        }
    }
}

/// What becomes of a frame that the host sent, and the entry that says so, if one does.
fn decide<O: Observer, T: Transmit>(
    cx: &Context<'_, O, T>,
    host: DeviceId,
    domain: DomainId,
    frame: &Frame,
) -> (Verdict, Option<Entry>) {
    let Some(destination) = frame.bytes().first_chunk::<14>().and_then(|header| header.first_chunk()) else {
        return (Verdict::Drop(DropReason::Truncated), None);
    };
    let destination = MacAddr::new(*destination);
    let entry = if destination.is_group() {
        None
    } else {
        cx.macs.find(cx.macs.locate(Key::new(domain, destination)))
    };
    verdict(cx.tables, host, domain, destination, entry)
}

/// The same, of a frame to this address in this domain, whose station is at `entry`.
pub(super) fn verdict(
    tables: &Tables,
    host: DeviceId,
    domain: DomainId,
    destination: MacAddr,
    entry: Option<Entry>,
) -> (Verdict, Option<Entry>) {
    if destination.is_group() {
        let all = destination == MacAddr::BROADCAST;
        return (Verdict::Flood(domain, if all { Flood::Broadcast } else { Flood::Multicast }), None);
    }
    // One that is older than the tables names what is no member any more.
    let bridge = Some(tables.bridge_of(domain));
    let is_member = |entry: &Entry| tables.device(entry.egress().device).role.domain() == bridge;
    let Some(entry) = entry.filter(is_member) else {
        return (Verdict::Flood(domain, Flood::Unicast), None);
    };
    // A port's own address is behind that port, seen from the host, as it is to the kernel's bridge.
    let to = entry.egress().device;
    let verdict = if to == host {
        Verdict::Drop(DropReason::SamePort)
    } else if tables.device(to).knobs.state != PortState::Forwarding {
        Verdict::Drop(DropReason::PortState)
    } else if !is_in_vlan(tables, domain, to) {
        Verdict::Drop(DropReason::VlanEgress)
    } else {
        Verdict::Forward(to)
    };
    (verdict, Some(entry))
}

/// Sends a frame to every port that takes what the host floods, once whom it asks for has been looked for.
fn flood<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    host: DeviceId,
    domain: DomainId,
    kind: Flood,
    egress: &mut Egress,
    frame: Frame,
) {
    let tables = cx.tables;
    let answers = tables.device(host).knobs.answers;
    let asked = if answers { ask(cx, host, domain, (false, host), egress, &frame) } else { Asked::Flood };
    let Some(frame) = snooped(cx, host, domain, kind, (true, as_it_is), egress, frame) else { return };
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
    egress.flood(cx, host, others, frame);
}

/// Sends a frame up to the host, which the kernel would take from whichever of its ports' addresses it was sent to: a TAP
/// takes it for its own address only.
#[cold]
pub(super) fn to_host<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    host: HostPort,
    to: impl Leaving,
    egress: &mut Egress,
    mut frame: Frame,
) {
    if let Some(destination) = frame.bytes_mut().first_chunk_mut() {
        *destination = host.mac.octets();
    }
    egress.forward(cx, from, to, frame);
}
