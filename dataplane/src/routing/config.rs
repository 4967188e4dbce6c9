//! What an operator may say about routing, validated.

use std::fmt;
use std::net::IpAddr;

use crate::tables::next_hop::Weight;
use crate::wire::flow::Policy;

/// `[routing]`: what the kernel has as sysctls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoutingConfig {
    /// Whether packets for others are sent on (`net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`).
    pub forwarding: bool,
    /// How many ICMP errors are sent in a second; zero for as many as there is reason to (`net.ipv4.icmp_msgs_per_sec`).
    pub icmp_ratelimit: u32,
    /// Whether packets are taken only from where answers would go (`net.ipv4.conf.all.rp_filter` 1). IPv4 only, as in the kernel.
    pub rp_filter: bool,
    /// By what packets are one flow, where there are several ways (`net.ipv4.fib_multipath_hash_policy`).
    pub multipath: Policy,
    /// How often others are asked whether they have an IPv6 address of ours, before it is used (`net.ipv6.conf.all.dad_transmits`); never if it is zero.
    pub dad_transmits: u8,
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self {
            forwarding: true,
            icmp_ratelimit: 1000,
            rp_filter: false,
            multipath: Policy::Addresses,
            dad_transmits: 1,
        }
    }
}

/// The addresses that a route is for: all that begin as this one does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network {
    /// The first of them.
    pub address: IpAddr,
    /// How many bits they begin with.
    pub prefix_length: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { address, prefix_length: 0 } if address.is_ipv4() => write!(f, "default"),
            Self { address, prefix_length } => write!(f, "{address}/{prefix_length}"),
        }
    }
}

/// One `[[route]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteConfig {
    /// Where it leads to.
    pub to: Network,
    /// Of routes to the same network the one with the least counts that is of use.
    pub metric: u32,
    /// Which way.
    pub way: RouteWay,
}

impl RouteConfig {
    /// The metric of a route that says none (`IP6_RT_PRIO_USER`, include/net/ip6_fib.h).
    pub fn default_metric(to: Network) -> u32 {
        if to.address.is_ipv4() { 0 } else { 1024 }
    }
}

/// Which way a route leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RouteWay {
    /// By one of these, chosen by flow if there are several.
    Hops(Vec<HopConfig>),
    /// Nowhere, without a word.
    Blackhole,
    /// Nowhere, and the sender is told that it is unreachable.
    Unreachable,
    /// Nowhere, and the sender is told that it is forbidden.
    Prohibit,
}

/// One way of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HopConfig {
    /// Where packets leave, by name.
    pub device: String,
    /// The router that is to have them next; `None` if the destination is behind the device.
    pub via: Option<IpAddr>,
    /// Whether the router is taken to be behind the device whatever the addresses say.
    pub onlink: bool,
    /// Its share of the flows.
    pub weight: Weight,
}
