//! MLD messages (RFC 2710, 3810), the query that a bridge sends itself, and what a station tells.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::checksum::Sum;
use super::checksum::pseudo_header;
use super::ethernet::{self, EtherType};
use super::igmp::expand;
use super::ipv6::Ipv6;
use super::multicast::{ALL_NODES_6, Group, Message, Records};
use super::neighbor::group_mac;
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
    let mut frame = [0; QUERY_FRAME_LEN];
    let message = &mut frame[MESSAGE..];
    message[0] = QUERY;
    let milliseconds = u16::try_from(response.as_millis()).unwrap_or(u16::MAX);
    message[4..6].copy_from_slice(&milliseconds.to_be_bytes());
    message[8..].copy_from_slice(&group.unwrap_or(Ipv6Addr::UNSPECIFIED).octets());
    wrap(&mut frame, (source, link_local(source)), ALL_NODES_6);
    frame
}

/// What a querier wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// Of which group, or of all.
    pub group: Option<Ipv6Addr>,
    /// How long one may take to answer.
    pub response: Duration,
    /// Whether it is of version 1, and wants such answers (RFC 3810 §8.2.1).
    pub is_first_version: bool,
}

/// What a packet asks, if it is a query. One about some sources of a group is none to who listens to all.
///
/// # Errors
/// [`Malformed::Mld`] if it is none that a querier of this link may have sent (RFC 3810 §5.1.14, §6.2).
pub fn question(ip: &Ipv6<'_>) -> Result<Option<Question>, Malformed> {
    let (protocol, bytes) = ip.transport()?;
    if protocol != IpProtocol::ICMPV6 || bytes.first() != Some(&QUERY) {
        return Ok(None);
    }
    if ip.hop_limit() != 1 || ip.next_header() == IpProtocol::ICMPV6 {
        return Err(Malformed::Mld);
    }
    let Mld::Snooped(Some(Message::Query { group, response, .. })) =
        view(bytes, ip.addresses(), ip.source(), ip.destination())?
    else {
        return Ok(None);
    };
    let group = group.and_then(|group| match group {
        Group::Ip(IpAddr::V6(group)) => Some(group),
        _ => None,
    });
    Ok(Some(Question { group, response, is_first_version: bytes.len() == LEN }))
}

/// What is told of groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// That we are in them, to who asks (`MODE_IS_EXCLUDE`, RFC 3810 §5.2.12: whoever sends to them is heard).
    Is,
    /// That we have joined them (`CHANGE_TO_EXCLUDE_MODE`).
    Joined,
}

/// All routers that speak version 2 (RFC 3810 §10).
const ALL_V2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
const RECORD_LEN: usize = 20;

/// Bytes of a frame with a report about so many groups.
pub const fn report_frame_len(groups: usize) -> usize {
    MESSAGE + REPORT_V2_LEN + RECORD_LEN * groups
}

/// Writes the frame in which a station tells of `groups`. `None`, and nothing to be sent, if `frame` is not of
/// [`report_frame_len`] for them.
pub fn write_report(
    frame: &mut [u8],
    from: (MacAddr, Ipv6Addr),
    groups: &[Ipv6Addr],
    told: Told,
) -> Option<()> {
    if frame.len() != report_frame_len(groups.len()) {
        return None;
    }
    let message = frame.get_mut(MESSAGE..)?;
    message.fill(0);
    message[0] = REPORT_V2;
    put_u16(message, 6, u16::try_from(groups.len()).ok()?)?;
    let (records, _) = message.get_mut(REPORT_V2_LEN..)?.as_chunks_mut::<RECORD_LEN>();
    for (record, group) in records.iter_mut().zip(groups) {
        record[0] = if told == Told::Is { 2 } else { 4 };
        record[4..].copy_from_slice(&group.octets());
    }
    wrap(frame, from, ALL_V2_ROUTERS);
    Some(())
}

/// The frame in which a station tells by version 1 that it is in `group`.
pub fn first_report_frame(from: (MacAddr, Ipv6Addr), group: Ipv6Addr) -> [u8; QUERY_FRAME_LEN] {
    let mut frame = [0; QUERY_FRAME_LEN];
    frame[MESSAGE] = REPORT_V1;
    frame[MESSAGE + 8..].copy_from_slice(&group.octets());
    wrap(&mut frame, from, group);
    frame
}

/// Where the message begins in a frame of ours.
const MESSAGE: usize = ethernet::HEADER_LEN + IP_LEN;

/// Puts headers ahead of the message in a frame, and the checksum into it. RFC 8200 §3: a hop-by-hop header follows, hop limit 1; in it a
/// router alert for MLD (RFC 2711), padded.
fn wrap(frame: &mut [u8], (mac, source): (MacAddr, Ipv6Addr), to: Ipv6Addr) {
    let addresses = [source.octets(), to.octets()];
    let addresses = addresses.as_flattened();
    let Some((header, rest)) = frame.split_first_chunk_mut() else { return };
    ethernet::emit(header, group_mac(to), mac, EtherType::IPV6);
    let Some((ip, message)) = rest.split_first_chunk_mut::<IP_LEN>() else { return };
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
    ip[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    ip[4..6].copy_from_slice(&(8 + len).to_be_bytes());
    ip[6..8].copy_from_slice(&[0, 1]);
    ip[8..40].copy_from_slice(addresses);
    ip[40..].copy_from_slice(&[IpProtocol::ICMPV6.0, 0, 5, 2, 0, 0, 0, 0]);
    let checksum = (pseudo_header(addresses, IpProtocol::ICMPV6, len) + Sum::of(message)).checksum();
    let _ = put_u16(message, 2, checksum);
}
