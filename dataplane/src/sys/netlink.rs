//! A netlink socket: questions and their answers, news of groups, and the attributes of all of them (netlink(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, socklen};

/// Room for a datagram: the kernel fills dumps to half of this at most.
const DATAGRAM: usize = 1 << 16;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A socket of one netlink protocol, in the namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    /// A socket that hears what is sent to `groups`, a bit each, 0 for none.
    pub(super) fn open(protocol: libc::c_int, groups: u32) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes no pointer.
        let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) })?;
        // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or_default();
        let groups = groups.to_ne_bytes();
        // struct sockaddr_nl: the family, two bytes of padding, a port for the kernel to choose, the groups.
        let mut address = [0u8; 12];
        address[..2].copy_from_slice(&family.to_ne_bytes());
        address[8..].copy_from_slice(&groups);
        const _: () = assert!(size_of::<libc::sockaddr_nl>() == 12);
        // SAFETY: `address` is laid out as a sockaddr_nl, of whose size the kernel reads.
        check(unsafe {
            libc::bind(fd.as_raw_fd(), address.as_ptr().cast(), socklen::<libc::sockaddr_nl>())
        })?;
        Ok(Self(fd))
    }

    /// Asks, and answers the types and bodies of all messages of the answer.
    pub(super) fn ask(&self, question: &[u8]) -> io::Result<Vec<(u16, Vec<u8>)>> {
        const DONE: u16 = 3; // NLMSG_DONE
        const MULTI: u16 = 2; // NLM_F_MULTI
        // Not every family marks the messages of a dump as several.
        let dumps = messages(question).any(|asked| i32::from(asked.flags) & libc::NLM_F_DUMP != 0);
        self.send(question)?;
        let mut answer = Vec::new();
        loop {
            // The answer is queued before `send` returns, and each further part of a long one as one is read.
            let datagram = self.receive()?;
            for Message { kind, flags, body } in messages(&datagram) {
                if i32::from(kind) == libc::NLMSG_ERROR {
                    return Err(refusal(body));
                }
                if kind == DONE {
                    return Ok(answer);
                }
                answer.push((kind, body.to_vec()));
                if flags & MULTI == 0 && !dumps {
                    return Ok(answer);
                }
            }
        }
    }

    /// Sends a message, or several in a row, and checks that the kernel acknowledges the first `count` of those that ask for it.
    pub(super) fn transact(&self, sent: &[u8], count: usize) -> io::Result<()> {
        self.send(sent)?;
        for _ in 0..count {
            let datagram = self.receive()?;
            let answer = messages(&datagram).next().ok_or(io::ErrorKind::InvalidData)?;
            let refused = i32::from(answer.kind) == libc::NLMSG_ERROR && !answer.body.starts_with(&[0; 4]);
            if refused {
                return Err(refusal(answer.body));
            }
        }
        Ok(())
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        let (fd, start, len) = (self.0.as_raw_fd(), message.as_ptr(), message.len());
        // SAFETY: the kernel reads `len` bytes of the slice; without an address it is the receiver itself.
        let sent = unsafe { libc::send(fd, start.cast(), len, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next datagram: `WouldBlock` when there is none, `ENOBUFS` once after some were lost.
    pub(super) fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; DATAGRAM];
        let (fd, start, len) = (self.0.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the kernel writes at most `len` bytes to the buffer.
        let received = unsafe { libc::recv(fd, start.cast(), len, libc::MSG_DONTWAIT) };
        buffer.truncate(usize::try_from(received).map_err(|_| io::Error::last_os_error())?);
        Ok(buffer)
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One message of a datagram.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) body: &'a [u8],
}

/// A request of type `kind`: the family's own header, which is a multiple of four bytes long, and attributes.
pub(super) fn request(kind: u16, flags: libc::c_int, header: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | flags).unwrap_or_default();
    let mut message = vec![0; 4];
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]); // sequence and port: one question at a time needs neither
    message.extend(header);
    message.extend(self::attributes(attributes));
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&len.to_ne_bytes());
    message
}

/// Attributes in a row, as they stand in a message or in another attribute.
pub(super) fn attributes(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for (kind, value) in attributes {
        bytes.extend(u16::try_from(4 + value.len()).unwrap_or(u16::MAX).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// The messages of a datagram, as far as they are whole.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
        let flags = u16::from_ne_bytes(*rest.get(6..)?.first_chunk()?);
        let body = rest.get(HEADER..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, flags, body })
    })
}

/// The value of the first attribute of this type.
pub(super) fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let len = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let found = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(4..len)?;
        if found & 0x3fff == kind {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

/// An unsigned number of two, four or eight bytes in host order.
pub(super) fn number(value: &[u8]) -> u64 {
    match *value {
        [a, b] => u64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

/// The kernel's no.
fn refusal(body: &[u8]) -> io::Error {
    let code = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    io::Error::from_raw_os_error(-code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_by_type_and_never_read_past_the_end() {
        let list = request(7, 0, &[], &[(1, &[7, 0]), (3, &[1, 2, 3, 4, 5, 6, 7, 8])]);
        let list = &list[HEADER..];
        assert_eq!(attribute(list, 1).map(number), Some(u64::from(u16::from_ne_bytes([7, 0]))));
        assert_eq!(attribute(list, 3).map(<[u8]>::len), Some(8));
        assert_eq!(attribute(list, 9), None);
        for len in 0..list.len() {
            assert_eq!(attribute(&list[..len], 3), None);
        }
    }

    #[test]
    fn messages_end_where_the_datagram_does() {
        let both = [request(7, 0, &[1; 4], &[]), request(8, 0, &[2; 8], &[])].concat();
        let kinds =
            |bytes| messages(bytes).map(|message| (message.kind, message.body.len())).collect::<Vec<_>>();
        assert_eq!(kinds(&both), [(7, 4), (8, 8)]);
        for len in 20..both.len() {
            assert_eq!(kinds(&both[..len]), [(7, 4)]);
        }
        assert!((0..20).all(|len| kinds(&both[..len]).is_empty()));
        assert!(kinds(&[0; 32]).is_empty(), "a length of nothing is no message");
    }
}
