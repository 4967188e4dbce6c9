//! The chain of MTUs: where a frame that one device takes is too long for the next.

use std::cmp::Reverse;
use std::net::IpAddr;

use rigswitch_dataplane::bridge::BridgeConfig;
use rigswitch_dataplane::routing::{Network, RouteConfig, RouteWay};
use rigswitch_dataplane::tables::Df;
use rigswitch_dataplane::tunnels::{TunnelConfig, TunnelKind};
use rigswitch_dataplane::upper::UpperConfig;

use crate::config::{Config, network_of};

/// Bytes of payload that a device carries of which nothing is known (`ETH_DATA_LEN`).
pub(crate) const UNKNOWN: u32 = 1500;

/// Two devices, one of which takes longer frames than go on by the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Gap<'c> {
    /// Ports of one bridge carry unlike numbers of bytes.
    Uneven { bridge: &'c str, members: Vec<(&'c str, u32)> },
    /// One is to carry more than what it stands on.
    Upper { name: &'c str, own: u32, link: &'c str, below: u32 },
    /// A tunnel takes more than fits into the packets of the device that it leaves by.
    Tunnel { tunnel: &'c TunnelConfig, own: u32, dev: &'c str, below: u32 },
}

/// What a configuration says, and how much the devices carry that stand on nothing.
pub(crate) struct Chain<'c, F> {
    config: &'c Config,
    mtu_of: F,
}

/// Devices that stand on each other are no more than this; beyond it they do so in a circle.
const HIGHEST: usize = 2 * UpperConfig::HIGHEST;

impl<'c, F: Fn(&str) -> Option<u32>> Chain<'c, F> {
    /// `mtu_of` is asked first; what it does not know follows from what is below.
    pub(crate) fn new(config: &'c Config, mtu_of: F) -> Self {
        Self { config, mtu_of }
    }

