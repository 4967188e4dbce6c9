//! The running switch: the single writer of everything that workers consult.

mod crew;
mod error;
mod fdb;
mod memory;
mod port;
mod ports;
mod report;
#[cfg(test)]
mod tests;

pub use error::SwitchError;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rigswitch_dataplane::clock::Clock;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::{MemoryEnd, Now};
use rigswitch_dataplane::tables::{
    Buckets, Generation, MacControl, MacTable, Publisher, Tables, Tick, WorkerId,
};
use rigswitch_dataplane::worker::{Command, Event};

use crate::compile::{PortFacts, compile};
use crate::config::Config;
use crate::domains::Domains;
use crew::{Crew, Member, Ready, Shared};
use fdb::Sweep;
use port::Port;
use ports::Ports;

/// How often [`Switch::tick`] is to be called: the unit of MAC age.
pub const TICK: Duration = Duration::from_millis(Tick::MILLIS);

/// Ticks between two looks at what changes by itself: devices, MTUs, how busy the workers are.
const LOOK: u64 = 10;

/// A switch that forwards, from [`Switch::start`] to [`Switch::stop`] or its drop.
pub struct Switch {
    crew: Crew, // dropped first: the workers close their queues, then the devices close
    config: Config,
    ports: Ports,
    domains: Domains,
    publisher: Publisher<Tables>,
    macs: MacControl,
    sweep: Sweep,
    clock: Arc<Clock>,
    started: Instant,
    looked: Instant,
    ticks: u64,
}

impl Switch {
    /// Opens the ports, starts the workers, and puts the entries of the file in place. It forwards when this returns.
    ///
    /// # Errors
    /// [`SwitchError`]: nothing stays open.
    pub fn start(config: Config) -> Result<Self, SwitchError> {
        let started = Instant::now();
        let ports = open_ports(&config)?;
        let memory = memory::plan(&config.switch, &ports);
        let mut publisher = Publisher::new(Tables::default());
        let storage = Buckets::for_macs(usize::try_from(config.switch.mac_table).unwrap_or(usize::MAX));
        let macs =
            MacTable::new(storage, random()).expect("buckets made for a number of MACs are storage for it");
        let macs = MacControl::new(macs);
        let clock = Arc::new(Clock::new());
        set(&clock, started);
        let shared = Shared { publisher: &mut publisher, macs: macs.table(), clock: &clock };
        let crew = Crew::start(&config.switch, &memory, shared)?;
        let mut domains = Domains::default();
        domains.admit(&config.bridges);
        let sweep = Sweep::new(&config.bridges, &domains, macs.table(), publisher.advance());
        let (looked, ticks) = (started, 0);
        let mut switch =
            Self { crew, config, ports, domains, publisher, macs, sweep, clock, started, looked, ticks };
        switch.prepare_counters();
        switch.put_configured_entries()?;
        switch.open_queues().1.into_iter().try_for_each(|(_, error)| Err(error))?;
        switch.crew.wait_until_open(switch.ports.iter().map(|(_, port)| port.open.len()).sum())?;
        // With every way out open, the tables let frames in.
        for (_, port) in switch.ports.iter_mut() {
            port.look();
        }
        switch.publish();
        Ok(switch)
    }

    /// What is due every [`TICK`]: the time, what workers have to tell, ageing, devices that went or came back. Returns
    /// what an operator should know, a line each.
    pub fn tick(&mut self) -> Vec<String> {
        set(&self.clock, self.started);
        self.ticks += 1;
        let mut news = if self.ticks == 1 { self.warnings() } else { Vec::new() };
        while let Ok((worker, event)) = self.crew.events.try_recv() {
            self.hear(worker, event, &mut news);
        }
        self.age();
        if self.ticks.is_multiple_of(LOOK) {
            self.look(&mut news);
        }
        news
    }

