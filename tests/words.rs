//! What fuzzing the configuration file, the socket and the router's control side has found, replayed.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod replay;
#[path = "../fuzz/targets/router.rs"]
mod router;
#[path = "../fuzz/targets/words.rs"]
mod words;

use replay::replay;

#[test]
fn any_file_is_read_or_refused() {
    replay("config", words::config);
}

#[test]
fn any_request_is_answered_or_not_and_the_next_one_is() {
    replay("socket", words::socket);
}

#[test]
fn whatever_workers_hand_over_is_survived() {
    replay("router", router::router);
}
