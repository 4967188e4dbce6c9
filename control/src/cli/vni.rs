//! `rigswitch vni`: the networks of VXLAN devices that have many, in bridge(8)'s words, and shown as it does.

use std::fmt::Write as _;

use clap::Subcommand;
use serde_json::Map;

use super::{Failure, print};
use crate::api::client::Client;
use crate::config::suggest;
use crate::views::{ChangeView, EditAction, EditObject, EditRequest, VniView, VnisView};

#[derive(Subcommand)]
pub(super) enum Vni {
    /// Have a VXLAN device take packets of a network, and say where what is for stations goes that nothing is known of
    #[command(override_usage = "rigswitch vni add vni N[-M] [group IP | remote IP] dev VXLAN")]
    Add(Words),
    /// Have it take no packets of a network any more
    #[command(override_usage = "rigswitch vni del vni N[-M] dev VXLAN")]
    Del(Words),
    /// Show the networks of VXLAN devices that have many, as `bridge vni show` does
    Show(Shown),
}

#[derive(clap::Args)]
pub(super) struct Words {
    /// bridge(8)'s words
    #[arg(required = true)]
    words: Vec<String>,
}

#[derive(clap::Args)]
pub(super) struct Shown {
    /// As JSON
    #[arg(short)]
    json: bool,
    /// As JSON on many lines, with -j
    #[arg(short, requires = "json")]
    pretty: bool,
    /// With what was counted in each
    #[arg(short)]
    statistics: bool,
}

impl Vni {
    pub(super) fn run(self, client: &Client) -> Result<(), Failure> {
        let (action, Words { words }) = match self {
            Self::Add(words) => (EditAction::Add, words),
            Self::Del(words) => (EditAction::Del, words),
            Self::Show(shown) => {
                let devices = arranged(client.get("/v1/vnis")?, shown.statistics);
                let text = match (shown.json, shown.pretty) {
                    (false, _) => Ok(text(&devices)),
                    (true, false) => serde_json::to_string(&devices).map(|text| text + "\n"),
                    (true, true) => serde_json::to_string_pretty(&devices).map(|text| text + "\n"),
                };
                return print(&text.map_err(|error| Failure::Refused(error.to_string()))?);
            }
        };
        let request = parse(action, &words)?;
        Ok(client.send("POST", "/v1/edit", &request).map(|_: Vec<ChangeView>| ())?)
    }
}

/// What was said, whatever the order.
fn parse(action: EditAction, words: &[String]) -> Result<EditRequest, Failure> {
    const KNOWN: [&str; 4] = ["vni", "group", "remote", "dev"];
    let (mut name, mut keys) = (None, Map::new());
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if !KNOWN.contains(&word) {
            let hint = suggest(word, KNOWN.into_iter()).unwrap_or_else(|| KNOWN.join(", "));
            return Err(Failure::Usage(format!("unknown word `{word}`: {hint}")));
        }
        let needed = || Failure::Usage(format!("`{word}` needs a value after it"));
        let value = words.next().ok_or_else(needed)?;
        match word {
            "dev" => name = Some(value.to_owned()),
            _ => drop(keys.insert(word.into(), value.into())),
        }
    }
    let name = name.ok_or_else(|| Failure::Usage("say which device: dev VXLAN".into()))?;
    Ok(EditRequest { action, object: EditObject::Vni, name, keys })
}

/// With what was counted in each, or without and those in a row together that are alike; devices without any left out.
fn arranged(mut devices: Vec<VnisView>, statistics: bool) -> Vec<VnisView> {
    for device in devices.iter_mut().filter(|_| !statistics) {
        let mut rows: Vec<VniView> = Vec::new();
        for one in std::mem::take(&mut device.vnis) {
            match rows.last_mut() {
                Some(last)
                    if last.vni_end.unwrap_or(last.vni) + 1 == one.vni
                        && (&last.group, &last.remote) == (&one.group, &one.remote) =>
                {
                    last.vni_end = Some(one.vni);
                }
                _ => rows.push(VniView { stats: None, ..one }),
            }
        }
        device.vnis = rows;
    }
    devices.retain(|device| !device.vnis.is_empty());
    devices
}

/// What iproute2 prints (`print_vnifilter_rtm`, bridge/vni.c of 6.8).
fn text(devices: &[VnisView]) -> String {
    let mut text = format!("{:<16}  {:<17}  group/remote\n", "dev", "vni");
    for device in devices {
        for (row, of) in device.vnis.iter().enumerate() {
            let name = if row == 0 { &*device.ifname } else { "" };
            let vnis = of.vni_end.map_or(of.vni.to_string(), |end| format!("{}-{end}", of.vni));
            let end = of.group.as_deref().or(of.remote.as_deref()).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(text, "{name:<16}  {vnis:<17}  {end}");
            if let Some(of) = of.stats {
                let _ = write!(
                    text,
                    "\n{:<16}    RX: bytes {} pkts {} drops {} errors {} ",
                    "", of.rx_bytes, of.rx_pkts, of.rx_drops, of.rx_errors
                );
                let _ = write!(
                    text,
                    "\n{:<16}    TX: bytes {} pkts {} drops {} errors {} ",
                    "", of.tx_bytes, of.tx_pkts, of.tx_drops, of.tx_errors
                );
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_shown_as_iproute2_shows_them() {
        let one = |vni, remote: Option<&str>| VniView {
            vni,
            vni_end: None,
            group: None,
            remote: remote.map(str::to_owned),
            stats: Some(crate::views::VniTrafficView::default()),
        };
        let vnis = vec![one(100, None), one(101, None), one(102, Some("192.0.2.9"))];
        let devices = || vec![VnisView { ifname: "vxs".into(), vnis: vnis.clone() }];
        let plain = arranged(devices(), false);
        assert_eq!(
            serde_json::to_string(&plain).unwrap(),
            r#"[{"ifname":"vxs","vnis":[{"vni":100,"vniEnd":101},{"vni":102,"remote":"192.0.2.9"}]}]"#
        );
        assert_eq!(
            text(&plain),
            "dev               vni                group/remote\n\
             vxs               100-101            \n                  102                192.0.2.9\n"
        );
        let counted = serde_json::to_string(&arranged(devices(), true)).unwrap();
        let first = r#"{"vni":100,"stats":{"rx_bytes":0,"rx_pkts":0,"rx_drops":0,"rx_errors":0,"tx_bytes":0,"tx_pkts":0,"tx_drops":0,"tx_errors":0}}"#;
        assert!(counted.contains(first), "{counted}");
    }
}
