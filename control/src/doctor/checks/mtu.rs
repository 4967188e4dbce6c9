//! The chain of MTUs: a frame that one device takes and the next does not is lost.

use std::collections::BTreeMap;

use rigswitch_dataplane::ports::PortKind;

use super::Finding;
use crate::doctor::facts::{Device, Facts, Port};

pub(super) fn far_end(facts: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let Some(peer) = &device.peer else { return Vec::new() };
    let own = port.carries().unwrap_or(device.end.mtu);
    let mates = facts.ports.iter().filter(|other| port.bridge.is_some() && other.bridge == port.bridge);
    let wanted = mates.filter_map(Port::carries).max().unwrap_or(own);
    // Where the port is to carry more and its far end does already, it is the bridge's finding.
    if [own, wanted].contains(&peer.mtu) || !matches!(port.kind, PortKind::Xdp(_) | PortKind::Packet(_)) {
        return Vec::new();
    }
    let what = match peer.mtu > own {
        true => format!(
            "the far end sends frames of up to {} bytes of payload, and those above {own} are lost",
            peer.mtu
        ),
        false => format!(
            "the port takes frames of up to {own} bytes of payload to the far end, which takes {}",
            peer.mtu
        ),
    };
    vec![Finding::error(
        what,
        format!("IFLA_MTU: {own}; {}: {}", peer.place.of(&peer.name), peer.mtu),
        peer.set(&format!("mtu {wanted}")),
    )]
}

/// The ports of a bridge are to carry the same.
pub(super) fn bridges(facts: &Facts) -> Vec<Finding> {
    let mut bridges: BTreeMap<&str, Vec<(&Port, u32)>> = BTreeMap::new();
    for port in &facts.ports {
        if let (Some(bridge), Some(mtu)) = (&port.bridge, port.carries()) {
            bridges.entry(bridge).or_default().push((port, mtu));
        }
    }
    bridges.into_iter().filter_map(|(bridge, ports)| uneven(facts, bridge, &ports)).collect()
}

fn uneven(facts: &Facts, bridge: &str, ports: &[(&Port, u32)]) -> Option<Finding> {
    let largest = ports.iter().map(|(_, mtu)| *mtu).max()?;
    let (port, smallest) = ports.iter().min_by_key(|(_, mtu)| *mtu).filter(|(_, mtu)| *mtu < largest)?;
    let fixes = ports.iter().filter(|(_, mtu)| *mtu < largest).map(|(port, _)| raise(facts, port, largest));
    let list =
        ports.iter().map(|(port, mtu)| format!("{} {mtu}", port.label())).collect::<Vec<_>>().join(", ");
    Some(Finding::error(
        format!(
            "bridge {bridge}: frames of more than {smallest} bytes of payload are dropped on the way to {}",
            port.label()
        ),
        format!("IFLA_MTU: {list}"),
        fixes.collect::<Vec<_>>().join(" && "),
    ))
}

/// Gives a port and what is behind it another MTU.
fn raise(facts: &Facts, port: &Port, mtu: u32) -> String {
    let device = port.device();
    let far = device.and_then(|device| device.peer.as_ref()).map(|peer| peer.set(&format!("mtu {mtu}")));
    let own = match (port.mtu, device) {
        (None, Some(device)) => device.end.set(&format!("mtu {mtu}")),
        _ => facts.set_port(port, "", "mtu", &mtu.to_string()),
    };
    far.into_iter().chain([own]).collect::<Vec<_>>().join(" && ")
}
