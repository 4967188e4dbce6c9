//! `rigswitch capture` under traffic: what is in the file is what was on the wires, as the real tshark reads it.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use command::{Folder, PATIENCE, Process, Said, TWO_PORTS, http, said, skipped, wait_for, wait_within};
use rig::{Plug, Rig, Wire, bridge, frame};
use rigswitch::lab;
use serde_json::Value;

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const BROADCAST: [u8; 6] = [0xff; 6];
const LLDP: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 0xe];
/// An EtherType for local experiments (IEEE 802-2014 §9.2.3).
const EXPERIMENT: u16 = 0x88b5;

/// A capture that runs, killed with this.
struct Capturing {
    child: Process,
    said: BufReader<ChildStderr>,
}

impl Capturing {
    /// Starts one, and waits until it sees every frame.
    fn start(folder: &Folder, words: &[&str]) -> Self {
        let mut command = folder.command(&[&["capture"], words].concat());
        let mut child = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "rigswitch: capturing\n");
        Self { child, said }
    }

    /// Ends it as an operator does.
    fn stop(self) -> (Option<i32>, String) {
        self.child.signal("INT");
        self.end()
    }

    /// Waits for its end, and answers how it ended and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.end();
        let mut text = String::new();
        self.said.read_to_string(&mut text).unwrap();
        (status.code(), text)
    }
}

/// The end of a capture of so many frames.
fn captured(frames: u64) -> (Option<i32>, String) {
    (Some(0), format!("rigswitch: {frames} frames captured, none missed\n"))
}

/// Whether there is a tshark. Where everything is to be tested, there must be.
fn there_is_tshark(test: &str) -> bool {
    let found = Command::new("tshark").arg("--version").output().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{test} needs tshark");
        skipped(test, "it needs tshark: install the package tshark");
    }
    found
}

fn tshark(file: &Path, words: &[&str]) -> String {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(words);
    let Said { code, out, err } = said(&mut command);
    assert_eq!(code, Some(0), "{}: {err}", file.display());
    out
}

