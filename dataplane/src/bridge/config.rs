//! What an operator may say about a bridge and about a cross-connect, validated: the only model of it there is.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::{
    MacMoves, MdbEntryConfig, Membership, MulticastConfig, MulticastPort, PortVlans, SpanningTreeConfig,
    SpanningTreePort, VlanConfig,
};
use crate::ids::{MacAddr, VlanId};
use crate::ports::{HostAddress, HostLink, HostPortConfig, PortConfig, PortKind};
use crate::tables::PortState;

/// One `[[bridge]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgeConfig {
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// How long a learned address is kept after it was last seen as a source. Zero learns none.
    pub ageing_time: Duration,
    /// Its own address: the host's there, and what its spanning tree is known by; `None` for the lowest of its ports.
    pub address: Option<MacAddr>,
    /// The MTU of its host's port, in bytes of payload; `None` for the smallest of its ports.
    pub mtu: Option<u16>,
    /// Whether and how the host that it runs on takes part in it.
    pub host: Option<HostConfig>,
    /// Reserved addresses that pass whatever port they come from: bit X stands for 01:80:C2:00:00:0X. None of
    /// [`BridgeConfig::GROUP_FWD_RESTRICTED`].
    pub group_fwd_mask: u16,
    /// How many addresses it may have learned at one time; zero for as many as there is room for.
    pub fdb_max_learned: u32,
    /// Whether nobody is learned from frames that end in the bridge for their reserved address.
    pub no_linklocal_learn: bool,
    /// What it does about stations that move too often.
    pub mac_moves: MacMoves,
    /// Its part in a spanning tree.
    pub spanning_tree: SpanningTreeConfig,
    /// How it snoops multicast groups.
    pub multicast: MulticastConfig,
    /// Whether and how it tells VLANs apart.
    pub vlans: VlanConfig,
    /// Member devices, by name.
    pub ports: Vec<BridgePortConfig>,
    /// Entries the operator put there.
    pub fdb: Vec<FdbEntryConfig>,
    /// Memberships of groups that the operator put there.
    pub mdb: Vec<MdbEntryConfig>,
}

impl BridgeConfig {
    /// The kernel's `BR_DEFAULT_AGEING_TIME`.
    pub const DEFAULT_AGEING_TIME: Duration = Duration::from_secs(300);
    /// The word for its own device in output.
    pub const KIND: &str = "bridge";
    /// The kernel's `BR_GROUPFWD_RESTRICTED`: spanning tree, PAUSE and LACP pass no bridge by its own mask.
    pub const GROUP_FWD_RESTRICTED: u16 = 0b111;

    /// What a member, or the bridge itself, is in while it filters; `None` for a device that is neither.
    pub fn vlans_of(&self, device: &str) -> Option<Membership> {
        if device == self.name {
            return Some(self.vlans.of_bridge());
        }
        let port = self.ports.iter().find(|port| port.device == device)?;
        Some(self.vlans.of_port(&port.vlans).into_owned())
    }

    /// The VLANs that anybody is in, each a learning domain of its own; none in a bridge that does not filter.
    pub fn vlans_in_use(&self) -> BTreeSet<VlanId> {
        if !self.vlans.filtering {
            return BTreeSet::new();
        }
        let mut vlans: BTreeSet<VlanId> = self.vlans.of_bridge().members.into_keys().collect();
        for port in &self.ports {
            vlans.extend(self.vlans.of_port(&port.vlans).members.keys());
        }
        vlans
    }

    /// The bridge itself as ports of its name: the host's, or its own device, which it is where `is_device` says so, and then
    /// the inside of that.
    pub fn own_ports(&self, is_device: bool) -> impl Iterator<Item = PortConfig> {
        let (device, netns) = match &self.host {
            Some(HostConfig { addresses, netns }) => {
                let host = HostPortConfig {
                    device: self.name.clone(),
                    addresses: addresses.clone(),
                    link: HostLink::Ethernet,
                };
                (Some(PortKind::Host(host)), netns.clone())
            }
            None => (is_device.then_some(PortKind::Upper(Self::KIND)), None),
        };
        let port = |kind, netns| {
            let name = self.name.clone();
            PortConfig { name, kind, netns, worker: None, mtu: None, address: None }
        };
        let inside = is_device.then(|| port(PortKind::Inside, None));
        device.map(|kind| port(kind, netns)).into_iter().chain(inside)
    }
}

