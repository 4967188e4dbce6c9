//! What bridges answer for neighbours, and whom they spare the question.

use super::rig::{Random, frame};
use super::{BROADCAST, HOST, HOSTS, Knobs, Side, Step, compare, host, sides, station, text, usual};

const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IPV6: u16 = 0x86dd;

/// Neighbours of the bridge: `b` is behind the port that is spared, `c` behind another, and nobody knows where `d` is.
const B: u8 = 2;
const C: u8 = 3;
const D: u8 = 4;

fn v4(host: u8) -> [u8; 4] {
    [10, 0, 0, host]
}

fn v6(host: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[0], address[1], address[15]) = (0xfd, 0x66, host);
    address
}

fn solicited_node(host: u8) -> [u8; 6] {
    [0x33, 0x33, 0xff, 0, 0, host]
}

fn mac(host: u8) -> [u8; 6] {
    station(30, host)
}

/// An ARP message from station 1.
fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&head[..], &mac(1), &sender, &[0; 6], &target].concat()
}

fn packet(to: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&frame(to, mac(1), ethertype, 14, 0)[..], payload].concat()
}

fn asks(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Step {
    Step::Send(0, packet(BROADCAST, ARP, &arp(operation, sender, target)))
}

/// A neighbour discovery message, from `source` about `target`, with these options.
fn discovery(kind: u8, flags: u8, source: [u8; 16], target: u8, options: &[u8]) -> Vec<u8> {
    let message = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &v6(target), options].concat();
    let length = u8::try_from(message.len()).unwrap();
    let header = [0x6c, 0x12, 0x34, 0x56, 0, length, 58, 255];
    let mut group = [0; 16];
    (group[0], group[1], group[11], group[12], group[15]) = (0xff, 2, 1, 0xff, target);
    [&header[..], &source, &group, &message].concat()
}

fn solicits(target: u8, options: &[u8]) -> Step {
    Step::Send(0, packet(solicited_node(target), IPV6, &discovery(135, 0, v6(1), target, options)))
}

/// What makes the bridges know their neighbours.
fn told() -> Vec<Step> {
    let known = |host| {
        [v4(host).map(|octet| octet.to_string()).join("."), format!("fd66::{host}")]
            .map(|address| Step::Neighbor(format!("replace {address} lladdr {} dev br0", text(mac(host)))))
    };
    let mut steps: Vec<_> = [B, C, D].into_iter().flat_map(known).collect();
    steps.extend([usual(1, BROADCAST, mac(B)), usual(2, BROADCAST, mac(C))]);
    steps
}

/// Does the steps to both, and checks how many frames came out.
fn check(sides: &[Side; 2], name: &str, steps: &[Step], expected: usize) {
    assert_eq!(compare(sides, name, steps), expected, "{name}: frames out");
}

#[test]
fn neighbors_are_answered_for_as_by_the_kernels_bridge() {
    let spared = Knobs { ports: ["", "neigh_suppress on", ""], ..Knobs::default() };
    let Some(mut sides) = sides("kernel-neighbors", spared) else { return };
    check(&sides, "nobody is known", &[asks(1, v4(1), v4(B)), solicits(B, &[])], 4);
    check(&sides, "neighbours", &told(), 4);
    check(&sides, "who is asked for", &questions(), 4 * 2 + 2 + 2 * 2 + 2 * 2);
    check(&sides, "what is no question", &statements(), 6 + 7 * 2);
    check(&sides, "neighbour discovery", &discoveries(), 4 * 2 + 1 + 5);
    check(&sides, "what changes", &changes(), 2 + 2 + 2 + 2 + 2 + 1);
    sides[0].rig.settled();

    let apart = ["isolated on", "isolated on neigh_suppress on", "neigh_suppress on"];
    sides.iter_mut().for_each(|side| side.bridge(Knobs { ports: apart, ..Knobs::default() }));
    check(&sides, "neighbours", &told(), 3);
    check(
        &sides,
        "nobody is left to flood to",
        &[asks(1, v4(1), v4(B)), solicits(B, &[]), asks(1, v4(1), v4(1))],
        2,
    );
    sides[0].rig.settled();
}

