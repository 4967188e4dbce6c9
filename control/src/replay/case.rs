//! A case: a directory with a configuration, what its ports receive, and what is expected to come of it.
//!
//! ```text
//! NAME/rig.toml          the configuration
//!      PORT.in.pcap      what a port receives (or PORT.in.pcapng)
//!      PORT.out.pcap     what it is expected to send; one that sends nothing has none
//!      report.json       the rest: traffic, drops, the ledger, the forwarding entries in the end
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{REPORT, Replay, ReplayError, Replayed, compare, output};
use crate::config::Config;

/// One directory.
#[derive(Debug)]
pub(crate) struct Case(pub(crate) PathBuf);

/// The configuration of a case, which makes a directory one.
const CONFIG: &str = "rig.toml";

const OUTPUT: &str = ".out.pcap";

impl Case {
    /// The cases in this directory, which may be one: in the order of their names.
    pub(crate) fn all(directory: &Path) -> Result<Vec<Self>, ReplayError> {
        if directory.join(CONFIG).exists() {
            return Ok(vec![Self(directory.to_owned())]);
        }
        let names = names(directory)?;
        let paths = names.iter().map(|name| directory.join(name));
        let cases: Vec<_> = paths.filter(|path| path.join(CONFIG).exists()).map(Self).collect();
        if cases.is_empty() {
            let none = io::Error::new(io::ErrorKind::NotFound, format!("no case: none has a {CONFIG} in it"));
            return Err(ReplayError::File(directory.to_owned(), none));
        }
        Ok(cases)
    }

    /// Bytes that there are to read.
    pub(crate) fn size(&self) -> u64 {
        let inputs = self.inputs().unwrap_or_default();
        inputs.iter().filter_map(|(_, path)| path.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Replays it, with what comes of it in `folder`.
    pub(crate) fn replay(&self, folder: &Path, progress: impl FnMut(u64)) -> Result<Replayed, ReplayError> {
        let config = Config::load(&self.0.join(CONFIG))?;
        Replay::new(config, &self.inputs()?, folder)?.run(progress)
    }

    /// Where what came of it, which is in `folder`, is not what was expected: a line for each file.
    pub(crate) fn differences(&self, folder: &Path, replayed: &Replayed) -> Result<Vec<String>, ReplayError> {
        let mut found = Vec::new();
        let mut note = |name: String, difference: Result<Option<String>, io::Error>| {
            let difference = difference.map_err(|error| ReplayError::File(self.0.join(&name), error))?;
            found.extend(difference.map(|difference| format!("{name}: {difference}")));
            Ok::<_, ReplayError>(())
        };
        let ports = replayed.report.ports.iter().filter(|(_, port)| port.has_output());
        for (port, _) in ports {
            let name = format!("{port}{OUTPUT}");
            let expected = self.0.join(&name);
            note(name, compare::captures(&expected, &output(folder, port)))?;
        }
        for name in names(&self.0)? {
            let port = name.strip_suffix(OUTPUT).filter(|port| !replayed.report.ports.contains_key(*port));
            let nobody = port.map(|port| format!("there is no port `{port}`"));
            note(name.clone(), Ok(nobody))?;
        }
        note(REPORT.to_owned(), compare::texts(&self.0.join(REPORT), &folder.join(REPORT)))?;
        Ok(found)
    }

    /// Makes what came of it, which is in `folder`, what is expected.
    pub(crate) fn bless(&self, folder: &Path, replayed: &Replayed) -> Result<(), ReplayError> {
        let outputs = names(&self.0)?.into_iter().filter(|name| name.ends_with(OUTPUT));
        for path in outputs.map(|name| self.0.join(name)) {
            fs::remove_file(&path).map_err(|error| ReplayError::File(path, error))?;
        }
        let sends = replayed.report.ports.iter().filter(|(_, port)| port.has_output() && port.sent() > 0);
        let files = sends.map(|(port, _)| (output(folder, port), format!("{port}{OUTPUT}")));
        // What stands on another port sends by that.
        let files = files.filter(|(from, _)| from.exists());
        for (from, to) in files.chain([(folder.join(REPORT), REPORT.to_owned())]) {
            let to = self.0.join(to);
            fs::copy(from, &to).map_err(|error| ReplayError::File(to, error))?;
        }
        Ok(())
    }

    fn inputs(&self) -> Result<Vec<(String, PathBuf)>, ReplayError> {
        let port = |name: &str| {
            let port = name.strip_suffix(".in.pcap").or_else(|| name.strip_suffix(".in.pcapng"))?;
            Some((port.to_owned(), self.0.join(name)))
        };
        Ok(names(&self.0)?.iter().filter_map(|name| port(name)).collect())
    }
}

/// The names of what is in a directory, in order.
fn names(directory: &Path) -> Result<Vec<String>, ReplayError> {
    let failed = |error| ReplayError::File(directory.to_owned(), error);
    let entries = fs::read_dir(directory).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let name = |name: &OsStr| name.to_str().map(str::to_owned);
    let mut names: Vec<_> = entries.iter().filter_map(|entry| name(&entry.file_name())).collect();
    names.sort();
    Ok(names)
}
