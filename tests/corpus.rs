//! What fuzzing frames has found, replayed.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // helpers of tests are tests

#[path = "../fuzz/targets/decap.rs"]
mod decap;
#[path = "../fuzz/targets/frames.rs"]
mod frames;
mod replay;
#[path = "../fuzz/targets/routing.rs"]
mod routing;
mod support;
#[path = "../fuzz/targets/tunnels.rs"]
mod tunnels;

use replay::replay;

#[test]
fn parsing_survives() {
    replay("parse", frames::parse);
}

#[test]
fn switching_survives() {
    replay("switch", frames::switch);
}

#[test]
fn packets_that_are_routed_survive() {
    replay("icmp", routing::icmp);
}

#[test]
fn routes_lead_where_a_list_of_them_says() {
    replay("route", routing::route);
}

#[test]
fn packets_in_packets_survive() {
    replay("ipip", tunnels::ipip);
}

#[test]
fn what_comes_to_a_tunnel_survives() {
    replay("decap", decap::decap);
}
