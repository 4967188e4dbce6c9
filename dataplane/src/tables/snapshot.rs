//! What control has compiled and workers execute: one immutable [`Tables`] a generation.

use crate::ids::{DeviceId, DomainId};
use crate::ports::Capabilities;

/// Which worker: dense, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerId(pub u16);

impl WorkerId {
    /// As an index into a table of workers.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The one thing a device does with the frames it receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// Nothing: they are dropped.
    #[default]
    Unused,
    /// It is a member of a bridge, and they belong to this learning domain.
    Bridge(DomainId),
    /// It is one end of a wire, and they leave by the other.
    Xconnect(DeviceId),
}

/// What the tables say of one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    /// What becomes of what it receives.
    pub role: Role,
    /// The worker that transmits for those that have no queue of it.
    pub owner: WorkerId,
    /// The longest frame it sends, in bytes from the destination address on; for a super-frame, the longest segment.
    pub longest: u32,
    /// What it does with offload state.
    pub capabilities: Capabilities,
}

impl Device {
    /// The kernel forwards what fits the MTU, an Ethernet header and one tag, tagged or not (`is_skb_forwardable`,
    /// net/core/dev.c).
    pub fn longest_for_mtu(mtu: u32) -> u32 {
        mtu + 14 + 4
    }

    /// A device that takes and sends nothing: a number not in use.
    pub const NONE: Self = Self {
        role: Role::Unused,
        owner: WorkerId(0),
        longest: 0,
        capabilities: Capabilities { partial_checksum: false, gso: false, may_lose_tags: false },
    };
}

/// What the tables say of one learning domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domain {
    /// The devices a flood goes to, in order.
    pub members: Box<[DeviceId]>,
    /// Whether frames to reserved addresses (01:80:C2:00:00:02 to 0F) go to control instead of being dropped.
    pub punts_reserved: bool,
}

/// The compiled configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    devices: Box<[Device]>,
    domains: Box<[Domain]>,
}

impl Tables {
    /// Tables of these devices, by their number, and these domains, by their number less one.
    ///
    /// # Panics
    /// If a device or domain refers to one that is not there: compiling has gone wrong.
    pub fn new(devices: Box<[Device]>, domains: Box<[Domain]>) -> Self {
        let known = |device: DeviceId| device.index() < devices.len();
        for device in &devices {
            match device.role {
                Role::Unused => {}
                Role::Bridge(domain) => assert!(usize::from(domain.number()) <= domains.len()),
                Role::Xconnect(peer) => assert!(known(peer)),
            }
        }
        assert!(domains.iter().all(|domain| domain.members.iter().all(|&member| known(member))));
        Self { devices, domains }
    }

    /// What is known of a device.
    #[inline]
    pub fn device(&self, device: DeviceId) -> &Device {
        self.devices.get(device.index()).unwrap_or(&Device::NONE)
    }

    /// Whether there is such a device.
    #[inline]
    pub fn has(&self, device: DeviceId) -> bool {
        self.device(device).longest > 0
    }

    /// All devices, by number.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// What is known of a domain that a device of these tables has.
    #[inline]
    pub fn domain(&self, domain: DomainId) -> &Domain {
        &self.domains[usize::from(domain.number()) - 1]
    }
}
