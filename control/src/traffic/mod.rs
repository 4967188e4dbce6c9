//! Traffic to measure with: a generator and a sink, both in the kernel, so that neither is what limits.
//!
//! The generator is an XDP program that the kernel runs on frames of its own making and that redirects each of them to a device
//! (`made`), where that can be, and else this process (`written`); the sink one that counts what arrives on a device. `stream` says what
//! the frames look like, `stamp` what they carry to be checked by, `load` how many are sent and how fast, and `pair` has both at the
//! ends of what is measured. Nothing of it outlives the process, however it ends.

mod generator;
mod load;
mod made;
mod pair;
mod port;
mod sink;
mod stamp;
mod stream;
mod written;

pub use generator::{Generator, Sent};
pub use load::{Amount, Load, Rate};
pub use pair::{Outcome, Pair};
pub use port::Port;
pub use sink::{Expect, Latencies, Received, Sink};
pub use stream::{FCS, GAP, IMIX, LONGEST, Range, Stream, imix};

use std::io;

use rigswitch_dataplane::sys::bpf::LoadError;

/// Why frames could not be sent or counted.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// A device, or its namespace, that is not there.
    #[error("{0}")]
    Device(io::Error),
    /// A device that carries nothing.
    #[error("{device} {what}: {remedy}")]
    Down {
        /// Its name.
        device: String,
        /// What it is or lacks.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A device that frames of the kernel's making cannot be sent from.
    #[error("{device} takes no frames from XDP: {remedy}")]
    Transmit {
        /// Its name.
        device: String,
        /// What to do.
        remedy: String,
    },
    /// A device that has a program already.
    #[error("{0} has an XDP program already: measure at the far ends of a switch's ports, not on the ports")]
    Taken(String),
    /// Frames that cannot be.
    #[error("{0}")]
    Stream(String),
    /// Without privilege.
    #[error("{0}: not permitted: frames are made and counted in the kernel, by root only")]
    Denied(&'static str),
    /// Something else that the kernel refused.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A program that the kernel refused.
    #[error("{0}")]
    Program(LoadError),
}

impl TrafficError {
    fn system(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied(doing),
            _ => Self::System { doing: doing.into(), source },
        }
    }

    fn program(doing: &'static str) -> impl Fn(LoadError) -> Self {
        move |error| match error.source.kind() {
            io::ErrorKind::PermissionDenied if error.log.is_empty() => Self::Denied(doing),
            _ => Self::Program(error),
        }
    }
}
