//! What stands on a bridge: children that share it, beside its ports, and the bridge's own device of the host's beside what
//! stands on it.

use std::net::IpAddr;

use rigswitch::lab::{self, Host};

use crate::command::{Folder, PATIENCE, wait_for};
use crate::rig::{NIC, Plug, Rig, has, reaches, run_in, shown, v4, v6};

const BYTES: u64 = 4 << 20;

/// Ports of the rig's veths from the first on, of this kind each.
pub(super) fn ports(rig: &Rig, kinds: &[&str]) -> String {
    let center = rig.center.name();
    let port = |(n, kind): (usize, &&str)| {
        format!("[[port]]\nname = \"p{n}\"\n{kind} = \"p{n}\"\nnetns = \"{center}\"\n")
    };
    kinds.iter().enumerate().map(port).collect()
}

fn reach(from: &Host, target: &str) {
    let target: IpAddr = target.parse().unwrap();
    wait_for(&format!("{} to reach {target}", from.name()), || {
        lab::ping(from, target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
}

#[test]
fn children_of_a_bridge_reach_what_is_behind_its_ports_and_each_other() {
    for (kind, mode) in [("macvlan", "bridge"), ("ipvlan", "l2")] {
        const TEST: &str = "uppers-on-bridge";
        let plugs = [Plug::Veth, Plug::Veth, Plug::Tap, Plug::Tap];
        let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &plugs, 1500)).flatten() else { return };
        let mut text = ports(&rig, &["xdp", "packet"]);
        text += "[[bridge]]\nname = \"br0\"\nport = [{ device = \"p0\" }, { device = \"p1\" }]\n";
        for n in [2, 3] {
            let (netns, v4, v6) = (rig.hosts[n].name(), v4(n), v6(n));
            text += &format!("[[{kind}]]\nname = \"c{n}\"\nlink = \"br0\"\nmode = \"{mode}\"\n");
            text += &format!("host = {{ addresses = [\"{v4}/24\", \"{v6}/64\"], netns = \"{netns}\" }}\n");
        }
        for n in [0, 1] {
            rig.hosts[n].add_address(NIC, v4(n), 24).unwrap();
            rig.hosts[n].add_address(NIC, v6(n), 64).unwrap();
        }
        let _switch = rig.folder.start(&format!("[switch]\nmac_table = 1024\n{text}"));
        for (near, far) in [(0, 2), (1, 3), (2, 1), (3, 0), (2, 3), (3, 2), (0, 1)] {
            reaches(&rig, near, far);
        }
        for (near, far) in [(0, 2), (3, 1), (2, 3), (1, 0)] {
            for address in [v4(far), v6(far)] {
                lab::tcp_transfer(&rig.hosts[near], &rig.hosts[far], (address, 0).into(), BYTES).unwrap();
            }
        }
        let (parent, child) = (shown(&rig, "br0"), shown(&rig, "c2"));
        assert_eq!((&*child.kind, child.link.as_deref(), &*parent.kind), (kind, Some("br0"), "bridge"));
        assert_eq!(child.address == parent.address, kind == "ipvlan", "ipvlans share it, macvlans do not");
        assert!(child.rx.bytes > BYTES && child.tx.bytes > BYTES, "{child:?}");
        // They go down and up with the bridge, which does so with its ports.
        for (state, word) in [("DOWN", "down"), ("UP", "up")] {
            (0..2).for_each(|n| drop(run_in(&rig.center, &format!("ip link set p{n} {word}"))));
            wait_for(&format!("c3 to be {state}"), || (shown(&rig, "c3").operstate == state).then_some(()));
        }
        reaches(&rig, 3, 1);
        rig.settled();
    }
}

#[test]
fn the_hosts_bridge_device_and_what_stands_on_it_work_at_once() {
    const TEST: &str = "uppers-own-bridge";
    // Hosts 0 to 2 in VLANs 1, 10 and 20; host 3 has br0 and VLAN 10 of it, host 4 a macvlan of VLAN 20.
    let plugs = [Plug::Veth, Plug::Veth, Plug::Veth, Plug::Tap, Plug::Tap];
    let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &plugs, 1500)).flatten() else { return };
    let (own, container) = (rig.hosts[3].name(), rig.hosts[4].name());
    let text = ports(&rig, &["xdp", "packet", "packet"])
        + &format!(
            r#"
            [[bridge]]
            name = "br0"
            vlan_filtering = true
            vlan = {{ pvid = 1, untagged = [1], tagged = [10, 20] }}
            port = [{{ device = "p0" }}, {{ device = "p1", access = 10 }}, {{ device = "p2", access = 20 }}]
            host = {{ addresses = ["10.1.0.9/24", "fd01::9/64"], netns = "{own}" }}
            [[vlan]]
            name = "br0.10"
            link = "br0"
            id = 10
            host = {{ addresses = ["10.2.0.9/24", "fd02::9/64"], netns = "{own}" }}
            [[vlan]]
            name = "br0.20"
            link = "br0"
            id = 20
            [[macvlan]]
            name = "mv0"
            link = "br0.20"
            mode = "bridge"
            host = {{ addresses = ["10.3.0.9/24", "fd03::9/64"], netns = "{container}" }}
            "#
        );
    for n in 0..3 {
        let [v4, v6] =
            [format!("10.{}.0.1", n + 1), format!("fd0{}::1", n + 1)].map(|it| it.parse().unwrap());
        rig.hosts[n].add_address(NIC, v4, 24).unwrap();
        rig.hosts[n].add_address(NIC, v6, 64).unwrap();
    }
    let _switch = rig.folder.start(&format!("[switch]\nmac_table = 1024\n{text}"));
    for (n, far) in [(0, 3), (1, 3), (2, 4)] {
        for target in [format!("10.{}.0.9", n + 1), format!("fd0{}::9", n + 1)] {
            reach(&rig.hosts[n], &target);
            let target = (target.parse::<IpAddr>().unwrap(), 0).into();
            lab::tcp_transfer(&rig.hosts[n], &rig.hosts[far], target, BYTES).unwrap();
        }
        let target: IpAddr = format!("fd0{}::1", n + 1).parse().unwrap();
        lab::tcp_transfer(&rig.hosts[far], &rig.hosts[n], (target, 0).into(), BYTES).unwrap();
    }
    for name in ["br0", "br0.10", "br0.20", "mv0"] {
        let view = shown(&rig, name);
        assert!(view.rx.bytes > BYTES && view.tx.bytes > BYTES, "{view:?}");
    }
    // What is of a VLAN that stands on it does not reach the host by br0 itself.
    let heard = |device: &str| -> u64 {
        let said = run_in(&rig.hosts[3], &format!("ip -j -s link show dev {device}"));
        let links: serde_json::Value = serde_json::from_str(&said).unwrap();
        links[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    };
    let (br0, of_10) = (heard("br0"), heard("br0.10"));
    let ping = lab::ping(&rig.hosts[1], "10.2.0.9".parse().unwrap(), 20, 56, PATIENCE).unwrap();
    assert_eq!(ping.lost(), 0);
    assert!(heard("br0.10") >= of_10 + 20 && heard("br0") < br0 + 20);
    rig.settled();
}

#[test]
fn a_bridge_that_the_host_has_is_no_parent_of_children_and_the_rule_is_named() {
    let folder = Folder::new("uppers-refused");
    for kind in ["macvlan", "ipvlan"] {
        let mode = if kind == "ipvlan" { "l2" } else { "bridge" };
        let text = format!(
            "[[bridge]]\nname = \"br0\"\nhost = true\n[[{kind}]]\nname = \"c0\"\nlink = \"br0\"\nmode = \"{mode}\"\n"
        );
        folder.write("rig.toml", &text);
        let said = folder.say("check rig.toml");
        assert_eq!(said.code, Some(1), "{said:?}");
        let rule = "`br0` is already handed to the host: line 2 says so";
        assert!(said.err.contains(rule), "{said:?}");
    }
}
