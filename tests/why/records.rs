//! Frames out of captures, whole and cut, and files that are none; the longest frames there are.

use std::fs::{self, File};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
use pcap_file::pcapng::blocks::simple_packet::SimplePacketBlock;

use super::command::{self, Folder, TWO_PORTS};
use super::rig::frame;
use super::{A, APART, B, BROADCAST, EXPERIMENT};

/// A pcap file of these frames, of each of which it has so many bytes.
fn pcap(folder: &Folder, name: &str, link: DataLink, frames: &[(Vec<u8>, usize)]) {
    let header = PcapHeader { datalink: link, snaplen: 1 << 18, ..PcapHeader::default() };
    let mut file = PcapWriter::with_header(File::create(folder.path(name)).unwrap(), header).unwrap();
    for (frame, kept) in frames {
        let length = u32::try_from(frame.len()).unwrap();
        file.write_packet(&PcapPacket::new(Duration::ZERO, length, &frame[..*kept])).unwrap();
    }
}

#[test]
fn a_frame_of_a_capture_is_explained_as_if_it_came_in_now() {
    let folder = Folder::new("record");
    folder.write("rig.toml", APART);
    let frames = [frame(BROADCAST, A, EXPERIMENT, 60, 1), frame(B, A, EXPERIMENT, 1200, 2)];
    let whole: Vec<_> = frames.iter().map(|frame| (frame.clone(), frame.len())).collect();
    pcap(&folder, "two.pcap", DataLink::ETHERNET, &whole);
    let mut ng = PcapNgWriter::new(File::create(folder.path("two.pcapng")).unwrap()).unwrap();
    let interface = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options: vec![] };
    ng.write_pcapng_block(interface).unwrap();
    let length = |n: usize| u32::try_from(frames[n].len()).unwrap();
    ng.write_pcapng_block(EnhancedPacketBlock {
        interface_id: 0,
        timestamp: Duration::ZERO,
        original_len: length(0),
        data: frames[0].as_slice().into(),
        options: vec![],
    })
    .unwrap();
    ng.write_pcapng_block(SimplePacketBlock { original_len: length(1), data: frames[1].as_slice().into() })
        .unwrap();
    for file in ["two.pcap", "two.pcapng"] {
        let first = folder.ask(&format!("explain -c rig.toml --port p0 --pcap {file}"));
        assert!(first.starts_with("02:00:00:00:00:0a → ff:ff:ff:ff:ff:ff, 0x88b5, 60 bytes\n"), "{first}");
        assert!(first.ends_with("leaves by p1\n"), "{first}");
        let second = folder.ask(&format!("explain -c rig.toml --port p1 --pcap {file} --record 2"));
        assert!(second.contains("02:00:00:00:00:02 is behind p2 (static)  [rig.toml:26]"), "{second}");
        assert!(second.ends_with("  out      p2, 1200 bytes\nleaves by p2\n"), "{second}");
    }

    // What a capture left out is not known, but its length is.
    pcap(&folder, "cut.pcap", DataLink::ETHERNET, &[(frames[1].clone(), 96)]);
    let cut = folder.say("explain -c rig.toml --port p1 --pcap cut.pcap");
    assert!(cut.out.ends_with("  out      p2, 1200 bytes\nleaves by p2\n"), "{cut:?}");
    assert_eq!(cut.err, "rigswitch: cut.pcap: record 1 has 96 of 1200 bytes: the rest is taken for zeros\n");
}

#[test]
fn a_capture_that_is_none_or_not_whole_is_refused_in_one_line() {
    let folder = Folder::new("odd-record");
    folder.write("rig.toml", APART);
    let sent = frame(BROADCAST, A, EXPERIMENT, 60, 1);
    pcap(&folder, "one.pcap", DataLink::ETHERNET, &[(sent.clone(), 60)]);
    pcap(&folder, "raw.pcap", DataLink::RAW, &[(sent, 60)]);
    let one = fs::read(folder.path("one.pcap")).unwrap();
    let torn = [&one[..], &one[24..60]].concat();
    fs::write(folder.path("torn.pcap"), torn).unwrap();
    let mut giant = one.clone();
    giant[36..40].copy_from_slice(&u32::MAX.to_ne_bytes());
    fs::write(folder.path("giant.pcap"), giant).unwrap();
    fs::write(folder.path("empty.pcap"), "").unwrap();
    for (words, why) in [
        ("--pcap one.pcap --record 2", "one.pcap: there is no record 2: it has 1"),
        ("--pcap raw.pcap", "not captured from Ethernet"),
        ("--pcap torn.pcap --record 2", "torn.pcap: record 2: cut short"),
        ("--pcap giant.pcap", "a frame of 65600 bytes: the longest that there can be has 65599"),
        ("--pcap empty.pcap", "empty.pcap: "),
        ("--pcap .", ".: not a regular file"),
        ("--pcap /dev/zero", "/dev/zero: not a regular file"),
        ("--pcap rig.toml", "rig.toml: "),
    ] {
        let said = folder.say(&format!("explain -c rig.toml --port p0 {words}"));
        let last = said.err.lines().last().unwrap_or_default();
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{words}: {said:?}");
        assert!(last.contains(why) && said.err.lines().count() <= 2, "{words}: {said:?}");
    }
    assert_eq!(folder.say("explain -c rig.toml --port p0 --pcap one.pcap --record 0").code, Some(2));
}

#[test]
fn the_longest_frames_are_explained_and_longer_ones_are_not() {
    let folder = Folder::new("longest");
    let _switch = folder.start(&TWO_PORTS.replace("memory = true", "memory = true\nmtu = 65535"));
    let out = folder.ask("explain --port p0 eth / payload 65000");
    assert!(out.ends_with("  out     p1, 65014 bytes\nleaves by p1\n"), "{out}");
    let sent = frame(BROADCAST, A, EXPERIMENT, 65_600, 1);
    pcap(&folder, "long.pcap", DataLink::ETHERNET, &[(sent, 65_600)]);
    let long = folder.say("explain --port p0 --pcap long.pcap");
    let line = "rigswitch: a frame of 65600 bytes: the longest that there can be has 65599\n";
    assert_eq!((long.code, &*long.err), (Some(1), line));
    let body = format!(r#"{{"port":"p0","frame":"{}"}}"#, "02".repeat(65_600));
    let head = format!("POST /v1/explain HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = command::http(&folder.socket(), &(head + &body));
    assert!(answer.starts_with("HTTP/1.0 409 ") && answer.contains("a frame of 65600 bytes"), "{answer}");
}
