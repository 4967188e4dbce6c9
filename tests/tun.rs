//! Tunnels of packets that the host has: what it routes to a TUN enters the tunnel, and what comes out of the tunnel is the host's.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use command::{Folder, PATIENCE, Running, said, wait_for};
use rig::{NIC, Plug, Rig, has, run_in};
use rigswitch::lab::{self, Host};
use rigswitch::views::{DropsView, PortView, TunnelView};

/// What the near node's host has in the tunnel, and the container behind the far node.
const NEAR: [&str; 2] = ["172.245.0.1", "fd45::1"];
const FAR: [&str; 2] = ["172.246.0.2", "fd46::2"];

/// The ends of the tunnel over IPv4, and over IPv6.
const ENDS: [[&str; 2]; 2] = [["192.168.32.245", "192.168.33.246"], ["fd32::245", "fd33::246"]];

/// How long an answer is waited for that may not come.
const SOON: Duration = Duration::from_millis(100);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two nodes with a router of the kernel's between them. The near node's host has its tunnel as `tun0`; the far node routes by its own, to a container.
struct Nodes {
    rig: Rig,
    far: Folder,
    /// The near node's configuration.
    near: String,
    _switches: [Running; 2],
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
                "[switch]\nworkers = 2\nmac_table = 1024\n[routing]\ndad_transmits = 0\n\
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
        let _switches = [rig.folder.start(&near), far.start(&other)];
        for (address_of, length) in FAR.into_iter().zip([24, 64]) {
            container.add_address(NIC, address(address_of), length).unwrap();
        }
        for via in ["172.246.0.1", "fd46::1"] {
            run_in(container, &format!("ip route add default via {via}"));
        }
        let nodes = Self { rig, far, near, _switches };
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
        // Of a tunnel that was not there the far node's senders were told; a connection that is told of it as it begins is given up.
        wait_for("the container to be told of all errors", || {
            lab::ping(container, address(NEAR[0]), 1, 10, SOON).unwrap();
            (tunnel(&self.far).far_ends[0].state == "reachable").then_some(())
        });
        for (near, far) in NEAR.into_iter().zip(FAR) {
            for (from, to, target) in [(host, container, far), (container, host, near)] {
                reaches(from, target);
                lab::tcp_transfer(from, to, (address(target), 0).into(), 2 << 20).unwrap();
            }
        }
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

    /// ICMP errors that say that something is not to be reached, as the host has heard them: IPv4's and IPv6's.
    fn unreachable(&self) -> [u64; 2] {
        let said = run_in(self.host(), "cat /proc/net/snmp");
        let mut rows = said.lines().filter_map(|line| line.strip_prefix("Icmp:"));
        let [names, values] = [rows.next(), rows.next()].map(|row| row.unwrap().split_whitespace());
        let ipv4 = names.zip(values).find(|(name, _)| *name == "InDestUnreachs").unwrap().1;
        let said = run_in(self.host(), "cat /proc/net/snmp6");
        let ipv6 = said.lines().find_map(|line| line.strip_prefix("Icmp6InDestUnreachs")).unwrap();
        [ipv4, ipv6.trim()].map(|count| count.parse().unwrap())
    }

    /// Has the near node be as its configuration is with this in place of that.
    fn apply(&self, from: &str, to: &str) {
        assert!(self.near.contains(from), "{from}");
        self.rig.folder.write("rig.toml", &self.near.replacen(from, to, 1));
        self.rig.folder.ask("apply rig.toml");
        assert_eq!(self.rig.folder.ask("plan rig.toml"), "no changes\n");
    }

    fn settled(&self) -> DropsView {
        wait_for("every frame and every copy of the far node to be accounted for", || {
            let view: DropsView = serde_json::from_str(&self.far.ask("show drops -j")).unwrap();
            (view.ledger.balanced && view.ledger.held == 0).then_some(())
        });
        self.rig.settled()
    }
}

