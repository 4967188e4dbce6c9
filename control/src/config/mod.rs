//! The configuration file: read into the data plane's validated types, or refused with every problem that it has.
//!
//! Everything that can be said, with the value that is taken where nothing is:
//! ```toml
//! [switch]
//! socket = "/run/rigswitch/rig.sock"  # in another network namespace /run/rigswitch/netns-<inode>.sock
//! workers = 1                         # 1 to 64, or a list of CPUs to pin one to each: [2, 3]
//! idle = "adaptive"                   # or "spin": the lowest latency for a whole CPU a worker
//! frames = 16384                      # packet memory of each worker, 256 to 1048576; else it grows with the ports
//! mac_table = 65536                   # addresses that all bridges together have room for, 1024 to 16777216
//!
//! [[port]]
//! name = "eth0"                       # required, 1 to 15 bytes, as everything else refers to it
//! netns = "blue"                      # of the kernel's device; else the switch's own
//! worker = 0                          # the one that owns it; else the least loaded
//! mtu = 1500                          # 68 to 65535; else the device's own
//! # address = "02:00:00:00:00:01"     # of tap, pcap and memory: the switch's own there, if it is routed; else one that its name makes
//! # and one of:
//! xdp = { device = "eth0", mode = "auto", queues = "all", take = "all" }  # or xdp = "eth0"
//!                                     # mode: auto, native, generic, copy, zerocopy; queues: all, or the first so many
//!                                     # take: all, or mine: what is for an [[address]] of the port; all else is the host's
//! # tap = { device = "tap0", offload = true, queues = 1 }                 # or tap = "tap0"; made if it is not there
//! # packet = { device = "veth-c1", queues = 1 }                           # or packet = "veth-c1": any device, offloads and all
//! # device = "veth-c2"                # xdp for a card whose driver has native XDP, packet for everything else
//! # socket = { udp = [4789], ipip = false }                              # the host's own sockets: what tunnels send by a route there goes
//!                                     # by the host's routes. UDP ports taken at all its addresses; ipip: packets in packets too
//! # pcap = { input = "in.pcap", output = "out.pcap" }                     # or pcap = "in.pcap"; one of the two is enough
//! # memory = true                     # in process, for embedding and tests
//!
//! [[bridge]]
//! name = "br0"
//! ageing_time = "300s"                # also ms, m, h, or an integer of seconds; 0 learns nothing
//! host = true                         # the host takes part in it, by a TAP of the bridge's name; or what it is to be like:
//! # host = { addresses = ["192.0.2.1/24", "2001:db8::1/64"], netns = "blue" }
//! mtu = 1500                          # 68 to 65521, of its own device; else the smallest of the ports'
//! address = "02:00:00:00:00:fe"       # that device's, and what its spanning tree is known by; else the lowest of its ports
//! group_fwd_mask = 0x4000             # reserved addresses that pass: bit X for 01:80:C2:00:00:0X, not 0 to 2; else none
//! fdb_max_learned = 0                 # addresses it may have learned at one time; 0: as many as there is room for
//! no_linklocal_learn = false          # true: frames to reserved addresses that end in the bridge teach it nothing
//! mac_move_limit = 0                  # moves of one address within the window that are too many; 0: no number is
//! mac_move_window = "180s"            # from the first of them on; a port tells of 1000 moves a second at most
//! mac_move_action = "alarm"           # or hold (the address stays where it was), disable (the port that it moved to)
//! mac_move_time = "180s"              # how long that lasts; a disabled port comes back by `port set` too
//! vlan_filtering = false              # true: it tells VLANs apart; else it takes no notice of tags
//! vlan_protocol = "802.1Q"            # or "802.1ad": the tags that it knows; others are payload
//! vlan_default_pvid = 1               # 1 to 4094, the VLAN of ports of which nothing is said, without a tag; 0: none
//! vlan_stats_enabled = false          # true: frames are counted by VLAN
//! vlan_stats_per_port = false         # true: by VLAN and port
//! # vlan = { pvid = 1, untagged = [1], tagged = ["20-30"] }  # what the bridge itself is in, and the host with it; else its default
//! stp_state = false                   # true: it takes part in a spanning tree; else BPDUs pass as any group's frames
//! priority = 32768                    # the lowest is the root's
//! hello_time = "2s"                   # 1s to 10s; how often the root says that it is there
//! max_age = "20s"                     # 6s to 40s; how long that is believed
//! forward_delay = "15s"               # 2s to 30s; how long a port listens, and then learns, before it forwards
//! mcast_snooping = true               # false: what is for groups goes to all
//! mcast_querier = false               # true: it asks who is in which group, when nobody else does
//! mcast_hash_max = 4096               # groups it learns; one more, and it snoops no longer
//! mcast_last_member_count = 2         # answers it waits for after a station has left
//! mcast_last_member_interval = "1s"   # 0 to 25500ms; how long one of them may take
//! mcast_membership_interval = "260s"  # how long a report is believed
//! mcast_querier_interval = "255s"     # how long another querier is believed to be there
//! mcast_query_interval = "125s"       # at least 1s; how often it asks
//! mcast_query_response_interval = "10s"  # 0 to 25500ms; how long an answer may take
//! mcast_startup_query_count = 2       # times that it asks more often on a port that comes up
//! mcast_startup_query_interval = "31250ms"  # at least 1s; how often then
//! [[bridge.port]]
//! device = "eth0"
//! state = "forwarding"                # or disabled, listening, learning, blocking: all hold until changed; not with stp_state
//! learning = true
//! flood = true                        # frames to unknown stations go there
//! mcast_flood = true
//! bcast_flood = true
//! hairpin = false                     # true: a frame may go back where it came from
//! isolated = false                    # true: kept from the other isolated ports
//! locked = false                      # true: only those may send of whom the fdb says that they are behind this port
//! mab = false                         # true: others get a locked entry, which `fdb replace` makes one that lets them send
//! neigh_suppress = false              # true: ARP and neighbour discovery about a [[neighbor]] behind it are answered, not flooded to it
//! group_fwd_mask = 0                  # as the bridge's, for what comes from this port; any bit but 1
//! priority = 32                       # 0 to 63; of two ports that lead to one bridge the lower is used
//! # cost = 2                          # of the way by this port, 1 to 65535; else by the speed of its device
//! guard = false                       # true: a BPDU takes the port out of service until its link was down and up
//! root_block = false                  # true: the port never leads to the root
//! mcast_router = 1                    # a multicast router is behind it: 0 never, 1 when it is heard, 2 always
//! mcast_fast_leave = false            # true: who leaves a group is forgotten at once
//! mcast_to_unicast = false            # true: each member of a group gets a copy to its own address
//! mcast_max_groups = 0                # groups that it may be in; 0: as many as the bridge has room for
//! # transparent = true                # instead: every reserved address passes from this port, PAUSE too
//! # vlan = { pvid = 10, untagged = [10], tagged = [11, "20-30"] }  # what it is in while the bridge filters; else vlan_default_pvid.
//!                                     # Without pvid nothing may come that has no VLAN. The same in other words:
//! # access = 10                       # vlan = { pvid = 10, untagged = [10] }
//! # trunk = ["10-20"]                 # vlan = { tagged = ["10-20"] }, with native = 1 also pvid = 1, untagged = [1]
//! # tunnel = 200                      # dot1q-tunnel: this tag in front of whatever comes, and off what leaves; of an 802.1ad bridge an S-tag
//! # translate = [{ from = 10, to = 110 }]  # what is VLAN 10 on its wire is the bridge's 110, both ways
//! # vlan_tunnel = true                # of a [[vxlan]] that is external: VLANs are networks there, and tunnel_info says which
//! # tunnel_info = [{ vid = "10-19", id = "100-109" }]
//! mac_vlan = false                    # true: it is in the VLANs of all [[bridge.mac_vlan]], without a tag
//! [[bridge.fdb]]
//! mac = "02:00:00:00:00:01"           # of one station
//! device = "eth0"                     # a port of this bridge; for a permanent one also the bridge itself
//! state = "static"                    # or dynamic (ages), permanent (the bridge's own address)
//! sticky = false                      # true: it stays there when its station is seen elsewhere
//! # vlan = 10                         # in a bridge that filters; without it the entry is of every VLAN of the port
//!
//! [[bridge.mac_vlan]]                 # what stations send without a VLAN is of this one, ahead of the port's, if the port is in it
//! mac = "02:00:00:00:00:01"           # or the first bits of many, "00:1b:21:00:00:00/24", or any, "02:00:00:00:00:01/fe:00:00:00:00:ff":
//! vlan = 30                           # the rule that names the most bits holds
//!
//! [[bridge.mdb]]
//! device = "eth0"                     # a port of this bridge
//! grp = "239.1.1.1"                   # what it is in as long as this stands here; also IPv6, and MAC addresses for other frames
//! # vid = 10                          # in a bridge that filters; without it the port is in the group in every VLAN of its
//!
//! # [[xconnect]]                      # a wire between two ports that are in no bridge
//! # a = "p7"
//! # b = "p8"
//!
//! # [[vlan]]                          # one VLAN of a device, as a device of its own: a bridge's port, or cross-connected
//! # name = "eth0.10"
//! # link = "eth0"                     # the device that it stands on: a port, a bridge, or one that stands on another itself
//! # id = 10                           # 1 to 4094
//! # protocol = "802.1Q"               # or 802.1ad: the kind of tag
//! # address = "02:00:00:00:00:0a"     # else that of the device it stands on
//! # mtu = 1500                        # at most that of the device it stands on, which it is without this
//! # host = true                       # it is handed to the host as a TAP of its name; or { addresses, netns } as of a bridge
//!
//! # [[macvlan]]                       # one of several that share a device, each with an address of its own
//! # name = "mv0"
//! # link = "eth0"                     # what they share: a port, a bridge, or a VLAN of one, that has no other use
//! # mode = "vepa"                     # or private, bridge, passthru (the only one, which takes all), source: how they get on
//! # mac = "02:00:00:00:00:aa"         # else one that its name makes; of mode passthru that of the device it stands on
//! # macaddr = ["02:00:00:00:00:01"]   # of mode source: the stations that it hears
//! # nodst = false                     # of mode source: true: what they send is for nobody else
//! # compat = false                    # of mode private: true: what comes back from outside to one station is let in, as the kernel does
//! # nopromisc = false                 # of mode passthru: true: of what is for one station it takes what has its own address
//! # bcqueuelen = 1000                 # frames to groups of one burst that the children hear, the highest of theirs; 0: none
//! # bclim = 1                         # that holds for groups that more children hear than this; -1: for none; of all there
//! # mtu = 1500                        # as of a [[vlan]]
//! # host = true                       # the same
//!
//! # [[ipvlan]]                        # shares the address of a device, and has what is for its own IP addresses
//! # name = "iv1"
//! # link = "eth0"                     # a device that has no other use: a port, or a [[vlan]]
//! # mode = "l2"                       # to be said: the kernel's is l3 where nothing is; l3: the device routes for them, and has an [[address]]; l3s
//! # flag = "bridge"                   # or private (kept from the others on the device), vepa (they meet on the wire); of all there
//! # mtu = 1500                        # as of a [[vlan]]
//! # host = true                       # as of a [[vlan]]; its `addresses` are the ipvlan's, and need no [[address]]
//!
//! # [[ipip]]                          # a tunnel of IP packets in IPv4 packets, as `ip link add type ipip`; its ends of IPv6: in IPv6 packets, as `type ip6tnl`
//! # name = "tun0"
//! # local = "192.0.2.1"               # or any: the address that it sends from, one of a device of the switch
//! # remote = "198.51.100.1"           # or any: the far end is then the router that a route by it names (`onlink`)
//! # ttl = "inherit"                   # or 1 to 255: of outer packets
//! # tos = 0                           # or "inherit", "0x28"; its two bits of ECN are the inner packet's (RFC 6040)
//! # pmtudisc = true                   # false: outer packets may be fragmented as the inner one may
//! # ignore_df = false                 # true: whatever the inner one says; with pmtudisc = false
//! # mode = "ipip"                     # or ip6ip (IPv6 in IPv4, as `type sit`), any (both); over IPv6 any, or ipip6, ip6ip6
//! # mtu = 1480                        # 68 to 65515; else that of the device with `local`, less 20, over IPv6 less 48
//! #                                   # over IPv6, for ttl to ignore_df: hoplimit = 64, tclass = 0, flowlabel = 0 (or "inherit"), encaplimit = 4 (or "none")
//!
//! # [[vxlan]]                         # Ethernet frames in UDP packets, as `ip link add type vxlan`: a bridge's port, routed, or the host's
//! # name = "vtep245"
//! # id = 1                            # the network, 0 to 16777215
//! # local = "192.168.32.245"          # or none: the address of the device that it leaves by
//! # remote = "192.168.32.246"         # where what is for unknown stations goes; as an entry of 00:00:00:00:00:00
//! # group = "239.1.1.1"               # or instead of remote: the group that dev takes part in; its packets have a TTL of 1 unless said
//! # external = true                   # instead of id: VLANs of its bridge's port say which network (vlan_tunnel, tunnel_info)
//! # vnifilter = true                  # and of that: packets of these are taken and no others
//! # vni = [100, "200-210"]
//! # dev = "eth0"                      # or none: the device that it must leave by, whose MTU it then takes, less the outer headers
//! # dstport = 8472                    # the kernel's; 4789 is that of RFC 7348
//! # srcport = [32768, 60999]          # from the first to before the last, by flow
//! # ttl = "auto"                      # 64; or 1 to 255, or "inherit"
//! # tos = 0                           # or "inherit", "0x28"; its two bits of ECN are the inner packet's
//! # df = "unset"                      # or set, inherit: whether outer IPv4 packets may not be fragmented
//! # learning = true                   # who is behind which far end
//! # ageing = "300s"                   # how long an entry that was learned lasts; 0: for ever
//! # maxaddress = 0                    # addresses it may have entries of; 0: any number
//! # udpcsum = true                    # outer UDP has a checksum over IPv4; over IPv6 it has one unless udp6zerocsumtx = true, and
//! #                                   # must have one unless udp6zerocsumrx = true
//! # compat = false                    # true: a header with any reserved bit set is refused, as the kernel does; RFC 7348 ignores them.
//! #                                   # reserved_bits = "0x00000000000000ff" names some of them
//! # address = "02:38:4a:12:3b:42"     # else one that its name and `local` make
//! # mtu = 1500                        # 68 to 65535; with dev at most what that carries, less the outer headers
//! # proxy = false                     # true: it answers for its [[neighbor]]s, and sends no such question; l3miss = true tells of others
//! # rsc = false                       # true: what is for a station with `router` goes to the neighbour that has its destination
//! # l2miss = false                    # true: stations without an entry are told of, by events
//! # host = true                       # as of a bridge
//! # fdb = [{ mac = "02:38:4a:12:3b:43", dst = "192.168.32.246" }]  # also port, vni, src_vni, via, router, state = "static"; several of a group
//! #                                   # and of 00:00:00:00:00:00, which stands for stations that nothing is known of
//!
//! # [[address]]                       # what for it goes to the device; one that the host has is not given it by this
//! # device = "iv1"                    # an ipvlan, or any device that has no other use, which is routed then: a port, a bridge, a VLAN
//! # address = "10.66.0.1/24"          # or an IPv6 address with its prefix; of one ipvlan on a device only
//!
//! # [[route]]                         # where packets go that come to a device with an [[address]]
//! # to = "172.246.0.0/24"             # the longest that an address begins with counts; default is 0.0.0.0/0
//! # via = "192.168.32.246"            # the router that is next; without it the network itself is behind the device
//! # device = "eth0"                   # where they leave; else the one in whose network the router is
//! # onlink = false                    # true: the router is behind the device whatever its addresses say
//! # nexthop = [{ via = "192.0.2.1", weight = 2 }, { via = "198.51.100.1" }]  # instead: several ways, by flow
//! # type = "unicast"                  # or blackhole, unreachable, prohibit, which lead nowhere
//!
//! # [routing]
//! # forwarding = true                 # false: only what is for the switch's own addresses is taken
//! # icmp_ratelimit = "1000/s"         # ICMP errors; 0: no limit
//! # rp_filter = false                 # true: packets are taken only from where answers would go (IPv4)
//! # fib_multipath_hash_policy = 0     # 0: a flow is two addresses; 1: and their ports
//! # dad_transmits = 1                 # how often others are asked whether they have an IPv6 address before it is used; 0: never
//!
//! [[neighbor]]                        # who has an address: for neigh_suppress, or behind a device that is routed
//! device = "br0"                      # a bridge, or a device with an [[address]]
//! address = "10.0.0.1"                # or an IPv6 address
//! mac = "02:00:00:00:00:01"
//! # vlan = 10                         # of a bridge that filters: the VLAN that it is in; without it nobody there is told
//! ```

