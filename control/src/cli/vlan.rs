//! `rigswitch vlan`: VLANs as devices, by name and in the words of the file; and in bridge(8)'s words the VLANs that a port is in,
//! or a bridge itself. What starts with one of bridge(8)'s words is about the latter.

use clap::Subcommand;
use serde_json::{Map, Value};

use super::{Failure, edit, print};
use crate::api::client::Client;
use crate::config::suggest;
use crate::views::{ChangeView, EditAction, EditObject, EditRequest, PortTunnelsView};

#[derive(Subcommand)]
pub(super) enum Vlan {
    /// Put a port into VLANs, or a bridge itself; or make a VLAN of a device a device
    #[command(
        override_usage = "rigswitch vlan add dev PORT vid N[-M] [pvid] [untagged] [tunnel_info id N[-M]] [self]\n       rigswitch vlan add NAME link DEV id N [KEY VALUE]..."
    )]
    Add(Words),
    /// Give a VLAN that is a device other keys
    #[command(override_usage = "rigswitch vlan set NAME [KEY VALUE]...")]
    Set(Words),
    /// Take a port out of VLANs; or a VLAN that is a device away, and what depends on it
    #[command(
        override_usage = "rigswitch vlan del dev PORT vid N[-M] [tunnel_info id N[-M]] [self]\n       rigswitch vlan del NAME"
    )]
    Del(Words),
    /// Show which networks VLANs are, as `bridge vlan tunnelshow` does
    Tunnelshow(Shown),
}

#[derive(clap::Args)]
pub(super) struct Shown {
    /// As JSON
    #[arg(short)]
    json: bool,
    /// As JSON on many lines, with -j
    #[arg(short, requires = "json")]
    pretty: bool,
}

#[derive(clap::Args)]
pub(super) struct Words {
    /// bridge(8)'s words; or a name, and for `add` and `set` keys of its `[[vlan]]` in the file, each with a value: `link eth0`,
    /// `id 10`, `protocol 802.1ad`, `master BRIDGE`, `default` to take a key out
    #[arg(required = true)]
    words: Vec<String>,
}

impl Vlan {
    pub(super) fn run(self, client: &Client) -> Result<(), Failure> {
        let (action, Words { words }) = match self {
            Self::Add(words) => (EditAction::Add, words),
            Self::Set(words) => (EditAction::Set, words),
            Self::Del(words) => (EditAction::Del, words),
            Self::Tunnelshow(shown) => {
                let ports: Vec<PortTunnelsView> = client.get("/v1/vlans/tunnels")?;
                let text = match (shown.json, shown.pretty) {
                    (false, _) => Ok(tunnels(&ports)),
                    (true, false) => serde_json::to_string(&ports).map(|text| text + "\n"),
                    (true, true) => serde_json::to_string_pretty(&ports).map(|text| text + "\n"),
                };
                return print(&text.map_err(|error| Failure::Refused(error.to_string()))?);
            }
        };
        let request = parse(action, &words)?;
        Ok(client.send("POST", "/v1/edit", &request).map(|_: Vec<ChangeView>| ())?)
    }
}

/// What iproute2 prints (`print_vlan_tunnel_info`, bridge/vlan.c).
fn tunnels(ports: &[PortTunnelsView]) -> String {
    let mut text = format!("{:<16}  {:<9}  tunnel-id\n", "port", "vlan-id");
    let range =
        |first: u32, last: Option<u32>| last.map_or(first.to_string(), |last| format!("{first}-{last}"));
    for port in ports {
        for (row, of) in port.tunnels.iter().enumerate() {
            let name = if row == 0 { &*port.ifname } else { "" };
            let (vlans, networks) = (range(of.vlan, of.vlan_end), range(of.tunid, of.tunid_end));
            text += &format!("{name:<16}  {vlans:<9}  {networks}\n");
        }
    }
    text
}

const KNOWN: [&str; 7] = ["dev", "vid", "pvid", "untagged", "tunnel_info", "self", "master"];

/// Words of bridge(8) that stand for what this version does not have.
const LATER: [&str; 4] = ["state", "mcast_router", "mcast_max_groups", "neigh_suppress"];

