//! One thing of a configuration changed by hand: keys put into the tables of the file, which is then read as any other.

use serde_json::{Map, Value, json};

use super::bridge::MEMBER;
use super::fields::Shape;
use super::ipvlan::IPVLAN;
use super::macvlan::MACVLAN;
use super::port::{KINDS, PORT};
use super::problem::{Problems, Refused};
use super::upper::VLAN;
use super::vlans::WAYS;
use super::vxlan::VXLAN;
use super::{Config, Document, route_edit, suggest, tunnel::IPIP, vlan_edit, vni_edit};
use crate::views::{EditAction, EditObject, EditRequest};

impl Config {
    /// This configuration after an edit.
    ///
    /// # Errors
    /// [`Refused`], when there is nothing to edit, or what comes of it is no valid configuration.
    pub fn edited(&self, edit: &EditRequest) -> Result<Self, Refused> {
        let mut changed = self.clone();
        if edit.object == EditObject::VlanMember {
            vlan_edit::edit(&mut changed, edit)?;
        }
        let mut document = serde_json::to_value(Document::new(&changed)).map_err(Refused::because)?;
        match edit.object {
            EditObject::VlanMember => {}
            EditObject::Port => edit_device(&mut document, "port", &PORT, edit)?,
            EditObject::Vni => vni_edit::edit(self, &mut document, edit)?,
            EditObject::Vlan => edit_device(&mut document, "vlan", &VLAN, edit)?,
            EditObject::Ipvlan => edit_family(&mut document, "ipvlan", &IPVLAN, &["mode", "flag"], edit)?,
            EditObject::Address => route_edit::address(&mut document, edit)?,
            EditObject::Ipip => edit_device(&mut document, "ipip", &IPIP, edit)?,
            EditObject::Macvlan => edit_family(&mut document, "macvlan", &MACVLAN, &["bclim"], edit)?,
            EditObject::Vxlan => edit_device(&mut document, "vxlan", &VXLAN, edit)?,
            EditObject::Bridge => edit_bridge(&mut document, edit)?,
            EditObject::Neighbor => route_edit::neighbor(&mut document, edit)?,
            EditObject::Route => route_edit::route(&mut document, edit)?,
        }
        let text = toml::to_string(&document).map_err(Refused::because)?;
        let problems = Problems::default();
        Self::read(&text, &problems, None).ok_or_else(|| problems.in_words())
    }
}

/// The tables of devices that stand on others, and of tunnels.
const UPPERS: [&str; 5] = ["vlan", "ipvlan", "macvlan", "ipip", "vxlan"];

/// A device of its own, of which the file has tables called `object` and of this shape.
fn edit_device(document: &mut Value, object: &str, shape: &Shape, edit: &EditRequest) -> Result<(), Refused> {
    let name = &edit.name;
    admit(document, object, edit)?;
    if edit.action == EditAction::Del {
        remove_device(document, name);
        return Ok(());
    }
    if let Some(master) = edit.keys.get("master") {
        enslave(document, name, master.as_str())?;
    }
    for (key, value) in edit.keys.iter().filter(|(key, _)| *key != "master") {
        let is_of = |shape: &Shape| shape.keys.contains(&&**key) || shape.later.contains(&&**key);
        let table = match !shape.keys.contains(&&**key) && is_of(&MEMBER) {
            false => find(list(document, object), "name", name),
            true => list(document, "bridge")
                .iter_mut()
                .find_map(|bridge| find(list(bridge, "port"), "device", name)),
        };
        let Some(table) = table else {
            let why =
                format!("`{key}` is for the port of a bridge, and {name} is in none: add `master BRIDGE`");
            return Err(Refused::because(why));
        };
        let kind = key.split('.').next().unwrap_or_default();
        // One way of saying what a port is ends the others; a trunk has its native VLAN beside it.
        if object == "port" && KINDS.contains(&kind) {
            table.retain(|other, _| other == kind || !KINDS.contains(&&**other));
        } else if kind != "native" && WAYS.contains(&kind) {
            table.retain(|other, _| {
                other == kind || (kind, &**other) == ("trunk", "native") || !WAYS.contains(&&**other)
            });
        }
        put(table, key, value);
    }
    Ok(())
}

