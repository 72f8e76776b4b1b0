use std::cell::RefCell;

/// What one read takes at most.
const SIZE: usize = 64 * 1024;

/// Runs `read` once, with a buffer of at most `limit` bytes, whose content means nothing.
///
/// hyper's own buffer has never been written to, and safe code would have to fill all of it with zeros before each read
/// that brings a few bytes or none. One buffer per thread is written once, and connections that wait have none.
pub(super) fn with<T>(limit: usize, mut read: impl FnMut(&mut [u8]) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into());
    }
    let limit = limit.min(SIZE);
    // In the destructors of a thread there is none, and a read may be of a connection that reads another of ours.
    let result =
        SCRATCH.try_with(|scratch| Some(read(&mut scratch.try_borrow_mut().ok()?[..limit])));
    match result {
        Ok(Some(result)) => result,
        _ => read(&mut vec![0; limit]),
    }
}

#[cfg(test)]
mod tests {
    use super::{SIZE, with};

    #[test]
    fn a_read_within_a_read_has_a_buffer_of_its_own() {
        with(4, |outer| {
            outer.copy_from_slice(b"oute");
            with(usize::MAX, |inner| {
                assert_eq!(inner.len(), SIZE);
                inner.fill(1);
            });
            assert_eq!(outer, b"oute");
        });
    }
}
