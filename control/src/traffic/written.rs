//! Frames that this process writes, for what the kernel does not make: longer ones than a page, and those of a device that takes none
//! from XDP. A packet socket sends them one by one, so there are fewer.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rigswitch_dataplane::sys::packet::PacketSocket;
use rigswitch_dataplane::sys::time;

use super::generator::{MADE_UP, Made};
use super::stream::FCS;
use super::{Amount, Stream, TrafficError, stamp};

/// Frames between two looks at whether it is enough.
const STRIDE: u64 = 16;

/// A device's socket, and a frame of each size to write in.
#[derive(Debug)]
pub(super) struct Writer {
    socket: PacketSocket,
    sizes: Vec<Vec<u8>>,
}

impl Writer {
    /// Gets ready to write `stream` to the device of this number in the calling thread's namespace.
    pub(super) fn new(stream: &Stream, ifindex: u32) -> Result<Self, TrafficError> {
        let socket = PacketSocket::silent(ifindex).map_err(TrafficError::system("a packet socket"))?;
        let whole = |size: &usize| {
            let mut frame = stream.head(*size);
            frame.extend(stamp::MAGIC.to_be_bytes());
            frame.resize(stream.stamp_at() + stamp::LEN, 0);
            frame.extend(stamp::pattern(size - FCS - frame.len()));
            frame
        };
        Ok(Self { socket, sizes: stream.sizes.iter().map(whole).collect() })
    }

    /// Sends until there was enough or `stop` is set; `pace` nanoseconds lie between two frames.
    pub(super) fn run(
        &self,
        stream: &Stream,
        pace: f64,
        amount: Amount,
        stop: &AtomicBool,
    ) -> Result<Made, TrafficError> {
        let begin = time::monotonic();
        let (limit, until) = match amount {
            Amount::Count(count) => (count, Duration::MAX),
            Amount::For(duration) => (u64::MAX, begin + duration),
        };
        let (pace, mut due) = (Duration::from_secs_f64(pace / 1e9), begin);
        let late = pace.mul_f64(MADE_UP).max(Duration::from_micros(1));
        let (mut frames, mut first, mut last) = (0, None, begin);
        let mut sizes = self.sizes.clone();
        while frames < limit {
            let mut now = time::monotonic();
            while now < due && now < until && !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
                now = time::monotonic();
            }
            if now >= until || frames % STRIDE == 0 && stop.load(Ordering::Relaxed) {
                break;
            }
            due = due.max(now.saturating_sub(late)) + pace;
            let turns = sizes.len() as u64;
            let frame = &mut sizes[usize::try_from(frames % turns).unwrap_or(0)];
            write(frame, stream, frames, now);
            match self.socket.send(frame) {
                // A full queue has lost it, which the device's counter or the sink will tell.
                Err(error) if is_full(&error) => {}
                result => result.map_err(TrafficError::system("sending"))?,
            }
            first.get_or_insert(now);
            (frames, last) = (frames + 1, now);
        }
        Ok(Made { frames, time: last.saturating_sub(first.unwrap_or(last)) })
    }
}

fn is_full(error: &io::Error) -> bool {
    /// `ENOBUFS` (asm-generic/errno.h).
    const NO_BUFFERS: i32 = 105;
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(NO_BUFFERS)
}

/// Makes of a frame of its size the one of this number.
fn write(frame: &mut [u8], stream: &Stream, number: u64, now: Duration) {
    let flow = u32::try_from(number % u64::from(stream.flows())).unwrap_or(0);
    let number = number / u64::from(stream.flows());
    let firsts = stream.firsts();
    let mut put = |at: usize, bytes: &[u8]| frame[at..at + bytes.len()].copy_from_slice(bytes);
    for (count, first, at) in [
        (stream.destination_macs.count, firsts.destination_mac, 2),
        (stream.source_macs.count, firsts.source_mac, 8),
    ] {
        if count > 1 {
            put(at, &first.wrapping_add(flow % count).to_be_bytes());
        }
    }
    // What fits, by the stream's check.
    let small = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    let ip = stream.ip_at();
    let (source, destination) =
        (small(flow % stream.source_ips.count), small(flow % stream.destination_ips.count));
    put(ip + 14, &(firsts.source_ip + source).to_be_bytes());
    put(ip + 18, &(firsts.destination_ip + destination).to_be_bytes());
    put(ip + 4, &(u16::MAX - source - destination).to_be_bytes());
    put(ip + 20, &(firsts.port + small(flow % stream.ports)).to_be_bytes());
    let stamp = stream.stamp_at();
    let [_, flow @ ..] = flow.to_be_bytes();
    put(stamp + 4, &[&[stream.run][..], &flow].concat());
    let [_, _, _, _, number @ ..] = number.to_be_bytes();
    put(stamp + 8, &number);
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let [_, _, time @ ..] = now.to_be_bytes();
    put(stamp + 12, &time);
}
