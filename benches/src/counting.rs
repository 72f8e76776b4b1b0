//! An allocator that counts, for each thread, how often memory was asked for and how much of it is
//! in use.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The `#[global_allocator]` of a program that counts.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
    // It wraps: a thread may free what another has allocated. Differences are right all the same.
    static IN_USE: Cell<usize> = const { Cell::new(0) };
}

/// Returns how often this thread asked for memory.
#[must_use]
pub fn requests() -> usize {
    REQUESTS.get()
}

/// Returns the bytes that this thread has allocated, less those it has freed.
#[must_use]
pub fn in_use() -> usize {
    IN_USE.get()
}

fn allocated(bytes: usize) {
    REQUESTS.set(REQUESTS.get() + 1);
    IN_USE.set(IN_USE.get().wrapping_add(bytes));
}

fn freed(bytes: usize) {
    IN_USE.set(IN_USE.get().wrapping_sub(bytes));
}

// SAFETY: all is handed on to the system's allocator as it came; the counters don't allocate, being
// constant at first and without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: as promised by our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        freed(layout.size());
        // SAFETY: as promised by our caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        freed(layout.size());
        allocated(size);
        // SAFETY: as promised by our caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
