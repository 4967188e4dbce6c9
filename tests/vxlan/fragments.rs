//! Outer packets for a group that come in fragments: put together as those for an address of ours are, or nothing of them is taken.

use std::collections::BTreeMap;
use std::net::IpAddr;

use etherparse::PacketBuilder;
use rigswitch_dataplane::wire::fragment::{Fragmenter, FragmenterIpv6};

use super::packets::{NEAR, PLAIN};
use super::rig::{NIC, Plug, Rig, Wire, frame, has, run_in};
use super::rules::{BROADCAST, HERE, Played, THERE, bridged, play};

/// The far end's station, and the address of a group's.
const FAR: [u8; 6] = [2, 0, 0, 0, 0xfa, 2];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An outer packet of network 42 between these addresses, its UDP checksum right.
fn outer(from: &str, to: &str, inner: &[u8]) -> Vec<u8> {
    let message = [&(PLAIN | 42 << 8).to_be_bytes()[..], inner].concat();
    let mut frame = Vec::new();
    let station = match ip(to) {
        IpAddr::V4(to) if to.is_multicast() => {
            let [_, a, b, c] = to.octets();
            [1, 0, 0x5e, a & 0x7f, b, c]
        }
        IpAddr::V6(to) if to.is_multicast() => {
            let [.., a, b, c, d] = to.octets();
            [0x33, 0x33, a, b, c, d]
        }
        _ => NEAR,
    };
    let builder = PacketBuilder::ethernet2(FAR, station);
    let builder = match (ip(from), ip(to)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 9),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 9),
        _ => panic!("one version of IP"),
    };
    builder.udp(50_000, 4789).write(&mut frame, &message).unwrap();
    frame
}

/// The fragments of a packet, none longer than `mtu`, under this number.
pub(super) fn cut(frame: &[u8], mtu: u16, number: u16) -> Vec<Vec<u8>> {
    let (ethernet, packet) = frame.split_at(14);
    let (mut packet, mut out) = (packet.to_vec(), vec![0; mtu.into()]);
    if packet[0] >> 4 == 6 {
        let cut = FragmenterIpv6::new(&packet, mtu, number.into()).unwrap();
        let piece = |n| cut.write(n, &mut out).map(|length| [ethernet, &out[..length]].concat());
        return (0..cut.count()).filter_map(piece).collect();
    }
    packet[4..6].copy_from_slice(&number.to_be_bytes());
    packet[6] = 0; // it may be fragmented
    packet[10..12].fill(0);
    let (mut header, _) = etherparse::Ipv4Header::from_slice(&packet).unwrap();
    header.header_checksum = header.calc_header_checksum();
    packet[..20].copy_from_slice(&header.to_bytes());
    let cut = Fragmenter::new(&packet, mtu).unwrap();
    let piece = |n| cut.write(n, &mut out).map(|length| [ethernet, &out[..length]].concat());
    (0..cut.count()).filter_map(piece).collect()
}

impl Played<'_, '_> {
    /// Fragments come in by u0; what leaves by p0 and by u0 once control has seen to them.
    fn fragments(&mut self, pieces: &[Vec<u8>]) -> [Vec<Vec<u8>>; 2] {
        for piece in pieces {
            let [inside, back] = self.send("u0", piece);
            assert!(inside.is_empty() && back.is_empty(), "no fragment is taken alone");
        }
        self.pass(100);
        self.left()
    }
}

/// What each of the two versions of IP has: the far end, our address, the group, and another.
const ENDS: [[&str; 4]; 2] = [
    ["192.0.2.2", "192.0.2.1", "239.1.1.1", "239.1.1.2"],
    ["fd00::c000:202", "fd00::c000:201", "ff05::1:1", "ff05::1:2"],
];

