//! A port on files: receives what a pcap or pcapng file holds, and writes what it sends to a pcap file.
//!
//! Records arrive in the file's order: as fast as they are taken, or, where somebody sets the pace, when the published clock has
//! come to their times. Times written are the published clock's. Reading allocates nothing a frame, but for pcapng records
//! with options, whose list the parser allocates; a burst is written in one call, or many are where there is a pace.

mod capture;
mod output;
mod pace;
#[cfg(test)]
mod tests;

pub use capture::{Capture, Record};
pub use pace::Pace;

use std::io;
use std::path::Path;

use pcap_file::PcapError;

use super::{PcapConfig, PortGone, PortIo, PortQueue};
use crate::drops::{Direction, DropReason};
use crate::frames::Burst;
use output::Output;

/// A port that reads one file and writes another; either may be missing.
pub struct Pcap {
    input: Option<Capture>, // gone at its end
    output: Option<Output>,
    pace: Option<Pace>,
}

impl Pcap {
    /// Opens the input, and makes the output, over an older one if need be.
    ///
    /// # Errors
    /// The kernel's, or `InvalidData` when the input is no capture of Ethernet frames; both name the file.
    pub fn open(config: &PcapConfig) -> io::Result<Self> {
        let input = config.input.as_deref().map(Capture::open).transpose()?;
        let create = |path: &Path| Output::create(path).map_err(|error| naming(path, error));
        let output = config.output.as_deref().map(create).transpose()?;
        let input = input.filter(|input| input.due().is_some());
        let port = Self { input, output, pace: config.pace.clone() };
        port.tell_pace();
        Ok(port)
    }

    fn tell_pace(&self) {
        let Some(pace) = &self.pace else { return };
        match &self.input {
            Some(input) => pace.set(input.due(), input.read()),
            None => pace.set(None, pace.read()),
        }
    }

    /// Writes what waits, if it is time to.
    fn flush_beyond(&mut self, waiting: usize) -> Result<(), DropReason> {
        let Some(output) = &mut self.output else { return Err(DropReason::PortDown) };
        if output.waiting() <= waiting {
            return Ok(());
        }
        output.flush().map_err(|error| {
            let trouble = format!("what it sends cannot be written: {error}");
            self.pace.iter().for_each(|pace| pace.tell(&trouble));
            DropReason::PortError
        })
    }
}

/// Bytes that wait to be written where there is a pace: nobody looks before the end.
const WAITING: usize = 1 << 16;

impl PortQueue for Pcap {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let now = self.pace.as_ref().map_or(u64::MAX, |_| io.now.unix_ns);
        let is_due = |input: &Capture| input.due().is_some_and(|due| due <= now);
        let Some(input) = self.input.as_mut().filter(|input| is_due(input)) else { return Ok(()) };
        // A file can wait for packet memory.
        while burst.spare() > 0 && io.pool.free_frames() > 0 && is_due(input) {
            match input.record() {
                Some(Ok(record)) => receive(&record, io, burst),
                Some(Err(why)) => {
                    self.pace.iter().for_each(|pace| pace.tell(why));
                    io.receive_failed(0, DropReason::PortError);
                }
                None => {}
            }
            input.advance();
        }
        if input.due().is_none() {
            self.input = None;
        }
        self.tell_pace();
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        if let Some(output) = &mut self.output {
            output.append(burst, io.now);
        }
        let written = self.flush_beyond(self.pace.as_ref().map_or(0, |_| WAITING));
        for frame in burst.drain() {
            match written {
                Err(reason) => io.discard(frame, Direction::Tx, reason),
                Ok(()) => {
                    io.counters.sent.add(1, frame.len() as u64);
                    io.pool.free(frame);
                }
            }
        }
        Ok(())
    }

    fn close(mut self: Box<Self>, _io: &mut PortIo<'_>) {
        // Whoever set the pace is told.
        let _ = self.flush_beyond(0);
    }
}

fn receive(record: &Record<'_>, io: &mut PortIo<'_>, burst: &mut Burst) {
    let Some(bytes) = record.bytes().filter(|bytes| bytes.len() <= io.pool.longest_frame()) else {
        return io.receive_failed(record.captured().len(), DropReason::Truncated);
    };
    let Some(frame) = io.pool.frame_of(bytes) else {
        return io.receive_failed(bytes.len(), DropReason::PoolEmpty);
    };
    if burst.push(frame).is_err() {
        unreachable!("the burst had room");
    }
}

fn invalid(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

fn naming(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
