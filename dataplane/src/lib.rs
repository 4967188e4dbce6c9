//! The data plane of rigswitch: everything a frame meets between the port it came from and the one it leaves by.
//!
//! ```text
//! worker            one thread: receive a burst, take it down the line, send; sleep when there is nothing
//!   ├─ ports        xdp tap packet pcap memory: where bursts come from and go to, each a PortQueue
//!   ├─ watch        what an armed worker shows of all this: capture, follow
//!   └─ pipeline     the straight line: role → stage → egress, watched by an observer
//!        ├─ bridge  parse → learn → look up
//!        ├─ macvlan children of a device, by their addresses
//!        ├─ vlan    sub-interfaces: sort by tag, put it on
//!        ├─ ipvlan  children of a device: sort by address, to each other and out
//!        ├─ routing read → look up → next hop
//!        ├─ tunnels out: an outer header, by a routed device; in: off with it, and up
//!        └─ tables  compiled snapshots, published whole; the MAC table, learned live
//! frames            packet memory: area, pool, frame, burst, offload state
//! filter            tcpdump's filters, for whoever looks
//! wire              views over bytes: headers, checksums, segmentation
//! sys               the kernel, wrapped; with `frames` the only place for unsafe code
//! ring bell punt    between threads: copies of frames, and wake-ups
//! ```
//!
//! Imports run one way: `ids → drops counters sync → sys wire → frames → tables → bridge vlan ipvlan macvlan routing tunnels pipeline`, and
//! `frames → ports`; [`worker`] joins ports, pipeline and [`watch`]. Control is another crate, and nothing here knows of it.
#![deny(unsafe_code)]

pub mod bell;
pub mod bridge;
pub mod clock;
pub mod counters;
pub mod drops;
pub mod filter;
#[allow(unsafe_code)]
pub mod frames;
pub mod ids;
pub mod ipvlan;
pub mod macvlan;
pub mod pipeline;
pub mod ports;
pub mod punt;
pub mod rate;
pub mod ring;
pub mod routing;
mod sync;
#[allow(unsafe_code)]
pub mod sys;
pub mod tables;
pub mod tunnels;
pub mod upper;
pub mod vlan;
pub mod watch;
pub mod wire;
pub mod worker;
