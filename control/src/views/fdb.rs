//! The forwarding database as it is seen and changed: bridge(8)'s words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One forwarding entry: an element of `show fdb -j`, as `bridge -j fdb show` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FdbView {
    /// The station.
    pub mac: String,
    /// The port it is behind.
    pub ifname: String,
    /// The VLAN that it is of, in a bridge that filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The far end of a tunnel that it is behind, of an entry of the tunnel's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// The UDP port there, if it is not the tunnel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The network there, if it is not the tunnel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// The network whose frames it is for, of a device that is external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_vni: Option<u32>,
    /// The device that packets to it leave by, if that is not the tunnel's.
    #[serde(default, rename = "viaIf", skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// As `updated`, for key-by-key comparison: what is looked up is not written down. With `-s` only, as that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u32>,
    /// Seconds since its station was last seen, or it was set; `bridge fdb show` has it with `-s` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<u32>,
    /// What else there is to say of it: `self`, of an entry of a tunnel's own, and `router`; `extern_learn`, `sticky`, `locked`, `held`.
    pub flags: Vec<String>,
    /// The bridge; not of an entry of a tunnel's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// `static`, `permanent`, or nothing for one that ages.
    pub state: String,
}

/// A change of one forwarding entry, in bridge(8)'s words.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FdbChange {
    /// The station.
    pub mac: String,
    /// The port it is behind.
    pub ifname: String,
    /// The VLAN; in a bridge that filters every one of the port unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// `permanent` unless said.
    #[serde(default)]
    pub state: FdbStateWord,
    /// Whether it stays where it is when its station is seen elsewhere.
    #[serde(default)]
    pub sticky: bool,
    /// Whether somebody else has learned it: it never ages, whatever `state` and `how` say, but moves with its station.
    #[serde(default)]
    pub extern_learn: bool,
    /// Whether its station is to count as just seen there, whatever the rest says.
    #[serde(default, rename = "use")]
    pub is_use: bool,
    /// Whether that of a bridge is meant, though the port is a VXLAN device.
    #[serde(default)]
    pub master: bool,
    /// The far end that it is behind, of an entry of a VXLAN device itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// The UDP port there, unless the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The network there, unless the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// The network whose frames it is for, in a device that is external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_vni: Option<u32>,
    /// The device that packets to it leave by, unless the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Whether its station is a router, of an entry of a VXLAN device itself.
    #[serde(default)]
    pub router: bool,
    /// What may be there already.
    #[serde(default)]
    pub how: FdbHow,
}

impl FdbChange {
    /// Whether it says something that only an entry of a VXLAN device itself has.
    pub fn names_far_end(&self) -> bool {
        let is_one = [self.port.is_some(), self.vni.is_some(), self.src_vni.is_some(), self.via.is_some()];
        self.dst.is_some() || is_one.contains(&true) || self.router
    }
}

/// How an entry that is put there lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FdbStateWord {
    /// The bridge's own address: frames to it end there. What bridge(8) takes when nothing is said.
    #[default]
    Permanent,
    /// Never aged.
    Static,
    /// Aged like a learned one.
    Dynamic,
}

/// What a change expects to find.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FdbHow {
    /// No entry of this address.
    #[default]
    Add,
    /// No entry of this address on another port.
    Append,
    /// Anything.
    Replace,
}

/// An entry to take away.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FdbRemoval {
    /// The station.
    pub mac: String,
    /// The port it is behind.
    pub ifname: String,
    /// The VLAN; in a bridge that filters every one of the port unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Whether that of a bridge is meant, though the port is a VXLAN device.
    #[serde(default)]
    pub master: bool,
    /// The far end that it is behind; of several only this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// The UDP port there, unless the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The network there, unless the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// The network whose frames it is for, in a device that is external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_vni: Option<u32>,
    /// The device that packets to it leave by, unless the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

impl FdbRemoval {
    /// Whether it says something that only an entry of a VXLAN device itself has.
    pub fn names_far_end(&self) -> bool {
        self.dst.is_some() || self.port.is_some() || self.vni.is_some() || self.src_vni.is_some()
    }
}

/// Which entries to flush: all of a bridge, or those that match every word that is given.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FdbFlush {
    /// The bridge, or one of its ports; or a VXLAN device, whose own entries are meant.
    pub dev: String,
    /// Only those behind this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brport: Option<String>,
    /// Only those of this VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Only permanent ones, or only others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permanent: Option<bool>,
    /// Only static ones, or only others, of which a permanent entry is neither.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub fixed: Option<bool>,
    /// Only those that are neither static nor permanent, or only others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic: Option<bool>,
    /// Only those that somebody else has learned, or only others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extern_learn: Option<bool>,
    /// Only sticky ones, or only others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<bool>,
    /// Only those of stations that may not send from where they are, or only others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// Only those behind this far end of a VXLAN device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// Only those behind a far end in this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// Only those for frames of this network, of a device that is external.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_vni: Option<u32>,
    /// Whether those of a bridge are meant, though `dev` is a VXLAN device that is a port of it.
    #[serde(default)]
    pub master: bool,
}

/// What a flush did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FlushedView {
    /// Entries taken away.
    pub flushed: u64,
}
