//! A port as control holds it: the device that was opened, and the queues that workers are given of it.

mod host;
mod shared;
mod spares;
mod standing;

pub(super) use host::Likeness;
pub(super) use shared::is_shared;
pub(super) use spares::Spares;
pub(super) use standing::Standing;

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::sync::Arc;

use rigswitch_dataplane::frames::Area;
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::ports::{
    Capabilities, Memory, MemoryEnd, PacketDevice, Pcap, PortConfig, PortKind, PortQueue, SocketDevice, Tap,
    XdpDevice,
};
use rigswitch_dataplane::sys::links::Link;
use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::tables::WorkerId;

use super::watch::{Namespace, Place, Watch, Whereabouts};
use crate::events::{Event, Events};
use host::{Given, create_host, prepare};

/// The MTU of a port that no kernel device limits.
const DEFAULT_MTU: u16 = 1500;

/// Frames that a memory port holds each way.
const MEMORY_DEPTH: usize = 1024;

pub(super) type OpenResult<T> = Result<T, Box<dyn Error>>;

/// One configured port, open or gone.
pub(super) struct Port {
    pub(super) config: PortConfig,
    /// The worker that sends for those without a queue of it.
    pub(super) owner: WorkerId,
    /// Bytes of payload, as last told.
    pub(super) mtu: u32,
    /// What its queues do with offload state.
    pub(super) capabilities: Capabilities,
    device: Option<Device>, // none: it is gone
    /// The kernel's device as last told; none where the kernel has none.
    link: Option<Link>,
    /// What it takes after, if it stands on another device.
    standing: Option<Standing>,
    /// Where its device was last seen to go; it is looked for there before it is under its name.
    moved_to: Option<Place>,
    /// Its namespace was made anew, and what we had made there is to be made anew too.
    make_again: bool,
    /// The queues that a worker has, by their number.
    pub(super) open: Vec<bool>,
    /// Workers that were asked to close its queues and have not answered. Until they have, no device takes the place of the
    /// one that is gone: what they say is of that one.
    pub(super) closing: BTreeSet<WorkerId>,
    /// The tables are not to have it any more.
    pub(super) leaving: bool,
    /// What last kept the device or a queue of it from being opened, so that it is told once.
    trouble: String,
}

/// What was opened.
struct Device {
    place: Option<Place>, // none: the kernel has no such device
    kind: PortKind,       // the configured one, or the one chosen
    source: Source,
    given: Option<Given>, // what a host's port was last given
}

/// What is new about a port's device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Up,
    Down,
    Renamed {
        from: String,
        to: String,
    },
    Mtu(u32),
    Address(MacAddr),
    /// A TAP, whose queues go on wherever it is; the name of the namespace.
    Relocated(Option<String>),
    /// It is there no more, and why.
    Gone(String),
}

/// Where queues come from.
enum Source {
    Xdp(XdpDevice),
    /// Each queue is cloned for its worker: a TAP goes with its last descriptor, and must outlive a worker's panic.
    Tap(Vec<Tap>),
    Packet(PacketDevice),
    Socket(SocketDevice),
    /// None of its own: it stands on another device, or is a bridge's own.
    Upper,
    Memory(Memory, MemoryEnd),
    /// None once a worker has it: files are read once.
    Pcap(Option<Box<Pcap>>),
}

/// A queue on its way to a worker.
pub(super) type Queue = Box<dyn PortQueue + Send>;

impl Port {
    /// Opens the device, unless it is among the spares, takes it up, and sets its MTU where the file says one.
    pub(super) fn open(
        config: PortConfig,
        owner: WorkerId,
        spares: &mut Spares,
        watch: &mut Watch,
    ) -> OpenResult<Self> {
        let device = match spares.take(&config) {
            Some(device) => device,
            None => Device::open(&config, None, watch)?,
        };
        let mut port = Self {
            config,
            owner,
            mtu: 0,
            capabilities: Capabilities::default(),
            device: None,
            link: None,
            standing: None,
            moved_to: None,
            make_again: false,
            open: Vec::new(),
            closing: BTreeSet::new(),
            leaving: false,
            trouble: String::new(),
        };
        port.put(device, watch);
        port.adjust(port.config.clone(), watch)?;
        Ok(port)
    }

    /// Gives the device the MTU and the addresses that `config`, which is the same otherwise, says.
    pub(super) fn adjust(&mut self, config: PortConfig, watch: &mut Watch) -> OpenResult<()> {
        let before = std::mem::replace(&mut self.config, config);
        self.readdress(&before, watch)?;
        let configured = self.config.mtu.map_or(DEFAULT_MTU.into(), u32::from);
        match (&self.device, &self.link) {
            (Some(Device { place: None, .. }), _) => self.mtu = configured,
            (Some(Device { place: Some(place), .. }), Some(link))
                if self.config.mtu.is_some() && link.mtu != configured =>
            {
                Netdev::new(&link.name, watch.netns(place.namespace))?.set_mtu(configured)?;
                watch.catch_up();
                self.link = watch.link(*place).cloned();
                self.mtu = configured;
            }
            _ => {}
        }
        Ok(())
    }

