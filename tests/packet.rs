//! Packet ports against the kernel: hosts in namespaces, each behind a veth whose other end this test has as a port.
#![allow(clippy::unwrap_used)] // also in what tests share: a test may fail on the spot

mod cable;
mod command;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;

use cable::wired::{Wired, address, address_v6, mac};
use cable::{Bench, PATIENCE, ample, cable, datagram};
use command::{Folder, is_machine_root, skipped, wait_for};
use etherparse::PacketBuilder;
use rigswitch::lab::{self, Host};
use rigswitch_dataplane::counters::Volume;
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Checksum, Frame, Gso, GsoKind, Pool, PoolConfig};
use rigswitch_dataplane::ports::{PacketConfig, PacketDevice, PortKind, Tap, TapConfig};
use rigswitch_dataplane::sys::packet::PacketSocket;
use rigswitch_dataplane::sys::poll::{Interest, PollSet};
use rigswitch_dataplane::sys::userns;

/// A socket on a device that sees all that arrives there.
fn socket(host: &Host, device: &str) -> PacketSocket {
    let index = host.netdev(device).unwrap().index().unwrap();
    host.run(|| PacketSocket::open(index)).unwrap().unwrap()
}

/// What arrives at `socket` up to a frame that ends like this.
fn received_until(socket: &PacketSocket, end: &[u8]) -> Vec<Vec<u8>> {
    let mut set = PollSet::new();
    set.add(socket, Interest::Read);
    let mut frames = Vec::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        while let Ok(length) = socket.receive(&mut buffer) {
            if buffer[..length].ends_with(end) {
                return frames;
            }
            frames.push(buffer[..length].to_vec());
        }
        assert_ne!(set.wait(Some(PATIENCE)).unwrap(), 0, "what was waited for never came");
    }
}

#[test]
fn hosts_behind_two_packet_ports_ping_each_other() {
    if !lab::as_root("hosts_behind_two_packet_ports_ping_each_other") {
        return;
    }
    let mut wired = Wired::new("packet-ping");
    let (one, _two) = (wired.host(1), wired.host(2));
    let devices = [1, 2].map(|number| wired.open(number, 1, None));
    let ports = devices.each_ref().map(|device| Box::new(device.open_queue().unwrap()) as cable::AnyPort);
    let (pings, seen) = cable(ports, ample(), || {
        // Alone, the longest that one frame carries, and one that IP cuts into 45 fragments.
        [56, 1472, 65_000].map(|payload| lab::ping(&one, address(2), 5, payload, PATIENCE).unwrap())
    });
    assert_eq!(pings.map(|ping| ping.lost()), [0; 3]);
    assert_eq!((seen.longest, seen.dropped), (1514, 0));
}

#[test]
fn tcp_crosses_two_packet_ports_in_super_frames_with_its_checksum_left_to_the_receiver() {
    if !lab::as_root("tcp_crosses_two_packet_ports_in_super_frames_with_its_checksum_left_to_the_receiver") {
        return;
    }
    let mut wired = Wired::new("packet-tcp");
    let (one, two) = (wired.host(1), wired.host(2));
    one.add_address("net0", address_v6(1), 64).unwrap();
    two.add_address("net0", address_v6(2), 64).unwrap();
    let devices = [1, 2].map(|number| wired.open(number, 1, None));
    let ports = devices.each_ref().map(|device| Box::new(device.open_queue().unwrap()) as cable::AnyPort);
    let bytes = 32 << 20;
    let ((), seen) = cable(ports, ample(), || {
        for target in [address(2), address_v6(2)] {
            let transfer = lab::tcp_transfer(&one, &two, SocketAddr::new(target, 0), bytes).unwrap();
            assert_eq!(transfer.bytes, bytes);
        }
    });
    assert!(seen.longest > 32 * 1024, "{seen:?}");
    assert!(seen.super_frames > 0 && seen.partial > seen.super_frames, "{seen:?}");
    assert_eq!(seen.dropped, 0);
}

