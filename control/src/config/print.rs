//! A configuration written out again: the same words as the file's, as TOML or JSON.

use rigswitch_dataplane::bridge::{
    BridgeConfig, BridgePortConfig, FdbEntryConfig, MdbEntryConfig, NeighborConfig, XconnectConfig,
};
use rigswitch_dataplane::ids::VlanId;
use rigswitch_dataplane::ports::{
    AddressConfig, PacketConfig, PcapConfig, PortConfig, PortKind, SocketConfig, TapConfig, XdpConfig,
    XdpMode, XdpQueues, XdpTake,
};
use rigswitch_dataplane::routing::{RouteConfig, RoutingConfig};
use rigswitch_dataplane::tables::PortState;
use rigswitch_dataplane::tunnels::TunnelConfig;
use rigswitch_dataplane::upper::UpperConfig;
use serde::Serialize;

use super::address::AddressWords;
use super::host::HostWords;
use super::route::{RouteWords, RoutingWords};
use super::tunnel::TunnelWords;
use super::upper::UpperWords;
use super::values::{duration_text, unless};
use super::{Config, Idle, SwitchConfig, Workers};
use super::{mac_moves, multicast, spanning_tree, vlans};

/// A configuration in the words of the file.
#[derive(Serialize)]
pub struct Document<'c> {
    switch: Switch<'c>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    port: Vec<Port<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bridge: Vec<Bridge<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xconnect: Vec<Xconnect<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<UpperWords<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    macvlan: Vec<UpperWords<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ipvlan: Vec<UpperWords<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ipip: Vec<TunnelWords<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vxlan: Vec<TunnelWords<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    address: Vec<AddressWords<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing: Option<RoutingWords>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    route: Vec<RouteWords<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    neighbor: Vec<Neighbor<'c>>,
}

impl<'c> Document<'c> {
    /// `config` in the words of the file.
    pub fn new(config: &'c Config) -> Self {
        let of = |kind: &str| {
            config.uppers.iter().filter(|upper| upper.kind.name() == kind).map(Into::into).collect()
        };
        let tunnels = |kind: &str| {
            config.tunnels.iter().filter(|tunnel| tunnel.kind.name() == kind).map(Into::into).collect()
        };
        Self {
            switch: Switch::new(&config.switch),
            port: config.ports.iter().map(Port::new).collect(),
            bridge: config.bridges.iter().map(Bridge::new).collect(),
            xconnect: config.xconnects.iter().map(Xconnect::new).collect(),
            vlan: of("vlan"),
            ipvlan: of("ipvlan"),
            ipip: tunnels("ipip"),
            vxlan: tunnels("vxlan"),
            address: config.addresses.iter().map(Into::into).collect(),
            routing: unless(config.routing, RoutingConfig::default()).map(Into::into),
            route: config.routes.iter().map(Into::into).collect(),
            macvlan: of("macvlan"),
            neighbor: config.neighbors.iter().map(Neighbor::new).collect(),
        }
    }

