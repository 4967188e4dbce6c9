//! A switch of ours in a namespace, on threads of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::bench::BenchError;
use crate::config::Config;
use crate::lab::Host;
use crate::switch::{Switch, TICK};
use crate::views::PortView;

/// It ends with this.
pub(super) struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
    pub(super) ports: Vec<PortView>,
}

impl Running {
    pub(super) fn start(host: &Host, config: String) -> Result<Self, BenchError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, forwards) = channel();
        let (host, asked) = (host.clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let served = host.run(|| serve(&config, &asked, &ready).map_err(|error| error.to_string()));
            served.map_err(|error| error.to_string())?
        });
        let mut running = Self { stop, thread: Some(thread), ports: Vec::new() };
        match forwards.recv() {
            Ok(ports) => running.ports = ports,
            Err(_) => running.end()?,
        }
        Ok(running)
    }

    pub(super) fn stop(mut self) -> Result<(), BenchError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), BenchError> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let served = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        served.map_err(BenchError::Device)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever drops it has another error to tell.
        let _ = self.end();
    }
}

/// Runs a switch until it is to stop.
fn serve(config: &str, stop: &AtomicBool, ready: &Sender<Vec<PortView>>) -> Result<(), BenchError> {
    /// How long a router's questions may wait.
    const NAP: Duration = Duration::from_millis(2);
    let mut switch = Switch::start(Config::parse(config, "bench")?)?;
    // Who waits has it.
    let _ = ready.send(switch.ports());
    let mut ticked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(NAP);
        switch.hear_workers();
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            switch.tick();
        }
    }
    let patience = switch.patience();
    Ok(switch.stop(patience)?)
}