    /// Every gap in it.
    pub(crate) fn gaps(&self) -> Vec<Gap<'c>> {
        let config = self.config;
        let bridges = config.bridges.iter().flat_map(|bridge| [self.uneven(bridge), self.own(bridge)]);
        let uppers = config.uppers.iter().map(|upper| self.upper(upper));
        let tunnels = config.tunnels.iter().map(|tunnel| self.tunnel(tunnel));
        bridges.chain(uppers).chain(tunnels).flatten().collect()
    }

    /// Bytes of payload that a device carries.
    pub(crate) fn carries(&self, name: &str) -> Option<u32> {
        self.carried(name, 0)
    }

    fn carried(&self, name: &str, height: usize) -> Option<u32> {
        if height > HIGHEST {
            return None;
        }
        let config = self.config;
        let below = |name: &str| self.carried(name, height + 1);
        let of_upper = |upper: &UpperConfig| {
            let link = below(&upper.link)?;
            Some(upper.mtu.map_or(link, |own| link.min(own.into())))
        };
        let upper = || config.uppers.iter().find(|upper| upper.name == name).and_then(of_upper);
        let tunnel = || config.tunnels.iter().find(|tunnel| tunnel.name == name);
        let bridge = || config.bridges.iter().find(|bridge| bridge.name == name);
        let of_bridge = |bridge: &BridgeConfig| {
            let ports = || bridge.ports.iter().filter_map(|port| below(&port.device)).min();
            bridge.mtu.map(u32::from).or_else(ports)
        };
        (self.mtu_of)(name)
            .or_else(upper)
            .or_else(|| tunnel().map(|tunnel| of_tunnel(config, tunnel, below)))
            .or_else(|| bridge().and_then(of_bridge))
    }

    fn uneven(&self, bridge: &'c BridgeConfig) -> Option<Gap<'c>> {
        let names = bridge.ports.iter().map(|port| &*port.device);
        let members: Vec<_> = names.filter_map(|name| Some((name, self.carries(name)?))).collect();
        let first = members.first()?.1;
        let is_uneven = members.iter().any(|(_, mtu)| *mtu != first);
        is_uneven.then_some(Gap::Uneven { bridge: &bridge.name, members })
    }

    /// What a bridge's own device sends goes by its ports.
    fn own(&self, bridge: &'c BridgeConfig) -> Option<Gap<'c>> {
        let own = u32::from(bridge.mtu?);
        let known = bridge.ports.iter().filter_map(|port| Some((&*port.device, self.carries(&port.device)?)));
        let (link, below) = known.min_by_key(|(_, mtu)| *mtu)?;
        (own > below).then_some(Gap::Upper { name: &bridge.name, own, link, below })
    }

    fn upper(&self, upper: &'c UpperConfig) -> Option<Gap<'c>> {
        let (own, below) = (u32::from(upper.mtu?), self.carries(&upper.link)?);
        (own > below).then_some(Gap::Upper { name: &upper.name, own, link: &upper.link, below })
    }

    fn tunnel(&self, tunnel: &'c TunnelConfig) -> Option<Gap<'c>> {
        let dev = underlay(self.config, tunnel)?;
        let below = self.carries(dev)?.saturating_sub(tunnel.kind.overhead());
        let own = self.carries(&tunnel.name)?;
        (own > below).then_some(Gap::Tunnel { tunnel, own, dev, below })
    }
}

/// The device that a tunnel leaves by, as far as the file tells.
pub(crate) fn underlay<'c>(config: &'c Config, tunnel: &'c TunnelConfig) -> Option<&'c str> {
    match &tunnel.kind {
        TunnelKind::Ipip(ipip) => leaves_by(config, ipip.local, ipip.remote),
        TunnelKind::Vxlan(vxlan) => {
            let first = || vxlan.fdb.first().map(|entry| entry.dst);
            let named = vxlan.dev.as_deref();
            named.or_else(|| leaves_by(config, vxlan.local, vxlan.remote.or_else(first)))
        }
    }
}

/// The device that packets to `remote` leave by: that of the longest network which has it, a route's or that of an address of ours. Where none has it, or
/// no far end is said, the device whose address `local` is.
fn leaves_by<'c>(config: &'c Config, local: Option<IpAddr>, remote: Option<IpAddr>) -> Option<&'c str> {
    let by_route = |route: &'c RouteConfig| match &route.way {
        RouteWay::Hops(hops) => Some((route.to, route.metric, &*hops.first()?.device)),
        _ => None,
    };
    let routes = config.routes.iter().filter_map(by_route);
    let near = config.addresses.iter().map(|said| {
        let network = network_of(said.address.address, said.address.prefix_length);
        (network, 0, &*said.device)
    });
    let has_it = |network: Network| {
        remote.is_some_and(|remote| {
            remote.is_ipv4() == network.address.is_ipv4()
                && network_of(remote, network.prefix_length) == network
        })
    };
    let ways = routes.chain(near).filter(|(network, ..)| has_it(*network));
    let best = ways.max_by_key(|(network, metric, _)| (network.prefix_length, Reverse(*metric)));
    let has_local = || config.addresses.iter().find(|said| Some(said.address.address) == local);
    best.map(|(.., device)| device).or_else(|| has_local().map(|said| &*said.device))
}

/// Bytes of payload that a tunnel carries over devices that carry what `mtu_of` says.
pub(crate) fn of_tunnel(config: &Config, tunnel: &TunnelConfig, mtu_of: impl Fn(&str) -> Option<u32>) -> u32 {
    let within =
        |dev: Option<&str>| dev.and_then(mtu_of).unwrap_or(UNKNOWN).saturating_sub(tunnel.kind.overhead());
    let said = tunnel.mtu.map(u32::from);
    match &tunnel.kind {
        // That of the device beneath less the outer header (`ip_tunnel_bind_dev`, net/ipv4/ip_tunnel.c).
        TunnelKind::Ipip(ipip) => said.unwrap_or_else(|| {
            // What IPv6 has to be carried with (`ip6_tnl_link_config`, net/ipv6/ip6_tunnel.c).
            let least = if ipip.over_ipv6.is_some() { 1280 } else { 0 };
            within(underlay(config, tunnel)).max(least)
        }),
        // The kernel looks at the device beneath only if it is named (`vxlan_config_apply`, drivers/net/vxlan/vxlan_core.c).
        TunnelKind::Vxlan(vxlan) => {
            let most = vxlan.dev.as_deref().map(|dev| within(Some(dev)));
            said.map_or(most.unwrap_or(UNKNOWN), |said| said.min(most.unwrap_or(said)))
        }
    }
}

