//! What a test frame carries behind its headers: who sent it and when, its place in its flow, and a pattern.
//!
//! | bytes | hold, in network order |
//! |---|---|
//! | 4 | [`MAGIC`] |
//! | 1 | the run, so that what an earlier one left on its way is told apart |
//! | 3 | the flow |
//! | 4 | the frame's number in its flow, from 0 |
//! | 6 | when it was made: nanoseconds of `CLOCK_MONOTONIC`, the low 48 bits, which last three days |
//! | … | the pattern, to the end of the frame |

use rigswitch_dataplane::sys::bpf::insn::{Label, Math, Program, Reg, Size, When};

use Reg::{R1, R2, R3, R4};

/// What every test frame begins its payload with.
pub(super) const MAGIC: u32 = 0x5253_7742;

/// Bytes of the stamp, the pattern left out.
pub(super) const LEN: usize = 18;

/// Where in the stamp the run and the flow are.
pub(super) const FLOW: i16 = 4;
/// Where the number is.
pub(super) const NUMBER: i16 = 8;
/// Where the time is.
pub(super) const TIME: i16 = 12;

/// Flows that can be told apart.
pub(super) const FLOWS: u32 = 1 << 24;

/// The first eight bytes of the pattern, and what each eight bytes have more than those before: no two are the same.
const FIRST: u64 = 0xa55a_3cc3_0ff0_9669;
const STEP: i32 = 0x1357_9bdf;

/// The pattern's first `len` bytes.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    let step = u64::from(STEP.unsigned_abs());
    let words = (0..).map(|n: u64| FIRST.wrapping_add(n.wrapping_mul(step)));
    words.flat_map(u64::to_le_bytes).take(len).collect()
}

/// Goes to `bad` unless what lies between `R2` and the end of the frame, in `end`, is the pattern; bytes beyond the first
/// `longest` are not looked at. Spends `R1` to `R4`.
pub(super) fn check_pattern(code: &mut Program, end: Reg, longest: usize, bad: Label) {
    let tail = code.label();
    code.set_whole(R4, FIRST);
    for _ in 0..longest / 8 {
        code.copy(R1, R2).add(R1, 8).jump(When::Greater, R1, end, tail);
        code.load(Size::Double, R3, R2, 0).jump(When::NotEqual, R3, R4, bad);
        code.copy(R2, R1).add(R4, STEP);
    }
    code.place(tail);
    for (size, bytes) in [(Size::Word, 4), (Size::Half, 2), (Size::Byte, 1)] {
        let next = code.label();
        code.copy(R1, R2).add(R1, bytes).jump(When::Greater, R1, end, next);
        // What is read is compared with as many low bytes of the pattern.
        code.load(size, R3, R2, 0).math(Math::Xor, R3, R4);
        code.math_value(Math::Left, R3, 64 - 8 * bytes).jump_value(When::NotEqual, R3, 0, bad);
        code.copy(R2, R1).math_value(Math::Right, R4, 8 * bytes);
        code.place(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_eight_bytes_of_the_pattern_are_like_others() {
        let words: std::collections::BTreeSet<_> = pattern(4096).chunks(8).map(<[u8]>::to_vec).collect();
        assert_eq!(words.len(), 512);
        assert_eq!(pattern(4096)[..13], pattern(13));
    }
}
