//! The router's part of the line: packets between two networks, and every reason for which one goes no further.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use etherparse::{PacketBuilder, SlicedPacket};
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Burst, Checksum, Gso, GsoKind, PoolConfig};
use rigswitch_dataplane::ids::{DeviceId, MacAddr, Vni};
use rigswitch_dataplane::ports::{Capabilities, Memory, MemoryEnd, PortGone, PortIo, PortQueue, Wire};
use rigswitch_dataplane::punt::PuntReason;
use rigswitch_dataplane::tables::next_hop::{NextHop, NextHops};
use rigswitch_dataplane::tables::route::{Prefix, Routes};
use rigswitch_dataplane::tables::{Adjacencies, Interface, Role, Routing, Tables};
use rigswitch_dataplane::wire;
use rigswitch_dataplane::worker::{Links, Worker};
use support::{Rig, device, vxlan, worker};

const HERE: [u8; 6] = [2, 0, 0, 0, 0xaa, 0];
const THERE: [u8; 6] = [2, 0, 0, 0, 0xaa, 1];
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const MTU: u32 = 1400;

/// Device 0 is 10.0.0.1/24 and fd00::1/64, device 1 is 10.0.1.1/24 and fd01::1/64 with an MTU of 1,400. Behind device 1 are 10.0.1.2 and
/// fd01::2; all of 10.9/16 is a blackhole, 10.8/16 unreachable, 10.7/16 prohibited, and the rest goes by 10.0.1.2.
fn routing(forwards: bool, checks_source: bool) -> Routing {
    let mut next_hops = NextHops::new();
    let [here, there] = [0, 1].map(DeviceId);
    let mut hop = |next_hop| next_hops.add(next_hop).unwrap();
    let gateway = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 2));
    let [at_here, at_there] = [here, there].map(|device| hop(NextHop::Connected { device }));
    let [ours, theirs] = [here, there].map(|device| hop(NextHop::Local { device }));
    let all = hop(NextHop::Broadcast { device: there });
    let nowhere = [NextHop::Blackhole, NextHop::Unreachable, NextHop::Prohibit].map(&mut hop);
    let onward = hop(NextHop::Gateway { device: there, gateway });
    let v4 = |text: &str, length| Prefix::new(text.parse::<Ipv4Addr>().unwrap(), length).unwrap();
    let v6 = |text: &str, length| Prefix::new(text.parse::<Ipv6Addr>().unwrap(), length).unwrap();
    let interface = |mac, mtu| {
        Some(Interface { mac: MacAddr::new(mac), mtu, forwards, checks_source, has_neighbors: true })
    };
    Routing {
        interfaces: [interface(HERE, 1500), interface(THERE, MTU)].into(),
        ipv4: Arc::new(Routes::new([
            (v4("10.0.0.0", 24), at_here),
            (v4("10.0.0.1", 32), ours),
            (v4("10.0.1.0", 24), at_there),
            (v4("10.0.1.1", 32), theirs),
            (v4("10.0.1.255", 32), all),
            (v4("10.9.0.0", 16), nowhere[0]),
            (v4("10.8.0.0", 16), nowhere[1]),
            (v4("10.7.0.0", 16), nowhere[2]),
            (v4("198.0.0.0", 8), onward),
        ])),
        ipv6: Arc::new(Routes::new([
            (v6("fd00::", 64), at_here),
            (v6("fd00::1", 128), ours),
            (v6("fd01::", 64), at_there),
            (v6("fd01::1", 128), theirs),
        ])),
        next_hops: next_hops.into(),
        neighbors_ipv4: Adjacencies::new(
            [(there, Ipv4Addr::new(10, 0, 1, 2), MacAddr::new(PEER))].into_iter(),
            1,
        ),
        neighbors_ipv6: Adjacencies::new(
            [(there, "fd01::2".parse().unwrap(), MacAddr::new(PEER))].into_iter(),
            1,
        ),
        ..Routing::default()
    }
}

/// Runs `work` on a worker whose devices have memory ports.
fn with_router(routing: Routing, work: impl FnOnce(&mut Rig, &mut Worker<'_, ()>, &[MemoryEnd; 2])) {
    let devices = [0, 1].map(|_| device(Role::Routed, 0));
    let tables = Tables::new(devices.into(), Box::default()).with_routing(Arc::new(routing));
    let (mut rig, mut links): (Rig, Vec<Links>) = Rig::new(1, tables, PoolConfig::singles(256), 16);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let ends = [0, 1].map(|id| {
        let (port, end) = Memory::new(64, Capabilities::default());
        rig.open(0, DeviceId(id), Box::new(port));
        end
    });
    work(&mut rig, &mut worker, &ends);
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}

/// A datagram in a frame for the router.
fn datagram(source: &str, destination: &str, ttl: u8, payload: usize) -> Vec<u8> {
    let frame = PacketBuilder::ethernet2(HOST, HERE);
    let packet = match (source.parse().unwrap(), destination.parse().unwrap()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => frame.ipv4(from.octets(), to.octets(), ttl),
        (IpAddr::V6(from), IpAddr::V6(to)) => frame.ipv6(from.octets(), to.octets(), ttl),
        _ => panic!("of one family"),
    };
    let mut bytes = Vec::new();
    packet.udp(7, 8).write(&mut bytes, &vec![0x5a; payload]).unwrap();
    bytes
}

/// Without the flag that forbids fragments.
fn fragmentable(mut frame: Vec<u8>) -> Vec<u8> {
    frame[20] &= !0x40;
    frame[24..26].fill(0);
    let sum =
        frame[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    frame
}

fn sent(end: &MemoryEnd) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| end.receive()).map(|wire: Wire| wire.bytes).collect()
}

