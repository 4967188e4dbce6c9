//! IP packets in IPv4 packets (RFC 2003, RFC 4213): what `ip link add type ipip` makes (net/ipv4/ipip.c, sit.c and ip_tunnel.c of the kernel); and in IPv6
//! packets (RFC 2473): `type ip6tnl` (net/ipv6/ip6_tunnel.c).

mod config;
mod over_ipv6;
mod stage;

pub use config::IpipConfig;
pub(crate) use stage::{send, unwrap};
