//! What an operator may say about a tunnel of IP in IP, validated.

use std::net::Ipv4Addr;

use crate::tables::Carries;
use crate::wire::tunnel::Outer;

/// What sets one `[[ipip]]` apart from other tunnels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IpipConfig {
    /// The address that it sends from, and takes packets to; `None` for any of ours.
    pub local: Option<Ipv4Addr>,
    /// The far end; `None` for the router that a route by it names, and for packets from anywhere.
    pub remote: Option<Ipv4Addr>,
    /// How outer headers are filled in.
    pub outer: Outer,
    /// Which packets it carries.
    pub carries: Carries,
}

impl IpipConfig {
    /// Bytes of an outer header.
    pub const OVERHEAD: u32 = 20;

    /// ip-tunnel(8)'s words for what a tunnel carries.
    pub const MODES: [(&str, Carries); 3] =
        [("ipip", Carries::Ipv4), ("ip6ip", Carries::Ipv6), ("any", Carries::Both)];

    /// The word for what it carries.
    pub fn mode_name(&self) -> &'static str {
        Self::MODES.iter().find(|(_, carries)| *carries == self.carries).map_or("", |(word, _)| word)
    }
}
