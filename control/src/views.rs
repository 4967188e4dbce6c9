//! What an operator sees of a running switch: the shapes that the socket sends and the command line prints.

mod changes;
mod fdb;
mod routes;
mod tunnels;
mod vlans;
mod vnis;

pub use changes::{ChangeAction, ChangeView, EditAction, EditObject, EditRequest};
pub use fdb::{FdbChange, FdbFlush, FdbHow, FdbRemoval, FdbStateWord, FdbView, FlushedView};
pub use routes::{AddressView, AddressesView, NextHopView, RouteView};
pub use tunnels::{FarEndView, TunnelView};
pub use vlans::{PortTunnelsView, PortVlansView, VlanTrafficView, VlanTunnelView, VlanView};
pub use vnis::{VniTrafficView, VniView, VnisView};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One port: an element of `show ports -j`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PortView {
    /// Its name.
    pub ifname: String,
    /// `xdp`, `tap`, `packet`, `socket`, `pcap` or `memory`; `device` while there is none to choose by; `host` for the host's port of
    /// the bridge of that name, or a device that it has; `vlan`, `ipvlan` or `macvlan` for one that stands on another.
    pub kind: String,
    /// The device that it stands on, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// `mine` of one whose device the host goes on using.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<String>,
    /// Where the program of an AF_XDP port runs: `native`, in the driver, or `generic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp: Option<String>,
    /// Whether the frames of an AF_XDP port are not copied on any queue, by the kernel's own word (`XDP_OPTIONS`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_copy: Option<bool>,
    /// The mode that it is in, if it is a macvlan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// What the kernel calls its device now; none where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The name of the network namespace that the device is in; none for the switch's own, or one without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// `UP`, `DOWN` or, for a device that is gone, `NOTPRESENT`: the kernel's words.
    pub operstate: String,
    /// The state that its bridge's spanning tree gives it, if there is one, or `mac_move_action`: bridge(8)'s word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Bytes of payload.
    pub mtu: u32,
    /// The device's MAC address; zero where there is no device.
    pub address: String,
    /// What came from the device.
    pub rx: TrafficView,
    /// What went to the device.
    pub tx: TrafficView,
    /// Packets dropped, by `<direction>.<reason>`; reasons that never occurred are left out.
    pub drops: BTreeMap<String, u64>,
}

/// One direction of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TrafficView {
    /// Frames, those dropped on the way in included.
    pub packets: u64,
    /// Their bytes, from the destination address on.
    pub bytes: u64,
    /// Frames dropped in this direction.
    pub dropped: u64,
}

/// One bridge: an element of `show bridges -j`, in the words of `ip -d link`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BridgeView {
    /// Its name.
    pub ifname: String,
    /// The address that it is known by: the host's there, if the host takes part in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Bytes of payload of its host's port, if it has one: `show ports` says more of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether it takes part in a spanning tree. If not, there is no more to say of that.
    pub stp_state: bool,
    /// Who it is in the tree: priority and address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_id: Option<String>,
    /// Who the root is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_id: Option<String>,
    /// The port that leads to the root; none if this bridge is it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_port: Option<String>,
    /// What the way to the root costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_path_cost: Option<u32>,
    /// Whether the topology is changing: stations are forgotten sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_change: Option<bool>,
}

/// One neighbour: an element of `show neighbors -j`, as `ip -j neigh` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NeighborView {
    /// Its IP address.
    pub dst: String,
    /// The bridge that was told of it, or the routed device that it is behind.
    pub dev: String,
    /// Its MAC address, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<String>,
    /// The VLAN that it is in, of a bridge that filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// How sure that is: `PERMANENT` of one that was put there, and else the words of `ip neigh`.
    pub state: Vec<String>,
}

/// `show drops -j`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DropsView {
    /// Every reason that has occurred, by device and direction.
    pub drops: Vec<DropView>,
    /// What the kernel dropped before the switch could see it, by device: outside the ledger.
    pub lost: Vec<LostView>,
    /// Whether every frame and every copy is accounted for.
    pub ledger: LedgerView,
}

