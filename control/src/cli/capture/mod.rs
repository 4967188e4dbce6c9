//! `rigswitch capture`: frames of a running switch as pcapng, to files or a pipe.

pub(super) mod extcap;
mod files;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clap::Args;
use rigswitch_dataplane::filter::Filter;
use rigswitch_dataplane::sys::poll::{Interest, PollSet};
use rigswitch_dataplane::watch::Stages;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, note, runtime};
use crate::api::client::Client;
use crate::capture::pcapng::{Block, INTERFACE, PACKET, STATISTICS, Statistics};
use crate::capture::{Request, Stage, snaplen};
use files::{Files, Rotation};

#[derive(Args)]
pub(super) struct Capture {
    /// Frames of this port; may be given again [default: all ports]
    #[arg(long, short = 'i', value_name = "PORT")]
    port: Vec<String>,
    /// Frames as they come in, as they leave, or where they are discarded; may be given again [default: all three]
    #[arg(long)]
    stage: Vec<Stage>,
    /// Write to a file, or to standard output (-)
    #[arg(short, value_name = "FILE", default_value = "-")]
    write: PathBuf,
    /// Keep so many bytes of a frame [default: all]
    #[arg(short, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    snaplen: u64,
    /// End after so many frames
    #[arg(short, value_name = "FRAMES")]
    count: Option<u64>,
    /// Begin another file when one has more than so many million bytes: FILE, FILE1, FILE2 …
    #[arg(short = 'C', value_name = "MILLIONS", value_parser = clap::value_parser!(u64).range(1..))]
    file_size: Option<u64>,
    /// Begin another file after so many seconds; %Y %m %d %H %M %S %s in FILE are its time (UTC)
    #[arg(short = 'G', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// With -C, begin again with the first of so many files; with -G alone, end after so many
    #[arg(short = 'W', value_name = "FILES", value_parser = clap::value_parser!(u32).range(1..))]
    files: Option<u32>,
    /// Frames that tcpdump's filter expression holds for (pcap-filter(7)) [default: all]
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

impl Capture {
    pub(super) fn run(&self, client: Client) -> Result<(), Failure> {
        self.check()?;
        let rotation = Rotation { bytes: self.file_size, seconds: self.seconds, files: self.files };
        let mut request = request(&self.port, &self.stage, &self.filter.join(" "))?;
        request.snaplen = snaplen(self.snaplen);
        request.count = self.count;
        // Not before the switch has agreed: an older file is written over.
        let files = || Files::open(&self.write, rotation);
        let summary = record(client, request, files, || note("capturing"))?;
        note(&summary.text());
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        let to_file = self.write.as_os_str() != "-";
        let usage = |why: &str| Err(Failure::Usage(why.into()));
        if !to_file && io::stdout().is_terminal() {
            return usage("standard output is a terminal: name a file with -w, or pipe into `tcpdump -r -`");
        }
        if !to_file && (self.file_size.is_some() || self.seconds.is_some()) {
            return usage("-C and -G are for files: name one with -w");
        }
        if self.files.is_some() && self.file_size.is_none() && self.seconds.is_none() {
            return usage("-W is the number of files that -C or -G begin: give one of them");
        }
        if self.count == Some(0) {
            return usage("-c 0: capture at least one frame");
        }
        Ok(())
    }
}

/// What to ask the switch for.
fn request(ports: &[String], stages: &[Stage], filter: &str) -> Result<Request, Failure> {
    let has = |stage| stages.is_empty() || stages.contains(&stage);
    let compiled = Filter::compile(filter).map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(Request {
        // Who captures ends it by this name.
        id: Some(format!("{}-{:x}", std::process::id(), unique())),
        ports: ports.to_vec(),
        stages: Stages { rx: has(Stage::Rx), tx: has(Stage::Tx), drop: has(Stage::Drop) },
        filter: Some((filter.to_owned(), compiled)).filter(|_| !filter.trim().is_empty()),
        snaplen: snaplen(0),
        count: None,
    })
}

/// A number that another process of this number, in another namespace, does not have.
fn unique() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// What came of a capture.
#[derive(Default)]
struct Summary {
    frames: u64,
    missed: Vec<(String, u64)>, // by interface
}

impl Summary {
    fn text(&self) -> String {
        let total: u64 = self.missed.iter().map(|(_, missed)| missed).sum();
        let each: Vec<_> = self.missed.iter().map(|(name, missed)| format!("{name} {missed}")).collect();
        match total {
            0 => format!("{} frames captured, none missed", self.frames),
            _ => format!("{} frames captured, {total} missed ({})", self.frames, each.join(", ")),
        }
    }
}

/// Captures until the switch ends it, a signal does, or nobody reads what is written. `begun` is called when every frame from
/// then on is looked at.
fn record(
    client: Client,
    request: Request,
    files: impl FnOnce() -> Result<Files, Failure>,
    begun: impl FnOnce(),
) -> Result<Summary, Failure> {
    let mut stream = client.stream(&format!("/v1/capture?{}", request.query()))?;
    let files = files()?;
    let stopped = Arc::new(AtomicBool::new(false));
    end_on_signal(client, request.id.unwrap_or_default(), &stream, Arc::clone(&stopped))?;
    begun();
    let mut recording = Recording { files, names: BTreeMap::new(), told: BTreeMap::new(), frames: 0 };
    let ended = recording.copy(&mut stream)?;
    let wanted = stopped.load(Ordering::Acquire) || request.count == Some(recording.frames);
    let summary = recording.finish()?;
    match ended {
        End::OfStream if !wanted => {
            Err(Failure::Refused(format!("the switch ended the capture: {}", summary.text())))
        }
        _ => Ok(summary),
    }
}

/// Why copying ended.
enum End {
    OfStream,
    /// Nobody reads, or there are as many files as were asked for.
    OfOutput,
}

/// A stream on its way into files.
struct Recording {
    files: Files,
    names: BTreeMap<u32, String>,               // of interfaces
    told: BTreeMap<u32, (Statistics, Vec<u8>)>, // the last statistics of each, which end the last file
    frames: u64,
}

impl Recording {
    fn copy(&mut self, stream: &mut UnixStream) -> Result<End, Failure> {
        const CHUNK: usize = 256 << 10;
        let mut buffer = Vec::with_capacity(CHUNK);
        let mut chunk = vec![0; CHUNK];
        loop {
            if self.is_abandoned(stream)? {
                return Ok(End::OfOutput);
            }
            let read = match stream.read(&mut chunk) {
                Ok(0) => return Ok(End::OfStream),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Ok(End::OfStream), // it broke: the switch is gone
            };
            buffer.extend_from_slice(&chunk[..read]);
            let mut done = 0;
            while let Some(block) = next(&buffer[done..])? {
                done += block.bytes.len();
                if !self.block(block)? {
                    return Ok(End::OfOutput);
                }
            }
            buffer.drain(..done);
            if !self.files.flush()? {
                return Ok(End::OfOutput);
            }
        }
    }

