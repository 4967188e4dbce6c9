//! Frames that wait for a neighbour: bounded for each and in all, the oldest go first.

use std::collections::BTreeMap;

use rigswitch_dataplane::ids::DeviceId;

use super::neighbors::Key;

/// A frame that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Held {
    /// The frame, as it came, or as it is to leave but for the station that it is for.
    pub(super) frame: Vec<u8>,
    /// Whence it came, if not from us.
    pub(super) from: Option<DeviceId>,
    /// By which device it leaves.
    pub(super) to: DeviceId,
}

/// All that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    frames: BTreeMap<u64, (Key, Held)>,
    bytes: usize,
    next: u64,
}

impl Waiting {
    /// Frames for one neighbour (`unres_qlen`).
    pub(super) const FOR_ONE: usize = 101;
    /// Frames in all.
    pub(super) const FRAMES: usize = 4096;
    /// Their bytes.
    pub(super) const BYTES: usize = 8 << 20;

    /// Keeps one, and says under which number.
    pub(super) fn push(&mut self, key: Key, held: Held) -> u64 {
        self.bytes += held.frame.len();
        self.next += 1;
        self.frames.insert(self.next, (key, held));
        self.next
    }

    /// Drops the oldest one if there are too many, and says for whom it was.
    pub(super) fn excess(&mut self) -> Option<Key> {
        if self.frames.len() <= Self::FRAMES && self.bytes <= Self::BYTES {
            return None;
        }
        let (_, (key, held)) = self.frames.pop_first()?;
        self.bytes -= held.frame.len();
        Some(key)
    }

    /// Those under these numbers.
    pub(super) fn take(&mut self, numbers: impl IntoIterator<Item = u64>) -> Vec<Held> {
        let taken = numbers.into_iter().filter_map(|number| self.frames.remove(&number));
        let taken: Vec<Held> = taken.map(|(_, held)| held).collect();
        self.bytes -= taken.iter().map(|held| held.frame.len()).sum::<usize>();
        taken
    }

    /// How many, and how many bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.frames.len(), self.bytes)
    }
}
