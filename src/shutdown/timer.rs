//! Timers: any function from an `Instant` to a future. async-io supplies the usual one.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

/// A future that resolves at a given time.
pub(crate) type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Returns a future that resolves at a given time, or at once if it has passed.
pub(crate) type BoxTimer = Box<dyn Fn(Instant) -> Sleep + Send>;

/// A timer for [`Shutdown::with_timer`](crate::Shutdown::with_timer): a function from an
/// [`Instant`] to a future.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a timer",
    label = "not a function from an `Instant` to a future that can be sent",
    note = "a timer returns a future for a deadline, as in `|deadline: Instant| sleep_until(deadline)`",
    note = "`Shutdown::new` has a timer that works under every executor"
)]
pub trait Timer: Fn(Instant) -> <Self as Timer>::Sleep + Send + 'static {
    /// The future of the timer. Its output is ignored.
    type Sleep: Future + Send + 'static;
}

#[diagnostic::do_not_recommend]
impl<F, S> Timer for F
where
    F: Fn(Instant) -> S + Send + 'static,
    S: Future + Send + 'static,
{
    type Sleep = S;
}

/// Boxes a timer and its futures.
pub(crate) fn boxed(timer: impl Timer) -> BoxTimer {
    Box::new(move |deadline| {
        let sleep = timer(deadline);
        Box::pin(async {
            sleep.await;
        })
    })
}

/// Waits until `deadline` by the reactor of async-io; for ever if it is `None`. It works under
/// every executor, since that reactor has a thread of its own.
#[cfg(feature = "async-io")]
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => drop(async_io::Timer::at(deadline).await),
        None => std::future::pending().await,
    }
}

/// Returns the time `wait` after `start`; `None`, which means never, if it overflows.
pub(crate) fn later(start: Option<Instant>, wait: Duration) -> Option<Instant> {
    start?.checked_add(wait)
}
