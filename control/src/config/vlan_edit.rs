//! `vlan add` and `vlan del`: the memberships of a port, or of a bridge itself, changed by hand (`br_vlan_info`,
//! net/bridge/br_netlink.c).

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use rigswitch_dataplane::bridge::{BridgeConfig, Membership};
use rigswitch_dataplane::ids::{VlanId, Vni};
use serde_json::{Map, Value};

use super::Config;
use super::problem::Refused;
use super::vlans::parse_range;
use super::vxlan::parse_vnis;
use crate::views::{EditAction, EditRequest};

/// What is asked.
struct Asked {
    vids: Range<u16>,
    /// The networks that they are or are no more, of as many.
    tunnel_info: Option<RangeInclusive<u32>>,
    pvid: bool,
    untagged: bool,
}

/// Changes the memberships as asked. What comes of it is read as any other configuration.
pub(super) fn edit(config: &mut Config, edit: &EditRequest) -> Result<(), Refused> {
    let asked = Asked::read(&edit.keys)?;
    let name = &*edit.name;
    let bridge = config.bridges.iter_mut().find(|bridge| bridge.vlans_of(name).is_some());
    let Some(bridge) = bridge else {
        let why = format!("{name} is neither a bridge nor a port of one: `rigswitch show vlans` lists them");
        return Err(Refused::because(why));
    };
    if edit.keys.get("self") == Some(&Value::Bool(true)) && name != bridge.name {
        let why = format!("`self` is for a bridge, and {name} is a port of {}: leave it out", bridge.name);
        return Err(Refused::because(why));
    }
    let before = said(bridge, name);
    if before.tunnel {
        let why =
            format!("{name} is a tunnel, of one VLAN: `rigswitch port set {name} tunnel N` makes it another");
        return Err(Refused::because(why));
    }
    if asked.tunnel_info.is_some() {
        check_tunnel(bridge, name)?;
    }
    let mut after = before.clone();
    if edit.action == EditAction::Del && asked.tunnel_info.is_some() {
        // The VLANs stay.
    } else if edit.action == EditAction::Del {
        let gone = |vid: &VlanId| asked.vids.contains(&vid.number());
        if !before.members.keys().any(gone) {
            let why = format!(
                "{name} is in no VLAN of {}: `rigswitch show vlans` lists what it is in",
                asked.text()
            );
            return Err(Refused::because(why));
        }
        after.members.retain(|vid, _| !gone(vid));
        after.pvid.take_if(|vid| gone(vid));
        // What was put there by hand for a VLAN goes with it.
        bridge.fdb.retain(|entry| entry.device != name || !entry.vlan.as_ref().is_some_and(gone));
        bridge.mdb.retain(|entry| entry.device != name || !entry.vlan.as_ref().is_some_and(gone));
    } else {
        for vid in asked.vids.clone().filter_map(VlanId::new) {
            after.members.insert(vid, asked.untagged);
            if asked.pvid {
                after.pvid = Some(vid);
            } else {
                after.pvid.take_if(|pvid| *pvid == vid);
            }
        }
    }
    if let Some(port) = bridge.ports.iter_mut().find(|port| port.device == name) {
        asked.name_networks(edit.action, &after, &mut port.vlans.tunnel_info);
    }
    if name == bridge.name {
        bridge.vlans.own = Some(after);
    } else if let Some(port) = bridge.ports.iter_mut().find(|port| port.device == name) {
        port.vlans.said = Some(after);
    }
    Ok(())
}

/// Whether VLANs can be networks on a port (`br_process_vlan_tunnel_info`, net/bridge/br_netlink_tunnel.c).
fn check_tunnel(bridge: &BridgeConfig, name: &str) -> Result<(), Refused> {
    let port = bridge.ports.iter().find(|port| port.device == name);
    if port.is_some_and(|port| port.vlans.vlan_tunnel) {
        return Ok(());
    }
    let why =
        format!("VLANs are no networks on {name}: `rigswitch port set {name} vlan_tunnel on` makes them be");
    Err(Refused::because(why))
}

