//! `rigswitch vlan`: bridge(8)'s words for the VLANs that a port is in, or a bridge itself.

use clap::Subcommand;
use serde_json::{Map, Value};

use super::Failure;
use crate::api::client::Client;
use crate::config::suggest;
use crate::views::{ChangeView, EditAction, EditObject, EditRequest};

#[derive(Subcommand)]
pub(super) enum Vlan {
    /// Put a port into VLANs, or a bridge itself
    #[command(override_usage = "rigswitch vlan add dev PORT vid N[-M] [pvid] [untagged] [self]")]
    Add(Words),
    /// Take it out of VLANs
    #[command(override_usage = "rigswitch vlan del dev PORT vid N[-M] [self]")]
    Del(Words),
}

#[derive(clap::Args)]
pub(super) struct Words {
    /// bridge(8)'s words
    #[arg(required = true)]
    words: Vec<String>,
}

impl Vlan {
    pub(super) fn run(self, client: &Client) -> Result<(), Failure> {
        let (action, Words { words }) = match self {
            Self::Add(words) => (EditAction::Add, words),
            Self::Del(words) => (EditAction::Del, words),
        };
        let request = parse(action, &words)?;
        Ok(client.send("POST", "/v1/edit", &request).map(|_: Vec<ChangeView>| ())?)
    }
}

/// What was said, whatever the order.
fn parse(action: EditAction, words: &[String]) -> Result<EditRequest, Failure> {
    const KNOWN: [&str; 6] = ["dev", "vid", "pvid", "untagged", "self", "master"];
    /// Words of bridge(8) that stand for what this version does not have.
    const LATER: [&str; 5] = ["tunnel_info", "state", "mcast_router", "mcast_max_groups", "neigh_suppress"];
    let (mut name, mut keys) = (None, Map::new());
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "dev" | "vid" => {
                let needed = || Failure::Usage(format!("`{word}` needs a value after it"));
                let value = words.next().ok_or_else(needed)?;
                if word == "dev" {
                    name = Some(value.to_owned());
                } else {
                    keys.insert("vid".into(), value.into());
                }
            }
            "pvid" | "untagged" | "self" => drop(keys.insert(word.into(), Value::Bool(true))),
            "master" => {}
            _ if LATER.contains(&word) => {
                return Err(Failure::Refused(format!("`{word}`: this version does not have it yet")));
            }
            _ => {
                let hint = suggest(word, KNOWN.into_iter()).unwrap_or_else(|| KNOWN.join(", "));
                return Err(Failure::Usage(format!("unknown word `{word}`: {hint}")));
            }
        }
    }
    let name = name.ok_or_else(|| Failure::Usage("say which port: dev PORT".into()))?;
    if !keys.contains_key("vid") {
        return Err(Failure::Usage("say which VLAN: vid 10, or vid 10-20".into()));
    }
    Ok(EditRequest { action, object: EditObject::VlanMember, name, keys })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(text: &str) -> Result<EditRequest, String> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        parse(EditAction::Add, &words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn words_are_bridge_8s() {
        let request = said("vid 10-20 dev p1 untagged master").unwrap();
        assert_eq!(
            (&*request.name, Value::Object(request.keys)),
            ("p1", json!({ "vid": "10-20", "untagged": true }))
        );
        let request = said("dev br0 vid 10 pvid self").unwrap();
        assert_eq!(Value::Object(request.keys), json!({ "vid": "10", "pvid": true, "self": true }));
        for (text, rule) in [
            ("vid 10", "say which port"),
            ("dev p1", "say which VLAN"),
            ("dev p1 vid", "`vid` needs a value"),
            ("dev p1 vid 10 untaged", "did you mean `untagged`?"),
            ("dev p1 vid 10 tunnel_info id 5", "this version does not have it yet"),
        ] {
            let failure = said(text).unwrap_err();
            assert!(failure.contains(rule), "{failure}");
        }
    }
}
