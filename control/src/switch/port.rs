//! A port as control holds it: the device that was opened, and the queues that workers are given of it.

use std::error::Error;
use std::sync::Arc;

use rigswitch_dataplane::frames::Area;
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::ports::{
    Capabilities, Memory, MemoryEnd, Pcap, PortConfig, PortKind, PortQueue, Tap, TapConfig, XdpConfig,
    XdpDevice,
};
use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::netns::Netns;
use rigswitch_dataplane::tables::WorkerId;

/// The MTU of a port that no kernel device limits.
const DEFAULT_MTU: u16 = 1500;

/// Frames that a memory port holds each way.
const MEMORY_DEPTH: usize = 1024;

type OpenResult<T> = Result<T, Box<dyn Error>>;

/// One configured port, open or gone.
pub(super) struct Port {
    pub(super) config: PortConfig,
    /// The worker that sends for those without a queue of it.
    pub(super) owner: WorkerId,
    /// Bytes of payload, as last seen.
    pub(super) mtu: u32,
    /// Whether it had carrier when last looked at.
    pub(super) up: bool,
    /// Whether it has lost that since it was last asked.
    gone_down: bool,
    /// What its queues do with offload state.
    pub(super) capabilities: Capabilities,
    device: Option<Device>, // none: it is gone
    /// The queues that a worker has, by their number.
    pub(super) open: Vec<bool>,
    /// What last kept the device or a queue of it from being opened, so that it is told once.
    trouble: String,
}

/// What was opened.
struct Device {
    netdev: Option<Netdev>, // none: the kernel has no such device
    source: Source,
}

/// Where queues come from.
enum Source {
    Xdp(XdpDevice),
    /// Each queue is cloned for its worker: a TAP goes with its last descriptor, and must outlive a worker's panic.
    Tap(Vec<Tap>),
    Memory(Memory, MemoryEnd),
    /// None once a worker has it: files are read once.
    Pcap(Option<Pcap>),
}

/// A queue on its way to a worker.
pub(super) type Queue = Box<dyn PortQueue + Send>;

impl Port {
    /// Opens the device, takes it up, and sets its MTU where the file says one.
    pub(super) fn open(config: PortConfig, owner: WorkerId) -> OpenResult<Self> {
        let device = Device::open(&config)?;
        let capabilities = Capabilities::default();
        let (open, trouble) = (Vec::new(), String::new());
        let mut port = Self {
            config,
            owner,
            mtu: 0,
            up: false,
            gone_down: false,
            capabilities,
            device: None,
            open,
            trouble,
        };
        port.put(device);
        Ok(port)
    }

    fn put(&mut self, device: Device) {
        self.open = vec![false; device.source.queues()];
        self.device = Some(device);
        self.look();
    }

    /// Whether it was taken back: a device that is there again under its name. A TAP that was deleted is not made again.
    /// An error is about a device that is there and cannot be had.
    pub(super) fn take_back(&mut self) -> OpenResult<bool> {
        if self.device.is_some() || !exists(&self.config) {
            return Ok(false);
        }
        match Device::open(&self.config) {
            Ok(device) => self.put(device),
            Err(_) if !exists(&self.config) => return Ok(false), // gone again
            Err(error) => return Err(error),
        }
        self.trouble.clear();
        Ok(true)
    }

    /// The device is gone, and all of its queues.
    pub(super) fn gone(&mut self) {
        self.device = None;
        self.open.clear();
    }

    /// Tells what keeps it from being opened, unless that was the last thing told.
    pub(super) fn tell_once(&mut self, trouble: String, news: &mut Vec<String>) {
        if self.trouble != trouble {
            news.push(trouble.clone());
            self.trouble = trouble;
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.device.is_none()
    }

    /// Notes MTU and carrier; whether either is another one than before. A TAP that was moved or renamed is followed.
    pub(super) fn look(&mut self) -> bool {
        let configured = u32::from(self.config.mtu.unwrap_or(DEFAULT_MTU));
        if let Some(Device { netdev: Some(netdev), source: Source::Tap(queues) }) = &mut self.device
            && netdev.index().is_err()
            && let Ok(moved) = queues[0].netdev()
        {
            *netdev = moved;
        }
        let mtu = match &self.device {
            Some(Device { netdev: Some(netdev), .. }) => netdev.mtu().unwrap_or(self.mtu),
            Some(Device { netdev: None, .. }) => configured,
            None => self.mtu,
        };
        let seen = (mtu, self.has_carrier());
        let before = (std::mem::replace(&mut self.mtu, seen.0), std::mem::replace(&mut self.up, seen.1));
        self.gone_down |= before.1 && !seen.1;
        before != seen
    }

    /// Whether it has lost its carrier since this was last asked.
    pub(super) fn has_gone_down(&mut self) -> bool {
        std::mem::take(&mut self.gone_down)
    }

    fn has_carrier(&self) -> bool {
        let Some(device) = &self.device else { return false };
        device.netdev.as_ref().is_none_or(|netdev| netdev.has_carrier().unwrap_or(false))
    }

    /// The kernel's word for how it is: `UP`, `DOWN` or `NOTPRESENT`.
    pub(super) fn operstate(&self) -> &'static str {
        match &self.device {
            None => "NOTPRESENT",
            Some(Device { netdev: Some(netdev), .. }) => match netdev.is_running() {
                Ok(true) => "UP",
                Ok(false) => "DOWN",
                Err(_) => "NOTPRESENT",
            },
            Some(Device { netdev: None, .. }) => "UP",
        }
    }

