//! Tunnels: what they take after from the device beneath them.

use std::net::{IpAddr, Ipv4Addr};

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::{Descent, Reach, RemoteId};
use rigswitch_dataplane::tunnels::{TunnelConfig, TunnelKind};

use super::Switch;
use super::port::Standing;
use crate::compile::underlay_of;
use crate::config::tos_word;
use crate::views::{FarEndView, TunnelView};

/// Bytes of packet that a device carries of which nothing is known (`ETH_DATA_LEN`).
const UNKNOWN_MTU: u32 = 1500;

impl Switch {
    /// Has every tunnel take after the device beneath it.
    pub(super) fn follow_underlays(&mut self) {
        for tunnel in self.config.tunnels.clone() {
            let standing = self.standing(&tunnel);
            if let Some(port) = self.ports.find(&tunnel.name).and_then(|id| self.ports.get_mut(id)) {
                port.stand(standing, &mut self.events);
            }
        }
    }

    /// Every tunnel, and where it sends.
    pub fn tunnels(&self) -> Vec<TunnelView> {
        let end = |end: Option<Ipv4Addr>| end.map_or_else(|| "any".to_owned(), |end| end.to_string());
        let view = |tunnel: &TunnelConfig| {
            let TunnelKind::Ipip(ipip) = &tunnel.kind;
            let id = self.ports.find(&tunnel.name);
            TunnelView {
                ifname: tunnel.name.clone(),
                kind: tunnel.kind.name().to_owned(),
                mode: ipip.mode_name().to_owned(),
                local: end(ipip.local),
                remote: end(ipip.remote),
                ttl: if ipip.outer.ttl == 0 { "inherit".into() } else { ipip.outer.ttl.to_string() },
                tos: tos_word(ipip.outer.tos),
                pmtudisc: ipip.outer.pmtudisc,
                mtu: id.and_then(|id| self.ports.get(id)).map_or(0, |port| port.mtu),
                far_ends: id.map(|id| self.far_ends(id)).unwrap_or_default(),
            }
        };
        self.config.tunnels.iter().map(view).collect()
    }

    /// The far ends that workers send to by a tunnel.
    fn far_ends(&self, tunnel: DeviceId) -> Vec<FarEndView> {
        let tables = self.publisher.current();
        let Descent::Ipip(way) = tables.device(tunnel).descent else { return Vec::new() };
        let tunnels = tables.tunnels();
        let by_next_hop = tunnels.by_next_hop.iter().filter(|row| row.0 == way.tunnel).map(|row| row.2);
        let ends = tunnels.ip(way.tunnel).remote.into_iter().chain(by_next_hop);
        let view = |id: RemoteId| {
            let remote = tunnels.remote(id);
            let (dev, state) = match remote.reach {
                Reach::Ready(device) => (Some(device), "reachable"),
                Reach::Unresolved(device) => (Some(device), "unresolved"),
                Reach::NoRoute => (None, "noroute"),
                Reach::Loop => (None, "loop"),
            };
            FarEndView {
                dst: remote.header.remote().to_string(),
                src: remote.header.local().to_string(),
                dev: dev.map(|device| self.name(device).to_owned()),
                state: state.to_owned(),
                mtu: dev.map(|_| remote.mtu),
            }
        };
        ends.map(view).collect()
    }

    /// It is up whatever is beneath it, as the kernel's is; its MTU is that of the device beneath less the outer header (`ip_tunnel_bind_dev`,
    /// net/ipv4/ip_tunnel.c).
    fn standing(&self, tunnel: &TunnelConfig) -> Standing {
        let TunnelKind::Ipip(ipip) = &tunnel.kind;
        let beneath = underlay_of(&self.config, ipip.local.map(IpAddr::V4), ipip.remote.map(IpAddr::V4));
        let mtu = beneath.and_then(|name| self.ports.find(name)).and_then(|id| self.ports.get(id));
        let carried = mtu.map_or(UNKNOWN_MTU, |port| port.mtu).saturating_sub(tunnel.kind.overhead());
        Standing {
            is_running: true,
            mac: MacAddr::of_name(&tunnel.name),
            mtu: tunnel.mtu.map_or(carried, u32::from),
        }
    }
}
