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
pub struct Frame {
    data: NonNull<u8>,
    len: u32,
    head: u16, // bytes from the start of the first chunk to `data`
    chunks: u8,
    offload: Packed,
}

const _: () = assert!(size_of::<Frame>() == 24);

impl Frame {
    /// The token for `chunks` chunks from `chunk` on, with data of `len` bytes after `head`.
    ///
    /// # Safety
    /// The chunks are initialised, belong to the caller alone, and stay allocated until this frame is retired;
    /// `head` and `len` together lie within them.
    #[inline]
    pub(super) unsafe fn new(chunk: NonNull<u8>, chunks: u8, head: u16, len: u32) -> Self {
        debug_assert!(usize::from(head) + len as usize <= usize::from(chunks) * CHUNK);
        // SAFETY: `head` lies within the chunks, which the caller owns.
        let data = unsafe { chunk.add(usize::from(head)) };
        Self { data, len, head, chunks, offload: Packed::NONE }
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

    fn chunk(&self) -> NonNull<u8> {
        // SAFETY: `data` lies `head` bytes into the first chunk, by `new`, `push_front` and `pull_front`.
        unsafe { self.data.sub(usize::from(self.head)) }
    }

    /// The frame's bytes, from the destination address on.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `data` and `len` stay within chunks that this token owns, which are initialised.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.len as usize) }
    }

    /// The frame's bytes, to change in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` is the only access.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.len as usize) }
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
        self.len as usize
    }

    /// Free bytes before the frame.
    pub fn headroom(&self) -> usize {
        usize::from(self.head)
    }

    /// Free bytes behind the frame.
    pub fn tailroom(&self) -> usize {
        self.capacity() - self.headroom() - self.len()
    }

    /// Bytes from the first chunk's start to the last one's end.
    pub fn capacity(&self) -> usize {
        usize::from(self.chunks) * CHUNK
    }

    /// Adjacent chunks it lies in.
    pub fn chunks(&self) -> usize {
        usize::from(self.chunks)
    }

    /// Makes the frame `len` bytes long, from the same start. `false`, and nothing changed, if they do not fit.
    #[must_use]
    pub fn set_len(&mut self, len: usize) -> bool {
        let fits = self.headroom() + len <= self.capacity();
        if let (true, Ok(len)) = (fits, u32::try_from(len)) {
            self.len = len;
            return true;
        }
        false
    }

    /// Grows the frame by `count` bytes at the front, where a header is to be written; they hold whatever was
    /// there before. `false`, and nothing changed, if the headroom is too small.
    #[must_use]
    pub fn push_front(&mut self, count: u16) -> bool {
        if count > self.head {
            return false;
        }
        self.head -= count;
        self.len += u32::from(count);
        self.offload.shift(i32::from(count));
        // SAFETY: at least `count` bytes of the first chunk lie before `data`.
        self.data = unsafe { self.data.sub(usize::from(count)) };
        true
    }

    /// Takes `count` bytes off the front. `false`, and nothing changed, if the frame is shorter.
    #[must_use]
    pub fn pull_front(&mut self, count: u16) -> bool {
        let Some(head) = self.head.checked_add(count) else { return false };
        if u32::from(count) > self.len {
            return false;
        }
        self.head = head;
        self.len -= u32::from(count);
        self.offload.shift(-i32::from(count));
        // SAFETY: the frame's own bytes were at least `count`.
        self.data = unsafe { self.data.add(usize::from(count)) };
        true
    }

    /// The `count` bytes directly before the frame (metadata a port put there); `None` if there are fewer.
    pub fn before(&self, count: usize) -> Option<&[u8]> {
        if count > self.headroom() {
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
    pub fn checksum(&self) -> Checksum {
        self.offload.checksum()
    }

    /// Notes how the transport checksum stands.
    pub fn set_checksum(&mut self, checksum: Checksum) {
        self.offload.set_checksum(checksum);
    }

    /// How to cut it, if it is a super-frame.
    pub fn gso(&self) -> Option<Gso> {
        self.offload.gso()
    }

    /// Notes how to cut it.
    pub fn set_gso(&mut self, gso: Option<Gso>) {
        self.offload.set_gso(gso);
    }

    /// Whether it is fit for the wire as it is: no checksum to complete or look for, nothing to cut.
    #[inline]
    pub fn is_wire_ready(&self) -> bool {
        self.offload.is_none()
    }

    /// The offload state as one word, for a ring between workers.
    pub fn offload_word(&self) -> u64 {
        self.offload.to_word()
    }

    /// Takes over the offload state that [`Frame::offload_word`] told.
    pub fn set_offload_word(&mut self, word: u64) {
        self.offload = Packed::from_word(word);
    }

    /// Takes over the offload state of `other`, of which this is a copy.
    pub fn copy_offload(&mut self, other: &Self) {
        self.offload = other.offload;
    }
}

#[cfg(debug_assertions)]
impl Drop for Frame {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a frame of {} bytes was dropped outside its pool", self.len);
    }
}
