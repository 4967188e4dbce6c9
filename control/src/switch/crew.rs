//! The workers as control holds them: their threads, what they count, and how they are asked and told.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rigswitch_dataplane::bell::Bell;
use rigswitch_dataplane::clock::Clock;
use rigswitch_dataplane::counters::WorkerCounters;
use rigswitch_dataplane::frames::{Area, PoolConfig};
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::punt::{Inject, Punt, PuntReceiver};
use rigswitch_dataplane::ring::ring;
use rigswitch_dataplane::sys::cpu;
use rigswitch_dataplane::tables::{MacTable, Publisher, Tables, WorkerId};
use rigswitch_dataplane::watch::Watchers;
use rigswitch_dataplane::worker::{
    self, Command, Event, HandoffReceiver, HandoffSender, Idle, Links, handoff,
};

use super::error::SwitchError;
use crate::config::{self, SwitchConfig, Workers};

/// Bytes of ring between a worker and control, each way.
const CONTROL_RING: usize = 1 << 18;

/// How long a worker may take to make its packet memory.
const START: Duration = Duration::from_secs(30);

/// All workers.
pub(super) struct Crew {
    pub(super) members: Vec<Member>,
    pub(super) events: Receiver<(WorkerId, Event)>,
}

/// One worker.
pub(super) struct Member {
    pub(super) counters: Arc<WorkerCounters>,
    /// The CPU it is pinned to.
    pub(super) cpu: Option<u16>,
    pub(super) memory: PoolConfig,
    /// What it takes queues on; none while it starts again.
    pub(super) ready: Option<Ready>,
    pub(super) panics: u64,
    /// What the kernel dropped before its queues could see it, as last told.
    pub(super) lost: Vec<(DeviceId, &'static str, u64)>,
    /// CPU time used, in nanoseconds, as of the last look.
    pub(super) cpu_ns: u64,
    /// The share of a CPU it used between the last two looks.
    pub(super) busy_ratio: f64,
    statistics: PathBuf,
    commands: Sender<Command>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
    /// The way from it to control, and back.
    pub(super) punts: PuntReceiver,
    pub(super) inject: Inject,
}

/// A worker's start: which one, and the packet memory it made.
pub(super) struct Ready {
    pub(super) incarnation: u32,
    pub(super) area: Arc<Area>,
}

/// What all workers share.
pub(super) struct Shared<'a> {
    pub(super) publisher: &'a mut Publisher<Tables>,
    pub(super) macs: &'a Arc<MacTable>,
    pub(super) clock: &'a Arc<Clock>,
    /// What wakes control when there is something for it to hear.
    pub(super) bell: &'a Arc<Bell>,
}

impl Crew {
    /// What ties the workers to each other and to control, on both sides.
    pub(super) fn new(
        config: &SwitchConfig,
        memory: &[PoolConfig],
        shared: Shared<'_>,
    ) -> Result<(Self, Vec<Links>), SwitchError> {
        let (events_in, events) = unbounded();
        let mut crew = Self { members: Vec::new(), events };
        let mut all_links = Vec::new();
        let bells = (0..memory.len()).map(|worker| Bell::new().map(Arc::new).map_err(failed(worker)));
        let bells = bells.collect::<Result<Vec<_>, _>>()?;
        let mesh = mesh(&bells);
        for (worker, (handoffs, handed_on)) in mesh.into_iter().enumerate() {
            let counters = Arc::new(WorkerCounters::of(u16::try_from(worker).unwrap_or(u16::MAX)));
            let (commands_in, commands) = unbounded();
            let (punt_in, punt_out) = ring(CONTROL_RING);
            let (inject_in, inject_out) = ring(CONTROL_RING);
            all_links.push(Links {
                worker: WorkerId(number(worker)),
                memory: memory[worker],
                idle: match config.idle {
                    config::Idle::Adaptive => Idle::Adaptive,
                    config::Idle::Spin => Idle::Spin,
                },
                tables: shared.publisher.reader(),
                macs: Arc::clone(shared.macs),
                counters: Arc::clone(&counters),
                clock: Arc::clone(shared.clock),
                bell: Arc::clone(&bells[worker]),
                commands,
                events: events_in.clone(),
                handoffs,
                handed_on,
                punt: Punt::new(punt_in).with_bell(Arc::clone(shared.bell)),
                inject: inject_out,
                watchers: Watchers::default(),
            });
            crew.members.push(Member {
                counters,
                cpu: None,
                memory: memory[worker],
                ready: None,
                panics: 0,
                lost: Vec::new(),
                cpu_ns: 0,
                busy_ratio: 0.0,
                statistics: PathBuf::new(),
                commands: commands_in,
                bell: Arc::clone(&bells[worker]),
                thread: None,
                punts: PuntReceiver::new(punt_out),
                inject: Inject::new(inject_in),
            });
        }
        Ok((crew, all_links))
    }