    fn put(&mut self, device: Device, watch: &Watch) {
        self.link = device.place.and_then(|place| watch.link(place)).cloned();
        let configured = u32::from(self.config.mtu.unwrap_or(DEFAULT_MTU));
        self.mtu = self.link.as_ref().map_or(configured, |link| link.mtu);
        self.open = vec![false; device.source.queues()];
        (self.moved_to, self.make_again) = (None, false);
        self.trouble.clear();
        self.device = Some(device);
    }

    /// Whether it was taken back: a device that is there again under its name, or where it moved to. A TAP that was deleted
    /// is not made again, but for a host's. An error is about a device that is there and cannot be had.
    pub(super) fn take_back(&mut self, watch: &mut Watch) -> OpenResult<bool> {
        if self.device.is_some() || !self.closing.is_empty() {
            return Ok(false);
        }
        let at = self.moved_to.filter(|&place| watch.link(place).is_some());
        let at = at.or_else(|| {
            let namespace = watch.enter(self.config.netns.as_deref()).ok()?;
            watch.find(namespace, self.config.kind.device()?)
        });
        let is_ours = self.make_again || self.is_host();
        let is_there = at.is_some() || is_ours || self.config.kind.device().is_none();
        if !is_there {
            return Ok(false);
        }
        let called = |watch: &Watch| at.and_then(|place| watch.link(place)).map(|link| link.name.clone());
        let name = called(watch);
        match Device::open(&self.config, at, watch) {
            Ok(device) => {
                self.put(device, watch);
                Ok(true)
            }
            Err(error) => {
                watch.look_again();
                watch.catch_up();
                // One that is gone again, or called otherwise by now, could not be had.
                if called(watch) == name { Err(error) } else { Ok(false) }
            }
        }
    }

    /// Takes in what is known of the device by now; what is new about it.
    pub(super) fn follow(&mut self, watch: &mut Watch) -> Vec<Change> {
        let mut changes = Vec::new();
        let Some(Device { place: Some(place), source, .. }) = &mut self.device else { return changes };
        if watch.link(*place).is_none() {
            let (whereabouts, goes_on) = source.whereabouts(*place, watch);
            match whereabouts {
                Whereabouts::Moved(now) if goes_on => {
                    *place = now;
                    changes.push(Change::Relocated(watch.name(now.namespace).map(str::to_owned)));
                }
                Whereabouts::Elsewhere if goes_on => {
                    watch.look_again();
                    return changes;
                }
                whereabouts => {
                    let (why, moved_to) = gone(whereabouts, watch);
                    self.moved_to = moved_to;
                    return vec![Change::Gone(why)];
                }
            }
        }
        let was_down = watch.has_been_down(*place);
        let Some(link) = watch.link(*place) else { return changes };
        let Some(before) = self.link.replace(link.clone()) else { return changes };
        if before.name != link.name {
            changes.push(Change::Renamed { from: before.name, to: link.name.clone() });
        }
        if before.mac != link.mac {
            changes.push(Change::Address(link.mac));
        }
        if self.mtu != link.mtu {
            self.mtu = link.mtu;
            changes.push(Change::Mtu(link.mtu));
        }
        if before.running && (was_down || !link.running) {
            changes.push(Change::Down);
        }
        if link.running && (was_down || !before.running) {
            changes.push(Change::Up);
        }
        changes
    }

    /// Whether its device is in one of these namespaces.
    pub(super) fn is_in(&self, outdated: &[Namespace]) -> bool {
        let place = self.device.as_ref().and_then(|device| device.place);
        place.is_some_and(|place| outdated.contains(&place.namespace))
    }

    /// The namespace that its device is in, or is looked for in.
    pub(super) fn namespace(&self, watch: &Watch) -> Option<Namespace> {
        match &self.device {
            Some(device) => device.place.map(|place| place.namespace),
            None => watch.known(self.config.netns.as_deref()),
        }
    }

    /// Once taken back, it is made again if it is of our making.
    pub(super) fn make_again(&mut self) {
        self.make_again = true;
    }

    /// The device is gone, and all of its queues, which `workers` may still have.
    pub(super) fn gone(&mut self, workers: impl Iterator<Item = WorkerId>) {
        self.device = None;
        self.open.clear();
        self.trouble.clear();
        self.closing.extend(workers);
    }