mod address;
mod bridge;
mod edit;
mod fdb;
mod fields;
mod heights;
mod host;
mod ipvlan;
mod mac_moves;
mod macvlan;
mod multicast;
mod neighbor;
mod origins;
mod plan;
mod port;
mod print;
mod problem;
mod roles;
mod route;
mod route_edit;
mod spanning_tree;
mod switch;
#[cfg(test)]
mod tests;
mod tunnel;
mod upper;
mod values;
mod vlan_edit;
mod vlans;
mod vxlan;

pub use plan::{Change, Edit, Frozen, Plan};
pub use print::Document;
pub use problem::{Problem, Refused};

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rigswitch_dataplane::bridge::{BridgeConfig, NeighborConfig, XconnectConfig};
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::{AddressConfig, PortConfig, PortKind};
use rigswitch_dataplane::routing::{RouteConfig, RoutingConfig};
use rigswitch_dataplane::tunnels::TunnelConfig;
use rigswitch_dataplane::upper::UpperConfig;
use toml::de::DeTable;

pub(crate) use fields::suggest;
pub(crate) use heights::Above;
pub(crate) use origins::Origins;
pub(crate) use problem::Problems;
pub(crate) use route::network_of;
pub(crate) use tunnel::{flow_label_word, limit_word, tos_word};
pub(crate) use values::parse_duration;
pub(crate) use vxlan::{Network, device_of, network_name, vni_of};

