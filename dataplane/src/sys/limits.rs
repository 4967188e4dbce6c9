//! What the kernel allows this process (setrlimit(2)).

use std::io;

use super::check;

/// Raises the limit of open files to the most the process may have: a TAP takes three descriptors, an AF_XDP queue one.
///
/// # Errors
/// The kernel's.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is an rlimit that lives across the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above, read only.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(())
}
