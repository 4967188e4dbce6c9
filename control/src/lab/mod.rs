//! A laboratory: hosts in network namespaces of their own, wired up and probed without any other program. The demo
//! and the tests on real devices live in one.

mod host;
mod kernel;
mod link;
mod privilege;
mod probe;

pub use host::Host;
pub use privilege::as_root;
pub use probe::{Ping, Transfer, ping, send_frame, tcp_transfer, udp_echo, uninterrupted};

use std::io;
use std::path::Path;

use rigswitch_dataplane::sys::netns::Netns;

/// Why something in the laboratory could not be made, or a probe not be run.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A system call was refused.
    #[error("{doing}: {source}")]
    System {
        /// What was being done, and to what.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A netlink request was refused.
    #[error("{doing}: {source}")]
    Netlink {
        /// What was being done, and to what.
        doing: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
}

/// `errno` of what is not there, on Linux (asm-generic/errno.h).
const EOPNOTSUPP: i32 = 95;

impl LabError {
    fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |source| Self::System { doing, source }
    }

    /// Whether the kernel has no such thing.
    pub fn is_unsupported(&self) -> bool {
        let code = match self {
            Self::Netlink { source: rtnetlink::Error::NetlinkError(message), .. } => message.to_io(),
            _ => return false,
        };
        code.raw_os_error() == Some(EOPNOTSUPP)
    }

    /// Whether root would have been given what was asked for.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::System { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Hosts that go when this guard does, and with them their devices, the far ends of their veths and everything that
/// nothing else keeps open.
///
/// Namespaces are named `rsw-PURPOSE-PID-HOST`, so that those of a process which was killed can be told.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    names: Vec<String>,
}

impl Lab {
    /// An empty laboratory. What dead processes left of laboratories of the same purpose is removed first.
    ///
    /// # Errors
    /// When leftovers cannot be removed, without `CAP_SYS_ADMIN` for example.
    pub fn new(purpose: &str) -> Result<Self, LabError> {
        for name in leftovers(purpose)? {
            match Netns::remove(&name) {
                // Another laboratory sweeps at the same time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(LabError::system("removing what an earlier run left"))?,
            }
        }
        Ok(Self { prefix: format!("rsw-{purpose}-{}-", std::process::id()), names: Vec::new() })
    }

    /// A new host: a network namespace with its loopback up.
    ///
    /// # Errors
    /// `AlreadyExists` inside for a name that this process has given before for the same purpose; `PermissionDenied`
    /// without `CAP_SYS_ADMIN`.
    pub fn host(&mut self, name: &str) -> Result<Host, LabError> {
        let name = format!("{}{name}", self.prefix);
        let netns = Netns::create(&name).map_err(LabError::system("making a host"))?;
        self.names.push(name.clone());
        let host = Host::new(name, netns);
        host.netdev("lo")?.set_up(true).map_err(LabError::system("bringing up a host's loopback"))?;
        Ok(host)
    }

    /// Removes every host, as its drop does, and says whether that went well.
    ///
    /// # Errors
    /// The first; the others are removed nonetheless.
    pub fn remove(mut self) -> Result<(), LabError> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<(), LabError> {
        let mut outcome = Ok(());
        for name in self.names.drain(..) {
            outcome = outcome.and(Netns::remove(&name));
        }
        outcome.map_err(LabError::system("removing a host"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Nothing better can be done here; the next laboratory of this purpose tries again.
        let _ = self.take_down();
    }
}

/// The names of namespaces that laboratories of this purpose have left behind: their process is no more.
///
/// # Errors
/// When the names cannot be listed.
pub fn leftovers(purpose: &str) -> Result<Vec<String>, LabError> {
    let prefix = format!("rsw-{purpose}-");
    let owner_is_dead = |name: &String| {
        let owner = name.strip_prefix(&prefix).and_then(|rest| rest.split_once('-')).map(|(owner, _)| owner);
        owner.is_some_and(|owner| {
            owner.bytes().all(|byte| byte.is_ascii_digit()) && !Path::new("/proc").join(owner).exists()
        })
    };
    let names = Netns::names().map_err(LabError::system("listing network namespaces"))?;
    Ok(names.into_iter().filter(owner_is_dead).collect())
}
