//! `rigswitch explain` and `show drops --help`: frames in words, their ways in words, and what is wrong with either.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

#[path = "why/bridges.rs"]
mod bridges;
mod command;
#[path = "why/records.rs"]
mod records;
mod rig;
#[path = "why/routes.rs"]
mod routes;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use command::{Folder, Process, Said, TWO_PORTS, wait_for};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use rig::{Plug, Rig, frame};
use serde_json::Value;

const APART: &str = r#"
[[port]]
name = "p0"
memory = true
[[port]]
name = "p1"
memory = true
mtu = 1000
[[port]]
name = "p2"
memory = true
[[port]]
name = "p3"
memory = true
[[bridge]]
name = "br0"
[[bridge.port]]
device = "p0"
isolated = true
[[bridge.port]]
device = "p1"
[[bridge.port]]
device = "p2"
isolated = true
[[bridge.fdb]]
mac = "02:00:00:00:00:02"
device = "p2"
"#;

fn explained(folder: &Folder, frame: &str) -> String {
    let said = folder.say(&format!("explain -c rig.toml --port p0 {frame}"));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    said.out
}

#[test]
fn a_frame_that_is_dropped_is_told_why_with_the_lines_of_the_file() {
    let folder = Folder::new("why");
    folder.write("rig.toml", APART);
    let text = "02:00:00:00:00:01 → 02:00:00:00:00:02, 0x0800, 106 bytes\n  \
                in       p0, a port of br0  [rig.toml:18]\n  \
                parse    to one station\n  \
                learn    02:00:00:00:00:01 is new: behind p0 from now on\n  \
                look up  02:00:00:00:00:02 is behind p2 (static)  [rig.toml:26]\n  \
                decide   drop: isolated  [rig.toml:19]\n  \
                drop     p0: isolated\n\
                dropped: isolated\n";
    let out = explained(&folder, "eth dst=02:00:00:00:00:02 / ipv4 dst=10.0.0.1 / udp dport=53 / payload 64");
    assert!(out.starts_with(text), "{out}");
    assert!(out.contains("what to do: Turn `isolated` off"), "{out}");
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    assert!(readme.contains(&out), "the README shows what is said:\n{out}");
}

#[test]
fn a_flood_tells_who_is_left_out_and_why() {
    let folder = Folder::new("left-out");
    folder.write("rig.toml", APART);
    let text = "  decide  broadcast: flood to the other ports of br0\n  \
                not to  p0: it came from there  [rig.toml:17]\n  \
                not to  p2: isolated, as the port it came from is  [rig.toml:24]\n  \
                out     p1, 60 bytes\n\
                leaves by p1\n";
    let out = explained(&folder, "eth");
    assert!(out.ends_with(text), "{out}");
    let out = explained(&folder, "eth dst=02:00:00:00:00:07 / payload 1200");
    let dropped = "drop    p1: mtu_exceeded: 1214 bytes, and it sends at most 1018  [rig.toml:8]";
    assert!(out.contains(dropped), "{out}");
}

#[test]
fn a_frame_for_macvlans_is_told_with_whom_it_is_for_and_why() {
    const SHARED: &str = r#"
port = [{ name = "p0", memory = true }, { name = "p1", memory = true }, { name = "p2", memory = true }]
xconnect = [{ a = "mv1", b = "p1" }, { a = "mv2", b = "p2" }]
[[macvlan]]
name = "mv1"
link = "p0"
mode = "bridge"
mac = "02:00:00:00:0c:01"
[[macvlan]]
name = "mv2"
link = "p0"
mode = "bridge"
mac = "02:00:00:00:0c:02"
"#;
    let folder = Folder::new("shared");
    folder.write("rig.toml", SHARED);
    let out = explained(&folder, "eth dst=02:00:00:00:0c:01");
    let text = "  in       p0, which macvlans share  [rig.toml:2]\n  \
                macvlan  02:00:00:00:0c:01 is mv1  [rig.toml:8]\n  \
                in       mv1, cross-connected with p1  [rig.toml:3]\n  \
                out      p1, 60 bytes\n\
                leaves by p1\n";
    assert!(out.ends_with(text), "{out}");
    let out = explained(&folder, "eth dst=02:00:00:00:0c:09");
    assert!(out.contains("drop  p0: no_macvlan\n") && out.contains("dropped: no_macvlan"), "{out}");
    let said = folder.say("explain -c rig.toml --port p1 eth src=02:00:00:00:0c:01");
    let text = "  down     mv1, 60 bytes\n  \
                macvlan  to a group: to the others of mode bridge beside mv1, and out  [rig.toml:7]\n  \
                in       mv2, cross-connected with p2  [rig.toml:3]\n";
    assert!(said.out.contains(text), "{}", said.out);
    assert!(said.out.ends_with("leaves by p2, p0\n"), "{}", said.out);
}

