//! `rigswitch replay`: the switch on files, one set of them or many cases.

use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Failure, print};
use crate::config::Config;
use crate::replay::case::Case;
use crate::replay::{Replay as Work, ReplayError, Replayed};

/// Run the whole switch on capture files: no privilege, the time of the frames, the same bytes every time
///
/// Every port of the configuration, whatever its kind, receives what --in names for it and sends to DIR/PORT.pcap; DIR/report.json
/// tells the traffic, the drops, the ledger and the forwarding entries in the end. Or, with CASE: directories with a rig.toml and
/// PORT.in.pcap files, or directories of such, whose PORT.out.pcap and report.json say what is to come of it.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Replay {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", requires = "out", required_unless_present = "cases")]
    config: Option<PathBuf>,
    /// What a port receives: pcap or pcapng; may be given once for each port
    #[arg(long = "in", value_name = "PORT=FILE", requires = "config", value_parser = input)]
    inputs: Vec<(String, PathBuf)>,
    /// Where what comes of it is written; with cases, a directory for each of them
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replay these cases, and compare what comes of them with what they expect
    #[arg(value_name = "CASE", conflicts_with = "config")]
    cases: Vec<PathBuf>,
    /// Make what comes of the cases what they expect
    #[arg(long, requires = "cases")]
    bless: bool,
    /// Cases at a time [default: as many as there are CPUs]
    #[arg(long, value_name = "N", requires = "cases")]
    jobs: Option<NonZeroUsize>,
    /// As JSON
    #[arg(short)]
    json: bool,
    /// As JSON on many lines, with -j
    #[arg(short, requires = "json")]
    pretty: bool,
}

fn input(text: &str) -> Result<(String, PathBuf), String> {
    let (port, file) = text.split_once('=').ok_or("write the port, =, and the file: p0=a.pcap")?;
    Ok((port.to_owned(), file.into()))
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Config(refused) => Self::Config(refused),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// What came of a case: an element of the JSON of many.
#[derive(Serialize)]
struct Verdict {
    case: String,
    passed: bool,
    frames: u64,
    /// What kept it from being replayed, or is not as expected.
    problems: Vec<String>,
}

impl Replay {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match (&self.config, &self.out) {
            (Some(config), Some(out)) => self.one(config, out),
            _ => self.many(),
        }
    }

    fn one(&self, config: &Path, out: &Path) -> Result<(), Failure> {
        let work = Work::new(Config::load(config)?, &self.inputs, out)?;
        let bar = bar(work.size());
        let replayed = work.run(|read| bar.set_position(read))?;
        bar.finish_and_clear();
        for line in &replayed.news {
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "rigswitch: {line}");
        }
        print(&if self.json {
            self.as_json(&replayed.report)?
        } else {
            format!(
                "{}\n{}: report.json and a file for each port\n",
                replayed.report.summary(),
                out.display()
            )
        })?;
        match &replayed.troubles[..] {
            [] => Ok(()),
            troubles => Err(Failure::Refused(troubles.join("\nrigswitch: "))),
        }
    }

    fn many(&self) -> Result<(), Failure> {
        let mut cases = Vec::new();
        for directory in &self.cases {
            cases.extend(Case::all(directory)?);
        }
        let (scratch, is_ours) = match &self.out {
            Some(out) => (out.clone(), false),
            None => (std::env::temp_dir().join(format!("rigswitch-replay-{}", std::process::id())), true),
        };
        let verdicts = self.verdicts(&cases, &scratch);
        if is_ours {
            // A leftover in the folder for temporary files harms nobody.
            let _ = fs::remove_dir_all(&scratch);
        }
        let failed = verdicts.iter().filter(|verdict| !verdict.passed).count();
        print(&if self.json {
            self.as_json(&verdicts)?
        } else {
            verdicts.iter().map(Verdict::text).collect()
        })?;
        match failed {
            0 => Ok(()),
            _ => Err(Failure::Refused(format!(
                "{failed} of {} cases did not come out as expected: --out DIR keeps what did, --bless expects it",
                verdicts.len()
            ))),
        }
    }

    /// Replays every case, as many at a time as may be. What comes of one does not depend on the others.
    fn verdicts(&self, cases: &[Case], scratch: &Path) -> Vec<Verdict> {
        let bar = bar(cases.iter().map(Case::size).sum());
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some((place, case)) = at(cases, next.fetch_add(1, Ordering::Relaxed)) {
                let folder = scratch.join(folder(cases, place));
                done.push((place, self.verdict(case, &folder, &bar)));
            }
            done
        };
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let mut done: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs.min(cases.len())).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        bar.finish_and_clear();
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, verdict)| verdict).collect()
    }

    fn verdict(&self, case: &Case, folder: &Path, bar: &ProgressBar) -> Verdict {
        let mut before = 0;
        let progress = |read: u64| {
            bar.inc(read - before);
            before = read;
        };
        let compared = case.replay(folder, progress).and_then(|replayed| {
            let frames = replayed.report.ledger.received;
            Ok((frames, self.problems(case, folder, replayed)?))
        });
        let (frames, problems) = compared.unwrap_or_else(|error| (0, vec![error.to_string()]));
        Verdict { case: case.0.display().to_string(), passed: problems.is_empty(), frames, problems }
    }

    fn problems(&self, case: &Case, folder: &Path, replayed: Replayed) -> Result<Vec<String>, ReplayError> {
        if self.bless {
            case.bless(folder, &replayed)?;
        }
        let mut problems = case.differences(folder, &replayed)?;
        problems.splice(0..0, replayed.troubles);
        Ok(problems)
    }

    fn as_json(&self, view: &impl Serialize) -> Result<String, Failure> {
        let text = if self.pretty { serde_json::to_string_pretty(view) } else { serde_json::to_string(view) };
        text.map(|text| text + "\n").map_err(|error| Failure::Refused(error.to_string()))
    }
}

impl Verdict {
    fn text(&self) -> String {
        let verdict = if self.passed { "pass" } else { "FAIL" };
        let problems: String = self.problems.iter().map(|problem| format!("      {problem}\n")).collect();
        format!("{verdict}  {}: {} frames\n{problems}", self.case, self.frames)
    }
}

fn at(cases: &[Case], place: usize) -> Option<(usize, &Case)> {
    Some((place, cases.get(place)?))
}

/// The name of a folder for what comes of a case: its own, unless one before it has that.
fn folder(cases: &[Case], place: usize) -> PathBuf {
    let name = |case: &Case| case.0.file_name().map(PathBuf::from);
    let own =
        name(&cases[place]).filter(|own| !cases[..place].iter().any(|case| name(case).as_ref() == Some(own)));
    own.unwrap_or_else(|| place.to_string().into())
}

/// A bar over so many bytes; nothing where no terminal is.
fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:40} {percent:>3}% {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    );
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
