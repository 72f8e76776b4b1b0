//! A plain thread as a task: its waker ends its sleep.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
    time::Instant,
};

/// The sleep of one thread, which its wakers end.
///
/// Not [`std::thread::park`]: the token of that belongs to the thread, and whoever runs on it may be about to wait for
/// it.
#[derive(Default)]
pub(crate) struct Parker(Arc<Token>);

#[derive(Default)]
struct Token {
    /// Set by a wake that came while the thread was awake; the next sleep takes it instead of sleeping.
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

    /// Blocks the calling thread until it is woken or `deadline` has come; at once if it has been woken since it last
    /// slept.
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
