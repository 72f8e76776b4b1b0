//! Where time comes from: any function that makes a future for a given time, and async-io supplies the usual one.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

/// A future that resolves at its time.
pub(crate) type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes futures that resolve at a given time, at once if that has passed.
pub(crate) type BoxTimer = Box<dyn Fn(Instant) -> Sleep + Send>;

/// What [`Shutdown::with_timer`](crate::Shutdown::with_timer) takes: a function of an [`Instant`] that makes a future.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a timer",
    label = "not a function from an `Instant` to a future that can be sent",
    note = "a timer makes a future for any deadline: `|deadline| sleep_until(deadline)`",
    note = "`Shutdown::new` brings a timer that works under every executor"
)]
pub trait Timer: Fn(Instant) -> <Self as Timer>::Sleep + Send + 'static {
    /// Resolves at its time; what it yields is ignored.
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

/// Boxes `timer`.
pub(crate) fn boxed(timer: impl Timer) -> BoxTimer {
    Box::new(move |deadline| {
        let sleep = timer(deadline);
        Box::pin(async {
            sleep.await;
        })
    })
}

/// Resolves at `deadline`, by the reactor of async-io, or never. It works under every executor, since that reactor has
/// a thread of its own.
#[cfg(feature = "async-io")]
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => drop(async_io::Timer::at(deadline).await),
        None => std::future::pending().await,
    }
}

/// The time `wait` after `start`; `None`, that is never, where the clock can't say it.
pub(crate) fn later(start: Option<Instant>, wait: Duration) -> Option<Instant> {
    start?.checked_add(wait)
}
