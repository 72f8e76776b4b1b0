//! [`Shutdown`] itself: what it listens to, how long each phase may last, and what it runs.

use std::{borrow::Cow, fmt, future::Future, io, time::Duration};

use futures_core::Stream;

use super::{
    DoesNotFit, ServerEnd, StopRequest,
    fit::Parts,
    hooks::Hooks,
    requests::Requests,
    stages,
    steps::{self, Planned, Work},
    timer::{self, BoxTimer, Timer},
    watchdog,
};
use crate::{Drain, Progress, Report};

/// Runs a server until it is told to stop, and then shuts it down within a budget of time.
///
/// The first request to stop starts the shutdown: lame duck, if it has a duration, then draining
/// for at most the grace period, then aborting for at most the abort grace. The shutdown is over as
/// soon as the drain is drained. A second request ends the current phase at once, and a third one
/// ends the process by the signal's default action. A request within 250 ms of the last one that
/// counted is the same request, since wrappers, process groups and supervisors send a signal twice.
///
/// The shutdown also starts, with its budget, when code begins the drain (e.g. a handler or a
/// `preStop` hook), when it calls [`Drain::enter_lame_duck`], and when the server ends. None of
/// these counts as a request: the first request after it cuts nothing short.
///
/// By default lame duck is skipped, the grace period is 25 s, and the abort grace is 1 s. The sum
/// fits into the 30 s that Kubernetes allows; [`within`](Self::within) checks that. A duration that
/// overflows [`Instant`](std::time::Instant) means no limit.
///
/// What must happen after the last request and before the exit, e.g. to flush a queue and to close
/// a database, is a step: see [`then`](Self::then).
///
/// A `Shutdown` is a handle of its drain, also while it runs: dropping all other handles doesn't
/// begin the drain.
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
/// [`std::net::Shutdown`] has the same name. To use both in one file, rename one of the imports:
///
/// ```
/// use std::net::{Shutdown as How, TcpStream};
/// use async_drain::Shutdown;
/// ```
#[must_use = "a shutdown does nothing until it is run"]
pub struct Shutdown {
    pub(super) drain: Drain,
    pub(super) requests: Requests,
    pub(super) timer: BoxTimer,
    pub(super) budget: Budget,
    pub(super) hooks: Hooks,
    pub(super) steps: Vec<Planned<Work>>,
}

/// The longest that each phase may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) lame_duck: Duration,
    pub(super) grace: Duration,
    pub(super) abort_grace: Duration,
}

