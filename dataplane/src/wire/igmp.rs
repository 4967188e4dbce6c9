//! IGMP messages (RFC 1112, 2236, 3376), the query that a bridge sends itself, and what a station tells.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::checksum::Sum;
use super::ethernet::{self, EtherType};
use super::ipv4::Ipv4;
use super::mld::Told;
use super::multicast::{ALL_NODES, Group, Message, Records};
use super::{IpProtocol, Malformed, put_u16, u16_at};
use crate::ids::MacAddr;

const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE: u8 = 0x17;
const REPORT_V3: u8 = 0x22;
/// Multicast router advertisement (RFC 4286 §3).
const ROUTER_ADVERTISEMENT: u8 = 0x30;

/// Bytes of a message of version 1 or 2, and of a query of version 3 without sources.
const LEN: usize = 8;
const QUERY_V3_LEN: usize = 12;

/// What hosts take for an answer where version 1 gives no time (RFC 2236 §4).
const RESPONSE_V1: Duration = Duration::from_secs(10);

pub(super) enum Igmp<'a> {
    /// What bridges look into, and what there is in it for them.
    Snooped(Option<Message<'a>>),
    RouterAdvertisement,
    /// What routers say to each other.
    Other,
}

/// The message in the payload `bytes` of a packet from `source` to `destination`.
pub(super) fn view(bytes: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> Result<Igmp<'_>, Malformed> {
    let &[kind, code, _, _, a, b, c, d] = bytes.first_chunk::<LEN>().ok_or(Malformed::Igmp)?;
    if !Sum::of(bytes).is_intact() {
        return Err(Malformed::Igmp);
    }
    let group = Ipv4Addr::new(a, b, c, d);
    let subject = Group::Ip(group.into());
    Ok(match kind {
        REPORT_V1 | REPORT_V2 => Igmp::Snooped(Some(Message::Join(subject))),
        LEAVE => Igmp::Snooped(Some(Message::Leave(subject))),
        REPORT_V3 => {
            let count = u16_at(bytes, 6).ok_or(Malformed::Igmp)?;
            let records = Records { count, bytes: bytes.get(LEN..).unwrap_or_default(), ipv4: true };
            if !records.are_whole() {
                return Err(Malformed::Igmp);
            }
            Igmp::Snooped(Some(Message::Report(records)))
        }
        QUERY if group.is_unspecified() && destination != ALL_NODES => return Err(Malformed::Igmp),
        QUERY => Igmp::Snooped(query(bytes, code, group, source.into())?),
        ROUTER_ADVERTISEMENT => Igmp::RouterAdvertisement,
        _ => Igmp::Other,
    })
}

/// A query; about sources, it is nothing to a bridge that does not look at those.
fn query<'a>(
    bytes: &[u8],
    code: u8,
    group: Ipv4Addr,
    querier: IpAddr,
) -> Result<Option<Message<'a>>, Malformed> {
    let about = Some(group).filter(|group| !group.is_unspecified()).map(|group| Group::Ip(group.into()));
    let tenths = |count: u32| Duration::from_millis(100) * count;
    let query = |group, response| Some(Message::Query { group, response, querier });
    match (bytes.len(), code) {
        (LEN, 0) => Ok(query(None, RESPONSE_V1)),
        (LEN, code) => Ok(query(about, tenths(code.into()))),
        (QUERY_V3_LEN.., _) if u16_at(bytes, 10) != Some(0) => Ok(None),
        (QUERY_V3_LEN.., code) => Ok(query(about, tenths(expand(code.into(), 8, 4)))),
        _ => Err(Malformed::Igmp),
    }
}

/// A code of `bits` bits whose upper half stands for a number with three bits of exponent and so many of mantissa
/// (RFC 3376 §4.1.1, RFC 3810 §5.1.3).
pub(super) fn expand(code: u32, bits: u32, mantissa: u32) -> u32 {
    if code >> (bits - 1) == 0 {
        return code;
    }
    let one = 1 << mantissa;
    ((code & (one - 1)) | one) << (((code >> mantissa) & 7) + 3)
}

/// Bytes of a frame with a query, or with a report of version 2.
pub const QUERY_FRAME_LEN: usize = MESSAGE + LEN;
const IP_LEN: usize = 24;

/// Where the message begins in a frame of ours.
const MESSAGE: usize = ethernet::HEADER_LEN + IP_LEN;

