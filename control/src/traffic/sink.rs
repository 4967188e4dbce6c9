//! The sink: an XDP program that counts the frames of a generator, and checks their order, their bytes and their delay.
#![allow(clippy::cast_possible_truncation)] // places and counts are small

use std::io;
use std::time::Duration;

use rigswitch_dataplane::sys::bpf::array::Array;
use rigswitch_dataplane::sys::bpf::insn::{Insn, Label, Math, Program as Code, Reg, Size, When};
use rigswitch_dataplane::sys::bpf::{Attach, Kind, Link, Program, Traits};
use rigswitch_dataplane::sys::cpu;

use super::{Port, TrafficError, made, stamp};

use Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};

/// A port whose test frames are counted, and end there; all others go on to the host.
#[derive(Debug)]
pub struct Sink {
    /// A row for every CPU, so that none waits for another.
    counters: Array,
    /// A row for every flow.
    flows: Array,
    attach: Attach,
    _link: Link,
}

/// What a sink is to expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expect {
    /// Whose order is checked: so many flows, from the first on.
    pub flows: u32,
    /// Bytes before the IP header that a plain frame has not: 4 where they arrive with a tag.
    pub added: usize,
}

/// What has arrived.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// Test frames, those among them that are wrong in some way too.
    pub frames: u64,
    /// Their bytes, without the FCS.
    pub bytes: u64,
    /// Numbers that did not come, each before a higher one of its flow; what of a flow is still to come is not known of here.
    pub missing: u64,
    /// Frames that came behind one with a higher number of their flow (RFC 4737 §3).
    pub reordered: u64,
    /// Frames that had come before (RFC 5560).
    pub duplicated: u64,
    /// Frames whose length or payload is not what was sent.
    pub corrupted: u64,
    /// Frames of flows beyond those whose order is checked.
    pub unchecked: u64,
    /// Other frames, which were left to the host.
    pub foreign: u64,
    /// From the first to the last.
    pub time: Duration,
    /// How long each was on its way.
    pub latencies: Latencies,
}

impl Received {
    /// Frames a second.
    pub fn rate(&self) -> f64 {
        match self.time.as_secs_f64() {
            seconds if seconds > 0.0 => (self.frames - 1) as f64 / seconds,
            _ => 0.0,
        }
    }
}

impl Sink {
    /// Counts the frames of every run from now on: in the driver where it can, else in the stack.
    ///
    /// # Errors
    /// When the port has a program, and without privilege.
    pub fn new(port: Port, expect: Expect) -> Result<Self, TrafficError> {
        let map = TrafficError::system("a map for the sink");
        let cpus = cpu::possible() as u32;
        let counters = Array::new(cpus, COUNTERS as u32).map_err(&map)?;
        let flows = Array::new(expect.flows.clamp(1, stamp::FLOWS), FLOW_WORDS).map_err(&map)?;
        let load = |frags| {
            let code = program(&counters, &flows, expect, frags);
            Program::load(Kind::Xdp(Traits { frags, bound_to: None }), "rsw_sink", &code)
                .map_err(TrafficError::program("a program for the sink"))
        };
        // With frames in several buffers a veth keeps its MTU, where the kernel knows of them.
        let program = load(true).or_else(|_| load(false))?;
        let attach = |mode| port.run(|| program.attach_xdp(port.index, mode)).map(|link| (link, mode));
        let (link, attach) = match attach(Attach::Native)? {
            (Err(error), _) if error.kind() != io::ErrorKind::ResourceBusy => attach(Attach::Generic)?,
            native => native,
        };
        let link = link.map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => TrafficError::Taken(port.name.clone()),
            _ => TrafficError::system("attaching the sink")(error),
        })?;
        Ok(Self { counters, flows, attach, _link: link })
    }

    /// Whether it counts in the driver, and not in the stack behind it.
    pub fn is_native(&self) -> bool {
        self.attach == Attach::Native
    }

    /// Counts from nothing again, and only the frames of this run. To be called when none are on their way: of those that are, some
    /// may be counted still.
    pub fn restart(&self, run: u8) {
        let rows = || 0..self.counters.rows();
        rows().for_each(|row| self.counters.store(row, RUN, u64::from(run) + 1));
        for row in rows() {
            (0..COUNTERS).filter(|&word| word != RUN).for_each(|word| self.counters.store(row, word, 0));
        }
        (0..self.flows.rows()).for_each(|row| self.flows.store(row, WINDOW, 0));
    }

    /// How many test frames have arrived so far.
    pub fn frames(&self) -> u64 {
        (0..self.counters.rows()).map(|row| self.counters.load(row, FRAMES)).sum()
    }

    /// What has arrived so far.
    pub fn received(&self) -> Received {
        let rows = || 0..self.counters.rows();
        let sum = |word| rows().map(|row| self.counters.load(row, word)).sum::<u64>();
        let first = rows().map(|row| self.counters.load(row, FIRST)).filter(|&at| at > 0).min().unwrap_or(0);
        let last = rows().map(|row| self.counters.load(row, LAST)).max().unwrap_or(0);
        Received {
            frames: sum(FRAMES),
            bytes: sum(BYTES),
            // One CPU may have missed what another saw come late.
            missing: rows().fold(0, |sum: u64, row| sum.wrapping_add(self.counters.load(row, MISSING))),
            reordered: sum(REORDERED),
            duplicated: sum(DUPLICATED),
            corrupted: sum(CORRUPTED),
            unchecked: sum(UNCHECKED),
            foreign: sum(FOREIGN),
            time: Duration::from_nanos(last.saturating_sub(first)),
            latencies: Latencies((0..Latencies::BUCKETS).map(|bucket| sum(BUCKETS + bucket)).collect()),
        }
    }
}

