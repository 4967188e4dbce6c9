//! What a bridge that snoops reads from a frame to a group: which group it is for, and what it says about groups.
//!
//! Frames are sorted as the kernel's bridge sorts them (`br_multicast_rcv`, net/bridge/br_multicast.c); what it drops as
//! malformed is an error here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use super::checksum::Sum;
use super::ethernet::{EtherType, Ethernet};
use super::igmp;
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::mld;
use super::vlan::Vlan;
use super::{IpProtocol, Malformed};
use crate::ids::MacAddr;

/// What hosts may be members of. Its text is bridge(8)'s.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Group {
    /// An IP group.
    Ip(IpAddr),
    /// A group address of Ethernet, for what is not IP.
    Mac(MacAddr),
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Mac(address) => address.fmt(f),
        }
    }
}

impl FromStr for Group {
    type Err = NotAGroup;

    fn from_str(text: &str) -> Result<Self, NotAGroup> {
        let ip = || text.parse().ok().map(Self::Ip);
        let mac = || text.parse().ok().map(Self::Mac);
        ip().or_else(mac).ok_or_else(|| NotAGroup(text.to_owned()))
    }
}

/// Text that is no address at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no group: give an IP multicast address, as 239.1.1.1, or a MAC address")]
pub struct NotAGroup(String);

/// A frame to a group, as a snooping bridge sees it.
#[derive(Clone, Copy, Debug)]
pub enum Multicast<'a> {
    /// It is for the members of this group.
    Data {
        /// The group.
        group: Group,
        /// It is worth nothing to those who have not asked for it: without members it goes to routers only. Link-local
        /// groups of IPv4, IPv6's all nodes and what is not IP go to all instead.
        for_routers: bool,
        /// Its sender is a multicast router: it says so by PIM or by multicast router discovery (RFC 7761, 4286).
        from_router: bool,
    },
    /// It says something about groups, and goes to all, or to the routers if it is [`Message::Join`].
    Message {
        /// Whether it is IGMP, and of the groups of IPv4.
        ipv4: bool,
        /// What it says; `None` for what a bridge has no use for.
        message: Option<Message<'a>>,
    },
}

/// What hosts and routers say about groups (RFC 2236, 3376, 2710, 3810).
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// A router asks who is in this group, or, with none, in which ones they are.
    Query {
        /// The group.
        group: Option<Group>,
        /// How long hosts may take to answer.
        response: Duration,
        /// The router.
        querier: IpAddr,
    },
    /// A host is in this group: a report of IGMPv1 or 2, or MLDv1.
    Join(Group),
    /// A host has left this group.
    Leave(Group),
    /// A report of IGMPv3 or MLDv2.
    Report(Records<'a>),
}

/// The records of a report: each says that its sender is in a group, or no longer is.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    pub(super) count: u16,
    pub(super) bytes: &'a [u8],
    pub(super) ipv4: bool,
}

/// One of them. A bridge that speaks IGMPv2 and MLDv1, as the kernel's does unless told otherwise, takes no notice of
/// sources: whoever wants some of a group's is in the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// The group.
    pub group: Group,
    /// It wants nothing from it any more.
    pub leaves: bool,
}

impl Multicast<'_> {
    /// What is in the whole frame `frame`, which is to a group and may have one tag.
    ///
    /// # Errors
    /// [`Malformed`], for frames that a bridge is to drop: IP headers, IGMP or MLD messages that contradict themselves.
    pub fn view(frame: &[u8]) -> Result<Multicast<'_>, Malformed> {
        let ethernet = Ethernet::view(frame)?;
        let (mut ether_type, mut payload) = (ethernet.ether_type(), ethernet.payload());
        if ether_type.is_tag() {
            let tag = Vlan::view(payload)?;
            (ether_type, payload) = (tag.ether_type(), tag.payload());
        }
        view_payload(&ethernet, ether_type, payload)
    }

    /// The same of one whose tags are payload.
    ///
    /// # Errors
    /// As [`Multicast::view`].
    pub fn view_untagged(frame: &[u8]) -> Result<Multicast<'_>, Malformed> {
        let ethernet = Ethernet::view(frame)?;
        view_payload(&ethernet, ethernet.ether_type(), ethernet.payload())
    }
}

fn view_payload<'a>(
    ethernet: &Ethernet<'a>,
    ether_type: EtherType,
    payload: &'a [u8],
) -> Result<Multicast<'a>, Malformed> {
    match ether_type {
        EtherType::IPV4 => view_ipv4(payload),
        EtherType::IPV6 => view_ipv6(&Ipv6::view(payload)?),
        _ => Ok(Multicast::Data {
            group: Group::Mac(ethernet.destination()),
            for_routers: false,
            from_router: false,
        }),
    }
}

