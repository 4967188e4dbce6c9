//! What is read, what is refused and in which words, and that noise never panics.

use std::time::Duration;

use proptest::prelude::*;
use rigswitch_dataplane::bridge::{
    BridgeConfig, BridgePortConfig, FdbState, HostConfig, Membership, MulticastPort, PortVlans,
    SpanningTreePort, VlanProtocol,
};
use rigswitch_dataplane::ids::{MacAddr, VlanId};
use rigswitch_dataplane::ipvlan::{IpvlanConfig, IpvlanMode};
use rigswitch_dataplane::macvlan::MacvlanConfig;
use rigswitch_dataplane::ports::{PortKind, SocketConfig, XdpConfig, XdpMode, XdpQueues, XdpTake};
use rigswitch_dataplane::tables::{IpvlanFlag, MacvlanMode, PortState};
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};
use rigswitch_dataplane::vlan::VlanConfig;
use rigswitch_dataplane::wire::ethernet::EtherType;

use super::{Config, Document, Idle, Workers};

const EVERYTHING: &str = r#"
[switch]
socket = "/run/rigswitch/rig.sock"
workers = [2, 3]
idle = "spin"
frames = 16384
mac_table = 1048576

[[port]]
name = "eth0"
xdp = { device = "eth0", mode = "native", queues = 4, take = "all" }
worker = 1
[[port]]
name = "vm0"
tap = { device = "vm0", offload = false, queues = 2 }
mtu = 9000
[[port]]
name = "c1"
xdp = "veth-c1"
netns = "blue"
[[port]]
name = "vm1"
tap = "vm1"
[[port]]
name = "file"
pcap = { input = "in.pcap", output = "out.pcap" }
[[port]]
name = "mem"
memory = true
[[port]]
name = "c2"
packet = { device = "veth-c2", queues = 2 }
[[port]]
name = "c3"
packet = "veth-c3"
[[port]]
name = "c4"
device = "veth-c4"
[[port]]
name = "u0"
xdp = { device = "eth9", take = "mine" }
address = "02:00:00:00:00:05"
[[port]]
name = "u1"
xdp = { device = "eth8", take = "mine" }
[[port]]
name = "u2"
socket = { udp = [4789, 8472], ipip = true }
netns = "blue"
[[port]]
name = "u3"
socket = { ipip = true }

[[port]]
name = "v0"
memory = true
[[port]]
name = "v1"
memory = true
[[port]]
name = "v2"
memory = true
[[port]]
name = "v3"
memory = true

[[bridge]]
name = "br0"
ageing_time = "1500ms"
address = "02:00:00:00:00:fe"
mtu = 1400
host = { addresses = ["192.0.2.1/24", "2001:db8::1/64"], netns = "blue" }
group_fwd_mask = 0xfff8
fdb_max_learned = 1000
no_linklocal_learn = true
[[bridge.port]]
device = "eth0"
state = "learning"
learning = false
flood = false
mcast_flood = false
bcast_flood = false
hairpin = true
isolated = true
locked = true
group_fwd_mask = 0xfffd
[[bridge.port]]
device = "c4"
locked = true
mab = true
neigh_suppress = true
[[bridge.port]]
device = "vm0"
transparent = true
[[bridge.fdb]]
mac = "02:00:00:00:00:01"
device = "vm0"
state = "dynamic"
sticky = true

[[bridge]]
name = "br1"
host = true
ageing_time = 60
port = [{ device = "c1" }, { device = "vm1" }]
fdb = [{ mac = "2:0:0:0:0:1", device = "c1" }]

[[bridge]]
name = "br2"
mcast_snooping = false
vlan_filtering = true
vlan_protocol = "802.1ad"
vlan_default_pvid = 7
vlan_stats_enabled = true
vlan_stats_per_port = true
vlan = { pvid = 5, untagged = [5], tagged = ["6-8"] }
port = [
    { device = "v0", access = 10 },
    { device = "v1", trunk = [10, "20-22"], native = 5, translate = [{ from = 110, to = 10 }] },
    { device = "v2", tunnel = 200 },
    { device = "v3", mac_vlan = true },
]
fdb = [{ mac = "2:0:0:0:0:1", device = "v0", vlan = 10 }, { mac = "2:0:0:0:0:2", device = "v1" }]
mac_vlan = [
    { mac = "02:00:00:00:00:09", vlan = 30 }, { mac = "00:1b:21:00:00:00/24", vlan = 31 },
    { mac = "02:00:00:00:00:01/fe:00:00:00:00:ff", vlan = 32 },
]