/// What is said of one and is that of all on the same device, as in the kernel (`ipvlan_nl_changelink`, `macvlan_changelink`), is
/// said of all.
fn edit_family(
    document: &mut Value,
    object: &str,
    shape: &Shape,
    shared: &[&str],
    edit: &EditRequest,
) -> Result<(), Refused> {
    edit_device(document, object, shape, edit)?;
    let children = list(document, object);
    let Some(link) = find(children, "name", &edit.name).and_then(|child| child.get("link").cloned()) else {
        return Ok(());
    };
    for (key, value) in shared.iter().filter_map(|key| Some((key, edit.keys.get(*key)?))) {
        let beside = children.iter_mut().filter(|other| other["link"] == link);
        beside.filter_map(Value::as_object_mut).for_each(|other| put(other, key, value));
    }
    Ok(())
}

/// Takes a device away, what stands on it, and all that depends on them.
fn remove_device(document: &mut Value, name: &str) {
    for object in UPPERS.iter().chain(&["port"]) {
        list(document, object).retain(|device| device["name"] != *name);
    }
    for bridge in list(document, "bridge") {
        list(bridge, "port").retain(|member| member["device"] != *name);
        list(bridge, "fdb").retain(|entry| entry["device"] != *name);
        list(bridge, "mdb").retain(|entry| entry["device"] != *name);
    }
    list(document, "xconnect").retain(|wire| wire["a"] != *name && wire["b"] != *name);
    list(document, "address").retain(|said| said["device"] != *name);
    list(document, "neighbor").retain(|neighbor| neighbor["device"] != *name);
    list(document, "route").retain(|route| route["device"] != *name);
    for object in UPPERS {
        let on_it =
            list(document, object).iter().filter(|upper| upper["link"] == *name || upper["dev"] == *name);
        let names: Vec<_> = on_it.filter_map(|upper| upper["name"].as_str().map(str::to_owned)).collect();
        names.iter().for_each(|upper| remove_device(document, upper));
    }
}

/// Makes a port a member of this bridge and of no other; of none, if there is no bridge.
fn enslave(document: &mut Value, port: &str, master: Option<&str>) -> Result<(), Refused> {
    let mut found = master.is_none();
    for bridge in list(document, "bridge") {
        let is_master = master.is_some_and(|master| bridge["name"] == *master);
        found |= is_master;
        let members = list(bridge, "port");
        let is_member = members.iter().any(|member| member["device"] == *port);
        if is_master && !is_member {
            members.push(json!({ "device": port }));
        }
        if is_member && !is_master {
            members.retain(|member| member["device"] != *port);
            list(bridge, "fdb").retain(|entry| entry["device"] != *port);
            list(bridge, "mdb").retain(|entry| entry["device"] != *port);
        }
    }
    if found { Ok(()) } else { Err(no_such(document, "bridge", master.unwrap_or_default())) }
}

fn edit_bridge(document: &mut Value, edit: &EditRequest) -> Result<(), Refused> {
    admit(document, "bridge", edit)?;
    if edit.action == EditAction::Del {
        list(document, "bridge").retain(|bridge| bridge["name"] != *edit.name);
        remove_device(document, &edit.name);
    } else if let Some(table) = find(list(document, "bridge"), "name", &edit.name) {
        edit.keys.iter().for_each(|(key, value)| put(table, key, value));
    }
    Ok(())
}

/// The table to be edited is there, or is put there if it is to be added.
fn admit(document: &mut Value, object: &str, edit: &EditRequest) -> Result<(), Refused> {
    let name = &edit.name;
    let is_there = find(list(document, object), "name", name).is_some();
    match (edit.action, is_there) {
        (EditAction::Add, true) => {
            Err(Refused::because(format!("there is a {object} {name} already: `{object} set` changes it")))
        }
        (EditAction::Add, false) => {
            list(document, object).push(json!({ "name": name }));
            Ok(())
        }
        (_, true) => Ok(()),
        (_, false) => Err(no_such(document, object, name)),
    }
}

