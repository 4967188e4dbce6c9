//! The command line: its words, its exit codes, and one clear line when something is refused.

mod address;
mod bench;
mod capture;
mod change;
mod doctor;
mod edit;
mod explain;
mod fdb;
mod mdb;
mod neighbor;
mod replay;
mod route;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod table;
mod vlan;
mod vni;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::api::client::{Client, ClientError};
use crate::api::socket::default_path;
use crate::config::{Config, Refused};
use crate::demo;
use crate::service::ServiceError;
use crate::views::EditObject;

/// A userspace packet switch: a learning bridge on AF_XDP and TAP.
#[derive(Parser)]
#[command(name = "rigswitch", version, about, disable_help_subcommand = true)]
struct Cli {
    /// The switch's socket [default: /run/rigswitch/rig.sock, in another network namespace netns-<inode>.sock there]
    #[arg(long, global = true, value_name = "PATH", env = "RIGSWITCH_SOCKET")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a switch in the foreground
    Run {
        /// The configuration file
        #[arg(short, long, value_name = "FILE", default_value = "/etc/rigswitch/rig.toml")]
        config: PathBuf,
    },
    /// See it switch: four hosts in network namespaces, real traffic between all of them, everything removed afterwards
    Demo {
        /// Print the configuration that the demo's switch runs from, and do nothing else
        #[arg(long)]
        print_config: bool,
    },
    /// Say whether a configuration file is valid, and what is wrong with it
    Check {
        /// The configuration file
        file: PathBuf,
    },
    /// Say what `apply` would change on the running switch
    Plan(change::File),
    /// Make the running switch equal a configuration file, without losing a frame between ports that stay
    Apply(change::File),
    /// Say what in this host's set-up will hurt: what was seen, and how to mend it
    Doctor(doctor::Doctor),
    /// Show what a running switch does
    #[command(disable_help_flag = true)]
    Show(show::Show),
    /// Capture frames of a running switch as pcapng, for tcpdump and Wireshark
    Capture(capture::Capture),
    /// Change the ports of the running switch
    #[command(subcommand)]
    Port(edit::Edit),
    /// Change the bridges of the running switch
    #[command(subcommand)]
    Bridge(edit::Edit),
    /// Change the ipvlans of the running switch
    #[command(subcommand)]
    Ipvlan(edit::Edit),
    /// Give devices of the running switch IP addresses, in ip-address(8)'s words
    #[command(subcommand)]
    Address(address::Address),
    /// Change the IPIP tunnels of the running switch
    #[command(subcommand)]
    Ipip(edit::Edit),
    /// Change the macvlans of the running switch
    #[command(subcommand)]
    Macvlan(edit::Edit),
    /// Change the forwarding database, in bridge(8)'s words
    #[command(subcommand)]
    Fdb(fdb::Fdb),
    /// Change VLANs that are devices; and the VLANs that ports and bridges are in, in bridge(8)'s words
    #[command(subcommand)]
    Vlan(vlan::Vlan),
    /// Change and show the networks of VXLAN devices that have many, in bridge(8)'s words
    #[command(subcommand)]
    Vni(vni::Vni),
    /// Change the VXLAN devices of the running switch
    #[command(subcommand)]
    Vxlan(edit::Edit),
    /// Tell the running switch who has which IP address, in ip-neighbour(8)'s words
    #[command(subcommand)]
    Neighbor(neighbor::Neighbor),
    /// Change where packets of the running switch go, in ip-route(8)'s words
    #[command(subcommand)]
    Route(route::Route),
    /// Change the multicast database, in bridge(8)'s words
    #[command(subcommand)]
    Mdb(mdb::Mdb),
    /// Say why a frame goes where it goes: of one that is made up, or of the next that come
    Explain(explain::Explain),
    Replay(replay::Replay),
    /// Measure what it costs, with spreads and a report
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Refused or failed: exit code 1.
    #[error("rigswitch: {0}")]
    Refused(String),
    /// A configuration that is not valid: exit code 1, and every line starts with the place.
    #[error(transparent)]
    Config(#[from] Refused),
    /// Words that mean nothing: exit code 2.
    #[error("rigswitch: {0}\nFor more information, try '--help'.")]
    Usage(String),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Refused(_) | Self::Config(_) => ExitCode::FAILURE,
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Does what the command line says: 0 done, 1 refused or failed, 2 usage.
pub fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let done = if capture::extcap::is_asked(&words) {
        capture::extcap::answer(words)
    } else {
        let cli = Cli::parse_from(words);
        cli.command.run(cli.socket)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody may be there to read it; the exit code says the same.
            let _ = writeln!(io::stderr(), "{failure}");
            failure.code()
        }
    }
}

