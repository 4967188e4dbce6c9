//! `rigswitch bench encap`: what encapsulation costs.

use clap::Args;

use super::measure::Measure;
use crate::bench::encap::Encap as Work;
use crate::cli::Failure;

/// What encapsulation costs: bytes added, goodput, and time a frame, beside the plain bridge
#[derive(Args)]
pub(crate) struct Encap {
    /// Bytes of a station's frame, without the frame check sequence
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "64,512,1514,9000",
          value_parser = clap::value_parser!(u16).range(60..=9000))]
    size: Vec<u16>,
    /// In memory only, not over devices, which takes root
    #[arg(long)]
    memory: bool,
    #[command(flatten)]
    measure: Measure,
}

impl Encap {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { size, memory, measure } = self;
        let work = Work {
            sizes: size,
            schedule: measure.schedule(),
            length: measure.length(),
            has_devices: !memory,
        };
        measure.report("What encapsulation costs", |watch| work.run(watch))
    }
}