/// `host = true` or `host = { … }`: a TAP of the bridge's name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostConfig {
    /// The addresses that the TAP is given.
    pub addresses: Vec<HostAddress>,
    /// The name of the network namespace that it is made in; `None` for the switch's own.
    pub netns: Option<String>,
}

/// One `[[bridge.port]]`, with the kernel's names and defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgePortConfig {
    /// The member, by name.
    pub device: String,
    /// What it may do, as long as it has carrier.
    pub state: PortState,
    /// Whether it learns who is behind it.
    pub learning: bool,
    /// Whether frames to unknown stations go there.
    pub flood: bool,
    /// Whether frames to groups go there.
    pub mcast_flood: bool,
    /// Whether broadcasts go there.
    pub bcast_flood: bool,
    /// Whether a frame may go back where it came from.
    pub hairpin: bool,
    /// Whether it is kept from the other isolated ones.
    pub isolated: bool,
    /// Whether only those may send through it of whom an entry says that they are behind it.
    pub locked: bool,
    /// Whether others that send through it get locked entries (MAC authentication bypass). Only of one that is locked and
    /// learns.
    pub mab: bool,
    /// Whether it is spared questions (ARP, neighbour discovery) about neighbours that the bridge knows to be behind such a
    /// port, and answers itself.
    pub neigh_suppress: bool,
    /// Reserved addresses that pass from here, as the bridge's mask. All but [`BridgePortConfig::GROUP_FWD_RESTRICTED`].
    pub group_fwd_mask: u16,
    /// Its part in the bridge's spanning tree.
    pub spanning_tree: SpanningTreePort,
    /// What snooping does with it.
    pub multicast: MulticastPort,
    /// Whether every reserved address passes from here, PAUSE too, which the kernel cannot do.
    pub transparent: bool,
    /// Its VLANs, which matter while the bridge filters.
    pub vlans: PortVlans,
}

impl BridgePortConfig {
    /// The kernel's `BR_GROUPFWD_MACPAUSE`: the one reserved address that no mask lets pass.
    pub const GROUP_FWD_RESTRICTED: u16 = 0b10;

    /// A plain member.
    pub fn new(device: impl Into<String>) -> Self {
        Self {
            device: device.into(),
            state: PortState::Forwarding,
            learning: true,
            flood: true,
            mcast_flood: true,
            bcast_flood: true,
            hairpin: false,
            isolated: false,
            locked: false,
            mab: false,
            neigh_suppress: false,
            group_fwd_mask: 0,
            transparent: false,
            spanning_tree: SpanningTreePort::default(),
            multicast: MulticastPort::default(),
            vlans: PortVlans::default(),
        }
    }
}

/// How an entry came to be and how long it lasts: bridge(8)'s words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FdbState {
    /// Put there, and never aged; a station seen elsewhere takes it along, as in the kernel, unless it is sticky.
    Static,
    /// Put there, aged like a learned one.
    Dynamic,
    /// The bridge's own: frames to it end here.
    Permanent,
}

impl FdbState {
    /// bridge(8)'s word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::Permanent => "permanent",
        }
    }
}

/// One `[[bridge.fdb]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FdbEntryConfig {
    /// An individual address.
    pub mac: MacAddr,
    /// The member it is behind, by name.
    pub device: String,
    /// The VLAN that it is of, in a bridge that filters, and only there.
    pub vlan: Option<VlanId>,
    /// How long it lasts.
    pub state: FdbState,
    /// Whether it stays where it is when its station is seen elsewhere. Never of a permanent one, which does anyway.
    pub sticky: bool,
}

/// One `[[neighbor]]`: which station has an IP address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NeighborConfig {
    /// The bridge that is told so, by name.
    pub device: String,
    /// Of one station.
    pub address: IpAddr,
    /// The station.
    pub mac: MacAddr,
    /// The VLAN that it is in, of a bridge that filters.
    pub vlan: Option<VlanId>,
}

/// One `[[xconnect]]`: a wire between two devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XconnectConfig {
    /// One end, by name.
    pub a: String,
    /// The other end, by name.
    pub b: String,
}
