//! What a router is sent that nobody should send it: loops, storms, lies, silence and rubbish. It is counted, bounded and survived.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod hand;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use etherparse::icmpv4::DestUnreachableHeader::{FragmentationNeeded, Host};
use etherparse::{Icmpv4Type, IpNumber, Ipv4Header, PacketBuilder, SlicedPacket, TransportSlice};
use hand::{Hand, with};
use rigswitch::views::DropView;
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::wire::arp::{self, Arp, Operation};
use rigswitch_dataplane::wire::ethernet::Ethernet;
use rigswitch_dataplane::wire::fragment::Fragmenter;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// Our stations at p0 and p1 of switch `of`.
fn ours(of: u8, port: usize) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0xa0 + of, u8::try_from(port).unwrap()])
}

/// A station of somebody else's behind a port.
fn station(port: usize, n: u16) -> MacAddr {
    let [high, low] = n.to_be_bytes();
    MacAddr::new([2, 0, 0, u8::try_from(port + 1).unwrap(), high, low])
}

/// The ports and addresses of a router, and the rest of its configuration.
fn config(of: u8, addresses: [&[&str]; 2], rest: &str) -> String {
    let mut text = String::from("[switch]\nmac_table = 1024\n");
    for (n, addresses) in addresses.iter().enumerate() {
        text += &format!("[[port]]\nname = \"p{n}\"\nmemory = true\naddress = \"{}\"\n", ours(of, n));
        for address in *addresses {
            text += &format!("[[address]]\ndevice = \"p{n}\"\naddress = \"{address}\"\n");
        }
    }
    text + rest
}

fn neighbor(port: usize, address: &str, mac: MacAddr) -> String {
    format!("[[neighbor]]\ndevice = \"p{port}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n")
}

/// A datagram from a station behind p0 or p1 to the switch.
fn udp(port: usize, from: &str, to: &str, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(station(port, 2).octets(), ours(0, port).octets());
    let builder = match (from.parse().unwrap(), to.parse().unwrap()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), ttl),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), ttl),
        _ => panic!("of one family"),
    };
    let mut frame = Vec::new();
    builder.udp(1000, 2000).write(&mut frame, payload).unwrap();
    frame
}

/// Type and code of the ICMP or ICMPv6 message in a frame, if one is.
fn icmp(frame: &[u8]) -> Option<(u8, u8)> {
    match SlicedPacket::from_ethernet(frame).ok()?.transport? {
        TransportSlice::Icmpv4(message) => Some((message.type_u8(), message.code_u8())),
        TransportSlice::Icmpv6(message) => Some((message.type_u8(), message.code_u8())),
        _ => None,
    }
}

/// Packets that were dropped for a reason, on whatever device.
fn dropped(hand: &mut Hand<'_, '_>, reason: &str) -> u64 {
    let drops = hand.hand.switch().drops().drops;
    drops.iter().filter(|drop| drop.reason == reason).map(|drop| drop.packets).sum()
}

fn counted(hand: &mut Hand<'_, '_>) -> BTreeMap<&'static str, u64> {
    hand.hand.switch().router_counters().named().into_iter().collect()
}

