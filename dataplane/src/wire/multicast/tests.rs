//! Messages made by hand and by `etherparse`, read back.

use super::*;
use crate::wire::checksum::{Sum, pseudo_header};
use crate::wire::samples;
use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
use proptest::prelude::*;

const SOURCE: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

fn ethernet(destination: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &SOURCE.octets(), &ether_type.to_be_bytes(), payload].concat()
}

/// A frame with a packet of this protocol; a sum that is to be right is put right.
fn ipv4(to: [u8; 4], protocol: u8, message: &[u8], checksum_at: Option<usize>) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(at) = checksum_at {
        let sum = Sum::of(&message).checksum().to_be_bytes();
        message[at..at + 2].copy_from_slice(&sum);
    }
    let mut header = Ipv4Header::new(0, 1, IpNumber(protocol), [10, 0, 0, 1], to).unwrap();
    header.set_payload_len(message.len()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    ethernet([1, 0, 0x5e, 0, 0, 9], 0x0800, &[&header.to_bytes()[..], &message].concat())
}

/// A frame with an ICMPv6 message behind a router alert.
fn mld(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let addresses = [from.octets(), to.octets()];
    let mut message = message.to_vec();
    let sum =
        pseudo_header(addresses.as_flattened(), IpProtocol::ICMPV6, u16::try_from(message.len()).unwrap());
    let sum = (sum + Sum::of(&message)).checksum().to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let header = Ipv6Header {
        payload_length: u16::try_from(8 + message.len()).unwrap(),
        next_header: IpNumber(0),
        hop_limit: 1,
        source: from.octets(),
        destination: to.octets(),
        ..Default::default()
    };
    ethernet(
        [0x33, 0x33, 0, 0, 0, 9],
        0x86dd,
        &[&header.to_bytes()[..], &[58, 0, 5, 2, 0, 0, 0, 0], &message].concat(),
    )
}

fn igmp(to: [u8; 4], message: &[u8]) -> Vec<u8> {
    ipv4(to, 2, message, Some(2))
}

fn group4(d: u8) -> Group {
    Group::Ip(Ipv4Addr::new(239, 1, 1, d).into())
}

fn group6(d: u16) -> Group {
    Group::Ip(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, d).into())
}

/// What is in the frame, in few words.
fn seen(frame: &[u8]) -> String {
    let text = |group: Group| match group {
        Group::Ip(ip) => ip.to_string(),
        Group::Mac(mac) => mac.to_string(),
    };
    match Multicast::view(frame) {
        Err(error) => format!("{error:?}"),
        Ok(Multicast::Data { from_router: true, .. }) => "router".into(),
        Ok(Multicast::Data { group, for_routers, .. }) => format!("data {} {for_routers}", text(group)),
        Ok(Multicast::Message { message: None, .. }) => "nothing".into(),
        Ok(Multicast::Message { message: Some(message), .. }) => match message {
            Message::Query { group, response, querier } => {
                format!("query {} {} {querier}", group.map_or("all".into(), text), response.as_millis())
            }
            Message::Join(group) => format!("join {}", text(group)),
            Message::Leave(group) => format!("leave {}", text(group)),
            Message::Report(records) => {
                let word = |record: Option<Record>| match record {
                    None => "?".into(),
                    Some(Record { group, leaves }) => {
                        format!("{}{}", if leaves { "-" } else { "+" }, text(group))
                    }
                };
                records.into_iter().map(word).collect::<Vec<String>>().join(" ")
            }
        },
    }
}

