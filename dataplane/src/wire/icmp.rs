//! ICMP for IPv4 (RFC 792, RFC 1191): echoes, errors, and when an error may be sent.

use std::net::Ipv4Addr;

use super::checksum::Sum;
use super::ipv4::{self, Ipv4};
use super::{IpProtocol, Malformed, put_u16};

#[cfg(test)]
mod tests;

/// Bytes of a message ahead of its data, or of the packet that it quotes.
pub const HEADER_LEN: usize = 8;

/// The longest packet with an error in it (RFC 1812 §4.3.2.3).
pub const MAX_ERROR_LEN: usize = 576;

/// Offset of the checksum in a message.
const CHECKSUM_OFFSET: usize = 2;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
const FRAGMENTATION_NEEDED: u8 = 4;

/// A message whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Are you there? The payload is to be sent back.
    EchoRequest(Echo),
    /// I am.
    EchoReply(Echo),
    /// The packet at the start of the payload, which may be cut short, did not arrive.
    Error(Error),
    /// Anything else.
    Other,
}

/// What tells one echo from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// Who asks.
    pub identifier: u16,
    /// For which time.
    pub sequence: u16,
}

/// Why a packet did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// There is no way to its destination, or none that may be taken.
    Unreachable(Unreachable),
    /// It is too long for the next link, and may not be fragmented.
    FragmentationNeeded {
        /// The longest that would have gone (RFC 1191 §4); 0 from routers older than that.
        mtu: u16,
    },
    /// It passed too many routers.
    TtlExceeded,
    /// Its other fragments did not come in time.
    ReassemblyTimeExceeded,
    /// Something in its header is wrong.
    ParameterProblem {
        /// The offset of that.
        pointer: u8,
    },
}

/// The code of an unreachable destination, other than 4 (RFC 792, RFC 1812 §5.2.7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreachable(pub u8);

impl Unreachable {
    /// No route.
    pub const NET: Self = Self(0);
    /// The last router cannot reach it.
    pub const HOST: Self = Self(1);
    /// Nobody takes this protocol.
    pub const PROTOCOL: Self = Self(2);
    /// Nobody listens at this port.
    pub const PORT: Self = Self(3);
    /// A source route ends here.
    pub const SOURCE_ROUTE: Self = Self(5);
    /// An administrator forbids the network.
    pub const NET_PROHIBITED: Self = Self(9);
    /// An administrator forbids the host.
    pub const HOST_PROHIBITED: Self = Self(10);
    /// An administrator forbids it.
    pub const PROHIBITED: Self = Self(13);
}

impl Error {
    /// Type, code, and the four bytes behind the checksum.
    fn fields(self) -> (u8, u8, [u8; 4]) {
        let unused = [0; 4];
        match self {
            Self::Unreachable(code) => (UNREACHABLE, code.0, unused),
            Self::FragmentationNeeded { mtu } => {
                let [high, low] = mtu.to_be_bytes();
                (UNREACHABLE, FRAGMENTATION_NEEDED, [0, 0, high, low])
            }
            Self::TtlExceeded => (TIME_EXCEEDED, 0, unused),
            Self::ReassemblyTimeExceeded => (TIME_EXCEEDED, 1, unused),
            Self::ParameterProblem { pointer } => (PARAMETER_PROBLEM, 0, [pointer, 0, 0, 0]),
        }
    }
}

impl<'a> Icmp<'a> {
    /// The message in `packet`; `None` if another protocol is in it, or only a part of a message.
    ///
    /// # Errors
    /// [`Malformed::Icmp`] if it is cut short, or its checksum is wrong.
    pub fn view(packet: &Ipv4<'a>) -> Result<Option<Self>, Malformed> {
        if packet.protocol() != IpProtocol::ICMP || packet.is_fragment() {
            return Ok(None);
        }
        let (header, payload) = packet.payload().split_first_chunk().ok_or(Malformed::Icmp)?;
        if !Sum::of(packet.payload()).is_intact() {
            return Err(Malformed::Icmp);
        }
        Ok(Some(Self { header, payload }))
    }

