//! `cargo +nightly fuzz run ipip`
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "../targets/tunnels.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::ipip(bytes));
