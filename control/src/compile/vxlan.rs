//! VXLAN devices, compiled: the far ends behind every number, with their outer headers, and the ports that packets come to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rigswitch_dataplane::counters::NetworkStats;
use rigswitch_dataplane::ids::{DeviceId, MacAddr, VlanId, Vni};
use rigswitch_dataplane::tables::{
    self, Descent, Device, Listener, Networks, Peer, Peers, Reach, Remote, RemoteId, Routing, Services,
    Vxlan, VxlanDescent, VxlanId,
};
use rigswitch_dataplane::tunnels::VxlanConfig;
use rigswitch_dataplane::wire::ethernet::EtherType;
use rigswitch_dataplane::wire::flow::SourcePorts;
use rigswitch_dataplane::wire::{udp, vxlan};

use super::{Named, PortFacts, give_way, underlay};
use crate::config::{Config, Network, vni_of};
use crate::domains::Domains;
use crate::far_ends::{FarEnd, FarEnds, Numbers, groups};

/// Where frames are counted of networks whose devices have many, by the name of the network.
pub type NetworkCounts = BTreeMap<String, Arc<NetworkStats>>;

/// What VXLAN devices are compiled of.
pub(super) struct Work<'c> {
    pub(super) config: &'c Config,
    pub(super) named: &'c Named<'c>,
    pub(super) routing: &'c Routing,
    pub(super) domains: &'c Domains,
    pub(super) far_ends: &'c FarEnds,
    pub(super) counts: &'c NetworkCounts,
}

/// Every VXLAN device and every port that packets come to; far ends join `remotes`. Their devices then tell how what they send leaves.
pub(super) fn vxlans(
    work: &Work<'_>,
    remotes: &mut Vec<Remote>,
    devices: &mut [Device],
) -> (Box<[Vxlan]>, Box<[Listener]>) {
    let (mut vxlans, mut listeners) = (Vec::new(), BTreeMap::<_, Ports>::new());
    // The device itself comes before its networks.
    let mut external = None;
    for network in work.config.networks() {
        let (tunnel, config) = (network.tunnel, &*network.vxlan);
        let Some(facts) = work.named.get(&*tunnel.name) else { continue };
        let Some(vxlan) = work.vxlan(&network, facts, remotes) else { continue };
        let Ok(number) = u16::try_from(vxlans.len()) else { break };
        let (vxlan_id, longest) = (VxlanId(number), Device::longest_for_mtu(facts.mtu));
        vxlans.push(vxlan);
        let ports = listeners.entry((config.dstport, config.is_ipv6())).or_default();
        ports.takes_unsummed |= !config.is_ipv6() || config.udp6zerocsumrx;
        if network.takes {
            match config.external {
                None => drop(ports.networks.insert(config.id, vxlan_id)),
                Some(_) => ports.others = Some(vxlan_id),
            }
        }
        if let Some((tpid, vlan)) = network.tag {
            add_network(&mut vxlans, external, tpid, (vlan, vxlan_id));
        }
        if *network.name == tunnel.name {
            external = config.external.is_some().then_some(vxlan_id);
            let way = Descent::Vxlan(VxlanDescent { vxlan: vxlan_id, longest });
            give_way(&mut devices[facts.id.index()], tunnel.host.is_some(), way);
        }
    }
    let listener = |((port, is_ipv6), of): ((u16, bool), Ports)| Listener {
        port,
        is_ipv6,
        takes_unsummed: of.takes_unsummed,
        networks: of.networks.into_iter().collect(),
        others: of.others,
    };
    (vxlans.into(), listeners.into_iter().map(listener).collect())
}

/// Has a device that is `external` know a network of its by a VLAN; they come in the order of those.
fn add_network(vxlans: &mut [Vxlan], external: Option<VxlanId>, tpid: EtherType, by: (VlanId, VxlanId)) {
    let Some(of) = external.and_then(|id| vxlans.get_mut(usize::from(id.0))) else { return };
    let Some(networks) = of.services.as_mut().and_then(|services| services.networks.as_mut()) else { return };
    let mut by_vlan = std::mem::take(&mut networks.by_vlan).into_vec();
    by_vlan.push(by);
    by_vlan.sort_unstable();
    *networks = Networks { tpid, by_vlan: by_vlan.into() };
}

/// What is known of a port so far.
#[derive(Default)]
struct Ports {
    others: Option<VxlanId>,
    takes_unsummed: bool,
    networks: BTreeMap<Vni, VxlanId>,
}

