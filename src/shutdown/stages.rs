//! The stages of a shutdown, in one task: each stage waits for requests, the clock and the drain,
//! and polls the server as well (L3 L4).

use std::{
    borrow::Cow,
    error::Error,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    ServerEnd,
    builder::{Budget, Shutdown},
    hooks::{Faults, Hooks, Stage},
    progress::Seconds,
    requests::Requests,
    steps::{self, Failure, Planned, Run, Step, Work},
    timer::{self, BoxTimer, Sleep},
};
use crate::{Drain, Phase, Report, drain::until::Until};

/// Runs `server` until the shutdown is over.
pub(super) async fn run<F>(shutdown: Shutdown, server: F) -> Report
where
    F: Future,
    F::Output: ServerEnd,
{
    Stages::new(shutdown, pin!(Some(server))).run().await
}

/// The state of a running shutdown: what each stage waits for, and the server.
pub(super) struct Stages<'a, F> {
    drain: Drain,
    timer: BoxTimer,
    requests: Requests,
    budget: Budget,
    /// When lame duck, grace and abort grace are used up together, set when the shutdown starts.
    /// `None` until then, and if nothing limits it.
    ends: Option<Instant>,
    /// `None` once the server has ended.
    server: Pin<&'a mut Option<F>>,
    /// Why the server failed, once it has.
    failure: Option<Box<dyn Error + Send + Sync>>,
    hooks: Hooks,
    steps: Vec<Planned>,
}

#[derive(PartialEq)]
enum Event {
    /// The nth request has been counted.
    Requested(usize),
    ServerEnded,
    /// The stage has reached what it waits for.
    Reached,
    TimeIsUp,
}

