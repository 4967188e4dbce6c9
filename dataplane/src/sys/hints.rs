//! Hints about memory to the processor and the kernel; none changes what is in it.

use std::mem::MaybeUninit;

/// Starts to bring the cache line that `item` begins in closer. Costs an instruction, changes nothing.
#[inline(always)]
pub fn prefetch<T>(item: &T) {
    prefetch_at(std::ptr::from_ref(item));
}

/// The same of the item of that number; without checking that there is one, as a hint about nothing does no harm.
#[inline(always)]
pub fn prefetch_nth<T>(items: &[T], number: usize) {
    prefetch_at(items.as_ptr().wrapping_add(number));
}

#[inline(always)]
fn prefetch_at<T>(item: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing architecturally, and cannot fault whatever the address is.
        unsafe { _mm_prefetch(item.cast(), _MM_HINT_T0) }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = item;
}

/// Room for so many items, on large pages where the kernel has them.
pub fn on_large_pages<T>(room: usize) -> Vec<T> {
    let mut items = Vec::with_capacity(room);
    advise_huge_pages(items.spare_capacity_mut());
    items
}

/// Asks for large pages (MADV_HUGEPAGE) under memory that has not been touched yet: a table that is read at
/// random then costs few TLB misses. The kernel may refuse, and whole pages only are advised.
fn advise_huge_pages<T>(memory: &mut [MaybeUninit<T>]) {
    const PAGE: usize = 4096;
    let range = memory.as_ptr_range();
    let (start, end) = ((range.start as usize).next_multiple_of(PAGE), range.end as usize / PAGE * PAGE);
    if start < end && !cfg!(miri) {
        // SAFETY: the pages lie within memory that the caller holds exclusively; the advice changes no contents.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
}
