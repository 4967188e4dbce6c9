//! The switch as a router between real hosts: two networks, what a host asks of its router, and host-gw through two switches.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::net::IpAddr;

use command::{Folder, PATIENCE, Running, said, wait_for};
use rig::{NIC, Plug, Rig, has, run_in};
use rigswitch::lab::{self, Host};
use rigswitch::views::AddressesView;
use serde_json::Value;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two hosts behind a router of these kinds of ports: 10.1.0.2 and fd01::2 behind p0, 10.2.0.2 and fd02::2 behind p1.
fn routed(test: &str, plugs: [Plug; 2], rest: &str) -> Option<(Rig, Running)> {
    let rig = has(test, "ip").then(|| Rig::new(test, &plugs, 1500))??;
    let mut text = String::new();
    for n in [0, 1] {
        for own in [format!("10.{}.0.1/24", n + 1), format!("fd0{}::1/64", n + 1)] {
            text += &format!("[[address]]\ndevice = \"p{n}\"\naddress = \"{own}\"\n");
        }
    }
    let switch = rig.start("1", &(text + rest));
    for (n, host) in rig.hosts.iter().enumerate() {
        let net = n + 1;
        host.add_address(NIC, address(&format!("10.{net}.0.2")), 24).unwrap();
        host.add_address(NIC, address(&format!("fd0{net}::2")), 64).unwrap();
        run_in(host, &format!("ip route add default via 10.{net}.0.1"));
        run_in(host, &format!("ip -6 route add default via fd0{net}::1"));
    }
    Some((rig, switch))
}

