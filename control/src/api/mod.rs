//! HTTP and JSON over a Unix socket: the one way into a running switch.

pub mod client;
mod metrics;
mod routes;
mod server;
pub mod socket;

pub use server::serve;
