//! What a bridge knows of groups and of neighbours, told as what decided.

use serde_json::Value;

use super::command::{Folder, wait_for};
use super::explained;
use super::rig::{Plug, Rig};

/// A bridge that asks who is in which group, and whose second port is spared questions.
const SNOOPS: &str = r#"
port = [{ name = "p0", memory = true }, { name = "p1", memory = true }, { name = "p2", memory = true }, { name = "p3", memory = true }]

[[bridge]]
name = "br0"
mcast_querier = true
mcast_query_response_interval = "100ms"
mcast_startup_query_interval = "1s"
[[bridge.port]]
device = "p0"
[[bridge.port]]
device = "p1"
neigh_suppress = true
[[bridge.port]]
device = "p2"
[[bridge.port]]
device = "p3"
mcast_router = 2
[[bridge.mdb]]
device = "p2"
grp = "239.1.1.1"
[[bridge.fdb]]
mac = "02:00:00:00:00:02"
device = "p1"

[[neighbor]]
device = "br0"
address = "10.0.0.2"
mac = "02:00:00:00:00:02"
[[neighbor]]
device = "br0"
address = "fd00::2"
mac = "02:00:00:00:00:02"
"#;

#[test]
fn where_a_frame_to_a_group_goes_is_told_with_who_is_in_it() {
    let folder = Folder::new("groups");
    folder.write("rig.toml", SNOOPS);
    let data = "eth dst=01:00:5e:01:01:01 / ipv4 dst=239.1.1.1 / udp";
    // A switch that has just been started has not asked yet.
    let text = "  decide  a group: br0 snoops, and looks who is in it  [rig.toml:4]\n  \
                snoop   nobody asks who is in which group, so that it is not known: to all  [rig.toml:6]\n  \
                not to  p0: it came from there  [rig.toml:9]\n  \
                out     p1, 60 bytes\n  out     p2, 60 bytes\n  out     p3, 60 bytes\nleaves by p1, p2, p3\n";
    let out = explained(&folder, data);
    assert!(out.ends_with(text), "{out}");

    let _switch = folder.start(SNOOPS);
    folder.ask("mdb add dev br0 port p1 grp 239.1.1.1");
    let ask = |frame: &str| {
        folder.ask(&format!("explain --port p0 {frame}")).replace(folder.path("").to_str().unwrap(), "")
    };
    let out = wait_for("the bridge to have asked", || Some(ask(data)).filter(|out| out.contains("member")));
    let text = "  snoop   for 239.1.1.1: to those who are in it, and to multicast routers\n  \
                member  p2, as mdb entry 239.1.1.1 (permanent) says  [rig.toml:21]\n  \
                member  p1, as mdb entry 239.1.1.1 (temp, put there by hand) says\n  \
                router  behind p3  [rig.toml:18]\n  \
                not to  p0: it came from there  [rig.toml:9]\n  \
                out     p3, 60 bytes\n  out     p2, 60 bytes\n  out     p1, 60 bytes\nleaves by p3, p2, p1\n";
    assert!(out.ends_with(text), "{out}");

    let out = ask("eth dst=01:00:5e:01:01:02 / ipv4 dst=239.1.1.2 / udp");
    let text = "  snoop   for 239.1.1.2, which nobody is known to be in: to multicast routers\n  \
                router  behind p3  [rig.toml:18]\n";
    assert!(out.contains(text) && out.ends_with("leaves by p3\n"), "{out}");
    assert!(out.contains("  not to  p1: nobody there is in the group\n"), "{out}");
    let out = ask("eth dst=01:00:5e:00:00:fb / ipv4 dst=224.0.0.251 / udp");
    assert!(
        out.contains("  snoop   it is for everybody, or says something about groups to all: to all\n"),
        "{out}"
    );
}

