//! Tunnels, and the ways to their far ends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One tunnel: an element of `show tunnels -j`, in the words of `ip -j -d link`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TunnelView {
    /// Its name.
    pub ifname: String,
    /// `ipip`.
    pub kind: String,
    /// What it carries: `ipip`, `ip6ip` or `any`; over IPv6 `ipip6`, `ip6ip6` or `any`.
    pub mode: String,
    /// The address that it sends from, or `any`.
    pub local: String,
    /// Its far end, or `any`.
    pub remote: String,
    /// The time to live of outer packets, over IPv6 their hop limit; or `inherit`.
    pub ttl: String,
    /// Their type of service, over IPv6 their traffic class; or `inherit`.
    pub tos: String,
    /// Whether they may never be fragmented.
    pub pmtudisc: bool,
    /// Their flow label over IPv6, or `inherit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flowlabel: Option<String>,
    /// How many more tunnels they may enter over IPv6, or `none` if they do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encaplimit: Option<String>,
    /// Bytes of packet that it carries.
    pub mtu: u32,
    /// Where it sends.
    pub far_ends: Vec<FarEndView>,
}

/// One far end of a tunnel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FarEndView {
    /// Its address.
    pub dst: String,
    /// The address that it is sent to from.
    pub src: String,
    /// The device that it is reached by, if a route leads there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// `reachable`; `failing`, while errors of the way there came that senders are still to be told of; `unresolved`, while the next hop is not known; `noroute`; `loop`, if the route leads by the tunnel itself.
    pub state: String,
    /// Bytes of outer packet that the way carries, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}
