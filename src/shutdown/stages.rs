//! What happens when, in one task: the requests, the clock and the drain are waited for together, and the server runs
//! meanwhile.

use std::{
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant,
};

use futures_core::Stream;

use super::{Budget, ServerEnd, StopRequest};
use crate::{
    Drain, Phase, Report,
    time::{self, Timer},
    until::Until,
};

/// Runs `server` until the shutdown is over.
pub(super) async fn drive<S, T, F>(
    drain: &Drain,
    budget: Budget,
    timer: T,
    requests: S,
    server: F,
) -> Report
where
    S: Stream,
    S::Item: StopRequest,
    T: Timer,
    F: Future,
    F::Output: ServerEnd,
{
    let Budget {
        lame_duck,
        grace,
        abort_grace,
    } = budget;
    let mut stages = Stages {
        drain,
        timer,
        requests: pin!(Some(requests)),
        requested: 0,
        server: pin!(Some(server)),
        failure: None,
    };

    stages.running(lame_duck.is_zero()).await;
    let begun = Instant::now();
    let lame_duck_ends = time::later(Some(begun), lame_duck);
    let latest = time::later(lame_duck_ends, grace);
    let mut draining = begun;
    if drain.phase() < Phase::Draining && !lame_duck.is_zero() && stages.server.is_some() {
        drain.core().raise(Phase::LameDuck, latest);
        stages.lame_duck(lame_duck_ends).await;
        draining = Instant::now();
    }

    // Cut short or not, lame duck takes nothing from the grace period, and gives it nothing.
    let grace_ends = earlier(latest, time::later(Some(draining), grace));
    drain.core().raise(Phase::Draining, grace_ends);
    let mut report = Report::begun(drain.core().begun_with());
    report.lame_duck = draining.saturating_duration_since(begun);
    stages.draining(grace_ends).await;
    report.draining = draining.elapsed();

    if drain.phase() < Phase::Drained {
        let aborting = Instant::now();
        let mut stragglers = drain.stragglers();
        if stragglers.count() == 0 {
            // The shards are counted one after the other: work that was handed on meanwhile shows at a second look.
            stragglers = drain.stragglers();
        }
        report.abandoned(stragglers);
        let end = time::later(Some(aborting), abort_grace);
        drain.core().raise(Phase::Aborting, end);
        stages.aborting(end).await;
        report.aborting = aborting.elapsed();
        report.deaf(drain.in_flight());
    }
    report.lost(drain.core().abandoned());
    if let Some(error) = stages.failure {
        report.failed(error);
    }
    report
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
