//! Captures of a running switch as pcapng: what is asked for, and the thread that carries it from the workers to whoever reads.

pub(crate) mod pcapng;
mod request;
mod session;

pub(crate) use request::{LONGEST_ID, Request, Stage, snaplen};
pub(crate) use session::{Named, Names, Session, chunks};

/// Captures at a time: each costs the workers, and packet memory's worth of room.
pub(crate) const CAPTURES: usize = 8;

/// What is kept of a frame unless another length is asked for: all of it.
pub(crate) const SNAPLEN: u32 = 262_144;
