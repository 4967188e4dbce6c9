//! `/metrics`: the views as Prometheus text (exposition format 0.0.4).

use std::fmt::{Display, Write};

use rigswitch_dataplane::drops::DropReason;

use crate::switch::Switch;
use crate::views::{PortView, VlanTrafficView, VniTrafficView};

/// Everything the switch counts.
pub(super) fn text(switch: &Switch) -> String {
    let (ports, drops, workers) = (switch.ports(), switch.drops(), switch.workers());
    let mut text = Text(String::new());
    let packets = "Frames taken from (receive) or sent by (transmit) the device.";
    let bytes = "Bytes of those frames, from the destination address on.";
    text.traffic("receive_packets", packets, &ports, |port| port.rx.packets);
    text.traffic("receive_bytes", bytes, &ports, |port| port.rx.bytes);
    text.traffic("transmit_packets", packets, &ports, |port| port.tx.packets);
    text.traffic("transmit_bytes", bytes, &ports, |port| port.tx.bytes);
    text.family("rigswitch_up", "gauge", "Whether the device is up.");
    for port in &ports {
        text.sample("rigswitch_up", &[("device", &port.ifname)], u8::from(port.operstate == "UP"));
    }
    text.family("rigswitch_drops_total", "counter", &drop_help());
    for drop in &drops.drops {
        let labels = [("device", &*drop.device), ("direction", &drop.direction), ("reason", &drop.reason)];
        text.sample("rigswitch_drops_total", &labels, drop.packets);
    }
    // A family has one help text; what an alert is to say comes by `* on (reason) group_left (meaning, remedy)` from here.
    let info = "rigswitch_drop_reason_info";
    text.family(
        info,
        "gauge",
        "What a reason of rigswitch_drops_total means, how it arises, and what to do.",
    );
    for reason in DropReason::ALL {
        let (meaning, cause, remedy) = (reason.meaning(), reason.cause(), reason.remedy());
        let labels = [("reason", reason.name()), ("meaning", meaning), ("cause", cause), ("remedy", remedy)];
        text.sample(info, &labels, 1);
    }
    let lost = "rigswitch_lost_before_switch_total";
    text.family(
        lost,
        "counter",
        "Frames that the kernel dropped before the switch could see them, by its names.",
    );
    for counter in &drops.lost {
        text.sample(lost, &[("device", &counter.device), ("counter", &counter.counter)], counter.packets);
    }
    let completed = "rigswitch_checksums_completed_total";
    text.family(completed, "counter", "Partial checksums completed in software.");
    for (device, checksums, _) in switch.offloaded() {
        text.sample(completed, &[("device", device)], checksums);
    }
    let segments = "rigswitch_segments_made_total";
    text.family(segments, "counter", "Segments cut in software from super-frames.");
    for (device, _, made) in switch.offloaded() {
        text.sample(segments, &[("device", device)], made);
    }
    text.family("rigswitch_fdb_entries", "gauge", "Forwarding entries; state is empty for those that age.");
    for ((bridge, state), count) in switch.fdb_counts() {
        text.sample("rigswitch_fdb_entries", &[("bridge", bridge), ("state", state)], count);
    }
    text.family("rigswitch_fdb_n_learned", "gauge", "Addresses that the bridge has learned now.");
    for (bridge, count) in switch.fdb_n_learned() {
        text.sample("rigswitch_fdb_n_learned", &[("bridge", bridge)], count);
    }
    text.vlans(switch);
    text.vnis(switch);
    text.family("rigswitch_mdb_groups", "gauge", "Multicast groups that somebody is known to be in.");
    for (bridge, groups, _) in switch.mdb_counts() {
        text.sample("rigswitch_mdb_groups", &[("bridge", bridge)], groups);
    }
    text.family("rigswitch_mcast_snooping", "gauge", "Whether the bridge snoops multicast groups.");
    for (bridge, _, is_on) in switch.mdb_counts() {
        text.sample("rigswitch_mcast_snooping", &[("bridge", bridge)], u8::from(is_on));
    }
    let totals = [
        ("fdb_learned", "Addresses learned.", workers.iter().map(|worker| worker.learned).sum()),
        (
            "fdb_moved",
            "Addresses that moved to another port.",
            workers.iter().map(|worker| worker.moved).sum(),
        ),
        (
            "fdb_mac_move_alarms",
            "Times an address had moved as often as its bridge's mac_move_limit.",
            switch.mac_move_alarms(),
        ),
        (
            "fdb_expired",
            "Addresses forgotten because they were not seen for the ageing time.",
            switch.expired(),
        ),
        (
            "fdb_full",
            "Addresses not learned because the table had no room.",
            workers.iter().map(|w| w.table_full).sum(),
        ),
        (
            "fdb_limited",
            "Addresses not learned because the bridge had as many as fdb_max_learned.",
            workers.iter().map(|w| w.limited).sum(),
        ),
        (
            "mcast_unheard",
            "Frames about multicast groups that were forwarded and not learned from: there were too many.",
            workers.iter().map(|w| w.unheard).sum(),
        ),
        (
            "worker_panics",
            "Times a worker panicked and was started again.",
            workers.iter().map(|w| w.panics).sum(),
        ),
    ];
    for (name, help, value) in totals {
        let name = format!("rigswitch_{name}_total");
        text.family(&name, "counter", help);
        text.sample::<u64>(&name, &[], value);
    }
    let router = "rigswitch_router_events_total";
    text.family(
        router,
        "counter",
        "What a router resolved, answered, told, held and refused beside its forwarding.",
    );
    for (event, count) in switch.router_counters().named() {
        text.sample(router, &[("event", event)], count);
    }
    text.family("rigswitch_worker_busy_ratio", "gauge", "Share of a CPU used over the last second.");
    for worker in &workers {
        text.sample(
            "rigswitch_worker_busy_ratio",
            &[("worker", &worker.worker.to_string())],
            worker.busy_ratio,
        );
    }
    text.family(
        "rigswitch_transmit_ring_frames",
        "gauge",
        "Copies that wait in the worker's transmit rings.",
    );
    for worker in &workers {
        text.sample("rigswitch_transmit_ring_frames", &[("worker", &worker.worker.to_string())], worker.held);
    }
    text.0
}