    /// As the text of a file; reading it gives the same configuration again.
    ///
    /// # Errors
    /// When a path is not UTF-8, which no path that came from a file is.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

#[derive(Serialize)]
struct Switch<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<&'c std::path::Path>,
    workers: WorkersWord<'c>,
    idle: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<u32>,
    mac_table: u32,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WorkersWord<'c> {
    Count(u16),
    Pinned(&'c [u16]),
}

impl<'c> Switch<'c> {
    fn new(switch: &'c SwitchConfig) -> Self {
        Self {
            socket: switch.socket.as_deref(),
            workers: match &switch.workers {
                Workers::Count(count) => WorkersWord::Count(*count),
                Workers::Pinned(cpus) => WorkersWord::Pinned(cpus),
            },
            idle: match switch.idle {
                Idle::Adaptive => "adaptive",
                Idle::Spin => "spin",
            },
            frames: switch.frames,
            mac_table: switch.mac_table,
        }
    }
}

#[derive(Serialize)]
struct Port<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(flatten)]
    kind: Kind<'c>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind<'c> {
    Xdp {
        device: &'c str,
        mode: &'static str,
        queues: Queues,
        #[serde(skip_serializing_if = "Option::is_none")]
        take: Option<&'static str>,
    },
    Tap {
        device: &'c str,
        offload: bool,
        queues: u16,
    },
    Packet {
        device: &'c str,
        queues: u16,
    },
    Device(&'c str),
    Socket {
        udp: &'c [u16],
        #[serde(skip_serializing_if = "is_plain")]
        ipip: bool,
    },
    Pcap(Pcap<'c>),
    Memory(bool),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Queues {
    Word(&'static str),
    Number(u16),
}

#[derive(Serialize)]
struct Pcap<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'c std::path::Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'c std::path::Path>,
}

impl<'c> Port<'c> {
    fn new(port: &'c PortConfig) -> Self {
        Self {
            name: &port.name,
            netns: port.netns.as_deref(),
            worker: port.worker,
            mtu: port.mtu,
            address: port.address.map(|address| address.to_string()),
            kind: match &port.kind {
                PortKind::Xdp(XdpConfig { device, mode, queues, take }) => {
                    let take = (*take == XdpTake::Mine).then_some("mine");
                    Kind::Xdp { device, mode: mode_word(*mode), queues: queues_word(*queues), take }
                }
                PortKind::Tap(TapConfig { device, offload, queues }) => {
                    Kind::Tap { device, offload: *offload, queues: *queues }
                }
                PortKind::Packet(PacketConfig { device, queues }) => Kind::Packet { device, queues: *queues },
                PortKind::Device(device) => Kind::Device(device),
                PortKind::Socket(SocketConfig { udp, ipip, .. }) => Kind::Socket { udp, ipip: *ipip },
                PortKind::Host(_) | PortKind::Upper(_) | PortKind::Inside => {
                    unreachable!("it has a table of another kind")
                }
                PortKind::Pcap(PcapConfig { input, output, pace: _ }) => {
                    Kind::Pcap(Pcap { input: input.as_deref(), output: output.as_deref() })
                }
                PortKind::Memory => Kind::Memory(true),
            },
        }
    }
}

fn mode_word(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Auto => "auto",
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Copy => "copy",
        XdpMode::ZeroCopy => "zerocopy",
    }
}

fn queues_word(queues: XdpQueues) -> Queues {
    match queues {
        XdpQueues::All => Queues::Word("all"),
        XdpQueues::First(count) => Queues::Number(count),
    }
}

#[derive(Serialize)]
struct Bridge<'c> {
    name: &'c str,
    ageing_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostWords<'c>>,
    #[serde(skip_serializing_if = "is_plain")]
    group_fwd_mask: u16,
    #[serde(skip_serializing_if = "is_plain")]
    fdb_max_learned: u32,
    #[serde(skip_serializing_if = "is_plain")]
    no_linklocal_learn: bool,
    #[serde(flatten)]
    mac_moves: mac_moves::Words,
    #[serde(flatten)]
    spanning_tree: spanning_tree::BridgeWords,
    #[serde(flatten)]
    multicast: multicast::BridgeWords,
    #[serde(flatten)]
    vlans: vlans::BridgeWords,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    port: Vec<Member<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fdb: Vec<Entry<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mdb: Vec<multicast::EntryWords<'c>>,
}

#[derive(Serialize)]
struct Member<'c> {
    device: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "is_true")]
    learning: bool,
    #[serde(skip_serializing_if = "is_true")]
    flood: bool,
    #[serde(skip_serializing_if = "is_true")]
    mcast_flood: bool,
    #[serde(skip_serializing_if = "is_true")]
    bcast_flood: bool,
    #[serde(skip_serializing_if = "is_plain")]
    hairpin: bool,
    #[serde(skip_serializing_if = "is_plain")]
    isolated: bool,
    #[serde(skip_serializing_if = "is_plain")]
    locked: bool,
    #[serde(skip_serializing_if = "is_plain")]
    mab: bool,
    #[serde(skip_serializing_if = "is_plain")]
    neigh_suppress: bool,
    #[serde(skip_serializing_if = "is_plain")]
    group_fwd_mask: u16,
    #[serde(skip_serializing_if = "is_plain")]
    transparent: bool,
    #[serde(flatten)]
    spanning_tree: spanning_tree::PortWords,
    #[serde(flatten)]
    multicast: multicast::PortWords,
    #[serde(flatten)]
    vlans: vlans::PortWords,
}

#[derive(Serialize)]
struct Entry<'c> {
    mac: String,
    device: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    state: &'static str,
    #[serde(skip_serializing_if = "is_plain")]
    sticky: bool,
}

/// Whether a value is the one that is taken where nothing is said.
fn is_plain<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The same of what is on unless said.
fn is_true(value: &bool) -> bool {
    *value
}