/// A packet as tshark sees it: interface, direction, comment, length and bytes.
type Packet = (String, &'static str, String, usize, Vec<u8>);

fn packets(file: &Path) -> Vec<Packet> {
    let fields = ["frame.interface_name", "frame.packet_flags_direction", "frame.comment", "frame.len"];
    let words: Vec<_> = fields.iter().flat_map(|field| ["-e", *field]).collect();
    let lines = tshark(file, &[&["-T", "fields"], &words[..]].concat());
    let json: Vec<Value> = serde_json::from_str(&tshark(file, &["-T", "json", "-x"])).unwrap();
    let bytes = json.iter().map(|packet| {
        let hex = packet["_source"]["layers"]["frame_raw"][0].as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    });
    let packet = |(line, bytes): (&str, Vec<u8>)| {
        let [interface, direction, comment, length] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let direction = match direction {
            "0x00000001" | "1" => "inbound",
            "0x00000002" | "2" => "outbound",
            other => panic!("{other} is no direction"),
        };
        (interface.into(), direction, comment.into(), length.parse().unwrap(), bytes)
    };
    assert_eq!(lines.lines().count(), json.len());
    lines.lines().zip(bytes).map(packet).collect()
}

fn packet(interface: &str, direction: &'static str, comment: &str, bytes: &[u8]) -> Packet {
    (interface.into(), direction, comment.into(), bytes.len(), bytes.to_vec())
}

/// Sends frames of these seeds from one host to the other, a few at a time, and sees each of them arrive.
fn cross(from: &Wire, to: &Wire, seeds: std::ops::Range<u64>, length: usize) {
    const AT_ONCE: usize = 48;
    let seeds: Vec<_> = seeds.collect();
    for few in seeds.chunks(AT_ONCE) {
        let few: Vec<_> = few.iter().map(|&seed| frame(B, A, EXPERIMENT, length, seed)).collect();
        few.iter().for_each(|frame| from.send(frame));
        for frame in few {
            assert!(to.receive() == frame, "the frames arrive, in order");
        }
    }
}

#[test]
fn what_comes_leaves_and_ends_is_captured_byte_for_byte() {
    let test = "capture-all";
    if !there_is_tshark(test) {
        return;
    }
    let Some(rig) = Rig::new(test, &[Plug::Veth, Plug::Tap, Plug::Tap], 1500) else { return };
    let rig = rig.quiet();
    let _switch = rig.start_bridge("2");
    let file = rig.folder.path("all.pcapng");
    let all = Capturing::start(&rig.folder, &["-w", "all.pcapng", "ether", "proto", "0x88b5"]);
    // One port, one stage, and the beginning of two frames; it ends by itself.
    let words =
        ["--port", "p1", "--stage", "tx", "-s", "20", "-c", "2", "-w", "few.pcapng", "ether src 2:0:0:0:0:a"];
    let few = Capturing::start(&rig.folder, &words);
    let wires: Vec<_> = (0..3).map(|n| rig.wire(n)).collect();
    let flood = |seed| frame(BROADCAST, A, EXPERIMENT, 60 + usize::try_from(seed).unwrap(), seed);
    let (home, reserved) = (frame(A, A, EXPERIMENT, 60, 7), frame(LLDP, A, EXPERIMENT, 60, 8));
    let mut expected = Vec::new();
    for sent in [flood(0), home.clone(), reserved.clone(), flood(701), flood(2)] {
        wires[0].send(&sent);
        expected.push(packet("p0 rx", "inbound", "", &sent));
        if sent.starts_with(&BROADCAST) {
            for n in [1, 2] {
                assert!(wires[n].receive() == sent);
                expected.push(packet(&format!("p{n} tx"), "outbound", "", &sent));
            }
        }
    }
    expected.push(packet("p0 drop", "inbound", "same_port", &home));
    expected.push(packet("p0 drop", "inbound", "reserved_address", &reserved));
    rig.settled();
    assert_eq!(all.stop(), captured(13));
    let mut seen = packets(&file);
    seen.sort();
    expected.sort();
    assert!(seen == expected, "{seen:02x?}\n{expected:02x?}");

    assert_eq!(few.end(), captured(2));
    let cut = |sent: &[u8]| ("p1 tx".into(), "outbound", String::new(), sent.len(), sent[..20].to_vec());
    assert_eq!(packets(&rig.folder.path("few.pcapng")), [cut(&flood(0)), cut(&flood(701))]);
}

#[test]
fn a_capture_is_read_as_it_comes_by_tcpdump_and_by_wireshark_as_extcap() {
    let test = "capture-pipe";
    if !there_is_tshark(test) {
        return;
    }
    let Some(rig) = Rig::new(test, &[Plug::Tap, Plug::Tap], 1500) else { return };
    let rig = rig.quiet();
    let _switch = rig.start_bridge("1");
    let (from, to) = (rig.wire(0), rig.wire(1));
    // Whoever reads ends it; the capture sees nobody read, and that is no failure.
    let mut capture = rig.folder.command(&["capture", "--port", "p0", "ether proto 0x88b5"]);
    let mut capture = Process::start(capture.stdout(Stdio::piped()).stderr(Stdio::null()));
    let pipe = capture.stdout.take().unwrap();
    let mut reader = {
        // The pipe closes here with the command: the reader alone has it.
        let mut reader = Command::new("tcpdump");
        reader.args(["-Z", "root", "-c", "2", "-ner", "-"]).stdin(pipe);
        Process::start(reader.stdout(Stdio::piped()).stderr(Stdio::null()))
    };
    let mut seeds = 0..;
    let mut send = || {
        let sent = frame(B, A, EXPERIMENT, 60, seeds.next().unwrap());
        from.send(&sent);
        assert!(to.receive() == sent);
    };
    wait_for("tcpdump to have read enough", || {
        send();
        reader.try_wait().unwrap()
    });
    let mut text = String::new();
    reader.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("02:00:00:00:00:0a > 02:00:00:00:00:0b").count(), 2, "{text}");
    let status = wait_for("the capture to end", || {
        send();
        capture.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));

    // Where Wireshark looks up to 4.0, and after it.
    for folder in [".config/wireshark/extcap", ".local/lib/wireshark/extcap"] {
        let extcap = rig.folder.path(folder);
        fs::create_dir_all(&extcap).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rigswitch"), extcap.join("rigswitch")).unwrap();
    }
    let mut wireshark = Command::new("tshark");
    wireshark.args(["-i", "rigswitch p1", "-f", "ether proto 0x88b5", "-c", "3", "-w"]);
    wireshark.arg(rig.folder.path("live.pcapng")).env("RIGSWITCH_SOCKET", rig.folder.socket());
    wireshark.env("HOME", rig.folder.path(".")).env_remove("XDG_CONFIG_HOME");
    let mut wireshark = Process::start(wireshark.stdout(Stdio::null()).stderr(Stdio::null()));
    // It asks everything in its extcap folders, twice, before it captures: on a busy machine that takes a while.
    let status = wait_within(4 * PATIENCE, "the end of tshark", || {
        send();
        wireshark.try_wait().unwrap()
    });
    assert!(status.success());
    let names = tshark(&rig.folder.path("live.pcapng"), &["-T", "fields", "-e", "frame.interface_name"]);
    assert_eq!(names, "p1 tx\n".repeat(3));
}

