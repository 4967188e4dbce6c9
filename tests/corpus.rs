//! What fuzzing frames has found, replayed.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // helpers of tests are tests

#[path = "../fuzz/targets/frames.rs"]
mod frames;
mod replay;
mod support;

use replay::replay;

#[test]
fn parsing_survives() {
    replay("parse", frames::parse);
}

#[test]
fn switching_survives() {
    replay("switch", frames::switch);
}
