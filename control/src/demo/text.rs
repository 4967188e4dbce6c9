//! The demo's words: the picture it starts with, a line for each path, and what to try next.

use std::time::Duration;

use super::refused;
use super::traffic::{Path, TCP_BYTES};
use crate::views::LedgerView;

/// What is being built, as a picture.
pub(super) fn picture(socket: &std::path::Path) -> String {
    format!(
        "\
rigswitch demo: four hosts, each in its own network namespace, on one switch

    h1 10.79.0.1 ───────── veth ── p1 access ┐             ┌ access p3 ── TAP ── h3 10.79.0.3
                                      AF_XDP ├ br0 VLAN 10 ┤
    h2 10.79.0.2 eth0.10 ─ veth ── p2  trunk ┘             └ br0.10 10.79.0.254
                                                             router
                                                             vx4 10.79.1.254 ═ VXLAN ═ h4 10.79.1.4
                                                             p4 10.79.2.254 ─── TAP ──┘

While the demo runs, the switch answers on {}.

",
        socket.display()
    )
}

/// The head of the lines of paths.
pub(super) fn path_head() -> String {
    let bytes = format!("TCP, {} MiB", TCP_BYTES >> 20);
    format!("      {:<9}{:<12}{:<17}{:>7}{:>13}{bytes:>16}\n", "PATH", "PORTS", "HOSTS", "PING", "RTT MEDIAN")
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
    let [hosts, ports, roles] = [path.hosts.join(" → "), path.kinds.join(" → "), path.roles.join(" → ")];
    format!("{verdict}  {hosts:<9}{ports:<12}{roles:<17}{pings:>7}{median:>13}{tcp:>16}{why}\n")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Ping;

    fn path(ping: Result<Ping, String>, tcp: Result<Duration, String>) -> Path {
        Path {
            hosts: ["h1".into(), "h3".into()],
            kinds: ["xdp", "tap"],
            roles: ["access", "trunk"],
            ping,
            tcp,
        }
    }

    #[test]
    fn a_path_passes_only_when_nothing_was_lost() {
        let rtt = Duration::from_micros(45);
        let pings = |answered| Ok(Ping { sent: 2, round_trips: vec![rtt; answered] });
        let tcp = Ok(Duration::from_secs(1));
        let line = |ping, tcp| path_line(&path(ping, tcp), false);
        let good = line(pings(2), tcp.clone());
        assert_eq!(
            good,
            "pass  h1 → h3  xdp → tap   access → trunk       2/2        45 µs     0.27 Gbit/s\n"
        );
        assert!(line(pings(1), tcp).starts_with("FAIL  h1 → h3  xdp → tap   access → trunk       1/2 "));
        assert!(line(pings(2), Err("no route".into())).ends_with("  no route\n"));
        assert!(line(Err("no socket".into()), Err("not tried".into())).ends_with("  no socket\n"));
    }

    #[test]
    fn the_ledger_line_leaves_out_what_did_not_occur() {
        let mut ledger = LedgerView {
            received: 10,
            originated: 0,
            consumed: 0,
            frames_dropped: 1,
            forwarded: 9,
            copies: 9,
            sent: 9,
            surfaced: 0,
            copies_dropped: 0,
            held: 0,
            frames_missing: 0,
            copies_missing: 0,
            balanced: true,
        };
        let line = ledger_line(&ledger);
        assert_eq!(line, "every frame accounted for: received 10 = forwarded 9 + dropped 1\n");
        (ledger.originated, ledger.consumed) = (2, 2);
        assert!(
            ledger_line(&ledger)
                .contains("received 10 + 2 originated = forwarded 9 + dropped 1 + 2 consumed")
        );
        (ledger.balanced, ledger.frames_missing) = (false, 3);
        assert!(ledger_line(&ledger).starts_with("NOT every frame is accounted for: 3 frames"));
    }
}
