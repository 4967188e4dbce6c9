//! An AF_XDP socket: packet memory registered, four rings, bound to one queue of one device.

use super::mmap::Mapping;
use super::ring::{Consumer, Descriptor, Layout, Producer, Slot};
use super::{Plain, check, option, set_option, socklen};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Bytes the kernel leaves free before received data, beside a UMEM's own headroom (`XDP_PACKET_HEADROOM`).
pub const RX_HEADROOM: u32 = 256;

/// Memory that the kernel may receive into and send from.
///
/// # Safety
/// `bytes` bytes from `address` on, page aligned, are allocated for as long as the value lives. They are never
/// borrowed as a whole: whoever makes references to a part of them does so only while that part is not lent, that is
/// between its address's coming back from a ring and its being pushed on one again.
pub unsafe trait PacketMemory {
    /// Where it starts.
    fn address(&self) -> usize;
    /// Bytes, a multiple of the chunk.
    fn bytes(&self) -> usize;
}

/// How packet memory is cut for the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Umem {
    /// Bytes per chunk, 2048 or 4096.
    pub chunk: u32,
    /// Bytes to leave free before received data, beside [`RX_HEADROOM`].
    pub headroom: u32,
    /// Bytes of transmit metadata directly before a frame that carries [`Descriptor::METADATA`]; 0 for none.
    pub tx_metadata: u32,
}

/// Slots per ring, each a power of two.
#[derive(Clone, Copy, Debug)]
pub struct RingSizes {
    /// Free chunks for the kernel to receive into.
    pub fill: u32,
    /// Chunks the kernel has sent.
    pub completion: u32,
    /// Frames received.
    pub rx: u32,
    /// Frames to send.
    pub tx: u32,
}

/// How a socket binds to its queue.
#[derive(Clone, Copy, Debug)]
pub struct Bind {
    /// The device, in the network namespace of the calling thread.
    pub ifindex: u32,
    /// Its queue, from 0.
    pub queue: u32,
    /// True for zero-copy or an error; false for copy mode.
    pub zero_copy: bool,
    /// Frames may span several descriptors.
    pub frags: bool,
}

/// What the kernel dropped or refused on one socket (`struct xdp_statistics`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Statistics {
    /// Received frames dropped for want of a chunk, or too long.
    pub rx_dropped: u64,
    /// Fill ring addresses outside the memory.
    pub rx_invalid: u64,
    /// Transmit descriptors refused.
    pub tx_invalid: u64,
    /// Received frames dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// Times the kernel found the fill ring empty.
    pub rx_fill_ring_empty: u64,
    /// Times the kernel found the transmit ring empty.
    pub tx_ring_empty: u64,
}

/// A socket and its rings. The rings stay mapped, and harmless, even after the device is gone.
#[derive(Debug)]
pub struct Socket {
    /// Free chunks for the kernel: any address in a chunk, which is masked to its start.
    pub fill: Producer<u64>,
    /// Chunks sent: the address given for sending.
    pub completion: Consumer<u64>,
    /// Frames received.
    pub rx: Consumer<Descriptor>,
    /// Frames to send.
    pub tx: Producer<Descriptor>,
    // Last: the rings unmap first.
    fd: OwnedFd,
}

