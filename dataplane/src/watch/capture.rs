//! Capturing: copies of frames as they come, leave or end, cut to a length, in a ring to whoever reads.

use std::sync::Arc;

use super::Scope;
use crate::bell::Bell;
use crate::counters::Counter;
use crate::drops::{Direction, DropReason};
use crate::frames::{CHUNK, Checksum, Frame, GsoKind, PoolConfig};
use crate::ids::DeviceId;
use crate::pipeline::Step;
use crate::ports::Now;
use crate::ring::{self, Receiver, Sender};

/// Where a frame was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It came in.
    Rx,
    /// It, or a copy of it, is on its way out, as it will be on the wire.
    Tx,
    /// It, or a copy of it, ended.
    Drop(Direction, DropReason),
}

/// A stage without the reason.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// See [`Stage::Rx`].
    Rx,
    /// See [`Stage::Tx`].
    Tx,
    /// See [`Stage::Drop`].
    Drop,
}

impl Place {
    /// All, in the order of counters.
    pub const ALL: [Self; 3] = [Self::Rx, Self::Tx, Self::Drop];

    /// `rx`, `tx` or `drop`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
            Self::Drop => "drop",
        }
    }
}

impl Stage {
    /// Which it is, whatever the reason.
    pub fn place(self) -> Place {
        match self {
            Self::Rx => Place::Rx,
            Self::Tx => Place::Tx,
            Self::Drop(..) => Place::Drop,
        }
    }
}

/// Which stages are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stages {
    /// Frames as they come in. One that a queue had to refuse is seen as dropped only.
    pub rx: bool,
    /// Copies on their way out. One that its port then has no room for is seen as dropped too.
    pub tx: bool,
    /// What ends.
    pub drop: bool,
}

/// What is known of a captured frame beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// When: the time of its burst.
    pub at: Now,
    /// The device it came from, or was to leave by.
    pub device: DeviceId,
    /// Where.
    pub stage: Stage,
    /// How long it was, in bytes from the destination address on; for a super-frame, all of it.
    pub length: u32,
    /// How it is to be cut, if it is a super-frame: into segments with at most so many bytes of payload.
    pub gso: Option<(GsoKind, u16)>,
    /// Its transport checksum is left to whoever sends it on a wire.
    pub is_partial: bool,
}

/// The worker's end.
pub struct Capture {
    stages: Stages,
    longest: usize,
    ring: Sender,
    missed: Missed, // the worker writes, the reader reads
    bell: Arc<Bell>,
    pub(super) now: Now,
}

/// The reader's end.
pub struct CaptureReader {
    ring: Receiver,
    missed: Missed,
}

/// What a ring had no room for, by device and place.
type Missed = Arc<[[Counter; Place::ALL.len()]]>;

/// Devices that may come while a capture runs and still have their own count of what is missed.
const TO_COME: usize = 64;

/// A capture of up to `longest` bytes of each frame, through a ring of `room` bytes, when there are `devices` devices. `bell`
/// is rung after each burst that there is news of.
pub fn capture(
    stages: Stages,
    longest: usize,
    room: usize,
    devices: usize,
    bell: Arc<Bell>,
) -> (Capture, CaptureReader) {
    let (sender, receiver) = ring::ring(room);
    let missed: Missed = (0..devices + TO_COME).map(|_| Default::default()).collect();
    let reader = CaptureReader { ring: receiver, missed: Arc::clone(&missed) };
    (Capture { stages, longest, ring: sender, missed, bell, now: Now::default() }, reader)
}

impl Capture {
    /// The device of a step that a capture may look at.
    #[inline(always)]
    pub(super) fn device_of(step: Step) -> Option<DeviceId> {
        match step {
            Step::Received(device)
            | Step::Surfaced(device)
            | Step::Queued(device)
            | Step::Descended(device)
            | Step::Dropped(device, ..) => Some(device),
            _ => None,
        }
    }

    pub(super) fn see(&mut self, scope: &Scope, step: Step, frame: &Frame) {
        let (device, stage) = match step {
            Step::Received(device) | Step::Surfaced(device) if self.stages.rx => (device, Stage::Rx),
            Step::Queued(device) | Step::Descended(device) if self.stages.tx => (device, Stage::Tx),
            Step::Dropped(device, direction, reason) if self.stages.drop => {
                (device, Stage::Drop(direction, reason))
            }
            _ => return,
        };
        if !scope.has(device, frame.bytes()) {
            return;
        }
        let record = Record {
            at: self.now,
            device,
            stage,
            length: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            gso: frame.gso().map(|gso| (gso.kind, gso.size)),
            is_partial: matches!(frame.checksum(), Checksum::Partial { .. }),
        };
        let bytes = &frame.bytes()[..frame.len().min(self.longest)];
        if self.ring.push(record.encode(), bytes).is_err() {
            let of = &self.missed[device.index().min(self.missed.len() - 1)];
            of[stage.place() as usize].add(1);
        }
    }

