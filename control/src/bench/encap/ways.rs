//! The ways that a frame may go from one station to another: a configuration each, and the frames that stations send.
//!
//! Station A is behind port `p0` of the near switch. Port `p1` is the wire, on which frames are encapsulated; station B is behind
//! whatever is at its other end.

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::wire::checksum::Sum;

/// A way.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// The way that this one is with something more, and what that is; none: nothing is forwarded.
    pub(crate) on: Option<(&'static str, &'static str)>,
    /// Bytes that its headers have, by the standard that says so.
    pub(crate) added: usize,
    pub(crate) standard: &'static str,
    /// What joins A to the wire, after the two ports.
    near: &'static str,
    /// Who is where, where nobody tells.
    known: &'static str,
    /// Whether the switch at the other end has the same with other addresses.
    pub(crate) has_ends: bool,
    /// Whether stations send to a router.
    pub(crate) is_routed: bool,
    /// What the kernel has that is the same.
    pub(crate) kernel: Kernel,
}

/// What the kernel has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kernel {
    Nothing,
    Bridge,
    Macvlan,
    Vlan,
    QinQ,
    Vxlan,
    Ipip,
    Route,
}

/// The addresses of the two stations.
pub(crate) const A: [u8; 6] = [2, 0, 0, 0, 0x0a, 1];
pub(crate) const B: [u8; 6] = [2, 0, 0, 0, 0x0b, 1];
pub(crate) const A_IP: [u8; 4] = [10, 1, 0, 2];
pub(crate) const B_IP: [u8; 4] = [10, 2, 0, 2];

/// Flows between them.
const FLOWS: u16 = 64;

/// The name of the way that ends at once.
pub(crate) const NOWHERE: &str = "nowhere";

const BRIDGE: &str = r#"
[[bridge]]
name = "br0"
mcast_snooping = false
port = [{ device = "p0" }, { device = "p1" }]
"#;

const VLAN: &str = r#"
[[vlan]]
name = "up"
link = "p1"
id = 10
[[bridge]]
name = "br0"
mcast_snooping = false
port = [{ device = "p0" }, { device = "up" }]
"#;

const QINQ: &str = r#"
[[vlan]]
name = "outer"
link = "p1"
id = 100
protocol = "802.1ad"
[[vlan]]
name = "up"
link = "outer"
id = 10
[[bridge]]
name = "br0"
mcast_snooping = false
port = [{ device = "p0" }, { device = "up" }]
"#;

const MACVLAN: &str = r#"
[[macvlan]]
name = "up"
link = "p1"
mode = "bridge"
mac = "02:00:00:00:0a:01"
[[xconnect]]
a = "p0"
b = "up"
"#;

const HOST_GW: &str = r#"
[[address]]
device = "p0"
address = "10.1.0.1/24"
[[address]]
device = "p1"
address = "192.168.32.1/24"
[[route]]
to = "10.2.0.0/24"
via = "192.168.32.2"
"#;

const IPIP: &str = r#"
[[ipip]]
name = "up"
local = "192.168.32.1"
remote = "192.168.32.2"
[[address]]
device = "p0"
address = "10.1.0.1/24"
[[address]]
device = "p1"
address = "192.168.32.1/24"
[[address]]
device = "up"
address = "10.9.0.1/32"
[[route]]
to = "10.2.0.0/24"
device = "up"
"#;

const VXLAN: &str = r#"
[[vxlan]]
name = "up"
id = 1
local = "192.168.32.1"
remote = "192.168.32.2"
dstport = 4789
udpcsum = false
mtu = 9000
[[address]]
device = "p1"
address = "192.168.32.1/24"
[[bridge]]
name = "br0"
mcast_snooping = false
port = [{ device = "p0" }, { device = "up" }]
"#;

/// Who is where, for a switch whose ports have nobody behind them to learn it from: of a bridge of `p0` and `p1`, of `p0` and `up`, and
/// of a router.
const AT_PORTS: &str = r#"
[[bridge.fdb]]
mac = "02:00:00:00:0a:01"
device = "p0"
state = "static"
[[bridge.fdb]]
mac = "02:00:00:00:0b:01"
device = "p1"
state = "static"
"#;

const AT_UPPER: &str = r#"
[[bridge.fdb]]
mac = "02:00:00:00:0a:01"
device = "p0"
state = "static"
[[bridge.fdb]]
mac = "02:00:00:00:0b:01"
device = "up"
state = "static"
"#;

