//! An allocator that counts, for each thread, how often memory was asked for and how much of it is in use.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// To be made the `#[global_allocator]` of a program that counts.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
    // Signed: a thread may free what another has allocated.
    static IN_USE: Cell<isize> = const { Cell::new(0) };
}

/// How often this thread asked for memory.
#[must_use]
pub fn requests() -> usize {
    REQUESTS.get()
}

/// The bytes that this thread has allocated, less those it has freed.
#[must_use]
pub fn in_use() -> isize {
    IN_USE.get()
}

fn note(bytes: isize) {
    IN_USE.set(IN_USE.get() + bytes);
    if bytes > 0 {
        REQUESTS.set(REQUESTS.get() + 1);
    }
}

// SAFETY: all is handed on to the system's allocator as it came; the counters don't allocate, being constant at first and
// without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size().cast_signed());
        // SAFETY: as promised by our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-layout.size().cast_signed());
        // SAFETY: as promised by our caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(-layout.size().cast_signed());
        note(size.cast_signed());
        // SAFETY: as promised by our caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
