//! The same frames through a VXLAN device of ours and through this kernel's: the same comes out, byte for byte but for what is a
//! matter of chance: the source port, whose range is looked at, the identification, and the checksums over the two.

use std::collections::BTreeMap;
use std::time::Instant;

use etherparse::{IpNumber, Ipv4Header};
use rigswitch_dataplane::wire::flow::SourcePorts;

use super::fragments::cut;
use super::packets::{NEAR, Outer, PLAIN};
use crate::command::{PATIENCE, Running};
use crate::rig::{NIC, Plug, Random, Rig, Wire, frame, has, run_in, tagged};

pub(super) const BROADCAST: [u8; 6] = [0xff; 6];
pub(super) const GROUP: [u8; 6] = [1, 0, 0x5e, 1, 2, 3];
pub(super) const UNKNOWN: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// A station behind host 0, or behind a far end.
pub(super) fn station(place: u8, n: u8) -> [u8; 6] {
    [2, 0, 0, 0, place, n]
}

/// What has come out so far, inside and outside.
pub(super) type Outputs = [BTreeMap<Vec<u8>, usize>; 2];

/// What is said of both.
#[derive(Clone, Copy, Default)]
pub(super) struct Setup<'s> {
    /// More words of `ip link add`, and the same as keys.
    pub(super) words: &'s str,
    pub(super) keys: &'s str,
    /// More commands, and the same as tables.
    pub(super) lines: &'s [&'s str],
    pub(super) tables: &'s str,
    /// Whether what nobody knows goes nowhere.
    pub(super) is_closed: bool,
}

/// One of the two: host 0 is bridged, host 1 is on the underlay and has the wire of every far end.
pub(super) struct Side {
    pub(super) wires: [Wire; 2],
    pub(super) out: Outputs,
    _switch: Option<Running>,
    pub(super) rig: Rig,
}

impl Side {
    pub(super) fn new(test: &str, setup: Setup<'_>, is_ours: bool, mtu: u16) -> Option<Self> {
        let rig = Rig::with_mtus(test, &[Plug::Veth; 2], &[1500, mtu])?.quiet();
        run_in(&rig.center, "ip link set p1 address 02:00:00:00:ea:01");
        let switch = is_ours.then(|| rig.folder.start(&ours(&rig, setup)));
        if !is_ours {
            let center = |line: &str| run_in(&rig.center, line);
            center("ip addr add 192.0.2.1/24 dev p1");
            center(&format!(
                "ip link add vx0 address 02:00:00:00:0e:01 type vxlan id 42 dstport 4789 local 192.0.2.1 {}",
                setup.words
            ));
            for end in 2..4 {
                center(&format!(
                    "ip neigh add 192.0.2.{end} lladdr 02:00:00:00:fa:0{end} dev p1 nud permanent"
                ));
                if !setup.is_closed {
                    center(&format!("bridge fdb append 00:00:00:00:00:00 dev vx0 dst 192.0.2.{end}"));
                }
            }
            center("bridge fdb append 01:00:5e:01:02:03 dev vx0 dst 192.0.2.3");
            center("bridge fdb add 02:00:00:00:02:77 dev vx0 dst 192.0.2.2 port 8472 vni 7");
            setup.lines.iter().for_each(|line| drop(center(line)));
            center("ip link add br0 type bridge mcast_snooping 0");
            for device in ["p0", "vx0", "br0"] {
                let master = if device == "br0" { "" } else { "master br0 " };
                center(&format!("ip link set {device} {master}up"));
            }
        }
        let wires = [0, 1].map(|n| Wire::new(&rig.hosts[n], NIC));
        Some(Self { wires, out: Outputs::default(), _switch: switch, rig })
    }

    /// Takes up what has come out since.
    pub(super) fn hear(&mut self) -> &Outputs {
        for (wire, out) in self.wires.iter().zip(&mut self.out) {
            while let Some(mut frame) = wire.poll() {
                // A router of ours announces its addresses, the kernel does not.
                // Either tells of its groups when it is time.
                let is_igmp = frame.len() > 23 && frame[12..14] == [8, 0] && frame[23] == 2;
                if frame[6..12] == NEAR && (frame[..6] == BROADCAST || is_igmp) {
                    continue;
                }
                normalize(&mut frame);
                *out.entry(frame).or_default() += 1;
            }
        }
        &self.out
    }
}

