//! Neighbours over time: when they are asked, believed and given up, and what is held for them meanwhile.

use rigswitch_dataplane::wire::arp::{self, Arp};

use super::super::held::Waiting;
use super::super::neighbors::MOST;
use super::*;

/// Who is asked for `address` from device 0, and when.
fn asks(outputs: &[(Duration, Output)], address: &str) -> Vec<(Duration, MacAddr)> {
    let ask = |(at, output): &(Duration, Output)| {
        let Output::Send { device: HERE, frame } = output else { return None };
        let message = Arp::view(frame.get(14..)?).ok()?;
        let to = MacAddr::new(*frame.first_chunk()?);
        (message.target_address() == v4(address)).then_some((*at, to))
    };
    outputs.iter().filter_map(ask).collect()
}

impl Rig {
    fn passing(&mut self, destination: &str) -> Vec<Output> {
        self.hear(THERE, PuntReason::Unresolved, &udp("10.0.1.9", destination, 9, b"waits"))
    }

    fn answer(&mut self, n: u8, address: &str) -> Vec<Output> {
        let ours = (MACS[0], v4("10.0.0.1"));
        let request = arp::request(ours, v4(address), MacAddr::BROADCAST);
        self.hear(HERE, PuntReason::Arp, &Arp::view(&request[14..]).unwrap().reply(station(n)))
    }

    /// Station 2 asks for our address, and is heard of so.
    fn asked(&mut self) {
        let request = arp::request((station(2), v4("10.0.0.2")), v4("10.0.0.1"), MacAddr::BROADCAST);
        self.hear(HERE, PuntReason::Arp, &request);
    }
}

#[test]
fn who_does_not_answer_is_asked_for_three_times_and_then_its_callers_are_told() {
    let mut rig = Rig::new();
    rig.asked();
    // The one that waits comes from station 2, which is known.
    let frame = udp("10.0.0.2", "10.0.1.7", 9, b"waits");
    let start = rig.now;
    let first = rig.sent(HERE, PuntReason::Unresolved, &frame);
    let question = arp::request((MACS[1], v4("10.0.1.1")), v4("10.0.1.7"), MacAddr::BROADCAST).to_vec();
    assert_eq!(first, [(THERE, question.clone())]);
    let outputs = rig.wait(SECOND * 3);
    let again: Vec<_> =
        outputs.iter().filter(|it| it.1 == Output::Send { device: THERE, frame: question.clone() }).collect();
    assert_eq!(again.iter().map(|it| it.0 - start).collect::<Vec<_>>(), [SECOND, SECOND * 2]);
    let (at, told) = outputs.last().unwrap();
    assert_eq!(*at - start, SECOND * 3);
    let (device, told) = sent(told.clone());
    let (stations, addresses, ..) = read(&told);
    assert_eq!((device, stations), (HERE, [station(2), MACS[0]]));
    assert_eq!(addresses, [ip("10.0.0.1"), ip("10.0.0.2")]);
    assert_eq!(rig.state("10.0.1.7"), Some(Nud::Failed));
    assert_eq!((rig.router.counters().failed, rig.router.held()), (1, (0, 0)));
    // Whoever wants it again starts anew; else it is forgotten.
    assert_eq!(rig.hear(HERE, PuntReason::Unresolved, &frame).len(), 1);
    assert_eq!(rig.state("10.0.1.7"), Some(Nud::Incomplete));
    rig.wait(SECOND * 3);
    assert_eq!(rig.state("10.0.1.7"), Some(Nud::Failed));
    rig.wait(SECOND * 60);
    assert_eq!(rig.state("10.0.1.7"), None);
}

