//! `[[neighbor]]`: which station has an IP address, `ip neigh`'s permanent entries.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rigswitch_dataplane::bridge::{BridgeConfig, NeighborConfig};
use rigswitch_dataplane::ids::VlanId;
use rigswitch_dataplane::ports::AddressConfig;
use rigswitch_dataplane::tunnels::{TunnelConfig, TunnelKind};

use super::fields::{Fields, Shape, Text, suggest};
use super::roles::Roles;
use super::values::station;

const NEIGHBOR: Shape =
    Shape { label: "[[neighbor]]", keys: &["device", "address", "mac", "vlan"], later: &[] };

/// Every `[[neighbor]]`, each of one of these bridges, of a device with an address, or of a VXLAN device that answers for neighbours.
pub(super) fn read_all(
    file: &Fields<'_>,
    bridges: &[BridgeConfig],
    addresses: &[AddressConfig],
    tunnels: &[TunnelConfig],
    roles: &Roles<'_>,
) -> Vec<NeighborConfig> {
    let mut neighbors = Vec::new();
    let mut seen = BTreeMap::new();
    for fields in file.tables("neighbor", &NEIGHBOR) {
        let device = fields
            .required("device", "\"br0\"")
            .and_then(|text| place(&fields, &text, bridges, addresses, tunnels));
        let text = fields.required("address", "\"10.0.0.1\"");
        let address = text.as_ref().and_then(|text| address(&fields, text));
        let mac = fields.required("mac", "\"02:00:00:00:00:01\"").and_then(|text| station(&fields, &text));
        let (Some(device), Some(text), Some(address), Some(mac)) = (device, text, address, mac) else {
            continue;
        };
        let vlan = vlan(&fields, &device, bridges);
        if let Some(first) = seen.insert((device.clone(), vlan, address), text.span.clone()) {
            let rule =
                format!("{address} is a neighbour of {device} twice: line {} has it", roles.line(&first));
            fields.problems.push(text.span, rule, "an address is one station's: keep one of the two");
            continue;
        }
        neighbors.push(NeighborConfig { device, address, mac, vlan });
    }
    neighbors
}

/// The bridge, or the routed device, whose neighbour it is.
fn place(
    fields: &Fields<'_>,
    text: &Text<'_>,
    bridges: &[BridgeConfig],
    addresses: &[AddressConfig],
    tunnels: &[TunnelConfig],
) -> Option<String> {
    let bridges = || bridges.iter().map(|bridge| bridge.name.as_str());
    let asks =
        |tunnel: &&TunnelConfig| matches!(&tunnel.kind, TunnelKind::Vxlan(vxlan) if vxlan.asks_neighbors());
    let tunnels = || tunnels.iter().filter(asks).map(|tunnel| tunnel.name.as_str());
    let known = || bridges().chain(addresses.iter().map(|of| of.device.as_str())).chain(tunnels());
    if known().any(|name| name == text.value) {
        return Some(text.value.to_owned());
    }
    let rule = format!(
        "`{}` is no bridge, has no [[address]], and is no [[vxlan]] with `proxy` or `rsc`: nothing else has neighbours",
        text.value
    );
    let remedy = suggest(text.value, known())
        .unwrap_or_else(|| "name a [[bridge]], or give the device an [[address]]".into());
    fields.problems.push(text.span.clone(), rule, remedy);
    None
}

/// The VLAN that it is in: the kernel has neighbours of a VLAN on a device of that VLAN, on the bridge.
fn vlan(fields: &Fields<'_>, device: &str, bridges: &[BridgeConfig]) -> Option<VlanId> {
    let value = fields.value("vlan")?;
    let vid = fields.integer("vlan", 1..=i64::from(VlanId::MAX)).and_then(VlanId::new)?;
    let filters = |bridge: &&BridgeConfig| bridge.name == device && bridge.vlans.filtering;
    let (rule, remedy) = match bridges.iter().find(filters) {
        None => (
            format!("a neighbour with a `vlan` of {device}, which does not filter by VLAN"),
            "take it out, or name a [[bridge]] that has vlan_filtering = true",
        ),
        Some(bridge) if !bridge.vlans_in_use().contains(&vid) => (
            format!("nothing of {device} is in VLAN {vid}"),
            "put a port into it, or name a VLAN that one is in",
        ),
        Some(_) => return Some(vid),
    };
    fields.problems.push(value.span(), rule, remedy);
    None
}

/// The address of one station at `text`.
fn address(fields: &Fields<'_>, text: &Text<'_>) -> Option<IpAddr> {
    let parsed = text.value.parse::<IpAddr>();
    let is_of_one = |address: &IpAddr| {
        !address.is_multicast() && !address.is_unspecified() && *address != IpAddr::from([255; 4])
    };
    let rule = match parsed {
        Ok(address) if is_of_one(&address) => return Some(address),
        Ok(address) => format!("`{address}` is not the address of one station"),
        Err(_) => format!("`{}` is not an IP address", text.value),
    };
    fields.problems.push(text.span.clone(), rule, "write one as 10.0.0.1 or fd00::1");
    None
}
