//! The running switch: the single writer of everything that workers consult.

mod apply;
mod captures;
mod crew;
mod differences;
mod error;
mod explain;
mod fdb;
mod follow;
mod groups;
mod hand;
mod host;
pub(crate) mod memory;
mod moves;
mod mtus;
mod port;
mod ports;
mod protocols;
mod report;
mod routing;
mod shared;
#[cfg(test)]
mod tests;
mod time;
mod trees;
mod tunnels;
mod uppers;
mod vlans;
mod vnis;
mod vxlan;
mod vxlan_fdb;
mod watch;

pub use error::SwitchError;
pub use hand::ByHand;

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use rigswitch_dataplane::clock::Clock;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::MemoryEnd;
use rigswitch_dataplane::tables::{
    Buckets, Generation, MacControl, MacTable, PortState, Publisher, Tables, Tick, WorkerId,
};
use rigswitch_dataplane::worker::{self, Command, Links};

use crate::compile::{Counts, PortFacts, compile};
use crate::config::Config;
use crate::domains::Domains;
use crate::events::{Event, Events};
use captures::Captures;
use crew::{Crew, Member, Ready, Shared};
use differences::Differences;
use fdb::Sweep;
use groups::Groups;
use host::OwnEntries;
use moves::Moves;
use mtus::Advice;
use port::{Port, Spares};
use ports::Ports;
use routing::Roads;
use time::Time;
use trees::Trees;
use vxlan::Vxlans;
use watch::Watch;

/// How often [`Switch::tick`] is to be called: the unit of MAC age.
pub const TICK: Duration = Duration::from_millis(Tick::MILLIS);

/// Ticks between two looks at what nobody tells: how busy the workers are, what failed and may work now.
const LOOK: u64 = 10;

/// A switch that forwards, from [`Switch::start`] to [`Switch::stop`] or its drop.
pub struct Switch {
    crew: Crew, // dropped first: the workers close their queues, then the devices close
    config: Config,
    ports: Ports,
    watch: Watch,
    events: Events,
    differences: Differences,
    domains: Domains,
    counts: Counts,
    publisher: Publisher<Tables>,
    macs: MacControl,
    sweep: Sweep,
    own: OwnEntries,
    trees: Trees,
    groups: Groups,
    moves: Moves,
    captures: Captures,
    roads: Roads,
    vxlans: Vxlans,
    advice: Advice,
    clock: Arc<Clock>,
    time: Time,
    looked: Duration, // after the start
    ticks: u64,
}

impl Switch {
    /// Opens the ports, starts the workers, and puts the entries of the file in place. It forwards when this returns.
    ///
    /// # Errors
    /// [`SwitchError`]: nothing stays open.
    pub fn start(config: Config) -> Result<Self, SwitchError> {
        let (mut switch, links) = Self::assemble(config, Time::of_machine(), random())?;
        switch.crew.start(&switch.config.switch.workers, links)?;
        switch.begin(|| ())?;
        Ok(switch)
    }

    /// A switch whose workers, one for each of the links, have not been started. `key` is that of the MAC table's hash.
    fn assemble(config: Config, time: Time, key: u64) -> Result<(Self, Vec<Links>), SwitchError> {
        let mut watch = Watch::new().map_err(SwitchError::Watch)?;
        let ports = open_ports(&config, &mut watch)?;
        let memory = memory::plan(&config.switch, &ports);
        let mut publisher = Publisher::new(Tables::default());
        let storage = Buckets::for_macs(usize::try_from(config.switch.mac_table).unwrap_or(usize::MAX));
        let macs = MacTable::new(storage, key)
            .expect("buckets made for a number of MACs are storage for it")
            .with_quotas(u16::MAX);
        let macs = MacControl::new(macs);
        let clock = Arc::new(time.clock());
        let roads = Roads::new().map_err(SwitchError::Watch)?;
        let shared =
            Shared { publisher: &mut publisher, macs: macs.table(), clock: &clock, bell: &roads.bell };
        let (crew, links) = Crew::new(&config.switch, &memory, shared)?;
        let mut domains = Domains::default();
        domains.admit(&config).map_err(|_| SwitchError::TooManyDomains)?;
        let mut sweep = Sweep::new(macs.table(), publisher.advance());
        sweep.configure(&config, &domains);
        let switch = Self {
            crew,
            config,
            ports,
            watch,
            events: Events::default(),
            differences: Differences::default(),
            domains,
            counts: Counts::default(),
            publisher,
            macs,
            sweep,
            own: OwnEntries::default(),
            trees: Trees::default(),
            groups: Groups::default(),
            moves: Moves::default(),
            captures: Captures::default(),
            roads,
            vxlans: Vxlans::default(),
            advice: Advice::default(),
            clock,
            looked: time.elapsed(),
            time,
            ticks: 0,
        };
        switch.check_addresses(&switch.config.uppers)?;
        switch.prepare_counters();
        Ok((switch, links))
    }

