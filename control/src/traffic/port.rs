//! A device that frames are sent from, or counted on.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rigswitch_dataplane::sys::features::XdpFeatures;
use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::netns::{Netns, inside};
use rigswitch_dataplane::sys::time;

use super::TrafficError;

/// How long a device that was just brought up may take to have its carrier.
const CARRIER: Duration = Duration::from_secs(3);

/// A device of a network namespace that is up. Clones mean the same device.
#[derive(Clone, Debug)]
pub struct Port {
    pub(super) name: String,
    pub(super) netns: Option<Arc<Netns>>,
    pub(super) device: Arc<Netdev>,
    pub(super) index: u32,
}

impl Port {
    /// The device `name` in the namespace `netns`, or in this process's.
    ///
    /// # Errors
    /// When there is no such namespace or device, and when the device is down or has no carrier.
    pub fn open(name: &str, netns: Option<&str>) -> Result<Self, TrafficError> {
        let namespace = netns.map(Netns::open).transpose().map_err(TrafficError::Device)?;
        Self::of(name, namespace)
    }

    /// The same, of a namespace that is at hand.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of(name: &str, netns: Option<Netns>) -> Result<Self, TrafficError> {
        let device = Netdev::new(name, netns.as_ref()).map_err(TrafficError::Device)?;
        let index = device.index().map_err(TrafficError::Device)?;
        let (netns, device) = (netns.map(Arc::new), Arc::new(device));
        let port = Self { name: name.to_owned(), netns, device, index };
        port.check_up()?;
        Ok(port)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn check_up(&self) -> Result<(), TrafficError> {
        let down = |what: &str, remedy: &str| {
            Err(TrafficError::Down { device: self.name.clone(), what: what.into(), remedy: remedy.into() })
        };
        if !self.device.is_up().map_err(TrafficError::Device)? {
            return down("is down", &format!("ip link set {} up", self.name));
        }
        let deadline = time::monotonic() + CARRIER;
        while !self.device.is_running().map_err(TrafficError::Device)? {
            if time::monotonic() > deadline {
                return down("has no carrier", "bring its far end up, or plug it in");
            }
            thread::sleep(CARRIER / 100);
        }
        Ok(())
    }

    /// Runs `work` where the device is.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, TrafficError> {
        inside(self.netns.as_deref(), work).map_err(TrafficError::Device)
    }

    /// What its driver can do for XDP; nothing is said by a kernel that does not know.
    pub(super) fn features(&self) -> Result<Option<XdpFeatures>, TrafficError> {
        self.run(|| XdpFeatures::of(self.index).ok())
    }
}
