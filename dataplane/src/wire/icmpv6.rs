//! ICMPv6 (RFC 4443): echoes, errors, and when an error may be sent. What neighbours say is in [`neighbor`](super::neighbor).

use std::net::Ipv6Addr;

use super::checksum::{self, Sum, pseudo_header};
use super::icmp::Echo;
use super::ipv6::{self, Ipv6};
use super::{IpProtocol, Malformed, put_u16, u16_at};

#[cfg(test)]
mod tests;

/// Bytes of a message ahead of its data, or of the packet that it quotes.
pub const HEADER_LEN: usize = 8;

/// The longest packet with an error in it: what every link carries (RFC 4443 §2.4(c)).
pub const MAX_ERROR_LEN: usize = 1280;

const UNREACHABLE: u8 = 1;
const PACKET_TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
const PARAMETER_PROBLEM: u8 = 4;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const REDIRECT: u8 = 137;

/// A message whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv6<'a> {
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

/// Why a packet did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// There is no way to its destination, or none that may be taken.
    Unreachable(Unreachable),
    /// It is too long for the next link.
    PacketTooBig {
        /// The longest that would have gone.
        mtu: u32,
    },
    /// It passed too many routers.
    HopLimitExceeded,
    /// Its other fragments did not come in time.
    ReassemblyTimeExceeded,
    /// Something in it is wrong or not known.
    ParameterProblem {
        /// What is.
        problem: Problem,
        /// The offset of that.
        pointer: u32,
    },
}

/// The code of an unreachable destination (RFC 4443 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreachable(pub u8);

impl Unreachable {
    /// No route.
    pub const NO_ROUTE: Self = Self(0);
    /// An administrator forbids it.
    pub const PROHIBITED: Self = Self(1);
    /// The source's scope ends here.
    pub const BEYOND_SCOPE: Self = Self(2);
    /// The last router cannot reach it.
    pub const ADDRESS: Self = Self(3);
    /// Nobody listens at this port.
    pub const PORT: Self = Self(4);
    /// A rule about its source forbids it.
    pub const SOURCE_POLICY: Self = Self(5);
    /// The route says so.
    pub const REJECT_ROUTE: Self = Self(6);
}

/// The code of a parameter problem (RFC 4443 §3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Problem(pub u8);

impl Problem {
    /// A field is wrong.
    pub const HEADER: Self = Self(0);
    /// A next header is not known.
    pub const NEXT_HEADER: Self = Self(1);
    /// An option is not known.
    pub const OPTION: Self = Self(2);
}

impl Error {
    /// Type, code, and the four bytes behind the checksum.
    fn fields(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::Unreachable(code) => (UNREACHABLE, code.0, [0; 4]),
            Self::PacketTooBig { mtu } => (PACKET_TOO_BIG, 0, mtu.to_be_bytes()),
            Self::HopLimitExceeded => (TIME_EXCEEDED, 0, [0; 4]),
            Self::ReassemblyTimeExceeded => (TIME_EXCEEDED, 1, [0; 4]),
            Self::ParameterProblem { problem, pointer } => {
                (PARAMETER_PROBLEM, problem.0, pointer.to_be_bytes())
            }
        }
    }

    /// Whether it may be sent about what went to many: path MTU discovery works for multicast, and an option may ask for
    /// an answer (RFC 4443 §2.4(e.3)).
    fn is_for_groups(self) -> bool {
        matches!(self, Self::PacketTooBig { .. } | Self::ParameterProblem { problem: Problem::OPTION, .. })
    }
}