#[test]
fn reachable_one_is_believed_for_a_while_and_then_asked_itself() {
    let mut spread = BTreeSet::new();
    let mut rig = Rig::new();
    for n in 2..40 {
        let address = format!("10.0.0.{n}");
        rig.passing(&address);
        rig.answer(n, &address);
        assert_eq!(rig.state(&address), Some(Nud::Reachable));
        let believed = rig.until(&address, Nud::Delay);
        assert!((SECOND * 15..=SECOND * 45 + TICK).contains(&believed), "{believed:?}");
        spread.insert(believed);
        let start = rig.now;
        let outputs = rig.wait(SECOND * 5);
        assert_eq!(asks(&outputs, &address), [(start + SECOND * 5, station(n))]);
        assert_eq!((rig.state(&address), rig.knows(&address)), (Some(Nud::Probe), Some(station(n))));
        rig.answer(n, &address);
        assert_eq!(rig.state(&address), Some(Nud::Reachable));
    }
    assert!(spread.len() > 20, "{spread:?}");
}

#[test]
fn who_asks_us_is_believed_no_longer_for_that() {
    let mut rig = Rig::new();
    rig.passing("10.0.0.2");
    rig.answer(2, "10.0.0.2");
    let start = rig.now;
    while rig.state("10.0.0.2") == Some(Nud::Reachable) {
        rig.wait(TICK);
        rig.asked();
        assert!(rig.now - start <= SECOND * 45 + TICK);
    }
    // And what is not answered fails, whatever else it says.
    (0..80).for_each(|_| {
        rig.wait(TICK);
        rig.asked();
    });
    assert_eq!((rig.router.counters().failed, rig.state("10.0.0.2")), (1, Some(Nud::Stale)));
}

#[test]
fn address_that_becomes_ours_is_a_neighbor_no_more() {
    let mut rig = Rig::new();
    rig.asked();
    let mut more = setting();
    more.devices[0].addresses.push((ip("10.0.0.2"), 24));
    rig.set(more);
    assert_eq!((rig.state("10.0.0.2"), rig.router.neighbors().count()), (None, 0));
}

#[test]
fn who_is_only_heard_of_is_asked_soon_and_goes_if_it_does_not_answer() {
    let mut rig = Rig::new();
    rig.asked();
    let (start, before) = (rig.now, rig.router.generation());
    let outputs = rig.wait(SECOND * 8 - TICK);
    let times = [5, 6, 7].map(|n| (start + SECOND * n, station(2)));
    assert_eq!(asks(&outputs, "10.0.0.2"), times);
    assert_eq!((rig.knows("10.0.0.2"), rig.router.generation()), (Some(station(2)), before));
    rig.wait(TICK);
    assert_eq!((rig.state("10.0.0.2"), rig.knows("10.0.0.2")), (Some(Nud::Failed), None));
    assert_ne!(rig.router.generation(), before);
    assert_eq!(rig.router.view(rig.now)[0].mac, None);
}

#[test]
fn steady_neighbors_change_no_generation() {
    let mut rig = Rig::new();
    rig.asked();
    let before = rig.router.generation();
    for _ in 0..3000 {
        for (_, to) in asks(&rig.wait(TICK), "10.0.0.2") {
            assert_eq!(to, station(2));
            rig.answer(2, "10.0.0.2");
        }
        assert_eq!((rig.router.generation(), rig.knows("10.0.0.2")), (before, Some(station(2))));
    }
}

#[test]
fn permanent_ones_are_neither_asked_nor_changed() {
    let mut rig = Rig::new();
    rig.passing("10.0.0.2");
    let mut fixed = setting();
    fixed.fixed = vec![(HERE, ip("10.0.0.2"), station(9))];
    rig.set(fixed.clone());
    // What was held goes to it.
    let held: Vec<_> = rig.router.outputs().collect();
    let waits = udp("10.0.1.9", "10.0.0.2", 9, b"waits");
    assert_eq!(held, [Output::Receive { device: THERE, frame: waits.clone() }]);
    let before = rig.router.generation();
    rig.asked();
    assert_eq!(asks(&rig.wait(SECOND * 100), "10.0.0.2"), []);
    assert_eq!((rig.state("10.0.0.2"), rig.knows("10.0.0.2")), (Some(Nud::Permanent), Some(station(9))));
    assert_eq!(rig.passing("10.0.0.2"), [Output::Receive { device: THERE, frame: waits }]);
    assert_eq!(rig.router.flush(None, None), 0);
    rig.set(fixed);
    assert_eq!(rig.router.generation(), before);
    rig.set(setting());
    assert_ne!(rig.router.generation(), before);
    assert_eq!(rig.knows("10.0.0.2"), None);
}

