//! `rigswitch run`: a switch from its first port to its last, in the foreground.

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::{Failure, summary};
use crate::api::serve;
use crate::api::socket::{Socket, default_path};
use crate::config::Config;
use crate::notify::{READY, STOPPING, notify};
use crate::switch::{Switch, TICK};

pub(super) fn run(file: &Path, socket: Option<PathBuf>) -> Result<(), Failure> {
    let config = Config::load(file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Refused(format!("the runtime: {error}")))?;
    tokio::task::LocalSet::new().block_on(&runtime, serve_until_stopped(config, socket))
}

async fn serve_until_stopped(config: Config, socket: Option<PathBuf>) -> Result<(), Failure> {
    let refused = |error: String| Failure::Refused(error);
    // Signals first: from here on nothing ends the process before it has cleaned up.
    let mut signals = Signals::new().map_err(|error| refused(format!("signals: {error}")))?;
    let path = socket.or_else(|| config.switch.socket.clone()).unwrap_or_else(default_path);
    // The socket second: it tells whether another switch has these ports.
    let (socket, listener) = Socket::bind(&path).map_err(|error| refused(error.to_string()))?;
    let what = summary(&config);
    let switch = Switch::start(config).map_err(|error| refused(error.to_string()))?;
    let switch = Rc::new(RefCell::new(switch));
    let listener =
        UnixListener::from_std(listener).map_err(|error| refused(format!("{}: {error}", path.display())))?;
    let server = tokio::task::spawn_local(serve(listener, Rc::clone(&switch)));
    say(&format!("{what}; answering on {}", socket.path().display()));
    tell_manager(READY);

    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => switch.borrow_mut().tick().iter().for_each(|news| say(news)),
            asked = signals.next() => match asked {
                Asked::Stop => break,
                Asked::Reload => say("SIGHUP: this version reads its file only when it starts"),
            },
        }
    }
    tell_manager(STOPPING);
    server.abort();
    let stopped = switch.borrow_mut().stop(Duration::from_secs(5));
    stopped.map_err(|error| refused(error.to_string()))
}

/// The signals that mean something to a switch.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
enum Asked {
    Stop,
    Reload,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
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
