//! What is sent: by which socket, and what happens when that is full.

use std::collections::BTreeSet;
use std::process::Command;

use rigswitch_dataplane::counters::Volume;
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::sys::datagram::DatagramSocket;

use super::veth::{run, wait_for};
use super::{Far, Port, connect, payload, rig, tunnelled};

/// Of a flow whose packets have this source port.
fn of_flow(mut frame: Vec<u8>, port: u16) -> Vec<u8> {
    let at = if frame[12] == 8 { 34 } else { 54 };
    frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
    frame
}

#[test]
fn flows_leave_by_ports_of_their_own_and_each_by_one() {
    let Some(rig) = rig("socket, flows") else { return };
    // Whoever has a port first keeps it.
    let taken = rig.near.run(|| DatagramSocket::udp(50_000, false)).unwrap().unwrap();
    let mut port = Port::sending_from(&rig, [(50_000, 50_004), (40_000, 41_000)]);
    for (is_ipv6, from, to) in [(false, "10.0.0.1", "10.0.0.2"), (true, "fd00::1", "fd00::2")] {
        let mut far = Far::udp(&rig, is_ipv6);
        let mut from_port = |port: &mut Port, wanted: u16| {
            let frame = |number| of_flow(tunnelled(from, to, 0, &payload(number, 900)), wanted);
            assert_eq!(port.send(&[frame(1), frame(2), frame(3)]), 0);
            let ports: BTreeSet<_> = (1..4)
                .map(|number| {
                    let (header, received) = far.receive();
                    assert_eq!(received, payload(number, 900), "in order, and cut again");
                    header.port
                })
                .collect();
            assert_eq!(ports.len(), 1, "one flow: {ports:?}");
            ports.into_iter().next().unwrap()
        };
        // As many ports as there are, where these are few.
        for wanted in 50_001..50_004 {
            assert_eq!(from_port(&mut port, wanted), wanted);
        }
        let first = from_port(&mut port, 50_000);
        assert_eq!(first == 50_000, is_ipv6, "another program has that of IPv4: {first}");
        // And else some of them, with all flows of a few neighbouring ones by one.
        let many: BTreeSet<_> =
            (40_000..41_000).step_by(30).map(|wanted| from_port(&mut port, wanted)).collect();
        assert!(many.len() == 16 && many.iter().all(|port| (40_000..41_000).contains(port)), "{many:?}");
    }
    drop(taken);
    assert_eq!(port.close().dropped(Direction::Tx), Volume::default());
}

#[test]
fn a_send_buffer_that_is_full_leaves_frames_to_the_caller_and_takes_them_when_there_is_room() {
    let Some(rig) = rig("socket, sending") else { return };
    // What is sent waits on the link, and with it the room that it takes.
    let slow = || {
        Command::new("tc")
            .args("qdisc add dev near0 root tbf rate 80bit burst 2000 limit 8000000".split(' '))
            .status()
    };
    if !rig.near.run(slow).unwrap().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI must have tc, and its kernel tbf");
        println!("skipped: a full send buffer: install iproute2; or this kernel has no tbf");
        return;
    }
    let mut port = Port::open(&rig);
    let mut far = Far::udp(&rig, false);
    let frames: Vec<_> =
        (0..32).map(|number| tunnelled("10.0.0.1", "10.0.0.2", 0, &payload(number, 1400))).collect();
    let mut taken = 0;
    let left = wait_for("the send buffer to be full", || {
        let left = port.send(&frames);
        taken += frames.len() - left;
        (left > 0).then_some(left)
    });
    assert_eq!(port.counters.sent.volume().packets, u64::try_from(taken).unwrap(), "no more than went");
    assert_eq!(
        port.counters.dropped(Direction::Tx),
        Volume::default(),
        "what is left is the caller's: {left}"
    );
    assert_eq!(port.send(&frames), frames.len(), "there is no room yet");
    run(&rig.near, "tc qdisc del dev near0 root");
    let good = tunnelled("10.0.0.1", "10.0.0.2", 0, &payload(77, 300));
    wait_for("room", || (port.send(std::slice::from_ref(&good)) == 0).then_some(()));
    while far.receive().1 != payload(77, 300) {}
    port.close();
}

#[test]
fn a_way_that_goes_is_missed_by_name_and_taken_when_it_is_back() {
    let Some(rig) = rig("socket, a way that goes") else { return };
    let mut port = Port::open(&rig);
    let mut far = Far::udp(&rig, false);
    let frame = |number| tunnelled("10.0.0.1", "10.0.0.2", 0, &payload(number, 100));
    let is_missed = |port: &mut Port, times| {
        assert_eq!(port.send(&[frame(0)]), 0);
        assert_eq!(port.dropped(DropReason::SocketUnreachable), times);
    };
    run(&rig.near, "ip route del 10.0.0.0/24 dev near0");
    is_missed(&mut port, 1);
    run(&rig.near, "ip route add 10.0.0.0/24 dev near0");
    assert_eq!(port.send(&[frame(1)]), 0);
    assert_eq!(far.receive().1, payload(1, 100));
    run(&rig.near, "ip link del near0");
    is_missed(&mut port, 2);
    connect(&rig);
    // The link is up when it is.
    wait_for("the way to be there", || {
        let before = port.counters.sent.volume().packets;
        assert_eq!(port.send(&[frame(2)]), 0);
        (port.counters.sent.volume().packets > before).then_some(())
    });
    assert_eq!(far.receive().1, payload(2, 100));
    port.close();
}