    /// Tells what keeps it from being opened, unless that was the last thing told.
    pub(super) fn tell_once(&mut self, trouble: String, events: &mut Events) {
        if self.trouble != trouble {
            events.tell(Event::Warning { message: trouble.clone() });
            self.trouble = trouble;
        }
    }

    /// Whether something keeps it from being opened.
    pub(super) fn is_in_trouble(&self) -> bool {
        !self.trouble.is_empty()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.device.is_none()
    }

    /// Whether frames go out of it: it is up and has a carrier, or needs none.
    pub(super) fn is_running(&self) -> bool {
        let stands = self.standing.is_none_or(|standing| standing.is_running);
        self.device.is_some() && stands && self.link.as_ref().is_none_or(|link| link.running)
    }

    /// The kernel's word for how it is: `UP`, `DOWN` or `NOTPRESENT`.
    pub(super) fn operstate(&self) -> &'static str {
        match self.is_running() {
            true => "UP",
            false if self.device.is_some() => "DOWN",
            false => "NOTPRESENT",
        }
    }

    /// What kind it is: the chosen one where the choice was the switch's, once it has been made.
    pub(super) fn kind(&self) -> &PortKind {
        self.device.as_ref().map_or(&self.config.kind, |device| &device.kind)
    }

    /// What an operator should know of how it was opened.
    pub(super) fn warning(&self) -> Option<String> {
        let name = &self.config.name;
        if self.capabilities.may_lose_tags {
            return Some(format!(
                "port {name}: a VLAN tag may be lost before the switch sees the frame: use native mode where the driver \
                 has it, or `ethtool -K DEVICE txvlan off` at the far end"
            ));
        }
        let Some(Device { source: Source::Packet(packet), .. }) = &self.device else { return None };
        packet.heard_by_host().map(|why| {
            format!(
                "port {name}: this host hears, and may answer, what arrives there too ({why}): give the device no \
                 address, and `ip link set DEVICE arp off`"
            )
        })
    }

    /// Its MAC address; zero where there is none.
    pub(super) fn address(&self) -> MacAddr {
        let of_kernel = self.link.as_ref().filter(|_| self.device.is_some()).map(|link| link.mac);
        let own = || self.standing.filter(|_| self.link.is_none()).map(|standing| standing.mac);
        of_kernel.or_else(own).unwrap_or(MacAddr::ZERO)
    }

    /// What the kernel calls its device now.
    pub(super) fn device_name(&self) -> Option<&str> {
        self.link.as_ref().map(|link| link.name.as_str()).or(self.config.kind.device())
    }

    /// How fast its link is, in Mbit/s; nothing where nobody knows.
    pub(super) fn speed(&self, watch: &Watch) -> Option<u32> {
        let place = self.device.as_ref()?.place?;
        let netdev = Netdev::new(&watch.link(place)?.name, watch.netns(place.namespace)).ok()?;
        netdev.speed().ok().flatten()
    }

    /// The worker of one of `workers` that gets queue `queue`: the owner, or, of a device that spreads its frames over
    /// queues and is tied to no worker, the next after it.
    pub(super) fn worker_of(&self, queue: usize, workers: usize) -> usize {
        let spreads = matches!(self.kind(), PortKind::Xdp(_) | PortKind::Packet(_));
        let spread = spreads && self.config.worker.is_none();
        (self.owner.index() + if spread { queue } else { 0 }) % workers
    }

    /// Whether its queues lend frames to the kernel to receive into.
    pub(super) fn lends(&self) -> bool {
        matches!(self.kind(), PortKind::Xdp(_))
    }

    /// Opens queue `queue` on a worker's packet memory, of which it may lend `share` frames for receiving.
    pub(super) fn open_queue(&mut self, queue: usize, area: &Arc<Area>, share: u32) -> OpenResult<Queue> {
        let Some(device) = &mut self.device else { return Err("the device is gone".into()) };
        let opened: Queue = match &mut device.source {
            Source::Xdp(xdp) => Box::new(xdp.open_queue(u16::try_from(queue)?, area)?.with_share(share)),
            Source::Tap(queues) => Box::new(queues[queue].try_clone()?),
            Source::Packet(packet) => Box::new(packet.open_queue()?),
            Source::Socket(sockets) => Box::new(sockets.open_queue()?),
            Source::Upper => return Err("it has no queues".into()),
            Source::Memory(memory, _) => Box::new(memory.clone()),
            Source::Pcap(files) => files.take().ok_or("its files were with a worker that panicked")?,
        };
        self.capabilities = opened.capabilities();
        Ok(opened)
    }

    /// What the kernel dropped before the switch could see it, as far as control can ask it without a worker.
    pub(super) fn lost_before_us(&self, watch: &Watch) -> Option<(&'static str, u64)> {
        match &self.device {
            Some(Device { source: Source::Tap(_), place: Some(place), .. }) => {
                watch.tx_dropped(*place).map(|frames| ("tx_dropped", frames))
            }
            _ => None,
        }
    }

    /// Frames of packet memory that a queue of it may hold.
    pub(super) fn frames_per_queue(&self) -> u32 {
        match self.kind() {
            PortKind::Xdp(_) => 2048,
            _ => 16,
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
            Self::Packet(device) => usize::from(device.queues()),
            Self::Socket(_) | Self::Memory(..) | Self::Pcap(_) => 1,
            Self::Upper => 0,
        }
    }

    /// The kernel's number for the device.
    fn index(&self) -> io::Result<Option<u32>> {
        match self {
            Self::Xdp(device) => Ok(Some(device.index())),
            Self::Tap(queues) => queues[0].netdev()?.index().map(Some),
            Self::Packet(device) => Ok(Some(device.index())),
            Self::Upper | Self::Socket(_) | Self::Memory(..) | Self::Pcap(_) => Ok(None),
        }
    }

    /// What became of the device that was in this place, and whether its queues go on wherever it is: a TAP's do.
    fn whereabouts(&self, place: Place, watch: &mut Watch) -> (Whereabouts, bool) {
        let Self::Tap(queues) = self else { return (watch.whereabouts(place), false) };
        let Ok(netns) = queues[0].netns() else { return (Whereabouts::Deleted, true) };
        let namespace = watch.admit(netns);
        watch.catch_up();
        // It may just be given another name.
        let found = namespace.and_then(|namespace| Ok(watch.find(namespace, &queues[0].name()?)));
        (found.ok().flatten().map_or(Whereabouts::Elsewhere, Whereabouts::Moved), true)
    }
}

