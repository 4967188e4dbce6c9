//! What the kernel knows of a network device: index, MTU, MAC address, flags, driver, queues (netdevice(7), ethtool).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::netns::Netns;
use super::{check, context};
use crate::ids::MacAddr;

/// A network device, by name, in one namespace. Calls act in that namespace from any thread.
#[derive(Debug)]
pub struct Netdev {
    name: String,
    index: Option<u32>, // what it is found by instead of its name
    socket: OwnedFd,
}

impl Netdev {
    /// The device `name` in `netns`, or in the calling thread's namespace. That it exists shows at the first call.
    ///
    /// # Errors
    /// `InvalidInput` when the name could not be a device's; the kernel's when the namespace may not be entered.
    pub fn new(name: &str, netns: Option<&Netns>) -> io::Result<Self> {
        name_bytes(name)?;
        let socket = match netns {
            Some(netns) => netns.run(control_socket)??,
            None => control_socket()?,
        };
        Ok(Self { name: name.to_owned(), index: None, socket })
    }

    /// The same device from now on, by its number: one that is renamed stays it, and one that takes its name does not
    /// become it.
    ///
    /// # Errors
    /// As for [`Self::index`].
    pub fn pinned(self) -> io::Result<Self> {
        Ok(Self { index: Some(self.index()?), ..self })
    }

    /// The name it was asked for by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's number for the device, unique in its namespace.
    ///
    /// # Errors
    /// `NotFound` when there is no such device, as for every call below.
    pub fn index(&self) -> io::Result<u32> {
        Ok(self.query(libc::SIOCGIFINDEX)?.u32())
    }

    /// The longest payload of a frame: bytes after the Ethernet header.
    ///
    /// # Errors
    /// As for [`Self::index`].
    pub fn mtu(&self) -> io::Result<u32> {
        Ok(self.query(libc::SIOCGIFMTU)?.u32())
    }

