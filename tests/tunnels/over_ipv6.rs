//! The same over IPv6, which `type ip6tnl` makes: what the oracle's rig does not hold, for we do it better, and what is seen of it.

use std::net::Ipv6Addr;
use std::time::Duration;

use etherparse::{Icmpv6Type, IpNumber, Ipv6Header, PacketBuilder, SlicedPacket, TransportSlice};
use rigswitch::explain;
use rigswitch::views::{EditAction, EditObject, EditRequest};
use serde_json::json;

use super::hand::{parsed, with};
use super::{HERE, OURS, THEIRS, THERE, error, head, inner, needs, packet, to, udp, unfragmentable};

const IPV4: u8 = 4;
const IPV6: u8 = 41;
const OPTIONS: u8 = 60;
const BOTH: &str = "local = \"fd00::1\"\nremote = \"fd00::2\"";

/// A router between 10.1.0.0/24 and fd01::/64 at p0 and fd00::/64 at p1, and tun0 to fd00::2, behind which 10.2.0.0/24 and fd02::/64 are.
fn config(tunnel: &str, rest: &str) -> String {
    with_mtu(tunnel, 1500) + rest
}

fn with_mtu(tunnel: &str, mtu: u32) -> String {
    let mut text =
        String::from("[switch]\nmac_table = 1024\n[routing]\nicmp_ratelimit = 0\ndad_transmits = 0\n");
    for (port, mtu) in [(0, 1500), (1, mtu)] {
        text += &format!(
            "[[port]]\nname = \"p{port}\"\nmemory = true\nmtu = {mtu}\naddress = \"02:00:00:00:aa:0{port}\"\n"
        );
    }
    for (port, address, neighbor) in
        [(0, "10.1.0.1/24", "10.1.0.2"), (0, "fd01::1/64", "fd01::2"), (1, "fd00::1/64", "fd00::2")]
    {
        text += &format!("[[address]]\ndevice = \"p{port}\"\naddress = \"{address}\"\n");
        text += &format!(
            "[[neighbor]]\ndevice = \"p{port}\"\naddress = \"{neighbor}\"\nmac = \"02:00:00:00:01:0{port}\"\n"
        );
    }
    text += &format!("[[ipip]]\nname = \"tun0\"\n{tunnel}\n");
    text + "[[route]]\nto = \"10.2.0.0/24\"\ndevice = \"tun0\"\n[[route]]\nto = \"fd02::/64\"\ndevice = \"tun0\"\n"
}

/// A packet of IPv6.
fn six(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [source, destination] = [source, destination].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
    let header = Ipv6Header {
        payload_length: u16::try_from(payload.len()).unwrap(),
        next_header: IpNumber(protocol),
        hop_limit: 64,
        source,
        destination,
        ..Default::default()
    };
    [&header.to_bytes()[..], payload].concat()
}

/// One from who is here to who is behind the tunnel, of so many bytes.
fn inner_6(length: usize) -> Vec<u8> {
    six("fd01::2", "fd02::2", 17, &udp(length - 40))
}

