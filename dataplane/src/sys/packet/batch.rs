//! Frames sent many to a system call (sendmmsg(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use arrayvec::ArrayVec;

use super::{PacketSocket, VNET_HEADER_LENGTH};

/// The most frames that one call sends.
const BATCH: usize = 64;

impl PacketSocket {
    /// Sends the first of `frames`, up to 64, each with its `virtio_net_hdr`, and answers how many: those before the first
    /// that the kernel refused.
    ///
    /// # Errors
    /// What the kernel has against the very first: `WouldBlock` when the socket's frames on their way are too many; `ENOBUFS`
    /// when the device's queue was full and the frame is lost; `EMSGSIZE`, `EINVAL` for its length or its header;
    /// `ENETDOWN` while the device is down; `ENXIO` when it is gone.
    pub fn send_batch<'f>(
        &self,
        frames: impl Iterator<Item = ([u8; VNET_HEADER_LENGTH], &'f [u8])>,
    ) -> io::Result<usize> {
        let frames: ArrayVec<_, BATCH> = frames.take(BATCH).collect();
        let part =
            |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut parts: ArrayVec<_, BATCH> =
            frames.iter().map(|(header, bytes)| [part(header), part(bytes)]).collect();
        let mut messages: ArrayVec<_, BATCH> = parts.iter_mut().map(message).collect();
        let count = libc::c_uint::try_from(messages.len()).unwrap_or_default();
        // SAFETY: there are `count` messages, and all they point to lives across the call; of it the kernel writes only
        // to the messages' lengths.
        let sent = unsafe { libc::sendmmsg(self.as_fd().as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// A message of these parts, to where the socket is bound.
fn message(parts: &mut [libc::iovec; 2]) -> libc::mmsghdr {
    let header = libc::msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: parts.as_mut_ptr(),
        msg_iovlen: parts.len(),
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    };
    libc::mmsghdr { msg_hdr: header, msg_len: 0 }
}
