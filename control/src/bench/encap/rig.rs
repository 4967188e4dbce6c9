//! Two stations, each behind a switch, with a wire between the switches: what is measured over real devices. The switches are
//! ours or the kernel's; everything is in namespaces that go with this.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::sys::bpf::Attach;
use rigswitch_dataplane::sys::stacking;

use super::ways::{A, A_IP, B, B_IP, Kernel, Way};
use crate::bench::BenchError;
use crate::config::Config;
use crate::lab::{Host, Lab, LabError, ping};
use crate::switch::{Switch, TICK};
use crate::views::PortView;

/// What the namespaces are named after.
const PURPOSE: &str = "bench";

/// Bytes of packet on the wire: room for every header, so that stations keep their 1500.
const WIRE_MTU: u32 = 1600;

/// How long a path may take to work.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who forwards, and how it has its devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Drive {
    Xdp,
    Packet,
    /// The stations behind TAPs, the wire a packet port.
    Tap,
    Kernel,
}

impl Drive {
    pub(super) const ALL: [Self; 4] = [Self::Xdp, Self::Packet, Self::Tap, Self::Kernel];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xdp => "AF_XDP",
            Self::Packet => "packet",
            Self::Tap => "TAP",
            Self::Kernel => "kernel",
        }
    }

    /// The keys of a station's port and of the wire's.
    fn ports(self) -> [&'static str; 2] {
        match self {
            Self::Xdp => ["xdp"; 2],
            Self::Packet => ["packet"; 2],
            Self::Tap => ["tap", "packet"],
            Self::Kernel => [""; 2],
        }
    }
}

/// A path from one station to another.
pub(super) struct Rig {
    pub(super) one: Host,
    pub(super) two: Host,
    /// The station's end of its wire, of the same name on both.
    pub(super) device: &'static str,
    drive: Drive,
    near: Host,
    far: Host,
    routed: bool,
    switches: Vec<Running>, // dropped before the lab: they have the ends of the wires
    lab: Lab,
}

impl Rig {
    /// Makes it, and waits until the stations reach each other.
    ///
    /// # Errors
    /// [`BenchError::Absent`] where the kernel has no such device; whatever else keeps it from working.
    pub(super) fn build(way: &Way, drive: Drive) -> Result<Self, BenchError> {
        let mut lab = Lab::new(PURPOSE)?;
        let [one, near, far, two] = ["one", "near", "far", "two"].map(|name| lab.host(name));
        let (one, near, far, two) = (one?, near?, far?, two?);
        for host in [&one, &near, &far, &two] {
            quieten(host)?;
        }
        near.add_veth("p1", "p1", far.netns())?;
        for host in [&near, &far] {
            let wire = host.netdev("p1")?;
            wire.set_mtu(WIRE_MTU).map_err(|error| BenchError::Device(error.to_string()))?;
            host.set_up("p1")?;
        }
        let device = if drive == Drive::Tap { "p0" } else { "eth0" };
        if drive != Drive::Tap {
            for (station, switch) in [(&one, &near), (&two, &far)] {
                station.add_veth(device, "p0", switch.netns())?;
                switch.set_up("p0")?;
            }
        }
        let routed = way.is_routed;
        let mut rig = Self { one, two, device, drive, near, far, routed, switches: Vec::new(), lab };
        match drive {
            Drive::Kernel => {
                way.kernel.set_up(&rig.near, &A_IP, &B_IP)?;
                way.kernel.set_up(&rig.far, &B_IP, &A_IP)?;
            }
            _ => {
                for (host, config) in [&rig.near, &rig.far].into_iter().zip(way.over(drive.ports())) {
                    rig.switches.push(Running::start(host, config)?);
                }
            }
        }
        if drive == Drive::Tap {
            rig.one.adopt(device, rig.near.netns())?;
            rig.two.adopt(device, rig.far.netns())?;
        }
        for (station, mac, own, other) in [(&rig.one, A, A_IP, B_IP), (&rig.two, B, B_IP, A_IP)] {
            station.set_mac(device, MacAddr::new(mac))?;
            let length = if way.is_routed { 24 } else { 8 };
            station.add_address(device, IpAddr::from(own), length)?;
            station.set_up(device)?;
            if way.is_routed {
                station.add_route(network(other), 24, router(own))?;
            }
        }
        rig.wait_until_it_works()?;
        Ok(rig)
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
        match (self.routed, self.drive) {
            // The TAP is the station's; the router has an address of its own behind it.
            (true, Drive::Tap) => Ok(MacAddr::of_name("p0")),
            (true, _) => self.near.netdev("p0")?.mac().map_err(|error| BenchError::Device(error.to_string())),
            (false, _) => Ok(MacAddr::new(B)),
        }
    }