/// How long frames were on their way: how many so long, in steps of at most a 64th.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Nanoseconds up to 128 one by one, then 64 steps from each power of two to the next, up to 2³⁸, which is more than four
    /// minutes; in the last one is what takes longer.
    const BUCKETS: usize = 128 + 31 * 64;

    /// How many frames were on their way for so long: the longest time of each step, and how many.
    pub fn steps(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let filled = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(bucket, &count)| (Duration::from_nanos(longest(bucket)), count))
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that this part of the frames, 0.5 or 0.99 for example, took no longer than; nothing without frames.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = ((self.count() as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        self.steps().find_map(|(time, count)| {
            seen += count;
            (seen >= wanted).then_some(time)
        })
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        self.steps().last().map(|(time, _)| time)
    }
}

/// The longest time in a bucket, in nanoseconds.
fn longest(bucket: usize) -> u64 {
    match bucket {
        0..128 => bucket as u64,
        _ => {
            let (power, step) = ((bucket - 64) / 64, (bucket - 64) % 64);
            ((64 + step as u64 + 1) << power) - 1
        }
    }
}

// Numbers of a CPU's row.
const FRAMES: usize = 0;
const BYTES: usize = 1;
const REORDERED: usize = 2;
const DUPLICATED: usize = 3;
const CORRUPTED: usize = 4;
const UNCHECKED: usize = 5;
const FOREIGN: usize = 6;
const FIRST: usize = 7;
const LAST: usize = 8;
/// The run that counts, plus one; 0 for all.
const RUN: usize = 9;
const MISSING: usize = 10;
const BUCKETS: usize = 16;
const COUNTERS: usize = BUCKETS + Latencies::BUCKETS;

// Numbers of a flow's row. The first holds, in its low half, the number that is next, and above the run plus one, so that 0 is
// a flow of which nothing came yet. The second has a bit for each of the last 64 numbers that came, the last the lowest.
const FLOW_WORDS: u32 = 2;
const EXPECTED: usize = 0;
const WINDOW: usize = 1;

// enum xdp_action
const DROP: i32 = 1;
const PASS: i32 = 2;

// enum bpf_func_id
const MAP_LOOKUP: i32 = 1;
const KTIME_GET_NS: i32 = 5;
const GET_SMP_PROCESSOR_ID: i32 = 8;
const XDP_GET_BUFF_LEN: i32 = 188;

/// Where on the stack the frame's length is.
const LENGTH: i16 = -16;

/// Where a word of a row is.
const fn at(word: usize) -> i16 {
    (word * 8) as i16
}

/// Counts one more in the row of the CPU, at `R8`. Spends `R0`.
fn count(code: &mut Code, word: usize) {
    code.load(Size::Double, R0, R8, at(word)).add(R0, 1).store(Size::Double, R8, at(word), R0);
}

/// `R0` = the row of `map` whose number is in `R1`, or 0. Spends `R1` to `R5`.
fn look_up(code: &mut Code, map: &Array) {
    const KEY: i16 = -4;
    code.store(Size::Word, R10, KEY, R1);
    code.load_map(R1, map.fd()).copy(R2, R10).add(R2, KEY.into()).call(MAP_LOOKUP);
}

