//! A port on AF_XDP: our program hands every frame of a device to sockets, one a queue.
//!
//! Control opens an [`XdpDevice`], which attaches the program, and from it an [`XdpQueue`] for each receive queue,
//! which a worker owns. The program stays attached as long as the device or one of its queues is open.

mod device;
mod program;
mod queue;
mod receiving;
mod sending;

pub use device::{XdpDevice, XdpError};
pub use queue::XdpQueue;
