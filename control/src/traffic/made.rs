//! Frames that the kernel makes: a program that makes of every frame it is run on the next one of a stream, and sends it when it is due.
#![allow(clippy::cast_possible_truncation)] // places, counts and lengths of a checked stream are small

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rigswitch_dataplane::sys::bpf::array::Array;
use rigswitch_dataplane::sys::bpf::insn::{Insn, Math, Program as Code, Reg, Size, When};
use rigswitch_dataplane::sys::bpf::{Kind, Program, Traits};
use rigswitch_dataplane::sys::time;

use super::generator::{MADE_UP, Made};
use super::stream::FCS;
use super::{Amount, Stream, TrafficError, stamp};

use Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};

/// The longest frame that can be made so, with its FCS: a page with the kernel's own notes of it in it (net/bpf/test_run.c).
pub(super) const LONGEST: usize = 3400;

/// A stream, ready to be made.
#[derive(Debug)]
pub(super) struct Maker {
    /// The longest frame with its pattern: what the kernel makes copies of.
    frame: Vec<u8>,
    state: Array,
    program: Program,
}

/// The program is run so many times in a row: enough to make what a row costs small, few enough to be stopped soon.
const ROW: u64 = 1 << 20;

/// Frames of a row that are on their way together, and those when each should leave when it is due.
const BATCH: u32 = 64;
const PACED_BATCH: u32 = 8;

impl Maker {
    /// Gets ready to make `stream`, and to send it by the device of this number.
    pub(super) fn new(stream: &Stream, ifindex: u32) -> Result<Self, TrafficError> {
        let words = HEADS + stream.sizes.len() * HEAD;
        let denied = TrafficError::system("a map for the generator");
        let state = Array::new(1, u32::try_from(words).unwrap_or(u32::MAX)).map_err(denied)?;
        let largest = stream.largest();
        for (at, size) in stream.sizes.iter().enumerate() {
            let mut head = stream.head(*size);
            head.resize(CUT * 8, 0);
            for (word, bytes) in head.as_chunks().0.iter().enumerate() {
                state.store(0, HEADS + at * HEAD + word, u64::from_ne_bytes(*bytes));
            }
            let cut = (*size as i64).wrapping_sub_unsigned(largest as u64);
            state.store(0, HEADS + at * HEAD + CUT, cut.cast_unsigned());
        }
        let code = program(stream, state.fd(), ifindex);
        let program = Program::load(Kind::Xdp(Traits::default()), "rsw_generate", &code)
            .map_err(TrafficError::program("a program for the generator"))?;
        let mut frame = stream.head(largest);
        frame.resize(stream.stamp_at() + stamp::LEN, 0);
        frame.extend(stamp::pattern(largest - FCS - frame.len()));
        Ok(Self { frame, state, program })
    }

    /// How many frames it has sent so far.
    fn progress(&self) -> u64 {
        self.state.load(0, NEXT)
    }