const AT_TUNNEL: &str = r#"
[[bridge.fdb]]
mac = "02:00:00:00:0a:01"
device = "p0"
state = "static"
[[bridge.fdb]]
mac = "02:00:00:00:0b:01"
device = "up"
state = "static"
[[neighbor]]
device = "p1"
address = "192.168.32.2"
mac = "02:00:00:00:0b:01"
"#;

const NEXT_HOPS: &str = r#"
[[neighbor]]
device = "p0"
address = "10.1.0.2"
mac = "02:00:00:00:0a:01"
[[neighbor]]
device = "p1"
address = "192.168.32.2"
mac = "02:00:00:00:0b:01"
"#;

/// All of them, each after the one that it is with something more.
pub(crate) const WAYS: [Way; 9] = [
    Way {
        name: NOWHERE,
        on: None,
        added: 0,
        standard: "",
        near: "",
        known: "",
        has_ends: false,
        is_routed: false,
        kernel: Kernel::Nothing,
    },
    Way {
        name: "cross-connect",
        on: Some((NOWHERE, "read and send on")),
        added: 0,
        standard: "nothing is added",
        near: "[[xconnect]]\na = \"p0\"\nb = \"p1\"\n",
        known: "",
        has_ends: false,
        is_routed: false,
        kernel: Kernel::Nothing,
    },
    Way {
        name: "bridge",
        on: Some(("cross-connect", "learn and look up")),
        added: 0,
        standard: "nothing is added",
        near: BRIDGE,
        known: AT_PORTS,
        has_ends: false,
        is_routed: false,
        kernel: Kernel::Bridge,
    },
    Way {
        name: "802.1Q",
        on: Some(("bridge", "first tag")),
        added: 4,
        standard: "IEEE 802.1Q-2022, 9.3: a tag of 4 bytes",
        near: VLAN,
        known: AT_UPPER,
        has_ends: false,
        is_routed: false,
        kernel: Kernel::Vlan,
    },
    Way {
        name: "QinQ",
        on: Some(("802.1Q", "second tag")),
        added: 8,
        standard: "IEEE 802.1Q-2022, 9.3: two tags of 4 bytes",
        near: QINQ,
        known: AT_UPPER,
        has_ends: false,
        is_routed: false,
        kernel: Kernel::QinQ,
    },
    Way {
        name: "macvlan",
        on: Some(("cross-connect", "sort out by address")),
        added: 0,
        standard: "nothing is added",
        near: MACVLAN,
        known: "",
        has_ends: false,
        is_routed: false,
        kernel: Kernel::Macvlan,
    },
    Way {
        name: "host-gw",
        on: Some(("cross-connect", "route")),
        added: 0,
        standard: "nothing is added",
        near: HOST_GW,
        known: NEXT_HOPS,
        has_ends: false,
        is_routed: true,
        kernel: Kernel::Route,
    },
    Way {
        name: "IPIP",
        on: Some(("host-gw", "tunnel header")),
        added: 20,
        standard: "RFC 2003, 3.1: an IPv4 header of 20 bytes",
        near: IPIP,
        known: NEXT_HOPS,
        has_ends: true,
        is_routed: true,
        kernel: Kernel::Ipip,
    },
    Way {
        name: "VXLAN",
        on: Some(("bridge", "tunnel header")),
        added: 50,
        standard: "RFC 7348, 5: Ethernet 14, IPv4 20, UDP 8 (without a checksum) and VXLAN 8 bytes",
        near: VXLAN,
        known: AT_TUNNEL,
        has_ends: true,
        is_routed: false,
        kernel: Kernel::Vxlan,
    },
];

impl Way {
    /// The near switch's configuration, with no I/O.
    pub(crate) fn near(&self) -> String {
        let port = |name: &str| format!("[[port]]\nname = \"{name}\"\nmemory = true\nmtu = 9216\n");
        format!("switch = {{ mac_table = 1024 }}\n{}{}{}{}", port("p0"), port("p1"), self.near, self.known)
    }

    /// That of the switch at the other end, if it has another.
    fn far(&self) -> Option<String> {
        self.has_ends.then(|| swapped(&self.near()))
    }

    /// Whether it is measured over devices, where a station is behind each end.
    pub(crate) fn is_over_devices(&self) -> bool {
        self.kernel != Kernel::Nothing
    }

