//! A port on files: receives what a pcap or pcapng file holds, and writes what it sends to a pcap file.
//!
//! Records arrive in the file's order, as fast as they are taken; the file's times are not looked at, and those written are
//! the published clock's. Reading allocates nothing a frame, but for pcapng records with options, whose list the parser
//! allocates; a burst is written in one call.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use pcap_file::pcap::{PcapHeader, PcapReader, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use super::{Now, PcapConfig, PortGone, PortIo, PortQueue};
use crate::drops::{Direction, DropReason};
use crate::frames::{BURST, Burst, Frame};

/// A port that reads one file and writes another; either may be missing.
pub struct Pcap {
    input: Option<Input>, // gone at its end
    output: Option<Output>,
}

impl Pcap {
    /// Opens the input, and makes the output, over an older one if need be.
    ///
    /// # Errors
    /// The kernel's, or `InvalidData` when the input is no capture of Ethernet frames; both name the file.
    pub fn open(config: &PcapConfig) -> io::Result<Self> {
        let input = config.input.as_deref().map(|path| Input::open(path).map_err(|e| naming(path, e)));
        let output = config.output.as_deref().map(|path| Output::create(path).map_err(|e| naming(path, e)));
        Ok(Self { input: input.transpose()?, output: output.transpose()? })
    }
}

impl PortQueue for Pcap {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        for _ in 0..burst.spare() {
            let Some(input) = &mut self.input else { break };
            if io.pool.free_frames() == 0 {
                break; // a file can wait
            }
            match input.next() {
                None => self.input = None,
                Some(Ok(Some(record))) => receive(&record, io, burst),
                Some(Ok(None)) => {}
                Some(Err(_)) => {
                    // Where the next record starts is anyone's guess.
                    io.receive_failed(0, DropReason::PortError);
                    self.input = None;
                }
            }
        }
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let written = match &mut self.output {
            Some(output) => output.write(burst, io.now).map_err(|_| DropReason::PortError),
            None => Err(DropReason::PortDown),
        };
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

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}

/// One packet of a file.
struct Record<'a> {
    data: Cow<'a, [u8]>,  // lent by the parser; of some blocks with padding behind
    original_length: u32, // more than there is when the capture cut it
}

impl Record<'_> {
    /// The frame; `None` if the file has only its beginning.
    fn bytes(&self) -> Option<&[u8]> {
        self.data.get(..usize::try_from(self.original_length).ok()?)
    }
}

fn receive(record: &Record<'_>, io: &mut PortIo<'_>, burst: &mut Burst) {
    let Some(bytes) = record.bytes().filter(|bytes| bytes.len() <= io.pool.longest_frame()) else {
        return io.receive_failed(record.data.len(), DropReason::Truncated);
    };
    let Some(mut frame) = io.pool.alloc(bytes.len()) else {
        return io.receive_failed(bytes.len(), DropReason::PoolEmpty);
    };
    let filled = frame.fill(bytes);
    debug_assert!(filled, "alloc gave the room that was asked for");
    if burst.push(frame).is_err() {
        unreachable!("the burst had room");
    }
}

type Source = Box<dyn Read + Send>;

enum Input {
    Pcap(PcapReader<Source>),
    PcapNg(PcapNgReader<Source>),
}

impl Input {
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
            return Ok(Self::PcapNg(PcapNgReader::new(source).map_err(invalid)?));
        }
        let reader = PcapReader::new(source).map_err(invalid)?;
        ethernet(reader.header().datalink).map_err(invalid)?;
        Ok(Self::Pcap(reader))
    }

    /// The next record, or `Some(Ok(None))` for a part of the file that is none; `None` at its end.
    fn next(&mut self) -> Option<Result<Option<Record<'_>>, PcapError>> {
        let record = |data, original_length| Ok(Some(Record { data, original_length }));
        match self {
            Self::Pcap(reader) => reader
                .next_raw_packet()
                .map(|packet| packet.and_then(|packet| record(packet.data, packet.orig_len))),
            Self::PcapNg(reader) => reader.next_block().map(|block| match block? {
                Block::EnhancedPacket(packet) => record(packet.data, packet.original_len),
                Block::SimplePacket(packet) => record(packet.data, packet.original_len),
                Block::Packet(packet) => record(packet.data, packet.original_len),
                Block::InterfaceDescription(interface) => ethernet(interface.linktype).map(|()| None),
                _ => Ok(None),
            }),
        }
    }
}

fn ethernet(link: DataLink) -> Result<(), PcapError> {
    match link {
        DataLink::ETHERNET => Ok(()),
        _ => Err(PcapError::InvalidField("not captured from Ethernet")),
    }
}

