//! Sub-interfaces of VLANs: devices that take from the one they stand on the frames of one tag, and put that tag on what they
//! send (net/8021q of the kernel).

mod config;
mod stage;

pub use config::VlanConfig;
pub(crate) use stage::{send, sort};
