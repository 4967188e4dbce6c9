//! A device whose frames the host's own network stack does not get to see.
//!
//! The kernel hands a received frame first to packet sockets, then to the hooks on ingress, then to its protocols.
//! Whatever drops everything on such a hook leaves the device to the packet sockets.

mod chain;

use std::io;

use super::bpf::insn::{Program as Code, Reg};
use super::bpf::{Kind, Link, LoadError, Program};
use super::netdev::Netdev;
use chain::Chain;

/// Frames that arrive on a device end behind its packet sockets, as long as this lives, and no longer than its process
/// does: what holds it goes with its last descriptor.
#[derive(Debug)]
pub struct IngressDrop {
    _held: Held,
}

/// By a program where the kernel has such hooks (6.6) and we may; else by a chain (5.12), which root of a user namespace
/// may have as well.
#[derive(Debug)]
enum Held {
    Program { _link: Link },
    Chain { _chain: Chain },
}

impl IngressDrop {
    /// Drops what arrives on `device`, which is in the calling thread's network namespace.
    ///
    /// # Errors
    /// `NotFound` for no such device; `PermissionDenied` without `CAP_NET_ADMIN`; `Unsupported` or `InvalidInput` from a
    /// kernel that has neither kind of hook; `AlreadyExists` while another holds the device so.
    pub fn on(device: &Netdev) -> io::Result<Self> {
        let ifindex = device.index()?;
        let _held = match program().and_then(|program| Ok(program.attach_ingress(ifindex)?)) {
            Ok(link) => Held::Program { _link: link },
            Err(_) => Held::Chain { _chain: Chain::on(device.name())? },
        };
        Ok(Self { _held })
    }
}

/// A program that drops every frame.
fn program() -> Result<Program, LoadError> {
    const TCX_DROP: i32 = 2;
    let mut code = Code::new();
    code.set(Reg::R0, TCX_DROP).exit();
    Program::load(Kind::Ingress, "rigswitch", &code.finish())
}
