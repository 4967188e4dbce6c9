//! Packet sockets: whole frames in and out of any device, beside the host's own stack (packet(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Plain, check, context, set_option, socklen};

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
        let everything = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
        let socket = Self::silent(ifindex)?;
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)?;
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
        let address = socket.address(everything);
        let length = socklen::<libc::sockaddr_ll>();
        // SAFETY: the kernel reads `length` bytes of a live, initialised address.
        check(unsafe { libc::bind(socket.fd.as_raw_fd(), (&raw const address).cast(), length) })?;
        Ok(socket)
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

    /// Has the device take frames for every address as long as this socket lives, however it ends.
    ///
    /// # Errors
    /// `ENODEV` for no such device.
    pub fn request_promiscuous(&self) -> io::Result<()> {
        let membership = libc::packet_mreq {
            mr_ifindex: i32::try_from(self.ifindex).unwrap_or(-1),
            mr_type: u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or_default(),
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set_option(self.as_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)
            .map_err(|e| context(e, "making a device promiscuous"))
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
        let mut control = [0; CONTROL];
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a msghdr of zeros says that there is nothing of anything.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), control.len());
        // SAFETY: the message points to the slice and to `control`, each live, writable and as long as it says.
        let received = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0) };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(put_back(removed_tag(&control), buffer, received))
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

/// The tag that the kernel took out of a frame (packet(7), `PACKET_AUXDATA`), if any.
fn removed_tag(control: &[u8; CONTROL]) -> Option<[u8; 4]> {
    let auxdata = &control[size_of::<libc::cmsghdr>()..];
    let half = |at: usize| u16::from_ne_bytes([auxdata[at], auxdata[at + 1]]);
    let status = u32::from_ne_bytes([auxdata[0], auxdata[1], auxdata[2], auxdata[3]]);
    let [tci, tpid] = [half(16), half(18)].map(u16::to_be_bytes);
    (status & libc::TP_STATUS_VLAN_VALID != 0).then_some([tpid[0], tpid[1], tci[0], tci[1]])
}

/// Puts a tag behind the addresses of the frame of `length` bytes, and answers its new length.
fn put_back(tag: Option<[u8; 4]>, buffer: &mut [u8], length: usize) -> usize {
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
