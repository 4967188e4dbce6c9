//! The memory itself: page-aligned chunks of 4 KiB, first single ones, then runs of adjacent ones.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::sys::xsk::PacketMemory;

/// Bytes in a chunk: what one AF_XDP descriptor may span.
pub const CHUNK: usize = 4096;

/// Bytes left free before the data of a fresh frame: room to push headers into without moving the payload.
/// The kernel leaves as much before what it receives (`XDP_PACKET_HEADROOM`).
pub const HEADROOM: usize = 256;

/// Huge pages are 2 MiB: an area aligned to them can be mapped by them.
const ALIGNMENT: usize = 2 << 20;

/// Packet memory of one worker. It outlives its pool for as long as a socket has it registered.
#[derive(Debug)]
pub struct Area {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an `Area` only owns the allocation; its bytes are reached through the linear `Frame` tokens of the
// one `Pool` made from it, which never leave their worker.
unsafe impl Send for Area {}
// SAFETY: `&Area` gives out an address and a length, never access to bytes.
unsafe impl Sync for Area {}

impl Area {
    /// Zeroed memory of `chunks` chunks, on huge pages where the kernel has them to give.
    pub(super) fn new(chunks: usize) -> Self {
        let bytes = chunks.max(1) * CHUNK;
        let layout = Layout::from_size_align(bytes, if bytes < ALIGNMENT { CHUNK } else { ALIGNMENT })
            .expect("an area fits the address space");
        // SAFETY: the layout has a size of at least one chunk.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(memory) else { handle_alloc_error(layout) };
        #[cfg(not(miri))]
        // SAFETY: the range is the allocation just made; the advice changes no contents. It may be refused.
        unsafe {
            libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
        }
        Self { base, layout }
    }

    /// Where the area starts, for registering it with a socket.
    pub fn address(&self) -> usize {
        self.base.as_ptr().addr()
    }

    /// Bytes in the area, a multiple of [`CHUNK`].
    pub fn bytes(&self) -> usize {
        self.layout.size()
    }

    /// The start of chunk `index`.
    ///
    /// # Safety
    /// The area has that chunk.
    #[inline]
    pub(super) unsafe fn chunk(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index * CHUNK < self.bytes());
        // SAFETY: the offset lies within the allocation, by the caller's word.
        unsafe { self.base.add(index * CHUNK) }
    }

    /// How far `pointer` is into the area; `None` if it is not in it.
    #[inline]
    pub(super) fn offset_of(&self, pointer: NonNull<u8>) -> Option<usize> {
        let offset = pointer.as_ptr().addr().checked_sub(self.address())?;
        (offset < self.bytes()).then_some(offset)
    }
}

// SAFETY: allocated for as long as the area lives. References to its bytes are made only by `Frame` tokens; `Pool::lend`
// retires the token before its address is known, and only a standing loan makes one again.
unsafe impl PacketMemory for Area {
    fn address(&self) -> usize {
        self.address()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once. No frame is left: `Pool` keeps the area
        // alive for ever when it is dropped before all its frames came home.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}
