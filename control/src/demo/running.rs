//! The demo's switches: what `rigswitch run` starts, each on threads of its own in a namespace of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle, LocalSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::api::client::Client;
use crate::cli::{Failure, runtime};
use crate::config::Config;
use crate::lab::Host;
use crate::service::Service;
use crate::views::PortView;

/// How long the switch may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long links may take to come up, and the last frames to arrive.
const SETTLING: Duration = Duration::from_secs(3);

/// A switch that runs until it is stopped, or this is dropped.
pub(super) struct Running {
    /// Asks it.
    pub(super) client: Client,
    thread: Option<JoinHandle<Result<(), Failure>>>, // none: it has ended
    ready: oneshot::Receiver<()>,
    stop: oneshot::Sender<()>,
    news: mpsc::UnboundedReceiver<String>,
}

impl Running {
    /// Starts a switch in `host`.
    pub(super) fn start(host: &Host, config: Config, socket: PathBuf) -> Self {
        let client = Client::new(socket.clone());
        let (make_ready, ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, news) = mpsc::unbounded_channel();
        let serve = async move || -> Result<(), Failure> {
            let service = Service::start(config, &socket)?;
            // Who waits for neither has dropped `stop` too.
            let _ = make_ready.send(());
            let tell = |line: &str| drop(tell.send(line.to_owned()));
            Ok(service.run_until(async { drop(stopped.await) }, tell).await?)
        };
        let host = host.clone();
        let thread = spawn_blocking(move || {
            let served = host.run(|| LocalSet::new().block_on(&runtime()?, serve()));
            served.map_err(|error| Failure::Refused(error.to_string()))?
        });
        Self { client, thread: Some(thread), ready, stop, news }
    }

    /// Waits until it forwards.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        match (&mut self.ready).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended().await),
        }
    }

    /// Asks for what is at `target` until it `is_so`, or long enough.
    pub(super) async fn poll<T: DeserializeOwned>(
        &self,
        target: &str,
        is_so: impl Fn(&T) -> bool,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + SETTLING;
        loop {
            let view = self.client.get(target)?;
            if is_so(&view) || Instant::now() > deadline {
                return Ok(view);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until its ports have a link, or long enough.
    pub(super) async fn up(&self) -> Result<(), Failure> {
        let all_up = |ports: &Vec<PortView>| ports.iter().all(|port| port.operstate == "UP");
        self.poll("/v1/ports", all_up).await.map(drop)
    }

    /// Waits for the next thing it has to tell; that it ends is a failure.
    pub(super) async fn news(&mut self) -> Result<String, Failure> {
        match self.news.recv().await {
            Some(line) => Ok(line),
            None => Err(self.ended().await),
        }
    }

    /// Stops it, and waits until it has gone.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        // If it does not listen any more it is ending already.
        let _ = self.stop.send(());
        match timeout(PATIENCE, thread).await {
            Ok(ended) => ended.unwrap_or_else(|panic| Err(panicked(&panic))),
            Err(_) => Err(Failure::Refused("the switch does not stop: it ends with this process".into())),
        }
    }

    async fn ended(&mut self) -> Failure {
        let early = Failure::Refused("the switch ended early".into());
        let Some(thread) = &mut self.thread else { return early };
        let ended = thread.await;
        self.thread = None;
        match ended {
            Ok(Ok(())) => early,
            Ok(Err(failure)) => failure,
            Err(panic) => panicked(&panic),
        }
    }
}

fn panicked(panic: &JoinError) -> Failure {
    Failure::Refused(format!("the switch failed: {panic}"))
}
