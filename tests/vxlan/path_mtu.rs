//! What routers along the way to a far end say that it carries.

use std::net::IpAddr;
use std::time::Duration;

use etherparse::{Icmpv6Type, PacketBuilder};

use super::hand::{Hand, with};

const OURS: [u8; 6] = [2, 0, 0, 0, 0xea, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0xfa, 2];
const HERE: [u8; 6] = [2, 0, 0, 0, 0, 1]; // behind p0
const THERE: [u8; 6] = [2, 0, 0, 0, 0, 2]; // behind the far end

/// p0 is bridged with vx0, which leaves by p1 and may not be fragmented on its way.
fn config(local: &str, remote: &str, length: u8) -> String {
    format!(
        "port = [{{ name = \"p0\", memory = true }}, {{ name = \"p1\", memory = true, address = \"02:00:00:00:ea:01\" }}]\n\
         bridge = [{{ name = \"br0\", port = [{{ device = \"p0\" }}, {{ device = \"vx0\" }}] }}]\n\
         address = [{{ device = \"p1\", address = \"{local}/{length}\" }}]\n\
         neighbor = [{{ device = \"p1\", address = \"{remote}\", mac = \"02:00:00:00:fa:02\" }}]\n\
         vxlan = [{{ name = \"vx0\", id = 42, local = \"{local}\", remote = \"{remote}\", df = \"set\" }}]\n\
         routing = {{ dad_transmits = 0 }}\n"
    )
}

/// A frame from the host, of so many bytes of IPv4 packet that may not be fragmented.
fn frame(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(HERE, THERE).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    builder.udp(7, 8).write(&mut bytes, &vec![7; length - 28]).unwrap();
    bytes
}

/// An error from the router that this outer packet is longer than 1,300 bytes.
fn too_long(about: &[u8], source: &str, ours: &str) -> Vec<u8> {
    let mut message = Vec::new();
    let builder = PacketBuilder::ethernet2(ROUTER, OURS);
    match [source, ours].map(|text| text.parse().unwrap()) {
        [IpAddr::V4(source), IpAddr::V4(ours)] => {
            use etherparse::Icmpv4Type::DestinationUnreachable;
            use etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded;
            let kind = DestinationUnreachable(FragmentationNeeded { next_hop_mtu: 1300 });
            let builder = builder.ipv4(source.octets(), ours.octets(), 64).icmpv4(kind);
            builder.write(&mut message, &about[..28]).unwrap();
        }
        [IpAddr::V6(source), IpAddr::V6(ours)] => {
            let builder = builder.ipv6(source.octets(), ours.octets(), 64);
            let builder = builder.icmpv6(Icmpv6Type::PacketTooBig { mtu: 1300 });
            builder.write(&mut message, &about[..1232]).unwrap();
        }
        _ => panic!("addresses of one version"),
    }
    message
}

#[test]
fn what_a_router_says_of_the_way_is_told_to_the_next_host_that_sends_more() {
    for (local, remote, length, outer) in [("192.0.2.1", "192.0.2.2", 24, 50), ("fd00::1", "fd00::2", 64, 70)]
    {
        with(&config(local, remote, length), |hand| {
            let mtu = |hand: &mut Hand<'_, '_>| hand.hand.switch().tunnels()[0].far_ends[0].mtu;
            let [_, sent] = hand.through(0, frame(1400));
            assert_eq!((sent.len(), sent[0].len()), (1, 14 + 1400 + outer));
            let about = sent[0][14..].to_vec();

            // What is about another protocol is not about the tunnel.
            let mut other = about.clone();
            other[if length == 24 { 9 } else { 6 }] = 6;
            assert!(hand.through(1, too_long(&other, remote, local)).concat().is_empty());
            assert_eq!(mtu(hand), Some(1500));
            assert!(hand.through(1, too_long(&about, remote, local)).concat().is_empty());
            assert_eq!(mtu(hand), Some(1300));

            let fits = 1300 - outer;
            let [told, sent] = hand.through(0, frame(fits + 1));
            assert_eq!((told.len(), sent.len()), (1, 0));
            let needed = u16::try_from(fits).unwrap().to_be_bytes();
            assert_eq!(
                (&told[0][..6], &told[0][34..36], &told[0][40..42]),
                (&HERE[..], &[3, 4][..], &needed[..])
            );
            let [told, sent] = hand.through(0, frame(fits));
            assert_eq!((told.len(), sent[0].len()), (0, 14 + 1300));

            hand.wait(Duration::from_secs(601));
            hand.sent(); // what a router says from time to time
            assert_eq!(mtu(hand), Some(1500));
            let [told, sent] = hand.through(0, frame(1400));
            assert_eq!((told.len(), sent.len()), (0, 1));
        });
    }
}
