//! What should not be: tunnels in loops, garbage outside and inside, and an underlay that goes away. All of it is counted, bounded and survived.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rigswitch::lab;

use super::command::wait_for;
use super::hosts::{Mesh, Node};
use super::packets::{Outer, PLAIN};
use super::rig::{Random, frame, run_in, v4};
use super::rules::{BROADCAST, HERE, THERE, TO_ONE, bridged, config, play, usual};

/// p0 is routed, and 10.9.0.0/24 is behind vx0, whose far end is behind vx1, whose far end is `last`.
fn nested(last: &str) -> String {
    let neighbors: String = [("vx0", "10.1.0.2"), ("vx0", "10.1.0.3"), ("vx1", "10.2.0.2")]
        .map(|(device, address)| {
            format!("{{ device = \"{device}\", address = \"{address}\", mac = \"02:00:00:00:00:77\" }},")
        })
        .concat();
    format!(
        "port = [{{ name = \"p0\", memory = true, address = \"02:00:00:00:aa:01\" }}, {{ name = \"u0\", memory = true }}]\n\
         address = [{{ device = \"p0\", address = \"10.0.0.1/24\" }}, {{ device = \"vx0\", address = \"10.1.0.1/24\" }}, \
         {{ device = \"vx1\", address = \"10.2.0.1/24\" }}]\n\
         route = [{{ to = \"10.9.0.0/24\", via = \"10.1.0.2\", device = \"vx0\" }}]\n\
         neighbor = [{neighbors}]\n\
         [[vxlan]]\nname = \"vx0\"\nid = 1\nlocal = \"10.2.0.1\"\nremote = \"10.2.0.2\"\n\
         [[vxlan]]\nname = \"vx1\"\nid = 2\nlocal = \"10.1.0.1\"\nremote = \"{last}\"\n"
    )
}

/// A packet to what is behind vx0.
fn packet() -> Vec<u8> {
    let mut header =
        etherparse::Ipv4Header::new(20, 64, etherparse::IpNumber(253), [10, 0, 0, 2], [10, 9, 0, 1]).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&[2, 0, 0, 0, 0xaa, 1][..], &HERE, &[8, 0], &header.to_bytes(), &[7; 20]].concat()
}

#[test]
fn tunnels_in_a_loop_end_what_goes_round_by_a_name() {
    // Which of the two has no room left depends on where in its chunk the frame began.
    for (last, reason) in [("10.2.0.9", "vx1 tx.tunnel_loop"), ("10.1.0.3", " tx.no_headroom")] {
        play(&nested(last), |rig| {
            let mut before = BTreeMap::new();
            for _ in 0..3 {
                let [back, out] = rig.send("p0", &packet());
                assert!(back.is_empty() && out.is_empty());
                let drops = rig.drops(&mut before);
                assert!(matches!(&drops[..], [one] if one.ends_with(reason)), "{drops:?}");
            }
        });
    }
}

#[test]
fn garbage_is_counted_and_what_is_good_beside_it_passes() {
    let mut random = Random(0x9a7ba9e);
    play(&bridged(TO_ONE), |rig| {
        let mut before = BTreeMap::new();
        let mut reasons = BTreeSet::new();
        for n in 0..3000 {
            let inner = frame(HERE, THERE, 0x88b5, 60 + random.below(200), n);
            let outer = Outer {
                is_ipv6: random.below(2) == 0,
                has_checksum: random.below(2) == 0,
                ..Outer::of(&inner)
            };
            let (port, mut bytes) = if random.below(4) == 0 { ("p0", inner) } else { ("u0", outer.frame()) };
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len().min(80));
                bytes[at] = random.next() as u8;
            }
            if random.below(4) == 0 {
                bytes.truncate(random.below(bytes.len()));
            }
            rig.send(port, &bytes);
            reasons.extend(rig.drops(&mut before));
        }
        assert!(reasons.len() > 8, "{reasons:?}");
        rig.pass(200);
        let good = Outer { header: PLAIN | 42 << 8, ..Outer::of(&usual(HERE, THERE)) };
        // Before it come answers to the garbage.
        assert_eq!(rig.send("u0", &good.frame())[0].len(), 1);
        assert_eq!(rig.goes_to(THERE, HERE), [2]);
    });
}

#[test]
fn a_remote_that_answers_from_another_address_is_heard_and_followed_by_a_device_that_learns() {
    for (learning, followed) in [(true, 4), (false, 2)] {
        play(&bridged(&format!("learning = {learning}\n{TO_ONE}")), |rig| {
            assert_eq!(rig.goes_to(THERE, HERE), [2]);
            let addresses = [[192, 0, 2, 4], [192, 0, 2, 1]];
            let answer = Outer { addresses, ..Outer::of(&usual(HERE, THERE)) };
            // At the second it has a number.
            for _ in 0..2 {
                assert_eq!(rig.comes_in(&answer).len(), 1);
                rig.pass(200);
            }
            assert_eq!(rig.goes_to(THERE, HERE), [followed]);
            assert_eq!(rig.goes_to(BROADCAST, HERE), [2], "the others are where they were");
            assert!(rig.drops(&mut BTreeMap::new()).is_empty());
        });
    }
}

#[test]
fn a_route_that_goes_is_missed_by_name_and_taken_when_it_is_back() {
    let without = bridged("local = \"192.0.2.1\"\nremote = \"198.51.100.9\"\n");
    let route = "{ to = \"198.51.100.0/24\", via = \"192.0.2.3\", device = \"u0\" }";
    let with = format!("route = [{route}]\n{without}");
    play(&with, |rig| {
        let mut before = BTreeMap::new();
        for _ in 0..2 {
            assert_eq!(rig.goes_to(BROADCAST, HERE), [9]);
            rig.hand.switch().apply(config(&without)).unwrap();
            assert!(rig.goes_to(BROADCAST, HERE).is_empty());
            assert_eq!(rig.drops(&mut before), ["vx0 tx.tunnel_no_route"]);
            rig.hand.switch().apply(config(&with)).unwrap();
        }
    });
}

#[test]
fn an_underlay_that_vanishes_is_missed_by_name_and_taken_up_when_it_is_back() {
    for far in ["packet", "xdp"] {
        let Some(mesh) = Mesh::new("vxlan-gone", &[Node::Ours("packet", far), Node::Kernel], false, 1600, "")
        else {
            return;
        };
        mesh.reaches(0, 1);
        run_in(&mesh.rig.center, "ip link del w0");
        wait_for("what goes there to be dropped", || {
            lab::ping(&mesh.rig.hosts[0], v4(1), 2, 10, Duration::from_millis(100)).unwrap();
            mesh.port(0, "vx0").drops.get("tx.tunnel_no_route").copied()
        });
        run_in(&mesh.rig.center, "ip link add w0 type veth peer name u0");
        run_in(&mesh.rig.center, "ip link set w0 mtu 1600 master under up");
        run_in(&mesh.rig.center, "ip link set u0 mtu 1600 up");
        // What is asked before the link carries is lost.
        wait_for("the far end to be reached again", || {
            let ping = lab::ping(&mesh.rig.hosts[0], v4(1), 1, 10, Duration::from_millis(100)).unwrap();
            (!ping.round_trips.is_empty()).then_some(())
        });
        mesh.reaches(0, 1);
        mesh.transfer(0, 1);
        mesh.settled();
    }
}
