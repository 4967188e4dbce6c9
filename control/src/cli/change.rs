//! `rigswitch plan` and `rigswitch apply`: a file and the running switch.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, print};
use crate::api::client::Client;
use crate::config::Config;
use crate::views::ChangeView;

#[derive(Args)]
pub(super) struct File {
    /// The configuration file
    file: PathBuf,
    /// As JSON
    #[arg(short)]
    json: bool,
    /// As JSON on many lines, with -j
    #[arg(short, requires = "json")]
    pretty: bool,
}

impl File {
    /// Sends the file, if it is valid, and prints what that changes, or changed.
    pub(super) fn send(&self, client: &Client, target: &str) -> Result<(), Failure> {
        // What is wrong with it is said here, where it has a name; what is right is read again by the switch.
        Config::load(&self.file)?;
        let refuse = |error: std::io::Error| Failure::Refused(format!("{}: {error}", self.file.display()));
        let text = std::fs::read(&self.file).map_err(refuse)?;
        let changes: Vec<ChangeView> = client.send_text(target, &text)?;
        let json = match (self.json, self.pretty) {
            (false, _) if changes.is_empty() => return print("no changes\n"),
            (false, _) => {
                return print(&changes.iter().map(|change| format!("{change}\n")).collect::<String>());
            }
            (true, false) => serde_json::to_string(&changes),
            (true, true) => serde_json::to_string_pretty(&changes),
        };
        print(&json.map(|text| text + "\n").map_err(|error| Failure::Refused(error.to_string()))?)
    }
}