fn ours(rig: &Rig, setup: Setup<'_>) -> String {
    let Setup { keys, tables, .. } = setup;
    let zero = |end| format!("{{ mac = \"00:00:00:00:00:00\", dst = \"192.0.2.{end}\" }},");
    let defaults = if setup.is_closed { String::new() } else { [2, 3].map(zero).concat() };
    let netns = format!("netns = \"{}\"", rig.center.name());
    let neighbors: String = (2..4)
        .map(|end| format!("[[neighbor]]\ndevice = \"p1\"\naddress = \"192.0.2.{end}\"\nmac = \"02:00:00:00:fa:0{end}\"\n"))
        .collect();
    format!(
        "[switch]\nmac_table = 1024\n[[port]]\nname = \"p0\"\npacket = \"p0\"\n{netns}\n\
         [[port]]\nname = \"p1\"\npacket = \"p1\"\n{netns}\n\
         [[address]]\ndevice = \"p1\"\naddress = \"192.0.2.1/24\"\n{neighbors}\
         [[bridge]]\nname = \"br0\"\nmcast_snooping = false\nport = [{{ device = \"p0\" }}, {{ device = \"vx0\" }}]\n\
         [[vxlan]]\nname = \"vx0\"\nid = 42\ndstport = 4789\nlocal = \"192.0.2.1\"\naddress = \"02:00:00:00:0e:01\"\ncompat = true\n{keys}\n\
         fdb = [{defaults}{{ mac = \"01:00:5e:01:02:03\", dst = \"192.0.2.3\" }}, {{ mac = \"02:00:00:00:02:77\", dst = \"192.0.2.2\", port = 8472, vni = 7 }}]\n{tables}"
    )
}

/// Takes chance out of an outer packet. What of it must be so is looked at before.
fn normalize(frame: &mut [u8]) {
    let is_outer = frame.len() > 42 && frame[12..14] == [8, 0] && frame[6..12] == NEAR && frame[23] == 17;
    if !is_outer {
        return;
    }
    let header = Ipv4Header::from_slice(&frame[14..]).unwrap().0;
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    frame[18..20].fill(0);
    frame[24..26].fill(0);
    if !header.is_fragmenting_payload() {
        assert!(SourcePorts::DEFAULT.contains(u16::from_be_bytes([frame[34], frame[35]])));
        let has_checksum = frame[40..42] != [0, 0];
        frame[40..42].fill(if has_checksum { 0xff } else { 0 });
    } else if header.fragment_offset.value() == 0 {
        frame[40..42].fill(0);
    }
    if header.fragment_offset.value() == 0 {
        frame[34..36].fill(0);
    }
}

