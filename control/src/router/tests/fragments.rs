//! Fragments for us: put together in any order, bounded in room and time, and refused where they contradict each other.

use etherparse::icmpv6::{ParameterProblemCode, TimeExceededCode as V6};
use etherparse::{Icmpv4Type, Icmpv6Type, icmpv4::TimeExceededCode as V4};
use proptest::prelude::*;
use rigswitch_dataplane::wire::fragment::{Fragmenter, FragmenterIpv6};
use rigswitch_dataplane::wire::reassembly::Fragment;

use super::super::fragments::ROOM;
use super::*;

/// The pieces of a frame, none of whose packets is longer than `mtu`.
fn cut(frame: &[u8], mtu: u16) -> Vec<Vec<u8>> {
    cut_as(frame, mtu, 7)
}

/// The same under another number.
fn cut_as(frame: &[u8], mtu: u16, identification: u16) -> Vec<Vec<u8>> {
    let (ethernet, packet) = frame.split_at(14);
    let (mut packet, mut out) = (packet.to_vec(), vec![0; mtu.into()]);
    let framed = |piece: &[u8]| [ethernet, piece].concat();
    if packet[0] >> 4 == 6 {
        let cut = FragmenterIpv6::new(&packet, mtu, identification.into()).unwrap();
        return (0..cut.count())
            .map(|n| cut.write(n, &mut out).map(|len| framed(&out[..len])).unwrap())
            .collect();
    }
    packet[4..6].copy_from_slice(&identification.to_be_bytes());
    packet[6] = 0; // it may be fragmented
    let cut = Fragmenter::new(&packet, mtu).unwrap();
    (0..cut.count()).map(|n| cut.write(n, &mut out).map(|len| framed(&out[..len])).unwrap()).collect()
}

impl Rig {
    fn fragment(&mut self, frame: &[u8]) -> Vec<Output> {
        self.hear(HERE, PuntReason::Fragment, frame)
    }

    fn fragments(&mut self, frames: &[Vec<u8>]) -> Vec<Output> {
        frames.iter().flat_map(|frame| self.fragment(frame)).collect()
    }
}

/// The data of the echo reply that these frames are, put together.
fn echoed(outputs: Vec<Output>) -> Vec<u8> {
    let mut data = Vec::new();
    for (device, frame) in outputs.into_iter().map(sent) {
        assert_eq!(device, HERE);
        assert!(frame.len() <= 1514);
        let fragment = Fragment::view(&frame[14..]).unwrap().expect("it is longer than the link");
        assert_eq!(fragment.offset, data.len());
        data.extend(fragment.payload);
    }
    assert!([0, 129].contains(&data[0]), "an echo reply");
    data.split_off(8)
}

const PAIRS: [[&str; 2]; 3] =
    [["10.0.0.2", "10.0.0.1"], ["fd00::2", "fd00::1"], ["fe80::2", "fe80::ff:fe00:aa00"]];

#[test]
fn echoes_in_fragments_are_answered_in_fragments() {
    for [from, to] in PAIRS {
        let data: Vec<u8> = (0..3000u32).map(|n| n.to_be_bytes()[3]).collect();
        let mut pieces = cut(&ping(from, to, &data), 600);
        pieces[0].extend([9; 20]); // what follows a packet is none of it
        for backward in [false, true] {
            let mut rig = Rig::with_hosts();
            let mut pieces = pieces.clone();
            if backward {
                pieces.reverse();
            }
            let twice: Vec<_> = pieces[..3].iter().chain(&pieces).cloned().collect();
            assert_eq!(echoed(rig.fragments(&twice)), data);
            assert_eq!(rig.router.gathering(), (0, 0));
            let counted = rig.router.counters();
            assert_eq!((counted.echoes, counted.reassembled, counted.reassembly_failed), (1, 1, 0));
            assert_eq!(counted.fragments, twice.len() as u64);
        }
    }
}

