//! `tunnel_info` of a `[[bridge.port]]`: which network each VLAN is on a VXLAN device that is external, as `bridge vlan add … tunnel_info id` has it.

use std::collections::BTreeMap;

use rigswitch_dataplane::bridge::Membership;
use rigswitch_dataplane::ids::{VlanId, Vni};
use serde::Serialize;

use super::{NumberWord, VIDS, parse_range};
use crate::config::fields::{Fields, Shape};
use crate::config::vxlan::parse_vnis;

const TUNNEL_INFO: Shape = Shape { label: "tunnel_info", keys: &["vid", "id"], later: &[] };

/// The networks at `tunnel_info` of a port that is in these VLANs, if that is said.
pub(super) fn read(fields: &Fields<'_>, said: Option<&Membership>) -> BTreeMap<VlanId, Vni> {
    let mut pairs: BTreeMap<VlanId, Vni> = BTreeMap::new();
    let tables = fields.tables("tunnel_info", &TUNNEL_INFO);
    if let Some(value) = fields.value("tunnel_info").filter(|_| fields.boolean("vlan_tunnel") != Some(true)) {
        let rule = "`tunnel_info` says which networks VLANs are, and the port has no `vlan_tunnel`";
        fields.problems.push(value.span(), rule, "add vlan_tunnel = true");
    }
    for pair in tables {
        let refuse = |rule: String, remedy: &str| pair.problems.push(pair.span.clone(), rule, remedy);
        let text = |key: &'static str, most: i64, least: i64| {
            let value = pair.value(key)?;
            match value.get_ref().as_str() {
                Some(text) => Some(text.to_owned()),
                None => pair.integer::<u32>(key, least..=most).map(|number| number.to_string()),
            }
        };
        let vids = text("vid", *VIDS.end(), *VIDS.start());
        let ids = text("id", i64::from(Vni::MAX), 1);
        let (Some(vids), Some(ids)) = (vids, ids) else {
            refuse("`tunnel_info` needs a `vid` and an `id`".into(), "write { vid = 10, id = 100 }");
            continue;
        };
        let (Some(vids), Some(ids)) = (parse_range(&vids), parse_vnis(&ids)) else {
            let rule = format!("`{vids}` to `{ids}`: one is neither a number nor a range of them");
            refuse(rule, "write { vid = \"10-19\", id = \"100-109\" }");
            continue;
        };
        // `br_handle_egress_vlan_tunnel` takes it for none.
        if *ids.start() == 0 {
            refuse(
                "nothing leaves a bridge in network 0, as from the kernel's".into(),
                "name networks from 1 on",
            );
            continue;
        }
        if vids.len() != ids.clone().count() {
            let rule = format!("{} VLANs are {} networks", vids.len(), ids.count());
            refuse(rule, "name a network for each VLAN, as the kernel wants it");
            continue;
        }
        for (vid, id) in vids.filter_map(VlanId::new).zip(ids.filter_map(Vni::new)) {
            if pairs.contains_key(&vid) || pairs.values().any(|other| *other == id) {
                refuse(format!("VLAN {vid} or network {id} is there twice"), "keep one of the two");
                break;
            }
            if said.is_some_and(|said| !said.members.contains_key(&vid)) {
                refuse(
                    format!("VLAN {vid} is network {id}, and the port is not in it"),
                    "add it to its VLANs, tagged",
                );
                break;
            }
            pairs.insert(vid, id);
        }
    }
    pairs
}

/// Some VLANs and their networks, both in a row.
#[derive(Serialize)]
pub(super) struct TunnelInfoWords {
    vid: NumberWord,
    id: NumberWord,
}

/// As they are printed.
pub(super) fn words(pairs: &BTreeMap<VlanId, Vni>) -> Vec<TunnelInfoWords> {
    let word = |[vid, id, more]: [u32; 3]| TunnelInfoWords {
        vid: NumberWord::of(vid, vid + more),
        id: NumberWord::of(id, id + more),
    };
    rows(pairs).into_iter().map(word).collect()
}

/// Those together that are both in a row (`vlan_tunid_inrange`, net/bridge/br_netlink_tunnel.c): the first of both, and how many more.
pub(crate) fn rows(pairs: &BTreeMap<VlanId, Vni>) -> Vec<[u32; 3]> {
    let mut rows: Vec<[u32; 3]> = Vec::new();
    for (vid, id) in pairs {
        let (vid, id) = (u32::from(vid.number()), id.number());
        match rows.last_mut() {
            Some([first, network, more]) if (*first + *more + 1, *network + *more + 1) == (vid, id) => {
                *more += 1;
            }
            _ => rows.push([vid, id, 0]),
        }
    }
    rows
}
