//! `rigswitch bench rfc2544` and `rfc2889`: between the far ends of two ports of whatever forwards.

use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;

use super::frames::{Frames, Size, size};
use super::generate::time;
use super::measure::stop_on_signal;
use super::output::{Output, as_typed};
use crate::bench::ends::Ends;
use crate::bench::report::{Report, StolenSince};
use crate::bench::search::Precision;
use crate::bench::{rfc2544, rfc2889};
use crate::cli::Failure;
use crate::traffic::{Port, Rate};

/// Where it is measured, and how.
#[derive(Args)]
struct Between {
    /// The device that sends: the far end of one port
    #[arg(long, value_name = "DEVICE")]
    from: String,
    /// The device that receives: the far end of another
    #[arg(long, value_name = "DEVICE")]
    to: String,
    /// The network namespace that they are in
    #[arg(long, value_name = "NAME")]
    netns: Option<String>,
    /// That of the device that receives, if it is another
    #[arg(long, value_name = "NAME")]
    to_netns: Option<String>,
    /// How long a trial takes; RFC 2544 wants 60s
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2s")]
    trial: Duration,
    /// The highest rate: max, 1.5Mpps, 10Gbit
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// Rates are told apart to so many percent of the highest
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "1")]
    resolution: f64,
    /// Loss that counts as none; 0 in the RFC
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "0")]
    loss: f64,
    /// How often everything is measured
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 3)]
    rounds: u32,
    /// The CPU that makes the frames; on veths it also does the receiving of the port they go to
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,
    #[command(flatten)]
    output: Output,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim_end_matches('%').parse().map_err(|_| "a number of percent".to_owned())?;
    if (0.0..100.0).contains(&number) {
        Ok(number / 100.0)
    } else {
        Err("0 or more, and less than 100".into())
    }
}

impl Between {
    fn precision(&self) -> Precision {
        // Finer than what a trial of a million frames can tell makes no sense.
        Precision { resolution: self.resolution.max(1e-6), tolerated: self.loss }
    }

    fn method(&self) -> String {
        let rate = match self.rate {
            Rate::Max => "what the generator makes".to_owned(),
            Rate::Frames(rate) => format!("{rate} frames a second"),
            Rate::Bits(bits) => format!("{} Gbit/s on the wire", bits / 1e9),
        };
        format!(
            "Frames are sent from {} and counted on {}, and so measured is whatever forwards between the two. A trial takes {:?} and is over \
             when nothing has come for a fifth of a second. The highest rate is {rate}; rates are told apart to {} % of it, and loss up to \
             {} % counts as none. A rate is what was really sent, not what was asked for. Everything is measured {} times.",
            self.from,
            self.to,
            self.trial,
            self.resolution * 100.0,
            self.loss * 100.0,
            self.rounds
        )
    }

    /// Has `measure` done between the two devices, and delivers the report.
    fn measure(
        self,
        title: &str,
        added: usize,
        measure: impl FnOnce(&mut Ends<'_>, &mut Report, &dyn Fn(&str)),
    ) -> Result<(), Failure> {
        // Signals first: from here on nothing ends the process before it has told what there is.
        let stop = stop_on_signal()?;
        let folder = self.output.folder()?;
        let from = Port::open(&self.from, self.netns.as_deref())?;
        let to = Port::open(&self.to, self.to_netns.as_deref().or(self.netns.as_deref()))?;
        let mut report = Report::new(title, as_typed());
        let stolen = StolenSince::now();
        let mut ends = Ends::new(from, to, added, self.cpu, self.trial, &stop)?;
        report.method = vec![self.method(), ends.method()];
        let bar = ProgressBar::new_spinner();
        measure(&mut ends, &mut report, &|what| {
            bar.set_message(what.to_owned());
            bar.tick();
        });
        bar.finish_and_clear();
        report.machine.steal_percent = stolen.percent();
        ends.tell_disturbed(&mut report);
        self.output.deliver(&report, folder.as_ref())
    }
}

/// Measure throughput, latency, frame loss and back-to-back frames between two devices, as RFC 2544 has it
///
/// The devices are the far ends of two ports of something that forwards between them: a running switch of ours, the kernel's
/// bridge, or any other.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Rfc2544 {
    #[command(flatten)]
    between: Between,
    /// Sizes, each measured by itself, in bytes with the FCS; imix: 64, 594 and 1518 as 7 to 4 to 1
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = size, default_value = "64,512,1518")]
    size: Vec<Size>,
    #[command(flatten)]
    frames: Frames,
}

impl Rfc2544 {
    pub(super) fn run(self) -> Result<(), Failure> {
        let streams = self.size.iter().map(|size| (size.name(), self.frames.stream(size.turns())));
        let plan = rfc2544::Plan {
            streams: streams.collect(),
            most: self.between.rate,
            precision: self.between.precision(),
            rounds: self.between.rounds,
        };
        let added = plan.streams.first().map_or(0, |(_, stream)| stream.added());
        self.between.measure("RFC 2544 benchmarks", added, move |ends, report, tell| {
            rfc2544::measure(ends, &plan, report, tell);
        })
    }
}

/// Measure what a bridge learns and forwards between two devices: address caching capacity, learning rate, forwarding rates and
/// broadcasts, as RFC 2889 has it
///
/// The devices are the far ends of two ports of the bridge: of a running switch of ours, of the kernel's bridge, or of any other.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Rfc2889 {
    #[command(flatten)]
    between: Between,
    /// The size of the frames that are forwarded, in bytes with the FCS; those that teach are as short as can be
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "64")]
    size: Size,
    /// The most addresses that are tried
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8_388_608), default_value_t = 16_384)]
    addresses: u32,
    /// Frames a second that teach and ask, where the rate is not what is measured
    #[arg(long, value_name = "RATE", default_value = "50kpps")]
    careful: Rate,
    /// How long the bridge takes to forget addresses; waited for before each trial of the learning rate. A table that has room for
    /// all of them needs none
    #[arg(long, value_name = "TIME", value_parser = time)]
    ageing: Option<Duration>,
    #[command(flatten)]
    frames: Frames,
}

impl Rfc2889 {
    pub(super) fn run(self) -> Result<(), Failure> {
        let stream = self.frames.stream(self.size.turns());
        let Some(careful) = self.careful.frames(&stream) else {
            return Err(Failure::Usage("--careful: a rate at which nothing is lost, not max".into()));
        };
        let added = stream.added();
        let plan = rfc2889::Plan {
            stream,
            most: self.between.rate,
            precision: self.between.precision(),
            rounds: self.between.rounds,
            addresses: self.addresses,
            careful,
            ageing: self.ageing.unwrap_or_default(),
        };
        self.between.measure("RFC 2889 benchmarks", added, move |ends, report, tell| {
            rfc2889::measure(ends, &plan, report, tell);
        })
    }
}
