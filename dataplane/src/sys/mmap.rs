//! Memory from `mmap(2)`: anonymous and zeroed for packets and tables, or a ring of a socket.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// Bytes per page, and the alignment of every mapping.
pub const PAGE: usize = 4096;

/// A page-aligned range of memory, unmapped on drop.
///
/// It hands out only its address: who may touch which byte, and when, is for its owner to decide, since the kernel
/// (or another worker) may be writing to the same memory.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address range owned by the process; nothing about it belongs to a thread, and it
// dereferences nothing itself.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`; shared references expose only the address and the length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` zeroed bytes, rounded up to a page, huge pages advised.
    ///
    /// # Errors
    /// `EINVAL` for zero bytes; `ENOMEM` when the kernel has no room.
    pub fn anonymous(len: usize) -> io::Result<Self> {
        let len = len.checked_next_multiple_of(PAGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1, 0)?;
        // SAFETY: the range is ours. Advice only: without huge pages everything still works.
        unsafe { libc::madvise(mapping.start.as_ptr().cast(), mapping.len, libc::MADV_HUGEPAGE) };
        Ok(mapping)
    }

    /// `len` bytes of `fd` at `offset`, shared with the kernel and faulted in at once.
    ///
    /// # Errors
    /// What `mmap(2)` answers: `EINVAL` for an offset the descriptor does not know.
    pub fn shared(fd: BorrowedFd<'_>, offset: i64, len: usize) -> io::Result<Self> {
        Self::map(len, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd(), offset)
    }

    /// The first byte; page aligned.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes mapped.
    #[allow(clippy::len_without_is_empty)] // A mapping is never empty.
    pub fn len(&self) -> usize {
        self.len
    }

    fn map(len: usize, flags: i32, fd: i32, offset: i64) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: without MAP_FIXED a new mapping replaces nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `map` mapped exactly this range, and only the owner of the mapping knew of it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Pointer-free values of which all-zero bytes are one. Sealed: integers, their atomics, and arrays of them.
pub trait Zeroable: sealed::Sealed {}
impl<T: sealed::Sealed> Zeroable for T {}

mod sealed {
    /// # Safety
    /// All-zero bytes are a value, and dropping one does nothing.
    #[allow(clippy::missing_safety_doc, unreachable_pub)]
    pub unsafe trait Sealed {}
}

macro_rules! zeroable {
    ($($type:ty)*) => { $(
        // SAFETY: an integer, or an atomic of the same representation.
        unsafe impl sealed::Sealed for $type {}
    )* };
}
zeroable!(u8 u16 u32 u64 AtomicU8 AtomicU16 AtomicU32 AtomicU64);
// SAFETY: an array of zeroable values is one.
unsafe impl<T: sealed::Sealed, const N: usize> sealed::Sealed for [T; N] {}

/// A zeroed slice on a mapping of its own: storage for tables. Pages are real only once touched, and its start is
/// page aligned, so `[AtomicU64; 8]` are whole cache lines.
#[derive(Debug)]
pub struct ZeroedSlice<T> {
    mapping: Mapping,
    len: usize,
    values: std::marker::PhantomData<T>,
}

impl<T: Zeroable> ZeroedSlice<T> {
    /// `len` zeroed values.
    ///
    /// # Errors
    /// As [`Mapping::anonymous`].
    pub fn new(len: usize) -> io::Result<Self> {
        const { assert!(align_of::<T>() <= PAGE) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { mapping: Mapping::anonymous(bytes)?, len, values: std::marker::PhantomData })
    }
}

impl<T: Zeroable> Deref for ZeroedSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `new` mapped `len` aligned values, zero is one of them (`Zeroable`), and the slice is borrowed from
        // the mapping, which nothing else points into.
        unsafe { std::slice::from_raw_parts(self.mapping.start.cast().as_ptr(), self.len) }
    }
}

impl<T: Zeroable> std::ops::DerefMut for ZeroedSlice<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as `deref`, and `&mut self` makes the borrow exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.start.cast().as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_mapping_is_page_aligned_and_rounded_up() {
        let mapping = Mapping::anonymous(5000).unwrap();
        assert_eq!(mapping.start().as_ptr() as usize % PAGE, 0);
        assert_eq!(mapping.len(), 2 * PAGE);
    }

    #[test]
    fn an_empty_or_impossible_mapping_is_an_error() {
        assert!(Mapping::anonymous(0).is_err());
        assert!(Mapping::anonymous(usize::MAX).is_err());
        assert!(ZeroedSlice::<u64>::new(usize::MAX / 4).is_err());
    }

    #[test]
    fn a_slice_starts_zeroed_and_keeps_what_is_written() {
        let mut plain = ZeroedSlice::<u64>::new(3000).unwrap();
        assert!(plain.iter().all(|&value| value == 0));
        plain[2999] = 7;
        assert_eq!((plain.len(), plain[2999]), (3000, 7));

        let lines = ZeroedSlice::<[AtomicU64; 8]>::new(4).unwrap();
        lines[3][7].store(9, Ordering::Relaxed);
        assert_eq!(lines[3][7].load(Ordering::Relaxed), 9);
        assert_eq!(lines.as_ptr() as usize % 64, 0);
    }
}
