//! Ports: where frames come from and go to. One file a kind, all of them a [`PortQueue`].

mod config;
mod faulty;
mod generator;
mod memory;
mod packet;
mod pcap;
mod socket;
mod tap;
mod vnet_header;
mod xdp;

pub use config::{
    AddressConfig, HostAddress, HostLink, HostPortConfig, PacketConfig, PcapConfig, PortConfig, PortKind,
    SocketConfig, TapConfig, XdpConfig, XdpMode, XdpQueues, XdpTake,
};
pub use faulty::{Fault, Faulty};
pub use generator::{Generator, Repeater};
pub use memory::{Memory, MemoryEnd, Wire};
pub use packet::{Packet, PacketDevice};
pub use pcap::{Capture, Pace, Pcap, Record};
pub use socket::{SocketDevice, SocketQueue};
pub use tap::Tap;
pub use xdp::{MOST_ADDRESSES, Mine, XdpDevice, XdpError, XdpQueue};

use std::io;
use std::os::fd::BorrowedFd;

use crate::counters::DeviceCounters;
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Frame, Pool};
use crate::ids::DeviceId;

/// What a queue works with for one call: its worker's packet memory, and its device's counters.
pub struct PortIo<'a> {
    /// Where frames come from and go back to.
    pub pool: &'a mut Pool,
    /// Where the queue counts what it sends (`sent`); what it receives is counted by the pipeline.
    pub counters: &'a DeviceCounters,
    /// The published time.
    pub now: Now,
    /// Who wants to see what is discarded, and of which device that is, if anybody does.
    pub witness: Option<(DeviceId, &'a mut dyn Witness)>,
}

/// Whoever wants to see what a device's queues discard, before they take it in and after the line has given it to them.
pub trait Witness {
    /// `frame` ends here.
    fn discarded(&mut self, device: DeviceId, direction: Direction, reason: DropReason, frame: &Frame);
}

/// The published time, as read once a burst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Now {
    /// Nanoseconds since the Unix epoch.
    pub unix_ns: u64,
}

impl<'a> PortIo<'a> {
    /// The same with nobody who wants to see.
    pub fn new(pool: &'a mut Pool, counters: &'a DeviceCounters, now: Now) -> Self {
        Self { pool, counters, now, witness: None }
    }

    /// Discards a frame: counted on this device, in this direction, under this reason, and its memory freed. There
    /// is no other way to discard one.
    pub fn discard(&mut self, frame: Frame, direction: Direction, reason: DropReason) {
        self.show(direction, reason, &frame);
        self.counters.drops(direction, reason).add(1, frame.len() as u64);
        self.pool.free(frame);
    }

    /// Counts a frame that arrived but could not be taken in: it never had packet memory, or came out unusable. It is
    /// counted as received and as dropped, so that the ledger knows of it.
    pub fn receive_failed(&mut self, bytes: usize, reason: DropReason) {
        self.counters.received.add(1, bytes as u64);
        self.counters.drops(Direction::Rx, reason).add(1, bytes as u64);
    }

    /// The same for a frame that came in unusable.
    #[cold]
    pub fn refuse(&mut self, frame: Frame, reason: DropReason) {
        self.show(Direction::Rx, reason, &frame);
        self.receive_failed(frame.len(), reason);
        self.pool.free(frame);
    }

    fn show(&mut self, direction: Direction, reason: DropReason, frame: &Frame) {
        if let Some((device, witness)) = &mut self.witness {
            witness.discarded(*device, direction, reason, frame);
        }
    }
}

/// The device behind a queue is gone for good: the worker closes the queue and tells control.
#[derive(Debug, thiserror::Error)]
#[error("the device is gone: {0}")]
pub struct PortGone(pub io::Error);

/// What a device does with the offload state of a frame it is to send, and what it can say of those it receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// Passes a partial checksum on as such.
    pub partial_checksum: bool,
    /// Passes super-frames on whole.
    pub gso: bool,
    /// A VLAN tag may be lost before the switch sees the frame: no VLAN-aware use of this port is safe.
    pub may_lose_tags: bool,
    /// A VLAN tag counts against the MTU when it sends, as it does for a frame that comes to the kernel's device with its
    /// tag in it; elsewhere the outermost one does not, which the kernel holds beside the frame.
    pub measures_tags: bool,
}

/// One receive and transmit queue of a device, owned by one worker.
///
/// All calls return without waiting. A queue takes the frames it sends and frees them when they are done with;
/// it never keeps one for which it cannot account.
pub trait PortQueue {
    /// The worker's first call, once: lends the kernel what it needs to receive. From then on what arrives waits to be
    /// received, and is not lost.
    ///
    /// # Errors
    /// [`PortGone`] as below.
    fn start(&mut self, _io: &mut PortIo<'_>) -> Result<(), PortGone> {
        Ok(())
    }

    /// Appends received frames to `burst`, as many as are there and fit.
    ///
    /// # Errors
    /// [`PortGone`] when the device no longer exists; a device that is merely down receives nothing.
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone>;

    /// Takes frames from the front of `burst` as long as there is room to send them, and sends them; what is left
    /// in `burst` is the caller's to drop. Counts as sent what the kernel has accepted for good.
    ///
    /// # Errors
    /// [`PortGone`] as above; frames it had taken are freed and counted as dropped.
    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone>;

    /// Collects frames that the kernel is done sending, counts them as sent and frees them. Called every turn.
    ///
    /// # Errors
    /// [`PortGone`] as above.
    fn complete(&mut self, _io: &mut PortIo<'_>) -> Result<(), PortGone> {
        Ok(())
    }

    /// Frames taken by `tx_burst` that are neither sent nor dropped yet.
    fn held(&self) -> usize {
        0
    }

    /// What this queue does with offload state.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// The descriptor that polls readable when there is something to receive or to complete; `None` if whoever
    /// feeds this queue rings the worker's bell instead.
    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Counters of frames that were lost before the switch could see them, by the kernel's names. Outside the ledger.
    fn lost_before_us(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Closes the queue: every frame it holds goes back to the pool, those not sent counted as dropped.
    fn close(self: Box<Self>, io: &mut PortIo<'_>);
}
