//! ipvlan: devices that share the address of the one they stand on, and take from it what is for their IP addresses
//! (drivers/net/ipvlan of the kernel).

mod config;
mod routed;
mod seek;
mod stage;

pub use config::{IpvlanConfig, IpvlanMode};
pub(crate) use stage::{IpvlanStage, send};