/// One reason on one device in one direction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DropView {
    /// The port.
    pub device: String,
    /// `rx` or `tx`.
    pub direction: String,
    /// The reason's name.
    pub reason: String,
    /// Frames or copies.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What happened, in one sentence.
    pub meaning: String,
}

/// One of the kernel's counters of a device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LostView {
    /// The port.
    pub device: String,
    /// The kernel's name of the counter.
    pub counter: String,
    /// Frames.
    pub packets: u64,
}

/// Where every frame and every copy is: `received + originated = consumed + frames_dropped + forwarded`, and
/// `copies = sent + surfaced + copies_dropped + held`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LedgerView {
    /// Frames taken from devices.
    pub received: u64,
    /// Frames put on devices by control.
    pub originated: u64,
    /// Frames handed to control.
    pub consumed: u64,
    /// Frames dropped on the way in.
    pub frames_dropped: u64,
    /// Frames sent on.
    pub forwarded: u64,
    /// Copies made of those.
    pub copies: u64,
    /// Copies sent.
    pub sent: u64,
    /// Copies that surfaced on devices that stand on others, which have received them.
    pub surfaced: u64,
    /// Copies dropped on the way out.
    pub copies_dropped: u64,
    /// Copies in transmit rings and between workers.
    pub held: u64,
    /// Frames that are missing, or too many if negative. While frames move it is a burst or so.
    pub frames_missing: i64,
    /// Copies likewise.
    pub copies_missing: i64,
    /// Whether both are zero.
    pub balanced: bool,
}

/// One worker: an element of `show workers -j`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WorkerView {
    /// Its number.
    pub worker: u16,
    /// The CPU it is pinned to.
    pub cpu: Option<u16>,
    /// The ports it owns.
    pub ports: Vec<String>,
    /// Frames of packet memory.
    pub frames: u64,
    /// CPU time used, in nanoseconds.
    pub cpu_ns: u64,
    /// The share of a CPU it used over the last second, 0 to 1.
    pub busy_ratio: f64,
    /// Copies that wait in its transmit rings.
    pub held: u64,
    /// Turns of its loop that moved frames.
    pub busy_turns: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Times it panicked and was started again.
    pub panics: u64,
    /// MACs it learned.
    pub learned: u64,
    /// MACs it saw move to another port.
    pub moved: u64,
    /// MACs it could not learn for want of room in the table.
    pub table_full: u64,
    /// MACs it did not learn because the bridge had as many as `fdb_max_learned`.
    pub limited: u64,
    /// Frames about multicast groups that control could not hear: there were too many of them.
    pub unheard: u64,
}

/// The multicast database: what `show mdb -j` has one of, as `bridge -j mdb` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MdbView {
    /// Who is in which group.
    pub mdb: Vec<MdbEntryView>,
    /// The ports with routers behind them, by bridge.
    pub router: BTreeMap<String, Vec<RouterView>>,
}

/// One port in one group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MdbEntryView {
    /// The bridge's number.
    pub index: u32,
    /// The bridge.
    pub dev: String,
    /// The port.
    pub port: String,
    /// The group.
    pub grp: String,
    /// How long it lasts.
    pub state: MdbState,
    /// What else there is to say of it: nothing yet.
    pub flags: Vec<String>,
    /// The VLAN, in a bridge that filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vid: Option<u16>,
    /// Seconds until it ends, zero if it does not; `bridge mdb` has it with `-s` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<String>,
}

/// A port with a router behind it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RouterView {
    /// The port.
    pub port: String,
}

/// How long a port is in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MdbState {
    /// As long as one that reports it. What bridge(8) takes when nothing is said.
    #[default]
    Temp,
    /// Until it is taken away.
    Permanent,
}

/// A port to put into a group, or to take out of it, in bridge(8)'s words.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MdbChange {
    /// The bridge.
    pub dev: String,
    /// The port.
    pub port: String,
    /// The group.
    pub grp: String,
    /// How long it is to last; for one that is taken away it says nothing.
    #[serde(default)]
    pub state: MdbState,
    /// The VLAN, in a bridge that filters; in each that the port is in, if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vid: Option<u16>,
}

/// What a refused request is answered with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErrorView {
    /// What, why and what to do.
    pub error: String,
}