#[test]
fn super_frames_cross_whole_between_a_packet_port_and_a_tap() {
    if !lab::as_root("super_frames_cross_whole_between_a_packet_port_and_a_tap") {
        return;
    }
    let mut wired = Wired::new("packet-tap");
    let one = wired.host(1);
    let two = wired.lab.host("h2").unwrap();
    let config = TapConfig { device: "net0".into(), offload: true, queues: 1 };
    let tap = Tap::open(&config, Some(two.netns()), None).unwrap().remove(0);
    two.add_address("net0", address(2), 24).unwrap();
    two.set_up("net0").unwrap();
    let device = wired.open(1, 1, None);
    let bytes = 32 << 20;
    // There and back: both ways.
    let (transfer, seen) = cable([Box::new(device.open_queue().unwrap()), Box::new(tap)], ample(), || {
        lab::tcp_transfer(&one, &two, SocketAddr::new(address(2), 0), bytes).unwrap()
    });
    assert_eq!(transfer.bytes, bytes);
    assert!(seen.longest > 32 * 1024 && seen.super_frames > 0, "{seen:?}");
    assert_eq!(seen.dropped, 0);
}

#[test]
fn packet_ports_work_for_root_of_a_user_namespace() {
    let other = "tcp_crosses_two_packet_ports_in_super_frames_with_its_checksum_left_to_the_receiver";
    let silence = "the_hosts_own_stack_is_silent_under_a_packet_port_and_back_behind_it";
    let program = std::env::current_exe().unwrap();
    for test in [other, silence] {
        match userns::command(&program).args([test, "--exact", "--nocapture"]).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success() && said.contains("1 passed"), "{said}");
            }
            Err(error) => println!("skipped: no user namespace to be had: {error}"),
        }
    }
}

/// `frame` with tags behind its addresses.
fn tagged(frame: &[u8], tags: &[u8]) -> Vec<u8> {
    [&frame[..12], tags, &frame[12..]].concat()
}

#[test]
fn tags_are_where_they_belong_and_offsets_have_moved_along() {
    if !lab::as_root("tags_are_where_they_belong_and_offsets_have_moved_along") {
        return;
    }
    const CUSTOMER: [u8; 4] = [0x81, 0, 0x60, 10];
    const SERVICE_AND_CUSTOMER: [u8; 8] = [0x88, 0xa8, 0, 20, 0x81, 0, 0xe0, 10];
    let mut wired = Wired::new("packet-tags");
    let host = wired.host(1);
    let (_near, mut near) = wired.bench(1);
    // A port at the far end as well, which says about its frames what a host's offloads would.
    let config = PacketConfig { device: "net0".into(), queues: 1 };
    let far = PacketDevice::open(&config, Some(host.netns()), None).unwrap();
    let mut far = Bench::new(far.open_queue().unwrap(), ample());

    let plain = datagram([2, 0, 0, 0, 0, 9], 100, 100);
    let super_frame = tcp_super_frame(20_000);
    let state = Checksum::Partial { start: 38, offset: 16 };
    let gso = Some(Gso { kind: GsoKind::TcpV4, size: 1448, ecn: false });
    let sent = [
        plain.clone(),
        tagged(&plain, &CUSTOMER),
        tagged(&plain, &SERVICE_AND_CUSTOMER),
        tagged(&super_frame, &CUSTOMER),
    ];
    sent[..3].iter().for_each(|bytes| far.queue(bytes, |_| {}));
    far.queue(&sent[3], |frame| {
        frame.set_checksum(state);
        frame.set_gso(gso);
    });
    far.transmit().unwrap();
    let mut seen = Vec::new();
    near.receive_until(|frames, _| {
        let ours = frames.iter().filter(|frame| sent.iter().any(|bytes| bytes == frame.bytes()));
        seen.extend(ours.map(|frame| (frame.bytes().to_vec(), frame.checksum(), frame.gso())));
        seen.len() == sent.len()
    });
    let whole = |bytes: &Vec<u8>| (bytes.clone(), Checksum::Complete, None);
    let expected = [whole(&sent[0]), whole(&sent[1]), whole(&sent[2]), (sent[3].clone(), state, gso)];
    assert_eq!(seen, expected);
    assert_eq!(far.counters.sent.volume().packets, 4);
}

