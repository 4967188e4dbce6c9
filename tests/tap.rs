//! TAP ports against the kernel: hosts in namespaces, each behind a TAP that this test holds the other end of.
#![allow(clippy::unwrap_used)] // also in what tests share: a test may fail on the spot

mod cable;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use cable::{Bench, PATIENCE, ample, cable, datagram};
use rigswitch::lab::{self, Host, Lab};
use rigswitch_dataplane::counters::Volume;
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Checksum, Gso, GsoKind, Pool, PoolConfig};
use rigswitch_dataplane::ports::{Tap, TapConfig};
use rigswitch_dataplane::sys::links::Links;
use rigswitch_dataplane::sys::poll::{Interest, PollSet};

fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, number])
}

fn config(queues: u16, offload: bool) -> TapConfig {
    TapConfig { device: "tap0".into(), offload, queues }
}

/// A host with address `number` behind a TAP of one queue, and the port at the TAP's other end.
fn host_behind_tap(lab: &mut Lab, number: u8, offload: bool) -> (Host, Tap) {
    let host = lab.host(&format!("h{number}")).unwrap();
    let port = Tap::open(&config(1, offload), Some(host.netns()), None).unwrap().remove(0);
    host.add_address("tap0", address(number), 24).unwrap();
    host.set_up("tap0").unwrap();
    (host, port)
}

#[test]
fn hosts_behind_two_taps_ping_each_other() {
    if !lab::as_root("hosts_behind_two_taps_ping_each_other") {
        return;
    }
    let mut lab = Lab::new("tap-ping").unwrap();
    let (one, port_one) = host_behind_tap(&mut lab, 1, true);
    let (_two, port_two) = host_behind_tap(&mut lab, 2, true);
    let (pings, seen) = cable([Box::new(port_one), Box::new(port_two)], ample(), || {
        // Alone, the longest that one frame carries, and one that IP cuts into 45 fragments.
        [56, 1472, 65_000].map(|payload| lab::ping(&one, address(2), 5, payload, PATIENCE).unwrap())
    });
    assert_eq!(pings.map(|ping| ping.lost()), [0; 3]);
    assert_eq!((seen.longest, seen.dropped), (1514, 0));
}

#[test]
fn tcp_crosses_two_taps_in_super_frames_with_its_checksum_left_to_the_receiver() {
    if !lab::as_root("tcp_crosses_two_taps_in_super_frames_with_its_checksum_left_to_the_receiver") {
        return;
    }
    let mut lab = Lab::new("tap-tcp").unwrap();
    let (one, port_one) = host_behind_tap(&mut lab, 1, true);
    let (two, port_two) = host_behind_tap(&mut lab, 2, true);
    let v6 = [1, 2].map(|number| IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, number]));
    one.add_address("tap0", v6[0], 64).unwrap();
    two.add_address("tap0", v6[1], 64).unwrap();
    let bytes = 32 << 20;
    let ((), seen) = cable([Box::new(port_one), Box::new(port_two)], ample(), || {
        for target in [address(2), v6[1]] {
            let transfer = lab::tcp_transfer(&one, &two, SocketAddr::new(target, 0), bytes).unwrap();
            assert_eq!(transfer.bytes, bytes);
        }
    });
    assert!(seen.longest > 32 * 1024, "{seen:?}");
    assert!(seen.super_frames > 0 && seen.partial > seen.super_frames, "{seen:?}");
    assert_eq!(seen.dropped, 0);
}

#[test]
fn without_offload_every_frame_is_complete_and_fits_the_mtu() {
    if !lab::as_root("without_offload_every_frame_is_complete_and_fits_the_mtu") {
        return;
    }
    let mut lab = Lab::new("tap-plain").unwrap();
    let (one, port_one) = host_behind_tap(&mut lab, 1, false);
    let (two, port_two) = host_behind_tap(&mut lab, 2, false);
    let (transfer, seen) = cable([Box::new(port_one), Box::new(port_two)], PoolConfig::singles(256), || {
        lab::tcp_transfer(&one, &two, SocketAddr::new(address(2), 0), 1 << 20)
    });
    transfer.unwrap();
    assert_eq!((seen.longest, seen.partial, seen.super_frames, seen.dropped), (1514, 0, 0, 0));
}

