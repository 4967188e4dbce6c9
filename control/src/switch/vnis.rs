//! The networks of VXLAN devices that have many as they are seen, and where they are counted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rigswitch_dataplane::counters::NetworkStats;
use rigswitch_dataplane::ids::Vni;

use super::Switch;
use crate::config::vni_of;
use crate::views::{VniTrafficView, VniView, VnisView};

impl Switch {
    /// Makes room for the networks that there are, and lets go of the rest: counts go on as long as a network is named.
    pub(super) fn follow_network_counts(&mut self) {
        let mut before = std::mem::take(&mut self.counts.networks);
        let workers = self.crew.members.len();
        for network in self.config.networks().filter(|network| vni_of(&network.name).is_some()) {
            let name = network.name.into_owned();
            let stats = before.remove(&name).unwrap_or_else(|| Arc::new(NetworkStats::new(workers)));
            self.counts.networks.insert(name, stats);
        }
    }

    /// The networks of every VXLAN device that has many, and what was counted in them (`bridge -s vni show`).
    pub fn vnis(&self) -> Vec<VnisView> {
        let mut devices: BTreeMap<&str, Vec<VniView>> = BTreeMap::new();
        let end = |end: Option<IpAddr>| end.map(|end| end.to_string());
        for network in self.config.networks() {
            let vxlan = &network.vxlan;
            if vxlan.external.is_some() {
                devices.entry(&network.tunnel.name).or_default();
            }
            let Some(vni) = vni_of(&network.name).filter(|_| network.takes) else { continue };
            devices.entry(&network.tunnel.name).or_default().push(VniView {
                vni: vni.number(),
                vni_end: None,
                group: end(vxlan.group),
                remote: end(vxlan.remote),
                stats: self.counts.networks.get(&*network.name).map(|stats| traffic(stats)),
            });
        }
        let view = |(ifname, vnis): (&str, Vec<VniView>)| VnisView { ifname: ifname.to_owned(), vnis };
        devices.into_iter().map(view).collect()
    }

    /// What was counted in each network that a device names, whether or not it takes packets of it.
    pub fn vni_traffic(&self) -> Vec<(&str, Vni, VniTrafficView)> {
        let all = self.counts.networks.iter();
        all.filter_map(|(name, stats)| Some((name.split_once('/')?.0, vni_of(name)?, traffic(stats))))
            .collect()
    }
}

/// What all workers have counted.
fn traffic(stats: &NetworkStats) -> VniTrafficView {
    let mut sum = VniTrafficView::default();
    for one in stats.all() {
        let (received, sent) = (one.received.volume(), one.sent.volume());
        sum.rx_bytes += received.bytes;
        sum.rx_pkts += received.packets;
        sum.rx_drops += one.rx_drops.value();
        sum.rx_errors += one.rx_errors.value();
        sum.tx_bytes += sent.bytes;
        sum.tx_pkts += sent.packets;
        sum.tx_drops += one.tx_drops.value();
        sum.tx_errors += one.tx_errors.value();
    }
    sum
}
