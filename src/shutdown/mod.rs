//! The stages of a shutdown: one budget, and an operator who may be in a hurry (L3 L4).

mod requests;
mod stages;
mod watchdog;

use std::{convert::Infallible, error::Error, fmt, future::Future, io, time::Duration};

use futures_core::Stream;

use self::requests::Requests;
use crate::{
    Drain, Report,
    time::{self, BoxTimer, Timer},
};

/// Runs a server until it is told to stop, then ends it within a budget of time.
///
/// A first request to stop begins the shutdown: lame duck, if it has a duration, then draining for at most the grace
/// period, then aborting for at most the abort grace. It ends as soon as the drain is drained. A second
/// request ends the current phase at once, and a third ends the process by the signal's default action.
/// A request within 250 ms of the last one that counted is the same request, since wrappers, process groups and
/// supervisors send a signal twice.
///
/// Whoever begins the drain by hand, as a handler may or a `preStop` hook, starts the shutdown too, with its budget, and so
/// does [`Drain::enter_lame_duck`] and a server that ends. None of these is a request: the first request that comes after it
/// cuts nothing.
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
///     Ok(smol::block_on(shutdown.run(serve(&drain))))
/// }
/// ```
///
/// [`std::net::Shutdown`] has the same name. A file that wants both imports one of them under another (E0252):
///
/// ```
/// use std::net::{Shutdown as How, TcpStream};
/// use async_drain::Shutdown;
/// ```
#[must_use = "a shutdown does nothing until it is run"]
pub struct Shutdown {
    drain: Drain,
    requests: Requests,
    timer: BoxTimer,
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a request to stop",
    label = "the stream yields `{Self}`",
    note = "map the items of the stream to `()`, as in `.on(stream.map(|_| ()))`, or implement `StopRequest` for them"
)]
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

impl Shutdown {
    /// A shutdown of `drain` that is timed by the async-io reactor.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub fn new(drain: &Drain) -> Self {
        Self::with_timer(drain, |deadline| time::until(Some(deadline)))
    }

    /// A shutdown of `drain` that is timed by `timer`: any function that makes a future for a deadline, which resolves
    /// then, and at once if that has passed.
    ///
    /// ```
    /// # use async_drain::{Drain, Shutdown};
    /// # let drain = Drain::new();
    /// let shutdown = Shutdown::with_timer(&drain, |deadline| async move {
    ///     async_io::Timer::at(deadline).await;
    /// });
    /// ```
    pub fn with_timer(drain: &Drain, timer: impl Timer) -> Self {
        Self {
            drain: drain.clone(),
            requests: Requests::default(),
            timer: time::boxed(timer),
            budget: Budget {
                lame_duck: Duration::ZERO,
                grace: Duration::from_secs(25),
                abort_grace: Duration::from_secs(1),
            },
        }
    }

    /// Takes requests to stop from `requests`, such as [`signal::termination`](crate::signal::termination) or a
    /// channel. When that stream ends, nothing happens.
    ///
    /// It may be called again: all streams are heard, and their requests counted together.
    pub fn on<R>(mut self, requests: R) -> Self
    where
        R: Stream + Send + 'static,
        R::Item: StopRequest,
    {
        self.requests.listen(requests);
        self
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

    /// Runs `server` until the shutdown is over, and says how it ended.
    ///
    /// The server is polled in this future and dropped at the end. It should end by itself when its drain begins, as
    /// [`hyper::Server`](crate::hyper::Server) does; one that does not is dropped once drained. It is polled after
    /// each change of phase, drained included, so that it can tidy up and say whether it failed; but only once
    /// where nothing is in flight. If it tidies up asynchronously, let it hold a [`Guard`](crate::Guard) until it has.
    ///
    /// An `async` block that ends with `Ok(())` must say what its error is (E0282): `Ok::<(), std::io::Error>(())`.
    ///
    /// ```
    /// # use std::io;
    /// # use async_drain::{Drain, Shutdown};
    /// # fn flush() -> io::Result<()> { Ok(()) }
    /// # let drain = Drain::new();
    /// # drain.begin();
    /// let server = async {
    ///     // ... accept and spawn until ...
    ///     drain.until_draining().await;
    ///     flush()?;
    ///     Ok::<(), io::Error>(())
    /// };
    /// let report = smol::block_on(Shutdown::new(&drain).run(server));
    /// assert!(report.failure().is_none());
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server and leaves the drain in the phase it had.
    pub async fn run<F>(self, server: F) -> Report
    where
        F: Future,
        F::Output: ServerEnd,
    {
        stages::run(self, server).await
    }

    /// The same, with a thread that keeps the time, so that it also ends when handlers block the executor's threads.
    ///
    /// The thread listens to the requests and moves the phases. When all is over and this future has not been polled for
    /// a quarter of a second, the executor is taken to be blocked, and `stuck` is called in that thread: usually to print
    /// the report and end the process. If all work is done, an executor that is still blocked has until the end of the budget,
    /// or until the second request. If `stuck` returns, this future resolves when it is polled again.
    ///
    /// ```no_run
    /// # use async_drain::{Drain, Shutdown, signal};
    /// # async fn serve(drain: &Drain) {}
    /// # let drain = Drain::new();
    /// let shutdown = Shutdown::new(&drain).on(signal::termination()?);
    /// let report = smol::block_on(shutdown.run_with_watchdog(serve(&drain), |report| {
    ///     eprintln!("{report}");
    ///     std::process::exit(1);
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the thread can't be made. The server has not run then.
    pub async fn run_with_watchdog<F>(
        self,
        server: F,
        stuck: impl FnOnce(&Report) + Send + 'static,
    ) -> io::Result<Report>
    where
        F: Future,
        F::Output: ServerEnd,
    {
        watchdog::run(self, server, stuck).await
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("drain", &self.drain)
            .field("requests", &self.requests)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// What a server may end with: nothing, or a result; or it does not end at all.
#[diagnostic::on_unimplemented(
    message = "a server can't end with `{Self}`",
    label = "it must end with `()` or a `Result`, or never",
    note = "end it with `Ok::<(), std::io::Error>(())` or with `;`"
)]
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

/// `async { loop { .. } }` and `async fn serve() -> !`.
impl ServerEnd for never::Never {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        self
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> ServerEnd for Result<T, E> {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.err().map(Into::into)
    }
}

/// `!`, which has no name on stable Rust except as the output of a function that does not return.
mod never {
    pub(super) type Never = <fn() -> ! as Returns>::Output;

    /// What a function returns.
    pub trait Returns {
        type Output;
    }

    impl<T> Returns for fn() -> T {
        type Output = T;
    }
}
