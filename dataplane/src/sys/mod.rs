//! The kernel's interfaces as thin safe wrappers, one concept a file; the calls themselves are nowhere else.

pub mod cpu;
pub mod eventfd;
pub mod netdev;
pub mod netns;
pub mod poll;
pub mod tun;
pub mod userns;

use std::io;

/// The result of a system call that answers -1 and `errno` on failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `error`, with the action that met it before its text; the kind stays.
fn context(error: io::Error, doing: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{doing}: {error}"))
}