/// Segments that were made of what the host sent by its tunnel.
fn segments(nodes: &Nodes) -> u64 {
    let metrics = command::http(&nodes.rig.folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
    let name = "rigswitch_segments_made_total{device=\"tun0\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |count| count.parse().unwrap())
}

/// The tunnel of a node.
fn tunnel(node: &Folder) -> TunnelView {
    let views: Vec<TunnelView> = serde_json::from_str(&node.ask("show tunnels -j")).unwrap();
    views.into_iter().next().unwrap()
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
        assert!(segments(&nodes) > 1000, "the host leaves the cutting to the switch");
        let [far_end] = &tunnel(&nodes.rig.folder).far_ends[..] else { panic!("one far end") };
        assert_eq!((&*far_end.dst, &*far_end.state, far_end.mtu), (ends[1], "reachable", Some(1500)));
        let drops = nodes.settled();
        assert!(drops.drops.is_empty(), "{:?}", drops.drops);
        let metrics = command::http(&nodes.rig.folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
        assert!(metrics.contains("rigswitch_transmit_packets_total{device=\"tun0\"} "), "{metrics}");
        // What is no packet of IP is counted, and no more.
        lab::send_frame(nodes.host(), "tun0", &[0x55; 40]).unwrap();
        wait_for("a drop of what is no packet", || {
            nodes.shown().unwrap().drops.get("tx.tunnel_not_ip").copied().filter(|&count| count == 1)
        });
        let why =
            nodes.rig.folder.ask("explain --port tun0 eth / ipv4 src=172.245.0.1 dst=172.246.0.2 / udp");
        assert!(why.contains("tun0, which the host has") && why.contains(ends[1]), "{why}");
    }
}

#[test]
fn the_host_is_told_what_fits_and_what_may_be_fragmented_is() {
    // The first link is too narrow for what the tunnel is said to carry, or one behind the router is.
    for (ends, keys, narrow, fits) in [
        (ENDS[0], "mtu = 1500", 1500, 1480),
        (ENDS[0], "", 1400, 1380),
        (ENDS[1], "", 1400, 1352),
        // What may be fragmented outside is, IPv6 with it.
        (ENDS[0], "pmtudisc = false", 1400, 1380),
    ] {
        let Some(nodes) = Nodes::new("tun-fit", ends, keys, narrow) else { return };
        let [host, container, _] = &nodes.rig.hosts[..] else { panic!("three hosts") };
        let longest = usize::try_from(nodes.shown().unwrap().mtu).unwrap();
        let versions = if keys == "pmtudisc = false" { 1 } else { 2 };
        for (target, headers) in FAR.into_iter().zip([28, 48]).take(versions) {
            reaches(host, target);
            wait_for(&format!("the host to be told what fits on the way to {target}"), || {
                let ping = lab::ping(host, address(target), 1, longest - headers, SOON).unwrap();
                nodes.told(target).filter(|&mtu| mtu == fits && ping.lost() <= 1)
            });
            lab::tcp_transfer(host, container, (address(target), 0).into(), 2 << 20).unwrap();
            lab::tcp_transfer(
                container,
                host,
                (address(NEAR[usize::from(headers == 48)]), 0).into(),
                2 << 20,
            )
            .unwrap();
        }
        assert_eq!(tunnel(&nodes.rig.folder).far_ends[0].mtu, Some(narrow), "{ends:?} {keys}");
        assert_eq!(
            nodes.shown().unwrap().mtu,
            u32::try_from(longest).unwrap(),
            "the device carries what it did"
        );
        let before = nodes.settled();
        // From now on the host's IPv4 packets may be fragmented, and nobody is told.
        run_in(host, "sysctl -q -w net.ipv4.ip_no_pmtu_disc=1");
        run_in(host, "ip route flush cache");
        let ping = lab::ping(host, address(FAR[0]), 3, longest - 28, PATIENCE).unwrap();
        assert_eq!(ping.lost(), 0, "{ends:?} {keys}");
        let made = segments(&nodes);
        lab::tcp_transfer(host, container, (address(FAR[0]), 0).into(), 2 << 20).unwrap();
        assert!(segments(&nodes) > made);
        assert_eq!(nodes.told(FAR[0]), None);
        assert_eq!(nodes.settled().drops, before.drops);
    }
}

#[test]
fn the_host_is_told_of_errors_along_the_way() {
    for ends in ENDS {
        let Some(nodes) = Nodes::new("tun-errors", ends, "", 1500) else { return };
        FAR.iter().for_each(|target| reaches(nodes.host(), target));
        let far = ends[1];
        run_in(nodes.router(), &format!("ip route add unreachable {far}"));
        for (version, target) in FAR.into_iter().enumerate() {
            let before = nodes.unreachable()[version];
            wait_for(&format!("the host to be told that {target} is not reached"), || {
                lab::ping(nodes.host(), address(target), 1, 100, SOON).unwrap();
                (nodes.unreachable()[version] > before).then_some(())
            });
        }
        run_in(nodes.router(), &format!("ip route del unreachable {far}"));
        FAR.iter().for_each(|target| reaches(nodes.host(), target));
        nodes.settled();
    }
}

#[test]
fn its_device_goes_down_is_deleted_and_changes_while_the_switch_runs() {
    let Some(nodes) = Nodes::new("tun-life", ENDS[0], "", 1500) else { return };
    let container = &nodes.rig.hosts[1];
    let works = || {
        nodes.route();
        nodes.work();
    };
    works();
    run_in(nodes.host(), "ip link set tun0 down");
    wait_for("a drop for the device is down", || {
        lab::ping(container, address(NEAR[0]), 1, 10, SOON).unwrap();
        nodes.shown().unwrap().drops.get("tx.port_down").copied()
    });
    assert_eq!(nodes.shown().unwrap().operstate, "DOWN");
    run_in(nodes.host(), "ip link set tun0 up");
    run_in(nodes.host(), &format!("ip addr replace {}/64 dev tun0", NEAR[1]));
    works();

    run_in(nodes.host(), "ip link del tun0");
    wait_for("another device with the addresses", || {
        nodes.device().filter(|said| NEAR.iter().all(|address| said.contains(address)))
    });
    works();

    nodes.apply("\"172.245.0.1/24\"", "\"172.245.0.9/24\", \"172.245.0.1/24\"");
    assert!(nodes.device().unwrap().contains("172.245.0.9/24"));
    nodes.apply("mode = \"any\"", "mode = \"any\"\nmtu = 1300");
    let device = nodes.device().unwrap();
    assert!(device.contains("mtu 1300") && !device.contains("172.245.0.9/24"), "{device}");
    works();
    nodes.apply("mode = \"any\"", "mode = \"any\"\nttl = 9");
    works();

    // The tunnel is the switch's, a device of frames, and the host's again.
    let (start, end) = (nodes.near.find("[[ipip]]").unwrap(), nodes.near.len());
    let tunnel = &nodes.near[start..end];
    let host = tunnel.lines().find(|line| line.starts_with("host = ")).unwrap();
    nodes.apply(host, "");
    assert_eq!((nodes.device(), nodes.shown().unwrap().kind), (None, "ipip".into()));
    nodes.apply(tunnel, &format!("[[vxlan]]\nname = \"tun0\"\nid = 7\n{host}\n"));
    assert!(nodes.device().unwrap().contains("tun type tap"));
    nodes.apply(tunnel, tunnel);
    assert!(nodes.device().unwrap().contains("tun type tun"));
    works();
    nodes.apply(tunnel, "");
    assert_eq!((nodes.device(), nodes.shown()), (None, None));
    nodes.apply(tunnel, tunnel);
    works();
    nodes.rig.folder.ask("ipip set tun0 host.addresses 172.245.0.1/24,172.245.0.7/24");
    assert!(nodes.device().unwrap().contains("172.245.0.7/24"));
    let refused = nodes.rig.folder.say("route add 10.9.0.0/16 dev tun0");
    assert!(
        refused.err.contains("`tun0` is handed to the host, and nothing is routed there"),
        "{}",
        refused.err
    );
    nodes.settled();
}

/// Both ends are the host's: one on the machine whose sockets the tunnel goes by, the other behind a wire.
#[test]
fn two_hosts_that_have_the_ends_of_a_tunnel_reach_each_other() {
    const TEST: &str = "tun-both";
    let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &[Plug::Veth], 1500)).flatten() else { return };
    let (machine, other) = (&rig.center, &rig.hosts[0]);
    machine.add_address("p0", address("192.168.32.5"), 24).unwrap();
    let node = |folder: &Folder, underlay: &str, [local, remote]: [&str; 2], inside: &str, host: &Host| {
        folder.start(&format!(
            "[switch]\nmac_table = 1024\n[[port]]\nname = \"u0\"\n{underlay}\nnetns = \"{netns}\"\n\
             [[address]]\ndevice = \"u0\"\naddress = \"{local}/24\"\n\
             [[ipip]]\nname = \"tun0\"\nlocal = \"{local}\"\nremote = \"{remote}\"\n\
             host = {{ netns = \"{netns}\", addresses = [\"{inside}/30\"] }}\n",
            netns = host.name(),
        ))
    };
    let ends = ["192.168.32.5", "192.168.32.6"];
    let far = Folder::new("tun-both-far");
    let _switches = [
        node(&rig.folder, "socket = { ipip = true }", ends, "10.9.0.1", machine),
        node(&far, &format!("packet = \"{NIC}\""), [ends[1], ends[0]], "10.9.0.2", other),
    ];
    for (from, to, target) in [(machine, other, "10.9.0.2"), (other, machine, "10.9.0.1")] {
        reaches(from, target);
        lab::tcp_transfer(from, to, (address(target), 0).into(), 2 << 20).unwrap();
    }
    rig.settled();
}
