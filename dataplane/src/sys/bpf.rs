//! `bpf(2)`: programs, the links that attach them to devices, and the maps that they read.

pub mod array;
pub mod btf;
pub mod insn;
pub mod live;
mod maps;

pub use maps::{KeySet, XskMap};

use super::check;
use insn::Insn;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Where a program is to run.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// On frames as a driver receives them.
    Xdp(Traits),
    /// On frames that have been received, behind packet sockets (`BPF_PROG_TYPE_SCHED_CLS`).
    Ingress,
}

/// What the kernel is to know of an XDP program.
#[derive(Clone, Copy, Default, Debug)]
pub struct Traits {
    /// It copes with frames in several buffers (`BPF_F_XDP_HAS_FRAGS`).
    pub frags: bool,
    /// The one device it may attach to, natively, and whose metadata it may read (`BPF_F_XDP_DEV_BOUND_ONLY`).
    pub bound_to: Option<u32>,
}

/// Why a program did not load.
#[derive(Debug, thiserror::Error)]
#[error("the kernel refused the program: {source}{}{log}", if log.is_empty() { "" } else { "\n" })]
pub struct LoadError {
    /// What `bpf(2)` answered.
    pub source: io::Error,
    /// The end of the verifier's log.
    pub log: String,
}

impl From<io::Error> for LoadError {
    fn from(source: io::Error) -> Self {
        Self { source, log: String::new() }
    }
}

/// A loaded program.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

impl Program {
    /// Load `code` under `name`, of which the kernel keeps the first 15 letters, digits, `_` and `.`.
    ///
    /// # Errors
    /// The kernel's answer, with the verifier's log when it said something.
    pub fn load(kind: Kind, name: &str, code: &[Insn]) -> Result<Self, LoadError> {
        let attempt = |log: &mut [u8]| bpf_fd(PROG_LOAD, &Load::new(kind, name, code, log));
        let source = match attempt(&mut []) {
            Ok(fd) => return Ok(Self { fd }),
            Err(error) => error,
        };
        // Once more, for the verifier's reasons.
        let mut log = vec![0; 64 * 1024];
        match attempt(&mut log) {
            Ok(fd) => Ok(Self { fd }),
            Err(_) => Err(LoadError { source, log: tail(&log) }),
        }
    }

    /// Attach to the device `ifindex` of the calling thread's network namespace.
    ///
    /// # Errors
    /// `EBUSY` when the device has a program; `EOPNOTSUPP` when its driver lacks native XDP, `ERANGE` when the MTU (or
    /// that of a veth's peer) is too large for it; `ENODEV`.
    pub fn attach_xdp(&self, ifindex: u32, mode: Attach) -> io::Result<Link> {
        let flags = match mode {
            Attach::Generic => 1 << 1,
            Attach::Native => 1 << 2,
        };
        self.attach(ifindex, BPF_XDP, flags)
    }

    /// Attach behind the packet sockets of the device `ifindex` of the calling thread's network namespace, before what
    /// others have attached there.
    ///
    /// # Errors
    /// `EINVAL` before kernel 6.6; `ENODEV`.
    pub fn attach_ingress(&self, ifindex: u32) -> io::Result<Link> {
        const BEFORE: u32 = 1 << 3;
        self.attach(ifindex, BPF_TCX_INGRESS, BEFORE)
    }

    fn attach(&self, ifindex: u32, attach_type: u32, flags: u32) -> io::Result<Link> {
        #[repr(C)]
        struct Create {
            program: u32,
            ifindex: u32,
            attach_type: u32,
            flags: u32,
        }
        let program = self.fd.as_raw_fd().unsigned_abs();
        Ok(Link { fd: bpf_fd(LINK_CREATE, &Create { program, ifindex, attach_type, flags })? })
    }
}

/// Where in the receive path a program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attach {
    /// In the driver.
    Native,
    /// In the stack, on an skb, for any device.
    Generic,
}

impl Attach {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// An attachment: it ends when this is dropped, or when the process dies, however it dies.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Closing would do, but for a process that is just being forked and still has the descriptor too. A device that
        // is gone has been let go of already.
        let _ = bpf(LINK_DETACH, &self.fd.as_raw_fd());
    }
}

// enum bpf_cmd
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const LINK_DETACH: libc::c_int = 34;

// enum bpf_attach_type
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` reads.
#[repr(C)]
struct Load {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
}

impl Load {
    fn new(kind: Kind, name: &str, code: &[Insn], log: &mut [u8]) -> Self {
        const SCHED_CLS: u32 = 3;
        const XDP: u32 = 6;
        const HAS_FRAGS: u32 = 1 << 5;
        const DEV_BOUND_ONLY: u32 = 1 << 6;
        // Kernel functions are for programs under a licence the GPL is compatible with.
        const LICENSE: &core::ffi::CStr = c"Dual MIT/GPL";
        let (program_type, attach_type, traits) = match kind {
            Kind::Xdp(traits) => (XDP, BPF_XDP, traits),
            Kind::Ingress => (SCHED_CLS, BPF_TCX_INGRESS, Traits::default()),
        };
        let frags = if traits.frags { HAS_FRAGS } else { 0 };
        let bound = if traits.bound_to.is_some() { DEV_BOUND_ONLY } else { 0 };
        Self {
            program_type,
            instructions: u32::try_from(code.len()).unwrap_or(u32::MAX),
            code: code.as_ptr().expose_provenance() as u64,
            license: LICENSE.as_ptr().expose_provenance() as u64,
            log_level: u32::from(!log.is_empty()),
            log_size: u32::try_from(log.len()).unwrap_or(0),
            log: if log.is_empty() { 0 } else { log.as_mut_ptr().expose_provenance() as u64 },
            kernel_version: 0,
            flags: frags | bound,
            name: object_name(name),
            ifindex: traits.bound_to.unwrap_or(0),
            attach_type,
        }
    }
}

fn object_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// The last lines of a zero-terminated log.
fn tail(log: &[u8]) -> String {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// A command that answers a new descriptor.
fn bpf_fd<T>(command: libc::c_int, attribute: &T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attribute)?;
    // SAFETY: the callers' commands answer a descriptor just made, that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `attribute` is the leading part of `union bpf_attr` for `command`; the kernel takes the rest as zero.
fn bpf<T>(command: libc::c_int, attribute: &T) -> io::Result<libc::c_int> {
    let (attribute, size) = ((&raw const *attribute), size_of::<T>());
    // SAFETY: the kernel reads `size` bytes of a live `repr(C)` attribute without padding. The addresses in it are of
    // objects that outlive the call, of the sizes the attribute (or the map's key and value) says; it writes only to
    // the log, which the caller borrows mutably.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute, size) };
    check(libc::c_int::try_from(result).unwrap_or(-1))
}
