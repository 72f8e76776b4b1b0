//! The one timer of a connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use async_io::Timer;

/// A timer that costs nothing while it is not needed, and one load at each look while it is set: it
/// sets a flag when it fires, so that no look reads the clock.
///
/// It is set again lazily. If its time moves on, it fires at the earlier time and is set to the
/// later one then.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Box<Set>>);

#[derive(Debug)]
struct Set {
    timer: Timer,
    at: Instant,
    /// The waker in `target`, for comparison.
    task: Waker,
    target: Arc<Target>,
    /// Wakes `target`.
    waker: Waker,
}

/// What the timer wakes.
#[derive(Debug)]
struct Target {
    /// Set by the reactor when the timer fires, under the lock of `task`. Cleared when the timer is
    /// set again, before the lock is taken for the new task. A look reads it without the lock.
    fired: AtomicBool,
    /// The task to wake, taken by the reactor.
    task: Mutex<Option<Waker>>,
}

impl Alarm {
    /// Returns whether it has fired since it was last set.
    #[inline]
    pub(super) fn has_fired(&self) -> bool {
        (self.0.as_ref()).is_some_and(|set| set.target.fired.load(Ordering::Acquire))
    }

    /// Wakes the task at `at` or, if it was set to an earlier time, then, so that the task looks
    /// again. Ready if the time has come.
    pub(super) fn set(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let set = match &mut self.0 {
            Some(set) => {
                let fired = set.target.fired.load(Ordering::Acquire);
                if !fired && set.at <= at {
                    set.register(cx.waker());
                    // Look after registering: a timer that fires from now on finds this waker.
                    return if set.target.fired.load(Ordering::Acquire) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    };
                }
                set.at = at;
                set.timer.set_at(at);
                set
            }
            None => self.0.insert(Box::new(Set::new(at, cx.waker()))),
        };
        set.target.reset(cx.waker().clone());
        set.task.clone_from(cx.waker());
        let fired = Pin::new(&mut set.timer).poll(&mut Context::from_waker(&set.waker));
        if fired.is_ready() {
            set.target.fired.store(true, Ordering::Release);
        }
        fired.map(|_| ())
    }
}

impl Set {
    fn new(at: Instant, task: &Waker) -> Self {
        let target = Arc::new(Target {
            fired: AtomicBool::new(false),
            task: Mutex::new(None),
        });
        Self {
            timer: Timer::at(at),
            at,
            task: task.clone(),
            waker: Waker::from(Arc::clone(&target)),
            target,
        }
    }

    /// Makes `task` the one to wake, if it is not already.
    fn register(&mut self, task: &Waker) {
        if !self.task.will_wake(task) {
            self.task.clone_from(task);
            self.target.register(task.clone());
        }
    }
}

impl Target {
    // Wakers are cloned, woken and dropped outside the lock (S6).
    fn register(&self, task: Waker) {
        let old = self.task().replace(task);
        drop(old);
    }

    /// Clears the flag, and makes `task` the one to wake.
    fn reset(&self, task: Waker) {
        // In this order: if the timer is firing for its old time and wakes the new task, that task
        // must find the flag set.
        self.fired.store(false, Ordering::Release);
        self.register(task);
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        // Nothing under this lock panics.
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Target {
    fn wake(self: Arc<Self>) {
        let mut current = self.task();
        // A task that registers afterwards finds it.
        self.fired.store(true, Ordering::Release);
        let task = current.take();
        drop(current);
        if let Some(task) = task {
            task.wake();
        }
    }
}
