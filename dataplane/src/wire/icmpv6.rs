//! ICMPv6 (RFC 4443): echoes, errors, and when an error may be sent. What neighbours say is in [`neighbor`](super::neighbor).

use std::net::Ipv6Addr;

use super::checksum::{self, Sum, pseudo_header};
use super::icmp::Echo;
use super::ipv6::{self, Ipv6};
use super::{IpProtocol, Malformed, put_u16, u16_at};

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
/// 64, traffic class as in the request. One behind extension headers, which a reply would not have, is no such request.
///
/// # Errors
/// [`Malformed::Ipv6`] or [`Malformed::Icmpv6`] if header or message are not right.
pub fn answer(packet: &mut [u8], source: Ipv6Addr) -> Result<bool, Malformed> {
    let request = Ipv6::view(packet)?;
    let Some(Message::EchoRequest(_)) = Icmpv6::view(&request)?.map(|icmp| icmp.message()) else {
        return Ok(false);
    };
    if request.next_header() != IpProtocol::ICMPV6 {
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
/// quotes as much as fits in 1280 bytes (RFC 4443 §2.4(c)). `source` is ours. Whether it may be sent is for
/// [`may_report`] to say. `None` if there is no room.
pub fn report(error: Error, about: &[u8], source: Ipv6Addr, out: &mut [u8]) -> Option<usize> {
    const MAX_QUOTE_LEN: usize = MAX_ERROR_LEN - ipv6::HEADER_LEN - HEADER_LEN;
    let packet = Ipv6::view(about).ok()?;
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
    match packet.transport() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::icmpv6::{
        DestUnreachableCode, ParameterProblemCode, ParameterProblemHeader, TimeExceededCode,
    };
    use etherparse::{IcmpEchoHeader, Icmpv6Header, Icmpv6Slice, Icmpv6Type, IpNumber, Ipv6Header};
    use proptest::prelude::*;
    use proptest::sample::select;

    const HOST: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const OTHER: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    /// A packet of another maker.
    fn packet(addresses: [[u8; 16]; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            traffic_class: 0xb9,
            payload_length: u16::try_from(payload.len()).unwrap(),
            next_header: IpNumber(protocol),
            hop_limit: 7,
            source: addresses[0],
            destination: addresses[1],
            ..Default::default()
        };
        [&header.to_bytes()[..], payload].concat()
    }

    fn message(addresses: [[u8; 16]; 2], kind: Icmpv6Type, data: &[u8]) -> Vec<u8> {
        let header = Icmpv6Header::with_checksum(kind, addresses[0], addresses[1], data).unwrap();
        [&header.to_bytes()[..], data].concat()
    }

    fn any_error() -> impl Strategy<Value = (Error, Icmpv6Type)> {
        use DestUnreachableCode as D;
        let unreachable = [
            (Unreachable::NO_ROUTE, D::NoRoute),
            (Unreachable::PROHIBITED, D::Prohibited),
            (Unreachable::BEYOND_SCOPE, D::BeyondScope),
            (Unreachable::ADDRESS, D::Address),
            (Unreachable::PORT, D::Port),
            (Unreachable::SOURCE_POLICY, D::SourceAddressFailedPolicy),
            (Unreachable::REJECT_ROUTE, D::RejectRoute),
        ];
        let unreachable = unreachable
            .map(|(ours, theirs)| (Error::Unreachable(ours), Icmpv6Type::DestinationUnreachable(theirs)));
        let problems = [
            (Problem::HEADER, ParameterProblemCode::ErroneousHeaderField),
            (Problem::NEXT_HEADER, ParameterProblemCode::UnrecognizedNextHeader),
            (Problem::OPTION, ParameterProblemCode::UnrecognizedIpv6Option),
        ];
        prop_oneof![
            select(unreachable.to_vec()),
            any::<u32>().prop_map(|mtu| (Error::PacketTooBig { mtu }, Icmpv6Type::PacketTooBig { mtu })),
            Just((Error::HopLimitExceeded, Icmpv6Type::TimeExceeded(TimeExceededCode::HopLimitExceeded))),
            Just((
                Error::ReassemblyTimeExceeded,
                Icmpv6Type::TimeExceeded(TimeExceededCode::FragmentReassemblyTimeExceeded),
            )),
            (select(problems.to_vec()), any::<u32>()).prop_map(|((problem, code), pointer)| {
                let theirs = ParameterProblemHeader { code, pointer };
                (Error::ParameterProblem { problem, pointer }, Icmpv6Type::ParameterProblem(theirs))
            }),
        ]
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn report_is_what_another_maker_reads(
            (ours, theirs) in any_error(),
            source: [u8; 16],
            payload in prop::collection::vec(any::<u8>(), 0..1400),
            padding in 0..40usize,
        ) {
            let mut about = packet([HOST, OTHER], 17, &payload);
            let len = about.len();
            about.extend(vec![0xa5; padding]);
            let mut out = [0; MAX_ERROR_LEN];
            let written = report(ours, &about, Ipv6Addr::from(source), &mut out).unwrap();
            let (ip, rest) = Ipv6Header::from_slice(&out[..written]).unwrap();
            prop_assert_eq!((ip.source, ip.destination), (source, HOST));
            prop_assert_eq!((ip.hop_limit, ip.next_header, ip.traffic_class), (64, IpNumber::IPV6_ICMP, 0));
            prop_assert_eq!(usize::from(ip.payload_length), rest.len());
            let icmp = Icmpv6Slice::from_slice(rest).unwrap();
            prop_assert!(icmp.is_checksum_valid(ip.source, ip.destination));
            prop_assert_eq!(icmp.icmp_type(), theirs);
            prop_assert_eq!(icmp.payload(), &about[..len.min(1232)]);
            prop_assert!(written == 1280 || icmp.payload().len() == len);
            let view = Ipv6::view(&out[..written]).unwrap();
            let icmp = Icmpv6::view(&view).unwrap().unwrap();
            prop_assert_eq!(icmp.message(), Message::Error(ours));
            prop_assert_eq!(report(ours, &about, Ipv6Addr::LOCALHOST, &mut out[..written - 1]), None);
        }

        #[test]
        fn message_of_another_maker_reads_back(
            (ours, theirs) in any_error(),
            echo: [u16; 2],
            reply: bool,
            data: Vec<u8>,
        ) {
            let read = |kind: Icmpv6Type| {
                let body = message([HOST, OTHER], kind, &data);
                let plain = packet([HOST, OTHER], 58, &body);
                let alerted = packet([HOST, OTHER], 0, &[&[58, 0, 5, 2, 0, 0, 1, 0][..], &body].concat());
                let [plain, alerted] = [plain, alerted].map(|bytes| {
                    let view = Ipv6::view(&bytes).unwrap();
                    let icmp = Icmpv6::view(&view).unwrap().unwrap();
                    assert_eq!(icmp.payload(), data);
                    icmp.message()
                });
                assert_eq!(plain, alerted);
                plain
            };
            prop_assert_eq!(read(theirs), Message::Error(ours));
            let [identifier, sequence] = echo;
            let header = IcmpEchoHeader { id: identifier, seq: sequence };
            let echo = Echo { identifier, sequence };
            let (kind, expected) = if reply {
                (Icmpv6Type::EchoReply(header), Message::EchoReply(echo))
            } else {
                (Icmpv6Type::EchoRequest(header), Message::EchoRequest(echo))
            };
            prop_assert_eq!(read(kind), expected);
        }

        #[test]
        fn request_becomes_its_reply(
            addresses: [[u8; 16]; 2],
            ours: Option<[u8; 16]>,
            echo: [u16; 2],
            data: Vec<u8>,
            padding in 0..40usize,
        ) {
            let header = IcmpEchoHeader { id: echo[0], seq: echo[1] };
            let mut bytes = packet(addresses, 58, &message(addresses, Icmpv6Type::EchoRequest(header), &data));
            let len = bytes.len();
            bytes.extend(vec![0xa5; padding]);
            let source = ours.unwrap_or(addresses[1]);
            prop_assert_eq!(answer(&mut bytes, source.into()), Ok(true));
            let (ip, rest) = Ipv6Header::from_slice(&bytes[..len]).unwrap();
            prop_assert_eq!((ip.source, ip.destination), (source, addresses[0]));
            prop_assert_eq!((ip.hop_limit, ip.traffic_class), (64, 0xb9));
            let icmp = Icmpv6Slice::from_slice(rest).unwrap();
            prop_assert!(icmp.is_checksum_valid(ip.source, ip.destination));
            prop_assert_eq!((icmp.icmp_type(), icmp.payload()), (Icmpv6Type::EchoReply(header), &data[..]));
            prop_assert!(bytes[len..].iter().all(|byte| *byte == 0xa5));
            let before = bytes.clone();
            prop_assert_eq!(answer(&mut bytes, source.into()), Ok(false));
            prop_assert_eq!(bytes, before);
        }

        #[test]
        fn echo_request_is_what_another_maker_reads(echo: [u16; 2], data: Vec<u8>) {
            let [identifier, sequence] = echo;
            let [source, destination] = [HOST, OTHER].map(Ipv6Addr::from);
            let next_header = IpProtocol::ICMPV6;
            let ip = ipv6::Header { traffic_class: 0, hop_limit: 64, next_header, source, destination };
            let mut out = vec![0xa5; 48 + data.len()];
            prop_assert_eq!(echo_request(ip, Echo { identifier, sequence }, &data, &mut out), Some(out.len()));
            let kind = Icmpv6Type::EchoRequest(IcmpEchoHeader { id: identifier, seq: sequence });
            prop_assert_eq!(&out[40..], message([HOST, OTHER], kind, &data));
            prop_assert_eq!(echo_request(ip, Echo { identifier, sequence }, &data, &mut out[1..]), None);
        }

        #[test]
        fn broken_messages_are_refused(
            data in prop::collection::vec(any::<u8>(), 0..40),
            flip in 1..=255u8,
            at: prop::sample::Index,
        ) {
            let kind = Icmpv6Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 2 });
            let mut bytes = packet([HOST, OTHER], 58, &message([HOST, OTHER], kind, &data));
            let at = 40 + at.index(bytes.len() - 40);
            bytes[at] ^= flip;
            prop_assert_eq!(Icmpv6::view(&Ipv6::view(&bytes).unwrap()).err(), Some(Malformed::Icmpv6));
            let before = bytes.clone();
            prop_assert_eq!(answer(&mut bytes, OTHER.into()), Err(Malformed::Icmpv6));
            prop_assert_eq!(bytes, before);
            let short = packet([HOST, OTHER], 58, &[0; 7]);
            prop_assert_eq!(Icmpv6::view(&Ipv6::view(&short).unwrap()).err(), Some(Malformed::Icmpv6));
        }
    }

    /// RFC 4443 §2.4(e), clause by clause.
    #[test]
    fn errors_are_sent_about_what_the_rfc_allows_only() {
        const GROUP: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let late = Error::HopLimitExceeded;
        let check = |error, bytes: &[u8], to_group| may_report(error, &Ipv6::view(bytes).unwrap(), to_group);
        let udp = packet([HOST, OTHER], 17, b"whatever");
        assert_eq!(check(late, &udp, false), Ok(()));
        // e.1 an error, known or not; e.2 a redirect. Whole, behind an extension header, and in a first fragment.
        for (kind, expected) in [
            (1, Err(Silence::AboutError)),
            (4, Err(Silence::AboutError)),
            (127, Err(Silence::AboutError)),
            (137, Err(Silence::AboutError)),
            (128, Ok(())),
            (135, Ok(())),
            (200, Ok(())),
        ] {
            let message = [kind, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(check(late, &packet([HOST, OTHER], 58, &message), false), expected, "type {kind}");
            let extended = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &message].concat();
            assert_eq!(check(late, &packet([HOST, OTHER], 60, &extended), false), expected, "type {kind}");
            let fragment = |flags| [&[58, 0, 0, flags, 0, 0, 0, 1][..], &message].concat();
            assert_eq!(check(late, &packet([HOST, OTHER], 44, &fragment(1)), false), expected, "type {kind}");
            // Of a later one nobody can say.
            assert_eq!(check(late, &packet([HOST, OTHER], 44, &fragment(8)), false), Ok(()), "type {kind}");
        }
        assert_eq!(check(late, &packet([HOST, OTHER], 58, b""), false), Err(Silence::AboutError));
        assert_eq!(check(late, &packet([HOST, OTHER], 60, &[58, 9, 0, 0]), false), Err(Silence::AboutError));
        // e.3 to a multicast address; e.4, e.5 in a frame to a group. Two errors are excepted.
        let option = Error::ParameterProblem { problem: Problem::OPTION, pointer: 42 };
        let header = Error::ParameterProblem { problem: Problem::HEADER, pointer: 42 };
        for (error, expected) in [
            (late, Err(Silence::ManyReceivers)),
            (Error::Unreachable(Unreachable::NO_ROUTE), Err(Silence::ManyReceivers)),
            (header, Err(Silence::ManyReceivers)),
            (option, Ok(())),
            (Error::PacketTooBig { mtu: 1280 }, Ok(())),
        ] {
            assert_eq!(check(error, &packet([HOST, GROUP], 17, b""), false), expected, "{error:?}");
            assert_eq!(check(error, &udp, true), expected, "{error:?}");
        }
        // e.6 from no single node.
        for source in [[0; 16], GROUP, Ipv6Addr::LOCALHOST.octets()] {
            assert_eq!(check(late, &packet([source, OTHER], 17, b""), false), Err(Silence::NoSender));
        }
    }
}