#[test]
fn one_neighbor_has_the_last_101_and_all_together_4096() {
    let mut rig = Rig::new();
    let frame = |n: u32| udp("10.0.1.9", "10.0.0.2", 9, &n.to_be_bytes());
    (0..150).for_each(|n| drop(rig.hear(THERE, PuntReason::Unresolved, &frame(n))));
    assert_eq!((rig.router.held().0, rig.router.counters().held_dropped), (101, 49));
    let outputs = rig.answer(2, "10.0.0.2");
    let expected: Vec<_> = (49..150).map(|n| Output::Receive { device: THERE, frame: frame(n) }).collect();
    assert_eq!(outputs, expected);
    for n in 0..100u32 {
        let to = format!("10.0.0.{}", 100 + n);
        (0..50).for_each(|_| drop(rig.passing(&to)));
    }
    assert_eq!(
        (rig.router.held().0, rig.router.counters().held_dropped),
        (Waiting::FRAMES, 49 + 5000 - 4096)
    );
    // The oldest went: all of the first eighteen, and some of the next.
    assert_eq!(rig.answer(2, "10.0.0.117").len(), 0);
    assert_eq!(rig.answer(2, "10.0.0.118").len(), 46);
    assert_eq!(rig.answer(2, "10.0.0.119").len(), 50);
}

#[test]
fn held_frames_have_eight_mebibytes() {
    let mut rig = Rig::new();
    let frame = udp("10.0.1.9", "10.0.0.2", 9, &[0; 60_000]);
    for n in 0..3 {
        let destination = format!("10.0.0.{}", 2 + n);
        let frame = udp("10.0.1.9", &destination, 9, &[0; 60_000]);
        (0..101).for_each(|_| drop(rig.hear(THERE, PuntReason::Unresolved, &frame)));
    }
    let (count, bytes) = rig.router.held();
    assert_eq!((count, bytes), (Waiting::BYTES / frame.len(), count * frame.len()));
}

#[test]
fn storm_for_a_hundred_thousand_addresses_is_bounded_and_others_are_still_found() {
    let mut rig = Rig::new();
    let mut wide = setting();
    wide.devices[0].addresses[0] = (ip("10.0.0.1"), 8);
    rig.set(wide);
    for n in 0..100_000u32 {
        let to = Ipv4Addr::from_bits(0x0a40_0000 + n).to_string();
        rig.passing(&to);
        assert!(rig.router.view(rig.now).len() <= MOST || n % 1000 != 0);
    }
    assert!(rig.router.view(rig.now).len() <= MOST);
    assert!(rig.router.held().0 <= MOST);
    assert!(rig.router.counters().evicted > 98_000);
    rig.passing("10.0.0.2");
    assert_eq!(rig.answer(2, "10.0.0.2").len(), 1);
    assert_eq!(rig.state("10.0.0.2"), Some(Nud::Reachable));
    // It stays, for it has answered.
    for n in 0..5000u32 {
        rig.passing(&Ipv4Addr::from_bits(0x0a50_0000 + n).to_string());
    }
    assert_eq!(rig.state("10.0.0.2"), Some(Nud::Reachable));
}

