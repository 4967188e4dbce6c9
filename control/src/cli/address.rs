//! `rigswitch address`: ip-address(8)'s words for giving a device an IP address.

use clap::Subcommand;
use serde_json::Map;

use super::Failure;
use crate::api::client::Client;
use crate::config::suggest;
use crate::views::{ChangeView, EditAction, EditObject, EditRequest};

#[derive(Subcommand)]
pub(super) enum Address {
    /// Give a device an address
    #[command(override_usage = "rigswitch address add ADDRESS/LENGTH dev DEVICE")]
    Add(Words),
    /// Take an address away
    #[command(override_usage = "rigswitch address del ADDRESS/LENGTH dev DEVICE")]
    Del(Words),
}

#[derive(clap::Args)]
pub(super) struct Words {
    /// The address, and how long the prefix of its network is
    #[arg(value_name = "ADDRESS/LENGTH")]
    address: String,
    /// ip-address(8)'s words
    #[arg(required = true)]
    words: Vec<String>,
}

impl Address {
    pub(super) fn run(self, client: &Client) -> Result<(), Failure> {
        let (action, Words { address, words }) = match self {
            Self::Add(words) => (EditAction::Add, words),
            Self::Del(words) => (EditAction::Del, words),
        };
        let keys = Map::from_iter([("device".to_owned(), device(&words)?.into())]);
        let request = EditRequest { action, object: EditObject::Address, name: address, keys };
        Ok(client.send("POST", "/v1/edit", &request).map(|_: Vec<ChangeView>| ())?)
    }
}

/// The device that the words name.
fn device(words: &[String]) -> Result<&str, Failure> {
    match words {
        [dev, device] if dev == "dev" => Ok(device),
        [dev] if dev == "dev" => Err(Failure::Usage("`dev` needs a value after it".into())),
        [dev, _, word, ..] if dev == "dev" => Err(Failure::Usage(format!("unknown word `{word}`"))),
        [word, ..] => {
            let hint =
                suggest(word, ["dev"].into_iter()).unwrap_or_else(|| "say which device: dev NAME".into());
            Err(Failure::Usage(format!("unknown word `{word}`: {hint}")))
        }
        [] => Err(Failure::Usage("say which device: dev NAME".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ip_addresses() {
        let said = |text: &str| {
            let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            device(&words).map(str::to_owned).map_err(|failure| failure.to_string())
        };
        assert_eq!(said("dev iv1").as_deref(), Ok("iv1"));
        for (text, why) in [
            ("", "say which device"),
            ("dev", "`dev` needs a value"),
            ("dve iv1", "did you mean `dev`?"),
            ("dev iv1 scope link", "unknown word `scope`"),
        ] {
            assert!(said(text).unwrap_err().contains(why), "{text}");
        }
    }
}