impl<'c> Gap<'c> {
    /// Whether frames are lost of which nobody is told.
    pub(crate) fn loses(&self) -> bool {
        match self {
            Self::Uneven { .. } | Self::Upper { .. } => true,
            Self::Tunnel { tunnel, .. } => match &tunnel.kind {
                TunnelKind::Vxlan(vxlan) => vxlan.df == Df::Set,
                // Where the far end is known, what may be fragmented is so before it enters.
                TunnelKind::Ipip(ipip) => ipip.outer.pmtudisc && ipip.remote.is_none(),
            },
        }
    }

    /// What comes of it; `label` is what a device is called.
    pub(crate) fn what(&self, label: impl Fn(&'c str) -> &'c str) -> String {
        match self {
            Self::Uneven { bridge, members } => {
                let (narrow, smallest) =
                    members.iter().min_by_key(|(_, mtu)| *mtu).copied().unwrap_or_default();
                format!(
                    "bridge {bridge}: frames of more than {smallest} bytes of payload are dropped on the way to {}",
                    label(narrow)
                )
            }
            Self::Upper { name, own, link, below } => format!(
                "{name} is to carry {own} bytes of payload, and {} that it stands on carries {below}",
                label(link)
            ),
            Self::Tunnel { tunnel, own, dev, below } => {
                let (name, dev) = (&tunnel.name, label(dev));
                let rest = match self.loses() {
                    true => "all others are lost",
                    false => "all others go in pieces, which the far end has to put together",
                };
                format!(
                    "tunnel {name} takes {own} bytes of payload, and {below} fit into a packet of {dev}: senders that do path MTU \
                     discovery are told to send less, and {rest}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIG: &str = r#"
        port = [{ name = "p0", memory = true }, { name = "p1", memory = true }]
        vlan = [{ name = "v10", link = "p0", id = 10, mtu = 1400 }]
        address = [{ device = "p0", address = "192.0.2.1/24" }]
        ipip = [
            { name = "t0", local = "192.0.2.1", remote = "192.0.2.2" },
            { name = "t1", local = "192.0.2.1", remote = "192.0.2.3", mtu = 1500 },
            { name = "t2", local = "192.0.2.1", mtu = 1600 },
        ]
        vxlan = [
            { name = "x0", id = 1, dev = "p0", remote = "192.0.2.2" },
            { name = "x1", id = 2, remote = "192.0.2.2" },
            { name = "x2", id = 3, local = "192.0.2.1", fdb = [{ mac = "02:00:00:00:00:01", dst = "192.0.2.2" }], df = "set", mtu = 1451 },
        ]
        bridge = [{ name = "br0", mtu = 1460, host = true, port = [{ device = "x0" }, { device = "p1" }] }]
    "#;

    fn gaps(config: &Config, p0: u32) -> Vec<(String, bool)> {
        let mtu_of = |name: &str| match name {
            "p0" => Some(p0),
            "p1" => Some(1500),
            _ => None,
        };
        let chain = Chain::new(config, mtu_of);
        let first = |what: String| what.split(':').next().unwrap_or_default().to_owned();
        chain.gaps().iter().map(|gap| (first(gap.what(|name| name)), gap.loses())).collect()
    }

    #[test]
    fn every_gap_is_found_and_no_other() {
        let config = Config::parse(RIG, "rig").unwrap();
        let told = |text: &str, loses: bool| (text.to_owned(), loses);
        assert_eq!(
            gaps(&config, 1500),
            [
                told("bridge br0", true),
                told("br0 is to carry 1460 bytes of payload, and x0 that it stands on carries 1450", true),
                told("tunnel t1 takes 1500 bytes of payload, and 1480 fit into a packet of p0", false),
                told("tunnel t2 takes 1600 bytes of payload, and 1480 fit into a packet of p0", true),
                told("tunnel x1 takes 1500 bytes of payload, and 1450 fit into a packet of p0", false),
                told("tunnel x2 takes 1451 bytes of payload, and 1450 fit into a packet of p0", true),
            ]
        );
        assert_eq!(
            gaps(&config, 1390)[2],
            told("v10 is to carry 1400 bytes of payload, and p0 that it stands on carries 1390", true)
        );
        // With room for 1,600 inside, nothing is left but what the ports of the bridge, and its own device, are among themselves.
        assert_eq!(gaps(&config, 1620), [told("bridge br0", true)]);
        assert_eq!(
            gaps(&config, 1550),
            [told("tunnel t2 takes 1600 bytes of payload, and 1530 fit into a packet of p0", true)]
        );
    }

    #[test]
    fn a_far_end_behind_a_gateway_is_reached_by_the_device_of_the_best_route() {
        let text = r#"
            port = [{ name = "p0", memory = true }, { name = "p1", memory = true }]
            address = [{ device = "p0", address = "192.0.2.1/24" }, { device = "p1", address = "198.51.100.1/24" }]
            route = [
                { to = "default", via = "192.0.2.9" },
                { to = "10.0.0.0/8", via = "192.0.2.9", metric = 1 },
                { to = "10.0.0.0/8", via = "198.51.100.9" },
                { to = "10.9.0.0/16", type = "blackhole" },
            ]
            vxlan = [
                { name = "x0", id = 1, remote = "10.1.0.1" },
                { name = "x1", id = 2, local = "192.0.2.1", remote = "10.1.0.2" },
                { name = "x2", id = 3, remote = "203.0.113.1" },
                { name = "x3", id = 4, remote = "192.0.2.2" },
                { name = "x4", id = 5, remote = "2001:db8::1", local = "2001:db8::2" },
            ]
            ipip = [{ name = "t0", remote = "10.1.0.1" }]
        "#;
        let config = Config::parse(text, "rig").unwrap();
        let of = |name: &str| underlay(&config, config.tunnels.iter().find(|of| of.name == name).unwrap());
        assert_eq!(["x0", "x1", "t0"].map(of), [Some("p1"); 3], "the better of two routes");
        assert_eq!(["x2", "x3"].map(of), [Some("p0"); 2]);
        assert_eq!(of("x4"), None, "nobody has its address");
        let chain = Chain::new(&config, |name| {
            Some(if name == "p1" { 1400 } else { 1550 }).filter(|_| name.starts_with('p'))
        });
        let gaps: Vec<_> = chain.gaps().iter().map(|gap| gap.what(|name| name)).collect();
        assert_eq!(gaps.len(), 2, "{gaps:?}");
        assert!(gaps.iter().all(|gap| gap.contains("1350 fit into a packet of p1")), "{gaps:?}");
    }

    #[test]
    fn devices_on_each_other_in_a_circle_are_no_chain() {
        let text = r#"
            port = [{ name = "p0", memory = true }]
            vxlan = [{ name = "x0", id = 1, dev = "br0", remote = "192.0.2.2" }]
            bridge = [{ name = "br0", port = [{ device = "x0" }, { device = "p0" }] }]
            address = [{ device = "br0", address = "192.0.2.1/24" }]
        "#;
        let config = Config::parse(text, "rig").unwrap();
        let chain = Chain::new(&config, |name| (name == "p0").then_some(1500));
        assert_eq!(chain.gaps().len(), 1, "it comes to an end");
    }
}