/// What is said of a device, without the VLANs that it is in for the sake of stations.
fn said(bridge: &BridgeConfig, name: &str) -> Membership {
    let default = || Membership::untagged(bridge.vlans.default_pvid);
    match bridge.ports.iter().find(|port| port.device == name) {
        Some(port) => port.vlans.said.clone().unwrap_or_else(default),
        None => bridge.vlans.of_bridge(),
    }
}

impl Asked {
    fn read(keys: &Map<String, Value>) -> Result<Self, Refused> {
        let refuse = |why: String| Err(Refused::because(why));
        if let Some(other) =
            keys.keys().find(|key| !["vid", "pvid", "untagged", "self", "tunnel_info"].contains(&&***key))
        {
            return refuse(format!(
                "`{other}` is nothing of a VLAN's: give vid, pvid, untagged and tunnel_info"
            ));
        }
        let text = match keys.get("vid") {
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.clone(),
            _ => return refuse("which VLAN? Say vid 10, or vid 10-20".into()),
        };
        let Some(vids) = parse_range(&text) else {
            let most = VlanId::MAX;
            return refuse(format!(
                "`{text}` is neither a VLAN nor a range of VLANs from 1 to {most}: say vid 10, or vid 10-20"
            ));
        };
        let flag = |key: &str| keys.get(key).and_then(Value::as_bool).unwrap_or(false);
        let tunnel_info = match keys.get("tunnel_info") {
            None => None,
            Some(Value::Number(number)) => parse_vnis(&number.to_string()),
            Some(other) => other.as_str().and_then(parse_vnis),
        };
        if keys.contains_key("tunnel_info") && tunnel_info.clone().is_none_or(|ids| ids.count() != vids.len())
        {
            return refuse(format!(
                "VLANs {text} need a network each: say tunnel_info id 100, or vid 10-20 tunnel_info id 100-110"
            ));
        }
        let asked = Self { vids, tunnel_info, pvid: flag("pvid"), untagged: flag("untagged") };
        if asked.pvid && asked.vids.len() > 1 {
            return refuse(format!(
                "VLANs {text} are many, and one is the pvid: say vid N pvid for that one"
            ));
        }
        Ok(asked)
    }

    /// Has the VLANs be networks, or no more; those that the port is not in are none.
    fn name_networks(&self, action: EditAction, after: &Membership, networks: &mut BTreeMap<VlanId, Vni>) {
        networks.retain(|vid, _| after.members.contains_key(vid));
        let Some(ids) = self.tunnel_info.clone() else { return };
        for (vid, id) in self.vids.clone().filter_map(VlanId::new).zip(ids.filter_map(Vni::new)) {
            if action == EditAction::Del {
                networks.remove(&vid);
            } else {
                networks.insert(vid, id);
            }
        }
    }

