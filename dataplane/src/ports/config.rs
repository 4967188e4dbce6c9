//! What an operator may say about a port, validated: the only model of it there is.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Pace;
use crate::ids::MacAddr;
use crate::sys::features::XdpFeatures;
use crate::sys::netdev::Netdev;
use crate::sys::netns::{Netns, inside};

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

/// Which frames of a device are the switch's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpTake {
    /// All of them: the host hears nothing.
    #[default]
    All,
    /// Those for the switch's own addresses there; all others are the host's. Nothing but routing goes with it.
    Mine,
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
    /// Frames taken.
    pub take: XdpTake,
}

impl XdpConfig {
    /// The largest MTU at which a frame with two tags surely fits one chunk behind the kernel's headroom, and one page of a
    /// veth. A longer one takes a program with fragments.
    pub const LONGEST_WHOLE: u32 = 3506;

    /// All of a device, in whatever way suits it.
    pub fn new(device: impl Into<String>) -> Self {
        let (mode, queues, take) = (XdpMode::Auto, XdpQueues::All, XdpTake::All);
        Self { device: device.into(), mode, queues, take }
    }
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

/// `packet = { … }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketConfig {
    /// The kernel's name of the device, 1 to 15 bytes.
    pub device: String,
    /// Queues that the device's flows are spread over, 1 to 256.
    pub queues: u16,
}

/// A port that is the host's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPortConfig {
    /// The name of the TAP or TUN that is made for it: that of the bridge, or of the device that stands on another.
    pub device: String,
    /// The addresses that it is given.
    pub addresses: Vec<HostAddress>,
    /// What is before a packet there.
    pub link: HostLink,
}

/// The link layer of a device of the host's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostLink {
    /// Ethernet, where the host finds out the link-layer addresses of its neighbours.
    Ethernet,
    /// Ethernet without neighbours (`IFF_NOARP`).
    WithoutArp,
    /// None: a TUN, for packets and from one end to the other.
    Packets,
}

impl HostLink {
    /// Whether a device of one can become one of the other.
    pub fn is_same_device(self, other: Self) -> bool {
        (self == Self::Packets) == (other == Self::Packets)
    }
}

/// An address of the host, and how long the prefix of its network is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HostAddress {
    /// The address.
    pub address: IpAddr,
    /// In bits: up to 32, or 128 of an IPv6 address.
    pub prefix_length: u8,
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

/// One `[[address]]`: that of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressConfig {
    /// The device, by name.
    pub device: String,
    /// Its address and the prefix of its network.
    pub address: HostAddress,
}

/// `socket = { … }`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketConfig {
    /// UDP ports at which packets are taken, of all addresses of the host.
    pub udp: Vec<u16>,
    /// The UDP ports that tunnels send from (`srcport`), each as the first and the last, which is not taken. Nobody says them here: the tunnels do.
    pub srcports: BTreeSet<(u16, u16)>,
    /// Whether packets in packets are taken and sent, IPv4's and IPv6's in IPv4.
    pub ipip: bool,
}

/// `pcap = { … }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PcapConfig {
    /// The file frames are received from.
    pub input: Option<PathBuf>,
    /// The file that sent frames are written to.
    pub output: Option<PathBuf>,
    /// Whoever turns the clock, if records are to wait for their times.
    pub pace: Option<Pace>,
}

/// What kind of device a port is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortKind {
    /// A device the kernel has, through AF_XDP.
    Xdp(XdpConfig),
    /// A TAP.
    Tap(TapConfig),
    /// A device the kernel has, through packet sockets.
    Packet(PacketConfig),
    /// A device the kernel has, of this name (1 to 15 bytes), in the way that suits it: see [`PortKind::chosen`].
    Device(String),
    /// A TAP of the host's: through which it takes part in a bridge, or has a device that stands on another; of a tunnel of packets a TUN.
    Host(HostPortConfig),
    /// A device that stands on another, or a bridge's own, of this kind. It has no queues of its own.
    Upper(&'static str),
    /// The host's own sockets.
    Socket(SocketConfig),
    /// What a bridge's own device is for the bridge: the port by which it takes part in it. It has no queues, and the device's
    /// name.
    Inside,
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
            Self::Packet(_) => "packet",
            Self::Device(_) => "device",
            Self::Host(_) => "host",
            Self::Upper(kind) => kind,
            Self::Socket(_) => "socket",
            Self::Inside => "inside",
            Self::Pcap(_) => "pcap",
            Self::Memory => "memory",
        }
    }

    /// Whether it is something of a network namespace of the kernel's.
    pub fn is_in_netns(&self) -> bool {
        self.device().is_some() || matches!(self, Self::Socket(_))
    }

    /// The kernel's device that it is about, if the kernel has it.
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Xdp(XdpConfig { device, .. })
            | Self::Tap(TapConfig { device, .. })
            | Self::Packet(PacketConfig { device, .. })
            | Self::Host(HostPortConfig { device, .. })
            | Self::Device(device) => Some(device),
            Self::Upper(_) | Self::Inside | Self::Socket(_) | Self::Pcap(_) | Self::Memory => None,
        }
    }

    /// The same for a device that is called `device` by now, with the choice made that was left to the switch: a card whose
    /// driver has native XDP gives the most packets that way; everything else, a veth above all, keeps its offloads
    /// with packet sockets.
    ///
    /// # Errors
    /// `NotFound` when there is no such device in `netns`, or in the calling thread's namespace.
    pub fn chosen(&self, device: &str, netns: Option<&Netns>) -> io::Result<Self> {
        let device = device.to_owned();
        match self {
            Self::Xdp(xdp) => return Ok(Self::Xdp(XdpConfig { device, ..xdp.clone() })),
            Self::Tap(tap) => return Ok(Self::Tap(TapConfig { device, ..tap.clone() })),
            Self::Packet(packet) => return Ok(Self::Packet(PacketConfig { device, ..packet.clone() })),
            Self::Host(_)
            | Self::Upper(_)
            | Self::Inside
            | Self::Socket(_)
            | Self::Pcap(_)
            | Self::Memory => {
                return Ok(self.clone());
            }
            Self::Device(_) => {}
        }
        let netdev = Netdev::new(&device, netns)?;
        let index = netdev.index()?;
        // A kernel that cannot say has no features worth asking for.
        let features = inside(netns, || XdpFeatures::of(index))?.unwrap_or_default();
        if features.native && netdev.bus().is_some() {
            return Ok(Self::Xdp(XdpConfig::new(device)));
        }
        Ok(Self::Packet(PacketConfig { device, queues: 1 }))
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
    /// The switch's own address there, of a port whose device has none, or another's; `None` for one that its name makes.
    pub address: Option<MacAddr>,
}
