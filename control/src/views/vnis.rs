//! Networks of VXLAN devices that have many as they are seen, in the shape of `bridge -j vni show`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The networks of one device: an element of `vni show -j`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VnisView {
    /// The device.
    pub ifname: String,
    /// Those that it takes packets of; of one without `vnifilter` those that are named.
    pub vnis: Vec<VniView>,
}

/// One network, or some in a row that are alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VniView {
    /// It, or the first.
    pub vni: u32,
    /// The last of as many in a row that are alike, where they are shown together.
    #[serde(default, rename = "vniEnd", skip_serializing_if = "Option::is_none")]
    pub vni_end: Option<u32>,
    /// The group that what is for stations goes to that nothing is known of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The far end in place of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// What was counted; `bridge vni show` has it with `-s` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<VniTrafficView>,
}

/// What was counted in a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct VniTrafficView {
    /// Bytes that came in, without Ethernet headers.
    pub rx_bytes: u64,
    /// Frames that came in.
    pub rx_pkts: u64,
    /// Those that there was no room for.
    pub rx_drops: u64,
    /// Packets that were wrong.
    pub rx_errors: u64,
    /// Bytes that went out, with Ethernet headers, to each far end.
    pub tx_bytes: u64,
    /// Frames that went out, to each far end.
    pub tx_pkts: u64,
    /// Frames that had no far end.
    pub tx_drops: u64,
    /// Frames to far ends that no route led to.
    pub tx_errors: u64,
}