/// The frame in which a bridge of this address asks for the members of `group`, or of all, by version 2; from nobody, as
/// the kernel's asks. Hosts may take `response` to answer, up to 25.5 s.
pub fn query_frame(source: MacAddr, group: Option<Ipv4Addr>, response: Duration) -> [u8; QUERY_FRAME_LEN] {
    let mut frame = [0; QUERY_FRAME_LEN];
    let code = u8::try_from(response.as_millis() / 100).unwrap_or(u8::MAX);
    let [a, b, c, d] = group.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
    frame[MESSAGE..].copy_from_slice(&[QUERY, code, 0, 0, a, b, c, d]);
    wrap(&mut frame, (source, Ipv4Addr::UNSPECIFIED), ALL_NODES);
    frame
}

/// The address that frames to a group have (RFC 1112 §6.4).
pub fn group_mac(group: Ipv4Addr) -> MacAddr {
    let [_, b, c, d] = group.octets();
    MacAddr::new([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}

/// What a querier wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// Of which group, or of all.
    pub group: Option<Ipv4Addr>,
    /// How long one may take to answer.
    pub response: Duration,
    /// Whether it is of version 3; else it wants answers of version 2 (RFC 3376 §7.2.1).
    pub is_third_version: bool,
}

/// What a packet asks, if it is a query. One about some sources of a group is none to who listens to all.
///
/// # Errors
/// [`Malformed::Igmp`] if it is none that a querier of this link may have sent.
pub fn question(ip: &Ipv4<'_>) -> Result<Option<Question>, Malformed> {
    let bytes = ip.payload();
    if ip.protocol() != IpProtocol::IGMP || bytes.first() != Some(&QUERY) {
        return Ok(None);
    }
    let Igmp::Snooped(Some(Message::Query { group, response, .. })) =
        view(bytes, ip.source(), ip.destination())?
    else {
        return Ok(None);
    };
    let group = group.and_then(|group| match group {
        Group::Ip(IpAddr::V4(group)) => Some(group),
        _ => None,
    });
    Ok(Some(Question { group, response, is_third_version: bytes.len() >= QUERY_V3_LEN }))
}

/// All routers that speak version 3 (RFC 3376 §4.2.14).
const ALL_V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const RECORD_LEN: usize = 8;

/// Bytes of a frame with a report about so many groups.
pub const fn report_frame_len(groups: usize) -> usize {
    MESSAGE + LEN + RECORD_LEN * groups
}

/// Writes the frame in which a station tells of `groups`, whoever sends to them (RFC 3376 §4.2). `None`, and nothing to be sent, if `frame` is
/// not of [`report_frame_len`] for them.
pub fn write_report(
    frame: &mut [u8],
    from: (MacAddr, Ipv4Addr),
    groups: &[Ipv4Addr],
    told: Told,
) -> Option<()> {
    if frame.len() != report_frame_len(groups.len()) {
        return None;
    }
    let message = frame.get_mut(MESSAGE..)?;
    message.fill(0);
    message[0] = REPORT_V3;
    put_u16(message, 6, u16::try_from(groups.len()).ok()?)?;
    let (records, _) = message.get_mut(LEN..)?.as_chunks_mut::<RECORD_LEN>();
    for (record, group) in records.iter_mut().zip(groups) {
        record[0] = if told == Told::Is { 2 } else { 4 };
        record[4..].copy_from_slice(&group.octets());
    }
    wrap(frame, from, ALL_V3_ROUTERS);
    Some(())
}

/// The frame in which a station tells by version 2 that it is in `group`.
pub fn second_report_frame(from: (MacAddr, Ipv4Addr), group: Ipv4Addr) -> [u8; QUERY_FRAME_LEN] {
    let mut frame = [0; QUERY_FRAME_LEN];
    frame[MESSAGE] = REPORT_V2;
    frame[MESSAGE + 4..].copy_from_slice(&group.octets());
    wrap(&mut frame, from, group);
    frame
}

/// Puts headers ahead of the message in a frame, and the checksum into it. RFC 791 §3.1: internetwork control, do not fragment, TTL 1, router
/// alert (RFC 2113).
fn wrap(frame: &mut [u8], (mac, source): (MacAddr, Ipv4Addr), to: Ipv4Addr) {
    let Some((header, rest)) = frame.split_first_chunk_mut() else { return };
    ethernet::emit(header, group_mac(to), mac, EtherType::IPV4);
    let Some((ip, message)) = rest.split_first_chunk_mut::<IP_LEN>() else { return };
    let length = u16::try_from(IP_LEN + message.len()).unwrap_or(u16::MAX);
    ip[..12].copy_from_slice(&[0x46, 0xc0, 0, 0, 0, 0, 0x40, 0, 1, 2, 0, 0]);
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..20].copy_from_slice(&to.octets());
    ip[20..].copy_from_slice(&[0x94, 4, 0, 0]);
    let checksums = (Sum::of(ip).checksum(), Sum::of(message).checksum());
    let _ = (put_u16(ip, 10, checksums.0), put_u16(message, 2, checksums.1));
}
