//! A generator and a sink, and between them whatever is measured: trials, of which each frame is accounted for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Amount, Expect, Generator, Load, Port, Rate, Received, Sent, Sink, Stream, TrafficError};

/// Two ports at the far ends of something that forwards from one to the other.
#[derive(Debug)]
pub struct Pair {
    from: Port,
    to: Port,
    sink: Sink,
    /// The CPU that frames are made on.
    cpu: Option<usize>,
    /// How long it has to be quiet for none to be on its way any more.
    quiet: Duration,
    run: u8,
}

/// What came of a trial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What was sent.
    pub sent: Sent,
    /// What arrived of it.
    pub received: Received,
}

impl Outcome {
    /// Frames that did not arrive.
    pub fn lost(&self) -> u64 {
        self.sent.frames.saturating_sub(self.received.frames - self.received.duplicated)
    }

    /// The part of the frames that did not arrive.
    pub fn loss(&self) -> f64 {
        self.lost() as f64 / self.sent.frames.max(1) as f64
    }
}

/// How long frames may stay out after the last one was sent (RFC 2544 §23), and how long it has to be quiet for there to be none,
/// unless somebody knows better.
const RESIDUE: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(200);

/// How fast a bridge is told where stations are.
const TEACHING: Rate = Rate::Frames(50_000.0);

impl Pair {
    /// Frames are to be sent by `from`, made on `cpu` if one is named, and counted on `to`.
    ///
    /// # Errors
    /// When nothing can be counted there.
    pub fn new(from: Port, to: Port, expect: Expect, cpu: Option<usize>) -> Result<Self, TrafficError> {
        let sink = Sink::new(to.clone(), expect)?;
        Ok(Self { from, to, sink, cpu, quiet: QUIET, run: 0 })
    }

    /// A trial is over when nothing has come for so long.
    #[must_use]
    pub fn with_quiet(self, quiet: Duration) -> Self {
        Self { quiet, ..self }
    }

    /// The sink, which has what came of the last trial.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Has a bridge learn where the destinations of the stream are: a frame from each of them, twice, to its sources.
    ///
    /// # Errors
    /// When nothing can be sent from the far port.
    pub fn teach(&mut self, stream: &Stream, stop: &AtomicBool) -> Result<(), TrafficError> {
        let back = Stream { sizes: vec![stream.shortest()], ..stream.reversed() };
        let amount = Amount::Count(2 * u64::from(stream.destinations()));
        self.run = self.run.wrapping_add(1);
        let back = Stream { run: self.run, ..back };
        Generator::new(self.to.clone(), back, self.cpu)?.run(Load { rate: TEACHING, amount }, stop).map(drop)
    }

    /// Sends, waits for what is still out, and says what came of it.
    ///
    /// # Errors
    /// What is wrong with the stream, or the kernel says.
    pub fn trial(&mut self, stream: &Stream, load: Load, stop: &AtomicBool) -> Result<Outcome, TrafficError> {
        self.run = self.run.wrapping_add(1);
        let stream = Stream { run: self.run, ..stream.clone() };
        let generator = Generator::new(self.from.clone(), stream, self.cpu)?;
        self.sink.restart(self.run);
        let sent = generator.run(load, stop)?;
        self.drain(sent.frames, stop);
        Ok(Outcome { sent, received: self.sink.received() })
    }

    /// Waits until all have come, or none comes any more.
    fn drain(&self, sent: u64, stop: &AtomicBool) {
        let end = Instant::now() + RESIDUE;
        let (mut seen, mut since) = (self.sink.frames(), Instant::now());
        while seen < sent
            && Instant::now() < end
            && since.elapsed() < self.quiet
            && !stop.load(Ordering::Relaxed)
        {
            thread::sleep(self.quiet / 40);
            let now = self.sink.frames();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }
}
