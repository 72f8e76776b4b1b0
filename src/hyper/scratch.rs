use std::cell::Cell;

/// What one read takes at most.
const SIZE: usize = 64 * 1024;

/// Runs `read` with a buffer of at most `limit` bytes, whose content means nothing.
///
/// hyper's own buffer has never been written to, and safe code would have to fill all of it with zeros before each read
/// that brings a few bytes or none. One buffer per thread is written once, and connections that wait have none.
pub(super) fn with<T>(limit: usize, read: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // Taken out for the read, which may be of a connection that reads another of ours. In the destructors of a thread there is none.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    if scratch.is_empty() {
        scratch = vec![0; SIZE];
    }
    let result = read(&mut scratch[..limit.min(SIZE)]);
    let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    result
}

#[cfg(test)]
mod tests {
    use super::{SIZE, with};

    #[test]
    fn a_read_within_a_read_has_a_buffer_of_its_own() {
        with(4, |outer| {
            outer.copy_from_slice(b"outer"[..4].into());
            with(usize::MAX, |inner| {
                assert_eq!(inner.len(), SIZE);
                inner.fill(1);
            });
            assert_eq!(outer, b"oute");
        });
    }
}
