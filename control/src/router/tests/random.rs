//! Whatever comes, and in whatever order: nothing panics, nothing grows without bound, and what is put out is what others read.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rigswitch_dataplane::wire::arp::{self, Arp};
use rigswitch_dataplane::wire::neighbor::{Advertisement, solicitation};

use super::super::held::Waiting;
use super::super::neighbors::MOST;
use super::*;

#[derive(Clone, Debug)]
enum Act {
    Hear(u16, PuntReason, Vec<u8>),
    Wait(u64),
    Down(bool),
    Fix(u8),
    Flush(Option<u16>),
}

fn any_address() -> impl Strategy<Value = String> {
    let near = (0..3u8, 0..6u8).prop_map(|(net, host)| format!("10.0.{net}.{host}"));
    let near_ipv6 = (0..3u8, 0..6u8).prop_map(|(net, host)| format!("fd0{net}::{host}"));
    let odd = select(vec!["10.8.0.1", "198.1.1.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "10.0.0.255"]);
    let odd_ipv6 =
        select(vec!["::", "ff02::1", "fe80::1", "fe80::ff:fe00:aa00", "ff02::1:ff00:1", "fdc6::1"]);
    prop_oneof![near, near_ipv6, odd.prop_map(str::to_owned), odd_ipv6.prop_map(str::to_owned)]
}

/// A frame that means something: addresses of one family, or nothing much.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let pair = (any_address(), any_address());
    (pair, 0..5u8, 0..8u8, vec(any::<u8>(), 0..80), any::<[bool; 3]>()).prop_map(
        |((a, b), kind, n, data, flags)| {
            let [is_router, is_solicited, overrides] = flags;
            let to = if flags[0] { MACS[0] } else { MacAddr::BROADCAST };
            match (ip(&a), ip(&b), kind) {
                (IpAddr::V4(from), IpAddr::V4(about), 0) => {
                    arp::request((station(n), from), about, to).to_vec()
                }
                (IpAddr::V4(from), IpAddr::V4(about), 1) => {
                    let asked = arp::request((MACS[0], from), about, to);
                    Arp::view(&asked[14..]).unwrap().reply(station(n)).to_vec()
                }
                (IpAddr::V6(from), IpAddr::V6(about), 0) => {
                    solicitation((station(n), from), about, (to, about)).to_vec()
                }
                (IpAddr::V6(address), IpAddr::V6(dst), 1) => {
                    let mac = station(n);
                    Advertisement { mac, address, is_router, is_solicited, overrides }
                        .frame((to, dst))
                        .to_vec()
                }
                (from, about, 2) if from.is_ipv4() == about.is_ipv4() => ping(&a, &b, &data),
                (from, about, 3) if from.is_ipv4() == about.is_ipv4() => udp(&a, &b, n, &data),
                _ => data,
            }
        },
    )
}

/// The same, here and there with a few bytes changed, or cut.
fn any_mangled() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<u8>());
    (any_frame(), vec(change, 0..3), prop::option::weighted(0.1, any::<Index>())).prop_map(
        |(mut frame, changes, cut)| {
            for (at, byte) in changes {
                if let Some(place) = frame.len().checked_sub(1).map(|last| at.index(last + 1)) {
                    frame[place] = byte;
                }
            }
            if let Some(cut) = cut {
                frame.truncate(cut.index(frame.len() + 1));
            }
            frame
        },
    )
}

fn any_act() -> impl Strategy<Value = Act> {
    let frame = prop_oneof![3 => any_frame(), 1 => any_mangled()];
    let reason = prop_oneof![
        3 => Just(PuntReason::Arp),
        6 => Just(PuntReason::Local),
        3 => Just(PuntReason::Unresolved),
        3 => select(PuntReason::ALL.to_vec()).prop_filter("workers made it", |reason| *reason != PuntReason::Outgoing)
    ];
    prop_oneof![
        20 => (0..3u16, reason, frame).prop_map(|(device, reason, frame)| Act::Hear(device, reason, frame)),
        1 => (0..3u16, any_frame()).prop_map(|(device, frame)| Act::Hear(device, PuntReason::Outgoing, frame)),
        2 => (0..100u64).prop_map(Act::Wait),
        1 => any::<bool>().prop_map(Act::Down),
        1 => (0..6u8).prop_map(Act::Fix),
        1 => prop::option::of(0..3u16).prop_map(Act::Flush),
    ]
}

fn known(router: &Router) -> BTreeMap<(DeviceId, IpAddr), MacAddr> {
    router.neighbors().map(|(device, address, mac)| ((device, address), mac)).collect()
}

/// What holds at any time.
fn check(rig: &mut Rig, before: &(u64, BTreeMap<(DeviceId, IpAddr), MacAddr>), heard: usize) {
    for output in rig.router.outputs() {
        let Output::Send { frame, .. } = output else { continue };
        match frame[12..14] {
            [8, 6] => assert!(PacketHeaders::from_ethernet_slice(&frame).is_ok() && frame.len() == 42),
            _ => drop(read(&frame)),
        }
    }
    let router = &rig.router;
    let (frames, bytes) = router.held();
    assert!(frames <= Waiting::FRAMES && bytes <= Waiting::BYTES && frames <= heard);
    assert!(router.view(rig.now).len() <= 2 * MOST + 1);
    assert!(router.generation() != before.0 || known(router) == before.1, "news under the same number");
    let is_odd = |mac: MacAddr| mac.is_group() || mac.is_zero();
    assert!(router.neighbors().all(|(_, _, mac)| !is_odd(mac)));
    let owned: Vec<_> = router.local_addresses().map(|(device, address, _)| (device, address)).collect();
    assert!(router.neighbors().all(|(device, address, _)| !owned.contains(&(device, address))));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_events_are_survived(acts in vec(any_act(), 1..120)) {
        let mut rig = Rig::new();
        let mut current = setting();
        for (act, n) in acts.into_iter().zip(1..) {
            let before = (rig.router.generation(), known(&rig.router));
            match act {
                Act::Hear(device, reason, frame) => rig.router.hear(DeviceId(device), reason, &frame, &rig.routing, rig.now),
                Act::Wait(ticks) => for _ in 0..ticks {
                    rig.now += TICK;
                    rig.router.tick(&rig.routing, rig.now);
                },
                Act::Down(is_down) => {
                    current.devices[0].is_up = !is_down;
                    rig.set(current.clone());
                }
                Act::Fix(n) => {
                    current.fixed = vec![(THERE, ip(&format!("10.0.1.{}", n + 2)), station(n))];
                    rig.set(current.clone());
                }
                Act::Flush(device) => drop(rig.router.flush(device.map(DeviceId), None)),
            }
            check(&mut rig, &before, n);
        }
    }

    #[test]
    fn noise_is_survived(frames in vec((0..10usize, vec(any::<u8>(), 0..200)), 1..50)) {
        let mut rig = Rig::new();
        for ((reason, frame), n) in frames.into_iter().zip(1..) {
            let before = (rig.router.generation(), known(&rig.router));
            rig.router.hear(HERE, PuntReason::ALL[reason], &frame, &rig.routing, rig.now);
            check(&mut rig, &before, n);
        }
    }
}
