//! Changing while running: what can fail comes first, then one publish, a grace period, and the end of what goes.
//!
//! A port that comes is open, and its queues are with their workers, before the tables name it; one that goes is closed when
//! nobody acts any more on tables that name it. What fails before the publish is undone, and the switch is as it was. Ports
//! that do not change keep their devices and queues: nothing that crosses between them is lost.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rigswitch_dataplane::bridge::FdbState;
use rigswitch_dataplane::ids::{DeviceId, VlanId};
use rigswitch_dataplane::ports::{PortConfig, PortKind, XdpConfig, XdpQueue};
use rigswitch_dataplane::tables::{Entry, Flags, Key, WorkerId};
use rigswitch_dataplane::worker::Command;

use super::error::SwitchError;
use super::port::{Port, Spares};
use super::{Switch, grace, memory};
use crate::config::{Change, Config, Edit, Plan};
use crate::events::Event;
use crate::views::{EditObject, EditRequest};

/// How long the workers may take to close queues: longer than one that panicked takes to be back.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was done before the publish.
#[derive(Default)]
struct Done {
    /// Ports that came.
    came: Vec<DeviceId>,
    /// Ports whose device was closed, or is another's now; as they were.
    closed: Vec<(DeviceId, PortConfig, WorkerId)>,
    /// Ports with another MTU or other addresses; as they were.
    adjusted: Vec<(DeviceId, PortConfig)>,
    /// What the MAC table said before.
    entries: Vec<(Key, Option<Entry>)>,
    /// Devices that nobody has now.
    spares: Spares,
}

/// What a plan does to ports, by what it takes.
#[derive(Default)]
struct PortWork<'p> {
    /// To be opened while all that runs goes on.
    coming: Vec<&'p PortConfig>,
    /// To be opened when another has let go of their device.
    late: Vec<&'p PortConfig>,
    /// To be opened anew, under their name and number.
    remade: Vec<&'p PortConfig>,
    /// Only their MTU or their addresses are others.
    adjusted: Vec<(&'p PortConfig, &'p PortConfig)>,
    /// To be closed before the late and the remade open.
    released: Vec<&'p PortConfig>,
    /// To be closed in the end, the released ones too.
    leaving: Vec<&'p PortConfig>,
}

impl Switch {
    /// What would make `wanted` of the configuration in force.
    ///
    /// # Errors
    /// [`SwitchError::Frozen`], when that takes a new start.
    pub fn plan(&self, wanted: &Config) -> Result<Plan, SwitchError> {
        Ok(Plan::between(&self.config(), wanted)?)
    }

    /// Makes `wanted` the configuration in force, and says what that changed.
    ///
    /// # Errors
    /// [`SwitchError`], and the switch is as it was.
    pub fn apply(&mut self, wanted: Config) -> Result<Plan, SwitchError> {
        let plan = self.plan(&wanted)?;
        let edits = Plan::of_ports(&self.config, &wanted);
        let ports = PortWork::of(&edits);
        let mut done = Done::default();
        if let Err(error) = self.prepare(&plan, &ports, &wanted, &mut done) {
            self.undo(done);
            return Err(error);
        }
        self.commit(&plan, &ports, wanted);
        Ok(plan)
    }

    /// Changes one thing of the configuration in force.
    ///
    /// # Errors
    /// [`SwitchError`], and the switch is as it was.
    pub fn edit(&mut self, edit: &EditRequest) -> Result<Plan, SwitchError> {
        let wanted = self.config().edited(edit)?;
        let kinds = [EditObject::Port, EditObject::Vlan, EditObject::Ipvlan, EditObject::Macvlan];
        if kinds.contains(&edit.object)
            && let Some(id) = self.ports.find(&edit.name)
        {
            self.moves.forgive(id); // the publish to come puts it in force
        }
        self.apply(wanted)
    }

