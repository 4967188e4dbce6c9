//! A port on AF_XDP: our program hands the frames of a device, or what of them is ours, to sockets, one a queue.
//!
//! Control opens an [`XdpDevice`], which attaches the program, and from it an [`XdpQueue`] for each receive queue,
//! which a worker owns. The program stays attached as long as the device or one of its queues is open.

mod device;
mod letting_go;
mod mine;
mod program;
mod queue;
mod receiving;
mod sending;

pub use device::{XdpDevice, XdpError};
pub use mine::{MOST_ADDRESSES, Mine};
pub use queue::XdpQueue;
