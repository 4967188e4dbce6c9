//! `rigswitch bench generate`: frames from a device, as many and as fast as asked for.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::frames::{Frames, Size, size};
use super::measure::stop_on_signal;
use crate::cli::{Failure, print};
use crate::config::parse_duration;
use crate::traffic::{Amount, Generator, Load, Port, Rate, Sent, Stream, TrafficError};

/// Send test frames from a device, made in the kernel where it can
///
/// They carry a number, a time and a pattern, by which `bench sink` checks them at the far end. Rates in bits are those of a link, with
/// FCS, preamble and gap; a rate that is not reached is a failure.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Generate {
    /// The device that sends them
    #[arg(long, value_name = "DEVICE")]
    dev: String,
    /// The network namespace that it is in
    #[arg(long, value_name = "NAME")]
    netns: Option<String>,
    /// How fast: max, 200kpps, 1.5Mpps, 10Gbit
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// Sizes that take turns, in bytes with the FCS, or imix: 64, 594 and 1518 as 7 to 4 to 1
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = size, default_value = "64")]
    size: Vec<Size>,
    /// For how long [default: 10s]
    #[arg(long = "for", value_name = "TIME", value_parser = time, conflicts_with = "count")]
    duration: Option<Duration>,
    /// How many
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The CPU that makes them; on a veth it also does the far end's receiving
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,
    #[command(flatten)]
    frames: Frames,
    /// As JSON
    #[arg(short)]
    json: bool,
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| format!("`{text}` is no time: 10s, 500ms, 2m"))
}

impl From<TrafficError> for Failure {
    fn from(error: TrafficError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// What is slower than this part of the rate asked for has not reached it.
const REACHED: f64 = 0.99;

#[derive(Serialize)]
struct Told {
    dev: String,
    frames: u64,
    bytes: u64,
    seconds: f64,
    pps: f64,
    asked_pps: Option<f64>,
    /// Frames that the device did not take.
    refused: u64,
    /// Else they were written by this process.
    made_in_kernel: bool,
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Signals first: from here on nothing ends the process before it has told what it has sent.
        let stop = stop_on_signal()?;
        let port = Port::open(&self.dev, self.netns.as_deref())?;
        let sizes = self.size.iter().flat_map(|size| size.turns()).collect();
        let generator = Generator::new(port, self.frames.stream(sizes), self.cpu)?;
        let amount = match self.count {
            Some(count) => Amount::Count(count),
            None => Amount::For(self.duration.unwrap_or(Duration::from_secs(10))),
        };
        let load = Load { rate: self.rate, amount };
        let sent = generator.run(load, &stop)?;
        let stream = generator.stream();
        let asked = self.rate.frames(stream);
        let by = generator.is_in_kernel();
        print(&if self.json { self.as_json(&sent, asked, by)? } else { text(&sent, stream, by) })?;
        match asked {
            Some(asked) if sent.frames > 1 && sent.rate() < asked * REACHED => {
                Err(Failure::Refused(format!(
                    "{} of {} was reached: this is what the generator makes here of such frames",
                    frames_per_second(sent.rate()),
                    frames_per_second(asked)
                )))
            }
            _ => Ok(()),
        }
    }

    fn as_json(&self, sent: &Sent, asked_pps: Option<f64>, made_in_kernel: bool) -> Result<String, Failure> {
        let told = Told {
            dev: self.dev.clone(),
            frames: sent.frames,
            bytes: sent.bytes,
            seconds: sent.time.as_secs_f64(),
            pps: sent.rate(),
            asked_pps,
            refused: sent.refused,
            made_in_kernel,
        };
        serde_json::to_string(&told)
            .map(|text| text + "\n")
            .map_err(|error| Failure::Refused(error.to_string()))
    }
}

fn text(sent: &Sent, stream: &Stream, made_in_kernel: bool) -> String {
    let (pps, wire) = (sent.rate(), sent.rate() * stream.bits() / 1e9);
    let by = if made_in_kernel {
        ""
    } else {
        "made     by this process, for a packet socket, which is slower: the kernel makes none of more than a page, nor for this device\n"
    };
    format!(
        "sent     {} frames, {} bytes, in {:.3} s: {}, {wire:.3} Gbit/s on the wire\nrefused  {} of them by the device\n{by}",
        sent.frames,
        sent.bytes,
        sent.time.as_secs_f64(),
        frames_per_second(pps),
        sent.refused
    )
}

/// Frames a second, for people.
pub(super) fn frames_per_second(rate: f64) -> String {
    match rate {
        1e6.. => format!("{:.3} Mpps", rate / 1e6),
        1e3.. => format!("{:.2} kpps", rate / 1e3),
        _ => format!("{rate:.1} pps"),
    }
}
