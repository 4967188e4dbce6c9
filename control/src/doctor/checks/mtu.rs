//! The chain of MTUs: a frame that one device takes and the next does not is lost.

use rigswitch_dataplane::bridge::BridgeConfig;
use rigswitch_dataplane::ports::PortKind;
use rigswitch_dataplane::upper::UpperConfig;

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

/// The ports of a bridge are to carry the same, those that stand on others too.
pub(super) fn bridges(facts: &Facts) -> Vec<Finding> {
    let uneven = |bridge: &BridgeConfig| {
        let names = bridge.ports.iter().map(|port| &*port.device);
        let members: Vec<_> = names.filter_map(|name| Some((name, carries(facts, name)?))).collect();
        uneven(facts, &bridge.name, &members)
    };
    facts.config.bridges.iter().filter_map(uneven).collect()
}

fn uneven(facts: &Facts, bridge: &str, members: &[(&str, u32)]) -> Option<Finding> {
    let largest = members.iter().map(|(_, mtu)| *mtu).max()?;
    let (narrow, smallest) = members.iter().min_by_key(|(_, mtu)| *mtu).filter(|(_, mtu)| *mtu < largest)?;
    let below = members.iter().filter(|(_, mtu)| *mtu < largest);
    let fixes: Vec<_> = below.flat_map(|(name, _)| raise(facts, name, largest)).collect();
    let list: Vec<_> = members.iter().map(|(name, mtu)| format!("{} {mtu}", label(facts, name))).collect();
    Some(Finding::error(
        format!(
            "bridge {bridge}: frames of more than {smallest} bytes of payload are dropped on the way to {}",
            label(facts, narrow)
        ),
        format!("IFLA_MTU: {}", list.join(", ")),
        fixes.join(" && "),
    ))
}

/// What stands on another carries what that one does, whatever it is given.
pub(super) fn chain(facts: &Facts) -> Vec<Finding> {
    let narrow = |upper: &UpperConfig| {
        let (own, below) = (u32::from(upper.mtu?), carries(facts, &upper.link)?);
        let link = label(facts, &upper.link);
        (own > below).then(|| {
            Finding::error(
                format!(
                    "{} is to carry {own} bytes of payload, and {link} that it stands on carries {below}",
                    upper.name
                ),
                format!("mtu = {own}; IFLA_MTU of {link}: {below}"),
                raise(facts, &upper.link, own).join(" && "),
            )
        })
    };
    facts.config.uppers.iter().filter_map(narrow).collect()
}

/// Bytes of payload that a port carries, or what stands on one.
fn carries(facts: &Facts, name: &str) -> Option<u32> {
    if let Some(port) = facts.ports.iter().find(|port| port.name == name) {
        return port.carries();
    }
    let upper = facts.config.uppers.iter().find(|upper| upper.name == name)?;
    let below = carries(facts, &upper.link)?;
    Some(upper.mtu.map_or(below, |own| below.min(own.into())))
}

fn label<'f>(facts: &'f Facts, name: &'f str) -> &'f str {
    facts.ports.iter().find(|port| port.name == name).map_or(name, Port::label)
}

/// The commands that give a device, what it stands on and what is behind that another MTU.
fn raise(facts: &Facts, name: &str, mtu: u32) -> Vec<String> {
    if let Some(upper) = facts.config.uppers.iter().find(|upper| upper.name == name) {
        let is_narrow = carries(facts, &upper.link).is_some_and(|below| below < mtu);
        let mut all = if is_narrow { raise(facts, &upper.link, mtu) } else { Vec::new() };
        if upper.mtu.is_some_and(|own| u32::from(own) < mtu) {
            let is_running = facts.switch.is_running && facts.switch.file.is_none();
            let of = (upper.kind.name(), &*upper.name, is_running);
            all.push(facts.set_device(of, "", "mtu", &mtu.to_string()));
        }
        return all;
    }
    let Some(port) = facts.ports.iter().find(|port| port.name == name) else { return Vec::new() };
    let device = port.device();
    let far = device.and_then(|device| device.peer.as_ref()).map(|peer| peer.set(&format!("mtu {mtu}")));
    let own = match (port.mtu, device) {
        (None, Some(device)) => device.end.set(&format!("mtu {mtu}")),
        _ => facts.set_port(port, "", "mtu", &mtu.to_string()),
    };
    far.into_iter().chain([own]).collect()
}