#[test]
fn packets_between_two_routers_that_point_at_each_other_end_and_few_are_told_of() {
    const PACKETS: u64 = 100;
    const TTL: u8 = 64;
    let rest = |of: u8| {
        let other = [("192.0.2.2", "fd00::2"), ("192.0.2.1", "fd00::1")][usize::from(of)];
        let mut text = String::new();
        for (to, via) in [("0.0.0.0/0", other.0), ("::/0", other.1)] {
            text += &format!("[[route]]\nto = \"{to}\"\nvia = \"{via}\"\n");
            text += &neighbor(1, via, ours(1 - of, 1));
        }
        text + &neighbor(0, "10.1.0.2", station(0, 2)) + &neighbor(0, "fd01::2", station(0, 2))
    };
    let first = config(0, [&["10.1.0.1/24", "fd01::1/64"], &["192.0.2.1/24", "fd00::1/64"]], &rest(0));
    let second = config(1, [&["10.2.0.1/24"], &["192.0.2.2/24", "fd00::2/64"]], &rest(1));
    with(&first, |first| {
        with(&second, |second| {
            for (from, to) in [("10.1.0.2", "203.0.113.1"), ("fd01::2", "2001:db8::1")] {
                // Until their IPv6 addresses are theirs, and what control takes in a while is not used up.
                first.wait(SECOND * 3);
                second.wait(SECOND * 3);
                first.sent();
                second.sent();
                let (mut crossings, mut told) = (0u64, 0u64);
                for _ in 0..PACKETS {
                    first.ends[0].send(udp(0, from, to, TTL, b"round")).unwrap();
                }
                loop {
                    first.settle();
                    let [back, across] = first.sent();
                    told +=
                        back.iter().filter(|frame| matches!(icmp(frame), Some((11 | 3, 0)))).count() as u64;
                    for frame in &across {
                        crossings += u64::from(icmp(frame).is_none());
                        second.ends[1].send(frame.clone()).unwrap();
                    }
                    second.settle();
                    let [_, returned] = second.sent();
                    for frame in &returned {
                        crossings += u64::from(icmp(frame).is_none());
                        first.ends[1].send(frame.clone()).unwrap();
                    }
                    if across.is_empty() && returned.is_empty() {
                        break;
                    }
                }
                assert_eq!(crossings, PACKETS * u64::from(TTL - 1), "{from}");
                // Six at once to each, and no time has passed.
                assert_eq!(told, 6, "{from}");
            }
            let ended = dropped(first, "ttl_exceeded") + dropped(second, "ttl_exceeded");
            assert_eq!(ended, 2 * PACKETS);
        });
    });
}

/// A router between 10.1.0.0/16 and 10.2.0.0/16 that asks for its neighbours.
fn asking() -> String {
    config(0, [&["10.1.0.1/16"], &["10.2.0.1/16"]], "")
}

/// Hosts 10.1.0.2 and 10.2.0.2 answer what is asked of them in these frames; says what else there is.
fn answer(hand: &mut Hand<'_, '_>, sent: [Vec<Vec<u8>>; 2]) -> [Vec<Vec<u8>>; 2] {
    let mut rest = [Vec::new(), Vec::new()];
    for (port, frames) in sent.into_iter().enumerate() {
        let host = Ipv4Addr::new(10, u8::try_from(port + 1).unwrap(), 0, 2);
        for frame in frames {
            let ethernet = Ethernet::view(&frame).unwrap();
            match Arp::view(ethernet.payload()) {
                Ok(asked) if asked.operation() == Operation::REQUEST && asked.target_address() == host => {
                    hand.ends[port].send(asked.reply(station(port, 2)).to_vec()).unwrap();
                }
                _ => rest[port].push(frame),
            }
        }
    }
    hand.settle();
    rest
}

/// What comes out of p1 when this comes in at p0, the hosts having answered.
fn forwarded(hand: &mut Hand<'_, '_>, frame: Vec<u8>) -> Vec<Vec<u8>> {
    let sent = hand.through(0, frame);
    let [_, mut first] = answer(hand, sent);
    let sent = hand.sent();
    let [_, second] = answer(hand, sent);
    first.extend(second);
    first.retain(|frame| frame[12..14] == [8, 0]);
    first
}

#[test]
fn a_hundred_thousand_stations_that_ask_at_once_harm_nobody_who_was_known() {
    const STATIONS: u32 = 100_000;
    const IN_A_TICK: u32 = 250;
    with(&asking(), |hand| {
        let known = udp(0, "10.1.0.2", "10.2.0.2", 9, b"known");
        assert_eq!(forwarded(hand, known.clone()).len(), 1);
        let mut most = 0;
        for n in 0..STATIONS {
            let [_, a, b, c] = n.to_be_bytes();
            let who = MacAddr::new([2, 0x55, 0, a, b, c]);
            let ask = arp::request(
                (who, Ipv4Addr::new(10, 1, 4 + a.wrapping_mul(97).wrapping_add(b) % 250, c)),
                Ipv4Addr::new(10, 1, 0, 1),
                MacAddr::BROADCAST,
            );
            hand.ends[0].send(ask.to_vec()).unwrap();
            if n % 125 == 124 {
                hand.settle();
                let sent = hand.sent();
                answer(hand, sent);
            }
            if n % IN_A_TICK == IN_A_TICK - 1 {
                // The known hosts answer in the middle of it, and what is for them goes on.
                let sent = hand.sent();
                answer(hand, sent);
                hand.wait(TICK);
                let sent = hand.sent();
                answer(hand, sent);
            }
            if n % 10_000 == 9_999 {
                assert_eq!(forwarded(hand, known.clone()).len(), 1, "after {n} of them");
                most = most.max(hand.hand.switch().neighbors().len());
            }
        }
        assert!((1000..=1024).contains(&most), "{most} neighbours");
        let neighbors = hand.hand.switch().neighbors();
        let host = neighbors.iter().find(|it| it.dst == "10.2.0.2").unwrap();
        assert_eq!(host.lladdr, Some(station(1, 2).to_string()));
        let (limited, counted) = (dropped(hand, "punt_full"), counted(hand));
        // Of what came in a tick a hundred were heard: all of those had an answer, and learned or not.
        let heard = u64::from(STATIONS) - limited;
        assert!(
            (u64::from(STATIONS / IN_A_TICK) * 100..=u64::from(STATIONS / 2)).contains(&heard),
            "{heard}"
        );
        assert!(counted["answered"] >= heard && counted["evicted"] + counted["refused"] > 0, "{counted:?}");
    });
}

