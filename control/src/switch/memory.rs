//! How much packet memory each worker gets.

use rigswitch_dataplane::frames::{CHUNK, PoolConfig};

use super::ports::Ports;
use crate::config::SwitchConfig;

/// Frames on their way through a worker, hand-offs included, whatever its ports.
const IN_HAND: u32 = 4096;

/// Runs of chunks for long frames.
const RUNS: usize = 256;

/// The memory of every worker. The default is what its ports' queues may hold, what is in hand, and a third more, so that a
/// quarter is always free.
pub(super) fn plan(switch: &SwitchConfig, ports: &Ports) -> Vec<PoolConfig> {
    let workers = usize::from(switch.workers.count());
    let mut frames = vec![IN_HAND; workers];
    for (_, port) in ports.iter() {
        for queue in 0..port.open.len() {
            frames[port.worker_of(queue, workers)] += port.frames_per_queue();
        }
    }
    let frames = frames.into_iter().map(|needed| switch.frames.unwrap_or(needed + needed / 3));
    // A port whose frames are long may come at any time, and a copy for another worker's port is made in the memory of the
    // one that received it.
    let run_chunks = PoolConfig::SUPER_FRAME_CHUNKS;
    frames
        .map(|frames| usize::try_from(frames).unwrap_or(usize::MAX))
        .map(|frames| PoolConfig { frames, runs: RUNS, run_chunks })
        .collect()
}

/// Bytes of packet memory that a worker has at least, without its ports.
pub(crate) fn least_bytes(switch: &SwitchConfig) -> u64 {
    let frames = switch.frames.unwrap_or(IN_HAND + IN_HAND / 3);
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let chunks = u64::from(frames) + wide(RUNS) * u64::from(PoolConfig::SUPER_FRAME_CHUNKS);
    chunks * wide(CHUNK)
}

/// Frames that each of the worker's queues may lend to the kernel for receiving, so that the first to open leaves the last
/// its share, and a quarter stays free.
pub(super) fn receive_share(memory: PoolConfig, queues: usize) -> u32 {
    u32::try_from(memory.frames / 4 * 3 / queues.max(1)).unwrap_or(u32::MAX)
}