[[xconnect]]
a = "file"
b = "mem"

[[neighbor]]
device = "br0"
address = "10.0.0.1"
mac = "02:00:00:00:00:01"
[[neighbor]]
device = "br1"
address = "FD00:0::1"
mac = "02:00:00:00:00:02"

[[vlan]]
name = "eth0.10"
link = "eth0"
id = 10
[[vlan]]
name = "eth0.10.20"
link = "eth0.10"
id = 20
protocol = "802.1ad"
address = "02:00:00:00:00:0a"
mtu = 1400
host = { addresses = ["192.0.2.9/24"] }

[[port]]
name = "c5"
packet = "veth-c5"
[[ipvlan]]
name = "iv1"
link = "c5"
mode = "l2"
flag = "private"
mtu = 1400
host = { addresses = ["10.66.0.1/24"], netns = "blue" }
[[ipvlan]]
name = "iv2"
link = "c5"
mode = "l2"
flag = "private"
[[ipvlan]]
name = "iv3"
link = "eth0.10"
mode = "l2"
[[address]]
device = "iv1"
address = "FD66:0::1/64"
[[address]]
device = "iv3"
address = "10.66.0.1/32"
[[port]]
name = "shared"
memory = true
[[port]]
name = "whole"
memory = true
[[macvlan]]
name = "mv0"
link = "shared"
[[macvlan]]
name = "mv1"
link = "shared"
mode = "private"
mac = "02:00:00:00:00:aa"
compat = true
bcqueuelen = 0
mtu = 1400
host = true
[[macvlan]]
name = "mv2"
link = "shared"
mode = "source"
macaddr = ["02:00:00:00:00:02", "02:00:00:00:00:01"]
nodst = true
[[macvlan]]
name = "mv3"
link = "whole"
mode = "passthru"
nopromisc = true
bclim = -1
[[vxlan]]
name = "vx0"
id = 16777215
local = "192.0.2.1"
remote = "192.0.2.9"
dev = "c1"
dstport = 4789
srcport = [49152, 65535]
ttl = "inherit"
tos = 0x28
df = "inherit"
learning = false
ageing = "90s"
maxaddress = 100
udpcsum = false
compat = true
address = "02:00:00:00:0e:01"
mtu = 1400
host = { addresses = ["10.67.0.1/24"] }
fdb = [
  { mac = "00:00:00:00:00:00", dst = "192.0.2.2" },
  { mac = "00:00:00:00:00:00", dst = "192.0.2.2", port = 8472 },
  { mac = "02:00:00:00:00:01", dst = "192.0.2.2", vni = 7, state = "static" },
]
[[vxlan]]
name = "vx1"
id = 0
local = "fd00::1"
ttl = 9
tos = "inherit"
udp6zerocsumtx = true
udp6zerocsumrx = true
reserved_bits = "0x00000000000000ff"
"#;

