//! The generator and the sink on real veths: every frame is accounted for, what is wrong with one is seen, and nothing stays behind.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use command::{is_machine_root, skipped, wait_for};
use rig::{NIC, Plug, Rig, Wire, run_in};
use rigswitch::lab::{Host, Lab};
use rigswitch::traffic::{
    Amount, Expect, Generator, Load, Pair, Port, Range, Rate, Received, Sink, Stream, TrafficError, imix,
};
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::wire::ipv4::Ipv4;

/// Two hosts, `g0` of the one and `g1` of the other on a veth. Nothing, said aloud, without root.
fn veth(test: &str) -> Option<(Lab, Host, Host)> {
    if !is_machine_root() {
        skipped(test, "XDP needs root, and not that of a user namespace");
        return None;
    }
    let mut lab = Lab::new(test).unwrap();
    let [one, two] = ["h1", "h2"].map(|name| lab.host(name).unwrap());
    one.add_veth("g0", "g1", two.netns()).unwrap();
    for (host, device) in [(&one, "g0"), (&two, "g1")] {
        silence(host);
        host.set_up(device).unwrap();
    }
    Some((lab, one, two))
}

/// Without IPv6 a host says nothing by itself.
fn silence(host: &Host) {
    for place in ["all", "default"] {
        let knob = format!("/proc/sys/net/ipv6/conf/{place}/disable_ipv6");
        // A kernel without IPv6 has no such knob, and needs none.
        host.run(|| drop(std::fs::write(&knob, "1"))).unwrap();
    }
}

fn port(host: &Host, device: &str) -> Result<Port, TrafficError> {
    Port::of(device, Some(host.netns().try_clone().unwrap()))
}

fn sink(host: &Host, device: &str, stream: &Stream) -> Sink {
    let expect = Expect { flows: stream.flows(), added: stream.added() };
    Sink::new(port(host, device).unwrap(), expect).unwrap()
}

fn pair(from: &Host, to: &Host, devices: [&str; 2], stream: &Stream) -> Pair {
    let expect = Expect { flows: stream.flows(), added: stream.added() };
    Pair::new(port(from, devices[0]).unwrap(), port(to, devices[1]).unwrap(), expect, None).unwrap()
}

fn max(count: u64) -> Load {
    Load { rate: Rate::Max, amount: Amount::Count(count) }
}

/// What is wrong with frames: reordered, duplicated, corrupted, unchecked.
fn wrong(received: &Received) -> [u64; 4] {
    [received.reordered, received.duplicated, received.corrupted, received.unchecked]
}

/// The first `count` frames of a stream, as they are on the wire.
fn frames(one: &Host, two: &Host, stream: &Stream, count: u64) -> Vec<Vec<u8>> {
    let device = two.netdev("g1").unwrap();
    // What XDP sends reaches a veth's far end only with NAPI there.
    device.set_merges_received(true).unwrap();
    let wire = Wire::new(two, "g1");
    let generator = Generator::new(port(one, "g0").unwrap(), stream.clone(), None).unwrap();
    // No faster than they are taken out: a socket holds some fifty of such frames, for each is a page.
    let load = Load { rate: Rate::Frames(500.0), amount: Amount::Count(count) };
    let frames = thread::scope(|scope| {
        scope.spawn(|| generator.run(load, &AtomicBool::new(false)).unwrap());
        (0..count).map(|_| wire.receive()).collect()
    });
    device.set_merges_received(false).unwrap();
    frames
}

#[test]
fn every_frame_on_a_veth_is_accounted_for() {
    let Some((_lab, one, two)) = veth("traffic-veth") else { return };
    let wide = Stream { ports: 7, ..Stream::default() };
    let many = Range { first: MacAddr::new([2, 0, 0, 0, 0, 0]), count: 3000 };
    let streams = [
        Stream::default(),
        Stream { sizes: imix(), ports: 1000, ..Stream::default() },
        Stream { sizes: vec![1518, 64, 512], source_macs: many, ..wide.clone() },
        Stream { sizes: vec![68], vlan: Some(12), ..wide.clone() },
        Stream { sizes: vec![1400], ..wide },
    ];
    for stream in &streams {
        let mut pair = pair(&one, &two, ["g0", "g1"], stream);
        for count in [1, 999, 40_000] {
            let outcome = pair.trial(stream, max(count), &AtomicBool::new(false)).unwrap();
            let (sent, received) = (outcome.sent, outcome.received.clone());
            assert_eq!(sent.frames, count, "{stream:?}");
            // What a full ring refused is all that can be missing.
            assert_eq!(outcome.lost(), sent.refused, "{stream:?}: {received:?}");
            assert_eq!(wrong(&received), [0; 4], "{stream:?}");
            assert_eq!(received.latencies.count(), received.frames);
            let largest = stream.largest() as u64 - 4;
            assert!(received.bytes.abs_diff(sent.bytes) <= sent.refused * largest, "{stream:?}");
        }
    }
}

