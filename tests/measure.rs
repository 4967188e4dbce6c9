//! `rigswitch bench generate`, `sink`, `rfc2544` and `rfc2889` on real devices: what they say, and that nothing of them stays.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use command::{Process, Said, is_root, said, skipped};
use rig::{NIC, Plug, Rig, run_in};
use rigswitch_dataplane::sys::userns;
use serde_json::Value;

/// The command, with these words.
fn bench(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rigswitch"));
    command.arg("bench").args(words.split_whitespace()).stdin(Stdio::null());
    command
}

fn say(words: &str) -> Said {
    said(&mut bench(words))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A sink that counts, and the rest of what it says on standard error.
fn start_sink(words: &str) -> (Process, BufReader<std::process::ChildStderr>) {
    let mut command = bench(&format!("sink {words}"));
    let mut sink = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut stderr = BufReader::new(sink.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("counting on"), "{line}");
    (sink, stderr)
}

/// Interrupts it, and answers its end and what it said.
fn interrupt(process: Process) -> (Option<i32>, String) {
    process.signal("INT");
    let said = process.said();
    (said.code, said.out)
}

/// Two hosts on veths whose far ends are in a bridge of the kernel's, with these words of its own.
fn kernel_bridge(test: &str, words: &str) -> Option<Rig> {
    let rig = Rig::new(test, &[Plug::Veth, Plug::Veth], 1500).map(Rig::quiet)?;
    run_in(&rig.center, &format!("ip link add br0 type bridge {words}"));
    for port in ["p0", "p1"] {
        rig.center.netdev(port).unwrap().set_merges_received(true).unwrap();
        run_in(&rig.center, &format!("ip link set {port} master br0"));
    }
    run_in(&rig.center, "ip link set br0 up");
    command::wait_for("the bridge to forward", || {
        let forwards =
            |port| run_in(&rig.center, &format!("bridge link show dev {port}")).contains("state forwarding");
        ["p0", "p1"].into_iter().all(forwards).then_some(())
    });
    Some(rig)
}

fn netns(rig: &Rig, n: usize) -> &str {
    rig.hosts[n].name()
}

fn assert_no_programs(rig: &Rig) {
    for host in &rig.hosts {
        let shown = run_in(host, "ip link show dev net0");
        assert!(!shown.contains("prog/xdp"), "{shown}");
    }
}

#[test]
fn a_generator_and_a_sink_agree_on_every_frame() {
    let test = "bench-alone";
    let Some(rig) = kernel_bridge(test, "") else { return };
    let (sink, _) = start_sink(&format!("--dev {NIC} --netns {} -j", netns(&rig, 1)));
    let words = "--size imix --flows 12 --src-macs 3 --count 30000 --rate 100kpps -j";
    let sent = say(&format!("generate --dev {NIC} --netns {} {words}", netns(&rig, 0)));
    let told = json(&sent.out);
    assert_eq!((&told["frames"], told["asked_pps"].as_f64()), (&30_000.into(), Some(100_000.0)));
    // That it was kept from its work is said, and nothing else can be wrong.
    assert!(sent.code == Some(0) || sent.err.contains("was reached"), "{sent:?}");

    let (code, out) = interrupt(sink);
    let counted = json(&out);
    let number = |name: &str| counted[name].as_u64().unwrap();
    assert_eq!(code, Some(0));
    assert!(number("frames") > 0 && number("frames") <= 30_000);
    for name in ["reordered", "duplicated", "corrupted", "unchecked"] {
        assert_eq!(number(name), 0, "{name}: {counted}");
    }
    // What was lost at the end of a flow has no later frame to be missed by.
    assert!(number("missing") <= 30_000 - number("frames"));
    assert_eq!(counted["latency_ns"].as_array().unwrap().len(), 5);
    assert_no_programs(&rig);

    // And for people. The sink ends by itself when all are there; with nothing between, all are.
    let (sink, _) = start_sink(&format!("--dev {NIC} --netns {} --for 60s --count 100", netns(&rig, 1)));
    let sent = say(&format!("generate --dev {NIC} --netns {} --count 100", netns(&rig, 0)));
    assert!(sent.out.starts_with("sent     100 frames, 6000 bytes, in "), "{}", sent.out);
    let out = sink.said().out;
    assert!(out.starts_with("received    100 frames, 6000 bytes, in "), "{out}");
    assert!(out.contains("\nmissing     0 ") && out.contains("\nlatency     median "), "{out}");
}

#[test]
fn what_is_not_reached_or_cannot_be_is_one_clear_line() {
    let test = "bench-refused";
    let Some(rig) = kernel_bridge(test, "") else { return };
    let near = format!("--dev {NIC} --netns {}", netns(&rig, 0));

    let said = say(&format!("generate {near} --rate 900Mpps --count 20000"));
    assert_eq!(said.code, Some(1));
    assert!(said.out.starts_with("sent     20000 frames"), "{}", said.out);
    assert!(said.err.contains("of 900.000 Mpps was reached"), "{}", said.err);

    for (words, part) in [
        ("generate --dev nowhere --netns {0} --count 1", "nowhere"),
        ("generate --dev net0 --netns rsw-nowhere --count 1", "rsw-nowhere"),
        ("generate --dev net0 --netns {0} --size 64,9300", "64 to 9216"),
        ("generate --dev net0 --netns {0} --size 1600", "MTU of net0, 1500"),
        ("generate --dev net0 --netns {0} --cpu 4096 --count 1", "CPU 4096"),
        ("sink --dev nowhere --netns {0}", "nowhere"),
        ("rfc2544 --from net0 --netns {0} --to nowhere", "nowhere"),
        ("rfc2544 --from net0 --netns {0} --to net0 --to-netns {1} --report /proc/nothing", "/proc/nothing"),
        ("rfc2889 --from nowhere --netns {0} --to net0 --to-netns {1}", "nowhere"),
    ] {
        let words = words.replace("{0}", netns(&rig, 0)).replace("{1}", netns(&rig, 1));
        let said = say(&words);
        assert_eq!(
            (said.code, said.out.as_str(), said.err.lines().count()),
            (Some(1), "", 1),
            "{words}: {said:?}"
        );
        assert!(said.err.contains(part), "{words}: {}", said.err);
    }
    for words in [
        "generate --dev net0 --rate fast",
        "generate --dev net0 --size big",
        "generate --dev net0 --for 0s",
        "generate --dev net0 --for 1s --count 7",
        "rfc2544 --from net0",
        "rfc2544 --from a --to b --loss 100",
        "rfc2889 --from a --to b --careful max",
    ] {
        assert_eq!(say(words).code, Some(2), "{words}");
    }

    run_in(&rig.hosts[0], "ip link set net0 down");
    let said = say(&format!("generate {near} --count 1"));
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("net0 is down: ip link set net0 up"), "{}", said.err);
    for (from, to, part) in [(0, 1, "net0 is down: ip link set net0 up"), (1, 0, "net0 is down")] {
        let (from, to) = (netns(&rig, from), netns(&rig, to));
        let said = say(&format!("rfc2544 --from {NIC} --netns {from} --to {NIC} --to-netns {to}"));
        assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{said:?}");
        assert!(said.err.contains(part), "{}", said.err);
    }
}

