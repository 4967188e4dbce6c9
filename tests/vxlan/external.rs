//! One device of many networks (`external`), which its bridge knows by VLANs: rule by rule, and with a device for each network of this kernel's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rigswitch::lab;
use rigswitch::views::{FdbChange, FdbHow, FdbRemoval};

use super::command::wait_for;
use super::packets::{Outer, PLAIN};
use super::rig::{NIC, Plug, Rig, has, run_in, tagged};
use super::rules::{HERE, Played, THERE, bridged, change, config, play, usual};

const PORTS: &str = "vlan_filtering = true, port = [{ device = \"p0\", trunk = [\"10-30\"] }, \
     { device = \"vx0\", trunk = [\"10-30\"], vlan_tunnel = true, tunnel_info = [{ vid = \"10-11\", id = \"100-101\" }, { vid = 20, id = 200 }] }]";

/// VLAN 10 is network 100 and behind the far end 2; VLAN 20 is network 200 and behind the far end 3, to which it is 777.
fn external(keys: &str) -> String {
    let all = bridged(
        "external = true\nlocal = \"192.0.2.1\"\nfdb = [{ mac = \"00:00:00:00:00:00\", dst = \"192.0.2.2\", src_vni = 100 }, \
         { mac = \"00:00:00:00:00:00\", dst = \"192.0.2.3\", src_vni = 200, vni = 777 }]\n",
    );
    let plain = "port = [{ device = \"p0\" }, { device = \"vx0\" }]";
    let (text, ports) = (all.replace("id = 42\n", ""), PORTS);
    assert!(text.contains(plain));
    text.replace(plain, ports) + keys
}

const FILTERS: &str = "vnifilter = true\nvni = [\"100-101\", 200, 300]\n";

fn in_vlan(vlan: u8, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    tagged(&usual(to, from), [0x81, 0, 0, vlan])
}

/// The far ends and networks that a frame of a VLAN leaves for.
fn goes(rig: &mut Played<'_, '_>, vlan: u8) -> Vec<(u8, u64)> {
    let out = rig.out(&in_vlan(vlan, THERE, HERE));
    assert!(out.iter().all(|outer| outer.inner == usual(THERE, HERE)), "the tag stays here: {out:x?}");
    out.iter().map(|outer| (outer.addresses[1][3], (outer.header & !PLAIN) >> 8)).collect()
}

fn from(far_end: u8, vni: u64, inner: &[u8]) -> Outer {
    let addresses = [[192, 0, 2, far_end], [192, 0, 2, 1]];
    Outer { addresses, header: PLAIN | vni << 8, ..Outer::of(inner) }
}

/// The entries of vx0 itself: network, station and far end.
fn entries(rig: &mut Played<'_, '_>) -> Vec<String> {
    let own = rig.hand.switch().fdb().into_iter().filter(|entry| entry.flags == ["self"]);
    own.map(|entry| format!("{} {} {}", entry.src_vni.unwrap(), &entry.mac[15..], entry.dst.unwrap()))
        .collect()
}

#[test]
fn vlans_of_the_bridge_are_networks_and_each_knows_its_own_stations() {
    play(&external(FILTERS), |rig| {
        let mut before = BTreeMap::new();
        assert_eq!((goes(rig, 10), goes(rig, 20)), (vec![(2, 100)], vec![(3, 777)]));
        assert!(rig.drops(&mut before).is_empty());
        // One that is known by no network, one whose network has no far end, and one that no port is in.
        for (vlan, reason) in [(12, "vx0 tx.tunnel_txinfo"), (11, "vx0 tx.vxlan_no_remote")] {
            assert!(goes(rig, vlan).is_empty());
            assert_eq!(rig.drops(&mut before), [reason]);
        }
        // The same station in both networks, behind others.
        for (far_end, vni, vlan) in [(4, 100, 10), (2, 200, 20)] {
            for _ in 0..2 {
                let inside = rig.comes_in(&from(far_end, vni, &usual(HERE, THERE)));
                assert_eq!(inside, [in_vlan(vlan, HERE, THERE)]);
                rig.pass(200);
            }
        }
        assert_eq!((goes(rig, 10), goes(rig, 20)), (vec![(4, 100)], vec![(2, 200)]));
        let known = ["100 00 192.0.2.2", "100 02 192.0.2.4", "200 00 192.0.2.3", "200 02 192.0.2.2"];
        assert_eq!(entries(rig), known);
        // What has a tag has its VLAN already (`br_handle_ingress_vlan_tunnel`).
        let has_tag = in_vlan(20, HERE, [2, 0, 0, 0, 0, 9]);
        assert_eq!(rig.comes_in(&from(2, 100, &has_tag)), [has_tag]);
        assert!(rig.drops(&mut before).is_empty());
        // It passes the filter and is of no VLAN; it does not pass the filter.
        assert!(rig.comes_in(&from(2, 300, &usual(HERE, THERE))).is_empty());
        assert_eq!(rig.drops(&mut before), ["vx0 rx.vlan_no_pvid"]);
        assert!(rig.comes_in(&from(2, 555, &usual(HERE, THERE))).is_empty());
        assert_eq!(rig.drops(&mut before), ["u0 rx.vxlan_unknown_vni"]);
        assert!(rig.plan(&config(&external(FILTERS))).is_empty(), "what is learned is state");
    });
}

#[test]
fn without_a_filter_every_network_is_taken() {
    play(
        &external("")
            .replace("trunk = [\"10-30\"], vlan_tunnel", "trunk = [\"10-30\"], native = 30, vlan_tunnel"),
        |rig| {
            assert_eq!(rig.comes_in(&from(2, 100, &usual(HERE, THERE))), [in_vlan(10, HERE, THERE)]);
            assert_eq!(rig.comes_in(&from(2, 555, &usual(HERE, THERE))), [in_vlan(30, HERE, THERE)]);
        },
    );
}

