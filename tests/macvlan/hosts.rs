//! Hosts that share one real device, and stations on the wire outside.

use std::time::Duration;

use rigswitch::lab::{self, Host};

use crate::command::{Running, wait_for};
use crate::rig::{NIC, Plug, Rig, has, reaches, run_in, shown, v4, v6};

/// Host 0 is outside, on a veth whose other end is p0. Hosts 1 and 2 each have a child of that, mv1 and mv2, as their own.
fn rig(test: &str) -> Option<Rig> {
    has(test, "ip").then(|| Rig::new(test, &[Plug::Veth, Plug::Veth, Plug::Veth], 1500))?
}

fn start(rig: &Rig, port: &str, mode: &str) -> Running {
    let center = rig.center.name();
    let mut text = format!("[[port]]\nname = \"p0\"\n{port} = \"p0\"\nnetns = \"{center}\"\n");
    for n in [1, 2] {
        let (host, v4, v6) = (rig.hosts[n].name(), v4(n), v6(n));
        text += &format!("[[macvlan]]\nname = \"mv{n}\"\nlink = \"p0\"\nmode = \"{mode}\"\n");
        text += &format!("host = {{ addresses = [\"{v4}/24\", \"{v6}/64\"], netns = \"{host}\" }}\n");
    }
    let outside = &rig.hosts[0];
    outside.add_address(NIC, v4(0), 24).unwrap();
    outside.add_address(NIC, v6(0), 64).unwrap();
    rig.folder.start(&format!("[switch]\nmac_table = 1024\n{text}"))
}

fn transfer(from: &Host, to: &Host, n: usize) {
    const BYTES: u64 = 4 << 20;
    for address in [v4(n), v6(n)] {
        lab::tcp_transfer(from, to, (address, 0).into(), BYTES).unwrap();
    }
}

#[test]
fn children_in_mode_bridge_reach_each_other_and_a_station_outside() {
    for port in ["packet", "xdp"] {
        let Some(rig) = rig("macvlan-bridge") else { return };
        let _switch = start(&rig, port, "bridge");
        for (from, to) in [(1, 2), (2, 1), (0, 1), (2, 0)] {
            reaches(&rig, from, to);
        }
        for (from, to) in [(1, 2), (0, 1), (2, 0)] {
            transfer(&rig.hosts[from], &rig.hosts[to], to);
        }
        let mv1 = shown(&rig, "mv1");
        assert_eq!(
            (&*mv1.kind, mv1.link.as_deref(), mv1.mode.as_deref()),
            ("macvlan", Some("p0"), Some("bridge"))
        );
        let link = run_in(&rig.hosts[1], "ip -o link show dev mv1");
        assert!(link.contains(&mv1.address), "its TAP has its address: {link}");
        // The host may give its own another.
        run_in(&rig.hosts[1], "ip link set dev mv1 address 02:00:00:00:00:77");
        wait_for("the new address to be known", || {
            (shown(&rig, "mv1").address == "02:00:00:00:00:77").then_some(())
        });
        for (host, device) in [(0, NIC), (2, "mv2")] {
            run_in(&rig.hosts[host], &format!("ip neigh flush dev {device}"));
            reaches(&rig, host, 1);
        }
        rig.settled();
    }
}

#[test]
fn private_children_reach_the_station_outside_and_never_each_other() {
    let Some(rig) = rig("macvlan-private") else { return };
    let mut switch = start(&rig, "packet", "private");
    reaches(&rig, 1, 0);
    reaches(&rig, 0, 2);
    let neighbor = |n: usize| {
        format!(
            "ip neigh replace {} lladdr {} dev mv{} nud permanent",
            v4(n),
            shown(&rig, &format!("mv{n}")).address,
            3 - n
        )
    };
    run_in(&rig.hosts[1], &neighbor(2));
    run_in(&rig.hosts[2], &neighbor(1));
    let before = shown(&rig, "p0").tx.packets;
    let lost = lab::ping(&rig.hosts[1], v4(2), 2, 200, Duration::from_secs(1)).unwrap().lost();
    assert_eq!(lost, 2);
    assert!(shown(&rig, "p0").tx.packets >= before + 2, "they went out, and nothing came back");
    rig.settled();
    switch.signal("TERM");
    assert!(switch.wait().success());
    let links = run_in(&rig.hosts[1], "ip -o link show");
    assert!(!links.contains("mv1"), "{links}");
}

#[test]
fn a_child_comes_and_changes_and_goes_while_the_rest_forwards() {
    let Some(rig) = rig("macvlan-edit") else { return };
    let _switch = start(&rig, "packet", "bridge");
    reaches(&rig, 1, 2);
    let host = rig.hosts[2].name();
    rig.folder.ask("macvlan set mv2 mode private");
    assert_eq!(shown(&rig, "mv2").mode.as_deref(), Some("private"));
    reaches(&rig, 0, 2);
    rig.folder.ask(&format!("macvlan add mv3 link p0 mode bridge mac 02:00:00:00:00:33 host.netns {host}"));
    run_in(&rig.hosts[2], "ip link show dev mv3");
    rig.folder.ask("macvlan set mv3 mode source macaddr 02:00:00:00:00:01,02:00:00:00:00:02");
    let config = rig.folder.ask("show config");
    assert!(config.contains("macaddr = [\"02:00:00:00:00:01\", \"02:00:00:00:00:02\"]"), "{config}");
    let twice = rig.folder.say("macvlan add mv4 link p0 mac 02:00:00:00:00:33");
    assert!(twice.err.contains("`mv3` has the address 02:00:00:00:00:33"), "{twice:?}");
    let parents = shown(&rig, "p0").address;
    let shared = rig.folder.say(&format!("macvlan set mv3 mac {parents}"));
    let rule = "macvlan mv3: it has the address of p0, which it stands on: give it a `mac` of its own";
    assert!(shared.err.contains(rule), "{shared:?}");
    assert_eq!(shown(&rig, "mv3").address, "02:00:00:00:00:33");
    rig.folder.ask("macvlan del mv3");
    wait_for("mv3 to go", || (!run_in(&rig.hosts[2], "ip -o link show").contains("mv3")).then_some(()));
    // What stands on a device goes with it.
    rig.folder.ask("port del p0");
    assert!(!rig.folder.ask("show ports").contains("mv1"));
    rig.settled();
}
