//! An AF_XDP device: which program it gets, on which hook, and its queues' sockets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::letting_go::Successor;
use super::mine::{Claim, Mine};
use super::program::Maps;
use super::{MOST_ADDRESSES, XdpQueue};
use crate::frames::{Area, CHUNK};
use crate::ports::{XdpConfig, XdpMode, XdpQueues, XdpTake};
use crate::sys::bpf::{Attach, Link, LoadError, XskMap};
use crate::sys::features::XdpFeatures;
use crate::sys::netdev::Netdev;
use crate::sys::netns::{Netns, inside};
use crate::sys::packet::PacketSocket;
use crate::sys::poll::PollSet;
use crate::sys::xsk::{Bind, RingSizes, Socket, Umem};

/// Slots in each ring of a queue, and the most frames lent to each way of it.
pub(super) const DEPTH: u32 = 1024;

/// A device whose frames come to us. Control opens it and hands its queues to workers.
#[derive(Debug)]
pub struct XdpDevice {
    attachment: Arc<Attachment>,
    mode: XdpMode,
    netns: Option<Netns>,
    /// What of it is the switch's, if it is shared with the host.
    claim: Option<Claim>,
    /// Of each queue, whether it was last opened in zero-copy.
    zero_copy: Vec<bool>,
}

impl XdpDevice {
    /// Attaches our program to a device in `netns`, or in the calling thread's namespace. Until a queue is opened, and of one
    /// that is shared until [`XdpDevice::claim`], the host still receives its frames. `mtu` is set when given, in bytes after the Ethernet header.
    ///
    /// # Errors
    /// [`XdpError`], which says what to do about it.
    pub fn open(config: &XdpConfig, netns: Option<&Netns>, mtu: Option<u16>) -> Result<Self, XdpError> {
        let (attachment, claim) = inside(netns, || Attachment::make(config, mtu))
            .map_err(|source| XdpError::device(&config.device, source))??;
        let netns = netns
            .map(Netns::try_clone)
            .transpose()
            .map_err(|source| XdpError::device(&config.device, source))?;
        let zero_copy = vec![false; attachment.queues.into()];
        Ok(Self { attachment: Arc::new(attachment), mode: config.mode, netns, claim, zero_copy })
    }

    /// Takes what is in `mine` from now on and leaves all else to the host; one that is not shared takes everything anyway.
    ///
    /// # Errors
    /// [`XdpError`]: at least what was taken before still is.
    pub fn claim(&mut self, mine: &Mine) -> Result<(), XdpError> {
        let Some(claim) = &mut self.claim else { return Ok(()) };
        let device = || self.attachment.netdev.name().to_owned();
        if mine.addresses.len() >= MOST_ADDRESSES as usize {
            return Err(XdpError::TooManyAddresses { device: device(), count: mine.addresses.len() });
        }
        let put = inside(self.netns.as_ref(), || claim.put(mine)).and_then(|put| put);
        put.map_err(|source| XdpError::Device { device: device(), source })
    }

    /// The kernel's number for the device in its namespace.
    pub fn index(&self) -> u32 {
        self.attachment.ifindex
    }

    /// How many queues to open.
    pub fn queues(&self) -> u16 {
        self.attachment.queues
    }

    /// Whether frames may be longer than a chunk, so that the pool of a worker needs runs.
    pub fn needs_runs(&self) -> bool {
        self.attachment.frags
    }

    /// Where the program runs. [`XdpQueue::mode`] says it in words, with the rest.
    pub fn hook(&self) -> Attach {
        self.attachment.hook
    }

    /// Whether the kernel, by its own word, copies the frames of no queue.
    pub fn is_zero_copy(&self) -> bool {
        !self.zero_copy.is_empty() && self.zero_copy.iter().all(|is_so| *is_so)
    }

    /// Whether a VLAN tag may be lost before the switch sees the frame, as nothing here can read it.
    pub fn may_lose_tags(&self) -> bool {
        self.attachment.may_lose_tags
    }

