//! A plain thread as a task: its waker unparks it.

use std::{
    sync::Arc,
    task::{Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Wakes the calling thread from [`until`].
pub(crate) fn waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// Parks the calling thread until it is woken, or `deadline` has come, or for no reason.
pub(crate) fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => {
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        None => thread::park(),
    }
}
