//! A bridge's own device: what is a member of the bridge for it, and what that is handed.

use std::collections::HashMap;

use rigswitch_dataplane::bridge::BridgeConfig;
use rigswitch_dataplane::ids::{DeviceId, DomainId, MacAddr};
use rigswitch_dataplane::tables::{Descent, Device, HostPort, PatchDescent, Role};
use rigswitch_dataplane::upper::UpperConfig;

use super::PortFacts;

/// Gives the bridge's own its place: as the host's port, or, where other things use it too, as a device that a patch joins to what
/// is the host's port then. Returns which is in the bridge.
pub(super) fn place(
    bridge: &BridgeConfig,
    domain: DomainId,
    facts: &PortFacts<'_>,
    devices: &mut [Device],
) -> DeviceId {
    // What goes up is not measured against the MTU (`br_pass_frame_up`, net/bridge/br_input.c).
    const ANY: u32 = u32::MAX;
    let member = facts.inside.unwrap_or(facts.id);
    if let Some(inside) = facts.inside {
        let down = Descent::Patch(PatchDescent { peer: inside, longest: Device::longest_for_mtu(facts.mtu) });
        let device = &mut devices[facts.id.index()];
        match bridge.host {
            Some(_) => (device.role, device.longest) = (Role::Upper(down), ANY),
            None => (device.descent, device.longest) = (down, 0),
        }
        let owner = device.owner;
        let up = Descent::Patch(PatchDescent { peer: facts.id, longest: ANY });
        devices[inside.index()] = Device { owner, descent: up, ..Device::NONE };
    } else {
        devices[member.index()].longest = ANY;
    }
    let device = &mut devices[member.index()];
    device.role = Role::Host(domain);
    device.knobs.answers = bridge.ports.iter().any(|port| port.neigh_suppress);
    member
}

/// The port by which it takes part in its bridge.
pub(super) fn host_port(facts: &PortFacts<'_>) -> HostPort {
    HostPort { device: facts.inside.unwrap_or(facts.id), mac: facts.mac }
}

/// Whether something on it has another address than it has itself: the kernel has it hear everything then (`__dev_set_rx_mode`,
/// net/core/dev.c, for want of `IFF_UNICAST_FLT`), and here it hears what is for stations that nobody knows.
pub(super) fn is_promiscuous(
    uppers: &HashMap<&str, &UpperConfig>,
    bridge: &BridgeConfig,
    own: MacAddr,
) -> bool {
    let is_on_it = |upper: &&UpperConfig| {
        let below = std::iter::successors(Some(*upper), |upper| uppers.get(&*upper.link).copied());
        below.take(UpperConfig::HIGHEST).any(|upper| upper.link == bridge.name)
    };
    let has_own = |upper: &&UpperConfig| upper.own_address().is_some_and(|address| address != own);
    uppers.values().copied().filter(has_own).any(|upper| is_on_it(&upper))
}
