//! The kernel doing the same, where it can.

use std::net::Ipv4Addr;

use rigswitch_dataplane::ids::MacAddr;

use super::rig::{network, router};
use super::ways::Kernel;
use crate::bench::BenchError;
use crate::lab::{Host, LabError};

impl Kernel {
    /// Has the kernel forward in `host`, of which this is the station's address, and that the other's; stations' packets are of at
    /// most `mtu` bytes.
    pub(super) fn set_up(
        self,
        host: &Host,
        own: &[u8; 4],
        other: &[u8; 4],
        mtu: u32,
    ) -> Result<(), BenchError> {
        let absent = |error: LabError| match error.is_unsupported() {
            true => BenchError::Absent(self.lacking()),
            false => error.into(),
        };
        let [end, far_end] = [own, other].map(|ip| Ipv4Addr::new(192, 168, 32, ip[1]));
        match self {
            Self::Nothing => return Err(BenchError::Absent(self.lacking())),
            // The station's own device is one, and made with it.
            Self::Macvlan => return Ok(()),
            Self::Bridge => host.add_bridge("br0", &["p0", "p1"]).map_err(absent)?,
            Self::Vlan => {
                host.add_vlan("up", "p1", 10, false).map_err(absent)?;
                host.add_bridge("br0", &["p0", "up"])?;
            }
            Self::QinQ => {
                host.add_vlan("outer", "p1", 100, true).map_err(absent)?;
                host.add_vlan("up", "outer", 10, false).map_err(absent)?;
                host.add_bridge("br0", &["p0", "up"])?;
            }
            Self::Vxlan => {
                host.add_address("p1", end.into(), 24)?;
                host.add_vxlan("up", 1, end, far_end, 4789).map_err(absent)?;
                host.add_bridge("br0", &["p0", "up"])?;
            }
            Self::Ipip => {
                host.add_address("p0", router(*own).into(), 24)?;
                host.add_address("p1", end.into(), 24)?;
                host.add_ipip("up", end, far_end).map_err(absent)?;
                host.add_route_by(network(*other), 24, "up")?;
                host.forward()?;
            }
            Self::Route => {
                host.add_address("p0", router(*own).into(), 24)?;
                host.add_address("p1", end.into(), 24)?;
                host.add_route(network(*other), 24, far_end)?;
                host.forward()?;
            }
        }
        // Tunnels and what stands on them take theirs from a device of the usual length.
        for device in ["up", "br0"] {
            if let Ok(device) = host.netdev(device)
                && device.index().is_ok()
            {
                device.set_mtu(mtu).map_err(|error| BenchError::Device(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Gives `station` a macvlan of the kernel's on the wire of `host`.
    pub(super) fn give_macvlan(
        self,
        station: &Host,
        device: &str,
        host: &Host,
        mac: [u8; 6],
    ) -> Result<(), BenchError> {
        host.add_macvlan(device, "p1", MacAddr::new(mac)).map_err(|error| match error.is_unsupported() {
            true => BenchError::Absent(self.lacking()),
            false => error.into(),
        })?;
        Ok(station.adopt(device, host.netns())?)
    }

    /// What is said where the kernel has no such device.
    fn lacking(self) -> &'static str {
        match self {
            Self::Nothing => "the kernel has nothing like it",
            Self::Vlan | Self::QinQ => "this kernel has no 8021q",
            Self::Vxlan => "this kernel has no vxlan",
            Self::Ipip => "this kernel has no ipip",
            Self::Macvlan => "this kernel has no macvlan",
            Self::Bridge => "this kernel has no bridge",
            Self::Route => "this kernel does not route",
        }
    }

    /// Bytes of the `added` ones that a program on a veth does not see: a tag that the kernel puts on goes beside the frame (`skb->vlan_tci`),
    /// for a veth says that it inserts it.
    pub(super) fn beside(self) -> usize {
        if matches!(self, Self::Vlan | Self::QinQ) { 4 } else { 0 }
    }
}