    /// Opens queue `queue`, 0 to [`XdpDevice::queues`] − 1, on the packet memory of the worker that will own it. Frames
    /// arrive once the worker has first called it. May wait a moment for a socket just closed to let go of the queue.
    ///
    /// # Errors
    /// [`XdpError`], which says what to do about it.
    pub fn open_queue(&mut self, queue: u16, area: &Arc<Area>) -> Result<XdpQueue, XdpError> {
        let fail =
            |source| XdpError::Queue { device: self.attachment.netdev.name().to_owned(), queue, source };
        let opened = inside(self.netns.as_ref(), || self.socket(queue, area));
        let bound = opened.and_then(|opened| opened).map_err(fail)?;
        self.attachment.map.insert(queue.into(), &bound.socket).map_err(fail)?;
        if let Some(known) = self.zero_copy.get_mut(usize::from(queue)) {
            *known = bound.zero_copy;
        }
        Ok(XdpQueue::new(Arc::clone(&self.attachment), queue, Arc::clone(area), bound))
    }

    /// A bound socket, zero-copy where mode and driver allow.
    fn socket(&self, queue: u16, area: &Arc<Area>) -> io::Result<Bound> {
        let native = self.attachment.hook == Attach::Native;
        let (try_zero_copy, try_copy) = match self.mode {
            XdpMode::Auto | XdpMode::Native => (native && self.attachment.features.zero_copy, true),
            XdpMode::Generic | XdpMode::Copy => (false, true),
            XdpMode::ZeroCopy => (true, false),
        };
        let (ifindex, frags) = (self.attachment.ifindex, self.attachment.frags);
        let bind = Bind { ifindex, queue: queue.into(), zero_copy: true, frags };
        if try_zero_copy {
            let bound = bound(area, bind).and_then(|bound| self.without_copying(bound, bind));
            if bound.is_ok() || !try_copy {
                return bound;
            }
        }
        copying(area, bind)
    }

    /// What there is to know of a socket that the kernel bound without copying.
    fn without_copying(&self, bound: Bound, bind: Bind) -> io::Result<Bound> {
        let most = if bind.frags { self.attachment.features.zero_copy_buffers as usize } else { 1 };
        Ok(Bound { pieces: most, successor: Some(Successor::new(bind)?), ..bound })
    }
}

/// A socket bound to its queue.
pub(super) struct Bound {
    pub(super) socket: Socket,
    /// The kernel's word.
    pub(super) zero_copy: bool,
    /// The most descriptors that the device takes for a frame.
    pub(super) pieces: usize,
    /// For when it is closed, if the device has packet memory of it.
    pub(super) successor: Option<Successor>,
}

/// Why a device or a queue of it did not open.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// The kernel's answer to anything else.
    #[error("{device}: {source}")]
    Device {
        /// The device.
        device: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel did not load the program.
    #[error("{device}: {source}")]
    Program {
        /// The device.
        device: String,
        /// What the kernel said.
        source: LoadError,
    },
    /// Somebody's program is on the device.
    #[error(
        "{device}: another XDP program is attached to it: stop its owner, or `ip link set {device} xdp off`"
    )]
    Taken {
        /// The device.
        device: String,
    },
    /// The mode asked for needs native XDP.
    #[error("{device}: no native XDP here ({source}): use mode `auto` or `generic`")]
    NotNative {
        /// The device.
        device: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// More queues were asked for than there are.
    #[error(
        "{device}: {wanted} queues asked for, and it has {present}: lower `queues`, or `ethtool -L {device}`"
    )]
    NoSuchQueues {
        /// The device.
        device: String,
        /// Queues asked for.
        wanted: u32,
        /// Receive queues in use.
        present: u32,
    },
    /// A queue could receive, but not send.
    #[error(
        "{device}: {rx} receive queues, but only {tx} to transmit: make them equal with `ethtool -L {device}`"
    )]
    Uneven {
        /// The device.
        device: String,
        /// Receive queues to bind.
        rx: u32,
        /// Transmit queues in use.
        tx: u32,
    },
    /// More addresses than the program has room for.
    #[error(
        "{device}: {count} addresses of the switch, and less than {MOST_ADDRESSES} can be told from the host's"
    )]
    TooManyAddresses {
        /// The device.
        device: String,
        /// Addresses that are the switch's there.
        count: usize,
    },
    /// A queue's socket did not open.
    #[error("{device}, queue {queue}: {source}")]
    Queue {
        /// The device.
        device: String,
        /// The queue, from 0.
        queue: u16,
        /// What the kernel said.
        source: io::Error,
    },
}

