//! Tunnels: devices whose frames travel inside packets of the routed network beneath them, the underlay.
//!
//! `underlay` is what all kinds share; each kind has a folder. A kind puts [`Remote`](crate::tables::Remote)s into the tables, whose headers it has
//! written by `underlay::wrap` and which it sends by `underlay::send`; what comes in is found by `find` and surfaces on its device.

mod config;
pub(crate) mod ipip;
mod receive;
pub(crate) mod underlay;
pub(crate) mod vxlan;

pub use config::{TunnelConfig, TunnelKind};
pub use ipip::IpipConfig;
pub(crate) use receive::{Outer, find, find_ipv6, receive, receive_plain};
pub use vxlan::{External, FarEnd, Miss, VxlanConfig, VxlanEntryConfig};
