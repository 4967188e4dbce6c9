//! What an operator may say about a bridge and about a cross-connect, validated: the only model of it there is.

use std::time::Duration;

use crate::ids::MacAddr;

/// One `[[bridge]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgeConfig {
    /// Its name, 1 to 15 bytes.
    pub name: String,
    /// How long a learned address is kept after it was last seen as a source. Zero keeps none.
    pub ageing_time: Duration,
    /// Member devices, by name.
    pub ports: Vec<BridgePortConfig>,
    /// Entries the operator put there.
    pub fdb: Vec<FdbEntryConfig>,
}

impl BridgeConfig {
    /// The kernel's `BR_DEFAULT_AGEING_TIME`.
    pub const DEFAULT_AGEING_TIME: Duration = Duration::from_secs(300);
}

/// One `[[bridge.port]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgePortConfig {
    /// The member, by name.
    pub device: String,
}

/// How an entry came to be and how long it lasts: bridge(8)'s words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FdbState {
    /// Put there, and never aged; a station seen elsewhere takes it along, as in the kernel.
    Static,
    /// Put there, aged like a learned one.
    Dynamic,
    /// The bridge's own: frames to it end here.
    Permanent,
}

impl FdbState {
    /// bridge(8)'s word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::Permanent => "permanent",
        }
    }
}

/// One `[[bridge.fdb]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FdbEntryConfig {
    /// An individual address.
    pub mac: MacAddr,
    /// The member it is behind, by name.
    pub device: String,
    /// How long it lasts.
    pub state: FdbState,
}

/// One `[[xconnect]]`: a wire between two devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XconnectConfig {
    /// One end, by name.
    pub a: String,
    /// The other end, by name.
    pub b: String,
}
