//! Hosts that are bridged through VXLAN: between switches of ours, and with this kernel's.

use std::net::IpAddr;

use rigswitch::lab::{self, Host};

use rigswitch::views::{DropsView, FdbView, PortView};

use crate::command::{Folder, PATIENCE, Running, said, wait_for};
use crate::rig::{NIC, Plug, Rig, has, run_in, v4, v6};

/// What makes a network bridge of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    /// A switch of ours, whose ports are of these kinds: towards the host, and towards the other nodes.
    Ours(&'static str, &'static str),
    /// This kernel's bridge and VXLAN device.
    Kernel,
}

/// Nodes with a host each, on a network that a bridge of the kernel's makes in the middle.
pub(super) struct Mesh {
    pub(super) rig: Rig,
    switches: Vec<Option<(Folder, Running)>>, // of the nodes that are ours
}

/// The address of a node in the underlay.
fn node_address(n: usize, is_ipv6: bool) -> IpAddr {
    let last = u8::try_from(n + 1).unwrap();
    if is_ipv6 {
        IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)])
    } else {
        IpAddr::from([192, 0, 2, last])
    }
}

impl Mesh {
    /// The links between nodes carry as much; `words` are more keys of our devices.
    pub(super) fn new(test: &str, nodes: &[Node], is_ipv6: bool, mtu: u16, words: &str) -> Option<Self> {
        Self::of(test, nodes, is_ipv6, mtu, words, None)
    }

    /// The same; nodes that have a `group` know of each other by that only.
    fn of(
        test: &str,
        nodes: &[Node],
        is_ipv6: bool,
        mtu: u16,
        words: &str,
        group: Option<&str>,
    ) -> Option<Self> {
        let plugs = vec![Plug::Veth; nodes.len()];
        let rig = has(test, "ip").then(|| Rig::new(test, &plugs, 1500))??;
        let center = |line: &str| run_in(&rig.center, line);
        center("ip link add under type bridge");
        center("ip link set under up");
        let mut running = Vec::new();
        for (n, node) in nodes.iter().enumerate() {
            center(&format!("ip link add w{n} type veth peer name u{n}"));
            center(&format!("ip link set w{n} mtu {mtu} master under up"));
            center(&format!("ip link set u{n} mtu {mtu} up"));
            let others: Vec<_> = (0..nodes.len())
                .filter(|other| *other != n && group.is_none())
                .map(|other| node_address(other, is_ipv6))
                .collect();
            let own = node_address(n, is_ipv6);
            running.push(match node {
                Node::Kernel => {
                    let length = if is_ipv6 { 64 } else { 24 };
                    let nodad = if is_ipv6 { " nodad" } else { "" };
                    run_in(&rig.center, &format!("sysctl -q -w net.ipv6.conf.u{n}.disable_ipv6=0"));
                    center(&format!("ip addr add {own}/{length} dev u{n}{nodad}"));
                    let there = group.map(|group| format!("group {group} dev u{n}")).unwrap_or_default();
                    center(&format!("ip link add vx{n} type vxlan id 42 dstport 4789 local {own} {there}"));
                    center(&format!("ip link add br{n} type bridge"));
                    for device in [format!("vx{n}"), format!("p{n}")] {
                        center(&format!("ip link set {device} master br{n} up"));
                    }
                    center(&format!("ip link set br{n} up"));
                    for other in &others {
                        center(&format!("bridge fdb append 00:00:00:00:00:00 dev vx{n} dst {other}"));
                    }
                    None
                }
                Node::Ours(near, far) => {
                    let folder = Folder::new(&format!("{test}-{n}"));
                    let there = group.map(|group| format!("{words}\ngroup = \"{group}\"\ndev = \"u{n}\""));
                    let words = there.as_deref().unwrap_or(words);
                    let text = ours(&rig.center, n, own, &others, (near, far), words);
                    let switch = folder.start(&text);
                    Some((folder, switch))
                }
            });
        }
        for (n, host) in rig.hosts.iter().enumerate() {
            host.add_address(NIC, v4(n), 24).unwrap();
            host.add_address(NIC, v6(n), 64).unwrap();
        }
        Some(Self { rig, switches: running })
    }