    /// Puts the entries of the file in place, and lets frames in when every way out is open; `turn` has workers take a turn that
    /// would not by themselves.
    fn begin(&mut self, turn: impl FnOnce()) -> Result<(), SwitchError> {
        for bridge in self.config.bridges.clone() {
            bridge.fdb.iter().try_for_each(|entry| self.put_configured(&bridge.name, entry))?;
        }
        self.open_queues(|_| true).1.into_iter().try_for_each(|(_, error)| Err(error))?;
        turn();
        self.crew.wait_until_open(self.ports.iter().map(|(_, port)| port.open.len()).sum())?;
        self.claim_also(&self.config.clone())?;
        self.publish();
        self.advise();
        self.place_vxlan_entries();
        Ok(())
    }

    /// What is due every [`TICK`]: the time, what workers have to tell, ageing, devices that went or came back. Returns
    /// what an operator should know, a line each.
    pub fn tick(&mut self) -> Vec<String> {
        self.time.publish(&self.clock);
        self.ticks += 1;
        if self.ticks == 1 {
            self.warn();
        }
        while let Ok((worker, event)) = self.crew.events.try_recv() {
            self.hear(worker, event);
        }
        self.run_protocols();
        self.guard_moves();
        self.age();
        self.tell_lessons();
        self.follow_devices();
        self.advise();
        self.end_unread_captures();
        if self.ticks.is_multiple_of(LOOK) {
            self.look();
        }
        self.events.news()
    }

    /// Tells what an operator should know of the set-up.
    fn warn(&mut self) {
        for message in self.ports.iter().filter_map(|(_, port)| port.warning()) {
            self.events.tell(Event::Warning { message });
        }
    }

    /// Ends the workers and closes the ports.
    ///
    /// # Errors
    /// [`SwitchError::Stuck`] when a worker does not end within `patience`.
    pub fn stop(&mut self, patience: Duration) -> Result<(), SwitchError> {
        let stopped = self.crew.stop(patience);
        self.ports.iter_mut().for_each(|(_, port)| port.gone(iter::empty()));
        stopped
    }

    /// How long the workers may take to end: the kernel closes an AF_XDP socket in some 40 ms.
    pub fn patience(&self) -> Duration {
        const LEAST: Duration = Duration::from_secs(5);
        const QUEUE: Duration = Duration::from_millis(250);
        let queues: usize = self.ports.iter().map(|(_, port)| port.open.len()).sum();
        LEAST + QUEUE * u32::try_from(queues).unwrap_or(u32::MAX)
    }

    /// The far end of a memory port. A frame sent into it is found within a second, or when a worker turns anyway.
    pub fn memory_end(&self, port: &str) -> Option<MemoryEnd> {
        self.ports.get(self.ports.find(port)?)?.memory_end()
    }

    fn hear(&mut self, worker: WorkerId, event: worker::Event) {
        match event {
            worker::Event::Ready { incarnation, area } => {
                self.crew.members[worker.index()].ready = Some(Ready { incarnation, area });
                self.reopen_queues();
            }
            worker::Event::Panicked { message } => {
                let member = &mut self.crew.members[worker.index()];
                member.panics += 1;
                member.ready = None;
                self.forget_queues(worker);
                self.events.tell(Event::WorkerPanicked { worker: worker.0, message });
            }
            worker::Event::Gone { device, error } => {
                // The kernel may have told why. What is said of a device that is being closed is old news.
                self.follow_devices();
                if self.ports.get(device).is_some_and(|port| port.closing.is_empty()) {
                    self.lose(device, error.to_string());
                }
            }
            worker::Event::Closed(device) => {
                self.ports.get_mut(device).map(|port| port.closing.remove(&worker));
            }
            worker::Event::Lost(lost) => self.crew.members[worker.index()].lost = lost,
            worker::Event::Opened(_) | worker::Event::Quiet | worker::Event::Stopped => {}
        }
    }

    /// Notes how busy the workers are and what they lost, and tries again what did not work.
    fn look(&mut self) {
        let now = self.time.elapsed();
        self.crew.measure(now - self.looked);
        self.looked = now;
        self.crew.members.iter().for_each(|member| member.ask(Command::ReportLost));
        self.tell_drops();
        self.reopen_queues();
    }