#[test]
fn packets_go_on_with_one_hop_less_to_the_neighbour_that_is_next() {
    with_router(routing(true, false), |_, worker, ends| {
        for (source, destination) in
            [("10.0.0.9", "10.0.1.2"), ("10.0.0.9", "198.51.100.7"), ("fd00::9", "fd01::2")]
        {
            // A short frame is padded on the wire, and a router takes the padding off.
            let mut frame = datagram(source, destination, 64, 4);
            let length = frame.len();
            frame.resize(100, 0);
            ends[0].send(frame.clone()).unwrap();
            while worker.turn() > 0 {}
            let out = sent(&ends[1]);
            assert_eq!(out.len(), 1, "{destination}");
            assert_eq!(out[0].len(), length);
            assert_eq!((&out[0][..6], &out[0][6..12]), (&PEER[..], &THERE[..]));
            let packet = SlicedPacket::from_ethernet(&out[0]).unwrap();
            match packet.net.unwrap() {
                etherparse::NetSlice::Ipv4(ip) => {
                    let header = ip.header().to_header();
                    assert_eq!(
                        (header.time_to_live, header.header_checksum),
                        (63, header.calc_header_checksum())
                    );
                }
                etherparse::NetSlice::Ipv6(ip) => assert_eq!(ip.header().hop_limit(), 63),
                etherparse::NetSlice::Arp(_) => panic!("a packet"),
            }
        }
    });
}

/// What becomes of one frame that comes to device 0: the drop, and what control gets.
fn fate(routing: Routing, frame: &[u8]) -> (Option<DropReason>, Option<PuntReason>) {
    let mut fate = (None, None);
    with_router(routing, |rig, worker, ends| {
        ends[0].send(frame.to_vec()).unwrap();
        while worker.turn() > 0 {}
        let counters = rig.counters[0].device(DeviceId(0));
        let dropped = |reason: &&DropReason| counters.drops(Direction::Rx, **reason).volume().packets > 0;
        let punted = rig.punts[0].receive().map(|(punted, bytes)| {
            assert_eq!(bytes, frame, "control gets it as it came");
            punted.reason
        });
        fate = (DropReason::ALL.iter().find(dropped).copied(), punted);
        assert!(sent(&ends[1]).is_empty());
    });
    fate
}

#[test]
fn what_goes_no_further_is_named_and_its_sender_is_told_if_it_may_be() {
    let ping = |destination| datagram("10.0.0.9", destination, 64, 20);
    let with = |at: usize, octet: u8| {
        let mut frame = ping("10.0.1.2");
        frame[at] = octet;
        frame
    };
    let mut tagged = ping("10.0.1.2");
    tagged.splice(12..12, [0x81, 0, 0, 10]);
    let own = || routing(true, false);
    for (what, routing, frame, expected) in [
        ("another's frame", own(), with(5, 9), (Some(DropReason::OtherHost), None)),
        ("to all on the link", own(), with(0, 3), (Some(DropReason::IpGroup), None)),
        ("another protocol", own(), with(12, 0x88), (Some(DropReason::UnknownProtocol), None)),
        ("a version of its own", own(), with(14, 0x55), (Some(DropReason::IpMalformed), None)),
        ("a wrong checksum", own(), with(24, 0xee), (Some(DropReason::IpChecksum), None)),
        ("a tag", own(), tagged, (Some(DropReason::NoVlanDevice), None)),
        ("cut off", own(), ping("10.0.1.2")[..10].to_vec(), (Some(DropReason::Truncated), None)),
        ("from loopback", own(), datagram("127.0.0.1", "10.0.1.2", 9, 1), (Some(DropReason::Martian), None)),
        ("to a group", own(), ping("239.1.2.3"), (Some(DropReason::IpGroup), None)),
        ("to all of a network", own(), ping("10.0.1.255"), (Some(DropReason::IpGroup), None)),
        ("a blackhole", own(), ping("10.9.1.1"), (Some(DropReason::Blackhole), None)),
        (
            "unreachable",
            own(),
            ping("10.8.1.1"),
            (Some(DropReason::Unreachable), Some(PuntReason::Unreachable)),
        ),
        ("prohibited", own(), ping("10.7.1.1"), (Some(DropReason::Prohibited), Some(PuntReason::Prohibited))),
        ("no route", own(), ping("172.16.0.1"), (Some(DropReason::NoRoute), Some(PuntReason::Unreachable))),
        (
            "no hop left",
            own(),
            datagram("10.0.0.9", "10.0.1.2", 1, 1),
            (Some(DropReason::TtlExceeded), Some(PuntReason::TtlExceeded)),
        ),
        (
            "no hop left of IPv6",
            own(),
            datagram("fd00::9", "fd01::2", 1, 1),
            (Some(DropReason::TtlExceeded), Some(PuntReason::TtlExceeded)),
        ),
        (
            "too long for the next link",
            own(),
            datagram("fd00::9", "fd01::2", 9, MTU as usize - 47),
            (Some(DropReason::TooBig), Some(PuntReason::TooBig)),
        ),
        (
            "from a link",
            own(),
            datagram("fe80::9", "fd01::2", 9, 1),
            (Some(DropReason::IpScope), Some(PuntReason::BeyondScope)),
        ),
        ("from nobody", own(), datagram("::", "fd01::2", 9, 1), (Some(DropReason::IpScope), None)),
        ("for us", own(), ping("10.0.1.1"), (None, Some(PuntReason::Local))),
        ("for us by IPv6", own(), datagram("fd00::9", "fd00::1", 1, 1), (None, Some(PuntReason::Local))),
        ("a neighbour nobody knows", own(), ping("10.0.1.77"), (None, Some(PuntReason::Unresolved))),
        ("no router", routing(false, false), ping("10.0.1.2"), (Some(DropReason::NotForwarding), None)),
        (
            "from where no answer goes",
            routing(true, true),
            datagram("10.0.1.9", "10.0.1.2", 9, 1),
            (Some(DropReason::ReversePath), None),
        ),
    ] {
        assert_eq!(fate(routing, &frame), expected, "{what}");
    }
}

