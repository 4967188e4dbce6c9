//! The generator: a program that makes of every frame it is run on the next one of a stream, and sends it when it is due.
#![allow(clippy::cast_possible_truncation)] // places, counts and lengths of a checked stream are small

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rigswitch_dataplane::sys::bpf::array::Array;
use rigswitch_dataplane::sys::bpf::insn::{Insn, Math, Program as Code, Reg, Size, When};
use rigswitch_dataplane::sys::bpf::{Kind, Program, Traits};
use rigswitch_dataplane::sys::links::Links;
use rigswitch_dataplane::sys::{cpu, time};

use super::stream::FCS;
use super::{Amount, Load, Port, Stream, TrafficError, stamp};

use Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};

/// A stream, ready to be sent from a port.
#[derive(Debug)]
pub struct Generator {
    port: Port,
    stream: Stream,
    /// The longest frame with its pattern: what the kernel makes copies of.
    frame: Vec<u8>,
    state: Array,
    program: Program,
    links: Links,
    /// The CPU that frames are made on.
    cpu: Option<usize>,
}

/// What has been sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Frames that were given to the device.
    pub frames: u64,
    /// Bytes of them, without the FCS.
    pub bytes: u64,
    /// From the first to the last.
    pub time: Duration,
    /// Of the frames, those that the device did not take: on a veth, its far end's ring was full.
    pub refused: u64,
}

impl Sent {
    /// Frames a second.
    pub fn rate(&self) -> f64 {
        match self.time.as_secs_f64() {
            seconds if seconds > 0.0 => (self.frames - 1) as f64 / seconds,
            _ => 0.0,
        }
    }
}

/// The program is run so many times in a row: enough to make what a row costs small, few enough to be stopped soon.
const ROW: u64 = 1 << 20;

/// Frames of a row that are on their way together, and those when each should leave when it is due.
const BATCH: u32 = 64;
const PACED_BATCH: u32 = 8;

/// A generator that was kept from its work makes up for so many frames, and leaves out the others: no burst that nobody asked for.
const MADE_UP: f64 = 32.0;

impl Generator {
    /// Gets ready to send `stream` from `port`, making frames on `cpu` if one is named.
    ///
    /// # Errors
    /// What is wrong with the stream, with the port, or with our privilege.
    pub fn new(port: Port, stream: Stream, cpu: Option<usize>) -> Result<Self, TrafficError> {
        stream.check()?;
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
        let code = program(&stream, state.fd(), port.index);
        let program = Program::load(Kind::Xdp(Traits::default()), "rsw_generate", &code)
            .map_err(TrafficError::program("a program for the generator"))?;
        check_port(&port, &stream)?;
        let mut frame = stream.head(largest);
        frame.resize(stream.stamp_at() + stamp::LEN, 0);
        frame.extend(stamp::pattern(largest - FCS - frame.len()));
        let links =
            Links::open(port.netns.as_deref()).map_err(TrafficError::system("watching the device"))?;
        Ok(Self { port, stream, frame, state, program, links, cpu })
    }

    /// What it sends.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// How many frames it has sent so far.
    pub fn progress(&self) -> u64 {
        self.state.load(0, NEXT)
    }

    /// Sends the stream, from its first frame on, until there was enough or `stop` is set.
    ///
    /// # Errors
    /// What the kernel says: a device that has gone, for example.
    pub fn run(&self, load: Load, stop: &AtomicBool) -> Result<Sent, TrafficError> {
        let refused_before = self.refused()?;
        self.prepare(load);
        let paced = self.state.load(0, PACE) > 0;
        let batch = if paced { PACED_BATCH } else { BATCH };
        self.port.run(|| {
            if let Some(cpu) = self.cpu {
                cpu::pin(cpu).map_err(TrafficError::system("pinning the generator"))?;
            }
            while !self.is_done() && !stop.load(Ordering::Relaxed) {
                let left = self.state.load(0, LIMIT) - self.progress();
                let times = if paced { ROW } else { left.min(ROW) };
                match self.program.run_live(&self.frame, times as u32, batch) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => result.map_err(TrafficError::system("sending"))?,
                }
            }
            Ok(())
        })??;
        let frames = self.progress();
        let time = self.state.load(0, LAST).saturating_sub(self.state.load(0, FIRST));
        Ok(Sent {
            frames,
            bytes: self.stream.bytes(frames),
            time: Duration::from_nanos(time),
            refused: self.refused()?.saturating_sub(refused_before),
        })
    }

    fn prepare(&self, load: Load) {
        let (limit, until) = match load.amount {
            Amount::Count(count) => (count, u64::MAX),
            Amount::For(duration) => (u64::MAX, nanoseconds(time::monotonic() + duration)),
        };
        let pace = load.rate.frames(&self.stream).map_or(0.0, |rate| 1e9 / rate * FINE);
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

    fn refused(&self) -> Result<u64, TrafficError> {
        self.links.tx_dropped(self.port.index).map_err(TrafficError::system("reading the device's counters"))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Frames that a device does not take are gone without a trace: say so before.
fn check_port(port: &Port, stream: &Stream) -> Result<(), TrafficError> {
    let mtu = port.device.mtu().map_err(TrafficError::Device)? as usize;
    let longest = mtu + 14 + FCS;
    if stream.largest() > longest {
        let (size, name) = (stream.largest(), &port.name);
        return Err(TrafficError::Stream(format!(
            "size {size}: the MTU of {name}, {mtu}, lets frames of {longest} bytes through, the FCS among them"
        )));
    }
    if port.features()?.is_some_and(|features| !features.transmits) {
        let is_veth = port.device.driver().is_ok_and(|driver| driver == "veth");
        let remedy = if is_veth {
            "give the veth's far end GRO (ethtool -K DEVICE gro on) or XDP (an `xdp` port of a switch has it)"
        } else {
            "its driver cannot; send from a veth, a TAP or a card with native XDP"
        };
        return Err(TrafficError::Transmit { device: port.name.clone(), remedy: remedy.into() });
    }
    Ok(())
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
/// For every size: the headers, six numbers, and what the frame is longer than the largest, a negative one.
const HEADS: usize = 8;
const HEAD: usize = 8;
const CUT: usize = 6;

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
        code.math_value(Math::Left, R1, 6).math(Math::Add, R9, R1);
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
    code.store(Size::Word, R7, stamp_at + stamp::TIME, R2);

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
    let ip = stream.stamp_at() as i16 - 28;
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
