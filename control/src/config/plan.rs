//! What turns one configuration into another: a list of small changes, which `plan` prints and `apply` carries out.

use std::collections::BTreeMap;

use rigswitch_dataplane::bridge::{
    BridgeConfig, BridgePortConfig, FdbEntryConfig, MdbEntryConfig, NeighborConfig, XconnectConfig,
};
use rigswitch_dataplane::ports::{AddressConfig, PortConfig, PortKind};
use rigswitch_dataplane::routing::{RouteConfig, RoutingConfig};
use rigswitch_dataplane::tunnels::{TunnelConfig, TunnelKind, VxlanConfig, VxlanEntryConfig};
use rigswitch_dataplane::upper::UpperConfig;

use super::Config;
use super::print::{Printed, Words};
use crate::views::{ChangeAction, ChangeView};

/// How one thing changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit<T> {
    /// It comes.
    Add(T),
    /// It goes.
    Remove(T),
    /// It stays under its name, and is another.
    Change {
        /// As it is.
        from: T,
        /// As it will be.
        to: T,
    },
}

/// One small change.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few of them, and not for long")]
pub enum Change {
    /// A `[[port]]`.
    Port(Edit<PortConfig>),
    /// A `[[bridge]]` by itself: no ports and no entries are in it. What was in one that goes, goes too.
    Bridge(Edit<BridgeConfig>),
    /// A `[[bridge.port]]` of this bridge.
    Member(String, Edit<BridgePortConfig>),
    /// A `[[bridge.fdb]]` of this bridge.
    Entry(String, Edit<FdbEntryConfig>),
    /// A `[[bridge.mdb]]` of this bridge.
    Group(String, Edit<MdbEntryConfig>),
    /// An `[[xconnect]]`.
    Wire(Edit<XconnectConfig>),
    /// A device that stands on another.
    Upper(Edit<UpperConfig>),
    /// A tunnel by itself: no entries are in it. What was in one that goes, goes too.
    Tunnel(Edit<TunnelConfig>),
    /// An entry of this VXLAN device.
    FarEnd(String, Edit<VxlanEntryConfig>),
    /// An `[[address]]`.
    Address(Edit<AddressConfig>),
    /// `[routing]`.
    Routing(Edit<RoutingConfig>),
    /// A `[[route]]`.
    Route(Edit<RouteConfig>),
    /// A `[[neighbor]]`.
    Neighbor(Edit<NeighborConfig>),
}

/// Everything that changes, in the order it is told in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan(pub Vec<Change>);

/// A key that is read when the switch starts, and never again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{key}` in [switch] is {from} and would be {to}: it cannot change while the switch runs; restore it, or stop the switch \
     and start it with this file"
)]
pub struct Frozen {
    key: String,
    from: String,
    to: String,
}