impl XdpError {
    fn device(device: &str, source: io::Error) -> Self {
        Self::Device { device: device.to_owned(), source }
    }
}

/// Our program on a device, and what was changed to make it work. Undone on drop.
#[derive(Debug)]
pub(super) struct Attachment {
    _link: Link,
    _promiscuous: Option<PacketSocket>, // none: it is shared, and takes what the host and the claim ask for
    map: XskMap,
    netdev: Netdev,
    ifindex: u32,
    queues: u16,
    pub(super) hook: Attach,
    frags: bool,
    features: XdpFeatures,
    pub(super) may_lose_tags: bool,
    gro_turned_on: bool,
    stripping_turned_off: bool,
}

impl Attachment {
    /// Attaches to a device of the calling thread's network namespace.
    fn make(config: &XdpConfig, mtu: Option<u16>) -> Result<(Self, Option<Claim>), XdpError> {
        let device = &config.device;
        let fail = |source| XdpError::device(device, source);
        let netdev = Netdev::new(device, None).and_then(Netdev::pinned).map_err(fail)?;
        let ifindex = netdev.index().map_err(fail)?;
        if let Some(mtu) = mtu {
            netdev.set_mtu(u32::from(mtu)).map_err(fail)?;
        }
        let queues = count_queues(&netdev, config)?;
        let features = XdpFeatures::of(ifindex).unwrap_or_default();
        let map = XskMap::new(queues.into()).map_err(fail)?;
        let is_shared = config.take != XdpTake::All;
        let claim = is_shared.then(|| Claim::new(ifindex)).transpose().map_err(fail)?;
        let maps = Maps { sockets: &map, mine: claim.as_ref().map(|claim| &claim.keys) };
        let (link, hook, reads_tags) = attach(config, maps, ifindex, features)?;
        let promiscuous = (!is_shared).then(|| PacketSocket::silent(ifindex)).transpose().map_err(fail)?;
        promiscuous.iter().try_for_each(PacketSocket::request_promiscuous).map_err(fail)?;
        let mut made = Self {
            _link: link,
            _promiscuous: promiscuous,
            map,
            ifindex,
            queues,
            hook,
            frags: netdev.mtu().map_err(fail)? > XdpConfig::LONGEST_WHOLE,
            features,
            may_lose_tags: false,
            gro_turned_on: false,
            stripping_turned_off: false,
            netdev,
        };
        made.may_lose_tags = !reads_tags && !made.leaves_tags_in();
        made.gro_turned_on =
            hook == Attach::Generic && made.needs_gro() && made.netdev.set_merges_received(true).is_ok();
        Ok((made, claim))
    }

    /// Frames of this queue go to no socket from now on.
    pub(super) fn forget(&self, queue: u16) {
        // It fails only when there was none.
        let _ = self.map.remove(queue.into());
    }

    /// Has a NIC leave VLAN tags in its frames, and answers whether it surely does. Software devices pass on skbs whose
    /// tag may be outside the frame whatever their features say.
    fn leaves_tags_in(&mut self) -> bool {
        let on_a_bus = self.netdev.bus().is_some();
        let strips = || self.netdev.strips_vlan().unwrap_or(true);
        if on_a_bus && strips() {
            self.stripping_turned_off = self.netdev.set_strips_vlan(false).is_ok();
        }
        on_a_bus && !strips()
    }

    /// A veth has NAPI, and with it receives what XDP at the far end sends, only with native XDP or with GRO.
    fn needs_gro(&self) -> bool {
        self.netdev.driver().is_ok_and(|driver| driver == "veth")
            && self.netdev.merges_received().is_ok_and(|on| !on)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // The device may be gone; then there is nothing to undo.
        if self.gro_turned_on {
            let _ = self.netdev.set_merges_received(false);
        }
        if self.stripping_turned_off {
            let _ = self.netdev.set_strips_vlan(true);
        }
    }
}

