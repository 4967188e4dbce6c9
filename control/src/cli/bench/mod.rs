//! `rigswitch bench`: what it costs.

mod compare;
mod encap;
mod forward;
mod frames;
mod generate;
mod measure;
mod output;
mod rfc;
mod sink;

use clap::Subcommand;

use super::Failure;

#[derive(Subcommand)]
pub(crate) enum Bench {
    Forward(forward::Forward),
    Encap(encap::Encap),
    Compare(compare::Compare),
    Generate(Box<generate::Generate>),
    Sink(sink::SinkArgs),
    Rfc2544(Box<rfc::Rfc2544>),
    Rfc2889(Box<rfc::Rfc2889>),
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Forward(forward) => forward.run(),
            Self::Encap(encap) => encap.run(),
            Self::Compare(compare) => compare.run(),
            Self::Generate(generate) => generate.run(),
            Self::Sink(sink) => sink.run(),
            Self::Rfc2544(rfc) => rfc.run(),
            Self::Rfc2889(rfc) => rfc.run(),
        }
    }
}
