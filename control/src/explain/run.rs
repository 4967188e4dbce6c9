//! One frame through a line of its own: the stages that forward, over tables that nobody else is to notice the use of.

use rigswitch_dataplane::counters::WorkerCounters;
use rigswitch_dataplane::frames::{Burst, Checksum, Frame, Pool, PoolConfig};
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::pipeline::{Context, Line, Observer, Step, Transmit, TransmitIo};
use rigswitch_dataplane::ports::Now;
use rigswitch_dataplane::punt::Punt;
use rigswitch_dataplane::ring::ring;
use rigswitch_dataplane::tables::{MacTable, Tables, Tick};

/// A step, and how long the frame was that it happened to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The step.
    pub step: Step,
    /// Bytes.
    pub length: usize,
}

/// What became of the frame.
#[derive(Default, Debug)]
pub struct Run {
    /// Every step, in order.
    pub steps: Vec<Seen>,
    /// What would have been given to ports.
    pub sent: Vec<(DeviceId, Vec<u8>)>,
}

/// Writes it down.
struct Recorder(Vec<Seen>);

impl Observer for Recorder {
    fn see(&mut self, step: Step, frame: &Frame) {
        if !matches!(step, Step::Turn(_)) {
            self.0.push(Seen { step, length: frame.len() });
        }
    }
}

/// Ports that take everything and send nothing.
struct Sink(Vec<(DeviceId, Vec<u8>)>);

impl Transmit for Sink {
    fn transmit(&mut self, io: TransmitIo<'_>, device: DeviceId, burst: &mut Burst) {
        for frame in burst.drain() {
            self.0.push((device, frame.bytes().to_vec()));
            io.pool.free(frame);
        }
    }
}

/// Frames of packet memory: more than an egress holds at one time.
const FRAMES: usize = 512;
/// Runs, for a frame that fits no chunk.
const RUNS: usize = 300;
/// Bytes of ring to a control that does not listen.
const PUNTS: usize = 1 << 17;

/// The longest frame that there is memory for, in bytes: more than any super-frame has.
pub(crate) const LONGEST: usize = 0xffff + 64;

/// What becomes of `bytes`, received from `device`. `macs` learns from it: give a copy.
pub fn run(
    tables: &Tables,
    macs: &MacTable,
    (now, tick): (Now, Tick),
    device: DeviceId,
    bytes: &[u8],
) -> Run {
    let mut pool = Pool::new(PoolConfig::singles(FRAMES));
    if bytes.len() > pool.longest_frame() {
        let run_chunks = PoolConfig::SUPER_FRAME_CHUNKS;
        pool = Pool::new(PoolConfig { frames: FRAMES, runs: RUNS, run_chunks });
    }
    // No worker's, so that nothing is counted where workers count.
    let counters = WorkerCounters::of(u16::MAX);
    let devices = tables.devices().len();
    (0..devices).filter_map(|id| u16::try_from(id).ok()).for_each(|id| counters.prepare(DeviceId(id)));
    let mut punt = Punt::new(ring(PUNTS).0);
    punt.prepare(devices);
    let mut line = Line::default();
    line.prepare(devices);
    let (mut ports, mut observer, mut burst) = (Sink(Vec::new()), Recorder(Vec::new()), Burst::new());
    // What fits no packet memory does not come in at all.
    let Some(mut frame) = pool.frame_of(bytes) else { return Run::default() };
    // Where a sender leaves checksums unfinished nothing says so: they are looked for.
    frame.set_checksum(Checksum::Unknown);
    if burst.push(frame).is_err() {
        unreachable!("the burst was empty");
    }
    let mut cx = Context {
        tables,
        macs,
        counters: &counters,
        now,
        tick,
        pool: &mut pool,
        ports: &mut ports,
        punt: &mut punt,
        observer: &mut observer,
    };
    line.run(&mut cx, device, &mut burst);
    Run { steps: observer.0, sent: ports.0 }
}
