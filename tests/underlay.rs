//! Tunnels over the host's own network: through its sockets, and on a device that is shared with it.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::net::IpAddr;

use command::{Folder, PATIENCE, Running, wait_for};
use rig::{NIC, Plug, Rig, has, run_in, shown};
use rigswitch::lab::{self, Host};
use rigswitch::views::DropsView;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two nodes on a wire, each with a container, and a tunnel of packets between them: 172.245.0.2 is behind the first, whose host is
/// 192.168.32.5 on `wire0`, and 172.246.0.2 behind the other, 192.168.32.246, whose switch has `wire1` for itself.
struct Nodes {
    rig: Rig,
    far: Folder,
    _switches: [Running; 2],
}

impl Nodes {
    /// `underlay` is the first node's port towards the other, with the address that its tunnel is from.
    fn new(test: &str, underlay: &str, local: &str) -> Option<Self> {
        let rig = has(test, "ip").then(|| Rig::new(test, &[Plug::Veth, Plug::Veth], 1500))??;
        run_in(&rig.center, "ip link add wire0 type veth peer name wire1");
        for device in ["wire0", "wire1"] {
            run_in(&rig.center, &format!("ip link set {device} up"));
        }
        run_in(&rig.center, "ip addr add 192.168.32.5/24 dev wire0");
        let netns = format!("netns = \"{}\"", rig.center.name());
        let node = |folder: &Folder, n: usize, port: &str, ends: [&str; 2]| {
            let [here, there] = [245 + n, 246 - n];
            let [local, remote] = ends;
            folder.start(&format!(
                "[switch]\nmac_table = 1024\n\
                 [[port]]\nname = \"u0\"\n{port}\n{netns}\n\
                 [[port]]\nname = \"c0\"\nxdp = \"p{n}\"\n{netns}\n\
                 [[address]]\ndevice = \"u0\"\naddress = \"{local}/24\"\n\
                 [[address]]\ndevice = \"c0\"\naddress = \"172.{here}.0.1/24\"\n\
                 [[ipip]]\nname = \"tun0\"\nlocal = \"{local}\"\nremote = \"{remote}\"\n\
                 [[route]]\nto = \"172.{there}.0.0/24\"\ndevice = \"tun0\"\nonlink = true\n"
            ))
        };
        let far = Folder::new(&format!("{test}-far"));
        let remote = "192.168.32.246";
        let switches = [
            node(&rig.folder, 0, underlay, [local, remote]),
            node(&far, 1, "packet = \"wire1\"", [remote, local]),
        ];
        for (n, host) in rig.hosts.iter().enumerate() {
            let net = 245 + n;
            host.add_address(NIC, address(&format!("172.{net}.0.2")), 24).unwrap();
            run_in(host, &format!("ip route add default via 172.{net}.0.1"));
        }
        Some(Self { rig, far, _switches: switches })
    }

    /// The containers reach each other, and move data both ways.
    fn work(&self) {
        for (from, to, target) in [(0, 1, "172.246.0.2"), (1, 0, "172.245.0.2")] {
            let [from, to] = [from, to].map(|n| &self.rig.hosts[n]);
            reaches(from, target);
            lab::tcp_transfer(from, to, (address(target), 0).into(), 2 << 20).unwrap();
        }
    }

    fn settled(&self) {
        self.rig.settled();
        wait_for("every frame and every copy of the far node to be accounted for", || {
            let view: DropsView = serde_json::from_str(&self.far.ask("show drops -j")).unwrap();
            (view.ledger.balanced && view.ledger.held == 0).then_some(())
        });
    }
}