#[test]
fn lies_about_packets_that_we_never_sent_change_nothing() {
    let tunnel = "[[ipip]]\nname = \"tun0\"\nlocal = \"10.2.0.1\"\nremote = \"10.2.0.2\"\n[[route]]\nto = \"172.16.0.0/12\"\ndevice = \"tun0\"\n";
    with(&(asking() + &neighbor(1, "10.2.0.2", station(1, 2)) + tunnel), |hand| {
        let told = |what: Icmpv4Type, about: &[u8]| {
            let mut frame = Vec::new();
            let builder = PacketBuilder::ethernet2(station(1, 66).octets(), ours(0, 1).octets());
            let from = Ipv4Addr::new(10, 2, 0, 66).octets();
            builder.ipv4(from, [10, 2, 0, 1], 64).icmpv4(what).write(&mut frame, about).unwrap();
            frame
        };
        let needs = |mtu| Icmpv4Type::DestinationUnreachable(FragmentationNeeded { next_hop_mtu: mtu });
        let far_end = |hand: &mut Hand<'_, '_>| hand.hand.switch().tunnels()[0].far_ends[0].mtu;
        let inside = udp(0, "10.1.0.2", "172.16.0.1", 9, &[7; 100]);
        let [_, sent] = hand.through(0, inside.clone());
        let outer = sent[0][14..].to_vec();
        let changed = |at: usize, to: u8| {
            let mut packet = outer.clone();
            packet[at] = to;
            packet
        };
        // From another, to another, of another version, and too short to tell.
        let lies = [changed(15, 77), changed(19, 77), changed(0, 0x65), outer[..19].to_vec(), vec![]];
        let mut heard = 0;
        for lie in &lies {
            for what in [needs(1000), needs(0), Icmpv4Type::DestinationUnreachable(Host)] {
                assert_eq!(hand.through(1, told(what, lie)), [vec![], vec![]].map(Vec::<Vec<u8>>::from));
                heard += 1;
                assert_eq!(far_end(hand), Some(1500));
            }
        }
        // Who could have seen the packet is believed, but a way is never as narrow as that.
        for mtu in [68, 0, 551] {
            hand.through(1, told(needs(mtu), &outer));
            heard += 1;
            assert_eq!(far_end(hand), Some(552));
        }
        // A router that is no router.
        let redirect = Icmpv4Type::Unknown { type_u8: 5, code_u8: 1, bytes5to8: [10, 2, 0, 66] };
        hand.through(1, told(redirect, &outer));
        let [_, sent] = hand.through(0, inside);
        assert_eq!((sent.len(), &sent[0][..6]), (1, &station(1, 2).octets()[..]));
        let counted = counted(hand);
        assert_eq!((counted["errors_heard"], counted["icmp_sent"]), (heard, 0), "{counted:?}");
        assert!(counted["ignored"] >= 1, "the redirect");
    });
}

