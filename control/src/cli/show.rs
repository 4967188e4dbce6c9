//! `rigswitch show`: the views of a running switch, as tables or as JSON.

mod tunnels;
mod vlans;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Args, CommandFactory, ValueEnum};
use rigswitch_dataplane::drops::DropReason;
use serde::Serialize;

use super::table::{Table, colour};
use super::{Failure, print};
use crate::api::client::Client;
use crate::config::suggest;
use crate::explain::reason;
use crate::views::{
    AddressesView, BridgeView, DropsView, FdbView, LedgerView, MdbState, MdbView, NeighborView, PortView,
    PortVlansView, RouteView, WorkerView,
};

#[derive(Args)]
pub(super) struct Show {
    /// What to show
    #[arg(required_unless_present = "help")]
    what: Option<What>,
    /// Print help; with `drops`, what REASON means and what to do about it
    #[arg(short, long, num_args = 0..=1, value_name = "REASON")]
    help: Option<Option<String>>,
    /// As JSON
    #[arg(short)]
    json: bool,
    /// As JSON on many lines, with -j
    #[arg(short, requires = "json")]
    pretty: bool,
    /// With the times of each entry of the fdb or mdb, in seconds, or the traffic of each VLAN that is counted, as JSON
    #[arg(short, requires = "json")]
    statistics: bool,
    /// VLANs in a row that are alike together, as JSON
    #[arg(short, requires = "json")]
    compressvlans: bool,
    /// Again every second
    #[arg(long)]
    watch: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Ports and their traffic
    Ports,
    /// Bridges and their spanning trees
    Bridges,
    /// Who is where
    Fdb,
    /// Which VLANs ports and bridges are in, and their traffic where it is counted
    Vlans,
    /// Who has which IP address, as the switch was told or has found out
    Neighbors,
    /// The addresses of routed devices
    Addresses,
    /// Where packets go
    Routes,
    /// Tunnels, and the ways to their far ends
    Tunnels,
    /// Who is in which multicast group, and where routers are
    Mdb,
    /// What was dropped and why, and whether every frame is accounted for
    Drops,
    /// The threads that move frames
    Workers,
    /// The configuration in force, as a file
    Config,
}

impl Show {
    pub(super) fn run(&self, client: &Client) -> Result<(), Failure> {
        const AGAIN: Duration = Duration::from_secs(1);
        const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";
        if let Some(about) = &self.help {
            return print(&self.say_more(about.as_deref())?);
        }
        if !self.watch {
            return print(&self.text(client)?);
        }
        loop {
            let text = self.text(client)?;
            print(&if io::stdout().is_terminal() { format!("{CLEAR}{text}") } else { text })?;
            std::thread::sleep(AGAIN);
        }
    }

    /// Needs no running switch.
    fn say_more(&self, about: Option<&str>) -> Result<String, Failure> {
        let Some(name) = about else {
            let mut cli = super::Cli::command();
            cli.build();
            let show = cli.find_subcommand_mut("show").map(|show| show.render_long_help().to_string());
            return Ok(show.unwrap_or_default());
        };
        if !matches!(self.what, Some(What::Drops)) {
            return Err(Failure::Usage(format!("`{name}`: only a reason of `show drops` can be explained")));
        }
        if let Some(found) = DropReason::ALL.iter().find(|reason| reason.name() == name) {
            return Ok(reason(*found));
        }
        let names = || DropReason::ALL.iter().map(|reason| reason.name());
        let hint = suggest(name, names()).unwrap_or_else(|| names().collect::<Vec<_>>().join(", "));
        Err(Failure::Refused(format!("there is no reason `{name}`: {hint}")))
    }

