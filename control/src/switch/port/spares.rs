//! Devices between two ports.

use std::iter;

use rigswitch_dataplane::ports::{PortConfig, PortKind};

use super::{Device, Port};

/// Devices that were let go of as they are, for ports that open just those again: the kernel's device stays.
#[derive(Default)]
pub(in crate::switch) struct Spares(Vec<(PortKind, Option<String>, Device)>);

impl Spares {
    /// Takes the device of a port whose queues are closed, and keeps it if one of `wanted` opens the same.
    pub(in crate::switch) fn take_from<'c>(
        &mut self,
        port: &mut Port,
        mut wanted: impl Iterator<Item = &'c PortConfig>,
    ) {
        let (kind, netns) = (&port.config.kind, &port.config.netns);
        let is_same = |other: &PortConfig| other.kind == *kind && other.netns == *netns;
        // Files are read once.
        let is_kept = !matches!(kind, PortKind::Pcap(_)) && wanted.any(is_same);
        let device = port.device.take().filter(|_| is_kept);
        self.0.extend(device.map(|device| (kind.clone(), netns.clone(), device)));
        port.gone(iter::empty());
    }

    pub(super) fn take(&mut self, config: &PortConfig) -> Option<Device> {
        let is_it = |(kind, netns, _): &(_, _, _)| *kind == config.kind && *netns == config.netns;
        let place = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(place).2)
    }
}
