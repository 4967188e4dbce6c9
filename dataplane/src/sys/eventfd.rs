//! A doorbell between threads: one rings, the other finds it readable in `poll` (eventfd(2)).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// A doorbell. It may be rung from any thread, any number of times, before it is cleared once.
#[derive(Debug)]
pub struct EventFd(File);

impl EventFd {
    /// A doorbell that has not been rung.
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointer.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(fd.into()))
    }

    /// Rings: the descriptor is readable until [`Self::clear`].
    pub fn ring(&self) {
        // The one possible refusal is a counter that is full, and a full counter is readable.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Takes the rings so far; whether there were any.
    pub fn clear(&self) -> bool {
        (&self.0).read(&mut [0; 8]).is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_add_up_to_one_clear() {
        let bell = EventFd::new().unwrap();
        assert!(!bell.clear());
        bell.ring();
        bell.ring();
        assert!(bell.clear());
        assert!(!bell.clear());
    }
}
