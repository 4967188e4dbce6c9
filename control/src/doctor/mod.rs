//! `rigswitch doctor`: what in a host's set-up will hurt a switch, with its evidence and its fix.
//!
//! [`gather`] asks the kernel, the file and the running switch once; what they say is [`facts`], plain data. [`checks`] are
//! functions from facts to findings, in one table; [`report`] says what they found.

mod checks;
mod facts;
mod gather;
mod report;

use std::path::PathBuf;

pub(crate) use report::Report;

use crate::api::client::{Client, ClientError};
use crate::config::Config;

/// What is examined: a file, the running switch, or both.
pub(crate) struct Subject {
    /// The file, and what it says.
    pub(crate) file: Option<(PathBuf, Config)>,
    /// The socket that a switch may answer on.
    pub(crate) socket: PathBuf,
}

/// Looks at everything, and says what it found.
///
/// # Errors
/// When there is nothing to look at: no file, and no switch that answers.
pub(crate) fn examine(subject: Subject) -> Result<Report, ClientError> {
    let running = gather::Running::ask(&Client::new(subject.socket.clone()));
    let (running, silent) = match running {
        Ok(running) => (Some(running), None),
        Err(why) if subject.file.is_none() => return Err(why),
        Err(why) => (None, Some(why)),
    };
    let facts = gather::facts(subject, running, silent);
    Ok(Report::new(checks::run(&facts), facts))
}
