//! The learning bridge: its configuration as validated types, and its stage of the line.

mod config;
mod knobs;
mod stage;

pub use config::{BridgeConfig, BridgePortConfig, FdbEntryConfig, FdbState, XconnectConfig};
pub(crate) use stage::BridgeStage;