#[test]
fn frames_longer_than_a_page_and_those_of_a_device_without_xdp_are_written() {
    let Some((_lab, one, two)) = veth("traffic-written") else { return };
    for (host, device) in [(&one, "g0"), (&two, "g1")] {
        host.netdev(device).unwrap().set_mtu(9100).unwrap();
    }
    let mut stream = Stream { sizes: vec![9000, 64, 4096], ports: 5, ..Stream::default() };
    stream.source_macs.count = 3;
    let check = |stream: &Stream, device: &str| {
        let mut pair = pair(&one, &two, [device, "g1"], stream);
        assert!(!Generator::new(port(&one, device).unwrap(), stream.clone(), None).unwrap().is_in_kernel());
        for rate in [Rate::Max, Rate::Frames(20_000.0)] {
            let load = Load { rate, amount: Amount::Count(3000) };
            let outcome = pair.trial(stream, load, &AtomicBool::new(false)).unwrap();
            let (sent, received) = (outcome.sent, outcome.received.clone());
            assert_eq!((sent.frames, outcome.lost()), (3000, sent.refused), "{stream:?}: {received:?}");
            assert_eq!(wrong(&received), [0; 4], "{stream:?}");
            assert!(received.bytes.abs_diff(sent.bytes) <= sent.refused * 8996, "{stream:?}");
        }
    };
    check(&stream, "g0");
    one.add_macvlan("m0", "g0", MacAddr::new([2, 0x52, 0x53, 0, 0, 0])).unwrap();
    one.set_up("m0").unwrap();
    check(&Stream { sizes: vec![64, 1518], ports: 40, ..Stream::default() }, "m0");
}

#[test]
fn encapsulated_frames_are_made_and_counted_too() {
    let Some((_lab, one, two)) = veth("traffic-outer") else { return };
    // As long as VXLAN has it; what is in it is nobody's business here.
    let outer: Vec<u8> = [[2; 6], [4; 6]].concat().into_iter().chain([0x88, 0xb5]).chain([7; 50]).collect();
    let stream = Stream { sizes: vec![150], ports: 9, outer: Some(outer.clone()), ..Stream::default() };
    assert_eq!((stream.added(), stream.shortest()), (50, 114));
    let seen = frames(&one, &two, &stream, 9);
    for frame in &seen {
        assert_eq!((frame.len(), &frame[..64], &frame[64..66]), (146, &outer[..], &[0x45, 0][..]));
    }
    let mut pair = pair(&one, &two, ["g0", "g1"], &stream);
    let outcome = pair.trial(&stream, max(5000), &AtomicBool::new(false)).unwrap();
    assert_eq!((outcome.lost(), wrong(&outcome.received)), (outcome.sent.refused, [0; 4]), "{outcome:?}");
    let text =
        |stream: Stream| Generator::new(port(&one, "g0").unwrap(), stream, None).unwrap_err().to_string();
    for outer in [vec![0; 13], vec![0; 93]] {
        assert!(text(Stream { outer: Some(outer), ..stream.clone() }).contains("14 to 92 bytes"));
    }
    assert!(text(Stream { sizes: vec![150, 160], ..stream.clone() }).contains("fit one size"));
}

#[test]
fn a_frame_that_was_long_on_its_way_is_told_so() {
    let Some((_lab, one, two)) = veth("traffic-late") else { return };
    let stream = Stream::default();
    let mut frame = frames(&one, &two, &stream, 1).remove(0);
    let sink = sink(&two, "g1", &stream);
    let wire = Wire::new(&one, "g0");
    let made = |bytes: &[u8]| bytes.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    let now = made(&frame[54..60]);
    // Longer than 32 bits of nanoseconds last, and longer than the sink tells.
    for ago in [10, 600] {
        frame[54..60].copy_from_slice(&(now - ago * 1_000_000_000).to_be_bytes()[2..]);
        wire.send(&frame);
    }
    let received = wait_for("both", || (sink.frames() == 2).then(|| sink.received()));
    let seconds: Vec<_> = received.latencies.steps().map(|(time, _)| time.as_secs()).collect();
    assert!((10..100).contains(&seconds[0]), "{seconds:?}");
    assert_eq!(seconds[1..], [274]);
}

