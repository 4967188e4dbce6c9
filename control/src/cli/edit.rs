//! `rigswitch port`, `bridge`, `ipvlan`, `macvlan`, `ipip` and `vxlan`: one thing of the running switch, in the words of its file.

use clap::Subcommand;
use serde_json::{Map, Value};

use super::Failure;
use crate::api::client::Client;
use crate::views::{ChangeView, EditAction, EditObject, EditRequest};

#[derive(Subcommand)]
pub(super) enum Edit {
    /// Add one
    Add(Words),
    /// Give one other keys
    Set(Words),
    /// Take one away, and what depends on it
    Del(Words),
}

#[derive(clap::Args)]
pub(super) struct Words {
    /// Its name
    name: String,
    /// Keys of its table in the file, each with a value: `tap vm0`, `mtu 9000`, `ageing_time 10s`. For a port also
    /// `master BRIDGE`, `nomaster` and the keys of a [[bridge.port]]; `tap.offload off` for a key of a table inside; `default`
    /// takes a key out
    #[arg(value_name = "KEY VALUE")]
    words: Vec<String>,
}

impl Edit {
    pub(super) fn run(self, client: &Client, object: EditObject) -> Result<(), Failure> {
        let (action, Words { name, words }) = match self {
            Self::Add(words) => (EditAction::Add, words),
            Self::Set(words) => (EditAction::Set, words),
            Self::Del(words) => (EditAction::Del, words),
        };
        let request = EditRequest { action, object, name, keys: keys(&words)? };
        Ok(client.send("POST", "/v1/edit", &request).map(|_: Vec<ChangeView>| ())?)
    }
}

/// Keys and values as they were said.
pub(super) fn keys(words: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut keys = Map::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (key, value) = match word.split_once('=') {
            _ if word == "nomaster" => ("master", Value::Null),
            Some((key, value)) => (key, value_of(key, value)),
            None => {
                let value = words.next();
                let needed = || Failure::Usage(format!("`{word}` needs a value after it"));
                (word, value_of(word, value.ok_or_else(needed)?))
            }
        };
        keys.insert(key.to_owned(), value);
    }
    Ok(keys)
}

/// A value of the file: what looks like a number or a switch is one, but for names; commas make a list of what may be one.
fn value_of(key: &str, text: &str) -> Value {
    const NAMES: [&str; 12] = [
        "master",
        "link",
        "dev",
        "xdp",
        "tap",
        "packet",
        "pcap",
        "device",
        "netns",
        "input",
        "output",
        "reserved_bits",
    ];
    let last = key.rsplit('.').next().unwrap_or(key);
    if NAMES.contains(&last) {
        return text.into();
    }
    if ["addresses", "macaddr", "vni"].contains(&last) && text != "default" {
        return text.split(',').collect();
    }
    if last == "srcport"
        && let Some(ports) = text.split(',').map(|port| port.parse().ok()).collect::<Option<Vec<u16>>>()
    {
        return ports.into();
    }
    let hex = text.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
    match text {
        "on" | "true" => true.into(),
        "off" | "false" => false.into(),
        "default" => Value::Null,
        _ => hex.or_else(|| text.parse().ok()).map_or_else(|| text.into(), |number: i64| number.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(text: &str) -> Result<Value, String> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        keys(&words).map(Value::Object).map_err(|failure| failure.to_string())
    }

    #[test]
    fn words_are_keys_and_values_of_the_file() {
        for (text, expected) in [
            ("", json!({})),
            ("tap 7 mtu 9000 master br0", json!({ "tap": "7", "mtu": 9000, "master": "br0" })),
            ("tap=vm0 tap.offload=off", json!({ "tap": "vm0", "tap.offload": false })),
            (
                "host.addresses 192.0.2.1/24,2001:db8::1/64",
                json!({ "host.addresses": ["192.0.2.1/24", "2001:db8::1/64"] }),
            ),
            (
                "dev 7 srcport 49152,65535 ttl inherit learning off reserved_bits 0x0000000000000001",
                json!({
                    "dev": "7", "srcport": [49152, 65535], "ttl": "inherit", "learning": false,
                    "reserved_bits": "0x0000000000000001"
                }),
            ),
            ("srcport 49152-65535", json!({ "srcport": "49152-65535" })),
            ("ageing_time 10s nomaster", json!({ "ageing_time": "10s", "master": null })),
            (
                "isolated on group_fwd_mask 0x8 mtu default",
                json!({ "isolated": true, "group_fwd_mask": 8, "mtu": null }),
            ),
        ] {
            assert_eq!(said(text).unwrap(), expected, "{text}");
        }
        assert!(said("mtu").unwrap_err().contains("`mtu` needs a value after it"));
    }
}
