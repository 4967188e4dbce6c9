//! `[[bridge]]` and `[[xconnect]]`: what ports are for.

use std::time::Duration;

use rigswitch_dataplane::bridge::{BridgeConfig, BridgePortConfig, XconnectConfig};
use rigswitch_dataplane::tables::{PortState, Tick};

use super::fields::{Fields, Shape};
use super::host;
use super::roles::{Kind, Role, Roles};
use super::values::{device_name, duration, station};
use super::{fdb, mac_moves, multicast, spanning_tree, vlans};
use crate::domains::Domains;

const BRIDGE: Shape = Shape {
    label: "[[bridge]]",
    keys: &[
        "name",
        "ageing_time",
        "address",
        "mtu",
        "host",
        "group_fwd_mask",
        "fdb_max_learned",
        "no_linklocal_learn",
        "mac_move_limit",
        "mac_move_window",
        "mac_move_action",
        "mac_move_time",
        "stp_state",
        "priority",
        "forward_delay",
        "hello_time",
        "max_age",
        "mcast_snooping",
        "mcast_querier",
        "mcast_hash_max",
        "mcast_last_member_count",
        "mcast_last_member_interval",
        "mcast_membership_interval",
        "mcast_querier_interval",
        "mcast_query_interval",
        "mcast_query_response_interval",
        "mcast_startup_query_count",
        "mcast_startup_query_interval",
        "vlan_filtering",
        "vlan_protocol",
        "vlan_default_pvid",
        "vlan_stats_enabled",
        "vlan_stats_per_port",
        "vlan",
        "port",
        "fdb",
        "mdb",
        "mac_vlan",
    ],
    later: &[
        "mcast_router",
        "mcast_query_use_ifaddr",
        "mcast_vlan_snooping",
        "mcast_stats_enabled",
        "mcast_igmp_version",
        "mcast_mld_version",
    ],
};
pub(super) const MEMBER: Shape = Shape {
    label: "[[bridge.port]]",
    keys: &[
        "device",
        "state",
        "learning",
        "flood",
        "mcast_flood",
        "bcast_flood",
        "hairpin",
        "isolated",
        "locked",
        "mab",
        "neigh_suppress",
        "group_fwd_mask",
        "transparent",
        "priority",
        "cost",
        "guard",
        "root_block",
        "mcast_router",
        "mcast_fast_leave",
        "mcast_to_unicast",
        "mcast_max_groups",
        "vlan",
        "access",
        "trunk",
        "native",
        "tunnel",
        "translate",
        "mac_vlan",
        "vlan_tunnel",
        "tunnel_info",
    ],
    later: &["proxy_arp", "backup_port"],
};
const XCONNECT: Shape = Shape { label: "[[xconnect]]", keys: &["a", "b"], later: &[] };

/// The longest ageing time: what the MAC table can tell apart.
pub(crate) const LONGEST_AGEING: Duration = Duration::from_millis(Tick::MILLIS * Tick::LONGEST_AGEING as u64);

/// Every `[[bridge]]` and every `[[xconnect]]`, what they do with ports entered in `roles`.
pub(super) fn read_all(file: &Fields<'_>, roles: &mut Roles<'_>) -> (Vec<BridgeConfig>, Vec<XconnectConfig>) {
    let bridges = file.tables("bridge", &BRIDGE);
    let xconnects = file.tables("xconnect", &XCONNECT);
    let mut domains = 0;
    let mut read = Vec::new();
    for fields in &bridges {
        let Some(bridge) = read_bridge(fields, roles) else { continue };
        let needed = Domains::needed(&bridge);
        let before = domains;
        domains += needed;
        if domains > Domains::LIMIT && before <= Domains::LIMIT {
            let (name, vlans, most) = (&bridge.name, needed - 1, Domains::LIMIT);
            let rule = format!(
                "with {name} and its {vlans} VLANs there are {domains} bridges and VLANs of bridges, and may be {most}"
            );
            fields.problems.push(fields.span.clone(), rule, "put ports into fewer VLANs");
        }
        read.push(bridge);
    }
    (read, xconnects.iter().filter_map(|fields| read_xconnect(fields, roles)).collect())
}