/// How many queues to bind: each must both receive and transmit.
fn count_queues(netdev: &Netdev, config: &XdpConfig) -> Result<u16, XdpError> {
    let device = config.device.clone();
    let fail = |source| XdpError::device(&config.device, source);
    let (rx, tx) = (netdev.rx_queues().map_err(fail)?, netdev.tx_queues().map_err(fail)?);
    let wanted = match config.queues {
        XdpQueues::All => rx,
        XdpQueues::First(count) => u32::from(count),
    };
    if wanted > rx {
        return Err(XdpError::NoSuchQueues { device, wanted, present: rx });
    }
    if wanted > tx {
        return Err(XdpError::Uneven { device, rx: wanted, tx });
    }
    u16::try_from(wanted).map_err(|_| XdpError::NoSuchQueues { device, wanted, present: rx })
}

/// The best program on the best hook that mode and driver allow, and whether it sees stripped tags.
fn attach(
    config: &XdpConfig,
    maps: Maps<'_>,
    ifindex: u32,
    features: XdpFeatures,
) -> Result<(Link, Attach, bool), XdpError> {
    let device = config.device.clone();
    if config.mode != XdpMode::Generic && features.vlan_tag {
        // If this fails for whatever reason, the plain program meets the same reason or does without.
        if let Some(Ok(program)) = maps.load_tag_reading(ifindex)
            && let Ok(link) = program.attach_xdp(ifindex, Attach::Native)
        {
            return Ok((link, Attach::Native, true));
        }
    }
    let program = maps.load_plain().map_err(|source| XdpError::Program { device: device.clone(), source })?;
    if config.mode != XdpMode::Generic {
        match program.attach_xdp(ifindex, Attach::Native) {
            Ok(link) => return Ok((link, Attach::Native, false)),
            Err(error) if is_taken(&error) => return Err(XdpError::Taken { device }),
            Err(_) if config.mode == XdpMode::Auto => {}
            Err(source) => return Err(XdpError::NotNative { device, source }),
        }
    }
    match program.attach_xdp(ifindex, Attach::Generic) {
        Ok(link) => Ok((link, Attach::Generic, false)),
        Err(error) if is_taken(&error) => Err(XdpError::Taken { device }),
        Err(source) => Err(XdpError::Device { device, source }),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

/// A socket that is copied into and out of. The kernel cuts long frames from 6.6 on, whatever the driver; before, it does not know how.
fn copying(area: &Arc<Area>, bind: Bind) -> io::Result<Bound> {
    match bound(area, Bind { zero_copy: false, frags: true, ..bind }) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !bind.frags => {
            bound(area, Bind { zero_copy: false, ..bind })
        }
        result => result,
    }
}

/// A socket on `area`, bound.
fn bound(area: &Arc<Area>, bind: Bind) -> io::Result<Bound> {
    const ATTEMPTS: usize = 500;
    const PAUSE: Duration = Duration::from_millis(10);
    let chunk = u32::try_from(CHUNK).unwrap_or(u32::MAX);
    let sizes = RingSizes { fill: DEPTH, completion: DEPTH, rx: DEPTH, tx: DEPTH };
    let socket = Socket::open(&**area, Umem { chunk, headroom: 0, tx_metadata: 0 }, sizes)?;
    let mut attempt = 0;
    loop {
        match socket.bind(bind) {
            Ok(()) => break,
            // The kernel lets go of a closed socket's queue a moment after the close, which is seconds where every CPU is wanted.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && attempt < ATTEMPTS => {
                attempt += 1;
                PollSet::new().wait(Some(PAUSE))?;
            }
            Err(error) => return Err(error),
        }
    }
    socket.raise_tx_budget(DEPTH);
    let zero_copy = socket.is_zero_copy()?;
    Ok(Bound { socket, zero_copy, pieces: usize::MAX, successor: None })
}