fn reaches(host: &Host, target: &str) {
    let target = address(target);
    wait_for(&format!("{} to reach {target}", host.name()), || {
        lab::ping(host, target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
}

#[test]
fn packets_in_packets_go_through_the_hosts_sockets() {
    let Some(nodes) = Nodes::new("underlay-ipip", "socket = { ipip = true }", "192.168.32.5") else { return };
    nodes.work();
    let port = shown(&nodes.rig, "u0");
    assert_eq!((port.kind.as_str(), port.operstate.as_str()), ("socket", "UP"));
    assert!(port.rx.packets > 100 && port.tx.packets > 100 && port.drops.is_empty(), "{port:?}");
    let out = nodes.rig.folder.ask("explain --port c0 eth dst=ff:ff:ff:ff:ff:ff / arp");
    assert!(out.contains("c0, a routed device"), "{out}");
    // The host's way goes, and comes back.
    run_in(&nodes.rig.center, "ip link set wire0 down");
    lab::ping(&nodes.rig.hosts[0], address("172.246.0.2"), 2, 10, std::time::Duration::from_millis(300))
        .unwrap();
    let dropped = wait_for("a drop for want of a way", || {
        lab::ping(&nodes.rig.hosts[0], address("172.246.0.2"), 1, 10, std::time::Duration::from_millis(300))
            .unwrap();
        shown(&nodes.rig, "u0").drops.get("tx.socket_unreachable").copied()
    });
    assert!(dropped > 0);
    run_in(&nodes.rig.center, "ip link set wire0 up");
    reaches(&nodes.rig.hosts[0], "172.246.0.2");
    nodes.settled();
}

#[test]
fn packets_in_packets_end_on_a_device_that_the_host_uses_too() {
    let underlay = "xdp = { device = \"wire0\", take = \"mine\" }";
    let Some(nodes) = Nodes::new("underlay-shared", underlay, "192.168.32.245") else { return };
    nodes.work();
    // The switch at the other end answers the host as well: what is for neither tunnel nor switch is the host's.
    let target = address("192.168.32.246");
    wait_for("the host to reach the other node", || {
        lab::ping(&nodes.rig.center, target, 1, 100, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
    nodes.settled();
}

/// A switch whose container, 10.66.0.1, is bridged through VXLAN with 10.66.0.2, which is the kernel's VXLAN device on the host at the
/// other end of the wire.
#[test]
fn frames_in_packets_go_by_either_to_the_kernels_vxlan() {
    const TEST: &str = "underlay-vxlan";
    for (underlay, [near, far], group) in [
        ("socket = { udp = [4789] }", ["192.168.32.5", "192.168.32.246"], None),
        ("socket = { udp = [4789] }", ["192.168.32.5", "192.168.32.246"], Some("239.1.1.1")),
        ("socket = { udp = [4789] }", ["fd32::5", "fd32::246"], None),
        ("xdp = { device = \"p1\", take = \"mine\" }", ["192.168.32.245", "192.168.32.246"], None),
        ("xdp = { device = \"p1\", take = \"mine\" }", ["fd32::245", "fd32::246"], None),
    ] {
        let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &[Plug::Veth, Plug::Veth], 1500)).flatten()
        else {
            return;
        };
        let [container, node] = &rig.hosts[..] else { panic!("two hosts") };
        for (host, device, number) in [(&rig.center, "p1", 5), (node, NIC, 246)] {
            for knob in ["all", device] {
                run_in(host, &format!("sysctl -q -w net.ipv6.conf.{knob}.disable_ipv6=0"));
            }
            host.add_address(device, address(&format!("192.168.32.{number}")), 24).unwrap();
            host.add_address(device, address(&format!("fd32::{number}")), 64).unwrap();
        }
        let there = group.map_or(format!("remote {near}"), |group| format!("group {group} dev {NIC}"));
        let vxlan = format!("ip link add vx0 type vxlan id 42 dstport 4789 local {far} {there}");
        run_in(node, &vxlan);
        run_in(node, "ip addr add 10.66.0.2/24 dev vx0");
        run_in(node, "ip link set vx0 up");
        container.add_address(NIC, address("10.66.0.1"), 24).unwrap();
        let (netns, length) = (rig.center.name(), if near.contains(':') { 64 } else { 24 });
        let there = group
            .map_or(format!("fdb = [{{ mac = \"00:00:00:00:00:00\", dst = \"{far}\" }}]"), |group| {
                format!("group = \"{group}\"\ndev = \"u0\"")
            });
        let _switch = rig.folder.start(&format!(
            "[switch]\nmac_table = 1024\n\
             [[port]]\nname = \"u0\"\n{underlay}\nnetns = \"{netns}\"\n\
             [[port]]\nname = \"c0\"\nxdp = \"p0\"\nnetns = \"{netns}\"\n\
             [[address]]\ndevice = \"u0\"\naddress = \"{near}/{length}\"\n\
             [[vxlan]]\nname = \"vx0\"\nid = 42\ndstport = 4789\nlocal = \"{near}\"\n{there}\n\
             [[bridge]]\nname = \"br0\"\nport = [{{ device = \"c0\" }}, {{ device = \"vx0\" }}]\n"
        ));
        for (from, to, target) in [(container, node, "10.66.0.2"), (node, container, "10.66.0.1")] {
            reaches(from, target);
            lab::tcp_transfer(from, to, (address(target), 0).into(), 2 << 20).unwrap();
        }
        // The host itself goes on.
        reaches(node, "192.168.32.5");
        let metrics = command::http(&rig.folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
        assert!(metrics.contains("rigswitch_receive_packets_total{device=\"u0\"}"), "{metrics}");
        rig.settled();
    }
}

/// The host's `p1` and the node's device at its other end, each with its addresses.
fn give_addresses(rig: &Rig, node: &Host) {
    for (host, device, number) in [(&rig.center, "p1", 5), (node, NIC, 246)] {
        for knob in ["all", device] {
            run_in(host, &format!("sysctl -q -w net.ipv6.conf.{knob}.disable_ipv6=0"));
        }
        run_in(host, &format!("ip link set {device} up"));
        host.add_address(device, address(&format!("192.168.32.{number}")), 24).unwrap();
        host.add_address(device, address(&format!("fd32::{number}")), 64).unwrap();
    }
}

#[test]
fn a_group_is_joined_anew_by_a_device_of_the_hosts_that_was_made_again() {
    const TEST: &str = "underlay-again";
    for (near, far, group) in
        [("192.168.32.5", "192.168.32.246", "239.1.1.1"), ("fd32::5", "fd32::246", "ff05::1:1")]
    {
        let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &[Plug::Veth, Plug::Veth], 1500)).flatten()
        else {
            return;
        };
        let [container, node] = &rig.hosts[..] else { panic!("two hosts") };
        let (center, netns) = (|line: &str| run_in(&rig.center, line), rig.center.name());
        container.add_address(NIC, address("10.66.0.1"), 24).unwrap();
        give_addresses(&rig, node);
        let length = if near.contains(':') { 64 } else { 24 };
        let _switch = rig.folder.start(&format!(
            "[switch]\nmac_table = 1024\n\
             [[port]]\nname = \"u0\"\nsocket = {{ udp = [4789] }}\nnetns = \"{netns}\"\n\
             [[port]]\nname = \"c0\"\nxdp = \"p0\"\nnetns = \"{netns}\"\n\
             [[address]]\ndevice = \"u0\"\naddress = \"{near}/{length}\"\n\
             [[vxlan]]\nname = \"vx0\"\nid = 42\ndstport = 4789\nlocal = \"{near}\"\ngroup = \"{group}\"\ndev = \"u0\"\n\
             [[bridge]]\nname = \"br0\"\nport = [{{ device = \"c0\" }}, {{ device = \"vx0\" }}]\n"
        ));
        let is_in = || center("ip maddr show dev p1").split_whitespace().any(|word| word == group);
        // Its first question goes to the group, and its neighbours are all new.
        let works = || {
            wait_for("the host to be in the group", || is_in().then_some(()));
            run_in(
                node,
                &format!("ip link add vx0 type vxlan id 42 dstport 4789 local {far} group {group} dev {NIC}"),
            );
            run_in(node, "ip addr add 10.66.0.2/24 dev vx0");
            run_in(node, "ip link set vx0 up");
            reaches(node, "10.66.0.1");
        };
        works();
        let index = center("ip -o link show p1");
        // With another number, and with the one that it had.
        for number in ["".to_owned(), format!("index {}", index.split(':').next().unwrap())] {
            center("ip link del p1");
            center(&format!("ip link add p1 {number} type veth peer name {NIC} netns {}", node.name()));
            assert!(!is_in(), "nobody has joined by the new one");
            give_addresses(&rig, node);
            works();
        }
        // It leaves the group with the tunnel.
        rig.folder.ask("vxlan del vx0");
        wait_for("the host to be in the group no more", || (!is_in()).then_some(()));
        rig.settled();
    }
}
