//! A port on the host's own sockets: what tunnels send goes through its UDP and raw IP sockets, by its routes, its neighbours and
//! its firewall, and what comes to them comes in. No device is taken, and none of ours is needed.
//!
//! To the line it is a routed device without neighbours. A datagram that comes gets the headers that it came with again, so that tunnels take
//! it as any other; of a packet that leaves only what is behind its IP and UDP headers goes, and what they say beside it. Of its UDP source port there
//! is a socket near by.

mod groups;
mod senders;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use groups::Groups;
use senders::Senders;

use super::{PortGone, PortIo, PortQueue, SocketConfig};
use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, Checksum, Frame, Gso, GsoKind};
use crate::ids::MacAddr;
use crate::sys::datagram::{DatagramSocket, Header, Inbox, Outbox, Received};
use crate::sys::epoll::Epoll;
use crate::sys::netns::{Netns, inside};
use crate::wire::checksum::pseudo_header;
use crate::wire::ethernet::{self, EtherType, Ethernet, HEADER_LEN};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::layers::{Version, layers};
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp::{self, Udp};
use crate::wire::{IpProtocol, Malformed};

/// The sockets, which control opens and has as long as the port is there; a worker has them too.
#[derive(Debug)]
pub struct SocketDevice {
    ends: Vec<End>,
    senders: Senders,
    mac: MacAddr,
    mtu: usize,
    groups: Groups,
}

/// A socket and what it is for.
#[derive(Debug)]
struct End {
    kind: Kind,
    socket: DatagramSocket,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Udp(u16),
    Raw(IpProtocol),
}

impl End {
    fn is_udp(&self) -> bool {
        matches!(self.kind, Kind::Udp(_))
    }
}

impl SocketDevice {
    /// Opens the sockets in `netns`, or in the calling thread's namespace. Frames of what comes are for `mac`; what is longer than a
    /// packet of `mtu` bytes may be one that nobody has cut. What comes from now on waits for a worker.
    ///
    /// # Errors
    /// `AddrInUse` for a port that another program, or the kernel, takes packets at; `PermissionDenied` for IPIP without `CAP_NET_RAW`.
    pub fn open(config: &SocketConfig, netns: Option<&Netns>, mac: MacAddr, mtu: u16) -> io::Result<Self> {
        let open = || Ok::<_, io::Error>((ends(config)?, Senders::open(config)?, Groups::open()?));
        let (ends, senders, groups) = inside(netns, open)??;
        Ok(Self { ends, senders, mac, mtu: mtu.into(), groups })
    }

    /// Takes part in these groups and in no others, each by the host's device that has the address beside it.
    ///
    /// # Errors
    /// The host's about the first that it does not let us take part in, `AddrNotAvailable` where no device has the address; the others are in force.
    pub fn take_part(&mut self, groups: &BTreeSet<(IpAddr, IpAddr)>) -> io::Result<()> {
        self.groups.take_part(&self.ends, groups)
    }

    /// The same anew, where the host's addresses are others by now; `None` if nothing was told of them.
    pub fn follow(&mut self) -> Option<io::Result<()>> {
        self.groups.follow(&self.ends)
    }

    /// The one queue, on the same sockets.
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn open_queue(&self) -> io::Result<SocketQueue> {
        let ready = Epoll::new()?;
        let clone = |end: &End| Ok(End { kind: end.kind, socket: end.socket.try_clone()? });
        let ends = self.ends.iter().map(clone).collect::<io::Result<Vec<_>>>()?;
        ends.iter().try_for_each(|end| ready.add(&end.socket))?;
        let (senders, mac, mtu, inbox) = (self.senders.try_clone()?, self.mac, self.mtu, Inbox::default());
        Ok(SocketQueue { ends, senders, mac, mtu, inbox, of: 0, turn: 0, alone: 0, told: 0, ready })
    }
}

