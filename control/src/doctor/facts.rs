//! What the checks are about: facts of a host, its devices and its switch. Pure data, gathered once.

use std::net::IpAddr;
use std::path::PathBuf;

use rigswitch_dataplane::ports::{PortKind, XdpConfig, XdpTake};
use rigswitch_dataplane::sys::bpf::Attach;
use rigswitch_dataplane::sys::features::{Offloads, XdpFeatures};
use rigswitch_dataplane::sys::napi::Napi;

use crate::config::Config;
use crate::mtus::UNKNOWN;

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) host: Host,
    pub(crate) switch: Switch,
    pub(crate) ports: Vec<Port>,
    /// What the file says, or the running switch.
    pub(crate) config: Config,
    /// IP addresses of hosts: where the ports are, and at the far ends of veths.
    pub(crate) addresses: Vec<Address>,
    /// What could not be looked at.
    pub(crate) unseen: Vec<Unseen>,
}

/// An IP address of a host's.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) place: Place,
    pub(crate) device: String,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

/// Something that could not be looked at.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub(crate) struct Unseen {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// The machine, and what this process may do on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// Version and release of the kernel, as `uname -r` says them.
    pub(crate) kernel: (u32, u32),
    pub(crate) release: String,
    /// Whether the kernel has AF_XDP; nothing where it does not tell.
    pub(crate) xdp_sockets: Option<bool>,
    /// `net.core.bpf_jit_enable`, `kernel.unprivileged_bpf_disabled`
    pub(crate) bpf_jit: Option<u32>,
    pub(crate) unprivileged_bpf_disabled: Option<u32>,
    /// This process's effective capabilities, a bit each.
    pub(crate) capabilities: u64,
    /// Bytes that may be locked, and descriptors that may be open; none: no limit.
    pub(crate) locked_memory: Option<u64>,
    pub(crate) open_files: Option<u64>,
    /// Why TAPs cannot be opened.
    pub(crate) no_tun: Option<String>,
    /// CPUs that there are, that this process may use, that are kept from other tasks, and those that share a core.
    pub(crate) online: Vec<usize>,
    pub(crate) allowed: Vec<usize>,
    pub(crate) isolated: Vec<usize>,
    pub(crate) cores: Vec<Vec<usize>>,
    /// Where this very program is.
    pub(crate) program: PathBuf,
}

/// The switch that is to be started, or that runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch {
    pub(crate) file: Option<PathBuf>,
    pub(crate) socket: PathBuf,
    pub(crate) is_running: bool,
    /// The CPUs that its workers are pinned to, if they are, and how many workers there are.
    pub(crate) cpus: Vec<u16>,
    pub(crate) workers: u16,
    pub(crate) spins: bool,
    /// Bytes of packet memory that a worker has at least.
    pub(crate) memory: u64,
    /// Frames that the kernel dropped before the running switch could see them.
    pub(crate) lost: Vec<Lost>,
    /// Neighbours that do not answer the running switch, by device and address.
    pub(crate) silent: Vec<(String, String)>,
    /// What it dropped because answers would go elsewhere, by device.
    pub(crate) misrouted: Vec<(String, u64)>,
}

/// A counter of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lost {
    pub(crate) port: String,
    pub(crate) counter: String,
    pub(crate) packets: u64,
}

/// One `[[port]]`.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    /// What the file says it is, and what it is when the choice was made that was left to the switch.
    pub(crate) asked: PortKind,
    pub(crate) kind: PortKind,
    pub(crate) netns: Option<String>,
    /// The bridge that it is in.
    pub(crate) bridge: Option<String>,
    /// The addresses that the switch has there.
    pub(crate) addresses: Vec<IpAddr>,
    /// The MTU that the file says.
    pub(crate) mtu: Option<u16>,
    /// Whether the running switch has it.
    pub(crate) is_running: bool,
    /// Whether the kernel copies none of its frames, as the running switch was told by it.
    pub(crate) zero_copy: Option<bool>,
    pub(crate) device: Found,
}

/// What there is of a port's device.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// It needs none, or one that the switch makes.
    None,
    /// Its network namespace is not there.
    NoNetns,
    /// It is not there; where one of its name is.
    Missing(Option<Place>),
    /// It cannot be looked at.
    Unseen,
    Here(Box<Device>),
}

/// A device of a port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    pub(crate) end: End,
    pub(crate) driver: Option<String>,
    pub(crate) is_on_a_bus: bool,
    pub(crate) features: Option<XdpFeatures>,
    /// What a virtio card and its driver have agreed on, a bit each.
    pub(crate) virtio: Option<u64>,
    /// What has taken it, by name and kind; what stands on it.
    pub(crate) master: Option<(String, String)>,
    pub(crate) uppers: Vec<(String, String)>,
    pub(crate) addresses: Vec<String>,
    pub(crate) napis: Vec<Polled>,
    pub(crate) interrupts: Vec<Interrupt>,
    /// The other end of a veth.
    pub(crate) peer: Option<End>,
    /// A bridge of the kernel's in its namespace that hands frames to iptables.
    pub(crate) filtered_bridge: Option<String>,
}