impl Socket {
    /// A socket in the calling thread's network namespace, `memory` registered. The kernel pins the pages, so they
    /// outlive `memory` if they must; nothing moves before [`Socket::bind`].
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`, `EAFNOSUPPORT` without AF_XDP in the kernel, `ENOBUFS` over the memlock limit,
    /// `EINVAL` for sizes the kernel does not take.
    pub fn open(memory: &impl PacketMemory, umem: Umem, sizes: RingSizes) -> io::Result<Self> {
        // SAFETY: no pointer is passed.
        let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: a descriptor just made, that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        register(fd.as_fd(), memory, umem)?;
        let set = |name, size: u32| set_option(fd.as_fd(), libc::SOL_XDP, name, &size);
        set(libc::XDP_UMEM_FILL_RING, sizes.fill)?;
        set(libc::XDP_UMEM_COMPLETION_RING, sizes.completion)?;
        set(libc::XDP_RX_RING, sizes.rx)?;
        set(libc::XDP_TX_RING, sizes.tx)?;

        let at: libc::xdp_mmap_offsets =
            option(fd.as_fd(), libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, ZERO_OFFSETS)?;
        let fd_ref = fd.as_fd();
        Ok(Self {
            fill: producer(fd_ref, at.fr, libc::XDP_UMEM_PGOFF_FILL_RING.cast_signed(), sizes.fill)?,
            completion: consumer(
                fd_ref,
                at.cr,
                libc::XDP_UMEM_PGOFF_COMPLETION_RING.cast_signed(),
                sizes.completion,
            )?,
            rx: consumer(fd_ref, at.rx, libc::XDP_PGOFF_RX_RING, sizes.rx)?,
            tx: producer(fd_ref, at.tx, libc::XDP_PGOFF_TX_RING, sizes.tx)?,
            fd,
        })
    }

    /// Bind to a queue, with need-wakeup.
    ///
    /// # Errors
    /// `EBUSY` while another socket has the queue, also shortly after that one closed; `EOPNOTSUPP` when the driver
    /// lacks zero-copy or frags; `ENODEV`, `EINVAL` for no such device or queue.
    pub fn bind(&self, bind: Bind) -> io::Result<()> {
        let mut flags = libc::XDP_USE_NEED_WAKEUP;
        flags |= if bind.zero_copy { libc::XDP_ZEROCOPY } else { libc::XDP_COPY };
        if bind.frags {
            flags |= libc::XDP_USE_SG;
        }
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP.unsigned_abs().try_into().unwrap_or_default(),
            sxdp_flags: flags,
            sxdp_ifindex: bind.ifindex,
            sxdp_queue_id: bind.queue,
            sxdp_shared_umem_fd: 0,
        };
        let length = socklen::<libc::sockaddr_xdp>();
        // SAFETY: the kernel reads `length` bytes of a live, initialised address.
        check(unsafe { libc::bind(self.fd.as_raw_fd(), (&raw const address).cast(), length) }).map(drop)
    }

    /// Let one transmit call in copy mode send up to `frames` instead of 32. Older kernels (before 6.17) do not know
    /// the option; then nothing changes.
    pub fn raise_tx_budget(&self, frames: u32) {
        const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
        // A larger budget only saves system calls, so failure changes nothing that matters.
        let _ = set_option(self.fd.as_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &frames);
    }

    /// Whether the kernel bound this socket in zero-copy mode.
    ///
    /// # Errors
    /// What `getsockopt(2)` answers.
    pub fn is_zero_copy(&self) -> io::Result<bool> {
        let options = libc::xdp_options { flags: 0 };
        let options = option(self.fd.as_fd(), libc::SOL_XDP, libc::XDP_OPTIONS, options)?;
        Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// What the kernel dropped on this socket so far.
    ///
    /// # Errors
    /// What `getsockopt(2)` answers.
    pub fn statistics(&self) -> io::Result<Statistics> {
        let seen = option(self.fd.as_fd(), libc::SOL_XDP, libc::XDP_STATISTICS, ZERO_STATISTICS)?;
        Ok(Statistics {
            rx_dropped: seen.rx_dropped,
            rx_invalid: seen.rx_invalid_descs,
            tx_invalid: seen.tx_invalid_descs,
            rx_ring_full: seen.rx_ring_full,
            rx_fill_ring_empty: seen.rx_fill_ring_empty_descs,
            tx_ring_empty: seen.tx_ring_empty_descs,
        })
    }

    /// Have the kernel send what the transmit ring holds.
    ///
    /// # Errors
    /// `EAGAIN`, `EBUSY` and `ENOBUFS` are routine: reap completions and call again later. `ENETDOWN`: the device is
    /// down; `ENXIO`: it is gone.
    pub fn kick_tx(&self) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        // SAFETY: no buffer is passed, and none is read for a length of zero.
        let sent = unsafe { libc::sendto(fd, std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Have the driver look at the fill ring.
    ///
    /// # Errors
    /// As [`Socket::kick_tx`].
    pub fn kick_rx(&self) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        let nobody = std::ptr::null_mut();
        // SAFETY: no buffer is passed, and none is written for a length of zero.
        let received = unsafe {
            libc::recvfrom(fd, std::ptr::null_mut(), 0, libc::MSG_DONTWAIT, nobody, std::ptr::null_mut())
        };
        if received < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

// SAFETY: integers throughout, without padding.
unsafe impl Plain for libc::xdp_umem_reg {}
// SAFETY: integers throughout, without padding.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: integers throughout, without padding.
unsafe impl Plain for libc::xdp_statistics {}
// SAFETY: one integer.
unsafe impl Plain for libc::xdp_options {}

const ZERO_OFFSET: libc::xdp_ring_offset =
    libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
const ZERO_OFFSETS: libc::xdp_mmap_offsets =
    libc::xdp_mmap_offsets { rx: ZERO_OFFSET, tx: ZERO_OFFSET, fr: ZERO_OFFSET, cr: ZERO_OFFSET };
const ZERO_STATISTICS: libc::xdp_statistics = libc::xdp_statistics {
    rx_dropped: 0,
    rx_invalid_descs: 0,
    tx_invalid_descs: 0,
    rx_ring_full: 0,
    rx_fill_ring_empty_descs: 0,
    tx_ring_empty_descs: 0,
};

fn register(fd: BorrowedFd<'_>, memory: &impl PacketMemory, umem: Umem) -> io::Result<()> {
    let region = libc::xdp_umem_reg {
        addr: memory.address() as u64,
        len: memory.bytes() as u64,
        chunk_size: umem.chunk,
        headroom: umem.headroom,
        flags: if umem.tx_metadata > 0 { libc::XDP_UMEM_TX_METADATA_LEN } else { 0 },
        tx_metadata_len: umem.tx_metadata,
    };
    set_option(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &region)
}

fn producer<T: Slot>(
    fd: BorrowedFd<'_>,
    at: libc::xdp_ring_offset,
    page: i64,
    size: u32,
) -> io::Result<Producer<T>> {
    let (mapping, layout) = map_ring::<T>(fd, at, page, size)?;
    Producer::new(mapping, layout, size)
}

fn consumer<T: Slot>(
    fd: BorrowedFd<'_>,
    at: libc::xdp_ring_offset,
    page: i64,
    size: u32,
) -> io::Result<Consumer<T>> {
    let (mapping, layout) = map_ring::<T>(fd, at, page, size)?;
    Consumer::new(mapping, layout, size)
}

fn map_ring<T>(
    fd: BorrowedFd<'_>,
    at: libc::xdp_ring_offset,
    page: i64,
    size: u32,
) -> io::Result<(Mapping, Layout)> {
    let offset = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let layout = Layout {
        producer: offset(at.producer),
        consumer: offset(at.consumer),
        flags: offset(at.flags),
        slots: offset(at.desc),
    };
    let mapping = Mapping::shared(fd, page, layout.bytes::<T>(size))?;
    Ok((mapping, layout))
}
