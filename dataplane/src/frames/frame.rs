//! The token for one frame: where its bytes are, and what is still to be done to them.

use std::ptr::NonNull;
use std::slice;

use super::area::CHUNK;
use super::offload::{Checksum, Gso, Packed};
use crate::sys::hints;

/// One frame, owned: a linear token for a chunk, or for a run of adjacent chunks, of its worker's area.
///
/// It is made by a [`Pool`](super::Pool) and must go back to one; dropping it anywhere else loses its memory and, in
/// a debug build, panics. It cannot leave its thread.
///
/// Two words, so that it travels in registers: as three it went through memory at every call, written in pieces and read whole, which a
/// processor's store queue cannot forward. What few frames have, an offload state that says more than "unknown", is in the chunk itself.
pub struct Frame {
    data: NonNull<u8>,
    shape: Shape,
}

const _: () = assert!(size_of::<Frame>() == 16);

/// Bytes at the start of a frame's first chunk that are never the frame's: its offload state, if it has one.
pub(super) const RESERVED: usize = size_of::<Packed>();

/// How a frame lies in its chunks: bytes of data (32 bits), bytes before them (16), chunks (8), and which offload state it has.
#[derive(Clone, Copy)]
struct Shape(u64);

#[allow(clippy::cast_possible_truncation)] // of each field its own bits
impl Shape {
    const HEAD: u32 = 32;
    const CHUNKS: u32 = 48;
    const KEPT: u64 = 1 << 56; // in the chunk
    const UNKNOWN: u64 = 1 << 57; // of the checksum; nothing else
    const OFFLOAD: u64 = Self::KEPT | Self::UNKNOWN;

    fn new(chunks: u8, head: u16, len: u32) -> Self {
        Self(u64::from(len) | u64::from(head) << Self::HEAD | u64::from(chunks) << Self::CHUNKS)
    }

    fn len(self) -> u32 {
        self.0 as u32
    }

    fn head(self) -> u16 {
        (self.0 >> Self::HEAD) as u16
    }

    fn chunks(self) -> u8 {
        (self.0 >> Self::CHUNKS) as u8
    }

    fn has_offload(self) -> bool {
        self.0 & Self::OFFLOAD != 0
    }

    fn with_len(self, len: u32) -> Self {
        Self(self.0 >> Self::HEAD << Self::HEAD | u64::from(len))
    }

    /// `count` bytes of those before the data, of which there are as many, become data.
    fn grown(self, count: u16) -> Self {
        Self(self.0 - (u64::from(count) << Self::HEAD) + u64::from(count))
    }

    /// The opposite: of data there are as many, and the bytes before them stay below 64 KiB.
    fn shrunk(self, count: u16) -> Self {
        Self(self.0 + (u64::from(count) << Self::HEAD) - u64::from(count))
    }
}

impl Frame {
    /// The token for `chunks` chunks from `chunk` on, with data of `len` bytes after `head`.
    ///
    /// # Safety
    /// The chunks are initialised, belong to the caller alone, and stay allocated until this frame is retired;
    /// `head`, [`RESERVED`] at least, and `len` together lie within them.
    #[inline]
    pub(super) unsafe fn new(chunk: NonNull<u8>, chunks: u8, head: u16, len: u32) -> Self {
        debug_assert!(usize::from(head) + len as usize <= usize::from(chunks) * CHUNK);
        debug_assert!(usize::from(head) >= RESERVED);
        // SAFETY: `head` lies within the chunks, which the caller owns.
        let data = unsafe { chunk.add(usize::from(head)) };
        Self { data, shape: Shape::new(chunks, head, len) }
    }

    /// Ends the token without returning memory: its first chunk is the caller's again.
    #[inline]
    pub(super) fn retire(self) -> NonNull<u8> {
        let chunk = self.chunk();
        std::mem::forget(self);
        chunk
    }

    /// Where its memory lies, whatever was put before it or taken off: no two frames lie in one place.
    pub fn memory(&self) -> usize {
        self.chunk().addr().get()
    }

    #[inline]
    fn chunk(&self) -> NonNull<u8> {
        // SAFETY: `data` lies `head` bytes into the first chunk, by `new`, `push_front` and `pull_front`.
        unsafe { self.data.sub(usize::from(self.shape.head())) }
    }