/// A TCP frame over IPv4 of `length` bytes of payload, whose checksum is left partial.
fn tcp_super_frame(length: usize) -> Vec<u8> {
    let packet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9])
        .ipv4([10, 77, 0, 1], [10, 77, 0, 9], 64)
        .tcp(7777, 7777, 1, 1000);
    let mut frame = Vec::new();
    packet.write(&mut frame, &vec![7; length]).unwrap();
    frame
}

#[test]
fn what_is_longer_than_a_slot_or_the_memory_is_received_or_dropped_by_name() {
    if !lab::as_root("what_is_longer_than_a_slot_or_the_memory_is_received_or_dropped_by_name") {
        return;
    }
    let mut wired = Wired::new("packet-long");
    let host = wired.host(1);
    host.netdev("net0").unwrap().set_mtu(9000).unwrap();
    let device = wired.open(1, 1, Some(9000));
    assert_eq!(wired.center.netdev("p1").unwrap().mtu().unwrap(), 9000);
    let mut bench = Bench::new(device.open_queue().unwrap(), PoolConfig::singles(8));
    let socket = host.run(|| UdpSocket::bind((address(1), 0))).unwrap().unwrap();
    socket.set_broadcast(true).unwrap();
    let payload: Vec<u8> = (0..8900).map(|number| (number % 251) as u8).collect();
    let send = || assert_eq!(socket.send_to(&payload, (address(255), 9)).unwrap(), payload.len());
    let arrived = |frames: &[Frame]| frames.iter().any(|frame| frame.bytes().ends_with(&payload));

    send();
    bench.receive_until(|_, counters| {
        counters.drops(Direction::Rx, DropReason::Truncated).volume().packets == 1
    });
    bench.pool = Pool::new(PoolConfig { frames: 8, runs: 1, run_chunks: 3 });
    send();
    bench.receive_until(|frames, _| arrived(frames));
    let only_run = bench.pool.alloc(9000).unwrap();
    send();
    bench.receive_until(|_, counters| {
        counters.drops(Direction::Rx, DropReason::PoolEmpty).volume().packets == 1
    });
    bench.pool.free(only_run);
    send();
    bench.receive_until(|frames, _| arrived(frames));

    // And out of the port: what fits, and what does not.
    bench.pool = Pool::new(PoolConfig { frames: 8, runs: 3, run_chunks: 3 });
    bench.queue(&datagram([0xff; 6], 100, 8958), |_| {});
    bench.queue(&datagram([0xff; 6], 100, 8973), |_| {});
    bench.queue(&datagram([0xff; 6], 100, 100), |_| {});
    bench.transmit().unwrap();
    assert_eq!(bench.dropped(Direction::Tx, DropReason::MtuExceeded), 1);
    assert_eq!(bench.counters.sent.volume().packets, 2, "the frame behind it is unharmed");
}

#[test]
fn offload_state_that_the_kernel_refuses_is_a_named_drop() {
    if !lab::as_root("offload_state_that_the_kernel_refuses_is_a_named_drop") {
        return;
    }
    let mut wired = Wired::new("packet-malformed");
    let _host = wired.host(1);
    let (_device, mut bench) = wired.bench(1);
    let frame = datagram([0xff; 6], 100, 100);
    bench.queue(&frame, |frame| frame.set_checksum(Checksum::Partial { start: 5000, offset: 16 }));
    bench.queue(&frame, |_| {});
    bench.transmit().unwrap();
    assert_eq!(bench.dropped(Direction::Tx, DropReason::MalformedOffload), 1);
    let sent = Volume { packets: 1, bytes: frame.len() as u64 };
    assert_eq!(bench.counters.sent.volume(), sent);
}

