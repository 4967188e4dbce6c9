//! What an operator meets: configuration, the running switch, its socket and its command line.

pub mod config;
pub mod lab;
