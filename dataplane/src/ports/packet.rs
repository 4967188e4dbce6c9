//! A port on any device the kernel has, through packet sockets: nothing about the device or its far end changes, so
//! checksums left partial, super-frames and VLAN tags come as the far end's offloads leave them, and go as they came.
//!
//! Short frames come and go through rings, super-frames by a system call each one way, and many to a call the other.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::{Capabilities, Now, PacketConfig, PortGone, PortIo, PortQueue, vnet_header};
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Frame};
use crate::sys::ingress::IngressDrop;
use crate::sys::netdev::Netdev;
use crate::sys::netns::{Netns, inside};
use crate::sys::packet::{Kept, LONGEST_IN_SLOT, PacketSocket, RxRing, Slot, TxRing, VlanTag};

/// Bytes that a frame may have beyond the MTU: Ethernet header and two VLAN tags.
const BESIDE_MTU: usize = 14 + 8;

/// Super-frames in a burst, at the most: together they stay in a second-level cache between receiving and sending.
const LONG_FRAMES: usize = 8;

/// Empty receive calls between two questions whether the device is still there, which no poll tells; and the longest time
/// between them, for a worker that sleeps makes few calls.
const QUIET: u32 = 64;
const QUIET_NS: u64 = 500_000_000;

/// A device whose frames come to us, while it stays as it is. Control opens it and hands its queues to workers.
#[derive(Debug)]
pub struct PacketDevice {
    index: u32,
    /// Bytes of the longest frame that the MTU allows.
    longest: usize,
    netns: Option<Netns>,
    queues: u16,
    /// What the queues share the device's flows by, once there are several.
    group: Cell<Option<u16>>,
    silence: io::Result<IngressDrop>,
}

impl PacketDevice {
    /// Takes a device in `netns`, or in the calling thread's namespace, from the host's own stack, which hears nothing
    /// from it while this lives. `mtu` is set when given, in bytes after the Ethernet header.
    ///
    /// # Errors
    /// `NotFound` when there is no such device; `InvalidInput` for an MTU that the kernel refuses.
    pub fn open(config: &PacketConfig, netns: Option<&Netns>, mtu: Option<u16>) -> io::Result<Self> {
        let netdev = Netdev::new(&config.device, netns)?;
        if let Some(mtu) = mtu {
            netdev.set_mtu(u32::from(mtu))?;
        }
        let silence = inside(netns, || IngressDrop::on(&netdev))?;
        let longest = usize::try_from(netdev.mtu()?).unwrap_or(usize::MAX).saturating_add(BESIDE_MTU);
        let netns = netns.map(Netns::try_clone).transpose()?;
        let (index, queues) = (netdev.index()?, config.queues);
        Ok(Self { index, longest, netns, queues, group: Cell::new(None), silence })
    }

    /// The kernel's number for the device.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// How many queues to open.
    pub fn queues(&self) -> u16 {
        self.queues
    }

    /// Why the host's own stack hears, and may answer, what arrives on the device; nothing if it does not.
    pub fn heard_by_host(&self) -> Option<&io::Error> {
        self.silence.as_ref().err()
    }

    /// Opens one of [`PacketDevice::queues`] queues. What arrives from then on waits for its worker.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`; `ENODEV` when the device went.
    pub fn open_queue(&self) -> io::Result<Packet> {
        let (index, longest) = (self.index, self.longest.min(LONGEST_IN_SLOT));
        let opened =
            || io::Result::Ok((PacketSocket::for_port(index, longest)?, TxRing::open(index, longest)?));
        let ((socket, rx), tx) = inside(self.netns.as_ref(), opened)??;
        socket.request_promiscuous()?;
        socket.start()?;
        if self.queues > 1 {
            self.group.set(Some(socket.share(self.group.get())?));
        }
        Ok(Packet { socket, rx, tx, lost: Lost::default(), quiet: 0, heard: Now::default() })
    }
}

/// One of the sockets among which a device's flows are shared, or the only one.
#[derive(Debug)]
pub struct Packet {
    socket: PacketSocket,
    rx: RxRing,
    tx: TxRing,
    lost: Lost,
    /// Receive calls since anything was received or the kernel was asked.
    quiet: u32,
    /// When that was.
    heard: Now,
}

/// Frames that the kernel had no room for.
#[derive(Debug, Default)]
struct Lost {
    in_ring: Cell<u64>, // the kernel forgets when asked
    in_queue: u64,
}

impl Packet {
    /// The next frame; `None` when there is none. One that had to be dropped is counted, and left out.
    #[inline]
    fn receive(&mut self, io: &mut PortIo<'_>) -> Option<Option<Frame>> {
        let slot = self.rx.receive()?;
        Some(match slot.kept() {
            Kept::Whole => from_slot(&slot, io),
            Kept::Queued => from_queue(&self.socket, slot.frame_len(), io),
            Kept::Cut => {
                self.lost.in_queue += 1;
                None
            }
        })
    }

    /// Sends the first of these frames, and answers how many: short ones from the ring, and those that it has no room for by
    /// a message each.
    fn send(&mut self, burst: &Burst) -> io::Result<usize> {
        let frames = || burst.iter().map(|frame| (vnet_header::of(frame), frame.bytes()));
        let put = frames().take_while(|(header, bytes)| self.tx.put(*header, bytes)).count();
        if put > 0 { self.tx.send() } else { self.socket.send_batch(frames()) }
    }

