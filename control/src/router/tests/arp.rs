//! ARP, rule by rule.

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType};
use rigswitch_dataplane::wire::arp;
use rigswitch_dataplane::wire::arp::{Arp, Operation};

use super::*;

/// A message in a frame for `to`, from whoever its sender is.
fn message(operation: Operation, sender: (MacAddr, &str), target: (MacAddr, &str), to: MacAddr) -> Vec<u8> {
    let (hardware, operation) = (ArpHardwareId::ETHERNET, ArpOperation(operation.0));
    let [from, about] = [sender.1, target.1].map(|text| v4(text).octets());
    let (from_mac, about_mac) = (sender.0.octets(), target.0.octets());
    let packet =
        ArpPacket::new(hardware, EtherType::IPV4, operation, &from_mac, &from, &about_mac, &about).unwrap();
    let mut header = [0; 14];
    ethernet::emit(&mut header, to, sender.0, ethernet::EtherType::ARP);
    [&header[..], &packet.to_bytes()].concat()
}

fn request(n: u8, from: &str, about: &str) -> Vec<u8> {
    message(Operation::REQUEST, (station(n), from), (MacAddr::ZERO, about), MacAddr::BROADCAST)
}

fn reply(n: u8, from: &str) -> Vec<u8> {
    message(Operation::REPLY, (station(n), from), (MACS[0], "10.0.0.1"), MACS[0])
}

impl Rig {
    fn arp(&mut self, frame: &[u8]) -> Vec<(DeviceId, Vec<u8>)> {
        self.sent(HERE, PuntReason::Arp, frame)
    }

    /// Something for 10.0.0.2 waits.
    fn ask(&mut self) {
        let frame = udp("10.0.1.9", "10.0.0.2", 9, b"waits");
        let asked = self.sent(THERE, PuntReason::Unresolved, &frame);
        let expected = arp::request((MACS[0], v4("10.0.0.1")), v4("10.0.0.2"), MacAddr::BROADCAST);
        assert_eq!(asked, [(HERE, expected.to_vec())]);
        assert_eq!(self.state("10.0.0.2"), Some(Nud::Incomplete));
    }
}

#[test]
fn requests_for_any_of_our_addresses_are_answered_and_who_asks_is_learned() {
    let mut rig = Rig::new();
    for (asked, n) in [("10.0.0.1", 1), ("10.0.1.1", 2)] {
        let (address, frame) =
            (format!("10.0.0.{}", 10 + n), request(n, &format!("10.0.0.{}", 10 + n), asked));
        let expected = Arp::view(&frame[14..]).unwrap().reply(MACS[0]);
        assert_eq!(rig.arp(&frame), [(HERE, expected.to_vec())]);
        assert_eq!((rig.state(&address), rig.knows(&address)), (Some(Nud::Stale), Some(station(n))));
    }
    assert_eq!(rig.arp(&request(3, "10.0.0.13", "10.0.0.99")), []);
    assert_eq!(rig.state("10.0.0.13"), None);
    // Another station has the address now.
    rig.arp(&request(4, "10.0.0.11", "10.0.0.1"));
    assert_eq!(rig.knows("10.0.0.11"), Some(station(4)));
}

#[test]
fn probes_are_answered_and_teach_nothing() {
    let mut rig = Rig::new();
    let probe = request(1, "0.0.0.0", "10.0.0.1");
    let answers = rig.arp(&probe);
    let answer = Arp::view(&answers[0].1[14..]).unwrap();
    assert_eq!((answer.operation(), answer.sender()), (Operation::REPLY, MACS[0]));
    assert_eq!((answer.sender_address(), answer.target_address()), (v4("10.0.0.1"), v4("0.0.0.0")));
    assert_eq!(rig.arp(&request(1, "0.0.0.0", "10.0.0.2")), []);
    assert!(rig.router.view(rig.now).is_empty());
}

#[test]
fn reply_to_us_makes_a_neighbor_reachable_and_lets_go_what_was_held() {
    let mut rig = Rig::new();
    rig.ask();
    let before = rig.router.generation();
    let outputs = rig.hear(HERE, PuntReason::Arp, &reply(2, "10.0.0.2"));
    let waited = udp("10.0.1.9", "10.0.0.2", 9, b"waits");
    assert_eq!(outputs, [Output::Receive { device: THERE, frame: waited.clone() }]);
    assert_eq!((rig.state("10.0.0.2"), rig.knows("10.0.0.2")), (Some(Nud::Reachable), Some(station(2))));
    assert_ne!(rig.router.generation(), before);
    assert_eq!(rig.router.counters().resolved, 1);
    // What workers punted before they knew.
    let late = rig.hear(THERE, PuntReason::Unresolved, &waited);
    assert_eq!(late, [Output::Receive { device: THERE, frame: waited }]);
}

#[test]
fn who_was_not_asked_for_is_not_learned_from_replies_or_announcements() {
    let mut rig = Rig::new();
    rig.arp(&reply(2, "10.0.0.2"));
    rig.arp(&request(2, "10.0.0.2", "10.0.0.2"));
    assert!(rig.router.view(rig.now).is_empty());
}

