//! `bench encap`: what encapsulation costs, in bytes on the wire and in time.
//!
//! [`ways`] has the ways that are compared, [`memory`] measures them with no I/O, [`devices`] between stations in a [`rig`], of switches
//! of ours that are [`running`] or of the [`kernel`]'s, and [`tables`] has what came of that; [`arithmetic`] says what the bytes must be.

mod arithmetic;
mod devices;
mod kernel;
mod memory;
pub(crate) mod rig;
mod running;
mod tables;
pub(crate) mod ways;

use std::time::Duration;

use super::trial::Schedule;
use super::{Measured, Watch};
use rig::Drive;
use ways::Way;

/// What is to be measured.
pub(crate) struct Encap {
    /// Bytes of the frames that stations send, without the frame check sequence.
    pub(crate) sizes: Vec<u16>,
    pub(crate) schedule: Schedule,
    /// Of a trial.
    pub(crate) length: Duration,
    /// Whether also over devices, which takes root.
    pub(crate) has_devices: bool,
    /// What is compared, and through what it goes over devices.
    pub(crate) ways: Vec<&'static Way>,
    pub(crate) drives: Vec<Drive>,
}

impl Encap {
    /// Measures it.
    pub(crate) fn run(&self, watch: &Watch) -> Measured {
        let mut measured = Measured::default();
        measured.sections.push(self.overhead());
        self.in_memory(watch, &mut measured);
        if self.has_devices {
            self.over_devices(watch, &mut measured);
        }
        measured
    }
}
