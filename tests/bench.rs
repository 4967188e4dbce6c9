//! `rigswitch bench`, as a user runs it. What is measured is measured for a moment only, and no figure is judged.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use command::{Folder, Process, Said, is_machine_root, skipped, wait_for};
use rigswitch_dataplane::sys::perf::Perf;
use serde_json::Value;

/// The files of a report, each of which must be what its name says; its JSON.
fn report(folder: &Path) -> Value {
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let page = text("report.html");
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let page = roxmltree::Document::parse_with_options(&page, options).unwrap();
    let report: Value = serde_json::from_str(&text("report.json")).unwrap();
    assert_eq!(report["format"], 1);
    let has = |name: &str| page.descendants().filter(|node| node.tag_name().name() == name).count();
    let sections = report["sections"].as_array().unwrap();
    let charts: usize = sections.iter().map(|section| section["charts"].as_array().unwrap().len()).sum();
    let tables = sections.iter().filter(|section| !section["rows"].as_array().unwrap().is_empty()).count();
    assert_eq!((has("figure"), has("table")), (charts, tables));
    let markdown = text("report.md");
    for section in sections {
        assert!(markdown.contains(&format!("\n## {}\n", section["title"].as_str().unwrap())), "{markdown}");
        let (keys, columns) = (section["keys"].as_array().unwrap(), section["columns"].as_array().unwrap());
        for row in section["rows"].as_array().unwrap() {
            let width = |part: &str| row[part].as_array().unwrap().len();
            assert_eq!((width("keys"), width("cells")), (keys.len(), columns.len()), "{row}");
        }
    }
    report
}

