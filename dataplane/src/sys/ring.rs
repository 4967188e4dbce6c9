//! One AF_XDP ring: a single producer and a single consumer, one of them the kernel.
//!
//! Indices run freely and wrap at 2³²; a slot is `index & (size − 1)`. The producer writes slots, then publishes its
//! index with release; the consumer acquires that index, reads, then releases its own.

use super::mmap::Mapping;
use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// Where frames lie: a descriptor of the receive or transmit ring (`struct xdp_desc`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Descriptor {
    /// Offset of the first byte in the UMEM.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
    /// [`Descriptor::CONTINUES`], [`Descriptor::METADATA`].
    pub options: u32,
}

impl Descriptor {
    /// The frame goes on in the next descriptor.
    pub const CONTINUES: u32 = libc::XDP_PKT_CONTD;
    /// Transmit metadata lies directly before the frame.
    pub const METADATA: u32 = libc::XDP_TX_METADATA;
}

/// What a ring's slots hold: [`Descriptor`]s, or `u64` addresses. Sealed.
pub trait Slot: Copy + sealed::Sealed {}
impl Slot for u64 {}
impl Slot for Descriptor {}

mod sealed {
    #[allow(unreachable_pub)]
    pub trait Sealed {}
    impl Sealed for u64 {}
    impl Sealed for super::Descriptor {}
}

/// The end that fills a ring the kernel empties: fill and transmit.
#[derive(Debug)]
pub struct Producer<T> {
    ring: Ring<T>,
    /// Our index, ahead of the published one by what was pushed since [`Producer::submit`].
    head: u32,
    /// The kernel's index, as last seen.
    tail: u32,
}

impl<T: Slot> Producer<T> {
    /// How many slots the ring has.
    pub fn size(&self) -> u32 {
        self.ring.size
    }

    /// How many slots can be pushed now.
    pub fn free(&mut self) -> u32 {
        self.tail = self.ring.consumer().load(Ordering::Acquire);
        self.ring.size - self.used()
    }

    /// Slots pushed that the kernel has not yet taken, as last seen by [`Producer::free`] or a full [`Producer::push`].
    pub fn used(&self) -> u32 {
        self.head.wrapping_sub(self.tail).min(self.ring.size)
    }

    /// Write the next slot; the kernel sees it at [`Producer::submit`]. False when the ring is full.
    #[must_use]
    pub fn push(&mut self, value: T) -> bool {
        if self.used() == self.ring.size && self.free() == 0 {
            return false;
        }
        self.ring.write(self.head, value);
        self.head = self.head.wrapping_add(1);
        true
    }

    /// Let the kernel see everything pushed.
    pub fn submit(&mut self) {
        self.ring.producer().store(self.head, Ordering::Release);
    }