#[test]
fn frames_are_of_the_flows_asked_for_and_their_headers_are_right() {
    let Some((_lab, one, two)) = veth("traffic-flows") else { return };
    let mut stream = Stream { sizes: vec![64, 1518], ports: 5, ..Stream::default() };
    stream.source_macs.count = 3;
    stream.destination_macs.count = 2;
    stream.source_ips.count = 30;
    stream.destination_ips.count = 10;
    let seen = frames(&one, &two, &stream, 60);
    let distinct = |range: std::ops::Range<usize>| {
        seen.iter().map(|frame| frame[range.clone()].to_vec()).collect::<BTreeSet<_>>().len()
    };
    assert_eq!([0..6, 6..12, 26..30, 30..34, 34..36].map(distinct), [2, 3, 30, 10, 5]);
    for (n, frame) in seen.iter().enumerate() {
        assert_eq!(frame.len(), [60, 1514][n % 2]);
        let ip = Ipv4::view(&frame[14..]).unwrap();
        assert!(ip.is_intact() && ip.dont_fragment(), "frame {n}: {frame:x?}");
        let udp = u16::try_from(frame.len() - 34).unwrap();
        assert_eq!(frame[38..42], [udp.to_be_bytes(), [0; 2]].concat());
        // The 30 flows take turns, and number their frames.
        let [flow, number] = [n % 30, n / 30].map(|n| u32::try_from(n).unwrap().to_be_bytes());
        assert_eq!(frame[42..54], [*b"RSwB", flow, number].concat());
    }
}

#[test]
fn what_is_out_of_order_comes_twice_or_is_altered_is_seen() {
    let Some((_lab, one, two)) = veth("traffic-wrong") else { return };
    let stream = Stream { sizes: vec![130], ports: 2, ..Stream::default() };
    let first = frames(&one, &two, &stream, 2); // one of each flow
    let numbered = |n: usize| {
        let mut frame = first[n % 2].clone();
        frame[50..54].copy_from_slice(&u32::try_from(n / 2).unwrap().to_be_bytes());
        frame
    };
    let frames: Vec<_> = (0..300).map(numbered).collect();
    let wire = Wire::new(&one, "g0");
    let send = |order: &[usize]| {
        let sink = sink(&two, "g1", &stream);
        order.iter().for_each(|&n| wire.send(&frames[n]));
        wait_for("all frames", || (sink.frames() == order.len() as u64).then(|| sink.received()))
    };
    for (order, expected) in [
        (&[0, 1, 2, 3, 4, 5][..], [0, 0, 0]),
        // A gap, and flows among each other, are no reordering.
        (&[0, 4, 1, 3, 8, 5, 9], [0, 0, 3]),
        (&[0, 4, 2, 6], [1, 0, 0]),
        (&[8, 6, 4, 2, 0], [4, 0, 0]),
        (&[8, 2], [1, 0, 3]),
        (&[0, 2, 2, 4, 0, 1, 1, 1], [0, 4, 0]),
        (&[2, 0, 0, 4, 0], [1, 2, 0]),
        // Further ahead than is remembered: whether the late one was there before is not known.
        (&[0, 2, 200, 2], [1, 0, 97]),
        (&[0, 2, 128, 2], [0, 1, 62]),
    ] {
        let received = send(order);
        assert_eq!([received.reordered, received.duplicated, received.missing], expected, "{order:?}");
        assert_eq!((received.corrupted, received.unchecked, received.foreign), (0, 0, 0), "{order:?}");
    }

    // Every byte behind the stamp counts, and so does the length.
    let sink = sink(&two, "g1", &stream);
    let mut altered = 0;
    for at in 60..126 {
        let mut frame = frames[at].clone();
        frame[at] ^= 1 << (at % 8);
        wire.send(&frame);
        altered += 1;
    }
    for length in [60, 100, 125, 127] {
        let mut frame = frames[length].clone();
        frame.resize(length, 0);
        wire.send(&frame);
        altered += 1;
    }
    wire.send(&frames[299]);
    let received = wait_for("all frames", || (sink.frames() == altered + 1).then(|| sink.received()));
    assert_eq!(received.corrupted, altered);

    // Others are the host's: without the mark, or too short to have one.
    let mut foreign = frames[0].clone();
    foreign[42] ^= 1;
    wire.send(&foreign);
    wire.send(&frames[0][..59]);
    let received = wait_for("others", || Some(sink.received()).filter(|received| received.foreign == 2));
    assert_eq!(received.frames, altered + 1);
}

