//! Datagrams through the host's own stack, UDP or a raw IP protocol: many to a system call, with what their IP headers say beside
//! them (ip(7), ipv6(7), udp(7), raw(7)).

mod controls;
mod receive;
mod send;

pub use receive::{Inbox, Received};
pub use send::Outbox;

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::{Plain, context, option, set_option};

/// Bytes that may wait in a socket each way: several of the longest datagrams for every one on its way.
const BUFFER: usize = 4 << 20;

/// What the headers of a datagram say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Who sends it. Only an address of the host's is sent from.
    pub source: IpAddr,
    /// Who it is for, of the same version.
    pub destination: IpAddr,
    /// The UDP port of the far end: received from, or sent to. The other port is the socket's.
    pub port: u16,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Hops that it may take, at least one.
    pub ttl: u8,
}

/// A socket. It never waits.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: Socket,
    is_ipv6: bool,
    /// Whether what is sent may not be fragmented, once that was said.
    whole: Cell<Option<bool>>,
}

impl DatagramSocket {
    /// A UDP socket on this port of every address of the calling thread's network namespace, of one version of IP.
    ///
    /// # Errors
    /// `AddrInUse`; `PermissionDenied` for a port below 1024 without `CAP_NET_BIND_SERVICE`; `EAFNOSUPPORT` without IPv6.
    pub fn udp(port: u16, is_ipv6: bool) -> io::Result<Self> {
        let open = || {
            let domain = if is_ipv6 { Domain::IPV6 } else { Domain::IPV4 };
            let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
            if is_ipv6 {
                socket.set_only_v6(true)?;
            }
            // What is sent to a group does not come back.
            if is_ipv6 {
                socket.set_multicast_loop_v6(false)?;
            } else {
                socket.set_multicast_loop_v4(false)?;
            }
            let any = if is_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            socket.bind(&SocketAddr::new(any, port).into())?;
            set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, &1)?;
            Self::finish(socket, is_ipv6)
        };
        let version = if is_ipv6 { 6 } else { 4 };
        open().map_err(|e| context(e, format_args!("UDP port {port} of IPv{version}")))
    }

    /// A UDP socket to send from this port, or else from the first of the `count` from there on that nobody has; `None` if all are taken. What
    /// comes to it is for nobody.
    ///
    /// # Errors
    /// As of [`udp`](Self::udp), but for `AddrInUse`.
    pub fn sender(first: u16, count: u16, is_ipv6: bool) -> io::Result<Option<Self>> {
        const ATTEMPTS: u16 = 8;
        for port in (first..=u16::MAX).take(count.min(ATTEMPTS).into()) {
            match Self::udp(port, is_ipv6) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                opened => {
                    let opened = opened?;
                    // As little as there can be.
                    opened.socket.set_recv_buffer_size(1)?;
                    return Ok(Some(opened));
                }
            }
        }
        Ok(None)
    }

    /// The port that it has.
    ///
    /// # Errors
    /// None that is known of.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.as_socket().map_or(0, |address| address.port()))
    }

    /// A socket for IPv4 packets of this protocol, whoever they are for. It receives them with their headers.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`.
    pub fn raw(protocol: u8) -> io::Result<Self> {
        let open = || {
            let protocol = Protocol::from(i32::from(protocol));
            let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking(), Some(protocol))?;
            Self::finish(socket, false)
        };
        open().map_err(|e| context(e, format_args!("a raw socket of protocol {protocol}")))
    }

    fn finish(socket: Socket, is_ipv6: bool) -> io::Result<Self> {
        // As much of it as the host's limits allow.
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_send_buffer_size(BUFFER)?;
        let told = match is_ipv6 {
            false => [(libc::IPPROTO_IP, libc::IP_PKTINFO), (libc::IPPROTO_IP, libc::IP_RECVTOS)],
            true => {
                [(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS)]
            }
        };
        for (level, name) in told {
            set_option(socket.as_fd(), level, name, &1)?;
        }
        Ok(Self { socket, is_ipv6, whole: Cell::new(None) })
    }

    /// Another handle on the same socket.
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, is_ipv6: self.is_ipv6, whole: Cell::new(None) })
    }

    /// Takes part in a group, or no more, by the host's device of this number.
    ///
    /// # Errors
    /// `ENODEV` when there is no such device; `ENOBUFS` for more groups than the host allows (`igmp_max_memberships`).
    pub fn take_part(&self, group: IpAddr, device: u32, takes_part: bool) -> io::Result<()> {
        let by = InterfaceIndexOrAddress::Index(device);
        match group {
            IpAddr::V4(group) if takes_part => self.socket.join_multicast_v4_n(&group, &by),
            IpAddr::V4(group) => self.socket.leave_multicast_v4_n(&group, &by),
            IpAddr::V6(group) if takes_part => self.socket.join_multicast_v6(&group, device),
            IpAddr::V6(group) => self.socket.leave_multicast_v6(&group, device),
        }
    }

    /// Whether it is of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    /// Datagrams that came and found the socket full.
    ///
    /// # Errors
    /// None that is known of.
    pub fn dropped(&self) -> io::Result<u64> {
        const DROPS: usize = 8; // SK_MEMINFO_DROPS
        let told = option(self.as_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, [0u32; DROPS + 1])?;
        Ok(told[DROPS].into())
    }

    /// Whether what is sent from now on may not be fragmented on its way, and is refused if it is too long for the way's MTU.
    ///
    /// # Errors
    /// None that is known of.
    pub fn keep_whole(&self, whole: bool) -> io::Result<()> {
        if self.whole.get() == Some(whole) {
            return Ok(());
        }
        // The two have the same values for both versions.
        let mode = if whole { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_DONT };
        let (level, name) = match self.is_ipv6 {
            false => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
            true => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
        };
        set_option(self.as_fd(), level, name, &mode)?;
        self.whole.set(Some(whole));
        Ok(())
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

// SAFETY: integers.
unsafe impl<const N: usize> Plain for [u32; N] {}