    /// A command to node `n`, which is of ours.
    fn ask(&self, n: usize, line: &str) -> String {
        self.switches[n].as_ref().unwrap().0.ask(line)
    }

    /// A port of node `n`, which is of ours.
    pub(super) fn port(&self, n: usize, name: &str) -> PortView {
        let ports: Vec<PortView> = serde_json::from_str(&self.ask(n, "show ports -j")).unwrap();
        ports.into_iter().find(|port| port.ifname == name).unwrap()
    }

    /// Every frame and every copy is accounted for, on every node of ours.
    pub(super) fn settled(&self) {
        for n in (0..self.switches.len()).filter(|n| self.switches[*n].is_some()) {
            wait_for("every frame and every copy to be accounted for", || {
                let view: DropsView = serde_json::from_str(&self.ask(n, "show drops -j")).unwrap();
                (view.ledger.balanced && view.ledger.held == 0).then_some(())
            });
        }
    }

    pub(super) fn reaches(&self, from: usize, to: usize) {
        for target in [v4(to), v6(to)] {
            wait_for(&format!("host {from} to reach {target}"), || {
                lab::ping(&self.rig.hosts[from], target, 1, 1000, PATIENCE)
                    .ok()
                    .filter(|ping| ping.lost() == 0)
            });
        }
    }

    pub(super) fn transfer(&self, from: usize, to: usize) {
        for address in [v4(to), v6(to)] {
            lab::tcp_transfer(&self.rig.hosts[from], &self.rig.hosts[to], (address, 0).into(), 4 << 20)
                .unwrap();
        }
    }
}

fn ours(center: &Host, n: usize, own: IpAddr, others: &[IpAddr], kinds: (&str, &str), words: &str) -> String {
    let netns = format!("netns = \"{}\"", center.name());
    let length = if own.is_ipv4() { 24 } else { 64 };
    let fdb: Vec<_> =
        others.iter().map(|other| format!("{{ mac = \"00:00:00:00:00:00\", dst = \"{other}\" }}")).collect();
    let (near, far) = kinds;
    format!(
        "[switch]\nmac_table = 1024\n[[port]]\nname = \"p{n}\"\n{near} = \"p{n}\"\n{netns}\n\
         [[port]]\nname = \"u{n}\"\n{far} = \"u{n}\"\n{netns}\n\
         [[address]]\ndevice = \"u{n}\"\naddress = \"{own}/{length}\"\n\
         [[vxlan]]\nname = \"vx{n}\"\nid = 42\ndstport = 4789\nlocal = \"{own}\"\nfdb = [{}]\n{words}\n\
         [[bridge]]\nname = \"br0\"\nport = [{{ device = \"p{n}\" }}, {{ device = \"vx{n}\" }}]\n",
        fdb.join(", ")
    )
}

#[test]
fn hosts_are_bridged_between_switches_and_with_the_kernel() {
    for (nodes, is_ipv6) in [
        ([Node::Ours("packet", "packet"), Node::Kernel], false),
        ([Node::Ours("xdp", "xdp"), Node::Ours("packet", "packet")], false),
        ([Node::Ours("xdp", "packet"), Node::Kernel], true),
    ] {
        let Some(mesh) = Mesh::new("vxlan-pair", &nodes, is_ipv6, 1600, "") else { return };
        for (from, to) in [(0, 1), (1, 0)] {
            mesh.reaches(from, to);
            mesh.transfer(from, to);
        }
        let entries: Vec<FdbView> = serde_json::from_str(&mesh.ask(0, "show fdb -j")).unwrap();
        let far = mesh.rig.hosts[1].netdev(NIC).unwrap().mac().unwrap().to_string();
        let of_far = |has: fn(&FdbView) -> bool| {
            entries.iter().filter(|entry| entry.mac == far && has(entry)).cloned().collect::<Vec<_>>()
        };
        let own = of_far(|entry| entry.master.is_none());
        assert_eq!((own.len(), own[0].dst.as_deref()), (1, Some(&*node_address(1, is_ipv6).to_string())));
        assert_eq!((&*own[0].ifname, &own[0].flags[..]), ("vx0", &["self".to_owned()][..]));
        assert_eq!(of_far(|entry| entry.master.as_deref() == Some("br0")).len(), 1);
        mesh.settled();
    }
}

