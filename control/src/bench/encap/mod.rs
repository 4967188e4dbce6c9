//! `bench encap`: what encapsulation costs, in bytes on the wire and in time.
//!
//! [`ways`] has the ways that are compared, [`memory`] measures them with no I/O; [`arithmetic`] says what the bytes must be.

mod arithmetic;
mod memory;
pub(crate) mod ways;

use std::time::Duration;

use super::trial::Schedule;
use super::{Measured, Watch};

/// What is to be measured.
pub(crate) struct Encap {
    /// Bytes of the frames that stations send, without the frame check sequence.
    pub(crate) sizes: Vec<u16>,
    pub(crate) schedule: Schedule,
    /// Of a trial.
    pub(crate) length: Duration,
}

impl Encap {
    /// Measures it.
    pub(crate) fn run(&self, watch: &Watch) -> Measured {
        let mut measured = Measured::default();
        measured.sections.push(self.overhead());
        self.in_memory(watch, &mut measured);
        measured
    }
}