    /// Everything that can fail.
    fn prepare(
        &mut self,
        plan: &Plan,
        ports: &PortWork<'_>,
        wanted: &Config,
        done: &mut Done,
    ) -> Result<(), SwitchError> {
        self.domains.admit(wanted).map_err(|_| SwitchError::TooManyDomains)?;
        let before = self.receiving();
        for (from, to) in &ports.adjusted {
            let Some(id) = self.ports.find(&to.name) else { continue };
            done.adjusted.push((id, (*from).clone()));
            self.adjust(id, (*to).clone())?;
        }
        for config in &ports.coming {
            done.came.push(self.add_port(config, &mut Spares::default())?);
        }
        self.check_room(&before)?;
        self.open_these_queues(&done.came)?;
        if !ports.late.is_empty() || !ports.remade.is_empty() {
            self.hand_over(ports, done)?;
            self.check_room(&before)?;
        }
        self.check_addresses(&wanted.uppers)?;
        self.claim_also(wanted)?;
        self.put_entries(plan, done)
    }

    /// Ports whose device is in use by others let those go first.
    fn hand_over(&mut self, ports: &PortWork<'_>, done: &mut Done) -> Result<(), SwitchError> {
        let closing = ports.released.iter().chain(&ports.remade);
        let closing: Vec<_> = closing.filter_map(|config| self.ports.find(&config.name)).collect();
        for &id in &closing {
            let port = self.ports.get(id).map(|port| (id, port.config.clone(), port.owner));
            done.closed.extend(port);
        }
        self.close(&closing, ports.remade.iter().chain(&ports.late).copied(), &mut done.spares)?;
        let mut opened = Vec::new();
        for config in &ports.remade {
            let Some(id) = self.ports.find(&config.name) else { continue };
            let owner = self.owner_of(config, Some(id));
            self.reopen(id, (*config).clone(), owner, &mut done.spares)?;
            opened.push(id);
        }
        for config in &ports.late {
            let id = self.add_port(config, &mut done.spares)?;
            done.came.push(id);
            opened.push(id);
        }
        self.open_these_queues(&opened)
    }

    /// Puts the entries that come or change in the MAC table.
    fn put_entries(&mut self, plan: &Plan, done: &mut Done) -> Result<(), SwitchError> {
        for change in &plan.0 {
            let Change::Entry(bridge, Edit::Add(entry) | Edit::Change { to: entry, .. }) = change else {
                continue;
            };
            let Some(domain) = self.domains.of_vlan(bridge, entry.vlan) else { continue };
            let key = Key::new(domain, entry.mac);
            done.entries.push((key, self.entry(key)));
            self.put_configured(bridge, entry)?;
        }
        Ok(())
    }

    /// Puts what was prepared in force, and ends what goes. Nothing here fails.
    fn commit(&mut self, plan: &Plan, ports: &PortWork<'_>, wanted: Config) {
        self.config = wanted;
        let number = |port: &&PortConfig| match port.kind {
            PortKind::Inside => self.ports.inside(&port.name),
            _ => self.ports.find(&port.name),
        };
        let leaving: Vec<_> = ports.leaving.iter().filter_map(number).collect();
        // A worker takes its commands after it has seen a generation and before it sees the next: every way out is open.
        grace(&mut self.publisher);
        grace(&mut self.publisher);
        self.rehome(ports);
        self.leave(&leaving);
        self.forget_what_has_gone(plan, ports);
        self.sweep.configure(&self.config, &self.domains);
        self.place_vxlan_entries();
        self.retire(&leaving);
        self.domains.release_all_but(&self.config);
    }