#[test]
fn a_running_switch_is_asked_without_noticing() {
    let folder = Folder::new("asked");
    let _switch = folder.start(TWO_PORTS);
    let before = folder.ask("show fdb -j");
    let out = folder.ask("explain -j --port p1 eth dst=02:00:00:00:00:01 src=02:00:00:00:00:09");
    let view: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&view["verdict"], &view["leaves_by"][0]), (&"leaves by p0".into(), &"p0".into()));
    let learned = view["steps"].as_array().unwrap().iter().any(|step| step["step"] == "learn");
    assert!(learned, "{view}");
    assert_eq!(folder.ask("show fdb -j"), before);
    let ledger = folder.ask("show drops");
    assert!(ledger.contains("frames: 0 received"), "{ledger}");
    let none = folder.say("explain --port p1 --next 1 --timeout 50ms --filter arp");
    assert_eq!(none.code, Some(1));
    assert_eq!(none.err, "rigswitch: no such frame came in by p1 within 50ms\n");
    for (words, why) in [
        ("explain --port p7 eth", "there is no port p7"),
        ("explain --port p7 --next 1", "there is no port p7"),
        ("explain --port p0 --next 1 --filter bogus", "bogus"),
        ("explain --port p0 --pcap none.pcap", "none.pcap: No such file"),
    ] {
        let said = folder.say(words);
        assert!(said.code == Some(1) && said.err.contains(why), "{words}: {said:?}");
    }
}

#[test]
fn what_is_wrong_with_a_frame_is_shown_where_it_is() {
    let folder = Folder::new("caret");
    folder.write("rig.toml", APART);
    let said = folder.say("explain -c rig.toml --port p0 eth dts=1 / ipv5 / vlan 5000");
    let text = "frame:1:5: `dts` means nothing in eth\n  1 | eth dts=1 / ipv5 / vlan 5000\n    |     ^^^\n    \
                = did you mean `dst`?\nframe:1:13: there is no layer `ipv5`\n";
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.err.starts_with(text), "{}", said.err);
    assert!(said.err.contains("`id` of vlan is `5000`, and must be a number up to 4095"), "{}", said.err);
    let bare = folder.say("explain -c rig.toml --port p0 eth / vlan 10 / udp dport=53");
    let text = "frame:1:17: udp is in no IP packet\n  1 | eth / vlan 10 / udp dport=53\n    |                 ^^^\n    \
                = put ipv4 or ipv6 before it\n";
    assert_eq!((bare.code, &*bare.err), (Some(1), text));
    let odd = folder.say("explain -c rig.toml --port p0 020");
    assert!(odd.err.starts_with("frame:1:4: 3 hex digits: a byte has two"), "{}", odd.err);
}

#[test]
fn every_reason_says_what_it_means_and_what_to_do_without_a_switch() {
    let folder = Folder::new("reasons");
    let said = folder.ask("show drops --help locked");
    let words = ["locked\n", "How it arises: ", "What to do: Let the station in"];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    let unknown = folder.say("show drops --help loked");
    assert_eq!(unknown.code, Some(1));
    assert_eq!(unknown.err, "rigswitch: there is no reason `loked`: did you mean `locked`?\n");
    assert!(folder.ask("show --help").contains("Usage: rigswitch show"));
    assert_eq!(folder.say("show ports --help locked").code, Some(2));
}

const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];
const BROADCAST: [u8; 6] = [0xff; 6];
const EXPERIMENT: u16 = 0x88b5; // IEEE 802-2014 §9.2.3

#[test]
fn frames_that_nobody_waits_for_any_more_are_not_said_not_to_have_come() {
    let folder = Folder::new("early");
    // A switch that ends as soon as it has answered.
    let listener = UnixListener::bind(folder.socket()).unwrap();
    let ends = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut asked, mut byte) = (Vec::new(), [0]);
        while !asked.ends_with(b"}") {
            stream.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
    });
    let said = folder.say("explain --port p0 --next 3 --timeout 600s");
    ends.join().unwrap();
    let line = "rigswitch: the switch ended this early: it has gone, or others that came later took the place; 0 of 3 \
                frames came in by p0\n";
    assert_eq!((said.code, &*said.err), (Some(1), line));
}