/// The frame is from `R6` to `R7` all the way, or, of one in several buffers (`frags`), its first.
fn program(counters: &Array, flows: &Array, expect: Expect, frags: bool) -> Vec<Insn> {
    let stamp_at = 42 + expect.added as i16;
    let mut code = Code::new();
    let (foreign, pass, checked) = (code.label(), code.label(), code.label());
    code.load(Size::Word, R6, R1, 0).load(Size::Word, R7, R1, 4); // data, data_end
    match frags {
        true => code.call(XDP_GET_BUFF_LEN),
        false => code.copy(R0, R7).math(Math::Subtract, R0, R6),
    };
    code.store(Size::Double, R10, LENGTH, R0);
    code.call(GET_SMP_PROCESSOR_ID).copy(R1, R0);
    look_up(&mut code, counters);
    code.jump_value(When::Equal, R0, 0, pass).copy(R8, R0);

    // Is it one of ours?
    code.copy(R1, R6).add(R1, i32::from(stamp_at) + stamp::LEN as i32).jump(When::Greater, R1, R7, foreign);
    code.load(Size::Word, R1, R6, stamp_at).set_whole(R2, stamp::MAGIC.to_be().into());
    code.jump(When::NotEqual, R1, R2, foreign);
    let wanted = code.label();
    code.load(Size::Double, R2, R8, at(RUN)).jump_value(When::Equal, R2, 0, wanted);
    code.load(Size::Byte, R1, R6, stamp_at + stamp::FLOW).add(R1, 1).jump(When::NotEqual, R1, R2, foreign);
    code.place(wanted);

    count(&mut code, FRAMES);
    code.load(Size::Double, R1, R10, LENGTH);
    code.load(Size::Double, R0, R8, at(BYTES)).math(Math::Add, R0, R1).store(Size::Double, R8, at(BYTES), R0);
    measure(&mut code, stamp_at);
    check_order(&mut code, stamp_at, flows, checked);
    // Last, for the verifier follows what comes behind it once for every length.
    code.place(checked);
    check_bytes(&mut code, stamp_at);
    code.set(R0, DROP).exit();
    code.place(foreign);
    count(&mut code, FOREIGN);
    code.place(pass).set(R0, PASS).exit();
    code.finish()
}

/// The length that the IP header tells, and the pattern, which is not looked at beyond the first buffer.
fn check_bytes(code: &mut Code, stamp_at: i16) {
    let (bad, good) = (code.label(), code.label());
    let ip = stamp_at - 28;
    code.load(Size::Half, R1, R6, ip + 2).network_order(R1, 16).add(R1, ip.into());
    code.load(Size::Double, R2, R10, LENGTH).jump(When::NotEqual, R1, R2, bad);
    code.copy(R2, R6).add(R2, i32::from(stamp_at) + stamp::LEN as i32);
    stamp::check_pattern(code, R7, made::LONGEST, bad);
    code.go(good).place(bad);
    count(code, CORRUPTED);
    code.place(good);
}

/// When it came, and how long after it was made.
fn measure(code: &mut Code, stamp_at: i16) {
    let later = code.label();
    code.call(KTIME_GET_NS).store(Size::Double, R8, at(LAST), R0);
    code.load(Size::Double, R1, R8, at(FIRST)).jump_value(When::NotEqual, R1, 0, later);
    code.store(Size::Double, R8, at(FIRST), R0).place(later);

    // 48 bits of time, of both.
    code.load(Size::Half, R1, R6, stamp_at + stamp::TIME).network_order(R1, 16).math_value(
        Math::Left,
        R1,
        32,
    );
    code.load(Size::Word, R2, R6, stamp_at + stamp::TIME + 2).network_order(R2, 32).math(Math::Or, R1, R2);
    code.math(Math::Subtract, R0, R1).math_value(Math::Left, R0, 16).math_value(Math::Right, R0, 16);
    // The bucket: nanoseconds halved until they are less than 128, and 64 more for each time.
    let in_range = code.label();
    code.set_whole(R3, longest(Latencies::BUCKETS - 1)).jump(When::GreaterOrEqual, R3, R0, in_range);
    code.copy(R0, R3).place(in_range).set(R2, 0);
    for halvings in [16, 8, 4, 2, 1] {
        let enough = code.label();
        code.set_whole(R3, (64 << halvings) - 1).jump(When::GreaterOrEqual, R3, R0, enough);
        code.math_value(Math::Right, R0, halvings).add(R2, halvings * 64).place(enough);
    }
    // The verifier does not see that it is one of them.
    let beyond = code.label();
    code.math(Math::Add, R0, R2).math_value(Math::And, R0, 4095);
    code.jump_value(When::GreaterOrEqual, R0, Latencies::BUCKETS as i32, beyond);
    code.math_value(Math::Left, R0, 3).copy(R1, R8).math(Math::Add, R1, R0);
    code.load(Size::Double, R0, R1, at(BUCKETS)).add(R0, 1).store(Size::Double, R1, at(BUCKETS), R0);
    code.place(beyond);
}

