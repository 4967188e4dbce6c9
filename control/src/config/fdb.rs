//! `[[bridge.fdb]]`, read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rigswitch_dataplane::bridge::{BridgeConfig, FdbEntryConfig, FdbState};
use rigswitch_dataplane::ids::VlanId;

use super::fields::{Fields, Shape, Text, suggest};
use super::roles::Roles;
use super::values::station;

const ENTRY: Shape = Shape {
    label: "[[bridge.fdb]]",
    keys: &["mac", "device", "vlan", "state", "sticky"],
    later: &["dst", "vni", "port", "via", "src_vni"],
};

/// Every entry of a bridge of which all else is known. One that names no VLAN is of every VLAN of its port.
pub(super) fn read(fields: &Fields<'_>, bridge: &BridgeConfig, roles: &mut Roles<'_>) -> Vec<FdbEntryConfig> {
    let mut entries = Vec::new();
    let mut seen: BTreeMap<_, Range<usize>> = BTreeMap::new();
    for entry in fields.tables("fdb", &ENTRY) {
        let Some((mac, read)) = read_entry(&entry, bridge, roles) else { continue };
        for vlan in vlans(&entry, "vlan", bridge, &read.device) {
            if let Some(first) = seen.get(&(read.mac, vlan)) {
                let of_vlan = vlan.map(|vid| format!(", VLAN {vid},")).unwrap_or_default();
                let (name, line) = (&bridge.name, roles.line(first));
                let rule = format!("{}{of_vlan} is in {name} twice: line {line} has it", read.mac);
                let remedy = "an address is behind one port: keep one of the two";
                entry.problems.push(mac.span.clone(), rule, remedy);
                break;
            }
            seen.insert((read.mac, vlan), mac.span.clone());
            entries.push(FdbEntryConfig { vlan, ..read.clone() });
        }
    }
    entries
}

fn read_entry<'d>(
    entry: &Fields<'d>,
    bridge: &BridgeConfig,
    roles: &mut Roles<'_>,
) -> Option<(Text<'d>, FdbEntryConfig)> {
    let mac = entry.required("mac", "\"02:00:00:00:00:01\"");
    let device = entry.required("device", "\"p0\"");
    let states = [FdbState::Static, FdbState::Dynamic, FdbState::Permanent].map(|s| (s.name(), s));
    let state = entry.word("state", &states).unwrap_or(FdbState::Static);
    let sticky = entry.boolean("sticky").unwrap_or(false);
    if sticky
        && state == FdbState::Permanent
        && let Some(value) = entry.value("sticky")
    {
        let remedy = "take it out, or make the state static or dynamic";
        entry.problems.push(value.span(), "a permanent entry is not sticky: it never moves anyway", remedy);
    }
    let address = mac.as_ref().and_then(|mac| station(entry, mac));
    if let Some(device) = &device {
        check_device(entry, bridge, device, state, roles);
    }
    let (mac, device, address) = (mac?, device?, address?);
    let device = device.value.to_owned();
    Some((mac, FdbEntryConfig { mac: address, device, vlan: None, state, sticky }))
}

/// The device is a port of the bridge, or the bridge itself where it may be.
fn check_device(
    entry: &Fields<'_>,
    bridge: &BridgeConfig,
    device: &Text<'_>,
    state: FdbState,
    roles: &mut Roles<'_>,
) {
    let name = &bridge.name;
    let members: BTreeSet<&str> = bridge.ports.iter().map(|port| port.device.as_str()).collect();
    let rule = format!("`{}` is not a port of {name}", device.value);
    if device.value == name && state != FdbState::Permanent {
        let rule = format!("an entry for `{name}` itself is permanent: frames to it end there");
        entry.problems.push(device.span.clone(), rule, "add state = \"permanent\"");
    } else if device.value == name {
        let remedy = "add host = true to it, an [[address]] or a [[vlan]] of it, or name a port";
        roles.expect_device(name, device.span.clone(), rule, remedy);
    } else if !members.contains(device.value) {
        let near = suggest(device.value, members.iter().copied());
        let remedy = near.unwrap_or_else(|| "add it as a [[bridge.port]], or name one that is".into());
        entry.problems.push(device.span.clone(), rule, remedy);
    }
}

/// The VLANs that an entry is of: the one at `key`, or all of its port (`br_fdb_add`, net/bridge/br_fdb.c; `br_mdb_add`,
/// net/bridge/br_mdb.c).
pub(super) fn vlans(
    entry: &Fields<'_>,
    key: &str,
    bridge: &BridgeConfig,
    device: &str,
) -> Vec<Option<VlanId>> {
    let Some(value) = entry.value(key) else {
        let membership = bridge.vlans_of(device).filter(|_| bridge.vlans.filtering);
        return membership.map_or(vec![None], |of| of.members.into_keys().map(Some).collect());
    };
    let (name, vlan) = (&bridge.name, entry.integer(key, 1..=i64::from(VlanId::MAX)).and_then(VlanId::new));
    if !bridge.vlans.filtering {
        let rule = format!("an entry with a `{key}` in {name}, which does not filter by VLAN");
        entry.problems.push(
            value.span(),
            rule,
            format!("add vlan_filtering = true to {name}, or take it out"),
        );
    } else if let Some(vid) = vlan
        && bridge.vlans_of(device).is_some_and(|of| !of.members.contains_key(&vid))
    {
        let rule = format!("`{device}` is not in VLAN {vid}");
        entry.problems.push(value.span(), rule, "add it to the VLANs of the port, or name one that it is in");
    }
    vec![vlan]
}
