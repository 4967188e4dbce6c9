//! What was done and what came of it, as text: the form in which answers are kept and compared.

use std::fmt::Write;

use crate::rigs::{Outputs, PORTS, Rig, Step, checksum};

/// Bytes of a frame that are shown; the rest is summed up.
const SHOWN: usize = 34;
/// What fewer bytes at the end have in common is shown again.
const LEAST_COMMON: usize = 8;

/// What a rig is called in its answers, and what it is made of.
pub(crate) fn heading(rig: &Rig) -> String {
    let made: String = rig.kernel.lines().map(|line| format!("$ {line}\n")).collect();
    format!("=== {}\n{made}", rig.name)
}

/// A step and what came out of each port because of it.
pub(crate) fn step(step: &Step, mut outputs: Outputs) -> String {
    let (mut text, sent) = match step {
        Step::Send(port, frame) => (format!("p{port} > {}\n", sent(frame)), &frame[..]),
        Step::Fdb(words) => (format!("$ bridge fdb {words}\n"), &[][..]),
        Step::Mdb(words) => (format!("$ bridge mdb {words}\n"), &[][..]),
        Step::Wait(ms) => (format!("$ usleep {ms}000\n"), &[][..]),
    };
    for (port, frames) in outputs.iter_mut().enumerate() {
        for frame in frames.iter_mut().filter(|frame| *frame != sent) {
            let inside = match (frame.get(12..14), frame.get(20), frame.get(54)) {
                (Some([8, 0]), ..) => 14,
                (Some([0x86, 0xdd]), Some(4), _) => 54,
                (Some([0x86, 0xdd]), Some(60), Some(4)) => 62, // behind an encapsulation limit
                _ => continue,
            };
            without_identification(frame.get_mut(inside..).unwrap_or_default());
        }
        // Copies of one frame leave in the order of somebody's hash table.
        frames.sort();
        for frame in frames {
            writeln!(text, "    p{port} < {}", received(frame, sent)).unwrap();
        }
    }
    text
}

/// The answers to one rig, out of all.
pub(crate) fn of_rig<'t>(answers: &'t str, rig: &Rig) -> Option<&'t str> {
    let start = answers.find(&format!("=== {}\n", rig.name))?;
    let rest = &answers[start..];
    Some(&rest[..rest[1..].find("\n===").map_or(rest.len(), |end| end + 2)])
}

/// The answers to one rig, a step each.
pub(crate) fn steps<'t>(answers: &'t str, rig: &Rig) -> Option<Vec<&'t str>> {
    let mut rest = of_rig(answers, rig)?.strip_prefix(&heading(rig))?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        // Up to the first line that is not set in.
        let lines = rest.match_indices('\n').map(|(at, _)| at + 1);
        let is_end = |at: &usize| !rest[*at..].starts_with("    ");
        let (step, after) = rest.split_at(lines.into_iter().find(is_end).unwrap_or(rest.len()));
        if !step.starts_with("---") {
            steps.push(step);
        }
        rest = after;
    }
    Some(steps)
}

/// How many frames come out of each port in the answer to a step.
pub(crate) fn counts(step: &str) -> [usize; PORTS] {
    std::array::from_fn(|port| step.matches(&format!("\n    p{port} < ")).count())
}

fn sent(frame: &[u8]) -> String {
    match frame.len() {
        0..=SHOWN => hex(frame),
        length => format!("{} … {length} bytes, {:08x}", hex(&frame[..SHOWN]), sum(frame)),
    }
}

fn received(frame: &[u8], sent: &[u8]) -> String {
    let common = frame.iter().rev().zip(sent.iter().rev()).take_while(|(one, other)| one == other).count();
    if frame == sent {
        "same".into()
    } else if common < LEAST_COMMON {
        hex(frame)
    } else {
        format!("{} +{common}", hex(&frame[..frame.len() - common]))
    }
}

/// Addresses and the rest.
fn hex(bytes: &[u8]) -> String {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts = [bytes.get(..6), bytes.get(6..12), bytes.get(12..14), bytes.get(14..)];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).map(digits).collect::<Vec<_>>().join(" ")
}

/// FNV-1a.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Takes out of the IPv4 headers of tunnels and of errors what their maker chose (RFC 6864), with the checksum, which must
/// have been right.
fn without_identification(packet: &mut [u8]) {
    const HEADER: usize = 20;
    const UDP: u8 = 17;
    const LOCAL: [u8; 4] = [192, 0, 2, 1];
    if packet.len() <= HEADER || packet[0] != 0x45 || checksum(&packet[..HEADER]) != 0 {
        return;
    }
    match (packet[9], packet[HEADER]) {
        (4, _) => without_identification(&mut packet[HEADER..]),
        (1, 3 | 11) => {}
        (UDP, _) if packet[12..16] == LOCAL => {} // of a tunnel's end itself
        _ => return,
    }
    packet[4..6].fill(0);
    packet[10..12].fill(0);
}
