//! The table: what is set up, once in the kernel's words and once in ours, and what is sent into it.

#[path = "rigs/bridge.rs"]
mod bridge;
#[path = "rigs/ip6tnl.rs"]
mod ip6tnl;
#[path = "rigs/ipip.rs"]
mod ipip;
#[path = "rigs/ipvlan.rs"]
mod ipvlan;
#[path = "rigs/macvlan.rs"]
mod macvlan;
#[path = "rigs/neighbors.rs"]
mod neighbors;
#[path = "rigs/snooping.rs"]
mod snooping;
#[path = "rigs/vlan.rs"]
mod vlan;
#[path = "rigs/vlan_filtering.rs"]
mod vlan_filtering;
#[path = "rigs/vxlan.rs"]
mod vxlan;

use crate::rig::{frame, tagged};

/// Ports of every rig: p0 to p3.
pub(crate) const PORTS: usize = 4;
/// An EtherType for local experiments (IEEE 802-2014 §9.2.3).
pub(crate) const EXPERIMENT: u16 = 0x88b5;
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

/// What came out of every port.
pub(crate) type Outputs = [Vec<Vec<u8>>; PORTS];

/// What is set up, and what is done to it, one case after the other.
pub(crate) struct Rig {
    pub(crate) name: String,
    /// Lines of a shell that has `ip`, `bridge` and `tc`.
    pub(crate) kernel: String,
    /// The same in the file's words; the ports are there.
    pub(crate) ours: String,
    pub(crate) mtus: [u16; PORTS],
    pub(crate) cases: Vec<Case>,
}

/// What it is about, and what is done.
pub(crate) type Case = (&'static str, Vec<Step>);

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// This comes in at port `n`.
    Send(usize, Vec<u8>),
    /// The forwarding database is told this, in bridge(8)'s words.
    Fdb(String),
    /// And so is the multicast database.
    Mdb(String),
    /// So many milliseconds pass.
    Wait(u32),
}

/// A file of answers, and the rigs that it has them for.
pub(crate) fn all() -> Vec<(&'static str, Vec<Rig>)> {
    vec![
        ("bridge", bridge::rigs()),
        ("vlan_filtering", vlan_filtering::rigs()),
        ("snooping", snooping::rigs()),
        ("neighbors", neighbors::rigs()),
        ("vlan", vlan::rigs()),
        ("macvlan", macvlan::rigs()),
        ("ipvlan", ipvlan::rigs()),
        ("ipip", ipip::rigs()),
        ("ip6tnl", ip6tnl::rigs()),
        ("vxlan", vxlan::rigs()),
    ]
}

impl Rig {
    fn new(name: &str, kernel: String, ours: String, cases: Vec<Case>) -> Self {
        Self { name: name.into(), kernel, ours, mtus: [1500; PORTS], cases }
    }

    /// The switch's configuration.
    pub(crate) fn config(&self) -> String {
        let port = |(n, mtu)| {
            format!(
                "[[port]]\nname = \"p{n}\"\nmemory = true\nmtu = {mtu}\naddress = \"02:00:00:00:aa:0{n}\"\n"
            )
        };
        let ports: String = self.mtus.iter().enumerate().map(port).collect();
        format!("[switch]\nmac_table = 1024\n{ports}{}", self.ours)
    }
}

/// Whatever a device hears goes out of a port, and whatever comes in there is sent by it: in the kernel's words and in ours.
fn wired(device: &str, port: &str) -> [String; 2] {
    let way = |from: &str, to: &str| {
        format!(
            "tc filter add dev {from} ingress protocol all pref 9 matchall action mirred egress redirect dev {to}\n"
        )
    };
    let kernel =
        format!("wired=yes\ntc qdisc add dev {device} clsact\n{}{}", way(device, port), way(port, device));
    [kernel, format!("[[xconnect]]\na = \"{device}\"\nb = \"{port}\"\n")]
}

/// Station `n` of case `case`.
fn station(case: u8, n: u8) -> [u8; 6] {
    [2, 0, 0, 0, case, n]
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// A short frame without a tag.
fn plain(from: usize, destination: [u8; 6], source: [u8; 6]) -> Step {
    Step::Send(from, frame(destination, source, EXPERIMENT, 60, from as u64))
}

/// A short frame with these tags, the outermost first.
fn with_tags(from: usize, destination: [u8; 6], source: [u8; 6], tags: &[[u8; 4]]) -> Step {
    let inner = frame(destination, source, EXPERIMENT, 60, from as u64);
    Step::Send(from, tags.iter().rev().fold(inner, |frame, tag| tagged(&frame, *tag)))
}

/// A tag of 802.1Q with this VID, its priority 0.
fn customer(vid: u16) -> [u8; 4] {
    let [high, low] = vid.to_be_bytes();
    [0x81, 0, high, low]
}

/// A tag of 802.1ad.
fn service(vid: u16) -> [u8; 4] {
    let [high, low] = vid.to_be_bytes();
    [0x88, 0xa8, high, low]
}

/// What an IPv4 header says.
#[derive(Clone, Copy)]
struct Ipv4 {
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    ttl: u8,
    tos: u8,
    dont_fragment: bool,
}

impl Ipv4 {
    /// The packet.
    fn packet(self, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        let flags = if self.dont_fragment { 0x40 } else { 0 };
        let start = [0x45, self.tos, length[0], length[1], 0x12, 0x34, flags, 0];
        let mut header =
            [&start[..], &[self.ttl, self.protocol, 0, 0], &self.source[..], &self.destination].concat();
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [header, payload.to_vec()].concat()
    }
}

/// What an IPv6 header says.
#[derive(Clone, Copy)]
struct Ipv6 {
    source: [u8; 16],
    destination: [u8; 16],
    next_header: u8,
    hop_limit: u8,
    traffic_class: u8,
    flow_label: u32,
}

impl Ipv6 {
    /// The packet.
    fn packet(self, payload: &[u8]) -> Vec<u8> {
        let start = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label;
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let rest = [length[0], length[1], self.next_header, self.hop_limit];
        [&start.to_be_bytes()[..], &rest, &self.source, &self.destination, payload].concat()
    }
}

/// Address `n` of the network of these 16 bits.
const fn v6(network: u16, n: u8) -> [u8; 16] {
    let [high, low] = network.to_be_bytes();
    [high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]
}

/// A frame of this payload.
fn carrying(destination: [u8; 6], source: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ethertype.to_be_bytes(), payload].concat()
}

/// The internet checksum; 0 over what has a right one.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