impl<'c> Member<'c> {
    fn new(port: &'c BridgePortConfig) -> Self {
        let state = (port.state != PortState::default()).then(|| port.state.name());
        let BridgePortConfig { learning, flood, mcast_flood, bcast_flood, hairpin, isolated, .. } = *port;
        let BridgePortConfig { locked, mab, neigh_suppress, group_fwd_mask, transparent, .. } = *port;
        Self {
            device: &port.device,
            state,
            learning,
            flood,
            mcast_flood,
            bcast_flood,
            hairpin,
            isolated,
            locked,
            mab,
            neigh_suppress,
            group_fwd_mask,
            transparent,
            spanning_tree: port.spanning_tree.into(),
            multicast: port.multicast.into(),
            vlans: (&port.vlans).into(),
        }
    }
}

impl<'c> Entry<'c> {
    fn new(entry: &'c FdbEntryConfig) -> Self {
        let FdbEntryConfig { mac, device, vlan, state, sticky } = entry;
        let vlan = vlan.map(VlanId::number);
        Self { mac: mac.to_string(), device, vlan, state: state.name(), sticky: *sticky }
    }
}

impl<'c> Bridge<'c> {
    fn new(bridge: &'c BridgeConfig) -> Self {
        Self {
            name: &bridge.name,
            ageing_time: duration_text(bridge.ageing_time),
            address: bridge.address.map(|address| address.to_string()),
            mtu: bridge.mtu,
            host: HostWords::of(bridge.host.as_ref()),
            group_fwd_mask: bridge.group_fwd_mask,
            fdb_max_learned: bridge.fdb_max_learned,
            no_linklocal_learn: bridge.no_linklocal_learn,
            mac_moves: bridge.mac_moves.into(),
            spanning_tree: bridge.spanning_tree.into(),
            multicast: bridge.multicast.into(),
            vlans: (&bridge.vlans).into(),
            port: bridge.ports.iter().map(Member::new).collect(),
            fdb: bridge.fdb.iter().map(Entry::new).collect(),
            mdb: bridge.mdb.iter().map(Into::into).collect(),
        }
    }
}

#[derive(Serialize)]
struct Xconnect<'c> {
    a: &'c str,
    b: &'c str,
}

impl<'c> Xconnect<'c> {
    fn new(wire: &'c XconnectConfig) -> Self {
        Self { a: &wire.a, b: &wire.b }
    }
}

#[derive(Serialize)]
struct Neighbor<'c> {
    device: &'c str,
    address: String,
    mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
}

impl<'c> Neighbor<'c> {
    fn new(neighbor: &'c NeighborConfig) -> Self {
        let NeighborConfig { device, address, mac, vlan } = neighbor;
        let vlan = vlan.map(VlanId::number);
        Self { device, address: address.to_string(), mac: mac.to_string(), vlan }
    }
}

/// The keys and values of one table of the file.
pub(super) type Words = serde_json::Map<String, serde_json::Value>;

/// What is a table of the file.
pub(super) trait Printed {
    /// Its keys and values.
    fn words(&self) -> Words;
}

impl Printed for SwitchConfig {
    fn words(&self) -> Words {
        words(&Switch::new(self))
    }
}

impl Printed for PortConfig {
    fn words(&self) -> Words {
        words(&Port::new(self))
    }
}

impl Printed for BridgeConfig {
    fn words(&self) -> Words {
        words(&Bridge::new(self))
    }
}

impl Printed for BridgePortConfig {
    fn words(&self) -> Words {
        words(&Member::new(self))
    }
}

impl Printed for FdbEntryConfig {
    fn words(&self) -> Words {
        words(&Entry::new(self))
    }
}

impl Printed for MdbEntryConfig {
    fn words(&self) -> Words {
        words(&multicast::EntryWords::from(self))
    }
}

impl Printed for XconnectConfig {
    fn words(&self) -> Words {
        words(&Xconnect::new(self))
    }
}

impl Printed for UpperConfig {
    fn words(&self) -> Words {
        words(&UpperWords::from(self))
    }
}

impl Printed for TunnelConfig {
    fn words(&self) -> Words {
        words(&TunnelWords::from(self))
    }
}

impl Printed for AddressConfig {
    fn words(&self) -> Words {
        words(&AddressWords::from(self))
    }
}

impl Printed for RouteConfig {
    fn words(&self) -> Words {
        words(&RouteWords::from(self))
    }
}

impl Printed for RoutingConfig {
    fn words(&self) -> Words {
        words(&RoutingWords::from(*self))
    }
}

impl Printed for NeighborConfig {
    fn words(&self) -> Words {
        words(&Neighbor::new(self))
    }
}

pub(super) fn words(table: &impl Serialize) -> Words {
    // Only a path that is not UTF-8 does not serialise, and none that came from a file is.
    let value = serde_json::to_value(table).unwrap_or_default();
    value.as_object().cloned().unwrap_or_default()
}
