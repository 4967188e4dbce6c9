//! What an operator may say about every kind of tunnel, validated.

use super::{IpipConfig, VxlanConfig};
use crate::bridge::HostConfig;
use crate::ports::{HostLink, HostPortConfig, PortConfig, PortKind};

/// One tunnel: an `[[ipip]]` or a `[[vxlan]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunnelConfig {
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// What it is.
    pub kind: TunnelKind,
    /// Bytes of payload that it carries; `None` for what the way to its far end carries, less the outer header.
    pub mtu: Option<u16>,
    /// Whether and how it is handed to the host.
    pub host: Option<HostConfig>,
}

/// What a tunnel is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TunnelKind {
    /// Of IP packets in IP packets.
    Ipip(IpipConfig),
    /// Of Ethernet frames in UDP packets.
    Vxlan(VxlanConfig),
}

impl TunnelKind {
    /// The word for it in configuration and output.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ipip(_) => "ipip",
            Self::Vxlan(_) => "vxlan",
        }
    }

    /// Whether it carries packets, which have no link-layer addresses, and not frames.
    pub fn carries_packets(&self) -> bool {
        matches!(self, Self::Ipip(_))
    }

    /// Bytes that it adds to what it carries.
    pub fn overhead(&self) -> u32 {
        match self {
            Self::Ipip(ipip) => ipip.overhead(),
            Self::Vxlan(vxlan) => vxlan.overhead(),
        }
    }
}

impl TunnelConfig {
    /// It as a port: one without queues, or the host's TAP or TUN of its name.
    pub fn port(&self) -> PortConfig {
        let name = self.name.clone();
        let (kind, netns) = match &self.host {
            None => (PortKind::Upper(self.kind.name()), None),
            Some(HostConfig { addresses, netns }) => {
                let is_bare = self.kind.carries_packets();
                let link = if is_bare { HostLink::Packets } else { HostLink::Ethernet };
                let host = HostPortConfig { device: name.clone(), addresses: addresses.clone(), link };
                (PortKind::Host(host), netns.clone())
            }
        };
        PortConfig { name, kind, netns, worker: None, mtu: None, address: None }
    }
}