#[test]
fn what_may_be_a_tunnels_comes_back_whole() {
    for (from, to) in [("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1")] {
        let mut rig = Rig::with_hosts();
        let mut datagram = udp(from, to, 9, &[5; 2000]);
        let pieces = cut(&datagram, 1280);
        if to.contains('.') {
            // As the pieces say.
            datagram[18..20].copy_from_slice(&7u16.to_be_bytes());
            datagram[20] = 0;
        }
        let outputs = rig.fragments(&pieces);
        let [Output::Receive { device: HERE, frame }] = &outputs[..] else { panic!("{outputs:?}") };
        let (_, addresses, ttl, transport, payload) = read(frame);
        assert_eq!((addresses, ttl, payload), ([ip(from), ip(to)], 9, vec![5; 2000]));
        assert_eq!(transport.udp().unwrap().destination_port, 2000);
        assert_eq!(
            frame[34 + if to.contains(':') { 20 } else { 0 }..],
            datagram[34 + if to.contains(':') { 20 } else { 0 }..]
        );
    }
}

#[test]
fn fragments_over_one_another_are_thrown_away_with_their_packet() {
    for [from, to] in PAIRS {
        let frame = ping(from, to, &[1; 1400]);
        let (wide, narrow) = (cut(&frame, 1200), cut(&frame, 600));
        let mut rig = Rig::with_hosts();
        // The second of the narrow ones lies within the first of the wide ones: the same again, and no harm.
        let again = [&wide[..1], &narrow[1..2], &wide[1..]].concat();
        assert!(!rig.fragments(&again).is_empty());
        assert_eq!(rig.router.counters().reassembly_failed, 0);
        // The other way round, it goes on where something is already.
        let over = [&narrow[1..2], &wide[..1]].concat();
        assert_eq!(rig.fragments(&over), []);
        assert_eq!((rig.router.counters().reassembly_failed, rig.router.gathering()), (1, (0, 0)));
        // Ends that contradict each other; and what would go beyond an end.
        let short = cut(&ping(from, to, &[1; 700]), 600);
        for pair in [[&narrow[2], &short[1]], [&short[1], &narrow[2]], [&short[1], &narrow[1]]] {
            let before = rig.router.counters().reassembly_failed;
            pair.iter().for_each(|piece| assert_eq!(rig.fragment(piece), []));
            let failed = rig.router.counters().reassembly_failed - before;
            assert_eq!((failed, rig.router.gathering().0), (1, 0), "{from}");
        }
    }
}

#[test]
fn packets_that_do_not_come_whole_are_given_up_and_their_senders_told_if_they_began() {
    for ([from, to], patience) in PAIRS.into_iter().zip([30, 60, 60]) {
        let pieces = cut(&ping(from, to, &[1; 1400]), 600);
        for (n, is_told) in [(0, true), (1, false)] {
            let mut rig = Rig::with_hosts();
            assert_eq!(rig.fragment(&pieces[n]), []);
            let before = rig.wait(SECOND * (patience - 1));
            assert_eq!(before.iter().filter(|(_, it)| is_error(it)).count(), 0);
            assert_eq!(rig.router.gathering().0, 1);
            let told: Vec<_> = rig.wait(SECOND * 2).into_iter().filter(|(_, it)| is_error(it)).collect();
            assert_eq!((rig.router.gathering(), rig.router.counters().reassembly_failed), ((0, 0), 1));
            assert_eq!(told.len(), usize::from(is_told), "{from} {n}");
            let Some((_, output)) = told.into_iter().next() else { continue };
            let (_, addresses, _, transport, quoted) = read(&sent(output).1);
            assert_eq!(addresses, [ip(to), ip(from)]);
            match transport {
                TransportHeader::Icmpv4(icmp) => {
                    assert_eq!(icmp.icmp_type, Icmpv4Type::TimeExceeded(V4::FragmentReassemblyTimeExceeded))
                }
                TransportHeader::Icmpv6(icmp) => {
                    assert_eq!(icmp.icmp_type, Icmpv6Type::TimeExceeded(V6::FragmentReassemblyTimeExceeded))
                }
                other => panic!("{other:?}"),
            }
            assert!(pieces[0][14..].starts_with(&quoted[..quoted.len().min(500)]));
            // The rest comes too late, and begins another that is given up.
            assert_eq!(rig.fragments(&pieces[1 - n..2 - n]), []);
        }
    }
}

