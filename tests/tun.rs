//! Tunnels of packets that the host has: what it routes to a TUN enters the tunnel, and what comes out of the tunnel is the host's.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::net::IpAddr;
use std::process::Command;

use command::{Folder, PATIENCE, Running, said, wait_for};
use rig::{NIC, Plug, Rig, has, run_in, shown};
use rigswitch::lab::{self, Host};
use rigswitch::views::{DropsView, PortView, TunnelView};

/// What the near node's host has in the tunnel, and the container behind the far node.
const NEAR: [&str; 2] = ["172.245.0.1", "fd45::1"];
const FAR: [&str; 2] = ["172.246.0.2", "fd46::2"];

/// The ends of the tunnel over IPv4, and over IPv6.
const ENDS: [[&str; 2]; 2] = [["192.168.32.245", "192.168.33.246"], ["fd32::245", "fd33::246"]];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two nodes with a router of the kernel's between them. The near node's host has its tunnel as `tun0`; the far node routes by its own, to a container.
struct Nodes {
    rig: Rig,
    far: Folder,
    switches: Vec<Running>,
}

impl Nodes {
    /// The tunnel has these ends, and the near one these keys; behind the router packets are of `narrow` bytes.
    fn new(test: &str, ends: [&str; 2], keys: &str, narrow: u32) -> Option<Self> {
        let rig = has(test, "ip").then(|| Rig::new(test, &[Plug::Veth; 3], 1500))??;
        let [host, container, router] = &rig.hosts[..] else { panic!("three hosts") };
        rig.center.add_veth("w1", "net1", router.netns()).unwrap();
        for (host, device) in [(&rig.center, "w1"), (router, "net1")] {
            host.netdev(device).unwrap().set_mtu(narrow).unwrap();
            host.set_up(device).unwrap();
        }
        for (device, net) in [(NIC, 32), ("net1", 33)] {
            router.add_address(device, address(&format!("192.168.{net}.1")), 24).unwrap();
            router.add_address(device, address(&format!("fd{net}::1")), 64).unwrap();
        }
        run_in(router, "sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        let (netns, hosts) = (rig.center.name(), host.name());
        let node = |net: u8, end: u8, port: &str, rest: &str| {
            format!(
                "[switch]\nmac_table = 1024\n[routing]\ndad_transmits = 0\n\
                 [[port]]\nname = \"u0\"\n{port}\nnetns = \"{netns}\"\n\
                 [[address]]\ndevice = \"u0\"\naddress = \"192.168.{net}.{end}/24\"\n\
                 [[address]]\ndevice = \"u0\"\naddress = \"fd{net}::{end}/64\"\n\
                 [[route]]\nto = \"0.0.0.0/0\"\nvia = \"192.168.{net}.1\"\n\
                 [[route]]\nto = \"::/0\"\nvia = \"fd{net}::1\"\n{rest}"
            )
        };
        let tunnel = |[local, remote]: [&str; 2], rest: &str| {
            format!(
                "[[ipip]]\nname = \"tun0\"\nlocal = \"{local}\"\nremote = \"{remote}\"\nmode = \"any\"\n{rest}\n"
            )
        };
        let [v4, v6] = NEAR;
        let keys =
            format!("{keys}\nhost = {{ netns = \"{hosts}\", addresses = [\"{v4}/24\", \"{v6}/64\"] }}");
        let near = node(32, 245, "xdp = \"p2\"", &tunnel(ends, &keys));
        let routed = format!(
            "[[port]]\nname = \"c0\"\nxdp = \"p1\"\nnetns = \"{netns}\"\n\
             [[address]]\ndevice = \"c0\"\naddress = \"172.246.0.1/24\"\n\
             [[address]]\ndevice = \"c0\"\naddress = \"fd46::1/64\"\n\
             [[route]]\nto = \"172.245.0.0/24\"\ndevice = \"tun0\"\n\
             [[route]]\nto = \"fd45::/64\"\ndevice = \"tun0\"\n"
        );
        let [local, remote] = ends;
        let other = node(33, 246, "packet = \"w1\"", &(tunnel([remote, local], "") + &routed));
        let far = Folder::new(&format!("{test}-far"));
        let switches = vec![rig.folder.start(&near), far.start(&other)];
        for (address_of, length) in FAR.into_iter().zip([24, 64]) {
            container.add_address(NIC, address(address_of), length).unwrap();
        }
        for via in ["172.246.0.1", "fd46::1"] {
            run_in(container, &format!("ip route add default via {via}"));
        }
        let nodes = Self { rig, far, switches };
        nodes.route();
        Some(nodes)
    }

    /// The host's ways into the tunnel.
    fn route(&self) {
        for to in ["172.246.0.0/24", "fd46::/64"] {
            run_in(self.host(), &format!("ip route replace {to} dev tun0"));
        }
    }

    fn host(&self) -> &Host {
        &self.rig.hosts[0]
    }

    fn router(&self) -> &Host {
        &self.rig.hosts[2]
    }

    /// Host and container reach each other, and move data both ways, by both versions of IP.
    fn work(&self) {
        let [host, container, _] = &self.rig.hosts[..] else { panic!("three hosts") };
        for (near, far) in NEAR.into_iter().zip(FAR) {
            for (from, to, target) in [(host, container, far), (container, host, near)] {
                reaches(from, target);
                lab::tcp_transfer(from, to, (address(target), 0).into(), 2 << 20).unwrap();
            }
        }
    }

    fn tunnel(&self) -> TunnelView {
        let views: Vec<TunnelView> = serde_json::from_str(&self.rig.folder.ask("show tunnels -j")).unwrap();
        views.into_iter().next().unwrap()
    }

    /// What the near switch shows of its tunnel's device, if it has one.
    fn shown(&self) -> Option<PortView> {
        let ports: Vec<PortView> = serde_json::from_str(&self.rig.folder.ask("show ports -j")).unwrap();
        ports.into_iter().find(|port| port.ifname == "tun0")
    }

    /// What `ip` says of the host's device; nothing if there is none.
    fn device(&self) -> Option<String> {
        let command = &mut Command::new("ip");
        let said = self.host().run(|| said(command.args(["-d", "addr", "show", "dev", "tun0"]))).unwrap();
        (said.code == Some(0)).then_some(said.out)
    }

    /// Bytes that the host takes the way to carry: what it was told, if it was.
    fn told(&self, to: &str) -> Option<u32> {
        let said = run_in(self.host(), &format!("ip route get {to}"));
        let mut words = said.split_whitespace().skip_while(|word| *word != "mtu");
        words.nth(1).map(|mtu| mtu.parse().unwrap())
    }

    fn settled(&self) -> DropsView {
        wait_for("every frame and every copy of the far node to be accounted for", || {
            let view: DropsView = serde_json::from_str(&self.far.ask("show drops -j")).unwrap();
            (view.ledger.balanced && view.ledger.held == 0).then_some(())
        });
        self.rig.settled()
    }
}

fn reaches(host: &Host, target: &str) {
    let target = address(target);
    wait_for(&format!("{} to reach {target}", host.name()), || {
        lab::ping(host, target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
}

#[test]
fn what_the_host_routes_there_enters_and_what_comes_out_is_its_own() {
    for (ends, mtu) in ENDS.into_iter().zip([1480, 1452]) {
        let Some(nodes) = Nodes::new("tun-reach", ends, "", 1500) else { return };
        nodes.work();
        let device = nodes.device().unwrap();
        assert!(device.contains("tun type tun") && device.contains(&format!("mtu {mtu}")), "{device}");
        assert!(device.contains("POINTOPOINT") && device.contains("NOARP"), "{device}");
        let port = nodes.shown().unwrap();
        assert_eq!((port.kind.as_str(), port.operstate.as_str(), port.mtu), ("host", "UP", mtu));
        // The host leaves the cutting to the switch.
        assert!(port.rx.bytes > 2 * u64::from(mtu) * port.rx.packets, "{port:?}");
        let [far_end] = &nodes.tunnel().far_ends[..] else { panic!("one far end") };
        assert_eq!((&*far_end.dst, &*far_end.state, far_end.mtu), (ends[1], "reachable", Some(1500)));
        let drops = nodes.settled();
        assert!(drops.drops.is_empty(), "{:?}", drops.drops);
        let metrics = command::http(&nodes.rig.folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
        assert!(metrics.contains("rigswitch_transmit_packets_total{device=\"tun0\"} "), "{metrics}");
        let why = nodes.rig.folder.ask("explain --port tun0 eth / ip src=172.245.0.1 dst=172.246.0.2 / udp");
        assert!(why.contains("tun0, which the host has") && why.contains(ends[1]), "{why}");
    }
}
