//! Probes: real traffic between two hosts, through the kernel's own stacks, checked to the byte and bounded in time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use rigswitch_dataplane::sys::packet::PacketSocket;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Host, LabError};

/// How long a probe waits for anything at all before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a transfer may take each way, whether or not it moves.
const LONGEST: Duration = Duration::from_secs(20);

/// Bytes of the pattern that a transfer repeats.
const BLOCK: usize = 251 * 256;

/// What came of a series of echo requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ping {
    /// Requests sent.
    pub sent: u32,
    /// The round trips of those that were answered, in the order sent.
    pub round_trips: Vec<Duration>,
}

impl Ping {
    /// How many were not answered.
    pub fn lost(&self) -> u32 {
        self.sent - u32::try_from(self.round_trips.len()).unwrap_or(self.sent)
    }

    /// The round trip that half of the answers took no longer than.
    pub fn median(&self) -> Option<Duration> {
        let mut sorted = self.round_trips.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// What came of a transfer: every byte arrived, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Bytes in each direction.
    pub bytes: u64,
    /// How long the way there took.
    pub there: Duration,
    /// How long the way back took.
    pub back: Duration,
}

/// Sends `count` ICMP echo requests with `payload` bytes of data from `host` to `target`, one after the other, each
/// answered or given up after `timeout`.
///
/// # Errors
/// When the host has no raw socket to give. Lost probes are no error.
pub fn ping(
    host: &Host,
    target: IpAddr,
    count: u32,
    payload: usize,
    timeout: Duration,
) -> Result<Ping, LabError> {
    let doing = || LabError::system(format!("pinging {target} from {}", host.name()));
    let socket = host.run(|| echo_socket(target))?.map_err(doing())?;
    let mut round_trips = Vec::new();
    for sequence in 0..count {
        let request = EchoRequest::new(target, sequence, payload);
        let sent = Instant::now();
        match socket.send_to(&request.bytes, &SocketAddr::new(target, 0).into()) {
            Ok(_) => {}
            Err(error) if is_unreachable(&error) => continue,
            Err(error) => return Err(doing()(error)),
        }
        if await_reply(&socket, &request, sent + timeout).map_err(doing())? {
            round_trips.push(sent.elapsed());
        }
    }
    Ok(Ping { sent: count, round_trips })
}

/// Opens a TCP connection from `client` to `server` at `address`, moves `bytes` bytes there and as many back, and
/// compares every one.
///
/// # Errors
/// When there is no connection, or it is reset, nothing moves for five seconds, not all has moved after twenty, or a byte differs.
pub fn tcp_transfer(
    client: &Host,
    server: &Host,
    address: SocketAddr,
    bytes: u64,
) -> Result<Transfer, LabError> {
    let doing = || LabError::system(format!("TCP from {} to {address}", client.name()));
    let listener = server.run(|| TcpListener::bind(address))?.map_err(doing())?;
    let port = listener.local_addr().map_err(doing())?.port();
    let address = SocketAddr::new(address.ip(), port);
    let near = client.run(|| TcpStream::connect_timeout(&address, PATIENCE))?.map_err(doing())?;
    // The handshake is over, and the connection there to be taken, unless it was given up at this end.
    SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).map_err(doing())?;
    let (far, _) = listener.accept().map_err(doing())?;
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(PATIENCE)).map_err(doing())?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(doing())?;
    }
    let there = stream(&near, &far, bytes).map_err(doing())?;
    let back = stream(&far, &near, bytes).map_err(doing())?;
    Ok(Transfer { bytes, there, back })
}

/// Sends `count` UDP datagrams of `size` bytes from `client` to `server` at `address`, each echoed there, and answers
/// how many came back unharmed.
///
/// # Errors
/// When the sockets cannot be made. Lost datagrams are no error.
pub fn udp_echo(
    client: &Host,
    server: &Host,
    address: SocketAddr,
    count: u32,
    size: usize,
) -> Result<u32, LabError> {
    let doing = || LabError::system(format!("UDP from {} to {address}", client.name()));
    let far = server.run(|| UdpSocket::bind(address))?.map_err(doing())?;
    let unspecified = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let near = client.run(|| UdpSocket::bind(unspecified))?.map_err(doing())?;
    near.connect(far.local_addr().map_err(doing())?).map_err(doing())?;
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(Duration::from_secs(1))).map_err(doing())?;
    }
    let echo = |number: u32| -> io::Result<bool> {
        let datagram: Vec<u8> = pattern(number as usize).take(size).collect();
        let mut buffer = vec![0; size + 1];
        near.send(&datagram)?;
        let (length, sender) = uninterrupted(|| far.recv_from(&mut buffer))?;
        far.send_to(&buffer[..length], sender)?;
        let length = uninterrupted(|| near.recv(&mut buffer))?;
        Ok(buffer[..length] == datagram)
    };
    Ok((0..count).map(|number| u32::from(echo(number).unwrap_or(false))).sum())
}