#[test]
fn igmp_is_read() {
    let all = [224, 0, 0, 1];
    for (frame, expected) in [
        (igmp([239, 1, 1, 1], &[0x16, 0, 0, 0, 239, 1, 1, 1]), "join 239.1.1.1"),
        (igmp([239, 1, 1, 1], &[0x12, 0, 0, 0, 239, 1, 1, 1]), "join 239.1.1.1"),
        (igmp([224, 0, 0, 2], &[0x17, 0, 0, 0, 239, 1, 1, 1]), "leave 239.1.1.1"),
        (igmp(all, &[0x11, 100, 0, 0, 0, 0, 0, 0]), "query all 10000 10.0.0.1"),
        (igmp(all, &[0x11, 0, 0, 0, 0, 0, 0, 0]), "query all 10000 10.0.0.1"),
        (igmp([239, 1, 1, 1], &[0x11, 10, 0, 0, 239, 1, 1, 1]), "query 239.1.1.1 1000 10.0.0.1"),
        (igmp([239, 1, 1, 1], &[0x11, 10, 0, 0, 0, 0, 0, 0]), "Igmp"),
        (igmp(all, &[0x11, 0x8a, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), "query all 20800 10.0.0.1"),
        (igmp(all, &[0x11, 10, 0, 0, 239, 1, 1, 1, 2, 125, 0, 1, 1, 2, 3, 4]), "nothing"),
        (igmp(all, &[0x11, 10, 0, 0, 0, 0, 0, 0, 0]), "Igmp"),
        (igmp(all, &[0x16, 0, 0, 0, 239, 1, 1]), "Igmp"),
        (ipv4(all, 2, &[0x16, 0, 0, 0, 239, 1, 1, 1], None), "Igmp"),
        (igmp([224, 0, 0, 106], &[0x30, 20, 0, 0, 0, 0, 0, 0]), "router"),
        (igmp([224, 0, 0, 5], &[0x30, 20, 0, 0, 0, 0, 0, 0]), "data 224.0.0.5 false"),
        (ipv4([224, 0, 0, 13], 103, &[0x20, 0, 0, 0], None), "router"),
        (ipv4([224, 0, 0, 13], 103, &[0x23, 0, 0, 0], None), "data 224.0.0.13 false"),
        (ipv4([239, 1, 1, 1], 17, &[0; 8], None), "data 239.1.1.1 true"),
    ] {
        assert_eq!(seen(&frame), expected);
    }
}

#[test]
fn reports_of_version_3_are_read_record_by_record() {
    let record = |kind, sources: u8, aux: u8, d| {
        let rest = vec![7; 4 * (usize::from(sources) + usize::from(aux))];
        [&[kind, aux, 0, sources, 239, 1, 1, d], &rest[..]].concat()
    };
    let records = [
        record(4, 0, 0, 1),
        record(3, 0, 0, 2),
        record(1, 0, 0, 3),
        record(3, 2, 0, 4),
        record(5, 1, 1, 5),
        record(9, 0, 0, 6),
    ];
    let report = [&[0x22, 0, 0, 0, 0, 0, 0, 6][..], &records.concat()].concat();
    let expected = "+239.1.1.1 -239.1.1.2 -239.1.1.3 +239.1.1.4 +239.1.1.5 ?";
    assert_eq!(seen(&igmp([224, 0, 0, 22], &report)), expected);
    assert_eq!(seen(&igmp([224, 0, 0, 22], &report[..report.len() - 1])), "Igmp");
}

#[test]
fn mld_is_read() {
    let local: Ipv6Addr = "fe80::1".parse().unwrap();
    let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let Group::Ip(IpAddr::V6(group)) = group6(1) else { unreachable!() };
    let message = |kind: u8, delay: u16, group: Ipv6Addr| {
        let [high, low] = delay.to_be_bytes();
        [&[kind, 0, 0, 0, high, low, 0, 0][..], &group.octets()].concat()
    };
    let query = |delay, group| message(130, delay, group);
    let v2 = |delay, sources: u8| [&query(delay, Ipv6Addr::UNSPECIFIED)[..], &[2, 125, 0, sources]].concat();
    let any = Ipv6Addr::UNSPECIFIED;
    for (frame, expected) in [
        (mld(local, group, &message(131, 0, group)), "join ff05::1"),
        (mld(any, group, &message(131, 0, group)), "join ff05::1"),
        (mld(local, group, &message(132, 0, group)), "leave ff05::1"),
        (mld(local, ALL_NODES_6, &query(10_000, any)), "query all 10000 fe80::1"),
        (mld(local, ALL_NODES_6, &query(0, any)), "nothing"),
        (mld(local, group, &query(1000, group)), "query ff05::1 1000 fe80::1"),
        (mld(global, ALL_NODES_6, &query(10_000, any)), "Mld"),
        (mld(local, group, &query(10_000, any)), "Mld"),
        (mld(local, ALL_NODES_6, &v2(0x8000, 0)), "query all 32768 fe80::1"),
        (mld(local, ALL_NODES_6, &v2(100, 1)), "nothing"),
        (mld(local, group, &message(131, 0, group)[..23]), "data ff05::1 true"),
        (mld(local, group, &message(131, 0, group)[..7]), "Mld"),
        (mld(local, "ff02::6a".parse().unwrap(), &message(151, 0, group)), "router"),
        (mld(local, group, &message(128, 0, group)), "data ff05::1 true"),
        (mld(local, ALL_NODES_6, &message(128, 0, group)), "data ff02::1 false"),
    ] {
        assert_eq!(seen(&frame), expected);
    }
    let mut wrong = mld(local, group, &message(131, 0, group));
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(seen(&wrong), "Mld");
    let record = |kind| [&[kind, 0, 0, 0][..], &group.octets()].concat();
    let report = [&[143, 0, 0, 0, 0, 0, 0, 2][..], &record(4), &record(3)].concat();
    assert_eq!(seen(&mld(local, "ff02::16".parse().unwrap(), &report[..40])), "Mld");
    assert_eq!(seen(&mld(local, "ff02::16".parse().unwrap(), &report)), "+ff05::1 -ff05::1");
}

#[test]
fn what_is_not_ip_is_for_its_address_and_one_tag_hides_nothing() {
    assert_eq!(seen(&ethernet([1, 0, 0xc, 0xcc, 0xcc, 0xcc], 0x2000, &[])), "data 01:00:0c:cc:cc:cc false");
    let mut tagged = igmp([239, 1, 1, 1], &[0x16, 0, 0, 0, 239, 1, 1, 1]);
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    assert_eq!(seen(&tagged), "join 239.1.1.1");
    assert_eq!(
        seen(&ethernet([1, 0, 0x5e, 1, 1, 1], 0x0800, b"not IP at all, however long it may be")),
        "Ipv4"
    );
}

#[test]
fn queries_of_ours_are_read_as_they_were_meant() {
    for (group, response, expected) in
        [(None, 10_000, "query all 10000 0.0.0.0"), (Some(1), 1000, "query 239.1.1.1 1000 0.0.0.0")]
    {
        let group = group.map(|d| Ipv4Addr::new(239, 1, 1, d));
        let frame = igmp::query_frame(SOURCE, group, Duration::from_millis(response));
        assert_eq!(seen(&frame), expected);
        let (header, _) = Ipv4Header::from_slice(&frame[14..]).unwrap();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
    }
    let frame = mld::query_frame(SOURCE, None, Duration::from_secs(10));
    assert_eq!(seen(&frame), "query all 10000 fe80::ff:fe00:1");
    let Group::Ip(IpAddr::V6(group)) = group6(7) else { unreachable!() };
    let frame = mld::query_frame(SOURCE, Some(group), Duration::from_secs(1));
    assert_eq!(seen(&frame), "query ff05::7 1000 fe80::ff:fe00:1");
}

proptest! {
    #![proptest_config(samples::config())]

    #[test]
    fn noise_is_refused_or_read(
        kind in prop::sample::select(vec![0x11u8, 0x12, 0x16, 0x17, 0x22, 0x30, 130, 131, 132, 143, 151]),
        mut message in prop::collection::vec(any::<u8>(), 3..60),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ipv6: bool,
        cut: prop::sample::Index,
    ) {
        message[0] = kind;
        message.resize(message.len().max(4), 0);
        let local = "fe80::1".parse().unwrap();
        let mut frame = if ipv6 { mld(local, ALL_NODES_6, &message) } else { igmp([224, 0, 0, 1], &message) };
        flips.into_iter().for_each(|(at, byte)| *at.get_mut(&mut frame) = byte);
        let _ = seen(&frame);
        let _ = seen(&frame[..cut.index(frame.len())]);
    }

    #[test]
    fn a_group_that_is_joined_is_the_one_that_data_is_for(d: u8, ipv6: bool) {
        let (join, data) = if ipv6 {
            let Group::Ip(IpAddr::V6(group)) = group6(d.into()) else { unreachable!() };
            let message = [&[131, 0, 0, 0, 0, 0, 0, 0][..], &group.octets()].concat();
            let local = "fe80::1".parse().unwrap();
            (mld(local, group, &message), mld(local, group, &[128, 0, 0, 0, 0, 0, 0, 0]))
        } else {
            (igmp([239, 1, 1, d], &[0x16, 0, 0, 0, 239, 1, 1, d]), ipv4([239, 1, 1, d], 17, &[0; 8], None))
        };
        let expected = if ipv6 { group6(d.into()) } else { group4(d) };
        let Ok(Multicast::Message { message: Some(Message::Join(joined)), ipv4 }) = Multicast::view(&join) else {
            panic!("a join")
        };
        prop_assert_eq!((joined, ipv4), (expected, !ipv6));
        let Ok(Multicast::Data { group, for_routers: true, .. }) = Multicast::view(&data) else { panic!("data") };
        prop_assert_eq!(group, expected);
    }
}
