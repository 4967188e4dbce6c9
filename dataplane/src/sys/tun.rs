//! TAP and TUN devices: make or join one, and move what they carry with its `virtio_net_hdr` through their queues (tun(4)).

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::netdev::{InterfaceRequest, Netdev};
use super::netns::{Netns, inside};
use super::{check, context};

const CLONE_DEVICE: &str = "/dev/net/tun";

/// Bytes of `struct virtio_net_hdr` that stand before every frame, both ways.
pub const VNET_HEADER_LENGTH: usize = 10;

/// What goes through a device, in the words of `ip tuntap add … mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Ethernet frames.
    Tap,
    /// Packets of IP, with nothing before them.
    Tun,
}

impl Mode {
    fn flag(self) -> libc::c_int {
        match self {
            Self::Tap => libc::IFF_TAP,
            Self::Tun => libc::IFF_TUN,
        }
    }
}

/// The most queues that one TAP can have (the kernel's `MAX_TAP_QUEUES`).
pub const MAX_QUEUES: usize = 256;

/// One queue of a TAP or TUN device: what the kernel sends there is received here, and the other way round.
/// A device that did not exist before is gone with its last queue.
#[derive(Debug)]
pub struct TapQueue {
    file: File,
    // Queues of this device that this process has open; whoever closes the last one tidies up.
    open: Arc<AtomicUsize>,
}

/// Opens `queues` queues of the TAP `name` in `netns` (or the calling thread's namespace), making the device if it
/// is not there. With `offload` the kernel may hand over frames whose checksum is not yet written and TCP and UDP
/// super-frames of up to 64 KB, and says so in the header; without, it never does. Every call is non-blocking.
///
/// A device made here with one queue refuses a second holder; one with several cannot, the kernel shares it.
///
/// # Errors
/// Each names the device: `ResourceBusy` while something else holds it, `InvalidInput` when it is no TAP or has
/// only one queue and several were asked for, `NotFound` without the kernel's TUN driver, `PermissionDenied` without
/// `CAP_NET_ADMIN`.
pub fn open(name: &str, netns: Option<&Netns>, queues: usize, offload: bool) -> io::Result<Vec<TapQueue>> {
    if !(1..=MAX_QUEUES).contains(&queues) {
        let text = format!("TAP {name}: {queues} queues; a TAP has 1 to {MAX_QUEUES}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let open_all = || {
        let open = Arc::new(AtomicUsize::new(0));
        let queues = (0..queues).map(|_| TapQueue::open(name, queues > 1, Arc::clone(&open)));
        let queues = queues.collect::<io::Result<Vec<_>>>()?;
        // Both settings are the device's, and a persistent one may come with another owner's.
        queues[0].set_header_length()?;
        queues[0].set_offload(offload)?;
        Ok(queues)
    };
    inside(netns, open_all)?.map_err(|error| explain(error, name))
}

/// Makes the device `name` in `netns` (or the calling thread's namespace), with one queue, offloads and no carrier.
///
/// # Errors
/// `AlreadyExists` when any device has that name; else as for [`open`].
pub fn create(name: &str, netns: Option<&Netns>, mode: Mode) -> io::Result<TapQueue> {
    let create = || {
        let file = clone_device()?;
        attach(&file, name, mode, libc::IFF_TUN_EXCL)?;
        let queue = TapQueue { file, open: Arc::new(AtomicUsize::new(1)) };
        queue.set_carrier(false)?;
        queue.set_header_length()?;
        queue.set_offload(true)?;
        Ok(queue)
    };
    inside(netns, create)?.map_err(|error: io::Error| match error.raw_os_error() {
        // A device of another kind is refused for that first.
        Some(libc::EBUSY | libc::EINVAL) => {
            let text = format!("there is a network device {name} already");
            io::Error::new(io::ErrorKind::AlreadyExists, text)
        }
        _ => explain(error, name),
    })
}

fn clone_device() -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(CLONE_DEVICE);
    opened.map_err(|e| context(e, CLONE_DEVICE))
}

