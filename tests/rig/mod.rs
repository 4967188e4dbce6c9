//! What the tests on real devices share: hosts in namespaces around a switch that runs, and frames on their wires.
#![allow(dead_code, unreachable_pub)] // each test uses its part

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use rigswitch::lab::{self, Host, Lab};
use rigswitch::views::{DropsView, PortView};
use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::packet::PacketSocket;
use rigswitch_dataplane::sys::poll::{Interest, PollSet};

use crate::command::{Folder, PATIENCE, Running, is_machine_root, said, skipped, wait_for};

/// The device of every host.
pub const NIC: &str = "net0";

/// What a host is plugged in with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plug {
    /// A veth whose far end is an AF_XDP port.
    Veth,
    /// A TAP that is a port.
    Tap,
}

/// Hosts, and in the middle of them the namespace with the switch's ends of their veths. Host `n` is behind port `pn`.
pub struct Rig {
    pub hosts: Vec<Host>,
    pub center: Host,
    pub folder: Folder,
    plugs: Vec<Plug>,
    mtus: Vec<u16>,
    _lab: Lab,
}

impl Rig {
    /// A host for every plug, its veth made and up. A TAP comes with the switch. Nothing, said aloud, without root.
    pub fn new(test: &str, plugs: &[Plug], mtu: u16) -> Option<Self> {
        Self::with_mtus(test, plugs, &vec![mtu; plugs.len()])
    }

    /// The same, with an MTU for each.
    pub fn with_mtus(test: &str, plugs: &[Plug], mtus: &[u16]) -> Option<Self> {
        if !is_machine_root() {
            skipped(test, "AF_XDP needs root, and not that of a user namespace");
            return None;
        }
        let mut lab = Lab::new(test).unwrap();
        let center = lab.host("center").unwrap();
        quiet(&center);
        let hosts: Vec<_> = (0..plugs.len()).map(|n| lab.host(&format!("h{n}")).unwrap()).collect();
        for (n, host) in hosts.iter().enumerate().filter(|(n, _)| plugs[*n] == Plug::Veth) {
            center.add_veth(&format!("p{n}"), NIC, host.netns()).unwrap();
            for (host, device) in [(&center, format!("p{n}").as_str()), (host, NIC)] {
                host.netdev(device).unwrap().set_mtu(mtus[n].into()).unwrap();
                host.set_up(device).unwrap();
            }
        }
        let (plugs, mtus) = (plugs.to_vec(), mtus.to_vec());
        Some(Self { hosts, center, folder: Folder::new(test), plugs, mtus, _lab: lab })
    }

    /// Keeps every host from saying anything by itself. To be called before the switch starts.
    pub fn quiet(self) -> Self {
        self.hosts.iter().for_each(quiet);
        self
    }

    /// Starts a switch over all ports, with the rest of its configuration, and waits until it forwards.
    pub fn start(&self, workers: &str, rest: &str) -> Running {
        self.folder.start(&self.config(workers, rest))
    }

    /// The configuration of a switch over all ports, and the rest of it.
    pub fn config(&self, workers: &str, rest: &str) -> String {
        format!("[switch]\nworkers = {workers}\nmac_table = 1024\n{}\n{rest}", self.ports_text())
    }

    /// Starts a switch with one bridge over all ports.
    pub fn start_bridge(&self, workers: &str) -> Running {
        self.start(workers, &bridge("br0", 0..self.hosts.len()))
    }

    /// Gives every host its addresses. To be called when the switch runs, for only then are there TAPs.
    pub fn give_addresses(&self) {
        for (n, host) in self.hosts.iter().enumerate() {
            host.add_address(NIC, v4(n), 24).unwrap();
            host.add_address(NIC, v6(n), 64).unwrap();
        }
    }

    /// The host, or the middle, of this name.
    pub fn host(&self, name: &str) -> &Host {
        let mut all = self.hosts.iter().chain([&self.center]);
        all.find(|host| host.name() == name).expect("there is such a host")
    }

    /// What is on the wire of host `n`.
    pub fn wire(&self, n: usize) -> Wire {
        Wire::new(&self.hosts[n], NIC)
    }

    /// What the switch shows of port `pn`.
    pub fn port(&self, n: usize) -> PortView {
        let ports: Vec<PortView> = serde_json::from_str(&self.folder.ask("show ports -j")).unwrap();
        ports.into_iter().find(|port| port.ifname == format!("p{n}")).expect("the port is shown")
    }

    /// What the switch shows of its drops, when nothing is on its way any more.
    pub fn settled(&self) -> DropsView {
        wait_for("every frame and every copy to be accounted for", || {
            let view: DropsView = serde_json::from_str(&self.folder.ask("show drops -j")).unwrap();
            (view.ledger.balanced && view.ledger.held == 0).then_some(view)
        })
    }

    fn ports_text(&self) -> String {
        let port = |n: usize| {
            let (device, netns) = match self.plugs[n] {
                Plug::Veth => (format!("xdp = \"p{n}\""), self.center.name()),
                Plug::Tap => (format!("tap = \"{NIC}\""), self.hosts[n].name()),
            };
            format!("[[port]]\nname = \"p{n}\"\n{device}\nnetns = \"{netns}\"\nmtu = {}\n", self.mtus[n])
        };
        (0..self.plugs.len()).map(port).collect()
    }
}