#[test]
fn a_super_frame_is_said_to_be_one_and_an_unfinished_checksum_too() {
    const SEGMENT: usize = 1448; // with timestamps, as every host here sends them
    let test = "capture-super";
    if !there_is_tshark(test) {
        return;
    }
    let Some(rig) = Rig::new(test, &[Plug::Tap, Plug::Tap], 1500) else { return };
    let _switch = rig.start_bridge("1");
    rig.give_addresses();
    for (file, target) in [("4", rig::v4(1)), ("6", rig::v6(1))] {
        let capture = Capturing::start(&rig.folder, &["-w", file, "-s", "128", "tcp and greater 66"]);
        lab::tcp_transfer(&rig.hosts[0], &rig.hosts[1], (target, 0).into(), 8 << 20).unwrap();
        assert_eq!(capture.stop().0, Some(0));
        let fields = ["-T", "fields", "-e", "frame.len", "-e", "frame.comment"];
        let seen = tshark(&rig.folder.path(file), &fields);
        let segment = if file == "4" { SEGMENT } else { SEGMENT - 20 };
        let headers = 1514 - segment;
        let mut cut = 0;
        for line in seen.lines() {
            let (length, comment) = line.split_once('\t').unwrap();
            let expected = match length.parse::<usize>().unwrap() > headers + segment {
                true => format!("gso tcp{file} mss {segment}, checksum partial"),
                false => "checksum partial".to_owned(),
            };
            cut += usize::from(expected.starts_with("gso"));
            assert_eq!(comment, expected, "{length}");
        }
        assert!(cut > 0, "{seen}");
    }
}

#[test]
fn what_the_switch_sends_by_itself_is_captured_where_it_leaves() {
    let test = "capture-bpdu";
    if !there_is_tshark(test) {
        return;
    }
    let Some(rig) = Rig::new(test, &[Plug::Veth, Plug::Tap], 1500) else { return };
    let rig = rig.quiet();
    let stp = "stp_state = true\npriority = 4096\naddress = \"02:00:00:00:00:fe\"\nhello_time = \"1s\"\n";
    let _switch = rig.start("1", &bridge("br0", 0..2).replace("port = ", &format!("{stp}port = ")));
    for port in ["p0", "p1"] {
        let words = ["--port", port, "-c", "2", "-w", port, "ether dst 01:80:c2:00:00:00"];
        assert_eq!(Capturing::start(&rig.folder, &words).end(), captured(2));
        let fields = ["frame.interface_name", "stp.type", "stp.root.prio", "stp.bridge.hw", "frame.comment"];
        let words: Vec<_> = fields.iter().flat_map(|field| ["-e", *field]).collect();
        let seen = tshark(&rig.folder.path(port), &[&["-Y", "stp", "-T", "fields"], &words[..]].concat());
        let hello = format!("{port} tx\t0x00000000\t4096\t02:00:00:00:00:fe\t\n");
        assert_eq!(seen.replace("\t0x00\t", "\t0x00000000\t"), hello.repeat(2));
    }
}

