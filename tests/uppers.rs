//! Devices that stand on others, on real ones: hosts that have VLANs of their own, and bridges of those.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

#[path = "uppers/bridges.rs"]
mod bridges;
mod command;
#[path = "uppers/moves.rs"]
mod moves;
mod rig;

use command::{PATIENCE, Running, wait_for};
use rig::{NIC, Plug, Rig, has, reaches, run_in, shown, v4, v6};
use rigswitch::lab;

/// Two hosts on veths. The switch has both ends of those, and gives host 0 VLAN 10 of its device and host 1 VLAN 20; in the
/// middle a bridge is over VLAN 10 of the one and 20 of the other.
fn rig(test: &str) -> Option<Rig> {
    has(test, "ip").then(|| Rig::new(test, &[Plug::Veth, Plug::Veth], 1500))?
}

fn start(rig: &Rig, kind: &str, protocol: &str) -> Running {
    let mut text = String::new();
    for (n, id) in [(0, 10), (1, 20)] {
        let (host, center) = (rig.hosts[n].name(), rig.center.name());
        text += &format!("[[port]]\nname = \"far{n}\"\npacket = \"{NIC}\"\nnetns = \"{host}\"\n");
        text += &format!("[[port]]\nname = \"p{n}\"\n{kind} = \"p{n}\"\nnetns = \"{center}\"\n");
        let vlan = |name: String, link: String| {
            format!(
                "[[vlan]]\nname = \"{name}{n}\"\nlink = \"{link}{n}\"\nid = {id}\nprotocol = \"{protocol}\"\n"
            )
        };
        let addresses = format!("[\"{}/24\", \"{}/64\"]", v4(n), v6(n));
        text += &vlan("host".into(), "far".into());
        text += &format!("host = {{ addresses = {addresses}, netns = \"{host}\" }}\n");
        text += &vlan("v".into(), "p".into());
    }
    text += "[[bridge]]\nname = \"br0\"\nport = [{ device = \"v0\" }, { device = \"v1\" }]\n";
    rig.folder.start(&format!("[switch]\nmac_table = 1024\n{text}"))
}

#[test]
fn hosts_with_vlans_of_their_own_reach_each_other_through_a_bridge_of_vlans() {
    const BYTES: u64 = 4 << 20;
    for (kind, protocol) in [("xdp", "802.1Q"), ("packet", "802.1Q"), ("packet", "802.1ad")] {
        let Some(rig) = rig("uppers-reach") else { return };
        let _switch = start(&rig, kind, protocol);
        reaches(&rig, 0, 1);
        reaches(&rig, 1, 0);
        for (near, far) in [(0, 1), (1, 0)] {
            for address in [v4(far), v6(far)] {
                lab::tcp_transfer(&rig.hosts[near], &rig.hosts[far], (address, 0).into(), BYTES).unwrap();
            }
        }
        let v0 = shown(&rig, "v0");
        assert_eq!((v0.kind.as_str(), v0.link.as_deref(), v0.mtu), ("vlan", Some("p0"), 1500));
        assert!(v0.rx.bytes > 2 * BYTES && v0.tx.bytes > 2 * BYTES, "{v0:?}");
        let host = shown(&rig, "host0");
        assert_eq!((host.kind.as_str(), host.device.as_deref()), ("vlan", Some("host0")));
        assert_eq!(host.address, shown(&rig, "far0").address, "it has the address of what it stands on");
        rig.settled();
    }
}

