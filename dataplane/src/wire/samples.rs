//! What the tests of every header share.

use proptest::prelude::*;

/// Few cases under Miri, and no files beside the source: a failing case is printed.
pub(super) fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if cfg!(miri) { ProptestConfig { cases: 4, ..config } } else { config }
}
