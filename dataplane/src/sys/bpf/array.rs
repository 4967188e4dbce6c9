//! An array of rows of numbers that programs and we have in common (`BPF_MAP_TYPE_ARRAY`, mapped into memory).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{MAP_CREATE, bpf_fd};
use crate::sys::mmap::Mapping;

/// Rows of 64-bit numbers, all zero at first. Each number is read and written whole, from both sides.
#[derive(Debug)]
pub struct Array {
    fd: OwnedFd,
    memory: Mapping,
    rows: usize,
    words: usize,
}

// SAFETY: the memory is only ever reached as atomics, from wherever.
unsafe impl Sync for Array {}

impl Array {
    /// `rows` rows of `words` numbers each.
    ///
    /// # Errors
    /// `EPERM` without `CAP_BPF`; `E2BIG` or `ENOMEM` for more than the kernel has to give.
    pub fn new(rows: u32, words: u32) -> io::Result<Self> {
        #[repr(C)]
        struct Create {
            map_type: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
            flags: u32,
        }
        const ARRAY: u32 = 2;
        const MMAPABLE: u32 = 1 << 10;
        const PAGE: usize = 4096;
        let value_size = words.checked_mul(8).ok_or(io::ErrorKind::InvalidInput)?;
        let create = Create { map_type: ARRAY, key_size: 4, value_size, max_entries: rows, flags: MMAPABLE };
        let fd = bpf_fd(MAP_CREATE, &create)?;
        let (rows, words) = (rows as usize, words as usize);
        let memory = Mapping::shared(fd.as_fd(), 0, (rows * words * 8).next_multiple_of(PAGE))?;
        Ok(Self { fd, memory, rows, words })
    }

    /// The descriptor by which a program knows it.
    pub fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A number.
    ///
    /// # Panics
    /// When the array has no such row, or the row no such number.
    pub fn load(&self, row: usize, word: usize) -> u64 {
        self.word(row, word).load(Ordering::Relaxed)
    }

    /// Makes a number another.
    ///
    /// # Panics
    /// As [`Self::load`].
    pub fn store(&self, row: usize, word: usize, value: u64) {
        self.word(row, word).store(value, Ordering::Relaxed);
    }

    fn word(&self, row: usize, word: usize) -> &AtomicU64 {
        assert!(row < self.rows && word < self.words, "row {row}, number {word}");
        let at = (row * self.words + word) * 8;
        // SAFETY: the mapping holds `rows * words` numbers from its page-aligned start on, so `at` lies within it.
        let place = unsafe { self.memory.start().add(at) };
        // SAFETY: the place is aligned and mapped as long as `self` is; programs write it by aligned 64-bit stores, and any
        // bytes are a number.
        unsafe { AtomicU64::from_ptr(place.as_ptr().cast()) }
    }
}
