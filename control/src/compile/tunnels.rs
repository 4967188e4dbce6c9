//! Tunnels, compiled: what each is, its far ends, and which one takes what comes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::routing::RouteWay;
use rigswitch_dataplane::tables::{
    Descent, Device, Ends, IpDemux, IpTunnel, IpTunnelId, IpipDescent, Reach, Remote, RemoteId, Routing,
    Tunnels, station_of,
};
use rigswitch_dataplane::tunnels::{IpipConfig, TunnelConfig, TunnelKind};

use super::{Named, PortFacts, Routed, give_way, underlay};
use crate::config::Config;
use crate::router::FarEnd;

/// The far ends that a tunnel of IP in IP sends to: the one of the file, or the routers that routes by it name.
fn far_ends(config: &Config, tunnel: &str, ipip: &IpipConfig) -> BTreeSet<IpAddr> {
    if let Some(remote) = ipip.remote {
        return [remote].into();
    }
    let hops = config.routes.iter().filter_map(|route| match &route.way {
        RouteWay::Hops(hops) => Some(hops),
        _ => None,
    });
    let by_it = hops.flatten().filter(|hop| hop.device == tunnel);
    by_it.filter_map(|hop| hop.via).filter(|via| via.is_ipv6() == ipip.over_ipv6.is_some()).collect()
}

/// What the router is to know of far ends, where tunnels have these numbers.
pub(crate) fn known_far_ends(
    config: &Config,
    number: impl Fn(&str) -> Option<DeviceId>,
) -> BTreeMap<IpAddr, FarEnd> {
    let mut known = BTreeMap::new();
    for tunnel in &config.tunnels {
        let Some(number) = number(&tunnel.name) else { continue };
        let TunnelKind::Ipip(ipip) = &tunnel.kind else { continue };
        let far_end = FarEnd { tunnel: number, has_ttl: ipip.outer.ttl != 0 };
        known.extend(far_ends(config, &tunnel.name, ipip).into_iter().map(|end| (end, far_end)));
    }
    known
}

/// Has tunnels that discover what their ways carry take no longer packets than those do: then who sends one is told at once, or it is fragmented before
/// it enters (`tnl_update_pmtu`).
pub(crate) fn narrow(config: &Config, devices: &[Routed], routing: &mut Routing) {
    for tunnel in &config.tunnels {
        let TunnelKind::Ipip(ipip) = &tunnel.kind else { continue };
        let Some(device) = devices.iter().find(|device| device.name == tunnel.name) else { continue };
        let Some(carried) = discovered(routing, device.id, tunnel, ipip) else { continue };
        if let Some(interface) = routing.interfaces.get_mut(device.id.index()).and_then(Option::as_mut) {
            interface.mtu = interface.mtu.min(carried);
        }
    }
}

/// Bytes of packet that the way of a tunnel carries, which discovers that: nothing if it does not, or does not know its way.
fn discovered(routing: &Routing, device: DeviceId, tunnel: &TunnelConfig, ipip: &IpipConfig) -> Option<u32> {
    let remote = ipip.remote.filter(|_| ipip.outer.pmtudisc)?;
    let ends = (ipip.local.unwrap_or(any(remote)), remote);
    let far_end = underlay::remote(routing, device, ends, &[]);
    let is_reached = matches!(far_end.reach, Reach::Ready(_) | Reach::Unresolved(_));
    is_reached.then(|| far_end.mtu.saturating_sub(tunnel.kind.overhead()))
}

/// Every tunnel; their devices then tell how what they send leaves.
pub(super) fn tunnels(
    config: &Config,
    named: &Named<'_>,
    routing: &Routing,
    devices: &mut [Device],
) -> Tunnels {
    let mut work = Work { config, named, routing, remotes: Vec::new(), by_next_hop: Vec::new() };
    let (mut ip, mut over_ipv4, mut over_ipv6) = (Vec::new(), Vec::new(), Vec::new());
    for tunnel in &config.tunnels {
        let Some(facts) = named.get(&*tunnel.name) else { continue };
        let TunnelKind::Ipip(ipip) = &tunnel.kind else { continue };
        let Ok(number) = u16::try_from(ip.len()) else { break };
        let id = IpTunnelId(number);
        ip.push(work.ip(id, tunnel, ipip, facts));
        match ipip.over_ipv6 {
            None => {
                over_ipv4.push((Ends { local: v4(ipip.local), remote: v4(ipip.remote) }, ipip.carries, id))
            }
            Some(_) => over_ipv6.push((Ends { local: v6(ipip.local), remote: v6(ipip.remote) }, id)),
        }
        // The router sees to it for those that are not the host's.
        let discovered = tunnel.host.as_ref().and_then(|_| discovered(routing, facts.id, tunnel, ipip));
        let longest = discovered.map_or(facts.mtu, |carried| facts.mtu.min(carried)) + ETHERNET_LEN;
        let way = Descent::Ipip(IpipDescent { tunnel: id, longest });
        give_way(&mut devices[facts.id.index()], tunnel.host.is_some(), way);
    }
    work.by_next_hop.sort_unstable();
    Tunnels {
        remotes: work.remotes.into(),
        ip: ip.into(),
        by_next_hop: work.by_next_hop.into(),
        demux: IpDemux::new(over_ipv4).and_over_ipv6(over_ipv6),
        ..Tunnels::default()
    }
}

fn v4(end: Option<IpAddr>) -> Option<Ipv4Addr> {
    if let Some(IpAddr::V4(end)) = end { Some(end) } else { None }
}

fn v6(end: Option<IpAddr>) -> Option<Ipv6Addr> {
    if let Some(IpAddr::V6(end)) = end { Some(end) } else { None }
}

/// No address, of the version of this one.
fn any(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// Bytes of the header that a packet has until it leaves.
const ETHERNET_LEN: u32 = 14;

struct Work<'c> {
    config: &'c Config,
    named: &'c Named<'c>,
    routing: &'c Routing,
    remotes: Vec<Remote>,
    by_next_hop: Vec<(IpTunnelId, MacAddr, RemoteId)>,
}

impl Work<'_> {
    fn ip(
        &mut self,
        id: IpTunnelId,
        tunnel: &TunnelConfig,
        ipip: &IpipConfig,
        facts: &PortFacts<'_>,
    ) -> IpTunnel {
        let remote = ipip.remote.map(|remote| self.remote(facts, ipip, remote));
        if remote.is_none() {
            for router in far_ends(self.config, &tunnel.name, ipip) {
                let remote = self.remote(facts, ipip, router);
                self.by_next_hop.push((id, station_of(router), remote));
            }
        }
        IpTunnel {
            device: facts.id,
            remote,
            outer: ipip.outer,
            over_ipv6: ipip.over_ipv6,
            carries: ipip.carries,
            mac: MacAddr::of_name(&tunnel.name),
        }
    }

    fn remote(&mut self, facts: &PortFacts<'_>, ipip: &IpipConfig, remote: IpAddr) -> RemoteId {
        let source = || underlay::source(self.config, self.named, self.routing, remote);
        let local = ipip.local.or_else(source).unwrap_or(any(remote));
        let far_end = underlay::remote(self.routing, facts.id, (local, remote), &[]);
        let label = ipip.over_ipv6.and_then(|over| over.flow_label).unwrap_or_default();
        let reach = match far_end.reach {
            Reach::Ready(device) if self.routing.failing.contains(&remote) => Reach::Failing(device),
            reach => reach,
        };
        self.remotes.push(Remote { header: far_end.header.labelled(label), reach, ..far_end });
        RemoteId(u32::try_from(self.remotes.len() - 1).unwrap_or(u32::MAX))
    }
}
