//! The spanning trees of the bridges that have one: what drives their engines, and carries out what they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rigswitch_dataplane::bridge::{BridgeConfig, BridgePortConfig, SpanningTreePort};
use rigswitch_dataplane::drops::Direction;
use rigswitch_dataplane::ids::{DeviceId, DomainId, MacAddr};
use rigswitch_dataplane::punt::Injection;
use rigswitch_dataplane::tables::PortState;
use rigswitch_dataplane::wire::bpdu::{self, Bpdu, BridgeId, PortId};

use super::ports::Ports;
use super::watch::Watch;
use super::{Switch, host};
use crate::domains::Domains;
use crate::events::Event;
use crate::stp::{Action, BridgeSetup, PortSetup, Stp, Timing};

/// Every spanning tree, by the domain of its bridge.
#[derive(Default)]
pub(super) struct Trees(BTreeMap<DomainId, Tree>);

struct Tree {
    stp: Stp,
    setup: BridgeSetup,
    ports: BTreeMap<DeviceId, PortSetup>,
    /// Those with a link.
    up: BTreeSet<DeviceId>,
}

impl Trees {
    /// Makes them what the configuration and the links of the ports say.
    pub(super) fn follow(
        &mut self,
        bridges: &[BridgeConfig],
        domains: &Domains,
        ports: &Ports,
        watch: &Watch,
        now: Duration,
    ) {
        let with_tree = bridges.iter().filter(|bridge| bridge.spanning_tree.enabled);
        let with_tree: BTreeMap<_, _> =
            with_tree.filter_map(|bridge| Some((domains.of(&bridge.name)?, bridge))).collect();
        self.0.retain(|domain, _| with_tree.contains_key(domain));
        for (domain, bridge) in with_tree {
            let setup = bridge_setup(bridge, ports);
            let tree = self.0.entry(domain).or_insert_with(|| Tree {
                stp: Stp::new(setup, now),
                setup,
                ports: BTreeMap::new(),
                up: BTreeSet::new(),
            });
            if std::mem::replace(&mut tree.setup, setup) != setup {
                tree.stp.set(setup, now);
            }
            tree.follow(&bridge.ports, ports, watch, now);
        }
    }

    /// The state of a port that a spanning tree decides about.
    pub(super) fn state(&self, device: DeviceId) -> Option<PortState> {
        self.0.values().find_map(|tree| tree.stp.state(device))
    }

    /// How long stations may go unheard in a domain whose topology is changing.
    pub(super) fn fast_ageing(&self, domain: DomainId) -> Option<Duration> {
        self.0.get(&domain)?.stp.fast_ageing()
    }

    /// The tree as the bridge of a domain sees it.
    pub(super) fn tree(&self, domain: DomainId) -> Option<&Stp> {
        Some(&self.0.get(&domain)?.stp)
    }

    /// A port has heard this.
    pub(super) fn hear(&mut self, device: DeviceId, frame: &[u8], now: Duration) {
        let tree = self.0.values_mut().find(|tree| tree.ports.contains_key(&device));
        if let (Some(tree), Ok(bpdu)) = (tree, Bpdu::view(frame)) {
            tree.stp.hear(device, &bpdu, now);
        }
    }

    fn tick(&mut self, now: Duration) -> Vec<(BridgeId, Action)> {
        let act = |tree: &mut Tree| {
            tree.stp.tick(now);
            let id = tree.setup.id;
            tree.stp.actions().into_iter().map(move |action| (id, action))
        };
        self.0.values_mut().flat_map(act).collect()
    }
}

