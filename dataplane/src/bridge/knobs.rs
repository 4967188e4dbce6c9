//! The rules of a member's knobs, each in one place and as the kernel has it. None of this runs for frames between plain
//! members.

use super::stage::Class;
use crate::drops::DropReason;
use crate::ids::{DeviceId, DomainId};
use crate::pipeline::Verdict;
use crate::tables::{Entry, Flags, Knobs, PortState, Tables};

/// What a port makes of a frame that came in by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Admitted {
    /// Where it goes from here.
    pub(super) class: Class,
    /// What its source teaches.
    pub(super) teaches: Teaches,
}

/// What the source of a frame is worth to the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Teaches {
    /// Nothing.
    Nothing,
    /// Where its station is.
    Station,
    /// Where one is that may not send from there.
    Locked,
}

impl Teaches {
    fn station_if(learns: bool) -> Self {
        if learns { Self::Station } else { Self::Nothing }
    }
}

/// 01:80:C2:00:00:01, PAUSE: between two neighbours, and never a lesson to anybody.
const PAUSE: u8 = 1;

/// What becomes of a frame to 01:80:C2:00:00:0`number` (`br_handle_frame`, net/bridge/br_input.c).
pub(super) fn reserved(knobs: &Knobs, number: u8) -> Class {
    let bit = 1 << number;
    if knobs.passes & bit != 0 {
        Class::Multicast
    } else if number == PAUSE {
        Class::Refused(DropReason::ReservedAddress)
    } else if knobs.punts & bit != 0 {
        Class::Punted
    } else {
        Class::Ended
    }
}

/// What a port with these knobs makes of a frame of this class; `source` looks up where its sender is (`br_handle_frame`,
/// `br_handle_frame_finish` and `__br_handle_local_finish`, net/bridge/br_input.c).
pub(super) fn admit(
    knobs: &Knobs,
    class: Class,
    source: impl FnOnce() -> Option<Entry>,
    device: DeviceId,
) -> Admitted {
    let refused = |reason| Admitted { class: Class::Refused(reason), teaches: Teaches::Nothing };
    match class {
        Class::Refused(reason) => return refused(reason),
        Class::Punted | Class::Ended => {
            let learns = knobs.learning && knobs.linklocal_learn && knobs.state.learns();
            return Admitted { class, teaches: Teaches::station_if(learns) };
        }
        Class::Individual | Class::Multicast | Class::Broadcast => {}
    }
    if !knobs.state.learns() {
        return refused(DropReason::PortState);
    }
    if knobs.locked
        && let Some(teaches) = without_leave(knobs, source(), device)
    {
        return Admitted { class: Class::Refused(DropReason::Locked), teaches };
    }
    let class =
        if knobs.state == PortState::Learning { Class::Refused(DropReason::PortState) } else { class };
    Admitted { class, teaches: Teaches::station_if(knobs.learning) }
}

/// What one teaches that may not send through a locked port; `None` if it may: an entry says that it is there.
fn without_leave(knobs: &Knobs, source: Option<Entry>, device: DeviceId) -> Option<Teaches> {
    match source {
        None => Some(if knobs.mab { Teaches::Locked } else { Teaches::Nothing }),
        Some(entry) if entry.egress().device != device || entry.is_local() => Some(Teaches::Nothing),
        Some(entry) if entry.flags().has(Flags::LOCKED) => Some(Teaches::Locked),
        Some(_) => None,
    }
}

/// What becomes of a frame from `device` whose station is at `entry`; `None` if the entry is older than the tables: what it
/// names is no member any more (`br_handle_frame_finish`; `should_deliver`, net/bridge/br_forward.c).
#[cold]
pub(super) fn deliver(tables: &Tables, device: DeviceId, domain: DomainId, entry: Entry) -> Option<Verdict> {
    let to = entry.egress().device;
    let (from, there) = (&tables.device(device).knobs, tables.device(to));
    let of = tables.domain(domain);
    if there.role.domain() != Some(tables.bridge_of(domain)) {
        return None;
    }
    Some(if entry.is_local() {
        // A host that is there, and not in the VLAN, is a port that is not.
        let has_host = || of.of.is_some_and(|of| tables.domain(of.bridge).host.is_some());
        let no_host = || if has_host() { DropReason::VlanEgress } else { DropReason::NoHost };
        of.host.map_or_else(|| Verdict::Drop(no_host()), Verdict::Host)
    } else if to == device && !from.hairpin {
        Verdict::Drop(DropReason::SamePort)
    } else if there.knobs.state != PortState::Forwarding {
        Verdict::Drop(DropReason::PortState)
    } else if !is_in_vlan(tables, domain, to) {
        Verdict::Drop(DropReason::VlanEgress)
    } else if from.isolated && there.knobs.isolated {
        Verdict::Drop(DropReason::Isolated)
    } else {
        Verdict::Forward(to)
    })
}

/// Whether a port is in the VLAN that a domain is of, if it is of one (`br_allowed_egress`, net/bridge/br_vlan.c).
pub(super) fn is_in_vlan(tables: &Tables, domain: DomainId, port: DeviceId) -> bool {
    let Some(of) = tables.domain(domain).of else { return true };
    tables.vlan_port(port).is_some_and(|port| port.is_in(of.vid.number()))
}