impl Device {
    /// Opens the device in this place, or else the one that the configuration names.
    fn open(config: &PortConfig, at: Option<Place>, watch: &mut Watch) -> OpenResult<Self> {
        let name = match at {
            Some(place) => watch.link(place).map(|link| link.name.clone()),
            None => config.kind.device().map(str::to_owned),
        };
        let (namespace, netns) = match name {
            None if !config.kind.is_in_netns() => (None, None),
            _ => {
                let configured = || watch.enter(config.netns.as_deref());
                let namespace = at.map_or_else(configured, |place| Ok(place.namespace))?;
                (Some(namespace), watch.netns(namespace))
            }
        };
        let kind = config.kind.chosen(name.as_deref().unwrap_or_default(), netns)?;
        let source = match &kind {
            PortKind::Xdp(xdp) => Source::Xdp(XdpDevice::open(xdp, netns, config.mtu)?),
            PortKind::Tap(tap) => Source::Tap(Tap::open(tap, netns, config.mtu)?),
            PortKind::Packet(packet) => Source::Packet(PacketDevice::open(packet, netns, config.mtu)?),
            PortKind::Socket(of) => {
                let mac = MacAddr::of_name(&config.name);
                Source::Socket(SocketDevice::open(of, netns, mac, config.mtu.unwrap_or(DEFAULT_MTU))?)
            }
            PortKind::Host(host) => Source::Tap(vec![create_host(host, netns)?]),
            PortKind::Upper(_) | PortKind::Inside => Source::Upper,
            PortKind::Device(_) => unreachable!("the choice has been made"),
            PortKind::Memory => {
                let (memory, end) = Memory::new(MEMORY_DEPTH, Capabilities::default());
                Source::Memory(memory, end)
            }
            PortKind::Pcap(files) => Source::Pcap(Some(Box::new(Pcap::open(files)?))),
        };
        if let Some(name) = name {
            Netdev::new(&name, netns)?.set_up(true)?;
        }
        if let PortKind::Host(host) = &kind {
            prepare(&host.device, host, netns)?;
        }
        let place = namespace.zip(source.index()?).map(|(namespace, index)| Place { namespace, index });
        // What was done to it is told by now.
        watch.catch_up();
        Ok(Self { place, kind, source, given: None })
    }
}

/// Why there is no device any more, and where it is now.
fn gone(whereabouts: Whereabouts, watch: &Watch) -> (String, Option<Place>) {
    match whereabouts {
        Whereabouts::Deleted => ("its device was deleted".to_owned(), None),
        Whereabouts::Elsewhere => {
            ("its device was moved to a network namespace that has no name".to_owned(), None)
        }
        Whereabouts::Moved(to) => {
            let name = watch.name(to.namespace).unwrap_or_default();
            (format!("its device was moved to the network namespace {name}"), Some(to))
        }
    }
}