#[test]
fn every_key_is_read() {
    let config = Config::parse(EVERYTHING, "rig.toml").unwrap();
    assert_eq!(config.switch.workers, Workers::Pinned(vec![2, 3]));
    assert_eq!((config.switch.idle, config.switch.frames), (Idle::Spin, Some(16384)));
    assert_eq!(config.switch.mac_table, 1 << 20);
    let PortKind::Xdp(eth0) = &config.ports[0].kind else { panic!("eth0 is an xdp port") };
    assert_eq!((eth0.mode, eth0.queues), (XdpMode::Native, XdpQueues::First(4)));
    let PortKind::Tap(vm1) = &config.ports[3].kind else { panic!("vm1 is a tap") };
    assert_eq!((vm1.offload, vm1.queues), (true, 1));
    let PortKind::Packet(c2) = &config.ports[6].kind else { panic!("c2 is a packet port") };
    assert_eq!((c2.device.as_str(), c2.queues), ("veth-c2", 2));
    assert_eq!(config.ports[8].kind, PortKind::Device("veth-c4".into()));
    let named = |name: &str| config.ports.iter().find(|port| port.name == name).unwrap();
    let of = |name: &str| &named(name).kind;
    let mine = XdpConfig { take: XdpTake::Mine, ..XdpConfig::new("eth9") };
    assert_eq!(*of("u0"), PortKind::Xdp(mine));
    assert_eq!(named("u0").address, Some("02:00:00:00:00:05".parse().unwrap()));
    assert!(matches!(of("u1"), PortKind::Xdp(XdpConfig { take: XdpTake::Mine, .. })));
    assert_eq!(
        *of("u2"),
        PortKind::Socket(SocketConfig { udp: vec![4789, 8472], ipip: true, ..SocketConfig::default() })
    );
    assert_eq!(*of("u3"), PortKind::Socket(SocketConfig { ipip: true, ..SocketConfig::default() }));
    assert_eq!((config.ports[1].mtu, config.ports[2].netns.as_deref()), (Some(9000), Some("blue")));
    let [br0, br1, br2] = &config.bridges[..] else { panic!("three bridges") };
    assert_eq!(br0.ageing_time, Duration::from_millis(1500));
    assert_eq!((br0.address, br0.mtu), (Some("02:00:00:00:00:fe".parse().unwrap()), Some(1400)));
    let host = br0.host.as_ref().unwrap();
    let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1/24", "2001:db8::1/64"]);
    assert_eq!((host.netns.as_deref(), &br1.host), (Some("blue"), &Some(HostConfig::default())));
    assert_eq!((br0.group_fwd_mask, br0.fdb_max_learned, br0.no_linklocal_learn), (0xfff8, 1000, true));
    let knobs = BridgePortConfig {
        device: "eth0".into(),
        state: PortState::Learning,
        learning: false,
        flood: false,
        mcast_flood: false,
        bcast_flood: false,
        hairpin: true,
        isolated: true,
        locked: true,
        mab: false,
        neigh_suppress: false,
        group_fwd_mask: 0xfffd,
        transparent: false,
        spanning_tree: SpanningTreePort::default(),
        multicast: MulticastPort::default(),
        vlans: PortVlans::default(),
    };
    let transparent = BridgePortConfig { transparent: true, ..BridgePortConfig::new("vm0") };
    let mab =
        BridgePortConfig { locked: true, mab: true, neigh_suppress: true, ..BridgePortConfig::new("c4") };
    assert_eq!(br0.ports, [knobs, mab, transparent]);
    assert_eq!((br0.fdb[0].state, br0.fdb[0].sticky), (FdbState::Dynamic, true));
    assert_eq!(br1.ports[0], BridgePortConfig::new("c1"));
    assert_eq!((br1.ageing_time, br1.fdb[0].state), (Duration::from_secs(60), FdbState::Static));
    let neighbors = config.neighbors.iter().map(|neighbor| (&*neighbor.device, neighbor.address.to_string()));
    assert!(neighbors.eq([("br0", "10.0.0.1".into()), ("br1", "fd00::1".into())]));
    let [plain, stacked, rest @ ..] = &config.uppers[..] else { panic!("those that stand on others") };
    let (ipvlans, macvlans) = rest.split_at(3);
    let vlan = |id, protocol| UpperKind::Vlan(VlanConfig { id: VlanId::new(id).unwrap(), protocol });
    assert_eq!((&*plain.link, &plain.kind, &plain.host), ("eth0", &vlan(10, EtherType::CTAG), &None));
    assert_eq!(
        (&*stacked.link, &stacked.kind, stacked.mtu),
        ("eth0.10", &vlan(20, EtherType::STAG), Some(1400))
    );
    let macvlan = |mode, sources: &[u64], nodst, bcqueuelen| {
        let sources = sources.iter().map(|&n| MacAddr::from_bits(0x0200_0000_0000 | n)).collect();
        let (nopromisc, bclim) = if mode == MacvlanMode::Passthru { (true, Some(-1)) } else { (false, None) };
        UpperKind::Macvlan(MacvlanConfig { mode, sources, nodst, nopromisc, bcqueuelen, bclim })
    };
    let kinds: Vec<_> = macvlans.iter().map(|upper| upper.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            macvlan(MacvlanMode::Vepa, &[], false, None),
            macvlan(MacvlanMode::PrivateCompat, &[], false, Some(0)),
            macvlan(MacvlanMode::Source, &[2, 1], true, None),
            macvlan(MacvlanMode::Passthru, &[], false, None),
        ]
    );
    let addresses: Vec<_> = macvlans.iter().map(UpperConfig::own_address).collect();
    assert_eq!(addresses[1], macvlans[1].address);
    assert_eq!(addresses[0], Some(MacAddr::of_name("mv0")), "its name makes it");
    assert_eq!(addresses[3], None, "it has that of what it stands on");
    assert!(stacked.address.is_some() && stacked.host.as_ref().is_some_and(|host| host.addresses.len() == 1));
    let flags = [IpvlanFlag::Private, IpvlanFlag::Private, IpvlanFlag::Bridge];
    let kinds = flags.map(|flag| UpperKind::Ipvlan(IpvlanConfig { mode: IpvlanMode::L2, flag }));
    assert!(ipvlans.iter().map(|upper| upper.kind.clone()).eq(kinds));
    assert_eq!((&*ipvlans[0].link, ipvlans[0].mtu, ipvlans[0].address), ("c5", Some(1400), None));
    let addresses = config.addresses.iter().map(|said| (&*said.device, said.address.to_string()));
    assert!(addresses.eq([("iv1", "fd66::1/64".into()), ("iv3", "10.66.0.1/32".into())]));
    assert_eq!((&*config.xconnects[0].a, &*config.xconnects[0].b), ("file", "mem"));
    read_vlans(br2);
}

