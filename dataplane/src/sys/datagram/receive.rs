//! Datagrams received many to a system call (recvmmsg(2)), each perhaps several that the kernel has put together.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use arrayvec::ArrayVec;

use super::controls::{Controls, Name, ROOM};
use super::{DatagramSocket, Header};

/// Messages that one call receives at the most, and bytes of the longest: no IP packet is longer.
const MESSAGES: usize = 8;
const LONGEST: usize = 1 << 16;

/// Room for what one call receives, and what of it has not been taken out.
#[derive(Debug)]
pub struct Inbox {
    bytes: Box<[u8]>,
    messages: ArrayVec<Message, MESSAGES>,
    next: usize,
    offset: usize, // in the next message
}

#[derive(Debug)]
struct Message {
    header: Header,
    length: usize,
    /// Bytes of each datagram in it but the last.
    segment: usize,
}

/// One datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received<'i> {
    /// What its header said, but for the hops that are left.
    pub header: Header,
    /// What is in it. From a raw socket that is the whole packet.
    pub payload: &'i [u8],
}

impl Default for Inbox {
    fn default() -> Self {
        let bytes = vec![0; MESSAGES * LONGEST].into();
        Self { bytes, messages: ArrayVec::new(), next: 0, offset: 0 }
    }
}

impl Inbox {
    /// The next datagram that nobody has taken out.
    pub fn take(&mut self) -> Option<Received<'_>> {
        let (at, message) = (self.next, self.messages.get(self.next)?);
        let start = self.offset;
        let end = (start + message.segment).min(message.length);
        self.offset = end;
        if end == message.length {
            (self.next, self.offset) = (at + 1, 0);
        }
        let payload = &self.bytes[at * LONGEST..][start..end];
        Some(Received { header: message.header, payload })
    }
}

impl DatagramSocket {
    /// Receives what is there, as much as the inbox takes, whose last was taken out. Answers how many messages.
    ///
    /// # Errors
    /// `WouldBlock` when none is there; what the kernel was told of an earlier one that was sent.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<usize> {
        inbox.messages.clear();
        (inbox.next, inbox.offset) = (0, 0);
        let mut names = [Name::EMPTY; MESSAGES];
        let mut controls = [Controls::EMPTY; MESSAGES];
        let mut parts: ArrayVec<_, MESSAGES> = inbox
            .bytes
            .chunks_exact_mut(LONGEST)
            .map(|room| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() })
            .collect();
        let rooms = parts.iter_mut().zip(&mut names).zip(&mut controls);
        let mut headers: ArrayVec<_, MESSAGES> = rooms
            .map(|((part, name), controls)| libc::mmsghdr {
                msg_hdr: libc::msghdr {
                    msg_name: name.0.as_mut_ptr().cast(),
                    msg_namelen: u32::try_from(name.0.len()).unwrap_or_default(),
                    msg_iov: ptr::from_mut(part),
                    msg_iovlen: 1,
                    msg_control: controls.bytes.as_mut_ptr().cast(),
                    msg_controllen: ROOM,
                    msg_flags: 0,
                },
                msg_len: 0,
            })
            .collect();
        let count = libc::c_uint::try_from(headers.len()).unwrap_or_default();
        let fd = self.as_fd().as_raw_fd();
        // SAFETY: there are `count` messages, and all they point to lives across the call, is writable and as long as they say.
        let received =
            unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, ptr::null_mut()) };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let lengths: ArrayVec<_, MESSAGES> =
            headers.iter().map(|header| (header.msg_len as usize, header.msg_hdr.msg_controllen)).collect();
        for ((&(length, told), name), controls) in lengths.iter().zip(&names).zip(&controls).take(received) {
            let (source, port) = name.read(self.is_ipv6());
            let (to, tos, segment) = controls.read(told);
            let destination = to.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let header = Header { source, destination, port, tos, ttl: DEFAULT_TTL };
            let segment = segment.filter(|&bytes| bytes > 0).map_or(length, usize::from);
            inbox.messages.push(Message { header, length: length.min(LONGEST), segment });
        }
        Ok(received)
    }
}

/// What stands for the hops that are left, which matter to nobody at a packet's end.
const DEFAULT_TTL: u8 = 64;
