//! A bridge that filters by VLAN (IEEE 802.1Q §8; net/bridge/br_vlan.c): its configuration as validated types, its stage of the
//! line, and each rule in one place.

mod config;
mod host;
mod ingress;
mod stage;
mod tag;

pub use config::{MacVlanConfig, Membership, PortVlans, VlanConfig, VlanProtocol};
pub use ingress::vlan_of;
pub(crate) use stage::VlanStage;
