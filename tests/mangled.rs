//! Ten thousand mangled frames into a running switch: none is forwarded altered, every one is accounted for, and
//! hosts reach each other afterwards.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;
#[path = "mangled/tags.rs"]
mod tags;

use std::fs;
use std::io::IoSlice;

use command::{PATIENCE, wait_for};
use etherparse::PacketBuilder;
use rig::{NIC, Plug, Random, Rig, Wire, frame, has, run_in, tagged, v4};
use rigswitch::lab::{self, Host};
use rigswitch::views::WorkerView;
use rigswitch_dataplane::sys::tun::{self, VNET_HEADER_LENGTH};

const SEED: u64 = 0x0bad_f4a3;
/// Frames that go in before it is waited for what comes out: no queue on the way holds fewer.
const BATCH: usize = 32;
/// Batches from the veth and from the TAP; and with lies about their offload state.
const BATCHES: [usize; 3] = [140, 140, 40];
/// What goes in may be longer than what fits the port where it comes out.
const MTUS: [u16; 3] = [3000, 3000, 1500];

#[test]
fn mangled_frames_are_never_forwarded_altered_and_never_lost_sight_of() {
    const NAME: &str = "mangled";
    if !has(NAME, "ip") {
        return;
    }
    let plugs = [Plug::Veth, Plug::Tap, Plug::Veth];
    let Some(rig) = Rig::with_mtus(NAME, &plugs, &MTUS).map(Rig::quiet) else { return };
    let _switch = rig.start_bridge("1");
    let wires = [0, 1, 2].map(|n| rig.wire(n));
    let mut random = Random(SEED);

    let mut completed = 0;
    for from in [0, 1] {
        let mut sent = Vec::new();
        for number in 0..BATCHES[from] {
            let batch: Vec<_> = (0..BATCH).map(|_| mangled(&mut random)).collect();
            let taken: Vec<_> = batch.into_iter().filter(|frame| wires[from].try_send(frame)).collect();
            wires[from].send(&marker());
            let out = wires[2].receive_until(&marker());
            completed += explain(&taken, &out, &format!("seed {SEED:#x}, batch {number} from h{from}"));
            sent.extend(taken);
        }
        assert!(sent.len() > BATCHES[from] * BATCH * 9 / 10, "a host's kernel took only {}", sent.len());
        accounted(&rig, from, &sent, BATCHES[from]);
    }
    assert!(completed > 100, "{completed} checksums were seen completed");

    lie(&rig, &mut random, &wires);
    let ledger = rig.settled().ledger;
    let received: u64 = (0..3).map(|n| rig.port(n).rx.packets).sum();
    assert_eq!(ledger.received, received);
    let workers: Vec<WorkerView> = serde_json::from_str(&rig.folder.ask("show workers -j")).unwrap();
    assert!(workers.iter().all(|worker| worker.panics == 0), "{workers:?}");
    probe(&rig);
}

/// The last frame of a batch.
fn marker() -> Vec<u8> {
    frame([0xff; 6], [2, 0xfe, 0, 0, 0, 1], 0x88b5, 60, 0)
}

/// Every frame that came out is one that went in, in the order they went in, but for checksums completed; how many.
fn explain(sent: &[Vec<u8>], out: &[Vec<u8>], what: &str) -> usize {
    let mut sent = sent.iter();
    let origin = |frame: &Vec<u8>| sent.find(|sent| *sent == frame || is_completed(sent, frame));
    let origins: Vec<_> = out.iter().map(origin).collect();
    let altered = origins.iter().zip(out).find(|(origin, _)| origin.is_none());
    assert!(altered.is_none(), "{what}: nobody sent {:02x?}", altered.map(|(_, frame)| frame));
    origins.iter().zip(out).filter(|(origin, frame)| **origin != Some(*frame)).count()
}

/// Whether `out` is `sent` with its TCP or UDP checksum made right, where `sent` had the pseudo-header's sum there.
fn is_completed(sent: &[u8], out: &[u8]) -> bool {
    let Some((pseudo, segment, field)) = transport(sent) else { return false };
    let mut expected = sent.to_vec();
    let at = segment.start + field;
    if out.len() != sent.len() || sent[at..at + 2] != sum(&[&pseudo]).to_be_bytes() {
        return false;
    }
    expected[at..at + 2].copy_from_slice(&out[at..at + 2]);
    out == expected && matches!(sum(&[&pseudo, &out[segment]]), 0 | 0xffff)
}