    /// Starts the workers, each with its packet memory, and waits until all take queues.
    pub(super) fn start(&mut self, workers: &Workers, links: Vec<Links>) -> Result<(), SwitchError> {
        let cpus = cpus(workers)?;
        for (worker, (member, links)) in self.members.iter_mut().zip(links).enumerate() {
            member.cpu = cpus.as_ref().map(|cpus| cpus[worker]);
            let (thread, statistics) = spawn(worker, member.cpu, links).map_err(failed(worker))?;
            (member.thread, member.statistics) = (Some(thread), statistics);
        }
        self.wait_until_ready()
    }

    /// Waits until every worker takes queues.
    pub(super) fn wait_until_ready(&mut self) -> Result<(), SwitchError> {
        let deadline = Instant::now() + START;
        while let Some(worker) = self.members.iter().position(|member| member.ready.is_none()) {
            match self.events.recv_deadline(deadline) {
                Ok((worker, Event::Ready { incarnation, area })) => {
                    self.members[worker.index()].ready = Some(Ready { incarnation, area });
                }
                Ok(_) => {}
                Err(_) => return Err(too_slow(worker)),
            }
        }
        Ok(())
    }

    /// Waits until the workers have taken over `queues` queues: from then on nothing that arrives there is lost.
    pub(super) fn wait_until_open(&mut self, mut queues: usize) -> Result<(), SwitchError> {
        let deadline = Instant::now() + START;
        while queues > 0 {
            match self.events.recv_deadline(deadline) {
                Ok((_, Event::Opened(_))) => queues -= 1,
                Ok((worker, Event::Panicked { message })) => {
                    let source = io::Error::other(message);
                    return Err(SwitchError::Worker { worker: worker.0, source });
                }
                Ok((worker, Event::Gone { error, .. })) => {
                    let source = io::Error::other(error);
                    return Err(SwitchError::Worker { worker: worker.0, source });
                }
                Ok(_) => {}
                Err(_) => return Err(too_slow(0)),
            }
        }
        Ok(())
    }

    /// Asks every worker to end, and waits for it.
    pub(super) fn stop(&mut self, patience: Duration) -> Result<(), SwitchError> {
        let deadline = Instant::now() + patience;
        self.quiesce();
        self.members.iter().for_each(|member| member.ask(Command::Stop));
        for (worker, member) in self.members.iter_mut().enumerate() {
            while member.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
                if Instant::now() > deadline {
                    return Err(SwitchError::Stuck(number(worker)));
                }
                thread::sleep(Duration::from_millis(1));
            }
            if let Some(thread) = member.thread.take() {
                // A worker's panics are caught on its own thread.
                let _ = thread.join();
            }
        }
        Ok(())
    }

    /// Has the workers receive no more, so that none hands anything to one that has ended. Whoever does not answer soon is not waited for: what
    /// it hands over then stays on its way, and is told as held.
    fn quiesce(&self) {
        const SOON: Duration = Duration::from_millis(500);
        let runs = |member: &&Member| member.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        let mut loud = self.members.iter().filter(runs).count();
        self.members.iter().for_each(|member| member.ask(Command::Quiesce));
        let deadline = Instant::now() + SOON;
        while loud > 0
            && let Ok((_, event)) = self.events.recv_deadline(deadline)
        {
            loud -= usize::from(matches!(event, Event::Quiet));
        }
    }

    /// Works out how busy the workers were since the last look, `elapsed` ago.
    pub(super) fn measure(&mut self, elapsed: Duration) {
        for member in &mut self.members {
            let cpu_ns = cpu_time(&member.statistics).unwrap_or(member.cpu_ns);
            let used = Duration::from_nanos(cpu_ns.saturating_sub(member.cpu_ns));
            member.cpu_ns = cpu_ns;
            member.busy_ratio = (used.as_secs_f64() / elapsed.as_secs_f64().max(f64::EPSILON)).min(1.0);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // A worker that will not end does so with the process.
        let _ = self.stop(Duration::from_secs(5));
    }
}

