//! The network devices of a namespace as rtnetlink(7) tells them: what there is, what changes, where one has gone.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::context;
use super::netlink::{Message, Netlink, attribute, messages, number, request};
use super::netns::Netns;
use crate::ids::MacAddr;

/// One device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The kernel's number for it, unique in its namespace.
    pub index: u32,
    /// Its name now.
    pub name: String,
    /// The longest payload of a frame: bytes after the Ethernet header.
    pub mtu: u32,
    /// Its MAC address; zero where it has none.
    pub mac: MacAddr,
    /// It is up by configuration.
    pub up: bool,
    /// It is up and has a carrier, as its driver says at this moment.
    pub running: bool,
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkNews {
    /// A device is there, and is like this now.
    Here(Link),
    /// One is no more.
    Left {
        /// The number it had.
        index: u32,
        /// Where it has moved to: the namespace, by the number that this one knows it by, and its index there; `None`:
        /// it was deleted.
        moved_to: Option<(u32, u32)>,
    },
    /// Some news was lost: look at all devices.
    Missed,
}

/// A namespace's devices, from any thread.
#[derive(Debug)]
pub struct Links {
    news: Netlink,
    questions: Netlink,
}

impl Links {
    /// The devices of `netns`, or of the calling thread's namespace. News is collected from here on.
    ///
    /// # Errors
    /// The kernel's, when the namespace may not be entered or there is no descriptor left.
    pub fn open(netns: Option<&Netns>) -> io::Result<Self> {
        const LINK_GROUP: u32 = 1; // RTMGRP_LINK
        let open = || -> io::Result<Self> {
            let socket = |groups| Netlink::open(libc::NETLINK_ROUTE, groups);
            Ok(Self { news: socket(LINK_GROUP)?, questions: socket(0)? })
        };
        let opened = match netns {
            Some(netns) => netns.run(open)?,
            None => open(),
        };
        opened.map_err(|e| context(e, "watching network devices"))
    }

    /// Every device there is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn all(&self) -> io::Result<Vec<Link>> {
        const STATISTICS_LEFT_OUT: u32 = 8; // RTEXT_FILTER_SKIP_STATS
        const EXT_MASK: u16 = 29; // IFLA_EXT_MASK
        let filter = STATISTICS_LEFT_OUT.to_ne_bytes();
        let question =
            request(libc::RTM_GETLINK, libc::NLM_F_DUMP, &[0; LINK_HEADER], &[(EXT_MASK, &filter)]);
        let answer = self.questions.ask(&question)?;
        Ok(answer
            .iter()
            .filter(|(kind, _)| *kind == libc::RTM_NEWLINK)
            .filter_map(|(_, body)| link(body))
            .collect())
    }

    /// What has changed since the last call, in order; nothing if nothing has.
    pub fn news(&self) -> Vec<LinkNews> {
        let mut news = Vec::new();
        loop {
            match self.news.receive() {
                Ok(datagram) => news.extend(messages(&datagram).filter_map(read)),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => news.push(LinkNews::Missed),
                Err(_) => return news,
            }
        }
    }

    /// Frames for a device that it dropped, since it was made.
    ///
    /// # Errors
    /// `NotFound` when there is no such device.
    pub fn tx_dropped(&self, index: u32) -> io::Result<u64> {
        const GET_STATISTICS: u16 = 94; // RTM_GETSTATS
        const LINK_64: u16 = 1; // IFLA_STATS_LINK_64
        const TX_DROPPED: usize = 7; // in struct rtnl_link_stats64, in numbers of eight bytes
        let [a, b, c, d] = index.to_ne_bytes();
        let [e, f, g, h] = (1u32 << (LINK_64 - 1)).to_ne_bytes();
        let header = [0, 0, 0, 0, a, b, c, d, e, f, g, h]; // struct if_stats_msg
        let answer = self.questions.ask(&request(GET_STATISTICS, 0, &header, &[])).map_err(not_found)?;
        let body = answer.first().and_then(|(_, body)| body.get(header.len()..));
        let statistics = body.and_then(|attributes| attribute(attributes, LINK_64));
        let dropped = statistics.and_then(|numbers| numbers.get(TX_DROPPED * 8..)?.first_chunk::<8>());
        dropped.map(|number| u64::from_ne_bytes(*number)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The number by which this namespace knows `netns`, if it does.
    ///
    /// # Errors
    /// The kernel's.
    pub fn number_of(&self, netns: &Netns) -> io::Result<Option<u32>> {
        const GET: u16 = 90; // RTM_GETNSID
        const ID: u16 = 1; // NETNSA_NSID
        const DESCRIPTOR: u16 = 3; // NETNSA_FD
        let descriptor = netns.as_fd().as_raw_fd().to_ne_bytes();
        let answer = self.questions.ask(&request(GET, 0, &[0; 4], &[(DESCRIPTOR, &descriptor)]))?;
        let body = answer.first().and_then(|(_, body)| body.get(4..));
        let id = body.and_then(|attributes| attribute(attributes, ID)).map(number);
        Ok(id.and_then(|id| u32::try_from(id).ok()).filter(|&id| id != u32::MAX)) // -1: it does not
    }
}

/// Readable when there is news.
impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }
}