#[test]
fn three_nodes_of_both_kinds_are_one_network() {
    let nodes = [Node::Ours("packet", "packet"), Node::Kernel, Node::Ours("xdp", "packet")];
    let Some(mesh) = Mesh::new("vxlan-mesh", &nodes, false, 1600, "") else { return };
    for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
        mesh.reaches(from, to);
        mesh.transfer(from, to);
    }
    // A copy for each far end, and none from one to another.
    let tunnel = mesh.port(0, "vx0");
    assert_eq!((tunnel.kind.as_str(), tunnel.mtu), ("vxlan", 1500));
    mesh.settled();
}

#[test]
fn senders_find_out_what_fits_the_way() {
    for nodes in [
        [Node::Ours("packet", "packet"), Node::Kernel],
        [Node::Ours("xdp", "xdp"), Node::Ours("xdp", "packet")],
    ] {
        let Some(mesh) = Mesh::new("vxlan-mtu", &nodes, false, 1400, "") else { return };
        mesh.reaches(0, 1);
        let mut ping = std::process::Command::new("ping");
        ping.args(["-c1", "-W2", "-M", "do", "-s", "1472", "10.66.0.2"]);
        let told = mesh.rig.hosts[0].run(|| said(&mut ping)).unwrap();
        assert!(told.out.contains("From 10.66.0.2") && told.out.contains("Frag needed"), "{told:?}");
        assert!(told.out.contains("mtu = 1350"), "{told:?}");
        // What may be fragmented is, outside, and put together where the tunnel ends.
        for (n, target) in [(0, "10.66.0.2"), (1, "10.66.0.1")] {
            let mut ping = std::process::Command::new("ping");
            ping.args(["-c3", "-W5", "-M", "dont", "-s", "1472", target]);
            let whole = mesh.rig.hosts[n].run(|| said(&mut ping)).unwrap();
            assert!(whole.out.contains(" 0% packet loss"), "{whole:?}");
        }
        for (from, to) in [(0, 1), (1, 0)] {
            mesh.transfer(from, to);
        }
        mesh.settled();
    }
}

#[test]
fn nodes_in_a_group_find_each_other_by_it() {
    for (group, is_ipv6) in [("239.1.2.3", false), ("ff05::42", true)] {
        let nodes = [Node::Ours("packet", "packet"), Node::Kernel, Node::Ours("xdp", "xdp")];
        let Some(mesh) = Mesh::of("vxlan-group", &nodes, is_ipv6, 1600, "", Some(group)) else { return };
        // The bridge between them has heard who is in the group.
        wait_for("the bridge to know the members", || {
            let known = run_in(&mesh.rig.center, "bridge mdb show dev under");
            [0, 2].iter().all(|n| known.contains(&format!("port w{n} grp {group} temp"))).then_some(())
        });
        for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
            mesh.reaches(from, to);
        }
        mesh.transfer(0, 1);
        mesh.transfer(0, 2);
        // Whoever was heard is sent to by itself.
        let entries: Vec<FdbView> = serde_json::from_str(&mesh.ask(0, "show fdb -j")).unwrap();
        let ends: std::collections::BTreeSet<_> = entries.into_iter().filter_map(|entry| entry.dst).collect();
        let wanted =
            [group.to_owned(), node_address(1, is_ipv6).to_string(), node_address(2, is_ipv6).to_string()];
        assert_eq!(ends, wanted.into());
        mesh.settled();
    }
}
