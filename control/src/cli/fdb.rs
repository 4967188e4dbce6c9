//! `rigswitch fdb`: bridge(8)'s words for changing the forwarding database.

use clap::Subcommand;

use rigswitch_dataplane::ids::{MacAddr, NotAMac, VlanId, Vni};

use super::{Failure, print, show};
use crate::api::client::Client;
use crate::config::suggest;
use crate::views::{FdbChange, FdbFlush, FdbHow, FdbRemoval, FdbStateWord, FdbView, FlushedView};

#[derive(Subcommand)]
pub(super) enum Fdb {
    /// Add an entry where there is none
    #[command(
        override_usage = "rigswitch fdb add MAC dev PORT [master] [vlan N] [permanent|static|dynamic] [sticky|extern_learn|use]\n       \
                          rigswitch fdb add MAC dev VXLAN dst IP [port N] [vni N] [src_vni N] [via DEV] [self] [router] [permanent|static|dynamic]"
    )]
    Add(Words),
    /// Add an entry beside others of its address
    #[command(
        override_usage = "rigswitch fdb append MAC dev PORT [master] [vlan N] [permanent|static|dynamic] [sticky]\n       \
                          rigswitch fdb append MAC dev VXLAN dst IP [port N] [vni N] [src_vni N] [via DEV] [self] [router] [permanent|static]"
    )]
    Append(Words),
    /// Put an entry in place of whatever is there
    #[command(
        override_usage = "rigswitch fdb replace MAC dev PORT [master] [vlan N] [permanent|static|dynamic] [sticky|extern_learn|use]\n       \
                          rigswitch fdb replace MAC dev VXLAN dst IP [port N] [vni N] [src_vni N] [via DEV] [self] [router] [permanent|static|dynamic]"
    )]
    Replace(Words),
    /// Take an entry away
    #[command(
        override_usage = "rigswitch fdb del MAC dev PORT [master] [vlan N]\n       rigswitch fdb del MAC dev VXLAN [dst IP] [port N] [vni N] [src_vni N] [via DEV] [self]"
    )]
    Del(Words),
    /// Show the entry of an address
    #[command(override_usage = "rigswitch fdb get MAC [br BRIDGE] [brport PORT] [vlan N] [-j]")]
    Get {
        #[command(flatten)]
        words: Words,
        /// As JSON
        #[arg(short)]
        json: bool,
    },
    /// Take many entries away
    #[command(
        override_usage = "rigswitch fdb flush dev BRIDGE [brport PORT] [vlan N] [[no]permanent] [[no]static] [[no]dynamic] \
                          [[no]extern_learn] [[no]sticky] [[no]locked]\n       \
                          rigswitch fdb flush dev VXLAN [dst IP] [vni N] [[no]permanent] [[no]static] [[no]dynamic]"
    )]
    Flush(Words),
}

#[derive(clap::Args)]
pub(super) struct Words {
    /// bridge(8)'s words
    #[arg(required = true)]
    words: Vec<String>,
}

impl Fdb {
    pub(super) fn run(self, client: &Client) -> Result<(), Failure> {
        match self {
            Self::Add(Words { words }) => change(client, FdbHow::Add, &words),
            Self::Append(Words { words }) => change(client, FdbHow::Append, &words),
            Self::Replace(Words { words }) => change(client, FdbHow::Replace, &words),
            Self::Del(Words { words }) => {
                let said = Said::parse(
                    &words,
                    true,
                    &["dev", "master", "self", "vlan", "dst", "port", "vni", "src_vni", "via"],
                )?;
                let master = said.flags.contains(&"master");
                let Said { mac, dev: ifname, vlan, dst, port, vni, src_vni, via, .. } = said;
                let removal = FdbRemoval { mac, ifname, vlan, master, dst, port, vni, src_vni, via };
                Ok(client.send("DELETE", "/v1/fdb", &removal).map(|_: serde_json::Value| ())?)
            }
            Self::Get { words: Words { words }, json } => get(client, &words, json),
            Self::Flush(Words { words }) => {
                let flushed: FlushedView = client.send("POST", "/v1/fdb/flush", &parse_flush(&words)?)?;
                print(&format!("{} entries flushed\n", flushed.flushed))
            }
        }
    }
}

