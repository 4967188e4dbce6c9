//! The MAC table, one thread at a time: against a plain map, and when it is full.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ids::{DeviceId, DomainId, MacAddr};
use crate::sync::Arc;

const NOW: Tick = Tick::new(8);

fn key(number: u64) -> Key {
    let domain = if number.is_multiple_of(3) { 1 } else { 0xffff };
    Key::new(DomainId::new(domain).expect("not zero"), MacAddr::from_bits(0x0200_0000_0000 + number))
}

fn control(buckets: usize) -> MacControl<Vec<Bucket>> {
    let storage = std::iter::repeat_with(Bucket::default).take(buckets).collect();
    MacControl::new(MacTable::new(storage, 42).expect("a power of two").with_quotas(1))
}

fn device(number: u16) -> Egress {
    DeviceId(number).into()
}

fn fixed(number: u16) -> Entry {
    Entry::new(device(number), NOW, Flags::STATIC)
}

impl MacControl<Vec<Bucket>> {
    fn learn(&self, number: u64, egress: u16, now: Tick) -> Learned {
        self.table().learn(self.table().locate(key(number)), device(egress), now)
    }

    fn found(&self, number: u64) -> Option<u16> {
        self.table().find(self.table().locate(key(number))).map(|entry| entry.egress().device.0)
    }

    fn all(&self) -> std::ops::Range<usize> {
        0..self.table().buckets().len()
    }
}

fn no_grace() {
    panic!("there was room without a grace period");
}

#[test]
fn storage_that_is_no_power_of_two_is_refused() {
    for count in [0, 1, 3, 48] {
        let storage: Vec<_> = std::iter::repeat_with(Bucket::default).take(count).collect();
        assert_eq!(MacTable::new(storage, 1).err(), Some(BadStorage(count)));
    }
    assert_eq!(Buckets::for_macs(1000).len(), 1024);
    assert!(MacTable::new(Buckets::for_macs(0), 1).is_ok());
}

#[test]
fn a_station_is_learned_refreshed_and_moved() {
    let control = control(64);
    assert_eq!(control.found(1), None);
    assert_eq!(control.learn(1, 5, NOW), Learned::New);
    assert_eq!(control.learn(1, 5, NOW), Learned::Known);
    assert_eq!(control.learn(1, 5, Tick::new(16)), Learned::Refreshed);
    assert_eq!(control.learn(1, 6, Tick::new(16)), Learned::Moved { from: device(5) });
    assert_eq!(control.found(1), Some(6));
}

#[test]
fn a_pinned_entry_stays_where_it_is() {
    for flags in [Flags::STICKY, Flags::LOCAL] {
        let mut control = control(64);
        let entry = Entry::new(device(9), Tick::new(16), flags);
        control.learn(1, 5, NOW);
        control.insert(key(1), entry, no_grace).unwrap();
        assert_eq!(control.learn(1, 5, Tick::new(16)), Learned::Refused);
        assert_eq!(control.learn(1, 9, Tick::new(16)), Learned::Known);
        assert_eq!(control.iter().collect::<Vec<_>>(), [(key(1), entry)]);
        assert_eq!(control.remove(key(1)), Some(entry));
        assert_eq!(control.learn(1, 5, NOW), Learned::New);
    }
}

#[test]
fn a_static_entry_moves_with_its_station_and_stays_static() {
    let mut control = control(64);
    control.insert(key(1), fixed(9), no_grace).unwrap();
    assert_eq!(control.learn(1, 9, Tick::new(16)), Learned::Refreshed);
    assert_eq!(control.learn(1, 9, Tick::new(16)), Learned::Known);
    assert_eq!(control.learn(1, 5, Tick::new(16)), Learned::Moved { from: device(9) });
    let moved = Entry::new(device(5), Tick::new(16), Flags::STATIC);
    assert_eq!(control.iter().collect::<Vec<_>>(), [(key(1), moved)]);
}