fn read_vlans(bridge: &BridgeConfig) {
    let vid = |number| VlanId::new(number).unwrap();
    let vlans = &bridge.vlans;
    assert_eq!((vlans.protocol, vlans.default_pvid), (VlanProtocol::Service, Some(vid(7))));
    assert!(vlans.filtering && vlans.stats && vlans.stats_per_port);
    let membership = |pvid: u16, tunnel, members: &[(u16, bool)]| Membership {
        members: members.iter().map(|(number, untagged)| (vid(*number), *untagged)).collect(),
        pvid: Some(vid(pvid)),
        tunnel,
    };
    let of = |device| bridge.vlans_of(device).unwrap();
    assert_eq!(of("br2"), membership(5, false, &[(5, true), (6, false), (7, false), (8, false)]));
    assert_eq!(of("v0"), membership(10, false, &[(10, true)]));
    let trunk = [(5, true), (10, false), (20, false), (21, false), (22, false)];
    assert_eq!(of("v1"), membership(5, false, &trunk));
    assert_eq!(of("v2"), membership(200, true, &[(200, true)]));
    assert_eq!(of("v3"), membership(7, false, &[(7, true), (30, true), (31, true), (32, true)]));
    assert_eq!(bridge.ports[1].vlans.translate, [(vid(110), vid(10))].into());
    let entries: Vec<_> =
        bridge.fdb.iter().map(|entry| (&*entry.device, entry.vlan.map(VlanId::number))).collect();
    let of_v1 = trunk.map(|(number, _)| ("v1", Some(number)));
    assert_eq!(entries, [&[("v0", Some(10))][..], &of_v1].concat());
    let masks: Vec<_> = vlans.macs.iter().map(|rule| (rule.mask.to_string(), rule.vlan.number())).collect();
    let mask = |text: &str, number| (text.to_owned(), number);
    let [exact, oui, any] = [("ff:ff:ff:ff:ff:ff", 30), ("ff:ff:ff:00:00:00", 31), ("fe:00:00:00:00:ff", 32)];
    assert_eq!(masks, [exact, oui, any].map(|(text, number)| mask(text, number)));
    assert_eq!(bridge.vlans_in_use().len(), 12);
}

#[test]
fn there_are_no_more_bridges_and_vlans_than_numbers() {
    let bridge = |number: usize| {
        format!(
            "[[bridge]]\nname = \"br{number}\"\nvlan_filtering = true\nmcast_snooping = false\n\
             vlan = {{ tagged = [\"1-4094\"] }}\n"
        )
    };
    let bridges = |count| (0..count).map(bridge).collect::<String>();
    Config::parse(&bridges(16), "rig.toml").unwrap();
    let said = Config::parse(&bridges(17), "rig.toml").unwrap_err().to_string();
    let place = "rig.toml:81:1: with br16 and its 4094 VLANs there are 69615 bridges and VLANs of bridges";
    assert!(said.starts_with(place), "{said}");
}

