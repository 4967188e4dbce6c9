//! What an operator may say about a bridge's snooping of multicast groups, validated.

use std::net::IpAddr;
use std::time::Duration;

use crate::ids::VlanId;
use crate::wire::multicast::{Group, is_for_all};

/// Snooping's part of a `[[bridge]]`, with the kernel's defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MulticastConfig {
    /// Whether the bridge looks at who is in which group. If not, what is for groups goes to all.
    pub snooping: bool,
    /// Whether the bridge asks who is, when nobody else does.
    pub querier: bool,
    /// How many groups it learns; one more, and it snoops no longer.
    pub hash_max: u32,
    /// How many answers it waits for after a station has left.
    pub last_member_count: u32,
    /// How long one of them may take.
    pub last_member_interval: Duration,
    /// How long a report is believed.
    pub membership_interval: Duration,
    /// How long another querier is believed to be there.
    pub querier_interval: Duration,
    /// How often the bridge asks.
    pub query_interval: Duration,
    /// How long an answer may take.
    pub query_response_interval: Duration,
    /// How many times it asks more often on a port that comes up.
    pub startup_query_count: u32,
    /// How often then.
    pub startup_query_interval: Duration,
}

impl Default for MulticastConfig {
    fn default() -> Self {
        Self {
            snooping: true,
            querier: false,
            hash_max: 4096,
            last_member_count: 2,
            last_member_interval: Duration::from_secs(1),
            membership_interval: Duration::from_secs(260),
            querier_interval: Duration::from_secs(255),
            query_interval: Duration::from_secs(125),
            query_response_interval: Duration::from_secs(10),
            startup_query_count: 2,
            startup_query_interval: Duration::from_millis(31_250),
        }
    }
}

/// Snooping's part of a `[[bridge.port]]`, with the kernel's defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MulticastPort {
    /// Whether there is a router behind it.
    pub router: RouterPort,
    /// Whether a station that leaves a group is forgotten at once.
    pub fast_leave: bool,
    /// Whether every member gets a copy to its own address.
    pub to_unicast: bool,
    /// How many groups it may be in; zero for as many as the bridge has room for.
    pub max_groups: u32,
}

/// Whether there is a router behind a port: the kernel's `MDB_RTR_TYPE_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RouterPort {
    /// No, whatever it says (0).
    Never,
    /// As it is heard to be (1).
    #[default]
    Learned,
    /// Yes (2).
    Always,
}

/// One `[[bridge.mdb]]`: a port that is in a group for as long as the file says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MdbEntryConfig {
    /// The member, by name.
    pub device: String,
    /// A group that [`group_fault`] finds nothing wrong with.
    pub group: Group,
    /// The VLAN that it is in the group in, of a bridge that filters.
    pub vlan: Option<VlanId>,
}

/// Why nothing can be made a member of this group by hand (`is_valid_mdb_entry`, net/bridge/br_mdb.c).
pub fn group_fault(group: Group) -> Option<&'static str> {
    match group {
        Group::Mac(mac) if !mac.is_group() => Some("is the address of a station, and not a group"),
        Group::Ip(address) if !address.is_multicast() => Some("is not a multicast address"),
        Group::Ip(IpAddr::V4(address)) if is_for_all(address.into()) => {
            Some("is link-local (224.0.0.0/24), and goes to all ports anyway")
        }
        Group::Ip(address) if is_for_all(address) => Some("is all nodes, and goes to all ports anyway"),
        _ => None,
    }
}
