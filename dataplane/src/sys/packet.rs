//! Packet sockets: whole frames in and out of any device, beside the host's own stack (packet(7)).

mod batch;
mod rx_ring;
mod slots;
mod tx_ring;

pub use rx_ring::{Kept, RxRing, Slot};
pub use slots::LONGEST_IN_SLOT;
pub use tx_ring::TxRing;

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::ids::MacAddr;

use super::{Plain, check, context, option, set_option, socklen};

/// Bytes of `struct virtio_net_hdr`, which a socket for a port has beside every frame, both ways.
pub const VNET_HEADER_LENGTH: usize = 10;

/// A VLAN tag as it stands in a frame, behind the addresses: its EtherType and its control word.
pub type VlanTag = [u8; 4];

/// Bytes of frames that may wait in a socket each way. A super-frame takes 64 KiB and more, and a TCP window holds many.
const BUFFER: libc::c_int = 8 << 20;

/// A socket on one device. It never waits.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    ifindex: u32,
}

impl PacketSocket {
    /// A socket that sends on device `ifindex` of the calling thread's network namespace and receives every frame that
    /// arrives there.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`; `ENODEV` for no such device.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        let socket = Self::silent(ifindex)?;
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)?;
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
        socket.start()?;
        Ok(socket)
    }

    /// A socket for a port, and the ring that it receives by. Frames have their offload state in a `virtio_net_hdr` both ways,
    /// super-frames are whole, and VLAN tags out of them. It receives nothing before [`PacketSocket::start`]. Slots
    /// hold frames of up to `longest` bytes, at most [`LONGEST_IN_SLOT`].
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`; `OutOfMemory` for the ring.
    pub fn for_port(ifindex: u32, longest: usize) -> io::Result<(Self, RxRing)> {
        let socket = Self::silent(ifindex)?;
        for name in [libc::PACKET_IGNORE_OUTGOING, libc::PACKET_AUXDATA, libc::PACKET_VNET_HDR] {
            set_option(socket.as_fd(), libc::SOL_PACKET, name, &1)?;
        }
        socket.set_buffer(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)?;
        socket.set_buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)?;
        let ring = RxRing::new(&socket, longest).map_err(|e| context(e, "a packet socket's receive ring"))?;
        Ok((socket, ring))
    }

    /// Gives a direction its [`BUFFER`]; without the privilege to go beyond the system's limit, as much as that allows.
    fn set_buffer(&self, forced: libc::c_int, limited: libc::c_int) -> io::Result<()> {
        set_option(self.as_fd(), libc::SOL_SOCKET, forced, &BUFFER)
            .or_else(|_| set_option(self.as_fd(), libc::SOL_SOCKET, limited, &BUFFER))
    }

    /// A socket on device `ifindex` that receives nothing.
    ///
    /// # Errors
    /// As [`PacketSocket::open`].
    pub fn silent(ifindex: u32) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes no pointer.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })
            .map_err(|e| context(e, "a packet socket"))?;
        // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, ifindex })
    }

    /// From now on every frame that arrives on the device is received, and frames leave by it.
    ///
    /// # Errors
    /// `ENODEV` for no such device.
    pub fn start(&self) -> io::Result<()> {
        self.bind(u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be())
    }

    /// Frames leave by the device from now on, and those of this protocol, if any, are received from it.
    fn bind(&self, protocol: u16) -> io::Result<()> {
        let address = self.address(protocol);
        let length = socklen::<libc::sockaddr_ll>();
        // SAFETY: the kernel reads `length` bytes of a live, initialised address.
        check(unsafe { libc::bind(self.fd.as_raw_fd(), (&raw const address).cast(), length) })?;
        Ok(())
    }

    /// Shares what arrives with the other sockets of a group, flow by flow: those of `group`, or of a new group with this
    /// one as its first. Answers which. The socket is started.
    ///
    /// # Errors
    /// `EINVAL` for a group on another device.
    pub fn share(&self, group: Option<u16>) -> io::Result<u16> {
        let mode = libc::PACKET_FANOUT_HASH;
        let unique = if group.is_none() { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
        let wanted = (mode | unique) << 16 | u32::from(group.unwrap_or(0));
        set_option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT, &wanted)?;
        let [low, high, ..] =
            option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT, 0u32)?.to_le_bytes();
        Ok(u16::from_le_bytes([low, high]))
    }

    /// Has the device take frames for every address as long as this socket lives, however it ends.
    ///
    /// # Errors
    /// `ENODEV` for no such device.
    pub fn request_promiscuous(&self) -> io::Result<()> {
        self.request(libc::PACKET_MR_PROMISC, &[]).map_err(|e| context(e, "making a device promiscuous"))
    }

    /// Has the device take frames for this address too, a station's or a group's, as long as this socket lives.
    ///
    /// # Errors
    /// `ENODEV` for no such device.
    pub fn request_address(&self, address: MacAddr) -> io::Result<()> {
        let kind = if address.is_group() { libc::PACKET_MR_MULTICAST } else { libc::PACKET_MR_UNICAST };
        self.request(kind, &address.octets())
            .map_err(|e| context(e, format_args!("having a device take frames for {address}")))
    }

    fn request(&self, kind: libc::c_int, address: &[u8]) -> io::Result<()> {
        let mut membership = libc::packet_mreq {
            mr_ifindex: i32::try_from(self.ifindex).unwrap_or(-1),
            mr_type: u16::try_from(kind).unwrap_or_default(),
            mr_alen: u16::try_from(address.len()).unwrap_or_default(),
            mr_address: [0; 8],
        };
        membership.mr_address[..address.len()].copy_from_slice(address);
        set_option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)
    }

    /// Whether the device that the socket was started on is there, up or down, in the namespace where it was. An error
    /// that waits to be told (that the device went down) is forgotten.
    pub fn has_device(&self) -> bool {
        // Until it is told, the socket polls as ready.
        let _ = option(self.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR, 0);
        let mut address = self.address(0);
        let mut length = socklen::<libc::sockaddr_ll>();
        // SAFETY: the kernel writes at most `length` bytes to a live address, of which any bytes are a value.
        let answer = check(unsafe {
            libc::getsockname(self.fd.as_raw_fd(), (&raw mut address).cast(), &raw mut length)
        });
        answer.is_ok() && u32::try_from(address.sll_ifindex) == Ok(self.ifindex)
    }

    /// Frames that the kernel dropped before this socket, which was full, since the last time it was asked.
    ///
    /// # Errors
    /// None that is known of.
    pub fn take_dropped(&self) -> io::Result<u32> {
        let none = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        Ok(option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, none)?.tp_drops)
    }

    /// Sends one frame, from the destination address on.
    ///
    /// # Errors
    /// `EMSGSIZE` when it is longer than the MTU allows; `ENETDOWN`, `ENXIO` when the device is down or gone;
    /// `WouldBlock`, `ENOBUFS` when its queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let address = self.address(0);
        let length = socklen::<libc::sockaddr_ll>();
        let (fd, start, len) = (self.fd.as_raw_fd(), frame.as_ptr(), frame.len());
        // SAFETY: the kernel reads `len` bytes of the slice and `length` of a live, initialised address.
        let sent = unsafe { libc::sendto(fd, start.cast(), len, 0, (&raw const address).cast(), length) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Receives one frame, and answers its length. One longer than `buffer` is cut off. The VLAN tag that the kernel took
    /// out of it is back in its place.
    ///
    /// # Errors
    /// `WouldBlock` when none is there; `ENETDOWN` once when the device went down.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (received, tag) = self.receive_parts(&mut [IoSliceMut::new(buffer)])?;
        Ok(put_back(tag, buffer, received))
    }

    /// Receives a frame that was too long for the ring into `buffer`, with its `virtio_net_hdr` and the tag that was taken
    /// out of it. One longer than `buffer` is cut off.
    ///
    /// # Errors
    /// `WouldBlock` when none is there.
    pub fn receive_long(
        &self,
        header: &mut [u8; VNET_HEADER_LENGTH],
        buffer: &mut [u8],
    ) -> io::Result<(usize, Option<VlanTag>)> {
        let parts = &mut [IoSliceMut::new(header), IoSliceMut::new(buffer)];
        let received = match self.receive_parts(parts) {
            // That the device went down is told before what came until then.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => self.receive_parts(parts),
            result => result,
        };
        received.map(|(length, tag)| (length.saturating_sub(VNET_HEADER_LENGTH), tag))
    }

    fn receive_parts(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<(usize, Option<VlanTag>)> {
        let mut control = [0; CONTROL];
        // SAFETY: a msghdr of zeros says that there is nothing of anything.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        // An IoSliceMut is an iovec (its documentation promises it).
        (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr().cast(), parts.len());
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), control.len());
        // SAFETY: the message points to the parts and to `control`, each live, writable and as long as it says.
        let received = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0) };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok((received, removed_tag(&control)))
    }

    fn address(&self, protocol: u16) -> libc::sockaddr_ll {
        libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
            sll_protocol: protocol,
            sll_ifindex: i32::try_from(self.ifindex).unwrap_or(-1),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        }
    }
}

/// A control message's header, and behind it a `struct tpacket_auxdata` of 20 bytes.
const CONTROL: usize = size_of::<libc::cmsghdr>() + 24;

/// The tag that the kernel took out of a frame (`PACKET_AUXDATA`), if any.
fn removed_tag(control: &[u8; CONTROL]) -> Option<VlanTag> {
    let auxdata = &control[size_of::<libc::cmsghdr>()..];
    let half = |at: usize| u16::from_ne_bytes([auxdata[at], auxdata[at + 1]]);
    let status = u32::from_ne_bytes([auxdata[0], auxdata[1], auxdata[2], auxdata[3]]);
    tag(status, half(18), half(16))
}

/// The tag of this EtherType and control word, if `status` says that there is one.
#[inline]
fn tag(status: u32, ether_type: u16, control: u16) -> Option<VlanTag> {
    let ([a, b], [c, d]) = (ether_type.to_be_bytes(), control.to_be_bytes());
    (status & libc::TP_STATUS_VLAN_VALID != 0).then_some([a, b, c, d])
}

/// Puts a tag behind the addresses of the frame of `length` bytes, and answers its new length.
fn put_back(tag: Option<VlanTag>, buffer: &mut [u8], length: usize) -> usize {
    const ADDRESSES: usize = 12;
    let Some(tag) = tag.filter(|_| length >= ADDRESSES && buffer.len() >= ADDRESSES + 4) else {
        return length;
    };
    let end = (length + 4).min(buffer.len());
    buffer.copy_within(ADDRESSES..end - 4, ADDRESSES + 4);
    buffer[ADDRESSES..ADDRESSES + 4].copy_from_slice(&tag);
    end
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

// SAFETY: integers throughout, without padding.
unsafe impl Plain for libc::packet_mreq {}
// SAFETY: integers.
unsafe impl Plain for libc::tpacket_stats {}
