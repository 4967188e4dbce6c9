//! What becomes of a routed packet, against the kernel: one router is Linux behind a veth, the other a few lines around our
//! tables and headers. Both get the same packets, and must send the same.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // helpers of tests are tests

#[path = "routers/linux.rs"]
mod linux;
#[path = "routers/ours.rs"]
mod ours;
#[path = "routers/packets.rs"]
mod packets;
#[path = "routers/routes.rs"]
mod routes;
#[path = "support/veth.rs"]
mod veth;

use std::fmt::Write;
use std::net::Ipv6Addr;

use linux::Kernel;
use ours::Ours;
use packets::{V4, checksum, icmpv6_message, v4, v6};
use routes::{OURS_V4, OURS_V6};

/// Without what the kernel chooses by itself in a message of its own: identification and flow label.
fn settled(mut packet: Vec<u8>) -> Vec<u8> {
    match packet[0] >> 4 {
        4 if packet[9] == 1 && packet[12..16] == OURS_V4.octets() => {
            packet[4..6].fill(0);
            packet[10..12].fill(0);
        }
        6 if packet[6] == 58 && packet[8..24] == OURS_V6.octets() => {
            packet[1] &= 0xf0;
            packet[2..4].fill(0);
        }
        _ => {}
    }
    packet
}

fn hex(packets: &[Vec<u8>]) -> String {
    packets.iter().fold(String::new(), |mut text, packet| {
        packet.iter().take(80).for_each(|byte| write!(text, "{byte:02x}").unwrap());
        writeln!(text, " ({} bytes)", packet.len()).unwrap();
        text
    })
}

fn agree(kernel: &mut Kernel, ours: &Ours, packet: &[u8]) -> usize {
    let [theirs, ours] = [kernel.answers(packet), ours.answers(packet)]
        .map(|answers| answers.into_iter().map(settled).collect::<Vec<_>>());
    let [sent, kernels, our] = [&[packet.to_vec()][..], &theirs, &ours].map(hex);
    assert!(theirs == ours, "of {sent}the kernel makes\n{kernels}and we\n{our}");
    theirs.len()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ word >> 31) % limit as u64) as usize
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

#[test]
fn ipv4_packets_fare_as_in_the_kernel() {
    let Some(mut kernel) = Kernel::start("ipv4_packets_fare_as_in_the_kernel") else { return };
    let (ours, mut random) = (Ours::new(), Random(1812));
    let mut answers = 0;
    for n in 0..600u16 {
        // The kernel limits what it says to one host of some errors: another one each time.
        let [high, low] = n.to_be_bytes();
        let usual = [10, 1, high, low];
        let odd =
            random.of(&[[0; 4], [0, 0, 0, 1], [127, 0, 0, 1], [224, 0, 0, 9], [255; 4], [240, 0, 0, 1]]);
        let source = if random.below(6) == 0 { odd } else { usual };
        let routed =
            [[10, 9, 0, 7], [10, 8, 0, 7], [10, 7, 0, 7], [10, 6, 0, 7], [10, 5, 0, 7], [10, 0, 0, 1]];
        let odd = random.of(&[
            [172, 16, 0, 1],
            [127, 0, 0, 1],
            [0; 4],
            [224, 0, 0, 9],
            [239, 1, 1, 1],
            [255; 4],
            [240, 0, 0, 1],
        ]);
        let destination = if random.below(5) == 0 { odd } else { random.of(&routed) };
        let options: [&[u8]; 9] = [
            &[],
            &[],
            &[],
            &[1, 1, 1, 0],
            &[30, 6, 1, 2, 3, 4, 148, 4, 0, 0, 1, 0],
            &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30, 4, 1, 2, 0],
            &[1, 131, 7, 4, 10, 9, 0, 1],
            &[1, 30, 1, 0],
            &[1, 1, 30, 9],
        ];
        let is_for_us = destination == [10, 0, 0, 1];
        let fragment = random.of(&[0, 0x4000, 0, 0x4000, 0x2000, 0x0010, 0x2010]);
        let mut packet = V4 {
            source,
            destination,
            protocol: random.of(&[17, 253, 1]),
            ttl: random.of(&[1, 2, 64, 255]),
            tos: random.of(&[0, 0xb8, 0x03, 0xfe]),
            fragment,
            options: random.of(&options).to_vec(),
        };
        if is_for_us {
            packet.fragment &= 0x4000; // a host waits for the other fragments
            packet.options.clear(); // and sends some of its options back
        }
        let mut payload: Vec<u8> = (0..random.of(&[8, 64, 540, 700, 1400])).map(|byte| byte as u8).collect();
        match packet.protocol {
            17 => {
                let [high, low] = (payload.len() as u16).to_be_bytes();
                payload[..8].copy_from_slice(&[0xc0, 0, 0x82, 0x9b, high, low, 0, 0]);
            }
            1 => {
                // A host keeps errors and replies to itself.
                let kinds: &[u8] = if is_for_us { &[8] } else { &[8, 0, 3, 11, 13, 200] };
                payload[..4].copy_from_slice(&[random.of(kinds), 0, 0, 0]);
                let sum = checksum(&payload);
                payload[2..4].copy_from_slice(&sum);
            }
            _ => {}
        }
        let mut bytes = v4(&packet, &payload);
        if random.below(20) == 0 {
            let at = random.below(20);
            bytes[at] ^= 1 << random.below(8);
        }
        answers += agree(&mut kernel, &ours, &bytes);
    }
    assert!(answers > 200, "{answers} answers show little");
}

#[test]
fn ipv6_packets_fare_as_in_the_kernel() {
    let Some(mut kernel) = Kernel::start("ipv6_packets_fare_as_in_the_kernel") else { return };
    let (ours, mut random) = (Ours::new(), Random(4443));
    let addresses =
        |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Ipv6Addr>>();
    let odd_sources = addresses(&["::", "::1", "ff02::9", "::ffff:10.1.0.1", "fe80::1234"]);
    let routed = addresses(&["fd09::7", "fd0a::7", "fd08::7", "fd07::7", "fd06::7", "fd05::7", "fd00::1"]);
    let odd = addresses(&["fd99::1", "::1", "ff02::9", "ff01::1", "ff00::1", "ff0e::1"]);
    let mut answers = 0;
    for n in 0..300u16 {
        let usual = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 1, n);
        let source = if random.below(6) == 0 { random.of(&odd_sources) } else { usual };
        let destination = if random.below(5) == 0 { random.of(&odd) } else { random.of(&routed) };
        let is_for_us = destination == OURS_V6;
        let mut payload: Vec<u8> =
            (0..random.of(&[8, 64, 1200, 1300, 1440])).map(|byte| byte as u8).collect();
        let next = random.of(&[17, 58]);
        let next = if is_for_us { 58 } else { next };
        if next == 58 {
            let kinds: &[u8] = if is_for_us { &[128] } else { &[128, 129, 1, 3, 4, 100, 200] };
            payload = icmpv6_message(source, destination, random.of(kinds), payload);
        }
        let extended = !is_for_us && random.below(4) == 0;
        if extended {
            payload = [&[next, 0, 1, 4, 0, 0, 0, 0][..], &payload].concat();
        }
        let next = if extended { 60 } else { next };
        let bytes = v6(source, destination, next, random.of(&[1, 2, 64, 255]), &payload);
        answers += agree(&mut kernel, &ours, &bytes);
    }
    assert!(answers > 150, "{answers} answers show little");
}
