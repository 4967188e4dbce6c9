//! What an operator may say about a tunnel of IP in IP, validated.

use std::net::IpAddr;

use crate::tables::Carries;
use crate::wire::limit;
use crate::wire::tunnel::{Outer, OverIpv6};

/// What sets one `[[ipip]]` apart from other tunnels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IpipConfig {
    /// The address that it sends from, and takes packets to; `None` for any of ours.
    pub local: Option<IpAddr>,
    /// The far end, of the same version; `None` for the router that a route by it names, and for packets from anywhere.
    pub remote: Option<IpAddr>,
    /// How outer headers are filled in.
    pub outer: Outer,
    /// And how further if they are of IPv6.
    pub over_ipv6: Option<OverIpv6>,
    /// Which packets it carries.
    pub carries: Carries,
}

impl IpipConfig {
    /// ip-tunnel(8)'s words for what a tunnel over IPv4 carries.
    pub const MODES: [(&str, Carries); 3] =
        [("ipip", Carries::Ipv4), ("ip6ip", Carries::Ipv6), ("any", Carries::Both)];

    /// And for what one over IPv6 does.
    pub const MODES_OVER_IPV6: [(&str, Carries); 3] =
        [("ipip6", Carries::Ipv4), ("ip6ip6", Carries::Ipv6), ("any", Carries::Both)];

    /// The word for what it carries.
    pub fn mode_name(&self) -> &'static str {
        let modes = if self.over_ipv6.is_some() { Self::MODES_OVER_IPV6 } else { Self::MODES };
        modes.iter().find(|(_, carries)| *carries == self.carries).map_or("", |(word, _)| word)
    }

    /// Bytes of an outer header.
    pub fn overhead(&self) -> u32 {
        match self.over_ipv6 {
            None => 20,
            Some(OverIpv6 { limit: None, .. }) => 40,
            Some(OverIpv6 { limit: Some(_), .. }) => 40 + u32::from(limit::HEADER_LEN),
        }
    }
}
