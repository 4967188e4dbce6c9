//! Loom models: workers and control at work on the same slots, in every order there is.

use loom::thread;

use super::*;
use crate::ids::{DeviceId, DomainId, MacAddr};
use crate::sync::{Arc, AtomicU64, Ordering};

const NOW: Tick = Tick::new(8);
const ALL: std::ops::Range<usize> = 0..2;

fn key(number: u64) -> Key {
    Key::new(DomainId::new(1).expect("not zero"), MacAddr::from_bits(number))
}

fn fixed(device: u16, flags: Flags) -> Entry {
    Entry::new(DeviceId(device).into(), NOW, flags)
}

type Table = Arc<MacTable<Vec<Bucket>>>;

/// A table of two buckets, so that all keys share both, with all slots but `free` taken by keys from 100 on.
fn control(free: u64) -> MacControl<Vec<Bucket>> {
    let buckets = vec![Bucket::default(), Bucket::default()];
    let control = MacControl::new(MacTable::new(buckets, 1).expect("a power of two").with_quotas(1));
    for number in 100..108 - free {
        learn(control.table(), number, 9);
    }
    control
}

fn learn(table: &Table, number: u64, device: u16) -> Learned {
    table.learn(table.locate(key(number)), DeviceId(device).into(), NOW)
}

fn find(table: &Table, number: u64) -> Option<u16> {
    table.find(table.locate(key(number))).map(|entry| entry.egress().device.0)
}

/// The devices of all live entries of a key, when nobody is at work; what is learned is counted then.
fn entries(control: &MacControl<Vec<Bucket>>, number: u64) -> Vec<u16> {
    let learned = control.iter().filter(|(_, entry)| entry.is_learned()).count();
    assert_eq!(control.table().learned(key(number).domain()) as usize, learned);
    control.iter().filter(|(k, _)| *k == key(number)).map(|(_, entry)| entry.egress().device.0).collect()
}

/// The grace period of one worker: what `published` does, at its least.
#[derive(Default)]
struct Grace {
    generation: AtomicU64,
    seen: AtomicU64,
}

impl Grace {
    /// Between bursts, by the worker.
    fn quiesce(&self) {
        self.seen.store(self.generation.load(Ordering::Acquire), Ordering::Release);
    }

    /// After the last burst, by the worker: it has seen all that may come.
    fn leave(&self) {
        self.seen.store(u64::MAX, Ordering::Release);
    }

