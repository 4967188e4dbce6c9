//! The data plane of rigswitch: everything a frame meets between the port it came from and the one it leaves by.
//!
//! Imports run one way: `ids → drops counters sync → sys wire → frames → ports` and
//! `frames → tables → bridge → pipeline`; [`worker`](crate) joins ports and pipeline.
#![deny(unsafe_code)]

pub mod bell;
pub mod bridge;
pub mod clock;
pub mod counters;
pub mod drops;
#[allow(unsafe_code)]
pub mod frames;
pub mod ids;
pub mod pipeline;
pub mod ports;
pub mod punt;
pub mod ring;
mod sync;
#[allow(unsafe_code)]
pub mod sys;
pub mod tables;
pub mod wire;
pub mod worker;