fn read_bridge(fields: &Fields<'_>, roles: &mut Roles<'_>) -> Option<BridgeConfig> {
    let text = fields.required("name", "\"br0\"");
    let name = text.clone().and_then(|text| {
        roles.declare(Kind::Bridge, &text);
        device_name(fields, "name", text)
    });
    let host = host::read(fields, text.as_ref(), roles);
    let mtu = host::read_mtu(fields, text.as_ref(), roles);
    let label = name.as_deref().unwrap_or("this bridge");
    let ageing_time = duration(fields, "ageing_time", LONGEST_AGEING);
    let members = fields.tables("port", &MEMBER);
    let ports: Vec<_> = members.iter().filter_map(|member| read_member(member, label, roles)).collect();
    let spanning_tree = spanning_tree::read_bridge(fields, &members);
    let vlans = vlans::read_bridge(fields, roles);
    let address = fields.text("address").and_then(|text| station(fields, &text));
    let restricted = "spanning tree, PAUSE and LACP (bits 0 to 2) pass no bridge by its own mask";
    let group_fwd_mask = mask(fields, BridgeConfig::GROUP_FWD_RESTRICTED, restricted);
    let mut bridge = BridgeConfig {
        name: label.to_owned(),
        ageing_time: ageing_time.unwrap_or(BridgeConfig::DEFAULT_AGEING_TIME),
        address,
        mtu,
        host,
        group_fwd_mask: group_fwd_mask.unwrap_or(0),
        fdb_max_learned: fields.integer("fdb_max_learned", 0..=i64::from(u32::MAX)).unwrap_or(0),
        no_linklocal_learn: fields.boolean("no_linklocal_learn").unwrap_or(false),
        mac_moves: mac_moves::read(fields),
        spanning_tree,
        multicast: multicast::read_bridge(fields),
        vlans,
        ports,
        fdb: Vec::new(),
        mdb: Vec::new(),
    };
    bridge.fdb = fdb::read(fields, &bridge, roles);
    bridge.mdb = multicast::read_mdb(fields, &bridge, roles);
    name.is_some().then_some(bridge)
}

fn read_member(fields: &Fields<'_>, bridge: &str, roles: &mut Roles<'_>) -> Option<BridgePortConfig> {
    let device = fields.required("device", "\"p0\"")?;
    roles.enter(Role::Member(bridge.to_owned()), &device);
    let plain = BridgePortConfig::new(device.value);
    let flag = |key, default| fields.boolean(key).unwrap_or(default);
    let states = PortState::ALL.map(|state| (state.name(), state));
    let restricted = "no mask lets PAUSE (bit 1) pass";
    let port = BridgePortConfig {
        state: fields.word("state", &states).unwrap_or(plain.state),
        learning: flag("learning", plain.learning),
        flood: flag("flood", plain.flood),
        mcast_flood: flag("mcast_flood", plain.mcast_flood),
        bcast_flood: flag("bcast_flood", plain.bcast_flood),
        hairpin: flag("hairpin", plain.hairpin),
        isolated: flag("isolated", plain.isolated),
        locked: flag("locked", plain.locked),
        mab: flag("mab", plain.mab),
        neigh_suppress: flag("neigh_suppress", plain.neigh_suppress),
        group_fwd_mask: mask(fields, BridgePortConfig::GROUP_FWD_RESTRICTED, restricted).unwrap_or(0),
        transparent: flag("transparent", plain.transparent),
        spanning_tree: spanning_tree::read_port(fields),
        multicast: multicast::read_port(fields),
        vlans: vlans::read_port(fields),
        ..plain
    };
    if port.transparent
        && let Some(value) = fields.value("group_fwd_mask")
    {
        let rule = format!("`{}` is transparent and has a `group_fwd_mask`", port.device);
        fields.problems.push(
            value.span(),
            rule,
            "keep one of the two: transparent passes them all, PAUSE too",
        );
    }
    if port.mab
        && !(port.locked && port.learning)
        && let Some(value) = fields.value("mab")
    {
        let rule = format!("`{}` has `mab`, and is not locked with learning on", port.device);
        fields.problems.push(value.span(), rule, "add locked = true and leave learning on, or take mab out");
    }
    Some(port)
}

/// The mask of reserved addresses at `group_fwd_mask`, none of which may be `restricted`.
fn mask(fields: &Fields<'_>, restricted: u16, rule: &str) -> Option<u16> {
    let mask: u16 = fields.integer("group_fwd_mask", 0..=0xffff)?;
    if mask & restricted == 0 {
        return Some(mask);
    }
    let rule = format!("`group_fwd_mask` is {mask:#x}: {rule}");
    let remedy = match mask & !restricted {
        0 => "take it out; a port with transparent = true passes every reserved address".into(),
        rest => format!("write {rest:#x}; a port with transparent = true passes every reserved address"),
    };
    if let Some(value) = fields.value("group_fwd_mask") {
        fields.problems.push(value.span(), rule, remedy);
    }
    None
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