impl<'a, F> Stages<'a, F>
where
    F: Future,
    F::Output: ServerEnd,
{
    pub(super) fn new(shutdown: Shutdown, server: Pin<&'a mut Option<F>>) -> Self {
        let here = |step: Planned<Work>| Planned {
            name: step.name,
            budget: step.budget,
            run: Box::new(step.run) as Box<dyn Run>,
        };
        let steps = shutdown.steps.into_iter().map(here).collect();
        Self::with_steps(
            Shutdown {
                steps: Vec::new(),
                ..shutdown
            },
            server,
            steps,
        )
    }

    /// Returns the stages of a shutdown whose `steps` run elsewhere.
    pub(super) fn with_steps(
        shutdown: Shutdown,
        server: Pin<&'a mut Option<F>>,
        steps: Vec<Planned>,
    ) -> Self {
        Self {
            drain: shutdown.drain,
            timer: shutdown.timer,
            requests: shutdown.requests,
            budget: shutdown.budget,
            ends: None,
            server,
            failure: None,
            hooks: shutdown.hooks,
            steps,
        }
    }

    /// Runs all stages, one after another.
    pub(super) async fn run(&mut self) -> Report {
        let drain = self.drain.clone();
        let Budget {
            lame_duck,
            grace,
            abort_grace,
        } = self.budget;

        if drain.phase() == Phase::Running {
            self.enter(Stage::default(), "started");
        }
        let mut event = self.running().await;
        let begun = Instant::now();
        let lame_duck_ends = timer::later(Some(begun), lame_duck);
        let latest = timer::later(lame_duck_ends, grace);
        self.ends = timer::later(latest, abort_grace);
        let steps = steps::budget(&self.steps);
        let aborting_left = steps.and_then(|steps| steps.checked_add(abort_grace));
        let mut draining = begun;
        if drain.phase() < Phase::Draining && !lame_duck.is_zero() && self.server.is_some() {
            drain.node().raise(Phase::LameDuck, latest);
            self.enter(
                Stage {
                    phase: Phase::LameDuck,
                    began: Some(begun),
                    ends: lame_duck_ends,
                    rest: aborting_left.and_then(|left| left.checked_add(grace)),
                    ..Stage::default()
                },
                event,
            );
            event = self.lame_duck(lame_duck_ends).await;
            draining = Instant::now();
        }

        // Cutting lame duck short doesn't lengthen the grace period.
        let grace_ends = earlier(latest, timer::later(Some(draining), grace));
        drain.node().raise(Phase::Draining, grace_ends);
        self.enter(
            Stage {
                phase: Phase::Draining,
                began: Some(draining),
                ends: grace_ends,
                rest: aborting_left,
                ..Stage::default()
            },
            event,
        );
        self.warn_of_idle_limit(grace);
        let mut report = Report::begun(drain.node().begun_with());
        report.lame_duck = draining.saturating_duration_since(begun);
        event = self.draining(grace_ends).await;
        report.draining = draining.elapsed();

        if drain.phase() < Phase::Drained {
            let aborting = Instant::now();
            let end = timer::later(Some(aborting), abort_grace);
            drain.node().raise(Phase::Aborting, end);
            self.enter(
                Stage {
                    phase: Phase::Aborting,
                    began: Some(aborting),
                    ends: end,
                    rest: steps,
                    warning: true,
                    aborted: drain.node().total_aborted(),
                    ..Stage::default()
                },
                event,
            );
            event = self.aborting(end).await;
            report.aborting = aborting.elapsed();
        }
        report.abandoned(drain.node().abandoned(), drain.in_flight());
        if self.after(&mut report, event).await {
            // Work may have ended since then.
            report.abandoned(drain.node().abandoned(), drain.in_flight());
        }
        if let Some(error) = self.failure.take() {
            report.failed(error);
        }
        report.requests_panicked(self.requests.panics());
        report.hooks_failed(&self.end_hooks().await);
        report
    }

    /// Waits until the hooks have been told everything, for a bounded time: one may block, or take
    /// long. Returns what has gone wrong with them.
    async fn end_hooks(&mut self) -> Faults {
        const LONGEST: Duration = Duration::from_secs(1);
        if self.hooks.close() {
            // It was polled in the last phase, and is not polled from here on.
            self.server.set(None);
            let end = Instant::now() + LONGEST;
            let mut sleep = (self.timer)(end);
            poll_fn(|cx| {
                if self.hooks.poll_ended(cx).is_ready() {
                    return Poll::Ready(());
                }
                sleep.as_mut().poll(cx)
            })
            .await;
            // A timer that doesn't go by the clock, as in a test, may leave them no time at all.
            self.hooks.wait_ended(end);
        }
        self.hooks.faults()
    }

    /// Tells the hooks that a stage has begun, and what brought it about.
    fn enter(&mut self, stage: Stage, event: impl Into<Cow<'static, str>>) {
        self.hooks.enter(&self.drain, stage, event, false);
    }

    /// Tells the hooks if a server gives its idle peers longer than the grace period, which cuts
    /// that time short.
    fn warn_of_idle_limit(&mut self, grace: Duration) {
        // A grace period of zero serves nothing, on purpose.
        if grace.is_zero() {
            return;
        }
        if let Some((name, limit)) = self.drain.node().idle_limit_beyond(grace) {
            let (limit, grace) = (Seconds(limit), Seconds(grace));
            let words = format!("the {name} of {limit} is longer than the grace period of {grace}");
            self.hooks.event(&self.drain, words, true);
        }
    }

    /// Runs the steps, once the drain has ended or was given up, and puts how they ended into the
    /// report. Tells the hooks of it. Returns whether there were steps.
    async fn after(&mut self, report: &mut Report, event: Cow<'static, str>) -> bool {
        let abandoned = report.stragglers().total();
        // Guards that are still alive may go at any time; that is in the report.
        let (phase, mut event) = match (report.still_running(), abandoned) {
            (0, 0) => (Phase::Drained, "all work has finished".into()),
            (0, abandoned) => (Phase::Drained, format!("{abandoned} abandoned").into()),
            _ => (Phase::Aborting, event),
        };
        let mut steps = mem::take(&mut self.steps).into_iter();
        let now = Instant::now();
        let over = Stage {
            phase,
            began: Some(now),
            ends: Some(now),
            rest: steps::budget(steps.as_slice()),
            warning: abandoned > 0,
            step: None,
            aborted: 0,
        };
        self.enter(over.clone(), event);
        if steps.as_slice().is_empty() {
            return false;
        }
        // A step may close what the server uses. The server was polled in the last phase.
        self.server.set(None);
        let mut failed = false;
        event = "the drain is over".into();
        while let Some(Planned { name, budget, run }) = steps.next() {
            let stage = Stage {
                step: Some(name.clone()),
                rest: steps::budget(steps.as_slice()),
                ..over.clone()
            };
            let began = Instant::now();
            let failure = self.step(run, budget, stage, event, failed).await;
            failed = failure.is_some();
            let step = Step {
                name,
                took: began.elapsed(),
                failure,
            };
            event = step.to_string().into();
            report.step_ended(step);
        }
        let now = Instant::now();
        let over = Stage {
            began: Some(now),
            ends: Some(now),
            rest: Some(Duration::ZERO),
            ..over
        };
        self.hooks.enter(&self.drain, over, event, failed);
        true
    }

    /// Runs one step for at most its budget. It may take longer to begin, if the executor is
    /// blocked: for as long as the phases might have lasted, unless work was abandoned or a second
    /// request has arrived.
    async fn step(
        &mut self,
        mut run: Box<dyn Run>,
        budget: Duration,
        mut stage: Stage,
        event: Cow<'static, str>,
        warning: bool,
    ) -> Failure {
        let now = Instant::now();
        let is_late = stage.warning || self.requests.counted() >= 2;
        let spare = if is_late {
            Some(now)
        } else {
            self.ends.map(|ends| ends.max(now))
        };
        let mut latest = timer::later(spare, budget);
        let mut begun = !budget.is_zero()
            && run
                .poll_begun(&mut Context::from_waker(Waker::noop()))
                .is_ready();
        stage.began = Some(now);
        stage.ends = if begun {
            timer::later(Some(now), budget)
        } else {
            latest
        };
        self.hooks.enter(&self.drain, stage, event, warning);
        if budget.is_zero() {
            // Whether it would end at its first poll must not decide.
            return Some("not run, since its budget is zero".into());
        }
        while !begun {
            match self.event(|cx| run.poll_begun(cx), latest).await {
                Event::Reached => begun = true,
                Event::TimeIsUp => return Some("not run, since the executor is blocked".into()),
                event => {
                    self.tell(&event);
                    if self.requests.counted() >= 2 {
                        latest = earlier(latest, timer::later(Some(Instant::now()), budget));
                        self.hooks.ends(latest);
                    }
                }
            }
        }
        let end = earlier(latest, timer::later(Some(Instant::now()), budget));
        self.hooks.ends(end);
        let mut failure = None;
        loop {
            let ended = |cx: &mut Context<'_>| run.poll_ended(cx).map(|ended| failure = ended);
            match self.event(ended, end).await {
                Event::Reached => return failure,
                Event::TimeIsUp => return Some("its budget is used up".into()),
                // L4: it cuts nothing.
                event => self.tell(&event),
            }
        }
    }

    /// Waits until the shutdown starts: a request arrives, code moves the drain on, or the server
    /// ends.
    async fn running(&mut self) -> Cow<'static, str> {
        let event = self.next(Phase::LameDuck, None).await;
        self.words(&event, "")
    }

    /// Waits until lame duck is over or the second request ends it. If lame duck was entered by
    /// hand, the first request arrives here, and ends nothing.
    async fn lame_duck(&mut self, end: Option<Instant>) -> Cow<'static, str> {
        loop {
            match self.next(Phase::Draining, end).await {
                event @ Event::Requested(1) => self.tell(&event),
                event => return self.words(&event, "lame duck is over"),
            }
        }
    }

    async fn draining(&mut self, end: Option<Instant>) -> Cow<'static, str> {
        loop {
            match self.next(Phase::Aborting, end).await {
                event @ (Event::Requested(1) | Event::ServerEnded) => self.tell(&event),
                event => return self.words(&event, "the grace period is over"),
            }
        }
    }

    async fn aborting(&mut self, end: Option<Instant>) -> Cow<'static, str> {
        loop {
            match self.next(Phase::Drained, end).await {
                event @ (Event::Requested(1) | Event::ServerEnded) => self.tell(&event),
                event => return self.words(&event, "the abort grace is over"),
            }
        }
    }

    /// Tells the hooks of an event that doesn't end the stage. A server is expected to end while
    /// draining, so they are told only if it failed.
    fn tell(&mut self, event: &Event) {
        let failed = self.failure.is_some();
        if *event != Event::ServerEnded || failed {
            let words = self.words(event, "");
            self.hooks.event(&self.drain, words, failed);
        }
    }

    /// Says what has happened, in words; `over` if that is the end of the stage's time.
    fn words(&self, event: &Event, over: &'static str) -> Cow<'static, str> {
        match event {
            Event::Requested(_) => self.requests.last_name(),
            Event::ServerEnded if self.failure.is_some() => "the server failed".into(),
            Event::ServerEnded => "the server has ended".into(),
            Event::Reached => "begun by the program".into(),
            Event::TimeIsUp => over.into(),
        }
    }

    async fn next(&mut self, phase: Phase, deadline: Option<Instant>) -> Event {
        let mut reached = Until::new(self.drain.node(), phase);
        self.event(|cx| reached.poll(cx), deadline).await
    }

    /// Waits for `taken` until `end`, or until `insisted_end` once a second request has arrived.
    /// Returns whether `taken` was ready in time.
    pub(super) async fn wait_for(
        &mut self,
        mut taken: impl FnMut(&mut Context<'_>) -> Poll<()>,
        mut end: Option<Instant>,
        insisted_end: Instant,
    ) -> bool {
        loop {
            match self.event(&mut taken, end).await {
                Event::Reached => return true,
                Event::TimeIsUp => return false,
                Event::Requested(1) | Event::ServerEnded => {}
                Event::Requested(_) => end = Some(insisted_end),
            }
        }
    }

    /// Returns when lame duck, grace and abort grace are used up together; `None` means never.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// Ready when another request counts. Tells the hooks of a stream that has panicked.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let requested = self.requests.poll(cx);
        while let Some(words) = self.requests.next_panic() {
            self.hooks.event(&self.drain, words, true);
        }
        requested
    }

    async fn event(
        &mut self,
        mut reached: impl FnMut(&mut Context<'_>) -> Poll<()>,
        deadline: Option<Instant>,
    ) -> Event {
        let mut sleep = deadline.map(|deadline| (self.timer)(deadline));
        poll_fn(|cx| {
            let event = if reached(cx).is_ready() {
                Poll::Ready(Event::Reached)
            } else if let Poll::Ready(requested) = self.poll_requests(cx) {
                Poll::Ready(Event::Requested(requested))
            } else if poll_sleep(sleep.as_mut(), cx).is_ready() {
                Poll::Ready(Event::TimeIsUp)
            } else {
                // A hook can't change the phase for us: if it does so by hand, we are woken.
                self.hooks.poll(&self.drain, &mut self.timer, cx);
                Poll::Pending
            };
            // Poll the server last, whatever has happened: it may have something to do in the phase
            // that has been reached, and this may be its last poll.
            let Poll::Ready(end) = poll_server(self.server.as_mut(), cx) else {
                return event;
            };
            self.failure = end;
            match event {
                Poll::Pending => Poll::Ready(Event::ServerEnded),
                event @ Poll::Ready(_) => event,
            }
        })
        .await
    }
}

fn poll_sleep(sleep: Option<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    match sleep {
        Some(sleep) => sleep.as_mut().poll(cx),
        None => Poll::Pending,
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Polls the server. Ready once, when the server ends, with its error if it failed.
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