    /// What an operator should know of the set-up.
    fn warnings(&self) -> Vec<String> {
        let losing = self.ports.iter().map(|(_, port)| port).filter(|port| port.capabilities.may_lose_tags);
        let text = "a VLAN tag may be lost before the switch sees the frame: use native mode where the driver has it, or \
                    `ethtool -K DEVICE txvlan off` at the far end";
        losing.map(|port| format!("port {}: {text}", port.config.name)).collect()
    }

    /// Ends the workers and closes the ports.
    ///
    /// # Errors
    /// [`SwitchError::Stuck`] when a worker does not end within `patience`.
    pub fn stop(&mut self, patience: Duration) -> Result<(), SwitchError> {
        let stopped = self.crew.stop(patience);
        self.ports.iter_mut().for_each(|(_, port)| port.gone());
        stopped
    }

    /// The far end of a memory port. A frame sent into it is found within a second, or when a worker turns anyway.
    pub fn memory_end(&self, port: &str) -> Option<MemoryEnd> {
        self.ports.get(self.ports.find(port)?)?.memory_end()
    }

    fn hear(&mut self, worker: WorkerId, event: Event, news: &mut Vec<String>) {
        match event {
            Event::Ready { incarnation, area } => {
                self.crew.members[worker.index()].ready = Some(Ready { incarnation, area });
                self.reopen_queues(news);
            }
            Event::Panicked { message } => {
                let member = &mut self.crew.members[worker.index()];
                member.panics += 1;
                member.ready = None;
                self.forget_queues(worker);
                news.push(format!("worker {} panicked and starts again: {message}", worker.0));
            }
            Event::Gone { device, error } => {
                if let Some(port) = self.ports.get_mut(device)
                    && !port.is_gone()
                {
                    news.push(format!("port {} is gone: {error}", port.config.name));
                    port.gone();
                    self.crew.members.iter().for_each(|member| member.ask(Command::Close(device)));
                    self.forget_stations(device);
                }
            }
            Event::Lost(lost) => self.crew.members[worker.index()].lost = lost,
            Event::Opened(_) | Event::Closed(_) | Event::Stopped => {}
        }
    }

    /// Takes back devices that are there again, and notes what has changed about the others.
    fn look(&mut self, news: &mut Vec<String>) {
        self.crew.measure(self.looked.elapsed());
        self.looked = Instant::now();
        self.crew.members.iter().for_each(|member| member.ask(Command::ReportLost));
        let mut changed = false;
        for (_, port) in self.ports.iter_mut() {
            match port.take_back() {
                Ok(true) => news.push(format!("port {} is back", port.config.name)),
                Ok(false) => {}
                Err(source) => {
                    let error = SwitchError::Port { name: port.config.name.clone(), source };
                    port.tell_once(error.to_string(), news);
                }
            }
            changed |= port.look();
        }
        if changed {
            self.publish();
        }
        let gone_down = self.ports.iter_mut().filter_map(|(id, port)| port.has_gone_down().then_some(id));
        gone_down.collect::<Vec<_>>().into_iter().for_each(|id| self.forget_stations(id));
        self.reopen_queues(news);
    }

    /// A restarted worker has no queues.
    fn forget_queues(&mut self, worker: WorkerId) {
        let workers = self.crew.members.len();
        for (_, port) in self.ports.iter_mut() {
            for queue in 0..port.open.len() {
                port.open[queue] &= port.worker_of(queue, workers) != worker.index();
            }
        }
    }

    /// As [`Switch::open_queues`], later on, when a failure is not the end.
    fn reopen_queues(&mut self, news: &mut Vec<String>) {
        let (opened, failed) = self.open_queues();
        if opened > 0 {
            self.publish();
        }
        for (port, error) in failed {
            let Some(port) = self.ports.get_mut(port) else { continue };
            port.tell_once(error.to_string(), news);
            if error.is_no_device() {
                // No worker has a queue of it to find that out by, and what was opened is of the device that was.
                port.gone();
            }
        }
    }

