//! Frames counted by network, on VXLAN devices that have many: each worker writes its own, which come and go with the tables that name them.

use std::fmt;

use super::{Counter, Traffic};

/// What has come in and gone out in one network, as the kernel counts it (`vxlan_vnifilter_count`).
#[derive(Default)]
pub struct NetworkTraffic {
    /// Frames out of outer headers, in bytes without their Ethernet header.
    pub received: Traffic,
    /// Those that there was no room for.
    pub rx_drops: Counter,
    /// Packets that were wrong: their header has bits that are reserved, or they have met congestion that what is inside cannot tell of.
    pub rx_errors: Counter,
    /// Frames to each of their far ends, in bytes with their Ethernet header.
    pub sent: Traffic,
    /// Frames that have no far end.
    pub tx_drops: Counter,
    /// Frames to far ends that no route leads to, or one by the device itself.
    pub tx_errors: Counter,
}

/// What has come in and gone out in one network of a device.
pub struct NetworkStats(Box<[NetworkTraffic]>); // by worker

impl NetworkStats {
    /// Room for `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| NetworkTraffic::default()).collect())
    }

    /// Where this worker counts; `None` for one that there is no room for: it counts nothing.
    pub fn of(&self, worker: usize) -> Option<&NetworkTraffic> {
        self.0.get(worker)
    }

    /// What each worker has counted.
    pub fn all(&self) -> impl Iterator<Item = &NetworkTraffic> {
        self.0.iter()
    }
}

/// The same counters, not the same counts.
impl PartialEq for NetworkStats {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for NetworkStats {}

impl fmt::Debug for NetworkStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkStats of {} workers", self.0.len())
    }
}