fn reaches(host: &Host, target: &str) {
    let target = address(target);
    wait_for(&format!("{} to reach {target}", host.name()), || {
        lab::ping(host, target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
}

#[test]
fn hosts_of_two_networks_reach_each_other_and_their_router() {
    const BYTES: u64 = 4 << 20;
    for plugs in [[Plug::Veth, Plug::Tap], [Plug::Veth, Plug::Veth]] {
        let Some((rig, _switch)) = routed("router-reach", plugs, "") else { return };
        for (from, to) in [(0, 2), (1, 1)] {
            let [host, far] = [from, 1 - from].map(|n| &rig.hosts[n]);
            for net in [1, 2] {
                reaches(host, &format!("10.{net}.0.1")); // both addresses of the router
                reaches(host, &format!("fd0{net}::1"));
            }
            for target in [format!("10.{to}.0.2"), format!("fd0{to}::2")] {
                reaches(host, &target);
                lab::tcp_transfer(host, far, (address(&target), 0).into(), BYTES).unwrap();
            }
        }
        let neighbors: Vec<Value> = serde_json::from_str(&rig.folder.ask("show neighbors -j")).unwrap();
        let found = |dst: &str| neighbors.iter().find(|neighbor| neighbor["dst"] == *dst).cloned();
        let mac = rig.hosts[0].netdev(NIC).unwrap().mac().unwrap().to_string();
        assert_eq!(found("10.1.0.2").unwrap()["lladdr"], mac, "{neighbors:?}");
        rig.settled();
    }
}

#[test]
fn a_router_says_what_it_cannot_send_on() {
    let far = "mtu = 1300\n";
    let rest = "[[route]]\nto = \"10.9.0.0/16\"\ntype = \"unreachable\"\n[[route]]\nto = \"10.8.0.0/16\"\ntype = \"prohibit\"\n";
    let Some((rig, _switch)) = routed("router-says", [Plug::Veth, Plug::Veth], rest) else { return };
    reaches(&rig.hosts[0], "10.2.0.2");
    let ping = |words: &str| {
        let command = &mut std::process::Command::new("ping");
        let out = rig.hosts[0].run(|| said(command.args(words.split(' ')))).unwrap();
        out.out + &out.err
    };
    assert!(
        ping("-c1 -W2 -t1 10.2.0.2").contains("Time to live exceeded"),
        "{}",
        ping("-c1 -W2 -t1 10.2.0.2")
    );
    assert!(
        ping("-c1 -W2 10.9.0.1").contains("Destination Host Unreachable"),
        "{}",
        ping("-c1 -W2 10.9.0.1")
    );
    let filtered = ping("-c1 -W2 10.8.0.1");
    assert!(filtered.contains("Packet filtered") || filtered.contains("Prohibited"), "{filtered}");
    assert!(ping("-c1 -W2 10.77.0.1").contains("Destination Net Unreachable"), "no route");
    assert!(ping("-c1 -W5 10.2.0.77").contains("Destination Host Unreachable"), "nobody has that address");
    // A narrower link behind the router: told once, and then fragments fit.
    let text = std::fs::read_to_string(rig.folder.path("rig.toml")).unwrap();
    let narrow =
        text.replacen("name = \"p1\"", &format!("name = \"p1\"\n{far}"), 1).replacen("mtu = 1500\n", "", 2);
    rig.folder.write("rig.toml", &narrow);
    rig.folder.ask("apply rig.toml");
    assert!(
        ping("-c1 -W2 -M do -s 1400 10.2.0.2").contains("Frag needed"),
        "{}",
        ping("-c1 -M do -s 1400 10.2.0.2")
    );
    reaches(&rig.hosts[0], "10.2.0.2");
    lab::tcp_transfer(&rig.hosts[0], &rig.hosts[1], (address("10.2.0.2"), 0).into(), 1 << 20).unwrap();
    reaches(&rig.hosts[0], "fd02::2");
    let told = ping("-6 -c2 -W2 -M do -s 1400 fd02::2");
    assert!(told.contains("Packet too big: mtu=1300"), "{told}");
    lab::tcp_transfer(&rig.hosts[0], &rig.hosts[1], (address("fd02::2"), 0).into(), 1 << 20).unwrap();
    // The other host answers in fragments of its own: its link takes no more.
    run_in(&rig.hosts[1], &format!("ip link set {NIC} mtu 1300"));
    let told = ping("-c1 -W2 -M dont -s 1400 10.2.0.2");
    assert!(told.contains(" 0% packet loss"), "{told}");
    rig.settled();
}

#[test]
fn routes_come_and_go_by_hand_and_by_file() {
    let Some((rig, _switch)) = routed("router-routes", [Plug::Tap, Plug::Tap], "") else { return };
    // A network behind host 1.
    run_in(&rig.hosts[1], "ip addr add 198.51.100.1/32 dev lo");
    reaches(&rig.hosts[0], "10.2.0.2");
    rig.folder.ask("route add 198.51.100.0/24 via 10.2.0.2");
    reaches(&rig.hosts[0], "198.51.100.1");
    assert_eq!(rig.folder.ask("plan rig.toml"), "- route 198.51.100.0/24\n");
    let shown = rig.folder.ask("show routes");
    assert!(shown.contains("198.51.100.0/24") && shown.contains("10.1.0.0/24"), "{shown}");
    for (words, why) in [
        ("route add 198.51.100.0/24 via 10.2.0.2", "there is a route to 198.51.100.0/24 already"),
        ("route add 203.0.113.0/24 via 10.3.0.2", "no device has 10.3.0.2 in its network"),
        ("route add 203.0.113.1/24 via 10.2.0.2", "has bits set behind the 24 of its length"),
        ("route del 203.0.113.0/24", "there is no route to 203.0.113.0/24"),
        ("address add 10.1.0.9/24 dev p7", "there is no device `p7`"),
    ] {
        let answer = rig.folder.say(words);
        assert!(answer.code == Some(1) && answer.err.contains(why), "{words}: {answer:?}");
    }
    let out = rig.folder.ask("explain --port p0 eth dst=ff:ff:ff:ff:ff:ff / arp");
    assert!(out.contains("p0, a routed device"), "{out}");
    rig.folder.ask("route del 198.51.100.0/24");
    assert_eq!(rig.folder.ask("plan rig.toml"), "no changes\n");
    rig.settled();
}

/// The scenario that container networks began with: two nodes, each with its containers, and a route on each to the other's by
/// the other's address.
#[test]
fn host_gw_between_two_switches_and_with_the_kernel() {
    const TEST: &str = "router-hostgw";
    const EXAMPLES: [&str; 2] = [
        include_str!("../control/examples/host-gw/a.toml"),
        include_str!("../control/examples/host-gw/b.toml"),
    ];
    for peer_is_kernel in [false, true] {
        let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &[Plug::Veth, Plug::Veth], 1500)).flatten()
        else {
            return;
        };
        // h0 and h1 are containers; the nodes are in the middle, and in a namespace of its own where the kernel is the other one.
        let node = |n: usize, folder: &Folder, near: &str| {
            let center = format!("netns = \"{}\"", rig.center.name());
            let text = EXAMPLES[n]
                .replace("packet = \"eth0\"", &format!("packet = \"{near}\"\n{center}"))
                .replace("xdp = \"veth-c0\"", &format!("xdp = \"p{n}\"\n{center}"));
            folder.start(&text)
        };
        run_in(&rig.center, "ip link add wire0 type veth peer name wire1");
        for device in ["wire0", "wire1"] {
            run_in(&rig.center, &format!("ip link set {device} up"));
        }
        let second = Folder::new("router-hostgw-2");
        let _first = node(0, &rig.folder, "wire0");
        let _other = (!peer_is_kernel).then(|| node(1, &second, "wire1"));
        if peer_is_kernel {
            run_in(&rig.center, "sysctl -q -w net.ipv4.ip_forward=1");
            run_in(&rig.center, "ip addr add 192.168.32.246/24 dev wire1");
            run_in(&rig.center, "ip addr add 172.246.0.1/24 dev p1");
            run_in(&rig.center, "ip route add 172.245.0.0/24 via 192.168.32.245");
        }
        for (n, host) in rig.hosts.iter().enumerate() {
            host.add_address(NIC, address(&format!("172.{}.0.2", 245 + n)), 24).unwrap();
            run_in(host, &format!("ip route add default via 172.{}.0.1", 245 + n));
        }
        for (from, to) in [(0, "172.246.0.2"), (1, "172.245.0.2")] {
            reaches(&rig.hosts[from], to);
            lab::tcp_transfer(&rig.hosts[from], &rig.hosts[1 - from], (address(to), 0).into(), 4 << 20)
                .unwrap();
        }
        rig.settled();
    }
}

/// Who was first keeps an IPv6 address: we find that a host has it, and a host finds that we have it.
#[test]
fn an_ipv6_address_that_is_taken_is_not_used() {
    const TEST: &str = "router-dad";
    let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &[Plug::Veth, Plug::Veth], 1500)).flatten() else {
        return;
    };
    for taken in ["fd01::1", "fd01::4"] {
        rig.hosts[0].add_address(NIC, address(taken), 64).unwrap();
    }
    let ours = [("p0", "fd01::1"), ("p0", "fd01::5"), ("p1", "fd02::1")];
    let text =
        ours.map(|(device, own)| format!("[[address]]\ndevice = \"{device}\"\naddress = \"{own}/64\"\n"));
    let _switch = rig.start("1", &text.concat());
    let state = |own: &str| {
        let all: Vec<AddressesView> = serde_json::from_str(&rig.folder.ask("show addresses -j")).unwrap();
        let found = all.into_iter().flat_map(|device| device.addr_info).find(|it| it.local == own).unwrap();
        (found.tentative, found.dadfailed)
    };
    for (_, own) in ours {
        let expected = if own == "fd01::1" { (true, true) } else { (false, false) };
        wait_for(&format!("{own} to be known as whose it is"), || (state(own) == expected).then_some(()));
    }
    reaches(&rig.hosts[0], "fd01::5"); // from fd01::4, which is nearest
    let shown = rig.folder.ask("show addresses");
    assert!(
        shown.lines().any(|line| line.starts_with("fd01::1/64") && line.ends_with("tentative dadfailed")),
        "{shown}"
    );
    run_in(&rig.hosts[1], &format!("ip -6 addr add fd02::1/64 dev {NIC}"));
    wait_for("the host to find out", || {
        run_in(&rig.hosts[1], &format!("ip -6 addr show dev {NIC}")).contains("dadfailed").then_some(())
    });
    assert_eq!(state("fd02::1"), (false, false));
    rig.settled();
}