    /// A restarted worker has no queues.
    fn forget_queues(&mut self, worker: WorkerId) {
        let workers = self.crew.members.len();
        for (_, port) in self.ports.iter_mut() {
            port.closing.remove(&worker);
            for queue in 0..port.open.len() {
                port.open[queue] &= port.worker_of(queue, workers) != worker.index();
            }
        }
    }

    /// As [`Switch::open_queues`], later on, when a failure is not the end.
    fn reopen_queues(&mut self) {
        let (opened, failed) = self.open_queues(|_| true);
        if opened > 0 {
            self.publish();
        }
        for (id, error) in failed {
            if let Some(port) = self.ports.get_mut(id) {
                port.tell_once(error.to_string(), &mut self.events);
            }
            if error.is_no_device() {
                // No worker has a queue of it to find that out by, and what was opened is of the device that was.
                self.lose(id, error.to_string());
            }
        }
    }

    /// How many queues of each worker lend packet memory for receiving.
    fn receiving(&self) -> Vec<usize> {
        let workers = self.crew.members.len();
        let mut receiving = vec![0; workers];
        for (_, port) in self.ports.iter().filter(|(_, port)| port.lends()) {
            (0..port.open.len()).for_each(|queue| receiving[port.worker_of(queue, workers)] += 1);
        }
        receiving
    }

    /// Opens every queue of the ports wanted that is not open, and gives it to its worker. Returns how many were, and what did
    /// not open.
    fn open_queues(&mut self, wanted: impl Fn(DeviceId) -> bool) -> (usize, Vec<(DeviceId, SwitchError)>) {
        let (mut opened, mut failed) = (0, Vec::new());
        let workers = self.crew.members.len();
        let receiving = self.receiving();
        for (device, port) in self.ports.iter_mut().filter(|(id, _)| wanted(*id)) {
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
        let now = self.time.elapsed();
        let fallen = self.follow_links();
        self.follow_underlays();
        self.follow_vlan_counts();
        self.follow_network_counts();
        self.note_own_addresses();
        self.trees.follow(&self.config.bridges, &self.domains, &self.ports, &self.watch, now);
        let state = |id| self.moves.state(id).or(self.trees.state(id));
        self.groups.follow(&self.config.bridges, &self.domains, &self.ports, state, now);
        let staying = self.ports.iter().filter(|(_, port)| !port.leaving);
        let inside = |port: &Port| self.ports.inside(&port.config.name);
        let facts: Vec<_> = staying
            .map(|(id, port)| PortFacts { inside: inside(port), ..port.facts(id, state(id)) })
            .collect();
        self.vxlans.far_ends.follow(&self.config);
        let routing = self.roads.follow(&self.config, &self.ports, &self.vxlans.far_ends, now);
        let mdbs = self.groups.mdbs(&self.domains);
        let (counts, far_ends) = (&self.counts, &self.vxlans.far_ends);
        let tables = compile(&facts, &self.config, &self.domains, &mdbs, counts, &routing, far_ends);
        self.bound_learning();
        self.name_captured();
        let generation = self.publisher.publish(tables);
        wait_until_seen(&self.publisher, generation);
        self.crew.members.iter().for_each(Member::wake);
        self.claim();
        self.advice.is_due = true;
        self.take_part();
        fallen.into_iter().for_each(|id| self.forget_stations(id));
        // What stands on a bridge goes up and down with its carrier, and that with its ports.
        if self.carry_bridges() {
            self.publish();
        }
    }

    fn prepare_counters(&self) {
        for member in &self.crew.members {
            for (id, _) in self.ports.all() {
                member.counters.prepare(id);
            }
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // A worker that will not end does so with the process.
        let _ = self.crew.stop(self.patience());
    }
}

impl Port {
    fn facts(&self, id: DeviceId, tree: Option<PortState>) -> PortFacts<'_> {
        PortFacts {
            id,
            name: &self.config.name,
            owner: self.owner,
            mac: self.address(),
            mtu: self.mtu,
            up: self.is_usable(),
            tree,
            capabilities: self.capabilities,
            inside: None,
        }
    }
}

/// Opens every port, each owned by the worker that the file names, or else by the one with the fewest.
fn open_ports(config: &Config, watch: &mut Watch) -> Result<Ports, SwitchError> {
    let mut loads = vec![0u32; usize::from(config.switch.workers.count())];
    for worker in config.ports.iter().filter_map(|port| port.worker) {
        loads[usize::from(worker)] += 1;
    }
    let mut ports = Ports::default();
    for port in config.all_ports() {
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
        let name = port.name.clone();
        let opened = Port::open(port, WorkerId(owner), &mut Spares::default(), watch);
        ports.add(opened.map_err(|source| SwitchError::Port { name, source })?);
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

/// A number that nobody outside can guess: the key of the MAC table's hash.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
