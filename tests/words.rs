//! What fuzzing the configuration file and the socket has found, replayed.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod replay;
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