    /// The near switch's configuration over a station's port and a wire of these kinds and MTUs, and that of the far one.
    pub(crate) fn over(&self, kinds: [&str; 2], mtus: [u16; 2]) -> [String; 2] {
        let port = |(place, name): (usize, &str)| {
            let device = match kinds[place] {
                "socket" => "socket = { udp = [4789], ipip = true }".to_owned(),
                kind => format!("{kind} = \"{name}\""),
            };
            format!("[[port]]\nname = \"{name}\"\n{device}\nmtu = {}\n", mtus[place])
        };
        let ports: String = ["p0", "p1"].into_iter().enumerate().map(port).collect();
        let near = ports + self.near;
        let far = swapped(&near);
        [near, far]
    }

    /// Frames of `size` bytes that A sends to B, as they arrive at `p0`.
    pub(crate) fn outward(&self, size: usize) -> Vec<Vec<u8>> {
        frames(self.first_hop("p0", B), A, A_IP, B_IP, size)
    }

    /// Frames of that size from B to A as they arrive at `p1`, for A to get them as [`Way::outward`] has them the other way;
    /// `through` is what leaves a switch of a configuration by its `p1` when these frames came in by `p0`.
    ///
    /// # Errors
    /// Those of `through`.
    pub(crate) fn inward<E>(
        &self,
        size: usize,
        through: impl FnOnce(&str, &[Vec<u8>]) -> Result<Vec<Vec<u8>>, E>,
    ) -> Result<Vec<Vec<u8>>, E> {
        let own = |hop| frames(hop, B, B_IP, A_IP, size);
        match self.far() {
            Some(far) => {
                let mut sent = through(&far, &own(self.first_hop("p0", A)))?;
                // Both switches have their ports' addresses by the same names; on this wire they are told apart.
                let addresses = [MacAddr::of_name("p1").octets(), B].concat();
                sent.iter_mut().for_each(|frame| frame[..12].copy_from_slice(&addresses));
                Ok(sent)
            }
            None if self.added > 0 => {
                // Whatever is added is the same both ways.
                let mut sent = through(&self.near(), &self.outward(size))?;
                sent.iter_mut().for_each(|frame| frame[..12].rotate_left(6));
                Ok(sent)
            }
            None => Ok(own(self.first_hop("p1", A))),
        }
    }

    /// What is before the IP header of those: `first_hop` says whom they are sent to on a wire.
    ///
    /// # Errors
    /// Those of `through`.
    pub(crate) fn wrapping<E>(
        &self,
        size: usize,
        first_hop: MacAddr,
        through: impl FnOnce(&str, &[Vec<u8>]) -> Result<Vec<Vec<u8>>, E>,
    ) -> Result<Vec<u8>, E> {
        let mut frame = self.inward(size, through)?.swap_remove(0);
        frame.truncate(frame.len() - (size - ETHERNET));
        frame[..6].copy_from_slice(&first_hop.octets());
        Ok(frame)
    }

    /// Whom a station sends to: the other one, or the router at this port.
    fn first_hop(&self, port: &str, station: [u8; 6]) -> [u8; 6] {
        if self.is_routed { MacAddr::of_name(port).octets() } else { station }
    }
}

/// The configuration of the other end: what is near is far there, and the other way round.
fn swapped(near: &str) -> String {
    const SWAPPED: [(&str, &str); 4] = [
        ("192.168.32.1", "192.168.32.2"),
        ("10.1.0", "10.2.0"),
        ("10.9.0.1", "10.9.0.2"),
        ("02:00:00:00:0a:01", "02:00:00:00:0b:01"),
    ];
    SWAPPED.iter().fold(near.to_owned(), |text, (one, other)| {
        text.replace(one, "\0").replace(other, one).replace('\0', other)
    })
}

const ETHERNET: usize = 14;

/// A UDP datagram of each flow, in frames of `size` bytes.
fn frames(to: [u8; 6], from: [u8; 6], source: [u8; 4], destination: [u8; 4], size: usize) -> Vec<Vec<u8>> {
    const IPV4: usize = 20;
    let word = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
    let frame = |flow: u16| {
        let mut ip = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        ip[2..4].copy_from_slice(&word(size - ETHERNET));
        ip[12..16].copy_from_slice(&source);
        ip[16..].copy_from_slice(&destination);
        let sum = Sum::of(&ip).checksum().to_be_bytes();
        ip[10..12].copy_from_slice(&sum);
        // Without a checksum of its own (RFC 768).
        let ports = [(1024 + flow).to_be_bytes(), 9u16.to_be_bytes(), word(size - ETHERNET - IPV4), [0, 0]];
        let mut frame = [&to[..], &from, &[8, 0], &ip, &ports.concat()].concat();
        frame.resize(size, 0);
        frame
    };
    (0..FLOWS).map(frame).collect()
}