/// The figures of a column, by the row's keys.
fn figures<'r>(report: &'r Value, section: &str, column: &str) -> Vec<(String, &'r Value)> {
    let sections = report["sections"].as_array().unwrap();
    let section = sections.iter().find(|it| it["id"] == section).unwrap();
    let place = section["columns"].as_array().unwrap().iter().position(|it| it["name"] == column).unwrap();
    let key = |row: &Value| {
        row["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    section["rows"].as_array().unwrap().iter().map(|row| (key(row), &row["cells"][place])).collect()
}

fn refused(said: &Said, begins: &str) {
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{}", said.err);
    assert!(said.err.starts_with(begins), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
}

#[test]
fn forwarding_is_measured_reported_and_compared() {
    let folder = Folder::new("bench-forward");
    for name in ["a", "b"] {
        let out = folder.ask(&format!(
            "bench forward --quick --size 64,1518 --macs 64,1024 --workers 1,2 --report {name}"
        ));
        assert!(out.contains("FRAME (bytes)") && out.contains("medians (95 % bootstrap interval)"), "{out}");
    }
    let report = report(&folder.path("a"));
    assert_eq!(
        report["command"],
        "rigswitch bench forward --quick --size 64,1518 --macs 64,1024 --workers 1,2 --report a"
    );
    assert_eq!(report["ended_early"], Value::Null);
    // Where the kernel does not count, there is no column, and a note that says so.
    let counts = Perf::of_this_thread().and_then(|perf| perf.read()).is_ok();
    let section = &report["sections"][0];
    assert_eq!(section["columns"].to_string().contains("instructions a frame"), counts, "{section}");
    let note = "Cycles and instructions are not counted: perf_event_open(2) says";
    assert_eq!(section["notes"].to_string().contains(note), !counts, "{section}");
    let times = figures(&report, "forward", "time a frame");
    assert_eq!(
        times.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
        ["64 64", "64 1024", "1518 64", "1518 1024"]
    );
    for (key, cell) in times.into_iter().chain(figures(&report, "workers", "rate")) {
        let Some(figure) = cell.get("figure") else {
            // A machine that is never left alone says so.
            assert!(cell["text"].as_str().unwrap().contains("disturbed by steal"), "{key}: {cell}");
            continue;
        };
        let [low, median, high] = ["low", "median", "high"].map(|name| figure[name].as_f64().unwrap());
        assert!(0.0 < low && low <= median && median <= high, "{key}: {figure}");
        assert!((1..=3).contains(&figure["samples"].as_array().unwrap().len()), "{key}: {figure}");
    }
    let compared = folder.ask("bench compare a/report.json b/report.json");
    assert!(compared.contains("B / A") && compared.contains("time a frame (ns)"), "{compared}");
    let same: Value =
        serde_json::from_str(&folder.ask("bench compare -j a/report.json a/report.json")).unwrap();
    for (key, verdict) in figures(&same, "forward", "so") {
        assert_eq!(verdict["text"], "no difference shown", "{key}");
    }
}

#[test]
fn encapsulation_is_measured_and_reported() {
    let folder = Folder::new("bench-encap");
    let out = folder.ask("bench encap --memory --rounds 1 --millis 2 --size 64,1514 --report r");
    assert!(out.contains("802.1Q") && out.contains("GOODPUT"), "{out}");
    let report = report(&folder.path("r"));
    let added: Vec<_> = figures(&report, "overhead", "added")
        .into_iter()
        .map(|(key, cell)| (key, cell["exact"].as_f64()))
        .collect();
    for (way, bytes) in [
        ("cross-connect", 0.0),
        ("bridge", 0.0),
        ("802.1Q", 4.0),
        ("QinQ", 8.0),
        ("macvlan", 0.0),
        ("host-gw", 0.0),
    ] {
        for size in [64, 1514] {
            let key = format!("{way} {size}");
            assert_eq!(added.iter().find(|(it, _)| *it == key), Some(&(key.clone(), Some(bytes))));
        }
    }
    let goodput = figures(&report, "overhead", "goodput");
    let limit = figures(&report, "overhead", "limit");
    for ((key, seen), (_, limit)) in
        goodput.iter().zip(&limit).filter(|((_, seen), _)| seen.get("exact").is_some())
    {
        assert_eq!(seen, limit, "{key}");
    }
    for (key, cell) in figures(&report, "memory", "there and back") {
        let is_told =
            cell.get("figure").is_some() || cell["text"].as_str().is_some_and(|why| !why.is_empty());
        assert!(is_told, "{key}: {cell}");
    }
}

/// Hundredths of a second that a process has run for (`utime`, proc_pid_stat(5)).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name.split(' ').nth(11).unwrap().parse().unwrap()
}

#[test]
fn an_interrupted_run_keeps_what_was_measured() {
    let folder = Folder::new("bench-interrupted");
    let mut command = folder.command(&[
        "bench",
        "forward",
        "--size",
        "64",
        "--macs",
        "64",
        "--workers",
        "1",
        "--rounds",
        "1000",
        "--report",
        "r",
    ]);
    let mut run = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    // Once it has worked for a second, it has measured something: a trial takes a quarter of that.
    wait_for("work", || (cpu_ticks(run.pid()) >= 100).then_some(()));
    run.signal("INT");
    assert_eq!(run.end().code(), Some(1));
    let report = report(&folder.path("r"));
    assert_eq!(report["ended_early"], "interrupted");
    let said = run.said();
    assert!(said.out.contains("The bridge with no I/O"), "{}", said.out);
    assert_eq!(said.err, "rigswitch: interrupted; what was measured before is above and in the report\n");
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_measured() {
    let folder = Folder::new("bench-refused");
    folder.write("file", "");
    refused(&folder.say("bench forward --report file"), "rigswitch: file: ");
    refused(&folder.say("bench encap --report file/below"), "rigswitch: file/below: ");
    for (words, says) in [
        ("forward --macs 63", "not a power of two"),
        ("forward --size 10", "10 is not in 60..=9000"),
        ("forward --workers 0", "0 is not in 1..=64"),
        ("encap --rounds 0", "0 is not in 1..=1000"),
        ("encap --quick --rounds 5", "cannot be used with"),
        ("encap --way GRE", "one of cross-connect, bridge, 802.1Q"),
        ("encap --through tun", "one of AF_XDP, packet, TAP, sockets, kernel"),
    ] {
        let said = folder.say(&format!("bench {words}"));
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{words}");
        assert!(said.err.contains(says), "{words}: {}", said.err);
    }
}

#[test]
fn what_is_no_report_is_not_compared() {
    let folder = Folder::new("bench-compare");
    folder.write("a.json", "{\"format\":1}");
    refused(
        &folder.say("bench compare a.json b.json"),
        "rigswitch: a.json is no report of `rigswitch bench`",
    );
    refused(&folder.say("bench compare b.json a.json"), "rigswitch: b.json: No such file");
    refused(&folder.say("bench compare --report a.json a.json a.json"), "rigswitch: a.json: ");
}

/// The namespaces that a process has made and not removed.
fn namespaces(process: u32) -> Vec<String> {
    let names = fs::read_dir("/run/netns").into_iter().flatten();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(&format!("rsw-bench-{process}-"))).collect()
}

#[test]
fn we_and_the_kernel_are_measured_over_devices() {
    const TEST: &str = "we_and_the_kernel_are_measured_over_devices";
    if !is_machine_root() {
        return skipped(TEST, "AF_XDP needs root");
    }
    // Long frames once: they need another MTU, and all is set up anew for it.
    for (ways, sizes, mtus) in [
        ("bridge", &["64", "9000"][..], &["1500", "8986"][..]),
        ("802.1Q,macvlan,host-gw,IPIP,VXLAN", &["64"], &["1500"]),
    ] {
        let folder = Folder::new("bench-devices");
        let words =
            format!("bench encap --rounds 1 --millis 20 --way {ways} --size {} --report r", sizes.join(","));
        let mut command = folder.command(&words.split_whitespace().collect::<Vec<_>>());
        let run = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let process = run.pid();
        let said = run.said();
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_eq!(namespaces(process), [""; 0]);
        let report = report(&folder.path("r"));
        let paths =
            ["TCP", "round trip, median", "round trip, 99.9 %"].map(|column| ("devices", column, mtus));
        let frames = ["into it", "out of it", "over two"].map(|column| ("frames", column, sizes));
        for (section, column, sizes) in paths.into_iter().chain(frames) {
            let cells = figures(&report, section, column);
            for way in ways.split(',') {
                for drive in ["AF_XDP", "packet", "TAP", "sockets", "kernel"] {
                    for size in sizes {
                        are_told(&cells, way, drive, size);
                    }
                }
            }
        }
        let drivers = report["machine"]["drivers"].as_array().unwrap();
        assert!(drivers.iter().any(|line| line.as_str().unwrap().contains("xdp")), "{drivers:?}");
    }
}

/// It was measured, or it is said why not: the kernel has no such device, or the machine was never left alone.
fn are_told(cells: &[(String, &Value)], way: &str, drive: &str, size: &str) {
    let key = format!("{way} {drive} {size}");
    let Some((_, cell)) = cells.iter().find(|(it, _)| *it == key) else {
        return assert!(drive == "sockets" && !matches!(way, "IPIP" | "VXLAN"), "{key}");
    };
    let why = cell["text"].as_str().unwrap_or_default();
    let may_lack = drive == "kernel" && !matches!(way, "bridge" | "host-gw");
    // Of several cells the first says why there is nothing in them.
    let is_told = why.contains("disturbed by steal") || why.is_empty() || why == "none arrived";
    assert!(
        cell.get("figure").is_some() || is_told || may_lack && why.starts_with("this kernel has no "),
        "{key}: {cell}"
    );
}

#[test]
fn an_interrupted_run_leaves_no_namespace() {
    const TEST: &str = "an_interrupted_run_leaves_no_namespace";
    if !is_machine_root() {
        return skipped(TEST, "AF_XDP needs root");
    }
    let folder = Folder::new("bench-namespaces");
    // Of one way, so that what is measured in memory before is soon over.
    let words = "bench encap --rounds 1 --millis 1 --size 64 --way bridge --report r";
    let mut command = folder.command(&words.split(' ').collect::<Vec<_>>());
    let mut run = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    wait_for("a namespace", || (!namespaces(run.pid()).is_empty()).then_some(()));
    run.signal("TERM");
    assert_eq!((run.end().code(), namespaces(run.pid())), (Some(1), vec![]));
    assert_eq!(report(&folder.path("r"))["ended_early"], "interrupted");
}