#[test]
fn a_domain_learns_as_many_as_it_may_and_counts_those_it_has() {
    let mut control = control(64);
    let domain = key(0).domain();
    control.table().set_limit(domain, 3);
    let mut learn = |number: u64| (control.learn(3 * number, 1, NOW), control.table().learned(domain));
    assert_eq!([1, 2, 3].map(&mut learn), [1, 2, 3].map(|count| (Learned::New, count)));
    assert_eq!(learn(4), (Learned::Limited, 3));
    assert_eq!(learn(3), (Learned::Known, 3));
    assert_eq!(control.learn(1, 1, NOW), Learned::New, "the other domain is not bounded");
    // What control sets does not count, and what it sets in a learned one's place frees that one's.
    control.insert(key(15), fixed(2), no_grace).unwrap();
    control.insert(key(3), Entry::new(device(1), NOW, Flags::DYNAMIC), no_grace).unwrap();
    assert_eq!(control.table().learned(domain), 2);
    assert_eq!(control.learn(12, 1, NOW), Learned::New);
    control.retain(control.all(), |_, entry| !entry.is_learned());
    assert_eq!(control.table().learned(domain), 0);
    control.table().set_limit(domain, 0);
    assert!((6..30).all(|number| control.learn(3 * number, 1, NOW) == Learned::New));
}

#[test]
fn a_full_table_learns_nothing_and_forgets_nothing() {
    let control = control(2);
    for number in 0..8 {
        assert_eq!(control.learn(number, 1, NOW), Learned::New);
    }
    assert_eq!(control.learn(8, 1, NOW), Learned::Full);
    assert!((0..8).all(|number| control.found(number) == Some(1)));
}

#[test]
fn a_removed_slot_is_free_after_it_is_reclaimed() {
    let mut control = control(2);
    for number in 0..8 {
        control.learn(number, 1, NOW);
    }
    assert!(control.remove(key(3)).is_some());
    assert_eq!((control.found(3), control.remove(key(3))), (None, None));
    assert_eq!(control.learn(8, 1, NOW), Learned::Full);
    assert_eq!((control.reclaim(0..2), control.reclaim(0..2)), (1, 0));
    assert_eq!(control.learn(8, 1, NOW), Learned::New);
}

#[test]
fn what_was_not_seen_for_longer_than_the_ageing_time_goes() {
    let mut control = control(64);
    let start = Tick::SPAN + 1;
    control.learn(1, 1, Tick::new(start));
    control.learn(2, 1, Tick::new(start + 8));
    control.insert(key(3), fixed(1), no_grace).unwrap();
    let now = Tick::new(start + 10 + 8);
    let mut age = |buckets| control.retain(buckets, |_, entry| !entry.has_expired(now, 10));
    assert_eq!(age(0..32) + age(32..64), 1);
    assert_eq!([1, 2, 3].map(|number| control.found(number)), [None, Some(1), Some(1)]);
}

#[test]
fn fixed_entries_displace_learned_ones_and_are_refused_only_by_each_other() {
    let mut control = control(2);
    for number in 0..8 {
        control.learn(number, 1, NOW);
    }
    for number in 8..16 {
        let mut graces = 0;
        control.insert(key(number), fixed(2), || graces += 1).unwrap();
        assert_eq!(graces, 1);
    }
    assert_eq!(control.insert(key(16), fixed(2), || {}), Err(TableFull(key(16))));
    assert!((0..8).all(|number| control.found(number).is_none()));
    assert!((8..16).all(|number| control.found(number) == Some(2)));
}

#[test]
fn fixed_entries_move_over_to_let_another_in() {
    let (buckets, keys) = if cfg!(miri) { (8, 30) } else { (64, 243) };
    let mut control = control(buckets);
    // 95 % full: many keys find both their buckets taken by others that could be elsewhere.
    let (mut inserted, mut graces) = (Vec::new(), 0);
    for number in 0..keys {
        match control.insert(key(number.into()), fixed(number), || graces += 1) {
            Ok(()) => inserted.push(number),
            Err(full) => assert_eq!(full, TableFull(key(number.into()))),
        }
    }
    assert!(graces > 0, "nothing had to move");
    assert!(inserted.len() > usize::from(keys) - 8, "{} of {keys}", inserted.len());
    assert!(inserted.iter().all(|number| control.found((*number).into()) == Some(*number)));
    assert_eq!(control.iter().count(), inserted.len());
}