use fields::{Fields, Shape};
use roles::Roles;

/// What a file says, with every rule about it upheld.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// `[switch]`
    pub switch: SwitchConfig,
    /// Every `[[port]]`, in the order of the file.
    pub ports: Vec<PortConfig>,
    /// Every `[[bridge]]`, in the order of the file.
    pub bridges: Vec<BridgeConfig>,
    /// Every `[[xconnect]]`, in the order of the file.
    pub xconnects: Vec<XconnectConfig>,
    /// Every device that stands on another, in the order of the file.
    pub uppers: Vec<UpperConfig>,
    /// Every tunnel, in the order of the file.
    pub tunnels: Vec<TunnelConfig>,
    /// Every `[[address]]`, in the order of the file.
    pub addresses: Vec<AddressConfig>,
    /// `[routing]`
    pub routing: RoutingConfig,
    /// Every `[[route]]`, in the order of the file.
    pub routes: Vec<RouteConfig>,
    /// Every `[[neighbor]]`, in the order of the file.
    pub neighbors: Vec<NeighborConfig>,
    /// Where the file says so.
    pub(crate) origins: Origins,
}

/// `[switch]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SwitchConfig {
    /// Where the socket is made; `None` for the default of the namespace.
    pub socket: Option<PathBuf>,
    /// How many workers, and where.
    pub workers: Workers,
    /// What a worker without work does.
    pub idle: Idle,
    /// Frames of packet memory per worker; `None` lets them grow with the ports.
    pub frames: Option<u32>,
    /// MAC addresses that all bridges together have room for.
    pub mac_table: u32,
}

