//! The worker: one thread that owns its queues and its packet memory, and runs the line over what they bring.

mod handoff;
mod links;
mod patience;
mod queues;

pub use handoff::{HandoffReceiver, HandoffSender, handoff};
pub use links::{Command, Event, Idle, Links, by_hand, run};

use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::bell::Bell;
use crate::clock::Clock;
use crate::counters::WorkerCounters;
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Pool};
use crate::ids::DeviceId;
use crate::pipeline::{Context, Line, Observer, Transmit, TransmitIo};
use crate::ports::Now;
use crate::punt::{Injection, Punt};
use crate::ring;
use crate::sync::Ordering::Relaxed;
use crate::sys::poll::{Interest, PollSet};
use crate::tables::{MacTable, Reader, Tables, Tick, WorkerId};
use crate::watch::Watchers;
use patience::Patience;
use queues::{QueueIo, Queues};

/// The longest sleep. Every source of frames wakes the worker before; this bounds what a lost wake-up would cost.
const SLEEP: Duration = Duration::from_secs(1);

/// The longest sleep while a transmit ring holds frames of ours, whose completion wakes nobody.
const SLEEP_HOLDING: Duration = Duration::from_millis(10);

/// A worker at work, from one start to the next panic or the end.
pub struct Worker<'a, O: Observer> {
    queues: Queues<'a>, // dropped before the pool: a socket closes before its memory goes
    pool: Pool,
    line: Line,
    burst: Burst,
    observer: O,
    incarnation: u32,
    running: bool,
    receives: bool,
    held: usize,
    at: &'a mut Option<DeviceId>, // the device whose frames are in hand, for whoever counts them after a panic
    sources: PollSet,             // what to poll while asleep, the bell first
    sources_stale: bool,
    // From the links:
    id: WorkerId,
    idle: Idle,
    tables: &'a mut Reader<Tables>,
    macs: &'a MacTable,
    counters: &'a WorkerCounters,
    clock: &'a Clock,
    bell: &'a Bell,
    commands: &'a Receiver<Command>,
    events: &'a crossbeam_channel::Sender<(WorkerId, Event)>,
    handed_on: &'a mut [HandoffReceiver],
    punt: &'a mut Punt,
    inject: &'a mut ring::Receiver,
    watchers: &'a mut Watchers,
}

impl<'a, O: Observer> Worker<'a, O> {
    /// A worker with these links and this packet memory, and no queue yet.
    pub fn new(
        links: &'a mut Links,
        pool: Pool,
        incarnation: u32,
        observer: O,
        at: &'a mut Option<DeviceId>,
    ) -> Self {
        let mut worker = Self {
            queues: Queues::new(links.worker, &mut links.handoffs),
            pool,
            line: Line::default(),
            burst: Burst::new(),
            observer,
            incarnation,
            running: true,
            receives: true,
            held: 0,
            at,
            sources: PollSet::new(),
            sources_stale: true,
            id: links.worker,
            idle: links.idle,
            tables: &mut links.tables,
            macs: &links.macs,
            counters: &links.counters,
            clock: &links.clock,
            bell: &links.bell,
            commands: &links.commands,
            events: &links.events,
            handed_on: &mut links.handed_on,
            punt: &mut links.punt,
            inject: &mut links.inject,
            watchers: &mut links.watchers,
        };
        worker.prepare();
        worker
    }

    /// Turns until asked to stop.
    pub fn run(&mut self) {
        let mut patience = Patience::default();
        while self.running {
            if self.turn() > 0 {
                patience.renew();
            } else if self.idle == Idle::Adaptive && patience.has_ended(self.queues.len()) {
                self.sleep();
            }
        }
    }

    /// One turn of a worker that is turned by hand, which in between holds up no grace period: control may be on its thread.
    /// Returns how many frames came in.
    pub fn step(&mut self) -> usize {
        if self.tables.unpark() {
            self.prepare();
        }
        let moved = self.turn();
        self.tables.park();
        moved
    }

