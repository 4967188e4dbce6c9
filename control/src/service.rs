//! A switch with its socket and its clock: what `run` keeps in the foreground, and the demo beside its hosts.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::api::serve;
use crate::api::socket::{Socket, SocketError};
use crate::config::Config;
use crate::switch::{Switch, SwitchError, TICK};

/// A switch that forwards and answers on its socket.
pub(crate) struct Service {
    switch: Rc<RefCell<Switch>>,
    server: JoinHandle<()>,
    socket: Socket,
}

/// Why it does not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Switch(#[from] SwitchError),
    #[error("{0}: {1}")]
    Listener(PathBuf, io::Error),
}

impl Service {
    /// Starts it, on a `LocalSet`. The socket comes first: it tells whether another switch has these ports.
    pub(crate) fn start(config: Config, path: &Path) -> Result<Self, ServiceError> {
        let (socket, listener) = Socket::bind(path)?;
        let switch = Rc::new(RefCell::new(Switch::start(config)?));
        let listener = UnixListener::from_std(listener);
        let listener = listener.map_err(|error| ServiceError::Listener(path.to_owned(), error))?;
        let server = tokio::task::spawn_local(serve(listener, Rc::clone(&switch)));
        Ok(Self { switch, server, socket })
    }

    /// Where it answers.
    pub(crate) fn path(&self) -> &Path {
        self.socket.path()
    }

    /// The switch, to act on while it runs.
    pub(crate) fn switch(&self) -> Rc<RefCell<Switch>> {
        Rc::clone(&self.switch)
    }

    /// Keeps it running until `stop`, and tells what an operator should know, a line each.
    pub(crate) async fn run_until(
        self,
        stop: impl Future<Output = ()>,
        tell: impl Fn(&str),
    ) -> Result<(), ServiceError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let tick = async {
            loop {
                ticks.tick().await;
                self.switch.borrow_mut().tick().iter().for_each(|news| tell(news));
            }
        };
        let follow = async {
            let readiness = self.switch.borrow().readiness();
            #[allow(deprecated)] // for types that may close what they lend; an owned descriptor does not
            let devices = readiness.and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE));
            // Without it devices are followed at the next tick.
            let Ok(devices) = devices else { return pending().await };
            while let Ok(mut ready) = devices.readable().await {
                self.switch.borrow_mut().follow().iter().for_each(|news| tell(news));
                ready.clear_ready();
            }
            pending().await
        };
        let hear = async {
            let heard = self.switch.borrow().heard();
            #[allow(deprecated)] // as above
            let bell = heard.and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE));
            // Without it workers are heard at the next tick.
            let Ok(bell) = bell else { return pending().await };
            loop {
                self.switch.borrow_mut().hear_workers();
                match bell.readable().await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => return pending().await,
                }
            }
        };
        tokio::select! {
            () = tick => {}
            () = hear => {}
            () = follow => {}
            () = stop => {}
        }
        self.server.abort();
        let mut switch = self.switch.borrow_mut();
        let patience = switch.patience();
        Ok(switch.stop(patience)?)
    }
}