fn no_such(document: &mut Value, object: &str, name: &str) -> Refused {
    let known = list(document, object).iter().filter_map(|table| table["name"].as_str());
    let remedy =
        suggest(name, known).unwrap_or_else(|| "`rigswitch show config` lists those there are".into());
    Refused::because(format!("there is no {object} {name}: {remedy}"))
}

/// The array of tables at `key`.
pub(super) fn list<'v>(table: &'v mut Value, key: &str) -> &'v mut Vec<Value> {
    if !table[key].is_array() {
        table[key] = json!([]);
    }
    table[key].as_array_mut().expect("it is an array by now")
}

/// The table whose `key` is `name`.
fn find<'v>(tables: &'v mut [Value], key: &str, name: &str) -> Option<&'v mut Map<String, Value>> {
    tables.iter_mut().find(|table| table[key] == *name)?.as_object_mut()
}

/// Puts a value at `key`, or takes out what is there if it is nothing. A dot goes into a table: `tap.offload`.
fn put(table: &mut Map<String, Value>, key: &str, value: &Value) {
    match key.split_once('.') {
        Some((outer, inner)) => {
            let table = table.entry(outer).or_insert_with(|| json!({}));
            if table.is_string() {
                *table = json!({ "device": table.take() });
            } else if table.is_boolean() {
                *table = json!({});
            }
            if let Some(table) = table.as_object_mut() {
                put(table, inner, value);
            }
        }
        None if value.is_null() => drop(table.remove(key)),
        None => drop(table.insert(key.to_owned(), value.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Plan;

    const RIG: &str = r#"
        port = [{ name = "p0", memory = true }, { name = "p1", tap = "t1" }, { name = "p2", memory = true }]
        xconnect = []
        [[bridge]]
        name = "br0"
        port = [{ device = "p0" }, { device = "p1" }]
        fdb = [{ mac = "02:00:00:00:00:01", device = "p0" }]
        [[bridge]]
        name = "br1"
        [[neighbor]]
        device = "br0"
        address = "10.0.0.1"
        mac = "02:00:00:00:00:01"
        [[ipvlan]]
        name = "iv1"
        link = "p2"
        mode = "l2"
        [[ipvlan]]
        name = "iv0"
        link = "p2"
        mode = "l2"
        [[address]]
        device = "iv1"
        address = "10.66.0.1/24"
    "#;

    fn edit(action: EditAction, object: EditObject, name: &str, keys: Value) -> Result<Vec<String>, String> {
        let before = Config::parse(RIG, "rig.toml").unwrap();
        let Value::Object(keys) = keys else { panic!("keys are a table") };
        let after = before.edited(&EditRequest { action, object, name: name.into(), keys });
        let plan = after.map(|after| Plan::between(&before, &after).unwrap()).map_err(|e| e.to_string())?;
        Ok(plan.view().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_edit_is_a_few_small_changes() {
        use EditAction::{Add, Del, Set};
        use EditObject::{Address, Bridge, Ipvlan, Neighbor, Port};
        let lines = |action, object, name, keys| edit(action, object, name, keys).unwrap().join("\n");
        assert_eq!(
            lines(
                Add,
                Port,
                "p3",
                json!({ "tap": "t3", "tap.offload": false, "mtu": 9000, "master": "br1" })
            ),
            "+ port p3: mtu 9000, tap { device = \"t3\", offload = false, queues = 1 }\n+ bridge br1 port p3"
        );
        assert_eq!(lines(Set, Port, "p0", json!({ "master": "br0" })), "");
        assert_eq!(
            lines(Set, Port, "p0", json!({ "master": "br1" })),
            "- bridge br0 port p0\n- bridge br0 fdb 02:00:00:00:00:01\n+ bridge br1 port p0"
        );
        assert_eq!(
            lines(Set, Port, "p1", json!({ "memory": true, "master": null })),
            "~ port p1: tap { device = \"t1\", offload = true, queues = 1 } → unset, memory unset → true\n\
             - bridge br0 port p1"
        );
        assert_eq!(
            lines(Del, Port, "p0", json!({})),
            "- port p0\n- bridge br0 port p0\n- bridge br0 fdb 02:00:00:00:00:01"
        );
        assert_eq!(lines(Add, Bridge, "br2", json!({ "ageing_time": 60 })), "+ bridge br2: ageing_time 60s");
        assert_eq!(
            lines(Set, Bridge, "br0", json!({ "ageing_time": "10s" })),
            "~ bridge br0: ageing_time 300s → 10s"
        );
        assert_eq!(lines(Del, Bridge, "br1", json!({})), "- bridge br1");
        let fd00 = |mac| json!({ "device": "br0", "mac": mac });
        assert_eq!(
            lines(Add, Neighbor, "FD00:0::1", fd00("02:00:00:00:00:01")),
            "+ neighbor br0 fd00::1: mac 02:00:00:00:00:01"
        );
        assert_eq!(
            lines(Set, Neighbor, "10.0.0.1", fd00("02:00:00:00:00:02")),
            "~ neighbor br0 10.0.0.1: mac 02:00:00:00:00:01 → 02:00:00:00:00:02"
        );
        assert_eq!(lines(Del, Neighbor, "10.0.0.1", json!({ "device": "br0" })), "- neighbor br0 10.0.0.1");
        assert_eq!(
            lines(Add, Address, "FD66:0::1/64", json!({ "device": "iv1" })),
            "+ address iv1 fd66::1/64"
        );
        assert_eq!(
            lines(Del, Address, "10.66.0.1/24", json!({ "device": "iv1" })),
            "- address iv1 10.66.0.1/24"
        );
        assert_eq!(
            lines(Set, Ipvlan, "iv1", json!({ "flag": "vepa", "mtu": 1400 })),
            "~ ipvlan iv1: flag unset → vepa, mtu unset → 1400\n~ ipvlan iv0: flag unset → vepa"
        );
        assert_eq!(
            lines(Add, Ipvlan, "iv2", json!({ "link": "p2", "mode": "l2", "master": "br1" })),
            "+ ipvlan iv2: link p2, mode l2\n+ bridge br1 port iv2"
        );
        assert_eq!(lines(Del, Ipvlan, "iv1", json!({})), "- ipvlan iv1\n- address iv1 10.66.0.1/24");
        assert_eq!(
            lines(Del, Port, "p2", json!({})),
            "- port p2\n- ipvlan iv1\n- ipvlan iv0\n- address iv1 10.66.0.1/24"
        );
        assert_eq!(lines(Del, Bridge, "br0", json!({})), "- bridge br0\n- neighbor br0 10.0.0.1");
    }

    #[test]
    fn what_stands_on_a_device_comes_with_its_keys_and_goes_with_the_device() {
        use EditAction::{Add, Del};
        use EditObject::{Macvlan, Port};
        let keys = json!({ "link": "p2", "mode": "source", "macaddr": ["02:00:00:00:00:02"], "host": true });
        let Value::Object(keys) = keys else { panic!("keys are a table") };
        let ipvlans = RIG.find("[[ipvlan]]").expect("it has some");
        let before = Config::parse(&RIG[..ipvlans], "rig.toml").unwrap();
        let with =
            before.edited(&EditRequest { action: Add, object: Macvlan, name: "mv0".into(), keys }).unwrap();
        let lines = |from: &Config, to: &Config| {
            let plan = Plan::between(from, to).unwrap();
            plan.view().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(
            lines(&before, &with),
            "+ macvlan mv0: host true, link p2, macaddr [\"02:00:00:00:00:02\"], mode source"
        );
        let gone = EditRequest { action: Del, object: Port, name: "p2".into(), keys: Map::new() };
        let without = with.edited(&gone).unwrap();
        assert!(without.uppers.is_empty() && lines(&with, &without).starts_with("- port p2\n- macvlan mv0"));
    }

    #[test]
    fn a_vxlan_device_has_its_keys_and_its_place_and_goes_with_the_device_that_it_leaves_by() {
        use EditAction::{Add, Del, Set};
        use EditObject::{Port, Vxlan};
        let text = RIG.to_owned()
            + "[[vxlan]]\nname = \"vx0\"\nid = 7\nfdb = [{ mac = \"02:00:00:00:00:09\", dst = \"192.0.2.9\" }]";
        let edited = |config: &Config, action, object, name: &str, keys: Value| {
            let Value::Object(keys) = keys else { panic!("keys are a table") };
            let after = config
                .edited(&EditRequest { action, object, name: name.into(), keys })
                .map_err(|e| e.to_string())?;
            let plan = Plan::between(config, &after).unwrap();
            Ok::<_, String>((
                plan.view().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
                after,
            ))
        };
        let before = Config::parse(&text, "rig.toml").unwrap();
        let keys = json!({ "id": 42, "remote": "192.0.2.2", "dev": "p2", "learning": false, "master": "br1", "isolated": true });
        let (said, with) = edited(&before, Add, Vxlan, "vx1", keys).unwrap();
        assert_eq!(
            said,
            "+ vxlan vx1: dev p2, dstport 8472, id 42, learning false, remote 192.0.2.2\n+ bridge br1 port vx1: isolated true"
        );
        let (said, _) = edited(&with, Set, Vxlan, "vx0", json!({ "ttl": "inherit" })).unwrap();
        assert_eq!(said, "~ vxlan vx0: ttl unset → inherit", "its entries stay");
        let (said, _) = edited(&with, Del, Port, "p2", json!({})).unwrap();
        assert!(said.contains("- vxlan vx1") && said.contains("- bridge br1 port vx1"), "{said}");
        assert!(!said.contains("vx0"), "{said}");
        let refused =
            edited(&with, Add, Vxlan, "vx2", json!({ "id": 42 })).map(|(said, _)| said).unwrap_err();
        assert!(refused.contains("network 42 at UDP port 8472 has a device"), "{refused}");
        let refused = edited(&with, Add, Vxlan, "vx2", json!({ "remote": "192.0.2.2" }))
            .map(|(said, _)| said)
            .unwrap_err();
        assert!(refused.contains("`id`"), "{refused}");
    }

    #[test]
    fn what_cannot_be_edited_says_why_in_one_line() {
        use EditAction::{Add, Del, Set};
        use EditObject::{Address, Bridge, Neighbor, Port};
        for (action, object, name, keys, line) in [
            (Add, Port, "p0", json!({}), "there is a port p0 already: `port set` changes it"),
            (
                Del,
                Port,
                "p9",
                json!({}),
                "there is no port p9: `rigswitch show config` lists those there are",
            ),
            (
                Set,
                Bridge,
                "x",
                json!({}),
                "there is no bridge x: `rigswitch show config` lists those there are",
            ),
            (
                Add,
                Neighbor,
                "10.0.0.1",
                json!({ "device": "br0" }),
                "10.0.0.1 is a neighbour of br0 already: `neighbor replace` changes it",
            ),
            (
                Del,
                Neighbor,
                "10.0.0.1",
                json!({ "device": "br1" }),
                "10.0.0.1 is no neighbour of br1: `rigswitch show neighbors` lists those there are",
            ),
            (
                Add,
                Address,
                "10.66.0.1/24",
                json!({ "device": "iv1" }),
                "10.66.0.1/24 is an address of iv1 already",
            ),
            (
                Del,
                Address,
                "10.66.0.9/24",
                json!({ "device": "iv1" }),
                "10.66.0.9/24 is no address of iv1: `rigswitch show config` lists those there are",
            ),
            (
                Add,
                Address,
                "10.66.0.1",
                json!({ "device": "iv1" }),
                "`10.66.0.1` is not an address of a host with its prefix: write it as 192.0.2.1/24 or 2001:db8::1/64",
            ),
            (Set, Port, "p0", json!({ "master": "br7" }), "there is no bridge br7: did you mean `br0`?"),
            (Set, Port, "p0", json!({ "mut": 1500 }), "unknown key `mut` in [[port]]: did you mean `mtu`?"),
            (
                Set,
                Port,
                "p0",
                json!({ "mtu": 1 }),
                "`mtu` is 1, and must be from 68 to 65535: choose a number from 68 to 65535",
            ),
            (
                Set,
                Port,
                "p2",
                json!({ "isolated": true }),
                "`isolated` is for the port of a bridge, and p2 is in none: add `master BRIDGE`",
            ),
        ] {
            assert_eq!(edit(action, object, name, keys).unwrap_err(), line);
        }
    }
}
