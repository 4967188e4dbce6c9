//! What an operator may say about the spanning tree of a bridge, validated.

use std::time::Duration;

/// The spanning tree's part of a `[[bridge]]`, with the kernel's defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanningTreeConfig {
    /// Whether the bridge takes part in one. If not, BPDUs pass like any other group's frames.
    pub enabled: bool,
    /// The bridge with the lowest is the root, of equal ones the one with the lowest address.
    pub priority: u16,
    /// How often the root says that it is there.
    pub hello_time: Duration,
    /// How long that is believed.
    pub max_age: Duration,
    /// How long a port listens, and then learns, before it forwards.
    pub forward_delay: Duration,
}

impl Default for SpanningTreeConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            priority: 0x8000,
            hello_time: Duration::from_secs(2),
            max_age: Duration::from_secs(20),
            forward_delay: Duration::from_secs(15),
        }
    }
}

/// The spanning tree's part of a `[[bridge.port]]`, with the kernel's defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanningTreePort {
    /// Of two ports that lead to the same bridge the one with the lower is used, 0 to 63.
    pub priority: u8,
    /// What the way by this port costs, 1 to 65,535; `None` for what the kernel takes for the device's speed.
    pub cost: Option<u16>,
    /// Whether a BPDU takes the port out of service until its link has been down and up.
    pub guard: bool,
    /// Whether the port may not lead to the root.
    pub root_block: bool,
}

impl Default for SpanningTreePort {
    fn default() -> Self {
        Self { priority: 32, cost: None, guard: false, root_block: false }
    }
}

impl SpanningTreePort {
    /// What the kernel takes for a device of so many Mbit/s (`port_cost`, net/bridge/br_if.c).
    pub fn cost_of_speed(mbps: Option<u32>) -> u16 {
        match mbps {
            Some(10_000) => 2,
            Some(5_000) => 3,
            Some(2_500) => 4,
            Some(1_000) => 5,
            Some(100) => 19,
            Some(speed) if speed > 10_000 => 1,
            _ => 100,
        }
    }
}
