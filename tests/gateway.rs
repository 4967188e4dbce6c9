//! The bridge as a device: a gateway between its VLANs and out of them for real hosts, and what stands on it for the host.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::fs;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use command::{PATIENCE, Process, Running, wait_for};
use rig::{NIC, Plug, Rig, bridge, has, run_in, shown, v4};
use rigswitch::lab::{self, Host};
use serde_json::Value;

const BYTES: u64 = 4 << 20;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn reaches(host: &Host, target: &str) {
    let target = address(target);
    wait_for(&format!("{} to reach {target}", host.name()), || {
        lab::ping(host, target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
}

/// Access ports of VLANs 10 and 20 of a bridge that is itself in both, a device on it for each, and their addresses.
const GATEWAY: &str = r#"
[[bridge]]
name = "br0"
vlan_filtering = true
vlan = { tagged = [10, 20] }
port = [{ device = "p0", access = 10 }, { device = "p1", access = 20 }]
[[vlan]]
name = "br0.10"
link = "br0"
id = 10
[[vlan]]
name = "br0.20"
link = "br0"
id = 20
[[address]]
device = "br0.10"
address = "10.1.0.1/24"
[[address]]
device = "br0.10"
address = "fd01::1/64"
[[address]]
device = "br0.20"
address = "10.2.0.1/24"
[[address]]
device = "br0.20"
address = "fd02::1/64"
"#;

/// The way out of them: a routed port.
const UPLINK: &str = "[[address]]\ndevice = \"p2\"\naddress = \"10.3.0.1/24\"\n[[address]]\ndevice = \"p2\"\naddress = \"fd03::1/64\"\n";

/// Hosts in VLAN 10, in VLAN 20 and outside of the bridge: 10.1.0.2, 10.2.0.2 and 10.3.0.2, the first of each network being their
/// router, and the same of IPv6.
fn gateway(test: &str, plugs: [Plug; 3]) -> Option<(Rig, Running)> {
    let rig = has(test, "ip").then(|| Rig::new(test, &plugs, 1500))??;
    let switch = rig.start("1", &(GATEWAY.to_owned() + UPLINK));
    for (n, host) in rig.hosts.iter().enumerate() {
        give_addresses(host, n + 1);
    }
    Some((rig, switch))
}

fn give_addresses(host: &Host, net: usize) {
    host.add_address(NIC, address(&format!("10.{net}.0.2")), 24).unwrap();
    host.add_address(NIC, address(&format!("fd0{net}::2")), 64).unwrap();
    run_in(host, &format!("ip route add default via 10.{net}.0.1"));
    run_in(host, &format!("ip -6 route add default via fd0{net}::1"));
}

#[test]
fn hosts_of_two_vlans_reach_each_other_their_gateway_and_the_world() {
    for plugs in [[Plug::Veth, Plug::Tap, Plug::Veth], [Plug::Tap, Plug::Tap, Plug::Tap]] {
        let Some((rig, _switch)) = gateway("gateway-reach", plugs) else { return };
        for (near, host) in rig.hosts.iter().enumerate() {
            for net in 1..=3 {
                reaches(host, &format!("10.{net}.0.1")); // every address of the gateway
                reaches(host, &format!("fd0{net}::1"));
            }
            for far in (0..3).filter(|far| *far != near) {
                for target in [format!("10.{}.0.2", far + 1), format!("fd0{}::2", far + 1)] {
                    reaches(host, &target);
                    let target = (address(&target), 0).into();
                    lab::tcp_transfer(host, &rig.hosts[far], target, BYTES).unwrap();
                }
            }
        }
        // The two know each other by their gateway alone, and no VLAN has heard of a station of the other.
        let mac = |n: usize| rig.hosts[n].netdev(NIC).unwrap().mac().unwrap().to_string();
        let fdb: Vec<Value> = serde_json::from_str(&rig.folder.ask("show fdb -j")).unwrap();
        let vlans = |mac: &str| {
            let of = fdb.iter().filter(|entry| entry["mac"] == *mac);
            of.map(|entry| entry["vlan"].clone()).collect::<Vec<_>>()
        };
        assert_eq!([vlans(&mac(0)), vlans(&mac(1))], [[10], [20]], "{fdb:?}");
        let (br0, of_10) = (shown(&rig, "br0"), shown(&rig, "br0.10"));
        assert_eq!((br0.kind.as_str(), br0.operstate.as_str(), br0.mtu), ("bridge", "UP", 1500));
        assert_eq!((of_10.address.as_str(), of_10.link.as_deref()), (br0.address.as_str(), Some("br0")));
        for traffic in [&br0.rx, &br0.tx, &of_10.rx, &of_10.tx] {
            assert!(traffic.bytes > BYTES, "{br0:?} {of_10:?}");
        }
        let names: Vec<String> = ports(&rig).into_iter().map(|port| port.ifname).collect();
        assert_eq!(names, ["p0", "p1", "p2", "br0", "br0.10", "br0.20"]);
        let metrics = command::http(&rig.folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
        let series = "rigswitch_receive_packets_total{device=\"br0\"} ";
        assert_eq!(metrics.matches(series).count(), 1, "{metrics}");
        rig.settled();
    }
}

fn ports(rig: &Rig) -> Vec<rigswitch::views::PortView> {
    serde_json::from_str(&rig.folder.ask("show ports -j")).unwrap()
}

#[test]
fn a_gateway_says_what_it_cannot_send_on_and_why() {
    let Some((rig, _switch)) = gateway("gateway-says", [Plug::Veth, Plug::Tap, Plug::Veth]) else { return };
    reaches(&rig.hosts[0], "10.2.0.2");
    let ping = |words: &str| {
        let command = &mut Command::new("ping");
        let out = rig.hosts[0].run(|| command::said(command.args(words.split(' ')))).unwrap();
        out.out + &out.err
    };
    let expired = ping("-c1 -W2 -t1 10.2.0.2");
    assert!(expired.contains("Time to live exceeded") && expired.contains("10.1.0.1"), "{expired}");
    // To all of a network behind it: not from here.
    let broadcast = ping("-c1 -W1 -b 10.2.0.255");
    assert!(broadcast.contains("100% packet loss"), "{broadcast}");
    let drops = rig.folder.ask("show drops -j");
    assert!(drops.contains(r#""device":"br0.10","direction":"rx","reason":"ip_group""#), "{drops}");
    let [router, source, far] = ["br0.10", "p0", "p1"].map(|name| match name {
        "br0.10" => shown(&rig, name).address,
        name => rig.hosts[usize::from(name == "p1")].netdev(NIC).unwrap().mac().unwrap().to_string(),
    });
    let packet = format!("eth src={source} dst={router} / ipv4 src=10.1.0.2 dst=10.2.0.2 / udp dport=53");
    let told = rig.folder.ask(&format!("explain --port p0 {packet}"));
    let path = [
        "in        p0, a port of br0",
        "vlan      VLAN 10, the PVID of p0",
        "decide    for br0 itself: up to it",
        "up        br0",
        "untag     802.1Q vlan 10, p 0 off",
        "in        br0.10, a routed device",
        "route     10.2.0.0/24 is behind br0.20, which has 10.2.0.1",
        &format!("neighbor  10.2.0.2 behind br0.20 is {far} (reachable)"),
        "down      br0.20",
        "tag       802.1Q vlan 20, p 0 on",
        "down      br0",
        "in        br0, from its own device",
        "vlan      VLAN 20: its tag says so",
        &format!("look up   {far} is behind p1 (learned)"),
        "decide    forward to p1",
        "out       p1",
        "leaves by p1",
    ];
    let mut rest = &told[..];
    for step in path {
        let at = rest.find(step).unwrap_or_else(|| panic!("no `{step}` in its place:\n{told}"));
        rest = &rest[at + step.len()..];
    }
    rig.settled();
}

#[test]
fn a_capture_on_the_bridge_has_what_it_is_handed_and_what_it_sends() {
    let Some((rig, _switch)) = gateway("gateway-capture", [Plug::Veth, Plug::Tap, Plug::Veth]) else {
        return;
    };
    reaches(&rig.hosts[0], "10.2.0.2");
    let words = ["capture", "--port", "br0", "-w", "br0.pcapng", "vlan and icmp"];
    let mut child = Process::start(rig.folder.command(&words).stderr(Stdio::piped()));
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert_eq!(line, "rigswitch: capturing\n");
    let ping = lab::ping(&rig.hosts[0], address("10.2.0.2"), 3, 56, PATIENCE).unwrap();
    assert_eq!(ping.lost(), 0);
    child.signal("INT");
    child.end();
    line.clear();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    // Each echo and each answer, handed up and sent: with the tag of the one VLAN, and of the other.
    assert_eq!(line, "rigswitch: 12 frames captured, none missed\n");
    let bytes = fs::read(rig.folder.path("br0.pcapng")).unwrap();
    let count = |needle: &[u8]| bytes.windows(needle.len()).filter(|window| *window == needle).count();
    assert_eq!([count(&[0x81, 0, 0, 10, 8, 0, 0x45]), count(&[0x81, 0, 0, 20, 8, 0, 0x45])], [6, 6]);
    assert_eq!([count(b"br0 rx"), count(b"br0 tx"), count(b"br0 drop")], [1, 1, 1]);
    rig.settled();
}

#[test]
fn a_gateway_comes_and_goes_while_the_rest_forwards() {
    const ROUNDS: u32 = 5;
    const TEST: &str = "gateway-apply";
    let plugs = [Plug::Veth, Plug::Veth, Plug::Veth, Plug::Tap];
    let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &plugs, 1500)).flatten() else { return };
    // Hosts 2 and 3 are behind a bridge of their own all the while.
    let rest = bridge("br1", 2..4);
    let alone = GATEWAY.split("[[vlan]]").next().unwrap().to_owned() + &rest;
    let with = GATEWAY.to_owned() + &rest;
    let _switch = rig.start("1", &alone);
    (0..2).for_each(|n| give_addresses(&rig.hosts[n], n + 1));
    for n in [2, 3] {
        rig.hosts[n].add_address(NIC, v4(n), 24).unwrap();
    }
    reaches(&rig.hosts[2], &v4(3).to_string());
    rig.folder.write("with.toml", &rig.config("1", &with));
    let (rounds, hosts) = (AtomicU32::new(0), &rig.hosts);
    std::thread::scope(|scope| {
        // In every round, until nothing happens any more.
        let traffic = scope.spawn(|| {
            let (mut sent, mut lost, mut before) = (0, 0, Instant::now());
            let mut round = 0;
            while round < ROUNDS && before.elapsed() < PATIENCE {
                let now = rounds.load(Ordering::Relaxed);
                before = if now > round { Instant::now() } else { before };
                round = now;
                let ping = lab::ping(&hosts[2], v4(3), 20, 200, PATIENCE).unwrap();
                (sent, lost) = (sent + ping.sent, lost + ping.lost());
            }
            (sent, lost)
        });
        for _ in 0..ROUNDS {
            let plan = rig.folder.ask("apply with.toml");
            assert!(plan.starts_with("+ vlan br0.10: id 10, link br0\n+ vlan br0.20: id 20"), "{plan}");
            assert_eq!(rig.folder.ask("plan with.toml"), "no changes\n");
            reaches(&rig.hosts[0], "10.2.0.2");
            reaches(&rig.hosts[1], "fd01::2");
            rig.folder.ask("apply rig.toml");
            wait_for("nobody to answer there", || {
                let brief = Duration::from_millis(200);
                let ping = lab::ping(&rig.hosts[0], address("10.1.0.1"), 1, 56, brief).ok()?;
                (ping.lost() == 1).then_some(())
            });
            assert!(ports(&rig).iter().all(|port| !port.ifname.starts_with("br0")));
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        let (sent, lost) = traffic.join().unwrap();
        assert!(sent > 0 && lost == 0, "{lost} of {sent} lost");
    });
    rig.settled();
    // VLAN 10 without a tag, so that it is the bridge itself that is routed there; by file and by hand.
    let untagged = "vlan = { pvid = 10, untagged = [10], tagged = [20] }\naddress = \"02:00:00:00:00:fe\"";
    let own = with
        .replace("\"br0.10\"\naddress", "\"br0\"\naddress")
        .replace("vlan = { tagged = [10, 20] }", untagged);
    rig.folder.write("own.toml", &rig.config("1", &own));
    rig.folder.ask("apply own.toml");
    reaches(&rig.hosts[0], "10.2.0.2");
    reaches(&rig.hosts[1], "fd01::2");
    assert_eq!(shown(&rig, "br0").address, "02:00:00:00:00:fe");
    let fdb = rig.folder.ask("show fdb");
    assert!(fdb.contains("02:00:00:00:00:fe  br0"), "{fdb}");
    rig.folder.ask("address add 10.9.0.1/24 dev br0");
    run_in(&rig.hosts[0], &format!("ip addr add 10.9.0.2/24 dev {NIC}"));
    reaches(&rig.hosts[0], "10.9.0.1");
    assert_eq!(rig.folder.ask("plan own.toml"), "- address br0 10.9.0.1/24\n");
    // A bridge that goes takes along what stands on it.
    rig.folder.ask("apply with.toml");
    rig.folder.ask("bridge del br0");
    let plan = rig.folder.ask("plan with.toml");
    let back = ["+ vlan br0.10", "+ vlan br0.20", "+ bridge br0", "+ address br0.10 10.1.0.1/24"];
    assert!(back.iter().all(|line| plan.contains(line)), "{plan}");
    rig.settled();
}

#[test]
fn the_bridge_follows_its_ports_and_what_stands_on_it_follows_the_bridge() {
    let Some((rig, _switch)) = gateway("gateway-follow", [Plug::Veth, Plug::Veth, Plug::Veth]) else {
        return;
    };
    reaches(&rig.hosts[0], "10.2.0.2");
    let is = |name: &'static str, state: &'static str| {
        wait_for(&format!("{name} to be {state}"), || (shown(&rig, name).operstate == state).then_some(()));
    };
    // The lowest address and the smallest MTU of its ports'.
    let mac = |n: usize| rig.center.netdev(&format!("p{n}")).unwrap().mac().unwrap();
    let lowest =
        |all: &[usize]| all.iter().map(|&n| mac(n)).min_by_key(|mac| mac.bits()).unwrap().to_string();
    assert_eq!(shown(&rig, "br0").address, lowest(&[0, 1]));
    run_in(&rig.center, "ip link set p1 mtu 1400");
    wait_for("the MTU of the smallest", || (shown(&rig, "br0.10").mtu == 1400).then_some(()));
    run_in(&rig.center, "ip link set p0 address 02:00:00:00:00:01");
    wait_for("the new address", || (shown(&rig, "br0.20").address == "02:00:00:00:00:01").then_some(()));
    run_in(&rig.center, "ip link set p0 down");
    run_in(&rig.hosts[1], "ip neigh flush all"); // it hears of the new address as the old one is no answer any more
    reaches(&rig.hosts[1], "10.3.0.2");
    is("br0", "UP");
    run_in(&rig.center, "ip link set p1 down");
    is("br0", "DOWN");
    is("br0.20", "DOWN");
    let routes = rig.folder.ask("show routes");
    let is_down =
        |device: &str| routes.lines().any(|line| line.contains(device) && line.contains("linkdown"));
    assert!(is_down("br0.20") && !is_down("p2"), "{routes}");
    run_in(&rig.center, "ip link set p1 up");
    is("br0.20", "UP");
    reaches(&rig.hosts[1], "10.3.0.2");
    rig.settled();
}
