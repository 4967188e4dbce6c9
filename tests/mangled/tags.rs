//! Mangled stacks of tags into a bridge that filters by VLAN, on real devices: what becomes of every frame is what one page
//! of rules says, and every frame that goes no further is dropped for the reason that they name.

use std::collections::{BTreeMap, VecDeque};

use crate::rig::{Plug, Random, Rig, frame, has, tagged};

const SEED: u64 = 0x7a65_1057;
/// Frames that go in before it is waited for what comes out, and how often each host does that.
const BATCH: usize = 32;
const BATCHES: usize = 30;
const PORTS: usize = 3;

/// What a port is in: VLANs, and whether each leaves untagged; the PVID, zero for none; whether whatever comes is payload.
struct Port {
    members: &'static [(u16, bool)],
    pvid: u16,
    tunnel: bool,
    words: &'static str,
}

const TRUNK: Port = Port {
    members: &[(1, true), (10, false), (20, false)],
    pvid: 1,
    tunnel: false,
    words: "vlan = { pvid = 1, untagged = [1], tagged = [10, 20] }",
};
const TAGGED_ONLY: Port = Port {
    members: &[(1, false), (10, false), (20, true), (30, false)],
    pvid: 0,
    tunnel: false,
    words: "vlan = { untagged = [20], tagged = [1, 10, 30] }",
};
const ACCESS: Port = Port { members: &[(10, true)], pvid: 10, tunnel: false, words: "access = 10" };
const TUNNEL: Port = Port { members: &[(10, true)], pvid: 10, tunnel: true, words: "tunnel = 10" };

#[test]
fn mangled_stacks_of_tags_end_by_the_rules_and_by_name() {
    const NAME: &str = "mangled-tags";
    for (protocol, word, middle) in [([0x81, 0], "802.1Q", ACCESS), ([0x88, 0xa8], "802.1ad", TUNNEL)] {
        if !has(NAME, "ip") {
            return;
        }
        let plugs = [Plug::Veth, Plug::Tap, Plug::Veth];
        let Some(rig) = Rig::new(NAME, &plugs, 1500).map(Rig::quiet) else { return };
        let ports = [TRUNK, middle, TAGGED_ONLY];
        let mut bridge = format!(
            "[[bridge]]\nname = \"br0\"\nvlan_filtering = true\nmcast_snooping = false\nvlan_protocol = \"{word}\"\n"
        );
        for (n, port) in ports.iter().enumerate() {
            bridge += &format!("[[bridge.port]]\ndevice = \"p{n}\"\n{}\n", port.words);
        }
        let _switch = rig.start("1", &bridge);
        run(&rig, &ports, protocol);
    }
}

fn run(rig: &Rig, ports: &[Port; PORTS], protocol: [u8; 2]) {
    let wires: [_; PORTS] = std::array::from_fn(|n| rig.wire(n));
    let mut random = Random(SEED);
    let mut seen = BTreeMap::<&str, u64>::new();
    for from in 0..PORTS {
        let (mut sent, mut dropped) = (0, BTreeMap::<String, u64>::new());
        for batch in 0..BATCHES {
            let mut expected: [VecDeque<Vec<u8>>; PORTS] = Default::default();
            let frames: Vec<_> = (0..BATCH).map(|_| mangled(&mut random)).collect();
            for frame in frames.into_iter().filter(|frame| wires[from].try_send(frame)) {
                sent += 1;
                match judge(ports, protocol, from, &frame) {
                    Ok(copies) => copies.into_iter().for_each(|(to, copy)| expected[to].push_back(copy)),
                    Err(reason) => {
                        *dropped.entry(format!("rx.{reason}")).or_default() += 1;
                        *seen.entry(reason).or_default() += 1;
                    }
                }
            }
            let marker = marker(ports, protocol, from);
            wires[from].send(&marker[from]);
            for to in (0..PORTS).filter(|&to| to != from) {
                let out = wires[to].receive_until(&marker[to]);
                // A host's kernel shows nobody a tag that is cut off (`skb_vlan_untag`).
                expected[to].retain(|frame| !is_cut_off(frame));
                let differs =
                    (0..out.len().max(expected[to].len())).find(|&n| out.get(n) != expected[to].get(n));
                if let Some(n) = differs {
                    panic!(
                        "seed {SEED:#x}, batch {batch} from h{from} to h{to}, frame {n}: {:02x?} came out, and not {:02x?}",
                        out.get(n),
                        expected[to].get(n)
                    );
                }
            }
        }
        assert!(sent > BATCHES * BATCH * 9 / 10, "a host's kernel took only {sent}");
        let view = rig.settled();
        assert_eq!(view.lost.iter().map(|lost| lost.packets).sum::<u64>(), 0, "{:?}", view.lost);
        let port = rig.port(from);
        assert_eq!(port.rx.packets, (sent + BATCHES) as u64, "{port:?}");
        let counted: BTreeMap<_, _> = port.drops.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, dropped, "p{from}");
    }
    let reasons = ["source_group", "source_zero", "vlan_malformed", "vlan_no_pvid", "vlan_not_member"];
    let reasons = reasons.into_iter().chain(["vlan_reserved", "no_egress"]);
    reasons.for_each(|reason| assert!(seen.get(reason) > Some(&10), "{reason}: {seen:?}"));
}

