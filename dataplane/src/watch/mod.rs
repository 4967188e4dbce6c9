//! Watching a worker while it forwards: what control arms it with, looks at what the line and the ports decide, and copies
//! what it is to see into a bounded queue.
//!
//! A worker without watches runs the line that has no observer compiled in. Nothing here allocates, locks or waits once it is
//! armed: what the reader does not take in time is missed, and counted as that.

mod capture;
mod follow;

pub use capture::{Capture, CaptureReader, Place, Record, Stage, Stages, capture};
pub use follow::{Account, FOLLOWED_BYTES, Follow, FollowReader, follow};

use crate::drops::{Direction, DropReason};
use crate::filter::Filter;
use crate::frames::Frame;
use crate::ids::DeviceId;
use crate::pipeline::{Observer, Step};
use crate::ports::{Now, Witness};

/// What control calls a watch. A number is not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatchId(pub u64);

/// The frames a watch is about.
pub struct Scope {
    /// Those of these devices, by number, or of all.
    pub devices: Option<Box<[bool]>>,
    /// Those that match, as they are then, or all.
    pub filter: Option<Filter>,
}

impl Scope {
    /// Every frame of these devices.
    pub fn devices(devices: impl IntoIterator<Item = DeviceId>) -> Self {
        let mut of = Vec::new();
        for device in devices {
            of.resize(of.len().max(device.index() + 1), false);
            of[device.index()] = true;
        }
        Self { devices: Some(of.into()), filter: None }
    }

    /// Every frame.
    pub fn all() -> Self {
        Self { devices: None, filter: None }
    }

    fn has(&self, device: DeviceId, bytes: &[u8]) -> bool {
        let is_of = |of: &[bool]| of.get(device.index()).is_some_and(|&is_of| is_of);
        self.devices.as_deref().is_none_or(is_of)
            && self.filter.as_ref().is_none_or(|filter| filter.matches(bytes))
    }
}

/// What a worker is armed with.
pub enum Watch {
    /// Frames, as they come, leave or end.
    Capture(Capture),
    /// A few frames, step by step.
    Follow(Follow),
}

/// Everything that a worker is armed with. It survives the worker's panics.
#[derive(Default)]
pub struct Watchers {
    watches: Vec<(WatchId, Scope, Watch)>,
    looks: Looks,
}

/// What any of them looks at: steps that none does are not shown to them.
#[derive(Default)]
struct Looks {
    /// One follows frames, step by step.
    follows: bool,
    /// One captures from all devices.
    all: bool,
    /// One captures from these.
    devices: Box<[bool]>,
}

impl Looks {
    fn of(watches: &[(WatchId, Scope, Watch)]) -> Self {
        let mut looks = Self::default();
        for (_, scope, watch) in watches {
            match (watch, &scope.devices) {
                (Watch::Follow(_), _) => looks.follows = true,
                (Watch::Capture(_), None) => looks.all = true,
                (Watch::Capture(_), Some(devices)) => {
                    let length = devices.len().max(looks.devices.len());
                    let has = |of: &[bool], place| of.get(place).is_some_and(|&has| has);
                    looks.devices =
                        (0..length).map(|place| has(&looks.devices, place) || has(devices, place)).collect();
                }
            }
        }
        looks
    }

    /// Whether one looks at this step. Which kind it is is known where the line is compiled.
    #[inline(always)]
    fn at(&self, step: Step) -> bool {
        self.follows
            || Capture::device_of(step).is_some_and(|device| {
                self.all || self.devices.get(device.index()).is_some_and(|&looks| looks)
            })
    }
}

impl Watchers {
    /// Whether there is anybody to look.
    #[inline]
    pub fn is_armed(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Arms with one more watch.
    pub fn add(&mut self, id: WatchId, scope: Scope, watch: Watch) {
        self.watches.push((id, scope, watch));
        self.looks = Looks::of(&self.watches);
    }

    /// Takes a watch away; its queue ends.
    pub fn remove(&mut self, id: WatchId) {
        self.watches.retain(|(watch, ..)| *watch != id);
        self.looks = Looks::of(&self.watches);
    }

    /// Has no watch look at `device` that does not look at all: its number is another's from here on.
    pub(crate) fn forget(&mut self, device: DeviceId) {
        for (_, scope, _) in &mut self.watches {
            if let Some(of) = scope.devices.as_mut().and_then(|devices| devices.get_mut(device.index())) {
                *of = false;
            }
        }
        self.looks = Looks::of(&self.watches);
    }

    /// What is seen from here on is seen at this time.
    pub(crate) fn begin(&mut self, now: Now) {
        for (_, _, watch) in &mut self.watches {
            match watch {
                Watch::Capture(capture) => capture.now = now,
                Watch::Follow(follow) => follow.now = now,
            }
        }
    }

    /// A burst is done: shows the readers what was seen.
    pub(crate) fn end(&mut self) {
        for (_, _, watch) in &mut self.watches {
            match watch {
                Watch::Capture(capture) => capture.show(),
                Watch::Follow(follow) => follow.end(),
            }
        }
    }
}

impl Watchers {
    /// Shows a step to whom it may concern.
    fn show(&mut self, step: Step, frame: &Frame) {
        for (_, scope, watch) in &mut self.watches {
            match watch {
                Watch::Capture(capture) => capture.see(scope, step, frame),
                Watch::Follow(follow) => follow.see(scope, step, frame),
            }
        }
    }
}

impl Observer for Watchers {
    #[inline(always)]
    fn see(&mut self, step: Step, frame: &Frame) {
        if self.looks.at(step) {
            self.show(step, frame);
        }
    }

    #[inline(always)]
    fn see_made(&mut self, step: impl FnOnce() -> Step, frame: &Frame) {
        if self.is_armed() {
            self.see(step(), frame);
        }
    }

    fn flushed(&mut self) {
        for (_, _, watch) in &mut self.watches {
            if let Watch::Follow(follow) = watch {
                follow.flushed();
            }
        }
    }

    fn witness(&mut self) -> Option<&mut dyn Witness> {
        Some(self)
    }
}

impl Witness for Watchers {
    fn discarded(&mut self, device: DeviceId, direction: Direction, reason: DropReason, frame: &Frame) {
        let step = Step::Dropped(device, direction, reason);
        for (_, scope, watch) in &mut self.watches {
            match watch {
                Watch::Capture(capture) => capture.see(scope, step, frame),
                Watch::Follow(follow) => follow.see_late(step, frame),
            }
        }
    }
}