    /// Asks, when nothing has come for a while, whether the device is there.
    fn listen(&mut self, now: Now) -> Result<(), PortGone> {
        self.quiet += 1;
        if self.quiet < QUIET && now.unix_ns.abs_diff(self.heard.unix_ns) < QUIET_NS {
            return Ok(());
        }
        (self.quiet, self.heard) = (0, now);
        if self.socket.has_device() { Ok(()) } else { Err(PortGone(io::ErrorKind::NotFound.into())) }
    }
}

impl PortQueue for Packet {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let mut long_frames = 0;
        let mut received = false;
        while burst.spare() > 0 && long_frames < LONG_FRAMES {
            let Some(answer) = self.receive(io) else { break };
            received = true;
            let Some(frame) = answer else { continue };
            long_frames += usize::from(frame.chunks() > 1);
            if burst.push(frame).is_err() {
                unreachable!("the burst had room");
            }
        }
        if !received {
            return self.listen(io.now);
        }
        (self.quiet, self.heard) = (0, io.now);
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let mut was_down = false;
        while !burst.is_empty() {
            match self.send(burst) {
                Ok(sent) => {
                    for frame in burst.drain_front(sent) {
                        io.counters.sent.add(1, frame.len() as u64);
                        io.pool.free(frame);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_gone(&error) => return Err(PortGone(error)),
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {
                    if was_down {
                        burst
                            .drain()
                            .for_each(|frame| io.discard(frame, Direction::Tx, DropReason::PortDown));
                    }
                    // That the device went down is told even when it is up again by now: once.
                    was_down = true;
                    if !self.socket.has_device() {
                        return Err(PortGone(error));
                    }
                }
                Err(error) => {
                    for frame in burst.drain_front(1) {
                        let reason = refusal(&error, &frame);
                        io.discard(frame, Direction::Tx, reason);
                    }
                }
            }
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { partial_checksum: true, gso: true, measures_tags: true, ..Capabilities::default() }
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn lost_before_us(&self) -> Vec<(&'static str, u64)> {
        let in_ring = self.lost.in_ring.get() + u64::from(self.socket.take_dropped().unwrap_or(0));
        self.lost.in_ring.set(in_ring);
        vec![("tp_drops", in_ring), ("rx_queue_full", self.lost.in_queue)]
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}

/// The frame that is whole in `slot`; `None` if it had to be dropped, which is counted.
#[inline]
fn from_slot(slot: &Slot<'_>, io: &mut PortIo<'_>) -> Option<Frame> {
    let bytes = slot.bytes();
    let Some(frame) = io.pool.frame_of(bytes) else {
        io.receive_failed(bytes.len(), DropReason::PoolEmpty);
        return None;
    };
    finish(frame, slot.vnet_header(), slot.tag(), io)
}

/// The next frame of the socket's queue, `length` bytes long; `None` if it had to be dropped, which is counted.
#[cold]
fn from_queue(socket: &PacketSocket, length: usize, io: &mut PortIo<'_>) -> Option<Frame> {
    let mut header = [0; vnet_header::LENGTH];
    let Some(mut frame) = io.pool.alloc_sized(length) else {
        // Reading the header alone throws the frame away.
        let _ = socket.receive_long(&mut header, &mut []);
        let too_long = length > io.pool.longest_frame();
        io.receive_failed(length, if too_long { DropReason::Truncated } else { DropReason::PoolEmpty });
        return None;
    };
    match socket.receive_long(&mut header, frame.bytes_mut()) {
        Ok((received, tag)) if received == length => finish(frame, header, tag, io),
        _ => {
            io.refuse(frame, DropReason::PortError);
            None
        }
    }
}

/// Notes the offload state of a frame whose bytes are in place, then puts its tag back; the state moves along.
#[inline]
fn finish(
    mut frame: Frame,
    header: [u8; vnet_header::LENGTH],
    tag: Option<VlanTag>,
    io: &mut PortIo<'_>,
) -> Option<Frame> {
    if let Err(reason) = vnet_header::apply(header, &mut frame) {
        io.refuse(frame, reason);
        return None;
    }
    if let Some(tag) = tag {
        put_back(tag, &mut frame);
    }
    Some(frame)
}

/// The tag goes behind the addresses, which move to the front of the headroom it takes.
fn put_back(tag: VlanTag, frame: &mut Frame) {
    const ADDRESSES: usize = 12;
    if frame.len() < ADDRESSES || !frame.push_front(4) {
        return debug_assert!(false, "the kernel takes tags out of whole headers; headroom is for this");
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(4..4 + ADDRESSES, 0);
    bytes[ADDRESSES..ADDRESSES + 4].copy_from_slice(&tag);
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV))
}

fn refusal(error: &io::Error, frame: &Frame) -> DropReason {
    match error.raw_os_error() {
        Some(libc::ENOBUFS) => DropReason::RingFull,
        Some(libc::EMSGSIZE) => DropReason::MtuExceeded,
        Some(libc::EINVAL) if !frame.is_wire_ready() => DropReason::MalformedOffload,
        _ => DropReason::PortError,
    }
}