#[test]
fn the_kernels_bridge_and_a_switch_are_measured_with_one_ruler() {
    let test = "traffic-ruler";
    let Some(rig) = Rig::new(test, &[Plug::Veth, Plug::Veth], 1500).map(Rig::quiet) else { return };
    let mut stream = Stream { sizes: imix(), ports: 16, ..Stream::default() };
    stream.source_macs.count = 4;
    stream.destination_macs.count = 8;
    let measure = || {
        let mut pair = pair(&rig.hosts[0], &rig.hosts[1], [NIC, NIC], &stream);
        let stop = AtomicBool::new(false);
        pair.teach(&stream, &stop).unwrap();
        let load = Load { rate: Rate::Frames(20_000.0), amount: Amount::Count(5000) };
        pair.trial(&stream, load, &stop).unwrap()
    };

    // The kernel's bridge.
    let ports = ["p0", "p1"];
    for port in ports {
        rig.center.netdev(port).unwrap().set_merges_received(true).unwrap();
    }
    run_in(&rig.center, "ip link add br0 type bridge");
    for port in ports {
        run_in(&rig.center, &format!("ip link set {port} master br0"));
    }
    run_in(&rig.center, "ip link set br0 up");
    wait_for("the bridge to forward", || {
        let forwards = |port: &str| {
            run_in(&rig.center, &format!("bridge -d link show dev {port}")).contains("state forwarding")
        };
        ports.into_iter().all(forwards).then_some(())
    });
    let outcome = measure();
    assert_eq!((outcome.sent.frames, wrong(&outcome.received)), (5000, [0; 4]));
    assert_eq!(outcome.received.frames + outcome.lost(), 5000);
    assert!(outcome.received.frames > 0);
    let known = run_in(&rig.center, "bridge fdb show br br0");
    let learned = |group: &str| known.lines().filter(|line| line.starts_with(group)).count();
    assert_eq!([learned("02:52:53"), learned("02:52:54")], [4, 8], "{known}");
    run_in(&rig.center, "ip link del br0");

    // Ours, which says itself where each frame went.
    let _running = rig.start_bridge("1");
    let outcome = measure();
    assert_eq!((outcome.sent.frames, wrong(&outcome.received)), (5000, [0; 4]));
    let drops = rig.settled();
    let (near, far) = (rig.port(0), rig.port(1));
    assert_eq!(outcome.received.frames, far.tx.packets);
    let taught = far.rx.packets;
    assert!((1..=16).contains(&taught), "{taught} of 16 frames that teach");
    // Lost are those that did not reach the switch, and those that it says it dropped.
    let within = near.rx.packets - far.tx.packets;
    assert!(outcome.lost() >= within && within <= drops.ledger.frames_dropped + drops.ledger.copies_dropped);
}

#[test]
fn what_cannot_be_measured_is_refused_with_a_remedy() {
    let Some((_lab, one, two)) = veth("traffic-refused") else { return };
    let text = |error: TrafficError| error.to_string();
    let generator =
        |stream: Stream| text(Generator::new(port(&one, "g0").unwrap(), stream, None).unwrap_err());
    assert!(text(port(&one, "nowhere").unwrap_err()).contains("nowhere"));
    // Nothing at the far end would take the frames.
    assert!(generator(Stream::default()).contains("ethtool -K"));
    two.netdev("g1").unwrap().set_merges_received(true).unwrap();
    for (sizes, vlan, part) in [
        (vec![63], None, "64 to 9216"),
        (vec![64], Some(7), "68 to 9216"),
        (vec![64, 1519], None, "MTU of g0, 1500"),
        (vec![68], Some(4095), "4095: not in 1..=4094"),
        (vec![], None, "0 sizes"),
    ] {
        let text = generator(Stream { sizes, vlan, ..Stream::default() });
        assert!(text.contains(part), "{text}");
    }
    assert!(generator(Stream { ports: 0, ..Stream::default() }).contains("1 to 64512"));

    // One sink at a time, and the next when it is gone.
    let expect = Expect { flows: 1, added: 0 };
    let first = Sink::new(port(&two, "g1").unwrap(), expect).unwrap();
    let second = Sink::new(port(&two, "g1").unwrap(), expect).unwrap_err();
    assert!(text(second).contains("far ends"));
    drop(first);
    drop(Sink::new(port(&two, "g1").unwrap(), expect).unwrap());
    assert!(!run_in(&two, "ip link show dev g1").contains("xdp"));

    one.netdev("g0").unwrap().set_up(false).unwrap();
    assert!(text(port(&one, "g0").unwrap_err()).contains("ip link set g0 up"));
    let error = wait_for("the far end to notice", || port(&two, "g1").err());
    assert!(text(error).contains("carrier"));
}

#[test]
fn a_generator_that_is_stopped_says_what_it_has_sent() {
    let Some((_lab, one, two)) = veth("traffic-stopped") else { return };
    let stream = Stream::default();
    let sink = sink(&two, "g1", &stream);
    let generator = Generator::new(port(&one, "g0").unwrap(), stream, None).unwrap();
    let stop = AtomicBool::new(false);
    let load = Load { rate: Rate::Frames(1000.0), amount: Amount::Count(u64::MAX) };
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| generator.run(load, &stop).unwrap());
        wait_for("frames to be under way", || (sink.frames() > 10).then_some(()));
        stop.store(true, Ordering::Relaxed);
        sending.join().unwrap()
    });
    assert!(sent.frames > 10 && sent.frames < 1_000_000);
    wait_for("all of them", || (sink.frames() + sent.refused == sent.frames).then_some(()));
}
