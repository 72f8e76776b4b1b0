use std::{
    future::Future,
    io, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_io::Timer;

/// What to do about an accept that failed (Z10).
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    /// Of one connection, or of one call: the next may succeed at once.
    OfOne,
    /// Something has run out; it may come back.
    Exhausted,
    /// Of the listener: it will never accept again.
    OfListener,
}

impl Failure {
    pub(super) fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
            | Kind::TimedOut
            | Kind::PermissionDenied => Self::OfOne,
            // EINVAL: it no longer listens.
            Kind::InvalidInput => Self::OfListener,
            _ => match error.raw_os_error() {
                #[cfg(any(unix, windows))]
                Some(code) if closed(code) => Self::OfListener,
                // ENFILE, EMFILE, ENOBUFS, ENOMEM, what the network reports through accept(2), and
                // whatever a stream of connections may say: nothing ends the server.
                _ => Self::Exhausted,
            },
        }
    }
}

#[cfg(any(unix, windows))]
fn closed(code: i32) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_raw_os_error(code);
    errno == Errno::BADF || errno == Errno::NOTSOCK || errno == Errno::OPNOTSUPP
}

/// The waits between accepts that fail: from 10 ms on, doubled up to a second, as Go's net/http
/// does from 5 ms on.
///
/// A wait ends early when a connection that was accepted here has given its descriptor back.
#[derive(Debug)]
pub(super) struct Backoff {
    wait: Duration,
    most: Duration,
    timer: Option<Timer>,
    returned: Arc<Returned>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            wait: Duration::ZERO,
            most: Self::MOST,
            timer: None,
            returned: Arc::default(),
        }
    }
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const MOST: Duration = Duration::from_secs(1);
    /// While draining, when the end may be near.
    const MOST_WHILE_DRAINING: Duration = Duration::from_millis(150);

    /// Ends the present wait, and makes later ones short.
    pub(super) fn draining(&mut self) {
        self.most = Self::MOST_WHILE_DRAINING;
        self.timer = None;
    }

    /// Begins a wait after a failure, and returns how long it takes.
    pub(super) fn start(&mut self) -> Duration {
        if !self.returned.awaited.swap(true, Ordering::SeqCst) {
            // A descriptor may have been given back since accepting failed, and from now on we
            // would hear of it.
            self.wait = self.wait.max(Self::FIRST / 2);
            return Duration::ZERO;
        }
        self.wait = (self.wait * 2).clamp(Self::FIRST, self.most);
        self.timer = Some(Timer::after(self.wait));
        self.wait
    }

    pub(super) fn reset(&mut self) {
        self.wait = Duration::ZERO;
    }

    /// Ready when the wait is over, or if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.timer {
            self.returned.register(cx.waker());
            // After that: one that is given back from now on wakes us, and one before is seen here.
            if self.returned.awaited.load(Ordering::SeqCst) && Pin::new(timer).poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            self.timer = None;
        }
        Poll::Ready(())
    }

    /// For a connection that has just been accepted: to be dropped after it.
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor(Some(Arc::clone(&self.returned)))
    }
}

/// Where connections tell that they have given their descriptors back.
#[derive(Debug, Default)]
struct Returned {
    /// Set by the accept loop when it has run out of descriptors, cleared by the next that is given
    /// back.
    awaited: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Returned {
    fn register(&self, waker: &Waker) {
        let new = Some(waker.clone());
        let old = mem::replace(&mut *self.waker(), new);
        drop(old);
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        // Nothing under this lock panics.
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The descriptor of an accepted connection. Its drop says that it has been given back.
#[derive(Debug, Default)]
pub(super) struct Descriptor(Option<Arc<Returned>>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        let Some(returned) = &self.0 else {
            return;
        };
        // Looked at first, so that closing writes to no shared line unless an accept loop waits.
        if returned.awaited.load(Ordering::SeqCst) && returned.awaited.swap(false, Ordering::SeqCst)
        {
            let waker = returned.waker().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::io::Errno;

    /// Z10: nothing ends the accept loop but the end of the listener itself.
    #[test]
    fn only_the_end_of_the_listener_is_one() {
        let of = |errno: Errno| Failure::of(&errno.into());
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PERM] {
            assert_eq!(of(errno), Failure::OfOne, "{errno}");
        }
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::NETDOWN,
        ] {
            assert_eq!(of(errno), Failure::Exhausted, "{errno}");
        }
        for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK] {
            assert_eq!(of(errno), Failure::OfListener, "{errno}");
        }
        let of_a_stream = io::Error::other("no more for now");
        assert_eq!(Failure::of(&of_a_stream), Failure::Exhausted);
    }
}
