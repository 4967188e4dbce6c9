//! IGMP messages (RFC 1112, 2236, 3376), and the query that a bridge sends itself.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::checksum::Sum;
use super::ethernet::{self, EtherType};
use super::multicast::{ALL_NODES, Group, Message, Records};
use super::{Malformed, put_u16, u16_at};
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

/// Bytes of a frame with a query.
pub const QUERY_FRAME_LEN: usize = ethernet::HEADER_LEN + IP_LEN + LEN;
const IP_LEN: usize = 24;

/// The frame in which a bridge of this address asks for the members of `group`, or of all, by version 2; from nobody, as
/// the kernel's asks. Hosts may take `response` to answer, up to 25.5 s.
pub fn query_frame(source: MacAddr, group: Option<Ipv4Addr>, response: Duration) -> [u8; QUERY_FRAME_LEN] {
    // RFC 791 §3.1: internetwork control, do not fragment, TTL 1, router alert (RFC 2113).
    const IP: [u8; IP_LEN] =
        [0x46, 0xc0, 0, 32, 0, 0, 0x40, 0, 1, 2, 0, 0, 0, 0, 0, 0, 224, 0, 0, 1, 0x94, 4, 0, 0];
    let code = u8::try_from(response.as_millis() / 100).unwrap_or(u8::MAX);
    let [a, b, c, d] = group.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
    let mut message = [QUERY, code, 0, 0, a, b, c, d];
    let checksum = Sum::of(&message).checksum();
    let mut ip = IP;
    let ip_checksum = Sum::of(&ip).checksum();
    let _ = (put_u16(&mut message, 2, checksum), put_u16(&mut ip, 10, ip_checksum));

    let mut frame = [0; QUERY_FRAME_LEN];
    let (header, rest) = frame.split_first_chunk_mut().expect("there is room for a header");
    let destination = MacAddr::new([0x01, 0x00, 0x5e, 0, 0, 1]);
    ethernet::emit(header, destination, source, EtherType::IPV4);
    let (ip_bytes, message_bytes) = rest.split_at_mut(IP_LEN);
    ip_bytes.copy_from_slice(&ip);
    message_bytes.copy_from_slice(&message);
    frame
}