#[test]
fn it_goes_down_and_changes_with_the_device_it_stands_on() {
    let Some(rig) = rig("uppers-follow") else { return };
    let _switch = start(&rig, "packet", "802.1Q");
    reaches(&rig, 0, 1);
    let is = |name: &'static str, state: &'static str| {
        wait_for(&format!("{name} to be {state}"), || (shown(&rig, name).operstate == state).then_some(()));
    };
    run_in(&rig.center, "ip link set p0 down");
    is("v0", "DOWN");
    is("host0", "DOWN"); // the far end of the veth has no carrier, and what stands on it has none
    let fdb = rig.folder.ask("show fdb");
    assert!(!fdb.contains(" v0 ") || !fdb.contains("learned"), "{fdb}");
    run_in(&rig.center, "ip link set p0 up");
    is("v0", "UP");
    is("host0", "UP");
    reaches(&rig, 0, 1);
    run_in(&rig.center, "ip link set p0 mtu 1400");
    wait_for("v0 to have its MTU", || (shown(&rig, "v0").mtu == 1400).then_some(()));
    run_in(&rig.hosts[0], &format!("ip link set {NIC} mtu 1300"));
    wait_for("the host's to have its MTU", || {
        run_in(&rig.hosts[0], "ip -o link show dev host0").contains("mtu 1300").then_some(())
    });
    rig.settled();
}

#[test]
fn it_comes_and_goes_and_becomes_another_while_the_rest_forwards() {
    let Some(rig) = rig("uppers-apply") else { return };
    let _switch = start(&rig, "packet", "802.1Q");
    reaches(&rig, 0, 1);
    let text = std::fs::read_to_string(rig.folder.path("rig.toml")).unwrap();
    // VLAN 30 on either end instead of 20.
    rig.folder.write("rig.toml", &text.replace("id = 20", "id = 30"));
    assert_eq!(rig.folder.ask("plan rig.toml"), "~ vlan host1: id 20 → 30\n~ vlan v1: id 20 → 30\n");
    rig.folder.ask("apply rig.toml");
    reaches(&rig, 0, 1);
    assert_eq!(rig.folder.ask("plan rig.toml"), "no changes\n");
    // A device that goes takes along what stands on it.
    rig.folder.ask("port del p1");
    let plan = rig.folder.ask("plan rig.toml");
    let back = ["+ port p1", "+ vlan v1", "+ bridge br0 port v1"];
    assert!(back.iter().all(|line| plan.contains(line)), "{plan}");
    rig.folder.ask("apply rig.toml");
    reaches(&rig, 1, 0);
    // A name that is gone is no device of the host's any more.
    rig.folder.write("rig.toml", &text.replace("name = \"host0\"", "name = \"other0\""));
    rig.folder.ask("apply rig.toml");
    reaches(&rig, 1, 0);
    assert!(!run_in(&rig.hosts[0], "ip -o link show").contains("host0"));
    rig.settled();
}

#[test]
fn a_vlan_within_a_vlan_of_the_hosts_is_kept_from_the_host() {
    let Some(rig) = rig("uppers-stacked") else { return };
    let _switch = start(&rig, "packet", "802.1Q");
    reaches(&rig, 0, 1);
    // VLAN 7 within host 0's VLAN 10 and within VLAN 20 at the other end: the hosts reach each other as before, and by it.
    let text = std::fs::read_to_string(rig.folder.path("rig.toml")).unwrap();
    let mut inner = String::new();
    for n in [0, 1] {
        let (netns, address) = (rig.hosts[n].name(), v4(n).to_string().replace("10.66.0", "10.66.7"));
        inner += &format!("[[vlan]]\nname = \"inner{n}\"\nlink = \"host{n}\"\nid = 7\n");
        inner += &format!("host = {{ addresses = [\"{address}/24\"], netns = \"{netns}\" }}\n");
    }
    rig.folder.write("rig.toml", &(text + &inner));
    rig.folder.ask("apply rig.toml");
    reaches(&rig, 0, 1);
    let target: std::net::IpAddr = "10.66.7.2".parse().unwrap();
    wait_for("the inner VLAN to work", || {
        lab::ping(&rig.hosts[0], target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
    let heard = || -> u64 {
        let said = run_in(&rig.hosts[1], "ip -j -s link show dev host1");
        let links: serde_json::Value = serde_json::from_str(&said).unwrap();
        links[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    };
    let before = heard();
    lab::ping(&rig.hosts[0], target, 5, 20, PATIENCE).unwrap();
    assert!(shown(&rig, "inner1").rx.packets >= 5);
    assert!(heard() < before + 5, "what is for the VLAN within does not go to the host as well");
    rig.settled();
}