#[test]
fn a_question_that_the_bridge_answers_is_told_as_answered_and_from_what() {
    let folder = Folder::new("answered");
    folder.write("rig.toml", SNOOPS);
    let out = explained(&folder, "arp smac=02:00:00:00:00:01 src=10.0.0.1 dst=10.0.0.2");
    let text = "  decide    a question: br0 knows the answer\n  \
                neighbor  10.0.0.2 is 02:00:00:00:00:02, a neighbour that br0 was told of  [rig.toml:28]\n  \
                answer    the bridge answers by p0: its station is behind a port with neigh_suppress\n  \
                not to    p0: it came from there  [rig.toml:9]\n  \
                not to    p1: spared such questions  [rig.toml:13]\n  \
                out       p2, 60 bytes\n  out       p3, 60 bytes\n\
                answered by the bridge; the question leaves by p2, p3\n";
    assert!(out.ends_with(text), "{out}");
    // A solicitation for fd00::2, with its checksum left at zero.
    let message = ["87000000", "00000000", "fd00", &"0".repeat(26), "02"].concat();
    let addresses = ["fd00", &"0".repeat(26), "01", "ff02", &"0".repeat(18), "01ff000002"].concat();
    let header = "3333ff00000202000000000186dd6000000000183aff";
    let out = explained(&folder, &[header, &addresses, &message].concat());
    assert!(
        out.contains(
            "  neighbor  fd00::2 is 02:00:00:00:00:02, a neighbour that br0 was told of  [rig.toml:32]\n"
        ),
        "{out}"
    );
    assert!(out.ends_with("answered by the bridge; the question leaves by p2, p3\n"), "{out}");
    let view: Value = serde_json::from_str(&explained(&folder, "-j arp dst=10.0.0.2 src=10.0.0.1")).unwrap();
    assert_eq!(view["leaves_by"], serde_json::json!(["p2", "p3"]));
    let unknown = explained(&folder, "arp src=10.0.0.1 dst=10.0.0.3");
    assert!(unknown.contains("  decide  broadcast: flood to the other ports of br0\n"), "{unknown}");
}

/// What station 02:00:00:00:00:0b says who wants to be in 239.1.1.5: IGMPv2 with the router alert (RFC 2236 §2).
const REPORT: [u8; 46] = [
    0x01, 0, 0x5e, 1, 1, 5, 2, 0, 0, 0, 0, 0xb, 8, 0, // Ethernet
    0x46, 0, 0, 32, 0, 0, 0, 0, 1, 2, 0x2a, 0xc7, 10, 0, 0, 0xb, 239, 1, 1, 5, 0x94, 4, 0, 0, // IPv4
    0x16, 0, 0xf9, 0xf8, 239, 1, 1, 5, // IGMP
];

#[test]
fn a_membership_that_a_station_reported_is_told_from_those_put_there_by_hand() {
    let Some(rig) = Rig::new("reported", &[Plug::Veth, Plug::Veth, Plug::Tap], 1500) else { return };
    let rig = rig.quiet();
    let bridge = "[[bridge]]\nname = \"br0\"\nmcast_querier = true\nmcast_query_response_interval = \"100ms\"\n\
                  mcast_startup_query_interval = \"1s\"\nport = [{ device = \"p0\" }, { device = \"p1\" }, { device = \"p2\" }]\n\
                  mdb = [{ device = \"p2\", grp = \"239.1.1.5\" }]\n";
    let _switch = rig.start("1", bridge);
    rig.folder.ask("mdb add dev br0 port p0 grp 239.1.1.5 temp");
    let (wire, padding) = (rig.wire(1), [0; 14]);
    let frame = "eth dst=01:00:5e:01:01:05 / ipv4 dst=239.1.1.5 / udp";
    let out = wait_for("the report to be heard", || {
        wire.send(&[&REPORT[..], &padding].concat());
        Some(rig.folder.ask(&format!("explain --port p0 {frame}"))).filter(|out| out.contains("member  p1"))
    });
    let told = |port: &str, state: &str| format!("  member  {port}, as mdb entry 239.1.1.5 ({state}) says");
    for (port, state) in [
        ("p0", "temp, put there by hand"),
        ("p1", "temp, reported by 02:00:00:00:00:0b"),
        ("p2", "permanent"),
    ] {
        assert!(out.contains(&told(port, state)), "{port}: {out}");
    }

    // By port, state, and whether it ends.
    let shown = rig.folder.ask("show mdb");
    let rows: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    let row =
        |port: &str| rows.iter().find(|row| row.get(1) == Some(&"239.1.1.5") && row[2] == port).unwrap();
    assert_eq!(row("p2")[3..], ["permanent"], "{shown}");
    for port in ["p0", "p1"] {
        let [state, left] = row(port)[3..] else { panic!("{shown}") };
        assert!(state == "temp" && left.strip_suffix('s').unwrap().parse::<f64>().unwrap() > 0.0, "{shown}");
    }
}
