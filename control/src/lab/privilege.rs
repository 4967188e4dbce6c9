//! Tests that need a network namespace, run by somebody who is not root.

use std::io::Write;

use rigswitch_dataplane::sys::netns::Netns;
use rigswitch_dataplane::sys::userns;

/// Whether the calling test may go on: it can make network namespaces. If it cannot, the test `name` of this very
/// program is run again as root of a user namespace, and its verdict taken over; where that is not allowed either, the
/// test is skipped aloud. Both answer `false`.
///
/// # Panics
/// When the test fails in the user namespace.
pub fn as_root(name: &str) -> bool {
    if Netns::anonymous().is_ok() {
        return true;
    }
    let program = std::env::current_exe().expect("a running test knows its program");
    let rerun = userns::command(program).args([name, "--exact", "--nocapture"]).status();
    match rerun {
        Ok(status) => assert!(status.success(), "{name} failed in a user namespace"),
        Err(error) => {
            let text = format!("skipped {name}: not root, and no user namespace to be had: {error}\n");
            // Straight to the descriptor: what a passing test prints is kept from view.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
    false
}