    /// Its MAC address; zero where there is none.
    pub(super) fn address(&self) -> MacAddr {
        let netdev = self.device.as_ref().and_then(|device| device.netdev.as_ref());
        netdev.and_then(|netdev| netdev.mac().ok()).unwrap_or(MacAddr::ZERO)
    }

    /// The worker of one of `workers` that gets queue `queue`: the owner, or, of a device that spreads its frames over
    /// queues and is tied to no worker, the next after it.
    pub(super) fn worker_of(&self, queue: usize, workers: usize) -> usize {
        let spread = matches!(self.config.kind, PortKind::Xdp(_)) && self.config.worker.is_none();
        (self.owner.index() + if spread { queue } else { 0 }) % workers
    }

    /// Whether its queues lend frames to the kernel to receive into.
    pub(super) fn lends(&self) -> bool {
        matches!(self.config.kind, PortKind::Xdp(_))
    }

    /// Opens queue `queue` on a worker's packet memory, of which it may lend `share` frames for receiving.
    pub(super) fn open_queue(&mut self, queue: usize, area: &Arc<Area>, share: u32) -> OpenResult<Queue> {
        let Some(device) = &mut self.device else { return Err("the device is gone".into()) };
        let opened: Queue = match &mut device.source {
            Source::Xdp(xdp) => Box::new(xdp.open_queue(u16::try_from(queue)?, area)?.with_share(share)),
            Source::Tap(queues) => Box::new(queues[queue].try_clone()?),
            Source::Memory(memory, _) => Box::new(memory.clone()),
            Source::Pcap(files) => {
                Box::new(files.take().ok_or("its files were with a worker that panicked")?)
            }
        };
        self.capabilities = opened.capabilities();
        Ok(opened)
    }

    /// What the kernel dropped before the switch could see it, as far as control can ask it without a worker.
    pub(super) fn lost_before_us(&self) -> Vec<(&'static str, u64)> {
        match &self.device {
            Some(Device { source: Source::Tap(queues), .. }) => queues[0].lost_before_us(),
            _ => Vec::new(),
        }
    }

    /// Frames of packet memory that a queue of it may hold.
    pub(super) fn frames_per_queue(&self) -> u32 {
        match self.config.kind {
            PortKind::Xdp(_) => 2048,
            _ => 16,
        }
    }

    /// Whether frames may be longer than one chunk, and whether they may be super-frames.
    pub(super) fn long_frames(&self) -> (bool, bool) {
        match &self.device {
            Some(Device { source: Source::Xdp(xdp), .. }) => (xdp.needs_runs(), false),
            _ => match &self.config.kind {
                PortKind::Tap(tap) => (self.mtu > 3500, tap.offload),
                _ => (self.mtu > 3500, false),
            },
        }
    }

    /// The far end of a memory port.
    pub(super) fn memory_end(&self) -> Option<MemoryEnd> {
        match &self.device {
            Some(Device { source: Source::Memory(_, end), .. }) => Some(end.clone()),
            _ => None,
        }
    }
}

impl Source {
    fn queues(&self) -> usize {
        match self {
            Self::Xdp(device) => usize::from(device.queues()),
            Self::Tap(queues) => queues.len(),
            Self::Memory(..) | Self::Pcap(_) => 1,
        }
    }
}

impl Device {
    fn open(config: &PortConfig) -> OpenResult<Self> {
        let netns = config.netns.as_deref().map(Netns::open).transpose()?;
        let netns = netns.as_ref();
        let (name, source) = match &config.kind {
            PortKind::Xdp(xdp) => (&xdp.device, Source::Xdp(XdpDevice::open(xdp, netns, config.mtu)?)),
            PortKind::Tap(tap) => (&tap.device, Source::Tap(Tap::open(tap, netns, config.mtu)?)),
            PortKind::Memory => {
                let (memory, end) = Memory::new(MEMORY_DEPTH, Capabilities::default());
                return Ok(Self { netdev: None, source: Source::Memory(memory, end) });
            }
            PortKind::Pcap(files) => {
                return Ok(Self { netdev: None, source: Source::Pcap(Some(Pcap::open(files)?)) });
            }
        };
        let netdev = Netdev::new(name, netns)?;
        netdev.set_up(true)?;
        Ok(Self { netdev: Some(netdev), source })
    }
}

/// Whether the kernel has the device of `config`.
fn exists(config: &PortConfig) -> bool {
    let (PortKind::Tap(TapConfig { device, .. }) | PortKind::Xdp(XdpConfig { device, .. })) = &config.kind
    else {
        return true;
    };
    let netns = config.netns.as_deref().map(Netns::open).transpose();
    netns.is_ok_and(|netns| Netdev::new(device, netns.as_ref()).and_then(|netdev| netdev.index()).is_ok())
}
