//! Devices that stand on others, compiled: how what they send leaves, and which frames of the device below are theirs.

use super::{ChildrenId, IpipDescent, MacvlanDescent, VxlanDescent};
use crate::ids::{DeviceId, VlanId};
use crate::wire::ethernet::EtherType;
use crate::wire::vlan::Tci;

/// How what a device sends leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Descent {
    /// By its own queues.
    #[default]
    Queues,
    /// With a tag, by the device it stands on.
    Vlan(VlanDescent),
    /// To the other ipvlans of the device it stands on, or by that.
    Ipvlan(IpvlanDescent),
    /// To those that stand beside it, or by the device that they stand on.
    Macvlan(MacvlanDescent),
    /// In packets to the far end of a tunnel.
    Ipip(IpipDescent),
    /// To the other end of a patch, which receives it.
    Patch(PatchDescent),
    /// In packets to the far end that its station is behind.
    Vxlan(VxlanDescent),
}

/// How what a VLAN's sub-interface sends leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VlanDescent {
    /// The device it stands on.
    pub link: DeviceId,
    /// The kind of tag: [`EtherType::CTAG`] or [`EtherType::STAG`].
    pub tpid: EtherType,
    /// The VLAN.
    pub vlan: VlanId,
    /// The longest frame it sends, as [`Device::longest`](super::Device::longest), without the tag.
    pub longest: u32,
}

/// How what an ipvlan sends leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpvlanDescent {
    /// The device it stands on.
    pub link: DeviceId,
    /// Itself and the others there.
    pub children: ChildrenId,
    /// The longest frame it sends, as [`Device::longest`](super::Device::longest).
    pub longest: u32,
}

/// How what one end of a patch sends leaves: a bridge's own device and the port that it is for the bridge are the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PatchDescent {
    /// The other end.
    pub peer: DeviceId,
    /// The longest frame it sends, as [`Device::longest`](super::Device::longest).
    pub longest: u32,
}

impl Descent {
    /// The longest frame that leaves so, without what is put before it; `None` if the device's queues decide.
    pub fn longest(self) -> Option<u32> {
        match self {
            Self::Queues => None,
            Self::Vlan(way) => Some(way.longest),
            Self::Ipvlan(way) => Some(way.longest),
            Self::Macvlan(way) => Some(way.longest),
            Self::Ipip(way) => Some(way.longest),
            Self::Patch(way) => Some(way.longest),
            Self::Vxlan(way) => Some(way.longest),
        }
    }
}

/// A number of [`Tags`] in the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TagsId(pub u16);

/// The sub-interfaces that stand on a device, by their tag.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tags {
    customer: ByVlan,
    service: ByVlan,
}

/// Devices by VLAN; empty if there is none.
type ByVlan = Box<[Option<DeviceId>]>;

impl Tags {
    /// These sub-interfaces: kind of tag, VLAN and device. No two have the same tag.
    pub fn new(devices: impl IntoIterator<Item = (EtherType, VlanId, DeviceId)>) -> Self {
        let mut tags = Self::default();
        for (tpid, vlan, device) in devices {
            let of = if tpid == EtherType::STAG { &mut tags.service } else { &mut tags.customer };
            if of.is_empty() {
                *of = vec![None; usize::from(VlanId::MAX) + 1].into();
            }
            of[usize::from(vlan.number())] = Some(device);
        }
        tags
    }

    /// The sub-interface that takes frames whose outermost tag is this one.
    #[inline]
    pub fn find(&self, tpid: EtherType, tci: Tci) -> Option<DeviceId> {
        let of = match tpid {
            EtherType::CTAG => &self.customer,
            EtherType::STAG => &self.service,
            _ => return None,
        };
        *of.get(usize::from(tci.vid()))?
    }

    /// All of them.
    pub fn devices(&self) -> impl Iterator<Item = DeviceId> {
        self.customer.iter().chain(&self.service).filter_map(|device| *device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tag_has_its_own_device() {
        let vlan = |number| VlanId::new(number).unwrap();
        let tags = Tags::new([
            (EtherType::CTAG, vlan(10), DeviceId(1)),
            (EtherType::STAG, vlan(10), DeviceId(2)),
            (EtherType::CTAG, vlan(4094), DeviceId(3)),
        ]);
        let find = |tpid, tci| tags.find(tpid, Tci(tci)).map(|device| device.0);
        assert_eq!(find(EtherType::CTAG, 0xb00a), Some(1), "whatever the priority");
        assert_eq!(find(EtherType::STAG, 10), Some(2));
        assert_eq!(find(EtherType::CTAG, 4094), Some(3));
        for (tpid, tci) in
            [(EtherType::STAG, 4094), (EtherType::CTAG, 0), (EtherType::CTAG, 4095), (EtherType::IPV4, 10)]
        {
            assert_eq!(find(tpid, tci), None);
        }
        assert_eq!(Tags::default().find(EtherType::CTAG, Tci(10)), None);
        assert_eq!(tags.devices().count(), 3);
    }
}
