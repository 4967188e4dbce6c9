//! Waiting for any of a prepared set of descriptors (poll(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::check;

/// What to wait for on a descriptor. Errors and hang-ups always wake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// Either.
    ReadWrite,
    /// That nobody is at the other end any more, and nothing else.
    HangUp,
}

/// A set of descriptors to wait on, prepared once and waited on often.
///
/// The set does not keep its descriptors open. One that was closed wakes every wait as
/// [`Readiness::error`], so whoever closes one clears the set.
#[derive(Default, Debug)]
pub struct PollSet {
    entries: Vec<libc::pollfd>,
}

/// What the last wait found on one descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// There is something to read.
    pub read: bool,
    /// There is room to write.
    pub write: bool,
    /// Error, hang-up, or not an open descriptor.
    pub error: bool,
}

impl PollSet {
    /// A set of no descriptors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a descriptor and answers its index in the set.
    pub fn add(&mut self, fd: &impl AsFd, interest: Interest) -> usize {
        let events = match interest {
            Interest::Read => libc::POLLIN,
            Interest::Write => libc::POLLOUT,
            Interest::ReadWrite => libc::POLLIN | libc::POLLOUT,
            Interest::HangUp => 0, // errors are told unasked
        };
        self.entries.push(libc::pollfd { fd: fd.as_fd().as_raw_fd(), events, revents: 0 });
        self.entries.len() - 1
    }

    /// Removes every descriptor; the set's memory stays.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Waits until a descriptor is ready or `timeout` (whole milliseconds, rounded up; `None`: for ever)
    /// has passed, and answers how many are ready. A signal ends the wait early with 0.
    ///
    /// # Errors
    /// The kernel's, when there are more descriptors than the process may have open.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout_ms = match timeout {
            Some(timeout) => i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX),
            None => -1,
        };
        let count = libc::nfds_t::try_from(self.entries.len()).unwrap_or(libc::nfds_t::MAX);
        // SAFETY: `entries` holds `count` pollfds and is borrowed for the whole call.
        let ready = check(unsafe { libc::poll(self.entries.as_mut_ptr(), count, timeout_ms) });
        match ready {
            Ok(ready) => Ok(usize::try_from(ready).unwrap_or(0)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                // The kernel has written nothing; what an earlier wait found is old news.
                self.entries.iter_mut().for_each(|entry| entry.revents = 0);
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// What the last [`Self::wait`] found on the descriptor of this index.
    ///
    /// # Panics
    /// When `index` was not answered by [`Self::add`] since the last [`Self::clear`].
    pub fn readiness(&self, index: usize) -> Readiness {
        let events = self.entries[index].revents;
        Readiness {
            read: events & libc::POLLIN != 0,
            write: events & libc::POLLOUT != 0,
            error: events & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::eventfd::EventFd;

    #[test]
    fn the_rung_bell_is_the_one_that_is_ready() {
        let bells = [EventFd::new().unwrap(), EventFd::new().unwrap()];
        let mut set = PollSet::new();
        let [silent, rung] = bells.each_ref().map(|bell| set.add(bell, Interest::Read));
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0);
        bells[1].ring();
        assert_eq!(set.wait(None).unwrap(), 1);
        assert!(set.readiness(rung).read);
        assert!(!set.readiness(silent).read);
    }

    #[test]
    fn a_pipe_whose_reader_has_gone_wakes_whoever_waits_for_that() {
        let (reader, writer) = io::pipe().unwrap();
        let mut set = PollSet::new();
        set.add(&writer, Interest::HangUp);
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0, "that there is room is not asked for");
        drop(reader);
        assert_eq!(set.wait(None).unwrap(), 1);
        assert!(set.readiness(0).error);
    }

    #[test]
    fn a_ring_from_another_thread_ends_the_wait() {
        let bell = EventFd::new().unwrap();
        let mut set = PollSet::new();
        set.add(&bell, Interest::Read);
        std::thread::scope(|scope| {
            scope.spawn(|| bell.ring());
            assert_eq!(set.wait(None).unwrap(), 1);
        });
    }

    #[test]
    fn a_closed_descriptor_wakes_as_an_error() {
        let mut set = PollSet::new();
        // A number above any limit cannot be reused by another thread while this test looks.
        set.entries.push(libc::pollfd { fd: i32::MAX, events: libc::POLLIN, revents: 0 });
        assert_eq!(set.wait(None).unwrap(), 1);
        assert!(set.readiness(0).error);
    }
}