#[test]
fn entries_are_changed_network_by_network_in_bridge_8s_words() {
    play(&external(FILTERS), |rig| {
        let mac = "02:00:00:00:00:02";
        let of = |src_vni, dst: &str| FdbChange { src_vni, ..change(mac, dst) };
        let why = rig.change(of(None, "192.0.2.4")).unwrap_err();
        assert!(why.contains("vx0 is external") && why.contains("src_vni"), "{why}");
        rig.change(of(Some(100), "192.0.2.4")).unwrap();
        rig.change(of(Some(200), "192.0.2.2")).unwrap();
        assert!(rig.change(of(Some(200), "192.0.2.3")).is_err(), "it is there");
        assert_eq!((goes(rig, 10), goes(rig, 20)), (vec![(4, 100)], vec![(2, 200)]));
        rig.change(FdbChange { how: FdbHow::Replace, ..of(Some(200), "192.0.2.3") }).unwrap();
        assert_eq!((goes(rig, 10), goes(rig, 20)), (vec![(4, 100)], vec![(3, 200)]));
        let mut plan = rig.plan(&config(&external(FILTERS)));
        plan.sort();
        let gone = |vni, dst| format!("- bridge vx0 fdb {mac} src_vni {vni} {dst}");
        assert_eq!(plan, [gone(100, "192.0.2.4"), gone(200, "192.0.2.3")]);
        let removal =
            FdbRemoval { mac: mac.into(), ifname: "vx0".into(), src_vni: Some(100), ..FdbRemoval::default() };
        rig.hand.switch().remove_fdb(&removal).unwrap();
        assert_eq!((goes(rig, 10), goes(rig, 20)), (vec![(2, 100)], vec![(3, 200)]));
        let flush = |src_vni| rigswitch::views::FdbFlush { dev: "vx0".into(), src_vni, ..Default::default() };
        assert_eq!(rig.hand.switch().flush_fdb(&flush(Some(100))).unwrap(), 1);
        assert_eq!((goes(rig, 10), goes(rig, 20)), (vec![], vec![(3, 200)]));
        assert_eq!(rig.hand.switch().flush_fdb(&flush(None)).unwrap(), 2);
        assert!(entries(rig).is_empty() && goes(rig, 20).is_empty());
    });
}

#[test]
fn hosts_in_two_vlans_are_in_two_networks_of_this_kernels() {
    const TEST: &str = "vxlan-external";
    let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &[Plug::Veth; 3], 1500)).flatten() else { return };
    let [red, blue, node] = &rig.hosts[..] else { panic!("three hosts") };
    let center = rig.center.name();
    node.add_address(NIC, "192.0.2.2".parse().unwrap(), 24).unwrap();
    for (host, net) in [(red, 1), (blue, 2)] {
        host.add_address(NIC, format!("10.{net}.0.1").parse().unwrap(), 24).unwrap();
        let device = format!("vx{net}00");
        run_in(
            node,
            &format!(
                "ip link add {device} type vxlan id {net}00 dstport 4789 local 192.0.2.2 remote 192.0.2.1"
            ),
        );
        run_in(node, &format!("ip addr add 10.{net}.0.2/24 dev {device}"));
        run_in(node, &format!("ip link set {device} up"));
    }
    let _switch = rig.folder.start(&format!(
        "[switch]\nmac_table = 1024\n\
         [[port]]\nname = \"red\"\npacket = \"p0\"\nnetns = \"{center}\"\n\
         [[port]]\nname = \"blue\"\nxdp = \"p1\"\nnetns = \"{center}\"\n\
         [[port]]\nname = \"u0\"\npacket = \"p2\"\nnetns = \"{center}\"\n\
         [[address]]\ndevice = \"u0\"\naddress = \"192.0.2.1/24\"\n\
         [[vxlan]]\nname = \"vx0\"\nexternal = true\nvnifilter = true\nvni = [100, 200]\ndstport = 4789\nlocal = \"192.0.2.1\"\n\
         fdb = [{{ mac = \"00:00:00:00:00:00\", dst = \"192.0.2.2\", src_vni = 100 }}, \
         {{ mac = \"00:00:00:00:00:00\", dst = \"192.0.2.2\", src_vni = 200 }}]\n\
         [[bridge]]\nname = \"br0\"\nvlan_filtering = true\nport = [{{ device = \"red\", access = 10 }}, \
         {{ device = \"blue\", access = 20 }}, {{ device = \"vx0\", trunk = [10, 20], vlan_tunnel = true, \
         tunnel_info = [{{ vid = 10, id = 100 }}, {{ vid = 20, id = 200 }}] }}]\n"
    ));
    for (host, net) in [(red, 1), (blue, 2)] {
        let there: IpAddr = format!("10.{net}.0.2").parse().unwrap();
        wait_for("the other end of the network", || {
            let ping = lab::ping(host, there, 1, 1000, std::time::Duration::from_millis(200)).unwrap();
            (ping.lost() == 0).then_some(())
        });
        lab::tcp_transfer(host, node, (there, 0).into(), 2 << 20).unwrap();
        let here: IpAddr = format!("10.{net}.0.1").parse().unwrap();
        lab::tcp_transfer(node, host, (here, 0).into(), 2 << 20).unwrap();
    }
    let fdb = rig.folder.ask("show fdb -j");
    assert!(fdb.contains("\"src_vni\":100") && fdb.contains("\"src_vni\":200"), "{fdb}");
    rig.settled();
}
