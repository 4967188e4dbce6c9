//! Replay: the whole switch on files, on one thread and at the times of the frames, with the same bytes every time.
//!
//! Every port of the configuration, whatever its kind, becomes a pair of files. The frames of all inputs are merged by time, those
//! of one time in the order of the ports; one that is earlier than the one before it in its file comes right after that. What
//! control does by time (ageing, the spanning tree) it does every tick from the first frame on, in the time of the
//! frames. Nothing asks the machine for the time, and nothing waits.

pub(crate) mod case;
mod compare;
mod report;

pub(crate) use report::Report;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rigswitch_dataplane::ports::{Capture, Now, Pace, PcapConfig, PortConfig, PortKind};
use rigswitch_dataplane::tables::Tick;

use crate::config::{Config, Refused, suggest};
use crate::switch::{ByHand, Switch, SwitchError};

/// Why a replay was not begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error(transparent)]
    Config(#[from] Refused),
    #[error(transparent)]
    Switch(#[from] SwitchError),
    #[error("{0}")]
    Capture(io::Error),
    #[error("there is no port `{0}` to receive frames: {1}")]
    NoPort(String, String),
    #[error("port {0} is to receive two files: merge them with `mergecap`")]
    Twice(String),
    #[error("nothing to replay: name a file for a port with --in PORT=FILE")]
    NoInput,
    #[error("{0} would be written over while it is read: choose another directory")]
    Overwritten(PathBuf),
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
}

/// A replay to be done.
pub(crate) struct Replay {
    config: Config,
    inputs: Vec<(String, Pace)>,
    folder: PathBuf,
    start: Now,
    size: u64,
}

/// What came of it. The files are in their folder.
pub(crate) struct Replayed {
    pub(crate) report: Report,
    /// What an operator should know of the set-up.
    pub(crate) news: Vec<String>,
    /// What kept it from being all that it should be.
    pub(crate) troubles: Vec<String>,
}

/// The file in a replay's folder that says what came of it.
pub(crate) const REPORT: &str = "report.json";

/// Where a port's frames go to.
pub(crate) fn output(folder: &Path, port: &str) -> PathBuf {
    folder.join(format!("{port}.pcap"))
}

impl Replay {
    /// A replay of these files, each to be received by a port, with what is sent written to `folder`.
    pub(crate) fn new(
        mut config: Config,
        files: &[(String, PathBuf)],
        folder: &Path,
    ) -> Result<Self, ReplayError> {
        for (place, (port, _)) in files.iter().enumerate() {
            let mut names = config.ports.iter().map(|port| port.name.as_str());
            if !names.any(|name| name == port) {
                return Err(no_port(port, &config.ports));
            }
            if files[..place].iter().any(|(before, _)| before == port) {
                return Err(ReplayError::Twice(port.clone()));
            }
        }
        let mut inputs = Vec::new();
        let mut read = Vec::new();
        let mut start = None;
        for port in &mut config.ports {
            let given = files.iter().find(|(name, _)| *name == port.name).map(|(_, file)| file.clone());
            let input = given.or_else(|| match &port.kind {
                PortKind::Pcap(files) => files.input.clone(),
                _ => None,
            });
            let pace = Pace::default();
            if let Some(path) = &input {
                let first = Capture::open(path).map_err(ReplayError::Capture)?.due();
                start = [start, first].into_iter().flatten().min();
                read.extend(path.metadata());
                inputs.push((port.name.clone(), pace.clone()));
            }
            let output = Some(output(folder, &port.name));
            port.kind = PortKind::Pcap(PcapConfig { input, output, pace: Some(pace) });
            port.netns = None;
        }
        if inputs.is_empty() {
            return Err(ReplayError::NoInput);
        }
        fs::create_dir_all(folder).map_err(|error| ReplayError::File(folder.to_owned(), error))?;
        for path in config.ports.iter().map(|port| output(folder, &port.name)) {
            let is_it =
                |file: &Metadata, other: &Metadata| (file.dev(), file.ino()) == (other.dev(), other.ino());
            if path.metadata().is_ok_and(|file| read.iter().any(|input| is_it(input, &file))) {
                return Err(ReplayError::Overwritten(path));
            }
        }
        let size = read.iter().map(Metadata::len).sum();
        let start = Now { unix_ns: start.unwrap_or(0) };
        Ok(Self { config, inputs, folder: folder.to_owned(), start, size })
    }

    /// Bytes that there are to read.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Does it, and calls `progress` every now and then with the bytes that have been read.
    pub(crate) fn run(self, progress: impl FnMut(u64)) -> Result<Replayed, ReplayError> {
        let Self { config, inputs, folder, start, .. } = self;
        let all: Vec<_> =
            config.ports.iter().filter_map(|port| Some((port.name.clone(), pace(port)?))).collect();
        let mut news = unaddressed(&config);
        let (report, stopped) = Switch::by_hand(config, start, |hand| {
            let mut course =
                Course { now: start.unix_ns, tick: start.unix_ns, inputs, progress, news: &mut news };
            let stopped = course.run(hand).err();
            (Report::of(hand.switch(), course.now - start.unix_ns), stopped)
        })?;
        // The ports are closed, and all is written that could be.
        let told = all.iter().filter_map(|(port, pace)| Some(format!("port {port}: {}", pace.trouble()?)));
        let troubles = told.chain(stopped).collect();
        let path = folder.join(REPORT);
        fs::write(&path, report.text()).map_err(|error| ReplayError::File(path, error))?;
        Ok(Replayed { report, news, troubles })
    }
}

fn no_port(port: &str, ports: &[PortConfig]) -> ReplayError {
    let names = || ports.iter().map(|port| port.name.as_str());
    let remedy = suggest(port, names())
        .unwrap_or_else(|| format!("the file has {}", names().collect::<Vec<_>>().join(", ")));
    ReplayError::NoPort(port.to_owned(), remedy)
}

fn pace(port: &PortConfig) -> Option<Pace> {
    match &port.kind {
        PortKind::Pcap(files) => files.pace.clone(),
        _ => None,
    }
}

/// Says which bridges have a spanning tree and no address: no device gives them one here.
fn unaddressed(config: &Config) -> Vec<String> {
    let bridges = config.bridges.iter();
    let unaddressed = bridges.filter(|bridge| bridge.spanning_tree.enabled && bridge.address.is_none());
    let line = |name: &str| {
        format!(
            "bridge {name} has no `address`, and in a replay no device to take one from: its spanning tree has 00:00:00:00:00:00"
        )
    };
    unaddressed.map(|bridge| line(&bridge.name)).collect()
}

const TICK_NS: u64 = Tick::MILLIS * 1_000_000;

/// The longest time between two frames: what is older looks young to ageing (`Tick::SPAN`), and a clock that was set is likelier.
const LONGEST_GAP_DAYS: u64 = 7;
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;

/// Times of frames between two calls for progress.
const STRIDE: u64 = 1 << 12;

/// The clock's way through the captures.
struct Course<'n, P> {
    now: u64,
    /// When the next tick is due.
    tick: u64,
    inputs: Vec<(String, Pace)>,
    progress: P,
    news: &'n mut Vec<String>,
}

