//! What keeps a router from sending on what it is sent: a switch of its own, gateways that do not answer, addresses that two have.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rigswitch_dataplane::ports::AddressConfig;
use rigswitch_dataplane::routing::{HopConfig, RouteConfig, RouteWay};
use rigswitch_dataplane::upper::UpperKind;

use super::Finding;
use crate::config::network_of;
use crate::doctor::facts::{Address, End, Facts};

/// A router that does not forward, with something to forward to.
pub(super) fn forwarding(facts: &Facts) -> Vec<Finding> {
    let config = &facts.config;
    let is_child = |device: &str| {
        let is_it = |upper: &&rigswitch_dataplane::upper::UpperConfig| upper.name == device;
        config.uppers.iter().find(is_it).is_some_and(|upper| matches!(upper.kind, UpperKind::Ipvlan(_)))
    };
    let devices: BTreeSet<_> =
        config.addresses.iter().map(|of| &*of.device).filter(|device| !is_child(device)).collect();
    if config.routing.forwarding || devices.is_empty() || devices.len() + config.routes.len() < 2 {
        return Vec::new();
    }
    let (count, list) = (config.routes.len(), devices.into_iter().collect::<Vec<_>>().join(", "));
    vec![Finding::error(
        "what is not for the switch itself is dropped: it does not forward, and has where to",
        format!("[routing] forwarding = false; routed: {list}; routes: {count}"),
        facts.set_routing("forwarding", "true"),
    )]
}

/// Packets that came in where no answer would leave.
pub(super) fn reverse_path(facts: &Facts) -> Vec<Finding> {
    let finding = |(device, packets): &(String, u64)| {
        Finding::error(
            format!(
                "{packets} packets came by {device} from where no route leads back by it, and were dropped"
            ),
            format!("GET /v1/drops: {device} reverse_path {packets}; [routing] rp_filter = true"),
            facts.set_routing("rp_filter", "false"),
        )
    };
    let misrouted = facts.switch.misrouted.iter().filter(|_| facts.config.routing.rp_filter);
    misrouted.map(finding).collect()
}

/// Gateways that do not answer.
pub(super) fn gateways(facts: &Facts) -> Vec<Finding> {
    let hops = |route: &RouteConfig| match &route.way {
        RouteWay::Hops(hops) => hops.clone(),
        _ => Vec::new(),
    };
    let routes = facts.config.routes.iter();
    let all = routes.flat_map(|route| hops(route).into_iter().map(move |hop| (route, hop)));
    all.filter_map(|(route, hop)| gateway(facts, route, &hop)).collect()
}

fn gateway(facts: &Facts, route: &RouteConfig, hop: &HopConfig) -> Option<Finding> {
    let (via, device) = (hop.via?, &hop.device);
    facts.switch.silent.iter().find(|(of, dst)| of == device && *dst == via.to_string())?;
    let onlink = if hop.onlink { ", onlink" } else { "" };
    let (to, socket) = (&route.to, facts.switch.socket.display());
    let replace =
        |via: &str| format!("rigswitch --socket {socket} route replace {to} via {via} dev {device}");
    let fix = match behind(facts, hop) {
        Some(other) => replace(&other.to_string()),
        None => format!("# have {via} answer behind {device}, or name another: {}", replace("ADDRESS")),
    };
    Some(Finding::error(
        format!("{via} does not answer: what is for {to} goes nowhere"),
        format!("GET /v1/neighbors: {via} dev {device} FAILED{onlink}"),
        fix,
    ))
}

/// Who is there instead: the only address of the far end, if it is in one of the device's networks.
fn behind(facts: &Facts, hop: &HopConfig) -> Option<IpAddr> {
    let port = facts.ports.iter().find(|port| port.name == hop.device)?;
    let peer = port.device()?.peer.as_ref()?;
    let is_near = |address: &&Address| {
        let mut own = facts.config.addresses.iter().filter(|of| of.device == hop.device).map(|of| of.address);
        own.any(|own| {
            let network = |address| network_of(address, own.prefix_length);
            own.address.is_ipv4() == address.address.is_ipv4()
                && network(own.address) == network(address.address)
        })
    };
    let mut there = of_end(facts, peer).filter(is_near);
    there.next().filter(|_| there.next().is_none()).map(|address| address.address)
}

fn of_end<'f>(facts: &'f Facts, end: &'f End) -> impl Iterator<Item = &'f Address> {
    facts.addresses.iter().filter(|address| address.place == end.place && address.device == end.name)
}

/// Addresses of the switch that a host beside it has, too.
pub(super) fn twice(facts: &Facts) -> Vec<Finding> {
    let of = |own: &AddressConfig| {
        let is_same = |address: &&Address| address.address == own.address.address;
        facts.addresses.iter().filter(is_same).map(|host| shared(own, host)).collect::<Vec<_>>()
    };
    facts.config.addresses.iter().flat_map(of).collect()
}

fn shared(own: &AddressConfig, host: &Address) -> Finding {
    let (address, device) = (host.address, host.place.of(&host.device));
    Finding::error(
        format!("{address} is {}'s, and {device} has it too: one of them is not reached", own.device),
        format!(
            "[[address]] {} {}; RTM_GETADDR: {address}/{} of {device}",
            own.device, own.address, host.prefix
        ),
        host.place.ip(&format!("addr del {address}/{} dev {}", host.prefix, host.device)),
    )
}
