//! Ipvlans: in containers on real devices, and every rule that the oracle's rigs leave out, in memory.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;
#[path = "ipvlan/routed.rs"]
mod routed;

use std::time::Duration;

use command::{Folder, PATIENCE, Running, wait_for};
use rig::{NIC, Plug, Rig, frame, has, reaches, shown, v4, v6};
use rigswitch::config::Config;
use rigswitch::lab;
use rigswitch::switch::{ByHand, Switch};
use rigswitch::views::DropView;
use rigswitch_dataplane::ports::Now;

/// A station outside on a veth, and two containers that each have an ipvlan of the switch's end of it.
fn rig(test: &str) -> Option<Rig> {
    has(test, "ip").then(|| Rig::new(test, &[Plug::Veth, Plug::Tap, Plug::Tap], 1500))?
}

fn start(rig: &Rig, kind: &str, flag: &str) -> Running {
    let center = rig.center.name();
    let mut text = format!("[[port]]\nname = \"p0\"\n{kind} = \"p0\"\nnetns = \"{center}\"\n");
    for n in [1, 2] {
        let (netns, v4, v6) = (rig.hosts[n].name(), v4(n), v6(n));
        text += &format!("[[ipvlan]]\nname = \"iv{n}\"\nlink = \"p0\"\nmode = \"l2\"\nflag = \"{flag}\"\n");
        text += &format!("host = {{ addresses = [\"{v4}/24\", \"{v6}/64\"], netns = \"{netns}\" }}\n");
    }
    rig.hosts[0].add_address(NIC, v4(0), 24).unwrap();
    rig.hosts[0].add_address(NIC, v6(0), 64).unwrap();
    let running = rig.folder.start(&format!("[switch]\nmac_table = 1024\n{text}"));
    for n in [1, 2] {
        rig.hosts[n].set_up(&format!("iv{n}")).unwrap();
    }
    running
}

#[test]
fn containers_reach_each_other_and_the_outside_by_their_addresses() {
    const BYTES: u64 = 4 << 20;
    for kind in ["xdp", "packet"] {
        let Some(rig) = rig("ipvlan-reach") else { return };
        let _switch = start(&rig, kind, "bridge");
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            reaches(&rig, from, to);
        }
        for (near, far) in [(0, 1), (2, 0), (1, 2)] {
            for address in [v4(far), v6(far)] {
                lab::tcp_transfer(&rig.hosts[near], &rig.hosts[far], (address, 0).into(), BYTES).unwrap();
            }
        }
        let (parent, child) = (shown(&rig, "p0"), shown(&rig, "iv1"));
        assert_eq!((child.kind.as_str(), child.link.as_deref()), ("ipvlan", Some("p0")));
        assert_eq!((&child.address, child.mtu), (&parent.address, parent.mtu), "they share it");
        assert!(child.rx.bytes > BYTES && child.tx.bytes > BYTES, "{child:?}");
        rig.settled();
    }
}

#[test]
fn private_ones_reach_the_outside_and_not_each_other() {
    let Some(rig) = rig("ipvlan-private") else { return };
    let _switch = start(&rig, "packet", "private");
    for (from, to) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
        reaches(&rig, from, to);
    }
    // One asks for the other, who hears it and answers; and the answer is not let through.
    wait_for("an answer to be dropped", || {
        let ping = lab::ping(&rig.hosts[1], v4(2), 1, 0, Duration::from_millis(200)).unwrap();
        assert_eq!(ping.lost(), 1);
        rig.folder.ask("show drops").contains("ipvlan_private").then_some(())
    });
    rig.settled();
}

#[test]
fn an_address_comes_and_goes_while_the_rest_forwards() {
    let Some(rig) = rig("ipvlan-address") else { return };
    let _switch = start(&rig, "packet", "bridge");
    reaches(&rig, 0, 1);
    let (second, device) = (v4(76), "iv1");
    rig.hosts[1].add_address(device, second, 32).unwrap();
    let answers = |timeout| lab::ping(&rig.hosts[0], second, 1, 0, timeout).unwrap().lost() == 0;
    wait_for("a frame that nobody is known for", || {
        assert!(!answers(Duration::from_millis(200)), "the switch does not know of it");
        rig.folder.ask("show drops").contains("no_ipvlan").then_some(())
    });
    rig.folder.ask(&format!("address add {second}/24 dev {device}"));
    wait_for("the address to answer", || answers(PATIENCE).then_some(()));
    let entry = format!("[[address]]\ndevice = \"iv1\"\naddress = \"{second}/24\"\n");
    assert!(rig.folder.ask("show config").contains(&entry));
    let twice = rig.folder.say(&format!("address add {second}/32 dev iv2"));
    assert!(twice.code == Some(1) && twice.err.contains("both are ipvlans of `p0`"), "{twice:?}");
    assert_eq!(rig.folder.ask("plan rig.toml"), format!("- address iv1 {second}/24\n"));
    rig.folder.ask(&format!("address del {second}/24 dev iv1"));
    assert_eq!(rig.folder.ask("plan rig.toml"), "no changes\n");
    rig.folder.ask("ipvlan del iv2");
    assert_eq!(rig.folder.ask("plan rig.toml").split(':').next(), Some("+ ipvlan iv2"));
    rig.folder.ask("apply rig.toml");
    rig.hosts[2].set_up("iv2").unwrap();
    reaches(&rig, 0, 1);
    reaches(&rig, 1, 2);
    rig.settled();
}