#[test]
fn a_tap_made_by_the_switch_serves_the_host_that_it_is_moved_into() {
    if !lab::as_root("a_tap_made_by_the_switch_serves_the_host_that_it_is_moved_into") {
        return;
    }
    let mut lab = Lab::new("tap-move").unwrap();
    let switch = lab.host("switch").unwrap();
    let (one, port_one) = host_behind_tap(&mut lab, 1, true);
    let two = lab.host("h2").unwrap();
    let port_two = Tap::open(&config(1, true), Some(switch.netns()), Some(1400)).unwrap().remove(0);
    two.adopt("tap0", switch.netns()).unwrap();
    two.add_address("tap0", address(2), 24).unwrap();
    two.set_up("tap0").unwrap();
    let device = port_two.netdev().unwrap();
    assert_eq!((device.mtu().unwrap(), device.driver().unwrap().as_str()), (1400, "tun"));
    assert_eq!(device.mac().unwrap(), two.netdev("tap0").unwrap().mac().unwrap());
    let (echoed, _) = cable([Box::new(port_one), Box::new(port_two)], ample(), || {
        lab::udp_echo(&one, &two, SocketAddr::new(address(2), 0), 20, 1000).unwrap()
    });
    assert_eq!(echoed, 20);
}

#[test]
fn flows_spread_over_the_queues_and_every_queue_transmits() {
    if !lab::as_root("flows_spread_over_the_queues_and_every_queue_transmits") {
        return;
    }
    let mut lab = Lab::new("tap-queues").unwrap();
    let host = lab.host("h1").unwrap();
    let ports = Tap::open(&config(4, true), Some(host.netns()), None).unwrap();
    let mut queues: Vec<_> =
        ports.into_iter().map(|port| Bench::new(port, PoolConfig::singles(256))).collect();
    host.add_address("tap0", address(1), 24).unwrap();
    host.set_up("tap0").unwrap();
    // An answer to a question that was never put: each queue's arrives, or this host would not know the neighbour.
    let mac = host.netdev("tap0").unwrap().mac().unwrap().octets();
    for (number, queue) in (100..).zip(&mut queues) {
        queue.queue(&datagram(mac, number, 7), |_| {});
    }
    let socket = host.run(|| UdpSocket::bind((address(1), 7777))).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for (number, queue) in (100..).zip(&mut queues) {
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
    let mut counts = Vec::new();
    for queue in &mut queues {
        queue.receive().unwrap();
        let flows = queue.burst.iter().filter(|frame| frame.bytes().ends_with(b"flow")).count();
        counts.push(flows);
    }
    assert_eq!(counts.iter().sum::<usize>(), 64, "{counts:?}");
    assert!(counts.iter().filter(|&&count| count > 0).count() > 1, "{counts:?}");
}

#[test]
fn a_udp_super_frame_is_cut_by_the_receiving_kernel() {
    if !lab::as_root("a_udp_super_frame_is_cut_by_the_receiving_kernel") {
        return;
    }
    let mut lab = Lab::new("tap-uso").unwrap();
    let (host, port) = host_behind_tap(&mut lab, 1, true);
    let mut bench = Bench::new(port, ample());
    let mac = host.netdev("tap0").unwrap().mac().unwrap().octets();
    let socket = host.run(|| UdpSocket::bind((address(1), 7777))).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    bench.queue(&datagram(mac, 100, 2500), |frame| {
        // What a kernel would have left there: the sum of the pseudo-header.
        let sum = [0x0a4d, 100, 0x0a4d, 1, 17, 2508].iter().sum::<u16>();
        frame.bytes_mut()[40..42].copy_from_slice(&sum.to_be_bytes());
        frame.set_checksum(Checksum::Partial { start: 34, offset: 6 });
        frame.set_gso(Some(Gso { kind: GsoKind::UdpL4, size: 1000, ecn: false }));
    });
    bench.transmit().unwrap();
    let lengths = [(); 3].map(|()| lab::uninterrupted(|| socket.recv(&mut [0; 2000])).unwrap());
    assert_eq!(lengths, [1000, 1000, 500]);
    assert_eq!(bench.counters.sent.volume(), Volume { packets: 1, bytes: 2542 });
}

#[test]
fn offload_state_that_the_kernel_refuses_is_a_named_drop() {
    if !lab::as_root("offload_state_that_the_kernel_refuses_is_a_named_drop") {
        return;
    }
    let mut lab = Lab::new("tap-malformed").unwrap();
    let (_host, port) = host_behind_tap(&mut lab, 1, true);
    let mut bench = Bench::new(port, ample());
    let frame = datagram([0xff; 6], 100, 100);
    bench.queue(&frame, |frame| frame.set_checksum(Checksum::Partial { start: 5000, offset: 16 }));
    bench.queue(&frame, |_| {});
    bench.transmit().unwrap();
    assert_eq!(bench.dropped(Direction::Tx, DropReason::MalformedOffload), 1);
    assert_eq!(bench.counters.sent.volume().packets, 1, "the frame behind it is unharmed");
}

#[test]
fn a_frame_too_long_for_the_memory_there_is_dropped_by_name() {
    if !lab::as_root("a_frame_too_long_for_the_memory_there_is_dropped_by_name") {
        return;
    }
    let mut lab = Lab::new("tap-long").unwrap();
    let host = lab.host("h1").unwrap();
    let port = Tap::open(&config(1, false), Some(host.netns()), Some(9000)).unwrap().remove(0);
    host.add_address("tap0", address(1), 24).unwrap();
    host.set_up("tap0").unwrap();
    let socket = host.run(|| UdpSocket::bind((address(1), 0))).unwrap().unwrap();
    socket.set_broadcast(true).unwrap();
    let payload: Vec<u8> = (0..8900).map(|number| (number % 251) as u8).collect();
    let send = || assert_eq!(socket.send_to(&payload, (address(255), 9)).unwrap(), payload.len());

    let mut bench = Bench::new(port, PoolConfig::singles(8));
    send();
    bench.receive_until(|_, counters| {
        counters.drops(Direction::Rx, DropReason::Truncated).volume().packets == 1
    });

    bench.pool = Pool::new(PoolConfig { frames: 8, runs: 1, run_chunks: 3 });
    send();
    bench.receive_until(|frames, _| frames.iter().any(|frame| frame.bytes().ends_with(&payload)));

    let runs = std::mem::replace(&mut bench.pool, Pool::new(PoolConfig::singles(0)));
    send();
    bench.receive_until(|_, counters| {
        counters.drops(Direction::Rx, DropReason::PoolEmpty).volume().packets == 1
    });

    bench.pool = runs;
    let only_run = bench.pool.alloc(9000).unwrap();
    send();
    bench.receive_until(|_, counters| {
        counters.drops(Direction::Rx, DropReason::PoolEmpty).volume().packets == 2
    });
    bench.pool.free(only_run);
}

#[test]
fn frames_that_find_the_queues_full_are_the_kernels_to_count() {
    if !lab::as_root("frames_that_find_the_queues_full_are_the_kernels_to_count") {
        return;
    }
    let mut lab = Lab::new("tap-full").unwrap();
    let (host, port) = host_behind_tap(&mut lab, 1, true);
    let mut bench = Bench::new(port, ample());
    let socket = host.run(|| UdpSocket::bind((address(1), 0))).unwrap().unwrap();
    socket.set_broadcast(true).unwrap();
    let sent = 2000;
    for _ in 0..sent {
        socket.send_to(b"too many", (address(255), 9)).unwrap();
    }
    let index = host.netdev("tap0").unwrap().index().unwrap();
    let lost = Links::open(Some(host.netns())).unwrap().tx_dropped(index).unwrap();
    assert!(lost > 0);
    let mut received = 0;
    bench.receive_until(|frames, _| {
        received += frames.iter().filter(|frame| frame.bytes().ends_with(b"too many")).count() as u64;
        received + lost >= sent
    });
}

#[test]
fn a_device_that_is_down_comes_back_and_one_that_is_deleted_is_gone() {
    if !lab::as_root("a_device_that_is_down_comes_back_and_one_that_is_deleted_is_gone") {
        return;
    }
    let mut lab = Lab::new("tap-gone").unwrap();
    let (host, port) = host_behind_tap(&mut lab, 1, true);
    let mut bench = Bench::new(port, ample());
    let frame = datagram([0xff; 6], 100, 100);

    host.netdev("tap0").unwrap().set_up(false).unwrap();
    bench.queue(&frame, |_| {});
    bench.transmit().unwrap();
    assert_eq!(bench.dropped(Direction::Tx, DropReason::PortDown), 1);
    bench.receive().unwrap();
    bench.empty();

    host.set_up("tap0").unwrap();
    bench.queue(&frame, |_| {});
    bench.transmit().unwrap();
    assert_eq!(bench.counters.sent.volume().packets, 1);

    host.delete("tap0").unwrap();
    let mut set = PollSet::new();
    set.add(&bench.port.readiness().unwrap(), Interest::Read);
    assert_eq!(set.wait(Some(PATIENCE)).unwrap(), 1, "the deletion wakes the worker");
    assert!(bench.receive().is_err());
    bench.queue(&frame, |_| {});
    assert!(bench.transmit().is_err());
    assert_eq!(bench.burst.len(), 1, "what was not sent is the caller's");
}

#[test]
fn a_tap_that_is_held_is_refused_to_a_second_holder() {
    if !lab::as_root("a_tap_that_is_held_is_refused_to_a_second_holder") {
        return;
    }
    let mut lab = Lab::new("tap-busy").unwrap();
    let (host, port) = host_behind_tap(&mut lab, 1, true);
    let refused = Tap::open(&config(1, true), Some(host.netns()), None).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceBusy);
    assert!(refused.to_string().contains("tap0"), "{refused}");
    drop(port);
    // Its last queue gone, the device is; the name is free.
    assert_eq!(host.netdev("tap0").unwrap().index().unwrap_err().kind(), ErrorKind::NotFound);
    Tap::open(&config(2, true), Some(host.netns()), None).unwrap();
}