impl Work<'_> {
    fn vxlan(
        &self,
        network: &Network<'_>,
        facts: &PortFacts<'_>,
        remotes: &mut Vec<Remote>,
    ) -> Option<Vxlan> {
        let (name, config) = (&*network.name, &*network.vxlan);
        let domain = self.domains.of(name)?;
        let fixed = u32::try_from(groups(config).len()).unwrap_or(u32::MAX);
        let (first, last) = config.srcport;
        Some(Vxlan {
            device: facts.id,
            domain,
            mac: facts.mac,
            ttl: config.ttl,
            tos: config.tos,
            df: config.df,
            has_checksum: config.has_checksum(),
            source_ports: SourcePorts::new(first, last),
            hasher: self.routing.hasher,
            learns: config.learning
                && config.external.is_none()
                && (config.maxaddress == 0 || config.maxaddress > fixed),
            reserved: config.reserved_bits,
            services: services(self.config, name, config),
            network: self.of_many(network),
            peers: self.peers(config, facts.id, self.far_ends.of(name)?, remotes),
        })
    }

    /// What sets a network apart whose device has others.
    fn of_many(&self, network: &Network<'_>) -> Option<Box<tables::Network>> {
        let vni = vni_of(&network.name)?;
        let stats = self.counts.get(&*network.name)?;
        Some(Box::new(tables::Network { vni, tag: network.tag, stats: Arc::clone(stats) }))
    }

    /// What is behind each number.
    fn peers(
        &self,
        config: &VxlanConfig,
        device: DeviceId,
        numbers: &Numbers,
        remotes: &mut Vec<Remote>,
    ) -> Peers {
        let mut known: BTreeMap<FarEnd, RemoteId> = BTreeMap::new();
        let mut place = |end: &FarEnd| {
            let id = *known.entry(end.clone()).or_insert_with(|| {
                remotes.push(self.remote(config, device, end));
                RemoteId(u32::try_from(remotes.len() - 1).unwrap_or(u32::MAX))
            });
            (end.dst, id)
        };
        let places: Vec<Vec<_>> = numbers
            .places()
            .iter()
            .map(|group| group.iter().flat_map(|of| of.iter()).map(&mut place).collect())
            .collect();
        let learned = (1..).zip(numbers.places()).filter_map(|(number, group)| match group.as_deref()? {
            [FarEnd { dst, port: None, vni: None, via: None }] => Some((*dst, Peer(number))),
            _ => None,
        });
        let default = groups(config).get(&MacAddr::ZERO).and_then(|group| numbers.number(group));
        Peers::new(places.iter().map(Vec::as_slice), default, learned)
    }

    fn remote(&self, config: &VxlanConfig, device: DeviceId, end: &FarEnd) -> Remote {
        let any: IpAddr =
            if end.dst.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let dev = end.via.as_deref().or(config.dev.as_deref());
        let source = || match end.dst.is_multicast() {
            true => underlay::address_on(self.config, dev?, end.dst),
            false => underlay::source(self.config, self.named, self.routing, end.dst),
        };
        let local = config.local.or_else(source).unwrap_or(any);
        let mut tail = [0; udp::HEADER_LEN + vxlan::HEADER_LEN];
        tail[2..4].copy_from_slice(&end.port.unwrap_or(config.dstport).to_be_bytes());
        tail[udp::HEADER_LEN..].copy_from_slice(&vxlan::header(end.vni.unwrap_or(config.id)));
        if end.dst.is_multicast() {
            let dev = dev.and_then(|name| self.named.get(name)).map(|port| port.id);
            return underlay::group(self.routing, dev, (local, end.dst), &tail);
        }
        let remote = underlay::remote(self.routing, device, (local, end.dst), &tail);
        let dev = dev.map(|name| self.named.get(name).map(|port| port.id));
        match (remote.reach, dev) {
            (Reach::Ready(by) | Reach::Unresolved(by), Some(dev)) if dev != Some(by) => {
                Remote { reach: Reach::NoRoute, ..remote }
            }
            _ => remote,
        }
    }
}

/// What a device does besides, if anything.
fn services(config: &Config, name: &str, vxlan: &VxlanConfig) -> Option<Box<Services>> {
    let VxlanConfig { proxy, rsc, l2miss, l3miss, .. } = *vxlan;
    let mut routers: Vec<_> = vxlan.fdb.iter().filter(|entry| entry.router).map(|entry| entry.mac).collect();
    routers.sort_unstable();
    let neighbors = super::neighbors(config, name, None);
    let networks =
        vxlan.external.as_ref().map(|_| Networks { tpid: EtherType::CTAG, by_vlan: Box::default() });
    let is_served = proxy || rsc || l2miss || l3miss || networks.is_some();
    let services = Services { proxy, rsc, l2miss, l3miss, networks, neighbors, routers: routers.into() };
    is_served.then(|| services.into())
}

/// The groups that devices are in, by the devices beneath.
pub(super) fn groups_beneath(config: &Config, named: &Named<'_>) -> Box<[(DeviceId, IpAddr)]> {
    let known = config.groups().into_iter().filter_map(|(dev, group)| Some((named.get(dev)?.id, group)));
    known.collect::<BTreeSet<_>>().into_iter().collect()
}
