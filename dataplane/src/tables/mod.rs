//! What workers consult and do not own: the compiled tables, published whole, and the MAC table, learned live.

mod adjacency;
mod by_mac;
mod children;
mod knobs;
pub mod mac;
mod macvlan;
mod mdb;
mod neighbors;
pub mod next_hop;
mod published;
pub mod route;
mod routing;
mod snapshot;
mod stack;
mod tunnels;
mod vlans;
mod vxlan;

pub use adjacency::Adjacencies;
pub use by_mac::MacSpot;
pub use children::{Children, ChildrenId, IpvlanFlag, Place};
pub use knobs::{Knobs, PortState};
pub use mac::{
    BadStorage, Bucket, Buckets, Egress, Entry, Flags, Key, Learned, MacControl, MacTable, Peer, Spot,
    TableFull, Tick,
};
pub use macvlan::{
    BroadcastQueue, Child, Hearers, Macvlan, MacvlanDescent, MacvlanMode, Macvlans, MacvlansId,
};
pub use mdb::{Family, Mdb, Path, Snooped, Target, Way};
pub use neighbors::Neighbors;
pub use published::{Generation, Publisher, Reader};
pub use routing::{Interface, Routing, Ways};
pub use snapshot::{Device, Domain, Flood, HostPort, OfVlan, Role, Tables, WorkerId};
pub use stack::{Descent, IpvlanDescent, PatchDescent, Tags, TagsId, VlanDescent};
pub use tunnels::{
    Arrival, Carries, Ends, IpDemux, IpTunnel, IpTunnelId, IpipDescent, Reach, Remote, RemoteId, Tunnels,
    station_of,
};
pub use vlans::{MacVlans, Special, Translation, VlanPort, Vlans};
pub(crate) use vxlan::mapped;
pub use vxlan::{Df, Listener, ListenerId, Network, Networks, Peers, Services, Vxlan, VxlanDescent, VxlanId};