impl Command {
    fn run(self, socket: Option<PathBuf>) -> Result<(), Failure> {
        let client = |socket: Option<PathBuf>| Client::new(socket.unwrap_or_else(default_path));
        match self {
            Self::Run { config } => run::run(&config, socket),
            Self::Demo { print_config: true } => print(demo::CONFIG),
            Self::Demo { print_config: false } => demo::run(socket),
            Self::Check { file } => check(&file),
            Self::Plan(file) => file.send(&client(socket), "/v1/plan"),
            Self::Apply(file) => file.send(&client(socket), "/v1/apply"),
            Self::Port(edit) => edit.run(&client(socket), EditObject::Port),
            Self::Bridge(edit) => edit.run(&client(socket), EditObject::Bridge),
            Self::Ipvlan(edit) => edit.run(&client(socket), EditObject::Ipvlan),
            Self::Address(address) => address.run(&client(socket)),
            Self::Ipip(edit) => edit.run(&client(socket), EditObject::Ipip),
            Self::Macvlan(edit) => edit.run(&client(socket), EditObject::Macvlan),
            Self::Doctor(doctor) => doctor.run(socket),
            Self::Show(show) => show.run(&client(socket)),
            Self::Capture(capture) => capture.run(client(socket)),
            Self::Fdb(fdb) => fdb.run(&client(socket)),
            Self::Vlan(vlan) => vlan.run(&client(socket)),
            Self::Vni(vni) => vni.run(&client(socket)),
            Self::Vxlan(edit) => edit.run(&client(socket), EditObject::Vxlan),
            Self::Neighbor(neighbor) => neighbor.run(&client(socket)),
            Self::Route(route) => route.run(&client(socket)),
            Self::Mdb(mdb) => mdb.run(&client(socket)),
            Self::Explain(explain) => explain.run(&client(socket)),
            Self::Replay(replay) => replay.run(),
            Self::Bench(bench) => bench.run(),
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "rigswitch", &mut script);
                print(&String::from_utf8_lossy(&script))
            }
        }
    }
}

fn check(file: &Path) -> Result<(), Failure> {
    let config = Config::load(file)?;
    print(&format!("{}: valid: {}\n", file.display(), summary(&config)))
}

/// What control runs on: one thread.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Refused(format!("the runtime: {error}")))
}

/// What a configuration holds, in a few words.
pub(crate) fn summary(config: &Config) -> String {
    let count =
        |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let ports = count(config.ports.len(), "port", "ports");
    let bridges = count(config.bridges.len(), "bridge", "bridges");
    let wires = count(config.xconnects.len(), "cross-connect", "cross-connects");
    let mut words = vec![ports, bridges, wires];
    for (number, one, many) in [
        (config.uppers.len(), "device on others", "devices on others"),
        (config.tunnels.len(), "tunnel", "tunnels"),
        (config.addresses.len(), "address", "addresses"),
        (config.routes.len(), "route", "routes"),
    ] {
        if number > 0 {
            words.push(count(number, one, many));
        }
    }
    words.join(", ")
}

/// Remarks on standard error, beside what is asked for.
fn note(text: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(io::stderr(), "rigswitch: {text}");
}

/// Writes to standard output; that its reader has gone is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Refused(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
