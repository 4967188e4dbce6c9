//! What a Debian kernel answers is in `tests/oracle`; this is what it does not, and what is counted.

use std::collections::BTreeMap;

use rigswitch::config::Config;
use rigswitch::switch::{ByHand, Switch};
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::ports::Now;

use super::rig::{frame, tagged};

const BROADCAST: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [1, 0, 0x5e, 1, 2, 3];
const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 1, 1];
const EXPERIMENT: u16 = 0x88b5;

/// The address of child `n`, which is wired to port `n`.
fn child(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0xc, n]
}

/// Children of p0 with these keys besides their addresses, each wired to a port of its number.
fn wired(children: &[&str]) -> String {
    let mut text = String::from("[[port]]\nname = \"p0\"\nmemory = true\n");
    for (n, keys) in (1..).zip(children) {
        text += &format!("[[port]]\nname = \"p{n}\"\nmemory = true\n");
        text += &format!("[[macvlan]]\nname = \"mv{n}\"\nlink = \"p0\"\n{keys}\n");
        if !keys.contains("passthru") {
            text += &format!("mac = \"02:00:00:00:0c:{n:02x}\"\n");
        }
        text += &format!("[[xconnect]]\na = \"mv{n}\"\nb = \"p{n}\"\n");
    }
    text
}

/// A switch that is turned by hand, and its ports p0 to p3.
struct Played<'h, 'w> {
    hand: &'h mut ByHand<'w>,
}

const PORTS: usize = 4;

impl Played<'_, '_> {
    /// These frames come in at once by a port; what leaves, by its port, as the first bytes' destination and source.
    fn send(&mut self, from: usize, frames: &[Vec<u8>]) -> [Vec<Vec<u8>>; PORTS] {
        let mut end = |n: usize| self.hand.switch().memory_end(&format!("p{n}"));
        let ends: [_; PORTS] = std::array::from_fn(&mut end);
        for frame in frames {
            ends[from].as_ref().unwrap().send(frame.clone()).unwrap();
        }
        while self.hand.step() > 0 {}
        ends.map(|end| {
            let end = end.as_ref();
            std::iter::from_fn(|| end?.receive()).map(|wire| wire.bytes).collect()
        })
    }

    /// The ports that one frame leaves by.
    fn leaves_by(&mut self, from: usize, to: [u8; 6], source: [u8; 6]) -> Vec<usize> {
        let out = self.send(from, &[usual(to, source)]);
        (0..PORTS).filter(|&n| !out[n].is_empty()).collect()
    }

    /// What has been dropped so far, by device, direction and reason; and every frame is accounted for.
    fn drops(&mut self) -> BTreeMap<(String, String), u64> {
        assert!(self.hand.switch().drops().ledger.balanced);
        let ports = self.hand.switch().ports();
        let of = |port: &rigswitch::views::PortView| {
            let name = port.ifname.clone();
            port.drops.clone().into_iter().map(move |(reason, count)| ((name.clone(), reason), count))
        };
        ports.iter().flat_map(of).collect()
    }
}

fn usual(to: [u8; 6], source: [u8; 6]) -> Vec<u8> {
    frame(to, source, EXPERIMENT, 60, 0)
}

fn play(config: &str, act: impl FnOnce(&mut Played<'_, '_>)) {
    let config = Config::parse(&format!("switch = {{ mac_table = 1024 }}\n{config}"), "rig.toml");
    let config = config.unwrap_or_else(|refused| panic!("{refused}"));
    Switch::by_hand(config, Now { unix_ns: 0 }, |hand| act(&mut Played { hand })).unwrap();
}

fn drop_of(device: &str, reason: &str, count: u64) -> ((String, String), u64) {
    ((device.to_owned(), reason.to_owned()), count)
}

