//! Frames out of nothing: an XDP program run on frames that go where it sends them (`BPF_F_TEST_XDP_LIVE_FRAMES`).

use std::io;
use std::os::fd::AsRawFd;

use super::Program;
use crate::sys::check;

/// The most frames of one batch (`TEST_XDP_MAX_BATCH`, net/bpf/test_run.c).
pub const LARGEST_BATCH: u32 = 256;

impl Program {
    /// Runs an XDP program `times` times on frames that begin as copies of `frame`, `batch` of them in flight at once, in the
    /// calling thread's network namespace. What the program redirects is sent; the copies are used again, so that the program
    /// finds in them what it, and whoever had them since, has left there.
    ///
    /// # Errors
    /// `Interrupted` by a signal, when the program may have run fewer times; `EINVAL` for a frame that is too large for a page
    /// or too small for Ethernet; `E2BIG` for a batch beyond [`LARGEST_BATCH`]; `EPERM` without `CAP_NET_ADMIN`.
    pub fn run_live(&self, frame: &[u8], times: u32, batch: u32) -> io::Result<()> {
        let mut run = Run {
            program: self.fd.as_raw_fd().unsigned_abs(),
            size_in: u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            data_in: frame.as_ptr().expose_provenance() as u64,
            repeat: times,
            flags: LIVE_FRAMES,
            batch,
            ..Run::default()
        };
        // SAFETY: the kernel reads `frame`, which outlives the call, and of `run`, a `repr(C)` attribute without padding, as many
        // bytes as are said here; of what is mapped it writes only into `run`, which is ours alone.
        let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, &raw mut run, size_of::<Run>()) };
        check(libc::c_int::try_from(result).unwrap_or(-1)).map(drop)
    }
}

// include/uapi/linux/bpf.h
const PROG_TEST_RUN: libc::c_int = 10;
const LIVE_FRAMES: u32 = 1 << 1;

/// The part of `union bpf_attr` that `BPF_PROG_TEST_RUN` reads, and answers in.
#[derive(Default)]
#[repr(C)]
struct Run {
    program: u32,
    result: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    pad: u32,
}

const _: () = assert!(size_of::<Run>() == 80);
