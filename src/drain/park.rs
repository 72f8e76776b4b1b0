//! Lets a plain thread wait like a task: a waker ends its sleep.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
    time::Instant,
};

/// The sleep of one thread, which its wakers end.
///
/// [`std::thread::park`] won't do: its token belongs to the thread, and other code that runs on
/// it may be about to wait for the same token.
#[derive(Default)]
pub(crate) struct Parker(Arc<Token>);

#[derive(Default)]
struct Token {
    /// Set by a wake, cleared by the next [`park`](Parker::park), which then returns at once.
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Token {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        *self.lock() = true;
        self.changed.notify_one();
    }
}

impl Wake for Token {
    fn wake(self: Arc<Self>) {
        Token::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Token::wake(self);
    }
}

impl Parker {
    /// Returns a waker that ends [`park`](Self::park).
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Blocks the calling thread until it is woken or `deadline` has passed. Returns at once if it
    /// was woken since the last call.
    pub(crate) fn park(&self, deadline: Option<Instant>) {
        let mut woken = self.0.lock();
        while !*woken {
            let Some(deadline) = deadline else {
                woken = (self.0.changed.wait(woken)).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.changed.wait_timeout(woken, left);
            (woken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        *woken = false;
    }
}
