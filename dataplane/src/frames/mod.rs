//! Packet memory: an [`Area`] of chunks, the [`Pool`] that hands them out, the [`Frame`] token that owns one,
//! and [`Burst`]s of them.
//!
//! One area belongs to one worker. Frames never change worker; bytes may. A frame is lent to a kernel ring by
//! [`Pool::lend`], which consumes it, and comes back only through the loan ([`Pool::reclaim`]).

mod area;
mod burst;
mod frame;
mod offload;
mod pool;

pub use area::{Area, CHUNK, HEADROOM};
pub use burst::{BURST, Burst};
pub use frame::Frame;
pub use offload::{Checksum, Gso, GsoKind};
pub use pool::{Borrower, Loan, Pool, PoolConfig};
