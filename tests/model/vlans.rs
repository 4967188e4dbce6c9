//! VLANs in the model: of which a frame is, whether it may come in, and how it leaves, in the plainest words.

use std::collections::BTreeMap;

use rigswitch_dataplane::drops::DropReason;
use rigswitch_dataplane::ids::{DomainId, VlanId};
use rigswitch_dataplane::tables::{OfVlan, VlanPort, Vlans};
use rigswitch_dataplane::wire::ethernet::EtherType;

use super::support::domain;

/// The VLANs that there are in a bridge: few, so that stations meet.
pub(super) const VIDS: std::ops::RangeInclusive<u16> = 1..=4;

/// The domain of a VLAN of a bridge; of none, the bridge's own.
pub(super) fn domain_of(bridge: u16, vid: u16) -> DomainId {
    if vid == 0 { domain(bridge) } else { domain(2 + (bridge - 1) * VIDS.end() + vid) }
}

/// What a device is in.
#[derive(Clone, Default, Debug)]
pub(super) struct Membership {
    pub(super) members: BTreeMap<u16, bool>, // whether frames leave untagged
    pub(super) pvid: u16,                    // zero for none
    pub(super) tunnel: bool,
}

/// A frame that is in a VLAN, or in a bridge that has none.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    /// Zero in a bridge without VLANs.
    pub(super) vid: u16,
    tci: u16,
    /// Without the bridge's tag.
    inner: Vec<u8>,
}

impl Flight {
    /// In a bridge that takes no notice of tags.
    pub(super) fn plain(frame: &[u8]) -> Self {
        Self { vid: 0, tci: 0, inner: frame.to_vec() }
    }

    /// That comes in by a port of a bridge that knows tags of this EtherType.
    pub(super) fn enter(frame: &[u8], protocol: u16, port: &Membership) -> Result<Self, DropReason> {
        let ether_type = u16::from_be_bytes([frame[12], frame[13]]);
        if [0x8100, 0x88a8].contains(&ether_type) && frame.len() < 20 {
            return Err(DropReason::VlanMalformed);
        }
        let is_tagged = ether_type == protocol && !port.tunnel;
        let (tci, inner) = if is_tagged {
            (u16::from_be_bytes([frame[14], frame[15]]), [&frame[..12], &frame[16..]].concat())
        } else {
            (0, frame.to_vec())
        };
        let tci = if tci & 0xfff == 0 { tci | port.pvid } else { tci };
        match tci & 0xfff {
            0 => Err(DropReason::VlanNoPvid),
            4095 => Err(DropReason::VlanReserved),
            vid if !port.members.contains_key(&vid) => Err(DropReason::VlanNotMember),
            vid => Ok(Self { vid, tci, inner }),
        }
    }

    /// The bytes that leave by a port of the VLAN, and how many of them are measured against its MTU.
    pub(super) fn leave(&self, protocol: u16, port: &Membership) -> (Vec<u8>, usize) {
        if self.vid == 0 {
            let is_tagged = [[0x81, 0], [0x88, 0xa8]].iter().any(|tag| self.inner[12..].starts_with(tag));
            return (self.inner.clone(), self.inner.len() - if is_tagged { 4 } else { 0 });
        }
        if port.members[&self.vid] {
            return (self.inner.clone(), self.inner.len());
        }
        let tag = [protocol.to_be_bytes(), self.tci.to_be_bytes()].concat();
        ([&self.inner[..12], &tag[..], &self.inner[12..]].concat(), self.inner.len())
    }

    /// The same to another station.
    pub(super) fn to(mut self, station: [u8; 6]) -> Self {
        self.inner[..6].copy_from_slice(&station);
        self
    }
}

/// The tables of a bridge, and of what is said of a port.
pub(super) fn vlans(bridge: u16, protocol: u16) -> Vlans {
    let domains = VIDS.map(|vid| (VlanId::new(vid).unwrap(), domain_of(bridge, vid)));
    Vlans::new(domain(bridge), EtherType(protocol), domains)
}

pub(super) fn port(membership: &Membership) -> VlanPort {
    let mut port = VlanPort::new();
    for (vid, untagged) in &membership.members {
        port.join(VlanId::new(*vid).unwrap(), *untagged);
    }
    port.set_pvid(VlanId::new(membership.pvid));
    port.special.tunnel = membership.tunnel;
    port
}

pub(super) fn of(bridge: u16, vid: u16) -> Option<OfVlan> {
    VlanId::new(vid).map(|vid| OfVlan { bridge: domain(bridge), vid })
}