/// The host that the bridges run on says the same, by its own address: what it is answered goes up to it.
fn from_host(steps: Vec<Step>) -> Vec<Step> {
    let of_host = |step| match step {
        Step::Send(_, mut frame) => {
            for other in [mac(1), mac(9)] {
                while let Some(at) = frame.windows(6).position(|window| window == other) {
                    frame[at..at + 6].copy_from_slice(&host::of_port(0));
                }
            }
            Step::Send(HOST, frame)
        }
        step => step,
    };
    steps.into_iter().map(of_host).collect()
}

/// Does the steps to both, and answers how many frames came out and went up to the host, which were the same. But the answers of
/// ARP the kernel's bridge sends as if its host had: they leave by the port whose address the host has.
fn compare_answers(sides: &[Side; 2], what: &str, steps: Vec<Step>) -> [usize; 2] {
    let mut count = [0; 2];
    for (number, step) in from_host(steps).iter().enumerate() {
        let [ours, mut kernels] = [0, 1].map(|side| sides[side].step(step));
        let is_astray =
            |frame: &Vec<u8>| frame.starts_with(&host::of_port(0)) && frame[12..14] == ARP.to_be_bytes();
        let (astray, out): (Vec<_>, _) = kernels[0].drain(..).partition(is_astray);
        kernels[0] = out;
        kernels[HOST].extend(astray);
        assert!(ours == kernels, "{what}, step {number}: {step:02x?}\n{ours:02x?}\n{kernels:02x?}");
        count[0] += ours[..HOSTS].iter().map(Vec::len).sum::<usize>();
        count[1] += ours[HOST].len();
    }
    count
}

#[test]
fn the_host_is_answered_what_the_kernels_bridge_answers() {
    let spared = Knobs { ports: ["", "neigh_suppress on", ""], ..Knobs::default() };
    let Some(mut sides) = sides("kernel-asking", spared) else { return };
    check(&sides, "neighbours", &told(), 4);
    let compared = |what: &str, steps| compare_answers(&sides, what, steps);
    // Of whom nobody knows, or knows where, all are asked.
    assert_eq!(compared("who is asked for", questions()), [6 * 2 + 4 * 3, 4]);
    assert_eq!(compared("what is no question", statements())[1], 2);
    assert_eq!(compared("neighbour discovery", discoveries())[1], 0);
    let mut random = Random(0x5eed_0003);
    let steps: Vec<_> = (0..500).map(|_| random_question(&mut random)).collect();
    let up = compared("random", steps)[1];
    assert!(up > 2, "{up} answers"); // most are about others, or no questions
    assert_eq!(compared("what changes", changes())[1], 3);
    sides[0].rig.settled();

    let ports = ["neigh_suppress on"; HOSTS];
    sides.iter_mut().for_each(|side| side.bridge(Knobs { ports, ..Knobs::default() }));
    check(&sides, "neighbours", &told(), 4);
    let steps = vec![asks(1, v4(1), v4(B)), solicits(B, &[]), asks(1, v4(1), v4(1))];
    assert_eq!(compare_answers(&sides, "nobody is left to flood to", steps), [0, 2]);
    sides[0].rig.settled();
}

/// For each neighbour, and for one that nobody told of.
fn questions() -> Vec<Step> {
    let link_address = [&[1, 1][..], &mac(9)].concat();
    let nonce_first = [&[14, 1, 0, 0, 0, 0, 0, 0][..], &link_address].concat();
    let mut padded = packet(BROADCAST, ARP, &arp(1, v4(1), v4(B)));
    padded.resize(60, 0);
    vec![
        asks(1, v4(1), v4(B)),
        Step::Send(0, padded),
        solicits(B, &link_address),
        solicits(B, &nonce_first),
        asks(1, v4(1), v4(C)),
        solicits(C, &[]),
        asks(1, v4(1), v4(D)),
        solicits(D, &[]),
        asks(1, v4(1), v4(9)),
        solicits(9, &[]),
    ]
}

/// ARP that asks nothing, asks of one, or is not what it should be.
fn statements() -> Vec<Step> {
    let to = |to, ethertype, payload: &[u8]| Step::Send(0, packet(to, ethertype, payload));
    let request = arp(1, v4(1), v4(B));
    let mut of_infiniband = request.clone();
    of_infiniband[4] = 20;
    vec![
        asks(1, v4(1), v4(1)), // of itself
        asks(2, v4(1), v4(1)),
        asks(1, [0; 4], v4(B)), // whether the address is taken
        asks(1, [0, 1, 2, 3], v4(B)),
        to(mac(8), ARP, &arp(2, v4(1), v4(1))),
        to(mac(B), ARP, &request), // whether who is known is still there
        to(mac(B), ARP, &arp(2, v4(1), v4(1))),
        to(BROADCAST, RARP, &request),
        to(mac(8), ARP, &request),
        asks(2, v4(1), v4(B)),
        to(BROADCAST, RARP, &arp(3, v4(1), v4(1))),
        asks(1, v4(1), [127, 0, 0, 1]),
        to(BROADCAST, ARP, &of_infiniband),
    ]
}

