//! What an operator may say about the VLANs of a bridge and of its ports, validated.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::ids::{MacAddr, VlanId, Vni};
use crate::wire::ethernet::EtherType;

/// The VLANs' part of a `[[bridge]]`, with the kernel's defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VlanConfig {
    /// Whether the bridge tells VLANs apart. If not, it takes no notice of tags.
    pub filtering: bool,
    /// Which tags it knows.
    pub protocol: VlanProtocol,
    /// The VLAN that ports are in of which nothing is said, untagged; `None` for none.
    pub default_pvid: Option<VlanId>,
    /// Whether frames are counted by VLAN.
    pub stats: bool,
    /// Whether by VLAN and port.
    pub stats_per_port: bool,
    /// What the bridge itself is in, and the host with it (the kernel's `self`), if that is said.
    pub own: Option<Membership>,
    /// The VLANs of stations, by their addresses.
    pub macs: Vec<MacVlanConfig>,
}

impl Default for VlanConfig {
    fn default() -> Self {
        Self {
            filtering: false,
            protocol: VlanProtocol::Customer,
            default_pvid: VlanId::new(1),
            stats: false,
            stats_per_port: false,
            own: None,
            macs: Vec::new(),
        }
    }
}

impl VlanConfig {
    /// What the bridge itself is in.
    pub fn of_bridge(&self) -> Membership {
        self.own.clone().unwrap_or_else(|| Membership::untagged(self.default_pvid))
    }

    /// What a port is in: what is said of it, or else the default; and, if it is to be, the VLANs of stations.
    pub fn of_port<'c>(&self, port: &'c PortVlans) -> Cow<'c, Membership> {
        let default = || Cow::Owned(Membership::untagged(self.default_pvid));
        let mut membership = port.said.as_ref().map_or_else(default, Cow::Borrowed);
        if port.mac_vlan {
            for rule in &self.macs {
                membership.to_mut().members.entry(rule.vlan).or_insert(true);
            }
        }
        membership
    }
}

/// `vlan_protocol`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VlanProtocol {
    /// C-tags, 0x8100.
    #[default]
    Customer,
    /// S-tags, 0x88a8: customers' tags are payload.
    Service,
}

impl VlanProtocol {
    /// The kernel's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Customer => "802.1Q",
            Self::Service => "802.1ad",
        }
    }

    /// What is in a frame ahead of such a tag.
    pub fn ether_type(self) -> EtherType {
        match self {
            Self::Customer => EtherType::CTAG,
            Self::Service => EtherType::STAG,
        }
    }
}

/// The VLANs that a port is in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Each, and whether its frames leave the port untagged.
    pub members: BTreeMap<VlanId, bool>,
    /// The one of frames that come without a VLAN. `None`: they may not come.
    pub pvid: Option<VlanId>,
    /// Whether all that comes is of the PVID, and its tags are payload (dot1q-tunnel).
    pub tunnel: bool,
}

impl Membership {
    /// In this one alone, without tags.
    pub fn untagged(vid: Option<VlanId>) -> Self {
        Self { members: vid.map(|vid| (vid, true)).into_iter().collect(), pvid: vid, tunnel: false }
    }
}

/// What is said of the VLANs of a `[[bridge.port]]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PortVlans {
    /// What it is in; `None` for the bridge's default.
    pub said: Option<Membership>,
    /// Whether it is in the VLANs of all stations that the bridge knows by their addresses, untagged.
    pub mac_vlan: bool,
    /// VLANs, by the identifier that they have on its wire instead of their own.
    pub translate: BTreeMap<VlanId, VlanId>,
    /// Whether its frames are of networks instead of VLANs, as a VXLAN device that is `external` has them.
    pub vlan_tunnel: bool,
    /// Which network each VLAN is there.
    pub tunnel_info: BTreeMap<VlanId, Vni>,
}

/// One `[[bridge.mac_vlan]]`: a station, or many, by a part of their addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MacVlanConfig {
    /// The address; the bits that do not count are zero.
    pub mac: MacAddr,
    /// The bits that count.
    pub mask: MacAddr,
    /// The VLAN of what they send untagged.
    pub vlan: VlanId,
}