#[test]
fn a_next_hop_that_never_answers_holds_little_and_recovers() {
    with(&asking(), |hand| {
        let packet = |n: u16| udp(0, "10.1.0.2", "10.2.0.2", 9, &n.to_be_bytes());
        let silent = |frames: &[Vec<u8>]| frames.iter().filter(|frame| frame[12..14] == [8, 0]).count();
        // A sender that is heard of, so that it can be told.
        let ask = arp::request(
            (station(0, 2), Ipv4Addr::new(10, 1, 0, 2)),
            Ipv4Addr::new(10, 1, 0, 1),
            MacAddr::BROADCAST,
        );
        hand.through(0, ask.to_vec());
        for n in 0..2000 {
            hand.ends[0].send(packet(n)).unwrap();
            if n % 100 == 99 {
                hand.settle();
                let [_, out] = hand.sent();
                assert_eq!(silent(&out), 0);
            }
        }
        let before = counted(hand);
        assert_eq!(before["held"] + dropped(hand, "punt_full"), 2000, "{before:?}");
        assert!(before["held"] - before["held_dropped"] <= 101, "{before:?}");
        // After three questions a second apart, the sender is told, as often as is right.
        hand.wait(SECOND * 4);
        let [told, _] = hand.sent();
        let told = told.iter().filter(|frame| icmp(frame) == Some((3, 1))).count();
        assert_eq!(told, 6, "host unreachable");
        let after = counted(hand);
        assert_eq!((after["icmp_sent"], after["failed"]), (6, 1), "{after:?}");
        // It is asked for again, and when it answers the latest of what waits for it goes.
        let asked = hand.through(0, packet(3000));
        let [_, out] = answer(hand, asked);
        assert_eq!(silent(&out), 0);
        let [_, out] = hand.sent();
        assert_eq!((out.len(), &out[0][42..44]), (1, &3000u16.to_be_bytes()[..]));
        assert_eq!(forwarded(hand, packet(3001)).len(), 1);
        // Many that do not answer: so many neighbours, and so many frames in all.
        for n in 0..6000u16 {
            let to = format!("10.2.{}.{}", 1 + n / 250, 1 + n % 250);
            hand.ends[0].send(udp(0, "10.1.0.2", &to, 9, &[1; 1000])).unwrap();
            if n % 90 == 89 {
                hand.settle();
                hand.sent();
                hand.wait(TICK);
                hand.sent();
            }
        }
        let counted = counted(hand);
        assert!(hand.hand.switch().neighbors().len() <= 1024);
        assert!(counted["held_dropped"] > after["held_dropped"], "{counted:?}");
        assert_eq!(forwarded(hand, packet(3002)).len(), 1, "who answers is none of them");
    });
}

#[test]
fn mangled_packets_end_by_a_name_and_the_rest_goes_on() {
    const FRAMES: usize = 20_000;
    const NAMES: [&str; 22] = [
        "blackhole",
        "ip_checksum",
        "ip_group",
        "ip_malformed",
        "ip_option",
        "ip_scope",
        "martian",
        "no_route",
        "no_vlan_device",
        "other_host",
        "punt_full",
        "source_group",
        "source_zero",
        "too_big",
        "truncated",
        "ttl_exceeded",
        "unknown_protocol",
        "unreachable",
        "vlan_malformed",
        "malformed_offload",
        "tunnel_malformed",
        "not_forwarding",
    ];
    let text = config(0, [&["10.1.0.1/24", "fd01::1/64"], &["10.2.0.1/24", "fd02::1/64"]], "")
        + &neighbor(1, "10.2.0.2", station(1, 2))
        + &neighbor(1, "fd02::2", station(1, 2))
        + &neighbor(0, "10.1.0.2", station(0, 2));
    with(&text, |hand| {
        let whole = [
            udp(0, "10.1.0.2", "10.2.0.2", 9, &[3; 60]),
            udp(0, "10.1.0.2", "10.1.0.1", 9, &[3; 60]),
            udp(0, "fd01::2", "fd02::2", 9, &[3; 60]),
            udp(0, "fd01::2", "fd01::1", 9, &[3; 60]),
        ];
        hand.wait(SECOND * 3);
        hand.sent();
        let seed = 0x5eed_0001;
        let mut random = seed;
        let mut next = |limit: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % limit as u64).unwrap()
        };
        for n in 0..FRAMES {
            let mut frame = whole[next(4)].clone();
            for _ in 0..1 + next(4) {
                let at = 12 + next(50);
                frame[at] = [0, 0xff, 0x80, u8::try_from(next(256)).unwrap()][next(4)];
            }
            // In half of them the header's checksum is right, so that what is behind it counts.
            let header = 14 + usize::from(frame[14] & 0xf) * 4;
            if frame[12..14] == [8, 0] && next(2) == 0 && (34..=74).contains(&header) {
                frame[24..26].fill(0);
                let sum = rigswitch_dataplane::wire::checksum::Sum::of(&frame[14..header]).checksum();
                frame[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            if next(8) == 0 {
                frame.truncate(next(frame.len()).max(14));
            }
            hand.ends[0].send(frame).unwrap();
            if n % 100 == 99 {
                hand.settle();
                hand.sent();
            }
            if n % 500 == 499 {
                hand.wait(TICK);
                hand.sent();
            }
        }
        hand.wait(SECOND * 70);
        hand.sent();
        let drops: Vec<DropView> = hand.hand.switch().drops().drops;
        for drop in &drops {
            assert!(NAMES.contains(&&*drop.reason), "seed {seed:#x}: {drop:?}");
        }
        for name in ["ip_checksum", "ip_malformed", "no_route", "unknown_protocol"] {
            assert!(dropped(hand, name) > 0, "none of {name}: {drops:?}");
        }
        for frame in [&whole[0], &whole[2]] {
            let [_, out] = hand.through(0, frame.clone());
            assert_eq!(out.len(), 1, "what is right goes on");
        }
    });
}

