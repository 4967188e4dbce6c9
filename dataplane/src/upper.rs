//! Devices that stand on others: what an operator may say of them all, validated. What sets each kind apart is its
//! protocol's to say.

use crate::bridge::HostConfig;
use crate::ids::MacAddr;
use crate::ipvlan::IpvlanConfig;
use crate::macvlan::MacvlanConfig;
use crate::ports::{HostLink, HostPortConfig, PortConfig, PortKind};
use crate::vlan::VlanConfig;

/// One device that stands on another: a `[[vlan]]`, `[[ipvlan]]` or `[[macvlan]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpperConfig {
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// The device it stands on, by name.
    pub link: String,
    /// What it is.
    pub kind: UpperKind,
    /// The address that it is given, if any.
    pub address: Option<MacAddr>,
    /// Bytes of payload that it carries, as far as the device it stands on does; `None` for all of those.
    pub mtu: Option<u16>,
    /// Whether and how it is handed to the host.
    pub host: Option<HostConfig>,
}

/// What a device that stands on another is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpperKind {
    /// One VLAN of it.
    Vlan(VlanConfig),
    /// One that shares its address, and has what is for some IP addresses.
    Ipvlan(IpvlanConfig),
    /// One of those that share it.
    Macvlan(MacvlanConfig),
}

impl UpperKind {
    /// The word for its mode, if it has one.
    pub fn mode(&self) -> Option<&'static str> {
        match self {
            Self::Macvlan(macvlan) => Some(macvlan.mode.name()),
            Self::Ipvlan(ipvlan) => Some(ipvlan.mode_name()),
            Self::Vlan(_) => None,
        }
    }

    /// The word for it in configuration and output.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vlan(_) => "vlan",
            Self::Ipvlan(_) => "ipvlan",
            Self::Macvlan(_) => "macvlan",
        }
    }
}

impl UpperConfig {
    /// How many devices may stand on each other, the lowest not counted.
    pub const HIGHEST: usize = 6;

    /// Its own address; `None` for that of the device it stands on.
    pub fn own_address(&self) -> Option<MacAddr> {
        match &self.kind {
            UpperKind::Macvlan(macvlan) => self.address.or_else(|| macvlan.own_address(&self.name)),
            UpperKind::Vlan(_) | UpperKind::Ipvlan(_) => self.address,
        }
    }

    /// It as a port: one without queues, or the host's TAP of its name.
    pub fn port(&self) -> PortConfig {
        let name = self.name.clone();
        let (kind, netns) = match &self.host {
            None => (PortKind::Upper(self.kind.name()), None),
            Some(HostConfig { addresses, netns }) => {
                let link = match self.kind {
                    UpperKind::Ipvlan(ipvlan) if ipvlan.mode.is_routed() => HostLink::WithoutArp,
                    _ => HostLink::Ethernet,
                };
                let host = HostPortConfig { device: name.clone(), addresses: addresses.clone(), link };
                (PortKind::Host(host), netns.clone())
            }
        };
        PortConfig { name, kind, netns, worker: None, mtu: None, address: None }
    }
}
