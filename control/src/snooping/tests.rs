//! A bridge of three ports, told what happens: who gets what, and until when.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rigswitch_dataplane::tables::Path;
use rigswitch_dataplane::wire::mld;
use rigswitch_dataplane::wire::multicast::{Message, Multicast};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const ADDRESS: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0xfe]);
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

struct Bridge {
    snooping: Snooping,
    now: Duration,
}

fn group(n: u8) -> Group {
    Group::Ip(Ipv4Addr::new(239, 1, 1, n).into())
}

/// The same, where there are no VLANs.
fn of(n: u8) -> GroupIn {
    GroupIn { group: group(n), vlan: None }
}

fn station(n: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, n])
}

impl Bridge {
    fn new(setup: MulticastConfig, port: MulticastPort) -> Self {
        let mut snooping = Snooping::new(setup, ADDRESS, false, Duration::ZERO);
        (0..3).for_each(|id| snooping.set_port(DeviceId(id), port, PortState::Forwarding, Duration::ZERO));
        Self { snooping, now: Duration::ZERO }
    }

    fn wait(&mut self, time: Duration) -> Vec<Query> {
        let until = self.now + time;
        let mut queries = Vec::new();
        while self.now < until {
            self.now += Duration::from_millis(100);
            queries.extend(self.snooping.tick(self.now));
        }
        queries
    }

    fn say(&mut self, port: u16, station: MacAddr, said: Message<'_>) {
        self.say_in(None, port, station, said);
    }

    fn say_in(&mut self, vlan: Option<VlanId>, port: u16, station: MacAddr, said: Message<'_>) {
        let place = Place { device: DeviceId(port), vlan };
        self.snooping.hear_message(place, station, true, &said, self.now);
    }

    fn join(&mut self, port: u16, n: u8) {
        self.say(port, station(n), Message::Join(group(1)));
    }

    fn leave(&mut self, port: u16, n: u8) {
        self.say(port, station(n), Message::Leave(group(1)));
    }

    fn query(&mut self, port: u16, about: Option<Group>) {
        self.say(port, station(9), Message::Query { group: about, response: SECOND, querier: ROUTER });
    }

    /// The ports that have what is for the first group; nothing while it is flooded.
    fn to(&self) -> Option<Vec<u16>> {
        self.to_in(None)
    }

    /// The same in a VLAN.
    fn to_in(&self, vlan: Option<VlanId>) -> Option<Vec<u16>> {
        let mdbs = self.snooping.compile();
        let mdb = mdbs.of(vlan);
        let targets = mdb.groups.get(&group(1)).map_or(&*mdb.ipv4.routers, |targets| targets);
        mdb.ipv4.has_querier.then(|| targets.iter().map(|target| target.device.0).collect())
    }
}

/// A bridge with a router behind port 0 that has asked, and has had its answers.
fn with_router(port: MulticastPort) -> Bridge {
    let mut bridge = Bridge::new(MulticastConfig::default(), port);
    bridge.query(0, None);
    bridge.wait(SECOND);
    bridge
}

#[test]
fn without_a_querier_groups_are_flooded_and_with_one_not() {
    let mut bridge = Bridge::new(MulticastConfig::default(), MulticastPort::default());
    bridge.join(1, 1);
    assert_eq!(bridge.to(), None);
    bridge.query(0, None);
    assert_eq!(bridge.to(), None, "hosts have had no time to answer");
    bridge.wait(SECOND);
    assert_eq!(bridge.to(), Some(vec![0, 1]));
    bridge.wait(MulticastConfig::default().querier_interval);
    assert_eq!(bridge.to(), None);
}

#[test]
fn that_hosts_have_had_their_time_is_news_whatever_is_heard_just_then() {
    let mut bridge = Bridge::new(MulticastConfig::default(), MulticastPort::default());
    bridge.join(1, 1);
    bridge.query(0, None);
    assert!(bridge.snooping.news().is_some());
    bridge.now += SECOND;
    bridge.join(1, 1);
    bridge.snooping.tick(bridge.now);
    let told = bridge.snooping.news().flatten().expect("groups are no longer flooded");
    assert!(told.of(None).ipv4.has_querier);
}

