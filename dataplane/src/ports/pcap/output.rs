//! A pcap file that is written: times in nanoseconds, whole records only, the same bytes on every machine.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use pcap_file::pcap::{PcapHeader, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};

use crate::frames::{BURST, Frame};
use crate::ports::Now;

pub(super) struct Output {
    file: File,
    length: u64,     // of the records that are safely in it, with the file's header
    buffer: Vec<u8>, // those that are not
}

impl Output {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::Little,
            snaplen: 262_144, // what tcpdump says for "all of it"
            ..PcapHeader::default()
        };
        let header = PcapWriter::with_header(Vec::new(), header).map_err(super::invalid)?.into_writer();
        let mut file = File::create(path)?;
        file.write_all(&header)?;
        Ok(Self::behind(file, header.len() as u64))
    }

    /// Behind the header of a file, and whatever else is in it.
    pub(super) fn behind(file: File, length: u64) -> Self {
        Self { file, length, buffer: Vec::with_capacity(BURST * 2048) }
    }

    /// Takes these frames, to be written with [`Self::flush`].
    pub(super) fn append(&mut self, frames: &[Frame], now: Now) {
        for frame in frames {
            self.append_one(frame.bytes(), now);
        }
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Writes all that waits, or nothing: what a full disk took of it is taken back. Nothing waits afterwards.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        if written.is_ok() {
            self.length += self.buffer.len() as u64;
        } else {
            // A pipe cannot be taken back; its reader will see a record cut short.
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
        }
        self.buffer.clear();
        written
    }

    /// A record's header is seconds, nanoseconds, and the length twice.
    fn append_one(&mut self, bytes: &[u8], now: Now) {
        const SECOND: u64 = 1_000_000_000;
        let length = bytes.len() as u64;
        for field in [now.unix_ns / SECOND, now.unix_ns % SECOND, length, length] {
            // The format has 32 bits for each: until 2106 for the seconds.
            let field = u32::try_from(field).unwrap_or(u32::MAX);
            self.buffer.extend_from_slice(&field.to_le_bytes());
        }
        self.buffer.extend_from_slice(bytes);
    }
}
