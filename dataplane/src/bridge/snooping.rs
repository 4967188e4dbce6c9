//! The way of a frame to a group through a bridge that snoops. None of this runs where none does.

use crate::drops::{Direction, DropReason};
use crate::frames::Frame;
use crate::ids::{DeviceId, DomainId};
use crate::pipeline::{Context, Egress, LeftOut, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::tables::{Flood, Mdb, Path, PortState, Tables, Target};
use crate::wire::ethernet::Ethernet;

use super::stage::show_left_out;

/// Gives a frame that is to be flooded back, unless it is to a group in a domain that snoops, and its way is known.
#[inline]
pub(super) fn snooped<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    kind: Flood,
    egress: &mut Egress,
    frame: Frame,
) -> Option<Frame> {
    match &cx.tables.domain(domain).mdb {
        Some(mdb) if kind == Flood::Multicast => snoop(cx, mdb, device, domain, egress, frame),
        _ => Some(frame),
    }
}

/// Sends a frame to a group where the group's members and the routers are, and lets control hear what it says about them.
/// Gives it back if it is to be flooded.
#[cold]
fn snoop<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    mdb: &Mdb,
    device: DeviceId,
    domain: DomainId,
    egress: &mut Egress,
    frame: Frame,
) -> Option<Frame> {
    let tables = cx.tables;
    let way = mdb.way(device, frame.bytes());
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
            show_left_out(cx, device, domain, LeftOut::NoMember, targets.clone(), &frame);
            let mut targets = targets.peekable();
            if targets.peek().is_some() {
                egress.flood(cx, device, targets, frame);
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
    there.role.domain() == Some(domain)
        && there.knobs.state == PortState::Forwarding
        && (to != from || here.hairpin)
        && !(here.isolated && there.knobs.isolated)
}