#[test]
fn frames_that_find_the_ring_full_are_the_kernels_to_count() {
    if !lab::as_root("frames_that_find_the_ring_full_are_the_kernels_to_count") {
        return;
    }
    let mut wired = Wired::new("packet-full");
    let host = wired.host(1);
    let (_device, mut bench) = wired.bench(1);
    let socket = host.run(|| UdpSocket::bind((address(1), 0))).unwrap().unwrap();
    socket.set_broadcast(true).unwrap();
    let sent = 4000;
    for _ in 0..sent {
        socket.send_to(b"too many", (address(255), 9)).unwrap();
    }
    // What else the host says may be lost as well.
    let (mut received, mut lost) = (0, 0);
    while received + lost < sent {
        bench.receive().unwrap();
        received += bench.burst.iter().filter(|frame| frame.bytes().ends_with(b"too many")).count() as u64;
        bench.empty();
        let [("tp_drops", dropped), ("rx_queue_full", 0)] = bench.port.lost_before_us()[..] else {
            panic!("{:?}", bench.port.lost_before_us())
        };
        lost = dropped;
    }
    assert!(0 < received && received < sent, "{received} received, {lost} lost");
}

#[test]
fn what_a_slow_device_holds_keeps_its_slots_and_the_rest_goes_in_order_another_way() {
    if !lab::as_root("what_a_slow_device_holds_keeps_its_slots_and_the_rest_goes_in_order_another_way") {
        return;
    }
    let mut wired = Wired::new("packet-slow");
    let host = wired.host(1);
    let (_device, mut bench) = wired.bench(1);
    let slow = "qdisc add dev p1 root tbf rate 8mbit burst 4k limit 1m";
    let tc = wired.center.run(|| Command::new("tc").args(slow.split(' ')).status()).unwrap();
    assert!(tc.unwrap().success());
    let socket = socket(&host, "net0");
    // More than there are slots, at once: the device takes a quarter of a second over them.
    let sent: Vec<_> = (1..=2000).map(numbered).collect();
    let received = std::thread::scope(|scope| {
        let received = scope.spawn(|| received_until(&socket, b"end"));
        for bytes in &sent {
            bench.queue(bytes, |_| {});
            if bench.burst.spare() == 0 {
                bench.transmit().unwrap();
            }
        }
        bench.queue(b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x09\x88\xb5end", |_| {});
        bench.transmit().unwrap();
        received.join().unwrap()
    });
    let ours: Vec<_> = received.into_iter().filter(|bytes| bytes[12..14] == [0x88, 0xb5]).collect();
    assert!(ours == sent, "{} of {} arrived, or not in order", ours.len(), sent.len());
    assert_eq!(bench.counters.sent.volume().packets, 2001);
}

/// A short broadcast with a number in it, of an EtherType for experiments (IEEE 802-2014 §9.2.3).
fn numbered(number: u16) -> Vec<u8> {
    [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9, 0x88, 0xb5], &number.to_be_bytes(), &[0; 100]].concat()
}

#[test]
fn flows_spread_over_the_queues_and_every_queue_transmits() {
    if !lab::as_root("flows_spread_over_the_queues_and_every_queue_transmits") {
        return;
    }
    let mut wired = Wired::new("packet-queues");
    let host = wired.host(1);
    let device = wired.open(1, 4, None);
    assert_eq!(device.queues(), 4);
    let mut queues = [(); 4].map(|()| Bench::new(device.open_queue().unwrap(), PoolConfig::singles(256)));
    let mac = mac(&host, "net0");
    let socket = host.run(|| UdpSocket::bind((address(1), 7777))).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for (number, queue) in (100..).zip(&mut queues) {
        queue.queue(&datagram(mac, number, 7), |_| {});
        queue.transmit().unwrap();
        let (length, sender) = lab::uninterrupted(|| socket.recv_from(&mut [0; 64])).unwrap();
        assert_eq!((length, sender.ip()), (7, address(number)));
    }
    // Broadcast needs no neighbour; each socket is a flow of its own.
    let sockets: Vec<_> =
        (0..64).map(|_| host.run(|| UdpSocket::bind((address(1), 0))).unwrap().unwrap()).collect();
    for socket in &sockets {
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"flow", (address(255), 9)).unwrap();
    }
    let mut counts = [0; 4];
    while counts.iter().sum::<usize>() < 64 {
        for (queue, count) in queues.iter_mut().zip(&mut counts) {
            queue.receive().unwrap();
            *count += queue.burst.iter().filter(|frame| frame.bytes().ends_with(b"flow")).count();
            queue.empty();
        }
    }
    assert_eq!(counts.iter().sum::<usize>(), 64, "each once: {counts:?}");
    assert!(counts.iter().filter(|&&count| count > 0).count() > 1, "{counts:?}");
}

