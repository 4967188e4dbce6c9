//! The demo's words: the picture it starts with, a line for each path, and what to try next.

use std::time::Duration;

use super::refused;
use super::traffic::{Path, TCP_BYTES};
use crate::views::LedgerView;

/// What is being built, as a picture.
pub(super) fn picture(socket: &std::path::Path) -> String {
    format!(
        "\
rigswitch demo: four hosts, each in a network namespace of its own, and a switch between them

    h1 10.79.0.1 ── veth ── p1 ┐           ┌ p3 ── TAP ── h3 10.79.0.3
                       AF_XDP  ├─── br0 ───┤
    h2 10.79.0.2 ── veth ── p2 ┘           └ p4 ── TAP ── h4 10.79.0.4

It answers on {}, as every switch does, while the demo runs.

",
        socket.display()
    )
}

/// The head of the lines of paths.
pub(super) fn path_head() -> String {
    let bytes = format!("TCP, {} MiB", TCP_BYTES >> 20);
    format!("      {:<9}{:<12}{:>7}{:>13}{bytes:>16}\n", "PATH", "PORTS", "PING", "RTT MEDIAN")
}

/// What came of a path.
pub(super) fn path_line(path: &Path, colour: bool) -> String {
    let verdict = verdict(path.works(), colour);
    let (pings, median) = match &path.ping {
        Ok(ping) => {
            let answered = format!("{}/{}", ping.round_trips.len(), ping.sent);
            (answered, ping.median().map_or("-".into(), |rtt| format!("{} µs", rtt.as_micros())))
        }
        Err(_) => ("-".into(), "-".into()),
    };
    let (tcp, why) = match &path.tcp {
        Ok(time) => (format!("{:.2} Gbit/s", gigabits(*time)), String::new()),
        Err(why) => ("-".into(), format!("  {why}")),
    };
    let why = path.ping.as_ref().err().map_or(why, |why| format!("  {why}"));
    let (hosts, ports) = (path.hosts.join(" → "), path.kinds.join(" → "));
    format!("{verdict}  {hosts:<9}{ports:<12}{pings:>7}{median:>13}{tcp:>16}{why}\n")
}

/// Whether the frames that no bridge may forward were dropped.
pub(super) fn refused_line(dropped: bool, colour: bool) -> String {
    format!("{}  {:<9}{}\n", verdict(dropped, colour), "h1", refused::described())
}

/// Where every frame that was received went.
pub(super) fn ledger_line(ledger: &LedgerView) -> String {
    let LedgerView { received, originated, consumed, frames_dropped, forwarded, .. } = ledger;
    if !ledger.balanced {
        return format!(
            "NOT every frame is accounted for: {} frames and {} copies are missing\n",
            ledger.frames_missing, ledger.copies_missing
        );
    }
    let extra =
        |count: &u64, word: &str| if *count == 0 { String::new() } else { format!(" + {count} {word}") };
    format!(
        "every frame accounted for: received {received}{} = forwarded {forwarded} + dropped {frames_dropped}{}\n",
        extra(originated, "originated"),
        extra(consumed, "consumed")
    )
}

/// What is said when all has gone well, and what to do with a switch after this.
pub(super) fn farewell() -> String {
    let program = std::env::args().next().unwrap_or_else(|| "rigswitch".into());
    format!(
        "\
every path works, and all that the demo made is removed

Try next:
  {program} demo --print-config > rig.toml  # what this switch ran from: name your own devices in it
  {program} check rig.toml                  # is it valid, and if not, what to change
  {program} run -c rig.toml                 # a switch of your own
"
    )
}

fn verdict(good: bool, colour: bool) -> &'static str {
    match (good, colour) {
        (true, true) => "\x1b[32mpass\x1b[0m",
        (true, false) => "pass",
        (false, true) => "\x1b[1;31mFAIL\x1b[0m",
        (false, false) => "FAIL",
    }
}

fn gigabits(time: Duration) -> f64 {
    // A transfer this size is far from what a float cannot hold.
    let bits = u32::try_from(TCP_BYTES * 8 / 1000).unwrap_or(u32::MAX);
    f64::from(bits) / 1e6 / time.as_secs_f64()
}
