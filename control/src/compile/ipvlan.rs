//! Ipvlans, compiled: who stands on which device, and who has which address there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ipvlan::IpvlanConfig;
use rigswitch_dataplane::tables::{Children, ChildrenId, Device, Role, Routing};
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};

use super::Named;
use crate::config::Config;

/// The ipvlans of every device that has some, which is then their parent.
pub(super) fn children(
    config: &Config,
    named: &Named<'_>,
    routing: &Routing,
    devices: &mut [Device],
) -> Box<[Children]> {
    let addresses = addresses(config);
    let mut by_link: BTreeMap<DeviceId, Vec<_>> = BTreeMap::new();
    for upper in &config.uppers {
        let UpperKind::Ipvlan(IpvlanConfig { flag, .. }) = upper.kind else { continue };
        let (Some(facts), Some(link)) = (named.get(&*upper.name), named.get(&*upper.link)) else { continue };
        by_link.entry(link.id).or_default().push((upper, facts.id, link.mac, flag));
    }
    for (link, number) in by_link.keys().zip(0..) {
        devices[link.index()].role = Role::Ipvlan(ChildrenId(number));
    }
    let compiled = by_link.into_iter().filter_map(|(link, children)| {
        let &(_, _, mac, flag) = children.first()?; // the same of them all
        let of = |&(upper, id, ..): &(&UpperConfig, DeviceId, _, _)| {
            let own = addresses.get(&*upper.name).into_iter().flatten();
            own.map(move |address| (*address, id)).collect::<Vec<_>>()
        };
        let all = children.iter().map(|child| child.1);
        let mut compiled = Children::new(mac, flag, all, children.iter().flat_map(of));
        compiled.ways = routing.ways.get(&link).cloned(); // in mode L3
        Some(compiled)
    });
    compiled.collect()
}

/// The addresses of every device: what the file says, and what the host's devices are given.
fn addresses(config: &Config) -> BTreeMap<&str, Vec<IpAddr>> {
    let said = config.addresses.iter().map(|said| (&*said.device, said.address.address));
    let hosts = config.uppers.iter().filter_map(|upper| Some((&*upper.name, upper.host.as_ref()?)));
    let given = hosts.flat_map(|(name, host)| host.addresses.iter().map(move |it| (name, it.address)));
    let mut by_device: BTreeMap<_, Vec<_>> = BTreeMap::new();
    said.chain(given).for_each(|(device, address)| by_device.entry(device).or_default().push(address));
    by_device
}
