use std::cell::RefCell;

/// The most bytes that one read takes.
const SIZE: usize = 64 * 1024;

/// Runs `read` once, with a buffer of at most `limit` bytes whose content is unspecified.
///
/// hyper's own buffer is uninitialized: safe code would have to fill all of it with zeros before
/// each read, and a read often yields a few bytes or none. A buffer per thread is filled once, and
/// a connection that waits needs none.
pub(super) fn with<T>(limit: usize, mut read: impl FnMut(&mut [u8]) -> T) -> T {
    thread_local! {
        static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into());
    }
    let limit = limit.min(SIZE);
    // The buffer is gone while its thread ends, and in use if the connection that is read reads
    // from another one of ours in turn.
    let result = BUFFER.try_with(|buffer| Some(read(&mut buffer.try_borrow_mut().ok()?[..limit])));
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
