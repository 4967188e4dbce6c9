//! Ports on the host's own sockets, against a host behind a veth: datagrams in, packets out, and what a host can do to both.
#![allow(clippy::unwrap_used, clippy::disallowed_macros, clippy::disallowed_methods)] // tests say what they skip

#[path = "socket/sending.rs"]
mod sending;
#[path = "support/veth.rs"]
mod veth;

use std::net::IpAddr;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use rigswitch_dataplane::counters::{DeviceCounters, Volume};
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Burst, Checksum, GsoKind, Pool, PoolConfig};
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::ports::{Now, PortIo, PortQueue, SocketConfig, SocketDevice, SocketQueue};
use rigswitch_dataplane::sys::datagram::{DatagramSocket, Header, Inbox, Outbox};
use rigswitch_dataplane::wire::flow::SourcePorts;
use veth::{Rig, run, wait_for};

const OURS: MacAddr = MacAddr::new([2, 0, 0, 0, 0xaa, 1]);
const VXLAN: u16 = 4789;
const IPIP: u8 = 4;

/// 10.0.0.1 and fd00::1 on `near0`, 10.0.0.2 and fd00::2 on `far0`.
fn rig(test: &str) -> Option<Rig> {
    let rig = Rig::new(test)?;
    connect(&rig);
    Some(rig)
}

fn connect(rig: &Rig) {
    rig.add_veth("near0", "", "far0");
    for (netns, device, number) in [(&rig.near, "near0", 1), (&rig.far, "far0", 2)] {
        run(netns, &format!("ip link set {device} up"));
        run(netns, &format!("ip addr add 10.0.0.{number}/24 dev {device}"));
        run(netns, &format!("ip addr add fd00::{number}/64 dev {device} nodad"));
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A queue with a worker's belongings around it.
struct Port {
    queue: SocketQueue,
    pool: Pool,
    counters: DeviceCounters,
    _device: SocketDevice,
}

impl Port {
    fn open(rig: &Rig) -> Self {
        Self::sending_from(rig, [])
    }

    fn sending_from<const N: usize>(rig: &Rig, srcports: [(u16, u16); N]) -> Self {
        let config = SocketConfig { udp: vec![VXLAN], ipip: true, srcports: srcports.into_iter().collect() };
        let device = SocketDevice::open(&config, Some(&rig.near), OURS, 1500).unwrap();
        let pool = Pool::new(PoolConfig { frames: 512, runs: 8, run_chunks: PoolConfig::SUPER_FRAME_CHUNKS });
        let queue = device.open_queue().unwrap();
        Self { queue, pool, counters: DeviceCounters::default(), _device: device }
    }

    /// What one call receives.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut io = PortIo::new(&mut self.pool, &self.counters, Now::default());
        let mut burst = Burst::new();
        self.queue.rx_burst(&mut io, &mut burst).unwrap();
        let take = |frame: rigswitch_dataplane::frames::Frame| {
            assert_eq!(frame.checksum(), Checksum::Unknown);
            let bytes = frame.bytes().to_vec();
            io.pool.free(frame);
            bytes
        };
        burst.drain().map(take).collect()
    }

    fn await_frames(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut all = vec![];
        wait_for(&format!("{count} frames"), || {
            all.extend(self.receive());
            (all.len() >= count).then_some(())
        });
        assert_eq!(all.len(), count);
        all
    }

    /// Sends these, and answers how many it did not take.
    fn send(&mut self, frames: &[Vec<u8>]) -> usize {
        let mut io = PortIo::new(&mut self.pool, &self.counters, Now::default());
        let mut burst = Burst::new();
        for bytes in frames {
            let mut frame = io.pool.alloc(bytes.len()).unwrap();
            assert!(frame.fill(bytes));
            assert!(burst.push(frame).is_ok());
        }
        self.queue.tx_burst(&mut io, &mut burst).unwrap();
        let left = burst.len();
        burst.drain().for_each(|frame| io.pool.free(frame));
        left
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.drops(Direction::Tx, reason).volume().packets
    }

    fn close(self) -> DeviceCounters {
        assert_eq!(self.pool.outstanding(), 0, "every frame came home");
        self.counters
    }
}

/// The far host's socket, and what it has received.
struct Far {
    socket: DatagramSocket,
    inbox: Inbox,
}

impl Far {
    fn udp(rig: &Rig, is_ipv6: bool) -> Self {
        let socket = rig.far.run(|| DatagramSocket::udp(VXLAN, is_ipv6)).unwrap().unwrap();
        Self { socket, inbox: Inbox::default() }
    }

    fn raw(rig: &Rig) -> Self {
        let socket = rig.far.run(|| DatagramSocket::raw(IPIP)).unwrap().unwrap();
        Self { socket, inbox: Inbox::default() }
    }

    fn receive(&mut self) -> (Header, Vec<u8>) {
        wait_for("a datagram at the far end", || {
            if let Some(received) = self.inbox.take() {
                return Some((received.header, received.payload.to_vec()));
            }
            let _ = self.socket.receive(&mut self.inbox);
            None
        })
    }

    /// Sends these to the near host, in one call and together as far as they go.
    fn send(&self, tos: u8, payloads: &[Vec<u8>]) {
        let (source, destination) = match self.socket.is_ipv6() {
            false => (ip("10.0.0.2"), ip("10.0.0.1")),
            true => (ip("fd00::2"), ip("fd00::1")),
        };
        let mut outbox = Outbox::default();
        for payload in payloads {
            let header = Header { source, destination, port: VXLAN, tos, ttl: 9 };
            assert!(outbox.push(header, payload, true));
        }
        let messages = self.socket.send(&outbox).unwrap();
        assert_eq!(outbox.datagrams(messages), payloads.len());
    }
}

/// Bytes that no other number's are.
fn payload(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((number * 31 + at * 7) % 251).unwrap()).collect()
}

