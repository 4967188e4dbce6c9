//! Macvlans → who has which address on the device below, and how what they send leaves.

use std::collections::BTreeMap;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::macvlan::MacvlanConfig;
use rigswitch_dataplane::tables::{Descent, Device, Macvlan, MacvlanDescent, Macvlans, MacvlansId, Role};
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};

use super::{Named, PortFacts, descend};
use crate::config::Config;

/// The macvlans of every device that has some, whose role they are then.
pub(super) fn macvlans(config: &Config, named: &Named<'_>, devices: &mut [Device]) -> Box<[Macvlans]> {
    let mut by_link: BTreeMap<DeviceId, Vec<_>> = BTreeMap::new();
    for upper in &config.uppers {
        let UpperKind::Macvlan(macvlan) = &upper.kind else { continue };
        let (Some(facts), Some(link)) = (named.get(&*upper.name), named.get(&*upper.link)) else { continue };
        by_link.entry(link.id).or_default().push((upper, macvlan, *facts));
    }
    for ((&link, children), number) in by_link.iter().zip(0..) {
        let siblings = MacvlansId(number);
        devices[link.index()].role = Role::Macvlan(siblings);
        for (upper, macvlan, facts) in children {
            let longest = Device::longest_for_mtu(facts.mtu);
            let way = MacvlanDescent { link, child: facts.id, siblings, mode: macvlan.mode, longest };
            descend(&mut devices[facts.id.index()], upper, Descent::Macvlan(way));
        }
    }
    by_link.into_values().map(|children| family(&children)).collect()
}

fn family(children: &[(&UpperConfig, &MacvlanConfig, &PortFacts<'_>)]) -> Macvlans {
    let told: Vec<_> = children
        .iter()
        .map(|(upper, macvlan, facts)| Macvlan {
            device: facts.id,
            mac: address(upper, facts),
            mode: macvlan.mode,
            sources: &macvlan.sources,
            nodst: macvlan.nodst,
            own_only: macvlan.nopromisc,
        })
        .collect();
    // The longest that any of them asks for (`update_port_bc_queue_len`, drivers/net/macvlan.c).
    let asked =
        children.iter().map(|(_, macvlan, _)| macvlan.bcqueuelen.unwrap_or(MacvlanConfig::BCQUEUELEN));
    // One for all of them, and the same wherever it is said.
    let bclim = children.iter().find_map(|(_, macvlan, _)| macvlan.bclim).unwrap_or(MacvlanConfig::BCLIM);
    Macvlans::new(&told, asked.max().unwrap_or(MacvlanConfig::BCQUEUELEN), bclim)
}

/// The address of a child. The host may have given its own another.
fn address(upper: &UpperConfig, facts: &PortFacts<'_>) -> MacAddr {
    let is_given = upper.host.is_some() && !facts.mac.is_zero();
    if is_given { facts.mac } else { upper.own_address().unwrap_or(facts.mac) }
}
