//! IPIP through a whole switch whose turns are taken by hand: what goes in, what comes out, and by which name a packet ends.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod hand;
#[path = "tunnels/over_ipv6.rs"]
mod over_ipv6;

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv4Type, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, SlicedPacket, TransportSlice};
use rigswitch::explain;
use rigswitch::views::{EditAction, EditObject, EditRequest};
use rigswitch_dataplane::frames::{Checksum, Gso, GsoKind};
use rigswitch_dataplane::ports::{Now, Wire};
use rigswitch_dataplane::wire::checksum::Sum;
use serde_json::json;

use hand::{parsed, with};

/// The router's addresses at p0 and p1, and of who is behind them.
const OURS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xaa, 0], [2, 0, 0, 0, 0xaa, 1]];
const THEIRS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 0], [2, 0, 0, 0, 1, 1]];
const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const HERE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
const IPIP: u8 = 4;

/// A router between 10.1.0.0/24 at p0 and 192.0.2.0/24 at p1, and tun0 to 192.0.2.2, behind which 10.2.0.0/24 is. `neighbors` says whether it knows its
/// neighbours already.
fn config(tunnel: &str, neighbors: bool, rest: &str) -> String {
    let mut text = String::from("[switch]\nmac_table = 1024\n[routing]\nicmp_ratelimit = 0\n");
    for (n, (address, neighbor)) in
        [("10.1.0.1", "10.1.0.2"), ("192.0.2.1", "192.0.2.2")].into_iter().enumerate()
    {
        text += &format!("[[port]]\nname = \"p{n}\"\nmemory = true\naddress = \"02:00:00:00:aa:0{n}\"\n");
        text += &format!("[[address]]\ndevice = \"p{n}\"\naddress = \"{address}/24\"\n");
        if neighbors || n == 0 {
            text += &format!(
                "[[neighbor]]\ndevice = \"p{n}\"\naddress = \"{neighbor}\"\nmac = \"02:00:00:00:01:0{n}\"\n"
            );
        }
    }
    text += &format!("[[ipip]]\nname = \"tun0\"\n{tunnel}\n");
    text + "[[route]]\nto = \"10.2.0.0/24\"\ndevice = \"tun0\"\n" + rest
}

const BOTH: &str = "local = \"192.0.2.1\"\nremote = \"192.0.2.2\"";

/// What an IPv4 header says.
#[derive(Clone)]
struct Head(Ipv4Header);