/// The last frame of a batch from a host, as it is on the wire of every one: in VLAN 10, which all ports are in.
fn marker(ports: &[Port; PORTS], protocol: [u8; 2], from: usize) -> [Vec<u8>; PORTS] {
    let plain = frame([0xff; 6], [2, 0xfe, 0, 0, 0, 1], 0x88b5, 60, 0);
    let tag = [protocol[0], protocol[1], 0, 10];
    let sent = if ports[from].pvid == 10 { plain.clone() } else { tagged(&plain, tag) };
    let mut all = [sent.clone(), sent.clone(), sent.clone()];
    for (to, copy) in judge(ports, protocol, from, &sent).unwrap() {
        all[to] = copy;
    }
    all
}

/// The rules: the copies of a frame, by port, or why there are none.
fn judge(
    ports: &[Port; PORTS],
    protocol: [u8; 2],
    from: usize,
    frame: &[u8],
) -> Result<Vec<(usize, Vec<u8>)>, &'static str> {
    let port = &ports[from];
    if frame[6] & 1 == 1 {
        return Err("source_group");
    }
    if frame[6..12] == [0; 6] {
        return Err("source_zero");
    }
    if is_cut_off(frame) {
        return Err("vlan_malformed");
    }
    let is_tagged = frame[12..14] == protocol && !port.tunnel;
    let (tci, inner) = if is_tagged {
        (u16::from_be_bytes([frame[14], frame[15]]), [&frame[..12], &frame[16..]].concat())
    } else {
        (0, frame.to_vec())
    };
    let tci = if tci & 0xfff == 0 { tci | port.pvid } else { tci };
    let untags = |port: &Port| port.members.iter().find(|(vid, _)| *vid == tci & 0xfff).map(|(_, it)| *it);
    match tci & 0xfff {
        0 => return Err("vlan_no_pvid"),
        4095 => return Err("vlan_reserved"),
        _ if untags(port).is_none() => return Err("vlan_not_member"),
        _ => {}
    }
    let tag = [protocol, tci.to_be_bytes()].concat();
    let leaves = |to: usize| match untags(&ports[to])? {
        true => Some((to, inner.clone())),
        false => Some((to, [&inner[..12], &tag, &inner[12..]].concat())),
    };
    let copies: Vec<_> = (0..PORTS).filter(|&to| to != from).filter_map(leaves).collect();
    if copies.is_empty() { Err("no_egress") } else { Ok(copies) }
}

/// Whether it says that a tag follows, and there is not the whole of one, or no EtherType behind it.
fn is_cut_off(frame: &[u8]) -> bool {
    [[0x81, 0], [0x88, 0xa8]].iter().any(|tag| frame[12..14] == *tag) && frame.len() < 20
}

/// A frame with a stack of tags that is right, or not: reserved, of priority alone, of other kinds, too deep, with nothing
/// behind it, or cut off anywhere.
fn mangled(random: &mut Random) -> Vec<u8> {
    let station = |n: usize| [2, 0, 0, 0, 9, u8::try_from(n).unwrap()];
    let to = *random.pick(&[[0xff; 6], [1, 0, 0x5e, 0, 0, 9], station(200)]);
    let usual = station(random.below(40));
    let from = if random.below(16) > 0 { usual } else { *random.pick(&[[3, 0, 0, 0, 0, 1], [0; 6]]) };
    let ether_type = *random.pick(&[0x88b5, 0x88b5, 0x8808, 0x0040, 0x9100, 0xffff]);
    let mut frame = frame(to, from, ether_type, 14 + random.below(80), random.next());
    let depth = *random.pick(&[0, 1, 1, 1, 1, 2, 2, 3, 4, 5, 9, 64, 300]);
    for _ in 0..depth {
        let kind = *random.pick(&[[0x81, 0], [0x81, 0], [0x88, 0xa8], [0x88, 0xa8], [0x91, 0]]);
        let vid = *random.pick(&[0u16, 0, 1, 10, 10, 10, 20, 30, 31, 4094, 4095]);
        let priority = u16::try_from(random.below(16)).unwrap() << 12;
        let [high, low] = (priority | vid).to_be_bytes();
        frame = tagged(&frame, [kind[0], kind[1], high, low]);
    }
    match random.below(5) {
        // Behind the last tag, or within the first.
        0 => frame.truncate(14 + 4 * depth),
        1 => frame.truncate(14 + random.below(8)),
        _ => {}
    }
    frame
}