#[test]
fn a_station_is_a_member_until_it_leaves_or_is_silent_for_long() {
    let mut bridge = with_router(MulticastPort::default());
    bridge.join(1, 1);
    bridge.leave(1, 1);
    bridge.wait(SECOND * 5);
    assert_eq!(bridge.to(), Some(vec![0, 1]), "the querier is to ask");
    bridge.query(0, Some(group(1)));
    bridge.wait(SECOND);
    bridge.join(1, 1);
    bridge.wait(SECOND * 5);
    assert_eq!(bridge.to(), Some(vec![0, 1]), "somebody has answered");
    bridge.query(0, Some(group(1)));
    bridge.wait(SECOND * 2);
    assert_eq!(bridge.to(), Some(vec![0]));
    bridge.join(1, 1);
    for _ in 0..3 {
        bridge.wait(SECOND * 100);
        bridge.query(0, None);
    }
    assert_eq!(bridge.to(), Some(vec![0]));
}

#[test]
fn who_leaves_fast_is_gone_at_once_and_with_copies_of_their_own_the_others_stay() {
    let port = MulticastPort { fast_leave: true, to_unicast: true, ..MulticastPort::default() };
    let mut bridge = with_router(port);
    [1, 2].into_iter().for_each(|n| bridge.join(1, n));
    assert_eq!(bridge.to(), Some(vec![0, 1, 1]));
    bridge.leave(1, 1);
    let mdb = bridge.snooping.compile();
    let expected = Target { device: DeviceId(1), station: Some(station(2)) };
    assert_eq!(mdb.of(None).groups[&group(1)][1..], [expected]);
    bridge.leave(1, 2);
    assert_eq!(bridge.to(), Some(vec![0]));
}

#[test]
fn a_querier_asks_every_port_often_at_first_and_after_a_leave_until_another_does() {
    let mut bridge = Bridge::new(
        MulticastConfig { querier: true, ..MulticastConfig::default() },
        MulticastPort::default(),
    );
    let asked =
        |queries: &[Query]| queries.iter().filter(|query| query.ipv4 && query.device == DeviceId(2)).count();
    let queries = bridge.wait(SECOND * 32);
    assert_eq!(asked(&queries), 2);
    assert_eq!(asked(&bridge.wait(SECOND * 124)), 0);
    assert_eq!(asked(&bridge.wait(SECOND * 2)), 1);
    bridge.join(1, 1);
    assert_eq!(bridge.to(), Some(vec![1]));
    bridge.leave(1, 1);
    let [query] = bridge.wait(SECOND)[..] else { panic!("one query") };
    assert_eq!((query.device, query.group, query.response), (DeviceId(1), Some(group(1)), SECOND));
    bridge.wait(SECOND);
    assert_eq!(bridge.to(), Some(vec![]));
    bridge.query(0, None);
    let queries = bridge.wait(SECOND * 250);
    assert!(queries.iter().all(|query| !query.ipv4));
}

#[test]
fn routers_are_where_they_are_heard_or_said_to_be() {
    for (router, heard, expected) in [
        (RouterPort::Never, true, vec![]),
        (RouterPort::Learned, true, vec![0]),
        (RouterPort::Learned, false, vec![]),
        (RouterPort::Always, false, vec![0, 1, 2]),
    ] {
        let setup = MulticastConfig { querier: true, ..MulticastConfig::default() };
        let mut bridge = Bridge::new(setup, MulticastPort { router, ..MulticastPort::default() });
        bridge.wait(SECOND * 11);
        if heard {
            bridge.snooping.hear_router(DeviceId(0), true, bridge.now);
        }
        assert_eq!(bridge.to(), Some(expected));
    }
}

#[test]
fn what_is_set_for_ever_stays_and_a_port_that_goes_down_takes_the_rest_along() {
    let mut bridge = with_router(MulticastPort::default());
    let fixed = BTreeSet::from([(of(1), DeviceId(2))]);
    for _ in 0..2 {
        bridge.snooping.set_permanent(&fixed);
    }
    assert_eq!(bridge.snooping.notices(), [Notice::Joined(of(1), DeviceId(2))]);
    assert_eq!(bridge.snooping.admits(DeviceId(2), of(1), true), Err(Refusal::Joined));
    bridge.join(1, 1);
    bridge.join(2, 2);
    bridge.leave(2, 2);
    for id in [1, 2] {
        let port = MulticastPort::default();
        bridge.snooping.set_port(DeviceId(id), port, PortState::Disabled, bridge.now);
    }
    assert_eq!(bridge.to(), Some(vec![0, 2]));
    assert_eq!(bridge.snooping.admits(DeviceId(1), of(1), false), Err(Refusal::Down));
    bridge.snooping.set_permanent(&BTreeSet::new());
    assert_eq!(bridge.to(), Some(vec![0]));
}