#[test]
fn private_is_private_also_where_a_switch_outside_reflects() {
    const PRIVATE: &str = "mode = \"private\"";
    play(&wired(&[PRIVATE, PRIVATE, "mode = \"bridge\""]), |rig| {
        let mut apart = 0;
        for from in 1..=3 {
            for to in 1..=3 {
                // What a child sends to another leaves, unless both are bridges; what comes back is let in by no other's private.
                assert_eq!(
                    rig.leaves_by(from.into(), child(to), child(from)),
                    [if from == 3 && to == 3 { 3 } else { 0 }]
                );
                let is_let_in = from == to;
                apart += u64::from(!is_let_in);
                let expected = if is_let_in { vec![usize::from(to)] } else { vec![] };
                assert_eq!(rig.leaves_by(0, child(to), child(from)), expected, "{from} to {to}, reflected");
            }
        }
        assert_eq!(rig.leaves_by(0, child(1), OUTSIDE), [1]);
        // A group of one of theirs that comes back is nobody else's.
        assert_eq!(rig.leaves_by(0, GROUP, child(1)), [1]);
        assert_eq!(rig.drops(), BTreeMap::from([drop_of("p0", "rx.macvlan_private", apart)]));
    });
    // The kernel's.
    let compat = format!("{PRIVATE}\ncompat = true");
    play(&wired(&[&compat, &compat, PRIVATE]), |rig| {
        assert_eq!(rig.leaves_by(0, child(1), child(2)), [1]);
        assert_eq!(rig.leaves_by(0, child(2), child(1)), [2]);
        assert_eq!(rig.leaves_by(0, child(3), child(1)), [0; 0], "one of the two is strict");
        assert_eq!(rig.leaves_by(0, child(1), child(3)), [0; 0], "one of the two is strict");
    });
}

#[test]
fn a_sender_with_the_address_of_a_private_sibling_reaches_nobody_by_it() {
    play(&wired(&["mode = \"bridge\"", "mode = \"bridge\"", "mode = \"private\""]), |rig| {
        assert_eq!(rig.leaves_by(1, child(2), child(1)), [2]);
        assert_eq!(rig.leaves_by(1, child(2), child(3)), [0; 0]);
        assert_eq!(rig.drops(), BTreeMap::from([drop_of("mv2", "tx.macvlan_private", 1)]));
    });
}

#[test]
fn what_is_for_no_child_is_dropped_by_name() {
    play(&wired(&["mode = \"bridge\"", "mode = \"source\""]), |rig| {
        assert_eq!(rig.leaves_by(0, OUTSIDE, OUTSIDE), [0; 0]);
        assert_eq!(rig.leaves_by(0, child(2), OUTSIDE), [0; 0], "it hears nobody");
        assert_eq!(rig.leaves_by(0, [0; 6], OUTSIDE), [0; 0]);
        // Back from outside to those of mode VEPA, of which there are none.
        assert_eq!(rig.leaves_by(0, GROUP, child(1)), [0; 0]);
        let pause = frame([1, 0x80, 0xc2, 0, 0, 1], OUTSIDE, 0x8808, 60, 0);
        assert_eq!(rig.send(0, &[pause]).concat().len(), 0, "PAUSE is the device's own");
        assert_eq!(rig.drops(), BTreeMap::from([drop_of("p0", "rx.no_macvlan", 5)]));
        rig.send(0, &[vec![0xff; 13]]);
        assert_eq!(rig.drops().get(&drop_of("p0", "rx.truncated", 0).0), Some(&1));
    });
}

#[test]
fn so_many_frames_of_a_burst_are_heard_as_the_queue_is_long() {
    let burst = vec![usual(BROADCAST, OUTSIDE); 5];
    for (queues, heard) in
        [(["", ""], 5), (["bcqueuelen = 0"; 2], 0), (["bcqueuelen = 0", "bcqueuelen = 2"], 2)]
    {
        play(&wired(&queues), |rig| {
            for round in 1..=2 {
                let out = rig.send(0, &burst);
                assert_eq!([1, 2].map(|n| out[n].len()), [heard; 2], "{queues:?}");
                let full = (5 - heard as u64) * round;
                let expected = if full > 0 { vec![drop_of("p0", "rx.broadcast_full", full)] } else { vec![] };
                assert_eq!(rig.drops(), BTreeMap::from_iter(expected));
            }
            assert_eq!(rig.leaves_by(0, child(1), OUTSIDE), [1], "to one station it is as ever");
        });
    }
    // Those that hear the source have it all the same.
    let source = "mode = \"source\"\nmacaddr = [\"02:00:00:00:01:01\"]\nbcqueuelen = 0";
    play(&wired(&[source, "bcqueuelen = 0"]), |rig| {
        assert_eq!(rig.leaves_by(0, BROADCAST, OUTSIDE), [1]);
        assert_eq!(rig.drops(), BTreeMap::from([drop_of("p0", "tx.broadcast_full", 1)]));
    });
}