/// The pseudo-header of a frame's TCP or UDP, where its segment is, and where in that the checksum: plain, and
/// nothing of ours.
fn transport(frame: &[u8]) -> Option<(Vec<u8>, std::ops::Range<usize>, usize)> {
    let half = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let mut at = 12;
    while matches!(half(at)?, 0x8100 | 0x88a8) {
        at += 4;
    }
    let ip = at + 2;
    let (protocol, addresses, start, end) = match half(at)? {
        0x0800 => {
            let start = ip + usize::from(*frame.get(ip)? & 15) * 4;
            (*frame.get(ip + 9)?, ip + 12..ip + 20, start, ip + usize::from(half(ip + 2)?))
        }
        0x86dd => (*frame.get(ip + 6)?, ip + 8..ip + 40, ip + 40, ip + 40 + usize::from(half(ip + 4)?)),
        _ => return None,
    };
    let field = match protocol {
        6 => 16,
        17 => 6,
        _ => return None,
    };
    (start + field + 2 <= end && end <= frame.len()).then_some(())?;
    let length = u32::try_from(end - start).unwrap().to_be_bytes();
    Some(([&frame[addresses], &length, &[0, 0, 0, protocol]].concat(), start..end, field))
}

/// The ones' complement sum of RFC 1071, not complemented.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 =
        words.map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| low.into())).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// The switch has counted every frame that host `n` sent, and the drops that its addresses ask for.
fn accounted(rig: &Rig, n: usize, sent: &[Vec<u8>], markers: usize) {
    let view = rig.settled();
    assert_eq!(view.lost.iter().map(|lost| lost.packets).sum::<u64>(), 0, "{:?}", view.lost);
    let port = rig.port(n);
    assert_eq!(port.rx.packets, (sent.len() + markers) as u64, "{port:?}");
    let dropped = |reason: &str| port.drops.get(&format!("rx.{reason}")).copied().unwrap_or(0);
    let source = |frame: &Vec<u8>| <[u8; 6]>::try_from(&frame[6..12]).unwrap();
    let zero = sent.iter().filter(|frame| source(frame) == [0; 6]).count() as u64;
    let group = sent.iter().filter(|frame| source(frame)[0] & 1 == 1).count() as u64;
    let is_reserved = |frame: &&Vec<u8>| {
        frame[..5] == [1, 0x80, 0xc2, 0, 0]
            && (1..16).contains(&frame[5])
            && source(frame)[0] & 1 == 0
            && source(frame) != [0; 6]
    };
    let reserved = sent.iter().filter(is_reserved).count() as u64;
    assert!(zero.min(group).min(reserved) > 10, "{zero} {group} {reserved}");
    let expected = (zero, group, reserved);
    assert_eq!((dropped("source_zero"), dropped("source_group"), dropped("reserved_address")), expected);
}

/// A frame that is wrong in one or more ways, or right after all.
fn mangled(random: &mut Random) -> Vec<u8> {
    let mut frame = sound(random);
    for _ in 0..random.below(4) {
        let length = frame.len();
        let at = random.below(length);
        match random.below(8) {
            0 => frame.truncate(at.max(14)),
            1 => frame.truncate(14 + random.below(24)),
            2 => frame[at] = random.next().to_le_bytes()[0],
            // A length, an EtherType, a checksum gone mad.
            3 if at + 2 <= length => frame[at..at + 2].fill(*random.pick(&[0xff, 0, 1])),
            4 => (0..random.below(2000)).for_each(|_| frame.push(random.next().to_le_bytes()[0])),
            5 => (0..random.below(200)).for_each(|_| frame = tagged(&frame, *random.pick(&TAGS))),
            6 if length > 34 => frame[14 + random.below(20)] = random.next().to_le_bytes()[0],
            7 => frame[14..].iter_mut().for_each(|byte| *byte = random.next().to_le_bytes()[0]),
            _ => {}
        }
        frame.truncate(usize::from(MTUS[0]) + 14);
    }
    frame
}

const TAGS: [[u8; 4]; 3] = [[0x81, 0, 0, 10], [0x88, 0xa8, 0x2f, 0xff], [0x81, 0, 0, 0]];

