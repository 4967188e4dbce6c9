//! `rigswitch bench sink`: the frames of a generator, counted and checked where they arrive.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::generate::{frames_per_second, time};
use super::measure::stop_on_signal;
use crate::cli::{Failure, print};
use crate::traffic::{Expect, Port, Received, Sink};

/// Count the frames of `bench generate` that arrive on a device, and check them
///
/// They end there; all others go on to the host. It ends when it is interrupted, or by --for or --count.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SinkArgs {
    /// The device that they arrive on
    #[arg(long, value_name = "DEVICE")]
    dev: String,
    /// The network namespace that it is in
    #[arg(long, value_name = "NAME")]
    netns: Option<String>,
    /// End after so long
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// End when so many have come
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Flows whose order is checked; of others, frames are only counted
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    flows: u32,
    /// They arrive with a VLAN tag
    #[arg(long)]
    tagged: bool,
    /// As JSON
    #[arg(short)]
    json: bool,
}

/// How often it is looked whether it is time to end, and how often what has come is shown.
const LOOK: Duration = Duration::from_millis(20);

const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

#[derive(Serialize)]
struct Told {
    dev: String,
    frames: u64,
    bytes: u64,
    seconds: f64,
    pps: f64,
    missing: u64,
    reordered: u64,
    duplicated: u64,
    corrupted: u64,
    unchecked: u64,
    foreign: u64,
    /// Nanoseconds at 50, 90, 99 and 99.9 %, and at most.
    latency_ns: Vec<u128>,
}

impl SinkArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Signals first: from here on nothing ends the process before it has told what has come.
        let stop = stop_on_signal()?;
        let port = Port::open(&self.dev, self.netns.as_deref())?;
        let sink = Sink::new(port, Expect { flows: self.flows, added: if self.tagged { 4 } else { 0 } })?;
        // For whoever starts a generator next.
        let _ = writeln!(
            io::stderr(),
            "rigswitch: counting on {}, by a program in its {}",
            self.dev,
            if sink.is_native() { "driver" } else { "stack: its driver has no XDP" }
        );
        let (duration, count) = (self.duration, self.count.unwrap_or(u64::MAX));
        let received = watch(&sink, duration, count, &stop);
        print(&if self.json { self.as_json(&received)? } else { text(&received) })
    }

    fn as_json(&self, received: &Received) -> Result<String, Failure> {
        let latencies = &received.latencies;
        let quantiles = QUANTILES.iter().map(|&part| latencies.quantile(part)).chain([latencies.max()]);
        let told = Told {
            dev: self.dev.clone(),
            frames: received.frames,
            bytes: received.bytes,
            seconds: received.time.as_secs_f64(),
            pps: received.rate(),
            missing: received.missing,
            reordered: received.reordered,
            duplicated: received.duplicated,
            corrupted: received.corrupted,
            unchecked: received.unchecked,
            foreign: received.foreign,
            latency_ns: quantiles.flatten().map(|time| time.as_nanos()).collect(),
        };
        serde_json::to_string(&told)
            .map(|text| text + "\n")
            .map_err(|error| Failure::Refused(error.to_string()))
    }
}

/// Waits until it is time to end.
fn watch(sink: &Sink, duration: Option<Duration>, count: u64, stop: &AtomicBool) -> Received {
    let begin = Instant::now();
    let bar = ProgressBar::new_spinner();
    while !stop.load(Ordering::Relaxed)
        && sink.frames() < count
        && duration.is_none_or(|duration| begin.elapsed() < duration)
    {
        bar.set_message(format!("{} frames", sink.frames()));
        bar.tick();
        thread::sleep(LOOK);
    }
    bar.finish_and_clear();
    sink.received()
}

fn text(received: &Received) -> String {
    let mut text = format!(
        "received    {} frames, {} bytes, in {:.3} s: {}\n",
        received.frames,
        received.bytes,
        received.time.as_secs_f64(),
        frames_per_second(received.rate())
    );
    for (name, count, what) in [
        ("missing", received.missing, "frames that did not come before later ones of their flow"),
        ("reordered", received.reordered, "of those received came behind later ones"),
        ("duplicated", received.duplicated, "had come before"),
        ("corrupted", received.corrupted, "have not the bytes that were sent"),
        ("unchecked", received.unchecked, "are of flows beyond those whose order is checked: --flows"),
        ("foreign", received.foreign, "others, left to the host"),
    ] {
        // What is out of the ordinary only where it occurs.
        if count > 0 || !matches!(name, "unchecked" | "foreign") {
            text += &format!("{name:<11} {count} {what}\n");
        }
    }
    let microseconds = |time: Option<Duration>| time.map(|time| time.as_nanos() as f64 / 1000.0);
    let quantile = |part| microseconds(received.latencies.quantile(part)).unwrap_or(0.0);
    if let Some(longest) = microseconds(received.latencies.max()) {
        let [half, most, nearly, almost] = QUANTILES.map(quantile);
        text += &format!(
            "latency     median {half:.1} µs, 90 % {most:.1}, 99 % {nearly:.1}, 99.9 % {almost:.1}, longest {longest:.1}\n"
        );
    }
    text
}