#[test]
fn what_is_applied_later_is_told_by_the_file_that_it_came_from() {
    let folder = Folder::new("applied");
    let _switch = folder.start(&APART.replace("isolated = true", ""));
    let file = folder.write("new rig.toml", APART);
    let mut apply = folder.command(&["apply", "new rig.toml"]);
    assert_eq!(command::said(&mut apply).code, Some(0));
    let out = folder.ask("explain --port p0 eth dst=02:00:00:00:00:02");
    let place = format!("drop: isolated  [{}:19]", file.canonicalize().unwrap().display());
    assert!(out.contains(&place), "{out}");

    // Whoever sends a file says what it is to be called.
    let apply = |query: &str| {
        let head = format!("POST /v1/apply{query} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", APART.len());
        command::http(&folder.socket(), &(head + APART))
    };
    let place = |called: &str| folder.ask("explain --port p0 eth").contains(&format!("  [{called}:18]\n"));
    assert!(apply("?file=%2Fetc%2Frig+1.toml").starts_with("HTTP/1.0 200 ") && place("/etc/rig 1.toml"));
    assert!(apply("").starts_with("HTTP/1.0 200 ") && place("body"));
    for (query, why) in [
        ("?file=", "file: a path has 1 to 4096 characters"),
        ("?file=a%0ab", "and none that controls"),
        ("?path=a", "path: all that can be said of a file is `file`, its path"),
    ] {
        let answer = apply(query);
        assert!(answer.starts_with("HTTP/1.0 400 ") && answer.contains(why), "{query}: {answer}");
    }
}

#[test]
fn the_next_frames_of_real_devices_are_explained_as_they_come() {
    let Some(rig) = Rig::new("explain-next", &[Plug::Veth, Plug::Tap], 1500) else { return };
    let rig = rig.quiet();
    let _switch = rig.start_bridge("2");
    for (near, far) in [(0, 1), (1, 0)] {
        let port = format!("p{near}");
        let words = ["explain", "--port", &port, "--next", "2", "--filter", "ether src 02:00:00:00:00:0a"];
        let mut command = rig.folder.command(&[&words[..], &["--timeout", "60s"]].concat());
        let mut child = Process::start(command.stdout(Stdio::piped()));
        let (from, to) = (rig.wire(near), rig.wire(far));
        wait_for("two frames to be explained", || {
            // What does not match is not among them.
            for source in [B, A] {
                let sent = frame(BROADCAST, source, EXPERIMENT, 100, 0);
                from.send(&sent);
                assert!(to.receive() == sent);
            }
            child.try_wait().unwrap()
        });
        let Said { code, out, .. } = child.said();
        assert_eq!(code, Some(0), "{out}");
        let told: Vec<_> = out.split_inclusive(&format!("leaves by p{far}\n")).collect();
        assert_eq!(told.len(), 2, "{out}");
        for way in told {
            assert!(way.starts_with("02:00:00:00:00:0a → ff:ff:ff:ff:ff:ff, 0x88b5, 100 bytes\n"), "{out}");
            assert!(way.contains(&format!("  in      {port}, a port of br0")), "{out}");
            assert!(way.contains(&format!("  out     p{far}, 100 bytes\n")), "{out}");
        }
    }
    rig.settled();
}

#[test]
fn frames_in_words_are_valid_ones() {
    let folder = Folder::new("words");
    folder.write("rig.toml", APART);
    for (words, is_udp) in [
        ("eth / ipv4 dst=10.0.0.7 / udp dport=53 / payload 65", true),
        ("eth / vlan 10 / ipv6 dst=fd00::7 / udp dport=53 / payload 64", true),
        ("eth / ipv4 / tcp dport=80 / payload 3", false),
    ] {
        let bytes = rigswitch::explain::parse(words).unwrap();
        let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(net) = packet.net else { panic!("{words}") };
        match (packet.transport.unwrap(), net) {
            (TransportSlice::Udp(udp), NetSlice::Ipv4(ip)) if is_udp => {
                let (header, ip) = (udp.to_header(), ip.header().to_header());
                assert_eq!(ip.calc_header_checksum(), ip.header_checksum, "{words}");
                assert_eq!(
                    header.calc_checksum_ipv4(&ip, udp.payload()).unwrap(),
                    header.checksum,
                    "{words}"
                );
            }
            (TransportSlice::Udp(udp), NetSlice::Ipv6(ip)) if is_udp => {
                let header = udp.to_header();
                let expected = header.calc_checksum_ipv6(&ip.header().to_header(), udp.payload()).unwrap();
                assert_eq!(expected, header.checksum, "{words}");
            }
            (TransportSlice::Tcp(tcp), NetSlice::Ipv4(ip)) if !is_udp => {
                let header = tcp.to_header();
                let expected = header.calc_checksum_ipv4(&ip.header().to_header(), tcp.payload()).unwrap();
                assert_eq!(expected, header.checksum, "{words}");
            }
            _ => panic!("{words}"),
        }
    }
}