impl<'a> Icmpv6<'a> {
    /// The message in `packet`, behind its extension headers; `None` if another protocol is in it, or only a part of a message.
    ///
    /// # Errors
    /// [`Malformed::Ipv6`] if its extension headers are; [`Malformed::Icmpv6`] if the message is cut short, or its checksum
    /// is wrong.
    pub fn view(packet: &Ipv6<'a>) -> Result<Option<Self>, Malformed> {
        let (protocol, bytes) = packet.transport()?;
        if protocol != IpProtocol::ICMPV6 {
            return Ok(None);
        }
        let (header, payload) = bytes.split_first_chunk().ok_or(Malformed::Icmpv6)?;
        let len = u16::try_from(bytes.len()).map_err(|_| Malformed::Icmpv6)?;
        let sum = pseudo_header(packet.addresses(), IpProtocol::ICMPV6, len) + Sum::of(bytes);
        if !sum.is_intact() {
            return Err(Malformed::Icmpv6);
        }
        Ok(Some(Self { header, payload }))
    }

    /// What it says.
    pub fn message(&self) -> Message {
        let [kind, code, _, _, a, b, c, d] = *self.header;
        let echo = Echo { identifier: u16::from_be_bytes([a, b]), sequence: u16::from_be_bytes([c, d]) };
        let word = u32::from_be_bytes([a, b, c, d]);
        match (kind, code) {
            (ECHO_REQUEST, 0) => Message::EchoRequest(echo),
            (ECHO_REPLY, 0) => Message::EchoReply(echo),
            (UNREACHABLE, code) => Message::Error(Error::Unreachable(Unreachable(code))),
            // RFC 4443 §3.2: the code is ignored by the receiver.
            (PACKET_TOO_BIG, _) => Message::Error(Error::PacketTooBig { mtu: word }),
            (TIME_EXCEEDED, 0) => Message::Error(Error::HopLimitExceeded),
            (TIME_EXCEEDED, 1) => Message::Error(Error::ReassemblyTimeExceeded),
            (PARAMETER_PROBLEM, code) => {
                Message::Error(Error::ParameterProblem { problem: Problem(code), pointer: word })
            }
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
pub fn echo_request(ip: ipv6::Header, echo: Echo, data: &[u8], out: &mut [u8]) -> Option<usize> {
    let [a, b] = echo.identifier.to_be_bytes();
    let [c, d] = echo.sequence.to_be_bytes();
    emit(ip, (ECHO_REQUEST, 0, [a, b, c, d]), data, out)
}

/// Turns the echo request at the start of `packet` into the reply, and says whether it was one. The reply comes from `source`,
/// an address of ours: the one that the request went to, unless that is a group's. As `icmpv6_echo_reply` sends it: hop limit
/// 64, traffic class as in the request. One behind extension headers, which a reply would not have, or from
/// nobody is no such request.
///
/// # Errors
/// [`Malformed::Ipv6`] or [`Malformed::Icmpv6`] if header or message are not right.
pub fn answer(packet: &mut [u8], source: Ipv6Addr) -> Result<bool, Malformed> {
    let request = Ipv6::view(packet)?;
    let Some(Message::EchoRequest(_)) = Icmpv6::view(&request)?.map(|icmp| icmp.message()) else {
        return Ok(false);
    };
    if request.next_header() != IpProtocol::ICMPV6 || request.source().is_unspecified() {
        return Ok(false);
    }
    let [from, to] = [request.source(), request.destination()].map(|address| address.octets());
    let (header, message) = packet.split_at_mut_checked(ipv6::HEADER_LEN).ok_or(Malformed::Ipv6)?;
    header[7] = ipv6::Header::DEFAULT_HOP_LIMIT;
    header[8..24].copy_from_slice(&source.octets());
    header[24..40].copy_from_slice(&from);
    let old = u16_at(message, 2).ok_or(Malformed::Icmpv6)?;
    let before = Sum::of(&to) + Sum::of(&[ECHO_REQUEST, 0]);
    let after = Sum::of(&source.octets()) + Sum::of(&[ECHO_REPLY, 0]);
    message[0] = ECHO_REPLY;
    put_u16(message, 2, checksum::updated(old, before, after)).ok_or(Malformed::Icmpv6)?;
    Ok(true)
}

/// Writes the packet that tells the sender of `about` why it did not arrive at the start of `out`, and returns its length. It
/// quotes as much as fits in 1280 bytes (RFC 4443 §2.4(c)), of a packet that is known only from a quote what there is. `source` is ours. Whether it may be sent is for
/// [`may_report`] to say. `None` if there is no room.
pub fn report(error: Error, about: &[u8], source: Ipv6Addr, out: &mut [u8]) -> Option<usize> {
    const MAX_QUOTE_LEN: usize = MAX_ERROR_LEN - ipv6::HEADER_LEN - HEADER_LEN;
    let packet = Ipv6::quoted(about).ok()?;
    let len = ipv6::HEADER_LEN + packet.payload().len();
    let ip = ipv6::Header {
        traffic_class: 0,
        hop_limit: ipv6::Header::DEFAULT_HOP_LIMIT,
        next_header: IpProtocol::ICMPV6,
        source,
        destination: packet.source(),
    };
    emit(ip, error.fields(), about.get(..len.min(MAX_QUOTE_LEN))?, out)
}

/// The same in a packet with this header, and quoting just this.
pub(super) fn report_as(ip: ipv6::Header, error: Error, quote: &[u8], out: &mut [u8]) -> Option<usize> {
    emit(ip, error.fields(), quote, out)
}

fn emit(ip: ipv6::Header, fields: (u8, u8, [u8; 4]), data: &[u8], out: &mut [u8]) -> Option<usize> {
    let (kind, code, [a, b, c, d]) = fields;
    let packet = out.get_mut(..ipv6::HEADER_LEN + HEADER_LEN + data.len())?;
    ipv6::Header { next_header: IpProtocol::ICMPV6, ..ip }.emit(packet)?;
    let message = packet.get_mut(ipv6::HEADER_LEN..)?;
    let len = u16::try_from(message.len()).ok()?;
    let (header, body) = message.split_first_chunk_mut()?;
    *header = [kind, code, 0, 0, a, b, c, d];
    body.copy_from_slice(data);
    let addresses = [ip.source, ip.destination].map(|address| address.octets());
    let sum = pseudo_header(addresses.as_flattened(), IpProtocol::ICMPV6, len) + Sum::of(message);
    put_u16(message, 2, sum.checksum())?;
    Some(packet.len())
}

/// Why no error is sent about a packet (RFC 4443 §2.4(e)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// (e.1, e.2) It is an ICMPv6 error or a redirect, or a message that cannot be told from one.
    AboutError,
    /// (e.3 to e.5) It was sent to more than one: to a multicast address, or in a broadcast or multicast frame.
    ManyReceivers,
    /// (e.6) It comes from no single node: from the unspecified address or a multicast one; or from the loopback address, which is on
    /// no link (RFC 4291 §2.5.3).
    NoSender,
}

/// Whether `error` may be sent about `packet`, which came in a frame to a group address or not. That an address is an anycast
/// one, only its owners know.
///
/// # Errors
/// Why not.
pub fn may_report(error: Error, packet: &Ipv6<'_>, frame_to_group: bool) -> Result<(), Silence> {
    let source = packet.source();
    if (frame_to_group || packet.destination().is_multicast()) && !error.is_for_groups() {
        return Err(Silence::ManyReceivers);
    }
    if source.is_unspecified() || source.is_multicast() || source.is_loopback() {
        return Err(Silence::NoSender);
    }
    match packet.upper_layer() {
        Ok((IpProtocol::ICMPV6, message)) if message.first().is_none_or(|kind| is_error(*kind)) => {
            Err(Silence::AboutError)
        }
        // The kernel's `is_ineligible` looks into a first fragment, too, and lets later ones pass.
        Ok((ipv6::FRAGMENT, [next, _, 0, 0..8, _, _, _, _, rest @ ..]))
            if *next == IpProtocol::ICMPV6.0 && rest.first().is_none_or(|kind| is_error(*kind)) =>
        {
            Err(Silence::AboutError)
        }
        // Where the walk ends early, an error may hide.
        Err(_) => Err(Silence::AboutError),
        Ok(_) => Ok(()),
    }
}

/// Types below 128 are errors (RFC 4443 §2.1).
fn is_error(kind: u8) -> bool {
    kind < 128 || kind == REDIRECT
}