#[test]
fn without_privilege_it_is_said_so() {
    let test = "without_privilege_it_is_said_so";
    if !is_root() {
        return skipped(test, "what root of a user namespace may not do is shown by one that root makes");
    }
    for words in ["generate --dev lo --count 1", "sink --dev lo --for 1s"] {
        let program = env!("CARGO_BIN_EXE_rigswitch");
        let mut command = userns::command(program);
        let said = said(command.arg("bench").args(words.split(' ')).stdin(Stdio::null()));
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains("not permitted") || said.err.contains("lo is down"), "{said:?}");
    }
}

#[test]
fn a_running_switch_is_measured_as_rfc_2544_has_it_and_an_interrupted_run_keeps_what_it_has() {
    let test = "bench-rfc2544";
    let Some(rig) = Rig::new(test, &[Plug::Veth, Plug::Veth], 1500).map(Rig::quiet) else { return };
    let _running = rig.start_bridge("1");
    let ends = format!("--from {NIC} --netns {} --to {NIC} --to-netns {}", netns(&rig, 0), netns(&rig, 1));
    let folder = rig.folder.path("report");
    let report = format!("--report {}", folder.display());

    let words = "--trial 40ms --rate 10kpps --loss 50 --rounds 2 --size 64,imix";
    let said = say(&format!("rfc2544 {ends} {words} -j {report}"));
    assert_eq!(said.code, Some(0), "{said:?}");
    let told = json(&said.out);
    let sections: Vec<_> =
        told["sections"].as_array().unwrap().iter().map(|section| &section["id"]).collect();
    assert_eq!(sections, ["rfc2544-throughput", "rfc2544-latency", "rfc2544-loss", "rfc2544-back-to-back"]);
    let frames: Vec<_> =
        told["sections"][0]["rows"].as_array().unwrap().iter().map(|row| &row["keys"][0]).collect();
    assert_eq!(frames, ["64", "imix"]);
    let samples = &told["sections"][0]["rows"][0]["cells"][0]["figure"]["samples"];
    assert_eq!(samples.as_array().map(Vec::len), Some(2), "{told}");
    for name in ["report.html", "report.json", "report.md"] {
        assert!(std::fs::metadata(folder.join(name)).unwrap().len() > 0, "{name}");
    }
    assert_no_programs(&rig);

    // A rate beyond the generator is not claimed: what was sent is told, and that it was less.
    let words = "--trial 40ms --rate 900Mpps --loss 99 --rounds 1 --size 64";
    let said = say(&format!("rfc2544 {ends} {words} -j"));
    let throughput = json(&said.out)["sections"][0].clone();
    assert!(throughput["notes"].to_string().contains("less was sent than should have been"), "{throughput}");
    let found = throughput["rows"][0]["cells"][0]["figure"]["median"].as_f64().unwrap();
    assert!(found < 100.0, "{found} Mpps");
    assert_no_programs(&rig);

    // Interrupted in the second round, which never ends: the first size of it has begun.
    let words = "--trial 1h --rate 1kpps --rounds 1 --size 64";
    let mut command = bench(&format!("rfc2544 {ends} {words} -j"));
    let run = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    command::wait_for("the sink", || {
        run_in(&rig.hosts[1], "ip link show dev net0").contains("prog/xdp").then_some(())
    });
    let (code, out) = interrupt(run);
    assert_eq!((code, &json(&out)["ended_early"]), (Some(1), &"interrupted".into()), "{out}");
    assert_no_programs(&rig);
}

