//! The CPU under a thread: how much of it was used, and which one it may be.

use std::io;
use std::time::Duration;

use super::time;

/// CPU time that the calling thread has used, user and system together (`CLOCK_THREAD_CPUTIME_ID`).
pub fn thread_time() -> Duration {
    time::read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The CPUs that the calling thread may run on, ascending.
pub fn allowed() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// How many CPUs there may be in this machine: the kernel's numbers are less.
pub fn possible() -> usize {
    // SAFETY: sysconf takes no pointer.
    let configured = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    let seen = allowed().into_iter().max().map_or(1, |last| last + 1);
    usize::try_from(configured).unwrap_or(1).max(seen)
}

/// Keeps the calling thread on `cpu`.
///
/// # Errors
/// `InvalidInput` when the thread may not run on `cpu`, naming those it may; `Other` when the kernel refuses.
pub fn pin(cpu: usize) -> io::Result<()> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let core = cores.iter().find(|core| core.id == cpu).ok_or_else(|| {
        let text = format!("CPU {cpu} is not among those this process may use: {:?}", allowed());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })?;
    let pinned = core_affinity::set_for_current(*core);
    if pinned { Ok(()) } else { Err(io::Error::other(format!("the kernel refused to pin to CPU {cpu}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_time_grows_with_work() {
        let start = thread_time();
        let mut turns = 0u64;
        while thread_time() == start {
            turns += 1;
            assert!(turns < 1 << 32, "the thread's clock stands still");
        }
    }

    #[test]
    fn pinning_leaves_one_cpu() {
        let pinned = std::thread::spawn(|| {
            let first = allowed()[0];
            pin(first).unwrap();
            (first, allowed())
        });
        let (first, left) = pinned.join().unwrap();
        assert_eq!(left, [first]);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused_by_name() {
        let error = pin(usize::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&usize::MAX.to_string()));
    }
}