/// Puts `frame`, from the destination address on, on `device` of `host` as it is.
///
/// # Errors
/// When there is no such device, or it does not take the frame.
pub fn send_frame(host: &Host, device: &str, frame: &[u8]) -> Result<(), LabError> {
    let doing = || LabError::system(format!("sending a frame from {}", host.name()));
    let index = host.netdev(device)?.index().map_err(doing())?;
    host.run(|| PacketSocket::silent(index)?.send(frame))?.map_err(doing())
}

/// An ICMP echo request (RFC 792, RFC 4443 §4.1) and what tells its reply.
struct EchoRequest {
    bytes: Vec<u8>,
    reply_type: u8,
    behind_ip: bool, // a raw IPv4 socket hands over the IP header too
}

impl EchoRequest {
    fn new(target: IpAddr, sequence: u32, payload: usize) -> Self {
        let (request_type, reply_type) = if target.is_ipv4() { (8, 0) } else { (128, 129) };
        let [.., identifier_high, identifier_low] = std::process::id().to_be_bytes();
        let [.., sequence_high, sequence_low] = sequence.to_be_bytes();
        let mut bytes =
            vec![request_type, 0, 0, 0, identifier_high, identifier_low, sequence_high, sequence_low];
        bytes.extend(pattern(0).take(payload));
        // The kernel writes ICMPv6's own, which covers addresses too.
        let checksum = internet_checksum(&bytes).to_be_bytes();
        bytes[2..4].copy_from_slice(&checksum);
        Self { bytes, reply_type, behind_ip: target.is_ipv4() }
    }

    fn is_answered_by(&self, packet: &[u8]) -> bool {
        let header = packet.first().filter(|_| self.behind_ip).map_or(0, |first| usize::from(first & 15) * 4);
        packet.get(header..).is_some_and(|reply| {
            reply.len() == self.bytes.len() && reply[0] == self.reply_type && reply[4..] == self.bytes[4..]
        })
    }
}

fn echo_socket(target: IpAddr) -> io::Result<Socket> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    Socket::new(domain, Type::RAW, Some(protocol))
}

fn await_reply(mut socket: &Socket, request: &EchoRequest, deadline: Instant) -> io::Result<bool> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        match uninterrupted(|| socket.read(&mut buffer)) {
            Ok(length) if request.is_answered_by(&buffer[..length]) => return Ok(true),
            // Somebody else's: a raw socket hears every ICMP message of its host.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Does again what a stop of the whole process has ended: where a socket has a timeout, signal(7) says, that is told as an error.
///
/// # Errors
/// As `receive`, except `Interrupted`.
pub fn uninterrupted<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match receive() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable)
}

/// Moves `bytes` bytes of the pattern from one end to the other, and answers how long it took.
fn stream(mut from: &TcpStream, mut to: &TcpStream, bytes: u64) -> io::Result<Duration> {
    let block: Vec<u8> = pattern(0).take(BLOCK).collect();
    let start = Instant::now();
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> io::Result<()> {
            let mut left = bytes;
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
                from.write_all(&block[..part])?;
                left -= part as u64;
            }
            Ok(())
        });
        let mut buffer = vec![0; BLOCK];
        let mut at = 0; // place in the block of the next byte
        let mut left = bytes;
        while left > 0 {
            if start.elapsed() > LONGEST {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "too slow: not all has arrived in twenty seconds",
                ));
            }
            let wanted = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK - at);
            let read = uninterrupted(|| to.read(&mut buffer[..wanted]))?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if buffer[..read] != block[at..at + read] {
                return Err(io::Error::new(ErrorKind::InvalidData, "a byte arrived that was not sent"));
            }
            at = (at + read) % BLOCK;
            left -= read as u64;
        }
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(start.elapsed())
}

/// Bytes in which nothing that the network could do to them stays unseen: with a period of 251, no power of two
/// and no frame's payload maps them to themselves.
fn pattern(from: usize) -> impl Iterator<Item = u8> {
    (0..=250).cycle().skip(from % 251)
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_its_checksum_in_place_sums_to_zero() {
        let request = EchoRequest::new(IpAddr::from([192, 0, 2, 1]), 7, 33);
        assert_eq!(internet_checksum(&request.bytes), 0);
    }

    #[test]
    fn only_the_reply_to_the_request_answers_it() {
        let target = IpAddr::from([192, 0, 2, 1]);
        let request = EchoRequest::new(target, 7, 8);
        let reply_to = |request: &EchoRequest| {
            let mut packet = vec![0x45; 20];
            packet.extend(&request.bytes);
            packet[20] = request.reply_type;
            packet
        };
        assert!(request.is_answered_by(&reply_to(&request)));
        assert!(!request.is_answered_by(&reply_to(&EchoRequest::new(target, 8, 8))));
        assert!(!request.is_answered_by(&reply_to(&request)[..20]));
        assert!(!request.is_answered_by(&[]));
    }
}