/// An error from a router in the underlay about this packet of ours.
fn told(icmp_type: Icmpv6Type, about: &[u8]) -> Vec<u8> {
    let [source, ours] = ["fd00::9", "fd00::1"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
    let mut message = Vec::new();
    let builder = PacketBuilder::ethernet2(THEIRS[1], OURS[1]).ipv6(source, ours, 64);
    builder.icmpv6(icmp_type).write(&mut message, &about[..about.len().min(1232)]).unwrap();
    message
}

/// What an ICMPv6 error says, and the packet that it is about.
fn error_6(frame: &[u8]) -> (Icmpv6Type, Vec<u8>) {
    let ip = SlicedPacket::from_ip(packet(frame)).unwrap();
    let Some(TransportSlice::Icmpv6(icmp)) = ip.transport else { panic!("an error: {frame:02x?}") };
    (icmp.icmp_type(), icmp.payload().to_vec())
}

#[test]
fn every_packet_that_ends_does_so_by_a_name() {
    let outer = |protocol, inside: &[u8]| to(1, &six("fd00::2", "fd00::1", protocol, inside));
    let back = head(THERE, HERE, 17).packet(&udp(26));
    let back_6 = six("fd02::2", "fd01::2", 17, &udp(26));
    let limit =
        |limit| six("fd01::2", "fd02::2", OPTIONS, &[&[17, 0, 4, 1, limit, 1, 1, 0][..], &udp(26)].concat());
    let mut congested = outer(IPV4, &back);
    congested[15] |= 0x30;
    let far = "local = \"fd00::1\"\nremote = \"fd09::2\"";
    for (name, text, (port, frame), expected) in [
        ("no route", config(far, ""), (0, to(0, &inner(26))), "tun0 tx.tunnel_no_route"),
        (
            "through itself",
            config("local = \"fd00::1\"\nremote = \"fd02::9\"", ""),
            (0, to(0, &inner(26))),
            "tun0 tx.tunnel_loop",
        ),
        (
            "from the far end",
            config(BOTH, ""),
            (0, to(0, &six("fd00::2", "fd02::2", 17, &udp(26)))),
            "tun0 tx.tunnel_loop",
        ),
        ("tunnels enough", config(BOTH, ""), (0, to(0, &limit(0))), "tun0 tx.tunnel_limit"),
        (
            "another version",
            config(&format!("{BOTH}\nmode = \"ip6ip6\""), ""),
            (0, to(0, &inner(26))),
            "tun0 tx.tunnel_not_ip",
        ),
        (
            "another version comes",
            config(&format!("{BOTH}\nmode = \"ipip6\""), ""),
            (1, outer(IPV6, &back_6)),
            "p1 rx.tunnel_not_ip",
        ),
        ("cut short", config(BOTH, ""), (1, outer(IPV4, &back[..19])), "p1 rx.tunnel_malformed"),
        ("not what it says", config(BOTH, ""), (1, outer(IPV6, &back)), "p1 rx.tunnel_malformed"),
        ("congestion", config(BOTH, ""), (1, congested), "p1 rx.tunnel_congested"),
    ] {
        with(&text, |hand| {
            hand.through(port, frame);
            assert_eq!(hand.drops(), [expected], "{name}");
        });
    }
}

#[test]
fn a_ring_of_tunnels_comes_to_its_end_by_its_limit() {
    // What tun0 sends enters tun1, whose far end is behind tun2, and so on.
    let ring: String = (1..8)
        .map(|n| {
            format!(
                "[[ipip]]\nname = \"tun{n}\"\nlocal = \"fd00::1\"\nremote = \"fd1{}::2\"\n[[route]]\nto = \"fd1{n}::/64\"\ndevice = \"tun{n}\"\n",
                n + 1
            )
        })
        .collect();
    let first = "local = \"fd00::1\"\nremote = \"fd11::2\"\nencaplimit = 1";
    with(&config(first, &ring), |hand| {
        hand.through(0, to(0, &inner(26)));
        assert_eq!(hand.drops(), ["tun2 tx.tunnel_limit"]);
    });
}

#[test]
fn what_routers_along_the_way_say_is_told_inward() {
    with(&config(BOTH, ""), |hand| {
        let [_, sent] = hand.through(0, to(0, &unfragmentable(1432)));
        assert_eq!((sent[0].len(), packet(&sent[0])[6], packet(&sent[0])[40]), (14 + 1500, OPTIONS, IPV4));
        let outer = packet(&sent[0]).to_vec();
        let mut forged = outer.clone();
        forged[39] = 9;
        assert!(hand.through(1, told(Icmpv6Type::PacketTooBig { mtu: 1300 }, &forged)).concat().is_empty());

        // Whoever sent it is told at once, then who sends another, and what may be fragmented is.
        let [said, _] = hand.through(1, told(Icmpv6Type::PacketTooBig { mtu: 1400 }, &outer));
        let (to_whom, what, quote) = error(&said[0]);
        assert_eq!((to_whom, what), (HERE.octets(), needs(1352)));
        assert_eq!(quote, outer[48..][..quote.len()]);
        assert_eq!(hand.hand.switch().tunnels()[0].far_ends[0].mtu, Some(1400));
        let [said, sent] = hand.through(0, to(0, &unfragmentable(1353 - 20)));
        assert_eq!((error(&said[0]).1, sent.len()), (needs(1352), 0));
        let [said, sent] = hand.through(0, to(0, &inner_6(1353)));
        assert_eq!((error_6(&said[0]).0, sent.len()), (Icmpv6Type::PacketTooBig { mtu: 1352 }, 0));
        let [said, sent] = hand.through(0, to(0, &inner(1353 - 20)));
        assert_eq!((said.len(), sent.len()), (0, 2));
        for whole in [unfragmentable(1352 - 20), inner_6(1352)] {
            let [said, sent] = hand.through(0, to(0, &whole));
            assert_eq!((said.len(), sent[0].len()), (0, 14 + 1400));
        }

        // It does not get wider by that, is not believed to be narrower than IPv6 may be, and is forgotten in the end.
        hand.through(1, told(Icmpv6Type::PacketTooBig { mtu: 1450 }, &outer));
        assert_eq!(hand.hand.switch().tunnels()[0].far_ends[0].mtu, Some(1400));
        for (mtu, then) in [(1279, 1400), (1280, 1280)] {
            hand.through(1, told(Icmpv6Type::PacketTooBig { mtu }, &outer));
            assert_eq!(hand.hand.switch().tunnels()[0].far_ends[0].mtu, Some(then));
        }
        hand.wait(Duration::from_secs(601));
        assert_eq!(hand.hand.switch().tunnels()[0].far_ends[0].mtu, Some(1500));
    });
}

#[test]
fn a_first_link_that_is_too_narrow_for_ipv6_carries_what_fits() {
    with(&with_mtu(BOTH, 1300), |hand| {
        assert_eq!(hand.hand.switch().tunnels()[0].mtu, 1280, "what IPv6 has to be carried with");
        let [said, sent] = hand.through(0, to(0, &inner_6(1252)));
        assert_eq!((said.len(), sent[0].len()), (0, 14 + 1300));
        let [_, sent] = hand.through(0, to(0, &inner(1280 - 20)));
        assert!(sent.len() == 2 && sent.iter().all(|frame| frame.len() <= 14 + 1300));
        let [_, sent] = hand.through(0, to(0, &inner_6(1253)));
        assert!(sent.is_empty());
        assert_eq!(hand.drops(), ["p0 rx.too_big"]);
    });
}

#[test]
fn the_tunnel_of_the_ends_takes_it_and_a_route_says_where_one_without_a_far_end_leads() {
    let other = "[[ipip]]\nname = \"tun1\"\nlocal = \"fd00::1\"\nremote = \"fd00::3\"\n\
        [[route]]\nto = \"fd03::/64\"\nvia = \"fd00::2\"\ndevice = \"tun0\"\nonlink = true\n\
        [[route]]\nto = \"10.3.0.0/24\"\nvia = \"fd00::2\"\ndevice = \"tun0\"\nonlink = true\n";
    with(&config("local = \"fd00::1\"\nencaplimit = \"none\"", other), |hand| {
        let there = head(HERE, [10, 3, 0, 1].into(), 17).packet(&udp(26));
        for (inside, protocol) in [(there, IPV4), (six("fd01::2", "fd03::1", 17, &udp(26)), IPV6)] {
            let [_, sent] = hand.through(0, to(0, &inside));
            let outer = Ipv6Header::from_slice(packet(&sent[0])).unwrap().0;
            assert_eq!((outer.next_header.0, outer.hop_limit), (protocol, 64));
            assert_eq!(Ipv6Addr::from(outer.destination), "fd00::2".parse::<Ipv6Addr>().unwrap());
        }
        let back = six("fd03::1", "fd01::2", 17, &udp(26));
        for source in ["fd00::2", "fd00::3", "fd00::4"] {
            let [back, _] = hand.through(1, to(1, &six(source, "fd00::1", IPV6, &back)));
            assert_eq!(back.len(), 1);
        }
        let ports = hand.hand.switch().ports();
        let received = |name| ports.iter().find(|port| port.ifname == name).unwrap().rx.packets;
        assert_eq!((received("tun0"), received("tun1")), (2, 1));
    });
}

#[test]
fn it_is_explained_shown_planned_and_changed() {
    let tunnel = format!("{BOTH}\ntclass = \"inherit\"\nflowlabel = \"0x12345\"");
    with(&config(&tunnel, ""), |hand| {
        let bytes =
            explain::parse("eth dst=02:00:00:00:aa:00 / ipv4 src=10.1.0.2 dst=10.2.0.2 / udp").unwrap();
        let explained = hand.hand.switch().explain("p0", &bytes).unwrap();
        let expected = "tun0 puts it in a packet from fd00::1 to fd00::2, by p1";
        assert!(explained.steps.iter().any(|step| step.text == expected), "{:#?}", explained.steps);
        assert_eq!(explained.leaves_by, ["p1"]);
        let back = six("fd00::2", "fd00::1", IPV4, &head(THERE, HERE, 17).packet(&udp(26)));
        let explained = hand.hand.switch().explain("p1", &to(1, &back)).unwrap();
        assert!(
            explained.steps.iter().any(|step| step.text == "for the tunnel tun0"),
            "{:#?}",
            explained.steps
        );

        let shown = serde_json::to_value(hand.hand.switch().tunnels()).unwrap();
        assert_eq!(
            shown,
            json!([{
                "ifname": "tun0", "kind": "ipip", "mode": "any", "local": "fd00::1", "remote": "fd00::2", "ttl": "64", "tos": "inherit",
                "pmtudisc": true, "flowlabel": "0x12345", "encaplimit": "4", "mtu": 1452,
                "far_ends": [{ "dst": "fd00::2", "src": "fd00::1", "dev": "p1", "state": "reachable", "mtu": 1500 }],
            }])
        );
        let edit = EditRequest {
            action: EditAction::Set,
            object: EditObject::Ipip,
            name: "tun0".into(),
            keys: json!({ "encaplimit": "none", "hoplimit": 9 }).as_object().unwrap().clone(),
        };
        let plan = hand.hand.switch().edit(&edit).map_err(|error| error.to_string()).unwrap();
        let lines: Vec<_> = plan.view().iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["~ ipip tun0: encaplimit unset → none, hoplimit unset → 9"]);
        let [_, sent] = hand.through(0, to(0, &inner(26)));
        assert_eq!(packet(&sent[0])[..8], [0x60, 1, 0x23, 0x45, 0, 46, IPV4, 9]);
        assert!(hand.hand.switch().apply(parsed(&config(BOTH, ""))).is_ok());
    });
}
