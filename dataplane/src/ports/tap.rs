//! A port on a TAP device: the far side is the kernel's own network stack, or whatever bridge it is in.
//!
//! TAP moves one frame a system call, each behind a `virtio_net_hdr`, so that checksums left partial and TCP and UDP
//! super-frames pass through in either direction as they are. A TUN is the same without Ethernet headers: here each packet gets one, and loses it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};

use super::{Capabilities, HostLink, PortGone, PortIo, PortQueue, TapConfig, vnet_header};
use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, CHUNK, Frame, HEADROOM, Pool};
use crate::ids::MacAddr;
use crate::sys::netdev::Netdev;
use crate::sys::netns::Netns;
use crate::sys::tun::{self, Mode, TapQueue};
use crate::wire::ethernet::{self, EtherType};

/// Bytes that a frame may have beyond the MTU: Ethernet header and two VLAN tags.
const BESIDE_MTU: usize = 14 + 8;

/// One queue of a TAP device.
#[derive(Debug)]
pub struct Tap {
    queue: TapQueue,
    offload: bool,
    absent: usize,     // bytes of a frame's start that the kernel does not have
    first_room: usize, // bytes that a frame within the MTU may need, as far as one chunk has them
}

impl Tap {
    /// Opens the queues of a device that is in `netns`, or is made there; `None`: the calling thread's namespace.
    /// `mtu` is set when given, in bytes after the Ethernet header. A device that is made here is down.
    ///
    /// # Errors
    /// As [`tun::open`]; `InvalidInput` for an MTU that the kernel refuses.
    pub fn open(config: &TapConfig, netns: Option<&Netns>, mtu: Option<u16>) -> io::Result<Vec<Self>> {
        let queues = tun::open(&config.device, netns, usize::from(config.queues), config.offload)?;
        let device = Netdev::new(&config.device, netns)?;
        if let Some(mtu) = mtu {
            device.set_mtu(u32::from(mtu))?;
        }
        let longest = usize::try_from(device.mtu()?).unwrap_or(usize::MAX).saturating_add(BESIDE_MTU);
        let first_room = longest.min(CHUNK - HEADROOM);
        Ok(queues
            .into_iter()
            .map(|queue| Self { queue, offload: config.offload, absent: 0, first_room })
            .collect())
    }

    /// Makes a device of one queue in `netns`, or in the calling thread's namespace: down, without a carrier, and gone with
    /// its last handle.
    ///
    /// # Errors
    /// As [`tun::create`].
    pub fn create(device: &str, netns: Option<&Netns>, link: HostLink) -> io::Result<Self> {
        // Its MTU is another one at any time.
        let (mode, absent) = match link {
            HostLink::Packets => (Mode::Tun, ethernet::HEADER_LEN),
            HostLink::Ethernet | HostLink::WithoutArp => (Mode::Tap, 0),
        };
        let queue = tun::create(device, netns, mode)?;
        Ok(Self { queue, offload: true, absent, first_room: CHUNK - HEADROOM })
    }

    /// Says whether the device has a carrier.
    ///
    /// # Errors
    /// As for [`Self::netdev`].
    pub fn set_carrier(&self, carrier: bool) -> io::Result<()> {
        self.queue.set_carrier(carrier)
    }

    /// Another handle on the same queue. While control holds one, the device survives the worker that has the other.
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { queue: self.queue.try_clone()?, ..*self })
    }

    /// The device, wherever it was moved and whatever it is called by now.
    ///
    /// # Errors
    /// The kernel's, when it was deleted.
    pub fn netdev(&self) -> io::Result<Netdev> {
        self.queue.netdev()
    }

    /// What the device is called now.
    ///
    /// # Errors
    /// As for [`Self::netdev`].
    pub fn name(&self) -> io::Result<String> {
        self.queue.name()
    }

    /// The namespace where the device is now.
    ///
    /// # Errors
    /// As for [`Self::netdev`].
    pub fn netns(&self) -> io::Result<Netns> {
        self.queue.netns()
    }

    /// Receives one frame: `Ok(None)` when one came that had to be dropped, which is counted.
    ///
    /// The bytes land in a single chunk and, where that ends, in a run: `run` is one to spare, all of its room in
    /// use, and is taken when a frame needs it.
    fn receive(&self, io: &mut PortIo<'_>, run: &mut Option<Frame>) -> io::Result<Option<Frame>> {
        let mut header = [0; vnet_header::LENGTH];
        let Some(mut first) = io.pool.alloc(self.first_room).map(with_all_room) else {
            // Reading the header alone throws the frame away, its length unknown.
            self.queue.receive(&mut [IoSliceMut::new(&mut header)])?;
            io.receive_failed(0, DropReason::PoolEmpty);
            return Ok(None);
        };
        let room = first.len();
        let rest = run.as_mut().map_or(&mut [][..], |run| &mut run.bytes_mut()[room..]);
        let rest_room = rest.len();
        let parts = &mut [&mut header[..], &mut first.bytes_mut()[self.absent..], rest].map(IoSliceMut::new);
        let received = match self.queue.receive(parts) {
            Ok(received) => received.saturating_sub(vnet_header::LENGTH) + self.absent,
            Err(error) => {
                io.pool.free(first);
                return Err(error);
            }
        };
        let frame = match run.take() {
            // The kernel cuts what does not fit and does not say so: a frame that fills all room was cut.
            run_left if received >= room + rest_room => {
                *run = run_left;
                let too_long = run.is_some() || io.pool.config().runs == 0;
                let reason = if too_long { DropReason::Truncated } else { DropReason::PoolEmpty };
                io.refuse(first, reason);
                return Ok(None);
            }
            Some(mut long) if received > room => {
                long.bytes_mut()[..room].copy_from_slice(first.bytes());
                io.pool.free(first);
                long
            }
            run_left => {
                *run = run_left;
                first
            }
        };
        let mut frame = with_len(frame, received);
        if self.absent > 0 {
            head(&mut frame);
            header = vnet_header::behind_ethernet(header);
        }
        if let Err(reason) = vnet_header::apply(header, &mut frame) {
            io.refuse(frame, reason);
            return Ok(None);
        }
        Ok(Some(frame))
    }
}

