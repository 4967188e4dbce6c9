//! The part of a bridge that filters by VLAN: what each port is in, and the learning domain of each VLAN.

use std::collections::BTreeMap;
use std::sync::Arc;

use rigswitch_dataplane::bridge::{BridgeConfig, BridgePortConfig, MacVlanConfig, Membership};
use rigswitch_dataplane::counters::VlanStats;
use rigswitch_dataplane::ids::{DeviceId, DomainId, VlanId};
use rigswitch_dataplane::tables::{
    Domain, HostPort, MacVlans, Mdb, OfVlan, Special, Translation, VlanPort, Vlans,
};

use crate::domains::Domains;

/// Where frames are counted by VLAN: by bridge, and by port where that is asked for; the bridge itself is the port of its name.
pub type VlanCounts = BTreeMap<(String, Option<String>), Arc<VlanStats>>;

/// What a bridge compiles to.
pub(super) struct Compiled {
    /// Of the bridge's own domain.
    pub(super) vlans: Vlans,
    /// What the host's port is in.
    pub(super) own: VlanPort,
}

/// The VLANs of a bridge that filters.
pub(super) fn bridge(
    bridge: &BridgeConfig,
    domain: DomainId,
    numbers: &Domains,
    counts: &VlanCounts,
) -> Compiled {
    let protocol = bridge.vlans.protocol.ether_type();
    let mut vlans = Vlans::new(domain, protocol, numbers.vlans(&bridge.name));
    let rule = |rule: &MacVlanConfig| (rule.mac, rule.mask, rule.vlan);
    vlans.macs = MacVlans::new(bridge.vlans.macs.iter().map(rule));
    let stats = counts.get(&(bridge.name.clone(), None)).cloned();
    let own = member(&bridge.vlans.of_bridge(), Special { stats, ..Special::default() });
    Compiled { vlans, own }
}

/// What a port of it is in.
pub(super) fn port(bridge: &BridgeConfig, port: &BridgePortConfig, counts: &VlanCounts) -> VlanPort {
    let membership = bridge.vlans.of_port(&port.vlans);
    let of_port = || counts.get(&(bridge.name.clone(), Some(port.device.clone())));
    let translate = &port.vlans.translate;
    let special = Special {
        tunnel: membership.tunnel,
        // A rule holds where the port is in its VLAN; where none does, none is looked for.
        asks_macs: bridge.vlans.macs.iter().any(|rule| membership.members.contains_key(&rule.vlan)),
        translation: (!translate.is_empty())
            .then(|| Arc::new(Translation::new(translate.iter().map(|(from, to)| (*from, *to))))),
        stats: of_port().or_else(|| counts.get(&(bridge.name.clone(), None))).cloned(),
    };
    member(&membership, special)
}

fn member(membership: &Membership, special: Special) -> VlanPort {
    let mut port = VlanPort::new();
    membership.members.iter().for_each(|(vid, untagged)| port.join(*vid, *untagged));
    port.set_pvid(membership.pvid);
    port.special = special;
    port
}

/// The domain of every VLAN of a bridge: `whole`, which floods to all, less what is not in it.
pub(super) fn domains<'p>(
    bridge: DomainId,
    name: &str,
    numbers: &Domains,
    whole: &Domain,
    mdbs: &BTreeMap<DomainId, Arc<Mdb>>,
    port: impl Fn(DeviceId) -> Option<&'p VlanPort>,
) -> Vec<(DomainId, Domain)> {
    let of = |(vid, domain): (VlanId, DomainId)| {
        let is_in = |device: DeviceId| port(device).is_some_and(|port| port.is_in(vid.number()));
        let list = |of: &[DeviceId]| of.iter().copied().filter(|&device| is_in(device)).collect();
        let compiled = Domain {
            unicast: list(&whole.unicast),
            multicast: list(&whole.multicast),
            broadcast: list(&whole.broadcast),
            from_host: list(&whole.from_host),
            host: whole.host.filter(|host: &HostPort| is_in(host.device)),
            mdb: mdbs.get(&domain).cloned(),
            tells_moves: whole.tells_moves,
            of: Some(OfVlan { bridge, vid }),
            ..Domain::default()
        };
        (domain, compiled)
    };
    numbers.vlans(name).map(of).collect()
}