/// A frame as a tunnel makes it: to the far end's VXLAN port from a port of its own choice.
fn tunnelled(source: &str, destination: &str, tos: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ethernet = PacketBuilder::ethernet2([0; 6], [0; 6]);
    match (ip(source), ip(destination)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let packet = ethernet.ipv4(from.octets(), to.octets(), 7);
            packet.udp(50_000, VXLAN).write(&mut bytes, payload).unwrap();
            bytes[15] = tos;
            bytes[24..26].fill(0);
            let sum = bytes[14..34]
                .chunks(2)
                .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
                .sum::<u32>();
            let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let packet = ethernet.ipv6(from.octets(), to.octets(), 7);
            packet.udp(50_000, VXLAN).write(&mut bytes, payload).unwrap();
            bytes[14..16].copy_from_slice(&[0x60 | tos >> 4, tos << 4]);
        }
        _ => panic!("of one version"),
    }
    bytes
}

/// Whether a packet may be fragmented.
fn fragmentable(mut frame: Vec<u8>) -> Vec<u8> {
    frame[20] &= !0x40;
    let sum = u16::from_be_bytes([frame[24], frame[25]]);
    let (sum, over) = sum.overflowing_add(0x4000);
    frame[24..26].copy_from_slice(&(sum + u16::from(over)).to_be_bytes());
    frame
}

/// A frame in a VXLAN packet, with a TCP segment that its sender's device was to cut.
fn uncut(payload: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    let packet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
        [10, 1, 0, 1],
        [10, 1, 0, 2],
        64,
    );
    packet.tcp(1, 2, 3, 4).write(&mut inner, payload).unwrap();
    let words = |bytes: &[u8]| {
        bytes.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum::<u32>()
    };
    let sum = words(&inner[26..34]) + 6 + u32::try_from(inner.len() - 34).unwrap();
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    inner[50..52].copy_from_slice(&sum.to_be_bytes());
    [&[8, 0, 0, 0, 0, 0, 42, 0], &inner[..]].concat()
}