impl TapQueue {
    fn open(name: &str, several: bool, open: Arc<AtomicUsize>) -> io::Result<Self> {
        let file = clone_device()?;
        match attach(&file, name, Mode::Tap, if several { libc::IFF_MULTI_QUEUE } else { 0 }) {
            // A device that was made with several queues can be joined by one, but must be asked for as it was made.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !several => {
                attach(&file, name, Mode::Tap, libc::IFF_MULTI_QUEUE)?;
            }
            result => result?,
        }
        open.fetch_add(1, Ordering::Relaxed);
        Ok(Self { file, open })
    }

    /// Receives one frame behind its header into `parts`, and answers their bytes together. A frame longer
    /// than `parts` is cut without a sign: leave room for one byte more than is expected.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; [`is_gone`] tells a device that was deleted from one that has a bad moment.
    pub fn receive(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&self.file).read_vectored(parts)
    }

    /// Sends the one frame that `parts` hold together, behind its header.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; `EIO` while the device is down; `InvalidInput` for a header that the kernel
    /// refuses; [`is_gone`] as above.
    pub fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.file).write_vectored(parts)
    }

    /// Another handle on the same queue, which the kernel counts as one: the device stays while either is there.
    ///
    /// # Errors
    /// The kernel's, when the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let file = self.file.try_clone()?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Self { file, open: Arc::clone(&self.open) })
    }

    /// The device under its present name, in the namespace where it is now: a TAP may be renamed and moved.
    ///
    /// # Errors
    /// [`is_gone`] when the device was deleted.
    pub fn netdev(&self) -> io::Result<Netdev> {
        Netdev::new(&self.name()?, Some(&self.netns()?))
    }

    fn interface(&self) -> io::Result<InterfaceRequest> {
        let mut request = InterfaceRequest::empty();
        // SAFETY: TUNGETIFF fills an ifreq, which `request` is laid out as.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
        Ok(request)
    }

    /// What the device is called now.
    ///
    /// # Errors
    /// As for [`Self::netdev`].
    pub fn name(&self) -> io::Result<String> {
        Ok(self.interface()?.name())
    }

    /// The namespace where the device is now.
    ///
    /// # Errors
    /// As for [`Self::netdev`].
    pub fn netns(&self) -> io::Result<Netns> {
        // SAFETY: TUNGETDEVNETNS takes no argument and answers a new descriptor.
        let fd = check(unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNGETDEVNETNS) })?;
        // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
    }

    /// Says whether the device has a carrier.
    ///
    /// # Errors
    /// [`is_gone`] when the device was deleted.
    pub fn set_carrier(&self, carrier: bool) -> io::Result<()> {
        let mut carrier = libc::c_int::from(carrier);
        // SAFETY: TUNSETCARRIER reads an int through its argument.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETCARRIER, &raw mut carrier) })?;
        Ok(())
    }

    fn set_header_length(&self) -> io::Result<()> {
        let mut length = i32::try_from(VNET_HEADER_LENGTH).unwrap_or(i32::MAX);
        // SAFETY: TUNSETVNETHDRSZ reads an int through its argument.
        check(unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw mut length) })?;
        Ok(())
    }

    /// Lets the kernel leave checksums and segmentation to us, as far as it knows how, or not at all.
    fn set_offload(&self, on: bool) -> io::Result<()> {
        const TCP: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        // Kernels before 6.2 do not know UDP segmentation.
        const UDP: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;
        let set = |flags: u32| {
            // SAFETY: TUNSETOFFLOAD takes its argument by value.
            check(unsafe {
                libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags))
            })
        };
        match on {
            true => set(TCP | UDP).or_else(|_| set(TCP))?,
            false => set(0)?,
        };
        Ok(())
    }

    fn is_persistent(&self) -> bool {
        self.interface().is_ok_and(|interface| interface.flags() & libc::IFF_PERSIST != 0)
    }
}

impl Drop for TapQueue {
    fn drop(&mut self) {
        // A persistent device outlives us, and what reads it next may know nothing of offloads.
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 && self.is_persistent() {
            let _ = self.set_offload(false);
        }
    }
}

impl AsFd for TapQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether an error of a [`TapQueue`] means that its device was deleted; it will not come back under this queue.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADFD | libc::ENODEV))
}

fn attach(file: &File, name: &str, mode: Mode, special: libc::c_int) -> io::Result<()> {
    let flags = mode.flag() | libc::IFF_NO_PI | libc::IFF_VNET_HDR | special;
    let [low, high, ..] = flags.to_le_bytes();
    let mut request = InterfaceRequest::new(name, &u16::from_le_bytes([low, high]).to_ne_bytes())?;
    // SAFETY: TUNSETIFF reads and fills an ifreq, which `request` is laid out as.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    Ok(())
}

/// What went wrong in the operator's words. The kinds are those that [`open`] promises.
fn explain(error: io::Error, name: &str) -> io::Error {
    let (kind, reason) = match error.raw_os_error() {
        Some(libc::EBUSY) => (
            io::ErrorKind::ResourceBusy,
            "another process holds it: stop that one, or give this port another TAP".to_owned(),
        ),
        Some(libc::EINVAL) => (
            io::ErrorKind::InvalidInput,
            "exists and is no TAP of this kind: to have several queues it must be made with \
             `ip tuntap add … mode tap multi_queue`"
                .to_owned(),
        ),
        Some(libc::EPERM) => (
            io::ErrorKind::PermissionDenied,
            "not permitted: making or joining one needs CAP_NET_ADMIN, or to be its owner".to_owned(),
        ),
        Some(libc::E2BIG) => {
            (io::ErrorKind::InvalidInput, "has no queue left: others hold some of its queues".to_owned())
        }
        _ if error.kind() == io::ErrorKind::NotFound => {
            (error.kind(), format!("{error}; is the kernel's tun module loaded?"))
        }
        _ => (error.kind(), error.to_string()),
    };
    io::Error::new(kind, format!("TAP {name}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_queues_that_no_tap_has_is_refused() {
        for queues in [0, MAX_QUEUES + 1] {
            let error = open("rsw-none", None, queues, true).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_explained() {
        let of = |errno| explain(io::Error::from_raw_os_error(errno), "vm0");
        assert_eq!(of(libc::EBUSY).to_string().split(':').next(), Some("TAP vm0"));
        assert_eq!(of(libc::EBUSY).kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(of(libc::EINVAL).kind(), io::ErrorKind::InvalidInput);
        assert_eq!(of(libc::EPERM).kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(of(libc::ENOENT).kind(), io::ErrorKind::NotFound);
    }
}