/// Both sides, until the same has come out of both and what was sent last is among it.
pub(super) fn settle(what: &str, sides: &mut [Side; 2], seed: &mut u64) {
    *seed += 1;
    let out = frame(GROUP, station(0, 1), 0x88b6, 60, *seed);
    let inside = frame(BROADCAST, station(2, 1), 0x88b6, 60, *seed);
    for side in sides.iter() {
        side.wires[0].send(&out);
        side.wires[1].send(&far(2, &inside).frame());
    }
    let [ours, kernels] = sides;
    let start = Instant::now();
    let is_same = std::iter::repeat_with(|| {
        std::thread::yield_now();
        let (ours, kernels) = (ours.hear(), kernels.hear());
        let is_last = |bytes: &Vec<u8>| bytes.ends_with(&out);
        ours == kernels && kernels[0].contains_key(&inside) && kernels[1].keys().any(is_last)
    });
    if !is_same.take_while(|is_same| *is_same || start.elapsed() < PATIENCE).any(|is_same| is_same) {
        let differ = |ours: &Outputs, other: &Outputs, n: usize| {
            let missing = ours[n].iter().filter(|(bytes, count)| other[n].get(*bytes) != Some(count));
            let words = missing.map(|(bytes, count)| format!("{count} × {}", hex(bytes)));
            words.collect::<Vec<_>>().join("\n")
        };
        for (n, place) in ["inside", "outside"].into_iter().enumerate() {
            println!("only of ours, {place}:\n{}", differ(&ours.out, &kernels.out, n));
            println!("only of the kernel's, {place}:\n{}", differ(&kernels.out, &ours.out, n));
        }
        panic!("{what}: not the same has come out of both");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(120).map(|byte| format!("{byte:02x}")).collect()
}

/// From this far end.
pub(super) fn far(end: u8, inner: &[u8]) -> Outer {
    let mut outer = Outer { addresses: [[192, 0, 2, end], [192, 0, 2, 1]], ..Outer::of(inner) };
    outer.stations[0][5] = end;
    outer
}

/// A frame with an IPv4 packet in it.
fn packet(to: [u8; 6], from: [u8; 6], random: &mut Random, seed: u64) -> Vec<u8> {
    let mut header =
        Ipv4Header::new(0, 1 + random.next() as u8 % 255, IpNumber(253), [10, 0, 0, 1], [10, 0, 0, 2])
            .unwrap();
    (header.dscp, header.ecn) =
        ((random.next() as u8 & 63).try_into().unwrap(), (random.next() as u8 & 3).try_into().unwrap());
    header.dont_fragment = random.below(2) == 0;
    let payload = seed.to_be_bytes().repeat(1 + random.below(100));
    header.set_payload_len(payload.len()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&to[..], &from, &[8, 0], &header.to_bytes(), &payload].concat()
}

/// Ours and the kernel's.
pub(super) fn sides(test: &str, setup: Setup<'_>, mtu: u16) -> Option<[Side; 2]> {
    let side = |is_ours, name| Side::new(&format!("{test}-{name}"), setup, is_ours, mtu);
    has(test, "ip").then(|| Some([side(true, "ours")?, side(false, "k")?]))?
}

fn compare(test: &str, words: &str, keys: &str, random: &mut Random) -> Option<()> {
    let is_closed = words.contains("group");
    let mut sides = sides(test, Setup { words, keys, is_closed, ..Setup::default() }, 1500)?;
    let mut seed = 1 << 32;
    settle("at first", &mut sides, &mut seed);
    // Every station says where it is.
    for n in 1..4 {
        for side in &sides {
            side.wires[0].send(&frame(BROADCAST, station(0, n), 0x88b5, 60, n.into()));
            for end in 2..4 {
                side.wires[1]
                    .send(&far(end, &frame(BROADCAST, station(end, n), 0x88b5, 60, n.into())).frame());
            }
        }
    }
    settle("all stations known", &mut sides, &mut seed);
    for seed in 0..300 {
        // A socket holds so much and no more.
        for side in &mut sides {
            side.hear();
        }
        let (place, n) = (*random.pick(&[0u8, 2, 3]), 1 + random.next() as u8 % 3);
        let other = if place == 0 { 2 + random.next() as u8 % 2 } else { 0 };
        let stations = [station(other, 1), station(other, 2), station(2, 0x77), BROADCAST, GROUP, UNKNOWN];
        let (to, from) = (*random.pick(&stations), station(place, n));
        let mut inner = match random.below(3) {
            0 => packet(to, from, random, seed),
            1 => tagged(&frame(to, from, 0x88b5, 60 + random.below(900), seed), [0x81, 0, 0x20, 5]),
            _ => frame(to, from, 0x88b5, 60 + random.below(900), seed),
        };
        if place == 0 {
            sides.iter().for_each(|side| side.wires[0].send(&inner));
            continue;
        }
        let mut outer = far(place, &inner);
        (outer.tos, outer.has_checksum) = (random.next() as u8, random.below(2) == 0);
        if is_closed && random.below(2) == 0 {
            let group = *random.pick(&[1, 1, 1, 2]);
            outer.addresses[1] = [239, 1, 1, group];
            outer.stations[1] = [1, 0, 0x5e, 1, 1, group];
        }
        match random.below(12) {
            0 => outer.header ^= 1 << random.below(64),
            1 => outer.header = PLAIN | 43 << 8,
            2 => {
                inner.truncate(random.below(14));
                outer.inner = inner;
            }
            3 => outer.inner[6..12].copy_from_slice(&[2, 0, 0, 0, 0x0e, 1]),
            4 => outer.inner[6] |= 1,
            _ => {}
        }
        let mut bytes = outer.frame();
        if random.below(10) == 0 && outer.has_checksum {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
        let mut pieces = match random.below(4) {
            0 => cut(&bytes, *random.pick(&[68, 300, 576]), seed as u16),
            _ => vec![bytes],
        };
        if random.below(2) == 0 {
            pieces.reverse();
        }
        for side in &sides {
            pieces.iter().for_each(|piece| side.wires[1].send(piece));
        }
    }
    settle(&format!("random frames, {words:?}"), &mut sides, &mut seed);
    // Stations that move, one at a time.
    for (n, place) in [(1, 3u8), (1, 2), (2, 3), (2, 2), (0x77, 3)].into_iter().cycle().take(12) {
        let inner = frame(station(0, 1), station(2, n), 0x88b5, 60, seed);
        sides.iter().for_each(|side| side.wires[1].send(&far(place, &inner).frame()));
        settle("after a move", &mut sides, &mut seed);
        let answer = frame(station(2, n), station(0, 1), 0x88b5, 60, seed);
        sides.iter().for_each(|side| side.wires[0].send(&answer));
        settle("the answer", &mut sides, &mut seed);
    }
    let count: usize = sides[1].out.iter().flat_map(BTreeMap::values).sum();
    assert!(count > 200, "{count} frames came out");
    sides[0].rig.settled();
    Some(())
}

#[test]
fn random_frames_come_out_as_they_do_of_this_kernels_device() {
    const NAME: &str = "vxlan-random";
    let mut random = Random(0x5eed);
    for (words, keys) in [
        ("", ""),
        ("ttl 7 tos 0x48 df set noudpcsum", "ttl = 7\ntos = 0x48\ndf = \"set\"\nudpcsum = false"),
        (
            "ttl inherit tos inherit df inherit nolearning",
            "ttl = \"inherit\"\ntos = \"inherit\"\ndf = \"inherit\"\nlearning = false",
        ),
        ("group 239.1.1.1 dev p1", "group = \"239.1.1.1\"\ndev = \"p1\""),
        ("group 239.1.1.1 dev p1 ttl 5", "group = \"239.1.1.1\"\ndev = \"p1\"\nttl = 5"),
    ] {
        if compare(NAME, words, keys, &mut random).is_none() {
            return;
        }
    }
}

#[test]
fn frames_too_long_for_the_way_are_answered_as_this_kernels_bridge_does() {
    const NAME: &str = "vxlan-long";
    let Some(mut sides) = sides(NAME, Setup::default(), 1400) else { return };
    let mut seed = 0;
    settle("at first", &mut sides, &mut seed);
    let with = |length: usize, change: fn(&mut Ipv4Header)| {
        let mut header = Ipv4Header::new(0, 33, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
        header.dont_fragment = true;
        header.set_payload_len(length - 34).unwrap();
        change(&mut header);
        header.header_checksum = header.calc_header_checksum();
        let start =
            [&station(2, 1)[..], &station(0, 1), &[8, 0], &header.to_bytes(), &[0x88, 1, 0x88, 2]].concat();
        start.into_iter().chain((0..).map(|n: u32| n as u8)).take(length).collect::<Vec<_>>()
    };
    for frame in [
        with(1364, |_| ()),
        with(1365, |_| ()),
        with(1514, |_| ()),
        with(1514, |ip| ip.dont_fragment = false),
        with(1514, |ip| ip.destination = [224, 0, 0, 5]),
        with(1514, |ip| ip.source = [0; 4]),
        with(1514, |ip| ip.protocol = IpNumber::ICMP),
        frame(station(2, 1), station(0, 1), 0x88b5, 1514, 1),
    ] {
        sides.iter().for_each(|side| side.wires[0].send(&frame));
        settle("too long", &mut sides, &mut seed);
    }
    let told = sides[1].out[0].keys().filter(|bytes| bytes.len() == 14 + 576).count();
    assert!(told >= 2, "the kernel told of it {told} times");
    sides[0].rig.settled();
}
