//! `rigswitch bench forward`: what the pipeline costs with no I/O.

use clap::Args;

use super::measure::Measure;
use crate::bench::forward::Forward as Work;
use crate::cli::Failure;

/// What the pipeline costs with no I/O: time, cycles and instructions a frame, by size, stations and workers
#[derive(Args)]
pub(crate) struct Forward {
    /// Bytes of a frame, without the frame check sequence
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "64,512,1518",
          value_parser = clap::value_parser!(u16).range(60..=9000))]
    size: Vec<u16>,
    /// Stations, powers of two
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "64,4096,65536,1048576", value_parser = stations)]
    macs: Vec<u32>,
    /// Workers
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Vec<u16>,
    #[command(flatten)]
    measure: Measure,
}

fn stations(text: &str) -> Result<u32, String> {
    let count: u32 = text.parse().map_err(|error| format!("{error}"))?;
    match count {
        2..=4_194_304 if count.is_power_of_two() => Ok(count),
        _ => Err("not a power of two in 2..=4194304: half of them are behind each port".to_owned()),
    }
}

impl Forward {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { size, macs, workers, measure } = self;
        let work =
            Work { sizes: size, macs, workers, schedule: measure.schedule(), length: measure.length() };
        measure.report("What forwarding costs", |watch| work.run(watch))
    }
}
