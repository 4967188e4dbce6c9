//! The bridge's part of the line: parse, learn, look up, and out.
//!
//! IEEE 802.1Q §8.6–8.8 in the kernel's reading (net/bridge/br_input.c). Each step is a loop over the whole burst, so that the
//! table's lines are on their way into the cache before the first of them is read.

use arrayvec::ArrayVec;

use crate::counters::WorkerCounters;
use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, Frame};
use crate::ids::{DeviceId, DomainId, MacAddr};
use crate::pipeline::{Context, Egress, Lesson, Observer, Transmit, Verdict};
use crate::punt::PuntReason;
use crate::tables::{Entry, Flags, Key, Learned, Role, Spot};

/// What parsing found in a frame: its class, and its addresses as places in the MAC table.
#[derive(Clone, Copy)]
struct Parsed {
    source: Spot,
    destination: Spot,
    class: Class,
}

/// What the addresses say about the frame's way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// To one station.
    Individual,
    /// To a group.
    Group,
    /// To an address that bridges keep to themselves.
    Reserved,
    /// Not to be forwarded, nor learned from.
    Refused(DropReason),
}

/// The stage's working memory: what parsing found, frame by frame.
#[derive(Default)]
pub(crate) struct BridgeStage {
    parsed: ArrayVec<Parsed, BURST>,
}

impl BridgeStage {
    /// Takes a burst that came from `device`, a member of `domain`, through the bridge. It is empty afterwards.
    pub(crate) fn run<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        domain: DomainId,
        burst: &mut Burst,
        egress: &mut Egress,
    ) {
        self.parse(cx, domain, burst);
        self.learn(cx, device, burst);
        for (frame, parsed) in burst.drain().zip(self.parsed.iter()) {
            let (verdict, entry) = decide(cx, device, domain, parsed);
            cx.observer.decided(&frame, entry.as_ref(), verdict);
            match verdict {
                Verdict::Forward(to) => egress.forward(cx, device, to, frame),
                Verdict::Flood(domain) => egress.flood(cx, device, domain, frame),
                Verdict::Drop(reason) => cx.discard(device, Direction::Rx, reason, frame),
                Verdict::Punt(reason) => punt(cx, device, reason, frame),
            }
        }
    }

    /// Reads the addresses, sorts the frames by them, and asks the cache for the lines of the table.
    #[inline]
    fn parse<O: Observer, T: Transmit>(&mut self, cx: &Context<'_, O, T>, domain: DomainId, burst: &Burst) {
        let macs = cx.macs;
        self.parsed.clear();
        for frame in burst.iter() {
            let (class, destination, source) = classify(frame.bytes());
            let source = macs.locate(Key::new(domain, source));
            let destination = macs.locate(Key::new(domain, destination));
            macs.prefetch(source);
            macs.prefetch(destination);
            // The burst has no more frames than this has room for.
            let _ = self.parsed.try_push(Parsed { source, destination, class });
        }
    }

    /// Notes who is behind `device`. A table that knows already is not written to.
    #[inline]
    fn learn<O: Observer, T: Transmit>(&self, cx: &mut Context<'_, O, T>, device: DeviceId, burst: &Burst) {
        let (macs, tick) = (cx.macs, cx.tick);
        for (frame, parsed) in burst.iter().zip(self.parsed.iter()) {
            if matches!(parsed.class, Class::Refused(_)) {
                continue;
            }
            let learned = macs.learn(parsed.source, device.into(), tick);
            let lesson = if learned == Learned::Known { Lesson::Known } else { news(cx.counters, learned) };
            cx.observer.learned(frame, lesson);
        }
    }
}

/// Counts what a source address taught.
fn news(counters: &WorkerCounters, learned: Learned) -> Lesson {
    match learned {
        Learned::Known | Learned::Refreshed => Lesson::Known,
        Learned::New => {
            counters.learned.add(1);
            Lesson::Learned
        }
        Learned::Moved { from } => {
            counters.moved.add(1);
            Lesson::Moved(from.device)
        }
        Learned::Refused => Lesson::Pinned,
        Learned::Full => {
            counters.table_full.add(1);
            Lesson::TableFull
        }
    }
}