#[test]
fn fragments_for_a_group_are_put_together_as_those_for_an_address_are() {
    for [far, near, group, other] in ENDS {
        let text = bridged(&format!("local = \"{near}\"\ngroup = \"{group}\"\ndev = \"u0\"\n"));
        play(&text, |rig| {
            rig.pass(2000); // what there is to tell of groups and addresses is told
            rig.left();
            let mut before = BTreeMap::new();
            let inner = frame(HERE, THERE, 0x88b5, 1400, 1);
            for (number, to) in [(1, near), (2, group)] {
                let pieces = cut(&outer(far, to, &inner), 600, number);
                assert!(pieces.len() > 2);
                let [inside, back] = rig.fragments(&pieces);
                assert!(inside == [&inner[..]] && back.is_empty(), "{to}");
                let mut backward = cut(&outer(far, to, &inner), 600, number + 2);
                backward.reverse();
                assert_eq!(rig.fragments(&backward)[0], [&inner[..]], "{to}, the last first");
            }
            assert_eq!(rig.drops(&mut before), [""; 0]);
            // A group that nobody here is in.
            let pieces = cut(&outer(far, other, &inner), 600, 5);
            assert_eq!(rig.fragments(&pieces), [vec![], vec![]] as [Vec<Vec<u8>>; 2]);
            assert_eq!(rig.drops(&mut before), vec!["u0 rx.ip_group"; pieces.len()]);
            // One is missing: nothing of it is taken, and nobody told, for it went to many.
            let counted = rig.hand.switch().router_counters();
            let pieces = cut(&outer(far, group, &inner), 600, 6);
            assert_eq!(rig.fragments(&pieces[..2]), [vec![], vec![]] as [Vec<Vec<u8>>; 2]);
            rig.pass(61_000);
            let [inside, back] = rig.left();
            assert!(inside.is_empty() && back.is_empty(), "{back:x?}");
            let now = rig.hand.switch().router_counters();
            assert_eq!(now.reassembly_failed - counted.reassembly_failed, 1);
            assert_eq!(now.icmp_sent, counted.icmp_sent);
            // What is in them counts as it does of a whole one.
            let mut broken = outer(far, group, &inner);
            let last = broken.len() - 1;
            broken[last] ^= 1;
            assert_eq!(rig.fragments(&cut(&broken, 600, 7))[0], [[0; 0]; 0]);
            assert_eq!(rig.drops(&mut before), ["u0 rx.udp_checksum"]);
        });
    }
}

#[test]
fn fragments_for_a_group_come_in_by_either_underlay() {
    const TEST: &str = "vxlan-fragments";
    for (underlay, is_hosts) in [("socket = { udp = [4789] }", true), ("packet = \"p1\"", false)] {
        for (version, [far, near, group, _]) in ENDS.into_iter().enumerate() {
            let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &[Plug::Veth; 2], 1500)).flatten() else {
                return;
            };
            let length = if version == 0 { 24 } else { 64 };
            let center = |line: &str| run_in(&rig.center, line);
            if is_hosts {
                for knob in ["all", "p1"] {
                    center(&format!("sysctl -q -w net.ipv6.conf.{knob}.disable_ipv6=0"));
                }
                rig.center.add_address("p1", ip(near), length).unwrap();
            }
            let netns = format!("netns = \"{}\"", rig.center.name());
            let _switch = rig.folder.start(&format!(
                "[switch]\nmac_table = 1024\n[[port]]\nname = \"u0\"\n{underlay}\n{netns}\n\
                 [[port]]\nname = \"c0\"\npacket = \"p0\"\n{netns}\n\
                 [[address]]\ndevice = \"u0\"\naddress = \"{near}/{length}\"\n\
                 [[vxlan]]\nname = \"vx0\"\nid = 42\ndstport = 4789\nlocal = \"{near}\"\ngroup = \"{group}\"\ndev = \"u0\"\n\
                 [[bridge]]\nname = \"br0\"\nmcast_snooping = false\nport = [{{ device = \"c0\" }}, {{ device = \"vx0\" }}]\n"
            ));
            let [container, node] = [0, 1].map(|n| rig.wire(n));
            let inner = frame(BROADCAST, THERE, 0x88b5, 1400, 1);
            for piece in cut(&outer(far, group, &inner), 600, 1) {
                node.send(&piece);
            }
            let last = frame(BROADCAST, THERE, 0x88b5, 60, 2);
            // Until it is whole, it waits for others, and what is whole does not.
            let mut came = Vec::new();
            let is_ours = |frame: &Vec<u8>| frame[6..12] == THERE;
            super::command::wait_for("the whole", || {
                came.extend(std::iter::from_fn(|| container.poll()).filter(is_ours));
                came.contains(&inner).then_some(())
            });
            node.send(&outer(far, group, &last));
            came.extend(container.receive_until(&last).into_iter().filter(is_ours));
            assert!(came == [&inner[..]], "{underlay}, {group}: once, and nothing else");
            if version == 0 {
                by_the_kernel(&rig, &container, group);
            }
            rig.settled();
        }
    }
}

/// The same from a device of this kernel's, whose way has become too narrow for what it takes.
fn by_the_kernel(rig: &Rig, container: &Wire, group: &str) {
    let node = &rig.hosts[1];
    rig.hosts[1].add_address(NIC, ip("192.0.2.2"), 24).unwrap();
    run_in(
        node,
        &format!("ip link add vx0 type vxlan id 42 dstport 4789 local 192.0.2.2 group {group} dev {NIC}"),
    );
    run_in(node, "ip link set vx0 up");
    run_in(node, &format!("ip link set {NIC} mtu 1300"));
    let inner = frame(BROADCAST, THERE, 0x88b5, 1464, 3);
    Wire::new(node, "vx0").send(&inner);
    let _ = container.receive_until(&inner);
}
