//! A capture read from a file, pcap or pcapng: one record after another, each with its time.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError, TsResolution};

/// A file of which one record is at hand.
pub struct Capture {
    path: PathBuf,
    reader: Reader,
    head: Head,
    data: Vec<u8>, // of the record at hand; of some kinds with padding behind
    number: u64,
    time: u64, // of the last record that had one
    read: u64,
}

/// What is at hand.
enum Head {
    /// A record of this original length.
    Record(u32),
    /// What is wrong with the record, and what would come after it is anyone's guess.
    Broken(String),
    End,
}

/// One record.
pub struct Record<'c> {
    /// When it was captured, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The frame's length, which is more than there is of it when the capture cut it.
    pub original_length: u32,
    data: &'c [u8],
}

impl<'c> Record<'c> {
    /// The frame; `None` if the file has only its beginning.
    pub fn bytes(&self) -> Option<&'c [u8]> {
        self.data.get(..usize::try_from(self.original_length).ok()?)
    }

    /// What there is of it.
    pub fn captured(&self) -> &'c [u8] {
        self.bytes().unwrap_or(self.data)
    }
}

impl Capture {
    /// Opens a file, and reads its first record.
    ///
    /// # Errors
    /// The kernel's, or `InvalidData` when it is no capture of Ethernet frames; all name the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let reader = Reader::open(path).map_err(|error| super::naming(path, error))?;
        let (head, data) = (Head::End, Vec::new());
        let mut capture = Self { path: path.to_owned(), reader, head, data, number: 0, time: 0, read: 0 };
        capture.advance();
        Ok(capture)
    }

    /// The record at hand; `None` at the end.
    ///
    /// # Errors
    /// What is wrong with the record, and with which of which file. Nothing comes after it.
    pub fn record(&self) -> Option<Result<Record<'_>, &str>> {
        match &self.head {
            Head::End => None,
            Head::Broken(why) => Some(Err(why)),
            &Head::Record(original_length) => {
                Some(Ok(Record { unix_ns: self.time, original_length, data: &self.data }))
            }
        }
    }

    /// The time of the record at hand, in nanoseconds since 1970, which is that of the one before it if it has none; `None` at the
    /// end.
    pub fn due(&self) -> Option<u64> {
        (!matches!(self.head, Head::End)).then_some(self.time)
    }

    /// The number of the record at hand, from 1 on.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes read up to the record at hand, and with it; what the file says of itself is not all counted.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Goes on to the next record.
    pub fn advance(&mut self) {
        if matches!(self.head, Head::Broken(_)) {
            self.head = Head::End;
            return;
        }
        self.number += 1;
        self.head = match self.reader.next(&mut self.data) {
            None => Head::End,
            Some(Ok((unix_ns, original_length))) => {
                self.read += RECORD_HEADER + self.data.len() as u64;
                self.time = unix_ns.unwrap_or(self.time);
                Head::Record(original_length)
            }
            Some(Err(error)) => {
                Head::Broken(format!("{}: record {}: {}", self.path.display(), self.number, in_words(error)))
            }
        };
    }
}

/// Bytes of a record of a pcap file before its frame.
const RECORD_HEADER: u64 = 16;

fn in_words(error: PcapError) -> String {
    match error {
        PcapError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "cut short: the file ends within it, or it claims a wrong length".to_owned()
        }
        PcapError::IoError(error) => error.to_string(),
        PcapError::InvalidField(what) => what.to_owned(),
        error => error.to_string(),
    }
}

type Source = Box<dyn Read + Send>;

enum Reader {
    Pcap(PcapReader<Source>, TsResolution),
    PcapNg(PcapNgReader<Source>, Vec<Units>),
}

