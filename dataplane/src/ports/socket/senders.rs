//! The sockets that tunnels' UDP packets leave from: a few for each range of source ports, so that flows have ports of their own, and the network's
//! equal paths are all used.

use std::io;

use super::{SocketConfig, lacks_ipv6};
use crate::sys::datagram::DatagramSocket;
use crate::wire::flow::SourcePorts;

/// How many for each range and version of IP.
const PER_RANGE: u16 = 16;

/// The sockets, by version of IP and port.
#[derive(Debug)]
pub(super) struct Senders(Vec<Sender>);

#[derive(Debug)]
struct Sender {
    at: (bool, u16), // of IPv6, and the port
    socket: DatagramSocket,
}

impl Senders {
    /// Opens them in the calling thread's network namespace, as far as the host has ports left. The first of a range has its first port, if nobody
    /// else has.
    pub(super) fn open(config: &SocketConfig) -> io::Result<Self> {
        let mut senders = Vec::new();
        let default = [(0, 0)].into_iter().filter(|_| config.srcports.is_empty());
        let ranges = config.srcports.iter().copied().chain(default).filter(|_| !config.udp.is_empty());
        let parts = ranges.flat_map(|(first, last)| SourcePorts::new(first, last).parts(PER_RANGE));
        for (first, count) in parts {
            for is_ipv6 in [false, true] {
                match DatagramSocket::sender(first.max(1), count, is_ipv6) {
                    Ok(Some(socket)) => senders.push(Sender { at: (is_ipv6, socket.port()?), socket }),
                    Ok(None) => {}
                    Err(error) if is_ipv6 && lacks_ipv6(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        senders.sort_unstable_by_key(|sender| sender.at);
        Ok(Self(senders))
    }

    /// Other handles on the same sockets.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let clone = |of: &Sender| Ok(Sender { at: of.at, socket: of.socket.try_clone()? });
        self.0.iter().map(clone).collect::<io::Result<_>>().map(Self)
    }

    /// The one with the highest port that is not above `port`, which is in whatever range `port` is in; or the lowest.
    #[inline]
    pub(super) fn find(&self, is_ipv6: bool, port: u16) -> Option<usize> {
        let above = self.0.partition_point(|sender| sender.at <= (is_ipv6, port));
        let is_of_it = |place: &usize| self.0.get(*place).is_some_and(|sender| sender.at.0 == is_ipv6);
        above.checked_sub(1).filter(is_of_it).or(Some(above).filter(is_of_it))
    }

    #[inline]
    pub(super) fn socket(&self, place: usize) -> &DatagramSocket {
        &self.0[place].socket
    }
}
