//! `rigswitch plan` and `rigswitch apply`: a file and the running switch.

use std::path::PathBuf;

use clap::Args;
use form_urlencoded::Serializer;

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
        // What is wrong with it is said here, as it was called here; what is right is read again by the switch.
        let text = Config::bytes(&self.file)?;
        Config::from_bytes(&text, &self.file.display().to_string())?;
        let path = self.file.canonicalize().unwrap_or_else(|_| self.file.clone());
        let path = path.to_string_lossy().replace(char::is_control, "\u{fffd}");
        let query = Serializer::new(String::new()).append_pair("file", &path).finish();
        let changes: Vec<ChangeView> = client.send_text(&format!("{target}?{query}"), &text)?;
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