    /// One turn: what control has asked, then a burst of every source. Returns how many frames came in.
    pub fn turn(&mut self) -> usize {
        if self.tables.adopt() {
            self.prepare();
        }
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
        let (now, tick) = (self.clock.now(), self.clock.tick());
        let mut moved = 0;
        let sources = if self.receives { self.queues.len() } else { 0 };
        for index in 0..sources {
            if !self.tables.current().has(self.queues.device(index)) {
                continue; // not in force yet, or no more: what it has must wait
            }
            let io = lend(&mut self.pool, self.counters, now, self.watchers);
            let device = self.queues.receive(index, io, &mut self.burst);
            if !self.burst.is_empty() {
                moved += self.burst.len();
                self.down_the_line(device, Direction::Rx, now, tick);
            }
        }
        moved += self.take_handed_on(now) + self.take_injected(now, tick);
        self.held = self.queues.complete(lend(&mut self.pool, self.counters, now, self.watchers));
        self.counters.held.store(self.held as u64, Relaxed);
        while let Some((device, error)) =
            self.queues.reap(lend(&mut self.pool, self.counters, now, self.watchers))
        {
            self.sources_stale = true;
            self.tell(Event::Gone { device, error });
        }
        self.counters.busy_turns.add(u64::from(moved > 0));
        if self.watchers.is_armed() {
            self.watchers.end();
        }
        moved
    }

    /// Takes the burst down the line, as received from `device` or to be sent out of it.
    fn down_the_line(&mut self, device: DeviceId, direction: Direction, now: Now, tick: Tick) {
        *self.at = Some(device);
        let mut cx = Context {
            tables: self.tables.current(),
            macs: self.macs,
            counters: self.counters,
            now,
            tick,
            pool: &mut self.pool,
            ports: &mut self.queues,
            punt: self.punt,
            observer: &mut self.observer,
        };
        if self.watchers.is_armed() {
            self.watchers.begin(self.clock.exact());
            let Context { tables, macs, counters, now, tick, pool, ports, punt, observer } = cx;
            let observer = &mut (observer, &mut *self.watchers);
            let mut cx = Context { tables, macs, counters, now, tick, pool, ports, punt, observer };
            run_line(&mut self.line, &mut cx, device, direction, &mut self.burst);
            self.watchers.end();
        } else {
            run_line(&mut self.line, &mut cx, device, direction, &mut self.burst);
        }
    }

    /// Sends a burst of what each other worker has handed over.
    fn take_handed_on(&mut self, now: Now) -> usize {
        (0..self.handed_on.len()).map(|source| self.take_handed_on_by(source, now)).sum()
    }

    fn take_handed_on_by(&mut self, source: usize, now: Now) -> usize {
        let source = &mut self.handed_on[source];
        let Some(device) = source.receive(&mut self.pool, self.counters, &mut self.burst) else { return 0 };
        let moved = self.burst.len().max(1);
        *self.at = Some(device);
        let tables = self.tables.current();
        if self.watchers.is_armed() {
            self.watchers.begin(self.clock.exact());
        }
        let QueueIo { pool, counters, now, witness } =
            lend(&mut self.pool, self.counters, now, self.watchers);
        let io = TransmitIo { pool, counters, tables, now, witness };
        self.queues.transmit(io, device, &mut self.burst);
        moved
    }

    /// Sends all that was handed over or injected before this was called. Control waits for it, and injects nothing.
    fn take_all(&mut self, now: Now) {
        for source in 0..self.handed_on.len() {
            let mark = self.handed_on[source].mark();
            while !self.handed_on[source].has_passed(mark) {
                self.take_handed_on_by(source, now);
            }
        }
        let tick = self.clock.tick();
        while self.take_injected(now, tick) > 0 {}
    }

