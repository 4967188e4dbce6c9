//! What an operator meets: configuration, the running switch, its socket and its command line.
//!
//! [`config`] reads a file into the data plane's validated types, [`compile`] makes immutable tables of them,
//! [`switch::Switch`] runs them: it opens ports, starts workers and is the single writer of everything they consult. [`api`]
//! serves it over a Unix socket, and [`cli`] is that socket's other end. What is seen of a switch has one shape in both,
//! [`views`]. `rigswitch demo` puts one between the hosts of a [`lab`].

pub mod api;
mod bench;
mod capture;
mod civil;
pub mod cli;
pub mod compile;
pub mod config;
mod demo;
mod doctor;
pub mod domains;
pub mod events;
pub mod explain;
pub mod far_ends;
pub mod lab;
mod mtus;
pub mod notify;
mod replay;
pub mod router;
mod service;
mod snooping;
mod stp;
pub mod switch;
pub mod traffic;
pub mod views;