#[test]
fn what_is_too_long_leaves_in_fragments_unless_it_forbids_that() {
    let long = datagram("10.0.0.9", "10.0.1.2", 64, 3000 - 28);
    with_router(routing(true, false), |rig, worker, ends| {
        ends[0].send(Wire { checksum: Checksum::Unknown, ..Wire::from(fragmentable(long.clone())) }).unwrap();
        while worker.turn() > 0 {}
        let out = sent(&ends[1]);
        let lengths: Vec<_> = out.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1410, 1410, 14 + 20 + 2980 - 2 * 1376], "eights of bytes that fit 1,400");
        let payload: Vec<u8> = out.iter().flat_map(|frame| frame[34..].to_vec()).collect();
        assert_eq!(payload, long[34..]);
        assert_eq!(rig.ledger().forwarded, 1);
    });
    let told = (Some(DropReason::TooBig), Some(PuntReason::TooBig));
    let forbids = datagram("10.0.0.9", "10.0.1.2", 64, 2000);
    assert_eq!(forbids[20] & 0x40, 0x40);
    assert_eq!(fate(routing(true, false), &forbids), told);
}

/// What one port brings, once, and what another is sent.
struct Once(Option<Vec<u8>>, std::sync::mpsc::Sender<Vec<u8>>);

impl PortQueue for Once {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let Some(bytes) = self.0.take() else { return Ok(()) };
        let mut frame = io.pool.alloc(bytes.len()).unwrap();
        assert!(frame.fill(&bytes));
        frame.set_checksum(Checksum::Partial { start: 34, offset: 6 });
        frame.set_gso(Some(Gso { kind: GsoKind::UdpL4, size: 108, ecn: false }));
        assert!(burst.push(frame).is_ok());
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        for frame in burst.drain() {
            self.1.send(frame.bytes().to_vec()).unwrap();
            io.counters.sent.add(1, frame.len() as u64);
            io.pool.free(frame);
        }
        Ok(())
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}

/// A far end may leave it to its device to cut what it sends (`UDP_SEGMENT`, udp(7)), and between hosts of one machine nobody does.
#[test]
fn an_outer_packet_that_stands_for_many_is_cut_before_it_is_opened() {
    let inner = |n: u8, length: usize| {
        [&[2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 1, n, 0x88, 0xb5][..], &vec![n; length - 14]].concat()
    };
    let frames = [inner(1, 100), inner(2, 100), inner(3, 77)];
    let header = wire::vxlan::header(Vni::new(vxlan::VNI).unwrap());
    let message: Vec<u8> = frames.iter().flat_map(|frame| [&header[..], frame].concat()).collect();
    let (rig, mut links) = Rig::new(1, vxlan::bridged(1, false), PoolConfig::singles(64), 64);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let (sent, inside) = std::sync::mpsc::channel();
    rig.open(0, vxlan::INSIDE, Box::new(Once(None, sent.clone())));
    rig.open(0, vxlan::BENEATH, Box::new(Once(Some(vxlan::around(2, &message)), sent)));
    let moved: usize = (0..4).map(|_| worker.turn()).sum();
    assert_eq!(moved, 1);
    assert_eq!(inside.try_iter().collect::<Vec<_>>(), frames);
    let ledger = rig.ledger();
    assert_eq!(
        (ledger.imbalance(), ledger.frames_dropped, ledger.copies_dropped),
        ((0, 0), 0, 0),
        "{ledger:?}"
    );
}