    /// The frame's bytes, from the destination address on.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `data` and `len` stay within chunks that this token owns, which are initialised.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len()) }
    }

    /// The frame's bytes, to change in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` is the only access.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.len()) }
    }

    /// Starts to bring the frame's headers closer: another CPU has just written them.
    #[inline]
    pub fn prefetch(&self) {
        if let Some(first) = self.bytes().first() {
            hints::prefetch(first);
        }
    }

    /// Bytes in the frame.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // an empty frame is malformed like any other short one
    pub fn len(&self) -> usize {
        self.shape.len() as usize
    }

    /// Where in its first chunk the frame begins.
    #[inline]
    pub fn start(&self) -> usize {
        usize::from(self.shape.head())
    }

    /// Free bytes before the frame.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.start() - RESERVED
    }

    /// Free bytes behind the frame.
    pub fn tailroom(&self) -> usize {
        self.capacity() - self.start() - self.len()
    }

    /// Bytes from the first chunk's start to the last one's end.
    pub fn capacity(&self) -> usize {
        usize::from(self.shape.chunks()) * CHUNK
    }

    /// Adjacent chunks it lies in.
    pub fn chunks(&self) -> usize {
        usize::from(self.shape.chunks())
    }

    /// Makes the frame `len` bytes long, from the same start. `false`, and nothing changed, if they do not fit.
    #[must_use]
    pub fn set_len(&mut self, len: usize) -> bool {
        let fits = self.start() + len <= self.capacity();
        if let (true, Ok(len)) = (fits, u32::try_from(len)) {
            self.shape = self.shape.with_len(len);
            return true;
        }
        false
    }

    /// Grows the frame by `count` bytes at the front, where a header is to be written; they hold whatever was
    /// there before. `false`, and nothing changed, if the headroom is too small.
    #[must_use]
    #[inline(always)]
    pub fn push_front(&mut self, count: u16) -> bool {
        if usize::from(count) > self.headroom() {
            return false;
        }
        self.shape = self.shape.grown(count);
        // SAFETY: at least `count` bytes of the first chunk lie before `data`.
        self.data = unsafe { self.data.sub(usize::from(count)) };
        if self.shape.has_offload() {
            self.shift_offload(i32::from(count));
        }
        true
    }

    /// Takes `count` bytes off the front. `false`, and nothing changed, if the frame is shorter.
    #[must_use]
    #[inline(always)]
    pub fn pull_front(&mut self, count: u16) -> bool {
        if u32::from(count) > self.shape.len() || self.shape.head().checked_add(count).is_none() {
            return false;
        }
        self.shape = self.shape.shrunk(count);
        // SAFETY: the frame's own bytes were at least `count`.
        self.data = unsafe { self.data.add(usize::from(count)) };
        if self.shape.has_offload() {
            self.shift_offload(-i32::from(count));
        }
        true
    }

    /// The `count` bytes directly before the frame (metadata a port put there); `None` if there are fewer.
    pub fn before(&self, count: usize) -> Option<&[u8]> {
        if count > self.start() {
            return None;
        }
        // SAFETY: at least `count` bytes of the first chunk lie before `data`, and this token owns them.
        let start = unsafe { self.data.sub(count) };
        // SAFETY: as above; they are initialised, and borrowed from `self`.
        Some(unsafe { slice::from_raw_parts(start.as_ptr(), count) })
    }

    /// Replaces the contents by `bytes`. `false`, and nothing changed, if they do not fit behind the headroom.
    #[must_use]
    pub fn fill(&mut self, bytes: &[u8]) -> bool {
        let fits = self.set_len(bytes.len());
        if fits {
            self.bytes_mut().copy_from_slice(bytes);
        }
        fits
    }

    /// How the transport checksum stands.
    #[inline]
    pub fn checksum(&self) -> Checksum {
        self.offload().checksum()
    }

    /// Notes how the transport checksum stands.
    #[inline]
    pub fn set_checksum(&mut self, checksum: Checksum) {
        let mut offload = self.offload();
        offload.set_checksum(checksum);
        self.set_offload(offload);
    }

    /// How to cut it, if it is a super-frame.
    #[inline]
    pub fn gso(&self) -> Option<Gso> {
        self.offload().gso()
    }

    /// Notes how to cut it.
    #[inline]
    pub fn set_gso(&mut self, gso: Option<Gso>) {
        let mut offload = self.offload();
        offload.set_gso(gso);
        self.set_offload(offload);
    }

    /// Whether it is fit for the wire as it is: no checksum to complete or look for, nothing to cut.
    #[inline]
    pub fn is_wire_ready(&self) -> bool {
        !self.shape.has_offload()
    }

    /// The offload state as one word, for a ring between workers.
    #[inline]
    pub fn offload_word(&self) -> u64 {
        self.offload().to_word()
    }

    /// Takes over the offload state that [`Frame::offload_word`] told.
    #[inline]
    pub fn set_offload_word(&mut self, word: u64) {
        self.set_offload(Packed::from_word(word));
    }

    /// Takes over the offload state of `other`, of which this is a copy.
    #[inline]
    pub fn copy_offload(&mut self, other: &Self) {
        self.set_offload(other.offload());
    }

    #[inline]
    fn offload(&self) -> Packed {
        if self.shape.0 & Shape::KEPT == 0 {
            return if self.shape.has_offload() { Packed::UNKNOWN } else { Packed::NONE };
        }
        // SAFETY: a chunk is aligned for it and begins with `RESERVED` bytes, which are no data; `set_offload` has written them.
        unsafe { self.chunk().cast().read() }
    }

    #[inline]
    fn set_offload(&mut self, offload: Packed) {
        self.shape.0 &= !Shape::OFFLOAD;
        if offload.is_none() {
            return;
        }
        if offload.is_unknown() {
            self.shape.0 |= Shape::UNKNOWN;
            return;
        }
        self.shape.0 |= Shape::KEPT;
        // SAFETY: as in `offload`; the token owns the chunk, and `&mut self` is the only access.
        unsafe { self.chunk().cast().write(offload) };
    }

    #[cold]
    fn shift_offload(&mut self, by: i32) {
        let mut offload = self.offload();
        offload.shift(by);
        self.set_offload(offload);
    }
}

#[cfg(debug_assertions)]
impl Drop for Frame {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a frame of {} bytes was dropped outside its pool", self.len());
    }
}