impl<P: FnMut(u64)> Course<'_, P> {
    /// Takes every frame down the line at its time, and after the last one has control see to what it was sent.
    fn run(&mut self, hand: &mut ByHand<'_>) -> Result<(), String> {
        let mut times = 0u64;
        while let Some((port, due)) = self.next() {
            if due.saturating_sub(self.now) > LONGEST_GAP_DAYS * DAY_NS {
                let days = (due - self.now) / DAY_NS;
                return Err(format!(
                    "port {port}: its next frame comes {days} days after the one before it, and ageing tells {LONGEST_GAP_DAYS} at \
                     most: see to the times of the file (`editcap -t`), or split it"
                ));
            }
            let due = due.max(self.now);
            while self.tick < due {
                self.tick(hand);
            }
            self.set(hand, due);
            hand.step();
            if times.is_multiple_of(STRIDE) {
                self.tell_progress();
            }
            times += 1;
        }
        self.tick(hand);
        self.tell_progress();
        Ok(())
    }

    /// The port of the next frame, and when that is due.
    fn next(&self) -> Option<(&str, u64)> {
        let due = self.inputs.iter().filter_map(|(port, pace)| Some((pace.next()?, port)));
        due.min_by_key(|(due, _)| *due).map(|(due, port)| (port.as_str(), due))
    }

    fn set(&mut self, hand: &mut ByHand<'_>, now: u64) {
        self.now = now;
        hand.set_time(Now { unix_ns: now });
    }

    fn tick(&mut self, hand: &mut ByHand<'_>) {
        self.set(hand, self.tick);
        self.news.extend(hand.tick());
        self.tick += TICK_NS;
    }

    fn tell_progress(&mut self) {
        let read = self.inputs.iter().map(|(_, pace)| pace.read()).sum();
        (self.progress)(read);
    }
}
