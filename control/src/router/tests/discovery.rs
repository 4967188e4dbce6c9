//! Neighbour discovery, rule by rule.

use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{Icmpv6Header, Icmpv6Type, IpNumber, Ipv6Header};
use rigswitch_dataplane::wire::neighbor::{
    Advertisement, FRAME_LEN, Neighbor, group_mac, solicitation, solicited_node,
};

use super::*;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A message without a link-layer address from station 1, for `to`.
fn bare(kind: Icmpv6Type, from: &str, to: Ipv6Addr, target: &str, hop_limit: u8) -> Vec<u8> {
    let [source, destination] = [v6(from), to].map(|address| address.octets());
    let target = v6(target).octets();
    let message = Icmpv6Header::with_checksum(kind, source, destination, &target).unwrap().to_bytes();
    let ip = Ipv6Header {
        payload_length: 24,
        next_header: IpNumber::IPV6_ICMP,
        hop_limit,
        source,
        destination,
        ..Default::default()
    };
    let mut header = [0; 14];
    ethernet::emit(&mut header, group_mac(to), station(1), EtherType::IPV6);
    [&header[..], &ip.to_bytes(), &message, &target].concat()
}

fn ask(n: u8, from: &str, target: &str) -> [u8; FRAME_LEN] {
    let group = solicited_node(v6(target));
    solicitation((station(n), v6(from)), v6(target), (group_mac(group), group))
}

/// What station `n` says of fd00::2, to us or to all.
fn tell(n: u8, is_solicited: bool, overrides: bool) -> [u8; FRAME_LEN] {
    let said =
        Advertisement { mac: station(n), address: v6("fd00::2"), is_router: false, is_solicited, overrides };
    let ours = link_local(MACS[0]);
    said.frame(if is_solicited { (MACS[0], ours) } else { (group_mac(ALL_NODES), ALL_NODES) })
}

impl Rig {
    fn nd(&mut self, frame: &[u8]) -> Vec<(DeviceId, Vec<u8>)> {
        self.sent(HERE, PuntReason::Local, frame)
    }

    /// fd00::2 is station 2, and has answered.
    fn with_neighbor() -> Self {
        let mut rig = Self::new();
        let frame = udp("fd01::9", "fd00::2", 9, b"waits");
        let asked = rig.sent(THERE, PuntReason::Unresolved, &frame);
        let group = solicited_node(v6("fd00::2"));
        let ours = (MACS[0], link_local(MACS[0]));
        let expected = solicitation(ours, v6("fd00::2"), (group_mac(group), group));
        assert_eq!(asked, [(HERE, expected.to_vec())]);
        let outputs = rig.hear(HERE, PuntReason::Local, &tell(2, true, true));
        assert_eq!(outputs, [Output::Receive { device: THERE, frame }]);
        assert_eq!((rig.state("fd00::2"), rig.knows("fd00::2")), (Some(Nud::Reachable), Some(station(2))));
        rig
    }
}