#[test]
fn addresses_that_a_bridge_holds_are_counted_one_by_one() {
    let test = "bench-rfc2889";
    let words = "--trial 20ms --rate 5kpps --careful 10kpps --loss 50 --rounds 1";
    let measure = |rig: &Rig, more: &str| {
        let ends = format!("--from {NIC} --netns {} --to {NIC} --to-netns {}", netns(rig, 0), netns(rig, 1));
        let said = say(&format!("rfc2889 {ends} {words} {more} -j"));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_no_programs(rig);
        json(&said.out)["sections"][0]["rows"][0]["cells"].clone()
    };

    let Some(rig) = kernel_bridge(test, "") else { return };
    let cells = measure(&rig, "--addresses 3000");
    assert_eq!((&cells[1]["text"], &cells[2]["exact"]), (&"at least 3000".into(), &3000.0.into()), "{cells}");
    assert_eq!(cells[0]["figure"]["samples"].as_array().map(Vec::len), Some(1), "{cells}");
    drop(rig);

    // Two that are forwarded to and from, and two that teach and ask, take four of its entries.
    let Some(rig) = Rig::new("bench-rfc2889-full", &[Plug::Veth, Plug::Veth], 1500).map(Rig::quiet) else {
        return;
    };
    let _running = rig.start("1", &format!("{}fdb_max_learned = 704\n", rig::bridge("br0", 0..2)));
    let cells = measure(&rig, "--addresses 4096");
    assert_eq!((&cells[1]["exact"], &cells[2]["exact"]), (&700.0.into(), &1024.0.into()), "{cells}");
    assert_eq!(cells[0]["text"], "not measured", "the table is full");
}