impl Reader {
    fn open(path: &Path) -> io::Result<Self> {
        const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a]; // a section header block, in either byte order
        // A worker reads it and must not wait: a pipe would make it, and opening one waits already.
        if !path.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file, which a capture to read must be",
            ));
        }
        let mut file = File::open(path)?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)?;
        let source: Source = Box::new(Cursor::new(magic).chain(file));
        if magic == PCAPNG {
            return Ok(Self::PcapNg(PcapNgReader::new(source).map_err(super::invalid)?, Vec::new()));
        }
        let reader = PcapReader::new(source).map_err(super::invalid)?;
        ethernet(reader.header().datalink).map_err(super::invalid)?;
        let resolution = reader.header().ts_resolution;
        Ok(Self::Pcap(reader, resolution))
    }

    /// Puts the next record in `data`, and answers its time, if it has one, and its original length; `None` at the end.
    fn next(&mut self, data: &mut Vec<u8>) -> Option<Result<(Option<u64>, u32), PcapError>> {
        data.clear();
        match self {
            Self::Pcap(reader, resolution) => Some(reader.next_raw_packet()?.map(|packet| {
                data.extend_from_slice(&packet.data);
                let fraction = match resolution {
                    TsResolution::MicroSecond => u64::from(packet.ts_frac) * 1000,
                    TsResolution::NanoSecond => u64::from(packet.ts_frac),
                };
                (Some(u64::from(packet.ts_sec) * SECOND + fraction), packet.orig_len)
            })),
            Self::PcapNg(reader, interfaces) => loop {
                match reader.next_block()? {
                    Err(error) => return Some(Err(error)),
                    Ok(block) => match packet(block, interfaces, data) {
                        Ok(None) => {}
                        Ok(Some(packet)) => return Some(Ok(packet)),
                        Err(error) => return Some(Err(error)),
                    },
                }
            },
        }
    }
}

/// The packet of a block, if it has one.
fn packet(
    block: Block<'_>,
    interfaces: &mut Vec<Units>,
    data: &mut Vec<u8>,
) -> Result<Option<(Option<u64>, u32)>, PcapError> {
    /// More than any capture has, and little enough to be remembered.
    const INTERFACES: usize = 1 << 16;
    let units = |interface: u32| {
        let known = usize::try_from(interface).ok().and_then(|place| interfaces.get(place));
        known.copied().unwrap_or_default()
    };
    match block {
        Block::EnhancedPacket(packet) => {
            data.extend_from_slice(&packet.data);
            // The parser takes all units for nanoseconds.
            let time = units(packet.interface_id).nanoseconds(packet.timestamp.as_nanos());
            Ok(Some((Some(time), packet.original_len)))
        }
        Block::Packet(packet) => {
            data.extend_from_slice(&packet.data);
            let time = units(packet.interface_id.into()).nanoseconds(packet.timestamp.into());
            Ok(Some((Some(time), packet.original_len)))
        }
        Block::SimplePacket(packet) => {
            data.extend_from_slice(&packet.data);
            Ok(Some((None, packet.original_len)))
        }
        Block::SectionHeader(_) => {
            interfaces.clear();
            Ok(None)
        }
        Block::InterfaceDescription(interface) => {
            ethernet(interface.linktype)?;
            if interfaces.len() == INTERFACES {
                return Err(PcapError::InvalidField("more than 65536 interfaces"));
            }
            interfaces.push(Units::of(&interface));
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn ethernet(link: DataLink) -> Result<(), PcapError> {
    match link {
        DataLink::ETHERNET => Ok(()),
        _ => Err(PcapError::InvalidField("not captured from Ethernet")),
    }
}

const SECOND: u64 = 1_000_000_000;

/// What an interface of a pcapng file counts time in, and from when (`if_tsresol` and `if_tsoffset`).
#[derive(Clone, Copy)]
struct Units {
    resolution: u8,
    offset: i64,
}

impl Default for Units {
    fn default() -> Self {
        Self { resolution: 6, offset: 0 }
    }
}

impl Units {
    fn of(interface: &InterfaceDescriptionBlock<'_>) -> Self {
        let mut units = Self::default();
        for option in &interface.options {
            match option {
                InterfaceDescriptionOption::IfTsResol(resolution) => units.resolution = *resolution,
                InterfaceDescriptionOption::IfTsOffset(seconds) => units.offset = seconds.cast_signed(),
                _ => {}
            }
        }
        units
    }

    /// This many units, in nanoseconds since 1970; what is before that is taken for it, and what is after the last second of a pcap
    /// file, in 2106, for that.
    fn nanoseconds(self, count: u128) -> u64 {
        const BINARY: u8 = 0x80;
        const LAST: i128 = u32::MAX as i128 * SECOND as i128;
        let exponent = u32::from(self.resolution & !BINARY);
        let count = count.min(u64::MAX.into());
        let elapsed = match self.resolution & BINARY {
            0 => count.saturating_mul(SECOND.into()) / 10u128.checked_pow(exponent).unwrap_or(u128::MAX),
            _ => count.saturating_mul(SECOND.into()).checked_shr(exponent).unwrap_or(0),
        };
        let elapsed = i128::try_from(elapsed).unwrap_or(i128::MAX);
        let from = i128::from(self.offset) * i128::from(SECOND);
        u64::try_from(elapsed.saturating_add(from).clamp(0, LAST)).unwrap_or(0)
    }
}
