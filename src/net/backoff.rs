//! Decides what follows a failed accept, and waits if a resource has run out.

use std::{
    future::Future,
    io, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_io::Timer;

/// What a failed accept means (Z10).
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    /// One connection or one call failed: the next call may succeed at once.
    Transient,
    /// A resource has run out, and may become available again.
    Exhausted,
    /// The listener will never accept again.
    Permanent,
}

impl Failure {
    /// Classifies an error of `accept`. Unless it names one connection, it may be that of the next
    /// call too.
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
            | Kind::TimedOut => Self::Transient,
            // EINVAL: the socket no longer listens.
            Kind::InvalidInput => Self::Permanent,
            _ => match error.raw_os_error() {
                #[cfg(any(unix, windows))]
                Some(code) if closed(code) => Self::Permanent,
                // ENFILE, EMFILE, ENOBUFS, ENOMEM, errors of the network that accept(2) reports,
                // EPERM and EACCES, and any error of a stream of connections: none of them ends the
                // server.
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

/// The wait after a failed accept: 10 ms at first, doubled with each failure up to a second. (Go's
/// net/http starts at 5 ms.)
///
/// A wait ends early when a connection of this accept loop releases its descriptor.
#[derive(Debug)]
pub(super) struct Backoff {
    /// How long the last wait was; zero if the last accept succeeded.
    wait: Duration,
    /// The longest that a wait may last.
    longest: Duration,
    /// How many accepts in a row were refused by the system's policy.
    denied: u32,
    /// Set while a wait lasts, by [`start`](Self::start).
    timer: Option<Timer>,
    released: Arc<Released>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            wait: Duration::ZERO,
            longest: Self::LONGEST,
            denied: 0,
            timer: None,
            released: Arc::default(),
        }
    }
}

impl Backoff {
    /// How many accepts in a row may be refused without a wait. By accept(2), EPERM is that of one
    /// connection, which a firewall forbids. But a security module and a seccomp filter refuse the
    /// call, and the connection stays in the queue.
    const DENIED: u32 = 8;
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);
    /// Shorter, since the grace period may end soon.
    const LONGEST_WHILE_DRAINING: Duration = Duration::from_millis(150);

    /// Notes that draining has begun: ends the current wait, and shortens later ones.
    pub(super) fn draining(&mut self) {
        self.longest = Self::LONGEST_WHILE_DRAINING;
        self.timer = None;
    }

    /// Starts a wait after a failure, and returns how long it lasts; zero if the caller should try
    /// again at once.
    pub(super) fn start(&mut self) -> Duration {
        if !self.released.awaited.swap(true, Ordering::SeqCst) {
            // A descriptor may have been released since accepting failed. From now on its release
            // wakes us.
            self.wait = self.wait.max(Self::FIRST / 2);
            return Duration::ZERO;
        }
        self.wait = (self.wait * 2).clamp(Self::FIRST, self.longest);
        self.timer = Some(Timer::after(self.wait));
        self.wait
    }

    /// Notes that an accept has failed, and returns what that means.
    pub(super) fn failed(&mut self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::PermissionDenied && self.denied < Self::DENIED {
            self.denied += 1;
            return Failure::Transient;
        }
        Failure::of(error)
    }

    /// Notes that an accept has succeeded: the next wait is the shortest again.
    pub(super) fn reset(&mut self) {
        self.wait = Duration::ZERO;
        self.denied = 0;
    }

    /// Ready when the wait is over, or if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.timer {
            self.released.register(cx.waker());
            // Check after registering: a descriptor that is released from now on wakes us, and one
            // that was released before is seen here.
            if self.released.awaited.load(Ordering::SeqCst) && Pin::new(timer).poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            self.timer = None;
        }
        Poll::Ready(())
    }

    /// Ready when fewer than `limit` connections are open.
    pub(super) fn poll_room(&self, limit: usize, cx: &mut Context<'_>) -> Poll<()> {
        let has_room = || self.released.open.load(Ordering::SeqCst) < limit;
        if has_room() {
            return Poll::Ready(());
        }
        self.released.register(cx.waker());
        self.released.awaited.store(true, Ordering::SeqCst);
        // Check after registering: a connection that ends from now on wakes us, and one that ended
        // before is seen here.
        if has_room() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Returns what stands for the descriptor of a connection that has just been accepted. Drop it
    /// after the connection.
    pub(super) fn descriptor(&self) -> Descriptor {
        self.released.open.fetch_add(1, Ordering::SeqCst);
        Descriptor(Some(Arc::clone(&self.released)))
    }
}

/// Tells an accept loop that one of its connections has released its descriptor.
// SeqCst: the accept loop sets `awaited` and then reads `open`; the end of a connection changes
// `open` and then reads `awaited`. At least one of the two must see what the other wrote, which
// Acquire and Release don't promise. The lock of `waker` orders the rest.
#[derive(Debug, Default)]
struct Released {
    /// Set by the accept loop when descriptors have run out or too many connections are open;
    /// cleared by the next connection that ends.
    awaited: AtomicBool,
    /// How many connections are open.
    open: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Released {
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

/// Stands for the descriptor of an accepted connection: its drop tells the accept loop that the
/// descriptor has been released.
#[derive(Debug, Default)]
pub(super) struct Descriptor(Option<Arc<Released>>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        let Some(released) = &self.0 else {
            return;
        };
        released.open.fetch_sub(1, Ordering::SeqCst);
        // A load first, so that the flag is written only if an accept loop waits.
        if released.awaited.load(Ordering::SeqCst) && released.awaited.swap(false, Ordering::SeqCst)
        {
            let waker = released.waker().take();
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

    /// Z10: only an error of the listener itself ends the accept loop.
    #[test]
    fn only_an_error_of_the_listener_ends_the_accept_loop() {
        let of = |errno: Errno| Failure::of(&errno.into());
        for errno in [Errno::CONNABORTED, Errno::INTR] {
            assert_eq!(of(errno), Failure::Transient, "{errno}");
        }
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::NETDOWN,
            Errno::PERM,
            Errno::ACCESS,
        ] {
            assert_eq!(of(errno), Failure::Exhausted, "{errno}");
        }
        for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK] {
            assert_eq!(of(errno), Failure::Permanent, "{errno}");
        }
        let of_a_stream = io::Error::other("no more for now");
        assert_eq!(Failure::of(&of_a_stream), Failure::Exhausted);
    }

    /// Z10: connections that a firewall forbids delay no other one, and a call that is refused for
    /// ever does not spin.
    #[test]
    fn only_accepts_that_are_refused_in_a_row_are_waited_for() {
        let mut backoff = Backoff::default();
        let mut failures = |errno: Errno, count| {
            (0..count)
                .map(|_| backoff.failed(&errno.into()))
                .filter(|failure| *failure == Failure::Exhausted)
                .count()
        };
        assert_eq!(failures(Errno::PERM, 8), 0);
        assert_eq!(failures(Errno::ACCESS, 8), 8);
        assert_eq!(failures(Errno::CONNABORTED, 8), 0);
        assert_eq!(failures(Errno::MFILE, 8), 8);
        backoff.reset();
        assert_eq!(backoff.failed(&Errno::PERM.into()), Failure::Transient);
    }
}