    /// Has what the file says of a bridge's own addresses be of the inside of its device from when there is one, and of the
    /// device itself from when there is none.
    fn rehome(&mut self, ports: &PortWork<'_>) {
        let is_inside = |port: &&&PortConfig| port.kind == PortKind::Inside;
        let both = |port: &&PortConfig| self.ports.find(&port.name).zip(self.ports.inside(&port.name));
        let coming = ports.coming.iter().filter(is_inside).filter_map(both);
        let leaving = ports.leaving.iter().filter(is_inside).filter_map(both).map(|(to, from)| (from, to));
        let moves: HashMap<_, _> = coming.chain(leaving).collect();
        if moves.is_empty() {
            return;
        }
        let is_said = |key: &Key, entry: &Entry| entry.is_local() && !self.own.contains_key(key);
        let of = |(key, entry): (Key, Entry)| Some((key, *moves.get(&entry.egress().device)?, entry.flags()));
        let moved: Vec<_> =
            self.macs.iter().filter(|(key, entry)| is_said(key, entry)).filter_map(of).collect();
        for (key, to, flags) in moved {
            // There is room: it is there.
            let _ = self.put(key, to, flags);
        }
    }

    /// Takes back everything that was done.
    fn undo(&mut self, mut done: Done) {
        for (key, before) in done.entries.drain(..).rev() {
            self.restore(key, before);
        }
        self.leave(&done.came);
        let closed: Vec<_> = done.closed.iter().map(|(id, ..)| *id).collect();
        let wanted = done.closed.iter().map(|(_, old, _)| old);
        if let Err(error) = self.close(&[&closed[..], &done.came].concat(), wanted, &mut done.spares) {
            self.warn_of(&error);
        }
        self.retire(&done.came);
        for (id, config, owner) in done.closed {
            // What cannot be had again is gone, and taken back when it can.
            if let Err(error) = self.reopen(id, config, owner, &mut done.spares) {
                self.warn_of(&error);
            }
        }
        for (id, config) in done.adjusted {
            if let Err(error) = self.adjust(id, config) {
                self.warn_of(&error);
            }
        }
        self.domains.release_all_but(&self.config);
        self.reopen_queues();
        self.publish();
    }

    /// Publishes tables without these ports.
    fn leave(&mut self, leaving: &[DeviceId]) {
        leaving.iter().filter_map(|&id| self.ports.get_mut(id).map(|port| port.leaving = true)).count();
        self.publish();
    }

    /// Ends ports that the tables do not have any more; their numbers are free afterwards.
    fn retire(&mut self, leaving: &[DeviceId]) {
        if let Err(error) = self.ask_to_close(leaving, Command::Retire) {
            // Its numbers stay taken: a worker may yet count on them.
            return self.warn_of(&error);
        }
        // What they had punted is heard while their numbers are still theirs.
        self.run_protocols();
        for &id in leaving {
            self.ports.remove(id);
            self.moves.forgive(id);
            self.crew.members.iter_mut().for_each(|member| member.lost.retain(|(device, ..)| *device != id));
        }
    }

    /// Takes everything out of the MAC table that the configuration in force has no place for.
    fn forget_what_has_gone(&mut self, plan: &Plan, ports: &PortWork<'_>) {
        for change in &plan.0 {
            if let Change::Entry(bridge, Edit::Remove(entry)) = change
                && entry.state != FdbState::Dynamic
                && let Some(domain) = self.domains.of_vlan(bridge, entry.vlan)
            {
                self.macs.remove(Key::new(domain, entry.mac));
            }
        }
        let moves = |change: &Change| match change {
            Change::Member(_, Edit::Remove(_)) | Change::Bridge(Edit::Remove(_)) => true,
            Change::Member(_, Edit::Change { from, to }) => from.vlans != to.vlans,
            Change::Bridge(Edit::Change { from, to }) => from.vlans != to.vlans,
            _ => false,
        };
        if !ports.leaving.is_empty() || plan.0.iter().any(moves) {
            let tables = Arc::clone(self.publisher.current());
            let is_member = |key: Key, entry: Entry| {
                let (device, domain) = (entry.egress().device, key.domain());
                let is_in =
                    |vid: VlanId| tables.vlan_port(device).is_some_and(|port| port.is_in(vid.number()));
                tables.vxlan_domain(device) == Some(domain)
                    || tables.device(device).role.domain() == Some(tables.bridge_of(domain))
                        && tables.domain(domain).of.is_none_or(|of| is_in(of.vid))
            };
            self.forget(|key, entry| !is_member(key, entry));
        }
        for port in &ports.remade {
            self.ports.find(&port.name).into_iter().for_each(|id| self.forget_stations(id));
        }
        for change in &plan.0 {
            if let Change::Member(_, Edit::Change { from, to }) = change
                && from.mab
                && !to.mab
                && let Some(id) = self.ports.find(&to.device)
            {
                let is_locked = |entry: Entry| entry.flags().has(Flags::LOCKED);
                self.forget(|_, entry| is_locked(entry) && entry.egress().device == id);
            }
        }
    }

