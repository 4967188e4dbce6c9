//! A worker that is watched: what is captured and what is told of followed frames, and that nothing else changes.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod support;

use std::sync::Arc;

use crossbeam_channel::Sender;
use rigswitch_dataplane::bridge::Class;
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::filter::Filter;
use rigswitch_dataplane::frames::PoolConfig;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::pipeline::{LeftOut, Lesson, Step, Verdict};
use rigswitch_dataplane::ports::{Fault, Faulty, Memory, MemoryEnd};
use rigswitch_dataplane::tables::Flood;
use rigswitch_dataplane::watch::{
    Account, CaptureReader, FollowReader, Place, Record, Scope, Stage, Stages, Watch, WatchId, capture,
    follow,
};
use rigswitch_dataplane::worker::Command;
use support::{Rig, domain, one_bridge, worker};

const ALL: Stages = Stages { rx: true, tx: true, drop: true };

fn id(device: u16) -> DeviceId {
    DeviceId(device)
}

/// A frame between stations, told by its last byte.
fn frame(to: u8, from: u8, mark: u8) -> Vec<u8> {
    let mut frame = [2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5].to_vec();
    frame.resize(60, mark);
    frame
}

fn broadcast(from: u8) -> Vec<u8> {
    let mut frame = frame(0, from, 0);
    frame[..6].fill(0xff);
    frame
}

/// Ports of a rig, and what they do when they are to send.
fn ports(rig: &Rig, workers: usize, full: &'static [u16]) -> Vec<MemoryEnd> {
    let open = |device| {
        let (port, end) = Memory::new(256, Default::default());
        let port = Faulty::new(port, move || full.contains(&device).then_some(Fault::TxFull));
        rig.open(usize::from(device) % workers, id(device), Box::new(port));
        end
    };
    (0..u16::try_from(rig.devices).unwrap()).map(open).collect()
}

fn arm(commands: &Sender<Command>, number: u64, scope: Scope, watch: Watch) {
    commands.send(Command::Observe(WatchId(number), scope, watch)).unwrap();
}

/// What was captured: device, stage, and the frame's mark.
fn captured(reader: &mut CaptureReader) -> Vec<(u16, Stage, u8)> {
    let mut bytes = Vec::new();
    let mut records = Vec::new();
    while let Some(Record { device, stage, length, .. }) = reader.receive(&mut bytes) {
        assert_eq!((length, bytes.len()), (60, 20));
        records.push((device.0, stage, bytes[19]));
    }
    records
}

/// What was told, frame by frame; each is whole.
fn followed(reader: &FollowReader) -> Vec<Vec<Step>> {
    let mut frames: Vec<Vec<Step>> = Vec::new();
    let mut open = 0;
    while let Some(account) = reader.receive() {
        match account {
            Account::Frame { number, length, bytes, .. } => {
                assert_eq!((number as usize, length, bytes.len()), (frames.len(), 60, 60));
                frames.push(Vec::new());
                open += 1;
            }
            Account::Step(number, step) => frames[number as usize].push(step),
            Account::End(_) => open -= 1,
        }
    }
    assert_eq!(open, 0);
    frames
}

#[test]
fn a_capture_sees_frames_come_leave_and_end_in_its_scope_until_it_is_taken_away() {
    let (rig, mut links) = Rig::new(1, one_bridge(3, 1), PoolConfig::singles(256), 64);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let ends = ports(&rig, 1, &[2]);
    let (every, mut all) = capture(ALL, 20, 1 << 16, 3, Arc::clone(&rig.bells[0]));
    let (one, mut some) = capture(Stages { drop: false, ..ALL }, 20, 1 << 16, 3, Arc::clone(&rig.bells[0]));
    let filter = Filter::compile("ether[20] == 7").unwrap();
    arm(&rig.commands[0], 1, Scope::all(), Watch::Capture(every));
    arm(&rig.commands[0], 2, Scope { filter: Some(filter), ..Scope::devices([id(1)]) }, Watch::Capture(one));
    ends[0].send(frame(5, 0, 7)).unwrap();
    ends[0].send(frame(0, 1, 8)).unwrap();
    while worker.turn() > 0 {}
    let full = Stage::Drop(Direction::Tx, DropReason::RingFull);
    let (rx, tx) = (Stage::Rx, Stage::Tx);
    let expected = [
        (0, rx, 7),
        (0, rx, 8),
        (1, tx, 7),
        (2, tx, 7),
        (0, Stage::Drop(Direction::Rx, DropReason::SamePort), 8),
        (2, full, 7),
    ];
    assert_eq!(captured(&mut all), expected);
    assert_eq!(captured(&mut some), [(1, tx, 7)]);

    rig.commands[0].send(Command::Unobserve(WatchId(1))).unwrap();
    ends[0].send(frame(3, 0, 7)).unwrap();
    while worker.turn() > 0 {}
    assert_eq!((captured(&mut all), captured(&mut some)), (vec![], vec![(1, tx, 7)]));
    assert_eq!((all.missed().count(), some.missed().count()), (0, 0));
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}

