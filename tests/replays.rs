//! Replay: the cases of this repository, the same bytes every time, no privilege, and files that are not what they should be.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // helpers of tests are tests

mod command;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use command::{Folder, Said, is_machine_root, said};

const TWO_PORTS: &str = "switch = { mac_table = 1024 }\n\
                         port = [{ name = \"p0\", xdp = \"eth0\" }, { name = \"p1\", tap = \"tap1\" }]\n\
                         bridge = [{ name = \"br0\", port = [{ device = \"p0\" }, { device = \"p1\" }] }]\n";

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases")
}

fn case(name: &str) -> String {
    cases().join(name).display().to_string()
}

/// A little-endian pcap of these frames, each at its millisecond of 1970.
fn pcap(frames: &[(u64, usize)]) -> Vec<u8> {
    let mut bytes = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 1].map(u32::to_le_bytes).concat();
    for &(milliseconds, length) in frames {
        let fields = [milliseconds / 1000, milliseconds % 1000 * 1000, length as u64, length as u64];
        bytes.extend(fields.iter().flat_map(|&field| (field as u32).to_le_bytes()));
        bytes.extend([0xff; 6].into_iter().chain([2, 0, 0, 0, 0, 1]).chain([0x88; 1600]).take(length));
    }
    bytes
}

/// The files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        match path.is_dir() {
            true => found.extend(files(&path).into_iter().map(|(below, bytes)| (name.join(below), bytes))),
            false => drop(found.insert(name, fs::read(&path).unwrap())),
        }
    }
    found
}

/// A folder with a configuration of two ports, and this file to be received by the first.
fn two_ports(test: &str, input: &[u8]) -> Folder {
    let folder = Folder::new(test);
    folder.write("rig.toml", TWO_PORTS);
    fs::write(folder.path("a.pcap"), input).unwrap();
    folder
}

fn refused(said: &Said, what: &str) {
    let lines: Vec<_> = said.err.lines().collect();
    assert!(said.code == Some(1) && lines.len() == 1 && lines[0].contains(what), "not `{what}`: {said:?}");
}

#[test]
fn every_case_comes_out_as_it_is_expected() {
    let folder = Folder::new("cases");
    let there = fs::read_dir(cases()).unwrap().count();
    let said = said(&mut folder.command(&["replay", "-j", cases().to_str().unwrap()]));
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    let verdicts: Vec<serde_json::Value> = serde_json::from_str(&said.out).unwrap();
    assert_eq!(verdicts.len(), there, "{}", said.out);
    assert!(verdicts.iter().all(|verdict| verdict["passed"] == true), "{}", said.out);
}

#[test]
fn the_same_bytes_come_out_every_time_alone_and_among_others() {
    let folder = Folder::new("replay-same");
    let all = cases().display().to_string();
    folder.ask(&format!("replay --jobs 4 --out many {all}"));
    folder.ask(&format!("replay --jobs 1 --out one-by-one {all}"));
    let many = files(&folder.path("many"));
    assert!(many.len() > 30, "{:?}", many.keys());
    assert_eq!(many, files(&folder.path("one-by-one")));

    let tree = case("spanning-tree-root");
    let inputs: String = (0..3).map(|port| format!(" --in p{port}={tree}/p{port}.in.pcap")).collect();
    for again in ["a", "b"] {
        folder.ask(&format!("replay -c {tree}/rig.toml{inputs} --out {again}"));
        assert_eq!(files(&folder.path(again)), files(&folder.path("many/spanning-tree-root")));
    }
}

#[test]
fn no_privilege_is_needed() {
    let folder = Folder::new("replay-nobody");
    let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    open(&folder.path(""));
    // By another process: a child that a test beside this one starts would hold our own file open for writing until it is another
    // program, and the kernel runs no program that somebody may write to.
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg(env!("CARGO_BIN_EXE_rigswitch")).arg(folder.path("rigswitch")).status().unwrap();
    assert!(copied.success());
    open(&folder.path("rigswitch"));
    let learned = files(&cases().join("learn-and-flood"));
    for (name, bytes) in &learned {
        fs::write(folder.path(name.to_str().unwrap()), bytes).unwrap();
    }
    let mut command = std::process::Command::new(folder.path("rigswitch"));
    command.args(["replay", "--out", "out", "."]).current_dir(folder.path(""));
    if is_machine_root() {
        command.uid(65534).gid(65534);
    }
    let said = said(&mut command);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", said.out);
}

#[test]
fn what_cannot_be_replayed_is_refused_in_a_line_and_nothing_is_written() {
    let folder = two_ports("replay-refused", &pcap(&[(0, 60)]));
    let raw = [&pcap(&[])[..20], &[101, 0, 0, 0]].concat();
    fs::write(folder.path("raw.pcap"), raw).unwrap();
    folder.write("long.toml", "port = [{ name = \"veth-h1\", packet = \"veth-h1\" }]");
    folder.write("text.pcap", "no capture, but long enough to be one");
    fs::create_dir(folder.path("here")).unwrap();
    fs::copy(folder.path("a.pcap"), folder.path("here/p1.pcap")).unwrap();
    let before = files(&folder.path(""));
    for (words, what) in [
        ("--in uplink=a.pcap --out out", "no port `uplink` to receive frames: the file has p0, p1"),
        (
            "-c long.toml --in veth-h2=a.pcap --out out",
            "no port `veth-h2` to receive frames: did you mean `veth-h1`?",
        ),
        ("--in p0=a.pcap --in p0=a.pcap --out out", "port p0 is to receive two files"),
        ("--out out", "nothing to replay: name a file for a port with --in PORT=FILE"),
        ("--in p0=b.pcap --out out", "b.pcap: No such file"),
        ("--in p0=raw.pcap --out out", "raw.pcap: Invalid field value: not captured from Ethernet"),
        ("--in p0=text.pcap --out out", "text.pcap: Invalid field value: PcapHeader: wrong magic number"),
        ("--in p0=here/p1.pcap --out here", "here/p1.pcap would be written over while it is read"),
    ] {
        let config = if words.starts_with("-c") { "" } else { "-c rig.toml " };
        refused(&folder.say(&format!("replay {config}{words}")), what);
        assert_eq!(files(&folder.path("")), before, "{words}");
    }
    refused(&folder.say("replay here"), "here: no case: none has a rig.toml in it");
    assert_eq!(folder.say("replay -c rig.toml --in p0 --out out").code, Some(2));
}