fn change(client: &Client, how: FdbHow, words: &[String]) -> Result<(), Failure> {
    const STATES: [&str; 4] = ["permanent", "local", "static", "dynamic"];
    let words_of_all = [
        "dev",
        "master",
        "self",
        "vlan",
        "dst",
        "port",
        "vni",
        "src_vni",
        "via",
        "sticky",
        "extern_learn",
        "use",
        "router",
    ];
    let known = [&words_of_all[..], &STATES].concat();
    let said = Said::parse(words, true, &known)?;
    let state = match said.flags.iter().rev().find(|flag| STATES.contains(flag)) {
        Some(&"static") => FdbStateWord::Static,
        Some(&"dynamic") => FdbStateWord::Dynamic,
        _ => FdbStateWord::Permanent,
    };
    let is = |flag| said.flags.contains(&flag);
    let (sticky, extern_learn, is_use) = (is("sticky"), is("extern_learn"), is("use"));
    let (master, router) = (is("master"), is("router"));
    let Said { mac, dev: ifname, vlan, dst, port, vni, src_vni, via, .. } = said;
    let change = FdbChange {
        state,
        sticky,
        extern_learn,
        is_use,
        how,
        mac,
        ifname,
        vlan,
        master,
        dst,
        port,
        vni,
        src_vni,
        via,
        router,
    };
    Ok(client.send("POST", "/v1/fdb", &change).map(|_: serde_json::Value| ())?)
}

/// The entry of an address in a bridge, or behind a port.
fn get(client: &Client, words: &[String], json: bool) -> Result<(), Failure> {
    let said = Said::parse(words, true, &["br", "brport", "dev", "master", "vlan"])?;
    let mac: MacAddr = said.mac.parse().map_err(|error: NotAMac| Failure::Usage(error.to_string()))?;
    let mut entries: Vec<FdbView> = client.get("/v1/fdb")?;
    let is_there = |entry: &FdbView| {
        (said.dev.is_empty() || Some(&said.dev) == entry.master.as_ref() || said.dev == entry.ifname)
            && said.brport.as_ref().is_none_or(|port| *port == entry.ifname)
            && said.vlan.is_none_or(|vlan| entry.vlan == Some(vlan))
    };
    entries.retain(|entry| entry.mac == mac.to_string() && is_there(entry));
    if entries.is_empty() {
        let place = said.brport.as_deref().unwrap_or(&said.dev);
        return Err(Failure::Refused(format!(
            "there is no entry of {mac} in {place}: `rigswitch show fdb` lists those there are"
        )));
    }
    entries.iter_mut().for_each(|entry| (entry.used, entry.updated) = (None, None));
    match serde_json::to_string(&entries) {
        Ok(text) if json => print(&(text + "\n")),
        Ok(_) => print(&show::fdb(&entries)),
        Err(error) => Err(Failure::Refused(error.to_string())),
    }
}

fn parse_flush(words: &[String]) -> Result<FdbFlush, Failure> {
    let known = [
        "dev",
        "brport",
        "vlan",
        "master",
        "permanent",
        "nopermanent",
        "static",
        "nostatic",
        "dynamic",
        "nodynamic",
        "extern_learn",
        "noextern_learn",
        "sticky",
        "nosticky",
        "locked",
        "nolocked",
        "self",
        "dst",
        "vni",
        "src_vni",
    ];
    let said = Said::parse(words, false, &known)?;
    let asked = |yes: &str, no: &str| {
        let last = said.flags.iter().rev().find(|flag| **flag == yes || **flag == no);
        last.map(|flag| *flag == yes)
    };
    Ok(FdbFlush {
        permanent: asked("permanent", "nopermanent"),
        fixed: asked("static", "nostatic"),
        dynamic: asked("dynamic", "nodynamic"),
        extern_learn: asked("extern_learn", "noextern_learn"),
        sticky: asked("sticky", "nosticky"),
        locked: asked("locked", "nolocked"),
        master: said.flags.contains(&"master"),
        dev: said.dev,
        brport: said.brport,
        vlan: said.vlan,
        dst: said.dst,
        vni: said.vni,
        src_vni: said.src_vni,
    })
}

/// Words of bridge(8) that stand for what this version does not have.
const LATER: [&str; 1] = ["nhid"];