#[test]
fn what_a_full_ring_misses_is_counted_and_forwarding_goes_on() {
    let (rig, mut links) = Rig::new(1, one_bridge(2, 1), PoolConfig::singles(256), 64);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let ends = ports(&rig, 1, &[]);
    let (tight, mut reader) = capture(ALL, 20, 512, 2, Arc::clone(&rig.bells[0]));
    arm(&rig.commands[0], 1, Scope::all(), Watch::Capture(tight));
    (0..100).for_each(|mark| ends[0].send(frame(1, 0, mark)).unwrap());
    while worker.turn() > 0 {}
    let seen = captured(&mut reader).len() as u64;
    assert!(seen > 0);
    let missed: u64 = reader.missed().map(|(.., missed)| missed).sum();
    assert_eq!(seen + missed, 200);
    let by_place: Vec<_> = reader.missed().map(|(device, place, _)| (device, place)).collect();
    assert_eq!(by_place, [(id(0), Place::Rx), (id(1), Place::Tx)]);
    assert_eq!(std::iter::from_fn(|| ends[1].receive()).count(), 100);
}

#[test]
fn every_step_of_a_followed_frame_is_told_in_order_and_none_of_another() {
    let (rig, mut links) = Rig::new(1, one_bridge(4, 1), PoolConfig::singles(256), 64);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let ends = ports(&rig, 1, &[3]);
    let (next, reader) = follow(3, 256);
    arm(&rig.commands[0], 1, Scope::devices([id(0)]), Watch::Follow(next));
    // One burst: a stranger's copies go the same ways in between.
    ends[0].send(broadcast(0)).unwrap();
    ends[0].send(frame(7, 6, 1)).unwrap();
    ends[0].send(frame(0, 9, 1)).unwrap();
    ends[0].send(frame(1, 8, 1)).unwrap();
    ends[1].send(broadcast(1)).unwrap();
    while worker.turn() > 0 {}
    let (came, taught) = (Step::Received(id(0)), Step::Learned(Lesson::Learned));
    let flooded = |kind| Step::Decided(None, Verdict::Flood(domain(1), kind));
    let full = Step::Dropped(id(3), Direction::Tx, DropReason::RingFull);
    let queued = |device| Step::Queued(id(device));
    let frames = followed(&reader);
    let (of, back) = (Step::Classified, Step::LeftOut(id(0), LeftOut::Ingress));
    let expected = [
        came,
        of(Class::Broadcast),
        taught,
        flooded(Flood::Broadcast),
        back,
        queued(1),
        queued(2),
        queued(3),
        full,
    ];
    assert_eq!(frames[0], expected);
    let unknown = [
        came,
        of(Class::Individual),
        taught,
        flooded(Flood::Unicast),
        back,
        queued(1),
        queued(2),
        queued(3),
        full,
    ];
    assert_eq!(frames[1], unknown);
    let Step::Decided(Some(entry), verdict) = frames[2][3] else { panic!("{:?}", frames[2]) };
    assert_eq!((entry.egress().device, verdict), (id(0), Verdict::Drop(DropReason::SamePort)));
    assert_eq!(frames[2][4..], [Step::Dropped(id(0), Direction::Rx, DropReason::SamePort)]);
    assert_eq!((frames.len(), reader.missed()), (3, 0));
}

#[test]
fn workers_together_follow_as_many_frames_as_were_asked_for() {
    let (rig, mut links) = Rig::new(2, one_bridge(4, 2), PoolConfig::singles(256), 64);
    let (mut first, mut second) = (None, None);
    let [a, b] = &mut links[..] else { unreachable!() };
    let mut workers = [worker(a, (), &mut first).0, worker(b, (), &mut second).0];
    let ends = ports(&rig, 2, &[]);
    let (next, reader) = follow(5, 256);
    for commands in &rig.commands {
        arm(commands, 1, Scope::all(), Watch::Follow(next.clone()));
    }
    for round in 0..4 {
        ends[0].send(frame(1, 0, round)).unwrap();
        ends[1].send(frame(0, 1, round)).unwrap();
        workers.iter_mut().for_each(|worker| {
            worker.turn();
        });
    }
    while workers.iter_mut().map(|worker| worker.turn()).sum::<usize>() > 0 {}
    assert_eq!(followed(&reader).len(), 5);
    assert_eq!(rig.ledger().imbalance(), (0, 0));
}