    fn text(&self, client: &Client) -> Result<String, Failure> {
        let Some(what) = self.what else { return Ok(String::new()) };
        match what {
            What::Ports => self.render(&client.get("/v1/ports")?, ports),
            What::Bridges => self.render(&client.get("/v1/bridges")?, bridges),
            What::Fdb => {
                let mut entries: Vec<FdbView> = client.get("/v1/fdb")?;
                if self.json && !self.statistics {
                    entries.iter_mut().for_each(|entry| (entry.used, entry.updated) = (None, None));
                }
                self.render(&entries, |entries| fdb(entries))
            }
            What::Vlans => {
                let ports: Vec<PortVlansView> = client.get("/v1/vlans")?;
                let json = vlans::json(&ports, self.statistics, self.compressvlans);
                self.render(&json, |_| vlans::table(&ports))
            }
            What::Neighbors => self.render(&client.get("/v1/neighbors")?, neighbors),
            What::Addresses => self.render(&client.get("/v1/addresses")?, addresses),
            What::Routes => self.render(&client.get("/v1/routes")?, routes),
            What::Tunnels => self.render(&client.get("/v1/tunnels")?, tunnels::table),
            What::Mdb => {
                let mut views: Vec<MdbView> = client.get("/v1/mdb")?;
                if self.json && !self.statistics {
                    views.iter_mut().flat_map(|view| &mut view.mdb).for_each(|entry| entry.timer = None);
                }
                self.render(&views, |views| mdb(views))
            }
            What::Drops => self.render(&client.get("/v1/drops")?, drops),
            What::Workers => self.render(&client.get("/v1/workers")?, workers),
            What::Config if self.pretty => {
                self.render::<serde_json::Value>(&client.get("/v1/config")?, |_| String::new())
            }
            What::Config if self.json => Ok(client.text("/v1/config")? + "\n"),
            What::Config => Ok(client.text("/v1/config.toml")?),
        }
    }

    fn render<T: Serialize>(&self, view: &T, table: impl FnOnce(&T) -> String) -> Result<String, Failure> {
        let json = match (self.json, self.pretty) {
            (false, _) => return Ok(table(view)),
            (true, false) => serde_json::to_string(view),
            (true, true) => serde_json::to_string_pretty(view),
        };
        json.map(|text| text + "\n").map_err(|error| Failure::Refused(error.to_string()))
    }
}

/// The table of `show ports`.
pub(crate) fn ports(ports: &Vec<PortView>) -> String {
    let mut table = Table::new(&[
        "PORT",
        "KIND",
        "STATE",
        ">MTU",
        "ADDRESS",
        ">RX PACKETS",
        ">RX BYTES",
        ">RX DROPPED",
        ">TX PACKETS",
        ">TX BYTES",
        ">TX DROPPED",
    ]);
    for port in ports {
        table.row([
            port.ifname.clone(),
            kind(port),
            words([Some(&port.operstate), port.state.as_ref()]),
            port.mtu.to_string(),
            port.address.clone(),
            port.rx.packets.to_string(),
            port.rx.bytes.to_string(),
            port.rx.dropped.to_string(),
            port.tx.packets.to_string(),
            port.tx.bytes.to_string(),
            port.tx.dropped.to_string(),
        ]);
    }
    table.text(colour())
}

/// Of what kind a port is, and what is particular about that: `xdp mine zero-copy`.
fn kind(port: &PortView) -> String {
    let zero_copy = port.zero_copy.filter(|is_so| *is_so).map(|_| "zero-copy".to_owned());
    words([Some(&words([Some(&port.kind), port.take.as_ref()])), zero_copy.as_ref()])
}

/// Those that there are, in a row.
fn words(words: [Option<&String>; 2]) -> String {
    words.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ")
}

/// The table of `show bridges`.
fn bridges(bridges: &Vec<BridgeView>) -> String {
    let mut table =
        Table::new(&["BRIDGE", "ADDRESS", ">HOST MTU", "STP", "ID", "ROOT", "ROOT PORT", ">ROOT PATH COST"]);
    for bridge in bridges {
        table.row([
            bridge.ifname.clone(),
            bridge.address.clone().unwrap_or_default(),
            bridge.mtu.map(|mtu| mtu.to_string()).unwrap_or_default(),
            if bridge.stp_state { "on" } else { "off" }.into(),
            bridge.bridge_id.clone().unwrap_or_default(),
            bridge.root_id.clone().unwrap_or_default(),
            bridge.root_port.clone().unwrap_or_default(),
            bridge.root_path_cost.map(|cost| cost.to_string()).unwrap_or_default(),
        ]);
    }
    table.text(colour())
}

