//! `cargo +nightly fuzz run route`
#![no_main]

#[allow(dead_code)]
#[path = "../targets/routing.rs"]
mod routing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| routing::route(bytes));