#[test]
fn who_is_put_there_for_a_time_stays_for_that_time() {
    let mut bridge = with_router(MulticastPort::default());
    assert_eq!(bridge.snooping.admits(DeviceId(1), of(1), false), Ok(()));
    bridge.snooping.add(DeviceId(1), of(1), bridge.now);
    assert_eq!(bridge.to(), Some(vec![0, 1]));
    assert!(bridge.snooping.remove(DeviceId(1), of(1)));
    assert!(!bridge.snooping.remove(DeviceId(1), of(1)));
    bridge.snooping.add(DeviceId(1), of(1), bridge.now);
    bridge.wait(MulticastConfig::default().querier_interval - SECOND * 2);
    bridge.query(0, None);
    bridge.wait(SECOND * 8);
    assert_eq!(bridge.to(), Some(vec![0]));
}

#[test]
fn a_port_is_in_as_many_groups_as_it_may_be() {
    let mut bridge = with_router(MulticastPort { max_groups: 1, ..MulticastPort::default() });
    bridge.join(1, 1);
    bridge.say(1, station(1), Message::Join(group(2)));
    bridge.say(2, station(2), Message::Join(group(2)));
    let members: Vec<_> = bridge.snooping.members().map(|(of, member)| (of, member.device)).collect();
    assert_eq!(members, [(of(1), DeviceId(1)), (of(2), DeviceId(2))]);
    assert_eq!(bridge.snooping.admits(DeviceId(1), of(3), true), Err(Refusal::PortFull(1)));
    assert_eq!(*bridge.snooping.compile().of(None).full_ports, [DeviceId(1), DeviceId(2)]);
}

#[test]
fn of_ipv6_the_lowest_address_asks_and_of_ipv4_any_other() {
    let own = mld::link_local(ADDRESS);
    let lower = Ipv6Addr::from(u128::from(own) - 1);
    let higher = Ipv6Addr::from(u128::from(own) + 1);
    for (querier, gives_way) in [(IpAddr::V6(lower), true), (higher.into(), false), (ROUTER, true)] {
        let setup = MulticastConfig { querier: true, ..MulticastConfig::default() };
        let mut bridge = Bridge::new(setup, MulticastPort::default());
        let said = Message::Query { group: None, response: SECOND, querier };
        let place = Place { device: DeviceId(0), vlan: None };
        bridge.snooping.hear_message(place, station(9), querier.is_ipv4(), &said, bridge.now);
        let queries = bridge.wait(SECOND);
        let still_asks = queries.iter().any(|query| query.ipv4 == querier.is_ipv4());
        assert_eq!(still_asks, !gives_way, "{querier}");
        assert_eq!(bridge.snooping.routers().contains(&DeviceId(0)), gives_way, "{querier}");
    }
}

#[test]
fn when_the_other_querier_is_gone_this_one_asks_as_at_the_start() {
    let setup = MulticastConfig { querier: true, ..MulticastConfig::default() };
    let mut bridge = Bridge::new(setup, MulticastPort::default());
    bridge.query(0, None);
    let on_two = |query: &&Query| query.ipv4 && query.device == DeviceId(2);
    assert_eq!(bridge.wait(setup.querier_interval - SECOND).iter().filter(on_two).count(), 0);
    assert_eq!(bridge.wait(SECOND * 34).iter().filter(on_two).count(), 2);
}

#[test]
fn a_group_too_many_ends_snooping() {
    let mut bridge =
        Bridge::new(MulticastConfig { hash_max: 2, ..MulticastConfig::default() }, MulticastPort::default());
    bridge.query(0, None);
    assert!(bridge.snooping.news().unwrap().is_some());
    for n in 1..=3 {
        bridge.say(1, station(1), Message::Join(group(n)));
    }
    assert_eq!(bridge.snooping.news(), Some(None));
    assert_eq!(bridge.snooping.news(), None);
    assert_eq!(bridge.snooping.admits(DeviceId(1), of(4), true), Err(Refusal::Off));
    let more = MulticastConfig { hash_max: 4, ..MulticastConfig::default() };
    bridge.snooping.set(more, ADDRESS, false, bridge.now);
    assert!(bridge.snooping.news().unwrap().is_some());
}