impl PortQueue for Tap {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let before = burst.len();
        let mut run = None;
        let mut result = Ok(());
        for _ in 0..burst.spare() {
            run = run.or_else(|| spare_run(io.pool));
            match self.receive(io, &mut run) {
                Ok(None) => {}
                Ok(Some(frame)) => {
                    if burst.push(frame).is_err() {
                        unreachable!("the burst had room");
                    }
                }
                // What came before it is to be used first; the next call meets the same error.
                Err(error) if tun::is_gone(&error) && burst.len() == before => {
                    result = Err(PortGone(error));
                    break;
                }
                Err(_) => break, // nothing there, or down
            }
        }
        if let Some(run) = run {
            io.pool.free(run);
        }
        result
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let mut refused = [None; BURST];
        let mut taken = 0;
        let mut result = Ok(());
        for (frame, refused) in burst.iter().zip(&mut refused) {
            let mut header = vnet_header::of(frame);
            if self.absent > 0 {
                header = vnet_header::without_ethernet(header);
            }
            let bytes = frame.bytes().get(self.absent..).unwrap_or_default();
            match self.queue.send(&[IoSlice::new(&header), IoSlice::new(bytes)]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if tun::is_gone(&error) => {
                    result = Err(PortGone(error));
                    break;
                }
                Err(error) => *refused = Some(refusal(&error, frame)),
            }
            taken += 1;
        }
        for (frame, refused) in burst.drain_front(taken).zip(refused) {
            match refused {
                Some(reason) => io.discard(frame, Direction::Tx, reason),
                None => {
                    io.counters.sent.add(1, frame.len() as u64);
                    io.pool.free(frame);
                }
            }
        }
        result
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { partial_checksum: self.offload, gso: self.offload, ..Capabilities::default() }
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.queue.as_fd())
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}

/// Puts an Ethernet header before a packet, of which its version says the type: nobody's, for there are no stations there.
fn head(frame: &mut Frame) {
    let version = frame.bytes().get(ethernet::HEADER_LEN).map(|first| first >> 4);
    let ether_type = match version {
        Some(4) => EtherType::IPV4,
        Some(6) => EtherType::IPV6,
        _ => EtherType(0), // no tunnel carries it
    };
    if let Some(header) = frame.bytes_mut().first_chunk_mut() {
        ethernet::emit(header, MacAddr::ZERO, MacAddr::ZERO, ether_type);
    }
}

/// A run with all of its room in use, if there is one.
fn spare_run(pool: &mut Pool) -> Option<Frame> {
    let longest = pool.longest_frame();
    (pool.config().runs > 0).then(|| pool.alloc(longest)).flatten().map(with_all_room)
}

fn with_all_room(frame: Frame) -> Frame {
    let room = frame.len() + frame.tailroom();
    with_len(frame, room)
}

fn with_len(mut frame: Frame, len: usize) -> Frame {
    let fits = frame.set_len(len);
    debug_assert!(fits, "no more is read than there is room for");
    frame
}

fn refusal(error: &io::Error, frame: &Frame) -> DropReason {
    match error.raw_os_error() {
        Some(libc::EIO) => DropReason::PortDown,
        Some(libc::EINVAL) if !frame.is_wire_ready() => DropReason::MalformedOffload,
        _ => DropReason::PortError,
    }
}
