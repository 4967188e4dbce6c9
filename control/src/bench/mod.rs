//! `rigswitch bench`: what it costs, measured by turns and with its spread, and told so that it can be put in a report.
//!
//! [`trial`] makes the trials, [`stats`] says what their samples mean, [`report`] holds, prints and writes it, and
//! [`compare`] puts two of them beside each other. [`memory`] is a switch with no I/O, which [`forward`] and [`encap`] measure;
//! [`rfc2544`] and [`rfc2889`] measure between two [`ends`] what nothing else is known of, and [`search`] for where loss begins.

pub(crate) mod compare;
pub(crate) mod encap;
pub(crate) mod ends;
pub(crate) mod forward;
mod memory;
pub(crate) mod report;
pub(crate) mod rfc2544;
pub(crate) mod rfc2889;
pub(crate) mod search;
pub(crate) mod stats;
pub(crate) mod trial;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;

use crate::config::Refused;
use crate::lab::LabError;
use crate::switch::SwitchError;
use crate::traffic::TrafficError;
use report::Section;
use trial::{ProcStat, Schedule, Trials, interleave};

/// Why something was not measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Config(#[from] Refused),
    #[error(transparent)]
    Switch(#[from] SwitchError),
    #[error("{}", if .0.is_denied() { "it takes root".to_owned() } else { .0.to_string() })]
    Lab(#[from] LabError),
    #[error(transparent)]
    Traffic(#[from] TrafficError),
    #[error("{0}")]
    Device(String),
    #[error("{0}")]
    Absent(&'static str),
    #[error("the ledger does not balance, so the figures cannot be trusted: this is a bug, please report it")]
    Unbalanced,
    #[error("no frame came through, so there is nothing to measure")]
    NoFrames,
    #[error("{0} frames were dropped, most as {1}: what was measured is not forwarding")]
    Dropped(u64, String),
}

/// What came of a measurement: what there is, even where it ended early.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) sections: Vec<Section>,
    /// How devices were driven, and what they were left to do, a line each.
    pub(crate) drivers: Vec<String>,
    pub(crate) offloads: Vec<String>,
    pub(crate) ended_early: Option<String>,
    /// Trials thrown away, because the hypervisor took the CPU during them.
    pub(crate) disturbed: u64,
}

/// Who waits for it: a bar that shows how far it is, and a word that ends it.
pub(crate) struct Watch {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) bar: ProgressBar,
}

impl Watch {
    /// So many cases more will be measured.
    fn expect(&self, schedule: Schedule, cases: usize) {
        self.bar.inc_length(u64::from(schedule.warm_up + schedule.rounds) * cases as u64);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// As [`trial::interleave`], shown as it goes. Nothing is measured once something has ended early, and what ends it is noted.
    fn interleave<T>(
        &self,
        cases: usize,
        schedule: Schedule,
        name: impl Fn(usize) -> String,
        measured: &mut Measured,
        mut run: impl FnMut(usize, bool) -> Result<T, BenchError>,
    ) -> Vec<Trials<T>> {
        let schedule = match measured.ended_early {
            Some(_) => Schedule { rounds: 0, warm_up: 0 },
            None => schedule,
        };
        let (trials, done) = interleave(cases, schedule, &mut ProcStat, &self.stop, |case, counts| {
            self.bar.set_message(name(case));
            let sample = run(case, counts).map_err(|error| (case, error));
            self.bar.inc(1);
            sample
        });
        measured.disturbed += trials.iter().map(|trials| u64::from(trials.disturbed)).sum::<u64>();
        if let Err((case, error)) = done {
            measured.ended_early = Some(format!("{}: {error}", name(case)));
        } else if self.is_stopped() && measured.ended_early.is_none() {
            measured.ended_early = Some("interrupted".to_owned());
        }
        trials
    }
}