/// A line for each reason.
fn drop_help() -> String {
    let mut help = "Frames (rx) and copies (tx) dropped, by reason.".to_owned();
    for reason in DropReason::ALL {
        let (meaning, cause, remedy) = (reason.meaning(), reason.cause(), reason.remedy());
        help += &format!("\n{}: {meaning} How it arises: {cause} What to do: {remedy}", reason.name());
    }
    help
}

struct Text(String);

impl Text {
    /// What is counted by VLAN, where that is asked for; `device` is the bridge, or its port.
    fn vlans(&mut self, switch: &Switch) {
        type Of = fn(&VlanTrafficView) -> u64;
        let families: [(&str, &str, Of); 4] = [
            ("receive_packets", "Frames let into", |of| of.rx_packets),
            ("receive_bytes", "Bytes, without Ethernet header and tag, let into", |of| of.rx_bytes),
            ("transmit_packets", "Frames sent in", |of| of.tx_packets),
            ("transmit_bytes", "Bytes, without Ethernet header and tag, sent in", |of| of.tx_bytes),
        ];
        let counted = switch.vlan_traffic();
        for (name, help, of) in families.into_iter().filter(|_| !counted.is_empty()) {
            let name = format!("rigswitch_vlan_{name}_total");
            self.family(&name, "counter", &format!("{help} the VLAN."));
            for (bridge, port, vlan, traffic) in &counted {
                let vlan = vlan.to_string();
                let labels = [("bridge", *bridge), ("device", port.unwrap_or(bridge)), ("vlan", &*vlan)];
                self.sample(&name, &labels, of(traffic));
            }
        }
    }

    /// What is counted by network, of VXLAN devices that have many.
    fn vnis(&mut self, switch: &Switch) {
        type Of = fn(&VniTrafficView) -> u64;
        let families: [(&str, &str, Of); 8] = [
            ("receive_packets", "Frames that came in", |of| of.rx_pkts),
            ("receive_bytes", "Bytes, without Ethernet headers, that came in", |of| of.rx_bytes),
            ("receive_drop", "Frames that came in and that there was no room for", |of| of.rx_drops),
            ("receive_errs", "Packets that came in and were wrong", |of| of.rx_errors),
            ("transmit_packets", "Frames sent to far ends", |of| of.tx_pkts),
            ("transmit_bytes", "Bytes, with Ethernet headers, sent to far ends", |of| of.tx_bytes),
            ("transmit_drop", "Frames without a far end", |of| of.tx_drops),
            ("transmit_errs", "Frames to far ends without a route", |of| of.tx_errors),
        ];
        let counted = switch.vni_traffic();
        for (name, help, of) in families.into_iter().filter(|_| !counted.is_empty()) {
            let name = format!("rigswitch_vni_{name}_total");
            self.family(&name, "counter", &format!("{help} in the network."));
            for (device, vni, traffic) in &counted {
                self.sample(&name, &[("device", device), ("vni", &vni.to_string())], of(traffic));
            }
        }
    }

    fn traffic(&mut self, what: &str, help: &str, ports: &[PortView], value: impl Fn(&PortView) -> u64) {
        let name = format!("rigswitch_{what}_total");
        self.family(&name, "counter", help);
        for port in ports {
            self.sample(&name, &[("device", &port.ifname)], value(port));
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample<V: Display>(&mut self, name: &str, labels: &[(&str, &str)], value: V) {
        let quote = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", quote(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted() {
        let mut text = Text(String::new());
        text.family("a_total", "counter", "one\ntwo");
        text.sample("a_total", &[("device", "p\"0\\"), ("reason", "x")], 3);
        text.sample("a_total", &[], 0.5);
        let expected = "# HELP a_total one\\ntwo\n# TYPE a_total counter\n\
                        a_total{device=\"p\\\"0\\\\\",reason=\"x\"} 3\na_total 0.5\n";
        assert_eq!(text.0, expected);
    }
}