/// Its place among those of its flow that came before.
fn check_order(code: &mut Code, stamp_at: i16, flows: &Array, checked: Label) {
    let (unchecked, newest, known, behind, late) =
        (code.label(), code.label(), code.label(), code.label(), code.label());
    code.load(Size::Word, R1, R6, stamp_at + stamp::FLOW).network_order(R1, 32).copy(R9, R1);
    code.math_value(Math::And, R1, stamp::FLOWS.cast_signed() - 1);
    look_up(code, flows);
    code.jump_value(When::Equal, R0, 0, unchecked);
    code.math_value(Math::Right, R9, 24).add(R9, 1); // the run, plus one
    code.load(Size::Word, R1, R6, stamp_at + stamp::NUMBER).network_order(R1, 32);

    // What came of the flow, if that was of this run.
    code.load(Size::Double, R2, R0, at(EXPECTED)).load(Size::Double, R3, R0, at(WINDOW));
    let news = code.label();
    code.copy(R4, R2).math_value(Math::Right, R4, 32).jump(When::NotEqual, R4, R9, news);
    code.jump_value(When::NotEqual, R3, 0, known);
    code.place(news).set(R2, 0).set(R3, 0);
    code.place(known);
    code.copy(R4, R1).math(Math::Subtract, R4, R2);
    code.math_value(Math::Left, R4, 32).math_value(Math::Right, R4, 32);
    code.jump_value(When::Greater, R4, i32::MAX, behind);

    // Ahead of all that came: the window moves on, over what is missing now.
    code.load(Size::Double, R5, R8, at(MISSING)).math(Math::Add, R5, R4).store(
        Size::Double,
        R8,
        at(MISSING),
        R5,
    );
    code.add(R4, 1).set(R5, 0).jump_value(When::Greater, R4, 63, newest);
    code.copy(R5, R3).math(Math::Left, R5, R4);
    code.place(newest).math_value(Math::Or, R5, 1).store(Size::Double, R0, at(WINDOW), R5);
    code.add(R1, 1).math_value(Math::Left, R1, 32).math_value(Math::Right, R1, 32);
    code.math_value(Math::Left, R9, 32).math(Math::Or, R1, R9).store(Size::Double, R0, at(EXPECTED), R1);
    code.go(checked);

    // Behind one that came: by how much, and was it here before?
    code.place(behind).copy(R4, R2).add(R4, -1).math(Math::Subtract, R4, R1);
    code.math_value(Math::Left, R4, 32).math_value(Math::Right, R4, 32);
    code.jump_value(When::Greater, R4, 63, late);
    let fresh = code.label();
    code.set(R5, 1).math(Math::Left, R5, R4).copy(R4, R3).math(Math::And, R4, R5);
    code.jump_value(When::Equal, R4, 0, fresh);
    count(code, DUPLICATED);
    code.go(checked);
    code.place(fresh).math(Math::Or, R3, R5).store(Size::Double, R0, at(WINDOW), R3);
    code.place(late);
    code.load(Size::Double, R5, R8, at(MISSING)).add(R5, -1).store(Size::Double, R8, at(MISSING), R5);
    count(code, REORDERED);
    code.go(checked);
    code.place(unchecked);
    count(code, UNCHECKED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_longest_time_of_their_step() {
        let mut buckets = vec![0; Latencies::BUCKETS];
        buckets[100] = 50;
        buckets[128] = 49; // 128 and 129 ns
        buckets[Latencies::BUCKETS - 1] = 1;
        let latencies = Latencies(buckets);
        let nanoseconds = |part| latencies.quantile(part).unwrap().as_nanos();
        assert_eq!(latencies.count(), 100);
        assert_eq!([0.0, 0.5, 0.51, 0.99].map(nanoseconds), [100, 100, 129, 129]);
        assert_eq!(latencies.max().unwrap().as_nanos(), (1 << 38) - 1);
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn steps_follow_one_another_without_a_gap() {
        let mut before = longest(0);
        for bucket in 1..Latencies::BUCKETS {
            let width = longest(bucket) - before;
            assert!(width >= 1 && (width == 1 || width <= before / 63), "{bucket}");
            before = longest(bucket);
        }
    }
}