/// What was said, whatever the order.
struct Said<'w> {
    mac: String,
    dev: String,
    brport: Option<String>,
    vlan: Option<u16>,
    dst: Option<String>,
    port: Option<u16>,
    vni: Option<u32>,
    src_vni: Option<u32>,
    via: Option<String>,
    flags: Vec<&'w str>,
}

impl<'w> Said<'w> {
    fn parse(words: &'w [String], with_mac: bool, known: &[&str]) -> Result<Self, Failure> {
        let usage = |text: String| Failure::Usage(text);
        let mut words = words.iter().map(String::as_str);
        let mac = if with_mac { words.next().unwrap_or_default().to_owned() } else { String::new() };
        let (mut dev, mut brport, mut vlan, mut flags) = (None, None, None, Vec::new());
        let (mut dst, mut port, mut vni, mut src_vni, mut via) = (None, None, None, None, None);
        while let Some(word) = words.next() {
            if LATER.contains(&word) {
                return Err(Failure::Refused(format!("`{word}`: this version does not have it yet")));
            }
            if !known.contains(&word) {
                let hint = suggest(word, known.iter().copied()).unwrap_or_else(|| known.join(", "));
                return Err(usage(format!("unknown word `{word}`: {hint}")));
            }
            let target = match word {
                "dev" | "br" => &mut dev,
                "brport" => &mut brport,
                "vlan" => &mut vlan,
                "dst" => &mut dst,
                "port" => &mut port,
                "vni" => &mut vni,
                "src_vni" => &mut src_vni,
                "via" => &mut via,
                flag => {
                    flags.push(flag);
                    continue;
                }
            };
            let value = words.next().ok_or_else(|| usage(format!("`{word}` needs a value after it")))?;
            *target = Some(value.to_owned());
        }
        let number = |text: String| {
            let vid = text.parse().ok().and_then(VlanId::new).map(VlanId::number);
            vid.ok_or_else(|| usage(format!("`{text}` is no VLAN: give a number from 1 to {}", VlanId::MAX)))
        };
        let vlan = vlan.map(number).transpose()?;
        let no_port = |text: String| {
            let port = text.parse().ok().filter(|port| *port > 0);
            port.ok_or_else(|| usage(format!("`{text}` is no UDP port: give a number from 1 to 65535")))
        };
        let port = port.map(no_port).transpose()?;
        let no_network = |text: String| {
            let vni = text.parse().ok().and_then(Vni::new).map(Vni::number);
            vni.ok_or_else(|| usage(format!("`{text}` is no network: give a number from 0 to {}", Vni::MAX)))
        };
        let vni = vni.map(no_network).transpose()?;
        let src_vni = src_vni.map(no_network).transpose()?;
        let dev = dev.or_else(|| brport.as_ref().map(|_| String::new()).filter(|_| with_mac));
        let dev = dev.ok_or_else(|| usage("say which device: dev NAME".into()))?;
        Ok(Self { mac, dev, brport, vlan, dst, port, vni, src_vni, via, flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn words_are_bridge_8s() {
        let text = words("02:00:00:00:00:01 dev p0 master static");
        let said = Said::parse(&text, true, &["dev", "master", "static"]).unwrap();
        assert_eq!(
            (&*said.mac, &*said.dev, said.flags),
            ("02:00:00:00:00:01", "p0", vec!["master", "static"])
        );
        let flush = parse_flush(&words("dev br0 brport p0 nopermanent static")).unwrap();
        assert_eq!((flush.dev.as_str(), flush.brport.as_deref()), ("br0", Some("p0")));
        assert_eq!((flush.permanent, flush.fixed, flush.dynamic), (Some(false), Some(true), None));
    }

    #[test]
    fn words_that_mean_nothing_are_usage_and_those_of_later_versions_are_refused() {
        let failure =
            |text| Said::parse(&words(text), true, &["dev", "static", "vlan"]).err().unwrap().to_string();
        assert!(failure("02:0:0:0:0:1 dev p0 sttaic").contains("did you mean `static`?"));
        assert!(failure("02:0:0:0:0:1 dev").contains("needs a value"));
        assert!(failure("02:0:0:0:0:1 static").contains("say which device"));
        assert!(failure("02:0:0:0:0:1 dev p0 static vlan 4095").contains("`4095` is no VLAN"));
        assert_eq!(
            failure("02:0:0:0:0:1 dev p0 nhid 10"),
            "rigswitch: `nhid`: this version does not have it yet"
        );
    }
}
