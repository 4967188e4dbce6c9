//! The spanning tree of one bridge: what it does at each event, and no more. It knows neither clock nor port; whoever
//! drives it says what happened and when, and carries out what it answers.
//!
//! IEEE 802.1D-1998 §8 as the kernel runs it (net/bridge/br_stp.c), so that a ring of its bridges and ours has one tree.
//! Procedures have the standard's names where it has any.

mod setup;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use setup::{BridgeSetup, PortSetup, Timing};

use std::time::Duration;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::PortState;
use rigswitch_dataplane::wire::bpdu::{Bpdu, BridgeId, ConfigBpdu, PortId};

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// The port takes this state.
    Enter(DeviceId, PortState),
    /// This leaves by the port.
    Send(DeviceId, Bpdu),
    /// The port's guard has taken it out of service: a BPDU came where none may come from.
    Guarded(DeviceId),
    /// The port would have led to the root, and may not.
    RootBlocked(DeviceId),
}

/// Where a bridge is in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Root {
    pub(crate) bridge: BridgeId,
    pub(crate) root: BridgeId,
    /// What the way to the root costs.
    pub(crate) cost: u32,
    /// By which port it leads, if the root is another bridge.
    pub(crate) port: Option<DeviceId>,
}

/// The spanning tree as one bridge sees it.
#[derive(Debug)]
pub(crate) struct Stp {
    id: BridgeId,
    /// What it would have all bridges keep if it were the root.
    own: Timing,
    /// What the root has them keep.
    timing: Timing,
    root: BridgeId,
    root_path_cost: u32,
    root_port: Option<usize>,
    topology_change: bool,
    topology_change_detected: bool,
    hello: Timer,
    notification: Timer,
    change: Timer,
    ports: Vec<Port>,
    now: Duration,
    actions: Vec<Action>,
}

/// One port of it: what it is set to, and the best message heard on it, or its own if that is better.
#[derive(Debug)]
struct Port {
    device: DeviceId,
    setup: PortSetup,
    state: PortState,
    best: Best,
    /// The age of the best message when it came, and when that was.
    age: (Duration, Duration),
    topology_change_ack: bool,
    config_pending: bool,
    message_age: Timer,
    forward_delay: Timer,
    hold: Timer,
}

/// What a message says about the way to the root, the parts in the order they count (§8.6.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Best {
    root: BridgeId,
    cost: u32,
    bridge: BridgeId,
    port: PortId,
}

/// A time to come, if it runs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Timer(Option<Duration>);

impl Timer {
    fn stop(&mut self) {
        self.0 = None;
    }

    fn is_running(self) -> bool {
        self.0.is_some()
    }

    /// Whether its time has come; it stops then.
    fn expires(&mut self, now: Duration) -> bool {
        let expires = self.0.is_some_and(|at| at <= now);
        if expires {
            self.stop();
        }
        expires
    }
}

impl Stp {
    /// The tree of a bridge without ports: it is the root.
    pub(crate) fn new(setup: BridgeSetup, now: Duration) -> Self {
        let BridgeSetup { id, timing } = setup;
        Self {
            id,
            own: timing,
            timing,
            root: id,
            root_path_cost: 0,
            root_port: None,
            topology_change: false,
            topology_change_detected: false,
            hello: Timer(Some(now + timing.hello_time)),
            notification: Timer::default(),
            change: Timer::default(),
            ports: Vec::new(),
            now,
            actions: Vec::new(),
        }
    }

    /// What has come to be done since the last call, in order.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The bridge, and what it says as the root, are these from now on.
    pub(crate) fn set(&mut self, setup: BridgeSetup, now: Duration) {
        self.now = now;
        let was_root = self.is_root();
        let old = std::mem::replace(&mut self.id, setup.id);
        self.own = setup.timing;
        for best in self.ports.iter_mut().map(|port| &mut port.best) {
            let ours = [&mut best.root, &mut best.bridge].into_iter().filter(|id| **id == old);
            ours.for_each(|id| *id = setup.id);
        }
        if was_root {
            self.root = setup.id;
            self.timing = setup.timing;
        }
        self.update(was_root);
    }

