//! Seeing what the line decides: the stages are generic over an [`Observer`], so that explaining and capturing are
//! the very code that forwards, and cost nothing when nobody looks.

use std::net::IpAddr;

use crate::bridge::Class;
use crate::drops::{Direction, DropReason};
use crate::frames::Frame;
use crate::ids::{DeviceId, DomainId, MacAddr, VlanId, Vni};
use crate::macvlan::Ruling;
use crate::ports::Witness;
use crate::punt::PuntReason;
use crate::routing::Fate;
use crate::tables::{Entry, Flood, HostPort, RemoteId, Snooped};
use crate::wire::ethernet::EtherType;
use crate::wire::vlan::Tci;

/// What became of a frame in the bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It leaves by this device.
    Forward(DeviceId),
    /// It leaves by every other member of the domain that takes such floods.
    Flood(DomainId, Flood),
    /// It is for the host, and leaves by its port.
    Host(HostPort),
    /// It goes to control.
    Punt(PuntReason),
    /// It ends here.
    Drop(DropReason),
}

/// What the source address taught.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lesson {
    /// Known already.
    Known,
    /// It is new.
    Learned,
    /// It was behind this device before.
    Moved(DeviceId),
    /// The entry is not learning's to change.
    Pinned,
    /// The table had no room.
    TableFull,
    /// The bridge has learned as many as it may.
    Limited,
}

/// Why a member of a domain gets no copy of what is flooded there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeftOut {
    /// The frame came from there.
    Ingress,
    /// It may not forward.
    State,
    /// It is isolated, as the port is that the frame came from.
    Isolated,
    /// It takes no floods of this kind.
    Unwanted,
    /// Nobody there is known to be in the group.
    NoMember,
    /// It takes no floods of this kind, or is not asked for what the bridge knows.
    Suppressed,
    /// It is not in the frame's VLAN.
    Vlan,
}

/// What says of which VLAN a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VlanFrom {
    /// Its tag.
    Tag,
    /// Its tag, of this identifier, which the port translates.
    Translated(u16),
    /// The port: it has no tag, or one without a VLAN.
    Pvid,
    /// The port, whatever tags it has.
    Tunnel,
    /// Its source address.
    Mac,
}

/// What is done to a frame's tag as it leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retag {
    /// It had none, and gets this one.
    Pushed(Tci),
    /// It has this one instead of its own.
    Rewritten(Tci),
    /// It has none any more.
    Popped,
}

