//! The configuration file: read into the data plane's validated types, or refused with every problem that it has.
//!
//! Everything that can be said, with the value that is taken where nothing is:
//! ```toml
#![doc = include_str!("reference.toml")]
//! ```

mod address;
mod bridge;
mod edit;
mod fdb;
mod fields;
mod heights;
mod host;
mod ipvlan;
mod mac_moves;
mod macvlan;
mod multicast;
mod neighbor;
mod origins;
mod plan;
mod port;
mod print;
mod problem;
mod roles;
mod route;
mod route_edit;
mod spanning_tree;
mod switch;
#[cfg(test)]
mod tests;
mod tunnel;
mod upper;
mod values;
mod vlan_edit;
mod vlans;
mod vni_edit;
mod vxlan;

pub use plan::{Change, Edit, Frozen, Plan};
pub use print::Document;
pub use problem::{Problem, Refused};

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rigswitch_dataplane::bridge::{BridgeConfig, NeighborConfig, XconnectConfig};
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::{AddressConfig, PortConfig, PortKind};
use rigswitch_dataplane::routing::{RouteConfig, RoutingConfig};
use rigswitch_dataplane::tunnels::TunnelConfig;
use rigswitch_dataplane::upper::UpperConfig;
use toml::de::DeTable;

pub(crate) use fields::suggest;
pub(crate) use heights::Above;
pub(crate) use origins::Origins;
pub(crate) use problem::Problems;
pub(crate) use route::network_of;
pub(crate) use tunnel::{flow_label_word, limit_word, tos_word};
pub(crate) use values::parse_duration;
pub(crate) use vlans::tunnel_rows;
pub(crate) use vxlan::{Network, device_of, network_name, vni_of};

use fields::{Fields, Shape};
use roles::Roles;

/// What a file says, with every rule about it upheld.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// `[switch]`
    pub switch: SwitchConfig,
    /// Every `[[port]]`, in the order of the file.
    pub ports: Vec<PortConfig>,
    /// Every `[[bridge]]`, in the order of the file.
    pub bridges: Vec<BridgeConfig>,
    /// Every `[[xconnect]]`, in the order of the file.
    pub xconnects: Vec<XconnectConfig>,
    /// Every device that stands on another, in the order of the file.
    pub uppers: Vec<UpperConfig>,
    /// Every tunnel, in the order of the file.
    pub tunnels: Vec<TunnelConfig>,
    /// Every `[[address]]`, in the order of the file.
    pub addresses: Vec<AddressConfig>,
    /// `[routing]`
    pub routing: RoutingConfig,
    /// Every `[[route]]`, in the order of the file.
    pub routes: Vec<RouteConfig>,
    /// Every `[[neighbor]]`, in the order of the file.
    pub neighbors: Vec<NeighborConfig>,
    /// Where the file says so.
    pub(crate) origins: Origins,
}

/// `[switch]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SwitchConfig {
    /// Where the socket is made; `None` for the default of the namespace.
    pub socket: Option<PathBuf>,
    /// How many workers, and where.
    pub workers: Workers,
    /// What a worker without work does.
    pub idle: Idle,
    /// Frames of packet memory per worker; `None` lets them grow with the ports.
    pub frames: Option<u32>,
    /// MAC addresses that all bridges together have room for.
    pub mac_table: u32,
}

impl SwitchConfig {
    /// Room for a rig of 64 Ki stations, in 4 MiB.
    pub const DEFAULT_MAC_TABLE: u32 = 1 << 16;
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self {
            socket: None,
            workers: Workers::Count(1),
            idle: Idle::Adaptive,
            frames: None,
            mac_table: Self::DEFAULT_MAC_TABLE,
        }
    }
}

/// `workers = 2` or `workers = [2, 3]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Workers {
    /// This many, wherever the kernel runs them.
    Count(u16),
    /// One on each of these CPUs.
    Pinned(Vec<u16>),
}

impl Workers {
    /// The most workers there can be.
    pub const LIMIT: u16 = 64;

    /// How many.
    pub fn count(&self) -> u16 {
        match self {
            Self::Count(count) => *count,
            Self::Pinned(cpus) => u16::try_from(cpus.len()).unwrap_or(Self::LIMIT),
        }
    }
}

/// `idle = "adaptive"` or `"spin"`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Sleep until there is something to do.
    Adaptive,
    /// Look again at once: the lowest latency, and a whole CPU.
    Spin,
}

