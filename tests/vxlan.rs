//! VXLAN: between real hosts, against this kernel's, and rule by rule.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // helpers of tests are tests

#[path = "vxlan/changes.rs"]
mod changes;
mod command;
#[path = "vxlan/example.rs"]
mod example;
#[path = "vxlan/external.rs"]
mod external;
#[path = "vxlan/fragments.rs"]
mod fragments;
mod hand;
#[path = "vxlan/hosts.rs"]
mod hosts;
#[path = "vxlan/kernel.rs"]
mod kernel;
#[path = "vxlan/packets.rs"]
mod packets;
#[path = "vxlan/path_mtu.rs"]
mod path_mtu;
mod rig;
#[path = "vxlan/rules.rs"]
mod rules;
#[path = "vxlan/services.rs"]
mod services;
#[path = "vxlan/trouble.rs"]
mod trouble;
