//! VLANs beyond what the kernel's bridge has, and those of a running switch: changed by hand, shown, counted and explained.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use command::Folder;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use rigswitch::config::Config;
use rigswitch::switch::{ByHand, Switch};
use rigswitch::views::{EditAction, EditObject, EditRequest, FdbChange, FdbStateWord};
use rigswitch_dataplane::frames::{Checksum, Gso, GsoKind};
use rigswitch_dataplane::ports::{Now, Wire};
use serde_json::{Value, json};

/// A bridge that filters, with ports p0 to p3 like this.
fn rig(bridge: &str, ports: [&str; 4]) -> String {
    let mut text = "[switch]\nmac_table = 1024\n".to_owned();
    (0..4).for_each(|n| text += &format!("[[port]]\nname = \"p{n}\"\nmemory = true\n"));
    text += &format!("[[bridge]]\nname = \"br0\"\nvlan_filtering = true\nmcast_snooping = false\n{bridge}\n");
    for (n, port) in ports.iter().enumerate() {
        text += &format!("[[bridge.port]]\ndevice = \"p{n}\"\n{port}\n");
    }
    text
}

fn by_hand(config: &str, drive: impl FnOnce(&mut ByHand<'_>)) {
    let config = Config::parse(config, "rig.toml").unwrap();
    Switch::by_hand(config, Now { unix_ns: 0 }, drive).unwrap();
}

/// A frame to all from station `n`, with these tags, outermost first.
fn frame(n: u8, tags: &[[u8; 4]]) -> Vec<u8> {
    to([0xff; 6], n, tags)
}

fn to(destination: [u8; 6], n: u8, tags: &[[u8; 4]]) -> Vec<u8> {
    let addresses = [&destination[..], &[2, 0, 0, 0, 0, n]].concat();
    [&addresses[..], &tags.concat(), &[0x88, 0xb5], &[0; 46]].concat()
}

fn customer(tci: u16) -> [u8; 4] {
    let [high, low] = tci.to_be_bytes();
    [0x81, 0, high, low]
}

fn service(tci: u16) -> [u8; 4] {
    let [high, low] = tci.to_be_bytes();
    [0x88, 0xa8, high, low]
}

/// What comes out of each port when this goes in at one.
fn pass(hand: &mut ByHand<'_>, from: usize, frame: Vec<u8>) -> [Vec<Vec<u8>>; 4] {
    let ends = [0, 1, 2, 3].map(|n| hand.switch().memory_end(&format!("p{n}")).unwrap());
    ends[from].send(frame).unwrap();
    while hand.step() > 0 {}
    ends.map(|end| std::iter::from_fn(|| end.receive()).map(|wire| wire.bytes).collect())
}

/// The drops of a port on its way in.
fn drops(hand: &mut ByHand<'_>, port: &str, reason: &str) -> u64 {
    let ports = hand.switch().ports();
    let port = ports.iter().find(|view| view.ifname == port).unwrap();
    port.drops.get(&format!("rx.{reason}")).copied().unwrap_or(0)
}

fn edit(hand: &mut ByHand<'_>, object: EditObject, action: EditAction, name: &str, keys: Value) {
    let Value::Object(keys) = keys else { panic!("keys are a table") };
    hand.switch().edit(&EditRequest { action, object, name: name.into(), keys }).unwrap();
}

#[test]
fn a_tunnel_pushes_a_tag_onto_whatever_comes_and_takes_one_off_whatever_leaves() {
    let config =
        rig("vlan_protocol = \"802.1ad\"", ["tunnel = 200", "trunk = [200]", "tunnel = 200", "access = 5"]);
    by_hand(&config, |hand| {
        for tags in [&[][..], &[customer(10)], &[service(7), customer(10)], &[customer(0xb000)]] {
            let mine = frame(1, tags);
            let on_trunk = frame(1, &[&[service(200)], tags].concat());
            assert_eq!(
                pass(hand, 0, mine.clone()),
                [vec![], vec![on_trunk.clone()], vec![mine.clone()], vec![]]
            );
            assert_eq!(pass(hand, 1, on_trunk), [vec![mine.clone()], vec![], vec![mine], vec![]]);
        }
    });
}

#[test]
fn a_translated_vlan_has_one_identifier_on_the_wire_and_another_in_the_bridge() {
    let translated = "trunk = [110, 20]\ntranslate = [{ from = 10, to = 110 }]";
    let config = rig("", [translated, "trunk = [10, 110, 20]", "access = 110", translated]);
    by_hand(&config, |hand| {
        let outer = frame(1, &[customer(0x700a)]);
        let inner = frame(1, &[customer(0x706e)]);
        assert_eq!(pass(hand, 0, outer.clone()), [vec![], vec![inner], vec![frame(1, &[])], vec![outer]]);
        let back = to([2, 0, 0, 0, 0, 1], 2, &[customer(110)]);
        let translated = to([2, 0, 0, 0, 0, 1], 2, &[customer(10)]);
        assert_eq!(pass(hand, 1, back), [vec![translated], vec![], vec![], vec![]]);
        let same = frame(3, &[customer(20)]);
        assert_eq!(pass(hand, 3, same.clone()), [vec![same.clone()], vec![same], vec![], vec![]]);
        assert_eq!(pass(hand, 1, frame(4, &[customer(10)])), [(); 4].map(|()| Vec::<Vec<u8>>::new()));
    });
}

/// A station by itself, and all of an OUI but one of them.
const MAC_VLANS: &str = r#"mac_vlan = [
    { mac = "02:00:00:00:00:07", vlan = 30 }, { mac = "00:1b:21:00:00:00/24", vlan = 40 },
    { mac = "00:1b:21:00:00:09", vlan = 30 },
]"#;

