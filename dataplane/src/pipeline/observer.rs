//! Seeing what the line decides: the stages are generic over an [`Observer`], so that explaining and capturing are
//! the very code that forwards, and cost nothing when nobody looks.

use crate::drops::{Direction, DropReason};
use crate::frames::Frame;
use crate::ids::{DeviceId, DomainId};
use crate::ports::Witness;
use crate::tables::{Entry, Flood, HostPort};

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
    Punt(crate::punt::PuntReason),
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
    /// Its source address was looked at.
    Learned(Lesson),
    /// Its destination was looked up: the entry found, if any, and what follows.
    Decided(Option<Entry>, Verdict),
    /// It, or a copy of it, is on its way out of this device, as it will be on the wire.
    Queued(DeviceId),
    /// It, or a copy of it, ends here.
    Dropped(DeviceId, Direction, DropReason),
}

/// Whoever wants to see.
pub trait Observer {
    /// `step` happens to `frame`, which is as it is then.
    fn see(&mut self, step: Step, frame: &Frame);

    /// All that was queued is the ports' now, or has ended.
    fn flushed(&mut self) {}

    /// Who wants to see what the ports discard, out of turn: frames that were queued and do not leave.
    fn witness(&mut self) -> Option<&mut dyn Witness> {
        None
    }
}

/// Nobody looks.
impl Observer for () {
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