#[test]
fn storm_from_a_hundred_thousand_addresses_is_bounded_and_drives_nobody_out() {
    let mut rig = Rig::new();
    rig.passing("10.0.0.2");
    rig.answer(2, "10.0.0.2");
    rig.passing("10.0.0.3");
    for n in 0..100_000u32 {
        let from = Ipv4Addr::from_bits(0x0a40_0000 + n);
        let request = arp::request((station(7), from), v4("10.0.0.1"), MacAddr::BROADCAST);
        // Each is answered, learned or not.
        assert_eq!(rig.hear(HERE, PuntReason::Arp, &request).len(), 1);
    }
    assert_eq!(rig.router.view(rig.now).len(), MOST);
    assert_eq!(rig.router.counters().refused, 100_000 + 2 - MOST as u64);
    assert_eq!((rig.state("10.0.0.2"), rig.state("10.0.0.3")), (Some(Nud::Reachable), Some(Nud::Incomplete)));
    // Those that are wanted come first.
    rig.passing("10.0.0.4");
    assert_eq!(rig.state("10.0.0.4"), Some(Nud::Incomplete));
    // Those of the storm do not answer, and are gone in time.
    rig.wait(SECOND * 90);
    assert!(rig.router.view(rig.now).len() < 3);
}

#[test]
fn what_a_device_has_taught_goes_with_it_and_other_devices_keep_theirs() {
    let mut rig = Rig::new();
    rig.asked();
    rig.passing("10.0.0.3");
    rig.hear(HERE, PuntReason::Unresolved, &udp("10.0.0.9", "10.0.1.2", 9, b""));
    let before = rig.router.generation();
    let mut same = setting();
    same.devices[0].addresses.push((ip("10.0.9.1"), 24));
    same.devices[0].mtu = 1300;
    rig.set(same);
    assert_eq!((rig.state("10.0.0.2"), rig.router.generation()), (Some(Nud::Stale), before));
    let mut other = setting();
    other.devices[0].mac = station(0x77);
    rig.set(other);
    assert_eq!((rig.state("10.0.0.2"), rig.state("10.0.1.2")), (None, Some(Nud::Incomplete)));
    assert_ne!(rig.router.generation(), before);
    assert_eq!((rig.router.counters().held_dropped, rig.router.held().0), (1, 1));
}

#[test]
fn device_without_neighbors_has_none() {
    let mut rig = Rig::new();
    let mut tunnel = setting();
    tunnel.devices[0].has_neighbors = false;
    rig.set(tunnel);
    rig.asked();
    assert_eq!(rig.passing("10.0.0.3"), []);
    assert!(rig.router.view(rig.now).is_empty() && rig.router.counters().ignored == 2);
}

#[test]
fn flush_forgets_what_it_names() {
    let mut rig = Rig::new();
    let prepare = |rig: &mut Rig| {
        rig.asked();
        rig.passing("10.0.0.3");
        rig.hear(HERE, PuntReason::Unresolved, &udp("10.0.0.9", "10.0.1.2", 9, b""));
    };
    prepare(&mut rig);
    assert_eq!(rig.router.flush(Some(THERE), None), 1);
    assert_eq!(rig.router.flush(None, Some(ip("10.0.0.3"))), 1);
    assert_eq!((rig.state("10.0.0.2"), rig.router.view(rig.now).len()), (Some(Nud::Stale), 1));
    assert_eq!(rig.router.flush(Some(THERE), Some(ip("10.0.0.2"))), 0);
    prepare(&mut rig);
    assert_eq!((rig.router.flush(None, None), rig.router.held().0), (3, 0));
    assert_eq!(rig.router.neighbors().count(), 0);
}

#[test]
fn view_says_how_long_it_has_been_so() {
    let mut rig = Rig::new();
    rig.asked();
    rig.wait(SECOND * 2);
    let expected = NeighborState {
        device: HERE,
        address: ip("10.0.0.2"),
        mac: Some(station(2)),
        state: Nud::Stale,
        age: SECOND * 2,
    };
    assert_eq!(rig.router.view(rig.now), [expected]);
    rig.answer(2, "10.0.0.2");
    rig.wait(SECOND * 3);
    rig.answer(2, "10.0.0.2");
    rig.wait(SECOND);
    assert_eq!(rig.router.view(rig.now), [NeighborState { state: Nud::Reachable, age: SECOND, ..expected }]);
    assert_eq!(expected.state.word(), "STALE");
}
