//! Of which VLAN a frame is that comes in, and whether it may (`__allowed_ingress`, net/bridge/br_vlan.c).

use super::tag::Tag;
use crate::drops::DropReason;
use crate::ids::{DeviceId, MacAddr, VlanId};
use crate::pipeline::VlanFrom;
use crate::tables::{Tables, VlanPort, Vlans};
use crate::wire::ethernet::{Ethernet, HEADER_LEN};
use crate::wire::vlan::{TAG_LEN, Tci};

/// A header, a tag and the EtherType behind it: with less, what says that a tag follows is wrong.
const TAGGED: usize = HEADER_LEN + TAG_LEN + 2;

/// The VLAN of a frame from `source` that comes in by `port`, as the tag it leaves with where it leaves tagged.
///
/// `SPECIAL` is for ports that are not plain.
///
/// # Errors
/// [`DropReason`], if it may not come in.
#[inline(always)]
pub(super) fn enter<const SPECIAL: bool>(
    vlans: &Vlans,
    port: &VlanPort,
    bytes: &[u8],
    source: MacAddr,
) -> Result<Tag, DropReason> {
    let Some(start) = bytes.first_chunk::<TAGGED>() else { return enter_short(vlans, port, bytes, source) };
    let [.., a, b, c, d, _, _, _, _] = *start;
    let is_there = u16::from_be_bytes([a, b]) == vlans.protocol.0;
    let wire = if is_there { Tci(u16::from_be_bytes([c, d])) } else { Tci(0) };
    if !SPECIAL {
        let tci = if wire.vid() == 0 { Tci(wire.0 | port.pvid()) } else { wire };
        if port.is_in(tci.vid()) {
            return Ok(Tag { tci, is_there, differs: tci != wire });
        }
    }
    enter_special(vlans, port, is_there, wire, source)
}

/// The same of a port that is not plain, and why a frame may not come in.
#[cold]
fn enter_special(
    vlans: &Vlans,
    port: &VlanPort,
    is_there: bool,
    wire: Tci,
    source: MacAddr,
) -> Result<Tag, DropReason> {
    let is_there = is_there && !port.special.tunnel;
    let wire = if is_there { wire } else { Tci(0) };
    let vid = match wire.vid() {
        0 => of_source(vlans, port, source).map_or(port.pvid(), VlanId::number),
        vid => port.special.translation.as_ref().map_or(vid, |translation| translation.inward(vid)),
    };
    let tci = wire.with_vid(vid);
    if port.is_in(vid) {
        return Ok(Tag { tci, is_there, differs: tci != wire });
    }
    Err(match vid {
        0 => DropReason::VlanNoPvid,
        vid if vid > VlanId::MAX => DropReason::VlanReserved,
        _ => DropReason::VlanNotMember,
    })
}

/// The VLAN of a station by its address, if the port is in it.
fn of_source(vlans: &Vlans, port: &VlanPort, source: MacAddr) -> Option<VlanId> {
    let vid = if port.special.asks_macs { vlans.macs.of(source) } else { None };
    vid.filter(|vid| port.is_in(vid.number()))
}

/// The same of a frame that has no room for a tag. The kernel takes tags of both protocols off what it receives, whole or not
/// at all (`skb_vlan_untag`).
#[cold]
fn enter_short(vlans: &Vlans, port: &VlanPort, bytes: &[u8], source: MacAddr) -> Result<Tag, DropReason> {
    match Ethernet::view(bytes) {
        Ok(header) if header.ether_type().is_tag() => Err(DropReason::VlanMalformed),
        _ => enter_special(vlans, port, false, Tci(0), source),
    }
}

/// What said of which VLAN a frame is that came in.
pub(super) fn origin(vlans: &Vlans, port: &VlanPort, bytes: &[u8], source: MacAddr, tag: Tag) -> VlanFrom {
    let wire =
        bytes.get(HEADER_LEN..).and_then(|rest| rest.first_chunk()).map_or(0, |tci| u16::from_be_bytes(*tci));
    match Tci(wire).vid() {
        _ if port.special.tunnel => VlanFrom::Tunnel,
        vid if tag.is_there && vid == tag.vid() => VlanFrom::Tag,
        vid if tag.is_there && vid != 0 => VlanFrom::Translated(vid),
        _ if of_source(vlans, port, source).is_some() => VlanFrom::Mac,
        _ => VlanFrom::Pvid,
    }
}

/// The VLAN of a frame that comes in by a port of a bridge that filters; `None` if it may not, or the bridge does not.
pub fn vlan_of(tables: &Tables, device: DeviceId, frame: &[u8]) -> Option<VlanId> {
    let bridge = tables.device(device).role.domain()?;
    let (vlans, port) = (tables.domain(bridge).vlans.as_ref()?, tables.vlan_port(device)?);
    let source = Ethernet::view(frame).ok()?.source();
    let tag = enter::<true>(vlans, port, frame, source).ok()?;
    VlanId::new(tag.vid())
}
