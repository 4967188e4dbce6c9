//! `cargo +nightly fuzz run icmp`
#![no_main]

#[allow(dead_code)]
#[path = "../targets/routing.rs"]
mod routing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| routing::icmp(bytes));
