//! The groups that a port on the host's sockets takes part in, by whichever of the host's devices has an address: joined anew when that is another.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use super::End;
use crate::sys::addresses::{AddressNews, Addresses};
use crate::sys::context;

/// Which, and by which devices.
#[derive(Debug)]
pub(super) struct Groups {
    /// Each with an address of the device.
    wanted: BTreeSet<(IpAddr, IpAddr)>,
    /// Each with the number of the device.
    joined: BTreeSet<(IpAddr, u32)>,
    is_complete: bool,
    addresses: Addresses,
}

impl Groups {
    /// None yet, in the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        let addresses = Addresses::open()?;
        Ok(Self { wanted: BTreeSet::new(), joined: BTreeSet::new(), is_complete: true, addresses })
    }

    /// Takes part in these and in no others.
    pub(super) fn take_part(&mut self, ends: &[End], wanted: &BTreeSet<(IpAddr, IpAddr)>) -> io::Result<()> {
        if self.is_complete && self.wanted == *wanted {
            return Ok(());
        }
        self.wanted.clone_from(wanted);
        self.settle(ends)
    }

    /// Acts on what the kernel told of addresses since the last call; `None` if that was nothing.
    pub(super) fn follow(&mut self, ends: &[End]) -> Option<io::Result<()>> {
        let news = self.addresses.news();
        for news in &news {
            let is_lost = |by: u32| match *news {
                AddressNews::Here => false,
                // A device that is made again may have the number of the one that went.
                AddressNews::Gone(index) => by == index,
                AddressNews::Missed => true,
            };
            self.leave(ends, |(_, by)| is_lost(by));
        }
        (!news.is_empty() && !self.wanted.is_empty()).then(|| self.settle(ends))
    }

    /// Brings about what is wanted, as far as it can be; the first that cannot.
    fn settle(&mut self, ends: &[End]) -> io::Result<()> {
        let host = if self.wanted.is_empty() { Vec::new() } else { self.addresses.all()? };
        let mut result = Ok(());
        let mut resolved = BTreeSet::new();
        for &(group, local) in &self.wanted {
            match host.iter().find(|(_, address)| *address == local) {
                Some(&(index, _)) => {
                    resolved.insert((group, index));
                }
                None => {
                    let none = io::Error::from(io::ErrorKind::AddrNotAvailable);
                    let what = format_args!("{local}, by whose device it takes part in {group}");
                    result = result.and(Err(context(none, what)));
                }
            }
        }
        self.leave(ends, |at| !resolved.contains(&at));
        for at in resolved {
            if !self.joined.contains(&at) {
                match set(ends, at, true) {
                    Ok(()) => drop(self.joined.insert(at)),
                    Err(error) => result = result.and(Err(context(error, format_args!("group {}", at.0)))),
                }
            }
        }
        self.is_complete = result.is_ok();
        result
    }

    /// Takes part no more in what this says.
    fn leave(&mut self, ends: &[End], is_it: impl Fn((IpAddr, u32)) -> bool) {
        self.joined.retain(|&at| {
            // Where the device has gone, only the socket's own note of it is left.
            let _ = is_it(at).then(|| set(ends, at, false));
            !is_it(at)
        });
    }
}

/// By a UDP socket of the version of IP that the group is of. What one of the host's sockets takes part in, all hear.
fn set(ends: &[End], (group, device): (IpAddr, u32), takes_part: bool) -> io::Result<()> {
    let is_it = |end: &&End| end.is_udp() && end.socket.is_ipv6() == group.is_ipv6();
    let socket = ends.iter().find(is_it).map(|end| &end.socket);
    socket.map_or(Ok(()), |socket| socket.take_part(group, device, takes_part))
}