    /// What it says.
    pub fn message(&self) -> Message {
        let [kind, code, _, _, pointer, _, c, d] = *self.header;
        let [_, _, _, _, a, b, ..] = *self.header;
        let echo = Echo { identifier: u16::from_be_bytes([a, b]), sequence: u16::from_be_bytes([c, d]) };
        match (kind, code) {
            (ECHO_REQUEST, 0) => Message::EchoRequest(echo),
            (ECHO_REPLY, 0) => Message::EchoReply(echo),
            (UNREACHABLE, FRAGMENTATION_NEEDED) => {
                Message::Error(Error::FragmentationNeeded { mtu: u16::from_be_bytes([c, d]) })
            }
            (UNREACHABLE, code) => Message::Error(Error::Unreachable(Unreachable(code))),
            (TIME_EXCEEDED, 0) => Message::Error(Error::TtlExceeded),
            (TIME_EXCEEDED, 1) => Message::Error(Error::ReassemblyTimeExceeded),
            (PARAMETER_PROBLEM, 0) => Message::Error(Error::ParameterProblem { pointer }),
            _ => Message::Other,
        }
    }

    /// The data of an echo, or the packet that an error quotes.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Writes the packet with an echo request at the start of `out`, and returns its length. `ip` says all but the protocol.
/// `None` if there is no room.
pub fn echo_request(ip: ipv4::Header, echo: Echo, data: &[u8], out: &mut [u8]) -> Option<usize> {
    let [a, b] = echo.identifier.to_be_bytes();
    let [c, d] = echo.sequence.to_be_bytes();
    emit(ip, (ECHO_REQUEST, 0, [a, b, c, d]), data, out)
}

/// Turns the echo request at the start of `packet` into the reply, and says whether it was one. The reply comes from where the
/// request went, which must be an address of ours; as `icmp_reply` sends it: TTL 64, type of service as in the request. Options
/// of the request are blanked out.
///
/// # Errors
/// [`Malformed::Ipv4`] or [`Malformed::Icmp`] if header or message are not right.
pub fn answer(packet: &mut [u8], identification: u16) -> Result<bool, Malformed> {
    let request = Ipv4::view(packet)?;
    let Some(Message::EchoRequest(_)) = Icmp::view(&request)?.map(|icmp| icmp.message()) else {
        return Ok(false);
    };
    let (header_len, message_len) = (request.header_len(), request.payload().len());
    let [from, to] = [request.source(), request.destination()].map(|address| address.octets());
    let (header, message) = packet.split_at_mut_checked(header_len).ok_or(Malformed::Ipv4)?;
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[6..8].fill(0);
    header[8] = ipv4::Header::DEFAULT_TTL;
    header[12..16].copy_from_slice(&to);
    header[16..20].copy_from_slice(&from);
    header[ipv4::HEADER_LEN..].fill(ipv4::NO_OPERATION);
    ipv4::seal(header).ok_or(Malformed::Ipv4)?;
    // Anew: of a message that is all zero now the incremental sum would be 0, which is wrong.
    message[0] = ECHO_REPLY;
    let message = message.get_mut(..message_len).ok_or(Malformed::Icmp)?;
    put_u16(message, CHECKSUM_OFFSET, 0).ok_or(Malformed::Icmp)?;
    put_u16(message, CHECKSUM_OFFSET, Sum::of(message).checksum()).ok_or(Malformed::Icmp)?;
    Ok(true)
}

/// Writes the packet that tells the sender of `about` why it did not arrive at the start of `out`, and returns its length. It
/// quotes as much as fits in 576 bytes (RFC 1812 §4.3.2.3), of a packet that is known only from a quote what there is. `source` is ours; the type of service is the offender's
/// at precedence 6 (RFC 1812 §4.3.2.5), as `icmp_send` has it. Whether it may be sent is for [`may_report`] to say. `None` if
/// there is no room.
pub fn report(
    error: Error,
    about: &[u8],
    source: Ipv4Addr,
    identification: u16,
    out: &mut [u8],
) -> Option<usize> {
    const TOS: u8 = 0x1e;
    const INTERNETWORK_CONTROL: u8 = 0xc0;
    const MAX_QUOTE_LEN: usize = MAX_ERROR_LEN - ipv4::HEADER_LEN - HEADER_LEN;
    let packet = Ipv4::quoted(about).ok()?;
    let len = packet.header_len() + packet.payload().len();
    let ip = ipv4::Header {
        tos: packet.tos() & TOS | INTERNETWORK_CONTROL,
        identification,
        dont_fragment: false,
        ttl: ipv4::Header::DEFAULT_TTL,
        protocol: IpProtocol::ICMP,
        source,
        destination: packet.source(),
    };
    emit(ip, error.fields(), about.get(..len.min(MAX_QUOTE_LEN))?, out)
}

/// The same in a packet with this header, and quoting just this.
pub(super) fn report_as(ip: ipv4::Header, error: Error, quote: &[u8], out: &mut [u8]) -> Option<usize> {
    emit(ip, error.fields(), quote, out)
}

/// Whether messages of this type are errors (`icmp_is_err`, include/net/icmp.h).
pub(super) fn is_error(kind: u8) -> bool {
    const SOURCE_QUENCH: u8 = 4;
    const REDIRECT: u8 = 5;
    matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}

fn emit(ip: ipv4::Header, fields: (u8, u8, [u8; 4]), data: &[u8], out: &mut [u8]) -> Option<usize> {
    let (kind, code, [a, b, c, d]) = fields;
    let packet = out.get_mut(..ipv4::HEADER_LEN + HEADER_LEN + data.len())?;
    ipv4::Header { protocol: IpProtocol::ICMP, ..ip }.emit(packet)?;
    let message = packet.get_mut(ipv4::HEADER_LEN..)?;
    let (header, body) = message.split_first_chunk_mut()?;
    *header = [kind, code, 0, 0, a, b, c, d];
    body.copy_from_slice(data);
    put_u16(message, CHECKSUM_OFFSET, Sum::of(message).checksum())?;
    Some(packet.len())
}

/// Why no error is sent about a packet (RFC 1812 §4.3.2.7), other than that its header is invalid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// It is an ICMP error, or a message that may be one.
    AboutError,
    /// It was sent to more than one: to an IP multicast or broadcast address, or in a broadcast or multicast frame.
    ManyReceivers,
    /// It comes from no single host: from an unspecified, loopback, multicast, broadcast or reserved address.
    NoSender,
    /// It is a fragment, but not the first.
    LaterFragment,
}

