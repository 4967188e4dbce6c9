//! `rigswitch bench encap`: what encapsulation costs.

use clap::Args;

use super::measure::Measure;
use crate::bench::encap::Encap as Work;
use crate::bench::encap::rig::Drive;
use crate::bench::encap::ways::{NOWHERE, WAYS, Way};
use crate::cli::Failure;

/// What encapsulation costs: bytes added, goodput, and time a frame, beside the plain bridge
#[derive(Args)]
pub(crate) struct Encap {
    /// Bytes of a station's frame, without the frame check sequence
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "64,512,1514,9000",
          value_parser = clap::value_parser!(u16).range(60..=9000))]
    size: Vec<u16>,
    /// The ways to compare, as in bridge,802.1Q,QinQ,macvlan,host-gw,IPIP,VXLAN [default: all]
    #[arg(long, value_name = "WAY", value_delimiter = ',', value_parser = way)]
    way: Vec<&'static Way>,
    /// What they go through over devices: AF_XDP,packet,TAP,sockets,kernel [default: all]
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = drive)]
    through: Vec<Drive>,
    /// In memory only, not over devices, which takes root
    #[arg(long)]
    memory: bool,
    #[command(flatten)]
    measure: Measure,
}

fn way(text: &str) -> Result<&'static Way, String> {
    let ways = || WAYS.iter().filter(|way| way.name != NOWHERE);
    let known = ways().find(|way| way.name.eq_ignore_ascii_case(text));
    known.ok_or_else(|| format!("one of {}", ways().map(|way| way.name).collect::<Vec<_>>().join(", ")))
}

fn drive(text: &str) -> Result<Drive, String> {
    let known = Drive::ALL.into_iter().find(|drive| drive.name().eq_ignore_ascii_case(text));
    known.ok_or_else(|| format!("one of {}", Drive::ALL.map(Drive::name).join(", ")))
}

impl Encap {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { mut size, way, through, memory, measure } = self;
        size.sort_unstable();
        size.dedup();
        let is_asked = |it: &&'static Way| way.is_empty() || way.iter().any(|way| way.name == it.name);
        let work = Work {
            sizes: size,
            schedule: measure.schedule(),
            length: measure.length(),
            has_devices: !memory,
            ways: WAYS.iter().filter(|it| it.name != NOWHERE).filter(is_asked).collect(),
            drives: if through.is_empty() { Drive::ALL.to_vec() } else { through },
        };
        measure.report("What encapsulation costs", |watch| work.run(watch))
    }
}