impl Tree {
    fn follow(&mut self, members: &[BridgePortConfig], ports: &Ports, watch: &Watch, now: Duration) {
        let members: Vec<_> =
            members.iter().filter_map(|member| Some((ports.find(&member.device)?, member))).collect();
        let is_member = |device| members.iter().any(|(member, _)| *member == device);
        let gone: Vec<_> = self.ports.keys().copied().filter(|&device| !is_member(device)).collect();
        for device in gone {
            self.ports.remove(&device);
            self.up.remove(&device);
            self.stp.remove_port(device, now);
        }
        for (device, member) in members {
            let Some(port) = ports.get(device) else { continue };
            let SpanningTreePort { priority, cost, guard, root_block } = member.spanning_tree;
            let known = self.ports.get(&device);
            let number = known.map_or_else(|| self.lowest_free_number(), |setup| setup.id.number());
            let known = known.filter(|_| !port.is_running() || self.up.contains(&device));
            // Its speed may have become another when its link came up.
            let path_cost = cost.map(u32::from).or(known.map(|setup| setup.path_cost));
            let path_cost =
                path_cost.unwrap_or_else(|| SpanningTreePort::cost_of_speed(port.speed(watch)).into());
            let setup = PortSetup { id: PortId::new(priority, number), path_cost, guard, root_block };
            if self.ports.insert(device, setup) != Some(setup) {
                self.stp.set_port(device, setup, now);
            }
            match port.is_running() {
                true if self.up.insert(device) => self.stp.enable(device, now),
                false if self.up.remove(&device) => self.stp.disable(device, now),
                _ => {}
            }
        }
    }

    fn lowest_free_number(&self) -> u16 {
        let taken = |number: &u16| self.ports.values().any(|setup| setup.id.number() == *number);
        (1..PortId::MAX_NUMBER).find(|number| !taken(number)).unwrap_or(PortId::MAX_NUMBER)
    }
}

fn bridge_setup(bridge: &BridgeConfig, ports: &Ports) -> BridgeSetup {
    let tree = &bridge.spanning_tree;
    let address = host::address(bridge, ports).unwrap_or(MacAddr::ZERO);
    let timing =
        Timing { max_age: tree.max_age, hello_time: tree.hello_time, forward_delay: tree.forward_delay };
    BridgeSetup { id: BridgeId::new(tree.priority, address), timing }
}

impl Switch {
    /// What is due in the spanning trees, and what follows from it. Publishes if that, or something else, has `changed` the
    /// tables.
    pub(super) fn run_trees(&mut self, mut changed: bool) {
        let actions = self.trees.tick(self.time.elapsed());
        for (_, action) in &actions {
            changed |= matches!(action, Action::Enter(..));
            self.tell(action);
        }
        if changed {
            self.publish();
        }
        for (id, action) in actions {
            match action {
                Action::Send(device, bpdu) => self.send_bpdu(id, device, &bpdu),
                Action::Enter(device, PortState::Disabled) => self.forget_stations(device),
                _ => {}
            }
        }
        for bridge in &self.config.bridges {
            if let Some(domain) = self.domains.of(&bridge.name) {
                let time = self.trees.fast_ageing(domain).unwrap_or(bridge.ageing_time);
                self.domains.all(&bridge.name).for_each(|domain| self.sweep.set(domain, time));
            }
        }
    }

    /// Tells whoever listens, and an operator what is to be seen to.
    fn tell(&mut self, action: &Action) {
        let (ifname, event): (_, fn(String) -> Event) = match *action {
            Action::Send(..) => return,
            Action::Enter(device, state) => {
                let (ifname, state) = (self.name(device).to_owned(), state.name().to_owned());
                return self.events.tell(Event::PortState { ifname, state });
            }
            Action::Guarded(device) => (self.name(device), |ifname| {
                let message = format!(
                    "port {ifname} has a guard, and a BPDU came: out of service until its link was down"
                );
                Event::Warning { message }
            }),
            Action::RootBlocked(device) => (self.name(device), |ifname| {
                let message = format!("port {ifname} would lead to the root, which root_block forbids");
                Event::Warning { message }
            }),
        };
        let event = event(ifname.to_owned());
        self.events.tell(event);
    }

    fn send_bpdu(&mut self, bridge: BridgeId, device: DeviceId, bpdu: &Bpdu) {
        let Some(port) = self.ports.get(device) else { return };
        let own = port.address();
        let source = if own.is_zero() { bridge.address() } else { own };
        let mut frame = [0; bpdu::LONGEST];
        let length = bpdu::emit(&mut frame, source, bpdu);
        let member = &mut self.crew.members[port.owner.index()];
        // A ring that is full of what control has made before loses this, as a wire might: the next one comes soon.
        let _ = member.inject.offer(Injection { device, direction: Direction::Tx }, &frame[..length]);
        member.wake();
    }
}
