//! Routing: packets that come to a device's own address go on by the longest prefix of their destination (RFC 1812, RFC 8200).

mod config;
mod lead;
mod send;
mod stage;

pub use config::{HopConfig, Network, RouteConfig, RouteWay, RoutingConfig};
pub(crate) use send::fragment;
pub use stage::Fate;
pub(crate) use stage::{RoutingStage, flow};
