//! Why the switch does not do what it was asked: the object, the rule and the remedy.

use std::error::Error;
use std::io;

use crate::capture::CAPTURES;
use crate::config::{Frozen, Refused};
use crate::domains::Domains;
use crate::explain::LONGEST;

/// What is refused, and why.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// A port did not open.
    #[error("port {name}: {source}{}", remedy(&**source))]
    Port {
        /// The port.
        name: String,
        /// What was met.
        source: Box<dyn Error>,
    },
    /// The kernel does not tell of devices.
    #[error("watching network devices: {0}")]
    Watch(io::Error),
    /// A worker did not start.
    #[error("worker {worker}: {source}")]
    Worker {
        /// Which, from 0.
        worker: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// A worker did not stop.
    #[error("worker {0} did not stop in time: its ports close with this process")]
    Stuck(u16),
    /// A worker does not do what it is asked.
    #[error("worker {0} does not answer: the switch stays as it was; restart it")]
    Unresponsive(u16),
    /// A key that takes a new start.
    #[error(transparent)]
    Frozen(#[from] Frozen),
    /// An edit that makes no sense.
    #[error(transparent)]
    Edit(#[from] Refused),
    /// A macvlan with the address of what it stands on.
    #[error("macvlan {upper}: it has the address of {link}, which it stands on: give it a `mac` of its own")]
    SharedAddress {
        /// The macvlan.
        upper: String,
        /// What it stands on.
        link: String,
    },
    /// A shared port's address that the host has.
    #[error(
        "port {port}: {address} is an address of this host too, which would hear nothing for it: give the switch another"
    )]
    HostsAddress {
        /// The port.
        port: String,
        /// The address.
        address: String,
    },
    /// A shared port's MAC address that the host has.
    #[error(
        "port {port}: {mac} is the address of its device, and the host's: give the switch another `address`, or none"
    )]
    HostsMac {
        /// The port.
        port: String,
        /// The address.
        mac: String,
    },
    /// More queues than packet memory was made for.
    #[error(
        "worker {worker}: its packet memory is too small for {queues} receiving queues: raise `frames` in [switch] and start \
         the switch anew"
    )]
    NoMemory {
        /// Which, from 0.
        worker: u16,
        /// Queues that would lend memory for receiving.
        queues: usize,
    },
    /// A CPU that is not there for us.
    #[error("worker {worker}: CPU {cpu} is not one this process may use: choose among {allowed}")]
    Cpu {
        /// Which worker, from 0.
        worker: usize,
        /// The CPU asked for.
        cpu: u16,
        /// Those there are.
        allowed: String,
    },
    /// An entry for a device that is no port of a bridge.
    #[error("{0} is not a port of a bridge: `rigswitch show config` lists those that are")]
    NotAMember(String),
    /// A port that is not there.
    #[error("there is no port {0}: `rigswitch show ports` lists those there are")]
    NoPort(String),
    /// A frame that fits no packet memory.
    #[error("a frame of {0} bytes: the longest that there can be has {LONGEST}")]
    TooLong(usize),
    /// A flush of what is no bridge.
    #[error("{0} is neither a bridge nor a port of one: `rigswitch show config` lists them")]
    NotABridge(String),
    /// A port of another bridge.
    #[error("{port} is not a port of {bridge}: `rigswitch show config` lists its ports")]
    NotAPortOf {
        /// The port named.
        port: String,
        /// The bridge named.
        bridge: String,
    },
    /// An address that stands for no single station.
    #[error(
        "`{0}` is not the address of one station: give six octets in hex, the first of them even, not all zero"
    )]
    NotAStation(String),
    /// An entry where there is one.
    #[error("{mac} is in {bridge} already, behind {ifname}: `fdb replace` puts another in its place")]
    Exists {
        /// The station.
        mac: String,
        /// The bridge.
        bridge: String,
        /// Where it is.
        ifname: String,
    },
    /// A second place for one station.
    #[error("{mac} is behind {ifname} already, and a station is behind one port: `fdb replace` moves it")]
    SecondPlace {
        /// The station.
        mac: String,
        /// Where it is.
        ifname: String,
    },
    /// An entry that would be seen to move and must not.
    #[error("{0}: a permanent entry is not sticky, for it never moves anyway: say static or dynamic")]
    StickyPermanent(String),
    /// An entry for a bridge itself that is not one of its own addresses.
    #[error(
        "{mac}: an entry for {bridge} itself is permanent, for frames to it are the host's: say permanent"
    )]
    NotPermanent {
        /// The station.
        mac: String,
        /// The bridge.
        bridge: String,
    },
    /// An entry that ages, behind a port where nobody is seen.
    #[error(
        "{mac}: {ifname} is not in a state to learn, and takes no entry that ages: say static, or see to its carrier and state"
    )]
    NotLearning {
        /// The station.
        mac: String,
        /// The port named.
        ifname: String,
    },
    /// A VLAN that an entry cannot be of.
    #[error("{0}")]
    Vlan(String),
    /// An entry of a VXLAN device that cannot be.
    #[error("{0}")]
    FarEnd(String),
    /// More bridges and VLANs than there are numbers, while those that go are still there.
    #[error(
        "more bridges and VLANs of bridges than {} at one time, those that go with them: apply it in two steps",
        Domains::LIMIT
    )]
    TooManyDomains,
    /// Nothing to take away.
    #[error("{bridge} has no entry of {mac} behind {ifname}: `rigswitch show fdb` lists those there are")]
    NoEntry {
        /// The station.
        mac: String,
        /// The bridge.
        bridge: String,
        /// The port named.
        ifname: String,
    },
    /// A capture of what is no port.
    #[error("{0} is not a port: `rigswitch show ports` lists those there are")]
    NotAPort(String),
    /// As many capture as may.
    #[error("{CAPTURES} captures run already, and each costs every frame: end one of them")]
    TooManyCaptures,
    /// No capture to end.
    #[error("no capture is called {0}: it has ended, or was never begun")]
    NoCapture(String),
    /// What a capture needs is not to be had.
    #[error("capturing: {0}")]
    Capture(io::Error),
    /// A membership that may not be.
    #[error("{port} in {grp}: {why}")]
    Membership {
        /// The rule, and what to do.
        why: String,
        /// The group.
        grp: String,
        /// The port.
        port: String,
    },
    /// A membership that is not there.
    #[error("{port} is not in {grp} in {bridge}: `rigswitch show mdb` lists who is")]
    NoMembership {
        /// The group.
        grp: String,
        /// The port named.
        port: String,
        /// The bridge.
        bridge: String,
    },
    /// What is no group, or none that can be joined.
    #[error("{why}")]
    NotAGroup {
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// No room.
    #[error("no room for {0}: too many fixed entries; raise `mac_table` in [switch]")]
    TableFull(String),
}