/// What was said of a device, or else of memberships.
fn parse(action: EditAction, words: &[String]) -> Result<EditRequest, Failure> {
    match words {
        [name, keys @ ..] if !KNOWN.iter().chain(&LATER).any(|word| word == name) => {
            let (object, keys) = (EditObject::Vlan, edit::keys(keys)?);
            Ok(EditRequest { action, object, name: name.clone(), keys })
        }
        _ if action == EditAction::Set => Err(Failure::Usage(
            "memberships are added and taken away: `vlan add` and `vlan del`; `vlan set NAME` is for a VLAN that is a device"
                .into(),
        )),
        words => parse_membership(action, words),
    }
}

/// What was said of memberships, whatever the order.
fn parse_membership(action: EditAction, words: &[String]) -> Result<EditRequest, Failure> {
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
            "tunnel_info" => {
                let needed = || Failure::Usage("`tunnel_info` needs `id` and a network after it".into());
                let network = words.next().filter(|word| *word == "id").and_then(|_| words.next());
                keys.insert("tunnel_info".into(), network.ok_or_else(needed)?.into());
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

    #[test]
    fn networks_of_vlans_are_shown_as_iproute2_shows_them() {
        let row = |vlan, more: Option<u32>, tunid| crate::views::VlanTunnelView {
            vlan,
            vlan_end: more.map(|more| vlan + more),
            tunid,
            tunid_end: more.map(|more| tunid + more),
        };
        let tunnels_of = vec![row(2, None, 2), row(1010, Some(10), 1010), row(1030, None, 65556)];
        let ports = [PortTunnelsView { ifname: "vx2".into(), tunnels: tunnels_of }];
        assert_eq!(
            tunnels(&ports),
            "port              vlan-id    tunnel-id\nvx2               2          2\n                  \
             1010-1020  1010-1020\n                  1030       65556\n"
        );
        assert_eq!(
            serde_json::to_string(&ports).unwrap(),
            r#"[{"ifname":"vx2","tunnels":[{"vlan":2,"tunid":2},{"vlan":1010,"vlanEnd":1020,"tunid":1010,"tunidEnd":1020},{"vlan":1030,"tunid":65556}]}]"#
        );
    }

    fn said(text: &str) -> Result<EditRequest, String> {
        said_to(EditAction::Add, text)
    }

    fn said_to(action: EditAction, text: &str) -> Result<EditRequest, String> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        parse(action, &words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_starts_with_a_name_is_about_a_device() {
        use EditAction::{Add, Del, Set};
        for (action, text, keys) in [
            (Add, "eth0.10 link eth0 id 10 host on", json!({ "link": "eth0", "id": 10, "host": true })),
            (
                Add,
                "v7 link dev id 7 protocol 802.1ad",
                json!({ "link": "dev", "id": 7, "protocol": "802.1ad" }),
            ),
            (Set, "eth0.10 id 20 mtu default", json!({ "id": 20, "mtu": null })),
            (Del, "eth0.10", json!({})),
        ] {
            let request = said_to(action, text).unwrap();
            assert_eq!((request.object, request.action), (EditObject::Vlan, action));
            assert_eq!(request.name, text.split(' ').next().unwrap());
            assert_eq!(Value::Object(request.keys), keys);
        }
        assert!(said_to(Set, "dev p1 vid 10").unwrap_err().contains("`vlan set NAME` is for a VLAN that is"));
        assert!(said_to(Add, "eth0.10 link").unwrap_err().contains("`link` needs a value"));
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
        let request = said("dev vx0 vid 10-11 tunnel_info id 100-101").unwrap();
        assert_eq!(Value::Object(request.keys), json!({ "vid": "10-11", "tunnel_info": "100-101" }));
        for (text, rule) in [
            ("vid 10", "say which port"),
            ("dev p1", "say which VLAN"),
            ("dev p1 vid", "`vid` needs a value"),
            ("dev p1 vid 10 untaged", "did you mean `untagged`?"),
            ("dev p1 vid 10 tunnel_info 5", "needs `id` and a network"),
            ("dev p1 vid 10 state forwarding", "this version does not have it yet"),
        ] {
            let failure = said(text).unwrap_err();
            assert!(failure.contains(rule), "{failure}");
        }
    }
}