/// That a frame holds this datagram of the far end's, in headers that say so.
fn holds(frame: &[u8], source: &str, tos: u8, payload: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    assert_eq!(frame[..6], OURS.octets());
    match sliced.net.unwrap() {
        NetSlice::Ipv4(slice) => {
            let header = slice.header().to_header();
            assert_eq!(
                (IpAddr::from(header.source), IpAddr::from(header.destination)),
                (ip(source), ip("10.0.0.1"))
            );
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!((usize::from(header.total_len), frame[15]), (frame.len() - 14, tos));
        }
        NetSlice::Ipv6(slice) => {
            let header = slice.header().to_header();
            assert_eq!(
                (IpAddr::from(header.source), IpAddr::from(header.destination)),
                (ip(source), ip("fd00::1"))
            );
            assert_eq!(header.traffic_class, tos);
        }
        NetSlice::Arp(_) => panic!("a packet"),
    }
    let Some(TransportSlice::Udp(udp)) = sliced.transport else { panic!("UDP: {frame:02x?}") };
    assert_eq!((udp.source_port(), udp.destination_port()), (VXLAN, VXLAN));
    assert_eq!(udp.payload(), payload);
}

#[test]
fn datagrams_come_in_with_the_headers_that_they_had() {
    let Some(rig) = rig("socket, in") else { return };
    let mut port = Port::open(&rig);
    for (is_ipv6, source) in [(false, "10.0.0.2"), (true, "fd00::2")] {
        let far = Far::udp(&rig, is_ipv6);
        for (number, length) in [0, 1, 8, 100, 1450, 1472, 9000, 60_000].into_iter().enumerate() {
            let bytes = payload(number, length);
            let tos = if length == 100 { 0xb9 } else { 0 };
            far.send(tos, std::slice::from_ref(&bytes));
            holds(&port.await_frames(1)[0], source, tos, &bytes);
        }
    }
    port.close();
}

#[test]
fn datagrams_that_came_together_are_frames_of_their_own() {
    let Some(rig) = rig("socket, together") else { return };
    let mut port = Port::open(&rig);
    for (is_ipv6, source) in [(false, "10.0.0.2"), (true, "fd00::2")] {
        let far = Far::udp(&rig, is_ipv6);
        // The last of a batch may be shorter, and ends it.
        let sizes = [vec![700; 50], vec![900; 30], vec![1000, 1000, 3], vec![1; 3]];
        let mut sent = Vec::new();
        for (batch, sizes) in sizes.iter().enumerate() {
            let payloads: Vec<_> =
                sizes.iter().zip(batch * 100..).map(|(&size, n)| payload(n, size)).collect();
            far.send(0, &payloads);
            sent.extend(payloads);
        }
        let frames = port.await_frames(sent.len());
        for (frame, bytes) in frames.iter().zip(&sent) {
            holds(frame, source, 0, bytes);
        }
    }
    port.close();
}

#[test]
fn what_a_sender_on_this_machine_did_not_cut_is_a_super_frame() {
    let Some(rig) = rig("socket, uncut") else { return };
    let mut port = Port::open(&rig);
    let far = Far::udp(&rig, false);
    let states = |port: &mut Port| {
        wait_for("a frame", || {
            let mut io = PortIo::new(&mut port.pool, &port.counters, Now::default());
            let mut burst = Burst::new();
            port.queue.rx_burst(&mut io, &mut burst).unwrap();
            let frame = burst.drain().next()?;
            let state = (frame.checksum(), frame.gso().map(|gso| (gso.kind, usize::from(gso.size))));
            io.pool.free(frame);
            Some(state)
        })
    };
    // 20, 8, 8, 14, 20 and 20 bytes of headers leave so much of 1500.
    far.send(0, &[uncut(&payload(1, 5000))]);
    let partial = Checksum::Partial { start: 14 + 36 + 14 + 20, offset: 16 };
    assert_eq!(states(&mut port), (partial, Some((GsoKind::TcpV4, 1410))));
    // One that fits, one that is whole, one that is something else.
    let mut whole = uncut(&payload(1, 5000));
    whole[58] ^= 1;
    for other in [uncut(&payload(1, 1000)), whole, payload(1, 5000)] {
        far.send(0, &[other]);
        assert_eq!(states(&mut port), (Checksum::Unknown, None));
    }
    port.close();
}

