//! `rigswitch demo`: the switch between four hosts, with real traffic on it, for whoever sees it for the first time.
//!
//! [`rig`] makes the hosts, [`running`] starts the switch, and others in the host that tags its own frames and in the one behind a tunnel; [`traffic`] sends and measures; [`text`] words it and
//! [`screen`] shows it. Whatever happens on the way, [`tour`] ends by removing all that was made.

mod refused;
mod rig;
mod running;
mod screen;
mod text;
mod traffic;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::api::socket::default_path;
use crate::cli::run::Signals;
use crate::cli::{Failure, runtime, show};
use crate::config::Config;
use crate::lab::LabError;
use crate::views::{DropsView, FdbView, PortView};
use rig::{Rig, Role};
use running::Running;
use screen::Screen;
use traffic::{Event, Tell};

/// The file that the demo's switch runs from.
pub(crate) const CONFIG: &str = include_str!("rig.toml");

/// The file of the switch that gives the trunk host its VLAN as a device.
const TRUNK: &str = include_str!("trunk.toml");

/// The file of the switch that is the other end of the tunnel.
const TUNNEL: &str = include_str!("tunnel.toml");

/// How often the live tables are drawn.
const REDRAW: Duration = Duration::from_millis(250);

/// Gives the demo. The switch answers on `socket`, or where its file says.
pub(crate) fn run(socket: Option<PathBuf>) -> Result<(), Failure> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(tour(socket));
    // After an interruption, a probe may still wait for an answer that does not matter any more.
    runtime.shutdown_background();
    outcome
}

/// From the first host to the last line; and then everything is gone again.
async fn tour(socket: Option<PathBuf>) -> Result<(), Failure> {
    // Signals first: from here on nothing ends the process before it has cleaned up.
    let mut signals = Signals::new()?;
    let mut screen = Screen::new();
    let config = Config::parse(CONFIG, "rig.toml")?;
    let socket = socket.or_else(|| config.switch.socket.clone()).unwrap_or_else(default_path);
    let left_behind = rig::left_behind()?;
    let rig = Rig::build()?;
    if left_behind > 0 {
        screen.say(&format!("Removed {left_behind} network namespaces that a killed demo had left.\n\n"));
    }
    screen.say(&text::picture(&socket));
    let trunk = Config::parse(TRUNK, "trunk.toml")?;
    let trunk = Running::start(rig.host(Role::Trunk), trunk, beside(&socket, "h2"));
    let tunnel = Config::parse(TUNNEL, "tunnel.toml")?;
    let tunnel = Running::start(rig.host(Role::Routed), tunnel, beside(&socket, "h4"));
    let switch = Running::start(&rig.switch, config, socket);
    let mut demo = Demo { rig, switch, trunk, tunnel };
    let outcome = tokio::select! {
        outcome = demo.show(&mut screen) => outcome,
        _ = signals.next() => Err(Failure::Refused("the demo was interrupted; all that it had made is removed".into())),
    };
    screen.clear();
    let removed = demo.remove().await;
    removed.and(outcome)?;
    screen.say(&text::farewell());
    Ok(())
}

/// The socket of the switch of a host.
fn beside(socket: &Path, host: &str) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".");
    path.push(host);
    path.into()
}

/// All that the demo makes.
struct Demo {
    rig: Rig,
    switch: Running,
    trunk: Running,
    tunnel: Running,
}

impl Demo {
    /// Sends the traffic and shows what comes of it.
    async fn show(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        self.switch.ready().await?;
        self.trunk.ready().await?;
        self.tunnel.ready().await?;
        self.rig.plug_taps()?;
        self.switch.up().await?;
        self.trunk.up().await?;
        self.tunnel.up().await?;
        self.rig.route()?;
        let stations = self.rig.stations.clone();
        let pinged = self.watch(screen, move |tell| traffic::ping_all(&stations, tell)).await?;
        let offender = &self.rig.stations[0];
        refused::send(offender)?;
        let is_refused = |drops: &DropsView| refused::are_dropped(offender, drops);
        let refused = is_refused(&self.switch.poll("/v1/drops", is_refused).await?);
        if !screen.is_live {
            screen.say(&format!("{}\n", self.tables()?));
        }
        screen.say(&text::path_head());
        let working = self.watch(screen, move |tell| traffic::transfer_all(pinged, tell)).await?;
        screen.say(&text::refused_line(refused, screen.is_live));
        let drops: DropsView =
            self.switch.poll("/v1/drops", |drops: &DropsView| drops.ledger.balanced).await?;
        screen.clear();
        screen.say_cut(&format!("\n{}\n", self.tables()?));
        screen.say(&text::ledger_line(&drops.ledger));
        verdict(&working, refused, drops.ledger.balanced)
    }

    /// Has `work` done, and shows what it tells and what the switch does meanwhile.
    async fn watch<T: Send + 'static>(
        &mut self,
        screen: &mut Screen,
        work: impl FnOnce(&Tell) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (tell, mut events) = unbounded_channel();
        let work = spawn_blocking(move || work(&tell));
        let mut redraw = interval(REDRAW);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut now = String::new();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    None => break,
                    Some(Event::Now(what)) => now = what,
                    Some(Event::Done(path)) => screen.say(&text::path_line(&path, screen.is_live)),
                },
                news = self.trunk.news() => screen.say(&format!("rigswitch of h2: {}\n", news?)),
                news = self.tunnel.news() => screen.say(&format!("rigswitch of h4: {}\n", news?)),
                news = self.switch.news() => screen.say(&format!("rigswitch: {}\n", news?)),
                _ = redraw.tick(), if screen.is_live => {
                    screen.draw(format!("      {now}\n\n{}", self.tables()?));
                }
            }
        }
        work.await.map_err(|panic| Failure::Refused(format!("the traffic failed: {panic}")))
    }

    /// What `rigswitch show` prints of ports, forwarding entries and drops.
    fn tables(&self) -> Result<String, Failure> {
        let client = &self.switch.client;
        let ports: Vec<PortView> = client.get("/v1/ports")?;
        let fdb: Vec<FdbView> = client.get("/v1/fdb")?;
        let drops: DropsView = client.get("/v1/drops")?;
        Ok(format!("{}\n{}\n{}", show::ports(&ports), show::fdb(&fdb), show::drops(&drops)))
    }

    /// The switches first: they have the ends of the wires.
    async fn remove(self) -> Result<(), Failure> {
        let stopped = self.switch.stop().await.and(self.trunk.stop().await).and(self.tunnel.stop().await);
        self.rig.remove()?;
        stopped
    }
}

/// Whether everything went as it should: each path, the frames to be refused, the ledger.
fn verdict(working: &[bool], refused: bool, balanced: bool) -> Result<(), Failure> {
    let broken = working.iter().filter(|works| !**works).count();
    let why = match (broken, refused, balanced) {
        (0, true, true) => return Ok(()),
        (0, true, false) => "the ledger does not balance".into(),
        (0, false, _) => "not every frame that no bridge may forward was dropped".into(),
        (broken, ..) => format!("{broken} of {} paths do not work", working.len()),
    };
    Err(Failure::Refused(why))
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        Self::Refused(match error.is_denied() {
            true => {
                "the demo makes network namespaces and AF_XDP sockets, which takes root: run it with sudo"
                    .into()
            }
            false => error.to_string(),
        })
    }
}
