//! Routes against the plainest model: a map of prefixes, scanned longest first.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Address, BadPrefix, Prefix, Routes};
use crate::tables::next_hop::NextHopId;

/// By length, so that the last one that holds an address is the longest.
type Model<A> = BTreeMap<(u8, A), NextHopId>;

fn find<A: Address>(model: &Model<A>, address: A) -> Option<NextHopId> {
    let holds = |(length, prefix): &(u8, A)| address.truncated(*length) == *prefix;
    model.iter().rev().find(|route| holds(route.0)).map(|route| *route.1)
}

/// What one wants of an address to test with.
trait Bits: Address {
    fn of(bits: u128) -> Self;
    fn bits(self) -> u128;
}

impl Bits for Ipv4Addr {
    #[expect(clippy::cast_possible_truncation, reason = "the low bits")]
    fn of(bits: u128) -> Self {
        Self::from_bits(bits as u32)
    }

    fn bits(self) -> u128 {
        self.to_bits().into()
    }
}

impl Bits for Ipv6Addr {
    fn of(bits: u128) -> Self {
        Self::from_bits(bits)
    }

    fn bits(self) -> u128 {
        self.to_bits()
    }
}

/// Addresses that share many bits: few values for each octet, some quite random.
fn any_address<A: Bits>() -> impl Strategy<Value = A> {
    let octet = prop_oneof![4 => prop::sample::select(vec![0u8, 1, 10, 255]), 1 => any::<u8>()];
    prop_oneof![
        4 => vec(octet, 16).prop_map(|octets| A::of(octets.iter().fold(0, |sum, octet| sum << 8 | u128::from(*octet)))),
        1 => any::<u128>().prop_map(A::of),
    ]
}

fn any_route<A: Bits>() -> impl Strategy<Value = (Prefix<A>, NextHopId)> {
    let length = prop_oneof![3 => 0..=A::BITS, 1 => Just(A::BITS), 1 => Just(0)];
    let next_hop = prop_oneof![0..4u32, Just(NextHopId::LIMIT - 1)];
    (any_address::<A>(), length, next_hop).prop_map(|(address, length, next_hop)| {
        (Prefix::of(address, length), NextHopId::new(next_hop).unwrap())
    })
}

/// Where something may change: a prefix's ends and what lies beside them.
fn edges<A: Bits>(prefix: Prefix<A>) -> [A; 4] {
    let first = prefix.address().bits();
    let last = first | 1u128.checked_shl((A::BITS - prefix.length()).into()).unwrap_or(0).wrapping_sub(1);
    [first.wrapping_sub(1), first, last, last.wrapping_add(1)].map(A::of)
}

fn agree<A: Bits>(routes: &[(Prefix<A>, NextHopId)], others: &[A]) -> Result<(), TestCaseError> {
    let model: Model<A> =
        routes.iter().map(|(prefix, next_hop)| ((prefix.length(), prefix.address()), *next_hop)).collect();
    let mut sorted = routes.to_vec();
    sorted.sort_by_key(|route| route.0);
    let tables = [0, 8, 16].map(|root_bits| Routes::with_root(root_bits, &sorted));
    let compiled = Routes::new(routes.iter().copied());
    let probes = routes.iter().flat_map(|route| edges(route.0)).chain(others.iter().copied());
    for address in probes {
        let expected = find(&model, address);
        for table in tables.iter().chain([&compiled]) {
            let mut place = table.locate(address);
            table.prefetch(place);
            prop_assert_eq!(table.find(place), expected, "{:?} of {:?}", address, routes);
            for _ in 0..3 {
                place = table.approach(place);
            }
            prop_assert_eq!(table.find(place), expected);
        }
    }
    Ok(())
}

/// A route, and whether it is added or removed.
type Change<A> = ((Prefix<A>, NextHopId), bool);

/// Changes in turn, each some routes added or removed, or one of the first routes removed.
fn stays_true<A: Bits>(
    routes: &[(Prefix<A>, NextHopId)],
    changes: &[Vec<Change<A>>],
) -> Result<(), TestCaseError> {
    let mut now: BTreeMap<_, _> = routes.iter().copied().collect();
    let list = |map: &BTreeMap<_, _>| map.iter().map(|route| (*route.0, *route.1)).collect::<Vec<_>>();
    let mut patched = [0, 8, 16].map(|root_bits| Routes::with_root(root_bits, &list(&now)));
    let mut updated = Routes::new(list(&now));
    for (n, change) in changes.iter().enumerate() {
        let mut touched: Vec<_> = change.iter().map(|change| change.0.0).collect();
        for &((prefix, next_hop), stays) in change {
            if stays {
                now.insert(prefix, next_hop)
            } else {
                now.remove(&prefix)
            };
        }
        if let Some((prefix, _)) = routes.get(n) {
            now.remove(prefix);
            touched.push(*prefix);
        }
        patched = patched.map(|table| {
            let is_much = touched.iter().any(|prefix| prefix.length() + 8 < table.root_bits);
            if is_much {
                Routes::with_root(table.root_bits, &list(&now))
            } else {
                table.patched(&now, &touched)
            }
        });
        updated = updated.updated(&now, &touched);
        let model: Model<A> =
            now.iter().map(|(p, next_hop)| ((p.length(), p.address()), *next_hop)).collect();
        let ours =
            changes.iter().flatten().map(|change| change.0.0).chain(routes.iter().map(|route| route.0));
        for address in ours.flat_map(edges) {
            let expected = find(&model, address);
            for table in patched.iter().chain([&updated]) {
                prop_assert_eq!(table.find(table.locate(address)), expected, "{:?} in {:?}", address, now);
            }
        }
    }
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        cases: if cfg!(miri) { 2 } else { 256 },
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn ipv4_finds_the_longest(
        routes in vec(any_route::<Ipv4Addr>(), 0..40),
        others in vec(any_address(), 20),
    ) {
        agree(&routes, &others)?;
    }

    #[test]
    fn ipv6_finds_the_longest(
        routes in vec(any_route::<Ipv6Addr>(), 0..40),
        others in vec(any_address(), 20),
    ) {
        agree(&routes, &others)?;
    }

    #[test]
    fn ipv4_changes_leave_the_table_of_what_is_now(
        routes in vec(any_route::<Ipv4Addr>(), 0..40),
        changes in vec(vec((any_route(), any::<bool>()), 1..6), 1..6),
    ) {
        stays_true(&routes, &changes)?;
    }

    #[test]
    fn ipv6_changes_leave_the_table_of_what_is_now(
        routes in vec(any_route::<Ipv6Addr>(), 0..40),
        changes in vec(vec((any_route(), any::<bool>()), 1..6), 1..6),
    ) {
        stays_true(&routes, &changes)?;
    }

    /// A node with many entries: they have no room in it.
    #[test]
    fn crowded_octets_find_the_longest(
        lengths in vec(16..=32u8, 1..600),
        seed: u32,
        others in vec(any::<u16>(), 20),
    ) {
        let routes: Vec<_> = lengths.iter().zip(1u32..).map(|(&length, n)| {
            let low = seed.wrapping_mul(n).wrapping_mul(0x9e37_79b1) >> 16;
            (Prefix::of(Ipv4Addr::from_bits(0x0a00_0000 | low), length), NextHopId::new(n % 50).unwrap())
        }).collect();
        let others: Vec<_> = others.iter().map(|low| Ipv4Addr::from_bits(0x0a00_0000 | u32::from(*low))).collect();
        agree(&routes, &others)?;
    }
}