fn ends(config: &SocketConfig) -> io::Result<Vec<End>> {
    let mut ends = Vec::new();
    for &port in &config.udp {
        for is_ipv6 in [false, true] {
            match DatagramSocket::udp(port, is_ipv6) {
                Ok(socket) => ends.push(End { kind: Kind::Udp(port), socket }),
                // A host without IPv6 has no far ends of it either.
                Err(error) if is_ipv6 && lacks_ipv6(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    for protocol in [IpProtocol::IPV4, IpProtocol::IPV6].into_iter().filter(|_| config.ipip) {
        ends.push(End { kind: Kind::Raw(protocol), socket: DatagramSocket::raw(protocol.0)? });
    }
    Ok(ends)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
}

/// The sockets as a worker has them.
#[derive(Debug)]
pub struct SocketQueue {
    ends: Vec<End>,
    senders: Senders,
    mac: MacAddr,
    mtu: usize,
    inbox: Inbox,
    /// The socket that the inbox is from, and the one that is asked next.
    of: usize,
    turn: usize,
    /// Frames that are to go each by itself: one of them was refused when they went together.
    alone: usize,
    /// What the kernel told of datagrams sent before.
    told: u64,
    ready: Epoll,
}

/// What of a frame goes through a socket.
struct Parcel<'f> {
    by: By,
    header: Header,
    is_whole: bool, // it may not be fragmented
    payload: &'f [u8],
}

/// Which socket something is sent by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    End(usize),
    Sender(usize),
}

impl SocketQueue {
    #[inline]
    fn socket(&self, by: By) -> &DatagramSocket {
        match by {
            By::End(end) => &self.ends[end].socket,
            By::Sender(sender) => self.senders.socket(sender),
        }
    }

    /// The parcel that a frame is.
    ///
    /// # Errors
    /// If it is none: there is no socket for it.
    #[inline]
    fn parcel<'f>(&self, frame: &'f Frame) -> Result<Parcel<'f>, DropReason> {
        let ethernet = Ethernet::view(frame.bytes()).map_err(|_| DropReason::Truncated)?;
        let malformed = |_: Malformed| DropReason::IpMalformed;
        let (header, protocol, is_whole, payload) = match ethernet.ether_type() {
            EtherType::IPV4 => {
                let ip = Ipv4::view(ethernet.payload()).map_err(malformed)?;
                if ip.is_fragment() {
                    return Err(DropReason::SocketProtocol);
                }
                let (source, destination) = (ip.source().into(), ip.destination().into());
                let header = Header { source, destination, port: 0, tos: ip.tos(), ttl: ip.ttl().max(1) };
                (header, ip.protocol(), ip.dont_fragment(), ip.payload())
            }
            EtherType::IPV6 => {
                let ip = Ipv6::view(ethernet.payload()).map_err(malformed)?;
                let (source, destination) = (ip.source().into(), ip.destination().into());
                let (tos, ttl) = (ip.traffic_class(), ip.hop_limit().max(1));
                let header = Header { source, destination, port: 0, tos, ttl };
                (header, ip.next_header(), true, ip.payload())
            }
            _ => return Err(DropReason::SocketProtocol),
        };
        let is_ipv6 = header.destination.is_ipv6();
        let of = |wanted: fn(Kind, u16, IpProtocol) -> bool, port: u16| {
            let fits = |end: &End| end.socket.is_ipv6() == is_ipv6 && wanted(end.kind, port, protocol);
            self.ends.iter().position(fits)
        };
        if protocol != IpProtocol::UDP {
            let end = of(|kind, _, protocol| kind == Kind::Raw(protocol), 0);
            let end = end.ok_or(DropReason::SocketProtocol)?;
            return Ok(Parcel { by: By::End(end), header, is_whole, payload });
        }
        let datagram = Udp::view(payload).map_err(|_| DropReason::IpMalformed)?;
        let port = datagram.destination();
        // Where the host left us none to send from, one of those that we receive at does.
        let sender = self.senders.find(is_ipv6, datagram.source()).map(By::Sender);
        let by = sender.or_else(|| of(|kind, _, _| matches!(kind, Kind::Udp(_)), port).map(By::End));
        let (header, by) = (Header { port, ..header }, by.ok_or(DropReason::SocketProtocol)?);
        Ok(Parcel { by, header, is_whole, payload: datagram.payload() })
    }

    /// Sends the first of these frames, as far as one socket takes them. Answers how many it took; or how many it was tried with, and what the kernel has
    /// against it.
    fn send(&mut self, burst: &Burst) -> Result<usize, (usize, io::Error)> {
        let mut outbox = Outbox::default();
        let mut first: Option<(By, bool)> = None;
        for (place, frame) in burst.iter().enumerate() {
            let Ok(parcel) = self.parcel(frame) else { break };
            let way = (parcel.by, parcel.is_whole);
            if *first.get_or_insert(way) != way {
                break;
            }
            let is_raw = matches!(parcel.by, By::End(end) if matches!(self.ends[end].kind, Kind::Raw(_)));
            let may_join = place >= self.alone && !is_raw;
            if !outbox.push(parcel.header, parcel.payload, may_join) {
                break;
            }
        }
        let Some((by, is_whole)) = first else { return Ok(0) };
        let socket = self.socket(by);
        let sent = socket.keep_whole(is_whole).and_then(|()| socket.send(&outbox));
        sent.map(|messages| outbox.datagrams(messages)).map_err(|error| (outbox.datagrams(1), error))
    }
}

