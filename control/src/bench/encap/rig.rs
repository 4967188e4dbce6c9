//! Two stations, each behind a switch, with a wire between the switches; or one station behind a switch whose wire ends at the other: what
//! is measured over real devices. The switches are ours or the kernel's; everything is in namespaces that go with this.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::sys::bpf::Attach;
use rigswitch_dataplane::sys::stacking;

use super::running::Running;
use super::ways::{A, A_IP, B, B_IP, Kernel, Way};
use crate::bench::BenchError;
use crate::lab::{Host, Lab, LabError, ping};

/// What the namespaces are named after.
const PURPOSE: &str = "bench";

/// Bytes that a packet on the wire may have more than a station's: room for every header.
const ROOM: u16 = 100;

/// How long a path may take to work.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Who forwards, and how it has its devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drive {
    Xdp,
    Packet,
    /// The stations behind TAPs, the wire a packet port.
    Tap,
    /// The wire is the host's, and what is encapsulated goes through its sockets.
    Sockets,
    Kernel,
}

impl Drive {
    pub(crate) const ALL: [Self; 5] = [Self::Xdp, Self::Packet, Self::Tap, Self::Sockets, Self::Kernel];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Xdp => "AF_XDP",
            Self::Packet => "packet",
            Self::Tap => "TAP",
            Self::Sockets => "sockets",
            Self::Kernel => "kernel",
        }
    }

    /// Whether it is one for this way: only what tunnels send goes by sockets.
    pub(super) fn is_for(self, way: &Way) -> bool {
        self != Self::Sockets || way.has_ends
    }

    /// The keys of a station's port and of the wire's.
    fn ports(self) -> [&'static str; 2] {
        match self {
            Self::Xdp => ["xdp"; 2],
            Self::Packet => ["packet"; 2],
            Self::Tap => ["tap", "packet"],
            Self::Sockets => ["xdp", "socket"],
            Self::Kernel => [""; 2],
        }
    }
}

/// How many switches are on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Span {
    /// One, which either encapsulates or decapsulates.
    One,
    /// Two, of which each does one of the two.
    Two,
}

/// A path from one station to another.
pub(super) struct Rig {
    pub(super) one: Host,
    pub(super) two: Host,
    /// The first station's end of its wire.
    pub(super) device: &'static str,
    /// The other one's.
    pub(super) end: &'static str,
    way: &'static Way,
    drive: Drive,
    near: Host,
    far: Option<Host>,
    switches: Vec<Running>, // dropped before the lab: they have the ends of the wires
    lab: Lab,
}

impl Rig {
    /// Makes it for packets of at most `mtu` bytes; over two switches it waits until the stations reach each other.
    ///
    /// # Errors
    /// [`BenchError::Absent`] where the kernel has no such device; whatever else keeps it from working.
    pub(super) fn build(way: &'static Way, drive: Drive, span: Span, mtu: u16) -> Result<Self, BenchError> {
        let mut lab = Lab::new(PURPOSE)?;
        let [one, near, two] = ["one", "near", "two"].map(|name| lab.host(name));
        let (one, near, two) = (one?, near?, two?);
        let far = if span == Span::Two { Some(lab.host("far")?) } else { None };
        let device = if drive == Drive::Tap { "p0" } else { "eth0" };
        let end = if span == Span::Two { device } else { "p1" };
        let mut rig = Self { one, two, device, end, way, drive, near, far, switches: Vec::new(), lab };
        for host in [Some(&rig.one), Some(&rig.near), Some(&rig.two), rig.far.as_ref()].into_iter().flatten()
        {
            quieten(host)?;
        }
        let other = rig.far.as_ref().unwrap_or(&rig.two);
        rig.near.add_veth("p1", "p1", other.netns())?;
        for host in [&rig.near, other] {
            set_mtu(host, "p1", mtu + ROOM)?;
            host.set_up("p1")?;
        }
        for (station, switch, mac) in rig.sides() {
            if drive == Drive::Kernel && way.kernel == Kernel::Macvlan {
                way.kernel.give_macvlan(station, device, switch, mac)?;
            } else if drive != Drive::Tap {
                station.add_veth(device, "p0", switch.netns())?;
                set_mtu(station, device, mtu)?;
                set_mtu(switch, "p0", mtu)?;
                switch.set_up("p0")?;
            }
        }
        rig.switches = rig.start(mtu)?;
        for (station, switch, mac) in rig.sides() {
            if drive == Drive::Tap {
                station.adopt(device, switch.netns())?;
            }
            let (own, other) = if mac == A { (A_IP, B_IP) } else { (B_IP, A_IP) };
            set_mtu(station, device, mtu)?;
            station.set_mac(device, MacAddr::new(mac))?;
            let length = if way.is_routed { 24 } else { 8 };
            station.add_address(device, IpAddr::from(own), length)?;
            station.set_up(device)?;
            if way.is_routed {
                station.add_route(network(other), 24, router(own))?;
            }
        }
        match span {
            Span::One => {
                // The other station is the next hop, and the tunnel's far end.
                rig.two.set_mac("p1", MacAddr::new(B))?;
                rig.two.add_address("p1", underlay(B_IP), 24)?;
            }
            Span::Two => rig.wait_until_it_works()?,
        }
        Ok(rig)
    }

