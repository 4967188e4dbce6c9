//! Runs a fuzz target on the files of its corpus; and on a little noise, so that it is known to run.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)] // helpers of tests are tests

use std::path::Path;

/// Runs a target on each file of its corpus, and on noise.
pub(crate) fn replay(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let files: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    for file in files {
        target(&std::fs::read(file).unwrap());
    }
    let mut state = 0x5eed_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    for length in 0..300 {
        target(&(0..length).map(|_| noise()).collect::<Vec<_>>());
    }
}