    /// The kernel waits to be called before it looks at this ring again. Ask after [`Producer::submit`].
    pub fn needs_wakeup(&self) -> bool {
        // Our index must be visible before we read the flag: the kernel sets the flag, then looks at the index.
        fence(Ordering::SeqCst);
        self.ring.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// The end that empties a ring the kernel fills: receive and completion.
#[derive(Debug)]
pub struct Consumer<T> {
    ring: Ring<T>,
    /// Our index, ahead of the published one by what was popped since [`Consumer::release`].
    tail: u32,
    /// The kernel's index, as last seen.
    head: u32,
}

impl<T: Slot> Consumer<T> {
    /// How many slots can be popped now.
    pub fn available(&mut self) -> u32 {
        self.head = self.ring.producer().load(Ordering::Acquire);
        self.seen()
    }

    /// Read the next slot; the kernel may reuse it after [`Consumer::release`].
    #[must_use]
    pub fn pop(&mut self) -> Option<T> {
        if self.seen() == 0 && self.available() == 0 {
            return None;
        }
        let value = self.ring.read(self.tail);
        self.tail = self.tail.wrapping_add(1);
        Some(value)
    }

    /// Give everything popped back to the kernel.
    pub fn release(&mut self) {
        self.ring.consumer().store(self.tail, Ordering::Release);
    }

    /// What was there when we last looked; never more than the ring holds, whatever the shared index says.
    fn seen(&self) -> u32 {
        self.head.wrapping_sub(self.tail).min(self.ring.size)
    }
}

/// Where the parts of a ring lie in its mapping.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) producer: usize,
    pub(super) consumer: usize,
    pub(super) flags: usize,
    pub(super) slots: usize,
}

impl Layout {
    /// Bytes of a mapping with `size` slots of `T`.
    pub(super) fn bytes<T>(&self, size: u32) -> usize {
        self.slots.saturating_add((size as usize).saturating_mul(size_of::<T>()))
    }
}

impl<T: Slot> Producer<T> {
    pub(super) fn new(mapping: Mapping, layout: Layout, size: u32) -> io::Result<Self> {
        let ring = Ring::new(mapping, layout, size)?;
        let head = ring.producer().load(Ordering::Relaxed);
        let tail = ring.consumer().load(Ordering::Acquire);
        Ok(Self { ring, head, tail })
    }
}

impl<T: Slot> Consumer<T> {
    pub(super) fn new(mapping: Mapping, layout: Layout, size: u32) -> io::Result<Self> {
        let ring = Ring::new(mapping, layout, size)?;
        let tail = ring.consumer().load(Ordering::Relaxed);
        let head = ring.producer().load(Ordering::Acquire);
        Ok(Self { ring, tail, head })
    }
}

/// The shared memory of a ring.
///
/// Invariants, checked by [`Ring::new`]: `producer`, `consumer`, `flags` and `size` slots from `slots` lie inside
/// `mapping`, aligned; `size` is a power of two.
#[derive(Debug)]
struct Ring<T> {
    mapping: Mapping,
    producer: usize,
    consumer: usize,
    flags: usize,
    slots: usize,
    size: u32,
    holds: PhantomData<T>,
}

impl<T: Slot> Ring<T> {
    fn new(mapping: Mapping, layout: Layout, size: u32) -> io::Result<Self> {
        let Layout { producer, consumer, flags, slots } = layout;
        let index_fits = |at: usize| at.is_multiple_of(4) && at.saturating_add(4) <= mapping.len();
        let fits = [producer, consumer, flags].into_iter().all(index_fits)
            && slots.is_multiple_of(8)
            && layout.bytes::<T>(size) <= mapping.len();
        if !fits || !size.is_power_of_two() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "ring offsets lie outside its mapping"));
        }
        Ok(Self { mapping, producer, consumer, flags, slots, size, holds: PhantomData })
    }

    fn producer(&self) -> &AtomicU32 {
        self.index(self.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.index(self.consumer)
    }

    fn flags(&self) -> &AtomicU32 {
        self.index(self.flags)
    }

    fn index(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: only called with the three offsets that `new` checked.
        let address: NonNull<AtomicU32> = unsafe { self.mapping.start().add(offset) }.cast();
        // SAFETY: aligned, inside the mapping, borrowed from it, and touched only by atomic operations on both sides.
        unsafe { address.as_ref() }
    }

    fn slot(&self, index: u32) -> NonNull<T> {
        let at = (index & (self.size - 1)) as usize;
        // SAFETY: `new` checked that the slots start inside the mapping, aligned.
        let slots: NonNull<T> = unsafe { self.mapping.start().add(self.slots) }.cast();
        // SAFETY: `at < size`, and `new` checked that `size` slots fit.
        unsafe { slots.add(at) }
    }

    fn read(&self, index: u32) -> T {
        // SAFETY: in bounds and aligned (`slot`); any bytes are a `Slot`; between the acquired producer index and our
        // released consumer index the kernel does not write it.
        unsafe { self.slot(index).read() }
    }

    fn write(&mut self, index: u32, value: T) {
        // SAFETY: in bounds and aligned (`slot`); the kernel does not read it before the producer index is published.
        unsafe { self.slot(index).write(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};

    const LAYOUT: Layout = Layout { producer: 0, consumer: 64, flags: 128, slots: 192 };

    /// A zeroed page, as a socket would give one.
    fn page() -> Mapping {
        // SAFETY: the name is a C string that lives across the call.
        let fd = unsafe { libc::memfd_create(c"ring".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0);
        // SAFETY: the kernel has just given us this descriptor and nobody else owns it.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.set_len(4096).unwrap();
        Mapping::shared(file.as_fd(), 0, 4096).unwrap()
    }

    /// A ring whose two indices start at `start`, and a handle for the other side's index.
    fn producer(start: u32) -> Producer<u64> {
        let mapping = page();
        let ring: Ring<u64> = Ring::new(mapping, LAYOUT, 4).unwrap();
        ring.producer().store(start, Ordering::Relaxed);
        ring.consumer().store(start, Ordering::Relaxed);
        Producer::new(ring.mapping, LAYOUT, 4).unwrap()
    }

    #[test]
    fn a_producer_fills_its_ring_and_goes_on_when_the_kernel_takes_across_the_wrap() {
        let mut ring = producer(u32::MAX - 1);
        assert_eq!(ring.free(), 4);
        for value in 0..4 {
            assert!(ring.push(value));
        }
        assert!(!ring.push(4));
        assert_eq!(ring.ring.producer().load(Ordering::Relaxed), u32::MAX - 1, "not yet submitted");
        ring.submit();
        assert_eq!(ring.ring.producer().load(Ordering::Relaxed), 2);

        ring.ring.consumer().store(u32::MAX, Ordering::Release);
        assert!(ring.push(5) && !ring.push(6));
        assert_eq!(ring.ring.read(u32::MAX), 1);
        assert_eq!(ring.ring.read(2), 5);
    }

    #[test]
    fn a_consumer_sees_what_was_published_and_gives_it_back_on_release() {
        let mapping = page();
        let mut ring: Consumer<u64> = Consumer::new(mapping, LAYOUT, 4).unwrap();
        assert_eq!(ring.pop(), None);
        ring.ring.write(0, 10);
        ring.ring.write(1, 11);
        ring.ring.producer().store(2, Ordering::Release);
        assert_eq!((ring.pop(), ring.pop(), ring.pop()), (Some(10), Some(11), None));
        assert_eq!(ring.ring.consumer().load(Ordering::Relaxed), 0);
        ring.release();
        assert_eq!(ring.ring.consumer().load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_index_out_of_all_bounds_yields_at_most_a_ring_full() {
        let mapping = page();
        let mut ring: Consumer<u64> = Consumer::new(mapping, LAYOUT, 4).unwrap();
        ring.ring.producer().store(0x8000_0000, Ordering::Release);
        assert_eq!(ring.available(), 4);
        let mut ring = producer(0);
        ring.ring.consumer().store(77, Ordering::Release);
        assert_eq!(ring.free(), 0);
    }

    #[test]
    fn a_wakeup_is_asked_for_by_the_flag() {
        let ring = producer(0);
        assert!(!ring.needs_wakeup());
        ring.ring.flags().store(1, Ordering::Relaxed);
        assert!(ring.needs_wakeup());
    }

    #[test]
    fn offsets_outside_the_mapping_are_refused() {
        let ring = |layout, size| Producer::<Descriptor>::new(page(), layout, size);
        assert!(ring(LAYOUT, 128).is_ok());
        assert!(ring(LAYOUT, 256).is_err());
        assert!(ring(LAYOUT, 3).is_err());
        assert!(ring(Layout { flags: 4093, ..LAYOUT }, 4).is_err());
        assert!(ring(Layout { producer: usize::MAX - 3, ..LAYOUT }, 4).is_err());
        assert!(ring(Layout { slots: 100, ..LAYOUT }, 4).is_err());
    }
}
