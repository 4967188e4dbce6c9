//! What came of a replay: the traffic of every port, the ledger, and who is where in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::switch::Switch;
use crate::views::{BridgeView, FdbView, LedgerView, TrafficView};

/// `report.json`
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Report {
    /// From the first frame to the last tick, in nanoseconds.
    pub(crate) elapsed_ns: u64,
    /// Every port by name.
    pub(crate) ports: BTreeMap<String, PortReport>,
    /// Where every frame went.
    pub(crate) ledger: LedgerView,
    /// Every bridge with a spanning tree, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    bridges: BTreeMap<String, TreeReport>,
    /// Every forwarding entry.
    fdb: Vec<FdbView>,
}

/// One port.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct PortReport {
    /// The state that its spanning tree has given it.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    rx: TrafficView,
    tx: TrafficView,
    /// Packets dropped, by `<direction>.<reason>`.
    drops: BTreeMap<String, u64>,
    /// Whether it stands on another, by whose file it receives and sends.
    #[serde(skip)]
    is_upper: bool,
}

/// Where a bridge is in its spanning tree, in the words of `show bridges -j`.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct TreeReport {
    bridge_id: Option<String>,
    root_id: Option<String>,
    root_port: Option<String>,
    root_path_cost: Option<u32>,
    topology_change: Option<bool>,
}

impl PortReport {
    /// Whether there is a file of what it has sent.
    pub(super) fn has_output(&self) -> bool {
        !self.is_upper
    }

    /// Frames that it has sent.
    pub(super) fn sent(&self) -> u64 {
        self.tx.packets
    }
}

impl Report {
    /// What there is to say of `switch` when it has run for so many nanoseconds.
    pub(super) fn of(switch: &Switch, elapsed_ns: u64) -> Self {
        let ports = switch.ports().into_iter().map(|port| {
            let is_upper = port.link.is_some();
            let report =
                PortReport { state: port.state, rx: port.rx, tx: port.tx, drops: port.drops, is_upper };
            (port.ifname, report)
        });
        let mut fdb = switch.fdb();
        fdb.iter_mut().for_each(|entry| entry.used = None);
        let with_tree = switch.bridges().into_iter().filter(|bridge| bridge.stp_state);
        let bridges = with_tree.map(
            |BridgeView {
                 ifname, bridge_id, root_id, root_port, root_path_cost, topology_change, ..
             }| {
                (ifname, TreeReport { bridge_id, root_id, root_port, root_path_cost, topology_change })
            },
        );
        Self {
            elapsed_ns,
            ports: ports.collect(),
            ledger: switch.drops().ledger,
            bridges: bridges.collect(),
            fdb,
        }
    }

    /// As JSON on many lines.
    pub(crate) fn text(&self) -> String {
        // Text and numbers: there is nothing about it that could not be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// In a line.
    pub(crate) fn summary(&self) -> String {
        let LedgerView { received, originated, consumed, frames_dropped, forwarded, sent, balanced, .. } =
            self.ledger;
        let elapsed = Duration::from_nanos(self.elapsed_ns);
        let accounted = if balanced { "" } else { ", and not all is accounted for" };
        format!(
            "{received} frames of {:.3} s: {forwarded} forwarded, {consumed} consumed, {frames_dropped} dropped, \
             {originated} originated; {sent} copies sent{accounted}",
            elapsed.as_secs_f64()
        )
    }
}
