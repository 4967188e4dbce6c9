//! A host of the laboratory: its namespace, and what is plugged into it.

use std::net::IpAddr;
use std::sync::Arc;

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::netns::Netns;

use super::{LabError, link};

/// A network namespace that plays a machine. Clones mean the same host.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    netns: Arc<Netns>,
}

impl Host {
    pub(super) fn new(name: String, netns: Netns) -> Self {
        Self { name, netns: Arc::new(netns) }
    }

    /// The namespace's full name, by which a configuration or `ip netns exec` finds it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Runs `work` in the host, on a thread of its own. Sockets it opens stay in the host.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.netns.run(work).map_err(LabError::system(format!("entering {}", self.name)))
    }

    /// The device of this name in the host; that it exists shows at its first use.
    ///
    /// # Errors
    /// When the name could not be a device's.
    pub fn netdev(&self, device: &str) -> Result<Netdev, LabError> {
        let doing = format!("looking for {device} in {}", self.name);
        Netdev::new(device, Some(&self.netns)).map_err(LabError::system(doing))
    }

    /// Makes a veth pair: `device` in this host, `peer` in `far`. Both ends are down.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn add_veth(&self, device: &str, peer: &str, far: &Netns) -> Result<(), LabError> {
        link::add_veth(&self.netns, device, peer, far)
    }

    /// Moves `device` from the namespace it is in into this host, where it arrives down and without addresses. Whoever has
    /// it open, a TAP for example, keeps it open.
    ///
    /// # Errors
    /// When there is no such device, or it cannot be moved.
    pub fn adopt(&self, device: &str, from: &Netns) -> Result<(), LabError> {
        link::move_device(from, device, &self.netns)
    }

    /// Deletes `device`, and with one end of a veth the other.
    ///
    /// # Errors
    /// When there is no such device, or it is no virtual one.
    pub fn delete(&self, device: &str) -> Result<(), LabError> {
        link::delete_device(&self.netns, device)
    }

    /// Gives `device` an address, usable at once.
    ///
    /// # Errors
    /// When there is no such device, or it has the address already.
    pub fn add_address(&self, device: &str, address: IpAddr, prefix_length: u8) -> Result<(), LabError> {
        link::add_address(&self.netns, device, address, prefix_length)
    }

    /// Gives `device` another MAC address.
    ///
    /// # Errors
    /// When there is no such device, or the address is not one station's.
    pub fn set_mac(&self, device: &str, mac: MacAddr) -> Result<(), LabError> {
        let doing = format!("giving {device} in {} the address {mac}", self.name);
        self.netdev(device)?.set_mac(mac).map_err(LabError::system(doing))
    }

    /// Brings `device` up.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn set_up(&self, device: &str) -> Result<(), LabError> {
        let doing = format!("bringing up {device} in {}", self.name);
        self.netdev(device)?.set_up(true).map_err(LabError::system(doing))
    }
}