fn is_error(output: &Output) -> bool {
    let Output::Send { frame, .. } = output else { return false };
    match frame[12..14] {
        [8, 0] => (frame[23], frame[34]) == (1, 11),
        [0x86, 0xdd] => (frame[20], frame[54]) == (58, 3),
        _ => false,
    }
}

#[test]
fn whoever_fills_the_room_keeps_nobody_out() {
    for [from, to] in PAIRS {
        let mut rig = Rig::with_hosts();
        let mut attack = cut(&ping(from, to, &[1; 1400]), 600).swap_remove(0);
        let pieces = cut_as(&ping(from, to, &[2; 3000]), 1280, 60001);
        rig.fragment(&pieces[0]);
        for n in 0..20_000u16 {
            let [high, low] = n.to_be_bytes();
            if to.contains('.') {
                attack[18..20].copy_from_slice(&[high, low]);
                attack[24..26].fill(0);
                let sum = rigswitch_dataplane::wire::checksum::Sum::of(&attack[14..34]).checksum();
                attack[24..26].copy_from_slice(&sum.to_be_bytes());
            } else {
                attack[60..62].copy_from_slice(&[high, low]);
            }
            assert_eq!(rig.fragment(&attack), []);
            assert!(rig.router.gathering().1 <= ROOM);
        }
        let (begun, bytes) = rig.router.gathering();
        assert!(begun > 1000 && bytes > ROOM / 2, "{begun} {bytes}");
        // The first of it has had to go by now; whole it comes all the same.
        assert_eq!(rig.fragments(&pieces[1..]), []);
        assert_eq!(echoed(rig.fragments(&pieces[..1])), [2; 3000]);
        let counted = rig.router.counters();
        assert_eq!((counted.malformed, counted.ignored), (0, 0));
        assert_eq!(counted.reassembly_failed + u64::try_from(rig.router.gathering().0).unwrap(), 20_001);
    }
}

#[test]
fn lengths_that_no_fragment_has_are_told_in_ipv6_and_the_rest_is_dropped() {
    let mut rig = Rig::with_hosts();
    let piece = cut(&ping("fd00::2", "fd00::1", &[1; 1400]), 600).swap_remove(0);
    let mut odd = piece.clone();
    odd[19] -= 3;
    let mut beyond = piece.clone();
    beyond[56..58].copy_from_slice(&0xfff9u16.to_be_bytes());
    for (frame, pointer) in [(odd, 4), (beyond, 42)] {
        let reports: Vec<_> = rig.fragment(&frame).into_iter().map(sent).collect();
        let TransportHeader::Icmpv6(icmp) = read(&reports[0].1).3 else { panic!("{reports:?}") };
        let Icmpv6Type::ParameterProblem(problem) = icmp.icmp_type else { panic!("{icmp:?}") };
        assert_eq!((problem.code, problem.pointer), (ParameterProblemCode::ErroneousHeaderField, pointer));
    }
    // A last one without anything in it, and one that is cut short.
    let mut empty = piece.clone();
    (empty[18], empty[19]) = (0, 8);
    let mut cut_short = piece.clone();
    (cut_short[18], cut_short[19]) = (0, 7);
    assert_eq!(rig.fragments(&[empty, cut_short]), []);
    let counted = rig.router.counters();
    assert_eq!((counted.reassembly_failed, counted.malformed), (3, 1));
    assert_eq!(rig.router.gathering(), (0, 0));
    // Not ours.
    assert_eq!(rig.fragments(&cut(&ping("fd00::2", "fd00::77", &[1; 1400]), 600)), []);
    assert_eq!(rig.router.counters().ignored, 3);
}