/// The tables of `show fdb`: what bridges know, and what VXLAN devices do.
pub(crate) fn fdb(entries: &[FdbView]) -> String {
    let (far_ends, entries): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.dst.is_some());
    match (&far_ends[..], &entries[..]) {
        ([], _) => stations(&entries),
        (_, []) => self::far_ends(&far_ends),
        _ => stations(&entries) + "\n" + &self::far_ends(&far_ends),
    }
}

/// What VXLAN devices know.
fn far_ends(entries: &[&FdbView]) -> String {
    let mut table = Table::new(&["MAC", "TUNNEL", "FAR END", ">PORT", ">VNI", "STATE", ">AGE"]);
    for entry in entries {
        let age = entry.updated.filter(|_| entry.state.is_empty()).map(|seconds| format!("{seconds}s"));
        table.row([
            entry.mac.clone(),
            entry
                .src_vni
                .map_or_else(|| entry.ifname.clone(), |vni| format!("{} src_vni {vni}", entry.ifname)),
            [entry.dst.as_deref(), entry.via.as_ref().map(|_| "via"), entry.via.as_deref()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
            entry.port.map(|port| port.to_string()).unwrap_or_default(),
            entry.vni.map(|vni| vni.to_string()).unwrap_or_default(),
            entry.state.clone(),
            age.unwrap_or_default(),
        ]);
    }
    table.text(colour())
}

/// What bridges know.
fn stations(entries: &[&FdbView]) -> String {
    let has_vlans = entries.iter().any(|entry| entry.vlan.is_some());
    let mut table = Table::new(&["MAC", "PORT", "BRIDGE", "STATE", ">AGE"]);
    let mut by_vlan = Table::new(&["MAC", "PORT", "BRIDGE", ">VLAN", "STATE", ">AGE"]);
    let word = |entry: &FdbView| {
        let state = Some(entry.state.clone()).filter(|state| !state.is_empty());
        state.into_iter().chain(entry.flags.iter().cloned()).collect::<Vec<_>>().join(" ")
    };
    for entry in entries {
        let age = entry.updated.filter(|_| entry.state.is_empty()).map(|seconds| format!("{seconds}s"));
        let (port, bridge) = (entry.ifname.clone(), entry.master.clone().unwrap_or_default());
        let (mac, word, age) = (entry.mac.clone(), word(entry), age.unwrap_or_default());
        if has_vlans {
            let vlan = entry.vlan.map(|vlan| vlan.to_string()).unwrap_or_default();
            by_vlan.row([mac, port, bridge, vlan, word, age]);
        } else {
            table.row([mac, port, bridge, word, age]);
        }
    }
    if has_vlans { by_vlan.text(colour()) } else { table.text(colour()) }
}

/// The table of `show neighbors`.
fn neighbors(neighbors: &Vec<NeighborView>) -> String {
    let mut table = Table::new(&["ADDRESS", "DEVICE", ">VLAN", "MAC", "STATE"]);
    for neighbor in neighbors {
        let (address, device) = (neighbor.dst.clone(), neighbor.dev.clone());
        let vlan = neighbor.vlan.map(|vid| vid.to_string()).unwrap_or_default();
        let mac = neighbor.lladdr.clone().unwrap_or_default();
        table.row([address, device, vlan, mac, neighbor.state.join(" ")]);
    }
    table.text(colour())
}

/// The table of `show addresses`.
fn addresses(devices: &Vec<AddressesView>) -> String {
    let mut table = Table::new(&["ADDRESS", "DEVICE", "SCOPE", "STATE"]);
    for device in devices {
        for address in &device.addr_info {
            let words = [(address.tentative, "tentative"), (address.dadfailed, "dadfailed")];
            let state =
                words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(" ");
            let network = format!("{}/{}", address.local, address.prefixlen);
            table.row([network, device.ifname.clone(), address.scope.clone(), state]);
        }
    }
    table.text(colour())
}

/// The table of `show routes`.
fn routes(routes: &Vec<RouteView>) -> String {
    let mut table = Table::new(&["NETWORK", "VIA", "DEVICE", "FROM", "FLAGS"]);
    for route in routes {
        let way = route.kind.clone().or(route.gateway.clone()).unwrap_or_default();
        let dev = route.dev.clone().unwrap_or_default();
        let metric = route.metric.map(|metric| format!("metric {metric}"));
        let flags = metric.into_iter().chain(route.flags.iter().cloned()).collect::<Vec<_>>().join(" ");
        table.row([route.dst.clone(), way, dev, route.protocol.clone(), flags]);
        for hop in &route.nexthops {
            let flags = [vec![format!("weight {}", hop.weight)], hop.flags.clone()].concat().join(" ");
            table.row([
                String::new(),
                hop.gateway.clone().unwrap_or_default(),
                hop.dev.clone(),
                String::new(),
                flags,
            ]);
        }
    }
    table.text(colour())
}

/// The tables of `show mdb`.
fn mdb(views: &[MdbView]) -> String {
    let mut groups = Table::new(&["BRIDGE", "GROUP", "PORT", ">VLAN", "STATE", ">LEFT"]);
    let mut routers = Table::new(&["BRIDGE", "ROUTER"]);
    for entry in views.iter().flat_map(|view| &view.mdb) {
        let (state, left) = match entry.state {
            MdbState::Permanent => ("permanent", String::new()),
            MdbState::Temp => ("temp", entry.timer.as_deref().unwrap_or_default().trim().to_owned() + "s"),
        };
        let vlan = entry.vid.map(|vid| vid.to_string()).unwrap_or_default();
        groups.row([entry.dev.clone(), entry.grp.clone(), entry.port.clone(), vlan, state.into(), left]);
    }
    for (bridge, ports) in views.iter().flat_map(|view| &view.router) {
        ports.iter().for_each(|router| routers.row([bridge.clone(), router.port.clone()]));
    }
    groups.text(colour()) + "\n" + &routers.text(colour())
}

/// The tables of `show drops`.
pub(crate) fn drops(drops: &DropsView) -> String {
    let mut table = Table::new(&["PORT", "DIR", "REASON", ">PACKETS", ">BYTES", "MEANING"]);
    for drop in &drops.drops {
        let (packets, bytes) = (drop.packets.to_string(), drop.bytes.to_string());
        let (device, direction) = (drop.device.clone(), drop.direction.clone());
        table.row([device, direction, drop.reason.clone(), packets, bytes, drop.meaning.clone()]);
    }
    let mut text = table.text(colour());
    if !drops.lost.is_empty() {
        let mut table = Table::new(&["PORT", "LOST BEFORE THE SWITCH", ">PACKETS"]);
        for lost in &drops.lost {
            table.row([lost.device.clone(), lost.counter.clone(), lost.packets.to_string()]);
        }
        text += &format!("\n{}", table.text(colour()));
    }
    text + "\n" + &ledger(&drops.ledger)
}

fn ledger(ledger: &LedgerView) -> String {
    let LedgerView { received, originated, consumed, frames_dropped, forwarded, .. } = ledger;
    let LedgerView { copies, sent, surfaced, copies_dropped, held, frames_missing, copies_missing, .. } =
        ledger;
    let verdict = match ledger.balanced {
        true => "every frame and every copy is accounted for".to_owned(),
        false => format!(
            "missing: {frames_missing} frames, {copies_missing} copies (a burst or so while frames move)"
        ),
    };
    format!(
        "frames: {received} received + {originated} originated = {consumed} consumed + {frames_dropped} dropped \
         + {forwarded} forwarded\ncopies: {copies} made = {sent} sent + {surfaced} surfaced + {copies_dropped} dropped + {held} held\n\
         {verdict}\n"
    )
}

fn workers(workers: &Vec<WorkerView>) -> String {
    let mut table = Table::new(&[
        ">WORKER",
        ">CPU",
        ">BUSY",
        ">CPU TIME",
        ">SLEEPS",
        ">PANICS",
        ">FRAMES",
        ">LEARNED",
        "PORTS",
    ]);
    for worker in workers {
        table.row([
            worker.worker.to_string(),
            worker.cpu.map_or("any".into(), |cpu| cpu.to_string()),
            format!("{:.1}%", worker.busy_ratio * 100.0),
            format!("{:.2}s", Duration::from_nanos(worker.cpu_ns).as_secs_f64()),
            worker.sleeps.to_string(),
            worker.panics.to_string(),
            worker.frames.to_string(),
            worker.learned.to_string(),
            worker.ports.join(" "),
        ]);
    }
    table.text(colour())
}
