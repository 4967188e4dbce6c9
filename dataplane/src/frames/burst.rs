//! A burst: the frames that go down the line together.

use arrayvec::ArrayVec;

use super::frame::Frame;

/// The most frames that travel together.
pub const BURST: usize = 64;

/// Up to [`BURST`] frames, in order. It lives where it was made: nothing on the path allocates one.
#[derive(Default)]
pub struct Burst {
    frames: ArrayVec<Frame, BURST>,
}

impl Burst {
    /// An empty burst.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a frame; gives it back if the burst is full.
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        self.frames.try_push(frame).map_err(|full| full.element())
    }

    /// How many more frames fit.
    pub fn spare(&self) -> usize {
        self.frames.remaining_capacity()
    }

    /// Takes the first `count` frames out, in order (fewer if there are fewer).
    pub fn drain_front(&mut self, count: usize) -> impl Iterator<Item = Frame> + '_ {
        let count = count.min(self.frames.len());
        self.frames.drain(..count)
    }

    /// Takes all frames out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Frame> + '_ {
        self.frames.drain(..)
    }
}

impl std::ops::Deref for Burst {
    type Target = [Frame];

    fn deref(&self) -> &[Frame] {
        &self.frames
    }
}

impl std::ops::DerefMut for Burst {
    fn deref_mut(&mut self) -> &mut [Frame] {
        &mut self.frames
    }
}