#[test]
fn a_station_is_of_its_vlan_wherever_it_is_and_a_tag_of_its_own_wins() {
    let ports = ["access = 10\nmac_vlan = true", "trunk = [10, 30, 40]", "mac_vlan = true", "access = 10"];
    by_hand(&rig(MAC_VLANS, ports), |hand| {
        let known = |n: u8, tags: &[[u8; 4]]| {
            let mut frame = frame(n, tags);
            frame[6..12].copy_from_slice(&[0, 0x1b, 0x21, 0, 0, n]);
            frame
        };
        // Untagged, or with a priority alone, it is of the VLAN of its address.
        let [none, trunk, third, none_either] = pass(hand, 0, frame(7, &[]));
        assert_eq!((none, none_either), (vec![], vec![]));
        assert_eq!((trunk, third), (vec![frame(7, &[customer(30)])], vec![frame(7, &[])]));
        assert_eq!(pass(hand, 2, frame(7, &[customer(0xa000)]))[1], [frame(7, &[customer(0xa01e)])]);
        assert_eq!(pass(hand, 0, known(8, &[]))[1], [known(8, &[customer(40)])]);
        assert_eq!(pass(hand, 0, known(9, &[]))[1], [known(9, &[customer(30)])], "the exact rule");
        // A tag wins, and who has no rule is of the port's VLAN.
        assert_eq!(pass(hand, 0, frame(7, &[customer(10)]))[1], [frame(7, &[customer(10)])]);
        assert_eq!(pass(hand, 0, frame(1, &[]))[1], [frame(1, &[customer(10)])]);
        // A port that is not in the VLAN of a rule is not one that it holds for.
        assert_eq!(pass(hand, 3, frame(7, &[]))[1], [frame(7, &[customer(10)])]);
        // It has moved, in its own VLAN: what is for it goes there, untagged.
        let reply = to([2, 0, 0, 0, 0, 7], 99, &[customer(30)]);
        assert_eq!(
            pass(hand, 1, reply.clone()),
            [vec![], vec![], vec![to([2, 0, 0, 0, 0, 7], 99, &[])], vec![]]
        );
        pass(hand, 0, frame(7, &[]));
        assert_eq!(pass(hand, 1, reply)[0], [to([2, 0, 0, 0, 0, 7], 99, &[])]);
    });
}

#[test]
fn an_entry_of_all_vlans_is_there_or_is_not() {
    let config = rig("", ["trunk = [\"1-4094\"]", "trunk = [10, 20]", "", ""]);
    by_hand(&config, |hand| {
        let change = |ifname: &str, vlan| FdbChange {
            mac: "02:00:00:00:00:01".into(),
            ifname: ifname.into(),
            vlan,
            state: FdbStateWord::Static,
            ..FdbChange::default()
        };
        let full = hand.switch().change_fdb(&change("p0", None)).unwrap_err().to_string();
        assert!(full.contains("no room for 02:00:00:00:00:01"), "{full}");
        assert_eq!(hand.switch().fdb(), []);
        hand.switch().change_fdb(&change("p1", Some(20))).unwrap();
        let there = hand.switch().change_fdb(&change("p1", None)).unwrap_err().to_string();
        assert!(there.contains("is in br0 already"), "{there}");
        assert_eq!(hand.switch().fdb().iter().map(|entry| entry.vlan).collect::<Vec<_>>(), [Some(20)]);
    });
}

