//! MLD messages (RFC 2710, 3810), and the query that a bridge sends itself.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::checksum::Sum;
use super::checksum::pseudo_header;
use super::ethernet::{self, EtherType};
use super::igmp::expand;
use super::multicast::{ALL_NODES_6, Group, Message, Records};
use super::{IpProtocol, Malformed, put_u16, u16_at};
use crate::ids::MacAddr;

const QUERY: u8 = 130;
const REPORT_V1: u8 = 131;
const DONE: u8 = 132;
const REPORT_V2: u8 = 143;
/// Multicast router advertisement (RFC 4286 §3).
const ROUTER_ADVERTISEMENT: u8 = 151;

/// Bytes of a message of version 1, of a query of version 2 without sources, and of its report without records.
const LEN: usize = 24;
const QUERY_V2_LEN: usize = 28;
const REPORT_V2_LEN: usize = 8;

pub(super) enum Mld<'a> {
    /// What bridges look into, and what there is in it for them.
    Snooped(Option<Message<'a>>),
    RouterAdvertisement,
    /// Another kind of ICMPv6 message.
    Other,
}

/// The message in the ICMPv6 `bytes` of a packet from `source` to `destination`, which are its `addresses`.
pub(super) fn view<'a>(
    bytes: &'a [u8],
    addresses: &[u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<Mld<'a>, Malformed> {
    let kind = *bytes.first().ok_or(Malformed::Mld)?;
    let len = u16::try_from(bytes.len()).map_err(|_| Malformed::Mld)?;
    let sum = pseudo_header(addresses, IpProtocol::ICMPV6, len) + Sum::of(bytes);
    if bytes.len() < REPORT_V2_LEN || !sum.is_intact() {
        return Err(Malformed::Mld);
    }
    let group = || {
        let octets: Option<&[u8; 16]> = bytes.get(8..).and_then(<[u8]>::first_chunk);
        octets.map(|octets| Ipv6Addr::from(*octets)).ok_or(Malformed::Mld)
    };
    let subject = || Ok(Group::Ip(group()?.into()));
    Ok(match kind {
        // What is shorter than any message of version 1 is none to the kernel, whatever its kind.
        REPORT_V1 | DONE | REPORT_V2 | QUERY if bytes.len() < LEN => Mld::Other,
        REPORT_V1 => Mld::Snooped(Some(Message::Join(subject()?))),
        DONE => Mld::Snooped(Some(Message::Leave(subject()?))),
        REPORT_V2 => {
            let count = u16_at(bytes, 6).ok_or(Malformed::Mld)?;
            let records =
                Records { count, bytes: bytes.get(REPORT_V2_LEN..).unwrap_or_default(), ipv4: false };
            if !records.are_whole() {
                return Err(Malformed::Mld);
            }
            Mld::Snooped(Some(Message::Report(records)))
        }
        QUERY => Mld::Snooped(query(bytes, group()?, source, destination)?),
        ROUTER_ADVERTISEMENT => Mld::RouterAdvertisement,
        _ => Mld::Other,
    })
}

/// A query; about sources, it is nothing to a bridge that does not look at those.
fn query<'a>(
    bytes: &[u8],
    group: Ipv6Addr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<Option<Message<'a>>, Malformed> {
    if !source.is_unicast_link_local() || group.is_unspecified() && destination != ALL_NODES_6 {
        return Err(Malformed::Mld);
    }
    let code = u32::from(u16_at(bytes, 4).unwrap_or_default());
    let about = Some(group).filter(|group| !group.is_unspecified()).map(|group| Group::Ip(group.into()));
    let query = |milliseconds: u32| Message::Query {
        group: about,
        response: Duration::from_millis(milliseconds.into()),
        querier: source.into(),
    };
    match bytes.len() {
        LEN => Ok(Some(code).filter(|code| *code > 0).map(query)),
        QUERY_V2_LEN.. if u16_at(bytes, 26) != Some(0) => Ok(None),
        QUERY_V2_LEN.. => Ok(Some(query(expand(code, 16, 12)))),
        _ => Err(Malformed::Mld),
    }
}

/// The link-local address that the kernel gives a device of this address (RFC 4291 appendix A).
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// Bytes of a frame with a query.
pub const QUERY_FRAME_LEN: usize = ethernet::HEADER_LEN + IP_LEN + LEN;
const IP_LEN: usize = 48;

/// The frame in which a bridge of this address asks for the members of `group`, or of all, by version 1. Hosts may take
/// `response` to answer, up to 65.5 s. It comes from the bridge's [`link_local`] address.
pub fn query_frame(source: MacAddr, group: Option<Ipv6Addr>, response: Duration) -> [u8; QUERY_FRAME_LEN] {
    let addresses = [link_local(source).octets(), ALL_NODES_6.octets()];
    let addresses = addresses.as_flattened();
    let mut message = [0; LEN];
    message[0] = QUERY;
    let milliseconds = u16::try_from(response.as_millis()).unwrap_or(u16::MAX);
    message[4..6].copy_from_slice(&milliseconds.to_be_bytes());
    message[8..].copy_from_slice(&group.unwrap_or(Ipv6Addr::UNSPECIFIED).octets());
    let checksum = (pseudo_header(addresses, IpProtocol::ICMPV6, 24) + Sum::of(&message)).checksum();
    let _ = put_u16(&mut message, 2, checksum);

    let mut frame = [0; QUERY_FRAME_LEN];
    let (header, rest) = frame.split_first_chunk_mut().expect("there is room for a header");
    let destination = MacAddr::new([0x33, 0x33, 0, 0, 0, 1]);
    ethernet::emit(header, destination, source, EtherType::IPV6);
    // RFC 8200 §3: a hop-by-hop header follows, hop limit 1; in it a router alert for MLD (RFC 2711), padded.
    rest[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 8 + 24, 0, 1]);
    rest[8..40].copy_from_slice(addresses);
    rest[40..48].copy_from_slice(&[IpProtocol::ICMPV6.0, 0, 5, 2, 0, 0, 0, 0]);
    rest[48..].copy_from_slice(&message);
    frame
}
