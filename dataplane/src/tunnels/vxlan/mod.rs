//! Ethernet frames in UDP packets (RFC 7348): what `ip link add type vxlan` makes (drivers/net/vxlan of the kernel).

mod config;
mod networks;
mod receive;
mod send;
mod services;

pub use config::{External, VxlanConfig, VxlanEntryConfig};
pub use receive::FarEnd;
pub(crate) use receive::{plain, unwrap, unwrap_plain};
pub(crate) use send::send;
pub use services::Miss;