/// The configuration of a bridge over ports.
pub fn bridge(name: &str, ports: impl IntoIterator<Item = usize>) -> String {
    let ports: Vec<_> = ports.into_iter().map(|n| format!("{{ device = \"p{n}\" }}")).collect();
    format!("[[bridge]]\nname = \"{name}\"\nport = [{}]\n", ports.join(", "))
}

/// The address of host `n`.
pub fn v4(n: usize) -> IpAddr {
    IpAddr::from([10, 66, 0, u8::try_from(n + 1).unwrap()])
}

/// The IPv6 address of host `n`.
pub fn v6(n: usize) -> IpAddr {
    IpAddr::from([0xfd66, 0, 0, 0, 0, 0, 0, u16::try_from(n + 1).unwrap()])
}

/// Runs a command in a host, which must go well, and answers what it says.
pub fn run_in(host: &Host, line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a command"));
    command.args(words);
    let said = host.run(|| said(&mut command)).unwrap();
    assert_eq!(said.code, Some(0), "{line}: {}", said.err);
    said.out
}

/// Whether there is such a command. Where everything is to be tested, there must be.
pub fn has(test: &str, program: &str) -> bool {
    let found = Command::new(program).arg("-V").output().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{test} needs {program}");
        let package = if program == "ethtool" { "ethtool" } else { "iproute2" };
        skipped(test, &format!("it needs {program}: install {package}"));
    }
    found
}

/// Frames on a host's wire, as they are: tags where they belong.
pub struct Wire {
    socket: PacketSocket,
}

impl Wire {
    /// The wire of a device in a host.
    pub fn new(host: &Host, device: &str) -> Self {
        let open = || PacketSocket::open(Netdev::new(device, None)?.index()?);
        Self { socket: host.run(open).unwrap().unwrap() }
    }

    /// Puts a frame on the wire.
    pub fn send(&self, frame: &[u8]) {
        assert!(self.try_send(frame), "{} bytes are not to be sent", frame.len());
    }

    /// The same; whether the host's kernel took it.
    pub fn try_send(&self, frame: &[u8]) -> bool {
        self.socket.send(frame).is_ok()
    }

    /// The next frame from the wire; nothing if none has come yet.
    pub fn poll(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        let length = self.socket.receive(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// The next frame from the wire, waited for.
    pub fn receive(&self) -> Vec<u8> {
        let mut set = PollSet::new();
        set.add(&self.socket, Interest::Read);
        wait_for("a frame", || {
            set.wait(Some(Duration::from_secs(1))).unwrap();
            self.poll()
        })
    }

    /// The frames up to this one, waited for and left out.
    pub fn receive_until(&self, last: &[u8]) -> Vec<Vec<u8>> {
        std::iter::repeat_with(|| self.receive()).take_while(|frame| frame != last).collect()
    }
}

/// A frame of `length` bytes, its payload a pattern that tells one `seed` from another.
pub fn frame(to: [u8; 6], from: [u8; 6], ethertype: u16, length: usize, seed: u64) -> Vec<u8> {
    let mut frame = [&to[..], &from, &ethertype.to_be_bytes()].concat();
    frame
        .extend(seed.to_be_bytes().iter().chain([0x5a, 0xa5, 0x3c].iter()).cycle().take(length.max(14) - 14));
    frame
}

/// The same frame with a tag behind its addresses.
pub fn tagged(frame: &[u8], tag: [u8; 4]) -> Vec<u8> {
    [&frame[..12], &tag, &frame[12..]].concat()
}

/// Numbers without pattern, the same for the same seed (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One of `0..limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Without IPv6 and addresses no host says anything by itself; without br_netfilter a bridge alters nothing.
fn quiet(host: &Host) {
    host.run(|| {
        // A kernel without IPv6, or without br_netfilter, has no such knobs and needs none.
        for (knob, value) in [
            ("ipv6/conf/all/disable_ipv6", "1"),
            ("ipv6/conf/default/disable_ipv6", "1"),
            ("bridge/bridge-nf-call-iptables", "0"),
            ("bridge/bridge-nf-call-ip6tables", "0"),
            ("bridge/bridge-nf-call-arptables", "0"),
        ] {
            let _ = fs::write(format!("/proc/sys/net/{knob}"), value);
        }
    })
    .unwrap();
}

/// What `show ports` has of one.
pub fn shown(rig: &Rig, name: &str) -> PortView {
    let ports: Vec<PortView> = serde_json::from_str(&rig.folder.ask("show ports -j")).unwrap();
    ports.into_iter().find(|port| port.ifname == name).unwrap()
}

/// Waits until host `from` reaches host `to`, by IPv4 and IPv6.
pub fn reaches(rig: &Rig, from: usize, to: usize) {
    for target in [v4(to), v6(to)] {
        wait_for(&format!("host {from} to reach {target}"), || {
            lab::ping(&rig.hosts[from], target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
        });
    }
}
