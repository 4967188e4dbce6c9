//! `rigswitch neighbor`: ip-neighbour(8)'s words for telling a bridge who has an IP address.

use clap::Subcommand;
use serde_json::{Map, Value};

use super::Failure;
use crate::api::client::Client;
use crate::config::suggest;
use crate::views::{ChangeView, EditAction, EditObject, EditRequest};

#[derive(Subcommand)]
pub(super) enum Neighbor {
    /// Tell a bridge of a neighbour that it does not know
    #[command(
        override_usage = "rigswitch neighbor add ADDRESS lladdr MAC dev BRIDGE [vlan VLAN] [nud permanent]"
    )]
    Add(Words),
    /// Tell a bridge of a neighbour, whatever it knows
    #[command(
        override_usage = "rigswitch neighbor replace ADDRESS lladdr MAC dev BRIDGE [vlan VLAN] [nud permanent]"
    )]
    Replace(Words),
    /// Take a neighbour away
    #[command(override_usage = "rigswitch neighbor del ADDRESS dev BRIDGE [vlan VLAN]")]
    Del(Words),
}

#[derive(clap::Args)]
pub(super) struct Words {
    /// Its IP address
    address: String,
    /// ip-neighbour(8)'s words
    #[arg(required = true)]
    words: Vec<String>,
}

impl Neighbor {
    pub(super) fn run(self, client: &Client) -> Result<(), Failure> {
        let (action, Words { address, words }) = match self {
            Self::Add(words) => (EditAction::Add, words),
            Self::Replace(words) => (EditAction::Set, words),
            Self::Del(words) => (EditAction::Del, words),
        };
        let keys = keys(&words)?;
        let request = EditRequest { action, object: EditObject::Neighbor, name: address, keys };
        Ok(client.send("POST", "/v1/edit", &request).map(|_: Vec<ChangeView>| ())?)
    }
}

/// The keys of the file that the words stand for.
fn keys(words: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut keys = Map::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let key = match word {
            "lladdr" => "mac",
            "dev" => "device",
            "nud" | "vlan" => word,
            _ => {
                let known = ["lladdr", "dev", "nud", "vlan"];
                let hint = suggest(word, known.into_iter()).unwrap_or_else(|| known.join(", "));
                return Err(Failure::Usage(format!("unknown word `{word}`: {hint}")));
            }
        };
        let needed = || Failure::Usage(format!("`{word}` needs a value after it"));
        let value = words.next().ok_or_else(needed)?;
        match (key, value) {
            ("nud", "permanent") => {}
            ("nud", other) => {
                return Err(Failure::Refused(format!("`nud {other}`: this version has only permanent ones")));
            }
            ("vlan", text) => {
                let refuse = |_| Failure::Usage(format!("`{text}` is no VLAN: say vlan 10"));
                keys.insert("vlan".into(), text.parse::<u16>().map_err(refuse)?.into());
            }
            _ => drop(keys.insert(key.to_owned(), value.into())),
        }
    }
    if keys.contains_key("device") {
        Ok(keys)
    } else {
        Err(Failure::Usage("say which bridge: dev NAME".into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(text: &str) -> Result<Value, String> {
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        keys(&words).map(Value::Object).map_err(|failure| failure.to_string())
    }

    #[test]
    fn words_are_ip_neighbours() {
        let all = said("lladdr 02:00:00:00:00:01 dev br0 nud permanent").unwrap();
        assert_eq!(all, json!({ "mac": "02:00:00:00:00:01", "device": "br0" }));
        assert_eq!(said("dev br0 vlan 10").unwrap(), json!({ "device": "br0", "vlan": 10 }));
        assert!(said("dev br0 vlan x").unwrap_err().contains("`x` is no VLAN"));
        assert!(said("lladdr 02:00:00:00:00:01").unwrap_err().contains("say which bridge"));
        assert!(said("dev br0 lladdr").unwrap_err().contains("`lladdr` needs a value"));
        assert!(said("dev br0 laddr x").unwrap_err().contains("did you mean `lladdr`?"));
        assert!(said("dev br0 nud stale").unwrap_err().contains("only permanent ones"));
    }
}