fn prefix<A: Address + std::str::FromStr<Err: Debug>>(text: &str) -> Prefix<A> {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

#[test]
fn prefixes_are_what_their_length_says() {
    let ten = Ipv4Addr::new(10, 0, 0, 0);
    assert_eq!(Prefix::new(ten, 33), Err(BadPrefix::Length { length: 33, bits: 32 }));
    assert_eq!(Prefix::new(ten, 6), Err(BadPrefix::HostBits(6)));
    assert!(Prefix::new(ten, 7).unwrap().holds(Ipv4Addr::new(11, 255, 0, 1)));
    assert!(!Prefix::new(ten, 8).unwrap().holds(Ipv4Addr::new(11, 255, 0, 1)));
    assert!(Prefix::new(Ipv4Addr::UNSPECIFIED, 0).unwrap().holds(Ipv4Addr::BROADCAST));
    let one = Ipv6Addr::LOCALHOST;
    assert_eq!(Prefix::new(one, 127), Err(BadPrefix::HostBits(127)));
    assert!(Prefix::new(one, 128).unwrap().holds(one));
}

#[test]
fn next_hops_of_a_lab_take_kilobytes() {
    let rig =
        ["0.0.0.0/0", "10.0.0.0/24", "10.0.0.1/32", "10.0.0.255/32", "172.245.0.0/24", "172.245.0.1/32"];
    let more = ["172.246.0.0/24", "192.168.32.0/24", "192.168.32.245/32", "192.168.32.255/32"];
    let routes = rig.iter().chain(&more).zip(0..).map(|(text, n)| (prefix(text), NextHopId::new(n).unwrap()));
    let table = Routes::<Ipv4Addr>::new(routes);
    assert!(table.bytes() < 2048, "{} bytes", table.bytes());
    let found = |text: &str| table.find(table.locate(text.parse().unwrap())).map(NextHopId::number);
    assert_eq!(found("172.246.0.200"), Some(6));
    assert_eq!(found("192.168.32.245"), Some(8));
    assert_eq!(found("8.8.8.8"), Some(0));
}

#[test]
fn paths_keep_far_and_deep_routes_small() {
    let routes = (0..1000u128).map(|n| {
        // Host routes, each in a network of its own: sixteen octets of which two tell them apart.
        let address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | n << 80 | 1);
        (Prefix::new(address, 128).unwrap(), NextHopId::new(1).unwrap())
    });
    let table = Routes::new(routes);
    assert!(table.bytes() < 1000 * 64, "{} bytes", table.bytes());
}

#[test]
fn nothing_routes_nowhere() {
    let table = Routes::<Ipv6Addr>::new([]);
    assert_eq!(table.find(table.locate(Ipv6Addr::LOCALHOST)), None);
    assert_eq!(table.bytes(), 4);
}

/// A route that comes and goes for ever: the table is compiled anew before it is mostly waste.
#[test]
fn changes_do_not_pile_up() {
    let next_hop = NextHopId::new(1).unwrap();
    let network = |n: u32| Prefix::of(Ipv4Addr::from_bits(0x0a00_0000 | n << 8), 24);
    let mut routes: BTreeMap<_, _> = (0..200).map(|n| (network(n), next_hop)).collect();
    let mut table = Routes::new(routes.iter().map(|route| (*route.0, *route.1)));
    let compiled = table.bytes();
    for n in 0..1000 {
        let host = Prefix::of(Ipv4Addr::from_bits(0x0a00_0501), 32);
        if n % 2 == 0 {
            routes.insert(host, next_hop)
        } else {
            routes.remove(&host)
        };
        table = table.updated(&routes, &[host]);
        assert!(table.bytes() < 4 * compiled + 4096, "{} bytes", table.bytes());
    }
    assert_eq!(table.find(table.locate(Ipv4Addr::new(10, 0, 5, 1))), Some(next_hop));
}