impl SwitchConfig {
    /// Room for a rig of 64 Ki stations, in 4 MiB.
    pub const DEFAULT_MAC_TABLE: u32 = 1 << 16;
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self {
            socket: None,
            workers: Workers::Count(1),
            idle: Idle::Adaptive,
            frames: None,
            mac_table: Self::DEFAULT_MAC_TABLE,
        }
    }
}

/// `workers = 2` or `workers = [2, 3]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Workers {
    /// This many, wherever the kernel runs them.
    Count(u16),
    /// One on each of these CPUs.
    Pinned(Vec<u16>),
}

impl Workers {
    /// The most workers there can be.
    pub const LIMIT: u16 = 64;

    /// How many.
    pub fn count(&self) -> u16 {
        match self {
            Self::Count(count) => *count,
            Self::Pinned(cpus) => u16::try_from(cpus.len()).unwrap_or(Self::LIMIT),
        }
    }
}

/// `idle = "adaptive"` or `"spin"`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Sleep until there is something to do.
    Adaptive,
    /// Look again at once: the lowest latency, and a whole CPU.
    Spin,
}

impl Config {
    /// Every port that there is to be: those of the file, the bridges' own, the devices that stand on others, and tunnels.
    pub(crate) fn all_ports(&self) -> impl Iterator<Item = PortConfig> {
        let used = self.used_devices();
        let own = |bridge: &BridgeConfig| bridge.own_ports(used.contains(&*bridge.name)).collect::<Vec<_>>();
        let own: Vec<_> = self.bridges.iter().flat_map(own).collect();
        let stands = self.uppers.iter().map(UpperConfig::port);
        let tunnels = self.tunnels.iter().map(TunnelConfig::port);
        vxlan::opened_ports(self).chain(own).chain(stands).chain(tunnels)
    }

