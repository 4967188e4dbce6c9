//! The far ends of what is measured: trials between them, each of which may be the last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::search::Tried;
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
}

/// Flows whose order is checked.
const FLOWS: u32 = 1 << 16;

impl<'a> Ends<'a> {
    pub(crate) fn new(
        from: Port,
        to: Port,
        tagged: bool,
        cpu: Option<usize>,
        trial: Duration,
        stop: &'a AtomicBool,
    ) -> Result<Self, TrafficError> {
        let pair = Pair::new(from, to, Expect { flows: FLOWS, tagged }, cpu)?;
        Ok(Self { pair, trial, stop })
    }

    /// Has whatever learns learn where the stream's destinations are.
    pub(crate) fn teach(&mut self, stream: &Stream) -> Result<(), Ended> {
        self.pair.teach(stream, self.stop)?;
        self.check()
    }

    /// A trial as long as trials are, at this rate or as fast as can be.
    pub(crate) fn at(&mut self, stream: &Stream, rate: Option<f64>) -> Result<Outcome, Ended> {
        let rate = rate.map_or(Rate::Max, Rate::Frames);
        self.send(stream, Load { rate, amount: Amount::For(self.trial) })
    }

    /// A trial of so many frames.
    pub(crate) fn send(&mut self, stream: &Stream, load: Load) -> Result<Outcome, Ended> {
        self.check()?;
        let outcome = self.pair.trial(stream, load, self.stop)?;
        self.check()?; // what was cut short says nothing
        Ok(outcome)
    }

    /// Waits so long.
    pub(crate) fn wait(&self, time: Duration) -> Result<(), Ended> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.check()?;
            thread::sleep(Duration::from_millis(20).min(time));
        }
        self.check()
    }

    /// How frames are made and counted.
    pub(crate) fn method(&self) -> String {
        let place = if self.pair.sink().is_native() {
            "in the driver"
        } else {
            "in the stack, for its driver has no XDP"
        };
        format!(
            "Frames are made in the kernel by an XDP program that is run on live frames, one by one against the clock, and counted by another \
             {place}. Each carries its number, the time it was made at and a pattern."
        )
    }

    fn check(&self) -> Result<(), Ended> {
        if self.stop.load(Ordering::Relaxed) { Err(Ended::Interrupted) } else { Ok(()) }
    }
}

/// What a search wants to know of a trial.
pub(crate) fn tried(outcome: &Outcome) -> Tried {
    let arrived = 1.0 - outcome.loss();
    let offered = outcome.sent.rate();
    Tried { offered, received: offered * arrived, loss: outcome.loss() }
}
