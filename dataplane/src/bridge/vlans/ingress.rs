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
    let (is_there, wire) = (u16::from_be_bytes([a, b]) == vlans.protocol.0, Tci(u16::from_be_bytes([c, d])));
    if is_there && wire.vid() != 0 {
        return port.is_in(wire.vid()).then_some(Tag::new(wire, true, false));
    }
    // It is in its PVID, if it has one.
    let tci = if is_there { Tci(wire.0 | port.pvid()) } else { Tci(port.pvid()) };
    (port.pvid() != 0).then_some(Tag::new(tci, is_there, is_there))
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
        return Ok(Tag::new(tci, is_there, is_there && tci != wire));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::DomainId;
    use crate::tables::{MacVlans, Translation};
    use crate::wire::ethernet::EtherType;

    const STATION: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 7]);

    fn vid(number: u16) -> VlanId {
        VlanId::new(number).unwrap()
    }

    fn vlans() -> Vlans {
        let domain = |number| DomainId::new(number).unwrap();
        let domains = [(10, 2), (20, 3), (30, 4)].map(|(number, of)| (vid(number), domain(of)));
        let macs = MacVlans::new([(STATION, MacAddr::BROADCAST, vid(30))]);
        let mut vlans = Vlans::new(domain(1), EtherType::CTAG, domains);
        vlans.macs = macs;
        vlans
    }

    fn port(pvid: Option<u16>) -> VlanPort {
        let mut port = VlanPort::new();
        [10, 20, 30].into_iter().for_each(|number| port.join(vid(number), number == 10));
        port.set_pvid(pvid.and_then(VlanId::new));
        port
    }

    fn frame(rest: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &STATION.octets(), rest, &[0; 46]].concat()
    }

    fn entered(port: &VlanPort, rest: &[u8]) -> Result<(u16, VlanFrom), DropReason> {
        let (vlans, frame) = (vlans(), frame(rest));
        let tag = enter_special(&vlans, port, &frame, STATION)?;
        Ok((tag.tci().0, origin(&vlans, port, &frame, STATION, tag)))
    }

    const PLAIN: [u8; 2] = [0x88, 0xb5];
    const PRIORITY: [u8; 4] = [0x81, 0, 0xb0, 0];

    #[test]
    fn tags_count_and_what_has_none_is_of_the_pvid() {
        let trunk = port(Some(10));
        assert_eq!(entered(&trunk, &PLAIN), Ok((10, VlanFrom::Pvid)));
        assert_eq!(entered(&trunk, &PRIORITY), Ok((0xb00a, VlanFrom::Pvid)));
        assert_eq!(entered(&trunk, &[0x81, 0, 0x60, 20]), Ok((0x6014, VlanFrom::Tag)));
        assert_eq!(entered(&trunk, &[0x88, 0xa8, 0, 20]), Ok((10, VlanFrom::Pvid)), "payload");
        assert_eq!(entered(&trunk, &[0x81, 0, 0, 40]), Err(DropReason::VlanNotMember));
        assert_eq!(entered(&trunk, &[0x81, 0, 0xff, 0xff]), Err(DropReason::VlanReserved));
        assert_eq!(entered(&port(None), &PLAIN), Err(DropReason::VlanNoPvid));
        assert_eq!(entered(&port(None), &PRIORITY), Err(DropReason::VlanNoPvid));
    }

    #[test]
    fn a_tag_is_whole_or_the_frame_is_malformed() {
        let (vlans, trunk) = (vlans(), port(Some(10)));
        for tpid in [[0x81, 0], [0x88, 0xa8]] {
            let frame = frame(&[&tpid[..], &[0, 10]].concat());
            for length in 14..20 {
                let cut = enter_special(&vlans, &trunk, &frame[..length], STATION);
                assert_eq!(cut, Err(DropReason::VlanMalformed), "{length}");
            }
            assert!(enter_special(&vlans, &trunk, &frame[..20], STATION).is_ok());
        }
        assert!(
            enter_special(&vlans, &trunk, &frame(&PLAIN)[..14], STATION).is_ok(),
            "short, and without a tag"
        );
    }

    #[test]
    fn tunnels_translations_and_addresses_go_ahead_of_the_pvid() {
        let mut special = port(Some(10));
        special.special.tunnel = true;
        assert_eq!(entered(&special, &[0x81, 0, 0, 20]), Ok((10, VlanFrom::Tunnel)));
        special = port(Some(10));
        special.special.translation = Some(std::sync::Arc::new(Translation::new([(vid(5), vid(20))])));
        assert_eq!(entered(&special, &[0x81, 0, 0x60, 5]), Ok((0x6014, VlanFrom::Translated(5))));
        assert_eq!(entered(&special, &[0x81, 0, 0, 10]), Ok((10, VlanFrom::Tag)));
        special = port(Some(10));
        special.special.asks_macs = true;
        assert_eq!(entered(&special, &PLAIN), Ok((30, VlanFrom::Mac)));
        assert_eq!(entered(&special, &PRIORITY), Ok((0xb01e, VlanFrom::Mac)));
        assert_eq!(entered(&special, &[0x81, 0, 0, 20]), Ok((20, VlanFrom::Tag)), "a tag wins");
    }

    proptest! {
        #[test]
        fn the_quick_way_and_the_other_agree(word: u32, is_tag: bool, pvid in prop::option::of(9..12u16)) {
            let word = if is_tag { 0x8100_0000 | word & 0xf03f } else { word };
            let (vlans, frame) = (vlans(), frame(&word.to_be_bytes()));
            let port = port(pvid.filter(|pvid| *pvid == 10));
            let quick = enter(&vlans, &port, frame.first_chunk().unwrap());
            prop_assert_eq!(quick, enter_special(&vlans, &port, &frame, STATION).ok());
        }
    }
}