    /// Sends until there was enough or `stop` is set.
    pub(super) fn run(&self, pace: f64, amount: Amount, stop: &AtomicBool) -> Result<Made, TrafficError> {
        self.prepare(pace, amount);
        let paced = self.state.load(0, PACE) > 0;
        let batch = if paced { PACED_BATCH } else { BATCH };
        while !self.is_done() && !stop.load(Ordering::Relaxed) {
            let left = self.state.load(0, LIMIT) - self.progress();
            let times = if paced { ROW } else { left.min(ROW) };
            match self.program.run_live(&self.frame, times as u32, batch) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result.map_err(TrafficError::system("sending"))?,
            }
        }
        let time = self.state.load(0, LAST).saturating_sub(self.state.load(0, FIRST));
        Ok(Made { frames: self.progress(), time: Duration::from_nanos(time) })
    }

    /// `pace` nanoseconds lie between two frames.
    fn prepare(&self, pace: f64, amount: Amount) {
        let (limit, until) = match amount {
            Amount::Count(count) => (count, u64::MAX),
            Amount::For(duration) => (u64::MAX, nanoseconds(time::monotonic() + duration)),
        };
        let pace = pace * FINE;
        let late = (pace * MADE_UP).max(1000.0 * FINE);
        for (word, value) in [
            (NEXT, 0),
            (LIMIT, limit),
            (UNTIL, until),
            (DUE, 0),
            (PACE, pace.ceil() as u64),
            (LATE, late as u64),
            (FIRST, 0),
            (LAST, 0),
        ] {
            self.state.store(0, word, value);
        }
    }

    fn is_done(&self) -> bool {
        self.progress() >= self.state.load(0, LIMIT)
            || nanoseconds(time::monotonic()) >= self.state.load(0, UNTIL)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

// The state that the program and we have in common: numbers of the one row of an array.
/// The number of the frame that is next.
const NEXT: usize = 0;
/// The first that is not to be sent.
const LIMIT: usize = 1;
/// When it ends.
const UNTIL: usize = 2;
/// When the next is due, finer than nanoseconds.
const DUE: usize = 3;
/// What lies between two frames, as fine; 0 for nothing.
const PACE: usize = 4;
/// How late a frame may be for the ones behind it to be due as if it were not.
const LATE: usize = 5;
/// When the first left, and the last.
const FIRST: usize = 6;
const LAST: usize = 7;
/// For every size: the headers, and what the frame is longer than the largest, a negative number.
const HEADS: usize = 8;
const HEAD: usize = 1 << HEAD_BITS;
const HEAD_BITS: i32 = 4;
const CUT: usize = HEAD - 1;

/// Parts of a nanosecond that a pace is counted in.
const FINE: f64 = 256.0;
const FINE_BITS: i32 = 8;

// enum xdp_action
const ABORTED: i32 = 0;
const DROP: i32 = 1;

// enum bpf_func_id
const KTIME_GET_NS: i32 = 5;
const REDIRECT: i32 = 23;
const ADJUST_TAIL: i32 = 65;

/// Where a word of the state is.
const fn at(word: usize) -> i16 {
    (word * 8) as i16
}

fn program(stream: &Stream, state: i32, ifindex: u32) -> Vec<Insn> {
    // On the stack.
    const NUMBER: i16 = -8;
    const NOW: i16 = -16;
    let mut code = Code::new();
    let (drop, abort) = (code.label(), code.label());
    code.copy(R6, R1).load_row(R8, state);

    // Is there one more, and is it due?
    code.load(Size::Double, R1, R8, at(NEXT)).store(Size::Double, R10, NUMBER, R1);
    code.load(Size::Double, R2, R8, at(LIMIT)).jump(When::GreaterOrEqual, R1, R2, drop);
    code.call(KTIME_GET_NS).store(Size::Double, R10, NOW, R0);
    code.load(Size::Double, R1, R8, at(UNTIL)).jump(When::GreaterOrEqual, R0, R1, drop);
    let (ready, on_time) = (code.label(), code.label());
    code.load(Size::Double, R4, R8, at(PACE)).jump_value(When::Equal, R4, 0, ready);
    code.copy(R1, R0).math_value(Math::Left, R1, FINE_BITS);
    code.load(Size::Double, R2, R8, at(DUE)).jump(When::Greater, R2, R1, drop);
    code.copy(R3, R1).math(Math::Subtract, R3, R2).load(Size::Double, R0, R8, at(LATE));
    code.jump(When::GreaterOrEqual, R0, R3, on_time).copy(R2, R1);
    code.place(on_time).math(Math::Add, R2, R4).store(Size::Double, R8, at(DUE), R2);
    code.place(ready);

    // The headers of its size, and the rest cut off.
    code.copy(R9, R8).add(R9, at(HEADS).into());
    let sizes = stream.sizes.len() as i32;
    if sizes > 1 {
        code.load(Size::Double, R1, R10, NUMBER).math_value(Math::Rest, R1, sizes);
        code.jump_value(When::GreaterOrEqual, R1, sizes, abort); // the verifier does not see that it is less
        code.math_value(Math::Left, R1, HEAD_BITS + 3).math(Math::Add, R9, R1);
        code.copy(R1, R6).load(Size::Double, R2, R9, at(CUT)).call(ADJUST_TAIL);
        code.jump_value(When::NotEqual, R0, 0, abort);
    }
    let stamp_at = stream.stamp_at() as i16;
    code.load(Size::Word, R7, R6, 0).load(Size::Word, R1, R6, 4); // data, data_end
    code.copy(R2, R7).add(R2, i32::from(stamp_at) + stamp::LEN as i32).jump(When::Greater, R2, R1, abort);
    copy_head(&mut code, stamp_at);

    // What tells it from the others.
    code.load(Size::Double, R6, R10, NUMBER).copy(R4, R6).copy(R3, R6);
    number_flow(&mut code, stream.flows());
    vary(&mut code, stream);
    code.set_whole(R1, stamp::MAGIC.to_be().into()).store(Size::Word, R7, stamp_at, R1);
    code.math_value(Math::Or, R3, i32::from(stream.run) << 24).network_order(R3, 32);
    code.store(Size::Word, R7, stamp_at + stamp::FLOW, R3);
    code.network_order(R4, 32).store(Size::Word, R7, stamp_at + stamp::NUMBER, R4);
    code.load(Size::Double, R1, R10, NOW).copy(R2, R1).network_order(R2, 32);
    code.store(Size::Word, R7, stamp_at + stamp::TIME + 2, R2);
    code.copy(R2, R1).math_value(Math::Right, R2, 32).network_order(R2, 16);
    code.store(Size::Half, R7, stamp_at + stamp::TIME, R2);

    // Off it goes.
    let later = code.label();
    code.store(Size::Double, R8, at(LAST), R1).jump_value(When::NotEqual, R6, 0, later);
    code.store(Size::Double, R8, at(FIRST), R1).place(later);
    code.add(R6, 1).store(Size::Double, R8, at(NEXT), R6);
    code.set(R1, ifindex.cast_signed()).set(R2, 0).call(REDIRECT).exit();
    code.place(drop).set(R0, DROP).exit();
    code.place(abort).set(R0, ABORTED).exit();
    code.finish()
}

/// The headers at `R9` to the frame at `R7`.
fn copy_head(code: &mut Code, len: i16) {
    let mut done = 0;
    for (size, bytes) in [(Size::Double, 8), (Size::Word, 4), (Size::Half, 2)] {
        while len - done >= bytes {
            code.load(size, R1, R9, done).store(size, R7, done, R1);
            done += bytes;
        }
    }
}

/// Of frame `R3`, also in `R4`: its flow in `R3`, its number in the flow in `R4`.
fn number_flow(code: &mut Code, flows: u32) {
    let flows = flows.cast_signed();
    match flows {
        1 => code.set(R3, 0),
        _ => code.math_value(Math::Rest, R3, flows).math_value(Math::Divide, R4, flows),
    };
}

/// Gives the frame at `R7` what its flow, in `R3`, has other than the first. Spends `R0` to `R2`.
fn vary(code: &mut Code, stream: &Stream) {
    let flows = stream.flows();
    let firsts = stream.firsts();
    let pick = |code: &mut Code, count: u32| {
        code.copy(R1, R3);
        if count < flows {
            code.math_value(Math::Rest, R1, count.cast_signed());
        }
    };
    for (count, first, at) in [
        (stream.destination_macs.count, firsts.destination_mac, 2),
        (stream.source_macs.count, firsts.source_mac, 8),
    ] {
        if count > 1 {
            pick(code, count);
            code.add(R1, first.cast_signed()).network_order(R1, 32).store(Size::Word, R7, at, R1);
        }
    }
    let ip = stream.ip_at() as i16;
    if stream.source_ips.count > 1 || stream.destination_ips.count > 1 {
        code.set(R2, u16::MAX.into()); // the identification
        for (range, first, at) in
            [(stream.source_ips, firsts.source_ip, 14), (stream.destination_ips, firsts.destination_ip, 18)]
        {
            pick(code, range.count);
            code.math(Math::Subtract, R2, R1).add(R1, first.into()).network_order(R1, 16);
            code.store(Size::Half, R7, ip + at, R1);
        }
        code.network_order(R2, 16).store(Size::Half, R7, ip + 4, R2);
    }
    if stream.ports > 1 {
        pick(code, stream.ports);
        code.add(R1, firsts.port.into()).network_order(R1, 16).store(Size::Half, R7, ip + 20, R1);
    }
}
