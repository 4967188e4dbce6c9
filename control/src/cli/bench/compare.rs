//! `rigswitch bench compare`: two runs beside each other.

use std::path::PathBuf;

use clap::Args;

use super::output::{Output, as_typed};
use crate::bench::compare::compare;
use crate::bench::report::read;
use crate::cli::Failure;

/// Compare two runs: every figure that both have, their ratio, and whether it is more than chance
#[derive(Args)]
pub(crate) struct Compare {
    /// The report.json of one run
    a: PathBuf,
    /// That of the other
    b: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Compare {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let folder = self.output.folder()?;
        let (a, b) = (read(&self.a)?, read(&self.b)?);
        let report = compare(&a, &b, as_typed());
        if report.sections.iter().all(|section| section.rows.is_empty()) {
            let text =
                format!("{} and {} have no figure of the same thing", self.a.display(), self.b.display());
            return Err(Failure::Refused(text));
        }
        self.output.deliver(&report, folder.as_ref())
    }
}
