//! Tunnels: what they take after from the device beneath them.

use std::net::IpAddr;

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::tunnels::{TunnelConfig, TunnelKind};

use super::Switch;
use super::port::Standing;
use crate::compile::underlay_of;

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