/// A frame as hosts send them, from and to the stations and groups there may be.
fn sound(random: &mut Random) -> Vec<u8> {
    let station = |n: usize| [2, 0, 0, 0, 9, u8::try_from(n).unwrap()];
    let reserved = [1, 0x80, 0xc2, 0, 0, u8::try_from(random.below(16)).unwrap()];
    let [known, usual] = [(); 2].map(|()| station(random.below(40)));
    let to = *random.pick(&[known, [0xff; 6], reserved, station(200)]);
    let from = *random.pick(&[usual, usual, usual, usual, usual, usual, [3, 0, 0, 0, 0, 1], [0; 6]]);
    let payload: Vec<u8> = (0..random.below(1400)).map(|_| random.next().to_le_bytes()[0]).collect();
    let start = PacketBuilder::ethernet2(from, to);
    let mut frame = Vec::new();
    let v4 = ([10, 66, 1, 1], [10, 66, 1, 2]);
    match random.below(5) {
        0 => start.ipv4(v4.0, v4.1, 64).tcp(1000, 80, 7, 1024).write(&mut frame, &payload),
        1 => start.ipv4(v4.0, v4.1, 64).udp(1000, 9).write(&mut frame, &payload),
        2 => start.ipv6([0xfd; 16], [0xfc; 16], 64).tcp(1000, 80, 7, 1024).write(&mut frame, &payload),
        3 => start.ipv6([0xfd; 16], [0xfc; 16], 64).udp(1000, 9).write(&mut frame, &payload),
        _ => {
            let inner = PacketBuilder::ethernet2([2, 0, 0, 0, 7, 1], [2, 0, 0, 0, 7, 2]).ipv4(v4.0, v4.1, 64);
            let mut vxlan = vec![8, 0, 0, 0, 0, 0, 77, 0];
            inner.udp(5, 6).write(&mut vxlan, &payload).unwrap();
            start.ipv4(v4.0, v4.1, 64).udp(50_000, 4789).write(&mut frame, &vxlan)
        }
    }
    .unwrap();
    // As a host leaves it that has a card to do the rest.
    if random.below(3) == 0
        && let Some((pseudo, segment, field)) = transport(&frame)
    {
        frame[segment.start + field..][..2].copy_from_slice(&sum(&[&pseudo]).to_be_bytes());
    }
    frame
}

/// Sends frames whose offload state is a lie: into a TAP of a host, from where the host's own bridge hands them to
/// the switch's.
fn lie(rig: &Rig, random: &mut Random, wires: &[Wire; 3]) {
    let host = &rig.hosts[1];
    let liar = tun::open("lies0", Some(host.netns()), 1, true).unwrap().remove(0);
    run_in(host, "ip link add bridge0 type bridge mcast_snooping 0");
    for device in ["lies0", NIC] {
        run_in(host, &format!("ip link set {device} master bridge0"));
    }
    for device in ["lies0", "bridge0"] {
        host.set_up(device).unwrap();
    }
    wait_for("the host's bridge to forward", || {
        let through =
            |device| run_in(host, &format!("ip -d link show {device}")).contains("state forwarding");
        (through("lies0") && through(NIC)).then_some(())
    });
    let mut taken = 0;
    for _ in 0..BATCHES[2] {
        for _ in 0..BATCH {
            let mut header = [0; VNET_HEADER_LENGTH];
            header[0] = *random.pick(&[0, 1, 1, 2, 3, 0xff]);
            header[1] = *random.pick(&[0, 1, 3, 4, 5, 0x81, 0x84, 0xff]);
            for field in header[2..].chunks_exact_mut(2) {
                let random = u16::try_from(random.below(3000)).unwrap();
                let value: u16 = [0, 6, 14, 16, 34, 54, 1000, u16::MAX, random][usize::from(random % 9)];
                field.copy_from_slice(&value.to_ne_bytes());
            }
            let mut frame = mangled(random);
            let length = frame.len() * (1 + random.below(20));
            frame.extend(frame.clone().into_iter().cycle().take(length - frame.len()));
            taken += u32::from(liar.send(&[IoSlice::new(&header), IoSlice::new(&frame)]).is_ok());
        }
        // What a lie is cut into may be more than the far host has room for, and the marker then among what it loses.
        wait_for("the lies to be behind us", || {
            wires[1].send(&marker());
            std::iter::from_fn(|| wires[2].poll()).any(|frame| frame == marker()).then_some(())
        });
    }
    assert!(taken > 200, "the host's kernel took only {taken} lies");
    wait_for("the switch to have counted what the host's kernel has handed over", || {
        (transmitted(host, NIC) == rig.port(1).rx.packets).then_some(())
    });
}

/// The frames that a host's kernel says it has transmitted by a device.
fn transmitted(host: &Host, device: &str) -> u64 {
    const PACKETS: usize = 9;
    let table = host.run(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap().unwrap();
    let row = table.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'));
    row.unwrap().split_whitespace().nth(PACKETS).unwrap().parse().unwrap()
}

/// Hosts reach each other.
fn probe(rig: &Rig) {
    for (n, device) in [(0, NIC), (1, "bridge0"), (2, NIC)] {
        rig.hosts[n].add_address(device, v4(n), 24).unwrap();
    }
    for (near, far) in [(0, 2), (1, 2), (2, 0), (0, 1)] {
        let ping = lab::ping(&rig.hosts[near], v4(far), 3, 56, PATIENCE).unwrap();
        assert_eq!(ping.lost(), 0, "h{near} to h{far}");
        lab::tcp_transfer(&rig.hosts[near], &rig.hosts[far], (v4(far), 0).into(), 1 << 20).unwrap();
    }
    rig.settled();
}