#[test]
fn vlans_together_learn_no_more_than_the_bridge_may() {
    let config = rig("fdb_max_learned = 3", ["trunk = [10, 20]", "trunk = [10, 20]", "", ""]);
    by_hand(&config, |hand| {
        for n in 1..4 {
            pass(hand, 0, frame(n, &[customer(10)]));
            pass(hand, 0, frame(n, &[customer(20)]));
        }
        let learned: Vec<_> = hand.switch().fdb().into_iter().map(|entry| (entry.mac, entry.vlan)).collect();
        let mac = |n| format!("02:00:00:00:00:0{n}");
        assert_eq!(learned, [(mac(1), Some(10)), (mac(1), Some(20)), (mac(2), Some(10))]);
        assert_eq!(hand.switch().fdb_n_learned(), [("br0", 3)]);
    });
}

#[test]
fn a_port_that_leaves_a_vlan_takes_its_stations_along_and_others_stay() {
    let config = rig("", ["trunk = [10, 20]", "trunk = [10, 20]", "", ""]);
    by_hand(&config, |hand| {
        for vid in [10, 20] {
            pass(hand, 0, frame(1, &[customer(vid)]));
            pass(hand, 1, frame(2, &[customer(vid)]));
        }
        let known = |hand: &mut ByHand<'_>| -> Vec<_> {
            hand.switch().fdb().iter().map(|entry| (entry.ifname.clone(), entry.vlan)).collect()
        };
        let of = |port: &str, vlan| (port.to_owned(), vlan);
        edit(hand, EditObject::VlanMember, EditAction::Del, "p0", json!({ "vid": 10 }));
        assert_eq!(known(hand), [of("p0", Some(20)), of("p1", Some(10)), of("p1", Some(20))]);
        pass(hand, 0, frame(1, &[customer(10)]));
        assert_eq!(drops(hand, "p0", "vlan_not_member"), 1);
        edit(hand, EditObject::Bridge, EditAction::Set, "br0", json!({ "vlan_filtering": false }));
        assert_eq!(known(hand), []);
        let tagged = frame(1, &[customer(10)]);
        assert_eq!(pass(hand, 0, tagged.clone())[2], [tagged], "it takes no notice of tags now");
        edit(hand, EditObject::Bridge, EditAction::Set, "br0", json!({ "vlan_filtering": true }));
        assert_eq!(pass(hand, 1, frame(2, &[customer(20)]))[0], [frame(2, &[customer(20)])]);
    });
}

#[test]
fn frames_are_counted_by_vlan_and_by_port_where_that_is_asked_for() {
    for (key, of_p0, of_p1) in [
        ("", None, None),
        ("vlan_stats_enabled = true", Some((1, 1)), Some((1, 1))),
        ("vlan_stats_enabled = true\nvlan_stats_per_port = true", Some((1, 0)), Some((0, 1))),
    ] {
        by_hand(&rig(key, ["access = 10", "trunk = [10]", "", ""]), |hand| {
            pass(hand, 0, frame(1, &[]));
            // What is explained happens to nobody, and is not counted.
            hand.switch().explain("p0", &frame(1, &[])).unwrap();
            let vlans = hand.switch().vlans();
            let counted = |port: usize| {
                let of = vlans[port].vlans.iter().find(|vlan| vlan.vlan == 10).unwrap().traffic?;
                let bytes = [of.rx_bytes, of.tx_bytes];
                assert!(
                    bytes.iter().all(|bytes| [0, 46].contains(bytes)),
                    "without header and tag: {bytes:?}"
                );
                Some((of.rx_packets, of.tx_packets))
            };
            assert_eq!((counted(0), counted(1)), (of_p0, of_p1), "{key}");
            let traffic = hand.switch().vlan_traffic();
            let by_port: Vec<_> = traffic.iter().map(|(_, port, vlan, _)| (*port, *vlan)).collect();
            let expected: &[_] = match (of_p0, of_p1) {
                (None, _) => &[],
                (Some(_), Some((0, _))) => &[(Some("p0"), 10), (Some("p1"), 10)],
                _ => &[(None, 10)],
            };
            assert_eq!(by_port, expected, "{key}");
        });
    }
}

