//! What goes into files and comes out of them, whole and broken.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::simple_packet::SimplePacketBlock;
use pcap_file::{DataLink, Endianness, TsResolution};

use super::*;
use crate::counters::DeviceCounters;
use crate::frames::{BURST, Frame, Pool, PoolConfig};
use crate::ports::Now;

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
    Pcap::open(&PcapConfig { input: Some(path.to_owned()), output: None, pace: None })
}

/// Everything the port receives, and its drops.
fn receive_all(mut port: Pcap, pool: PoolConfig) -> (Vec<Vec<u8>>, Vec<(DropReason, u64)>) {
    let mut pool = Pool::new(pool);
    let counters = DeviceCounters::default();
    let mut burst = Burst::new();
    let mut frames = Vec::new();
    while port.input.is_some() {
        let mut io = PortIo::new(&mut pool, &counters, Now::default());
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
    let mut io = PortIo::new(&mut pool, &counters, Now { unix_ns });
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
    let mut port = Pcap::open(&PcapConfig { input: None, output: Some(file.0.clone()), pace: None }).unwrap();
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
    let mut port = Pcap { input: None, output: Some(Output::behind(file, 24)), pace: None };
    assert_eq!(send(&mut port, &frames(3), 0), (0, vec![(DropReason::PortError, 3)]));
    assert_eq!(send(&mut port, &frames(1), 0), (0, vec![(DropReason::PortError, 1)]));
}

#[test]
fn a_port_without_an_output_drops_what_it_is_to_send() {
    let mut port = Pcap::open(&PcapConfig { input: None, output: None, pace: None }).unwrap();
    assert_eq!(send(&mut port, &frames(1), 0), (0, vec![(DropReason::PortDown, 1)]));
}

/// Times and frames of a file, and what is wrong with it in the end.
fn records(path: &Path) -> (Vec<(u64, usize)>, Option<String>) {
    let mut capture = Capture::open(path).unwrap();
    let mut all = Vec::new();
    let mut wrong = None;
    while let Some(record) = capture.record() {
        match record {
            Ok(record) => all.push((record.unix_ns, record.captured().len())),
            Err(why) => wrong = Some(why.replace(path.to_str().unwrap(), "FILE")),
        }
        capture.advance();
    }
    (all, wrong)
}

#[test]
fn times_are_those_of_the_file_in_every_resolution_and_byte_order() {
    for endianness in [Endianness::Little, Endianness::Big] {
        for (ts_resolution, least) in [(TsResolution::MicroSecond, 1000), (TsResolution::NanoSecond, 1)] {
            let header = PcapHeader { ts_resolution, endianness, ..PcapHeader::default() };
            let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
            let time = Duration::new(4_000_000_000, least);
            writer.write_packet(&PcapPacket::new(time, 60, &[1; 60])).unwrap();
            let name = format!("{endianness:?}-{ts_resolution:?}.pcap");
            let file = Scratch::holding(&name, &writer.into_writer());
            let expected = 4_000_000_000_000_000_000 + u64::from(least);
            assert_eq!(records(&file.0), (vec![(expected, 60)], None), "{name}");
        }
        let mut writer = PcapNgWriter::with_endianness(Vec::new(), endianness).unwrap();
        // Microseconds unless said, nanoseconds, 1/1024 s, and seconds an hour late.
        let options = [
            vec![],
            vec![InterfaceDescriptionOption::IfTsResol(9)],
            vec![InterfaceDescriptionOption::IfTsResol(0x8a)],
            vec![InterfaceDescriptionOption::IfTsResol(0), InterfaceDescriptionOption::IfTsOffset(3600)],
        ];
        for (interface_id, options) in (0..).zip(options) {
            let interface = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
            writer.write_pcapng_block(interface).unwrap();
            let block = EnhancedPacketBlock {
                interface_id,
                timestamp: Duration::from_nanos(2048), // the writer, too, takes all units for nanoseconds
                original_len: 60,
                data: (&[1; 60]).into(),
                options: vec![],
            };
            writer.write_pcapng_block(block).unwrap();
        }
        let block = SimplePacketBlock { original_len: 61, data: (&[1; 61]).into() };
        writer.write_pcapng_block(block).unwrap();
        let file = Scratch::holding(&format!("{endianness:?}-times.pcapng"), &writer.into_inner());
        let last = 5_648_000_000_000;
        let expected = vec![(2_048_000, 60), (2048, 60), (2_000_000_000, 60), (last, 60), (last, 61)];
        assert_eq!(records(&file.0), (expected, None));
    }
}

#[test]
fn what_is_wrong_with_a_record_is_said_of_it() {
    let mut writer = PcapWriter::new(Vec::new()).unwrap();
    writer.write_packet(&PcapPacket::new(Duration::ZERO, 60, &[1; 60])).unwrap();
    let whole = writer.into_writer();
    let mut claims = whole.clone();
    claims.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 60, 1, 2, 3]);
    let cut = [&whole[..], &whole[24..whole.len() - 1]].concat();
    for (name, bytes) in [("cut.pcap", cut), ("claims.pcap", claims)] {
        let file = Scratch::holding(name, &bytes);
        let wrong = "FILE: record 2: cut short: the file ends within it, or it claims a wrong length";
        assert_eq!(records(&file.0), (vec![(0, 60)], Some(wrong.to_owned())), "{name}");
    }
}

#[test]
fn with_a_pace_records_wait_for_their_times_and_what_is_sent_for_the_end() {
    let mut writer = PcapWriter::new(Vec::new()).unwrap();
    for (milliseconds, length) in [(5, 60), (7, 61), (6, 62), (9, 63)] {
        let bytes = vec![0; length];
        let time = Duration::from_millis(milliseconds);
        writer.write_packet(&PcapPacket::new(time, u32::try_from(length).unwrap(), &bytes)).unwrap();
    }
    let mut bytes = writer.into_writer();
    bytes.truncate(bytes.len() - 1);
    let (input, output) = (Scratch::holding("paced-in.pcap", &bytes), Scratch::new("paced-out.pcap"));
    let pace = Pace::default();
    let files = |file: &Scratch| Some(file.0.clone());
    let config = PcapConfig { input: files(&input), output: files(&output), pace: Some(pace.clone()) };
    let mut port = Pcap::open(&config).unwrap();
    let mut pool = Pool::new(PoolConfig::singles(8));
    let counters = DeviceCounters::default();
    let mut burst = Burst::new();
    let mut seen = Vec::new();
    while let Some(unix_ns) = pace.next() {
        let mut io = PortIo::new(&mut pool, &counters, Now { unix_ns });
        port.rx_burst(&mut io, &mut burst).unwrap();
        seen.push((unix_ns / 1_000_000, burst.iter().map(Frame::len).collect::<Vec<_>>()));
        port.tx_burst(&mut io, &mut burst).unwrap();
    }
    // The third is late and comes with the second; the fourth is cut.
    assert_eq!(seen, [(5, vec![60]), (7, vec![61, 62])]);
    let trouble = pace.trouble().unwrap();
    assert!(trouble.contains("record 4: cut short"), "{trouble}");
    assert_eq!((pace.trouble(), pace.next()), (None, None));
    assert_eq!(std::fs::metadata(&output.0).unwrap().len(), 24, "nobody looks before the end");
    let mut io = PortIo::new(&mut pool, &counters, Now::default());
    Box::new(port).close(&mut io);
    assert_eq!(records(&output.0), (vec![(5_000_000, 60), (7_000_000, 61), (7_000_000, 62)], None));
}