    /// Sends on what control has made.
    fn take_injected(&mut self, now: Now, tick: Tick) -> usize {
        let mut moved = 0;
        while moved < crate::frames::BURST
            && let Some(record) = self.inject.peek()
        {
            moved += 1;
            let Injection { device, direction } = Injection::decode(record.meta);
            let Some(mut frame) = self.pool.alloc_sized(record.len) else {
                // A frame that never was: counted as received from nobody, so that it is neither lost nor invented.
                self.counters.originated.add(1);
                self.counters
                    .device(device)
                    .drops(Direction::Rx, DropReason::PoolEmpty)
                    .add(1, record.len as u64);
                self.inject.skip();
                continue;
            };
            self.inject.pop_into(frame.bytes_mut());
            if direction == Direction::Tx {
                self.counters.originated.add(1);
            }
            if self.burst.push(frame).is_err() {
                unreachable!("the burst was empty");
            }
            self.down_the_line(device, direction, now, tick);
        }
        moved
    }

    fn obey(&mut self, command: Command) {
        self.sources_stale = true;
        let now = self.clock.now();
        match command {
            Command::Open { device, queue, incarnation } if incarnation == self.incarnation => {
                self.queues.open(device, queue, lend(&mut self.pool, self.counters, now, self.watchers));
                self.tell(Event::Opened(device));
            }
            Command::Open { .. } => {} // opened on memory that is no more; control opens it again
            Command::Close(device) => {
                self.queues.close(Some(device), lend(&mut self.pool, self.counters, now, self.watchers));
                self.tell(Event::Closed(device));
            }
            Command::Retire(device) => {
                self.take_all(now);
                self.queues.close(Some(device), lend(&mut self.pool, self.counters, now, self.watchers));
                self.counters.retire(device);
                self.watchers.forget(device);
                self.tell(Event::Closed(device));
            }
            Command::Observe(id, scope, watch) => self.watchers.add(id, scope, watch),
            Command::Unobserve(id) => self.watchers.remove(id),
            Command::ReportLost => self.tell(Event::Lost(self.queues.lost_before_us())),
            Command::Quiesce => {
                self.receives = false;
                self.tell(Event::Quiet);
            }
            Command::Stop => {
                self.take_all(now);
                self.queues.close(None, lend(&mut self.pool, self.counters, now, self.watchers));
                self.counters.held.store(0, Relaxed);
                self.running = false;
            }
        }
    }

    /// Makes room for what newly adopted tables name.
    fn prepare(&mut self) {
        let devices = self.tables.current().devices().len();
        self.line.prepare(devices);
        self.punt.prepare(devices);
    }

    /// Sleeps until a source has something, or somebody rings.
    fn sleep(&mut self) {
        if std::mem::take(&mut self.sources_stale) {
            self.sources.clear();
            self.sources.add(self.bell, Interest::Read);
            self.queues.watch(&mut self.sources);
        }
        self.bell.prepare_to_sleep();
        // Whatever came before the bell was set is found here; whatever comes after rings it. A command may have changed
        // what there is to wait for.
        if self.turn() == 0 && self.running && !self.sources_stale {
            self.counters.sleeps.add(1);
            self.tables.park();
            let timeout = if self.held > 0 { SLEEP_HOLDING } else { SLEEP };
            // An error would be a bug in the set; the next turn finds whatever there is to find.
            let _ = self.sources.wait(Some(timeout));
            if self.tables.unpark() {
                self.prepare();
            }
        }
        self.bell.awake();
    }

    fn tell(&self, event: Event) {
        let _ = self.events.send((self.id, event));
    }
}

/// What the worker's queues are lent for one call.
#[inline]
fn lend<'a>(
    pool: &'a mut Pool,
    counters: &'a WorkerCounters,
    now: Now,
    watchers: &'a mut Watchers,
) -> QueueIo<'a> {
    let witness = if watchers.is_armed() { watchers.witness() } else { None };
    QueueIo { pool, counters, now, witness }
}

/// The line, in the one form or the other.
#[inline]
fn run_line<O: Observer, T: Transmit>(
    line: &mut Line,
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    direction: Direction,
    burst: &mut Burst,
) {
    match direction {
        Direction::Rx => line.run(cx, device, burst),
        Direction::Tx => line.originate(cx, device, burst),
    }
}