/// A device as far as it matters at both ends of a veth.
#[derive(Clone, Debug, Default)]
pub(crate) struct End {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) running: bool,
    pub(crate) rx_queues: u32,
    pub(crate) tx_queues: u32,
    pub(crate) offloads: Option<Offloads>,
    pub(crate) xdp: Option<Attached>,
}

/// An XDP program on a device.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    pub(crate) id: u32,
    pub(crate) hook: Attach,
    /// The process that holds it there, and its name.
    pub(crate) holder: Option<(u32, String)>,
}

/// A NAPI instance, and the CPUs that its thread may run on, if it has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Polled {
    pub(crate) napi: Napi,
    pub(crate) cpus: Vec<usize>,
}

/// An interrupt by which a card says that it has received: what /proc/interrupts calls it, and the CPUs that it goes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Interrupt {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) cpus: Vec<usize>,
}

/// The network namespace that a device is in, as commands name it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Place {
    /// The calling process's own.
    #[default]
    Here,
    /// As `ip netns` names it.
    Named(String),
    /// That of a process, without a name.
    Process(u32),
}

impl Place {
    /// `ip` with these words, there.
    pub(crate) fn ip(&self, words: &str) -> String {
        match self {
            Self::Named(name) => format!("ip -n {name} {words}"),
            _ => self.run(&format!("ip {words}")),
        }
    }

    /// A command, there.
    pub(crate) fn run(&self, command: &str) -> String {
        match self {
            Self::Here => command.to_owned(),
            Self::Named(name) => format!("ip netns exec {name} {command}"),
            Self::Process(pid) => format!("nsenter -t {pid} -n {command}"),
        }
    }

    /// Says of a thing that it is there.
    pub(crate) fn of(&self, thing: &str) -> String {
        match self {
            Self::Here => thing.to_owned(),
            Self::Named(name) => format!("{thing} in {name}"),
            Self::Process(pid) => format!("{thing} in the namespace of process {pid}"),
        }
    }
}

impl End {
    /// `ethtool` with these words about it.
    pub(crate) fn ethtool(&self, option: &str, words: &str) -> String {
        self.place.run(&format!("ethtool {option} {} {words}", self.name))
    }

    /// `ip link set` with these words about it.
    pub(crate) fn set(&self, words: &str) -> String {
        self.place.ip(&format!("link set dev {} {words}", self.name))
    }
}

impl Port {
    /// Whether the host goes on using its device.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.kind, PortKind::Xdp(XdpConfig { take: XdpTake::Mine, .. }))
    }

    /// Its device, if it can be seen.
    pub(crate) fn device(&self) -> Option<&Device> {
        match &self.device {
            Found::Here(device) => Some(device),
            _ => None,
        }
    }

    /// What it is called in findings: the kernel's name of its device.
    pub(crate) fn label(&self) -> &str {
        self.device().map(|device| &*device.end.name).or(self.kind.device()).unwrap_or(&self.name)
    }

    /// Bytes of payload that it carries, or will.
    pub(crate) fn carries(&self) -> Option<u32> {
        let said = self.mtu.map(u32::from);
        // One that is the switch's own carries what the file says, or as much as any.
        let own = || matches!(self.device, Found::None).then(|| said.unwrap_or(UNKNOWN));
        let device = self.device().map(|device| device.end.mtu);
        said.filter(|_| !self.is_running).or(device).or_else(own)
    }
}

impl Facts {
    /// The command that gives a port's table another value of a key.
    pub(crate) fn set_port(&self, port: &Port, table: &str, key: &str, value: &str) -> String {
        self.set_device(("port", &port.name, port.is_running), table, key, value)
    }

    /// The same of any device, by the word for its kind and its name; and whether the running switch has it.
    pub(crate) fn set_device(
        &self,
        (kind, name, is_running): (&str, &str, bool),
        table: &str,
        key: &str,
        value: &str,
    ) -> String {
        match (&self.switch.file, is_running) {
            (Some(file), false) => {
                let file = file.display();
                format!(
                    r#"sed -i '/name *= *"{name}"/,/^\[/ s/\b{key} *= *[^,}} ]*/{key} = {value}/' {file}"#
                )
            }
            _ => {
                let (socket, value) = (self.switch.socket.display(), value.trim_matches('"'));
                let key = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
                format!("rigswitch --socket {socket} {kind} set {name} {key} {value}")
            }
        }
    }

    /// The command that gives `[routing]` another value of a key that it has, and the running switch with it.
    pub(crate) fn set_routing(&self, key: &str, value: &str) -> String {
        let Some(file) = &self.switch.file else {
            return format!("# {key} = {value} under [routing] of its file, and rigswitch apply");
        };
        let (file, socket) = (file.display(), self.switch.socket.display());
        let sed = format!(r#"sed -i 's/^\( *{key} *= *\).*/\1{value}/' {file}"#);
        match self.switch.is_running {
            true => format!("{sed} && rigswitch --socket {socket} apply {file}"),
            false => sed,
        }
    }

    /// The command that gives `[switch]` another value of a key that it has.
    pub(crate) fn set_switch(&self, key: &str, value: &str) -> String {
        match &self.switch.file {
            Some(file) => format!(r#"sed -i 's/^\( *{key} *= *\).*/\1{value}/' {}"#, file.display()),
            None => format!("# {key} = {value} under [switch], and start it again"),
        }
    }
}
