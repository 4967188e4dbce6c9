//! Real hosts through a real switch: what they send each other arrives, over every kind of port, offloads as they come.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use command::{PATIENCE, wait_for};
use rig::{NIC, Plug, Rig, Wire, bridge, frame, has, run_in, tagged, v4, v6};
use rigswitch::lab::{self, Host};
use rigswitch::views::WorkerView;

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const BROADCAST: [u8; 6] = [0xff; 6];
/// An EtherType for local experiments (IEEE 802-2014 §9.2.3).
const EXPERIMENT: u16 = 0x88b5;

#[test]
fn every_host_reaches_every_other_over_every_kind_of_port() {
    reach("hosts-one", "1", 1);
}

#[test]
fn hosts_on_ports_of_different_workers_reach_each_other() {
    reach("hosts-two", "2", 2);
}

/// Two hosts on veths and two on TAPs; every pair talks IPv4 and IPv6, ICMP, UDP and TCP, both ways.
fn reach(test: &str, workers: &str, count: usize) {
    if !has(test, "ethtool") {
        return;
    }
    let Some(rig) = Rig::new(test, &[Plug::Veth, Plug::Veth, Plug::Tap, Plug::Tap], 1500) else { return };
    let _switch = rig.start_bridge(workers);
    rig.give_addresses();
    let shown: Vec<WorkerView> = serde_json::from_str(&rig.folder.ask("show workers -j")).unwrap();
    assert!(shown.len() == count && shown.iter().all(|worker| worker.ports.len() >= 2), "{shown:?}");

    for (one, two) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        let (near, far) = (&rig.hosts[one], &rig.hosts[two]);
        for target in [v4(two), v6(two)] {
            let path = format!("h{one} to {target}");
            for payload in [0, 56, 1452, 4000] {
                let ping = lab::ping(near, target, 2, payload, PATIENCE).unwrap();
                assert_eq!(ping.lost(), 0, "{path}, {payload} bytes");
            }
            assert_eq!(lab::udp_echo(near, far, (target, 0).into(), 10, 1000).unwrap(), 10, "{path}");
            lab::tcp_transfer(near, far, (target, 0).into(), 1 << 20)
                .unwrap_or_else(|e| panic!("{path}: {e}"));
        }
    }
    // The hosts leave checksums to the card, and a veth has none: somebody completed them, or nothing would have arrived.
    for n in [0, 1] {
        assert!(run_in(&rig.hosts[n], &format!("ethtool -k {NIC}")).contains("tx-checksumming: on"));
    }
    let metrics = command::http(&rig.folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
    let completed = |port: &str| -> u64 {
        let name = format!("rigswitch_checksums_completed_total{{device=\"{port}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{name}is not in\n{metrics}")).parse().unwrap()
    };
    assert!(completed("p0") > 100 && completed("p1") > 100, "{metrics}");
    let ledger = rig.settled().ledger;
    assert!(ledger.forwarded > 1000, "{ledger:?}");
}

#[test]
fn jumbo_frames_cross_whole() {
    const MTU: u16 = 9000;
    let Some(rig) = Rig::new("hosts-jumbo", &[Plug::Veth, Plug::Veth, Plug::Tap], MTU) else { return };
    let _switch = rig.start_bridge("1");
    rig.give_addresses();
    for (one, two) in [(0, 1), (0, 2), (2, 1)] {
        let wire = rig.wire(two);
        let ping = lab::ping(&rig.hosts[one], v4(two), 2, usize::from(MTU) - 28, PATIENCE).unwrap();
        assert_eq!(ping.lost(), 0, "h{one} to h{two}");
        let longest = std::iter::from_fn(|| wire.poll()).map(|frame| frame.len()).max();
        assert_eq!(longest, Some(usize::from(MTU) + 14), "in one frame");
        lab::tcp_transfer(&rig.hosts[one], &rig.hosts[two], (v4(two), 0).into(), 4 << 20).unwrap();
    }
    rig.settled();
}

#[test]
fn bridges_stay_apart() {
    let plugs = [Plug::Veth, Plug::Tap, Plug::Veth, Plug::Tap];
    let Some(rig) = Rig::new("hosts-apart", &plugs, 1500).map(Rig::quiet) else { return };
    let _switch = rig.start("1", &(bridge("br0", [0, 1]) + &bridge("br1", [2, 3])));
    let wires: Vec<_> = (0..4).map(|n| rig.wire(n)).collect();
    // The same stations in both, to each other and to everybody.
    for (to, number) in [(B, 1), (BROADCAST, 2), (A, 3)] {
        for (near, far) in [(0, 1), (2, 3)] {
            let here = frame(to, A, EXPERIMENT, 100, number * 10 + near as u64);
            wires[near].send(&here);
            if to != A {
                assert_eq!(wires[far].receive(), here);
            }
            let there = frame(A, B, EXPERIMENT, 100, number * 10 + far as u64);
            wires[far].send(&there);
            assert_eq!(wires[near].receive(), there);
        }
    }
    for (near, far) in [(0, 1), (2, 3)] {
        fence(&wires[near], &wires[far]);
    }
    let ledger = rig.settled().ledger;
    assert_eq!((ledger.forwarded, ledger.frames_dropped), (14, 2), "{ledger:?}");
}