    /// The stations that are behind switches, each with its switch and its address.
    fn sides(&self) -> impl Iterator<Item = (&Host, &Host, [u8; 6])> {
        let far = self.far.as_ref().map(|far| (&self.two, far, B));
        [(&self.one, &self.near, A)].into_iter().chain(far)
    }

    /// Has the switches forward.
    fn start(&self, mtu: u16) -> Result<Vec<Running>, BenchError> {
        let configs = self.way.over(self.drive.ports(), [mtu, mtu + ROOM]);
        let mut switches = Vec::new();
        for ((_, switch, mac), config) in self.sides().zip(configs) {
            let (own, other) = if mac == A { (A_IP, B_IP) } else { (B_IP, A_IP) };
            if self.drive == Drive::Kernel {
                self.way.kernel.set_up(switch, &own, &other, mtu.into())?;
                continue;
            }
            if self.drive == Drive::Sockets {
                switch.add_address("p1", underlay(own), 24)?;
            }
            switches.push(Running::start(switch, config)?);
        }
        Ok(switches)
    }

    /// How our near switch has its two ports; nothing of the kernel's.
    pub(super) fn driver(&self) -> Option<String> {
        let ports = &self.switches.first()?.ports;
        let links = self.near.run(stacking::all).ok().and_then(Result::ok).unwrap_or_default();
        let port = |name: &str| {
            let kind = ports.iter().find(|port| port.ifname == name).map(|port| port.kind.as_str())?;
            let hook =
                links.iter().find(|link| link.link.name == name && kind == "xdp").and_then(|link| link.xdp);
            let hook = match hook.map(|program| program.hook) {
                None => "",
                Some(Attach::Native) => ", native",
                Some(Attach::Generic) => ", generic",
            };
            Some(format!("{kind}{hook}"))
        };
        Some(format!("{}: {} to the station, {} to the wire", self.drive.name(), port("p0")?, port("p1")?))
    }

    /// Where the first station's frames go: to the other one, or to its router.
    pub(super) fn first_hop(&self) -> Result<MacAddr, BenchError> {
        match (self.way.is_routed, self.drive) {
            // The TAP is the station's; the router has an address of its own behind it.
            (true, Drive::Tap) => Ok(MacAddr::of_name("p0")),
            (true, _) => mac(&self.near, "p0"),
            (false, _) => Ok(MacAddr::new(B)),
        }
    }

    /// Where the frames that come by the wire go: to the station, or to its router or the tunnel's end.
    pub(super) fn first_hop_back(&self) -> Result<MacAddr, BenchError> {
        if self.way.is_routed || self.way.has_ends { mac(&self.near, "p1") } else { Ok(MacAddr::new(A)) }
    }

    /// Bytes that a program on the wire sees before the IP header, and would not before a plain frame's.
    pub(super) fn added(&self) -> usize {
        let beside = if self.drive == Drive::Kernel { self.way.kernel.beside() } else { 0 };
        self.way.added - beside
    }

    /// Has the switches' ends of the stations' wires, and of the wire where it ends at a station, take frames that XDP sends.
    pub(super) fn have_napi(&self) -> Result<(), BenchError> {
        let is_xdp = matches!(self.drive, Drive::Xdp | Drive::Sockets);
        let is_direct = self.drive == Drive::Kernel && self.way.kernel == Kernel::Macvlan;
        let stations = !is_xdp && self.drive != Drive::Tap && !is_direct;
        let near = self.sides().filter(|_| stations).map(|(_, switch, _)| (switch, "p0"));
        let wire = Some((&self.near, "p1")).filter(|_| self.far.is_none() && self.drive != Drive::Xdp);
        for (host, device) in near.chain(wire) {
            let merges = host.netdev(device)?.set_merges_received(true);
            merges.map_err(|error| BenchError::Device(error.to_string()))?;
        }
        Ok(())
    }

    fn wait_until_it_works(&self) -> Result<(), BenchError> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let answered = ping(&self.one, IpAddr::from(B_IP), 1, 56, Duration::from_millis(200))?;
            if answered.lost() == 0 {
                return Ok(());
            }
        }
        Err(BenchError::Device("the stations do not reach each other".to_owned()))
    }

    /// Removes it all.
    pub(super) fn remove(self) -> Result<(), BenchError> {
        let Self { switches, lab, .. } = self;
        let stopped = switches.into_iter().map(Running::stop).fold(Ok(()), Result::and);
        lab.remove()?;
        stopped
    }
}

/// The router's address in a station's network, and the network's.
pub(super) fn router([a, b, c, _]: [u8; 4]) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, 1)
}

pub(super) fn network([a, b, c, _]: [u8; 4]) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, 0)
}

/// The address of this station's switch on the wire.
fn underlay([_, network, _, _]: [u8; 4]) -> IpAddr {
    Ipv4Addr::new(192, 168, 32, network).into()
}

fn mac(host: &Host, device: &str) -> Result<MacAddr, BenchError> {
    host.netdev(device)?.mac().map_err(|error| BenchError::Device(error.to_string()))
}

fn set_mtu(host: &Host, device: &str, mtu: u16) -> Result<(), BenchError> {
    let set = host.netdev(device)?.set_mtu(mtu.into());
    set.map_err(|error| BenchError::Device(format!("an MTU of {mtu}: {error}")))
}

/// Keeps a host from announcing itself by IPv6 on devices that it gets.
fn quieten(host: &Host) -> Result<(), LabError> {
    // Where the file system is read-only, a few multicasts more do no harm.
    host.run(|| drop(std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")))
}
