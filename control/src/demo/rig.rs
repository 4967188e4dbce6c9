//! What the demo is made of: four hosts, each behind a port of the switch.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use rigswitch_dataplane::ids::MacAddr;

use crate::lab::{Host, Lab, LabError, leftovers};

/// What the demo's namespaces are named after.
const PURPOSE: &str = "demo";

/// The hosts and the namespace that the switch runs in. All of it goes with this.
pub(super) struct Rig {
    lab: Lab,
    pub(super) switch: Host,
    pub(super) stations: Vec<Station>,
}

/// A host, and the port of the switch that it is behind.
#[derive(Clone)]
pub(super) struct Station {
    pub(super) host: Host,
    pub(super) name: String,
    pub(super) port: String,
    pub(super) wire: Wire,
    pub(super) role: Role,
    pub(super) address: IpAddr,
    /// The host's end of the wire.
    pub(super) device: String,
    pub(super) mac: MacAddr,
}

/// What a host is to the switch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It knows of no VLAN: its port puts what it sends into one.
    Access,
    /// It tags what it sends, by a switch of its own.
    Trunk,
    /// It is in another network, behind a tunnel that a switch of its own is the other end of: the switch routes to it.
    Routed,
}

impl Role {
    fn network(self) -> u8 {
        if self == Self::Routed { ROUTED } else { BRIDGED }
    }

    /// As the lines of paths have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Trunk => "trunk",
            Self::Routed => "routed",
        }
    }
}

/// Each host's wire and role, by number.
const STATIONS: [(Wire, Role); 4] = [
    (Wire::Veth, Role::Access),
    (Wire::Veth, Role::Trunk),
    (Wire::Tap, Role::Access),
    (Wire::Vxlan, Role::Routed),
];

/// The network of the bridge's hosts, that of the routed one, and the one that its tunnel goes through. The switch has the last address of each.
const BRIDGED: u8 = 0;
const ROUTED: u8 = 1;
const BENEATH: u8 = 2;

fn address(network: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::from([10, 79, network, host])
}

/// What is between a host and its port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// A veth pair, whose far end the switch takes through AF_XDP.
    Veth,
    /// A TAP that the switch makes.
    Tap,
    /// The same, and over it a VXLAN tunnel.
    Vxlan,
}

impl Wire {
    /// The kind of the port.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Veth => "xdp",
            Self::Tap => "tap",
            Self::Vxlan => "vxlan",
        }
    }
}

/// The namespaces that demos which were killed have left behind.
pub(super) fn left_behind() -> Result<usize, LabError> {
    Ok(leftovers(PURPOSE)?.len())
}

impl Rig {
    /// Makes the hosts, and the veth pairs between them and the switch's namespace. What an earlier demo left behind goes
    /// first.
    pub(super) fn build() -> Result<Self, LabError> {
        let mut lab = Lab::new(PURPOSE)?;
        let switch = lab.host("switch")?;
        quieten(&switch)?;
        let mut stations = Vec::new();
        for (number, (wire, role)) in (1..).zip(STATIONS) {
            let (name, port) = (format!("h{number}"), format!("p{number}"));
            let device = if wire == Wire::Veth { "eth0".to_owned() } else { port.clone() };
            let address = address(role.network(), number).into();
            let mac = MacAddr::new([2, 0, 0, 0, 0, number]);
            let host = lab.host(&name)?;
            quieten(&host)?;
            let station = Station { host, name, port, wire, role, address, device, mac };
            if wire == Wire::Veth {
                station.host.add_veth(&station.device, &station.port, switch.netns())?;
                station.set_up()?;
            }
            stations.push(station);
        }
        Ok(Self { lab, switch, stations })
    }

    /// Moves the TAPs that the switch has made into their hosts.
    pub(super) fn plug_taps(&self) -> Result<(), LabError> {
        for station in self.stations.iter().filter(|station| station.wire != Wire::Veth) {
            station.host.adopt(&station.port, self.switch.netns())?;
            station.set_up()?;
        }
        Ok(())
    }

    /// The host of this role; of several, any.
    pub(super) fn host(&self, role: Role) -> &Host {
        let found = self.stations.iter().find(|station| station.role == role);
        &found.unwrap_or(&self.stations[0]).host
    }

    /// Tells every host of the switch as its router to the other network.
    pub(super) fn route(&self) -> Result<(), LabError> {
        const SWITCH: u8 = 254;
        for station in &self.stations {
            let own = station.role.network();
            let other = if own == ROUTED { BRIDGED } else { ROUTED };
            station.host.add_route(address(other, 0), 24, address(own, SWITCH))?;
        }
        Ok(())
    }

    /// Removes it all.
    pub(super) fn remove(self) -> Result<(), LabError> {
        self.lab.remove()
    }
}

impl Station {
    /// Gives the host's end of the wire its addresses, and brings it up. A trunk host has its IP address in its VLAN, and a routed one in its tunnel.
    fn set_up(&self) -> Result<(), LabError> {
        self.host.set_mac(&self.device, self.mac)?;
        match self.role {
            Role::Access => self.host.add_address(&self.device, self.address, 24)?,
            Role::Trunk => {}
            Role::Routed => self.host.add_address(&self.device, address(BENEATH, 4).into(), 24)?,
        }
        self.host.set_up(&self.device)
    }
}

/// Keeps a host from announcing itself by IPv6 on devices that it gets: every frame in the tables is to be the demo's own.
fn quieten(host: &Host) -> Result<(), LabError> {
    // Where the file system is read-only, a few multicasts more do no harm.
    host.run(|| drop(fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")))
}