#[test]
fn a_fragment_that_is_all_of_its_packet_is_taken_as_that() {
    let mut rig = Rig::with_hosts();
    // RFC 6946: such as somebody makes who was told of a link that carries less than 1280 bytes.
    let whole = ping("fd00::2", "fd00::1", b"data");
    let atomic = cut(&whole, 1280);
    assert_eq!(atomic.len(), 1);
    let answers: Vec<_> = rig.fragment(&atomic[0]).into_iter().map(sent).collect();
    assert_eq!(read(&answers[0].1).4, b"data");
    // One within another is no packet that anybody means.
    let mut nested = atomic[0][..54].to_vec();
    nested[19] = u8::try_from(whole.len() - 54 + 16).unwrap();
    nested.extend([44, 0, 0, 0, 0, 0, 0, 1]);
    nested.extend(&atomic[0][54..]);
    assert_eq!(rig.fragment(&nested), []);
    assert_eq!((rig.router.counters().ignored, rig.router.gathering()), (1, (0, 0)));
}

#[test]
fn congestion_that_a_fragment_met_is_the_packets() {
    let mut rig = Rig::with_hosts();
    let mark = |tos: [u8; 2]| {
        let mut frame = udp("fd00::2", "fd00::1", 9, &[5; 1400]);
        let mut pieces = cut(&std::mem::take(&mut frame), 1280);
        for (piece, tos) in pieces.iter_mut().zip(tos) {
            piece[15] |= tos << 4;
        }
        pieces
    };
    for (marks, expected) in
        [([2, 3], Some(3)), ([1, 3], Some(3)), ([2, 2], Some(2)), ([0, 3], None), ([2, 0], None)]
    {
        let outputs = rig.fragments(&mark(marks));
        let found = outputs.first().map(|output| match output {
            Output::Receive { frame, .. } => frame[15] >> 4 & 3,
            Output::Send { .. } => panic!("{output:?}"),
        });
        assert_eq!(found, expected, "{marks:?}");
    }
}

#[test]
fn what_was_begun_goes_with_the_address() {
    let mut rig = Rig::with_hosts();
    let pieces = cut(&ping("fd00::2", "fd00::1", &[1; 1400]), 600);
    rig.fragment(&pieces[0]);
    let mut without = setting();
    without.devices[0].addresses.remove(1);
    rig.set(without);
    assert_eq!((rig.router.gathering(), rig.router.counters().reassembly_failed), ((0, 0), 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// Several packets at once, their pieces in any order and some of them twice.
    #[test]
    fn pieces_come_together_in_any_order(
        lengths in prop::collection::vec(1400..5000usize, 1..4),
        is_ipv6 in any::<bool>(),
        mtu in 600..1280u16,
        order in any::<[u16; 60]>(),
    ) {
        let [from, to] = PAIRS[usize::from(is_ipv6)];
        let mut rig = Rig::with_hosts();
        let packets = lengths.iter().zip(1..).map(|(length, n)| (n, ping(from, to, &vec![u8::try_from(n).unwrap(); *length])));
        let mut pieces: Vec<_> = packets.flat_map(|(n, frame)| cut_as(&frame, mtu, n)).collect();
        let again: Vec<_> = pieces.iter().step_by(3).cloned().collect();
        let length = pieces.len();
        for (at, n) in order.iter().enumerate().filter(|(at, _)| *at < length) {
            let other = usize::from(*n) % pieces.len();
            pieces.swap(at, other);
        }
        rig.fragments(&[again, pieces].concat());
        let counted = rig.router.counters();
        prop_assert_eq!((counted.reassembled, counted.echoes, counted.reassembly_failed), (lengths.len() as u64, lengths.len() as u64, 0));
        // What comes again when all was there begins another.
        prop_assert!(rig.router.gathering().0 <= lengths.len());
    }
}
