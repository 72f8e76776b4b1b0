//! The stages of a shutdown: one budget, and an operator who may be in a hurry (L3 L4).

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::Stream;

use crate::{
    Drain, Phase, Report,
    time::{self, Timer},
    until::Until,
};

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
impl Shutdown<Never, time::AsyncIo> {
    /// A shutdown of `drain` that is timed by the async-io reactor.
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub fn new(drain: &Drain) -> Self {
        Self::with_timer(drain, time::AsyncIo)
    }
}

impl<T: Timer> Shutdown<Never, T> {
    /// A shutdown of `drain` that is timed by `timer`.
    pub fn with_timer(drain: &Drain, timer: T) -> Self {
        Self {
            drain: drain.clone(),
            requests: Never,
            timer,
            lame_duck: Duration::ZERO,
            grace: Duration::from_secs(25),
            abort_grace: Duration::from_secs(1),
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
            lame_duck: self.lame_duck,
            grace: self.grace,
            abort_grace: self.abort_grace,
        }
    }

    /// How long to go on accepting while already unready, so that load balancers notice; zero by default.
    pub fn lame_duck(mut self, lame_duck: Duration) -> Self {
        self.lame_duck = lame_duck;
        self
    }

    /// The longest that draining may last. Zero cuts all work at once; more than the clock can say is no limit.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The longest that aborting may last after the grace period.
    pub fn abort_grace(mut self, abort_grace: Duration) -> Self {
        self.abort_grace = abort_grace;
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
        let Self {
            drain,
            requests,
            timer,
            lame_duck,
            grace,
            abort_grace,
        } = self;
        let mut stages = Stages {
            drain: &drain,
            timer,
            requests: pin!(Some(requests)),
            requested: 0,
            server: pin!(Some(server)),
            failure: None,
        };

        stages.running(lame_duck.is_zero()).await;
        let begun = Instant::now();
        let mut grace_ends = time::later(time::later(Some(begun), lame_duck), grace);
        if drain.phase() < Phase::Draining && !lame_duck.is_zero() && stages.server.is_some() {
            drain.core().raise(Phase::LameDuck, grace_ends);
            stages.lame_duck(time::later(Some(begun), lame_duck)).await;
        }

        let draining = Instant::now();
        grace_ends = earlier(grace_ends, time::later(Some(draining), grace));
        drain.core().raise(Phase::Draining, grace_ends);
        let mut report = Report::begun(drain.in_flight());
        report.lame_duck = if lame_duck.is_zero() {
            Duration::ZERO
        } else {
            draining.saturating_duration_since(begun)
        };
        stages.draining(grace_ends).await;
        report.draining = draining.elapsed();

        if drain.phase() < Phase::Drained {
            let aborting = Instant::now();
            report.abandoned(drain.stragglers());
            let end = time::later(Some(aborting), abort_grace);
            drain.core().raise(Phase::Aborting, end);
            stages.aborting(end).await;
            report.aborting = aborting.elapsed();
            report.deaf(drain.in_flight());
        }
        if let Some(error) = stages.failure {
            report.failed(error);
        }
        report
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What is waited for in every stage: requests, the drain, the clock; and the server, which runs meanwhile.
struct Stages<'a, S, T, F> {
    drain: &'a Drain,
    timer: T,
    requests: Pin<&'a mut Option<S>>,
    requested: usize,
    server: Pin<&'a mut Option<F>>,
    failure: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(PartialEq)]
enum Event {
    Requested,
    ServerEnded,
    /// The drain has reached the phase that was waited for.
    Reached,
    TimeIsUp,
}

impl<S, T, F> Stages<'_, S, T, F>
where
    S: Stream,
    S::Item: StopRequest,
    T: Timer,
    F: Future,
    F::Output: ServerEnd,
{
    /// Until the end begins. Where lame duck has no duration of its own, one that was begun by hand lasts until
    /// somebody begins the drain.
    async fn running(&mut self, no_lame_duck: bool) {
        let end = if no_lame_duck {
            Phase::Draining
        } else {
            Phase::LameDuck
        };
        self.next(end, None).await;
    }

    async fn lame_duck(&mut self, end: Option<Instant>) {
        self.next(Phase::Draining, end).await;
    }

    async fn draining(&mut self, end: Option<Instant>) {
        while self.next(Phase::Aborting, end).await == Event::ServerEnded {}
    }

    async fn aborting(&mut self, end: Option<Instant>) {
        while self.next(Phase::Drained, end).await == Event::ServerEnded {}
    }

    async fn next(&mut self, phase: Phase, deadline: Option<Instant>) -> Event {
        let mut reached = Until::new(self.drain.core(), phase);
        let mut sleep = pin!(self.timer.until(deadline));
        poll_fn(|cx| {
            // The end before the server: one that is always ready must not put it off.
            if reached.poll(cx).is_ready() {
                return Poll::Ready(Event::Reached);
            }
            if poll_requests(self.requests.as_mut(), &mut self.requested, cx).is_ready() {
                return Poll::Ready(Event::Requested);
            }
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::TimeIsUp);
            }
            if let Poll::Ready(end) = poll_server(self.server.as_mut(), cx) {
                self.failure = end;
                return Poll::Ready(Event::ServerEnded);
            }
            Poll::Pending
        })
        .await
    }
}

/// Ready when there is one more request; the third ends the process (L4).
fn poll_requests<S>(
    mut requests: Pin<&mut Option<S>>,
    requested: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    S: Stream,
    S::Item: StopRequest,
{
    let Some(stream) = requests.as_mut().as_pin_mut() else {
        return Poll::Pending;
    };
    match stream.poll_next(cx) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(None) => {
            requests.set(None);
            Poll::Pending
        }
        Poll::Ready(Some(request)) => {
            *requested += 1;
            if *requested >= 3 {
                request.end_process();
            }
            Poll::Ready(())
        }
    }
}

/// Ready once, when the server ends, with the reason if it failed.
fn poll_server<F>(
    mut server: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Box<dyn Error + Send + Sync>>>
where
    F: Future,
    F::Output: ServerEnd,
{
    let Some(running) = server.as_mut().as_pin_mut() else {
        return Poll::Pending;
    };
    running.poll(cx).map(|end| {
        server.set(None);
        end.failure()
    })
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
