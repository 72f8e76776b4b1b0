//! Where time comes from: any future may be a timer, and async-io supplies the usual one.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;

/// Makes futures that resolve at a given time; any `Fn(Instant) -> impl Future` is one.
///
/// ```
/// # use async_drain::{Drain, Shutdown};
/// # let drain = Drain::new();
/// let timer = |deadline| async move {
///     async_io::Timer::at(deadline).await;
/// };
/// let shutdown = Shutdown::with_timer(&drain, timer);
/// ```
pub trait Timer {
    /// Resolves at its time; what it yields is ignored.
    type Sleep: Future;

    /// A future that resolves at `deadline`, at once if that has passed.
    fn at(&self, deadline: Instant) -> Self::Sleep;

    /// A future that resolves at `deadline`, or never.
    fn until(&self, deadline: Option<Instant>) -> Sleep<Self::Sleep> {
        Sleep {
            inner: deadline.map(|deadline| self.at(deadline)),
        }
    }
}

impl<F, S> Timer for F
where
    F: Fn(Instant) -> S,
    S: Future,
{
    type Sleep = S;

    fn at(&self, deadline: Instant) -> S {
        self(deadline)
    }
}

pin_project! {
    /// Resolves when its timer does, or never; made by [`Timer::until`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Sleep<S> {
        #[pin]
        inner: Option<S>,
    }
}

impl<S: Future> Future for Sleep<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map(|_| ()),
            None => Poll::Pending,
        }
    }
}

/// The timer of async-io's reactor. It works under every executor, since the reactor has a thread of its own.
#[cfg(feature = "async-io")]
#[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncIo;

#[cfg(feature = "async-io")]
impl Timer for AsyncIo {
    type Sleep = async_io::Timer;

    fn at(&self, deadline: Instant) -> async_io::Timer {
        async_io::Timer::at(deadline)
    }
}

/// The time `wait` after `start`; `None`, that is never, where the clock can't say it.
pub(crate) fn later(start: Option<Instant>, wait: Duration) -> Option<Instant> {
    start?.checked_add(wait)
}
