//! Groups: what is told of them, when, and to whom.

use rigswitch_dataplane::wire::ethernet::Ethernet;
use rigswitch_dataplane::wire::igmp;
use rigswitch_dataplane::wire::ipv4::Ipv4;
use rigswitch_dataplane::wire::ipv6::Ipv6;
use rigswitch_dataplane::wire::mld::query_frame;
use rigswitch_dataplane::wire::multicast::{Group, Message, Multicast};
use rigswitch_dataplane::wire::neighbor::solicited_node;

use super::*;

const V2_ROUTERS: MacAddr = MacAddr::new([0x33, 0x33, 0, 0, 0, 0x16]);

/// The groups that a report tells of, as a bridge that snoops reads it; `None` of another frame. Whether it is of version 1.
fn groups(frame: &[u8]) -> Option<(Vec<Ipv6Addr>, bool)> {
    let address = |group: Group| match group {
        Group::Ip(IpAddr::V6(group)) => group,
        other => panic!("{other}"),
    };
    let (groups, first) = match Multicast::view(frame) {
        Ok(Multicast::Message { message: Some(Message::Report(records)), .. }) => {
            let records = records.into_iter().map(|record| record.unwrap());
            let all = records.map(|record| {
                assert!(!record.leaves);
                address(record.group)
            });
            (all.collect(), false)
        }
        Ok(Multicast::Message { message: Some(Message::Join(group)), .. }) => (vec![address(group)], true),
        _ => return None,
    };
    let ethernet = Ethernet::view(frame).unwrap();
    let ip = Ipv6::view(ethernet.payload()).unwrap();
    assert_eq!((ip.hop_limit(), ip.source()), (1, link_local(ethernet.source())));
    if !first {
        assert_eq!(ethernet.destination(), V2_ROUTERS);
    }
    Some((groups, first))
}

impl Rig {
    /// What device 0 tells meanwhile, and when.
    fn told(&mut self, time: Duration) -> Vec<(Duration, Vec<Ipv6Addr>, bool)> {
        let told = |(at, output)| {
            let (device, frame) = sent(output);
            let (groups, first) = groups(&frame)?;
            (device == HERE).then_some((at, groups, first))
        };
        self.wait(time).into_iter().filter_map(told).collect()
    }

    fn all_groups() -> Vec<Ipv6Addr> {
        let mut groups =
            vec![v6("ff02::2"), solicited_node(v6("fd00::1")), solicited_node(link_local(MACS[0]))];
        groups.sort();
        groups
    }
}