    /// Names of devices that something stands on, that have addresses, or that are wired: a bridge of such a name is a device.
    pub(crate) fn used_devices(&self) -> BTreeSet<&str> {
        let links = self.uppers.iter().map(|upper| &*upper.link);
        let wired = self.xconnects.iter().flat_map(|wire| [&*wire.a, &*wire.b]);
        links.chain(wired).chain(self.addresses.iter().map(|said| &*said.device)).collect()
    }

    /// The largest file that is read, in bytes.
    const LARGEST: usize = 64 << 20;

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Refused`], also when the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, Refused> {
        Self::from_bytes(&Self::bytes(path)?, &path.display().to_string())
    }

    /// What is in the file at `path`, which may be a pipe: it can be read once.
    pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Refused> {
        let refuse = |why: String| Refused::unread(&path.display().to_string(), why);
        let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
        let mut bytes = Vec::new();
        let read = file.take(Self::LARGEST as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| refuse(error.to_string()))?;
        if bytes.len() > Self::LARGEST {
            return Err(refuse(format!("larger than {} MiB", Self::LARGEST >> 20)));
        }
        Ok(bytes)
    }

    /// Reads what should be text, called `name` in what is said about it.
    ///
    /// # Errors
    /// [`Refused`], with every problem found.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self, Refused> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(text, name),
            Err(error) => {
                let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let problems = Problems::default();
                let end = good.len();
                problems.push(end..end, "the file is not UTF-8 from here on", "save it as UTF-8");
                Err(problems.refusal(name, &good))
            }
        }
    }

    /// Reads `text`, called `name` in what is said about it.
    ///
    /// # Errors
    /// [`Refused`], with every problem found.
    pub fn parse(text: &str, name: &str) -> Result<Self, Refused> {
        let problems = Problems::default();
        Self::read(text, &problems, Some(name)).ok_or_else(|| problems.refusal(name, text))
    }

    /// Puts a port in memory in place of every device.
    pub(crate) fn without_devices(&mut self) {
        for port in &mut self.ports {
            (port.kind, port.netns) = (PortKind::Memory, None);
        }
    }

    /// Reads `text`, of a file of this name if it is one, unless there are problems.
    fn read(text: &str, problems: &Problems, file: Option<&str>) -> Option<Self> {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            problems.push(error.span().unwrap_or(0..0), error.message(), "mend the TOML syntax");
        }
        // What follows a syntax error would be guesses about guesses.
        let config = problems.is_empty().then(|| read(document.get_ref(), problems, text));
        let mut config = config.filter(|_| problems.is_empty())?;
        if let Some(file) = file {
            config.origins = Origins::of(document.get_ref(), text, file);
        }
        Some(config)
    }
}

const FILE: Shape = Shape {
    label: "the file",
    keys: &[
        "switch", "port", "bridge", "xconnect", "vlan", "ipvlan", "macvlan", "ipip", "vxlan", "address",
        "route", "routing", "neighbor",
    ],
    later: &["binding"],
};

fn read(document: &DeTable<'_>, problems: &Problems, text: &str) -> Config {
    let file = Fields::new(document, 0..0, &FILE, problems);
    let switch = switch::read(&file);
    let mut roles = Roles::new(problems, text);
    let ports = port::read_all(&file, switch.workers.count(), &mut roles);
    let (bridges, xconnects) = bridge::read_all(&file, &mut roles);
    let uppers = upper::read_all(&file, &mut roles);
    let tunnels = tunnel::read_all(&file, &mut roles);
    let addresses = address::read_all(&file, &mut roles);
    let routing = route::read_routing(&file);
    let routes = route::read_all(&file, &addresses, &roles);
    let neighbors = neighbor::read_all(&file, &bridges, &addresses, &tunnels, &roles);
    roles.check();
    let config = Config {
        switch,
        ports,
        bridges,
        xconnects,
        uppers,
        tunnels,
        addresses,
        routing,
        routes,
        neighbors,
        origins: Origins::default(),
    };
    let devices = config.all_ports().count();
    if devices > DeviceId::LIMIT {
        let rule = format!("{devices} devices are too many: one switch has at most {}", DeviceId::LIMIT);
        problems.push(0..0, rule, "divide them between switches");
    }
    config
}
