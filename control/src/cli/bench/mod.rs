//! `rigswitch bench`: what it costs.

mod compare;
mod output;

use clap::Subcommand;

use super::Failure;

#[derive(Subcommand)]
pub(crate) enum Bench {
    Compare(compare::Compare),
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Compare(compare) => compare.run(),
        }
    }
}