    /// Closes all queues of these ports, and keeps those of their devices that `wanted` opens as they are.
    fn close<'c>(
        &mut self,
        ids: &[DeviceId],
        wanted: impl Iterator<Item = &'c PortConfig> + Clone,
        spares: &mut Spares,
    ) -> Result<(), SwitchError> {
        self.ask_to_close(ids, Command::Close)?;
        for &id in ids {
            if let Some(port) = self.ports.get_mut(id) {
                spares.take_from(port, wanted.clone());
            }
        }
        Ok(())
    }

    /// Has the workers close all queues of these ports, and waits until they have.
    fn ask_to_close(
        &mut self,
        ids: &[DeviceId],
        command: impl Fn(DeviceId) -> Command,
    ) -> Result<(), SwitchError> {
        for &id in ids {
            let Some(port) = self.ports.get_mut(id) else { continue };
            port.closing.extend((0..).map(WorkerId).take(self.crew.members.len()));
            self.crew.members.iter().for_each(|member| member.ask(command(id)));
        }
        let deadline = Instant::now() + PATIENCE;
        let waiting = |switch: &Self| {
            let closing = ids.iter().filter_map(|&id| switch.ports.get(id)?.closing.first().copied());
            closing.min()
        };
        while let Some(stuck) = waiting(self) {
            let event = self.crew.events.recv_deadline(deadline);
            let (worker, event) = event.map_err(|_| SwitchError::Unresponsive(stuck.0))?;
            self.hear(worker, event);
        }
        Ok(())
    }

    /// Opens a port under the lowest number that is free.
    fn add_port(&mut self, config: &PortConfig, spares: &mut Spares) -> Result<DeviceId, SwitchError> {
        let failed = |source| SwitchError::Port { name: config.name.clone(), source };
        let owner = self.owner_of(config, None);
        let id = self.ports.add(Port::open(config.clone(), owner, spares, &mut self.watch).map_err(failed)?);
        self.prepare_counters();
        Ok(id)
    }

    /// Opens a port again, as `config` says.
    fn reopen(
        &mut self,
        id: DeviceId,
        config: PortConfig,
        owner: WorkerId,
        spares: &mut Spares,
    ) -> Result<(), SwitchError> {
        let name = config.name.clone();
        let opened = Port::open(config, owner, spares, &mut self.watch);
        let opened = opened.map_err(|source| SwitchError::Port { name, source })?;
        if let Some(port) = self.ports.get_mut(id) {
            *port = opened;
        }
        Ok(())
    }

    fn adjust(&mut self, id: DeviceId, config: PortConfig) -> Result<(), SwitchError> {
        let name = config.name.clone();
        let Some(port) = self.ports.get_mut(id) else { return Ok(()) };
        port.adjust(config, &mut self.watch).map_err(|source| SwitchError::Port { name, source })
    }

    /// Tells what nobody waits for an answer about.
    pub(super) fn warn_of(&mut self, error: &SwitchError) {
        self.events.tell(Event::Warning { message: error.to_string() });
    }

    /// Opens the queues of these ports, all of them. Where the kernel is busy it lets go of those just closed late.
    fn open_these_queues(&mut self, ids: &[DeviceId]) -> Result<(), SwitchError> {
        /// Each of which waits a second.
        const ATTEMPTS: usize = 10;
        let mut failed = Vec::new();
        for _ in 0..ATTEMPTS {
            failed = self.open_queues(|id| ids.contains(&id)).1;
            if failed.is_empty() || !failed.iter().all(|(_, error)| error.is_busy()) {
                break;
            }
        }
        failed.into_iter().try_for_each(|(_, error)| Err(error))
    }

    /// The worker that the file names, the one that has the port, or else the one with the fewest.
    fn owner_of(&self, config: &PortConfig, id: Option<DeviceId>) -> WorkerId {
        let mut loads = vec![0; self.crew.members.len()];
        self.ports.iter().for_each(|(_, port)| loads[port.owner.index()] += 1);
        let least = || loads.iter().zip(0..).min().map_or(0, |(_, worker)| worker);
        let as_it_was = || Some(self.ports.get(id?)?.owner.0);
        WorkerId(config.worker.or_else(as_it_was).unwrap_or_else(least))
    }

    /// Whether each worker that has more receiving queues than `before` has the packet memory for them: those that are open
    /// already have been lent theirs.
    fn check_room(&self, before: &[usize]) -> Result<(), SwitchError> {
        for ((member, worker), (&now, &before)) in
            self.crew.members.iter().zip(0..).zip(self.receiving().iter().zip(before))
        {
            if now > before && memory::receive_share(member.memory, now) < XdpQueue::FRAMES / 2 {
                return Err(SwitchError::NoMemory { worker, queues: now });
            }
        }
        Ok(())
    }
}