    /// The port is there and set like this from now on; a new one is out of service.
    pub(crate) fn set_port(&mut self, device: DeviceId, setup: PortSetup, now: Duration) {
        self.now = now;
        let was_root = self.is_root();
        let Some(port) = self.index(device) else {
            self.ports.push(Port {
                device,
                setup,
                state: PortState::Disabled,
                best: self.own_message(setup.id),
                age: (Duration::ZERO, now),
                topology_change_ack: false,
                config_pending: false,
                message_age: Timer::default(),
                forward_delay: Timer::default(),
                hold: Timer::default(),
            });
            return;
        };
        let is_designated = self.is_designated(port);
        let id = setup.id;
        self.ports[port].setup = setup;
        if is_designated {
            self.ports[port].best.port = id;
        }
        if self.ports[port].best.bridge == self.id && id < self.ports[port].best.port {
            self.become_designated(port);
        }
        self.update(was_root);
    }

    /// The port is no longer the bridge's.
    pub(crate) fn remove_port(&mut self, device: DeviceId, now: Duration) {
        if let Some(port) = self.index(device) {
            self.disable(device, now);
            self.ports.remove(port);
            // Whoever comes behind it has moved up; the same choice is made again among those that are there.
            let was_root = self.is_root();
            self.update(was_root);
        }
    }

    /// The port's link is up.
    pub(crate) fn enable(&mut self, device: DeviceId, now: Duration) {
        self.now = now;
        let Some(port) = self.index(device).filter(|&port| self.ports[port].state == PortState::Disabled)
        else {
            return;
        };
        self.become_designated(port);
        self.enter(port, PortState::Blocking);
        self.select_states();
    }

    /// The port's link is down.
    pub(crate) fn disable(&mut self, device: DeviceId, now: Duration) {
        self.now = now;
        if let Some(port) = self.index(device).filter(|&port| self.ports[port].state != PortState::Disabled) {
            self.take_out(port);
        }
    }

    /// The port has heard this.
    pub(crate) fn hear(&mut self, device: DeviceId, bpdu: &Bpdu, now: Duration) {
        self.now = now;
        let Some(port) = self.index(device).filter(|&port| self.ports[port].state != PortState::Disabled)
        else {
            return;
        };
        if self.ports[port].setup.guard {
            self.actions.push(Action::Guarded(device));
            return self.take_out(port);
        }
        match bpdu {
            Bpdu::Config(said) => self.hear_config(port, said),
            Bpdu::TopologyChange if self.is_designated(port) => {
                self.detect_topology_change();
                self.ports[port].topology_change_ack = true;
                self.transmit_config(port);
            }
            Bpdu::TopologyChange => {}
        }
    }

    /// Whatever was due until now.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = now;
        for port in 0..self.ports.len() {
            if self.ports[port].message_age.expires(now) {
                self.message_expired(port);
            }
            if self.ports[port].forward_delay.expires(now) {
                self.delay_expired(port);
            }
            if self.ports[port].hold.expires(now) && self.ports[port].config_pending {
                self.transmit_config(port);
            }
        }
        if self.hello.expires(now) {
            self.generate_configs();
            self.hello = self.after(self.timing.hello_time);
        }
        if self.notification.expires(now) {
            self.notify_root();
        }
        if self.change.expires(now) {
            self.topology_change = false;
            self.topology_change_detected = false;
        }
    }

    /// How long a station may go unheard while the topology changes: then, and only then, less than at other times.
    pub(crate) fn fast_ageing(&self) -> Option<Duration> {
        self.topology_change.then_some(self.timing.forward_delay)
    }

    /// Where the bridge is in the tree.
    pub(crate) fn root(&self) -> Root {
        let port = self.root_port.map(|port| self.ports[port].device);
        Root { bridge: self.id, root: self.root, cost: self.root_path_cost, port }
    }

    /// A port's state, if it has the port.
    pub(crate) fn state(&self, device: DeviceId) -> Option<PortState> {
        self.index(device).map(|port| self.ports[port].state)
    }

    fn index(&self, device: DeviceId) -> Option<usize> {
        self.ports.iter().position(|port| port.device == device)
    }

    fn hear_config(&mut self, port: usize, said: &ConfigBpdu) {
        let heard = Best { root: said.root, cost: said.root_path_cost, bridge: said.bridge, port: said.port };
        if !self.supersedes(port, heard) {
            if self.is_designated(port) {
                self.transmit_config(port);
            }
            return;
        }
        let was_root = self.is_root();
        self.record(port, heard, said);
        self.select_root();
        self.select_designated();
        self.select_states();
        if was_root && !self.is_root() {
            self.hello.stop();
            if self.topology_change_detected {
                self.change.stop();
                self.notify_root();
            }
        }
        if self.root_port == Some(port) {
            self.timing = Timing::of(said);
            self.topology_change = said.topology_change;
            self.generate_configs();
            if said.topology_change_ack {
                self.topology_change_detected = false;
                self.notification.stop();
            }
        }
    }
}
