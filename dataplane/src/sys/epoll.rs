//! Many descriptors as one: readable when any of them is (epoll(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// A set of descriptors that is one itself, for whoever can wait for one only. A descriptor leaves it by being closed.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A set of none.
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 takes no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds a descriptor: from now on the set is readable while this one is.
    ///
    /// # Errors
    /// `AlreadyExists` for one that is in the set; the kernel's for one that cannot be waited for.
    pub fn add(&self, fd: &impl AsFd) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: 0 };
        let (set, fd) = (self.0.as_raw_fd(), fd.as_fd().as_raw_fd());
        // SAFETY: `event` is an epoll_event that lives across the call, which keeps a copy.
        check(unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, &raw mut event) }).map(drop)
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::eventfd::EventFd;
    use super::super::poll::{Interest, PollSet};
    use super::*;

    #[test]
    fn the_set_is_readable_while_one_of_it_is() {
        let (set, bells) = (Epoll::new().unwrap(), [EventFd::new().unwrap(), EventFd::new().unwrap()]);
        bells.iter().for_each(|bell| set.add(bell).unwrap());
        let readable = || {
            let mut poll = PollSet::new();
            poll.add(&set, Interest::Read);
            poll.wait(Some(std::time::Duration::ZERO)).unwrap() == 1
        };
        assert!(!readable());
        bells[1].ring();
        assert!(readable() && readable());
        assert!(bells[1].clear());
        assert!(!readable());
        bells[0].ring();
        let [first, _second] = bells;
        drop(first);
        assert!(!readable(), "what is closed is in it no more");
    }
}