    /// Shows the reader what was seen.
    pub(super) fn show(&mut self) {
        if self.ring.flush() {
            self.bell.ring();
        }
    }
}

impl CaptureReader {
    /// The next record, its bytes in place of what is in `bytes`.
    pub fn receive(&mut self, bytes: &mut Vec<u8>) -> Option<Record> {
        let ring::Record { meta, len } = self.ring.peek()?;
        bytes.resize(len, 0);
        self.ring.pop_into(bytes);
        Some(Record::decode(meta))
    }

    /// Frames that the ring had no room for, where there are any. Devices that came when many had come already are counted as
    /// the last of those.
    pub fn missed(&self) -> impl Iterator<Item = (DeviceId, Place, u64)> {
        let of = |(device, counts): (u16, &[Counter; 3])| {
            let value = |place: Place| (DeviceId(device), place, counts[place as usize].value());
            Place::ALL.map(value)
        };
        (0u16..).zip(self.missed.iter()).flat_map(of).filter(|(.., missed)| *missed > 0)
    }
}

const RX: u8 = 0;
const TX: u8 = 1;
const DROP: u8 = 2; // of the first reason, going in; going out is one more, and the next reason two
const _: () = assert!(DROP as usize + 2 * DropReason::ALL.len() <= 1 << 8);

/// Bits of a record's second word, from its lowest on.
const DEVICE: u32 = 48;
const STAGE: u32 = 40;
const LENGTH: u32 = 20;
const SIZE: u32 = 4;
const KIND: u32 = 1;

/// No frame is longer than 20 bits say.
const LONGEST: u32 = (1 << (STAGE - LENGTH)) - 1;
const _: () = assert!(PoolConfig::SUPER_FRAME_CHUNKS as usize * CHUNK <= LONGEST as usize);

impl Record {
    fn encode(self) -> [u64; 2] {
        let stage = match self.stage {
            Stage::Rx => RX,
            Stage::Tx => TX,
            Stage::Drop(direction, reason) => DROP + 2 * reason as u8 + direction as u8,
        };
        let (kind, size) = match self.gso {
            None => (0, 0),
            Some((GsoKind::TcpV4, size)) => (1, size),
            Some((GsoKind::TcpV6, size)) => (2, size),
            Some((GsoKind::UdpL4, size)) => (3, size),
        };
        let word = u64::from(self.device.0) << DEVICE
            | u64::from(stage) << STAGE
            | u64::from(self.length.min(LONGEST)) << LENGTH
            | u64::from(size) << SIZE
            | kind << KIND
            | u64::from(self.is_partial);
        [self.at.unix_ns, word]
    }

    fn decode([unix_ns, word]: [u64; 2]) -> Self {
        let [d0, d1, stage, ..] = word.to_be_bytes();
        let size = u16::try_from(word >> SIZE & 0xffff).unwrap_or(0);
        let kind = match word >> KIND & 3 {
            0 => None,
            1 => Some(GsoKind::TcpV4),
            2 => Some(GsoKind::TcpV6),
            _ => Some(GsoKind::UdpL4),
        };
        let stage = match stage {
            RX => Stage::Rx,
            TX => Stage::Tx,
            _ => {
                let which = usize::from(stage - DROP);
                let reason = DropReason::ALL.get(which / 2).expect("only reasons are encoded");
                Stage::Drop(Direction::ALL[which % 2], *reason)
            }
        };
        Self {
            at: Now { unix_ns },
            device: DeviceId(u16::from_be_bytes([d0, d1])),
            stage,
            length: u32::try_from(word >> LENGTH & u64::from(LONGEST)).unwrap_or(LONGEST),
            gso: kind.map(|kind| (kind, size)),
            is_partial: word & 1 == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_what_it_was_made_of() {
        let drops = DropReason::ALL.iter().flat_map(|&r| Direction::ALL.map(|d| Stage::Drop(d, r)));
        for stage in drops.chain([Stage::Rx, Stage::Tx]) {
            let at = Now { unix_ns: 0x0123_4567_89ab_cdef };
            for kind in [None, Some(GsoKind::TcpV4), Some(GsoKind::TcpV6), Some(GsoKind::UdpL4)] {
                let gso = kind.map(|kind| (kind, 0x1234));
                let is_partial = kind.is_some();
                let record = Record { at, device: DeviceId(0xabcd), stage, length: LONGEST, gso, is_partial };
                assert_eq!(Record::decode(record.encode()), record);
            }
        }
    }
}