impl Config {
    /// Every port that there is to be: those of the file, the bridges' own, the devices that stand on others, and tunnels.
    pub(crate) fn all_ports(&self) -> impl Iterator<Item = PortConfig> {
        let used = self.used_devices();
        let own = |bridge: &BridgeConfig| bridge.own_ports(used.contains(&*bridge.name)).collect::<Vec<_>>();
        let own: Vec<_> = self.bridges.iter().flat_map(own).collect();
        let stands = self.uppers.iter().map(UpperConfig::port);
        let tunnels = self.tunnels.iter().map(TunnelConfig::port);
        vxlan::opened_ports(self).chain(own).chain(stands).chain(tunnels)
    }

    /// Names of devices that something stands on, that have addresses, or that are wired: a bridge of such a name is a device.
    pub(crate) fn used_devices(&self) -> BTreeSet<&str> {
        let links = self.uppers.iter().map(|upper| &*upper.link);
        let wired = self.xconnects.iter().flat_map(|wire| [&*wire.a, &*wire.b]);
        links.chain(wired).chain(self.addresses.iter().map(|said| &*said.device)).collect()
    }

    /// The largest file that is read, in bytes.
    const LARGEST: usize = 64 << 20;

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Refused`], also when the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, Refused> {
        Self::from_bytes(&Self::bytes(path)?, &path.display().to_string())
    }

    /// What is in the file at `path`, which may be a pipe: it can be read once.
    pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Refused> {
        let refuse = |why: String| Refused::unread(&path.display().to_string(), why);
        let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
        let mut bytes = Vec::new();
        let read = file.take(Self::LARGEST as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| refuse(error.to_string()))?;
        if bytes.len() > Self::LARGEST {
            return Err(refuse(format!("larger than {} MiB", Self::LARGEST >> 20)));
        }
        Ok(bytes)
    }

    /// Reads what should be text, called `name` in what is said about it.
    ///
    /// # Errors
    /// [`Refused`], with every problem found.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self, Refused> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(text, name),
            Err(error) => {
                let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let problems = Problems::default();
                let end = good.len();
                problems.push(end..end, "the file is not UTF-8 from here on", "save it as UTF-8");
                Err(problems.refusal(name, &good))
            }
        }
    }

    /// Reads `text`, called `name` in what is said about it.
    ///
    /// # Errors
    /// [`Refused`], with every problem found.
    pub fn parse(text: &str, name: &str) -> Result<Self, Refused> {
        let problems = Problems::default();
        Self::read(text, &problems, Some(name)).ok_or_else(|| problems.refusal(name, text))
    }

    /// Puts a port in memory in place of every device.
    pub(crate) fn without_devices(&mut self) {
        for port in &mut self.ports {
            (port.kind, port.netns) = (PortKind::Memory, None);
        }
    }

    /// Reads `text`, of a file of this name if it is one, unless there are problems.
    fn read(text: &str, problems: &Problems, file: Option<&str>) -> Option<Self> {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            problems.push(error.span().unwrap_or(0..0), error.message(), "mend the TOML syntax");
        }
        // What follows a syntax error would be guesses about guesses.
        let config = problems.is_empty().then(|| read(document.get_ref(), problems, text));
        let mut config = config.filter(|_| problems.is_empty())?;
        if let Some(file) = file {
            config.origins = Origins::of(document.get_ref(), text, file);
        }
        Some(config)
    }
}

const FILE: Shape = Shape {
    label: "the file",
    keys: &[
        "switch", "port", "bridge", "xconnect", "vlan", "ipvlan", "macvlan", "ipip", "vxlan", "address",
        "route", "routing", "neighbor",
    ],
    later: &["binding"],
};

fn read(document: &DeTable<'_>, problems: &Problems, text: &str) -> Config {
    let file = Fields::new(document, 0..0, &FILE, problems);
    let switch = switch::read(&file);
    let mut roles = Roles::new(problems, text);
    let ports = port::read_all(&file, switch.workers.count(), &mut roles);
    let (bridges, xconnects) = bridge::read_all(&file, &mut roles);
    let uppers = upper::read_all(&file, &mut roles);
    let tunnels = tunnel::read_all(&file, &mut roles);
    let addresses = address::read_all(&file, &mut roles);
    let routing = route::read_routing(&file);
    let routes = route::read_all(&file, &addresses, &roles);
    let neighbors = neighbor::read_all(&file, &bridges, &addresses, &tunnels, &roles);
    roles.check();
    let config = Config {
        switch,
        ports,
        bridges,
        xconnects,
        uppers,
        tunnels,
        addresses,
        routing,
        routes,
        neighbors,
        origins: Origins::default(),
    };
    let devices = config.all_ports().count();
    if devices > DeviceId::LIMIT {
        let rule = format!("{devices} devices are too many: one switch has at most {}", DeviceId::LIMIT);
        problems.push(0..0, rule, "divide them between switches");
    }
    config
}