#[test]
fn announcements_update_those_that_are_known() {
    let mut rig = Rig::new();
    rig.ask();
    rig.hear(HERE, PuntReason::Arp, &reply(2, "10.0.0.2"));
    rig.arp(&request(3, "10.0.0.2", "10.0.0.2"));
    assert_eq!((rig.state("10.0.0.2"), rig.knows("10.0.0.2")), (Some(Nud::Stale), Some(station(3))));
    let told =
        message(Operation::REPLY, (station(4), "10.0.0.2"), (station(4), "10.0.0.2"), MacAddr::BROADCAST);
    rig.arp(&told);
    assert_eq!((rig.state("10.0.0.2"), rig.knows("10.0.0.2")), (Some(Nud::Stale), Some(station(4))));
}

#[test]
fn of_several_replies_the_first_counts() {
    let mut rig = Rig::new();
    rig.ask();
    rig.hear(HERE, PuntReason::Arp, &reply(2, "10.0.0.2"));
    rig.arp(&reply(3, "10.0.0.2"));
    assert_eq!(rig.knows("10.0.0.2"), Some(station(2)));
    rig.wait(SECOND + TICK);
    rig.arp(&reply(3, "10.0.0.2"));
    assert_eq!((rig.state("10.0.0.2"), rig.knows("10.0.0.2")), (Some(Nud::Reachable), Some(station(3))));
}

#[test]
fn another_station_with_our_address_is_told_of_once_and_not_learned() {
    let mut rig = Rig::new();
    for frame in
        [request(1, "10.0.0.1", "10.0.0.2"), request(1, "10.0.0.1", "10.0.0.1"), reply(1, "10.0.1.1")]
    {
        assert_eq!(rig.arp(&frame), []);
    }
    assert_eq!(rig.router.counters().conflicts, 3);
    let conflict = |address| Notice::Conflict { device: HERE, address: ip(address), mac: station(1) };
    assert_eq!(rig.router.notices(), [conflict("10.0.0.1"), conflict("10.0.1.1")]);
    rig.wait(SECOND * 10);
    rig.arp(&request(1, "10.0.0.1", "10.0.0.1"));
    assert_eq!(rig.router.notices(), [conflict("10.0.0.1")]);
    assert!(rig.router.view(rig.now).is_empty());
    // What we said ourselves comes back.
    let own =
        message(Operation::REQUEST, (MACS[1], "10.0.0.1"), (MacAddr::ZERO, "10.0.0.1"), MacAddr::BROADCAST);
    rig.arp(&own);
    assert_eq!(rig.router.counters().conflicts, 4);
}

#[test]
fn messages_that_cannot_be_are_counted() {
    let mut rig = Rig::new();
    let good = request(1, "10.0.0.9", "10.0.0.1");
    let mut many = vec![good[..41].to_vec(), good[..13].to_vec(), request(1, "224.0.0.1", "10.0.0.1")];
    many.push(request(1, "127.0.0.1", "10.0.0.1"));
    many.push(request(1, "255.255.255.255", "10.0.0.1"));
    for sender in [MacAddr::BROADCAST, MacAddr::ZERO] {
        let target = (MacAddr::ZERO, "10.0.0.1");
        many.push(message(Operation::REQUEST, (sender, "10.0.0.9"), target, MACS[0]));
    }
    for (frame, n) in many.iter().zip(1..) {
        assert_eq!((rig.arp(frame), rig.router.counters().malformed), (vec![], n));
    }
    let reverse =
        message(Operation::REVERSE_REQUEST, (station(1), "10.0.0.9"), (MACS[0], "10.0.0.1"), MACS[0]);
    assert_eq!((rig.arp(&reverse), rig.router.counters().ignored), (vec![], 1));
    assert!(rig.router.view(rig.now).is_empty());
}

#[test]
fn addresses_are_announced_when_they_are_new_and_when_the_link_comes_up() {
    let mut rig = Rig { router: Router::new(), routing: Routing::default(), now: Duration::ZERO };
    rig.set(setting());
    let told = |outputs: Vec<(Duration, Output)>| -> Vec<(DeviceId, Vec<u8>)> {
        outputs
            .into_iter()
            .map(|(_, output)| sent(output))
            .filter(|(_, frame)| frame[12..14] == [8, 6])
            .collect()
    };
    let announcement =
        |n: usize, address| arp::request((MACS[n], v4(address)), v4(address), MacAddr::BROADCAST);
    let [here, there] =
        [(0, "10.0.0.1"), (1, "10.0.1.1")].map(|(n, address)| announcement(n, address).to_vec());
    assert_eq!(told(rig.wait(TICK)), [(HERE, here.clone()), (THERE, there)]);
    rig.set(setting());
    assert_eq!(told(rig.wait(SECOND)), []);
    let mut down = setting();
    down.devices[0].is_up = false;
    rig.set(down);
    assert_eq!(told(rig.wait(SECOND)), []);
    let mut up = setting();
    up.devices[0].addresses.push((ip("10.0.5.1"), 24));
    rig.set(up);
    assert_eq!(told(rig.wait(SECOND)), [(HERE, here), (HERE, announcement(0, "10.0.5.1").to_vec())]);
    // One that goes before it was told.
    let mut brief = setting();
    brief.devices[1].addresses.push((ip("10.0.6.1"), 24));
    rig.set(brief);
    rig.set(setting());
    assert_eq!(told(rig.wait(SECOND)), []);
}

#[test]
fn questions_come_from_the_address_in_the_same_network() {
    let mut rig = Rig::new();
    let mut more = setting();
    more.devices[0].addresses.insert(0, (ip("10.0.5.1"), 24));
    rig.set(more);
    rig.ask();
}
