//! A number for each thread, by which threads spread over shards, wait lists and records (C1 C4).

#[cfg(not(any(loom, shuttle)))]
use std::cell::Cell;

/// Returns the index of the calling thread: threads that start one after the other get different
/// ones.
#[cfg(not(any(loom, shuttle)))]
#[inline]
pub(crate) fn thread_index() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};

    const UNSET: usize = usize::MAX;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        // Without a destructor, so that destructors of other thread-locals can read it.
        static INDEX: Cell<usize> = const { Cell::new(UNSET) };
    }

    #[cold]
    fn assign(index: &Cell<usize>) -> usize {
        // Relaxed: nothing is published with the number.
        index.set(NEXT.fetch_add(1, Ordering::Relaxed) % UNSET);
        index.get()
    }

    INDEX.with(|index| match index.get() {
        UNSET => assign(index),
        set => set,
    })
}

#[cfg(all(test, any(loom, shuttle)))]
pub(crate) use self::model::set_thread_index;
#[cfg(any(loom, shuttle))]
pub(crate) use self::model::thread_index;

/// In a model each thread sets its index, and is the first thread unless it does.
#[cfg(any(loom, shuttle))]
mod model {
    use std::cell::Cell;

    #[cfg(loom)]
    use loom::thread_local;
    #[cfg(shuttle)]
    use shuttle::thread_local;

    thread_local!(static INDEX: Cell<usize> = Cell::new(0));

    pub(crate) fn thread_index() -> usize {
        INDEX.with(Cell::get)
    }

    #[cfg(test)]
    pub(crate) fn set_thread_index(index: usize) {
        INDEX.with(|own| own.set(index));
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::thread_index;

    /// C1: a thread keeps its index, and threads that start one after the other have different
    /// ones.
    #[test]
    fn threads_spread_over_the_shards() {
        let of_a_thread = || {
            let thread = std::thread::spawn(|| (thread_index(), thread_index()));
            let (first, again) = thread.join().unwrap();
            assert_eq!(first, again);
            first
        };
        assert_eq!(thread_index(), thread_index());
        assert_ne!(thread_index(), of_a_thread());
        assert_ne!(of_a_thread(), of_a_thread());
    }
}