    /// Sets the MTU, in bytes after the Ethernet header.
    ///
    /// # Errors
    /// `InvalidInput` when the driver cannot do it.
    pub fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        self.change(libc::SIOCSIFMTU, &mtu.to_ne_bytes())
    }

    /// The device's MAC address.
    ///
    /// # Errors
    /// As for [`Self::index`].
    pub fn mac(&self) -> io::Result<MacAddr> {
        let [_, _, a, b, c, d, e, f, ..] = self.query(libc::SIOCGIFHWADDR)?.data;
        Ok(MacAddr::new([a, b, c, d, e, f]))
    }

    /// Sets the MAC address.
    ///
    /// # Errors
    /// `AddrNotAvailable` for a group or zero address.
    pub fn set_mac(&self, mac: MacAddr) -> io::Result<()> {
        let [family_low, family_high] = libc::ARPHRD_ETHER.to_ne_bytes();
        let [a, b, c, d, e, f] = mac.octets();
        self.change(libc::SIOCSIFHWADDR, &[family_low, family_high, a, b, c, d, e, f])
    }

    /// Whether the device is up by configuration.
    ///
    /// # Errors
    /// As for [`Self::index`].
    pub fn is_up(&self) -> io::Result<bool> {
        Ok(self.flags()? & libc::IFF_UP != 0)
    }

    /// Whether the device is up and has a carrier.
    ///
    /// # Errors
    /// As for [`Self::index`].
    pub fn is_running(&self) -> io::Result<bool> {
        let both = libc::IFF_UP | libc::IFF_RUNNING;
        Ok(self.flags()? & both == both)
    }

    /// Brings the device up, or takes it down.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn set_up(&self, up: bool) -> io::Result<()> {
        self.change_flag(libc::IFF_UP, up)
    }

    /// Takes frames for any address, or only for the device's own.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn set_promiscuous(&self, promiscuous: bool) -> io::Result<()> {
        self.change_flag(libc::IFF_PROMISC, promiscuous)
    }

    /// Has the kernel find out the link-layer addresses of neighbours there (ARP, neighbour discovery), or not.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn set_arp(&self, arp: bool) -> io::Result<()> {
        self.change_flag(libc::IFF_NOARP, !arp)
    }

    /// How fast its link is, in Mbit/s; `None` from a device that does not know.
    ///
    /// # Errors
    /// `Unsupported` from a device that has no link to speak of, `lo` for example.
    pub fn speed(&self) -> io::Result<Option<u32>> {
        const ETHTOOL_GSET: u32 = 1;
        // struct ethtool_cmd: the low half of the speed begins the fourth word, the high one the eighth.
        let mut settings = [0u32; 11];
        settings[0] = ETHTOOL_GSET;
        self.ethtool(&mut settings)?;
        let half =
            |word: u32| u32::from(u16::from_ne_bytes(*word.to_ne_bytes().first_chunk().unwrap_or(&[0; 2])));
        let speed = half(settings[7]) << 16 | half(settings[3]);
        Ok(Some(speed).filter(|&speed| speed != 0 && speed != u32::MAX))
    }

    /// The name of the device's driver, as `ethtool -i` says it: `veth`, `tun`, `virtio_net`.
    ///
    /// # Errors
    /// `Unsupported` from a device without one, `lo` for example.
    pub fn driver(&self) -> io::Result<String> {
        self.driver_text(0)
    }

    /// Where the device is on a bus, if it is a card, real or a hypervisor's, and not made of software: `0000:00:03.0`, `virtio0`.
    pub fn bus(&self) -> Option<String> {
        // A device of software says nothing, or no address (`N/A`, `tap`).
        self.driver_text(3).ok().filter(|bus| bus.contains([':', '.']) || bus.starts_with("virtio"))
    }

    /// One of the texts of `struct ethtool_drvinfo`: driver, version, firmware, bus.
    fn driver_text(&self, number: usize) -> io::Result<String> {
        const ETHTOOL_GDRVINFO: u32 = 3;
        // A command, five texts of 32, 12 reserved, five numbers.
        let mut info = [0u32; 49];
        info[0] = ETHTOOL_GDRVINFO;
        self.ethtool(&mut info)?;
        let words = &info[1 + number * 8..][..8];
        let text: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }

    /// How many receive queues are in use. A device that cannot say has one.
    ///
    /// # Errors
    /// As for [`Self::index`].
    pub fn rx_queues(&self) -> io::Result<u32> {
        Ok(self.queues()?.0)
    }

    /// How many transmit queues are in use. A device that cannot say has one.
    ///
    /// # Errors
    /// As for [`Self::index`].
    pub fn tx_queues(&self) -> io::Result<u32> {
        Ok(self.queues()?.1)
    }

    /// Receive and transmit queues in use.
    fn queues(&self) -> io::Result<(u32, u32)> {
        const ETHTOOL_GCHANNELS: u32 = 0x3c;
        // struct ethtool_channels: the command; the most rx, tx, other, combined; those in use in the same order.
        let mut channels = [0u32; 9];
        channels[0] = ETHTOOL_GCHANNELS;
        match self.ethtool(&mut channels) {
            Ok(()) => Ok(((channels[5] + channels[8]).max(1), (channels[6] + channels[8]).max(1))),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok((1, 1)),
            Err(error) => Err(error),
        }
    }

    fn flags(&self) -> io::Result<libc::c_int> {
        Ok(self.query(libc::SIOCGIFFLAGS)?.flags())
    }

    fn change_flag(&self, flag: libc::c_int, on: bool) -> io::Result<()> {
        let flags = self.flags()?;
        let wanted = if on { flags | flag } else { flags & !flag };
        let [low, high, ..] = wanted.to_le_bytes();
        self.change(libc::SIOCSIFFLAGS, &u16::from_le_bytes([low, high]).to_ne_bytes())
    }

    fn query(&self, request: libc::c_ulong) -> io::Result<InterfaceRequest> {
        self.ioctl(request, self.request(&[])?)
    }

    fn change(&self, request: libc::c_ulong, data: &[u8]) -> io::Result<()> {
        self.ioctl(request, self.request(data)?).map(|_| ())
    }

    /// A request about the device, by the name it has now.
    fn request(&self, data: &[u8]) -> io::Result<InterfaceRequest> {
        let Some(index) = self.index else { return InterfaceRequest::new(&self.name, data) };
        let mut by_index = InterfaceRequest::empty();
        by_index.data[..4].copy_from_slice(&index.to_ne_bytes());
        InterfaceRequest::new(&self.ioctl(libc::SIOCGIFNAME, by_index)?.name(), data)
    }

    /// `words` begins with the ethtool command and is as long as the command's structure.
    pub(super) fn ethtool<const WORDS: usize>(&self, words: &mut [u32; WORDS]) -> io::Result<()> {
        const SIOCETHTOOL: libc::c_ulong = 0x8946;
        let address = (&raw mut *words).expose_provenance();
        self.change(SIOCETHTOOL, &address.to_ne_bytes())
    }

    fn ioctl(&self, request: libc::c_ulong, mut argument: InterfaceRequest) -> io::Result<InterfaceRequest> {
        // SAFETY: every request sent here takes an ifreq, which `argument` is laid out as; the one that follows a
        // pointer inside it (SIOCETHTOOL) was given an array as long as its command's structure.
        check(unsafe { libc::ioctl(self.socket.as_raw_fd(), request as _, &raw mut argument) }).map_err(
            |error| {
                let kind = match error.raw_os_error() {
                    Some(libc::ENODEV) => io::ErrorKind::NotFound,
                    _ => error.kind(),
                };
                io::Error::new(kind, format!("{}: {error}", self.name))
            },
        )?;
        Ok(argument)
    }
}

