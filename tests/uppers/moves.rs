//! A device that is put on another one while the switch runs: what it sends and hears is there from then on, and the host's device
//! stays what it is.

use std::time::Duration;

use rigswitch::lab;

use super::bridges::ports;
use crate::command::wait_for;
use crate::rig::{NIC, Plug, Rig, has, reaches, run_in, shown, v4, v6};

/// Waits until host `from` does not reach host `to` any more.
fn loses(rig: &Rig, from: usize, to: usize) {
    wait_for(&format!("host {from} not to reach host {to}"), || {
        let brief = Duration::from_millis(200);
        let ping = lab::ping(&rig.hosts[from], v4(to), 1, 56, brief).ok()?;
        (ping.lost() == 1).then_some(())
    });
}

/// The number that the kernel gave to a device of a host.
fn number(rig: &Rig, n: usize, device: &str) -> u64 {
    let links: serde_json::Value =
        serde_json::from_str(&run_in(&rig.hosts[n], &format!("ip -j link show dev {device}"))).unwrap();
    links[0]["ifindex"].as_u64().unwrap()
}

#[test]
fn children_move_from_one_parent_to_another_and_to_a_bridge() {
    for (kind, mode) in [("macvlan", "bridge"), ("ipvlan", "l2")] {
        const TEST: &str = "uppers-move";
        // Hosts 0 and 1 are outside, 2 and 3 share a port; behind p2, in a bridge, is host 4.
        let plugs = [Plug::Veth, Plug::Veth, Plug::Tap, Plug::Tap, Plug::Veth];
        let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &plugs, 1500)).flatten() else { return };
        let center = rig.center.name();
        let mut text = "[switch]\nmac_table = 1024\n".to_owned() + &ports(&rig, &["packet", "xdp"]);
        text += &format!("[[port]]\nname = \"p4\"\npacket = \"p4\"\nnetns = \"{center}\"\n");
        text += "[[bridge]]\nname = \"br0\"\nport = [{ device = \"p4\" }]\n";
        for n in [2, 3] {
            let (netns, v4, v6) = (rig.hosts[n].name(), v4(n), v6(n));
            text += &format!("[[{kind}]]\nname = \"c{n}\"\nlink = \"p0\"\nmode = \"{mode}\"\n");
            text += &format!("host = {{ addresses = [\"{v4}/24\", \"{v6}/64\"], netns = \"{netns}\" }}\n");
        }
        for n in [0, 1, 4] {
            rig.hosts[n].add_address(NIC, v4(n), 24).unwrap();
            rig.hosts[n].add_address(NIC, v6(n), 64).unwrap();
        }
        let _switch = rig.folder.start(&text);
        let before = number(&rig, 2, "c2");
        for (near, far) in [(0, 2), (2, 3), (0, 3)] {
            reaches(&rig, near, far);
        }
        let mut link = "p0";
        for (next, far, apart) in [("p1", 1, 0), ("br0", 4, 1), ("p0", 0, 4)] {
            let moved =
                text.replace("name = \"c2\"\nlink = \"p0\"", &format!("name = \"c2\"\nlink = \"{next}\""));
            rig.folder.write("moved.toml", &moved);
            let plan = rig.folder.ask("plan moved.toml");
            assert_eq!(plan, format!("~ {kind} c2: link {link} → {next}\n"));
            assert_eq!(rig.folder.ask("apply moved.toml"), plan);
            assert_eq!(rig.folder.ask("plan moved.toml"), "no changes\n");
            assert_eq!(shown(&rig, "c2").link.as_deref(), Some(next));
            reaches(&rig, far, 2);
            reaches(&rig, 2, far);
            loses(&rig, apart, 2);
            reaches(&rig, 0, 3); // who stayed
            assert_eq!(number(&rig, 2, "c2"), before, "the host's device is the same");
            link = next;
        }
        reaches(&rig, 2, 3);
        rig.settled();
    }
}

#[test]
fn a_sub_interface_moves_to_another_device_and_takes_after_that() {
    const TEST: &str = "uppers-vlan-move";
    let Some(rig) =
        has(TEST, "ip").then(|| Rig::new(TEST, &[Plug::Veth, Plug::Veth, Plug::Tap], 1500)).flatten()
    else {
        return;
    };
    // Hosts 0 and 1 have VLAN 10 of their wires, and host 2 a device of VLAN 10 of one of the switch's ends of those.
    let mut text = "[switch]\nmac_table = 1024\n".to_owned() + &ports(&rig, &["packet", "xdp"]);
    for n in [0, 1] {
        let (host, v4, v6) = (rig.hosts[n].name(), v4(n), v6(n));
        text += &format!("[[port]]\nname = \"far{n}\"\npacket = \"{NIC}\"\nnetns = \"{host}\"\n");
        text += &format!("[[vlan]]\nname = \"host{n}\"\nlink = \"far{n}\"\nid = 10\n");
        text += &format!("host = {{ addresses = [\"{v4}/24\", \"{v6}/64\"], netns = \"{host}\" }}\n");
    }
    let (host, v4, v6) = (rig.hosts[2].name(), v4(2), v6(2));
    text += "[[vlan]]\nname = \"v10\"\nlink = \"p0\"\nid = 10\n";
    text += &format!("host = {{ addresses = [\"{v4}/24\", \"{v6}/64\"], netns = \"{host}\" }}\n");
    let _switch = rig.folder.start(&text);
    let before = number(&rig, 2, "v10");
    reaches(&rig, 2, 0);
    loses(&rig, 2, 1);
    run_in(&rig.center, "ip link set p1 mtu 1400");
    wait_for("p1 to have its MTU", || (shown(&rig, "p1").mtu == 1400).then_some(()));
    let moved = text.replace("name = \"v10\"\nlink = \"p0\"", "name = \"v10\"\nlink = \"p1\"");
    rig.folder.write("moved.toml", &moved);
    assert_eq!(rig.folder.ask("plan moved.toml"), "~ vlan v10: link p0 → p1\n");
    rig.folder.ask("apply moved.toml");
    let (v10, p1) = (shown(&rig, "v10"), shown(&rig, "p1"));
    assert_eq!((v10.link.as_deref(), v10.mtu, &v10.address), (Some("p1"), 1400, &p1.address));
    let link = run_in(&rig.hosts[2], "ip -o link show dev v10");
    assert!(link.contains(&p1.address) && link.contains("mtu 1400"), "{link}");
    assert_eq!(number(&rig, 2, "v10"), before, "the host's device is the same");
    run_in(&rig.hosts[2], "ip neigh flush dev v10");
    run_in(&rig.hosts[1], "ip neigh flush dev host1");
    reaches(&rig, 2, 1);
    loses(&rig, 2, 0);
    // Back, by hand.
    rig.folder.ask("vlan set v10 link p0");
    assert_eq!(rig.folder.ask("plan rig.toml"), "no changes\n");
    run_in(&rig.hosts[2], "ip neigh flush dev v10");
    run_in(&rig.hosts[0], "ip neigh flush dev host0");
    reaches(&rig, 2, 0);
    rig.settled();
}
