//! Receive queues: the kernel spreads frames over all of them, and those of a queue that nobody reads are lost.

use rigswitch_dataplane::ports::{PortKind, XdpConfig, XdpQueues};

use super::Finding;
use crate::doctor::facts::{Device, Facts, Port};

pub(super) fn queues(facts: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let PortKind::Xdp(XdpConfig { queues, .. }) = &port.kind else { return Vec::new() };
    let end = &device.end;
    let (rx, tx) = (end.rx_queues, end.tx_queues);
    let evidence = format!("ETHTOOL_GCHANNELS: {rx} receive, {tx} transmit");
    let taken = match queues {
        XdpQueues::All => rx,
        XdpQueues::First(count) => u32::from(*count),
    };
    let all = || facts.set_port(port, "xdp", "queues", "\"all\"");
    if taken > rx {
        let what = format!("{taken} queues are asked for, and it has {rx}: the port will not start");
        return vec![Finding::error(what, evidence, all())];
    }
    if taken > tx {
        let what = format!(
            "{taken} queues are to receive and to send, and it has {tx} to send: the port will not start"
        );
        return vec![Finding::error(what, evidence, even(device))];
    }
    if taken < rx {
        let what = format!("frames on {} of its {rx} receive queues pass the switch by", rx - taken);
        return vec![Finding::error(what, format!("{evidence}; queues = {taken}"), all())];
    }
    Vec::new()
}

/// As many queues to receive as to send.
fn even(device: &Device) -> String {
    let end = &device.end;
    match &device.peer {
        // A veth receives natively only if its far end has no more queues to send.
        Some(peer) if peer.tx_queues > end.tx_queues => {
            let far = peer.ethtool("-L", &format!("tx {}", end.tx_queues));
            format!("{far} && {}", end.ethtool("-L", &format!("rx {}", end.tx_queues)))
        }
        _ => end.ethtool("-L", &format!("rx {}", end.tx_queues)),
    }
}
