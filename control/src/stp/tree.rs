//! The procedures of the spanning tree (IEEE 802.1D-1998 §8.6): who is the root, which ports lead to it or away from it,
//! and the states that follow.

use std::time::Duration;

use rigswitch_dataplane::tables::PortState;
use rigswitch_dataplane::wire::bpdu::{Bpdu, ConfigBpdu, PortId, Time};

use super::{Action, Best, Stp, Timer};

/// The shortest time between two configuration messages on a port (§8.10.2, table 8-3).
const HOLD_TIME: Duration = Duration::from_secs(1);

/// By how much a message ages in a bridge, at the least; the standard has a second, the kernel this.
const AGE_INCREMENT: Duration = Time(1).duration();

impl Stp {
    pub(super) fn is_root(&self) -> bool {
        self.root == self.id
    }

    /// Whether the way to the root leads through this bridge for those behind the port.
    pub(super) fn is_designated(&self, port: usize) -> bool {
        let port = &self.ports[port];
        port.best.bridge == self.id && port.best.port == port.setup.id
    }

    /// What this bridge says on a port.
    pub(super) fn own_message(&self, port: PortId) -> Best {
        Best { root: self.root, cost: self.root_path_cost, bridge: self.id, port }
    }

    pub(super) fn become_designated(&mut self, port: usize) {
        self.ports[port].best = self.own_message(self.ports[port].setup.id);
    }

    /// Whether what was heard is at least as good as the best that the port knows; who said that may say it again.
    pub(super) fn supersedes(&self, port: usize, heard: Best) -> bool {
        let best = self.ports[port].best;
        let [rank_heard, rank_best] = [heard, best].map(|best| (best.root, best.cost, best.bridge));
        rank_heard < rank_best
            || rank_heard == rank_best && (heard.bridge != self.id || heard.port <= best.port)
    }

    /// Notes what was heard, and how long it holds.
    pub(super) fn record(&mut self, port: usize, heard: Best, said: &ConfigBpdu) {
        let age = said.message_age.duration();
        let expiry = self.after(said.max_age.duration().saturating_sub(age));
        let port = &mut self.ports[port];
        port.best = heard;
        port.age = (age, self.now);
        port.message_age = expiry;
    }

    /// All that follows from something that was set.
    pub(super) fn update(&mut self, was_root: bool) {
        self.select_root();
        self.select_designated();
        self.select_states();
        if self.is_root() && !was_root {
            self.become_root();
        }
    }

    /// Root selection (§8.6.8): the port with the best way to a better bridge than this, if there is one.
    pub(super) fn select_root(&mut self) {
        let mut best = None;
        for index in 0..self.ports.len() {
            let port = &self.ports[index];
            let leads =
                port.state != PortState::Disabled && !self.is_designated(index) && port.best.root < self.id;
            let offer = Best { cost: port.best.cost.saturating_add(port.setup.path_cost), ..port.best };
            let rank = (offer, port.setup.id);
            if !leads || best.is_some_and(|(best, _)| best <= rank) {
                continue;
            }
            if port.setup.root_block {
                if port.state != PortState::Listening {
                    self.actions.push(Action::RootBlocked(port.device));
                }
                self.enter(index, PortState::Listening);
                self.ports[index].forward_delay = self.after(self.timing.forward_delay);
            } else {
                best = Some((rank, index));
            }
        }
        self.root_port = best.map(|(_, port)| port);
        (self.root, self.root_path_cost) =
            best.map_or((self.id, 0), |((offer, _), _)| (offer.root, offer.cost));
    }

    /// Designated port selection (§8.6.9).
    pub(super) fn select_designated(&mut self) {
        for index in 0..self.ports.len() {
            let port = &self.ports[index];
            let own = self.own_message(port.setup.id);
            let is_better = port.best.root != self.root || own < port.best;
            if port.state != PortState::Disabled && (self.is_designated(index) || is_better) {
                self.become_designated(index);
            }
        }
    }

    /// Port state selection (§8.6.11).
    pub(super) fn select_states(&mut self) {
        for index in 0..self.ports.len() {
            if self.ports[index].state == PortState::Disabled {
                continue;
            }
            let (is_root, is_designated) = (self.root_port == Some(index), self.is_designated(index));
            let port = &mut self.ports[index];
            if is_root || !is_designated {
                port.config_pending = false;
                port.topology_change_ack = false;
            } else {
                port.message_age.stop();
            }
            if is_root || is_designated {
                self.make_forwarding(index);
            } else {
                self.make_blocking(index);
            }
        }
    }