/// A host's super-frame of TCP to all, its checksum still to be completed, with these tags.
fn super_frame(tags: &[[u8; 4]]) -> Wire {
    let mut untagged = Vec::new();
    let builder =
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0xff; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    builder.tcp(1000, 80, 7, 1024).write(&mut untagged, &[0x5a; 3000]).unwrap();
    let bytes = [&untagged[..12], &tags.concat(), &untagged[12..]].concat();
    let start = u16::try_from(34 + 4 * tags.len()).unwrap();
    Wire {
        checksum: Checksum::Partial { start, offset: 16 },
        gso: Some(Gso { kind: GsoKind::TcpV4, size: 1000, ecn: false }),
        ..Wire::from(bytes)
    }
}

#[test]
fn a_super_frame_is_cut_into_segments_that_are_tagged_as_their_port_wants() {
    by_hand(&rig("", ["access = 10", "trunk = [10]", "access = 10", "trunk = [10]"]), |hand| {
        let ends = [0, 1, 2, 3].map(|n| hand.switch().memory_end(&format!("p{n}")).unwrap());
        for (from, tags) in [(0, &[][..]), (1, &[customer(0x600a)])] {
            ends[from].send(super_frame(tags)).unwrap();
            while hand.step() > 0 {}
            for (port, is_tagged) in
                [(0, false), (1, true), (2, false), (3, true)].into_iter().filter(|(port, _)| *port != from)
            {
                let segments: Vec<_> =
                    std::iter::from_fn(|| ends[port].receive()).map(|wire| wire.bytes).collect();
                assert_eq!(segments.len(), 3, "from p{from} to p{port}");
                for segment in segments {
                    let tag = if from == 1 { customer(0x600a) } else { customer(10) };
                    assert_eq!(segment[12..16] == tag, is_tagged, "from p{from} to p{port}");
                    let packet = SlicedPacket::from_ethernet(&segment).unwrap();
                    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
                        (packet.net, packet.transport)
                    else {
                        panic!("TCP over IPv4");
                    };
                    let header = ip.header().to_header();
                    assert_eq!(header.calc_header_checksum(), header.header_checksum);
                    let expected = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap();
                    assert_eq!((tcp.payload().len(), tcp.checksum()), (1000, expected));
                }
            }
        }
    });
}

#[test]
fn events_say_of_which_vlan_a_station_is() {
    by_hand(&rig("", ["trunk = [10, 20]", "trunk = [10, 20]", "", ""]), |hand| {
        let mut lines = hand.switch().listen().unwrap();
        pass(hand, 0, frame(1, &[customer(20)]));
        (0..20).for_each(|_| drop(hand.tick()));
        let told: Vec<Value> = std::iter::from_fn(|| lines.try_recv().ok())
            .map(|line| serde_json::from_slice(&line).unwrap())
            .collect();
        let learned: Vec<_> = told.iter().filter(|event| event["event"] == "learned").collect();
        assert_eq!(learned.len(), 1, "{told:?}");
        assert_eq!((&learned[0]["mac"], &learned[0]["vlan"]), (&json!("02:00:00:00:00:01"), &json!(20)));
    });
}

const TRUNKS: [&str; 4] = ["access = 10", "trunk = [10, \"20-22\"]\nnative = 1", "", ""];