impl SwitchError {
    /// Whether the device was deleted.
    pub(super) fn is_no_device(&self) -> bool {
        self.errno() == Some(NO_SUCH_DEVICE)
    }

    /// Whether somebody has the device.
    pub(super) fn is_busy(&self) -> bool {
        self.errno() == Some(BUSY)
    }

    fn errno(&self) -> Option<i32> {
        let Self::Port { source, .. } = self else { return None };
        kernels_word(&**source)?.raw_os_error()
    }
}

/// The kernel's error among the causes of `error`.
fn kernels_word<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    let mut cause = error;
    loop {
        match cause.downcast_ref() {
            Some(io) => return Some(io),
            None => cause = cause.source()?,
        }
    }
}

/// What to do about what the kernel said.
fn remedy(error: &(dyn Error + 'static)) -> &'static str {
    let Some(io) = kernels_word(error) else { return "" };
    match io.kind() {
        io::ErrorKind::PermissionDenied if error.to_string().contains("CAP_") => "", // it says so already
        io::ErrorKind::PermissionDenied => {
            ": run the switch as root, or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF"
        }
        io::ErrorKind::NotFound => ": make it first, or name another",
        io::ErrorKind::ResourceBusy => ": another program has it; stop that one, or name another",
        _ if io.raw_os_error() == Some(NO_SUCH_DEVICE) => ": make it first, or name another",
        _ if io.raw_os_error() == Some(TOO_MANY_FILES) => {
            ": raise the limit of open files (`ulimit -Hn`, or LimitNOFILE= in the unit)"
        }
        _ if io.raw_os_error() == Some(NO_SUCH_FAMILY) => ": this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)",
        _ => "",
    }
}

/// `EBUSY`
const BUSY: i32 = 16;

/// `ENODEV`
const NO_SUCH_DEVICE: i32 = 19;

/// `EMFILE`
const TOO_MANY_FILES: i32 = 24;

/// `EAFNOSUPPORT`
const NO_SUCH_FAMILY: i32 = 97;
