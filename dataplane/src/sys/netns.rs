//! Network namespaces: open, make, name and remove them, and run code inside one (network_namespaces(7)).

use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use super::{check, context};

/// Where names of network namespaces live, shared with `ip netns`.
const DIRECTORY: &str = "/run/netns";

/// The calling thread's network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace, kept alive by this handle whether or not it has a name.
#[derive(Debug)]
pub struct Netns(OwnedFd);

impl Netns {
    /// The namespace named `name`, as `ip netns` names it.
    ///
    /// # Errors
    /// `NotFound` when there is none; `InvalidInput` when the name could not be one.
    pub fn open(name: &str) -> io::Result<Self> {
        let path = path(name)?;
        let file = File::open(&path).map_err(|e| context(e, format_args!("network namespace {name}")))?;
        Ok(Self(file.into()))
    }

    /// The calling thread's namespace.
    ///
    /// # Errors
    /// The kernel's, when `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        let file = File::open(OWN).map_err(|e| context(e, OWN))?;
        Ok(Self(file.into()))
    }

    /// A new namespace without a name, gone with its last handle, process and device descriptor.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_SYS_ADMIN`.
    pub fn anonymous() -> io::Result<Self> {
        in_new(Self::current)
    }

    /// A new namespace named `name`, as `ip netns add` makes it.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken, `InvalidInput` when it could not be one,
    /// `PermissionDenied` without `CAP_SYS_ADMIN`.
    pub fn create(name: &str) -> io::Result<Self> {
        let path = path(name)?;
        let doing = |e| context(e, format_args!("creating network namespace {name}"));
        prepare_directory().map_err(doing)?;
        OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path).map_err(doing)?;
        let bound = in_new(|| {
            mount(OWN, &path, libc::MS_BIND)?;
            Self::current()
        });
        bound.map_err(|error| {
            // The name stands for nothing: take it back. The error to report is the first one.
            let _ = fs::remove_file(&path);
            doing(error)
        })
    }

    /// Takes the name away, as `ip netns del` does: the namespace goes with its last user.
    ///
    /// # Errors
    /// `NotFound` when there is no such name; the kernel's when it may not be removed.
    pub fn remove(name: &str) -> io::Result<()> {
        let path = path(name)?;
        let doing = |e| context(e, format_args!("removing network namespace {name}"));
        let target = c_path(&path)?;
        // SAFETY: `target` is a C string that lives across the call.
        let unmounted = check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) });
        match unmounted {
            Ok(_) => {}
            // A name without a namespace, left by a maker that was killed between its two steps.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(doing(error)),
        }
        fs::remove_file(&path).map_err(doing)
    }

    /// Every name there is, in no order.
    ///
    /// # Errors
    /// The kernel's, when the directory of names may not be read; that there is none is no error.
    pub fn names() -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(DIRECTORY) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(context(error, DIRECTORY)),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Runs `work` inside the namespace on a thread of its own, and answers what it answers. What `work` opens stays
    /// in the namespace when it comes back: a socket, a netlink connection, a TAP.
    ///
    /// # Errors
    /// The kernel's, when the namespace may not be entered.
    ///
    /// # Panics
    /// When `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_own_thread(|| {
            // SAFETY: setns takes no pointer; the thread it moves was made for this and ends after it.
            check(unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) })
                .map_err(|e| context(e, "entering a network namespace"))?;
            Ok(work())
        })
    }

    /// Another handle on the same namespace.
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Whether the two handles mean the same namespace.
    ///
    /// # Errors
    /// The kernel's, when a handle cannot be looked at.
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        let identity = |ns: &Self| -> io::Result<(u64, u64)> {
            let metadata = File::from(ns.0.try_clone()?).metadata()?;
            Ok((metadata.dev(), metadata.ino()))
        };
        Ok(identity(self)? == identity(other)?)
    }
}

/// Runs `work` in `netns`, as [`Netns::run`] does, or right here.
///
/// # Errors
/// The kernel's, when the namespace may not be entered.
pub fn inside<T: Send>(netns: Option<&Netns>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    match netns {
        Some(netns) => netns.run(work),
        None => Ok(work()),
    }
}

/// A namespace that something else handed over as a descriptor. That it is one shows at its first use.
impl From<OwnedFd> for Netns {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs `work` inside a new namespace, on a thread of its own.
fn in_new<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    on_own_thread(|| {
        // SAFETY: unshare takes no pointer; the thread it moves was made for this and ends after it.
        check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
            .map_err(|e| context(e, "a new network namespace"))?;
        work()
    })
}

/// A thread that changes its namespace must never serve anything else, so it is made for one piece of work.
fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let joined = thread::scope(|scope| scope.spawn(work).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn path(name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        let text = format!("`{name}` cannot name a network namespace");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(Path::new(DIRECTORY).join(name))
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(io::Error::from)
}

/// Makes the directory of names a shared mount, as `ip netns add` does, so that removing a name here removes it in
/// every mount namespace. Makers take turns, as `ip`'s do.
fn prepare_directory() -> io::Result<()> {
    fs::create_dir_all(DIRECTORY)?;
    let directory = Path::new(DIRECTORY);
    let turn = File::open(directory)?;
    // SAFETY: flock takes no pointer; the lock ends with `turn`.
    check(unsafe { libc::flock(turn.as_raw_fd(), libc::LOCK_EX) })?;
    match mount("", directory, libc::MS_SHARED | libc::MS_REC) {
        // Not a mount point yet.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            mount(DIRECTORY, directory, libc::MS_BIND | libc::MS_REC)?;
            mount("", directory, libc::MS_SHARED | libc::MS_REC)
        }
        result => result,
    }
}

fn mount(source: &str, target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    const NO_TYPE: &CStr = c"none";
    let source = c_path(Path::new(source))?;
    let target = c_path(target)?;
    let (source, target) = (source.as_ptr(), target.as_ptr());
    // SAFETY: the three are C strings that live across the call; a mount of these kinds takes no data.
    check(unsafe { libc::mount(source, target, NO_TYPE.as_ptr(), flags, std::ptr::null()) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_in_the_namespace_asked_for() {
        let here = Netns::current().unwrap();
        let inside = here.run(Netns::current).unwrap_or_else(Err);
        // Entering even one's own namespace needs CAP_SYS_ADMIN; the tests on real devices have it.
        if let Ok(inside) = inside {
            assert!(here.is_same(&inside).unwrap());
        }
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in ["", ".", "..", "a/b", "/"] {
            assert_eq!(Netns::open(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
            assert_eq!(Netns::create(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
            assert_eq!(Netns::remove(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
