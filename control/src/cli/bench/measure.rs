//! What all that measure have in common: how often, how long, and an end that keeps what there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{Output, as_typed};
use crate::bench::report::{Report, StolenSince};
use crate::bench::stats::CONFIDENCE;
use crate::bench::trial::Schedule;
use crate::bench::{Measured, Watch};
use crate::cli::run::Signals;
use crate::cli::{Failure, runtime};

#[derive(Args)]
pub(super) struct Measure {
    /// Trials of each case, taken by turns [default: 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// How long a trial is [default: 250]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    millis: Option<u64>,
    /// A first look in seconds: 3 short trials of each case
    #[arg(long, conflicts_with_all = ["rounds", "millis"])]
    quick: bool,
    #[command(flatten)]
    output: Output,
}

impl Measure {
    pub(super) fn schedule(&self) -> Schedule {
        Schedule { rounds: self.rounds.unwrap_or(if self.quick { 3 } else { 7 }), warm_up: 1 }
    }

    pub(super) fn length(&self) -> Duration {
        Duration::from_millis(self.millis.unwrap_or(if self.quick { 20 } else { 250 }))
    }

    /// Has `work` measure, and delivers what came of it. A signal ends it, and what there is by then is delivered too.
    pub(super) fn report(&self, title: &str, work: impl FnOnce(&Watch) -> Measured) -> Result<(), Failure> {
        // Signals first: from here on nothing ends the process before it has told what there is.
        let watch = Watch { stop: stop_on_signal()?, bar: bar() };
        let folder = self.output.folder()?;
        let mut report = Report::new(title, as_typed());
        let stolen = StolenSince::now();
        let measured = work(&watch);
        watch.bar.finish_and_clear();
        report.machine.steal_percent = stolen.percent();
        report.method.push(self.method());
        report.machine.drivers.extend(measured.drivers);
        report.machine.offloads.extend(measured.offloads);
        (report.sections, report.ended_early) = (measured.sections, measured.ended_early);
        report.disturbed = measured.disturbed;
        self.output.deliver(&report, folder.as_ref())
    }

    fn method(&self) -> String {
        let Schedule { rounds, warm_up } = self.schedule();
        let often = if rounds == 1 { "once".to_owned() } else { format!("{rounds} times") };
        format!(
            "Each case was measured {often} for {} ms, all cases by turns, after {warm_up} turn that does not count. Figures are \
             medians with {:.0} % bootstrap intervals; a trial during which the hypervisor took more than 1 % of the CPU time was thrown \
             away, counted, and made up for.",
            self.length().as_millis(),
            CONFIDENCE * 100.0
        )
    }
}

/// Becomes true when the process is asked to end.
pub(super) fn stop_on_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = runtime()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let asked = Arc::clone(&stop);
    // It ends with the process.
    thread::spawn(move || {
        runtime.block_on(signals.next());
        asked.store(true, Ordering::Relaxed);
    });
    Ok(stop)
}

/// A bar over trials; nothing where no terminal is.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {eta:>4} left  {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
