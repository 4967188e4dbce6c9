//! Macvlans: devices that share another, each with an address of its own, and get on with each other as their mode says
//! (drivers/net/macvlan.c of the kernel).
//!
//! Children hear all groups: no list of those that they have joined is kept.

mod config;
mod stage;

pub use config::MacvlanConfig;
pub use stage::Ruling;
pub(crate) use stage::{MacvlanStage, send};
