//! `[[bridge]]` and `[[xconnect]]`: what ports are for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rigswitch_dataplane::bridge::{BridgeConfig, BridgePortConfig, FdbEntryConfig, FdbState, XconnectConfig};

use super::fields::{Fields, Shape, suggest};
use super::roles::{Kind, Role, Roles};
use super::values::{device_name, duration, station};

const BRIDGE: Shape = Shape {
    label: "[[bridge]]",
    keys: &["name", "ageing_time", "port", "fdb"],
    later: &[
        "vlan_filtering",
        "vlan_protocol",
        "vlan_default_pvid",
        "vlan_stats_enabled",
        "vlan",
        "address",
        "mtu",
        "group_fwd_mask",
        "fdb_max_learned",
        "stp_state",
        "priority",
        "forward_delay",
        "hello_time",
        "max_age",
        "mcast_snooping",
        "mcast_querier",
        "no_linklocal_learn",
    ],
};
const MEMBER: Shape = Shape {
    label: "[[bridge.port]]",
    keys: &["device"],
    later: &[
        "vlan",
        "access",
        "trunk",
        "native",
        "tunnel",
        "hairpin",
        "isolated",
        "learning",
        "flood",
        "mcast_flood",
        "bcast_flood",
        "locked",
        "mab",
        "group_fwd_mask",
        "state",
        "priority",
        "cost",
        "guard",
        "root_block",
        "neigh_suppress",
        "proxy_arp",
        "fastleave",
        "mcast_router",
        "mcast_to_unicast",
        "vlan_tunnel",
        "backup_port",
        "transparent",
    ],
};
const ENTRY: Shape = Shape {
    label: "[[bridge.fdb]]",
    keys: &["mac", "device", "state"],
    later: &["vlan", "dst", "vni", "port", "via", "src_vni", "sticky", "extern_learn"],
};
const XCONNECT: Shape = Shape { label: "[[xconnect]]", keys: &["a", "b"], later: &[] };

/// The longest ageing time: what the MAC table can tell apart.
pub(crate) const LONGEST_AGEING: Duration = Duration::from_millis(100 * ((1 << 23) - 1));

/// Every `[[bridge]]` and every `[[xconnect]]`, what they do with ports entered in `roles`.
pub(super) fn read_all(file: &Fields<'_>, roles: &mut Roles<'_>) -> (Vec<BridgeConfig>, Vec<XconnectConfig>) {
    let bridges = file.tables("bridge", &BRIDGE);
    let xconnects = file.tables("xconnect", &XCONNECT);
    (
        bridges.iter().filter_map(|fields| read_bridge(fields, roles)).collect(),
        xconnects.iter().filter_map(|fields| read_xconnect(fields, roles)).collect(),
    )
}

fn read_bridge(fields: &Fields<'_>, roles: &mut Roles<'_>) -> Option<BridgeConfig> {
    let name = fields.required("name", "\"br0\"").and_then(|text| {
        roles.declare(Kind::Bridge, &text);
        device_name(fields, "name", text)
    });
    let label = name.as_deref().unwrap_or("this bridge");
    let ageing_time = duration(fields, "ageing_time", LONGEST_AGEING);
    let mut ports = Vec::new();
    for member in fields.tables("port", &MEMBER) {
        let Some(device) = member.required("device", "\"p0\"") else { continue };
        roles.enter(Role::Member(label.to_owned()), &device);
        ports.push(BridgePortConfig { device: device.value.to_owned() });
    }
    let fdb = read_fdb(fields, label, &ports, roles);
    Some(BridgeConfig {
        name: name?,
        ageing_time: ageing_time.unwrap_or(BridgeConfig::DEFAULT_AGEING_TIME),
        ports,
        fdb,
    })
}

fn read_fdb(
    fields: &Fields<'_>,
    bridge: &str,
    ports: &[BridgePortConfig],
    roles: &Roles<'_>,
) -> Vec<FdbEntryConfig> {
    let mut entries = Vec::new();
    let members: BTreeSet<&str> = ports.iter().map(|port| port.device.as_str()).collect();
    let mut seen = BTreeMap::new();
    for entry in fields.tables("fdb", &ENTRY) {
        let mac = entry.required("mac", "\"02:00:00:00:00:01\"");
        let device = entry.required("device", "\"p0\"");
        let states = [FdbState::Static, FdbState::Dynamic, FdbState::Permanent].map(|s| (s.name(), s));
        let state = entry.word("state", &states).unwrap_or(FdbState::Static);
        let address = mac.as_ref().and_then(|mac| station(&entry, mac));
        if let Some(device) = &device
            && !members.contains(device.value)
        {
            let rule = format!("`{}` is not a port of {bridge}", device.value);
            let remedy = suggest(device.value, members.iter().copied())
                .unwrap_or_else(|| "add it as a [[bridge.port]], or name one that is".into());
            entry.problems.push(device.span.clone(), rule, remedy);
        }
        let (Some(mac), Some(device), Some(address)) = (mac, device, address) else { continue };
        if let Some(first) = seen.insert(address, mac.span.clone()) {
            let rule = format!("{address} is in {bridge} twice: line {} has it", roles.line(&first));
            entry.problems.push(mac.span, rule, "an address is behind one port: keep one of the two");
        }
        entries.push(FdbEntryConfig { mac: address, device: device.value.to_owned(), state });
    }
    entries
}

fn read_xconnect(fields: &Fields<'_>, roles: &mut Roles<'_>) -> Option<XconnectConfig> {
    let (a, b) = (fields.required("a", "\"p0\""), fields.required("b", "\"p1\""));
    let (a, b) = (a?, b?);
    if a.value == b.value {
        let rule = format!("[[xconnect]] connects `{}` to itself", a.value);
        fields.problems.push(b.span, rule, "name the device at the other end");
        return None;
    }
    roles.enter(Role::Wire(b.value.to_owned()), &a);
    roles.enter(Role::Wire(a.value.to_owned()), &b);
    Some(XconnectConfig { a: a.value.to_owned(), b: b.value.to_owned() })
}
