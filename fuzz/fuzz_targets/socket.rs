//! `cargo +nightly fuzz run socket`
#![no_main]

#[allow(dead_code)]
#[path = "../targets/words.rs"]
mod words;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| words::socket(bytes));
