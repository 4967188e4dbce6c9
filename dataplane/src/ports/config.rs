//! What an operator may say about a port, validated: the only model of it there is.

use std::path::PathBuf;

/// Which hook an AF_XDP port attaches to, and whether the kernel copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpMode {
    /// Native if the driver has it, else generic; zero-copy if the driver has it, else copy.
    #[default]
    Auto,
    /// Native, zero-copy if the driver has it; refused if the driver has no native XDP.
    Native,
    /// The kernel's generic hook, copying.
    Generic,
    /// Native and copying.
    Copy,
    /// Native and zero-copy, or refused.
    ZeroCopy,
}

/// Which of a device's queues are bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpQueues {
    /// Every one: frames that arrive on an unbound queue would pass the switch by.
    #[default]
    All,
    /// The first this many.
    First(u16),
}

/// `xdp = { … }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XdpConfig {
    /// The kernel's name of the device, 1 to 15 bytes.
    pub device: String,
    /// Hook and copying.
    pub mode: XdpMode,
    /// Queues bound.
    pub queues: XdpQueues,
}

/// `tap = { … }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TapConfig {
    /// The kernel's name of the device, 1 to 15 bytes; made if it does not exist, joined if it does.
    pub device: String,
    /// Whether checksum and segmentation offload are on (`IFF_VNET_HDR`, `TUNSETOFFLOAD`).
    pub offload: bool,
    /// Queues, 1 to 256 (`IFF_MULTI_QUEUE` above 1).
    pub queues: u16,
}

/// `pcap = { … }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PcapConfig {
    /// The file frames are received from.
    pub input: Option<PathBuf>,
    /// The file that sent frames are written to.
    pub output: Option<PathBuf>,
}

/// What kind of device a port is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortKind {
    /// A device the kernel has, through AF_XDP.
    Xdp(XdpConfig),
    /// A TAP.
    Tap(TapConfig),
    /// Files.
    Pcap(PcapConfig),
    /// In process, for embedding and tests.
    Memory,
}

impl PortKind {
    /// The word for it in configuration and output.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Xdp(_) => "xdp",
            Self::Tap(_) => "tap",
            Self::Pcap(_) => "pcap",
            Self::Memory => "memory",
        }
    }
}

/// One `[[port]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// What everything else calls it, 1 to 15 bytes.
    pub name: String,
    /// What it is.
    pub kind: PortKind,
    /// The name of the network namespace that the kernel's device is in; `None` for the switch's own.
    pub netns: Option<String>,
    /// The worker that owns it; `None` for the least loaded.
    pub worker: Option<u16>,
    /// The MTU to set, in bytes of payload; `None` leaves the device as it is.
    pub mtu: Option<u16>,
}