#[test]
fn packets_go_out_as_their_headers_say() {
    let Some(rig) = rig("socket, out") else { return };
    let mut port = Port::open(&rig);
    let wire = rig.far_socket("far0");
    for (is_ipv6, from, to) in [(false, "10.0.0.1", "10.0.0.2"), (true, "fd00::1", "fd00::2")] {
        let mut far = Far::udp(&rig, is_ipv6);
        // Of several sizes and to one far end: some go together, and none is another for it.
        let sizes = [1000, 1000, 1000, 17, 1000, 1200, 1200, 0, 5, 5, 5];
        let payloads: Vec<_> =
            sizes.iter().enumerate().map(|(number, &size)| payload(number, size)).collect();
        let frames: Vec<_> = payloads.iter().map(|bytes| tunnelled(from, to, 0xb8, bytes)).collect();
        assert_eq!(port.send(&frames), 0);
        for bytes in &payloads {
            let (header, received) = far.receive();
            assert_eq!((header.source, header.tos), (ip(from), 0xb8));
            assert!(SourcePorts::DEFAULT.contains(header.port), "{}", header.port);
            assert!(received == *bytes, "{} bytes", bytes.len());
        }
        let seen = wait_for("the packet on the wire", || {
            let mut buffer = vec![0; 1 << 17];
            let length = wire.receive(&mut buffer).ok()?;
            buffer.truncate(length);
            let is_udp = if is_ipv6 {
                buffer[12] == 0x86 && buffer[20] == 17
            } else {
                buffer[12] == 8 && buffer[23] == 17
            };
            is_udp.then_some(buffer)
        });
        let (ttl, whole) = if is_ipv6 { (seen[21], true) } else { (seen[22], seen[20] & 0x40 != 0) };
        assert_eq!((ttl, whole), (7, true));
    }
    // Packets in packets, both ways.
    let mut far = Far::raw(&rig);
    let inner = [&[0x45, 0, 0, 40][..], &payload(3, 36)].concat();
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 7);
    builder.write(&mut frame, etherparse::IpNumber(IPIP), &inner).unwrap();
    assert_eq!(port.send(&[frame.clone(), frame.clone()]), 0);
    for _ in 0..2 {
        let (header, packet) = far.receive();
        assert_eq!((header.source, &packet[20..]), (ip("10.0.0.1"), &inner[..]));
    }
    far.send(0, std::slice::from_ref(&inner));
    let came = port.await_frames(1).remove(0);
    assert_eq!(
        (&came[..6], &came[12..14], came[23], &came[34..]),
        (&OURS.octets()[..], &[8, 0][..], IPIP, &inner[..])
    );
    let counters = port.close();
    assert_eq!(counters.sent.volume().packets, 2 * 11 + 2);
    assert_eq!(counters.dropped(Direction::Tx), Volume::default());
}

