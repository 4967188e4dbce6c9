//! Devices that come, go and change: what follows for ports, tables, stations and whoever listens.

use std::io;
use std::os::fd::OwnedFd;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::WorkerId;
use rigswitch_dataplane::worker::Command;

use super::error::SwitchError;
use super::port::Change;
use super::{LOOK, Switch};
use crate::events::Event;

/// Ticks between two looks at the names of namespaces, of which nothing tells.
const NAMES: u64 = LOOK / 2;

impl Switch {
    /// A descriptor that is readable when the kernel has news of devices: time for [`Switch::follow`].
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn readiness(&self) -> io::Result<OwnedFd> {
        self.watch.readiness()
    }

    /// Acts on what the kernel told of devices since the last call. [`Switch::tick`] does so too, later. Returns what an
    /// operator should know, a line each.
    pub fn follow(&mut self) -> Vec<String> {
        self.follow_devices();
        self.events.news()
    }

    pub(super) fn follow_devices(&mut self) {
        if self.ticks.is_multiple_of(NAMES) {
            self.leave_outdated_namespaces();
        }
        if self.watch.hear() {
            self.follow_ports();
        }
        self.take_back();
        self.take_part_anew();
        if self.ticks.is_multiple_of(LOOK) {
            self.leave_unused_namespaces();
        }
    }

    /// Compares every port with its device.
    fn follow_ports(&mut self) {
        let (mut lost, mut down, mut changed) = (Vec::new(), Vec::new(), false);
        for (id, port) in self.ports.iter_mut() {
            for change in port.follow(&mut self.watch) {
                changed |= !matches!(change, Change::Gone(_) | Change::Renamed { .. } | Change::Relocated(_));
                let ifname = port.config.name.clone();
                let event = match change {
                    Change::Gone(why) => {
                        lost.push((id, why));
                        continue;
                    }
                    Change::Down => {
                        down.push(id);
                        Event::Down { ifname }
                    }
                    Change::Up => Event::Up { ifname },
                    Change::Renamed { from, to } => Event::Renamed { ifname, device: to, was: from },
                    Change::Relocated(netns) => Event::Relocated { ifname, netns },
                    Change::Mtu(mtu) => Event::Mtu { ifname, mtu },
                    Change::Address(mac) => Event::Address { ifname, address: mac.to_string() },
                };
                self.events.tell(event);
            }
        }
        self.watch.settle();
        lost.into_iter().for_each(|(id, why)| self.lose(id, why));
        if changed {
            self.publish();
        }
        down.into_iter().for_each(|id| self.forget_stations(id));
    }

    /// Lets go of a device that is not there any more. What was learned behind it may be reached another way.
    pub(super) fn lose(&mut self, id: DeviceId, why: String) {
        let workers = (0..).map(WorkerId).take(self.crew.members.len());
        let Some(port) = self.ports.get_mut(id).filter(|port| !port.is_gone()) else { return };
        port.gone(workers);
        self.events.tell(Event::Gone { ifname: port.config.name.clone(), why });
        self.crew.members.iter().for_each(|member| member.ask(Command::Close(id)));
        self.publish();
        self.forget_stations(id);
    }

    /// Takes back devices that are there again. One that could not be had is tried again a second later.
    fn take_back(&mut self) {
        let again = self.ticks.is_multiple_of(LOOK);
        let mut back = false;
        for (_, port) in self.ports.iter_mut().filter(|(_, port)| again || !port.is_in_trouble()) {
            match port.take_back(&mut self.watch) {
                Ok(true) => {
                    back = true;
                    self.events.tell(Event::Back { ifname: port.config.name.clone() });
                }
                Ok(false) => {}
                Err(source) => {
                    let error = SwitchError::Port { name: port.config.name.clone(), source };
                    port.tell_once(error.to_string(), &mut self.events);
                }
            }
        }
        if back {
            self.reopen_queues();
        }
    }

    /// A namespace that was removed and made again is another one, though its name is the same; devices in the old one are
    /// nobody's any more.
    fn leave_outdated_namespaces(&mut self) {
        let outdated = self.watch.outdated();
        let mut lost = Vec::new();
        for (id, port) in self.ports.iter_mut().filter(|(_, port)| port.is_in(&outdated)) {
            port.make_again();
            lost.push(id);
        }
        lost.into_iter().for_each(|id| self.lose(id, "its network namespace was made anew".to_owned()));
    }

    fn leave_unused_namespaces(&mut self) {
        let used = self.ports.iter().filter_map(|(_, port)| port.namespace(&self.watch)).collect();
        self.watch.keep_only(&used);
    }
}
