//! A user namespace for a child process: root over network devices of its own, without being root.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::check;

/// A command that will run `program` as root of a user namespace of its own, in a new network namespace and with an
/// empty `/run` that nobody else sees. It may make TAPs, veths and named network namespaces there; all of them go
/// with it. AF_XDP and anything on the machine's own devices stay out of its reach.
///
/// Spawning it fails with the kernel's error where user namespaces are not allowed to the caller.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    // SAFETY: geteuid only answers a number.
    let user = unsafe { libc::geteuid() };
    // SAFETY: getegid only answers a number.
    let group = unsafe { libc::getegid() };
    let user_map = format!("0 {user} 1");
    let group_map = format!("0 {group} 1");
    let mut command = Command::new(program);
    // SAFETY: between fork and exec the closure only makes system calls on memory made before the fork.
    unsafe { command.pre_exec(move || enter(user_map.as_bytes(), group_map.as_bytes())) };
    command
}

/// user_namespaces(7): an unprivileged process may map one user and, having given up setgroups, one group.
fn enter(user_map: &[u8], group_map: &[u8]) -> io::Result<()> {
    // SAFETY: unshare takes no pointer; a forked child has one thread, as a new user namespace requires.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWNS) })?;
    write(c"/proc/self/setgroups", b"deny")?;
    write(c"/proc/self/uid_map", user_map)?;
    write(c"/proc/self/gid_map", group_map)?;
    mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE)?;
    mount(c"tmpfs", c"/run", c"tmpfs", 0)
}

fn write(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: `path` is a C string that lives across the call.
    let fd = check(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) })?;
    // SAFETY: `bytes` is borrowed for the whole call.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    let result = if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the descriptor was opened above and nothing else knows it.
    unsafe { libc::close(fd) };
    result
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    let (source, target, kind) = (source.as_ptr(), target.as_ptr(), kind.as_ptr());
    // SAFETY: the three are C strings that live across the call; mounts of these kinds need no data.
    check(unsafe { libc::mount(source, target, kind, flags, std::ptr::null()) })?;
    Ok(())
}