#[test]
fn of_a_file_that_is_cut_the_whole_records_are_replayed_and_the_rest_is_said() {
    let mut bytes = pcap(&[(0, 60), (1, 61), (2, 62)]);
    bytes.pop();
    let folder = two_ports("replay-cut", &bytes);
    let said = folder.say("replay -c rig.toml --in p0=a.pcap --out out");
    refused(&said, "port p0: a.pcap: record 3: cut short");
    assert!(said.out.starts_with("3 frames of 0.100 s: 2 forwarded, 0 consumed, 1 dropped"), "{}", said.out);
    let sent = fs::read(folder.path("out/p1.pcap")).unwrap();
    assert_eq!(sent.len(), 24 + 16 + 60 + 16 + 61);
    assert!(fs::read_to_string(folder.path("out/report.json")).unwrap().contains("\"rx.port_error\": 1"));
}

#[test]
fn a_clock_that_jumps_too_far_ends_the_replay_there() {
    const DAY: u64 = 24 * 3600 * 1000;
    let folder = two_ports("replay-gap", &pcap(&[(5, 60), (4, 61), (9_000, 62), (20 * DAY, 63)]));
    let said = folder.say("replay -c rig.toml --in p0=a.pcap --out out");
    refused(&said, "port p0: its next frame comes 19 days after the one before it");
    assert!(said.out.starts_with("3 frames of"), "{}", said.out);
    // A frame that is earlier than the one before it comes right after it.
    let sent = fs::read(folder.path("out/p1.pcap")).unwrap();
    let times = [24, 24 + 16 + 60].map(|at| u32::from_le_bytes(sent[at + 4..at + 8].try_into().unwrap()));
    assert_eq!(times, [5_000_000; 2]);
}

#[test]
fn a_difference_is_said_and_blessing_ends_it() {
    let folder = Folder::new("replay-bless");
    fs::create_dir(folder.path("case")).unwrap();
    for (name, bytes) in files(&cases().join("hairpin")) {
        fs::write(folder.path("case").join(name), bytes).unwrap();
    }
    let config = fs::read_to_string(folder.path("case/rig.toml")).unwrap();
    fs::write(folder.path("case/rig.toml"), config.replace("hairpin = true", "hairpin = false")).unwrap();
    fs::write(folder.path("case/p7.out.pcap"), pcap(&[(0, 60)])).unwrap();
    let said = folder.say("replay case");
    refused(&said, "1 of 1 cases did not come out as expected");
    for problem in [
        "p0.out.pcap: record 1: expected 60 bytes at 1700000000.000000000 (ffffffffffff0200000000018",
        "p7.out.pcap: there is no port `p7`",
        "report.json: line ",
    ] {
        assert!(said.out.contains(problem), "no `{problem}` in {}", said.out);
    }
    assert_eq!(folder.ask("replay --bless case"), "pass  case: 7 frames\n");
    assert_eq!(folder.ask("replay case"), "pass  case: 7 frames\n");
    assert!(!folder.path("case/p7.out.pcap").exists());
}

#[test]
fn whatever_a_file_holds_a_replay_comes_to_its_end() {
    let folder = Folder::new("replay-hostile");
    let sources =
        ["learn-and-flood/p1.in.pcapng", "learn-and-flood/p2.in.pcap", "spanning-tree-root/p0.in.pcap"]
            .map(|name| fs::read(cases().join(name)).unwrap());
    let mut state = 0x5eed_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for number in 0..60 {
        let mut bytes = sources[number % sources.len()].clone();
        for _ in 0..1 + random(6) {
            let at = random(bytes.len());
            bytes[at] = [0, 0xff, 0x80, random(256) as u8][random(4)];
        }
        bytes.truncate(if random(3) == 0 { random(bytes.len()) } else { bytes.len() });
        let case = folder.path(&format!("cases/{number:03}"));
        fs::create_dir_all(&case).unwrap();
        fs::write(case.join("rig.toml"), TWO_PORTS).unwrap();
        fs::write(case.join("p0.in.pcap"), bytes).unwrap();
    }
    let said = folder.say("replay -j --bless cases");
    assert!(matches!(said.code, Some(0 | 1)), "{} {}", said.out, said.err);
    let verdicts: Vec<serde_json::Value> = serde_json::from_str(&said.out).unwrap();
    assert_eq!(verdicts.len(), 60);
    let passed = verdicts.iter().filter(|verdict| verdict["passed"] == true).count();
    assert!((5..55).contains(&passed), "{passed} passed");
}
