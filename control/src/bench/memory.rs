//! A switch with no I/O: its ports make their own frames and throw away what they are sent, and this thread does its work.

use std::iter;
use std::time::Duration;

use rigswitch_dataplane::ports::{Now, PortQueue};
use rigswitch_dataplane::sys::cpu::thread_time;
use rigswitch_dataplane::sys::perf::{Counts, Perf};

use super::BenchError;
use crate::config::Config;
use crate::switch::{ByHand, Switch};

/// What puts frames into a port of the switch.
pub(super) type Queue = Box<dyn PortQueue + Send>;

/// Turns between two looks at the clock.
const STRIDE: u32 = 64;

/// What a frame costs, in CPU time of the thread: others on the machine take turns, and not from this.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sample {
    pub(super) ns: f64,
    /// Nothing where they are not counted.
    pub(super) cycles: Option<f64>,
    pub(super) instructions: Option<f64>,
}

/// How long a trial takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Trial {
    /// Frames that go through beforehand: stations are learned, caches filled.
    pub(super) beforehand: u64,
    pub(super) length: Duration,
    /// Whether the switch is to forward every frame, or none.
    pub(super) forwards: bool,
}

/// Why cycles and instructions are not counted here, if they are not.
pub(super) fn not_counted() -> Option<String> {
    let counted = Perf::of_this_thread().and_then(|perf| perf.read());
    counted
        .err()
        .map(|error| format!("Cycles and instructions are not counted: perf_event_open(2) says “{error}”."))
}

/// What a frame costs in a switch of this configuration, whose ports of these names have these queues.
///
/// # Errors
/// When the switch does not start, or does not do with every frame what the trial asks for.
pub(super) fn measure(config: &str, queues: Vec<(&str, Queue)>, trial: Trial) -> Result<Sample, BenchError> {
    by_hand(config, |hand| {
        for (port, queue) in queues {
            hand.switch().replace_queue(port, queue);
        }
        hand.step();
        let perf = Perf::of_this_thread().ok();
        turns(hand, |frames, _| frames < trial.beforehand);
        let counts = || perf.as_ref().and_then(|perf| perf.read().ok());
        let (before, start) = (counts(), thread_time());
        let frames = turns(hand, |_, now| now - start < trial.length) as f64;
        let (elapsed, after) = (thread_time() - start, counts());
        check(hand.switch(), trial.forwards)?;
        let each = |count: fn(&Counts) -> u64| {
            Some(count(after.as_ref()?).saturating_sub(count(before.as_ref()?)) as f64 / frames)
        };
        Ok(Sample {
            ns: elapsed.as_secs_f64() * 1e9 / frames,
            cycles: each(|counts| counts.cycles),
            instructions: each(|counts| counts.instructions),
        })
    })
}

/// What leaves by port `to` of frames that are put into port `from`.
///
/// # Errors
/// When the switch does not start, or something else becomes of one of them.
pub(super) fn through(
    config: &str,
    from: &str,
    to: &str,
    frames: &[Vec<u8>],
) -> Result<Vec<Vec<u8>>, BenchError> {
    by_hand(config, |hand| {
        let mut end = |port: &str| hand.switch().memory_end(port).ok_or(BenchError::NoFrames);
        let (into, out) = (end(from)?, end(to)?);
        // What goes through several devices takes a turn for each.
        let settle = |hand: &mut ByHand<'_>| {
            for _ in 0..8 {
                hand.step();
            }
        };
        // What the switch has to say by itself, it says when it starts.
        settle(hand);
        while out.receive().is_some() {}
        let mut left = Vec::new();
        for frame in frames {
            // The port holds more than one.
            let _ = into.send(frame.clone());
            settle(hand);
            left.extend(iter::from_fn(|| out.receive()).map(|wire| wire.bytes));
        }
        check(hand.switch(), true)?;
        if left.len() == frames.len() { Ok(left) } else { Err(BenchError::NoFrames) }
    })
}

fn by_hand<T>(
    config: &str,
    drive: impl FnOnce(&mut ByHand<'_>) -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    Switch::by_hand(Config::parse(config, "bench")?, Now::default(), drive)?
}

/// Turns the switch as long as there is to be more; how many frames came in.
fn turns(hand: &mut ByHand<'_>, more: impl Fn(u64, Duration) -> bool) -> u64 {
    let mut frames = 0;
    while more(frames, thread_time()) {
        for _ in 0..STRIDE {
            frames += hand.step() as u64;
        }
    }
    frames
}

/// A figure is worth nothing if the frames did not go where they should.
fn check(switch: &Switch, forwards: bool) -> Result<(), BenchError> {
    let drops = switch.drops();
    let ledger = &drops.ledger;
    if !ledger.balanced {
        return Err(BenchError::Unbalanced);
    }
    let dropped = ledger.frames_dropped + ledger.copies_dropped;
    match (forwards, dropped, ledger.sent) {
        (true, 0, 1..) | (false, _, 0) => Ok(()),
        (true, 0, 0) => Err(BenchError::NoFrames),
        _ => {
            let worst = drops.drops.iter().max_by_key(|drop| drop.packets);
            Err(BenchError::Dropped(
                dropped,
                worst.map(|drop| format!("{} on {}", drop.reason, drop.device)).unwrap_or_default(),
            ))
        }
    }
}
