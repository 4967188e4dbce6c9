//! Macvlans: each rule by itself, on ports in memory, and hosts that share a real device.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
#[path = "macvlan/hosts.rs"]
mod hosts;
#[path = "macvlan/kernel.rs"]
mod kernel;
mod rig;
#[path = "macvlan/rules.rs"]
mod rules;
