//! What the processor counts while a thread runs (perf_event_open(2)): cycles and instructions, in user space.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};

use super::check;

/// `perf_event_attr` as far as its first version goes (PERF_ATTR_SIZE_VER0); the kernel takes the rest for zero.
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    bp_addr: u64,
}

const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

/// PERF_ATTR_SIZE_VER0
const SIZE: u32 = 64;
/// PERF_TYPE_HARDWARE
const HARDWARE: u32 = 0;
/// PERF_COUNT_HW_CPU_CYCLES, PERF_COUNT_HW_INSTRUCTIONS
const CYCLES: u64 = 0;
const INSTRUCTIONS: u64 = 1;
/// PERF_FORMAT_TOTAL_TIME_ENABLED and PERF_FORMAT_TOTAL_TIME_RUNNING
const TIMES: u64 = 1 | 2;
/// `exclude_kernel` and `exclude_hv`, the sixth and the seventh bit of the flags
const USER_ONLY: u64 = 1 << 5 | 1 << 6;

/// Counters of the thread that opened them.
#[derive(Debug)]
pub struct Perf {
    cycles: File,
    instructions: File,
}

/// What they have counted since they were opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Cycles of the clock that the core ran at.
    pub cycles: u64,
    /// Instructions that it finished.
    pub instructions: u64,
}

impl Perf {
    /// Opens those of the calling thread.
    ///
    /// # Errors
    /// `NotFound` where the processor, as the hypervisor shows it, has no such counters; `PermissionDenied` where
    /// `kernel.perf_event_paranoid` keeps them from this user.
    pub fn of_this_thread() -> io::Result<Self> {
        Ok(Self { cycles: open(CYCLES)?, instructions: open(INSTRUCTIONS)? })
    }

    /// What has been counted. Where others use the counters too, each counts for a part of the time, and this is what the whole
    /// would have been.
    ///
    /// # Errors
    /// The kernel's; `NotFound` when a counter has not run at all.
    pub fn read(&self) -> io::Result<Counts> {
        Ok(Counts { cycles: counted(&self.cycles)?, instructions: counted(&self.instructions)? })
    }
}

fn open(config: u64) -> io::Result<File> {
    let attributes = Attributes {
        kind: HARDWARE,
        size: SIZE,
        config,
        sample_period: 0,
        sample_type: 0,
        read_format: TIMES,
        flags: USER_ONLY,
        wakeup_events: 0,
        bp_type: 0,
        bp_addr: 0,
    };
    const THIS_THREAD: libc::pid_t = 0;
    const ANY_CPU: libc::c_int = -1;
    const NO_GROUP: libc::c_int = -1;
    const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3; // PERF_FLAG_FD_CLOEXEC
    // SAFETY: the kernel reads `size` bytes of attributes that live across the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            THIS_THREAD,
            ANY_CPU,
            NO_GROUP,
            CLOSE_ON_EXEC,
        )
    };
    let fd = check(libc::c_int::try_from(fd).unwrap_or(-1))?;
    // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(fd.into())
}

fn counted(mut counter: &File) -> io::Result<u64> {
    let mut bytes = [0; 24];
    counter.read_exact(&mut bytes)?;
    let [value, enabled, running] = [0, 8, 16].map(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_ne_bytes(word)
    });
    scaled(value, enabled, running).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn scaled(value: u64, enabled: u64, running: u64) -> Option<u64> {
    let whole = u128::from(value) * u128::from(enabled);
    u64::try_from(whole.checked_div(u128::from(running))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_time_stands_for_the_whole() {
        assert_eq!(scaled(10, 100, 100), Some(10));
        assert_eq!(scaled(10, 100, 50), Some(20));
        assert_eq!(scaled(0, 100, 0), None);
    }

    #[test]
    fn instructions_are_counted_or_it_is_said_why_not() {
        let perf = match Perf::of_this_thread() {
            Ok(perf) => perf,
            Err(error) => return assert!(error.raw_os_error().is_some(), "{error}"),
        };
        let Ok(before) = perf.read() else { return };
        let sum = (0..100_000u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        let after = perf.read().unwrap();
        assert!(after.instructions >= before.instructions + 100_000, "{sum}: {before:?} {after:?}");
    }
}
