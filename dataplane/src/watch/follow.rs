//! Following a few frames: every step of each, in order, to whoever asks why.

use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::Scope;
use crate::frames::{BURST, Frame};
use crate::ids::DeviceId;
use crate::pipeline::Step;
use crate::ports::Now;
use crate::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// As much of a followed frame as is told: its headers.
pub const FOLLOWED_BYTES: usize = 192;

/// Copies of followed frames that may wait to be sent at one time: the most that an egress holds.
const QUEUED: usize = 512;

/// Followed frames and copies of them that may be on their way at one time.
const AFLOAT: usize = 1024;

/// What is told of followed frames, each by its number, from 0. One number is one worker's, so what is told of it is in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Account {
    /// A frame came in.
    Frame {
        /// Its number.
        number: u32,
        /// When: the time of its burst.
        at: Now,
        /// The device it came from.
        device: DeviceId,
        /// How long it is, in bytes.
        length: usize,
        /// The first of its bytes, as they came.
        bytes: ArrayVec<u8, FOLLOWED_BYTES>,
    },
    /// This happened to it, or to a copy of it.
    Step(u32, Step),
    /// That was all.
    End(u32),
}

/// The end of one worker. Clones are for the others: together they follow as many frames as were asked for.
pub struct Follow {
    left: Arc<AtomicU32>, // workers count down
    count: u32,
    accounts: Sender<Account>,
    missed: Arc<AtomicU64>,            // workers write, the reader reads
    places: Box<[Option<u32>; BURST]>, // the followed ones among the frames that have turns
    turn: usize,
    followed: Box<ArrayVec<u32, BURST>>, // those of the burst that came in
    afloat: Vec<(usize, u32)>, // where they and their copies lie that have not left yet; never grows
    queued: Vec<(usize, u32)>, // where the copies lie that are to leave; never grows
    pub(super) now: Now,
}

/// The reader's end.
pub struct FollowReader {
    accounts: Receiver<Account>,
    missed: Arc<AtomicU64>,
}

/// Follows the next `count` frames of a scope, with room for `room` steps that were not read yet.
pub fn follow(count: u32, room: usize) -> (Follow, FollowReader) {
    let (sender, receiver) = bounded(room);
    let missed = Arc::new(AtomicU64::new(0));
    let reader = FollowReader { accounts: receiver, missed: Arc::clone(&missed) };
    (Follow::new(Arc::new(AtomicU32::new(count)), count, sender, missed), reader)
}

impl Clone for Follow {
    fn clone(&self) -> Self {
        let (left, missed) = (Arc::clone(&self.left), Arc::clone(&self.missed));
        Self::new(left, self.count, self.accounts.clone(), missed)
    }
}

impl Follow {
    fn new(left: Arc<AtomicU32>, count: u32, accounts: Sender<Account>, missed: Arc<AtomicU64>) -> Self {
        let (afloat, queued) = (Vec::with_capacity(AFLOAT), Vec::with_capacity(QUEUED));
        let (places, turn, followed, now) = (Box::new([None; BURST]), 0, Box::default(), Now::default());
        Self { left, count, accounts, missed, places, turn, followed, afloat, queued, now }
    }

    pub(super) fn see(&mut self, scope: &Scope, step: Step, frame: &Frame) {
        match step {
            Step::Turn(place) => return self.turn = place,
            Step::Received(device) => {
                let number = self.admit(scope, device, frame);
                self.places[self.turn] = number;
                if let Some(number) = number {
                    // A burst has no more frames than this has room for.
                    let _ = self.followed.try_push(number);
                    note(&mut self.afloat, frame, Some(number), &self.missed);
                }
            }
            Step::Originated(_) => self.places[self.turn] = None,
            _ => {}
        }
        if self.followed.is_empty() {
            return;
        }
        if step == Step::Resumed {
            self.places[self.turn] = find(&self.afloat, frame);
            return;
        }
        let number = self.places[self.turn];
        match step {
            Step::Surfaced(_) => note(&mut self.afloat, frame, number, &self.missed),
            Step::Queued(_) => note(&mut self.queued, frame, number, &self.missed),
            _ => {}
        }
        if let Some(number) = number {
            self.tell(Account::Step(number, step));
        }
    }

    /// The number of a frame that is to be followed from here on.
    fn admit(&self, scope: &Scope, device: DeviceId, frame: &Frame) -> Option<u32> {
        if self.left.load(Relaxed) == 0 || !scope.has(device, frame.bytes()) {
            return None;
        }
        let left = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).ok()?;
        let number = self.count - left;
        let bytes = frame.bytes().iter().copied().take(FOLLOWED_BYTES).collect();
        self.tell(Account::Frame { number, at: self.now, device, length: frame.len(), bytes });
        Some(number)
    }

    /// A port discards a frame out of turn.
    pub(super) fn see_late(&mut self, step: Step, frame: &Frame) {
        if let Some(number) = find(&self.queued, frame) {
            self.tell(Account::Step(number, step));
        }
    }

    /// What was queued has left, or has ended.
    pub(super) fn flushed(&mut self) {
        self.queued.clear();
    }

    /// The burst is done.
    pub(super) fn end(&mut self) {
        if !self.followed.is_empty() {
            *self.places = [None; BURST];
            self.afloat.clear();
            for number in std::mem::take(&mut *self.followed) {
                self.tell(Account::End(number));
            }
        }
    }

    fn tell(&self, account: Account) {
        if self.accounts.try_send(account).is_err() {
            self.missed.fetch_add(1, Relaxed);
        }
    }
}

/// Notes that the frame in this place is this one, and no other that was there before.
fn note(places: &mut Vec<(usize, u32)>, frame: &Frame, number: Option<u32>, missed: &AtomicU64) {
    let at = frame.memory();
    places.retain(|(place, _)| *place != at);
    match number {
        Some(number) if places.len() < places.capacity() => places.push((at, number)),
        Some(_) => drop(missed.fetch_add(1, Relaxed)),
        None => {}
    }
}

fn find(places: &[(usize, u32)], frame: &Frame) -> Option<u32> {
    let at = frame.memory();
    places.iter().find(|(place, _)| *place == at).map(|(_, number)| *number)
}

impl FollowReader {
    /// What is told next; `None` if nothing is yet.
    pub fn receive(&self) -> Option<Account> {
        self.accounts.try_recv().ok()
    }

    /// What was not told for want of room.
    pub fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }
}
