//! Whether others have our IPv6 addresses already: asked before they are used, and by others of us.

use rigswitch_dataplane::wire::arp;
use rigswitch_dataplane::wire::neighbor::{
    Advertisement, Neighbor, group_mac, probe, solicitation, solicited_node,
};

use super::*;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const NEAR: &str = "fe80::ff:fe00:aa00";

impl Rig {
    /// One that asks before it uses its addresses, and has just begun.
    fn careful() -> Self {
        let mut rig = Self { router: Router::new(), routing: Routing::default(), now: Duration::ZERO };
        rig.set(Setting { dad_transmits: 1, ..setting() });
        rig
    }

    fn unused(&self, address: &str) -> Option<Unused> {
        self.router.addresses().find(|it| it.1 == ip(address)).expect("it is ours").3
    }

    /// What is said about neighbours on device 0 meanwhile, and when.
    fn discovery(&mut self, time: Duration) -> Vec<(Duration, Ipv6Addr, Vec<u8>)> {
        let outputs = self.wait(time).into_iter().map(|(at, output)| (at, sent(output)));
        let here = outputs.filter(|(_, (device, frame))| *device == HERE && frame[12..14] == [0x86, 0xdd]);
        let told = here.filter_map(|(at, (_, frame))| {
            let target = Neighbor::view(&frame[14..]).ok()??.target();
            Some((at, target, frame))
        });
        told.collect()
    }
}

/// Station 1 asks whether anybody has an address.
fn wanted(address: &str) -> Vec<u8> {
    let group = solicited_node(v6(address));
    probe(station(1), v6(address), group_mac(group), group).to_vec()
}

/// Station 1 says that it has it.
fn had(address: &str) -> Vec<u8> {
    let said = Advertisement {
        mac: station(1),
        address: v6(address),
        is_router: false,
        is_solicited: false,
        overrides: true,
    };
    said.frame((group_mac(ALL_NODES), ALL_NODES)).to_vec()
}

/// Station 1, at fd00::9, asks for the link-layer address.
fn asked(address: &str) -> Vec<u8> {
    let group = solicited_node(v6(address));
    solicitation((station(1), v6("fd00::9")), v6(address), (group_mac(group), group)).to_vec()
}

#[test]
fn an_address_is_asked_for_once_and_used_and_announced_a_second_later() {
    let mut rig = Rig::careful();
    for address in ["fd00::1", NEAR] {
        assert_eq!(rig.unused(address), Some(Unused::Tentative));
    }
    assert_eq!(rig.unused("10.0.0.1"), None, "IPv4 has no such state");
    let told = rig.discovery(SECOND * 4);
    for address in ["fd00::1", NEAR] {
        let of: Vec<_> = told.iter().filter(|(_, target, _)| *target == v6(address)).collect();
        let [(asked, _, question), (announced, _, news)] = &of[..] else { panic!("{of:?}") };
        let group = solicited_node(v6(address));
        assert_eq!(*question, probe(MACS[0], v6(address), group_mac(group), group));
        let (stations, addresses, hop_limit, transport, _) = read(question);
        assert_eq!((stations, hop_limit), ([group_mac(group), MACS[0]], 255));
        assert_eq!(addresses, [ip("::"), group.into()]);
        assert!(transport.icmpv6().is_some());
        assert!(*asked <= SECOND + TICK, "it waits for a second at most");
        assert!((SECOND..=SECOND + TICK).contains(&(*announced - *asked)), "{asked:?} {announced:?}");
        let said = Advertisement {
            mac: MACS[0],
            address: v6(address),
            is_router: true,
            is_solicited: false,
            overrides: true,
        };
        assert_eq!(*news, said.frame((group_mac(ALL_NODES), ALL_NODES)));
        assert_eq!(rig.unused(address), None);
    }
    // Not all at the same time.
    let first: BTreeSet<_> = told.iter().map(|(at, ..)| *at).collect();
    assert!(first.len() > 2, "{first:?}");
}

#[test]
fn until_then_it_is_nobodys() {
    let mut rig = Rig::careful();
    // Neither answered for, nor spoken from: the neighbour is asked for when there is an address to ask from.
    assert_eq!(rig.hear(HERE, PuntReason::Local, &asked("fd00::1")), []);
    let waits = udp("fd01::9", "fd00::2", 9, b"waits");
    assert_eq!(rig.hear(THERE, PuntReason::Unresolved, &waits), []);
    assert_eq!(rig.state("fd00::2"), Some(Nud::Incomplete));
    let told = rig.discovery(SECOND * 4);
    let question = told.iter().find(|(_, target, _)| *target == v6("fd00::2")).expect("it is asked for");
    assert_eq!(read(&question.2).1[0], ip(NEAR));
    let answers: Vec<_> =
        rig.hear(HERE, PuntReason::Local, &asked("fd00::1")).into_iter().map(sent).collect();
    assert_eq!(read(&answers[0].1).1, [ip("fd00::1"), ip("fd00::9")]);
    assert_eq!(rig.router.counters().conflicts, 0);
}

