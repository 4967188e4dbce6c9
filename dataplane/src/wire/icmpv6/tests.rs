//! ICMPv6 messages against etherparse, and RFC 4443 §2.4(e) clause by clause.

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

#[test]
fn nobody_is_not_answered() {
    let kind = Icmpv6Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 2 });
    let mut bytes = packet([[0; 16], OTHER], 58, &message([[0; 16], OTHER], kind, b"hello"));
    let extended = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &message([HOST, OTHER], kind, b"hello")].concat();
    let mut extended = packet([HOST, OTHER], 60, &extended);
    for bytes in [&mut bytes, &mut extended] {
        let before = bytes.clone();
        assert_eq!(answer(bytes, OTHER.into()), Ok(false));
        assert_eq!(*bytes, before);
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
        let routed = [&[58, 0, 4, 1, 0, 0, 0, 0][..], &message].concat();
        assert_eq!(check(late, &packet([HOST, OTHER], 43, &routed), false), expected, "type {kind}");
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