impl Plan {
    /// What makes `wanted` of `running`. The order of things in a file is no difference.
    ///
    /// # Errors
    /// [`Frozen`], when that takes another `[switch]`.
    pub fn between(running: &Config, wanted: &Config) -> Result<Self, Frozen> {
        let (from, to) = (running.switch.words(), wanted.switch.words());
        if let Some(key) = differing(&from, &to).next() {
            let word = |words: &Words| words.get(key).map_or("not set".into(), ToString::to_string);
            return Err(Frozen { key: key.clone(), from: word(&from), to: word(&to) });
        }
        let mut changes = Vec::new();
        let ports = edits(&running.ports, &wanted.ports, |port| port.name.clone());
        changes.extend(ports.into_iter().map(Change::Port));
        let uppers = edits(&running.uppers, &wanted.uppers, |upper| upper.name.clone());
        changes.extend(uppers.into_iter().map(Change::Upper));
        for edit in edits(&running.tunnels, &wanted.tunnels, |tunnel| tunnel.name.clone()) {
            tunnel(edit, &mut changes);
        }
        for edit in edits(&running.bridges, &wanted.bridges, |bridge| bridge.name.clone()) {
            bridge(edit, &mut changes);
        }
        let wires = edits(&running.xconnects, &wanted.xconnects, |wire| (wire.a.clone(), wire.b.clone()));
        changes.extend(wires.into_iter().map(Change::Wire));
        let key =
            |said: &AddressConfig| (said.device.clone(), said.address.address, said.address.prefix_length);
        let addresses = edits(&running.addresses, &wanted.addresses, key);
        changes.extend(addresses.into_iter().map(Change::Address));
        if running.routing != wanted.routing {
            changes.push(Change::Routing(Edit::Change { from: running.routing, to: wanted.routing }));
        }
        let routes = edits(&running.routes, &wanted.routes, |route| (route.to, route.metric));
        changes.extend(routes.into_iter().map(Change::Route));
        let key = |neighbor: &NeighborConfig| (neighbor.device.clone(), neighbor.vlan, neighbor.address);
        let neighbors = edits(&running.neighbors, &wanted.neighbors, key);
        changes.extend(neighbors.into_iter().map(Change::Neighbor));
        Ok(Self(changes))
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What happens to ports, the bridges' own, devices that stand on others and tunnels with them.
    pub(crate) fn of_ports(running: &Config, wanted: &Config) -> Vec<Edit<PortConfig>> {
        let [from, to] = [running, wanted].map(|config| config.all_ports().collect::<Vec<_>>());
        edits(&from, &to, |port| (port.name.clone(), port.kind == PortKind::Inside))
    }

    /// As an operator reads it.
    pub fn view(&self) -> Vec<ChangeView> {
        self.0.iter().map(Change::view).collect()
    }
}

/// A bridge's own change, and those of what is in it.
fn bridge(edit: Edit<BridgeConfig>, changes: &mut Vec<Change>) {
    let (from, to) = match edit {
        Edit::Remove(from) => return changes.push(Change::Bridge(Edit::Remove(alone(&from)))),
        Edit::Add(to) => {
            changes.push(Change::Bridge(Edit::Add(alone(&to))));
            (alone(&to), to)
        }
        Edit::Change { from, to } => {
            let (before, after) = (alone(&from), alone(&to));
            if before != after {
                changes.push(Change::Bridge(Edit::Change { from: before, to: after }));
            }
            (from, to)
        }
    };
    let name = to.name;
    let members = edits(&from.ports, &to.ports, |port| port.device.clone());
    changes.extend(members.into_iter().map(|edit| Change::Member(name.clone(), edit)));
    let entries = edits(&from.fdb, &to.fdb, |entry| (entry.mac, entry.vlan));
    changes.extend(entries.into_iter().map(|edit| Change::Entry(name.clone(), edit)));
    let groups = edits(&from.mdb, &to.mdb, |entry| (entry.group, entry.device.clone(), entry.vlan));
    changes.extend(groups.into_iter().map(|edit| Change::Group(name.clone(), edit)));
}

/// The bridge without what has changes of its own.
fn alone(bridge: &BridgeConfig) -> BridgeConfig {
    BridgeConfig { ports: Vec::new(), fdb: Vec::new(), mdb: Vec::new(), ..bridge.clone() }
}

/// A tunnel's own change, and those of its entries.
fn tunnel(edit: Edit<TunnelConfig>, changes: &mut Vec<Change>) {
    let (from, to) = match edit {
        Edit::Remove(from) => return changes.push(Change::Tunnel(Edit::Remove(empty(&from)))),
        Edit::Add(to) => {
            changes.push(Change::Tunnel(Edit::Add(empty(&to))));
            (empty(&to), to)
        }
        Edit::Change { from, to } => {
            let (before, after) = (empty(&from), empty(&to));
            if before != after {
                changes.push(Change::Tunnel(Edit::Change { from: before, to: after }));
            }
            (from, to)
        }
    };
    let key = |entry: &VxlanEntryConfig| {
        (entry.mac, entry.src_vni, entry.dst, entry.port, entry.vni, entry.via.clone())
    };
    let entries = edits(far_ends(&from), far_ends(&to), key);
    changes.extend(entries.into_iter().map(|edit| Change::FarEnd(to.name.clone(), edit)));
}

/// The tunnel without what has changes of its own.
fn empty(tunnel: &TunnelConfig) -> TunnelConfig {
    let kind = match &tunnel.kind {
        TunnelKind::Vxlan(vxlan) => TunnelKind::Vxlan(VxlanConfig { fdb: Vec::new(), ..vxlan.clone() }),
        TunnelKind::Ipip(_) => tunnel.kind.clone(),
    };
    TunnelConfig { kind, ..tunnel.clone() }
}

fn far_ends(tunnel: &TunnelConfig) -> &[VxlanEntryConfig] {
    if let TunnelKind::Vxlan(vxlan) = &tunnel.kind { &vxlan.fdb } else { &[] }
}

/// What makes `to` of `from`, where two of the same key are the same thing: first what goes, then the rest in the order
/// of `to`.
fn edits<T: Clone + PartialEq, K: Ord>(from: &[T], to: &[T], key: impl Fn(&T) -> K) -> Vec<Edit<T>> {
    let old: BTreeMap<K, &T> = from.iter().map(|thing| (key(thing), thing)).collect();
    let new: BTreeMap<K, &T> = to.iter().map(|thing| (key(thing), thing)).collect();
    let gone = from.iter().filter(|thing| !new.contains_key(&key(thing))).cloned().map(Edit::Remove);
    let rest = to.iter().filter_map(|thing| match old.get(&key(thing)) {
        None => Some(Edit::Add(thing.clone())),
        Some(before) if *before == thing => None,
        Some(before) => Some(Edit::Change { from: (*before).clone(), to: thing.clone() }),
    });
    gone.chain(rest).collect()
}

/// The keys that one has and the other has not, or has otherwise.
fn differing<'w>(from: &'w Words, to: &'w Words) -> impl Iterator<Item = &'w String> {
    let added = to.keys().filter(|key| !from.contains_key(*key));
    from.keys().chain(added).filter(|key| from.get(*key) != to.get(*key))
}

impl Change {
    fn view(&self) -> ChangeView {
        match self {
            Self::Port(edit) => view("port", None, edit, &["name"]),
            Self::Bridge(edit) => view("bridge", None, edit, &["name"]),
            Self::Member(bridge, edit) => view("port", Some(bridge), edit, &["device"]),
            Self::Entry(bridge, edit) => view("fdb", Some(bridge), edit, &["mac", "vlan"]),
            Self::Group(bridge, edit) => view("mdb", Some(bridge), edit, &["grp", "device", "vid"]),
            Self::Wire(edit) => view("xconnect", None, edit, &["a", "b"]),
            Self::Upper(edit) => {
                let (Edit::Add(upper) | Edit::Remove(upper) | Edit::Change { to: upper, .. }) = edit;
                view(upper.kind.name(), None, edit, &["name"])
            }
            Self::Tunnel(edit) => {
                let (Edit::Add(tunnel) | Edit::Remove(tunnel) | Edit::Change { to: tunnel, .. }) = edit;
                view(tunnel.kind.name(), None, edit, &["name"])
            }
            Self::FarEnd(tunnel, edit) => {
                view("fdb", Some(tunnel), edit, &["mac", "src_vni", "dst", "port", "vni", "via"])
            }
            Self::Address(edit) => view("address", None, edit, &["device", "address"]),
            Self::Routing(edit) => view("routing", None, edit, &[]),
            Self::Route(edit) => view("route", None, edit, &["to", "metric"]),
            Self::Neighbor(edit) => view("neighbor", None, edit, &["device", "address", "vlan"]),
        }
    }
}

/// A change in the words of the file, of which `names` say what it is about.
fn view(object: &str, bridge: Option<&String>, edit: &Edit<impl Printed>, names: &[&str]) -> ChangeView {
    let (action, mut from, mut to) = match edit {
        Edit::Add(to) => (ChangeAction::Add, Words::new(), to.words()),
        Edit::Remove(from) => (ChangeAction::Remove, from.words(), Words::new()),
        Edit::Change { from, to } => (ChangeAction::Change, from.words(), to.words()),
    };
    let named = if action == ChangeAction::Add { &to } else { &from };
    let name = names.iter().filter_map(|key| name_of(key, named.get(*key)?)).collect::<Vec<_>>().join(" ");
    let same: Vec<String> = from.keys().filter(|key| from.get(*key) == to.get(*key)).cloned().collect();
    for key in same.iter().map(String::as_str).chain(names.iter().copied()) {
        from.remove(key);
        to.remove(key);
    }
    if action == ChangeAction::Remove {
        from.clear(); // what it was is in the file it came from
    }
    ChangeView { action, object: object.to_owned(), bridge: bridge.cloned(), name, from, to }
}

/// One of the words that something is known by.
fn name_of(key: &str, value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Number(number) => Some(format!("{key} {number}")),
        other if key == "via" => other.as_str().map(|device| format!("via {device}")),
        other => other.as_str().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
        port = [{ name = "p0", memory = true }, { name = "p1", memory = true }, { name = "p2", tap = "t2" }]
        xconnect = []
        [[bridge]]
        name = "br0"
        port = [{ device = "p0" }, { device = "p1" }]
        fdb = [{ mac = "02:00:00:00:00:01", device = "p0" }, { mac = "02:00:00:00:00:02", device = "p1" }]
        [[bridge]]
        name = "br1"
        port = [{ device = "p2" }]
    "#;

    fn config(text: &str) -> Config {
        Config::parse(text, "rig.toml").unwrap()
    }

    fn lines(before: &str, after: &str) -> Vec<String> {
        let plan = Plan::between(&config(before), &config(after)).unwrap();
        plan.view().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_plan_names_what_goes_what_comes_and_what_is_another() {
        let after = r#"
            port = [{ name = "p2", tap = { device = "t2", offload = false } }, { name = "p0", memory = true, mtu = 9000 },
                    { name = "p3", memory = true }, { name = "p4", memory = true }]
            xconnect = [{ a = "p3", b = "p4" }]
            [[bridge]]
            name = "br0"
            ageing_time = 10
            port = [{ device = "p2" }, { device = "p0" }]
            fdb = [{ mac = "02:00:00:00:00:01", device = "p2" }]
        "#;
        assert_eq!(
            lines(BEFORE, after),
            [
                "- port p1",
                "~ port p2: tap { device = \"t2\", offload = true, queues = 1 } → { device = \"t2\", offload = false, \
                 queues = 1 }",
                "~ port p0: mtu unset → 9000",
                "+ port p3: memory true",
                "+ port p4: memory true",
                "- bridge br1",
                "~ bridge br0: ageing_time 300s → 10s",
                "- bridge br0 port p1",
                "+ bridge br0 port p2",
                "- bridge br0 fdb 02:00:00:00:00:02",
                "~ bridge br0 fdb 02:00:00:00:00:01: device p0 → p2",
                "+ xconnect p3 p4",
            ]
        );
    }

    #[test]
    fn order_is_no_difference() {
        let after = r#"
            port = [{ name = "p2", tap = "t2" }, { name = "p1", memory = true }, { name = "p0", memory = true }]
            [[bridge]]
            name = "br1"
            port = [{ device = "p2" }]
            [[bridge]]
            name = "br0"
            port = [{ device = "p1" }, { device = "p0" }]
            fdb = [{ mac = "02:00:00:00:00:02", device = "p1" }, { mac = "02:00:00:00:00:01", device = "p0" }]
        "#;
        assert!(lines(BEFORE, after).is_empty());
    }

    #[test]
    fn what_is_read_at_the_start_is_not_changed_later() {
        let refused = |before: &str, after: &str| {
            Plan::between(&config(before), &config(after)).unwrap_err().to_string()
        };
        for (key, before, after) in [
            ("workers", "1", "2"),
            ("workers", "1", "[0]"),
            ("idle", "\"adaptive\"", "\"spin\""),
            ("frames", "not set", "4096"),
            ("mac_table", "65536", "1024"),
            ("socket", "not set", "\"/run/x.sock\""),
        ] {
            let start = format!("`{key}` in [switch] is {before} and would be {after}: ");
            let text = refused("", &format!("[switch]\n{key} = {after}"));
            assert!(text.starts_with(&start), "{text}");
        }
    }
}