/// Bytes of `struct ifinfomsg`: family, padding, type, index, flags, which of them changed.
pub(super) const LINK_HEADER: usize = 16;

fn read(message: Message<'_>) -> Option<LinkNews> {
    const NEW_NAMESPACE: u16 = 45; // IFLA_NEW_NETNSID
    const NEW_INDEX: u16 = 49; // IFLA_NEW_IFINDEX
    match message.kind {
        libc::RTM_NEWLINK => link(message.body).map(LinkNews::Here),
        libc::RTM_DELLINK => {
            let (index, _, attributes) = header(message.body)?;
            let told = |kind| attribute(attributes, kind).and_then(|value| u32::try_from(number(value)).ok());
            let moved_to = told(NEW_NAMESPACE).map(|namespace| (namespace, told(NEW_INDEX).unwrap_or(index)));
            Some(LinkNews::Left { index, moved_to })
        }
        _ => None,
    }
}

pub(super) fn link(body: &[u8]) -> Option<Link> {
    const ADDRESS: u16 = 1; // IFLA_ADDRESS
    const NAME: u16 = 3; // IFLA_IFNAME
    const MTU: u16 = 4; // IFLA_MTU
    let (index, flags, attributes) = header(body)?;
    let is = |flag: libc::c_int| flags & flag == flag;
    let name = attribute(attributes, NAME)?;
    let mac = attribute(attributes, ADDRESS).and_then(|octets| <[u8; 6]>::try_from(octets).ok());
    Some(Link {
        index,
        name: String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned(),
        mtu: u32::try_from(number(attribute(attributes, MTU)?)).ok()?,
        mac: mac.map_or(MacAddr::ZERO, MacAddr::new),
        up: is(libc::IFF_UP),
        running: is(libc::IFF_UP | libc::IFF_LOWER_UP),
    })
}

/// Index, flags and attributes of a message about a device; `None` for what bridges tell of their ports by the same name.
fn header(body: &[u8]) -> Option<(u32, libc::c_int, &[u8])> {
    let (header, attributes) = body.split_first_chunk::<LINK_HEADER>()?;
    let [family, _, _, _, a, b, c, d, e, f, g, h, ..] = *header;
    (i32::from(family) == libc::AF_UNSPEC).then_some((
        u32::from_ne_bytes([a, b, c, d]),
        i32::from_ne_bytes([e, f, g, h]),
        attributes,
    ))
}

fn not_found(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::ENODEV) { io::ErrorKind::NotFound.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_devices() {
        let links = Links::open(None).unwrap();
        let all = links.all().unwrap();
        let lo = all.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!((lo.index, lo.mac), (1, MacAddr::ZERO));
        assert!(lo.mtu > 0);
        assert_eq!(links.tx_dropped(1).unwrap(), 0);
        assert_eq!(links.tx_dropped(u32::MAX >> 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_a_bridge_tells_of_its_ports_is_no_news_of_devices() {
        let told = |family: u8, kind| {
            let mut header = [0; LINK_HEADER];
            header[0] = family;
            header[4..8].copy_from_slice(&7u32.to_ne_bytes());
            let message = request(kind, 0, &header, &[(3, b"p0\0"), (4, &1500u32.to_ne_bytes())]);
            messages(&message).find_map(read)
        };
        assert_eq!(told(7, libc::RTM_DELLINK), None);
        assert_eq!(told(0, libc::RTM_DELLINK), Some(LinkNews::Left { index: 7, moved_to: None }));
        let Some(LinkNews::Here(link)) = told(0, libc::RTM_NEWLINK) else { panic!("a device was told of") };
        assert_eq!((link.name.as_str(), link.mtu, link.up), ("p0", 1500, false));
    }
}
