//! `[[route]]` and `[routing]`: where packets go, `ip route`'s words, and what the kernel has as sysctls.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use rigswitch_dataplane::ports::AddressConfig;
use rigswitch_dataplane::routing::{HopConfig, Network, RouteConfig, RouteWay, RoutingConfig};
use rigswitch_dataplane::tables::next_hop::Weight;
use rigswitch_dataplane::wire::flow::Policy;
use serde::Serialize;

use super::fields::{Fields, Shape, Text};
use super::roles::{Kind, Roles};
use super::values::unless;

pub(super) const ROUTE: Shape = Shape {
    label: "[[route]]",
    keys: &["to", "metric", "via", "device", "onlink", "type", "nexthop"],
    later: &["table", "src", "mtu"],
};
const HOP: Shape = Shape { label: "nexthop", keys: &["via", "device", "onlink", "weight"], later: &[] };
const ROUTING: Shape = Shape {
    label: "[routing]",
    keys: &["forwarding", "icmp_ratelimit", "rp_filter", "fib_multipath_hash_policy", "dad_transmits"],
    later: &[],
};

/// `[routing]`.
pub(super) fn read_routing(file: &Fields<'_>) -> RoutingConfig {
    let plain = RoutingConfig::default();
    let Some(table) = file.table("routing", &ROUTING) else { return plain };
    let policies: Option<u8> = table.integer("fib_multipath_hash_policy", 0..=1);
    RoutingConfig {
        forwarding: table.boolean("forwarding").unwrap_or(plain.forwarding),
        icmp_ratelimit: rate(&table).unwrap_or(plain.icmp_ratelimit),
        rp_filter: table.boolean("rp_filter").unwrap_or(plain.rp_filter),
        multipath: if policies == Some(1) { Policy::Ports } else { plain.multipath },
        dad_transmits: table.integer("dad_transmits", 0..=255).unwrap_or(plain.dad_transmits),
    }
}

/// `"1000/s"`, or 0.
fn rate(table: &Fields<'_>) -> Option<u32> {
    let value = table.value("icmp_ratelimit")?;
    if value.get_ref().as_integer().is_some() {
        return table.integer("icmp_ratelimit", 0..=0);
    }
    let text = table.text("icmp_ratelimit")?;
    let number = text.value.strip_suffix("/s").and_then(|number| number.parse().ok());
    if number.is_none() {
        let rule = format!("`icmp_ratelimit` is `{}`, which is no number of messages a second", text.value);
        table.problems.push(text.span, rule, "write it as \"1000/s\", or 0 for no limit");
    }
    number
}

/// Every `[[route]]`, given the addresses that devices have.
pub(super) fn read_all(
    file: &Fields<'_>,
    addresses: &[AddressConfig],
    roles: &Roles<'_>,
) -> Vec<RouteConfig> {
    let mut routes = Vec::new();
    let mut seen = BTreeMap::new();
    for fields in file.tables("route", &ROUTE) {
        let to = fields.required("to", "\"192.0.2.0/24\"");
        let network = to.as_ref().and_then(|text| network(&fields, text));
        let (Some(text), Some(network)) = (to, network) else { continue };
        // Zero is no metric in IPv6 (`ip6_route_info_create`, net/ipv6/route.c).
        let usual = RouteConfig::default_metric(network);
        let metric =
            fields.integer("metric", 0..=u32::MAX.into()).filter(|&metric| metric != 0).unwrap_or(usual);
        let Some(way) = way(&fields, network, addresses, roles) else { continue };
        if let Some(first) = seen.insert((network, metric), text.span.clone()) {
            let line = roles.line(&first);
            let rule = format!("there are two routes to {network} with metric {metric}: line {line} has one");
            let remedy = "keep one of the two, or give one another metric: the least is taken while its device is up; several ways at once \
                          are a nexthop = [{ via = … }, { via = … }]";
            fields.problems.push(text.span, rule, remedy);
            continue;
        }
        routes.push(RouteConfig { to: network, metric, way });
    }
    routes
}

/// A network as it is written: with its length, `default`, or one address.
pub(crate) fn parse_network(text: &str) -> Option<Network> {
    if text == "default" {
        return Some(Network { address: Ipv4Addr::UNSPECIFIED.into(), prefix_length: 0 });
    }
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix_length =
        length.map_or(Some(bits), |length| length.parse().ok().filter(|&length| length <= bits))?;
    Some(Network { address, prefix_length })
}

/// The network that an address is in.
pub(crate) fn network_of(address: IpAddr, prefix_length: u8) -> Network {
    Network { address: first_of(address, prefix_length), prefix_length }
}