#[test]
fn a_running_switch_shows_its_vlans_and_changes_them_in_the_words_of_bridge_8() {
    let folder = Folder::new("vlans");
    let config = rig(
        "fdb = [{ mac = \"02:00:00:00:00:01\", device = \"p1\", vlan = 20, state = \"static\" }]",
        TRUNKS,
    );
    let _switch = folder.start(&config);
    assert_eq!(
        folder.ask("show fdb -j"),
        "[{\"mac\":\"02:00:00:00:00:01\",\"ifname\":\"p1\",\"vlan\":20,\"flags\":[],\"master\":\"br0\",\"state\":\"static\"}]\n"
    );
    let own = r#"{"vlan":1,"flags":["PVID","Egress Untagged"]}"#;
    let others: String =
        ["p2", "p3", "br0"].map(|name| format!(r#",{{"ifname":"{name}","vlans":[{own}]}}"#)).concat();
    let p0 = r#"{"ifname":"p0","vlans":[{"vlan":10,"flags":["PVID","Egress Untagged"]}]}"#;
    let p1 = format!(
        r#"{{"ifname":"p1","vlans":[{own},{{"vlan":10}},{{"vlan":20}},{{"vlan":21}},{{"vlan":22}}]}}"#
    );
    assert_eq!(folder.ask("show vlans -j"), format!("[{p0},{p1}{others}]\n"));
    assert!(folder.ask("show vlans -jc").contains(r#"{"vlan":20,"vlanEnd":22,"flags":[]}"#));
    assert!(folder.ask("show vlans").contains("p1    20-22\n"), "{}", folder.ask("show vlans"));

    folder.ask("vlan add dev p0 vid 20-21");
    folder.ask("vlan add dev br0 vid 20 self");
    folder.ask("fdb add 02:00:00:00:00:02 dev p0 master static vlan 20");
    folder.ask("fdb add 02:00:00:00:00:03 dev p0 master static");
    let of = |mac: &str| -> Vec<Value> {
        let entries: Vec<Value> = serde_json::from_str(&folder.ask("show fdb -j")).unwrap();
        entries.iter().filter(|entry| entry["mac"] == mac).map(|entry| entry["vlan"].clone()).collect()
    };
    assert_eq!(
        (of("02:00:00:00:00:02"), of("02:00:00:00:00:03")),
        (vec![json!(20)], [10, 20, 21].map(Value::from).into())
    );
    let shown = folder.ask("show config");
    folder.write("shown.toml", &shown);
    assert_eq!(folder.ask("plan shown.toml"), "no changes\n", "what is shown is what there is:\n{shown}");
    assert_eq!(folder.ask("fdb flush dev br0 vlan 20 static"), "3 entries flushed\n");
    folder.ask("fdb del 02:00:00:00:00:03 dev p0 master vlan 10");
    assert_eq!(of("02:00:00:00:00:03"), [json!(21)]);
    folder.ask("vlan del dev p0 vid 20-21");
    assert_eq!(of("02:00:00:00:00:03"), [] as [Value; 0]);
    for (words, why) in [
        ("fdb add 02:00:00:00:00:04 dev p0 master static vlan 99", "p0 is not in VLAN 99"),
        ("vlan del dev p0 vid 99", "p0 is in no VLAN of 99"),
        ("vlan add dev p0 vid 30 self", "`self` is for a bridge"),
        ("port set p0 trunk 7", "`trunk` is an integer"),
        ("port set p0 access 4095", "`access` is 4095"),
    ] {
        let said = folder.say(words);
        assert!(said.code == Some(1) && said.err.contains(why), "{words}: {said:?}");
    }
    folder.ask("port set p0 access 20");
    assert!(folder.ask("show vlans").contains("p0       20  PVID, Egress Untagged"));
}

#[test]
fn it_is_told_of_which_vlan_a_frame_is_who_says_so_and_what_becomes_of_its_tag() {
    let folder = Folder::new("vlan-why");
    folder.write(
        "rig.toml",
        &rig(MAC_VLANS, ["access = 10\nmac_vlan = true", TRUNKS[1], "access = 20", "mac_vlan = true"]),
    );
    let out = folder.ask("explain -c rig.toml --port p0 eth");
    for line in [
        "vlan    VLAN 10, the PVID of p0: it has no tag, or one without a VLAN  [rig.toml:25]\n",
        "not to  p2: it is not in VLAN 10  [rig.toml:33]\n",
        "tag     p1 tags: pushed VLAN 10, priority 0  [rig.toml:30]\n",
    ] {
        assert!(out.contains(line), "{line}{out}");
    }
    let out = folder.ask("explain -c rig.toml --port p1 eth / vlan 30");
    assert!(out.contains("decide  drop: vlan_not_member  [rig.toml:30]\n"), "{out}");
    assert!(
        out.contains("What to do: See what the port is in")
            || out.contains("what to do: See what the port is in"),
        "{out}"
    );
    let out = folder.ask("explain -c rig.toml --port p0 eth src=02:00:00:00:00:07");
    assert!(
        out.contains("VLAN 30, that of its source address, for it has none of its own  [rig.toml:19]\n"),
        "{out}"
    );
    let out = folder.ask("explain -c rig.toml --port p1 eth / vlan 10");
    assert!(out.contains("tag     p0 does not tag: popped  [rig.toml:25]\n"), "{out}");
}

#[test]
fn what_is_counted_by_vlan_is_shown() {
    let folder = Folder::new("vlan-counts");
    let _switch = folder.start(&rig("vlan_stats_enabled = true", TRUNKS));
    let views: Value = serde_json::from_str(&folder.ask("show vlans -js")).unwrap();
    let expected = json!({
        "vid": 10, "flags": ["PVID", "Egress Untagged"], "rx_bytes": 0, "rx_packets": 0, "tx_bytes": 0, "tx_packets": 0,
    });
    assert_eq!(views[0]["vlans"][0], expected);
    assert!(folder.ask("show vlans").contains("RX PACKETS"));
}