impl Shutdown {
    /// Returns a shutdown of `drain` with the timer of async-io, which works under every executor.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub fn new(drain: &Drain) -> Self {
        Self::with_timer(drain, |deadline| timer::until(Some(deadline)))
    }

    /// Returns a shutdown of `drain` with a timer of your own.
    ///
    /// A timer is any function from an [`Instant`](std::time::Instant) to a future that resolves at
    /// that time, or at once if it has passed. What the future yields is ignored.
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
            timer: timer::boxed(timer),
            budget: Budget {
                lame_duck: Duration::ZERO,
                grace: Duration::from_secs(25),
                abort_grace: Duration::from_secs(1),
            },
            hooks: Hooks::default(),
            steps: Vec::new(),
        }
    }

    /// Takes requests to stop from a stream, e.g. a channel or
    #[cfg_attr(
        feature = "signal",
        doc = "[`signal::termination`](crate::signal::termination)."
    )]
    #[cfg_attr(not(feature = "signal"), doc = "`signal::termination`.")]
    ///
    /// It may be called again: the requests of all streams count together. The end of a stream has
    /// no effect. A panic ends only that stream: the hooks are warned, and the report has a line.
    pub fn on<R>(mut self, requests: R) -> Self
    where
        R: Stream + Send + 'static,
        R::Item: StopRequest,
    {
        self.requests.listen(requests);
        self
    }

    /// Sets how long lame duck lasts, so that load balancers notice that the server is unready;
    /// zero by default, which skips it.
    pub fn lame_duck(mut self, lame_duck: Duration) -> Self {
        self.budget.lame_duck = lame_duck;
        self
    }

    /// Sets the grace period: the longest that draining may last; 25 seconds by default. Zero
    /// cancels all work at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.budget.grace = grace;
        self
    }

    /// Sets the abort grace: the longest that aborting may last after the grace period; one second
    /// by default.
    pub fn abort_grace(mut self, abort_grace: Duration) -> Self {
        self.budget.abort_grace = abort_grace;
        self
    }

    /// Adds a step: what `step` returns is run after the drain and before [`run`](Self::run)
    /// returns, for at most `budget`.
    ///
    /// Steps run one by one, in the order in which they were added. A step begins when the one
    /// before has ended, however it ended; the first one when the drain has drained or was given
    /// up, and the server has been dropped. No request to stop cuts a step: a second request is
    /// told to the [hooks](Self::on_progress), and a third one ends the process. So each step runs
    /// once before the program ends, unless it is killed.
    ///
    /// A step fails if it returns an error, panics, or uses up its budget: it is dropped then. That
    /// stops nothing after it, is named in the [report](Report::steps), and makes the exit status
    /// 1.
    ///
    /// The task of `run` polls the steps. A step that blocks its thread can't be cut; use
    /// [`run_with_watchdog`](Self::run_with_watchdog), or `blocking::unblock`. A duration that
    /// overflows [`Instant`](std::time::Instant) means no limit. A step whose budget is zero is not
    /// run, and fails.
    ///
    /// ```
    /// use std::{io, time::Duration};
    /// use async_drain::{Drain, Shutdown};
    ///
    /// # async fn flush() -> io::Result<()> { Ok(()) }
    /// # async fn close() {}
    /// let drain = Drain::new();
    /// let shutdown = Shutdown::new(&drain)
    ///     .grace(Duration::from_secs(20))
    ///     .then("flush the queue", Duration::from_secs(4), || flush())
    ///     .then("close the database", Duration::from_secs(1), || close())
    ///     .within(Duration::from_secs(30))?;
    /// drain.begin();
    /// let report = smol::block_on(shutdown.run(async {}));
    /// assert!(report.steps().iter().all(|step| step.failure.is_none()));
    /// # Ok::<(), async_drain::shutdown::DoesNotFit>(())
    /// ```
    pub fn then<F>(
        mut self,
        name: impl Into<Cow<'static, str>>,
        budget: Duration,
        step: impl FnOnce() -> F + Send + 'static,
    ) -> Self
    where
        F: Future + Send + 'static,
        F::Output: ServerEnd,
    {
        self.steps.push(Planned {
            name: name.into(),
            budget,
            run: Work::new(step),
        });
        self
    }

    /// Returns the longest that the shutdown may last: lame duck, grace, abort grace and steps;
    /// `None` if nothing limits one of them.
    #[must_use]
    pub fn budget(&self) -> Option<Duration> {
        self.parts().sum()
    }

    /// Checks that the shutdown fits into `total`, the time from the signal until the supervisor
    /// kills the process: 30 s by default in Kubernetes (`terminationGracePeriodSeconds`), 10 s in
    /// Docker, 90 s in systemd (`TimeoutStopSec`). Call it last.
    ///
    /// The process needs some time after the shutdown, e.g. to print the report, so leave a second
    /// or two.
    ///
    /// # Errors
    ///
    /// If the [budget](Self::budget) is longer than that. The error names the parts.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use async_drain::{Drain, Shutdown};
    /// let shutdown = Shutdown::new(&Drain::new()).lame_duck(Duration::from_secs(5));
    /// let error = shutdown.within(Duration::from_secs(30)).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "lame duck 5 s + grace 25 s + abort grace 1 s = 31 s, more than 30 s: \
    ///      shorten one, or allow the process more time",
    /// );
    /// ```
    pub fn within(self, total: Duration) -> Result<Self, DoesNotFit> {
        self.parts().fit(total)?;
        Ok(self)
    }

    fn parts(&self) -> Parts {
        let Budget {
            lame_duck,
            grace,
            abort_grace,
        } = self.budget;
        Parts::new([
            ("lame duck", Some(lame_duck)),
            ("grace", Some(grace)),
            ("abort grace", Some(abort_grace)),
            ("steps", steps::budget(&self.steps)),
        ])
    }

    /// Calls `hook` with the [`Progress`] of the shutdown: at each event and, in between, at most
    /// once in `every` if anything has changed, the time that is left included.
    ///
    /// It may be called again: each hook is called. The events are: this is polled for the first
    /// time, the program is [ready](crate::Readiness), a request to stop has come, a phase or step
    /// has begun or ended, the server or a stream of requests has failed. Before the shutdown
    /// starts, only events bring a call, unless the hook [asks for
    /// one](Progress::call_again_within). `every` is at least 10 ms; a duration that overflows
    /// [`Instant`](std::time::Instant) means events only. The hook is dropped when the shutdown is
    /// over.
    ///
    /// Hooks are called on a thread of their own, one after the other, in the order of the events;
    /// if the system has no thread to spare, by the thread that polls the shutdown. The shutdown
    /// doesn't wait for them. One that is slow misses no event, and in between is told the latest.
    /// When the shutdown is over, it waits for at most a second until they have been told
    /// everything. The report names a hook that has not returned by then, and one that panicked,
    /// which is not called again.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use async_drain::{Drain, Shutdown};
    /// # let drain = Drain::new();
    /// use std::io::{self, Write};
    ///
    /// let shutdown = Shutdown::new(&drain).on_progress(Duration::from_secs(5), |progress| {
    ///     // Unlike `eprintln!`, this does not panic if stderr is closed.
    ///     let _ = writeln!(io::stderr(), "{progress}"); // SIGTERM: draining, 3 in flight, …
    /// });
    /// ```
    #[track_caller]
    pub fn on_progress(
        mut self,
        every: Duration,
        hook: impl FnMut(&Progress) + Send + 'static,
    ) -> Self {
        self.hooks.add(every, hook);
        self
    }

    /// Runs a server until the shutdown is over, and reports how it ended.
    ///
    /// This future polls the server, and drops it when the shutdown is over. The server should end
    /// by itself when its drain begins, like
    #[cfg_attr(feature = "hyper", doc = "[`hyper::Server`](crate::hyper::Server).")]
    #[cfg_attr(not(feature = "hyper"), doc = "`hyper::Server`.")]
    /// Any other server is dropped once the drain is drained. It is polled after each change of
    /// phase, drained included, so that it can clean up and return an error. If nothing is in
    /// flight, that is one poll only: a server that cleans up asynchronously must hold a
    /// [`Guard`](crate::Guard) until it has finished.
    ///
    /// An `async` block that ends with `Ok(())` must name its error type (E0282):
    /// `Ok::<(), std::io::Error>(())`.
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

    /// Runs a server like [`run`](Self::run), but also ends in time if handlers block the threads
    /// of the executor.
    ///
    /// A thread of its own hears the requests and changes the phases. If the shutdown is over and
    /// this future is not polled within a quarter of a second, the executor counts as blocked, and
    /// the thread calls `stuck`, which usually prints the report and ends the process. If all work
    /// is done, a blocked executor has until lame duck, grace and abort grace are used up together,
    /// or until the second request. If `stuck` returns or panics, this future resolves when it is
    /// polled again, and the report has a line for the panic.
    ///
    /// ```no_run
    /// # use async_drain::{Drain, Shutdown, signal};
    /// # async fn serve(drain: &Drain) {}
    /// # let drain = Drain::new();
    /// use std::io::{self, Write};
    ///
    /// let shutdown = Shutdown::new(&drain).on(signal::termination()?);
    /// let report = smol::block_on(shutdown.run_with_watchdog(serve(&drain), |report| {
    ///     // Unlike `eprintln!`, this does not panic if stderr is closed.
    ///     let _ = writeln!(io::stderr(), "{report}");
    ///     std::process::exit(1);
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the thread can't be spawned. The server has not run then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, ends the thread, and leaves the drain in the phase it
    /// had.
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
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}
