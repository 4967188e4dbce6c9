//! VLANs as they are seen, in the shape of `bridge -j vlan show`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The VLANs of one port, or of a bridge itself: an element of `show vlans -j`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PortVlansView {
    /// The port, or the bridge.
    pub ifname: String,
    /// What it is in.
    pub vlans: Vec<VlanView>,
}

/// One VLAN of a port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VlanView {
    /// Its identifier; `bridge -s` calls it `vid`.
    pub vlan: u16,
    /// The last of as many in a row that are alike, where they are shown together.
    #[serde(default, rename = "vlanEnd", skip_serializing_if = "Option::is_none")]
    pub vlan_end: Option<u16>,
    /// `PVID`, `Egress Untagged`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// What came in, if it is counted; `bridge vlan show` has it with `-s` only.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<VlanTrafficView>,
}

/// What was counted in a VLAN, bytes without Ethernet header and tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct VlanTrafficView {
    /// Bytes that came in.
    pub rx_bytes: u64,
    /// Frames that came in.
    pub rx_packets: u64,
    /// Bytes that went out.
    pub tx_bytes: u64,
    /// Frames that went out.
    pub tx_packets: u64,
}

/// The VLANs of one port that are networks: an element of `vlan tunnelshow -j`, as `bridge -j vlan tunnelshow` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PortTunnelsView {
    /// The port.
    pub ifname: String,
    /// What it knows.
    pub tunnels: Vec<VlanTunnelView>,
}

/// A VLAN that is a network, or some in a row that are as many.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VlanTunnelView {
    /// The VLAN, or the first.
    pub vlan: u32,
    /// The last, if there are several.
    #[serde(default, rename = "vlanEnd", skip_serializing_if = "Option::is_none")]
    pub vlan_end: Option<u32>,
    /// The network that it is, or that the first is.
    pub tunid: u32,
    /// What the last is, if there are several.
    #[serde(default, rename = "tunidEnd", skip_serializing_if = "Option::is_none")]
    pub tunid_end: Option<u32>,
}