#[test]
fn what_is_explained_names_the_address_the_child_and_the_line() {
    let folder = Folder::new("ipvlan-why");
    folder.write("rig.toml", STACKED);
    let explained = |frame: &str| folder.ask(&format!("explain -c rig.toml --port {frame}"));
    let to_one = "  in       p0, on which sub-interfaces of VLANs stand, and nothing else  [rig.toml:3]\n  \
                  untag    802.1Q vlan 10, p 0 off\n  \
                  in       v10, the parent of ipvlans  [rig.toml:15]\n  \
                  look up  10.66.0.1 is iv1's  [rig.toml:38]\n  \
                  in       iv1, cross-connected with p1  [rig.toml:28]\n  \
                  out      p1, 56 bytes\n\
                  leaves by p1\n";
    let out = explained("p0 eth dst=02:00:00:00:aa:00 / vlan id=10 / ipv4 dst=10.66.0.1 / udp dport=53");
    assert!(out.ends_with(to_one), "{out}");
    let out = explained("p0 eth dst=02:00:00:00:aa:00 / vlan id=10 / ipv4 dst=10.66.0.9 / udp dport=53");
    assert!(
        out.contains("look up  no ipvlan has 10.66.0.9\n") && out.contains("dropped: no_ipvlan"),
        "{out}"
    );
    let out =
        explained("p1 eth dst=02:00:00:00:00:01 src=02:00:00:00:00:01 / ipv4 dst=10.66.0.2 / udp dport=53");
    assert!(out.contains("down     iv1, 60 bytes\n") && out.contains("10.66.0.2 is iv2's"), "{out}");
}

/// Two ipvlans of a VLAN's sub-interface: one on a wire, one in a bridge.
const STACKED: &str = r#"
[[port]]
name = "p0"
memory = true
[[port]]
name = "p1"
memory = true
[[port]]
name = "p2"
memory = true
[[port]]
name = "p3"
memory = true
[[vlan]]
name = "v10"
link = "p0"
id = 10
address = "02:00:00:00:aa:00"
[[ipvlan]]
name = "iv1"
link = "v10"
mode = "l2"
[[ipvlan]]
name = "iv2"
link = "v10"
mode = "l2"
[[xconnect]]
a = "p1"
b = "iv1"
[[bridge]]
name = "br0"
[[bridge.port]]
device = "iv2"
[[bridge.port]]
device = "p2"
[[address]]
device = "iv1"
address = "10.66.0.1/24"
[[address]]
device = "iv2"
address = "10.66.0.2/24"
"#;

const SHARED: [u8; 6] = [2, 0, 0, 0, 0xaa, 0];
const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 1, 1];
const BROADCAST: [u8; 6] = [0xff; 6];
const EXPERIMENT: u16 = 0x88b5;
const PAUSE: u16 = 0x8808;

/// An IPv4 packet for 10.66.0.`to`.
fn packet([destination, source]: [[u8; 6]; 2], to: u8) -> Vec<u8> {
    let header = [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 66, 0, 50, 10, 66, 0, to];
    [&destination[..], &source, &[8, 0], &header, &[7; 26]].concat()
}

fn in_vlan_10(frame: &[u8]) -> Vec<u8> {
    rig::tagged(frame, [0x81, 0, 0, 10])
}

/// Frames by their ports, from or to.
type Frames = Vec<(usize, Vec<u8>)>;

