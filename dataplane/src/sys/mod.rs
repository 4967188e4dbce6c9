//! The kernel's interfaces as thin safe wrappers, one concept a file; the calls themselves are nowhere else.

pub mod addresses;
pub mod bpf;
pub mod cpu;
pub mod datagram;
pub mod epoll;
pub mod eventfd;
pub mod features;
mod genetlink;
pub mod hints;
pub mod ingress;
pub mod limits;
pub mod links;
mod mmap;
pub mod napi;
pub mod netdev;
mod netlink;
pub mod netns;
pub mod packet;
pub mod perf;
pub mod poll;
pub mod ring;
pub mod stacking;
pub mod time;
pub mod tun;
pub mod userns;
pub mod xsk;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The result of a system call that answers -1 and `errno` on failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `error`, with the action that met it before its text; the kind stays.
pub(crate) fn context(error: io::Error, doing: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{doing}: {error}"))
}

/// `size_of::<T>()` as the kernel's `socklen_t`.
const fn socklen<T>() -> libc::socklen_t {
    assert!(size_of::<T>() < 4096, "an option is small");
    #[allow(clippy::cast_possible_truncation)] // Asserted above.
    {
        size_of::<T>() as libc::socklen_t
    }
}

/// Plain old data: any bytes are a value, and a value is only bytes. Sealed by being private to `sys`.
///
/// # Safety
/// The type has no padding, no pointer and no invalid bit pattern, so the kernel may read and fill it.
unsafe trait Plain: Copy {}

// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: integers.
unsafe impl Plain for libc::c_int {}

/// Set a socket option to a plain value.
fn set_option<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `socklen::<T>()` bytes of a live `T`, which has no padding.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const *value).cast(), socklen::<T>()) };
    check(result).map(drop)
}

/// Read a socket option into a plain value; what an older kernel does not fill keeps the value given.
fn option<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32, mut value: T) -> io::Result<T> {
    let mut len = socklen::<T>();
    // SAFETY: the kernel writes at most `len` bytes into a live `T`, of which any bytes are a value.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    check(result).map(|_| value)
}