fn head(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Head {
    let mut header =
        Ipv4Header::new(0, 64, IpNumber(protocol), source.octets(), destination.octets()).unwrap();
    header.dont_fragment = false;
    Head(header)
}

impl Head {
    fn with(mut self, change: impl FnOnce(&mut Ipv4Header)) -> Self {
        change(&mut self.0);
        self
    }

    fn packet(mut self, payload: &[u8]) -> Vec<u8> {
        self.0.set_payload_len(payload.len()).unwrap();
        self.0.header_checksum = self.0.calc_header_checksum();
        [&self.0.to_bytes()[..], payload].concat()
    }
}

/// A datagram's bytes, without a checksum.
fn udp(length: usize) -> Vec<u8> {
    let total = u16::try_from(length).unwrap().to_be_bytes();
    [&[0x30, 0x39, 0x30, 0x3a, total[0], total[1], 0, 0][..], &vec![7; length - 8]].concat()
}

fn inner(length: usize) -> Vec<u8> {
    head(HERE, THERE, 17).packet(&udp(length))
}

fn unfragmentable(length: usize) -> Vec<u8> {
    head(HERE, THERE, 17).with(|header| header.dont_fragment = true).packet(&udp(length))
}

/// A frame to the switch at a port.
fn to(port: usize, packet: &[u8]) -> Vec<u8> {
    let ether_type: [u8; 2] = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
    [&OURS[port][..], &THEIRS[port], &ether_type, packet].concat()
}

/// The packet in a frame.
fn packet(frame: &[u8]) -> &[u8] {
    &frame[14..]
}

/// A name, the configuration, which port a frame comes to, and the drop that is counted.
type Case<'a> = (&'a str, String, (usize, Vec<u8>), &'a str);

#[test]
fn every_packet_that_ends_does_so_by_a_name() {
    let outer = |inner: &[u8]| to(1, &head(REMOTE, LOCAL, IPIP).packet(inner));
    let back = head(THERE, HERE, 17).packet(&udp(26));
    let ring = "[[ipip]]\nname = \"tun1\"\nlocal = \"192.0.2.1\"\nremote = \"10.2.0.9\"\n[[route]]\nto = \"198.51.100.0/24\"\ndevice = \"tun1\"\n";
    let elsewhere = "local = \"192.0.2.1\"\nremote = \"198.51.100.1\"";
    let cases: Vec<Case> = vec![
        ("no route", config(elsewhere, true, ""), (0, to(0, &inner(26))), "tun0 tx.tunnel_no_route"),
        (
            "a way through itself",
            config("local = \"192.0.2.1\"\nremote = \"10.2.0.9\"", true, ""),
            (0, to(0, &inner(26))),
            "tun0 tx.tunnel_loop",
        ),
        (
            "no far end",
            config("local = \"192.0.2.1\"", true, ""),
            (0, to(0, &inner(26))),
            "tun0 tx.tunnel_loop",
        ),
        ("a ring of two", config(elsewhere, true, ring), (0, to(0, &inner(26))), "tun0 tx.recursion"),
        (
            "another version",
            config(&format!("{BOTH}\nmode = \"ip6ip\""), true, ""),
            (0, to(0, &inner(26))),
            "tun0 tx.tunnel_not_ip",
        ),
        (
            "too long for the first link",
            config(&format!("{BOTH}\nmtu = 1500\npmtudisc = false"), true, ""),
            (0, to(0, &unfragmentable(1461))),
            "tun0 tx.too_big",
        ),
        ("cut short", config(BOTH, true, ""), (1, outer(&back[..19])), "p1 rx.tunnel_malformed"),
        ("nothing inside", config(BOTH, true, ""), (1, outer(&[])), "p1 rx.tunnel_malformed"),
        (
            "not what it says",
            config(BOTH, true, ""),
            (1, outer(&[&[0x65], &back[1..]].concat())),
            "p1 rx.tunnel_malformed",
        ),
        (
            "congestion",
            config(BOTH, true, ""),
            (1, to(1, &head(REMOTE, LOCAL, IPIP).with(|it| it.ecn = 3.try_into().unwrap()).packet(&back))),
            "p1 rx.tunnel_congested",
        ),
        (
            "a header that is wrong",
            config(BOTH, true, ""),
            (1, outer(&[&back[..8], &[9], &back[9..]].concat())),
            "tun0 rx.ip_checksum",
        ),
    ];
    for (name, text, (port, frame), expected) in cases {
        with(&text, |hand| {
            let sent = hand.through(port, frame);
            assert!(
                sent.concat().iter().all(|frame| packet(frame)[9] == 1),
                "{name}: only errors are sent: {sent:02x?}"
            );
            assert_eq!(hand.drops(), [expected], "{name}");
        });
    }
}

#[test]
fn a_far_end_that_nobody_knows_the_way_to_is_asked_for_and_gets_what_waited() {
    with(&config(BOTH, false, ""), |hand| {
        let [_, asked] = hand.through(0, to(0, &inner(26)));
        let [request] = &asked[..] else { panic!("one question: {asked:02x?}") };
        assert_eq!((&request[12..14], &request[38..42]), (&[8, 6][..], &REMOTE.octets()[..]));
        assert_eq!(hand.hand.switch().tunnels()[0].far_ends[0].state, "unresolved");
        let mut reply =
            [&OURS[1][..], &THEIRS[1], &request[12..20], &[0, 2], &THEIRS[1], &REMOTE.octets()].concat();
        reply.extend([&OURS[1][..], &LOCAL.octets()].concat());
        let [_, waited] = hand.through(1, reply);
        let [_, next] = hand.through(0, to(0, &inner(27)));
        for (frames, length) in [(&waited, 26), (&next, 27)] {
            let [frame] = &frames[..] else { panic!("one packet: {frames:02x?}") };
            assert_eq!((&frame[..6], &frame[6..12]), (&THEIRS[1][..], &OURS[1][..]));
            assert_eq!((packet(frame).len(), packet(frame)[9]), (40 + length, IPIP));
        }
        let tunnel = &hand.hand.switch().tunnels()[0];
        let far_end = &tunnel.far_ends[0];
        assert_eq!(
            (&*far_end.state, far_end.dev.as_deref(), &*far_end.src),
            ("reachable", Some("p1"), "192.0.2.1")
        );
        assert!(hand.drops().is_empty());
    });
}

#[test]
fn a_route_that_changes_leads_the_tunnel_elsewhere() {
    let far = "local = \"192.0.2.1\"\nremote = \"198.51.100.1\"";
    let by = |router: &str| format!("[[route]]\nto = \"198.51.100.0/24\"\nvia = \"{router}\"\n");
    let other = "[[neighbor]]\ndevice = \"p1\"\naddress = \"192.0.2.3\"\nmac = \"02:00:00:00:01:03\"\n";
    with(&config(far, true, &(by("192.0.2.2") + other)), |hand| {
        let stations = |sent: [Vec<Vec<u8>>; 2]| sent[1].iter().map(|frame| frame[5]).collect::<Vec<_>>();
        assert_eq!(stations(hand.through(0, to(0, &inner(26)))), [1]);
        hand.hand.switch().apply(parsed(&config(far, true, &(by("192.0.2.3") + other)))).unwrap();
        assert_eq!(stations(hand.through(0, to(0, &inner(26)))), [3]);
        // The far end of a tunnel that names none is the router of a route by it.
        let routers = format!(
            "{}[[route]]\nto = \"10.3.0.0/24\"\nvia = \"192.0.2.3\"\ndevice = \"tun0\"\nonlink = true\n",
            other
        );
        hand.hand
            .switch()
            .apply(parsed(&config("local = \"any\"\nremote = \"any\"", true, &routers)))
            .unwrap();
        let there = head(HERE, Ipv4Addr::new(10, 3, 0, 1), 17).packet(&udp(26));
        let sent = hand.through(0, to(0, &there));
        assert_eq!((sent[1][0][5], &packet(&sent[1][0])[12..20]), (3, &[192, 0, 2, 1, 192, 0, 2, 3][..]));
    });
}

#[test]
fn a_super_frame_is_cut_and_its_checksums_completed_before_it_enters() {
    const SEGMENT: usize = 500;
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(THEIRS[0], OURS[0]).ipv4(HERE.octets(), THERE.octets(), 64);
    builder.tcp(7, 8, 1000, 100).write(&mut bytes, &vec![0x5a; 3 * SEGMENT]).unwrap();
    let pseudo = Sum::of(&bytes[26..34]) + 6 + u16::try_from(bytes.len() - 34).unwrap();
    bytes[50..52].copy_from_slice(&pseudo.folded().to_be_bytes());
    let checksum = Checksum::Partial { start: 34, offset: 16 };
    let gso = Some(Gso { kind: GsoKind::TcpV4, size: u16::try_from(SEGMENT).unwrap(), ecn: false });
    with(&config(BOTH, true, ""), |hand| {
        let whole = Wire { bytes: bytes.clone(), checksum, gso: None };
        for (wire, count) in [
            (Wire { gso, ..whole.clone() }, 3),
            (Wire { bytes: bytes[..14 + 40 + SEGMENT].to_vec(), ..whole }, 0),
        ] {
            let [_, sent] = hand.through(0, wire);
            assert_eq!(sent.len(), count, "the second says that it is longer than it is");
            for frame in &sent {
                let outer = SlicedPacket::from_ip(packet(frame)).unwrap();
                assert_eq!(outer.net.unwrap().ipv4_ref().unwrap().header().protocol(), IpNumber(IPIP));
                let inner = SlicedPacket::from_ip(&packet(frame)[20..]).unwrap();
                let Some(TransportSlice::Tcp(tcp)) = &inner.transport else { panic!("TCP") };
                assert_eq!(tcp.payload().len(), SEGMENT);
                let expected = tcp.calc_checksum_ipv4(HERE.octets(), THERE.octets());
                assert_eq!(tcp.checksum(), expected.unwrap());
            }
        }
    });
}

#[test]
fn ipv6_goes_through_ipv4_and_back() {
    let network = "[[address]]\ndevice = \"p0\"\naddress = \"fd01::1/64\"\n\
        [[neighbor]]\ndevice = \"p0\"\naddress = \"fd01::2\"\nmac = \"02:00:00:00:01:00\"\n\
        [[route]]\nto = \"fd02::/64\"\ndevice = \"tun0\"\n";
    let six = |source: &str, destination: &str, traffic_class: u8| {
        let [source, destination] =
            [source, destination].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
        let header = Ipv6Header {
            traffic_class,
            payload_length: 26,
            next_header: IpNumber(17),
            hop_limit: 9,
            source,
            destination,
            ..Default::default()
        };
        [&header.to_bytes()[..], &udp(26)].concat()
    };
    for mode in ["ip6ip", "any"] {
        with(&config(&format!("{BOTH}\ntos = \"inherit\"\nmode = \"{mode}\""), true, network), |hand| {
            let [_, sent] = hand.through(0, to(0, &six("fd01::2", "fd02::2", 0xb9)));
            let outer = Ipv4Header::from_slice(packet(&sent[0])).unwrap().0;
            assert_eq!(
                (outer.protocol, outer.time_to_live, outer.dont_fragment),
                (IpNumber(41), 8, true),
                "the hop limit is its own"
            );
            assert_eq!(
                (outer.dscp.value() << 2 | outer.ecn.value(), outer.header_checksum),
                (0xb9, outer.calc_header_checksum())
            );
            let mut expected = six("fd01::2", "fd02::2", 0xb9);
            expected[7] = 8;
            assert_eq!(&packet(&sent[0])[20..], expected);

            let congested = head(REMOTE, LOCAL, 41).with(|header| header.ecn = 3.try_into().unwrap());
            let [back, _] = hand.through(1, to(1, &congested.packet(&six("fd02::2", "fd01::2", 1))));
            let mut expected = six("fd02::2", "fd01::2", 3);
            expected[7] = 8;
            assert_eq!(packet(&back[0]), expected);
        });
    }
}

/// What an ICMP error says: its destination, its type, and the MTU or zero.
fn error(frame: &[u8]) -> ([u8; 4], Icmpv4Type, Vec<u8>) {
    let ip = SlicedPacket::from_ip(packet(frame)).unwrap();
    let destination = ip.net.as_ref().unwrap().ipv4_ref().unwrap().header().destination();
    let Some(TransportSlice::Icmpv4(icmp)) = ip.transport else { panic!("an error: {frame:02x?}") };
    (destination, icmp.icmp_type(), icmp.payload().to_vec())
}

fn needs(mtu: u16) -> Icmpv4Type {
    use etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded;
    Icmpv4Type::DestinationUnreachable(FragmentationNeeded { next_hop_mtu: mtu })
}

/// An error from a router in the underlay about this packet of ours.
fn told(icmp_type: Icmpv4Type, about: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let builder = PacketBuilder::ethernet2(THEIRS[1], OURS[1]).ipv4([192, 0, 2, 9], LOCAL.octets(), 64);
    builder.icmpv4(icmp_type).write(&mut message, about).unwrap();
    message
}

#[test]
fn what_is_too_long_for_the_first_link_is_fragmented_or_its_sender_told() {
    for (tunnel, packet_of, fragments, mtu) in [
        ("mtu = 1500", unfragmentable as fn(usize) -> Vec<u8>, 0, Some(1480)),
        ("mtu = 1500", inner, 2, None),
        ("mtu = 1500\npmtudisc = false", inner, 2, None),
        ("mtu = 1500\npmtudisc = false", unfragmentable, 0, Some(1480)),
        ("mtu = 1500\npmtudisc = false\nignore_df = true", unfragmentable, 2, None),
        ("", unfragmentable, 0, Some(1480)),
        ("", inner, 2, None),
    ] {
        with(&config(&format!("{BOTH}\n{tunnel}"), true, ""), |hand| {
            let [told, sent] = hand.through(0, to(0, &packet_of(1480)));
            assert_eq!(sent.len(), fragments, "{tunnel}");
            assert!(sent.iter().all(|frame| packet(frame).len() <= 1500));
            let said: Vec<_> = told.iter().map(|frame| error(frame)).collect();
            let expected = mtu.map(|mtu| (HERE.octets(), needs(mtu)));
            assert_eq!(said.iter().map(|(to, what, _)| (*to, what.clone())).next(), expected, "{tunnel}");
            if let [(_, _, quote)] = &said[..] {
                assert_eq!(quote[12..20], [HERE.octets(), THERE.octets()].concat(), "of what is inside");
            }
        });
    }
}

#[test]
fn what_routers_along_the_way_say_is_told_inward() {
    with(&config(BOTH, true, ""), |hand| {
        let [_, sent] = hand.through(0, to(0, &unfragmentable(1460)));
        let outer = packet(&sent[0]).to_vec();
        // Nobody's, and one that is not about a tunnel's packet: neither is believed.
        let mut forged = outer.clone();
        forged[15] = 99;
        for frame in [told(needs(600), &forged), told(needs(1400), &outer[..28])] {
            assert_eq!(hand.through(1, frame), [vec![], vec![]].map(Vec::<Vec<u8>>::from));
        }
        assert_eq!(hand.hand.switch().tunnels()[0].far_ends[0].mtu, Some(1400));
        let [said, sent] = hand.through(0, to(0, &unfragmentable(1460)));
        assert_eq!((error(&said[0]).1, sent.len()), (needs(1380), 0));
        let [_, sent] = hand.through(0, to(0, &unfragmentable(1380 - 20)));
        assert_eq!(packet(&sent[0]).len(), 1400);
        let [said, sent] = hand.through(0, to(0, &inner(1460)));
        assert!(said.is_empty() && sent.iter().all(|frame| packet(frame).len() <= 1400) && sent.len() == 2);

        // Nobody widens it, it does not get too narrow, and is forgotten in the end.
        hand.through(1, told(needs(1450), &outer[..28]));
        assert_eq!(hand.hand.switch().tunnels()[0].far_ends[0].mtu, Some(1400));
        hand.through(1, told(needs(20), &outer[..28]));
        assert_eq!(hand.hand.switch().tunnels()[0].far_ends[0].mtu, Some(552));
        hand.hand.set_time(Now { unix_ns: 601_000_000_000 });
        hand.hand.tick();
        assert_eq!(hand.hand.switch().tunnels()[0].far_ends[0].mtu, Some(1500));
    });
}

#[test]
fn of_errors_along_the_way_the_senders_of_next_packets_are_told() {
    use etherparse::icmpv4::DestUnreachableHeader::{Host, Network};
    with(&config(BOTH, true, ""), |hand| {
        let [_, sent] = hand.through(0, to(0, &inner(26)));
        let outer = packet(&sent[0]).to_vec();
        let failure = || told(Icmpv4Type::DestinationUnreachable(Network), &outer[..28]);
        let state = |hand: &mut hand::Hand<'_, '_>| hand.hand.switch().tunnels()[0].far_ends[0].state.clone();
        assert_eq!(hand.through(1, failure()), [vec![], vec![]].map(Vec::<Vec<u8>>::from));
        assert_eq!(state(hand), "failing");
        let [said, sent] = hand.through(0, to(0, &inner(27)));
        let (to_whom, what, quote) = error(&said[0]);
        assert_eq!((to_whom, what), (HERE.octets(), Icmpv4Type::DestinationUnreachable(Host)));
        assert_eq!(
            (quote, said.len(), sent.len()),
            (packet(&sent[0])[20..].to_vec(), 1, 1),
            "and it goes all the same"
        );
        assert_eq!(state(hand), "reachable");
        let [said, sent] = hand.through(0, to(0, &inner(27)));
        assert_eq!((said.len(), sent.len()), (0, 1), "one for one");

        // One that is too long for the way is in pieces, and none is told of after half a minute.
        (0..2).for_each(|_| drop(hand.through(1, failure())));
        let [said, sent] = hand.through(0, to(0, &inner(1480)));
        assert_eq!(
            (said.len(), sent.len()),
            (1, 2),
            "each piece is a packet, and nobody is told of a later one"
        );
        hand.through(1, failure());
        hand.wait(std::time::Duration::from_secs(31));
        assert_eq!(state(hand), "reachable");
        let [said, sent] = hand.through(0, to(0, &inner(26)));
        assert_eq!((said.len(), sent.len()), (0, 1));
    });
}

#[test]
fn a_tunnel_is_added_changed_and_taken_away_by_hand() {
    with(&config(BOTH, true, ""), |hand| {
        let edit = |action, keys: serde_json::Value| EditRequest {
            action,
            object: EditObject::Ipip,
            name: "tun1".into(),
            keys: keys.as_object().unwrap().clone(),
        };
        let mut lines = |request: &EditRequest| {
            let plan = hand.hand.switch().edit(request).map_err(|error| error.to_string());
            plan.map(|plan| plan.view().iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let ends = json!({ "local": "192.0.2.1", "remote": "192.0.2.3" });
        let added = lines(&edit(EditAction::Add, ends.clone())).unwrap();
        assert_eq!(added, ["+ ipip tun1: local 192.0.2.1, remote 192.0.2.3"]);
        assert!(lines(&edit(EditAction::Add, ends)).unwrap_err().contains("there is a ipip tun1 already"));
        assert_eq!(
            lines(&edit(EditAction::Set, json!({ "ttl": 9 }))).unwrap(),
            ["~ ipip tun1: ttl unset → 9"]
        );
        let wrong = lines(&edit(EditAction::Set, json!({ "remote": "192.0.2.2" }))).unwrap_err();
        assert!(wrong.contains("the same `local` and `remote`"), "{wrong}");
        assert_eq!(lines(&edit(EditAction::Del, json!({}))).unwrap(), ["- ipip tun1"]);
        assert_eq!(hand.hand.switch().tunnels().len(), 1);
    });
}

#[test]
fn what_a_tunnel_does_is_explained_and_shown() {
    with(&config(BOTH, true, ""), |hand| {
        let bytes =
            explain::parse("eth dst=02:00:00:00:aa:00 / ipv4 src=10.1.0.2 dst=10.2.0.2 / udp").unwrap();
        let explained = hand.hand.switch().explain("p0", &bytes).unwrap();
        let steps: Vec<_> =
            explained.steps.iter().map(|step| format!("{}: {}", step.step, step.text)).collect();
        let told = "tunnel: tun0 puts it in a packet from 192.0.2.1 to 192.0.2.2, by p1";
        assert!(steps.iter().any(|step| step == told), "{steps:#?}");
        assert_eq!(explained.leaves_by, ["p1"]);
        let place = explained.steps.iter().find(|step| step.step == "tunnel").unwrap().place.clone();
        assert!(place.unwrap().starts_with("rig.toml:"));

        let outer = to(1, &head(REMOTE, LOCAL, IPIP).packet(&head(THERE, HERE, 17).packet(&udp(26))));
        let explained = hand.hand.switch().explain("p1", &outer).unwrap();
        assert!(
            explained.steps.iter().any(|step| step.text == "for the tunnel tun0"),
            "{:#?}",
            explained.steps
        );
        assert_eq!(explained.leaves_by, ["p0"]);

        hand.through(0, to(0, &inner(26)));
        hand.through(1, outer);
        let ports = hand.hand.switch().ports();
        let tunnel = ports.iter().find(|port| port.ifname == "tun0").unwrap();
        assert_eq!((&*tunnel.kind, tunnel.mtu, &*tunnel.operstate), ("ipip", 1480, "UP"));
        assert_eq!((tunnel.rx.packets, tunnel.tx.packets), (1, 1));
    });
}
