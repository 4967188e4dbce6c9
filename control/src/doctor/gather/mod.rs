//! Gathers the facts: of the host, of devices, of the file and of the running switch.

mod device;
mod host;
mod interrupts;
mod space;

use rigswitch_dataplane::drops::DropReason;
use rigswitch_dataplane::ports::{PortConfig, PortKind};

use super::Subject;
use super::facts::{Facts, Found, Lost, Port, Switch, Unseen};
use crate::api::client::{Client, ClientError};
use crate::config::{Config, Idle, Workers};
use crate::switch::memory;
use crate::views::{DropsView, NeighborView, PortView};
use space::Spaces;

/// What the running switch says of itself.
pub(super) struct Running {
    config: Config,
    ports: Vec<PortView>,
    lost: Vec<Lost>,
    silent: Vec<(String, String)>,
    misrouted: Vec<(String, u64)>,
}

impl Running {
    /// Asks it.
    pub(super) fn ask(client: &Client) -> Result<Self, ClientError> {
        let ports = client.get("/v1/ports")?;
        let drops: DropsView = client.get("/v1/drops")?;
        let text = client.text("/v1/config.toml")?;
        let config = Config::parse(&text, "the switch's configuration")
            .map_err(|refused| ClientError::Refused(refused.to_string()))?;
        let lost = |lost: crate::views::LostView| Lost {
            port: lost.device,
            counter: lost.counter,
            packets: lost.packets,
        };
        let neighbors: Vec<NeighborView> = client.get("/v1/neighbors")?;
        let silent = neighbors.into_iter().filter(|of| of.state.iter().any(|state| state == "FAILED"));
        let misrouted = drops.drops.iter().filter(|drop| drop.reason == DropReason::ReversePath.name());
        Ok(Self {
            config,
            ports,
            silent: silent.map(|of| (of.dev, of.dst)).collect(),
            misrouted: misrouted.map(|drop| (drop.device.clone(), drop.packets)).collect(),
            lost: drops.lost.into_iter().map(lost).collect(),
        })
    }

    /// What it has of this port, if it is the same.
    fn port(&self, port: &PortConfig) -> Option<&PortView> {
        let same = |own: &&PortConfig| own.name == port.name && own.netns == port.netns;
        let own = self.config.ports.iter().find(same)?;
        let is_same = own.kind.device() == port.kind.device();
        self.ports.iter().find(|view| is_same && view.ifname == port.name)
    }
}

/// Everything that can be known.
pub(super) fn facts(subject: Subject, running: Option<Running>, silent: Option<ClientError>) -> Facts {
    let Subject { file, socket } = subject;
    let mut unseen = Vec::new();
    if let Some(why) = silent.filter(|why| !matches!(why, ClientError::NotRunning(_))) {
        unseen.push(Unseen { what: "the running switch".into(), why: why.to_string() });
    }
    let host = host::look(&mut unseen);
    let config = file.as_ref().map(|(_, config)| config);
    let Some(config) = config.or(running.as_ref().map(|running| &running.config)) else {
        return Facts { host, unseen, ..Facts::default() };
    };
    let mut spaces = Spaces::default();
    let ports =
        config.ports.iter().map(|port| self::port(port, config, running.as_ref(), &mut spaces, &mut unseen));
    let ports: Vec<_> = ports.collect();
    let addresses = spaces.addresses();
    unseen.extend(spaces.unseen);
    let (is_running, config) = (running.is_some(), config.clone());
    let running = running.map(|of| (of.lost, of.silent, of.misrouted));
    let (lost, silent, misrouted) = running.unwrap_or_default();
    let switch = Switch {
        file: file.as_ref().map(|(path, _)| path.clone()),
        socket,
        is_running,
        cpus: match &config.switch.workers {
            Workers::Pinned(cpus) => cpus.clone(),
            Workers::Count(_) => Vec::new(),
        },
        workers: config.switch.workers.count(),
        spins: config.switch.idle == Idle::Spin,
        memory: memory::least_bytes(&config.switch),
        lost,
        silent,
        misrouted,
    };
    Facts { host, switch, ports, config, addresses, unseen }
}

fn port(
    config: &PortConfig,
    all: &Config,
    running: Option<&Running>,
    spaces: &mut Spaces,
    unseen: &mut Vec<Unseen>,
) -> Port {
    let view = running.and_then(|running| running.port(config));
    let is_member = |bridge: &&rigswitch_dataplane::bridge::BridgeConfig| {
        bridge.ports.iter().any(|port| port.device == config.name)
    };
    let bridge = all.bridges.iter().find(is_member).map(|bridge| bridge.name.clone());
    let mut port = Port {
        name: config.name.clone(),
        asked: config.kind.clone(),
        kind: config.kind.clone(),
        netns: config.netns.clone(),
        bridge,
        addresses: all
            .addresses
            .iter()
            .filter(|said| said.device == config.name)
            .map(|said| said.address.address)
            .collect(),
        mtu: config.mtu,
        // One that is gone is to be taken back as it was started.
        is_running: view.is_some_and(|view| view.operstate != "NOTPRESENT"),
        zero_copy: view.and_then(|view| view.zero_copy),
        device: Found::None,
    };
    let name = view.and_then(|view| view.device.as_deref()).or(config.kind.device());
    let Some(name) = name else { return port };
    let netns = match view {
        Some(view) if port.is_running => view.netns.as_deref(),
        _ => config.netns.as_deref(),
    };
    port.device = match spaces.enter(netns) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Found::NoNetns,
        Err(error) => {
            let what = format!("the network namespace {}", netns.unwrap_or("of this process"));
            let new = Unseen { what, why: error.to_string() };
            if !unseen.contains(&new) {
                unseen.push(new);
            }
            Found::Unseen
        }
        Ok(space) => match device::look(name, space, spaces) {
            Some(device) => Found::Here(Box::new(device)),
            None if matches!(config.kind, PortKind::Tap(_)) => Found::None,
            None => Found::Missing(spaces.elsewhere(name)),
        },
    };
    if let Ok(kind) = spaces.chosen(&config.kind, name, netns) {
        port.kind = kind;
    }
    port
}