/// The addresses 01:80:C2:00:00:00 to 0F (IEEE 802.1Q-2022 table 8-1).
const RESERVED: u64 = 0x0180_c200_0000;

/// What the addresses of a frame say about its way, and they themselves: destination, then source.
#[inline]
fn classify(bytes: &[u8]) -> (Class, MacAddr, MacAddr) {
    let Some(header) = bytes.first_chunk::<14>() else {
        return (Class::Refused(DropReason::Truncated), MacAddr::ZERO, MacAddr::ZERO);
    };
    // Eight bytes from the start and the last eight hold an address each: one load apiece.
    let (Some(first), Some(last)) = (header.first_chunk(), header.last_chunk()) else {
        unreachable!("14 are enough")
    };
    let destination = MacAddr::from_bits(u64::from_be_bytes(*first) >> 16);
    let source = MacAddr::from_bits(u64::from_be_bytes(*last) >> 16);
    let class = if source.is_group() || source.is_zero() {
        Class::Refused(if source.is_zero() { DropReason::SourceZero } else { DropReason::SourceGroup })
    } else if destination.is_group() {
        group(destination)
    } else {
        Class::Individual
    };
    (class, destination, source)
}

/// What a group address says about a frame's way.
#[cold]
fn group(destination: MacAddr) -> Class {
    match destination.bits() {
        bits if bits & !0xf != RESERVED => Class::Group,
        RESERVED => Class::Group, // with STP off, the kernel floods BPDUs like any other group
        0x0180_c200_0001 => Class::Refused(DropReason::ReservedAddress), // PAUSE: the kernel does not even learn from it
        _ => Class::Reserved,
    }
}

/// What is to become of a frame, and the entry that says so, if one does.
#[inline]
fn decide<O: Observer, T: Transmit>(
    cx: &Context<'_, O, T>,
    device: DeviceId,
    domain: DomainId,
    parsed: &Parsed,
) -> (Verdict, Option<Entry>) {
    if parsed.class != Class::Individual {
        return (decide_rare(cx, domain, parsed.class), None);
    }
    // An entry may be older than the tables: what it names must still be a member here, or it is as good as none.
    let entry = cx.macs.find(parsed.destination);
    let entry = entry.filter(|entry| cx.tables.device(entry.egress().device).role == Role::Bridge(domain));
    let verdict = match entry {
        Some(entry) if entry.flags() == Flags::LOCAL => Verdict::Drop(DropReason::NoHost),
        Some(entry) if entry.egress().device == device => Verdict::Drop(DropReason::SamePort),
        Some(entry) => Verdict::Forward(entry.egress().device),
        None => Verdict::Flood(domain),
    };
    (verdict, entry)
}

/// The same for what is not for one station.
#[cold]
fn decide_rare<O: Observer, T: Transmit>(cx: &Context<'_, O, T>, domain: DomainId, class: Class) -> Verdict {
    match class {
        Class::Individual | Class::Group => Verdict::Flood(domain),
        Class::Refused(reason) => Verdict::Drop(reason),
        Class::Reserved if cx.tables.domain(domain).punts_reserved => {
            Verdict::Punt(PuntReason::ReservedAddress)
        }
        Class::Reserved => Verdict::Drop(DropReason::ReservedAddress),
    }
}

/// Hands a frame to control.
#[cold]
fn punt<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    reason: PuntReason,
    frame: Frame,
) {
    if cx.punt.offer(device, reason, cx.tick, frame.bytes()) {
        cx.counters.consumed.add(1);
        cx.pool.free(frame);
    } else {
        cx.discard(device, Direction::Rx, DropReason::PuntFull, frame);
    }
}
