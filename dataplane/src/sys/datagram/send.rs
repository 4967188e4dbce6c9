//! Datagrams sent many to a system call (sendmmsg(2)); those of one size and one way go as one, which the kernel or the device cuts
//! (`UDP_SEGMENT`).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use arrayvec::ArrayVec;

use super::controls::{Controls, Name};
use super::{DatagramSocket, Header};

/// The most datagrams that one call sends, and that one message is cut into (`UDP_MAX_SEGMENTS` was 64 before kernel 6.9).
const BATCH: usize = 64;

/// The most bytes that are cut: an IP packet's, less its headers.
const LONGEST: usize = 65_000;

/// What one call is to send.
#[derive(Debug, Default)]
pub struct Outbox<'f> {
    parts: ArrayVec<&'f [u8], BATCH>,
    messages: ArrayVec<Message, BATCH>,
}

#[derive(Debug)]
struct Message {
    header: Header,
    parts: usize,
    /// Bytes of the first part, which those after it have too, but for the last.
    segment: usize,
    bytes: usize,
    is_closed: bool,
}

impl<'f> Outbox<'f> {
    /// Adds a datagram, to the message before it if `may_join` and it goes the same way. Whether there was room.
    pub fn push(&mut self, header: Header, payload: &'f [u8], may_join: bool) -> bool {
        if self.parts.try_push(payload).is_err() {
            return false;
        }
        match self.messages.last_mut() {
            Some(last) if may_join && last.takes(&header, payload.len()) => {
                last.parts += 1;
                last.bytes += payload.len();
                last.is_closed = payload.len() < last.segment;
            }
            _ => {
                let bytes = payload.len();
                let message = Message { header, parts: 1, segment: bytes, bytes, is_closed: bytes == 0 };
                self.messages.push(message);
            }
        }
        true
    }

    /// How many datagrams the first `messages` messages have.
    pub fn datagrams(&self, messages: usize) -> usize {
        self.messages.iter().take(messages).map(|message| message.parts).sum()
    }
}

impl Message {
    fn takes(&self, header: &Header, bytes: usize) -> bool {
        let fits = bytes > 0 && bytes <= self.segment && self.bytes + bytes <= LONGEST;
        fits && !self.is_closed && self.header == *header
    }
}

impl DatagramSocket {
    /// Sends the first messages of `outbox`, and answers how many: those before the first that the kernel refused.
    ///
    /// # Errors
    /// What the kernel has against the very first: `WouldBlock` when those on their way are too many; `EMSGSIZE` for its length;
    /// `ENETUNREACH`, `EHOSTUNREACH` without a way there; `EINVAL` when its source is no address of the host's; what it was told of an
    /// earlier one.
    pub fn send(&self, outbox: &Outbox<'_>) -> io::Result<usize> {
        let mut parts: ArrayVec<_, BATCH> = outbox
            .parts
            .iter()
            .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() })
            .collect();
        let mut beside: ArrayVec<_, BATCH> = outbox.messages.iter().map(Message::beside).collect();
        let mut left = &mut parts[..];
        let mut messages = ArrayVec::<_, BATCH>::new();
        for (message, (name, length, controls)) in outbox.messages.iter().zip(&mut beside) {
            let (own, rest) = left.split_at_mut(message.parts);
            left = rest;
            let header = libc::msghdr {
                msg_name: name.0.as_mut_ptr().cast(),
                msg_namelen: u32::try_from(*length).unwrap_or_default(),
                msg_iov: own.as_mut_ptr(),
                msg_iovlen: own.len(),
                msg_control: controls.bytes.as_mut_ptr().cast(),
                msg_controllen: controls.length,
                msg_flags: 0,
            };
            messages.push(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
        let count = libc::c_uint::try_from(messages.len()).unwrap_or_default();
        let (fd, start) = (self.as_fd().as_raw_fd(), messages.as_mut_ptr());
        // SAFETY: there are `count` messages, and all they point to lives across the call; of it the kernel writes only
        // to the messages' lengths.
        let sent = unsafe { libc::sendmmsg(fd, start, count, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl Message {
    /// Where it goes, and what is said of it.
    fn beside(&self) -> (Name, usize, Controls) {
        let (name, length) = Name::of(self.header.destination, self.header.port);
        let segment = u16::try_from(self.segment).ok().filter(|_| self.parts > 1);
        (name, length, Controls::of(&self.header, segment))
    }
}
