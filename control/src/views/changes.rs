//! What changes in a configuration, as it is told, and an edit of it, as it is asked for.

use std::{fmt, iter};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One change of the configuration: an element of `plan -j`. Printed as a line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangeView {
    /// What happens.
    pub action: ChangeAction,
    /// To what: `port`, `bridge`, `fdb`, `mdb`, `xconnect`, `vlan`, `ipvlan`, `macvlan`, `ipip`, `vxlan`, `address`, `route`, `routing` or `neighbor`.
    pub object: String,
    /// The bridge that it is in: a port of it, or an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Its name; the address of an entry, the two ends of a wire, a device and its address, a bridge and its neighbour's address.
    pub name: String,
    /// What its keys are in the configuration in force, as far as they change.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub from: serde_json::Map<String, Value>,
    /// What they will be.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub to: serde_json::Map<String, Value>,
}

/// What happens to a thing of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeAction {
    /// It comes.
    Add,
    /// It goes.
    Remove,
    /// It becomes another.
    Change,
}

impl fmt::Display for ChangeView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            ChangeAction::Add => '+',
            ChangeAction::Remove => '-',
            ChangeAction::Change => '~',
        };
        write!(f, "{sign} ")?;
        if let Some(bridge) = &self.bridge {
            write!(f, "bridge {bridge} ")?;
        }
        write!(f, "{} {}", self.object, self.name)?;
        let added = self.to.keys().filter(|key| !self.from.contains_key(*key));
        for (key, start) in self.from.keys().chain(added).zip(iter::once(": ").chain(iter::repeat(", "))) {
            let word = |value: Option<&Value>| value.map_or("unset".to_owned(), toml_word);
            write!(f, "{start}{key} ")?;
            if self.action == ChangeAction::Change {
                write!(f, "{} → ", word(self.from.get(key)))?;
            }
            write!(f, "{}", word(self.to.get(key)))?;
        }
        Ok(())
    }
}

/// A value as the file has it; a string without its quotes, where it stands alone.
fn toml_word(value: &Value) -> String {
    let inner = |value: &Value| if value.is_string() { value.to_string() } else { toml_word(value) };
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(inner).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let pairs = table.iter().map(|(key, value)| format!("{key} = {}", inner(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// An edit of the configuration in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// What happens.
    pub action: EditAction,
    /// To what.
    pub object: EditObject,
    /// Its name.
    pub name: String,
    /// The keys of its table in the file, and of its `[[bridge.port]]` if it is a port; `tap.offload` for one in a table
    /// inside. Nothing takes a key out. `master` is the bridge that a port is in.
    #[serde(default)]
    pub keys: serde_json::Map<String, Value>,
}

/// What an edit does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EditAction {
    /// It comes.
    Add,
    /// It gets other keys.
    Set,
    /// It goes, and what depends on it.
    Del,
}

/// What an edit is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EditObject {
    /// A `[[port]]`, and the `[[bridge.port]]` that it is.
    Port,
    /// A `[[bridge]]`.
    Bridge,
    /// A `[[vlan]]`, and the `[[bridge.port]]` that it may be.
    Vlan,
    /// The VLANs of a port, or of a bridge itself, whose name it is: `vid` (10 or 10-20), and, to add them, `pvid` and `untagged`.
    #[serde(rename = "vlan_member")]
    VlanMember,
    /// An `[[ipvlan]]`, and the `[[bridge.port]]` that it may be.
    Ipvlan,
    /// An `[[ipip]]`.
    Ipip,
    /// A `[[vxlan]]`, and the `[[bridge.port]]` that it may be.
    Vxlan,
    /// Networks of a `[[vxlan]]` that is `external` and has a `vnifilter`, whose name it is: `vni` (100 or 100-110), and, to add them, the
    /// `group` or the `remote` that each has. To add one that is there gives it another, or none.
    Vni,
    /// An `[[address]]`, whose name is the address with its prefix; its `device` is always to be said.
    Address,
    /// A `[[route]]`, whose name is the network that it leads to. To set one that is not there adds it.
    Route,
    /// A `[[macvlan]]`, and the `[[bridge.port]]` that it may be.
    Macvlan,
    /// A `[[neighbor]]`, whose name is its address; its `device` is always to be said. To set one that is not there adds it.
    Neighbor,
}
