//! Of which VLAN a frame is that comes in, and whether it may (`__allowed_ingress`, net/bridge/br_vlan.c).

use super::tag::Tag;
use crate::drops::DropReason;
use crate::ids::{DeviceId, MacAddr, VlanId};
use crate::pipeline::VlanFrom;
use crate::tables::{Tables, VlanPort, Vlans};
use crate::wire::ethernet::{Ethernet, HEADER_LEN};
use crate::wire::vlan::{TAG_LEN, Tci};

/// A header, a tag and the EtherType behind it: with less, what says that a tag follows is wrong.
pub(super) const TAGGED: usize = HEADER_LEN + TAG_LEN + 2;

/// The VLAN of a frame that comes in by `port`, which is a plain one, as the tag that it leaves with where it leaves tagged; `None`
/// if it may not, or there is more to look at.
#[inline(always)]
pub(super) fn enter(vlans: &Vlans, port: &VlanPort, header: &[u8; TAGGED]) -> Option<Tag> {
    let [.., a, b, c, d, _, _, _, _] = *header;
    let is_there = u16::from_be_bytes([a, b]) == vlans.protocol.0;
    let wire = if is_there { Tci(u16::from_be_bytes([c, d])) } else { Tci(0) };
    let tci = if wire.vid() == 0 { Tci(wire.0 | port.pvid()) } else { wire };
    port.is_in(tci.vid()).then_some(Tag::new(tci, is_there, tci != wire))
}

/// The same of a frame from `source` by any port.
///
/// # Errors
/// [`DropReason`], if it may not come in.
#[cold]
pub(super) fn enter_special(
    vlans: &Vlans,
    port: &VlanPort,
    bytes: &[u8],
    source: MacAddr,
) -> Result<Tag, DropReason> {
    let (is_there, wire) = match bytes.first_chunk::<TAGGED>() {
        Some(&[.., a, b, c, d, _, _, _, _]) => {
            let is_there = u16::from_be_bytes([a, b]) == vlans.protocol.0 && !port.special.tunnel;
            (is_there, Tci(if is_there { u16::from_be_bytes([c, d]) } else { 0 }))
        }
        // The kernel takes tags of both protocols off what it receives, whole or not at all (`skb_vlan_untag`).
        None if is_tagged(bytes) => return Err(DropReason::VlanMalformed),
        None => (false, Tci(0)),
    };
    let vid = match wire.vid() {
        0 => of_source(vlans, port, source).map_or(port.pvid(), VlanId::number),
        vid => port.special.translation.as_ref().map_or(vid, |translation| translation.inward(vid)),
    };
    let tci = wire.with_vid(vid);
    if port.is_in(vid) {
        return Ok(Tag::new(tci, is_there, tci != wire));
    }
    Err(match vid {
        0 => DropReason::VlanNoPvid,
        vid if vid > VlanId::MAX => DropReason::VlanReserved,
        _ => DropReason::VlanNotMember,
    })
}

fn is_tagged(bytes: &[u8]) -> bool {
    Ethernet::view(bytes).is_ok_and(|header| header.ether_type().is_tag())
}

/// The VLAN of a station by its address, if the port is in it.
fn of_source(vlans: &Vlans, port: &VlanPort, source: MacAddr) -> Option<VlanId> {
    let vid = if port.special.asks_macs { vlans.macs.of(source) } else { None };
    vid.filter(|vid| port.is_in(vid.number()))
}

/// What said of which VLAN a frame is that came in.
pub(super) fn origin(vlans: &Vlans, port: &VlanPort, bytes: &[u8], source: MacAddr, tag: Tag) -> VlanFrom {
    let wire =
        bytes.get(HEADER_LEN..).and_then(|rest| rest.first_chunk()).map_or(0, |tci| u16::from_be_bytes(*tci));
    match Tci(wire).vid() {
        _ if port.special.tunnel => VlanFrom::Tunnel,
        vid if tag.is_there() && vid == tag.vid() => VlanFrom::Tag,
        vid if tag.is_there() && vid != 0 => VlanFrom::Translated(vid),
        _ if of_source(vlans, port, source).is_some() => VlanFrom::Mac,
        _ => VlanFrom::Pvid,
    }
}

/// The VLAN of a frame that comes in by a port of a bridge that filters; `None` if it may not, or the bridge does not.
pub fn vlan_of(tables: &Tables, device: DeviceId, frame: &[u8]) -> Option<VlanId> {
    let bridge = tables.device(device).role.domain()?;
    let (vlans, port) = (tables.domain(bridge).vlans.as_ref()?, tables.vlan_port(device)?);
    let source = Ethernet::view(frame).ok()?.source();
    let tag = enter_special(vlans, port, frame, source).ok()?;
    VlanId::new(tag.vid())
}
