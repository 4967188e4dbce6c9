//! `rigswitch mdb`: bridge(8)'s words for changing the multicast database.

use clap::Subcommand;
use rigswitch_dataplane::ids::VlanId;

use super::Failure;
use crate::api::client::Client;
use crate::config::suggest;
use crate::views::{MdbChange, MdbState};

#[derive(Subcommand)]
pub(super) enum Mdb {
    /// Put a port into a group
    #[command(
        override_usage = "rigswitch mdb add dev BRIDGE port PORT grp GROUP [permanent|temp] [vid VLAN]"
    )]
    Add(Words),
    /// Take a port out of a group
    #[command(override_usage = "rigswitch mdb del dev BRIDGE port PORT grp GROUP [vid VLAN]")]
    Del(Words),
}

#[derive(clap::Args)]
pub(super) struct Words {
    /// bridge(8)'s words
    #[arg(required = true)]
    words: Vec<String>,
}

impl Mdb {
    pub(super) fn run(self, client: &Client) -> Result<(), Failure> {
        let (method, Words { words }) = match self {
            Self::Add(words) => ("POST", words),
            Self::Del(words) => ("DELETE", words),
        };
        Ok(client.send(method, "/v1/mdb", &parse(&words)?).map(|_: serde_json::Value| ())?)
    }
}

/// What was said, whatever the order.
fn parse(words: &[String]) -> Result<MdbChange, Failure> {
    const KNOWN: [&str; 6] = ["dev", "port", "grp", "permanent", "temp", "vid"];
    /// Words of bridge(8) that stand for what this version does not have.
    const LATER: [&str; 4] = ["src", "source_list", "filter_mode", "proto"];
    let mut change = MdbChange::default();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let target = match word {
            "dev" => &mut change.dev,
            "port" => &mut change.port,
            "grp" => &mut change.grp,
            "permanent" | "temp" => {
                change.state = if word == "temp" { MdbState::Temp } else { MdbState::Permanent };
                continue;
            }
            "vid" => {
                let text =
                    words.next().ok_or_else(|| Failure::Usage("`vid` needs a value after it".into()))?;
                let vid = text.parse().ok().filter(|vid| (1..=VlanId::MAX).contains(vid));
                let refuse = || Failure::Usage(format!("`{text}` is no VLAN from 1 to {}", VlanId::MAX));
                change.vid = Some(vid.ok_or_else(refuse)?);
                continue;
            }
            _ if LATER.contains(&word) => {
                return Err(Failure::Refused(format!("`{word}`: this version does not have it yet")));
            }
            _ => {
                let hint = suggest(word, KNOWN.into_iter()).unwrap_or_else(|| KNOWN.join(", "));
                return Err(Failure::Usage(format!("unknown word `{word}`: {hint}")));
            }
        };
        let value = words.next();
        *target = value.ok_or_else(|| Failure::Usage(format!("`{word}` needs a value after it")))?.to_owned();
    }
    for (word, value) in [("dev", &change.dev), ("port", &change.port), ("grp", &change.grp)] {
        if value.is_empty() {
            return Err(Failure::Usage(format!("say which {word}: dev BRIDGE port PORT grp GROUP")));
        }
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<MdbChange, String> {
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        parse(&words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn words_are_bridge_8s() {
        let change = |state| MdbChange {
            dev: "br0".into(),
            port: "p0".into(),
            grp: "239.1.1.1".into(),
            state,
            vid: None,
        };
        assert_eq!(said("dev br0 port p0 grp 239.1.1.1"), Ok(change(MdbState::Temp)));
        assert_eq!(said("grp 239.1.1.1 port p0 dev br0 permanent"), Ok(change(MdbState::Permanent)));
        let in_vlan = MdbChange { vid: Some(7), ..change(MdbState::Temp) };
        assert_eq!(said("dev br0 port p0 grp 239.1.1.1 temp vid 7"), Ok(in_vlan));
        for (text, why) in [
            ("dev br0 port", "`port` needs a value"),
            ("dev br0 port p0", "say which grp"),
            ("dev br0 prot p0", "did you mean `port`?"),
            ("dev br0 port p0 grp 239.1.1.1 vid 4095", "`4095` is no VLAN from 1 to 4094"),
            ("dev br0 port p0 grp 239.1.1.1 src 10.0.0.1", "`src`: this version does not have it yet"),
        ] {
            let said = said(text).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
