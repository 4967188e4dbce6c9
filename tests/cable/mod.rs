//! A port called by hand, and a cable between two: what the tests of TAP and packet ports share.
#![allow(dead_code, unreachable_pub)] // each test uses its part
#![allow(clippy::unwrap_used)] // helpers of tests are tests

pub mod wired;

use std::time::Duration;

use etherparse::PacketBuilder;
use rigswitch_dataplane::counters::DeviceCounters;
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Burst, Checksum, Frame, Pool, PoolConfig};
use rigswitch_dataplane::ports::{Now, PortGone, PortIo, PortQueue};
use rigswitch_dataplane::sys::eventfd::EventFd;
use rigswitch_dataplane::sys::poll::{Interest, PollSet};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A port of whatever kind.
pub type AnyPort = Box<dyn PortQueue + Send>;

/// A port with what it needs to be called.
pub struct Bench {
    pub port: AnyPort,
    pub pool: Pool,
    pub counters: DeviceCounters,
    pub burst: Burst,
}

impl Bench {
    pub fn new(port: impl PortQueue + Send + 'static, pool: PoolConfig) -> Self {
        let port = Box::new(port);
        Self { port, pool: Pool::new(pool), counters: DeviceCounters::default(), burst: Burst::new() }
    }

    pub fn with_io<T>(&mut self, call: impl FnOnce(&mut AnyPort, &mut PortIo<'_>, &mut Burst) -> T) -> T {
        let mut io = PortIo::new(&mut self.pool, &self.counters, Now::default());
        call(&mut self.port, &mut io, &mut self.burst)
    }

    pub fn receive(&mut self) -> Result<(), PortGone> {
        self.with_io(|port, io, burst| port.rx_burst(io, burst))
    }

    pub fn transmit(&mut self) -> Result<(), PortGone> {
        self.with_io(|port, io, burst| port.tx_burst(io, burst))
    }

    pub fn queue(&mut self, bytes: &[u8], change: impl FnOnce(&mut Frame)) {
        let mut frame = self.pool.alloc(bytes.len()).unwrap();
        assert!(frame.fill(bytes));
        change(&mut frame);
        assert!(self.burst.push(frame).is_ok());
    }

    pub fn empty(&mut self) {
        self.burst.drain().for_each(|frame| self.pool.free(frame));
    }

    /// Receives, throwing away what is not wanted, until `done`.
    pub fn receive_until(&mut self, mut done: impl FnMut(&[Frame], &DeviceCounters) -> bool) {
        let mut set = PollSet::new();
        set.add(&self.port.readiness().unwrap(), Interest::Read);
        loop {
            self.receive().unwrap();
            let enough = done(&self.burst, &self.counters);
            self.empty();
            if enough {
                return;
            }
            assert_ne!(set.wait(Some(PATIENCE)).unwrap(), 0, "what was waited for never came");
        }
    }

    pub fn dropped(&self, direction: Direction, reason: DropReason) -> u64 {
        self.counters.drops(direction, reason).volume().packets
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.empty();
        if !std::thread::panicking() {
            assert_eq!(self.pool.outstanding(), 0, "every frame came home");
        }
    }
}

/// What crossed a cable.
#[derive(Default, Debug)]
pub struct Seen {
    pub longest: usize,
    pub partial: u64,
    pub super_frames: u64,
    pub dropped: u64,
}

/// Connects two ports, all that comes out of one going into the other, while `work` runs.
pub fn cable<T>(ports: [AnyPort; 2], pool: PoolConfig, work: impl FnOnce() -> T) -> (T, Seen) {
    let stop = EventFd::new().unwrap();
    std::thread::scope(|scope| {
        let pump = scope.spawn(|| pump(ports, pool, &stop));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.ring();
        let seen = pump.join().unwrap();
        (result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), seen)
    })
}

fn pump(mut ports: [AnyPort; 2], pool: PoolConfig, stop: &EventFd) -> Seen {
    let mut pool = Pool::new(pool);
    let counters = [DeviceCounters::default(), DeviceCounters::default()];
    let mut seen = Seen::default();
    let mut burst = Burst::new();
    let mut set = PollSet::new();
    let stopped = set.add(stop, Interest::Read);
    for port in &ports {
        set.add(&port.readiness().unwrap(), Interest::Read);
    }
    loop {
        set.wait(None).unwrap();
        if set.readiness(stopped).read {
            break;
        }
        for from in [0, 1] {
            let to = 1 - from;
            let mut io = PortIo::new(&mut pool, &counters[from], Now::default());
            ports[from].rx_burst(&mut io, &mut burst).unwrap();
            for frame in burst.iter() {
                seen.longest = seen.longest.max(frame.len());
                seen.partial += u64::from(matches!(frame.checksum(), Checksum::Partial { .. }));
                seen.super_frames += u64::from(frame.gso().is_some());
            }
            let mut io = PortIo::new(&mut pool, &counters[to], Now::default());
            ports[to].tx_burst(&mut io, &mut burst).unwrap();
            burst.drain().for_each(|frame| io.discard(frame, Direction::Tx, DropReason::RingFull));
        }
    }
    assert_eq!(pool.outstanding(), 0);
    for counters in &counters {
        seen.dropped += (counters.dropped(Direction::Rx) + counters.dropped(Direction::Tx)).packets;
    }
    seen
}

/// Memory for super-frames.
pub fn ample() -> PoolConfig {
    PoolConfig { frames: 256, runs: 80, run_chunks: PoolConfig::SUPER_FRAME_CHUNKS }
}

/// A frame to `destination` with a UDP datagram of `length` bytes from 10.77.0.`from` to port 7777 of 10.77.0.1.
pub fn datagram(destination: [u8; 6], from: u8, length: usize) -> Vec<u8> {
    let packet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, from], destination)
        .ipv4([10, 77, 0, from], [10, 77, 0, 1], 64)
        .udp(7777, 7777);
    let mut frame = Vec::new();
    packet.write(&mut frame, &vec![7; length]).unwrap();
    frame
}