    fn text(&self) -> String {
        match self.vids.len() {
            1 => self.vids.start.to_string(),
            _ => format!("{}-{}", self.vids.start, self.vids.end - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Plan;
    use crate::views::EditObject;

    const RIG: &str = r#"
        port = [{ name = "p0", memory = true }, { name = "p1", memory = true }]
        [[bridge]]
        name = "br0"
        vlan_filtering = true
        mcast_snooping = false
        port = [{ device = "p0", vlan = { pvid = 10, untagged = [10], tagged = ["20-22"] } }, { device = "p1" }]
        fdb = [{ mac = "02:00:00:00:00:01", device = "p0", vlan = 20 }]
    "#;

    fn edited(action: EditAction, name: &str, keys: Value) -> Result<String, String> {
        let before = Config::parse(RIG, "rig.toml").unwrap();
        let Value::Object(keys) = keys else { panic!("keys are a table") };
        let request = EditRequest { action, object: EditObject::VlanMember, name: name.into(), keys };
        let after = before.edited(&request).map_err(|error| error.to_string())?;
        let plan = Plan::between(&before, &after).unwrap();
        Ok(plan.view().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn memberships_come_and_go_as_by_bridge_8() {
        use EditAction::{Add, Del};
        let before = "~ bridge br0 port p0: vlan { pvid = 10, tagged = [\"20-22\"], untagged = [10] } → ";
        let cases = [
            (
                Add,
                json!({ "vid": "30-31" }),
                "{ pvid = 10, tagged = [\"20-22\", \"30-31\"], untagged = [10] }",
            ),
            (Add, json!({ "vid": 21, "pvid": true }), "{ pvid = 21, tagged = [\"20-22\"], untagged = [10] }"),
            (Add, json!({ "vid": 10, "untagged": true }), "{ tagged = [\"20-22\"], untagged = [10] }"),
            (Del, json!({ "vid": "10" }), "{ tagged = [\"20-22\"] }"),
        ];
        for (action, keys, after) in cases {
            assert_eq!(edited(action, "p0", keys).unwrap(), format!("{before}{after}"));
        }
        assert_eq!(
            edited(Del, "p0", json!({ "vid": "20-22" })).unwrap(),
            format!("{before}{{ pvid = 10, untagged = [10] }}\n- bridge br0 fdb 02:00:00:00:00:01 vlan 20")
        );
        assert_eq!(
            edited(Add, "br0", json!({ "vid": 10, "self": true })).unwrap(),
            "~ bridge br0: vlan unset → { pvid = 1, tagged = [10], untagged = [1] }"
        );
    }

    #[test]
    fn vlans_are_made_networks_and_no_more() {
        use EditAction::{Add, Del};
        let text = RIG.replace("{ device = \"p1\" }", "{ device = \"p1\", vlan_tunnel = true }");
        let mut config = Config::parse(&text, "rig.toml").unwrap();
        for (action, keys, wanted) in [
            (Add, json!({ "vid": "10-12", "tunnel_info": "100-102" }), vec![(10, 100), (11, 101), (12, 102)]),
            (Add, json!({ "vid": 11, "tunnel_info": 7 }), vec![(10, 100), (11, 7), (12, 102)]),
            (Del, json!({ "vid": 11, "tunnel_info": 7 }), vec![(10, 100), (12, 102)]),
            (Del, json!({ "vid": 12 }), vec![(10, 100)]),
        ] {
            let Value::Object(keys) = keys else { panic!("keys are a table") };
            let request = EditRequest { action, object: EditObject::VlanMember, name: "p1".into(), keys };
            config = config.edited(&request).unwrap();
            let vlans = &config.bridges[0].ports[1].vlans;
            let networks = vlans.tunnel_info.iter().map(|(vid, vni)| (vid.number(), vni.number()));
            assert_eq!(networks.collect::<Vec<_>>(), wanted);
        }
        let members: Vec<_> =
            config.bridges[0].ports[1].vlans.said.as_ref().unwrap().members.keys().collect();
        assert_eq!(members.len(), 3, "1, 10 and 11: {members:?}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use EditAction::{Add, Del};
        for (action, name, keys, rule) in [
            (Add, "p0", json!({}), "which VLAN?"),
            (Add, "p0", json!({ "vid": 4095 }), "`4095` is neither a VLAN nor a range"),
            (Add, "p0", json!({ "vid": "20-10" }), "`20-10` is neither a VLAN nor a range"),
            (Add, "p0", json!({ "vid": "10-20", "pvid": true }), "one is the pvid"),
            (Add, "p0", json!({ "vid": 10, "tunnel_id": 5 }), "`tunnel_id` is nothing of a VLAN's"),
            (Add, "p0", json!({ "vid": 10, "tunnel_info": 5 }), "`rigswitch port set p0 vlan_tunnel on`"),
            (Add, "p0", json!({ "vid": 10, "tunnel_info": "5-6" }), "VLANs 10 need a network each"),
            (Add, "p9", json!({ "vid": 10 }), "p9 is neither a bridge nor a port of one"),
            (Del, "p1", json!({ "vid": 10 }), "p1 is in no VLAN of 10"),
            (
                Add,
                "p1",
                json!({ "vid": 10, "self": true }),
                "`self` is for a bridge, and p1 is a port of br0",
            ),
        ] {
            let said = edited(action, name, keys).unwrap_err();
            assert!(said.contains(rule), "{said}");
        }
    }
}
