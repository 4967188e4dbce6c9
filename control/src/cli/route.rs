//! `rigswitch route`: ip-route(8)'s words for where packets go.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::Failure;
use crate::api::client::Client;
use crate::config::suggest;
use crate::views::{ChangeView, EditAction, EditObject, EditRequest};

#[derive(Subcommand)]
pub(super) enum Route {
    /// Add a route to a network that none of its metric leads to
    #[command(
        override_usage = "rigswitch route add [TYPE] NETWORK [via ROUTER] [dev DEVICE] [metric N] [onlink]"
    )]
    Add(Words),
    /// Add a route, or put it in the place of the one to that network
    #[command(
        override_usage = "rigswitch route replace [TYPE] NETWORK [via ROUTER] [dev DEVICE] [metric N] [onlink]"
    )]
    Replace(Words),
    /// Take a route away
    #[command(override_usage = "rigswitch route del NETWORK [metric N]")]
    Del(Words),
}

#[derive(clap::Args)]
pub(super) struct Words {
    /// ip-route(8)'s words: a network, its ways as `nexthop via ROUTER weight N` if there are several, before it `blackhole`,
    /// `unreachable` or `prohibit` if it leads nowhere
    #[arg(required = true)]
    words: Vec<String>,
}

impl Route {
    pub(super) fn run(self, client: &Client) -> Result<(), Failure> {
        let (action, Words { words }) = match self {
            Self::Add(words) => (EditAction::Add, words),
            Self::Replace(words) => (EditAction::Set, words),
            Self::Del(words) => (EditAction::Del, words),
        };
        let (name, keys) = read(&words)?;
        let request = EditRequest { action, object: EditObject::Route, name, keys };
        Ok(client.send("POST", "/v1/edit", &request).map(|_: Vec<ChangeView>| ())?)
    }
}

/// The network, and the keys of the file that the words stand for.
fn read(words: &[String]) -> Result<(String, Map<String, Value>), Failure> {
    const NOWHERE: [&str; 3] = ["blackhole", "unreachable", "prohibit"];
    const KNOWN: [&str; 6] = ["via", "dev", "metric", "onlink", "nexthop", "weight"];
    let mut words = words.iter().map(String::as_str).peekable();
    let (mut keys, mut ways) = (Map::new(), Vec::<Map<String, Value>>::new());
    if let Some(kind) = words.next_if(|word| NOWHERE.contains(word)) {
        keys.insert("type".into(), kind.into());
    }
    let network = words.next().ok_or_else(|| Failure::Usage("say which network".into()))?;
    while let Some(word) = words.next() {
        let mut value =
            || words.next().ok_or_else(|| Failure::Usage(format!("`{word}` needs a value after it")));
        let (key, value): (_, Value) = match word {
            "nexthop" => {
                ways.push(Map::new());
                continue;
            }
            "onlink" => ("onlink", true.into()),
            "via" => ("via", value()?.into()),
            "dev" => ("device", value()?.into()),
            "weight" | "metric" => {
                let text = value()?;
                let number: u32 =
                    text.parse().map_err(|_| Failure::Usage(format!("`{text}` is no {word}")))?;
                (word, json!(number))
            }
            _ => {
                let hint = suggest(word, KNOWN.into_iter()).unwrap_or_else(|| KNOWN.join(", "));
                return Err(Failure::Usage(format!("unknown word `{word}`: {hint}")));
            }
        };
        ways.last_mut().unwrap_or(&mut keys).insert(key.to_owned(), value);
    }
    if !ways.is_empty() {
        keys.insert("nexthop".into(), json!(ways));
    }
    Ok((network.to_owned(), keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ip_routes() {
        let said = |text: &str| {
            let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            read(&words)
                .map(|(name, keys)| (name, Value::Object(keys)))
                .map_err(|failure| failure.to_string())
        };
        for (text, name, keys) in [
            ("default via 192.0.2.1", "default", json!({ "via": "192.0.2.1" })),
            (
                "10.0.0.0/8 via 192.0.2.1 dev p0 onlink",
                "10.0.0.0/8",
                json!({ "via": "192.0.2.1", "device": "p0", "onlink": true }),
            ),
            ("10.0.0.0/8 via 192.0.2.1 metric 5", "10.0.0.0/8", json!({ "via": "192.0.2.1", "metric": 5 })),
            ("blackhole 10.0.0.0/8", "10.0.0.0/8", json!({ "type": "blackhole" })),
            (
                "fd00::/8 nexthop via fd01::1 weight 2 nexthop via fd02::1",
                "fd00::/8",
                json!({ "nexthop": [{ "via": "fd01::1", "weight": 2 }, { "via": "fd02::1" }] }),
            ),
        ] {
            assert_eq!(said(text), Ok((name.to_owned(), keys)), "{text}");
        }
        for (text, why) in [
            ("", "say which network"),
            ("default via", "`via` needs a value"),
            ("default vai 1", "did you mean `via`?"),
            ("default weight x", "`x` is no weight"),
        ] {
            assert!(said(text).unwrap_err().contains(why), "{text}");
        }
    }
}