/// `struct ifreq` of netdevice(7): a device's name and up to 24 bytes whose meaning is the request's.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    data: [u8; 24],
}

const _: () = assert!(size_of::<InterfaceRequest>() == size_of::<libc::ifreq>());

impl InterfaceRequest {
    /// A request about `name`, with `data` (at most 24 bytes) at the beginning of its union.
    pub(super) fn new(name: &str, data: &[u8]) -> io::Result<Self> {
        let mut request = Self { name: name_bytes(name)?, data: [0; 24] };
        request.data[..data.len()].copy_from_slice(data);
        Ok(request)
    }

    /// A request for the kernel to fill.
    pub(super) fn empty() -> Self {
        Self { name: [0; libc::IFNAMSIZ], data: [0; 24] }
    }

    /// The flags that the kernel answered.
    pub(super) fn flags(&self) -> libc::c_int {
        let [low, high, ..] = self.data;
        libc::c_int::from(u16::from_ne_bytes([low, high]))
    }

    /// The device that the kernel answers about.
    pub(super) fn name(&self) -> String {
        let end = self.name.iter().position(|&byte| byte == 0).unwrap_or(self.name.len());
        String::from_utf8_lossy(&self.name[..end]).into_owned()
    }

    fn u32(&self) -> u32 {
        let [a, b, c, d, ..] = self.data;
        u32::from_ne_bytes([a, b, c, d])
    }
}

/// A device's name as the kernel wants it: at most 15 bytes, none of them `/`, `:` or white space.
fn name_bytes(name: &str) -> io::Result<[u8; libc::IFNAMSIZ]> {
    let odd = |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name == "." || name == ".." || name.bytes().any(odd)
    {
        let text = format!("`{name}` cannot name a network device: 1 to 15 bytes without `/`, `:` or space");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut bytes = [0; libc::IFNAMSIZ];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Ok(bytes)
}

fn control_socket() -> io::Result<OwnedFd> {
    // SAFETY: socket takes no pointer.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })
        .map_err(|e| context(e, "a socket to ask about network devices"))?;
    // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_what_every_linux_says_it_is() {
        let lo = Netdev::new("lo", None).unwrap();
        assert_eq!(lo.index().unwrap(), 1);
        assert!(lo.mtu().unwrap() > 0);
        assert!(lo.mac().unwrap().is_zero());
        assert_eq!(lo.rx_queues().unwrap(), 1);
        assert_eq!(lo.driver().unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_device_that_is_not_there_is_not_found_by_name() {
        let error = Netdev::new("rsw-nowhere", None).unwrap().mtu().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("rsw-nowhere"));
    }

    #[test]
    fn names_that_the_kernel_would_refuse_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "a:1", "sixteen-letters-", "nul\0"] {
            assert_eq!(Netdev::new(name, None).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
