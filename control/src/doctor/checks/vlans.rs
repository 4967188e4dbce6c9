//! VLANs that are devices, and bridges that would have the same frames.

use rigswitch_dataplane::bridge::BridgeConfig;
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};

use super::Finding;
use crate::doctor::facts::Facts;

/// A sub-interface takes its VLAN from the bridge that its link is in.
pub(super) fn taken(facts: &Facts) -> Vec<Finding> {
    let of_upper =
        |upper: &UpperConfig| facts.config.bridges.iter().find_map(|bridge| taken_from(facts, bridge, upper));
    facts.config.uppers.iter().filter_map(of_upper).collect()
}

fn taken_from(facts: &Facts, bridge: &BridgeConfig, upper: &UpperConfig) -> Option<Finding> {
    let UpperKind::Vlan(vlan) = &upper.kind else { return None };
    let port = bridge.ports.iter().find(|port| port.device == upper.link)?;
    let (vlans, link) = (&bridge.vlans, &upper.link);
    let is_same = vlans.filtering && vlans.protocol.ether_type() == vlan.protocol;
    let membership = vlans.of_port(&port.vlans);
    if !is_same || !membership.members.contains_key(&vlan.id) {
        return None;
    }
    let (vid, name) = (vlan.id, &bridge.name);
    let fix = match (&facts.switch.file, facts.switch.is_running) {
        (None, true) => {
            format!("rigswitch --socket {} vlan del vid {vid} dev {link}", facts.switch.socket.display())
        }
        _ => format!("# take {vid} out of the VLANs of {link} in {name}, or take {} away", upper.name),
    };
    let what =
        format!("what comes by {link} in VLAN {vid} is for {}: bridge {name} never sees it", upper.name);
    let evidence =
        format!("[[vlan]] {}: link {link}, id {vid}; {link} is in VLAN {vid} of {name}", upper.name);
    Some(Finding::error(what, evidence, fix))
}
