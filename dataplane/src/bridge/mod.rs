//! The learning bridge: its configuration as validated types.

mod config;

pub use config::{BridgeConfig, BridgePortConfig, FdbEntryConfig, FdbState, XconnectConfig};