/// One step of a frame's way. A burst goes from stage to stage as a whole: [`Step::Turn`] says which of its frames is next,
/// and all steps up to the next turn, those of its copies too, are that frame's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// What follows is about the frame at this place of the burst, which stays its own until the burst is done.
    Turn(usize),
    /// It came in from this device.
    Received(DeviceId),
    /// Control made it, to be sent out of this device.
    Originated(DeviceId),
    /// It goes on, or a copy of it does that had surfaced: at the place of this turn, in a burst of its own.
    Resumed,
    /// It, or a copy of it, surfaced on this device, which stands on the one it came from.
    Surfaced(DeviceId),
    /// This tag was taken off it.
    Popped(EtherType, Tci),
    /// This tag was put on it.
    Pushed(EtherType, Tci),
    /// A VXLAN device that has many networks sends it in this one, which its VLAN is.
    EntersNetwork(DeviceId, VlanId, Vni),
    /// It came to such a device in this network, which its bridge knows by this VLAN, if by any.
    LeavesNetwork(DeviceId, Vni, Option<VlanId>),
    /// It, or a copy of it, leaves by this device, which stands on another, as it is there.
    Descended(DeviceId),
    /// The ipvlan with this address was looked for: the one that has it, if any does.
    Sought(IpAddr, Option<DeviceId>),
    /// Who it is for among the macvlans of a device.
    Macvlan(Ruling),
    /// What a bridge reads in its addresses.
    Classified(Class),
    /// It is of this VLAN.
    InVlan(VlanId, VlanFrom),
    /// Its source address was looked at.
    Learned(Lesson),
    /// The port it came from learns nothing from it.
    Unlearned,
    /// Its destination was looked up: the entry found, if any, and what follows.
    Decided(Option<Entry>, Verdict),
    /// This device, which is of the domain that it is flooded in, gets no copy.
    LeftOut(DeviceId, LeftOut),
    /// A copy went to control, or was to: there may have been no room.
    CopiedToControl(PuntReason, bool),
    /// It went to control.
    Punted(PuntReason),
    /// It is to a group, and the bridge has looked for where it goes.
    Snooped(Snooped),
    /// The bridge answers it by this device, for the station that has this address: what is queued there next is the answer.
    Answered(DeviceId, IpAddr, MacAddr),
    /// It was routed, if it could be read where it goes.
    Routed(Option<IpAddr>, Fate),
    /// The VXLAN device that it leaves by has looked for the far ends that its station is behind: the entry found, if one was.
    /// Without an entry they are those of what nothing is known of.
    Remotes(DeviceId, MacAddr, Option<Entry>),
    /// It asks for the station that has this address: the VXLAN device answers for that, and what comes back is the answer.
    Proxied(DeviceId, IpAddr, MacAddr),
    /// It is for a router behind the VXLAN device, and goes to the station that has this address, its destination, instead.
    Shortened(DeviceId, IpAddr, MacAddr),
    /// It is too long for the way to a far end, and goes back to this device as what tells its sender how many bytes would not have been.
    PathTold(DeviceId, u16),
    /// Its station was learned to be behind this far end.
    LearnedBehind(Lesson, IpAddr),
    /// It leaves by this tunnel, and is in its outer header now, to this far end.
    Encapsulated(DeviceId, RemoteId),
    /// It is too long for this device, and leaves by it in so many fragments.
    Fragmented(DeviceId, usize),
    /// It, or a copy of it, leaves by this device with another tag, or without.
    Retagged(DeviceId, Retag),
    /// So many checksums in it were found unfinished, and completed.
    ChecksumsFound(u32),
    /// The checksum that its sender left to the device was completed, for this device does not do it.
    ChecksumCompleted(DeviceId),
    /// It is a super-frame, and is cut into this many segments for this device.
    Cut(DeviceId, usize),
    /// It, or a copy of it, is on its way out of this device, as it will be on the wire.
    Queued(DeviceId),
    /// It, or a copy of it, ends here.
    Dropped(DeviceId, Direction, DropReason),
}

/// Whoever wants to see.
pub trait Observer {
    /// Whether anybody looks: what only an observer wants to know is worked out only then.
    const LOOKS: bool = true;

    /// `step` happens to `frame`, which is as it is then.
    fn see(&mut self, step: Step, frame: &Frame);

    /// The same of a step that takes some making.
    #[inline(always)]
    fn see_made(&mut self, step: impl FnOnce() -> Step, frame: &Frame) {
        self.see(step(), frame);
    }

    /// All that was queued is the ports' now, or has ended.
    fn flushed(&mut self) {}

    /// Who wants to see what the ports discard, out of turn: frames that were queued and do not leave.
    fn witness(&mut self) -> Option<&mut dyn Witness> {
        None
    }
}

/// Nobody looks.
impl Observer for () {
    const LOOKS: bool = false;

    #[inline(always)]
    fn see(&mut self, _step: Step, _frame: &Frame) {}
}

/// Both look.
impl<A: Observer, B: Observer> Observer for (&mut A, &mut B) {
    #[inline]
    fn see(&mut self, step: Step, frame: &Frame) {
        self.0.see(step, frame);
        self.1.see(step, frame);
    }

    fn flushed(&mut self) {
        self.0.flushed();
        self.1.flushed();
    }

    fn witness(&mut self) -> Option<&mut dyn Witness> {
        self.0.witness().or_else(|| self.1.witness())
    }
}
