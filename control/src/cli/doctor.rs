//! `rigswitch doctor`: what in this host's set-up will hurt.

use std::path::PathBuf;

use clap::Args;

use super::table::colour;
use super::{Failure, print};
use crate::api::socket::default_path;
use crate::config::Config;
use crate::doctor::{Subject, examine};

#[derive(Args)]
pub(super) struct Doctor {
    /// The configuration file of a switch that is to run; else the running switch is examined
    file: Option<PathBuf>,
    /// The same
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// As JSON
    #[arg(short)]
    json: bool,
    /// As JSON on many lines, with -j
    #[arg(short, requires = "json")]
    pretty: bool,
}

impl Doctor {
    pub(super) fn run(self, socket: Option<PathBuf>) -> Result<(), Failure> {
        let file = self.file.or(self.config);
        let file = file.map(|path| Ok::<_, Failure>((Config::load(&path)?, path))).transpose()?;
        let own = file.as_ref().and_then(|(config, _)| config.switch.socket.clone());
        let socket = socket.or(own).unwrap_or_else(default_path);
        let file = file.map(|(config, path)| (path, config));
        let report = examine(Subject { file, socket })?;
        let json = match (self.json, self.pretty) {
            (false, _) => Ok(report.text(colour())),
            (true, false) => serde_json::to_string(&report).map(|text| text + "\n"),
            (true, true) => serde_json::to_string_pretty(&report).map(|text| text + "\n"),
        };
        print(&json.map_err(|error| Failure::Refused(error.to_string()))?)?;
        match report.errors() {
            0 => Ok(()),
            1 => Err(Failure::Refused("one thing will lose frames, or keep the switch from starting".into())),
            errors => Err(Failure::Refused(format!(
                "{errors} things will lose frames, or keep the switch from starting"
            ))),
        }
    }
}