/// A pcap file with times in nanoseconds, whole records only.
struct Output {
    file: File,
    length: u64,     // of the records that are safely in it, with the file's header
    buffer: Vec<u8>, // the burst being written
}

impl Output {
    fn create(path: &Path) -> io::Result<Self> {
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::native(),
            snaplen: 262_144, // what tcpdump says for "all of it"
            ..PcapHeader::default()
        };
        let header = PcapWriter::with_header(Vec::new(), header).map_err(invalid)?.into_writer();
        let mut file = File::create(path)?;
        file.write_all(&header)?;
        let buffer = Vec::with_capacity(BURST * 2048);
        Ok(Self { file, length: header.len() as u64, buffer })
    }

    /// Writes all frames, or none: what a full disk took of them is taken back.
    fn write(&mut self, frames: &[Frame], now: Now) -> io::Result<()> {
        self.buffer.clear();
        for frame in frames {
            self.append(frame.bytes(), now);
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            // A pipe cannot be taken back; its reader will see a record cut short.
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            return Err(error);
        }
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    /// A record's header is seconds, nanoseconds, and the length twice, in the machine's byte order.
    fn append(&mut self, bytes: &[u8], now: Now) {
        const SECOND: u64 = 1_000_000_000;
        let length = bytes.len() as u64;
        for field in [now.unix_ns / SECOND, now.unix_ns % SECOND, length, length] {
            // The format has 32 bits for each: until 2106 for the seconds.
            let field = u32::try_from(field).unwrap_or(u32::MAX);
            self.buffer.extend_from_slice(&field.to_ne_bytes());
        }
        self.buffer.extend_from_slice(bytes);
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use pcap_file::pcap::PcapPacket;
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
    use pcap_file::pcapng::blocks::simple_packet::SimplePacketBlock;

    use super::*;
    use crate::counters::DeviceCounters;
    use crate::frames::{Pool, PoolConfig};

    /// A file of this test's own, gone with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("rigswitch-{}-{name}", std::process::id())))
        }

        fn holding(name: &str, bytes: &[u8]) -> Self {
            let scratch = Self::new(name);
            std::fs::write(&scratch.0, bytes).unwrap();
            scratch
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn reading(path: &Path) -> io::Result<Pcap> {
        Pcap::open(&PcapConfig { input: Some(path.to_owned()), output: None })
    }

    /// Everything the port receives, and its drops.
    fn receive_all(mut port: Pcap, pool: PoolConfig) -> (Vec<Vec<u8>>, Vec<(DropReason, u64)>) {
        let mut pool = Pool::new(pool);
        let counters = DeviceCounters::default();
        let mut burst = Burst::new();
        let mut frames = Vec::new();
        while port.input.is_some() {
            let mut io = PortIo { pool: &mut pool, counters: &counters, now: Now::default() };
            port.rx_burst(&mut io, &mut burst).unwrap();
            for frame in burst.drain() {
                frames.push(frame.bytes().to_vec());
                io.pool.free(frame);
            }
        }
        assert_eq!(pool.outstanding(), 0);
        (frames, drops(&counters, Direction::Rx))
    }

    fn drops(counters: &DeviceCounters, direction: Direction) -> Vec<(DropReason, u64)> {
        let count = |&reason: &DropReason| (reason, counters.drops(direction, reason).volume().packets);
        DropReason::ALL.iter().map(count).filter(|&(_, count)| count > 0).collect()
    }

    /// Sends the frames at the given time; answers frames sent, and the drops.
    fn send(port: &mut Pcap, frames: &[Vec<u8>], unix_ns: u64) -> (u64, Vec<(DropReason, u64)>) {
        let mut pool = Pool::new(PoolConfig::singles(BURST));
        let counters = DeviceCounters::default();
        let mut burst = Burst::new();
        for bytes in frames {
            let mut frame = pool.alloc(bytes.len()).unwrap();
            assert!(frame.fill(bytes));
            assert!(burst.push(frame).is_ok());
        }
        let mut io = PortIo { pool: &mut pool, counters: &counters, now: Now { unix_ns } };
        port.tx_burst(&mut io, &mut burst).unwrap();
        assert_eq!((burst.len(), pool.outstanding()), (0, 0));
        (counters.sent.volume().packets, drops(&counters, Direction::Tx))
    }

    fn frames(count: u8) -> Vec<Vec<u8>> {
        (1..=count).map(|number| vec![number; 60 + usize::from(number)]).collect()
    }

    #[test]
    fn what_is_sent_to_a_file_is_received_from_it_with_the_published_time() {
        let file = Scratch::new("round-trip.pcap");
        let mut port = Pcap::open(&PcapConfig { input: None, output: Some(file.0.clone()) }).unwrap();
        let all = frames(100);
        assert_eq!(send(&mut port, &all[..60], 1_000_000_001), (60, vec![]));
        assert_eq!(send(&mut port, &all[60..], 2_500_000_000), (40, vec![]));

        let mut reader = PcapReader::new(File::open(&file.0).unwrap()).unwrap();
        let first = reader.next_packet().unwrap().unwrap();
        assert_eq!((first.timestamp, first.orig_len), (Duration::new(1, 1), 61));
        let received = receive_all(reading(&file.0).unwrap(), PoolConfig::singles(8));
        assert_eq!(received, (all, vec![]));
    }

    #[test]
    fn every_kind_of_packet_block_is_received_from_a_pcapng_file_in_either_byte_order() {
        for endianness in [Endianness::Little, Endianness::Big] {
            let mut writer = PcapNgWriter::with_endianness(Vec::new(), endianness).unwrap();
            let interface =
                InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options: vec![] };
            writer.write_pcapng_block(interface).unwrap();
            let all = frames(3);
            for frame in &all {
                let original_len = u32::try_from(frame.len()).unwrap();
                let block = EnhancedPacketBlock {
                    interface_id: 0,
                    timestamp: Duration::ZERO,
                    original_len,
                    data: frame.into(),
                    options: vec![],
                };
                writer.write_pcapng_block(block).unwrap();
                let block = SimplePacketBlock { original_len, data: frame.into() };
                writer.write_pcapng_block(block).unwrap();
            }
            let name = format!("{endianness:?}.pcapng");
            let file = Scratch::holding(&name, &writer.into_inner());
            let twice: Vec<_> = all.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
            assert_eq!(receive_all(reading(&file.0).unwrap(), PoolConfig::singles(8)), (twice, vec![]));
        }
    }

    #[test]
    fn records_that_are_cut_or_too_long_are_named_drops_and_a_broken_file_ends() {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        let mut write = |bytes: &[u8], original| {
            writer.write_packet(&PcapPacket::new(Duration::ZERO, original, bytes)).unwrap();
        };
        write(&[1; 60], 60);
        write(&[2; 60], 1500); // the capture kept the beginning
        write(&[3; 5000], 5000);
        write(&[4; 60], 60);
        write(&[5; 60], 60);
        let mut bytes = writer.into_writer();
        bytes.truncate(bytes.len() - 1);
        let file = Scratch::holding("broken.pcap", &bytes);
        let (frames, drops) = receive_all(reading(&file.0).unwrap(), PoolConfig::singles(8));
        assert_eq!(frames, [vec![1; 60], vec![4; 60]]);
        assert_eq!(drops, [(DropReason::Truncated, 2), (DropReason::PortError, 1)]);
    }

    #[test]
    fn what_is_no_capture_of_ethernet_is_refused_by_name() {
        let header = PcapHeader { datalink: DataLink::RAW, ..PcapHeader::default() };
        let raw = PcapWriter::with_header(Vec::new(), header).unwrap().into_writer();
        for (name, bytes) in
            [("raw", &raw[..]), ("text", b"not a capture at all, but long enough"), ("empty", b"")]
        {
            let file = Scratch::holding(name, bytes);
            let error = reading(&file.0).err().expect(name);
            assert!(error.to_string().contains(file.0.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn what_could_make_a_worker_wait_is_refused() {
        let error = reading(Path::new("/dev/zero")).err().unwrap();
        assert_eq!(error.to_string(), "/dev/zero: not a regular file, which a capture to read must be");
    }

    #[test]
    fn a_full_disk_is_a_named_drop_and_no_more() {
        // The kernel's file that is always full; the header's write is refused as well, so it is opened behind it.
        let file = File::options().write(true).open("/dev/full").unwrap();
        let output = Output { file, length: 24, buffer: Vec::new() };
        let mut port = Pcap { input: None, output: Some(output) };
        assert_eq!(send(&mut port, &frames(3), 0), (0, vec![(DropReason::PortError, 3)]));
        assert_eq!(send(&mut port, &frames(1), 0), (0, vec![(DropReason::PortError, 1)]));
    }

    #[test]
    fn a_port_without_an_output_drops_what_it_is_to_send() {
        let mut port = Pcap::open(&PcapConfig { input: None, output: None }).unwrap();
        assert_eq!(send(&mut port, &frames(1), 0), (0, vec![(DropReason::PortDown, 1)]));
    }
}
