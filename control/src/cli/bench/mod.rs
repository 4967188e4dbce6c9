//! `rigswitch bench`: what it costs.

mod compare;
mod encap;
mod forward;
mod measure;
mod output;

use clap::Subcommand;

use super::Failure;

#[derive(Subcommand)]
pub(crate) enum Bench {
    Forward(forward::Forward),
    Encap(encap::Encap),
    Compare(compare::Compare),
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Forward(forward) => forward.run(),
            Self::Encap(encap) => encap.run(),
            Self::Compare(compare) => compare.run(),
        }
    }
}
