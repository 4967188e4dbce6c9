//! The addresses of network devices: put there, taken away, and followed as others do so (rtnetlink(7)).

use std::io;
use std::net::IpAddr;

use super::context;
use super::netdev::Netdev;
use super::netlink::{Message, Netlink, attribute, messages, request};
use super::netns::{Netns, inside};

const ADDRESS: u16 = 1; // IFA_ADDRESS
const LOCAL: u16 = 2; // IFA_LOCAL

/// Gives the device `name` in `netns`, or in the calling thread's namespace, an address with its prefix. It is usable at once:
/// IPv6 does not look for duplicates first. That the device has it already is no error.
///
/// # Errors
/// `NotFound` without such a device; `PermissionDenied` where its IPv6 is off, and without `CAP_NET_ADMIN`.
pub fn add(name: &str, netns: Option<&Netns>, address: IpAddr, prefix_length: u8) -> io::Result<()> {
    const NO_DUPLICATES: u8 = 2; // IFA_F_NODAD
    let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    let doing = |e| context(e, format_args!("giving {name} the address {address}/{prefix_length}"));
    ask(libc::RTM_NEWADDR, flags, name, netns, (address, prefix_length), NO_DUPLICATES).map_err(doing)
}

/// Takes an address away. That the device has it no more is no error.
///
/// # Errors
/// `NotFound` without such a device; `PermissionDenied` without `CAP_NET_ADMIN`.
pub fn remove(name: &str, netns: Option<&Netns>, address: IpAddr, prefix_length: u8) -> io::Result<()> {
    match ask(libc::RTM_DELADDR, 0, name, netns, (address, prefix_length), 0) {
        Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
        result => {
            result.map_err(|e| context(e, format_args!("taking {address}/{prefix_length} from {name}")))
        }
    }
}

fn ask(
    kind: u16,
    flags: libc::c_int,
    name: &str,
    netns: Option<&Netns>,
    (address, prefix_length): (IpAddr, u8),
    address_flags: u8,
) -> io::Result<()> {
    const BROADCAST: u16 = 4; // IFA_BROADCAST
    let index = Netdev::new(name, netns)?.index()?;
    let (family, octets, broadcast) = match address {
        IpAddr::V4(v4) => {
            let host = u32::MAX.checked_shr(prefix_length.into()).unwrap_or(0);
            // A prefix of 31 or 32 bits has no room for one.
            let broadcast = (host > 1).then(|| (v4.to_bits() | host).to_be_bytes().to_vec());
            (libc::AF_INET, v4.octets().to_vec(), broadcast)
        }
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec(), None),
    };
    let [a, b, c, d] = index.to_ne_bytes();
    let family = u8::try_from(family).unwrap_or_default();
    // struct ifaddrmsg: family, prefix, flags, scope, index.
    let header = [family, prefix_length, address_flags, 0, a, b, c, d];
    let mut attributes = vec![(LOCAL, &octets[..]), (ADDRESS, &octets)];
    attributes.extend(broadcast.as_deref().map(|broadcast| (BROADCAST, broadcast)));
    let question = request(kind, flags | libc::NLM_F_ACK, &header, &attributes);
    inside(netns, || Netlink::open(libc::NETLINK_ROUTE, 0)?.transact(&question, 1))?
}

/// What has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressNews {
    /// A device has an address.
    Here,
    /// The device of this number has lost one, as it has all when it goes itself.
    Gone(u32),
    /// Some news was lost: look at all.
    Missed,
}

/// A namespace's addresses, from any thread.
#[derive(Debug)]
pub struct Addresses {
    news: Netlink,
    questions: Netlink,
}

impl Addresses {
    /// Those of the calling thread's namespace. News is collected from here on.
    ///
    /// # Errors
    /// The kernel's, when there is no descriptor left.
    pub fn open() -> io::Result<Self> {
        const ADDRESS_GROUPS: u32 = 1 << 4 | 1 << 8; // RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
        let socket = |groups| Netlink::open(libc::NETLINK_ROUTE, groups);
        let open = || Ok(Self { news: socket(ADDRESS_GROUPS)?, questions: socket(0)? });
        open().map_err(|e| context(e, "watching addresses"))
    }

    /// Every address there is, with the number of its device.
    ///
    /// # Errors
    /// The kernel's.
    pub fn all(&self) -> io::Result<Vec<(u32, IpAddr)>> {
        let question = request(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS_HEADER], &[]);
        let answer = self.questions.ask(&question).map_err(|e| context(e, "asking for addresses"))?;
        let told = answer.iter().filter_map(|(_, body)| told(body));
        Ok(told.map(|told| (told.index, told.address)).collect())
    }

    /// What has changed since the last call, in order; nothing if nothing has.
    pub fn news(&self) -> Vec<AddressNews> {
        let mut news = Vec::new();
        loop {
            match self.news.receive() {
                Ok(datagram) => news.extend(messages(&datagram).filter_map(read)),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => news.push(AddressNews::Missed),
                Err(_) => return news,
            }
        }
    }
}

fn read(message: Message<'_>) -> Option<AddressNews> {
    match message.kind {
        libc::RTM_NEWADDR => Some(AddressNews::Here),
        libc::RTM_DELADDR => told(message.body).map(|told| AddressNews::Gone(told.index)),
        _ => None,
    }
}

/// Bytes of `struct ifaddrmsg`: family, prefix, flags, scope, index.
pub(super) const ADDRESS_HEADER: usize = 8;

/// What a message says of an address.
pub(super) struct Told {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) prefix_length: u8,
    pub(super) scope: u8,
}

pub(super) fn told(body: &[u8]) -> Option<Told> {
    let (&[_, prefix_length, _, scope, a, b, c, d], attributes) =
        body.split_first_chunk::<ADDRESS_HEADER>()?;
    let octets = attribute(attributes, LOCAL).or_else(|| attribute(attributes, ADDRESS))?;
    let address = match *octets {
        [a, b, c, d] => IpAddr::from([a, b, c, d]),
        _ => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
    };
    Some(Told { index: u32::from_ne_bytes([a, b, c, d]), address, prefix_length, scope })
}