/// The flags of an advertisement: router, solicited, override.
fn flags(frame: &[u8]) -> [bool; 3] {
    let said = read(frame).3.icmpv6().unwrap().icmp_type;
    let Icmpv6Type::NeighborAdvertisement(said) = said else { panic!("{said:?}") };
    [said.router, said.solicited, said.r#override]
}

#[test]
fn link_local_address_is_that_of_the_station() {
    assert_eq!(link_local("34:56:78:9a:bc:de".parse().unwrap()), v6("fe80::3656:78ff:fe9a:bcde"));
    let rig = Rig::new();
    let found =
        rig.router.local_addresses().filter(|it| it.1 == ip("fe80::ff:fe00:aa00")).collect::<Vec<_>>();
    assert_eq!(found, [(HERE, ip("fe80::ff:fe00:aa00"), 64)]);
}

#[test]
fn solicitations_for_addresses_of_the_device_are_answered_and_who_asks_is_learned() {
    let mut rig = Rig::new();
    let answers = rig.nd(&ask(1, "fd00::9", "fd00::1"));
    let [(HERE, answer)] = &answers[..] else { panic!("{answers:?}") };
    let (stations, addresses, hop_limit, ..) = read(answer);
    assert_eq!(stations, [station(1), MACS[0]]);
    assert_eq!((addresses, hop_limit), ([ip("fd00::1"), ip("fd00::9")], 255));
    assert_eq!(flags(answer), [true, true, true]);
    let view = Neighbor::view(&answer[14..]).unwrap().unwrap();
    assert_eq!((view.target(), view.target_link_address()), (v6("fd00::1"), Ok(Some(MACS[0]))));
    assert_eq!((rig.state("fd00::9"), rig.knows("fd00::9")), (Some(Nud::Stale), Some(station(1))));
    // Another device's address is not here; and who asks for none of ours is not learned.
    assert_eq!(rig.nd(&ask(2, "fd00::8", "fd01::1")), []);
    assert_eq!(rig.state("fd00::8"), None);
}

#[test]
fn question_to_us_alone_overrides_nothing() {
    let mut rig = Rig::new();
    let frame = solicitation((station(1), v6("fd00::9")), v6("fd00::1"), (MACS[0], v6("fd00::1")));
    assert_eq!(flags(&rig.nd(&frame)[0].1), [true, true, false]);
    // Without a link-layer address it is answered, and teaches nothing.
    let mut rig = Rig::new();
    let frame = bare(Icmpv6Type::NeighborSolicitation, "fd00::9", v6("fd00::1"), "fd00::1", 255);
    assert_eq!(read(&rig.nd(&frame)[0].1).0[0], station(1));
    assert_eq!(rig.state("fd00::9"), None);
}

#[test]
fn probe_for_our_address_is_answered_to_all() {
    let mut rig = Rig::new();
    let group = solicited_node(v6("fd00::1"));
    let answers = rig.nd(&bare(Icmpv6Type::NeighborSolicitation, "::", group, "fd00::1", 255));
    let (stations, addresses, ..) = read(&answers[0].1);
    assert_eq!((stations[0], addresses[1]), (group_mac(ALL_NODES), ALL_NODES.into()));
    assert_eq!(flags(&answers[0].1), [true, false, true]);
    assert!(rig.router.view(rig.now).is_empty());
    // Not one to all nodes, nor one that has a link-layer address to tell.
    for frame in [
        bare(Icmpv6Type::NeighborSolicitation, "::", ALL_NODES, "fd00::1", 255),
        ask(1, "::", "fd00::1").to_vec(),
    ] {
        assert_eq!(rig.nd(&frame), []);
    }
    assert_eq!(rig.router.counters().malformed, 2);
}

#[test]
fn messages_that_passed_a_router_or_are_wrong_are_counted() {
    let mut rig = Rig::new();
    let group = solicited_node(v6("fd00::1"));
    let mut flipped = ask(1, "fd00::9", "fd00::1").to_vec();
    flipped[80] ^= 1;
    let solicited = NeighborAdvertisementHeader { router: false, solicited: true, r#override: true };
    let mut no_length = ask(1, "fd00::9", "fd00::1").to_vec();
    no_length[79] = 0;
    // One less in a word is one more in the checksum.
    let checksum = u16::from_be_bytes([no_length[56], no_length[57]]) + 1;
    no_length[56..58].copy_from_slice(&checksum.to_be_bytes());
    for (frame, n) in [
        bare(Icmpv6Type::NeighborSolicitation, "fd00::9", group, "fd00::1", 254),
        bare(Icmpv6Type::NeighborSolicitation, "fd00::9", group, "ff02::1", 255),
        bare(Icmpv6Type::NeighborAdvertisement(solicited), "fd00::9", ALL_NODES, "fd00::9", 255),
        solicitation((MacAddr::BROADCAST, v6("fd00::9")), v6("fd00::1"), (MACS[0], v6("fd00::1"))).to_vec(),
        flipped,
        no_length,
    ]
    .iter()
    .zip(1..)
    {
        assert_eq!((rig.nd(frame), rig.router.counters().malformed), (vec![], n));
    }
    assert!(rig.router.view(rig.now).is_empty());
}

#[test]
fn advertisement_that_overrides_replaces_and_another_only_raises_doubt() {
    let mut rig = Rig::with_neighbor();
    rig.nd(&tell(3, true, false));
    assert_eq!((rig.state("fd00::2"), rig.knows("fd00::2")), (Some(Nud::Stale), Some(station(2))));
    rig.nd(&tell(3, true, false));
    assert_eq!((rig.state("fd00::2"), rig.knows("fd00::2")), (Some(Nud::Stale), Some(station(2))));
    rig.nd(&tell(3, true, true));
    assert_eq!((rig.state("fd00::2"), rig.knows("fd00::2")), (Some(Nud::Reachable), Some(station(3))));
    rig.nd(&tell(4, false, true));
    assert_eq!((rig.state("fd00::2"), rig.knows("fd00::2")), (Some(Nud::Stale), Some(station(4))));
    // The same that is known, confirmed or not.
    rig.nd(&tell(4, true, false));
    assert_eq!(rig.state("fd00::2"), Some(Nud::Reachable));
    rig.nd(&tell(4, false, false));
    assert_eq!(rig.state("fd00::2"), Some(Nud::Reachable));
}

#[test]
fn doubt_about_one_that_is_asked_already_changes_nothing() {
    let mut rig = Rig::with_neighbor();
    rig.nd(&tell(2, false, true));
    rig.until("fd00::2", Nud::Probe);
    rig.nd(&tell(3, true, false));
    assert_eq!((rig.state("fd00::2"), rig.knows("fd00::2")), (Some(Nud::Probe), Some(station(2))));
    rig.wait(SECOND * 3);
    assert_eq!(rig.state("fd00::2"), Some(Nud::Failed));
    // An advertisement that nobody asked for does not raise it again.
    rig.nd(&tell(2, true, true));
    assert_eq!(rig.state("fd00::2"), Some(Nud::Failed));
}

#[test]
fn advertisement_without_address_confirms_what_is_known_and_teaches_nothing_else() {
    let solicited = NeighborAdvertisementHeader { router: false, solicited: true, r#override: false };
    let kind = Icmpv6Type::NeighborAdvertisement(solicited);
    let frame = bare(kind, "fd00::2", v6("fd00::1"), "fd00::2", 255);
    let mut rig = Rig::with_neighbor();
    rig.nd(&tell(4, false, true));
    assert_eq!(rig.state("fd00::2"), Some(Nud::Stale));
    rig.nd(&frame);
    assert_eq!((rig.state("fd00::2"), rig.knows("fd00::2")), (Some(Nud::Reachable), Some(station(4))));
    let mut rig = Rig::new();
    rig.sent(THERE, PuntReason::Unresolved, &udp("fd01::9", "fd00::2", 9, b""));
    rig.nd(&frame);
    assert_eq!(rig.state("fd00::2"), Some(Nud::Incomplete));
}

#[test]
fn another_station_with_our_address_is_told_of() {
    let mut rig = Rig::new();
    let said = Advertisement {
        mac: station(1),
        address: v6("fd00::1"),
        is_router: false,
        is_solicited: false,
        overrides: true,
    };
    assert_eq!(rig.nd(&said.frame((group_mac(ALL_NODES), ALL_NODES))), []);
    assert_eq!(rig.nd(&ask(1, "fd00::1", "fe80::ff:fe00:aa00")), []);
    assert_eq!(rig.router.counters().conflicts, 2);
    let conflict = Notice::Conflict { device: HERE, address: ip("fd00::1"), mac: station(1) };
    assert_eq!(rig.router.notices(), [conflict]);
    assert!(rig.router.view(rig.now).is_empty());
}

#[test]
fn addresses_are_announced_to_all_nodes() {
    let mut rig = Rig { router: Router::new(), routing: Routing::default(), now: Duration::ZERO };
    rig.set(setting());
    let outputs = rig.wait(TICK).into_iter().map(|(_, output)| sent(output));
    let is_told = |frame: &[u8]| frame[..6] == group_mac(ALL_NODES).octets();
    let told: Vec<_> = outputs.filter(|(device, frame)| *device == HERE && is_told(frame)).collect();
    for ((_, frame), address) in told.iter().zip(["fd00::1", "fe80::ff:fe00:aa00"]) {
        let (stations, addresses, hop_limit, ..) = read(frame);
        assert_eq!((stations, hop_limit), ([group_mac(ALL_NODES), MACS[0]], 255));
        assert_eq!(addresses, [ip(address), ALL_NODES.into()]);
        assert_eq!(flags(frame), [true, false, true]);
    }
    assert_eq!(told.len(), 2);
}
