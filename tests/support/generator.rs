//! A port that makes its own frames and throws away what it is sent: what a null driver is to a forwarder. It neither
//! allocates nor calls the kernel, so that what is counted or timed is the switch.

use rigswitch_dataplane::frames::{Burst, Checksum};
use rigswitch_dataplane::ports::{PortGone, PortIo, PortQueue};

/// Frames of one length from a number of stations behind this port to as many behind another.
pub struct Generator {
    length: usize,
    here: u64,
    there: u64,
    mask: u64,
    state: u64,
    burst: usize,
    checksum: Checksum,
}

impl Generator {
    /// Frames of `length` bytes from stations behind port `here` to stations behind port `there`; `macs` stations, a power of
    /// two, behind each; at most `burst` frames a call.
    pub fn new(length: usize, here: u16, there: u16, macs: u64, burst: usize) -> Self {
        assert!(macs.is_power_of_two() && length >= 16);
        let base = |port: u16| 0x0200_0000_0000 | u64::from(port) << 32;
        Self {
            length,
            here: base(here),
            there: base(there),
            mask: macs - 1,
            state: u64::from(here) + 1,
            burst,
            checksum: Checksum::Complete,
        }
    }

    /// The same, each frame saying this of its checksum.
    pub fn with_checksum(self, checksum: Checksum) -> Self {
        Self { checksum, ..self }
    }
}

impl PortQueue for Generator {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        for _ in 0..self.burst.min(burst.spare()) {
            let Some(mut frame) = io.pool.alloc(self.length) else { break };
            assert!(frame.set_len(self.length));
            // A linear congruential step: every station in turn, in an order no prefetcher guesses.
            self.state =
                self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let station = self.state >> 20;
            let destination = self.there | station & self.mask;
            let source = self.here | station >> 3 & self.mask;
            let header = u128::from(destination) << 80 | u128::from(source) << 32 | 0x88b5_0000;
            frame.bytes_mut()[..16].copy_from_slice(&header.to_be_bytes());
            frame.set_checksum(self.checksum);
            if let Err(frame) = burst.push(frame) {
                io.pool.free(frame);
            }
        }
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let mut bytes = 0;
        let packets = burst.len() as u64;
        for frame in burst.drain() {
            bytes += frame.len() as u64;
            io.pool.free(frame);
        }
        io.counters.sent.add(packets, bytes);
        Ok(())
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}
