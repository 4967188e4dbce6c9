//! Routes as `ip -j route` tells them, and addresses as `ip -j addr` does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One route: an element of `show routes -j`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// `blackhole`, `unreachable` or `prohibit`, of one that leads nowhere.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it leads to: a network, or `default`.
    pub dst: String,
    /// The router that is next, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Where packets leave; none of several ways, or of one that leads nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// `kernel`, of the network of an address of ours, or `static`, of the file.
    pub protocol: String,
    /// `link`, of a network that is behind the device itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Our address in that network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefsrc: Option<String>,
    /// Of routes to the same network the one with the least counts; none if it is zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// `onlink`, and `linkdown` where it is of no use for its device is down.
    pub flags: Vec<String>,
    /// The ways, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nexthops: Vec<NextHopView>,
}

/// One way of several.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NextHopView {
    /// The router that is next, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Where packets leave.
    pub dev: String,
    /// Its share of the flows.
    pub weight: u16,
    /// As of a route.
    pub flags: Vec<String>,
}

/// A routed device and its addresses: an element of `show addresses -j`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AddressesView {
    /// The device.
    pub ifname: String,
    /// Its addresses, in the order of the file; a link-local one that it has by itself is last.
    pub addr_info: Vec<AddressView>,
}

/// One address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AddressView {
    /// `inet` or `inet6`.
    pub family: String,
    /// The address.
    pub local: String,
    /// How many bits of it are the network's.
    pub prefixlen: u8,
    /// `link` of a link-local one of IPv6, else `global`.
    pub scope: String,
    /// Whether it is not used, as somebody else may have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tentative: bool,
    /// Whether it is not used, as somebody else has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dadfailed: bool,
}
