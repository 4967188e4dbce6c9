//! What control writes and a program reads: AF_XDP sockets by queue, and sets of keys.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::super::xsk::Socket;
use super::{MAP_CREATE, MAP_DELETE_ELEM, MAP_UPDATE_ELEM, bpf, bpf_fd};

/// A map from receive queue to AF_XDP socket (`BPF_MAP_TYPE_XSKMAP`).
#[derive(Debug)]
pub struct XskMap {
    fd: OwnedFd,
}

impl XskMap {
    /// A map of `queues` empty entries.
    ///
    /// # Errors
    /// `EPERM` without `CAP_BPF` and `CAP_NET_ADMIN`.
    pub fn new(queues: u32) -> io::Result<Self> {
        const XSKMAP: u32 = 17;
        Ok(Self { fd: create(XSKMAP, 4, queues, 0)? })
    }

    /// Frames of `queue` go to `socket` from now on. The kernel forgets the entry when the socket closes.
    ///
    /// # Errors
    /// `E2BIG` when the map has no such queue.
    pub fn insert(&self, queue: u32, socket: &Socket) -> io::Result<()> {
        change(&self.fd, MAP_UPDATE_ELEM, &queue, Some(socket.as_fd().as_raw_fd()))
    }

    /// Frames of `queue` go to no socket from now on.
    ///
    /// # Errors
    /// `EINVAL` when the map has no such queue.
    pub fn remove(&self, queue: u32) -> io::Result<()> {
        change(&self.fd, MAP_DELETE_ELEM, &queue, None)
    }
}

impl AsFd for XskMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Keys of `N` bytes that a program looks for (`BPF_MAP_TYPE_HASH`). Each comes and goes by itself, between one frame and
/// the next.
#[derive(Debug)]
pub struct KeySet<const N: usize> {
    fd: OwnedFd,
}

impl<const N: usize> KeySet<N> {
    /// An empty set, with memory for as many keys as it has, and room for `most`.
    ///
    /// # Errors
    /// `EPERM` without `CAP_BPF` and `CAP_NET_ADMIN`.
    pub fn new(most: u32) -> io::Result<Self> {
        const HASH: u32 = 1;
        const NO_PREALLOC: u32 = 1;
        Ok(Self { fd: create(HASH, u32::try_from(N).unwrap_or(u32::MAX), most, NO_PREALLOC)? })
    }

    /// Puts a key in, if it is not there.
    ///
    /// # Errors
    /// `E2BIG` when there is no room, `ENOMEM`.
    pub fn insert(&self, key: &[u8; N]) -> io::Result<()> {
        change(&self.fd, MAP_UPDATE_ELEM, key, Some(1))
    }

    /// Takes a key out.
    ///
    /// # Errors
    /// `ENOENT` when it is not there.
    pub fn remove(&self, key: &[u8; N]) -> io::Result<()> {
        change(&self.fd, MAP_DELETE_ELEM, key, None)
    }
}

impl<const N: usize> AsFd for KeySet<N> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A map whose values are of four bytes.
fn create(map_type: u32, key_size: u32, max_entries: u32, map_flags: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Create {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
    }
    bpf_fd(MAP_CREATE, &Create { map_type, key_size, value_size: 4, max_entries, map_flags })
}

/// `command` on the element of a map at `key`, which is as long as the map's keys are, with a value if that takes one.
fn change<K>(map: &OwnedFd, command: libc::c_int, key: &K, value: Option<i32>) -> io::Result<()> {
    #[repr(C)]
    struct Element {
        map: u32,
        pad: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let key = (&raw const *key).expose_provenance() as u64;
    let value = value.as_ref().map_or(0, |value| (&raw const *value).expose_provenance() as u64);
    let map = map.as_raw_fd().unsigned_abs();
    bpf(command, &Element { map, pad: 0, key, value, flags: 0 }).map(drop)
}