    fn make_forwarding(&mut self, port: usize) {
        if self.ports[port].state == PortState::Blocking {
            self.enter(port, PortState::Listening);
            self.ports[port].forward_delay = self.after(self.timing.forward_delay);
        }
    }

    fn make_blocking(&mut self, port: usize) {
        let state = self.ports[port].state;
        if state == PortState::Blocking {
            return;
        }
        if matches!(state, PortState::Forwarding | PortState::Learning) {
            self.detect_topology_change();
        }
        self.enter(port, PortState::Blocking);
        self.ports[port].forward_delay.stop();
    }

    pub(super) fn enter(&mut self, port: usize, state: PortState) {
        let port = &mut self.ports[port];
        if port.state != state {
            port.state = state;
            self.actions.push(Action::Enter(port.device, state));
        }
    }

    /// Takes a port out of service (§8.8.3).
    pub(super) fn take_out(&mut self, index: usize) {
        let was_root = self.is_root();
        self.become_designated(index);
        self.enter(index, PortState::Disabled);
        let port = &mut self.ports[index];
        port.topology_change_ack = false;
        port.config_pending = false;
        [&mut port.message_age, &mut port.forward_delay, &mut port.hold].into_iter().for_each(Timer::stop);
        self.update(was_root);
    }

    fn become_root(&mut self) {
        self.timing = self.own;
        self.detect_topology_change();
        self.notification.stop();
        self.generate_configs();
        self.hello = self.after(self.timing.hello_time);
    }

    /// The message that the port knew has become too old (§8.7.2).
    pub(super) fn message_expired(&mut self, port: usize) {
        let was_root = self.is_root();
        self.become_designated(port);
        self.update(was_root);
    }

    /// The port has listened, or learned, long enough (§8.7.5).
    pub(super) fn delay_expired(&mut self, port: usize) {
        match self.ports[port].state {
            PortState::Listening => {
                self.enter(port, PortState::Learning);
                self.ports[port].forward_delay = self.after(self.timing.forward_delay);
            }
            PortState::Learning => {
                self.enter(port, PortState::Forwarding);
                let serves = self
                    .ports
                    .iter()
                    .any(|port| port.state != PortState::Disabled && port.best.bridge == self.id);
                if serves {
                    self.detect_topology_change();
                }
            }
            _ => {}
        }
    }

    /// Topology change detection (§8.6.14).
    pub(super) fn detect_topology_change(&mut self) {
        if self.is_root() {
            self.topology_change = true;
            self.change = self.after(self.own.forward_delay + self.own.max_age);
        } else if !self.topology_change_detected {
            self.notify_root();
        }
        self.topology_change_detected = true;
    }

    /// Tells those nearer to the root of a change, and again until they acknowledge it.
    pub(super) fn notify_root(&mut self) {
        if let Some(port) = self.root_port {
            self.actions.push(Action::Send(self.ports[port].device, Bpdu::TopologyChange));
        }
        self.notification = self.after(self.own.hello_time);
    }

    pub(super) fn generate_configs(&mut self) {
        for port in 0..self.ports.len() {
            if self.ports[port].state != PortState::Disabled && self.is_designated(port) {
                self.transmit_config(port);
            }
        }
    }

    /// Says on a port what this bridge knows, unless it has just done so: then it does a little later (§8.6.1).
    pub(super) fn transmit_config(&mut self, index: usize) {
        if self.ports[index].hold.is_running() {
            self.ports[index].config_pending = true;
            return;
        }
        let message_age = self.root_port.map_or(Duration::ZERO, |root| {
            let (age, since) = self.ports[root].age;
            age + self.now.saturating_sub(since) + AGE_INCREMENT
        });
        if message_age >= self.timing.max_age {
            return;
        }
        let said = ConfigBpdu {
            topology_change: self.topology_change,
            topology_change_ack: self.ports[index].topology_change_ack,
            root: self.root,
            root_path_cost: self.root_path_cost,
            bridge: self.id,
            port: self.ports[index].setup.id,
            message_age: Time::from_duration(message_age),
            max_age: Time::from_duration(self.timing.max_age),
            hello_time: Time::from_duration(self.timing.hello_time),
            forward_delay: Time::from_duration(self.timing.forward_delay),
        };
        let hold = self.after(HOLD_TIME);
        let port = &mut self.ports[index];
        port.topology_change_ack = false;
        port.config_pending = false;
        port.hold = hold;
        self.actions.push(Action::Send(port.device, Bpdu::Config(said)));
    }

    pub(super) fn after(&self, time: Duration) -> Timer {
        Timer(Some(self.now + time))
    }
}
