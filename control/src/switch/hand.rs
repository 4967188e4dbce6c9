//! The same switch without threads: its one worker takes its turns when it is told to, at a time that it is told.
//!
//! Between two turns the worker has left the tables, as one that sleeps: control never waits for it.

use std::collections::BTreeSet;

use rigswitch_dataplane::ports::Now;
use rigswitch_dataplane::worker::{Command, Worker, by_hand};

use super::port::Queue;
use super::time::Time;
use super::{Switch, SwitchError};
use crate::config::{Config, Workers};

/// The key of the MAC table's hash where it must be the same every time.
const KEY: u64 = 0x5eed;

/// A switch and the worker that does what it says.
pub struct ByHand<'w> {
    switch: Switch,
    worker: Worker<'w, ()>,
}

impl Switch {
    /// Opens the ports at the time `start`, and has `drive` turn the switch until it is done.
    ///
    /// # Errors
    /// As [`Switch::start`].
    pub fn by_hand<T>(
        mut config: Config,
        start: Now,
        drive: impl FnOnce(&mut ByHand<'_>) -> T,
    ) -> Result<T, SwitchError> {
        config.switch.workers = Workers::Count(1);
        config.ports.iter_mut().for_each(|port| port.worker = None);
        // Nothing of the machine's takes part.
        let used: BTreeSet<String> = config.used_devices().into_iter().map(str::to_owned).collect();
        for bridge in &mut config.bridges {
            bridge.host = None;
            bridge.mtu = bridge.mtu.filter(|_| used.contains(&bridge.name));
        }
        config.uppers.iter_mut().for_each(|upper| upper.host = None);
        config.tunnels.iter_mut().for_each(|tunnel| tunnel.host = None);
        let (mut switch, mut links) = Self::assemble(config, Time::by_hand(start), KEY)?;
        let mut device = None;
        let mut worker = by_hand(&mut links[0], (), &mut device);
        switch.crew.wait_until_ready()?;
        switch.begin(|| {
            worker.step();
        })?;
        let mut hand = ByHand { switch, worker };
        let done = drive(&mut hand);
        hand.end()?;
        Ok(done)
    }
}

impl Switch {
    /// Has the worker of a memory port take this queue in place of the one it has: frames then come from there. A port that is
    /// not there keeps what it has.
    pub(crate) fn replace_queue(&mut self, port: &str, queue: Queue) {
        let Some((device, port)) = self.ports.find(port).and_then(|id| Some((id, self.ports.get(id)?)))
        else {
            return;
        };
        let member = &self.crew.members[port.worker_of(0, self.crew.members.len())];
        let Some(incarnation) = member.ready.as_ref().map(|ready| ready.incarnation) else { return };
        member.ask(Command::Close(device));
        member.ask(Command::Open { device, queue, incarnation });
    }
}

impl ByHand<'_> {
    /// The switch, to act on between two turns.
    pub fn switch(&mut self) -> &mut Switch {
        &mut self.switch
    }

    /// Makes it this time, which is not to be before the last.
    pub fn set_time(&mut self, now: Now) {
        self.switch.time.set(now);
        self.switch.time.publish(&self.switch.clock);
    }

    /// A burst of every source goes down the line. Returns how many frames came in.
    pub fn step(&mut self) -> usize {
        self.worker.step()
    }

    /// What is due every [`super::TICK`]. Returns what an operator should know, a line each.
    pub fn tick(&mut self) -> Vec<String> {
        let news = self.switch.tick();
        self.worker.step();
        news
    }

    /// Closes the ports.
    fn end(mut self) -> Result<(), SwitchError> {
        let patience = self.switch.patience();
        let stopped = self.switch.stop(patience);
        self.worker.step();
        stopped
    }
}
