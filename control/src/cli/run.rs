//! `rigswitch run`: a switch from its first port to its last, in the foreground.

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rigswitch_dataplane::sys::limits;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, runtime, summary};
use crate::api::socket::default_path;
use crate::config::Config;
use crate::notify::{READY, STOPPING, notify, reloading};
use crate::service::Service;
use crate::switch::Switch;

pub(super) fn run(file: &Path, socket: Option<PathBuf>) -> Result<(), Failure> {
    let config = Config::load(file)?;
    tokio::task::LocalSet::new().block_on(&runtime()?, serve_until_stopped(config, file, socket))
}

async fn serve_until_stopped(config: Config, file: &Path, socket: Option<PathBuf>) -> Result<(), Failure> {
    // Signals first: from here on nothing ends the process before it has cleaned up.
    let mut signals = Signals::new()?;
    let path = socket.or_else(|| config.switch.socket.clone()).unwrap_or_else(default_path);
    let what = summary(&config);
    if let Err(error) = limits::raise_open_files() {
        say(&format!("the limit of open files stays as it is: {error}"));
    }
    let service = Service::start(config, &path)?;
    say(&format!("{what}; answering on {}", service.path().display()));
    tell_manager(READY);
    let switch = service.switch();
    let stop = async {
        while let Asked::Reload = signals.next().await {
            tell_manager(&reloading());
            reload(&switch, file);
            tell_manager(READY);
        }
        tell_manager(STOPPING);
    };
    Ok(service.run_until(stop, say).await?)
}

/// Makes the switch equal the file, or leaves it as it is.
fn reload(switch: &RefCell<Switch>, file: &Path) {
    let config = Config::load(file).map_err(|refused| refused.to_string());
    let applied = config
        .and_then(|config| switch.borrow_mut().apply(config).map_err(|e| format!("{}: {e}", file.display())));
    match applied {
        Ok(plan) if plan.is_empty() => say(&format!("{}: no changes", file.display())),
        Ok(plan) => plan.view().iter().for_each(|change| say(&change.to_string())),
        Err(why) => say(&format!("the switch stays as it was:\n{why}")),
    }
}

/// The signals that mean something to a switch.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
pub(crate) enum Asked {
    Stop,
    Reload,
}

impl Signals {
    /// Takes them over from the kernel, which would end the process.
    pub(crate) fn new() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|error| Failure::Refused(format!("signals: {error}")));
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

fn tell_manager(state: &str) {
    if let Err(error) = notify(state) {
        say(&format!("NOTIFY_SOCKET: {error}"));
    }
}

/// A line for whoever watches.
fn say(line: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(io::stderr(), "rigswitch: {line}");
}