/// Neighbour discovery likewise.
fn discoveries() -> Vec<Step> {
    let to = |to, payload: &[u8]| Step::Send(0, packet(to, IPV6, payload));
    let group = solicited_node(B);
    let question = discovery(135, 0, v6(1), B, &[]);
    let mut extended = question.clone();
    extended[6] = 0;
    vec![
        to(mac(8), &question),                           // asks of one who is not known
        to(group, &discovery(136, 0x60, v6(1), B, &[])), // answers
        to(group, &discovery(134, 0, v6(1), B, &[])),    // another message
        to(group, &extended),                            // in an extension header
        to(mac(B), &question),                           // asks of one who is known
        to(group, &discovery(136, 0x20, v6(1), 1, &[])), // tells of itself
        to(group, &discovery(135, 0, [0; 16], B, &[])),  // whether the address is taken
        to(group, &discovery(135, 0, v6(1), B, &[14, 0, 0, 0, 0, 0, 0, 0])), // options without end
        Step::Send(1, packet(group, IPV6, &discovery(135, 0, v6(1), C, &[]))[..].to_vec()),
    ]
}

/// Entries that come and go, of neighbours and of stations.
fn changes() -> Vec<Step> {
    let ask = || asks(1, v4(1), v4(B));
    vec![
        Step::Fdb(format!("replace {} dev p1 master permanent", text(mac(B)))),
        ask(),
        Step::Neighbor("del 10.0.0.2 dev br0".into()),
        ask(),
        Step::Neighbor(format!("add 10.0.0.2 lladdr {} dev br0", text(mac(D)))),
        ask(),
        Step::Fdb(format!("replace {} dev p1 master static", text(mac(D)))),
        ask(),
        Step::Neighbor(format!("replace 10.0.0.2 lladdr {} dev br0", text(mac(B)))),
        ask(),
        Step::Fdb(format!("replace {} dev p2 master static", text(mac(B)))),
        ask(),
    ]
}

#[test]
fn random_questions_come_out_as_from_the_kernels_bridge() {
    const SEED: u64 = 0x5eed_0002;
    let ports = ["", "neigh_suppress on", "hairpin on"];
    let Some(sides) = sides("kernel-questions", Knobs { ports, ..Knobs::default() }) else { return };
    let mut random = Random(SEED);
    compare(&sides, "neighbours", &told());
    let steps: Vec<_> = (0..400).map(|_| random_question(&mut random)).collect();
    let out = compare(&sides, &format!("seed {SEED:#x}"), &steps);
    assert!(out > 400, "{out} frames came out");
    sides[0].rig.settled();
}

fn random_question(random: &mut Random) -> Step {
    let hosts = [1, B, C, D, 9];
    let from = random.below(HOSTS);
    let (host, other) = (*random.pick(&hosts), *random.pick(&hosts));
    let to = *random.pick(&[BROADCAST, solicited_node(host), mac(B), mac(C), mac(8)]);
    let bytes = if random.below(2) == 0 {
        let sender = *random.pick(&[v4(other), [0; 4], [127, 0, 0, 1]]);
        let operation = u8::try_from(random.below(5)).unwrap();
        packet(to, *random.pick(&[ARP, RARP]), &arp(operation, sender, v4(host)))
    } else {
        let options =
            [&[][..], &[1, 1, 2, 3, 4, 5, 6, 7], &[14, 1, 0, 0, 0, 0, 0, 0], &[14, 0, 0, 0, 0, 0, 0, 0]];
        let options = *random.pick(&options);
        let source = *random.pick(&[v6(other), [0; 16]]);
        let (kind, flags) = (*random.pick(&[135, 135, 136, 133]), *random.pick(&[0, 0x40, 0x60, 0xa0]));
        packet(to, IPV6, &discovery(kind, flags, source, host, options))
    };
    Step::Send(from, bytes)
}
