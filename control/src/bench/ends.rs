//! The far ends of what is measured: trials between them, each of which may be the last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::report::Report;
use super::search::Tried;
use super::trial::{Disturbed, ProcStat, undisturbed};
use crate::traffic::{Amount, Expect, Load, Outcome, Pair, Port, Rate, Stream, TrafficError};

/// Why no more trials are made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// Somebody has had enough.
    #[error("interrupted")]
    Interrupted,
    /// A trial was not possible.
    #[error("{0}")]
    Failed(#[from] TrafficError),
}

/// Two devices that frames go between, and how trials are made.
pub(crate) struct Ends<'a> {
    pair: Pair,
    trial: Duration,
    stop: &'a AtomicBool,
    disturbed: Disturbed,
}

/// Flows whose order is checked.
const FLOWS: u32 = 1 << 16;

impl<'a> Ends<'a> {
    pub(crate) fn new(
        from: Port,
        to: Port,
        added: usize,
        cpu: Option<usize>,
        trial: Duration,
        stop: &'a AtomicBool,
    ) -> Result<Self, TrafficError> {
        let pair = Pair::new(from, to, Expect { flows: FLOWS, added }, cpu)?;
        Ok(Self { pair, trial, stop, disturbed: Disturbed::default() })
    }

    /// Has whatever learns learn where the stream's destinations are.
    pub(crate) fn teach(&mut self, stream: &Stream) -> Result<(), Ended> {
        self.pair.teach(stream, self.stop)?;
        check(self.stop)
    }

    /// A trial as long as trials are, at this rate or as fast as can be.
    pub(crate) fn at(&mut self, stream: &Stream, rate: Option<f64>) -> Result<Outcome, Ended> {
        let rate = rate.map_or(Rate::Max, Rate::Frames);
        self.send(stream, Load { rate, amount: Amount::For(self.trial) })
    }

    /// A trial of so many frames; one that was disturbed is made again.
    pub(crate) fn send(&mut self, stream: &Stream, load: Load) -> Result<Outcome, Ended> {
        let Self { pair, stop, disturbed, .. } = self;
        undisturbed(&mut ProcStat, disturbed, || {
            check(stop)?;
            let outcome = pair.trial(stream, load, stop)?;
            check(stop)?; // what was cut short says nothing
            Ok(outcome)
        })
    }

    /// Has the report tell of trials that were disturbed.
    pub(crate) fn tell_disturbed(&self, report: &mut Report) {
        report.disturbed += u64::from(self.disturbed.discarded);
        if self.disturbed.taken > 0 {
            report.method.push(format!(
                "{} trials were disturbed by CPU steal however often they were made, and were taken as they are: figures are too low rather \
                 than too high.",
                self.disturbed.taken
            ));
        }
    }

    /// Waits so long.
    pub(crate) fn wait(&self, time: Duration) -> Result<(), Ended> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            check(self.stop)?;
            thread::sleep(Duration::from_millis(20).min(time));
        }
        check(self.stop)
    }

    /// How frames are made and counted.
    pub(crate) fn method(&self) -> String {
        let place = if self.pair.sink().is_native() {
            "in the driver"
        } else {
            "in the stack, for its driver has no XDP"
        };
        format!(
            "Frames are made in the kernel by an XDP program that is run on live frames, one by one against the clock (those that are longer than \
             a page, or for a device that takes none from XDP, by this process and a packet socket), and counted by another {place}. Each \
             carries its number, the time it was made at and a pattern. A trial during which the hypervisor took more than 1 % of the CPU \
             time was thrown away, counted, and made again."
        )
    }
}

fn check(stop: &AtomicBool) -> Result<(), Ended> {
    if stop.load(Ordering::Relaxed) { Err(Ended::Interrupted) } else { Ok(()) }
}

/// What a search wants to know of a trial.
pub(crate) fn tried(outcome: &Outcome) -> Tried {
    let arrived = 1.0 - outcome.loss();
    let offered = outcome.sent.rate();
    Tried { offered, received: offered * arrived, loss: outcome.loss() }
}