/// A query of version 2, made of one of version 1.
fn second(group: Option<&str>, response: Duration) -> Vec<u8> {
    let mut frame = query_frame(station(9), group.map(v6), response).to_vec();
    frame.extend([2, 125, 0, 0]);
    frame[19] += 4;
    frame[64..66].fill(0);
    let addresses = frame[22..54].to_vec();
    let sum =
        |bytes: &[u8]| bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let total = sum(&addresses) + 58 + 28 + sum(&frame[62..]);
    let total = (total & 0xffff) + (total >> 16);
    let checksum = !u16::try_from((total & 0xffff) + (total >> 16)).unwrap();
    frame[64..66].copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[test]
fn what_is_new_is_told_twice() {
    let mut rig = Rig { router: Router::new(), routing: Routing::default(), now: Duration::ZERO };
    rig.set(setting());
    let told = rig.told(3 * SECOND);
    let all: Vec<_> = told.iter().map(|(_, groups, first)| (groups.clone(), *first)).collect();
    assert_eq!(all, vec![(Rig::all_groups(), false); 2]);
    assert!(told[1].0 - told[0].0 <= SECOND);
    // The same again is no news; another address is, and a link that comes up.
    rig.set(setting());
    assert_eq!(rig.told(3 * SECOND), []);
    let mut more = setting();
    more.devices[0].addresses.push((ip("fd00::77"), 64));
    rig.set(more.clone());
    assert_eq!(rig.told(3 * SECOND).len(), 2);
    more.devices[0].is_up = false;
    rig.set(more.clone());
    assert_eq!(rig.told(3 * SECOND), []);
    more.devices[0].is_up = true;
    rig.set(more);
    assert_eq!(rig.told(3 * SECOND).len(), 2);
}

#[test]
fn queriers_are_answered_in_time_and_in_their_version() {
    let mut rig = Rig::new();
    rig.wait(2 * SECOND);
    let ours = solicited_node(v6("fd00::1"));
    let text = ours.to_string();
    let ten = 10 * SECOND;
    for (query, expected) in [
        (second(None, ten), vec![(Rig::all_groups(), false)]),
        (second(Some(&text), ten), vec![(vec![ours], false)]),
        (second(Some("ff02::1:ff12:3456"), ten), vec![]),
        (query_frame(station(9), Some(ours), ten).to_vec(), vec![(vec![ours], true)]),
        (
            query_frame(station(9), None, ten).to_vec(),
            Rig::all_groups().into_iter().map(|group| (vec![group], true)).collect(),
        ),
    ] {
        rig.hear(HERE, PuntReason::Local, &query);
        // Asked twice, it is told once.
        rig.hear(HERE, PuntReason::Local, &query);
        let told = rig.told(ten + TICK);
        assert_eq!(told.into_iter().map(|(_, groups, first)| (groups, first)).collect::<Vec<_>>(), expected);
    }
    // What has passed a router, or has no router alert, is no question.
    let malformed = rig.router.counters().malformed;
    let mut far = second(None, ten);
    far[21] = 2;
    rig.hear(HERE, PuntReason::Local, &far);
    assert_eq!((rig.told(2 * ten), rig.router.counters().malformed), (vec![], malformed + 1));
}

/// The groups of IPv4 that a report tells of, and its version.
fn told_of_ipv4(output: Output) -> Option<(Vec<Group>, u8)> {
    let (device, frame) = sent(output);
    let Ok(Multicast::Message { ipv4: true, message: Some(message) }) = Multicast::view(&frame) else {
        return None;
    };
    let ethernet = Ethernet::view(&frame).unwrap();
    let ip = Ipv4::view(ethernet.payload()).unwrap();
    assert_eq!((device, ip.ttl(), ip.source(), ip.is_intact()), (HERE, 1, Ipv4Addr::new(10, 0, 0, 1), true));
    match message {
        Message::Join(group) => Some((vec![group], 2)),
        Message::Report(records) => {
            Some((records.into_iter().map(|record| record.unwrap().group).collect(), 3))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn groups_that_tunnels_are_in_are_told_when_they_are_new_and_to_who_asks() {
    let mut rig = Rig::new();
    let joined = BTreeSet::from([(HERE, ip("239.1.2.3"))]);
    rig.set(Setting { groups: joined, ..setting() });
    let told = |rig: &mut Rig, seconds| -> Vec<_> {
        rig.wait(SECOND * seconds).into_iter().filter_map(|(_, output)| told_of_ipv4(output)).collect()
    };
    let report = |version| (vec![Group::Ip(ip("239.1.2.3"))], version);
    assert_eq!(told(&mut rig, 5), [report(3), report(3)], "new, and once more");
    let query = |group: Option<&str>| {
        let group = group.map(|group| group.parse().unwrap());
        igmp::query_frame(station(9), group, 4 * SECOND)
    };
    rig.hear(HERE, PuntReason::Local, &query(None));
    assert_eq!(told(&mut rig, 5), [report(2)]);
    rig.hear(HERE, PuntReason::Local, &query(Some("239.1.2.3")));
    assert_eq!(told(&mut rig, 5), [report(2)]);
    rig.hear(HERE, PuntReason::Local, &query(Some("239.1.2.4")));
    assert_eq!(told(&mut rig, 5), []);
    // A link that comes back has others on it, perhaps.
    let mut down = setting();
    down.devices[0].is_up = false;
    let joined = BTreeSet::from([(HERE, ip("239.1.2.3"))]);
    rig.set(Setting { groups: joined.clone(), ..down });
    assert_eq!(told(&mut rig, 2), []);
    rig.set(Setting { groups: joined, ..setting() });
    assert_eq!(told(&mut rig, 5).len(), 2);
    rig.set(setting());
    rig.hear(HERE, PuntReason::Local, &query(None));
    assert_eq!(told(&mut rig, 5), []);
}
