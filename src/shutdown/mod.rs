//! The stages of a shutdown: one budget, and an operator who may be in a hurry (L3 L4).

mod stages;
mod watchdog;

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;

#[cfg(feature = "async-io")]
use crate::time::AsyncIo;
use crate::{Drain, Report, time::Timer};

/// Runs a server until it is told to stop, then ends it within a budget of time.
///
/// A first request to stop begins the shutdown: lame duck, if it has a duration, then draining for at most the grace
/// period, then aborting for at most the abort grace. It ends as soon as the drain is drained. A second
/// request moves one phase on at once, and a third ends the process by the signal's default action (L4).
/// Beginning the drain by hand, from a handler say, is as good as a request; so is a server that ends.
///
/// Left alone, there is no lame duck, the grace period is 25 s and the abort grace 1 s: together they stay within
/// the 30 s that Kubernetes gives.
///
/// ```no_run
/// use std::time::Duration;
/// use async_drain::{Drain, Report, Shutdown, signal};
/// # async fn serve(drain: &Drain) -> std::io::Result<()> { Ok(()) }
///
/// fn main() -> std::io::Result<Report> {
///     let drain = Drain::new();
///     let shutdown = Shutdown::new(&drain)
///         .on(signal::termination()?)
///         .grace(Duration::from_secs(10));
///     let report = smol::block_on(shutdown.run(serve(&drain)));
///     eprintln!("{report}");
///     Ok(report)
/// }
/// ```
#[derive(Debug)]
#[must_use = "a shutdown does nothing until it is run"]
pub struct Shutdown<S, T> {
    drain: Drain,
    requests: S,
    timer: T,
    budget: Budget,
}

/// How long each phase may last.
#[derive(Clone, Copy, Debug)]
struct Budget {
    lame_duck: Duration,
    grace: Duration,
    abort_grace: Duration,
}

/// A request to stop; what [`Shutdown::on`] takes a stream of.
pub trait StopRequest {
    /// Ends the process, for the operator who asks for the third time.
    fn end_process(&self);
}

/// A request with nothing behind it: the third of these ends the process with exit status 1.
impl StopRequest for () {
    fn end_process(&self) {
        std::process::exit(1);
    }
}

#[cfg(feature = "async-io")]
impl Shutdown<Never, AsyncIo> {
    /// A shutdown of `drain` that is timed by the async-io reactor.
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub fn new(drain: &Drain) -> Self {
        Self::with_timer(drain, AsyncIo)
    }
}

impl<T: Timer> Shutdown<Never, T> {
    /// A shutdown of `drain` that is timed by `timer`.
    pub fn with_timer(drain: &Drain, timer: T) -> Self {
        Self {
            drain: drain.clone(),
            requests: Never,
            timer,
            budget: Budget {
                lame_duck: Duration::ZERO,
                grace: Duration::from_secs(25),
                abort_grace: Duration::from_secs(1),
            },
        }
    }
}

impl<S, T> Shutdown<S, T> {
    /// Takes requests to stop from `requests`, such as [`signal::termination`](crate::signal::termination) or a
    /// channel. When that stream ends, nothing happens.
    pub fn on<R>(self, requests: R) -> Shutdown<R, T>
    where
        R: Stream,
        R::Item: StopRequest,
    {
        Shutdown {
            drain: self.drain,
            requests,
            timer: self.timer,
            budget: self.budget,
        }
    }

    /// How long to go on accepting while already unready, so that load balancers notice; zero by default.
    pub fn lame_duck(mut self, lame_duck: Duration) -> Self {
        self.budget.lame_duck = lame_duck;
        self
    }

    /// The longest that draining may last. Zero cuts all work at once; more than the clock can say is no limit.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.budget.grace = grace;
        self
    }

    /// The longest that aborting may last after the grace period.
    pub fn abort_grace(mut self, abort_grace: Duration) -> Self {
        self.budget.abort_grace = abort_grace;
        self
    }
}

impl<S, T> Shutdown<S, T>
where
    S: Stream,
    S::Item: StopRequest,
    T: Timer,
{
    /// Runs `server` until the shutdown is over, and says how it ended.
    ///
    /// The server is polled in this future and dropped at the end. It should end by itself when its drain begins, as
    /// [`hyper::Server`](crate::hyper::Server) does; one that does not is dropped once drained.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server and leaves the drain in the phase it had.
    pub async fn run<F>(self, server: F) -> Report
    where
        F: Future,
        F::Output: ServerEnd,
    {
        stages::drive(&self.drain, self.budget, self.timer, self.requests, server).await
    }

    /// The same, with a thread that keeps the time, so that it also ends when handlers block the executor's threads (L3).
    ///
    /// The thread listens to the requests and moves the phases. When all is over and this future has not been polled for
    /// a quarter of a second, the executor is taken to be blocked, and `stuck` is called in that thread: usually to print
    /// the report and end the process.
    ///
    /// ```no_run
    /// # use async_drain::{Drain, Shutdown, signal};
    /// # async fn serve(drain: &Drain) {}
    /// # let drain = Drain::new();
    /// let shutdown = Shutdown::new(&drain).on(signal::termination()?);
    /// let report = smol::block_on(shutdown.run_watched(serve(&drain), |report| {
    ///     eprintln!("{report}");
    ///     std::process::exit(1);
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the thread can't be made. The server has not run then.
    pub async fn run_watched<F>(
        self,
        server: F,
        stuck: impl FnOnce(&Report) + Send + 'static,
    ) -> io::Result<Report>
    where
        S: Send + 'static,
        F: Future,
        F::Output: ServerEnd,
    {
        watchdog::run(self.drain, self.budget, self.requests, server, stuck).await
    }
}

/// What a server may end with: nothing, or a result.
pub trait ServerEnd {
    /// Why it failed, if it did.
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>>;
}

impl ServerEnd for () {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        None
    }
}

impl ServerEnd for Infallible {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        match self {}
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> ServerEnd for Result<T, E> {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.err().map(Into::into)
    }
}

/// No request ever comes; what a [`Shutdown`] listens to before [`Shutdown::on`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl Stream for Never {
    type Item = Infallible;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Infallible>> {
        Poll::Pending
    }
}

impl StopRequest for Infallible {
    fn end_process(&self) {
        match *self {}
    }
}