impl<'p> PortWork<'p> {
    fn of(edits: &'p [Edit<PortConfig>]) -> Self {
        let mut work = Self::default();
        let mut added = Vec::new();
        // Devices that become free only when something is closed.
        let mut held = HashSet::new();
        for edit in edits {
            match edit {
                Edit::Add(port) => added.push(port),
                Edit::Remove(port) => {
                    held.extend(kernel_device(port));
                    work.leaving.push(port);
                }
                Edit::Change { from, to } if is_adjusted(from, to) => work.adjusted.push((from, to)),
                Edit::Change { from, to } => {
                    held.extend(kernel_device(from));
                    work.remade.push(to);
                }
            }
        }
        let is_held = |port: &&PortConfig| kernel_device(port).is_some_and(|device| held.contains(&device));
        (work.late, work.coming) = added.into_iter().partition(is_held);
        let wanted: HashSet<_> =
            work.late.iter().chain(&work.remade).filter_map(|port| kernel_device(port)).collect();
        let is_wanted = |port: &&&PortConfig| kernel_device(port).is_some_and(|it| wanted.contains(&it));
        work.released = work.leaving.iter().filter(is_wanted).copied().collect();
        work
    }
}

/// The kernel's device of a port: its namespace and its name.
fn kernel_device(port: &PortConfig) -> Option<(Option<&str>, &str)> {
    port.kind.device().map(|device| (port.netns.as_deref(), device))
}

/// Whether only the MTU or the addresses are others, and the device need not be opened anew for it.
fn is_adjusted(from: &PortConfig, to: &PortConfig) -> bool {
    let long = |port: &PortConfig| port.mtu.is_some_and(|mtu| u32::from(mtu) > XdpConfig::LONGEST_WHOLE);
    let attached_otherwise = matches!(to.kind, PortKind::Xdp(_)) && long(from) != long(to);
    let link = |port: &PortConfig| if let PortKind::Host(host) = &port.kind { Some(host.link) } else { None };
    let both_hosts = link(from).zip(link(to)).is_some_and(|(from, to)| from.is_same_device(to));
    let kind = if both_hosts { &to.kind } else { &from.kind }.clone();
    PortConfig { mtu: to.mtu, address: to.address, kind, ..from.clone() } == *to && !attached_otherwise
}
