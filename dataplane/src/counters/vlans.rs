//! Frames counted by VLAN, where somebody wants that: each worker writes its own, which come and go with the tables that
//! name them.

use std::fmt;

use super::Traffic;
use crate::ids::VlanId;

/// What has come in and gone out in one VLAN. Bytes are the kernel's: without Ethernet header and tag.
#[derive(Default)]
pub struct VlanTraffic {
    /// Let in.
    pub received: Traffic,
    /// On their way out.
    pub sent: Traffic,
}

/// What has come in and gone out in every VLAN of a bridge, or of a port.
pub struct VlanStats(Box<[Box<[VlanTraffic]>]>); // by worker, by VID

impl VlanStats {
    /// Room for `workers` workers.
    pub fn new(workers: usize) -> Self {
        let of_worker = || (0..VlanId::COUNT).map(|_| VlanTraffic::default()).collect();
        Self((0..workers).map(|_| of_worker()).collect())
    }

    /// Where this worker counts frames of this VLAN; `None` for one that there is no room for: it counts nothing.
    pub fn of(&self, worker: usize, vid: u16) -> Option<&VlanTraffic> {
        self.0.get(worker)?.get(usize::from(vid))
    }

    /// What all workers have counted of a VLAN.
    pub fn all(&self, vid: VlanId) -> impl Iterator<Item = &VlanTraffic> {
        self.0.iter().map(move |worker| &worker[vid.index()])
    }
}

/// The same counters, not the same counts.
impl PartialEq for VlanStats {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for VlanStats {}

impl fmt::Debug for VlanStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VlanStats of {} workers", self.0.len())
    }
}