impl Member {
    /// Asks, and wakes it.
    pub(super) fn ask(&self, command: Command) {
        // A worker that has ended needs no asking.
        let _ = self.commands.send(command);
        self.wake();
    }

    /// Wakes it: there is news where it looks.
    pub(super) fn wake(&self) {
        self.bell.ring();
    }
}

/// The CPUs asked for, all of which this process may use.
fn cpus(workers: &Workers) -> Result<Option<Vec<u16>>, SwitchError> {
    let Workers::Pinned(cpus) = workers else { return Ok(None) };
    let allowed = cpu::allowed();
    for (worker, &cpu) in cpus.iter().enumerate() {
        if !allowed.contains(&usize::from(cpu)) {
            let allowed = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(SwitchError::Cpu { worker, cpu, allowed });
        }
    }
    Ok(Some(cpus.clone()))
}

type Ways = (Vec<Option<HandoffSender>>, Vec<HandoffReceiver>);

/// A way from every worker to every other.
fn mesh(bells: &[Arc<Bell>]) -> Vec<Ways> {
    let mut ways: Vec<Ways> = bells.iter().map(|_| (Vec::new(), Vec::new())).collect();
    for from in 0..bells.len() {
        for (to, bell) in bells.iter().enumerate() {
            if from == to {
                ways[from].0.push(None);
                continue;
            }
            let (sender, receiver) = handoff(Arc::clone(bell));
            ways[from].0.push(Some(sender));
            ways[to].1.push(receiver);
        }
    }
    ways
}

/// A worker's thread, and where the kernel says what it has used. That it cannot be pinned is known before it runs.
fn spawn(worker: usize, cpu: Option<u16>, links: Links) -> io::Result<(JoinHandle<()>, PathBuf)> {
    let (started_in, started) = crossbeam_channel::bounded(1);
    let thread = thread::Builder::new().name(format!("worker-{worker}")).spawn(move || {
        let pinned = cpu.map_or(Ok(()), |cpu| cpu::pin(usize::from(cpu)));
        // `<pid>/task/<tid>`; without /proc the worker is simply not measured.
        let task = fs::read_link("/proc/thread-self").unwrap_or_default();
        let runs = pinned.is_ok();
        let _ = started_in.send(pinned.map(|()| task));
        if runs {
            worker::run(links, || ());
        }
    })?;
    let task = started.recv().unwrap_or(Ok(PathBuf::new()))?;
    Ok((thread, Path::new("/proc").join(task).join("schedstat")))
}

/// The CPU time of a thread, in nanoseconds: the first number of its statistics (Documentation/scheduler/sched-stats.rst).
fn cpu_time(statistics: &Path) -> Option<u64> {
    fs::read_to_string(statistics).ok()?.split(' ').next()?.parse().ok()
}

fn failed(worker: usize) -> impl Fn(io::Error) -> SwitchError {
    move |source| SwitchError::Worker { worker: number(worker), source }
}

fn too_slow(worker: usize) -> SwitchError {
    SwitchError::Worker { worker: number(worker), source: io::ErrorKind::TimedOut.into() }
}

fn number(worker: usize) -> u16 {
    u16::try_from(worker).unwrap_or(u16::MAX)
}