    /// Waits for more, or until nobody reads what there has been.
    fn is_abandoned(&self, stream: &UnixStream) -> Result<bool, Failure> {
        let mut both = PollSet::new();
        let more = both.add(stream, Interest::Read);
        let output = both.add(&self.files.output(), Interest::HangUp);
        both.wait(None).map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(both.readiness(output).error && !both.readiness(more).read)
    }

    /// Takes one block; `false` when there is nowhere to write any more.
    fn block(&mut self, block: Block<'_>) -> Result<bool, Failure> {
        match (block.kind, block.interface()) {
            (PACKET, _) => {
                if !self.files.packet(block.bytes)? {
                    return Ok(false);
                }
                self.frames += 1;
            }
            (STATISTICS, Some(interface)) => {
                self.told.insert(interface, (block.statistics(), block.bytes.to_vec()));
            }
            _ => {
                if block.kind == INTERFACE {
                    let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                    self.names.insert(number, block.name().unwrap_or_default());
                }
                self.files.head(block.bytes);
            }
        }
        Ok(true)
    }

    fn finish(mut self) -> Result<Summary, Failure> {
        let mut summary = Summary { frames: self.frames, missed: Vec::new() };
        for (interface, (statistics, block)) in std::mem::take(&mut self.told) {
            if statistics.missed > 0 {
                let name = self.names.get(&interface).cloned().unwrap_or_default();
                summary.missed.push((name, statistics.missed));
            }
            self.files.tail(&block);
        }
        self.files.flush()?;
        Ok(summary)
    }
}

fn next(bytes: &[u8]) -> Result<Option<Block<'_>>, Failure> {
    Block::first(bytes)
        .map_err(|_| Failure::Refused("what the switch sends is no pcapng: it is of another version".into()))
}

/// Has the switch end the capture at the first SIGINT or SIGTERM, with all that was seen by then; at the second this process
/// ends as it is.
fn end_on_signal(
    client: Client,
    id: String,
    stream: &UnixStream,
    stopped: Arc<AtomicBool>,
) -> Result<(), Failure> {
    const KILLED: i32 = 130; // what a shell says of SIGINT
    let stream = stream.try_clone().map_err(|error| Failure::Refused(error.to_string()))?;
    let runtime = runtime()?;
    let failed = |error: io::Error| Failure::Refused(format!("signals: {error}"));
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?)
    };
    thread::spawn(move || {
        let mut wait = || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
            });
        };
        wait();
        stopped.store(true, Ordering::Release);
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("id", &id).finish();
        if client.delete::<Value>(&format!("/v1/capture?{query}")).is_err() {
            // There is no more to come.
            let _ = stream.shutdown(Shutdown::Both);
        }
        wait();
        std::process::exit(KILLED);
    });
    Ok(())
}
