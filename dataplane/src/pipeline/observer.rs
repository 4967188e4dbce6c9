//! Seeing what the line decides: the stages are generic over an [`Observer`], so that explaining and capturing are
//! the very code that forwards, and cost nothing when nobody looks.

use crate::drops::{Direction, DropReason};
use crate::frames::Frame;
use crate::ids::{DeviceId, DomainId};
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

/// Whoever wants to see. Every method does nothing unless overridden.
pub trait Observer {
    /// `frame` came in.
    fn received(&mut self, _device: DeviceId, _frame: &Frame) {}
    /// Its source address was looked at.
    fn learned(&mut self, _frame: &Frame, _lesson: Lesson) {}
    /// Its destination was looked up: the entry found, if any, and what follows.
    fn decided(&mut self, _frame: &Frame, _entry: Option<&Entry>, _verdict: Verdict) {}
    /// `frame`, or a copy, is on its way out of `device`, as it will be on the wire.
    fn egress(&mut self, _device: DeviceId, _frame: &Frame) {}
    /// `frame`, or a copy, ends here.
    fn dropped(&mut self, _device: DeviceId, _direction: Direction, _reason: DropReason, _frame: &Frame) {}
}

/// Nobody looks.
impl Observer for () {}
