//! Tunnels: what they take after from the device beneath them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::{Descent, Df, Reach, RemoteId};
use rigswitch_dataplane::tunnels::{External, TunnelConfig, TunnelKind};

use super::Switch;
use super::error::SwitchError;
use super::port::{Likeness, Standing};
use crate::config::{flow_label_word, limit_word, tos_word};
use crate::mtus;
use crate::views::{FarEndView, TunnelView};

impl Switch {
    /// Has every tunnel take after the device beneath it.
    pub(super) fn follow_underlays(&mut self) {
        for tunnel in self.config.tunnels.clone() {
            let standing = self.standing(&tunnel);
            let Some(port) = self.ports.find(&tunnel.name).and_then(|id| self.ports.get_mut(id)) else {
                continue;
            };
            if tunnel.host.is_none() {
                port.stand(standing, &mut self.events);
                continue;
            }
            let mac = (!tunnel.kind.carries_packets()).then_some(standing.mac); // a TUN has none
            let said = (mac, tunnel.mtu.map(u32::from));
            let likeness = Likeness { said, follows: (mac, standing.mtu) };
            let followed = port.follow_below(likeness, &mut self.watch, &mut self.events);
            port.set_carrier(standing.is_running);
            if let Err(source) = followed {
                self.warn_of(&SwitchError::Port { name: tunnel.name, source: source.into() });
            }
        }
    }

    /// Every tunnel, and where it sends.
    pub fn tunnels(&self) -> Vec<TunnelView> {
        let end = |end: Option<IpAddr>| end.map_or_else(|| "any".to_owned(), |end| end.to_string());
        let view = |tunnel: &TunnelConfig| {
            let id = self.ports.find(&tunnel.name);
            let plain = TunnelView {
                ifname: tunnel.name.clone(),
                kind: tunnel.kind.name().to_owned(),
                mode: String::new(),
                local: String::new(),
                remote: String::new(),
                ttl: String::new(),
                tos: String::new(),
                pmtudisc: false,
                flowlabel: None,
                encaplimit: None,
                mtu: id.and_then(|id| self.ports.get(id)).map_or(0, |port| port.mtu),
                far_ends: id.map(|id| self.far_ends(id)).unwrap_or_default(),
            };
            match &tunnel.kind {
                TunnelKind::Ipip(ipip) => TunnelView {
                    mode: ipip.mode_name().to_owned(),
                    local: end(ipip.local),
                    remote: end(ipip.remote),
                    ttl: if ipip.outer.ttl == 0 { "inherit".into() } else { ipip.outer.ttl.to_string() },
                    tos: tos_word(ipip.outer.tos),
                    pmtudisc: ipip.outer.pmtudisc,
                    flowlabel: ipip.over_ipv6.map(|over| flow_label_word(over.flow_label)),
                    encaplimit: ipip.over_ipv6.map(|over| limit_word(over.limit)),
                    ..plain
                },
                TunnelKind::Vxlan(vxlan) => TunnelView {
                    mode: match &vxlan.external {
                        None => format!("network {} at port {}", vxlan.id, vxlan.dstport),
                        Some(External { vnis: None }) => format!("external at port {}", vxlan.dstport),
                        Some(_) => format!("external, vnifilter, at port {}", vxlan.dstport),
                    },
                    local: end(vxlan.local),
                    remote: end(vxlan.remote.or(vxlan.group)),
                    ttl: match vxlan.ttl {
                        None => "inherit".into(),
                        Some(0) => "auto".into(),
                        Some(ttl) => ttl.to_string(),
                    },
                    tos: tos_word(vxlan.tos),
                    pmtudisc: vxlan.df == Df::Set,
                    ..plain
                },
            }
        };
        self.config.tunnels.iter().map(view).collect()
    }

    /// The far ends that workers send to by a tunnel.
    fn far_ends(&self, tunnel: DeviceId) -> Vec<FarEndView> {
        let tables = self.publisher.current();
        let (of, tunnels) = (tables.device(tunnel), tables.tunnels());
        let ends: Vec<_> = match of.role.way().unwrap_or(of.descent) {
            Descent::Ipip(way) => {
                let by_next_hop = tunnels.by_next_hop.iter().filter(|row| row.0 == way.tunnel);
                tunnels.ip(way.tunnel).remote.into_iter().chain(by_next_hop.map(|row| row.2)).collect()
            }
            Descent::Vxlan(_) => {
                let of_it = tunnels.vxlans.iter().filter(|vxlan| vxlan.device == tunnel);
                of_it.flat_map(|vxlan| vxlan.peers.all()).collect::<BTreeSet<_>>().into_iter().collect()
            }
            _ => Vec::new(),
        };
        let view = |id: RemoteId| {
            let remote = tunnels.remote(id);
            let (dev, state) = match remote.reach {
                Reach::Ready(device) => (Some(device), "reachable"),
                Reach::Failing(device) => (Some(device), "failing"),
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
        ends.into_iter().map(view).collect()
    }

    /// It is up whatever is beneath it, as the kernel's is.
    fn standing(&self, tunnel: &TunnelConfig) -> Standing {
        let mtu_of =
            |name: &str| self.ports.find(name).and_then(|id| self.ports.get(id)).map(|port| port.mtu);
        let mac = match &tunnel.kind {
            TunnelKind::Ipip(_) => MacAddr::of_name(&tunnel.name),
            TunnelKind::Vxlan(vxlan) => vxlan.own_address(&tunnel.name),
        };
        Standing { is_running: true, mac, mtu: mtus::of_tunnel(&self.config, tunnel, mtu_of) }
    }
}