#[test]
fn each_vlan_has_members_of_its_own_and_all_have_the_routers() {
    let vlan = VlanId::new;
    let in_vlan = |vid, n| GroupIn { group: group(n), vlan: vlan(vid) };
    let mut bridge = Bridge::new(
        MulticastConfig { hash_max: 3, ..MulticastConfig::default() },
        MulticastPort { max_groups: 2, ..MulticastPort::default() },
    );
    let to = |bridge: &Bridge| [10, 20, 30].map(|vid| bridge.to_in(vlan(vid)).unwrap());
    bridge.join(1, 1);
    bridge.snooping.set(bridge.snooping.config, ADDRESS, true, bridge.now);
    bridge.join(1, 1);
    assert_eq!(bridge.snooping.group_count(), 0, "nobody is a member in no VLAN any more");
    bridge.say_in(vlan(30), 0, station(9), Message::Query { group: None, response: SECOND, querier: ROUTER });
    bridge.wait(SECOND);
    bridge.say_in(vlan(10), 1, station(1), Message::Join(group(1)));
    bridge.say_in(vlan(20), 2, station(2), Message::Join(group(1)));
    assert_eq!(to(&bridge), [vec![0, 1], vec![0, 2], vec![0]], "what asks in one VLAN asks for all");
    let about = Message::Query { group: Some(group(1)), response: SECOND, querier: ROUTER };
    bridge.say_in(vlan(20), 0, station(9), about);
    bridge.wait(SECOND * 2);
    assert_eq!(to(&bridge), [vec![0, 1], vec![0], vec![0]], "who is asked in one VLAN is not in another");
    bridge.snooping.add(DeviceId(1), in_vlan(20, 1), bridge.now);
    assert_eq!(to(&bridge), [vec![0, 1], vec![0, 1], vec![0]]);
    assert_eq!(bridge.snooping.admits(DeviceId(1), in_vlan(30, 1), true), Err(Refusal::PortFull(2)));
    bridge.snooping.set_permanent(&BTreeSet::from([(in_vlan(30, 1), DeviceId(2))]));
    assert_eq!(to(&bridge), [vec![0, 1], vec![0, 1], vec![0, 2]]);
    assert_eq!(bridge.snooping.admits(DeviceId(2), in_vlan(40, 1), true), Err(Refusal::Full(3)));
    assert!(bridge.snooping.compile().of(vlan(40)).is_full);
    assert!(bridge.snooping.remove(DeviceId(1), in_vlan(10, 1)));
    assert_eq!(to(&bridge), [vec![0], vec![0, 1], vec![0, 2]]);
    bridge.snooping.set(bridge.snooping.config, ADDRESS, false, bridge.now);
    assert_eq!(bridge.snooping.group_count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is said: who joined last is a member, nobody is who did not, and all is forgotten in the end.
    #[test]
    fn members_are_those_who_said_so(
        steps in prop::collection::vec((0..3u16, 1..5u8, 1..4u8, 0..5u8, 0..20u32), 0..60),
        fast_leave: bool,
        to_unicast: bool,
    ) {
        let mut bridge = with_router(MulticastPort { fast_leave, to_unicast, ..MulticastPort::default() });
        let mut joined = BTreeSet::new();
        for (port, n, g, what, tenths) in steps {
            match what {
                0..=2 => {
                    joined.insert((of(g), DeviceId(port)));
                    bridge.say(port, station(n), Message::Join(group(g)));
                    let is_in = bridge.snooping.members().any(|(of, member)| (of, member.device) == (self::of(g), DeviceId(port)));
                    prop_assert!(is_in);
                }
                3 => bridge.say(port, station(n), Message::Leave(group(g))),
                _ => bridge.query(port, Some(group(g))),
            }
            bridge.wait(Duration::from_millis(100) * tenths);
        }
        prop_assert!(bridge.snooping.members().all(|(of, member)| joined.contains(&(of, member.device))));
        bridge.wait(MulticastConfig::default().membership_interval);
        prop_assert_eq!(bridge.snooping.members().count(), 0);
    }

    /// What is compiled is what workers do with a frame.
    #[test]
    fn a_frame_goes_where_its_group_is(d: u8, has_member: bool) {
        let mut bridge = with_router(MulticastPort::default());
        let group = Ipv4Addr::new(239, 1, 1, d);
        if has_member {
            bridge.say(1, station(1), Message::Join(Group::Ip(group.into())));
        }
        let mut header = etherparse::Ipv4Header::new(0, 1, etherparse::IpNumber::UDP, [10, 0, 0, 1], group.octets()).unwrap();
        header.set_payload_len(0).unwrap();
        header.header_checksum = header.calc_header_checksum();
        let frame = [&[1, 0, 0x5e, 1, 1, d, 2, 0, 0, 0, 0, 1, 8, 0][..], &header.to_bytes()].concat();
        prop_assert!(Multicast::view(&frame).is_ok());
        let mdbs = bridge.snooping.compile();
        let Path::To(targets) = mdbs.of(None).way(DeviceId(2), &frame, true).path else { panic!("to members") };
        let devices: Vec<_> = targets.iter().map(|target| target.device.0).collect();
        prop_assert_eq!(devices, if has_member { vec![0, 1] } else { vec![0] });
    }
}
