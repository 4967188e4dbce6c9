//! The VLANs of bridges and ports as they are seen, and where they are counted.

use std::sync::Arc;

use rigswitch_dataplane::bridge::{BridgeConfig, BridgePortConfig, Membership};
use rigswitch_dataplane::counters::VlanStats;
use rigswitch_dataplane::ids::VlanId;

use super::Switch;
use crate::config::tunnel_rows;
use crate::views::{PortTunnelsView, PortVlansView, VlanTrafficView, VlanTunnelView, VlanView};

impl Switch {
    /// Makes room for what is to be counted, and lets go of the rest: counts go on as long as they are asked for.
    pub(super) fn follow_vlan_counts(&mut self) {
        let mut before = std::mem::take(&mut self.counts.vlans);
        let counting =
            self.config.bridges.iter().filter(|bridge| bridge.vlans.filtering && bridge.vlans.stats);
        for bridge in counting {
            let ports = bridge.ports.iter().filter(|_| bridge.vlans.stats_per_port);
            for port in [None].into_iter().chain(ports.map(|port| Some(port.device.clone()))) {
                let key = (bridge.name.clone(), port);
                let workers = self.crew.members.len();
                let stats = before.remove(&key).unwrap_or_else(|| Arc::new(VlanStats::new(workers)));
                self.counts.vlans.insert(key, stats);
            }
        }
    }

    /// What every port of every bridge is in, and every bridge itself (`bridge vlan show`).
    pub fn vlans(&self) -> Vec<PortVlansView> {
        let of_bridge = |bridge: &BridgeConfig| -> Vec<_> {
            let port = |ifname: &str, membership: &Membership, counts: Option<&VlanStats>| PortVlansView {
                ifname: ifname.to_owned(),
                vlans: membership.members.iter().map(|of| view(membership, of, counts)).collect(),
            };
            let counts = |port| self.counts.vlans.get(&(bridge.name.clone(), port)).map(AsRef::as_ref);
            let own = port(&bridge.name, &bridge.vlans.of_bridge(), counts(None));
            let ports = bridge.ports.iter().map(|member| {
                let counts = counts(Some(member.device.clone())).or(counts(None));
                port(&member.device, &bridge.vlans.of_port(&member.vlans), counts)
            });
            ports.chain([own]).collect()
        };
        self.config.bridges.iter().flat_map(of_bridge).collect()
    }

    /// Which networks VLANs are, on every port that has any (`bridge vlan tunnelshow`).
    pub fn vlan_tunnels(&self) -> Vec<PortTunnelsView> {
        let ports = self.config.bridges.iter().flat_map(|bridge| &bridge.ports);
        let some = ports.filter(|port| !port.vlans.tunnel_info.is_empty());
        let view = |port: &BridgePortConfig| PortTunnelsView {
            ifname: port.device.clone(),
            tunnels: tunnel_rows(&port.vlans.tunnel_info)
                .into_iter()
                .map(|[vlan, tunid, more]| VlanTunnelView {
                    vlan,
                    vlan_end: (more > 0).then_some(vlan + more),
                    tunid,
                    tunid_end: (more > 0).then_some(tunid + more),
                })
                .collect(),
        };
        some.map(view).collect()
    }

    /// What was counted in each VLAN, by bridge, by port where that is asked for, and by VLAN; those in which nothing was are
    /// left out.
    pub fn vlan_traffic(&self) -> Vec<(&str, Option<&str>, u16, VlanTrafficView)> {
        let mut counted = Vec::new();
        for ((bridge, port), stats) in &self.counts.vlans {
            let of_vlan = VlanId::all().map(|vid| (vid.number(), traffic(stats, vid)));
            let some = of_vlan.filter(|(_, traffic)| *traffic != VlanTrafficView::default());
            counted.extend(some.map(|(vid, traffic)| (&**bridge, port.as_deref(), vid, traffic)));
        }
        counted
    }
}

fn view(membership: &Membership, (vid, untagged): (&VlanId, &bool), counts: Option<&VlanStats>) -> VlanView {
    let flags = [(membership.pvid == Some(*vid), "PVID"), (*untagged, "Egress Untagged")];
    VlanView {
        vlan: vid.number(),
        vlan_end: None,
        flags: flags.iter().filter(|(is, _)| *is).map(|(_, word)| (*word).to_owned()).collect(),
        traffic: counts.map(|counts| traffic(counts, *vid)),
    }
}

/// What all workers have counted in a VLAN.
fn traffic(counts: &VlanStats, vid: VlanId) -> VlanTrafficView {
    let mut sum = VlanTrafficView::default();
    for one in counts.all(vid) {
        let (received, sent) = (one.received.volume(), one.sent.volume());
        sum.rx_bytes += received.bytes;
        sum.rx_packets += received.packets;
        sum.tx_bytes += sent.bytes;
        sum.tx_packets += sent.packets;
    }
    sum
}
