//! What all that measure have in common: where the report goes.

use std::path::PathBuf;

use clap::Args;

use crate::bench::report::{Folder, Report, ReportError};
use crate::cli::table::colour;
use crate::cli::{Failure, print};

#[derive(Args)]
pub(super) struct Output {
    /// Write report.html, report.json and report.md to this directory
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// As JSON
    #[arg(short)]
    json: bool,
    /// As JSON on many lines, with -j
    #[arg(short, requires = "json")]
    pretty: bool,
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl Output {
    /// Where its files are to be written, if they are; refused before anything is measured.
    pub(super) fn folder(&self) -> Result<Option<Folder>, Failure> {
        Ok(self.report.as_deref().map(Folder::new).transpose()?)
    }

    /// Prints it, and writes its files. That it ended early is a failure all the same.
    pub(super) fn deliver(&self, report: &Report, folder: Option<&Folder>) -> Result<(), Failure> {
        let text = match (self.json, self.pretty) {
            (false, _) => Ok(report.text(colour())),
            (true, false) => serde_json::to_string(report).map(|text| text + "\n"),
            (true, true) => serde_json::to_string_pretty(report).map(|text| text + "\n"),
        };
        let text = text.map_err(|error| Failure::Refused(error.to_string()))?;
        // The files first: whoever reads what is printed may leave.
        folder.map_or(Ok(()), |folder| folder.write(report))?;
        print(&text)?;
        match &report.ended_early {
            None => Ok(()),
            Some(why) => {
                Err(Failure::Refused(format!("{why}; what was measured before is above and in the report")))
            }
        }
    }
}

/// The command line, as it was typed.
pub(super) fn as_typed() -> String {
    let words = std::env::args().skip(1).map(|word| match word.contains([' ', '"', '\'', '$', '*']) {
        true => format!("'{}'", word.replace('\'', "'\\''")),
        false => word,
    });
    ["rigswitch".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}
