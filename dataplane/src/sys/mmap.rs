//! Memory that a descriptor shares with the kernel (mmap(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// A mapped range of a descriptor, unmapped on drop.
///
/// It hands out only its address and length: who may touch which byte, and how, is for its owner to know, since the
/// kernel writes to the same memory.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address range owned by the process; nothing about it belongs to a thread, and it
// dereferences nothing itself.
unsafe impl Send for Mapping {}

impl Mapping {
    /// `len` bytes of `fd` from `offset` on, shared and faulted in at once.
    ///
    /// # Errors
    /// `EINVAL` for no bytes, or an offset that the descriptor does not know; `ENOMEM`.
    pub(super) fn shared(fd: BorrowedFd<'_>, offset: i64, len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: without MAP_FIXED a new mapping replaces nothing that exists.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// The first byte; page aligned.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes mapped.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `shared` mapped exactly this range, and only the owner of the mapping knew of it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