#[test]
fn the_documented_example_is_valid() {
    let config = Config::parse(include_str!("reference.toml"), "reference.toml")
        .map_err(|refused| refused.to_string())
        .unwrap();
    let default = Config::parse("", "empty").unwrap().switch;
    assert_eq!((config.switch.workers, config.switch.idle), (default.workers, default.idle));
    assert_eq!(config.switch.mac_table, default.mac_table);
}

#[test]
fn a_printed_configuration_reads_the_same() {
    for text in [EVERYTHING, ""] {
        let config = Config::parse(text, "rig.toml").unwrap();
        let printed = Document::new(&config).to_toml().unwrap();
        assert_eq!(Config::parse(&printed, "printed").map_err(|e| e.to_string()), Ok(config), "{printed}");
    }
}

/// Each case of `refused.txt`: its name after `===`, a file, a line `---`, and the exact words of the refusal.
#[test]
fn refusals_say_where_what_and_what_to_do() {
    let cases = include_str!("refused.txt").split("=== ").skip(1);
    let mut failed = String::new();
    for case in cases {
        let (name, rest) = case.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("---\n").unwrap();
        let said = Config::parse(text, "rig.toml").err().map_or("accepted".to_owned(), |e| e.to_string());
        if said.trim_end() != expected.trim_end() {
            failed += &format!("=== {name}\n{text}---\n{said}\n\n");
        }
    }
    assert!(failed.is_empty(), "these say something else:\n{failed}");
}

#[test]
fn the_first_problems_are_shown_and_the_rest_counted() {
    let said = Config::parse(&"[[port]]\n".repeat(30), "rig.toml").unwrap_err().to_string();
    assert!(said.starts_with("rig.toml:1:1: [[port]] has no `name`\n"), "{said}");
    assert!(said.ends_with("… and 40 more"), "{said}");
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    let path = std::env::temp_dir().join(format!("rigswitch-not-text-{}.toml", std::process::id()));
    std::fs::write(&path, b"# fine\n\xff\n").unwrap();
    let said = Config::load(&path).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(said.contains("toml:2:1: the file is not UTF-8 from here on"), "{said}");
    let said = Config::load(&path).unwrap_err().to_string();
    assert_eq!(said, format!("{}: No such file or directory (os error 2)", path.display()));
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Config::parse(&String::from_utf8_lossy(&bytes), "noise");
    }

    #[test]
    fn a_damaged_file_never_panics(at in 0..EVERYTHING.len(), drop in 0..40usize, put in ".{0,8}") {
        let mut bytes = EVERYTHING.as_bytes().to_vec();
        let end = (at + drop).min(bytes.len());
        bytes.splice(at..end, put.into_bytes());
        let _ = Config::parse(&String::from_utf8_lossy(&bytes), "noise");
    }

    #[test]
    fn values_of_any_kind_never_panic(
        key in proptest::sample::select(vec![
            "socket", "workers", "idle", "frames", "name", "xdp", "tap", "pcap", "memory", "netns", "worker", "mtu",
            "ageing_time", "port", "fdb", "mac", "device", "state", "a", "b", "group_fwd_mask", "address", "sticky", "host",
            "link", "id", "protocol", "mode", "flag", "local", "remote", "dev", "dstport", "srcport", "ttl", "tos", "df", "ageing", "reserved_bits", "macaddr", "nodst", "compat", "bcqueuelen", "bclim", "nopromisc",
            "vlan", "vlan_filtering", "access", "trunk", "native", "tunnel", "translate", "mac_vlan",
        ]),
        table in proptest::sample::select(vec!["switch", "port", "bridge", "xconnect", "vlan", "ipvlan", "macvlan", "vxlan", "address", "route", "neighbor"]),
        value in proptest::sample::select(vec![
            "1", "-1", "9223372036854775808", "0x10", "1.5", "inf", "true", "\"\"", "\"x\"", "[]", "[[]]", "[1, \"a\"]",
            "{}", "{ device = 1 }", "[{}]", "[{ device = \"x\" }]", "1979-05-27", "\"99999999999h\"",
        ]),
        double in any::<bool>(),
    ) {
        let (open, close) = if double { ("[[", "]]") } else { ("[", "]") };
        let _ = Config::parse(&format!("{open}{table}{close}\n{key} = {value}\n"), "noise");
    }
}
