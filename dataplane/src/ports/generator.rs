//! Ports that make their own frames and throw away what they are sent: what a null driver is to a forwarder. They neither
//! allocate nor call the kernel, so that what is counted or timed is the switch.

use super::{PortGone, PortIo, PortQueue};
use crate::frames::{Burst, Checksum};

/// Frames of one length from a number of stations behind this port to as many behind another.
pub struct Generator {
    length: usize,
    here: u64,
    there: u64,
    mask: u64,
    state: u64,
    burst: usize,
    checksum: Checksum,
    vlans: Option<Vlans>,
}

/// Stations that are spread over VLANs.
#[derive(Clone, Copy)]
struct Vlans {
    count: u64,
    stations: u64, // of each
    is_tagged: bool,
}

impl Generator {
    /// Frames of `length` bytes from stations behind port `here` to stations behind port `there`; `macs` stations, a power of
    /// two, behind each; at most `burst` frames a call.
    ///
    /// # Panics
    /// When the number of stations is no power of two, or a frame too short for what is written into it.
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
            vlans: None,
        }
    }

    /// The same in `count` VLANs, from 1 on: each station is of one, and sends to those of the same. `is_tagged` says whether
    /// the frames do, too.
    pub fn with_vlans(self, count: u64, is_tagged: bool) -> Self {
        let count = count.min(self.mask + 1);
        Self { vlans: Some(Vlans { count, stations: (self.mask + 1) / count, is_tagged }), ..self }
    }

    /// The VLAN of a station of that number, of as many stations behind a port.
    ///
    /// # Panics
    /// When that is no VLAN's number.
    pub fn vlan_of(station: u64, macs: u64, count: u64) -> u16 {
        let count = count.min(macs);
        u16::try_from(1 + station / (macs / count)).expect("the number of a VLAN")
    }

    /// A frame's header and the first bytes behind it: from a station, chosen by these bits, to another.
    #[inline(always)]
    fn header(&self, station: u64) -> u128 {
        let destination = self.there | station & self.mask;
        let source = self.here | station >> 3 & self.mask;
        u128::from(destination) << 80 | u128::from(source) << 32 | 0x88b5_0000
    }

    /// The same in a VLAN.
    #[inline(always)]
    fn header_in(&self, vlans: Vlans, station: u64) -> u128 {
        // The upper half of a product: a number below the other factor.
        let below = |bits: u64, limit: u64| ((bits & 0xffff) * limit) >> 16;
        let vlan = below(station, vlans.count);
        let of = |bits| vlan * vlans.stations + below(bits, vlans.stations);
        let next = if vlans.is_tagged { 0x8100_0001 + vlan } else { 0x88b5_0000 };
        let (destination, source) = (self.there | of(station >> 16), self.here | of(station >> 28));
        u128::from(destination) << 80 | u128::from(source) << 32 | u128::from(next)
    }

    #[inline(always)]
    fn fill(&mut self, io: &mut PortIo<'_>, burst: &mut Burst, header: impl Fn(&Self, u64) -> u128) {
        for _ in 0..self.burst.min(burst.spare()) {
            let Some(mut frame) = io.pool.alloc_sized(self.length) else { break };
            // A linear congruential step: every station in turn, in an order no prefetcher guesses.
            self.state =
                self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            frame.bytes_mut()[..16].copy_from_slice(&header(self, self.state >> 20).to_be_bytes());
            if self.checksum != Checksum::Complete {
                frame.set_checksum(self.checksum);
            }
            if let Err(frame) = burst.push(frame) {
                io.pool.free(frame);
            }
        }
    }

    /// The same, each frame saying this of its checksum.
    pub fn with_checksum(self, checksum: Checksum) -> Self {
        Self { checksum, ..self }
    }
}

impl PortQueue for Generator {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        match self.vlans {
            None => self.fill(io, burst, Self::header),
            Some(vlans) => self.fill(io, burst, |this, station| this.header_in(vlans, station)),
        }
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        throw_away(io, burst);
        Ok(())
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}

/// The beginnings of frames, sent in turn, each as part of a frame as long as it was; what is behind them is whatever lies there.
pub struct Repeater {
    frames: Vec<(Vec<u8>, usize)>, // what is written, and how long it is in all
    next: usize,
    burst: usize,
}

impl Repeater {
    /// Bytes of each that are written: all headers there may be.
    const WRITTEN: usize = 128;

    /// These frames over and over, at most `burst` a call; with none it only throws away.
    pub fn new(frames: &[Vec<u8>], burst: usize) -> Self {
        let written = |frame: &Vec<u8>| (frame[..frame.len().min(Self::WRITTEN)].to_vec(), frame.len());
        Self { frames: frames.iter().map(written).collect(), next: 0, burst }
    }
}

impl PortQueue for Repeater {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let count = if self.frames.is_empty() { 0 } else { self.burst.min(burst.spare()) };
        for _ in 0..count {
            let (written, length) = &self.frames[self.next];
            let Some(mut frame) = io.pool.alloc_sized(*length) else { break };
            write(frame.bytes_mut(), written);
            self.next = if self.next + 1 < self.frames.len() { self.next + 1 } else { 0 };
            if let Err(frame) = burst.push(frame) {
                io.pool.free(frame);
            }
        }
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        throw_away(io, burst);
        Ok(())
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}

/// Writes these bytes, of which there are no more than `to` has. Short frames are most of what is measured, and are two copies of half
/// a line, which may overlap, in place of a call of memcpy.
#[inline(always)]
fn write(to: &mut [u8], bytes: &[u8]) {
    const HALF: usize = 32;
    let to = &mut to[..bytes.len()];
    if let (HALF..=64, Some(first), Some(last)) =
        (bytes.len(), bytes.first_chunk::<HALF>(), bytes.last_chunk())
        && let Some(start) = to.first_chunk_mut()
    {
        *start = *first;
        if let Some(end) = to.last_chunk_mut::<HALF>() {
            *end = *last;
        }
    } else {
        to.copy_from_slice(bytes);
    }
}

fn throw_away(io: &mut PortIo<'_>, burst: &mut Burst) {
    let mut bytes = 0;
    let packets = burst.len() as u64;
    for frame in burst.drain() {
        bytes += frame.len() as u64;
        io.pool.free(frame);
    }
    io.counters.sent.add(packets, bytes);
}