fn network(fields: &Fields<'_>, text: &Text<'_>) -> Option<Network> {
    let refuse = |rule: String, remedy: String| {
        fields.problems.push(text.span.clone(), rule, remedy);
        None
    };
    let Some(network) = parse_network(text.value) else {
        let rule = format!("`{}` is no network", text.value);
        return refuse(rule, "write it as 192.0.2.0/24, 2001:db8::/64 or default".into());
    };
    let first = first_of(network.address, network.prefix_length);
    if first != network.address {
        let rule =
            format!("{} has bits set behind the {} of its length", network.address, network.prefix_length);
        return refuse(rule, format!("write {}", Network { address: first, ..network }));
    }
    if network.address.is_multicast() {
        return refuse(format!("{network} is of groups, which are not routed"), "take it out".into());
    }
    Some(network)
}

/// The first address of a network.
fn first_of(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::from((address.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::from((address.to_bits() & mask).to_be_bytes())
        }
    }
}

fn way(fields: &Fields<'_>, to: Network, addresses: &[AddressConfig], roles: &Roles<'_>) -> Option<RouteWay> {
    let kinds = [
        ("unicast", None),
        ("blackhole", Some(RouteWay::Blackhole)),
        ("unreachable", Some(RouteWay::Unreachable)),
        ("prohibit", Some(RouteWay::Prohibit)),
    ];
    let names = kinds.each_ref().map(|(name, _)| (*name, *name));
    let kind = fields.word("type", &names).unwrap_or("unicast");
    if let Some((_, Some(way))) = kinds.into_iter().find(|(name, way)| *name == kind && way.is_some()) {
        for key in ["via", "device", "onlink", "nexthop"] {
            if let Some(value) = fields.value(key) {
                let rule = format!("a {kind} route leads nowhere, and has a `{key}`");
                fields.problems.push(value.span(), rule, "take it out, or the type");
                return None;
            }
        }
        return Some(way);
    }
    let hops = fields.tables("nexthop", &HOP);
    if hops.is_empty() {
        return Some(RouteWay::Hops(vec![hop(fields, to, Weight::ONE, addresses, roles)?]));
    }
    for key in ["via", "device", "onlink"] {
        if let Some(value) = fields.value(key) {
            let rule = format!("`{key}` beside `nexthop`: each says where the route leads");
            fields.problems.push(value.span(), rule, "keep one of the two");
            return None;
        }
    }
    let read = |fields: &Fields<'_>| {
        let weight = fields.integer("weight", 1..=256).and_then(Weight::new).unwrap_or(Weight::ONE);
        hop(fields, to, weight, addresses, roles)
    };
    hops.iter().map(read).collect::<Option<Vec<_>>>().map(RouteWay::Hops)
}

fn hop(
    fields: &Fields<'_>,
    to: Network,
    weight: Weight,
    addresses: &[AddressConfig],
    roles: &Roles<'_>,
) -> Option<HopConfig> {
    let onlink = fields.boolean("onlink").unwrap_or(false);
    let via = fields.text("via");
    let router = via.as_ref().map(|text| router(fields, text, to));
    if router == Some(None) {
        return None;
    }
    let router = router.flatten();
    let said = fields.text("device");
    // The device whose network the router is in.
    let behind = |address: IpAddr| {
        let is_in = |said: &&AddressConfig| {
            let length = said.address.prefix_length;
            said.address.address.is_ipv4() == address.is_ipv4()
                && first_of(said.address.address, length) == first_of(address, length)
        };
        addresses.iter().filter(is_in).max_by_key(|said| said.address.prefix_length)
    };
    let known = router.and_then(behind);
    let device = match (&said, known) {
        (Some(text), _) if roles.is_hosts(text.value) => {
            let rule = format!("`{}` is handed to the host, and nothing is routed there", text.value);
            let remedy = "give the host the route (`ip route add`), or take `host` out of the device";
            fields.problems.push(text.span.clone(), rule, remedy);
            return None;
        }
        (Some(text), _) => {
            let is_tunnel = roles.kind(text.value) == Some(Kind::Ipip);
            if !addresses.iter().any(|of| of.device == text.value) && !onlink && !is_tunnel {
                let rule = format!("`{}` has no address, and nothing is routed there", text.value);
                let remedy = match roles.kind(text.value) {
                    None => roles.suggest(text.value),
                    Some(_) => format!("give it one: [[address]] with device = \"{}\"", text.value),
                };
                fields.problems.push(text.span.clone(), rule, remedy);
                return None;
            }
            text.value.to_owned()
        }
        (None, Some(known)) => known.device.clone(),
        (None, None) => {
            let (span, rule) = match &via {
                Some(text) => (text.span.clone(), format!("no device has {} in its network", text.value)),
                None => (fields.span.clone(), format!("{} says neither `via` nor `device`", fields.label())),
            };
            fields.problems.push(
                span,
                rule,
                "add device = \"eth0\"; with onlink = true any router is taken to be there",
            );
            return None;
        }
    };
    if let (Some(text), false) = (&via, onlink)
        && known.is_none_or(|known| known.device != device)
    {
        let rule = format!("{} is in no network of `{device}`", text.value);
        let remedy = "name a router that is, give the device an address of its network, or add onlink = true";
        fields.problems.push(text.span.clone(), rule, remedy);
        return None;
    }
    Some(HopConfig { device, via: router, onlink, weight })
}

