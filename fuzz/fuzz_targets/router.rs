//! `cargo +nightly fuzz run router`
#![no_main]

#[path = "../targets/router.rs"]
mod router;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| router::router(bytes));