#[test]
fn the_two_buckets_of_a_key_differ_and_share_a_page() {
    for buckets in [2, 8, 64, 256] {
        let (ours, same) = (control(buckets), control(buckets));
        for number in 0..if cfg!(miri) { 5 } else { 1000 } {
            let spot = ours.table().locate(key(number));
            assert_eq!(spot, same.table().locate(key(number)));
            let [first, second] = ours.table().pair(spot).map(|bucket| {
                ours.table().buckets().iter().position(|other| std::ptr::eq(bucket, other)).unwrap()
            });
            assert_ne!(first, second);
            assert_eq!(first / 64, second / 64);
        }
    }
}

/// Rigs number their stations in a row. A seed that folds a row into few buckets refused up to a quarter of them.
#[test]
fn addresses_in_a_row_spread_whatever_the_seed() {
    let seeds = if cfg!(miri) { 1 } else { 600 };
    for step in [1, 256, 65_536] {
        let mut refused = 0;
        for seed in 0..seeds {
            let table = MacTable::new(Buckets::for_macs(1024), seed).expect("a power of two");
            let learned =
                (0..1024).map(|number| table.learn(table.locate(key(number * step)), device(0), NOW));
            refused += learned.filter(|learned| *learned == Learned::Full).count();
        }
        assert!(refused <= 6, "{refused} of {seeds} times 1024 were refused, {step} apart");
    }
}

#[test]
fn a_million_stations_fit_four_million_slots() {
    let keys = if cfg!(miri) { 100 } else { 1 << 20 };
    let table = MacTable::new(Buckets::for_macs(keys), 42).unwrap();
    let spot = |number| table.locate(key(number));
    let learn = |number| table.learn(spot(number), device(1), NOW);
    let refused = (0..keys as u64).filter(|number| learn(*number) == Learned::Full).count();
    assert!(refused <= 4, "{refused} refused");
    let found = (0..keys as u64).filter(|number| table.find(spot(*number)).is_some()).count();
    assert_eq!(found, keys - refused);
}

#[derive(Clone, Debug)]
enum Step {
    Learn(u64, u16),
    Insert(u64, u16, Flags),
    Remove(u64),
    Flush(u16),
    Age,
    Reclaim,
}

fn step() -> impl Strategy<Value = Step> {
    let (number, egress) = (0..24u64, 1..4u16);
    let flags = prop::sample::select(vec![
        Flags::DYNAMIC,
        Flags::STATIC,
        Flags::LOCAL,
        Flags::STICKY,
        Flags::STICKY.and(Flags::STATIC),
        Flags::EXTERN_LEARN,
    ]);
    prop_oneof![
        8 => (number.clone(), egress.clone()).prop_map(|(number, egress)| Step::Learn(number, egress)),
        3 => (number.clone(), egress.clone(), flags).prop_map(|(number, egress, flags)| Step::Insert(number, egress, flags)),
        2 => number.prop_map(Step::Remove),
        1 => egress.prop_map(Step::Flush),
        1 => Just(Step::Age),
        2 => Just(Step::Reclaim),
    ]
}

/// The table as a map, which lacks only the notion of being full.
#[derive(Default)]
struct Model(BTreeMap<Key, Entry>);

