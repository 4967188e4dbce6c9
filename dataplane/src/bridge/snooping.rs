//! The way of a frame to a group through a bridge that snoops. None of this runs where none does.

use crate::drops::{Direction, DropReason};
use crate::frames::Frame;
use crate::ids::{DeviceId, DomainId};
use crate::pipeline::{Context, Egress, Leaving, LeftOut, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::tables::{Flood, Path, PortState, Tables, Target, Way};
use crate::wire::ethernet::Ethernet;

use super::knobs::is_in_vlan;
use super::stage::show_left_out;

/// How a copy leaves where frames leave as they came.
pub(super) fn as_it_is(target: Target) -> Target {
    target
}

/// Gives a frame that is to be flooded back, unless it is to a group in a domain that snoops, and its way is known. One tag may
/// be ahead of what is to be read, if `may_be_tagged`; `leaving` says how a copy leaves.
#[inline]
pub(super) fn snooped<O: Observer, T: Transmit, L: Leaving>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    kind: Flood,
    (may_be_tagged, leaving): (bool, impl Fn(Target) -> L),
    egress: &mut Egress,
    frame: Frame,
) -> Option<Frame> {
    match &cx.tables.domain(domain).mdb {
        Some(mdb) if kind == Flood::Multicast => {
            let way = mdb.way(device, frame.bytes(), may_be_tagged);
            snoop(cx, way, device, domain, leaving, egress, frame)
        }
        _ => Some(frame),
    }
}

/// Sends a frame to a group where the group's members and the routers are, and lets control hear what it says about them.
/// Gives it back if it is to be flooded.
#[cold]
fn snoop<O: Observer, T: Transmit, L: Leaving>(
    cx: &mut Context<'_, O, T>,
    way: Way<'_>,
    device: DeviceId,
    domain: DomainId,
    leaving: impl Fn(Target) -> L,
    egress: &mut Egress,
    frame: Frame,
) -> Option<Frame> {
    let tables = cx.tables;
    cx.observer.see(Step::Snooped(way.why), &frame);
    if way.is_heard {
        let taken = cx.punt.offer(device, PuntReason::Membership, cx.tick, frame.bytes());
        cx.observer.see(Step::CopiedToControl(PuntReason::Membership, taken), &frame);
        cx.counters.unheard.add(u64::from(!taken));
    }
    let reason = match way.path {
        Path::Flood => return Some(frame),
        Path::Refused(reason) => reason,
        Path::To(targets) => {
            let source = Ethernet::view(frame.bytes()).map(|header| header.source()).ok();
            // A port that sends back where frames came from does not send a station its own.
            let is_own = |target: &Target| target.station.is_some() && target.station == source;
            let takes = |target: &Target| delivers(tables, device, domain, target.device) && !is_own(target);
            let targets = targets.iter().copied().filter(takes);
            let devices = targets.clone().map(|target| target.device);
            show_left_out(cx, device, domain, LeftOut::NoMember, devices, &frame);
            let mut targets = targets.peekable();
            if targets.peek().is_some() {
                egress.flood(cx, device, targets.map(leaving), frame);
                return None;
            }
            DropReason::NoMember
        }
    };
    cx.discard(device, Direction::Rx, reason, frame);
    None
}

/// Whether what comes from one port may leave by another, or by the same one (`should_deliver`, net/bridge/br_forward.c).
fn delivers(tables: &Tables, from: DeviceId, domain: DomainId, to: DeviceId) -> bool {
    let (here, there) = (&tables.device(from).knobs, tables.device(to));
    there.role.domain() == Some(tables.bridge_of(domain))
        && is_in_vlan(tables, domain, to)
        && there.knobs.state == PortState::Forwarding
        && (to != from || here.hairpin)
        && !(here.isolated && there.knobs.isolated)
}