fn router(fields: &Fields<'_>, text: &Text<'_>, to: Network) -> Option<IpAddr> {
    let refuse = |rule: String, remedy: &str| {
        fields.problems.push(text.span.clone(), rule, remedy);
        None
    };
    match text.value.parse::<IpAddr>() {
        Err(_) => refuse(format!("`{}` is not an IP address", text.value), "write one as 192.0.2.1"),
        Ok(address) if address.is_multicast() || address.is_unspecified() => {
            refuse(format!("`{address}` is not the address of a router"), "write one as 192.0.2.1")
        }
        Ok(address) if address.is_ipv4() && to.address.is_ipv6() => {
            refuse(format!("{to} is IPv6, and {address} is not"), "name a router of IPv6")
        }
        Ok(address) => Some(address),
    }
}

/// A route as it is printed.
#[derive(Serialize)]
pub(super) struct RouteWords<'c> {
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<u32>,
    #[serde(flatten)]
    hop: Option<HopWords<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nexthop: Vec<HopWords<'c>>,
}

#[derive(Serialize)]
struct HopWords<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    device: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    onlink: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
}

impl<'c> From<&'c HopConfig> for HopWords<'c> {
    fn from(hop: &'c HopConfig) -> Self {
        Self {
            via: hop.via.map(|via| via.to_string()),
            device: &hop.device,
            onlink: unless(hop.onlink, false),
            weight: unless(hop.weight.number(), 1),
        }
    }
}

impl<'c> From<&'c RouteConfig> for RouteWords<'c> {
    fn from(route: &'c RouteConfig) -> Self {
        let (mut hop, mut nexthop, mut r#type) = (None, Vec::new(), None);
        match &route.way {
            RouteWay::Hops(hops) => match &hops[..] {
                [one] if one.weight == Weight::ONE => hop = Some(one.into()),
                several => nexthop = several.iter().map(Into::into).collect(),
            },
            RouteWay::Blackhole => r#type = Some("blackhole"),
            RouteWay::Unreachable => r#type = Some("unreachable"),
            RouteWay::Prohibit => r#type = Some("prohibit"),
        }
        let metric = unless(route.metric, RouteConfig::default_metric(route.to));
        Self { to: route.to.to_string(), metric, hop, r#type, nexthop }
    }
}

/// `[routing]` as it is printed: what is not as it would be without it.
#[derive(Serialize)]
pub(super) struct RoutingWords {
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarding: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_ratelimit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rp_filter: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fib_multipath_hash_policy: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dad_transmits: Option<u8>,
}

impl From<RoutingConfig> for RoutingWords {
    fn from(routing: RoutingConfig) -> Self {
        let plain = RoutingConfig::default();
        Self {
            forwarding: unless(routing.forwarding, plain.forwarding),
            icmp_ratelimit: unless(routing.icmp_ratelimit, plain.icmp_ratelimit)
                .map(|rate| format!("{rate}/s")),
            rp_filter: unless(routing.rp_filter, plain.rp_filter),
            fib_multipath_hash_policy: unless(u8::from(routing.multipath == Policy::Ports), 0),
            dad_transmits: unless(routing.dad_transmits, plain.dad_transmits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_with_their_length() {
        for (text, expected) in [
            ("default", Some("default")),
            ("0.0.0.0/0", Some("default")),
            ("192.0.2.0/24", Some("192.0.2.0/24")),
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("2001:DB8::/32", Some("2001:db8::/32")),
            ("::/0", Some("::/0")),
            ("192.0.2.0/33", None),
            ("x", None),
            ("", None),
        ] {
            let said = parse_network(text).map(|network| network.to_string());
            assert_eq!(said.as_deref(), expected, "{text}");
        }
        assert_eq!(first_of("10.1.2.3".parse().unwrap(), 9), "10.0.0.0".parse::<IpAddr>().unwrap());
        assert_eq!(first_of("fd00::1".parse().unwrap(), 0), "::".parse::<IpAddr>().unwrap());
        assert_eq!(first_of("fd00::1".parse().unwrap(), 128), "fd00::1".parse::<IpAddr>().unwrap());
    }
}