    /// Starts a grace period, by control.
    fn ask(&self) {
        self.generation.store(1, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.seen.load(Ordering::Acquire) > 0
    }
}

#[test]
fn loom_two_workers_learn_one_station_once() {
    loom::model(|| {
        let control = control(2);
        let table = control.table().clone();
        let other = thread::spawn(move || learn(&table, 1, 1));
        let ours = learn(control.table(), 1, 2);
        let theirs = other.join().unwrap();
        assert!([ours, theirs].contains(&Learned::New));
        assert_eq!(entries(&control, 1).len(), 1);
        assert_eq!(find(control.table(), 1), Some(entries(&control, 1)[0]));
    });
}

#[test]
fn loom_two_workers_that_choose_different_slots_leave_one_entry() {
    loom::model(|| {
        let mut control = control(1);
        control.remove(key(100)).unwrap();
        let table = control.table().clone();
        let worker = thread::spawn(move || learn(&table, 1, 1));
        // Nobody was in a burst when 100 was removed. Now a lower slot comes free while the worker chooses.
        assert_eq!(control.reclaim(ALL), 1);
        learn(control.table(), 1, 2);
        worker.join().unwrap();
        assert_eq!(entries(&control, 1).len(), 1);
    });
}

#[test]
fn loom_a_station_learned_and_removed_at_once_leaves_no_trace_or_one_entry() {
    loom::model(|| {
        let mut control = control(2);
        learn(control.table(), 1, 1);
        let table = control.table().clone();
        let worker = thread::spawn(move || learn(&table, 1, 2));
        assert!(control.remove(key(1)).is_some());
        worker.join().unwrap();
        let left = entries(&control, 1);
        assert!(left.is_empty() || left == [2]);
        control.remove(key(1));
        control.retain(ALL, |_, _| true);
        control.reclaim(ALL);
        assert_eq!([learn(control.table(), 2, 1), learn(control.table(), 3, 1)], [Learned::New; 2]);
    });
}

#[test]
fn loom_a_look_up_never_meets_the_entry_of_another_key() {
    loom::model(|| {
        let mut control = control(1);
        learn(control.table(), 1, 1);
        let grace = Arc::new(Grace::default());
        let (table, bursts) = (control.table().clone(), grace.clone());
        let worker = thread::spawn(move || {
            for _ in 0..2 {
                assert!([None, Some(1)].contains(&find(&table, 1)));
                bursts.quiesce();
            }
            assert!([None, Some(1)].contains(&find(&table, 1)));
        });
        control.remove(key(1));
        grace.ask();
        if grace.is_over() {
            assert_eq!(control.reclaim(ALL), 1);
            assert_eq!(learn(control.table(), 2, 2), Learned::New);
        }
        worker.join().unwrap();
    });
}

#[test]
fn loom_a_learner_never_writes_into_the_entry_of_another_key() {
    loom::model(|| {
        let mut control = control(1);
        learn(control.table(), 1, 1);
        let grace = Arc::new(Grace::default());
        let (table, bursts) = (control.table().clone(), grace.clone());
        let worker = thread::spawn(move || {
            bursts.quiesce();
            learn(&table, 1, 3);
            bursts.quiesce();
            learn(&table, 1, 4);
        });
        control.remove(key(1));
        grace.ask();
        if grace.is_over() {
            control.reclaim(ALL);
            if learn(control.table(), 2, 2) == Learned::New {
                assert_eq!(find(control.table(), 2), Some(2));
                worker.join().unwrap();
                assert_eq!(entries(&control, 2), [2]);
                return;
            }
        }
        worker.join().unwrap();
    });
}

/// What is left of a station that control sets at device 7 while a worker learns it at device 1.
fn set_while_learned(flags: Flags, check: fn(&[u16])) {
    loom::model(move || {
        let mut control = control(2);
        let table = control.table().clone();
        let worker = thread::spawn(move || learn(&table, 1, 1));
        control.insert(key(1), fixed(7, flags), || unreachable!("there is room")).unwrap();
        worker.join().unwrap();
        entries(&control, 1);
        let left: Vec<_> = control.iter().filter(|(k, _)| *k == key(1)).collect();
        assert!(left.iter().all(|(_, entry)| entry.flags() == flags));
        check(&left.iter().map(|(_, entry)| entry.egress().device.0).collect::<Vec<_>>());
    });
}

#[test]
fn loom_a_sticky_entry_prevails_over_one_learned_at_the_same_moment() {
    set_while_learned(Flags::STICKY, |left| assert_eq!(left, [7]));
}

#[test]
fn loom_a_static_entry_learned_at_the_same_moment_stays_static_and_alone() {
    set_while_learned(Flags::STATIC, |left| assert!(left == [7] || left == [1], "{left:?}"));
}

#[test]
fn loom_a_look_up_beside_an_eviction_meets_its_own_entry_or_none() {
    loom::model(|| {
        let mut control = control(0);
        let (table, victim) = (control.table().clone(), 100);
        let grace = Arc::new(Grace::default());
        let bursts = grace.clone();
        let worker = thread::spawn(move || {
            assert!([None, Some(9)].contains(&find(&table, victim)));
            bursts.quiesce();
            assert!([None, Some(9)].contains(&find(&table, victim)));
            assert!([None, Some(7)].contains(&find(&table, 1)));
            bursts.leave();
        });
        let wait = || {
            grace.ask();
            while !grace.is_over() {
                thread::yield_now();
            }
        };
        control.insert(key(1), fixed(7, Flags::STATIC), wait).unwrap();
        worker.join().unwrap();
        assert_eq!(entries(&control, 1), [7]);
    });
}