    /// Opens every queue that is not, and gives it to its worker. Returns how many were, and what did not open.
    fn open_queues(&mut self) -> (usize, Vec<(DeviceId, SwitchError)>) {
        let (mut opened, mut failed) = (0, Vec::new());
        let workers = self.crew.members.len();
        let mut receiving = vec![0; workers];
        for (_, port) in self.ports.iter().filter(|(_, port)| port.lends()) {
            (0..port.open.len()).for_each(|queue| receiving[port.worker_of(queue, workers)] += 1);
        }
        for (device, port) in self.ports.iter_mut() {
            for queue in 0..port.open.len() {
                let worker = port.worker_of(queue, workers);
                let share = memory::receive_share(self.crew.members[worker].memory, receiving[worker]);
                let Some(ready) = self.crew.members[worker].ready.as_ref().filter(|_| !port.open[queue])
                else {
                    continue;
                };
                match port.open_queue(queue, &ready.area, share) {
                    Ok(boxed) => {
                        port.open[queue] = true;
                        opened += 1;
                        let incarnation = ready.incarnation;
                        self.crew.members[worker].ask(Command::Open { device, queue: boxed, incarnation });
                    }
                    Err(source) => {
                        let name = port.config.name.clone();
                        failed.push((device, SwitchError::Port { name, source }));
                    }
                }
            }
        }
        (opened, failed)
    }

    /// Compiles what there is and puts it in force: no worker acts on anything older when this returns, and all are awake.
    fn publish(&mut self) {
        let facts: Vec<_> = self.ports.iter().map(|(id, port)| port.facts(id)).collect();
        let tables = compile(&facts, &self.config.bridges, &self.config.xconnects, &self.domains);
        let generation = self.publisher.publish(tables);
        wait_until_seen(&self.publisher, generation);
        self.crew.members.iter().for_each(Member::wake);
    }

    fn prepare_counters(&self) {
        for member in &self.crew.members {
            for (id, _) in self.ports.iter() {
                member.counters.prepare(id);
            }
        }
    }
}

impl Port {
    fn facts(&self, id: DeviceId) -> PortFacts<'_> {
        PortFacts {
            id,
            name: &self.config.name,
            owner: self.owner,
            mtu: self.mtu,
            up: self.up,
            capabilities: self.capabilities,
        }
    }
}

/// Opens every port, each owned by the worker that the file names, or else by the one with the fewest.
fn open_ports(config: &Config) -> Result<Ports, SwitchError> {
    let mut loads = vec![0u32; usize::from(config.switch.workers.count())];
    for worker in config.ports.iter().filter_map(|port| port.worker) {
        loads[usize::from(worker)] += 1;
    }
    let mut ports = Ports::default();
    for port in &config.ports {
        let owner = port.worker.unwrap_or_else(|| {
            let (least, load) = loads
                .iter_mut()
                .zip(0u16..)
                .map(|(load, id)| (id, load))
                .min_by_key(|(_, l)| **l)
                .expect("there is a worker");
            *load += 1;
            least
        });
        let opened = Port::open(port.clone(), WorkerId(owner));
        ports.add(opened.map_err(|source| SwitchError::Port { name: port.name.clone(), source })?);
    }
    Ok(ports)
}

/// Waits until every worker has let go of what it had read before: the rest of a burst, no more.
fn grace(publisher: &mut Publisher<Tables>) {
    let generation = publisher.advance();
    wait_until_seen(publisher, generation);
}

fn wait_until_seen(publisher: &Publisher<Tables>, generation: Generation) {
    while !publisher.all_seen(generation) {
        std::thread::yield_now();
    }
}

fn set(clock: &Clock, started: Instant) {
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let unix_ns = u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX);
    clock.set(Tick::from_millis(millis), Now { unix_ns });
}

/// A number that nobody outside can guess: the key of the MAC table's hash.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