    /// Has the switches' ends of the stations' wires take frames that XDP sends.
    pub(super) fn have_napi(&self) -> Result<(), BenchError> {
        let takes_them = matches!(self.drive, Drive::Xdp | Drive::Tap);
        for host in [&self.near, &self.far].into_iter().filter(|_| !takes_them) {
            let merges = host.netdev("p0")?.set_merges_received(true);
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

impl Kernel {
    /// Has the kernel forward in `host`, of which this is the station's address, and that the other's.
    fn set_up(self, host: &Host, own: &[u8; 4], other: &[u8; 4]) -> Result<(), BenchError> {
        let absent = |error: LabError| match error.is_unsupported() {
            true => BenchError::Absent("not in this kernel"),
            false => error.into(),
        };
        let [end, far_end] = [own, other].map(|ip| Ipv4Addr::new(192, 168, 32, ip[1]));
        match self {
            Self::Nothing => return Err(BenchError::Absent("the kernel has nothing like it")),
            Self::Bridge => host.add_bridge("br0", &["p0", "p1"])?,
            Self::Vlan => {
                host.add_vlan("up", "p1", 10, false).map_err(absent)?;
                host.add_bridge("br0", &["p0", "up"])?;
            }
            Self::QinQ => {
                host.add_vlan("outer", "p1", 100, true).map_err(absent)?;
                host.add_vlan("up", "outer", 10, false).map_err(absent)?;
                host.add_bridge("br0", &["p0", "up"])?;
            }
            Self::Vxlan => {
                host.add_address("p1", end.into(), 24)?;
                host.add_vxlan("up", 1, end, far_end, 4789).map_err(absent)?;
                host.add_bridge("br0", &["p0", "up"])?;
            }
            Self::Ipip => {
                host.add_address("p0", router(*own).into(), 24)?;
                host.add_address("p1", end.into(), 24)?;
                host.add_ipip("up", end, far_end).map_err(absent)?;
                host.add_route_by(network(*other), 24, "up")?;
                host.forward()?;
            }
            Self::Route => {
                host.add_address("p0", router(*own).into(), 24)?;
                host.add_address("p1", end.into(), 24)?;
                host.add_route(network(*other), 24, far_end)?;
                host.forward()?;
            }
        }
        Ok(())
    }
}

/// The router's address in a station's network, and the network's.
fn router([a, b, c, _]: [u8; 4]) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, 1)
}

fn network([a, b, c, _]: [u8; 4]) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, 0)
}

/// Keeps a host from announcing itself by IPv6 on devices that it gets.
fn quieten(host: &Host) -> Result<(), LabError> {
    // Where the file system is read-only, a few multicasts more do no harm.
    host.run(|| drop(std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")))
}

/// A switch of ours in a host, on threads of its own. It ends with this.
struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
    ports: Vec<PortView>,
}

impl Running {
    fn start(host: &Host, config: String) -> Result<Self, BenchError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, forwards) = channel();
        let (host, asked) = (host.clone(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let served = host.run(|| serve(&config, &asked, &ready).map_err(|error| error.to_string()));
            served.map_err(|error| error.to_string())?
        });
        let mut running = Self { stop, thread: Some(thread), ports: Vec::new() };
        match forwards.recv() {
            Ok(ports) => running.ports = ports,
            Err(_) => running.end()?,
        }
        Ok(running)
    }

    fn stop(mut self) -> Result<(), BenchError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), BenchError> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let served = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        served.map_err(BenchError::Device)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever drops it has another error to tell.
        let _ = self.end();
    }
}

/// Runs a switch until it is to stop.
fn serve(config: &str, stop: &AtomicBool, ready: &Sender<Vec<PortView>>) -> Result<(), BenchError> {
    /// How long a router's questions may wait.
    const NAP: Duration = Duration::from_millis(2);
    let mut switch = Switch::start(Config::parse(config, "bench")?)?;
    // Who waits has it.
    let _ = ready.send(switch.ports());
    let mut ticked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(NAP);
        switch.hear_workers();
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            switch.tick();
        }
    }
    let patience = switch.patience();
    Ok(switch.stop(patience)?)
}