/// The fragments of a packet, each in a frame.
fn cut(frame: &[u8], mtu: u16) -> Vec<Vec<u8>> {
    let cut = Fragmenter::new(&frame[14..], mtu).unwrap();
    let mut out = vec![0; mtu.into()];
    let piece = |n| cut.write(n, &mut out).map(|len| [&frame[..14], &out[..len]].concat()).unwrap();
    (0..cut.count()).map(piece).collect()
}

#[test]
fn what_a_tunnel_gets_in_fragments_comes_out_as_the_whole_would() {
    let tunnel = "[[ipip]]\nname = \"tun0\"\nlocal = \"10.2.0.1\"\nremote = \"10.2.0.2\"\nmode = \"any\"\n";
    let text = asking() + &neighbor(0, "10.1.0.2", station(0, 2)) + tunnel;
    with(&text, |hand| {
        let inner = udp(1, "172.16.0.1", "10.1.0.2", 9, &[5; 1400])[14..].to_vec();
        let mut header = Ipv4Header::new(0, 64, IpNumber(4), [10, 2, 0, 2], [10, 2, 0, 1]).unwrap();
        (header.identification, header.dont_fragment) = (77, false);
        header.set_payload_len(inner.len()).unwrap();
        header.header_checksum = header.calc_header_checksum();
        let mut outer =
            [&ours(0, 1).octets()[..], &station(1, 2).octets(), &[8, 0], &header.to_bytes(), &inner].concat();
        let [whole, _] = hand.through(1, outer.clone());
        assert_eq!(whole.len(), 1);
        // One byte over another is refused with its packet, and the same once more is not.
        for backward in [false, true] {
            let mut pieces = cut(&outer, 576);
            if backward {
                pieces.reverse();
            }
            let (last, first) = pieces.split_last().unwrap();
            for piece in first.iter().chain(first) {
                assert_eq!(hand.through(1, piece.clone()), [vec![], vec![]].map(Vec::<Vec<u8>>::from));
            }
            let [together, back] = hand.through(1, last.clone());
            assert_eq!((&together, back.len()), (&whole, 0));
        }
        assert_eq!(hand.hand.switch().drops().drops, []);
        let before = counted(hand);
        assert_eq!((before["reassembled"], before["reassembly_failed"]), (2, 0));
        // Teardrop, and one that ends beyond the longest packet.
        let pieces = cut(&outer, 576);
        let mut over = pieces[1].clone();
        over[21] -= 1;
        outer.truncate(14 + 20 + 8);
        outer[16..18].copy_from_slice(&28u16.to_be_bytes());
        outer[20..22].copy_from_slice(&0x1fffu16.to_be_bytes());
        for frame in [&mut over, &mut outer] {
            frame[24..26].fill(0);
            let sum = rigswitch_dataplane::wire::checksum::Sum::of(&frame[14..34]).checksum();
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        for frame in [pieces[0].clone(), over, outer] {
            assert_eq!(hand.through(1, frame), [vec![], vec![]].map(Vec::<Vec<u8>>::from));
        }
        assert_eq!(counted(hand)["reassembly_failed"], 2);
    });
}
