//! Where frames to groups go in a domain that snoops, compiled from what control has learned and been told.

use std::collections::HashMap;

use crate::drops::DropReason;
use crate::ids::{DeviceId, MacAddr};
use crate::wire::ethernet::Ethernet;
use crate::wire::multicast::{Group, Message, Multicast, is_for_all};

/// One copy of a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target {
    /// Where it leaves.
    pub device: DeviceId,
    /// Whom it is to instead of the group, on a port that sends to each member (`mcast_to_unicast`).
    pub station: Option<MacAddr>,
}

impl From<DeviceId> for Target {
    fn from(device: DeviceId) -> Self {
        Self { device, station: None }
    }
}

/// What there is for each version of IP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Family {
    /// The ports with routers behind them.
    pub routers: Box<[Target]>,
    /// Whether somebody asks who is in which group. Only then is it known, and are frames kept from anybody.
    pub has_querier: bool,
}

/// The multicast database of a domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mdb {
    /// Who is to have what is for a group: its members and the routers, those of IPv4 if it is not of IP.
    pub groups: HashMap<Group, Box<[Target]>>,
    /// Of IPv4.
    pub ipv4: Family,
    /// Of IPv6.
    pub ipv6: Family,
    /// Whether there are as many groups as there may be (`mcast_hash_max`).
    pub is_full: bool,
    /// The ports that are in as many groups as they may be (`mcast_max_groups`).
    pub full_ports: Box<[DeviceId]>,
}

/// Where a frame to a group goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path<'a> {
    /// Wherever groups are flooded to.
    Flood,
    /// To these, but those that may not have it.
    To(&'a [Target]),
    /// Nowhere.
    Refused(DropReason),
}

/// Why a frame to a group goes where it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Snooped {
    /// Somebody is known to be in this group: to its members and the routers.
    Members(Group),
    /// Nobody is: to the routers.
    NoMembers(Group),
    /// Its sender says that it is in this group, which only routers are to hear.
    Join(Group),
    /// Nobody asks who is in which group, so that it is not known: to all.
    NoQuerier,
    /// It is for a group that everybody is in, or says something to all.
    ForAll,
    /// It says what it may not, or cannot be understood: nowhere.
    Refused,
}

/// What a snooping bridge does with a frame to a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way<'a> {
    /// Where it goes.
    pub path: Path<'a>,
    /// And why.
    pub why: Snooped,
    /// Whether control is to have a copy: it says something about groups or routers.
    pub is_heard: bool,
}

impl Mdb {
    /// What to do with the whole frame `frame` from `device`, which is to a group and may have one tag if `may_be_tagged`
    /// (`br_handle_frame_finish`, net/bridge/br_input.c).
    pub fn way(&self, device: DeviceId, frame: &[u8], may_be_tagged: bool) -> Way<'_> {
        let view = if may_be_tagged { Multicast::view } else { Multicast::view_untagged };
        let refused = |reason| (Path::Refused(reason), Snooped::Refused);
        let ((path, why), is_heard) = match view(frame) {
            Err(_) => (refused(DropReason::GroupMalformed), false),
            Ok(Multicast::Message { ipv4, message }) => {
                let way = match &message {
                    Some(message) if self.refuses(device, frame, message) => refused(DropReason::MdbFull),
                    // A host that hears another's report may think that one is enough (RFC 4541 §2.1.1).
                    Some(Message::Join(group)) => self.to_routers(ipv4, Snooped::Join(*group)),
                    _ => (Path::Flood, Snooped::ForAll),
                };
                (way, message.is_some())
            }
            Ok(Multicast::Data { group, for_routers, from_router }) => {
                (self.to_members(group, for_routers), from_router)
            }
        };
        Way { path, why, is_heard }
    }

    fn family(&self, ipv4: bool) -> &Family {
        if ipv4 { &self.ipv4 } else { &self.ipv6 }
    }

    fn to_routers(&self, ipv4: bool, why: Snooped) -> (Path<'_>, Snooped) {
        let family = self.family(ipv4);
        if family.has_querier { (Path::To(&family.routers), why) } else { (Path::Flood, Snooped::NoQuerier) }
    }

    fn to_members(&self, group: Group, for_routers: bool) -> (Path<'_>, Snooped) {
        let known = self.groups.get(&group).map(|targets| (Path::To(targets), Snooped::Members(group)));
        match group {
            Group::Ip(address) if !self.family(address.is_ipv4()).has_querier => {
                (Path::Flood, Snooped::NoQuerier)
            }
            Group::Ip(address) if for_routers && known.is_none() => {
                self.to_routers(address.is_ipv4(), Snooped::NoMembers(group))
            }
            Group::Mac(_) | Group::Ip(_) => known.unwrap_or((Path::Flood, Snooped::ForAll)),
        }
    }

    /// Whether there is no room for what the message says that its sender is in.
    fn refuses(&self, device: DeviceId, frame: &[u8], said: &Message<'_>) -> bool {
        let is_full = self.full_ports.contains(&device);
        if !self.is_full && !is_full {
            return false;
        }
        let station = Ethernet::view(frame).map(|header| header.source()).ok();
        let has_room = |group: Group| match self.groups.get(&group) {
            None => matches!(group, Group::Ip(address) if is_for_all(address)),
            Some(targets) => {
                let is_sender =
                    |of: &Target| of.device == device && (of.station.is_none() || of.station == station);
                !is_full || targets.iter().any(is_sender)
            }
        };
        match *said {
            Message::Join(group) => !has_room(group),
            Message::Report(records) => {
                records.into_iter().flatten().any(|record| !record.leaves && !has_room(record.group))
            }
            Message::Leave(_) | Message::Query { .. } => false,
        }
    }
}