#[test]
fn who_has_it_keeps_it_and_who_wants_it_too_spoils_it_for_both() {
    for frame in [had("fd00::1"), wanted("fd00::1")] {
        let mut rig = Rig::careful();
        rig.wait(SECOND / 2);
        rig.hear(HERE, PuntReason::Local, &frame);
        assert_eq!(
            [rig.unused("fd00::1"), rig.unused(NEAR)],
            [Some(Unused::Duplicate), Some(Unused::Tentative)]
        );
        let (device, address, mac) = (HERE, v6("fd00::1"), station(1));
        assert_eq!(rig.router.notices(), [Notice::Duplicate { device, address, mac }]);
        // It stays so, and is told once.
        rig.hear(HERE, PuntReason::Local, &frame);
        let told = rig.discovery(SECOND * 5);
        assert!(
            told.iter().all(|(_, target, frame)| *target == v6(NEAR) || frame[54] == 135),
            "no news of it"
        );
        assert_eq!(rig.hear(HERE, PuntReason::Local, &asked("fd00::1")), []);
        assert_eq!([rig.unused("fd00::1"), rig.unused(NEAR)], [Some(Unused::Duplicate), None]);
        assert_eq!((rig.router.notices(), rig.router.counters().conflicts), (vec![], 2));
        // Another link is another chance; and so is the address taken away and given again.
        let mut down = Setting { dad_transmits: 1, ..setting() };
        down.devices[0].is_up = false;
        rig.set(down);
        rig.set(Setting { dad_transmits: 1, ..setting() });
        assert_eq!(rig.unused("fd00::1"), Some(Unused::Tentative));
        rig.wait(SECOND * 4);
        assert_eq!(rig.unused("fd00::1"), None);
    }
}

#[test]
fn what_is_about_others_or_from_us_spoils_nothing() {
    let mut rig = Rig::careful();
    let group = solicited_node(v6("fd00::1"));
    // Our own question, come back; an address of another device; who only wants to talk to it.
    let own = probe(MACS[1], v6("fd00::1"), group_mac(group), group).to_vec();
    for (device, frame) in
        [(HERE, own), (THERE, had("fd00::1")), (HERE, had("fd01::1")), (HERE, asked("fd00::1"))]
    {
        rig.hear(device, PuntReason::Local, &frame);
    }
    rig.wait(SECOND * 4);
    assert_eq!([rig.unused("fd00::1"), rig.unused("fd01::1"), rig.unused(NEAR)], [None; 3]);
    assert!(rig.router.notices().is_empty());
}

#[test]
fn an_address_that_is_used_is_defended_and_its_conflict_told() {
    let mut rig = Rig::careful();
    rig.wait(SECOND * 4);
    let answers: Vec<_> =
        rig.hear(HERE, PuntReason::Local, &wanted("fd00::1")).into_iter().map(sent).collect();
    assert_eq!(read(&answers[0].1).1, [ip("fd00::1"), ALL_NODES.into()]);
    assert_eq!(rig.hear(HERE, PuntReason::Local, &had("fd00::1")), []);
    let conflict = |address| Notice::Conflict { device: HERE, address: ip(address), mac: station(1) };
    assert_eq!(rig.router.notices(), [conflict("fd00::1")]);
    assert_eq!(rig.unused("fd00::1"), None, "who was here first stays");
    // The same of IPv4.
    let claim = arp::request((station(1), v4("10.0.0.1")), v4("10.0.0.1"), MacAddr::BROADCAST);
    assert_eq!(rig.hear(HERE, PuntReason::Arp, &claim), []);
    assert_eq!((rig.router.notices(), rig.router.counters().conflicts), (vec![conflict("10.0.0.1")], 2));
}

#[test]
fn a_device_without_neighbors_asks_nobody_and_nothing_is_asked_where_that_is_off() {
    let mut rig = Rig::careful();
    let mut tunnel = Setting { dad_transmits: 1, ..setting() };
    tunnel.devices[0].has_neighbors = false;
    rig.set(tunnel);
    assert_eq!(rig.unused("fd00::1"), None);
    assert_eq!(rig.discovery(SECOND * 3), []);
    let mut rig = Rig::careful();
    rig.set(setting());
    assert_eq!(rig.unused("fd00::1"), None);
}

#[test]
fn two_that_begin_at_once_with_one_address_find_each_other() {
    let mut rigs = [Rig::careful(), Rig::careful()];
    // The second has other stations.
    let mut other = Setting { dad_transmits: 1, ..setting() };
    other.devices[0].mac = station(1);
    rigs[1] = Rig { router: Router::new(), routing: Routing::default(), now: Duration::ZERO };
    rigs[1].set(other);
    for _ in 0..40 {
        let said: Vec<Vec<_>> = rigs.iter_mut().map(|rig| rig.wait(TICK)).collect();
        for (to, said) in [(1, &said[0]), (0, &said[1])] {
            for (_, output) in said {
                let (device, frame) = sent(output.clone());
                if device == HERE && frame[12..14] == [0x86, 0xdd] && matches!(frame[54], 135 | 136) {
                    rigs[to].hear(HERE, PuntReason::Local, &frame);
                }
            }
        }
    }
    // Whoever asked first has told the other, which has been asking or was about to.
    let unused = rigs.each_ref().map(|rig| rig.unused("fd00::1"));
    assert!(unused.contains(&Some(Unused::Duplicate)), "{unused:?}");
    assert!(unused.iter().all(|why| *why != Some(Unused::Tentative)), "{unused:?}");
}