/// Whether an error may be sent about `packet`, which came in a frame to a group address or not. What only routes know, that an
/// address is a network's broadcast address, is for the caller to see.
///
/// # Errors
/// Why not.
pub fn may_report(packet: &Ipv4<'_>, frame_to_group: bool) -> Result<(), Silence> {
    let (source, destination) = (packet.source(), packet.destination());
    if frame_to_group || destination.is_multicast() || destination.is_broadcast() {
        return Err(Silence::ManyReceivers);
    }
    // Class E holds the limited broadcast address.
    let is_reserved = source.octets()[0] >= 240;
    if source.octets()[0] == 0 || source.is_loopback() || source.is_multicast() || is_reserved {
        return Err(Silence::NoSender);
    }
    if packet.is_later_fragment() {
        return Err(Silence::LaterFragment);
    }
    if packet.protocol() == IpProtocol::ICMP && packet.payload().first().is_none_or(|kind| !is_query(*kind)) {
        return Err(Silence::AboutError);
    }
    Ok(())
}

/// Whether messages of this type ask or answer. What is not known may be an error, as in `icmp_send`.
fn is_query(kind: u8) -> bool {
    // Echo, router discovery, timestamp, information, address mask.
    matches!(kind, ECHO_REPLY | ECHO_REQUEST | 9 | 10 | 13..=18)
}
