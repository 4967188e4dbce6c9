//! A plain bridge and its knobs: the tables of `tests/kernel`, on a kernel whose bridge filters by VLAN but is not asked to.

#[path = "../../kernel/cases.rs"]
mod cases;
#[path = "../../kernel/knobs.rs"]
mod knobs;

use super::{BROADCAST, EXPERIMENT, PORTS, Rig, Step, station, text};
use crate::rig::{Random, frame, tagged};

/// Ports of each bridge.
const HOSTS: usize = 3;
/// What goes in at port 0 may be longer than what fits the others.
const MTUS: [u16; PORTS] = [4000, 1500, 1500, 1500];

/// What is set on a bridge and on its ports, in ip-link(8)'s words.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Knobs {
    bridge: &'static str,
    ports: [&'static str; HOSTS],
}

/// Frames of a usual length.
fn usual(from: usize, destination: [u8; 6], source: [u8; 6]) -> Step {
    Step::Send(from, frame(destination, source, EXPERIMENT, 100, from as u64))
}

pub(super) fn rigs() -> Vec<Rig> {
    let mut plain: Vec<_> = cases::cases().into_iter().map(|(name, steps, _)| (name, steps)).collect();
    plain.push(("random frames", random()));
    let mut rigs = vec![rig("a plain bridge", Knobs::default(), plain)];
    for (name, knobs, steps, _) in knobs::cases() {
        // Debian's kernel is older than that.
        let is_newer =
            knobs.bridge.contains("fdb_max_learned") || knobs.ports.iter().any(|words| words.contains("mab"));
        if !is_newer {
            rigs.push(rig(name, knobs, vec![("knobs", steps)]));
        }
    }
    rigs
}

fn rig(name: &str, knobs: Knobs, cases: Vec<super::Case>) -> Rig {
    let mut kernel = String::from("ip link set p0 mtu 4000\n");
    // A snooping bridge announces itself; without a querier it floods groups as one that does not.
    kernel += format!("ip link add br0 type bridge mcast_snooping 0 {}", knobs.bridge).trim_end();
    kernel += "\nip link set br0 up\n";
    (0..HOSTS).for_each(|n| kernel += &format!("ip link set p{n} master br0\n"));
    for (n, words) in knobs.ports.iter().enumerate().filter(|(_, words)| !words.is_empty()) {
        kernel += &match words.strip_prefix("state ") {
            Some(state) => format!("bridge link set dev p{n} state {state}\n"),
            None => format!("ip link set p{n} type bridge_slave {words}\n"),
        };
    }
    let mut rig = Rig::new(name, kernel, ours(knobs), cases);
    rig.mtus = MTUS;
    rig
}

/// The same in our words.
fn ours(knobs: Knobs) -> String {
    let words = |text: &str| -> Vec<String> {
        let words: Vec<_> = text.split_whitespace().collect();
        words.chunks(2).map(|pair| format!("{} = {}", pair[0], value(pair[0], pair[1]))).collect()
    };
    let port = |(n, text): (usize, &&str)| {
        format!("[[bridge.port]]\ndevice = \"p{n}\"\n{}\n", words(text).join("\n"))
    };
    let ports: String = knobs.ports.iter().enumerate().map(port).collect();
    format!("[[bridge]]\nname = \"br0\"\nmcast_snooping = false\n{}\n{ports}", words(knobs.bridge).join("\n"))
}

fn value(key: &str, word: &str) -> String {
    const STATES: [&str; 5] = ["disabled", "listening", "learning", "forwarding", "blocking"];
    match (key, word) {
        ("state", number) => format!("\"{}\"", STATES[number.parse::<usize>().unwrap()]),
        ("ageing_time", centiseconds) => format!("\"{centiseconds}0ms\""),
        ("no_linklocal_learn", number) => (number == "1").to_string(),
        (_, "on") => "true".into(),
        (_, "off") => "false".into(),
        (_, number) => number.into(),
    }
}

fn random() -> Vec<Step> {
    let mut random = Random(0x5eed_0005);
    let stations: Vec<_> = (0..5).map(|n| station(106, n)).collect();
    let rare = [BROADCAST, [1, 0x80, 0xc2, 0, 0, 0], [1, 0, 0x5e, 0, 0, 7], station(106, 9), [0; 6]];
    let mut step = |number| {
        let [destination, source] = [4, 12].map(|one_in| {
            let is_rare = random.below(one_in) == 0;
            *random.pick(if is_rare { &rare[..] } else { &stations })
        });
        let length = *random.pick(&[14, 15, 60, 61, 100, 1500, 1514]);
        Step::Send(random.below(HOSTS), frame(destination, source, EXPERIMENT, length, number))
    };
    (0..300).map(&mut step).collect()
}
