//! `rigswitch bench`: what it costs, measured by turns and with its spread, and told so that it can be put in a report.
//!
//! [`trial`] makes the trials, [`stats`] says what their samples mean, [`report`] holds, prints and writes it, and
//! [`compare`] puts two of them beside each other.

pub(crate) mod compare;
pub(crate) mod report;
pub(crate) mod stats;
pub(crate) mod trial;
