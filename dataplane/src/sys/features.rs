//! What a device's driver can do for XDP (netdev netlink), and the offloads that change what XDP sees (ethtool).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::netdev::Netdev;
use super::{check, context};

/// What a driver says it can do (`NETDEV_CMD_DEV_GET`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpFeatures {
    /// AF_XDP sockets without copying.
    pub zero_copy: bool,
    /// Programs may ask for the VLAN tag that was stripped (`bpf_xdp_metadata_rx_vlan_tag`).
    pub vlan_tag: bool,
}

impl XdpFeatures {
    /// What the driver of device `ifindex`, in the calling thread's network namespace, can do.
    ///
    /// # Errors
    /// `NotFound` for no such device or, before kernel 6.3, no such question; whatever netlink(7) answers.
    pub fn of(ifindex: u32) -> io::Result<Self> {
        let doing = |e| context(e, "asking for the XDP features of a device");
        let netlink = GenericNetlink::open().map_err(doing)?;
        let family = netlink.family("netdev").map_err(doing)?;
        let answer = netlink.ask(family, DEVICE_GET, DEVICE_INDEX, &ifindex.to_ne_bytes()).map_err(doing)?;
        let bits = |kind| attribute(&answer, kind).map_or(0, number);
        let (features, metadata) = (bits(DEVICE_XDP_FEATURES), bits(DEVICE_METADATA_FEATURES));
        Ok(Self { zero_copy: features & ACT_ZERO_COPY != 0, vlan_tag: metadata & METADATA_VLAN_TAG != 0 })
    }
}

// include/uapi/linux/netdev.h
const DEVICE_GET: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_XDP_FEATURES: u16 = 3;
const DEVICE_METADATA_FEATURES: u16 = 5;
const ACT_ZERO_COPY: u64 = 8;
const METADATA_VLAN_TAG: u64 = 4;

impl Netdev {
    /// Whether the device merges received frames (GRO), which on a veth also gives it NAPI.
    ///
    /// # Errors
    /// As for [`Netdev::index`].
    pub fn merges_received(&self) -> io::Result<bool> {
        const ETHTOOL_GGRO: u32 = 0x2b;
        Ok(self.ethtool_value(ETHTOOL_GGRO)? != 0)
    }

    /// Turns GRO on or off.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn set_merges_received(&self, on: bool) -> io::Result<()> {
        const ETHTOOL_SGRO: u32 = 0x2c;
        self.ethtool(&mut [ETHTOOL_SGRO, u32::from(on)])
    }

    /// Whether the device takes VLAN tags out of the frames it receives (`rx-vlan-offload`).
    ///
    /// # Errors
    /// As for [`Netdev::index`].
    pub fn strips_vlan(&self) -> io::Result<bool> {
        Ok(self.ethtool_value(ETHTOOL_GFLAGS)? & FLAG_RX_VLAN != 0)
    }

    /// Has the device take VLAN tags out, or leave them in.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`; `InvalidInput` or `Unsupported` where it is fixed.
    pub fn set_strips_vlan(&self, on: bool) -> io::Result<()> {
        const ETHTOOL_SFLAGS: u32 = 0x26;
        let flags = self.ethtool_value(ETHTOOL_GFLAGS)?;
        let wanted = if on { flags | FLAG_RX_VLAN } else { flags & !FLAG_RX_VLAN };
        self.ethtool(&mut [ETHTOOL_SFLAGS, wanted])
    }

    /// An `ethtool_value` command that asks for one number.
    fn ethtool_value(&self, command: u32) -> io::Result<u32> {
        let mut value = [command, 0];
        self.ethtool(&mut value)?;
        Ok(value[1])
    }
}

const ETHTOOL_GFLAGS: u32 = 0x25;
/// `ETH_FLAG_RXVLAN`.
const FLAG_RX_VLAN: u32 = 1 << 8;

/// A generic netlink socket, one question at a time.
struct GenericNetlink(OwnedFd);

impl GenericNetlink {
    fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes no pointer.
        let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_GENERIC) })?;
        // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The number of the family of this name.
    fn family(&self, name: &str) -> io::Result<u16> {
        const CONTROLLER: u16 = 0x10; // GENL_ID_CTRL
        const GET_FAMILY: u8 = 3;
        const FAMILY_ID: u16 = 1;
        const FAMILY_NAME: u16 = 2;
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        let answer = self.ask(CONTROLLER, GET_FAMILY, FAMILY_NAME, &text)?;
        let id = attribute(&answer, FAMILY_ID).map(number).and_then(|id| u16::try_from(id).ok());
        id.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The attributes of the one answer to a command with one attribute.
    fn ask(&self, family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
        self.send(&request(family, command, kind, value))?;
        let message = self.receive()?;
        let (message_kind, body) = parse(&message).ok_or(io::ErrorKind::InvalidData)?;
        if i32::from(message_kind) == libc::NLMSG_ERROR {
            let code = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
            return Err(io::Error::from_raw_os_error(-code));
        }
        // Past the generic header: command, version, two reserved.
        Ok(body.get(4..).unwrap_or_default().to_vec())
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        let (fd, start, len) = (self.0.as_raw_fd(), message.as_ptr(), message.len());
        // SAFETY: the kernel reads `len` bytes of the slice; without an address it is the receiver itself.
        let sent = unsafe { libc::send(fd, start.cast(), len, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 8192];
        let (fd, start, len) = (self.0.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the kernel writes at most `len` bytes to the buffer. Its answer is queued before `send` returns.
        let received = unsafe { libc::recv(fd, start.cast(), len, libc::MSG_DONTWAIT) };
        buffer.truncate(usize::try_from(received).map_err(|_| io::Error::last_os_error())?);
        Ok(buffer)
    }
}

/// A netlink header, a generic one, and one attribute (netlink(7)).
fn request(family: u16, command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
    let short = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_ne_bytes();
    let flags = u16::try_from(libc::NLM_F_REQUEST).unwrap_or_default();
    let len = 16 + 4 + 4 + value.len().next_multiple_of(4);
    let mut message = u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes().to_vec();
    message.extend(family.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]); // sequence and port: one question at a time needs neither
    message.extend([command, 1, 0, 0]);
    message.extend(short(4 + value.len()));
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(len, 0);
    message
}

/// The type and body of the first message in a datagram.
fn parse(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let len = u32::from_ne_bytes(*datagram.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*datagram.get(4..)?.first_chunk()?);
    Some((kind, datagram.get(16..len)?))
}

/// The value of the first attribute of this type.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
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
fn number(value: &[u8]) -> u64 {
    match *value {
        [a, b] => u64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_by_type_and_never_read_past_the_end() {
        let mut list = vec![];
        for (kind, value) in [(1u16, &[7u8, 0][..]), (3, &[1, 2, 3, 4, 5, 6, 7, 8])] {
            list.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            list.extend(kind.to_ne_bytes());
            list.extend(value);
            list.resize(list.len().next_multiple_of(4), 0);
        }
        assert_eq!(attribute(&list, 1).map(number), Some(u64::from(u16::from_ne_bytes([7, 0]))));
        assert_eq!(attribute(&list, 3).map(<[u8]>::len), Some(8));
        assert_eq!(attribute(&list, 9), None);
        for len in 0..list.len() {
            assert_eq!(attribute(&list[..len], 3), None);
        }
    }

    #[test]
    fn loopback_has_none() {
        // Needs no privilege; a kernel before 6.3 does not know the question.
        if let Ok(features) = XdpFeatures::of(1) {
            assert!(!features.zero_copy && !features.vlan_tag);
        }
    }
}