#[test]
fn a_device_that_is_down_comes_back_and_one_that_is_deleted_is_gone() {
    if !lab::as_root("a_device_that_is_down_comes_back_and_one_that_is_deleted_is_gone") {
        return;
    }
    let mut wired = Wired::new("packet-gone");
    let host = wired.host(1);
    let (device, mut bench) = wired.bench(1);
    let frame = datagram([0xff; 6], 100, 100);

    wired.center.netdev("p1").unwrap().set_up(false).unwrap();
    bench.queue(&frame, |_| {});
    bench.transmit().unwrap();
    assert_eq!(bench.dropped(Direction::Tx, DropReason::PortDown), 1);
    bench.receive().unwrap();
    bench.empty();

    wired.center.set_up("p1").unwrap();
    bench.queue(&frame, |_| {});
    bench.transmit().unwrap();
    assert_eq!(bench.counters.sent.volume().packets, 1);
    let far = socket(&host, "net0");
    far.send(&frame).unwrap();
    bench.receive_until(|frames, _| frames.iter().any(|received| received.bytes() == frame));

    host.delete("net0").unwrap();
    bench.queue(&frame, |_| {});
    assert!(bench.transmit().is_err());
    assert_eq!(bench.burst.len(), 1, "what was not sent is the caller's");
    bench.empty();
    // A device that is gone stays gone: it is found within a bounded number of calls.
    assert!((0..1000).any(|_| bench.receive().is_err()));
    assert!(device.open_queue().is_err());
}

/// What asks a host that has `mac` and 10.77.0.77 for an answer: ARP, ICMP, and UDP to a port that is closed.
fn questions(mac: [u8; 6], from: [u8; 6]) -> Vec<Vec<u8>> {
    let (target, own) = (Ipv4Addr::new(10, 77, 0, 77), Ipv4Addr::new(10, 77, 0, 1));
    let ethernet = [&[0xff; 6][..], &from, &[8, 6]].concat();
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &from, &own.octets(), &[0; 6], &target.octets()].concat();
    let ip = || PacketBuilder::ethernet2(from, mac).ipv4(own.octets(), target.octets(), 64);
    let (mut echo, mut closed) = (Vec::new(), Vec::new());
    ip().icmpv4_echo_request(1, 1).write(&mut echo, b"anybody").unwrap();
    ip().udp(7777, 9).write(&mut closed, b"anybody").unwrap();
    vec![[ethernet, arp].concat(), echo, closed]
}

#[test]
fn the_hosts_own_stack_is_silent_under_a_packet_port_and_back_behind_it() {
    if !lab::as_root("the_hosts_own_stack_is_silent_under_a_packet_port_and_back_behind_it") {
        return;
    }
    let mut wired = Wired::new("packet-silent");
    let host = wired.host(1);
    wired.center.add_address("p1", address(77), 24).unwrap();
    let ping = || lab::ping(&host, address(77), 1, 56, PATIENCE).unwrap().lost();
    assert_eq!(ping(), 0, "the host answers by itself");

    let (device, mut bench) = wired.bench(1);
    assert!(device.heard_by_host().is_none(), "{:?}", device.heard_by_host());
    let far = socket(&host, "net0");
    let questions = questions(mac(&wired.center, "p1"), mac(&host, "net0"));
    // What follows a question has been received only when the stack has had the question: an answer is on its way by then.
    for question in questions.iter().chain(&questions).chain(&questions) {
        far.send(question).unwrap();
    }
    let mut heard = 0;
    bench.receive_until(|frames, _| {
        heard += frames.iter().filter(|frame| questions.iter().any(|asked| asked == frame.bytes())).count();
        heard == 3 * questions.len()
    });
    bench.queue(&datagram([0xff; 6], 100, 100), |_| {});
    bench.transmit().unwrap();
    let answers = received_until(&far, &[7; 100]);
    // IPv6 reports its groups unasked, in its own time.
    let is_answer =
        |frame: &&Vec<u8>| frame[6..12] == mac(&wired.center, "p1") && frame[12..14] != [0x86, 0xdd];
    assert_eq!(answers.iter().filter(is_answer).count(), 0, "{answers:?}");

    drop((device, bench));
    assert_eq!(ping(), 0, "the host answers again");
}