#[test]
fn what_the_host_does_not_send_is_dropped_by_name_and_the_rest_goes() {
    let Some(rig) = rig("socket, refused") else { return };
    let mut port = Port::open(&rig);
    let mut far = Far::udp(&rig, false);
    let good = |number: usize| tunnelled("10.0.0.1", "10.0.0.2", 0, &payload(number, 500));
    let mut arrives = |port: &mut Port, number: usize| {
        assert_eq!(port.send(&[good(number)]), 0);
        assert_eq!(far.receive().1, payload(number, 500));
    };
    arrives(&mut port, 1);
    // No way, a source that is not the host's, too long for the way and not to be cut, no socket for it: each beside a good one.
    let tcp = {
        let mut bytes = Vec::new();
        let packet = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 7);
        packet.tcp(1, 2, 3, 4).write(&mut bytes, &[]).unwrap();
        bytes
    };
    let cases = [
        (tunnelled("10.0.0.1", "192.0.2.1", 0, &[1]), DropReason::SocketUnreachable),
        (tunnelled("10.9.9.9", "10.0.0.2", 0, &[1]), DropReason::SocketUnreachable),
        (tunnelled("10.0.0.1", "10.0.0.2", 0, &payload(0, 1473)), DropReason::MtuExceeded),
        (tcp, DropReason::SocketProtocol),
        ([&[0; 12][..], &[0x88, 0xb5], &[0; 46]].concat(), DropReason::SocketProtocol),
        (vec![0; 13], DropReason::Truncated),
        (tunnelled("10.0.0.1", "10.0.0.2", 0, &[1])[..40].to_vec(), DropReason::IpMalformed),
    ];
    for (number, (bad, reason)) in cases.into_iter().enumerate() {
        let before = port.dropped(reason);
        assert_eq!(port.send(&[good(2), bad.clone(), bad, good(3)]), 0, "{reason:?}");
        for number in [2, 3] {
            assert_eq!(far.receive().1, payload(number, 500), "{reason:?}");
        }
        assert_eq!(port.dropped(reason) - before, 2, "{number}: {reason:?}");
    }
    // The same length, to be cut by the host.
    let long = payload(9, 1473);
    assert_eq!(port.send(&[fragmentable(tunnelled("10.0.0.1", "10.0.0.2", 0, &long))]), 0);
    assert_eq!(far.receive().1, long);

    // Down, and up again.
    run(&rig.near, "ip link set near0 down");
    let before = port.dropped(DropReason::SocketUnreachable);
    assert_eq!(port.send(&[good(4), good(5), good(6)]), 0);
    assert_eq!(port.dropped(DropReason::SocketUnreachable) - before, 3);
    run(&rig.near, "ip link set near0 up");
    wait_for("the link to be up", || {
        assert_eq!(port.send(&[good(7)]), 0);
        far.socket.receive(&mut far.inbox).ok()
    });
    assert_eq!(far.receive().1, payload(7, 500));
    port.close();
}

#[test]
fn a_socket_that_is_full_loses_datagrams_and_says_how_many() {
    let Some(rig) = rig("socket, full") else { return };
    let mut port = Port::open(&rig);
    let far = Far::udp(&rig, false);
    let lost = |port: &Port| {
        port.queue.lost_before_us().iter().find(|(name, _)| *name == "rx_queue_full").unwrap().1
    };
    let mut sent = 0;
    wait_for("the socket to be full", || {
        far.send(0, &vec![payload(1, 1400); 40]);
        sent += 40;
        (lost(&port) > 0).then_some(())
    });
    let mut received = 0;
    wait_for("what was kept", || {
        let frames = port.receive();
        received += frames.len() as u64;
        frames.is_empty().then_some(())
    });
    assert!(received > 0 && received < sent, "{received} of {sent}");
    far.send(0, &[payload(2, 20)]);
    holds(&port.await_frames(1)[0], "10.0.0.2", 0, &payload(2, 20));
    port.close();
}

#[test]
fn a_port_that_somebody_has_is_named() {
    let Some(rig) = rig("socket, taken") else { return };
    let _first = rig.near.run(|| DatagramSocket::udp(VXLAN, false)).unwrap().unwrap();
    let config = SocketConfig { udp: vec![VXLAN], ..SocketConfig::default() };
    let error = SocketDevice::open(&config, Some(&rig.near), OURS, 1500).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with("UDP port 4789 of IPv4: "), "{error}");
}
