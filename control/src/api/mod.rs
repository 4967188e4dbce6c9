//! HTTP and JSON over a Unix socket: the one way into a running switch.

pub mod client;
mod guests;
mod metrics;
mod openapi;
mod query;
mod routes;
mod server;
pub mod socket;
mod stream;

pub use server::serve;
