//! What the running switch has lost already, before it could see it.

use super::Finding;
use crate::doctor::facts::{Facts, Lost};

pub(super) fn lost(facts: &Facts) -> Vec<Finding> {
    facts.switch.lost.iter().map(|lost| finding(facts, lost)).collect()
}

fn finding(facts: &Facts, lost: &Lost) -> Finding {
    let Lost { port, counter, packets } = lost;
    let more = facts.switch.workers + 1;
    let (why, fix) = match &**counter {
        "rx_ring_full" | "tp_drops" | "tx_dropped" | "rx_queue_full" => {
            ("its worker did not keep up", format!("# workers = {more} under [switch], and start it again"))
        }
        "rx_fill_ring_empty" => (
            "its worker had no packet memory to receive into",
            "# frames = 65536 under [switch], and start it again".into(),
        ),
        "tx_invalid" | "bad_descriptors" => (
            "the kernel refused descriptors, which is a fault of the switch",
            "rigswitch show drops -jp".into(),
        ),
        _ => ("they were too long, or the device had no room", "rigswitch show drops -jp".into()),
    };
    let device = facts.ports.iter().find(|known| known.name == *port).map(|known| known.label().to_owned());
    let found = Finding::error(
        format!("{packets} frames were lost before the switch saw them: {why}"),
        format!("GET /v1/drops: {port} {counter} {packets}"),
        fix,
    );
    Finding { port: Some(port.clone()), device, ..found }
}
