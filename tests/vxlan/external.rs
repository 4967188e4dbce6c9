//! One device of many networks (`external`), which its bridge knows by VLANs: rule by rule, and with a device for each network of this kernel's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rigswitch::lab;
use rigswitch::views::{EditAction, EditObject, EditRequest, FdbChange, FdbHow, FdbRemoval, VniTrafficView};
use serde_json::json;

use super::command::wait_for;
use super::packets::{FAR, Outer, PLAIN};
use super::rig::{NIC, Plug, Rig, has, run_in, tagged};
use super::rules::{HERE, Played, THERE, bridged, change, config, play, usual};

const PORTS: &str = "vlan_filtering = true, port = [{ device = \"p0\", trunk = [\"10-30\"] }, \
     { device = \"vx0\", trunk = [\"10-30\"], vlan_tunnel = true, tunnel_info = [{ vid = \"10-11\", id = \"100-101\" }, { vid = 20, id = 200 }] }]";

/// VLAN 10 is network 100 and behind the far end 2; VLAN 20 is network 200 and behind the far end 3, to which it is 777.
fn external(keys: &str) -> String {
    let all = bridged(
        "external = true\nlearning = true\nlocal = \"192.0.2.1\"\nfdb = [{ mac = \"00:00:00:00:00:00\", dst = \"192.0.2.2\", src_vni = 100 }, \
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

/// What was counted in each network: packets, bytes, drops and errors, of both ways.
fn counted(rig: &mut Played<'_, '_>) -> BTreeMap<u32, [[u64; 4]; 2]> {
    let devices = rig.hand.switch().vnis();
    let of = |of: VniTrafficView| {
        [
            [of.rx_pkts, of.rx_bytes, of.rx_drops, of.rx_errors],
            [of.tx_pkts, of.tx_bytes, of.tx_drops, of.tx_errors],
        ]
    };
    devices[0].vnis.iter().map(|vni| (vni.vni, of(vni.stats.unwrap()))).collect()
}

#[test]
fn frames_are_counted_network_by_network() {
    play(&external(&format!("{FILTERS}compat = true\n")), |rig| {
        goes(rig, 10);
        goes(rig, 10);
        goes(rig, 11);
        rig.comes_in(&from(4, 100, &usual(HERE, THERE)));
        rig.comes_in(&from(4, 300, &usual(HERE, THERE)));
        rig.comes_in(&from(4, 555, &usual(HERE, THERE)));
        let broken = Outer { header: PLAIN | 200 << 8 | 1, ..from(4, 200, &usual(HERE, THERE)) };
        assert!(rig.comes_in(&broken).is_empty());
        let length = usual(HERE, THERE).len() as u64;
        let none = [0; 4];
        let wanted = [
            (100, [[1, length - 14, 0, 0], [2, 2 * length, 0, 0]]),
            (101, [none, [0, 0, 1, 0]]),
            (200, [[0, 0, 0, 1], none]),
            (300, [[1, length - 14, 0, 0], none]),
        ];
        assert_eq!(counted(rig), BTreeMap::from(wanted));
    });
}

fn edit(rig: &mut Played<'_, '_>, action: EditAction, keys: serde_json::Value) -> Result<(), String> {
    let serde_json::Value::Object(keys) = keys else { panic!("keys are a table") };
    let request = EditRequest { action, object: EditObject::Vni, name: "vx0".into(), keys };
    rig.hand.switch().edit(&request).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_network_has_a_far_end_or_a_group_of_its_own() {
    use EditAction::{Add, Del};
    let text =
        external("vnifilter = true\nvni = [100, { id = 101, remote = \"192.0.2.4\" }, 200]\ndev = \"u0\"\n");
    play(&text, |rig| {
        assert_eq!(goes(rig, 11), [(4, 101)]);
        assert!(entries(rig).contains(&"101 00 192.0.2.4".into()));
        assert!(rig.plan(&config(&text)).is_empty());
        edit(rig, Add, json!({ "vni": "101-102", "remote": "192.0.2.3" })).unwrap();
        assert_eq!(goes(rig, 11), [(3, 101)]);
        edit(rig, Add, json!({ "vni": 101 })).unwrap();
        assert_eq!(goes(rig, 11), []);
        edit(rig, Add, json!({ "vni": 101, "group": "239.1.1.1" })).unwrap();
        let [_, out] = rig.send_all("p0", &in_vlan(11, THERE, HERE));
        let outer: Vec<_> = {
            let is_udp = |frame: &&Vec<u8>| frame[12..14] == [8, 0] && frame[23] == 17;
            out.iter().filter(is_udp).filter_map(|frame| Outer::parse(frame)).collect()
        };
        assert!(
            outer
                .iter()
                .any(|outer| outer.addresses[1] == [239, 1, 1, 1] && outer.inner == usual(THERE, HERE))
        );
        let vnis = rig.hand.switch().vnis().remove(0).vnis;
        let ends = vnis.into_iter().map(|of| (of.vni, of.group.or(of.remote)));
        let end = |end: &str| Some(end.to_owned());
        let wanted = [(100, None), (101, end("239.1.1.1")), (102, end("192.0.2.3")), (200, None)];
        assert_eq!(ends.collect::<Vec<_>>(), wanted);
        // What comes to the group is taken.
        let to_group = Outer {
            addresses: [[192, 0, 2, 4], [239, 1, 1, 1]],
            stations: [FAR, [1, 0, 0x5e, 1, 1, 1]],
            ..from(4, 101, &usual(HERE, THERE))
        };
        assert_eq!(rig.comes_in(&to_group), [in_vlan(11, HERE, THERE)]);
        edit(rig, Del, json!({ "vni": 101 })).unwrap();
        assert!(edit(rig, Del, json!({ "vni": 101 })).unwrap_err().contains("none of these networks"));
        for (keys, why) in [
            (json!({ "vni": 5, "group": "192.0.2.2" }), "no group"),
            (json!({ "vni": 5, "remote": "2001:db8::1" }), "the device sends over IPv4"),
            (json!({ "remote": "192.0.2.2" }), "which network?"),
        ] {
            let said = edit(rig, Add, keys).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    });
}

#[test]
fn explain_says_which_vlan_is_which_network() {
    play(&external(FILTERS), |rig| {
        let steps = |rig: &mut Played<'_, '_>, port: &str, frame: &[u8]| {
            let said = rig.hand.switch().explain(port, frame).unwrap();
            let steps: Vec<_> = said.steps.into_iter().map(|step| (step.text, step.place)).collect();
            (steps, said.drops.into_iter().map(|drop| drop.reason).collect::<Vec<_>>())
        };
        let (out, _) = steps(rig, "p0", &in_vlan(20, THERE, HERE));
        let network = out.iter().find(|(text, _)| text == "VLAN 20 is network 200 of vx0");
        assert!(network.is_some_and(|(_, place)| place.is_some()), "{out:#?}");
        assert!(
            out.iter().any(|(text, _)| text.contains("to 192.0.2.3, as 00:00:00:00:00:00 says")),
            "{out:#?}"
        );
        let (inward, _) = steps(rig, "u0", &from(2, 100, &usual(HERE, THERE)).frame());
        assert!(inward.iter().any(|(text, _)| text == "network 100 of vx0 is VLAN 10"), "{inward:#?}");
        let (_, drops) = steps(rig, "u0", &from(2, 555, &usual(HERE, THERE)).frame());
        assert_eq!(drops, ["vxlan_unknown_vni"]);
    });
}

/// One network of what `bridge -j -s vni show` prints: what has come in.
fn came_in(text: &str, vni: u32) -> Option<[u64; 4]> {
    let all: serde_json::Value = serde_json::from_str(text).ok()?;
    let of = all[0]["vnis"].as_array()?.iter().find(|of| of["vni"] == vni)?;
    let count = |key: &str| of["stats"][key].as_u64();
    Some([count("rx_pkts")?, count("rx_bytes")?, count("rx_drops")?, count("rx_errors")?])
}

/// The entries that are for one network: it, the station, and the far end.
fn learned(text: &str) -> BTreeSet<(u64, String, String)> {
    let all: serde_json::Value = serde_json::from_str(text).unwrap();
    let of = |entry: &serde_json::Value| {
        let word = |key: &str| Some(entry[key].as_str()?.to_owned());
        Some((entry["src_vni"].as_u64()?, word("mac")?, word("dst")?))
    };
    all.as_array().unwrap().iter().filter_map(of).collect()
}

#[test]
fn networks_are_counted_and_learned_in_as_by_this_kernel() {
    let both: Vec<_> = [false, true].into_iter().filter_map(beside_the_kernel).collect();
    if let [kernel, ours] = &both[..] {
        assert_eq!(kernel, ours);
        assert!(kernel.1.len() == 3, "{kernel:?}");
    }
}

type Seen = ([Option<[u64; 4]>; 3], BTreeSet<(u64, String, String)>);

/// What a device of ours, or of this kernel's, has counted and learned of the same packets.
fn beside_the_kernel(is_ours: bool) -> Option<Seen> {
    let test = if is_ours { "vxlan-vnis-ours" } else { "vxlan-vnis-kernel" };
    let rig = has(test, "bridge").then(|| Rig::new(test, &[Plug::Veth], 1500)).flatten()?.quiet();
    let center = |line: &str| run_in(&rig.center, line);
    center("ip link set p0 address 02:00:00:00:ea:01");
    let _switch = is_ours.then(|| {
        rig.folder.start(&format!(
            "[switch]\nmac_table = 1024\n[[port]]\nname = \"u0\"\npacket = \"p0\"\nnetns = \"{}\"\n\
             [[address]]\ndevice = \"u0\"\naddress = \"192.0.2.1/24\"\n\
             [[vxlan]]\nname = \"vx0\"\nexternal = true\nvnifilter = true\nvni = [\"100-102\"]\nlearning = true\ndstport = 4789\n\
             local = \"192.0.2.1\"\naddress = \"02:00:00:00:0e:01\"\ncompat = true\n\
             [[bridge]]\nname = \"br0\"\nport = [{{ device = \"vx0\" }}]\n",
            rig.center.name()
        ))
    });
    if !is_ours {
        center("ip addr add 192.0.2.1/24 dev p0");
        center(
            "ip link add vx0 address 02:00:00:00:0e:01 type vxlan external vnifilter learning dstport 4789 local 192.0.2.1",
        );
        center("bridge vni add vni 100-102 dev vx0");
        center("ip link set vx0 up");
    }
    let ask = |what: &str| match (is_ours, what) {
        (true, "vni") => rig.folder.ask("vni show -j -s"),
        (true, _) => rig.folder.ask("show fdb -j"),
        (false, "vni") => center("bridge -j -s vni show"),
        (false, _) => center("bridge -j fdb show dev vx0"),
    };
    let wire = rig.wire(0);
    let station = |n: u8| [2, 0, 0, 0, 0, n];
    let good = |far_end, vni, n| from(far_end, vni, &usual(HERE, station(n)));
    let broken = Outer { header: PLAIN | 100 << 8 | 1, ..good(2, 100, 9) };
    let reflected = from(2, 101, &usual(HERE, [2, 0, 0, 0, 0x0e, 1]));
    let send = |outer: &Outer| wire.send(&outer.frame());
    // A far end that is new to ours is known from the second packet on at the latest.
    for _ in 0..2 {
        for outer in [good(2, 100, 2), good(3, 101, 2), good(2, 101, 3)] {
            send(&outer);
        }
    }
    for outer in [broken, reflected, good(2, 555, 4)] {
        send(&outer);
    }
    send(&good(2, 102, 2));
    wait_for("the last packet", || came_in(&ask("vni"), 102).filter(|of| of[0] == 1));
    let known = wait_for("what is learned", || {
        let mut known = learned(&ask("fdb"));
        known.retain(|(vni, ..)| *vni < 102);
        (known.len() == 3).then_some(known)
    });
    let text = ask("vni");
    Some(([100, 101, 102].map(|vni| came_in(&text, vni)), known))
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
         [[vxlan]]\nname = \"vx0\"\nexternal = true\nvnifilter = true\nvni = [100, 200]\nlearning = true\ndstport = 4789\nlocal = \"192.0.2.1\"\n\
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