#[test]
fn a_veth_that_is_left_to_the_switch_becomes_a_packet_port() {
    if !lab::as_root("a_veth_that_is_left_to_the_switch_becomes_a_packet_port") {
        return;
    }
    let mut wired = Wired::new("packet-choice");
    let _host = wired.host(1);
    let chosen = PortKind::Device("p1".into()).chosen("p1", Some(wired.center.netns())).unwrap();
    assert_eq!(chosen, PortKind::Packet(PacketConfig { device: "p1".into(), queues: 1 }));
    let nowhere = PortKind::Device("p9".into()).chosen("p9", Some(wired.center.netns())).unwrap_err();
    assert_eq!(nowhere.kind(), std::io::ErrorKind::NotFound);
}

/// A switch with a port left to its choice, an AF_XDP port and a TAP, and who is behind them.
fn mixed_rig(wired: &mut Wired) -> (String, [Host; 3]) {
    let hosts = [wired.host(1), wired.host(2), wired.lab.host("h3").unwrap()];
    let (center, third) = (wired.center.name(), hosts[2].name());
    let config = format!(
        "[switch]\nmac_table = 1024\n\
         [[port]]\nname = \"p1\"\ndevice = \"p1\"\nnetns = \"{center}\"\n\
         [[port]]\nname = \"p2\"\nxdp = \"p2\"\nnetns = \"{center}\"\n\
         [[port]]\nname = \"p3\"\ntap = \"net0\"\nnetns = \"{third}\"\n\
         [[bridge]]\nname = \"br0\"\nport = [{{ device = \"p1\" }}, {{ device = \"p2\" }}, {{ device = \"p3\" }}]\n"
    );
    (config, hosts)
}

#[test]
fn every_kind_of_port_talks_to_a_packet_port_and_none_outlives_the_switch() {
    let name = "every_kind_of_port_talks_to_a_packet_port_and_none_outlives_the_switch";
    if !is_machine_root() {
        return skipped(name, "AF_XDP needs root, and not that of a user namespace");
    }
    let mut wired = Wired::new("packet-mixed");
    let (config, [one, two, three]) = mixed_rig(&mut wired);
    wired.center.add_address("p1", address(77), 24).unwrap();
    let folder = Folder::new("packet-mixed");
    let mut switch = folder.start(&config);
    three.add_address("net0", address(3), 24).unwrap();

    let ports: serde_json::Value = serde_json::from_str(&folder.ask("show ports -j")).unwrap();
    let kinds: Vec<_> = ports.as_array().unwrap().iter().map(|port| port["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["packet", "xdp", "tap"]);
    assert!(folder.ask("show config").contains("device = \"p1\""), "what was asked for stays");

    // Super-frames and partial checksums from host 1 pass whole to the TAP, and are cut and completed for AF_XDP.
    for (host, number) in [(&two, 2), (&three, 3)] {
        let bytes = 8 << 20;
        let transfer = lab::tcp_transfer(&one, host, SocketAddr::new(address(number), 0), bytes).unwrap();
        assert_eq!(transfer.bytes, bytes);
    }
    let metrics = command::http(&folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
    let made = |port: &str| {
        let name = format!("rigswitch_segments_made_total{{device=\"{port}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("the metric is there");
        line.parse::<u64>().unwrap()
    };
    assert!(made("p2") > 0);
    assert_eq!((made("p1"), made("p3")), (0, 0));

    // Killed on the spot, it leaves the device to the host's own stack, which was silent until then.
    let ping = || lab::ping(&one, address(77), 1, 56, std::time::Duration::from_millis(100)).unwrap();
    assert_eq!(ping().lost(), 1);
    switch.kill();
    wait_for("the host's own stack to answer", || (ping().lost() == 0).then_some(()));
}
