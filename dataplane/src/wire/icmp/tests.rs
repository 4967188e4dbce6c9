//! ICMP messages against etherparse, and RFC 1812 §4.3.2.7 clause by clause.

use super::*;
use crate::wire::samples;
use etherparse::icmpv4::{DestUnreachableHeader, ParameterProblemHeader, TimeExceededCode};
use etherparse::{IcmpEchoHeader, Icmpv4Header, Icmpv4Slice, Icmpv4Type, IpFragOffset, IpNumber, Ipv4Header};
use proptest::prelude::*;
use proptest::sample::select;

/// A packet of another maker.
fn packet(addresses: [[u8; 4]; 2], protocol: u8, options: &[[u8; 4]], payload: &[u8]) -> Vec<u8> {
    let mut header = Ipv4Header::new(0, 7, IpNumber(protocol), addresses[0], addresses[1]).unwrap();
    (header.dscp, header.ecn) = (0b101_010.try_into().unwrap(), 1.try_into().unwrap());
    header.options = options.as_flattened().try_into().unwrap();
    header.set_payload_len(payload.len()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

fn message(kind: Icmpv4Type, data: &[u8]) -> Vec<u8> {
    [&Icmpv4Header::with_checksum(kind, data).to_bytes()[..], data].concat()
}

fn any_error() -> impl Strategy<Value = (Error, Icmpv4Type)> {
    use DestUnreachableHeader as D;
    let unreachable = [
        (Unreachable::NET, D::Network),
        (Unreachable::HOST, D::Host),
        (Unreachable::PROTOCOL, D::Protocol),
        (Unreachable::PORT, D::Port),
        (Unreachable::SOURCE_ROUTE, D::SourceRouteFailed),
        (Unreachable::NET_PROHIBITED, D::NetworkProhibited),
        (Unreachable::HOST_PROHIBITED, D::HostProhibited),
        (Unreachable::PROHIBITED, D::FilterProhibited),
    ];
    let unreachable = unreachable
        .map(|(ours, theirs)| (Error::Unreachable(ours), Icmpv4Type::DestinationUnreachable(theirs)));
    prop_oneof![
        select(unreachable.to_vec()),
        any::<u16>().prop_map(|mtu| {
            let theirs = D::FragmentationNeeded { next_hop_mtu: mtu };
            (Error::FragmentationNeeded { mtu }, Icmpv4Type::DestinationUnreachable(theirs))
        }),
        Just((Error::TtlExceeded, Icmpv4Type::TimeExceeded(TimeExceededCode::TtlExceededInTransit))),
        Just((
            Error::ReassemblyTimeExceeded,
            Icmpv4Type::TimeExceeded(TimeExceededCode::FragmentReassemblyTimeExceeded),
        )),
        any::<u8>().prop_map(|pointer| {
            let theirs = ParameterProblemHeader::PointerIndicatesError(pointer);
            (Error::ParameterProblem { pointer }, Icmpv4Type::ParameterProblem(theirs))
        }),
    ]
}

/// All that the RFC names, and a quote of at most 576 bytes in all.
fn is_whole_report(out: &[u8], about: &[u8], len: usize, theirs: &Icmpv4Type) -> Result<(), TestCaseError> {
    let (ip, rest) = Ipv4Header::from_slice(out).unwrap();
    prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
    prop_assert_eq!(usize::from(ip.total_len), out.len());
    prop_assert_eq!((ip.source, ip.destination), ([192, 0, 2, 1], [10, 9, 8, 7]));
    prop_assert_eq!((ip.time_to_live, ip.protocol, ip.dont_fragment), (64, IpNumber::ICMP, false));
    prop_assert_eq!(ip.dscp.value() << 2 | ip.ecn.value(), 0b1100_1000);
    let icmp = Icmpv4Slice::from_slice(rest).unwrap();
    prop_assert!(Sum::of(rest).is_intact());
    prop_assert_eq!(&icmp.icmp_type(), theirs);
    prop_assert_eq!(icmp.payload(), &about[..len.min(548)]);
    prop_assert!(out.len() == 576 || icmp.payload().len() == len);
    Ok(())
}

proptest! {
    #![proptest_config(samples::config())]

    #[test]
    fn report_is_what_another_maker_reads(
        (ours, theirs) in any_error(),
        options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
        payload in prop::collection::vec(any::<u8>(), 0..1400),
        padding in 0..40usize,
    ) {
        let mut about = packet([[10, 9, 8, 7], [10, 0, 0, 2]], 17, &options, &payload);
        let len = about.len();
        about.extend(vec![0xa5; padding]);
        let mut out = [0; MAX_ERROR_LEN];
        let written = report(ours, &about, Ipv4Addr::new(192, 0, 2, 1), 7, &mut out).unwrap();
        is_whole_report(&out[..written], &about, len, &theirs)?;
        let view = Ipv4::view(&out[..written]).unwrap();
        let icmp = Icmp::view(&view).unwrap().unwrap();
        prop_assert_eq!(icmp.message(), Message::Error(ours));
        prop_assert_eq!(may_report(&view, false), Err(Silence::AboutError));
        prop_assert_eq!(report(ours, &about, Ipv4Addr::LOCALHOST, 7, &mut out[..written - 1]), None);
    }

    #[test]
    fn message_of_another_maker_reads_back((ours, theirs) in any_error(), echo: [u16; 2], reply: bool, data: Vec<u8>) {
        let addresses = [[10, 0, 0, 1], [10, 0, 0, 2]];
        let bytes = packet(addresses, 1, &[], &message(theirs, &data));
        let icmp = Icmp::view(&Ipv4::view(&bytes).unwrap()).unwrap().unwrap();
        prop_assert_eq!((icmp.message(), icmp.payload()), (Message::Error(ours), &data[..]));

        let [identifier, sequence] = echo;
        let header = IcmpEchoHeader { id: identifier, seq: sequence };
        let kind = if reply { Icmpv4Type::EchoReply(header) } else { Icmpv4Type::EchoRequest(header) };
        let bytes = packet(addresses, 1, &[], &message(kind, &data));
        let icmp = Icmp::view(&Ipv4::view(&bytes).unwrap()).unwrap().unwrap();
        let echo = Echo { identifier, sequence };
        let expected = if reply { Message::EchoReply(echo) } else { Message::EchoRequest(echo) };
        prop_assert_eq!((icmp.message(), icmp.payload()), (expected, &data[..]));
    }

    #[test]
    fn request_becomes_its_reply(
        addresses: [[u8; 4]; 2],
        echo: [u16; 2],
        options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
        data: Vec<u8>,
        padding in 0..40usize,
    ) {
        let header = IcmpEchoHeader { id: echo[0], seq: echo[1] };
        let mut bytes = packet(addresses, 1, &options, &message(Icmpv4Type::EchoRequest(header), &data));
        let len = bytes.len();
        bytes.extend(vec![0xa5; padding]);
        prop_assert_eq!(answer(&mut bytes, 0x1234), Ok(true));
        let (ip, _) = Ipv4Header::from_slice(&bytes).unwrap();
        prop_assert_eq!((ip.source, ip.destination), (addresses[1], addresses[0]));
        prop_assert_eq!((ip.time_to_live, ip.identification), (64, 0x1234));
        prop_assert_eq!(ip.dscp.value() << 2 | ip.ecn.value(), 0b1010_1001);
        prop_assert!(ip.options.iter().all(|option| *option == 1));
        prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        prop_assert_eq!(&bytes[ip.header_len()..len], message(Icmpv4Type::EchoReply(header), &data));
        prop_assert!(bytes[len..].iter().all(|byte| *byte == 0xa5));
        // A reply is not answered.
        let before = bytes.clone();
        prop_assert_eq!(answer(&mut bytes, 7), Ok(false));
        prop_assert_eq!(bytes, before);
    }

    #[test]
    fn echo_request_is_what_another_maker_reads(echo: [u16; 2], data: Vec<u8>) {
        let [identifier, sequence] = echo;
        let ip = ipv4::Header {
            tos: 0,
            identification: 1,
            dont_fragment: true,
            ttl: 64,
            protocol: IpProtocol::ICMP,
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
        };
        let mut out = vec![0xa5; 28 + data.len()];
        prop_assert_eq!(echo_request(ip, Echo { identifier, sequence }, &data, &mut out), Some(out.len()));
        let header = IcmpEchoHeader { id: identifier, seq: sequence };
        prop_assert_eq!(&out[20..], message(Icmpv4Type::EchoRequest(header), &data));
        prop_assert_eq!(Ipv4::view(&out).unwrap().payload().len(), 8 + data.len());
        prop_assert_eq!(echo_request(ip, Echo { identifier, sequence }, &data, &mut out[1..]), None);
    }

    #[test]
    fn broken_messages_are_refused(data in prop::collection::vec(any::<u8>(), 0..40), flip in 1..=255u8, at: prop::sample::Index) {
        let header = IcmpEchoHeader { id: 1, seq: 2 };
        let mut bytes = packet([[10, 0, 0, 1], [10, 0, 0, 2]], 1, &[], &message(Icmpv4Type::EchoRequest(header), &data));
        let at = 20 + at.index(bytes.len() - 20);
        bytes[at] ^= flip;
        prop_assert_eq!(Icmp::view(&Ipv4::view(&bytes).unwrap()).err(), Some(Malformed::Icmp));
        let before = bytes.clone();
        prop_assert_eq!(answer(&mut bytes, 1), Err(Malformed::Icmp));
        prop_assert_eq!(bytes, before);
        let short = packet([[10, 0, 0, 1], [10, 0, 0, 2]], 1, &[], &[0; 7]);
        prop_assert_eq!(Icmp::view(&Ipv4::view(&short).unwrap()).err(), Some(Malformed::Icmp));
    }
}

/// RFC 1812 §4.3.2.7, clause by clause.
#[test]
fn errors_are_sent_about_what_the_rfc_allows_only() {
    const HOSTS: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 9, 0, 2]];
    let check = |bytes: &[u8], to_group| may_report(&Ipv4::view(bytes).unwrap(), to_group);
    let udp = packet(HOSTS, 17, &[], b"whatever");
    assert_eq!(check(&udp, false), Ok(()));
    // "A packet sent as a link layer broadcast or multicast"
    assert_eq!(check(&udp, true), Err(Silence::ManyReceivers));
    // "A packet destined to an IP broadcast or IP multicast address"
    for destination in [[224, 0, 0, 1], [239, 255, 255, 255], [255; 4]] {
        assert_eq!(check(&packet([HOSTS[0], destination], 17, &[], b""), false), Err(Silence::ManyReceivers));
    }
    // "A packet whose source address has a network prefix of zero or is an invalid source address (§5.3.7)"
    for source in [[0; 4], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 5], [240, 0, 0, 1], [255; 4]] {
        assert_eq!(check(&packet([source, HOSTS[1]], 17, &[], b""), false), Err(Silence::NoSender));
    }
    // "Any fragment of a datagram other then the first fragment"
    let fragment = |offset: u16| {
        let (mut header, rest) = Ipv4Header::from_slice(&udp).unwrap();
        header.more_fragments = true;
        header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
        [&header.to_bytes()[..], rest].concat()
    };
    assert_eq!(check(&fragment(0), false), Ok(()));
    assert_eq!(check(&fragment(1), false), Err(Silence::LaterFragment));
    // "An ICMP error message", and anything that may be one; RFC 792's queries are none.
    for (kind, expected) in [
        (0, Ok(())),
        (8, Ok(())),
        (13, Ok(())),
        (18, Ok(())),
        (3, Err(Silence::AboutError)),
        (4, Err(Silence::AboutError)),
        (5, Err(Silence::AboutError)),
        (11, Err(Silence::AboutError)),
        (12, Err(Silence::AboutError)),
        (40, Err(Silence::AboutError)),
    ] {
        assert_eq!(check(&packet(HOSTS, 1, &[], &[kind, 0, 0, 0]), false), expected, "type {kind}");
    }
    assert_eq!(check(&packet(HOSTS, 1, &[], b""), false), Err(Silence::AboutError));
}

/// The only message whose checksum is not 0 though its words are.
#[test]
fn reply_of_zeros_has_its_checksum() {
    let header = IcmpEchoHeader { id: 0, seq: 0 };
    let addresses = [[10, 0, 0, 1], [10, 0, 0, 2]];
    let mut bytes = packet(addresses, 1, &[], &message(Icmpv4Type::EchoRequest(header), &[0; 5]));
    assert_eq!(answer(&mut bytes, 1), Ok(true));
    assert_eq!(&bytes[20..], [0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}
