//! What ties a worker to the rest of the switch and outlives its panics; and the thread that restarts it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::Worker;
use super::handoff::{HandoffReceiver, HandoffSender};
use crate::bell::Bell;
use crate::clock::Clock;
use crate::counters::{Ledger, WorkerCounters};
use crate::drops::{Direction, DropReason};
use crate::frames::{Area, Pool, PoolConfig};
use crate::ids::DeviceId;
use crate::pipeline::Observer;
use crate::ports::{PortGone, PortQueue};
use crate::punt::Punt;
use crate::ring;
use crate::sync::Ordering::Relaxed;
use crate::sys::poll::PollSet;
use crate::tables::{MacTable, Reader, Tables, WorkerId};
use crate::watch::{Scope, Watch, WatchId, Watchers};

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Idle {
    /// Sleeps in `poll` until a port or another thread wakes it.
    #[default]
    Adaptive,
    /// Keeps asking.
    Spin,
}

/// What control asks of a worker.
pub enum Command {
    /// Take over this queue of this device. It was opened on the memory of that incarnation of the worker, and is closed
    /// unused if another one has taken its place. Nothing is received from it before the tables have its device.
    Open {
        /// Whose queue it is.
        device: DeviceId,
        /// The queue, holding no frame.
        queue: Box<dyn PortQueue + Send>,
        /// As told by [`Event::Ready`].
        incarnation: u32,
    },
    /// Close all queues of this device.
    Close(DeviceId),
    /// The same for one that the tables have no more: what is on its way to it is sent first, and what was counted on it
    /// joins the sum of the departed. Its number means nothing to this worker afterwards.
    Retire(DeviceId),
    /// Say what the kernel dropped before the queues could see it.
    ReportLost,
    /// Look at what happens from here on, and show it.
    Observe(WatchId, Scope, Watch),
    /// Look no more.
    Unobserve(WatchId),
    /// Receive no more. When all workers have, none has anything for another any more.
    Quiesce,
    /// Send what was handed over, close all queues and end.
    Stop,
}

/// What a worker tells control.
pub enum Event {
    /// It has packet memory and takes queues.
    Ready {
        /// Counts the worker's starts, from 0.
        incarnation: u32,
        /// The memory that sockets are to register.
        area: Arc<Area>,
    },
    /// It has taken over a queue of this device, as asked.
    Opened(DeviceId),
    /// A queue of this device was closed because the device is gone.
    Gone {
        /// Which.
        device: DeviceId,
        /// What the kernel said.
        error: PortGone,
    },
    /// All queues of this device that were open are closed, as asked by either command.
    Closed(DeviceId),
    /// What the kernel dropped before each queue could see it, by the kernel's names, since the queue was opened.
    Lost(Vec<(DeviceId, &'static str, u64)>),
    /// It receives no more, and what it had for other workers is on its way.
    Quiet,
    /// It panicked, has lost its queues, and starts again.
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// It has ended, as asked.
    Stopped,
}

/// Everything a worker shares with others. It survives a panic of the worker.
pub struct Links {
    /// Which worker this is.
    pub worker: WorkerId,
    /// How much packet memory it has.
    pub memory: PoolConfig,
    /// What it does when there is nothing to do.
    pub idle: Idle,
    /// The compiled configuration.
    pub tables: Reader<Tables>,
    /// Who is where.
    pub macs: Arc<MacTable>,
    /// What it counts.
    pub counters: Arc<WorkerCounters>,
    /// The time.
    pub clock: Arc<Clock>,
    /// What wakes it.
    pub bell: Arc<Bell>,
    /// What control asks.
    pub commands: Receiver<Command>,
    /// What it tells.
    pub events: Sender<(WorkerId, Event)>,
    /// The ways to other workers, by their number; none to itself.
    pub handoffs: Vec<Option<HandoffSender>>,
    /// The ways from other workers.
    pub handed_on: Vec<HandoffReceiver>,
    /// The way to control.
    pub punt: Punt,
    /// The way from control.
    pub inject: ring::Receiver,
    /// Who looks.
    pub watchers: Watchers,
}

impl Links {
    /// Tells control. A control that is gone cannot be told, and needs not be.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.events.send((self.worker, event));
    }

    /// After a panic: whatever the worker had in hand is lost, and counted as dropped on `device`, so that the ledger
    /// balances again.
    fn settle(&self, device: DeviceId) {
        self.counters.held.store(0, Relaxed);
        let devices = self.tables.current().devices().len();
        let mut ledger = Ledger::default();
        ledger.add_worker(&self.counters, (0..devices).filter_map(|id| u16::try_from(id).ok()).map(DeviceId));
        // Copies handed between workers are in their rings still, and nobody lost them.
        let in_rings =
            i128::from(self.counters.handed_off.value()) - i128::from(self.counters.handed_on.value());
        let (frames, copies) = ledger.imbalance();
        let (frames, copies) = (frames, copies - in_rings + i128::from(ledger.held));
        let counters = self.counters.device(device);
        let lost = |count: i128| u64::try_from(count).unwrap_or(0);
        counters.drops(Direction::Rx, DropReason::WorkerPanicked).add(lost(frames), 0);
        counters.drops(Direction::Tx, DropReason::WorkerPanicked).add(lost(copies), 0);
        self.counters.forwarded.add(lost(-frames));
        self.counters.copies.add(lost(-copies));
    }
}

/// A worker on the calling thread, ready to take queues. It does as much as it is told to by [`Worker::step`], and whoever
/// turns it bears its panics; `device` is for those, as it is in [`Worker::new`].
pub fn by_hand<'a, O: Observer>(
    links: &'a mut Links,
    observer: O,
    device: &'a mut Option<DeviceId>,
) -> Worker<'a, O> {
    let pool = Pool::new(links.memory);
    links.tell(Event::Ready { incarnation: 0, area: Arc::clone(pool.area()) });
    let mut worker = Worker::new(links, pool, 0, observer, device);
    worker.step();
    worker
}

/// How long a worker waits before it starts again after its first panic; twice as long after each other one, up to
/// 2^[`LONGEST_PAUSE`] times.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: u32 = 5;

/// Runs a worker until it is asked to stop; call it on a thread of its own. A worker that panics is started again with
/// fresh packet memory; its tables, counters and links stay.
pub fn run<O: Observer>(mut links: Links, observer: impl Fn() -> O) {
    for incarnation in 0u32.. {
        let pool = Pool::new(links.memory);
        links.tell(Event::Ready { incarnation, area: Arc::clone(pool.area()) });
        let mut device = None;
        // What the closure changes is the links, each of which is whole between any two statements that can panic, and
        // `settle` mends the one that may not be: the counters.
        let end = catch_unwind(AssertUnwindSafe(|| {
            Worker::new(&mut links, pool, incarnation, observer(), &mut device).run();
        }));
        let Err(panic) = end else { break };
        if let Some(device) = device {
            links.settle(device);
        }
        let message = panic.downcast_ref::<&str>().map(ToString::to_string);
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        links.tell(Event::Panicked { message });
        // What made it panic may come again at once: neither memory nor the log is to be filled with it.
        let pause = PAUSE * 2u32.pow(incarnation.min(LONGEST_PAUSE));
        let _ = PollSet::new().wait(Some(pause));
    }
    links.tell(Event::Stopped);
}