impl Model {
    fn learn(&mut self, key: Key, fresh: Entry) -> Learned {
        let old = self.0.insert(key, fresh);
        let Some(old) = old else { return Learned::New };
        let flags = old.flags();
        let stays = old.is_local() || flags.has(Flags::STICKY);
        let there = if stays { old.egress() } else { fresh.egress() };
        let updated = if old.is_local() { old.updated() } else { fresh.updated() };
        let taken_over = flags.has(Flags::EXTERN_LEARN) && there != old.egress();
        let new = Entry::new(there, updated, if taken_over { Flags::DYNAMIC } else { flags });
        self.0.insert(key, new);
        match (old.egress() == fresh.egress(), stays) {
            (true, _) if new == old => Learned::Known,
            (true, _) => Learned::Refreshed,
            (false, true) => Learned::Refused,
            (false, false) => Learned::Moved { from: old.egress() },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 2000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_leaves_what_a_map_would_hold(steps in prop::collection::vec(step(), 1..if cfg!(miri) { 12 } else { 120 })) {
        let mut control = control(4);
        let mut model = Model::default();
        for (now, step) in (0..).map(Tick::new).zip(steps) {
            let everywhere = control.all();
            match step {
                Step::Learn(number, egress) => {
                    let learned = control.learn(number, egress, now);
                    if learned == Learned::Full {
                        prop_assert!(!model.0.contains_key(&key(number)));
                    } else {
                        let fresh = Entry::sighting(device(egress), now, Flags::LEARNED);
                        prop_assert_eq!(learned, model.learn(key(number), fresh));
                    }
                }
                Step::Insert(number, egress, flags) => {
                    let entry = Entry::new(device(egress), now, flags);
                    if control.insert(key(number), entry, || {}).is_ok() {
                        model.0.insert(key(number), entry);
                    }
                    // Learned entries may have made way, others not.
                    let left: BTreeMap<_, _> = control.iter().collect();
                    model.0.retain(|key, entry| !entry.is_learned() || left.contains_key(key));
                }
                Step::Remove(number) => prop_assert_eq!(control.remove(key(number)), model.0.remove(&key(number))),
                Step::Flush(egress) => {
                    let keep = |_: Key, entry: Entry| entry.egress() != device(egress);
                    let before = model.0.len();
                    model.0.retain(|key, entry| keep(*key, *entry));
                    prop_assert_eq!(control.retain(everywhere, keep), before - model.0.len());
                }
                Step::Age => {
                    let before = model.0.len();
                    model.0.retain(|_, entry| !entry.has_expired(now, 20));
                    let aged = control.retain(everywhere, |_, entry| !entry.has_expired(now, 20));
                    prop_assert_eq!(aged, before - model.0.len());
                }
                Step::Reclaim => { control.reclaim(everywhere); }
            }
            prop_assert_eq!(control.iter().collect::<BTreeMap<_, _>>(), model.0.clone());
            let domain = key(0).domain();
            let learned = model.0.iter().filter(|(key, entry)| key.domain() == domain && entry.is_learned());
            prop_assert_eq!(control.table().learned(domain) as usize, learned.count());
            for number in 0..24 {
                let found = control.table().find(control.table().locate(key(number)));
                prop_assert_eq!(found, model.0.get(&key(number)).copied());
            }
        }
    }
}

#[test]
fn domains_that_share_a_quota_are_bounded_together() {
    let storage = std::iter::repeat_with(Bucket::default).take(64).collect::<Vec<_>>();
    let mut control = MacControl::new(MacTable::new(storage, 42).unwrap().with_quotas(3));
    let [bridge, vlan, other] = [1, 2, 3].map(|number| DomainId::new(number).unwrap());
    let table = Arc::clone(control.table());
    table.share_quota(vlan, bridge);
    table.set_limit(bridge, 2);
    let mac = MacAddr::from_bits(0x0200_0000_0001);
    let learn = |domain| table.learn(table.locate(Key::new(domain, mac)), device(1), NOW);
    assert_eq!([vlan, bridge, other].map(learn), [Learned::New; 3]);
    let counts = || [bridge, vlan, other].map(|domain| table.learned(domain));
    assert_eq!(counts(), [2, 2, 1]);
    let one_more = Key::new(vlan, MacAddr::from_bits(0x0200_0000_0002));
    assert_eq!(table.learn(table.locate(one_more), device(1), NOW), Learned::Limited);
    control.remove(Key::new(vlan, mac));
    assert_eq!(counts(), [1, 1, 1]);
    table.share_quota(vlan, vlan);
    assert_eq!((counts(), learn(vlan)), ([1, 0, 1], Learned::New));
}