#[test]
fn bclim_says_for_which_frames_the_queue_is() {
    // Two children: a group has as many hearers, and all's address is above every limit that there is.
    for (limit, broadcasts, groups) in
        [("", 0, 0), ("bclim = 2", 0, 4), ("bclim = 0", 0, 0), ("bclim = -1", 4, 4)]
    {
        play(&wired(&["bcqueuelen = 0", &format!("bcqueuelen = 0\n{limit}")]), |rig| {
            for (to, heard) in [(BROADCAST, broadcasts), (GROUP, groups)] {
                let out = rig.send(0, &vec![usual(to, OUTSIDE); 4]);
                assert_eq!([1, 2].map(|n| out[n].len()), [heard; 2], "{limit}, {to:02x?}");
            }
            let full = 8 - broadcasts as u64 - groups as u64;
            let expected = if full > 0 { vec![drop_of("p0", "rx.broadcast_full", full)] } else { vec![] };
            assert_eq!(rig.drops(), BTreeMap::from_iter(expected), "{limit}");
        });
    }
}

#[test]
fn nopromisc_lets_in_groups_and_what_has_the_childs_own_address() {
    for (word, others) in [("", [1].as_slice()), ("nopromisc = true", &[])] {
        play(&wired(&[&format!("mode = \"passthru\"\n{word}")]), |rig| {
            let ports = rig.hand.switch().ports();
            let child = ports.iter().find(|port| port.ifname == "mv1").unwrap();
            let own = child.address.parse::<MacAddr>().unwrap().octets();
            for to in [own, BROADCAST, GROUP] {
                assert_eq!(rig.leaves_by(0, to, OUTSIDE), [1], "{word} {to:02x?}");
            }
            assert_eq!(rig.leaves_by(0, self::child(1), OUTSIDE), others, "{word}");
            assert_eq!(rig.leaves_by(1, OUTSIDE, self::child(1)), [0], "what it sends is its own affair");
            let kept = 1 - others.len() as u64;
            let expected = if kept > 0 { vec![drop_of("p0", "rx.no_macvlan", kept)] } else { vec![] };
            assert_eq!(rig.drops(), BTreeMap::from_iter(expected));
        });
    }
}

#[test]
fn a_child_without_an_address_has_that_of_its_name() {
    let ports = "[[port]]\nname = \"p0\"\nmemory = true\n[[port]]\nname = \"p1\"\nmemory = true\n";
    let text =
        format!("{ports}[[macvlan]]\nname = \"mv1\"\nlink = \"p0\"\n[[xconnect]]\na = \"mv1\"\nb = \"p1\"\n");
    play(&text, |rig| {
        let mac = MacAddr::of_name("mv1");
        assert_eq!(rig.leaves_by(0, mac.octets(), OUTSIDE), [1]);
        let ports = rig.hand.switch().ports();
        let port = ports.iter().find(|port| port.ifname == "mv1").unwrap();
        assert_eq!(port.address, mac.to_string());
        let shown = (&*port.kind, port.link.as_deref(), port.mode.as_deref());
        assert_eq!(shown, ("macvlan", Some("p0"), Some("vepa")));
    });
}