const ALL_PIM_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 13);
const ALL_SNOOPERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 106);
const ALL_SNOOPERS_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6a);
pub(super) const ALL_NODES: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
pub(super) const ALL_NODES_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Whether nobody reports this group, so that it goes to all: 224.0.0.0/24 (RFC 4541 §2.1.2), and all nodes of IPv6.
pub fn is_for_all(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(group) => group == ALL_NODES_6,
    }
}

fn view_ipv4(bytes: &[u8]) -> Result<Multicast<'_>, Malformed> {
    /// Version 2, type hello (RFC 7761 §4.9).
    const HELLO: u8 = 0x20;
    let packet = Ipv4::view(bytes)?;
    if !Sum::of(&bytes[..packet.header_len()]).is_intact() {
        return Err(Malformed::Ipv4);
    }
    let (source, group) = ipv4_addresses(&packet);
    let from_router = match packet.protocol() {
        IpProtocol::IGMP => match igmp::view(packet.payload(), source, group)? {
            igmp::Igmp::Snooped(message) => return Ok(Multicast::Message { ipv4: true, message }),
            igmp::Igmp::RouterAdvertisement => group == ALL_SNOOPERS,
            igmp::Igmp::Other => false,
        },
        IpProtocol::PIM => group == ALL_PIM_ROUTERS && packet.payload().first() == Some(&HELLO),
        _ => false,
    };
    Ok(data(group.into(), from_router))
}

fn view_ipv6<'a>(packet: &Ipv6<'a>) -> Result<Multicast<'a>, Malformed> {
    const HOP_BY_HOP: IpProtocol = IpProtocol(0);
    let (source, group) = ipv6_addresses(packet);
    if packet.payload().is_empty() {
        return Err(Malformed::Ipv6); // a jumbogram, or nothing
    }
    if packet.next_header() != HOP_BY_HOP {
        return Ok(data(group.into(), false));
    }
    let from_router = match packet.transport()? {
        (IpProtocol::ICMPV6, bytes) => match mld::view(bytes, packet.addresses(), source, group)? {
            mld::Mld::Snooped(message) => return Ok(Multicast::Message { ipv4: false, message }),
            mld::Mld::RouterAdvertisement => group == ALL_SNOOPERS_6,
            mld::Mld::Other => false,
        },
        _ => false,
    };
    Ok(data(group.into(), from_router))
}

fn data<'a>(group: IpAddr, from_router: bool) -> Multicast<'a> {
    Multicast::Data { group: Group::Ip(group), for_routers: !is_for_all(group), from_router }
}

fn ipv4_addresses(packet: &Ipv4<'_>) -> (Ipv4Addr, Ipv4Addr) {
    let [a, b, c, d, e, f, g, h] = *packet.addresses().first_chunk().unwrap_or(&[0; 8]);
    (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h))
}

fn ipv6_addresses(packet: &Ipv6<'_>) -> (Ipv6Addr, Ipv6Addr) {
    let address = |from: usize| {
        let octets = packet.addresses().get(from..).and_then(<[u8]>::first_chunk);
        Ipv6Addr::from(*octets.unwrap_or(&[0; 16]))
    };
    (address(0), address(16))
}

impl Records<'_> {
    /// Whether all that it announces is there.
    pub(super) fn are_whole(&self) -> bool {
        self.into_iter().count() == usize::from(self.count)
    }
}

impl<'a> IntoIterator for Records<'a> {
    type Item = Option<Record>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        RecordIter(self)
    }
}

/// Goes through [`Records`]: `None` for one of a kind that is not known.
#[derive(Clone, Debug)]
pub struct RecordIter<'a>(Records<'a>);

impl Iterator for RecordIter<'_> {
    type Item = Option<Record>;

    fn next(&mut self) -> Option<Option<Record>> {
        // Type, length of auxiliary data in words, number of sources, group, sources, auxiliary data (RFC 3376 §4.2.4).
        const MODE_IS_INCLUDE: u8 = 1;
        const CHANGE_TO_INCLUDE: u8 = 3;
        const BLOCK_OLD_SOURCES: u8 = 6;
        let Records { count, bytes, ipv4 } = &mut self.0;
        *count = count.checked_sub(1)?;
        let (&[kind, auxiliary, high, low], rest) = bytes.split_first_chunk()?;
        let sources = usize::from(u16::from_be_bytes([high, low]));
        let (group, rest, address_len) = if *ipv4 {
            let (group, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*group), rest, 4)
        } else {
            let (group, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(*group), rest, 16)
        };
        *bytes = rest.get(sources * address_len + usize::from(auxiliary) * 4..)?;
        let leaves = sources == 0 && matches!(kind, MODE_IS_INCLUDE | CHANGE_TO_INCLUDE);
        let is_known = (MODE_IS_INCLUDE..=BLOCK_OLD_SOURCES).contains(&kind);
        Some(is_known.then_some(Record { group: Group::Ip(group), leaves }))
    }
}

#[cfg(test)]
mod tests;