/// What leaves by which port for each of these frames, and the drops of it: device, direction and reason.
fn play(config: &str, frames: &Frames) -> Vec<(Frames, Vec<String>)> {
    let config = Config::parse(config, "rig.toml").unwrap();
    let count = config.ports.len();
    let drive = |hand: &mut ByHand<'_>| {
        let ends: Vec<_> = (0..count).map(|n| hand.switch().memory_end(&format!("p{n}")).unwrap()).collect();
        let mut before = hand.switch().drops().drops;
        let mut answer = |(from, frame): &(usize, Vec<u8>)| {
            ends[*from].send(frame.clone()).unwrap();
            while hand.step() > 0 {}
            let of = |n: usize| std::iter::from_fn(move || Some(n));
            let out = ends.iter().enumerate().flat_map(|(n, end)| {
                std::iter::from_fn(|| end.receive()).zip(of(n)).map(|(wire, n)| (n, wire.bytes))
            });
            let out = out.collect();
            let now = hand.switch().drops();
            assert!(now.ledger.balanced, "{:?}", now.ledger);
            let old = std::mem::replace(&mut before, now.drops);
            let is_news = |drop: &&DropView| !old.contains(drop);
            let told = |drop: &DropView| format!("{} {} {}", drop.device, drop.direction, drop.reason);
            (out, before.iter().filter(is_news).map(told).collect())
        };
        frames.iter().map(&mut answer).collect()
    };
    Switch::by_hand(config, Now { unix_ns: 0 }, drive).unwrap()
}

/// Each frame comes in by a port, and leaves by these, or is dropped for this reason.
fn check(config: &str, rules: &[(usize, Vec<u8>, Frames, &[&str])]) {
    let frames = rules.iter().map(|(from, frame, ..)| (*from, frame.clone())).collect();
    for (answer, (from, frame, out, drops)) in play(config, &frames).iter().zip(rules) {
        let drops: Vec<_> = drops.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(answer, &(out.clone(), drops), "{frame:02x?} from p{from}");
    }
}

#[test]
fn they_stand_on_sub_interfaces_and_are_ports_of_bridges() {
    let [to_1, to_2] = [1, 2].map(|n| packet([SHARED, OUTSIDE], n));
    let all = frame(BROADCAST, OUTSIDE, EXPERIMENT, 60, 1);
    let out = packet([OUTSIDE, SHARED], 50);
    let from_2 = packet([OUTSIDE, [2, 0, 0, 0, 2, 2]], 50);
    check(
        STACKED,
        &[
            (0, in_vlan_10(&to_1), vec![(1, to_1.clone())], &[]),
            // The bridge's port has that address, which makes it the bridge's, as in the kernel.
            (0, in_vlan_10(&to_2), vec![], &["iv2 rx no_host"]),
            (0, in_vlan_10(&all), vec![(1, all.clone()), (2, all.clone())], &[]),
            (0, to_1, vec![], &["p0 rx unused"]),
            (1, out.clone(), vec![(0, in_vlan_10(&out))], &[]),
            (2, from_2.clone(), vec![(0, in_vlan_10(&from_2))], &[]),
        ],
    );
}

#[test]
fn what_is_for_none_of_them_ends_with_a_name() {
    let [lldp, pause] = [0x88cc, PAUSE].map(|kind| frame([1, 0x80, 0xc2, 0, 0, 1], OUTSIDE, kind, 60, 1));
    let [to_9, aside_9] = [OUTSIDE, SHARED].map(|source| packet([SHARED, source], 9));
    let to_all = |source, from| {
        let mut packet = packet([BROADCAST, source], 255);
        packet[29] = from;
        packet
    };
    let experiment = frame(SHARED, OUTSIDE, EXPERIMENT, 60, 1);
    let cut = to_9[..33].to_vec();
    let [own, others] = [1, 50].map(|from| to_all(SHARED, from));
    check(
        STACKED,
        &[
            (0, in_vlan_10(&to_9), vec![], &["v10 rx no_ipvlan"]),
            (0, in_vlan_10(&experiment), vec![], &["v10 rx no_ipvlan"]),
            (0, in_vlan_10(&cut), vec![], &["v10 rx ipvlan_malformed"]),
            (0, in_vlan_10(&lldp), vec![(1, lldp.clone())], &["iv2 rx reserved_address"]),
            (0, in_vlan_10(&pause), vec![], &["v10 rx no_ipvlan"]),
            (1, pause, vec![], &["iv1 tx no_ipvlan"]),
            // It was theirs, and comes back; with their address, and not theirs.
            (0, in_vlan_10(&own), vec![], &["v10 rx no_ipvlan"]),
            (0, in_vlan_10(&others), vec![(1, others.clone()), (2, others)], &[]),
            // For their own address and for none of them: that of the device below, which has no use for it.
            (1, aside_9, vec![], &["v10 rx no_ipvlan"]),
        ],
    );
}

#[test]
fn private_ones_and_frames_that_are_too_long_end_with_a_name() {
    let aside = packet([SHARED, SHARED], 2);
    let long = frame(OUTSIDE, SHARED, EXPERIMENT, 1400, 1);
    let config = STACKED.replace("mode = \"l2\"", "mode = \"l2\"\nflag = \"private\"\nmtu = 1300");
    check(
        &config,
        &[(1, aside, vec![], &["iv1 tx ipvlan_private"]), (1, long, vec![], &["iv1 tx mtu_exceeded"])],
    );
}
