//! The chain of MTUs, from a host behind a port to the far end of a tunnel.

use rigswitch_dataplane::ports::PortKind;
use rigswitch_dataplane::tunnels::TunnelConfig;
use rigswitch_dataplane::upper::UpperConfig;

use super::Finding;
use crate::doctor::facts::{Device, Facts, Port};
use crate::mtus::{Chain, Gap, underlay};

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

/// Where a frame that one device takes is too long for the next.
pub(super) fn chain<'f>(facts: &'f Facts) -> Vec<Finding> {
    let label = |name: &'f str| label(facts, name);
    let finding = |gap: Gap<'f>| {
        let (evidence, fix) = match &gap {
            Gap::Uneven { members, .. } => {
                let largest = members.iter().map(|(_, mtu)| *mtu).max().unwrap_or_default();
                let list: Vec<_> =
                    members.iter().map(|(name, mtu)| format!("{} {mtu}", label(name))).collect();
                let fix = members.iter().flat_map(|(name, _)| raise(facts, name, largest, 0)).collect();
                (format!("IFLA_MTU: {}", list.join(", ")), fix)
            }
            Gap::Upper { own, link, below, .. } => {
                (format!("mtu = {own}; IFLA_MTU of {}: {below}", label(link)), raise(facts, link, *own, 0))
            }
            Gap::Tunnel { tunnel, own, dev, below } => {
                let (overhead, dev_label) = (tunnel.kind.overhead(), label(dev));
                let carries = below + overhead;
                let evidence = format!(
                    "IFLA_MTU of {dev_label}: {carries}; [[{}]] {}: mtu {own}, and {overhead} bytes of outer headers",
                    tunnel.kind.name(),
                    tunnel.name
                );
                (
                    evidence,
                    narrow(facts, tunnel, *below).unwrap_or_else(|| raise(facts, dev, own + overhead, 0)),
                )
            }
        };
        let new = if gap.loses() { Finding::error } else { Finding::warning };
        new(gap.what(label), evidence, fix.join(" && "))
    };
    links(facts).gaps().into_iter().map(finding).collect()
}

fn links(facts: &Facts) -> Chain<'_, impl Fn(&str) -> Option<u32>> {
    let of_port = |name: &str| facts.ports.iter().find(|port| port.name == name).and_then(Port::carries);
    Chain::new(&facts.config, of_port)
}

fn label<'f>(facts: &'f Facts, name: &'f str) -> &'f str {
    facts.ports.iter().find(|port| port.name == name).map_or(name, Port::label)
}

/// Has a tunnel take no more than goes on, where nothing else has to follow: it is in no bridge. In a file only what it says can be changed.
fn narrow(facts: &Facts, tunnel: &TunnelConfig, mtu: u32) -> Option<Vec<String>> {
    let mut members = facts.config.bridges.iter().flat_map(|bridge| &bridge.ports);
    let is_member = members.any(|port| port.device == tunnel.name);
    let can_be_said = tunnel.mtu.is_some() || is_live(facts);
    let of = (tunnel.kind.name(), &*tunnel.name, is_live(facts));
    (can_be_said && !is_member).then(|| vec![facts.set_device(of, "", "mtu", &mtu.to_string())])
}

/// Whether what the running switch has is changed there: it is not a file that is looked at.
fn is_live(facts: &Facts) -> bool {
    facts.switch.is_running && facts.switch.file.is_none()
}

/// The commands that give a device, what it stands on and what is behind that an MTU of as much, where it is less.
fn raise(facts: &Facts, name: &str, mtu: u32, depth: usize) -> Vec<String> {
    let config = &facts.config;
    let is_enough = links(facts).carries(name).is_none_or(|carries| carries >= mtu);
    if is_enough || depth > UpperConfig::HIGHEST {
        return Vec::new();
    }
    let below = |name: &str, mtu| raise(facts, name, mtu, depth + 1);
    let own = |kind: &str, said: Option<u16>| {
        let is_narrow = said.is_some_and(|own| u32::from(own) < mtu);
        is_narrow.then(|| facts.set_device((kind, name, is_live(facts)), "", "mtu", &mtu.to_string()))
    };
    if let Some(upper) = config.uppers.iter().find(|upper| upper.name == name) {
        return below(&upper.link, mtu).into_iter().chain(own(upper.kind.name(), upper.mtu)).collect();
    }
    if let Some(tunnel) = config.tunnels.iter().find(|tunnel| tunnel.name == name) {
        let dev = underlay(config, tunnel);
        let beneath = dev.map(|dev| below(dev, mtu + tunnel.kind.overhead())).unwrap_or_default();
        return beneath.into_iter().chain(own(tunnel.kind.name(), tunnel.mtu)).collect();
    }
    if let Some(bridge) = config.bridges.iter().find(|bridge| bridge.name == name) {
        let ports = bridge.ports.iter().flat_map(|port| below(&port.device, mtu));
        return ports.chain(own("bridge", bridge.mtu)).collect();
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