/// Everything that either has sent has arrived, and nothing else.
fn fence(one: &Wire, two: &Wire) {
    for (from, to, station) in [(one, two, 1), (two, one, 2)] {
        let marker = frame(BROADCAST, [2, 0xfe, 0, 0, 0, station], EXPERIMENT, 60, 0);
        from.send(&marker);
        assert_eq!(to.receive(), marker);
    }
}

#[test]
fn a_cross_connect_passes_everything() {
    let plugs = [Plug::Veth, Plug::Veth, Plug::Tap, Plug::Veth];
    let Some(rig) = Rig::new("hosts-wire", &plugs, 1500).map(Rig::quiet) else { return };
    let _switch =
        rig.start("1", "[[xconnect]]\na = \"p0\"\nb = \"p1\"\n[[xconnect]]\na = \"p2\"\nb = \"p3\"\n");
    let wires: Vec<_> = (0..4).map(|n| rig.wire(n)).collect();
    let mut frames: Vec<_> =
        (0..16).map(|n| frame([1, 0x80, 0xc2, 0, 0, n], A, 0x8809, 60, n.into())).collect();
    let plain = frame(B, A, EXPERIMENT, 100, 1);
    frames.extend([
        frame([1, 0x80, 0xc2, 0, 0, 0xe], A, 0x88cc, 200, 2), // LLDP
        frame([1, 0x80, 0xc2, 0, 0, 1], A, 0x8808, 60, 3),    // PAUSE
        tagged(&plain, [0x81, 0, 0xe0, 10]),
        tagged(&plain, [0x88, 0xa8, 0, 200]),
        tagged(&tagged(&plain, [0x81, 0, 0, 10]), [0x88, 0xa8, 0, 200]),
        tagged(&plain, [0x81, 0, 0, 0]), // a priority tag
        frame(A, [0x33, 0, 0, 0, 0, 1], EXPERIMENT, 60, 4),
        frame(A, A, 0, 14, 5),
        plain,
    ]);
    for (near, far) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        for frame in &frames {
            wires[near].send(frame);
            assert_eq!(&wires[far].receive(), frame, "from h{near} to h{far}");
        }
    }
    let view = rig.settled();
    assert_eq!(view.drops, []);
    assert_eq!(view.ledger.forwarded, 4 * frames.len() as u64);
}

#[test]
fn a_tag_that_a_host_left_in_metadata_leaves_with_its_frame() {
    if !["ip", "bridge", "ethtool"].iter().all(|program| has("hosts-tags", program)) {
        return;
    }
    let plugs = [Plug::Veth, Plug::Veth, Plug::Tap];
    let Some(rig) = Rig::new("hosts-tags", &plugs, 1500).map(Rig::quiet) else { return };
    // The host is itself a bridge, which takes the tag of a frame that it receives into metadata, and forwards it so.
    let bridging = &rig.hosts[0];
    for line in [
        "ip link add inner type veth peer name outer",
        "ip link add bridge0 type bridge",
        "ip link set outer master bridge0",
        &format!("ip link set {NIC} master bridge0"),
        "ip link set inner up",
        "ip link set outer up",
        "ip link set bridge0 up",
    ] {
        run_in(bridging, line);
    }
    assert!(run_in(bridging, &format!("ethtool -k {NIC}")).contains("tx-vlan-offload: on"));
    let _switch = rig.start_bridge("1");
    let (inner, wires) = (Wire::new(bridging, "inner"), [rig.wire(1), rig.wire(2)]);
    forwards(bridging, &inner, &wires[0]);
    wires[1].receive_until(&ready());
    for (number, tag) in (0..).zip([[0x81, 0, 0, 10], [0x81, 0, 0xef, 0xff], [0x88, 0xa8, 0x20, 1]]) {
        let plain = frame(BROADCAST, A, EXPERIMENT, 100, number);
        for sent in [tagged(&plain, tag), plain] {
            inner.send(&sent);
            wires.iter().for_each(|wire| assert_eq!(wire.receive(), sent));
        }
    }
    rig.settled();
}

fn ready() -> Vec<u8> {
    frame(BROADCAST, A, EXPERIMENT, 60, u64::MAX)
}

/// Waits until a frame crosses, and takes all copies of it away: a kernel bridge's ports need a moment.
fn forwards(host: &Host, from: &Wire, to: &Wire) {
    wait_for("the host's bridge to forward", || {
        run_in(host, "bridge link").matches("state forwarding").count().eq(&2).then_some(())
    });
    from.send(&ready());
    to.receive_until(&ready());
}
