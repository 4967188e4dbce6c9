//! The learning bridge: its configuration as validated types, and its stage of the line.

mod config;
mod host;
mod knobs;
mod mac_moves;
mod multicast;
mod proxy;
mod snooping;
mod spanning_tree;
mod stage;
mod vlans;

pub use config::{
    BridgeConfig, BridgePortConfig, FdbEntryConfig, FdbState, HostConfig, NeighborConfig, XconnectConfig,
};
pub use mac_moves::{MacMoveAction, MacMoves};
pub use multicast::{MdbEntryConfig, MulticastConfig, MulticastPort, RouterPort, group_fault};
pub use spanning_tree::{SpanningTreeConfig, SpanningTreePort};
pub use stage::Class;
pub(crate) use stage::{BridgeStage, news};
pub(crate) use vlans::VlanStage;
pub use vlans::{MacVlanConfig, Membership, PortVlans, VlanConfig, VlanProtocol, vlan_of};