#[test]
fn a_file_follows_the_other_as_time_goes_by() {
    let test = "capture-time";
    if !there_is_tshark(test) {
        return;
    }
    let Some(rig) = Rig::new(test, &[Plug::Tap, Plug::Tap], 1500) else { return };
    let rig = rig.quiet();
    let _switch = rig.start_bridge("1");
    let (from, to) = (rig.wire(0), rig.wire(1));
    let words = ["--port", "p0", "-G", "1", "-W", "2", "-w", "at-%s.pcapng", "ether proto 0x88b5"];
    let mut capture = Capturing::start(&rig.folder, &words);
    let mut sent = 0;
    wait_for("the second file to be old", || {
        cross(&from, &to, sent..sent + 1, 60);
        sent += 1;
        capture.child.try_wait().unwrap()
    });
    let names = fs::read_dir(rig.folder.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    names.retain(|name| name.starts_with("at-"));
    names.sort();
    let second = |name: &str| name["at-".len()..].strip_suffix(".pcapng").unwrap().parse::<u64>().unwrap();
    assert!(names.len() == 2 && second(&names[0]) < second(&names[1]), "{names:?}");
    // Each has a beginning of its own, and what is in one is not in the other.
    let mut seen = Vec::new();
    for name in &names {
        let text = tshark(&rig.folder.path(name), &["-T", "fields", "-e", "data.data"]);
        assert!(!text.is_empty(), "{name}");
        seen.extend(text.lines().map(|data| u64::from_str_radix(&data[..16], 16).unwrap()));
    }
    let seen = seen.into_iter();
    let (code, said) = capture.end();
    assert_eq!((code, said), captured(seen.len() as u64));
    assert!(seen.clone().eq(0..seen.len() as u64) && seen.len() as u64 <= sent, "{names:?}");
}

/// A reader of the socket that has asked and then reads no more than the head.
fn slow_reader(folder: &Folder, query: &str) -> UnixStream {
    let mut stream = UnixStream::connect(folder.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET /v1/capture?{query} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.0 200 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// Packets in a stream, and what the last statistics of each interface say was missed, summed up.
fn count(stream: &[u8]) -> (u64, u64) {
    let word = |at: usize| u32::from_le_bytes(stream[at..at + 4].try_into().unwrap()) as usize;
    let (mut packets, mut missed) = (0, std::collections::BTreeMap::new());
    let mut at = 0;
    while at < stream.len() {
        match word(at) {
            6 => packets += 1,
            5 => {
                // isb_ifdrop is the second option: code, length, eight bytes.
                assert_eq!(word(at + 32), 8 << 16 | 5);
                missed.insert(word(at + 8), u64::from_le_bytes(stream[at + 36..at + 44].try_into().unwrap()));
            }
            _ => {}
        }
        at += word(at + 4);
    }
    (packets, missed.values().sum())
}

#[test]
fn a_reader_that_does_not_read_costs_no_frame_and_a_ring_of_files_goes_on() {
    const FRAMES: u64 = 3000; // some 8 MB of them, both ways: more than all buffers together
    const LENGTH: usize = 1400;
    let test = "capture-slow";
    if !there_is_tshark(test) {
        return;
    }
    let Some(rig) = Rig::new(test, &[Plug::Tap, Plug::Tap], 1500) else { return };
    let rig = rig.quiet();
    let _switch = rig.start_bridge("1");
    let (from, to) = (rig.wire(0), rig.wire(1));
    // So that both are known, and what follows is forwarded once.
    to.send(&frame(A, B, EXPERIMENT, 60, 0));
    from.receive();
    let query = "id=slow&stage=rx&stage=tx&filter=len+%3E+1000";
    let mut slow = slow_reader(&rig.folder, query);
    let words = ["--stage", "rx", "-C", "1", "-W", "2", "-w", "ring", "greater", "1000"];
    let ring = Capturing::start(&rig.folder, &words);
    cross(&from, &to, 0..FRAMES, LENGTH);

    let drops = rig.settled();
    assert_eq!((drops.ledger.frames_dropped, drops.ledger.copies_dropped), (0, 0));
    let answer = http(&rig.folder.socket(), "DELETE /v1/capture?id=slow HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    let mut stream = Vec::new();
    slow.read_to_end(&mut stream).unwrap();
    let (packets, missed) = count(&stream);
    assert!(missed > 0);
    assert_eq!(packets + missed, 2 * FRAMES);
    fs::write(rig.folder.path("slow.pcapng"), &stream).unwrap();
    assert_eq!(tshark(&rig.folder.path("slow.pcapng"), &[]).lines().count() as u64, packets);

    assert_eq!(ring.stop(), captured(FRAMES));
    let mut seen = Vec::new();
    for name in ["ring0", "ring1"] {
        let file = rig.folder.path(name);
        assert!(fs::metadata(&file).unwrap().len() < 1_100_000);
        let seeds = tshark(&file, &["-T", "fields", "-e", "data.data"]);
        // The first eight bytes behind the Ethernet header.
        seen.extend(seeds.lines().map(|data| u64::from_str_radix(&data[..16], 16).unwrap()));
    }
    seen.sort_unstable();
    // The last ones, none left out: what is gone was overwritten.
    assert!(seen.len() > 700 && seen.iter().copied().eq(FRAMES - seen.len() as u64..FRAMES), "{seen:?}");
    assert!(!rig.folder.path("ring").exists() && !rig.folder.path("ring2").exists());
}

#[test]
fn a_capture_that_nobody_reads_any_more_ends_though_no_frame_comes() {
    let folder = Folder::new("capture-left");
    let _switch = folder.start(TWO_PORTS);
    let mut capture = Capturing::start(&folder, &["--port", "p1"]);
    drop(capture.child.stdout.take());
    assert_eq!(capture.end(), captured(0));
}

#[test]
fn as_many_capture_as_may_and_those_that_leave_make_room() {
    let folder = Folder::new("capture-many");
    let _switch = folder.start(TWO_PORTS);
    let readers: Vec<_> = (0..8).map(|_| slow_reader(&folder, "port=p0")).collect();
    let refused = folder.say("capture -c 1 -w x");
    let line = "rigswitch: 8 captures run already, and each costs every frame: end one of them\n";
    assert_eq!((refused.code, &*refused.err), (Some(1), line));
    drop(readers);
    wait_for("the captures that nobody reads to end", || {
        let answer = "GET /v1/capture?port=p7 HTTP/1.0\r\n\r\n";
        http(&folder.socket(), answer).starts_with("HTTP/1.0 409 ").then_some(())
    });
}

#[test]
fn what_cannot_be_captured_is_refused_in_one_line_and_the_switch_goes_on() {
    let folder = Folder::new("capture-bad");
    let no_switch = folder.say("capture -w x");
    assert!(no_switch.err.contains("no switch answers on "), "{}", no_switch.err);
    let mut switch = folder.start(TWO_PORTS);
    for (words, code, line) in [
        ("capture tcp prt 80", 1, "filter: expected `and`, `or` or the end\n  tcp prt 80\n      ^"),
        ("capture --port p7", 1, "p7 is not a port: `rigswitch show ports` lists those there are"),
        ("capture -w /nowhere/x", 1, "/nowhere/x: No such file or directory (os error 2)"),
        (
            "capture -w /dev/full",
            1,
            "/dev/full: No space left on device (os error 28): what is whole is there",
        ),
    ] {
        let said = folder.say(words);
        let err = said.err.replace("rigswitch: capturing\n", "");
        assert_eq!((said.code, err), (Some(code), format!("rigswitch: {line}\n")), "{words}");
    }
    for words in ["capture -C 1", "capture -W 2 -w x", "capture -c 0", "capture --stage up"] {
        assert_eq!(folder.say(words).code, Some(2), "{words}");
    }
    for (query, status) in [("filter=host", "400"), ("stage=up", "400"), ("port=p7", "409")] {
        let answer = http(&folder.socket(), &format!("GET /v1/capture?{query} HTTP/1.0\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.0 {status} ")), "{answer}");
    }

    // What is refused writes over nothing.
    folder.write("old.pcapng", "precious");
    assert_eq!(folder.say("capture --port p7 -w old.pcapng").code, Some(1));
    assert_eq!(fs::read_to_string(folder.path("old.pcapng")).unwrap(), "precious");

    let capture = Capturing::start(&folder, &["-w", "rest"]);
    switch.signal("TERM");
    switch.wait();
    let line = "rigswitch: the switch ended the capture: 0 frames captured, none missed\n";
    assert_eq!(capture.end(), (Some(1), line.to_owned()));
}

#[test]
fn extcap_says_what_can_be_captured() {
    let folder = Folder::new("capture-extcap");
    let ask = |words: &[&str]| said(&mut folder.command(words)).out;
    let help = "extcap {version=0.1.0}{help=https://github.com/rigswitch/rigswitch}\n";
    assert_eq!(ask(&["--extcap-interfaces", "--extcap-version=4.0"]), help);
    let _switch = folder.start(TWO_PORTS);
    let interfaces = "interface {value=rigswitch}{display=rigswitch: all ports}\n\
                      interface {value=rigswitch p0}{display=rigswitch: p0}\n\
                      interface {value=rigswitch p1}{display=rigswitch: p1}\n";
    assert_eq!(ask(&["--extcap-interfaces"]), help.to_owned() + interfaces);
    let of = ["--extcap-interface", "rigswitch p0"];
    let link = "dlt {number=1}{name=EN10MB}{display=Ethernet}\n";
    assert_eq!(ask(&[&of[..], &["--extcap-dlts"]].concat()), link);
    let config = ask(&[&of[..], &["--extcap-config"]].concat());
    assert!(config.contains("{call=--stage}") && config.contains("{call=--snaplen}"), "{config}");
    let filter = |filter| ask(&[&of[..], &["--extcap-capture-filter", filter]].concat());
    assert_eq!(filter("tcp port 80"), "");
    assert_eq!(filter("tcp prt 80"), "filter: expected `and`, `or` or the end\n  tcp prt 80\n      ^\n");
}
