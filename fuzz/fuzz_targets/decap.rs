//! `cargo +nightly fuzz run decap`
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "../targets/decap.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::decap(bytes));