#[test]
fn a_child_in_a_bridge_receives_groups_and_what_has_its_own_address() {
    let station = [2, 0, 0, 0, 2, 2];
    let text = "port = [{ name = \"p0\", memory = true }, { name = \"p1\", memory = true }]\n\
                macvlan = [{ name = \"mv0\", link = \"p0\", MODE }]\n\
                bridge = [{ name = \"br0\", port = [{ device = \"mv0\" }, { device = \"p1\" }] }]\n";
    play(&text.replace("MODE", "mode = \"bridge\", mac = \"02:00:00:00:0c:01\""), |rig| {
        assert_eq!(rig.leaves_by(1, OUTSIDE, station), [0]);
        assert_eq!(rig.leaves_by(0, BROADCAST, OUTSIDE), [1]);
        assert_eq!(rig.leaves_by(0, station, OUTSIDE), [0; 0], "the station behind it has another address");
        assert_eq!(
            rig.leaves_by(0, child(1), OUTSIDE),
            [0; 0],
            "its own address is the bridge's, which has no host"
        );
        let expected = [drop_of("mv0", "rx.no_host", 1), drop_of("p0", "rx.no_macvlan", 1)];
        assert_eq!(rig.drops(), BTreeMap::from(expected));
    });
    play(&text.replace("MODE", "mode = \"passthru\""), |rig| {
        assert_eq!(rig.leaves_by(1, OUTSIDE, station), [0]);
        assert_eq!(rig.leaves_by(0, station, OUTSIDE), [1], "it takes everything");
    });
}

#[test]
fn a_sub_interface_takes_its_tag_first_also_from_a_sibling() {
    let vlan = "[[vlan]]\nname = \"v10\"\nlink = \"p0\"\nid = 10\n[[port]]\nname = \"p3\"\nmemory = true\n\
                [[xconnect]]\na = \"v10\"\nb = \"p3\"\n";
    let text = wired(&["mode = \"bridge\"", "mode = \"bridge\""]) + vlan;
    let tag = |vid: u8| [0x81, 0, 0, vid];
    play(&text, |rig| {
        let to_child = || usual(child(2), child(1));
        for from in [0, 1] {
            for (vid, port) in [(10, 3), (11, 2)] {
                let tagged = vec![tagged(&to_child(), tag(vid))];
                let expected = if port == 3 { vec![to_child()] } else { tagged.clone() };
                assert_eq!(rig.send(from, &tagged)[port], expected, "from {from}, VLAN {vid}");
            }
            assert_eq!(rig.send(from, &[to_child()])[2], [to_child()], "from {from}");
        }
        assert_eq!(rig.drops(), BTreeMap::new());
    });
}

#[test]
fn a_sibling_is_heard_first_by_those_that_hear_the_source() {
    let source = "mode = \"source\"\nmacaddr = [\"02:00:00:00:0c:02\"]";
    let bridge = "mode = \"bridge\"";
    play(&wired(&[source, bridge, bridge]), |rig| {
        assert_eq!(rig.leaves_by(2, child(3), child(2)), [1, 3]);
        assert_eq!(rig.leaves_by(2, OUTSIDE, child(2)), [0]);
    });
    play(&wired(&[&format!("{source}\nnodst = true"), bridge, bridge]), |rig| {
        assert_eq!(rig.leaves_by(2, child(3), child(2)), [1]);
        assert_eq!(rig.leaves_by(3, child(2), child(3)), [2]);
        assert_eq!(rig.drops(), BTreeMap::new());
    });
}

#[test]
fn children_wired_to_each_other_do_not_keep_the_switch_busy_for_ever() {
    let mut text = String::from("port = [{ name = \"p0\", memory = true }]\n");
    for n in 0..20 {
        text += &format!("[[macvlan]]\nname = \"mv{n}\"\nlink = \"p0\"\nmode = \"bridge\"\n");
    }
    for n in (0..20).step_by(2) {
        text += &format!("[[xconnect]]\na = \"mv{n}\"\nb = \"mv{}\"\n", n + 1);
    }
    play(&text, |rig| {
        rig.send(0, &[usual(BROADCAST, OUTSIDE)]);
        let drops = rig.drops();
        let of = |reason: &str| drops.iter().filter(|((_, it), _)| it == reason).map(|(_, n)| n).sum::<u64>();
        assert!(of("rx.recursion") > 0 && of("rx.surface_full") > 0, "{drops:?}");
    });
}