impl PortQueue for SocketQueue {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let mut asked = 0;
        while burst.spare() > 0 {
            let end = &self.ends[self.of];
            if let Some(received) = self.inbox.take() {
                let Some(mut frame) = frame(end.kind, &received, self.mac, io) else { continue };
                if frame.len() > self.mtu + HEADER_LEN {
                    find_super_frame(&mut frame, self.mtu);
                }
                if burst.push(frame).is_err() {
                    unreachable!("the burst had room");
                }
                continue;
            }
            if asked == self.ends.len() {
                break;
            }
            asked += 1;
            (self.of, self.turn) = (self.turn, (self.turn + 1) % self.ends.len());
            match self.ends[self.of].socket.receive(&mut self.inbox) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.told += 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        self.alone = 0;
        // What is told of earlier datagrams is told once; and no more often than there are frames.
        let mut patience = BURST;
        while let Some(first) = burst.iter().next() {
            if let Err(reason) = self.parcel(first) {
                burst.drain_front(1).for_each(|frame| io.discard(frame, Direction::Tx, reason));
                self.alone = self.alone.saturating_sub(1);
                continue;
            }
            let (count, error) = match self.send(burst) {
                Ok(count) => (count, None),
                Err((_, error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err((_, error)) if is_of_another(&error) && patience > 0 => {
                    patience -= 1;
                    self.told += 1;
                    continue;
                }
                Err((count, error)) if count > 1 => {
                    self.alone = count;
                    drop(error);
                    continue;
                }
                Err((_, error)) => (1, Some(error)),
            };
            self.alone = self.alone.saturating_sub(count);
            for frame in burst.drain_front(count) {
                match &error {
                    Some(error) => io.discard(frame, Direction::Tx, refusal(error)),
                    None => {
                        io.counters.sent.add(1, frame.len() as u64);
                        io.pool.free(frame);
                    }
                }
            }
        }
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ready.as_fd())
    }

    fn lost_before_us(&self) -> Vec<(&'static str, u64)> {
        let full = self.ends.iter().map(|end| end.socket.dropped().unwrap_or(0)).sum();
        vec![("rx_queue_full", full), ("socket_errors", self.told)]
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}

/// The frame of what was received, with headers as it came with; `None` if it had to be dropped, which is counted.
fn frame(kind: Kind, received: &Received<'_>, mac: MacAddr, io: &mut PortIo<'_>) -> Option<Frame> {
    let Received { header, payload } = received;
    let (ether_type, before) = match (kind, header.source.is_ipv6()) {
        (Kind::Raw(_), _) => (EtherType::IPV4, 0),
        (Kind::Udp(_), false) => (EtherType::IPV4, ipv4::HEADER_LEN + udp::HEADER_LEN),
        (Kind::Udp(_), true) => (EtherType::IPV6, ipv6::HEADER_LEN + udp::HEADER_LEN),
    };
    let length = HEADER_LEN + before + payload.len();
    let Some(mut frame) = io.pool.alloc_sized(length) else {
        let too_long = length > io.pool.longest_frame();
        io.receive_failed(length, if too_long { DropReason::Truncated } else { DropReason::PoolEmpty });
        return None;
    };
    let bytes = frame.bytes_mut();
    bytes[HEADER_LEN + before..].copy_from_slice(payload);
    let (start, packet) = bytes.split_at_mut(HEADER_LEN);
    if let Ok(start) = start.try_into() {
        ethernet::emit(start, mac, MacAddr::ZERO, ether_type);
    }
    let written = match kind {
        Kind::Raw(_) => Some(()),
        Kind::Udp(port) => emit(packet, header, port),
    };
    if written.is_none() {
        io.refuse(frame, DropReason::IpMalformed);
        return None;
    }
    // A sender on this host may have left the checksums inside to a device that there was none of.
    frame.set_checksum(Checksum::Unknown);
    Some(frame)
}

/// Writes the IP and UDP headers in front of the payload that is in `packet`. UDP over IPv4 needs no checksum; over IPv6 it has the partial one
/// that says that the kernel has looked.
fn emit(packet: &mut [u8], header: &Header, port: u16) -> Option<()> {
    let start = match (header.source, header.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = ipv4::Header {
                tos: header.tos,
                identification: 0,
                dont_fragment: true,
                ttl: header.ttl,
                protocol: IpProtocol::UDP,
                source,
                destination,
            };
            header.emit(packet)?;
            ipv4::HEADER_LEN
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Header {
                traffic_class: header.tos,
                hop_limit: header.ttl,
                next_header: IpProtocol::UDP,
                source,
                destination,
            };
            header.emit(packet)?;
            ipv6::HEADER_LEN
        }
        _ => return None,
    };
    let (before, datagram) = packet.split_at_mut_checked(start)?;
    let length = u16::try_from(datagram.len()).ok()?;
    let sum = match header.source {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => pseudo_header(&before[8..40], IpProtocol::UDP, length).folded(),
    };
    let [port, far, length, sum] = [port, header.port, length, sum].map(u16::to_be_bytes);
    let own: &mut [u8; udp::HEADER_LEN] = datagram.first_chunk_mut()?;
    *own = [far[0], far[1], port[0], port[1], length[0], length[1], sum[0], sum[1]];
    Some(())
}

/// Notes of a packet longer than any on the way that it is a super-frame, if it is one: a sender on this machine, or a guest of it, has left its TCP to be
/// cut by a device that never came. Into what segments is not told, so into those that fit.
#[cold]
fn find_super_frame(frame: &mut Frame, mtu: usize) {
    let bytes = frame.bytes();
    let Some(inside) =
        layers(bytes).last().filter(|it| it.protocol == IpProtocol::TCP && it.looks_partial(bytes))
    else {
        return;
    };
    let Some(header) = bytes.get(inside.transport..).and_then(|bytes| Tcp::view(bytes).ok()) else { return };
    let payload = inside.transport + header.header_len();
    let size = (mtu + HEADER_LEN).checked_sub(payload).and_then(|size| u16::try_from(size).ok());
    let (Some(size @ 1..), Ok(start)) = (size, u16::try_from(inside.transport)) else { return };
    let kind = if inside.version == Version::V4 { GsoKind::TcpV4 } else { GsoKind::TcpV6 };
    let offset = u16::try_from(tcp::CHECKSUM_OFFSET).unwrap_or_default();
    frame.set_checksum(Checksum::Partial { start, offset });
    frame.set_gso(Some(Gso { kind, size, ecn: false }));
}

/// Whether an error is about a datagram that was sent before (ip(7), `IP_RECVERR`).
fn is_of_another(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECONNREFUSED)
}

fn refusal(error: &io::Error) -> DropReason {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => DropReason::MtuExceeded,
        Some(libc::ENOBUFS | libc::ENOMEM) => DropReason::RingFull,
        Some(
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EINVAL | libc::EADDRNOTAVAIL,
        ) => DropReason::SocketUnreachable,
        _ => DropReason::PortError,
    }
}
