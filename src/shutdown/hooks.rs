//! The hooks of a shutdown: when each is called, and with what.
//!
//! A hook is called at each event and, once the shutdown has started, at most once in its interval,
//! if what it would be told has changed. No timer runs for it while the drain runs,
//! unless the hook asked for its next call. One timer serves all hooks.
//!
//! Here is the schedule; `src/shutdown/calls.rs` makes the calls.

use std::{
    borrow::Cow,
    panic::Location,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    calls::{Answer, Call, Caller},
    progress::{Asked, Progress},
    timer::{BoxTimer, Sleep, later},
};
use crate::{Drain, Phase, drain::readiness::UntilReady};

/// The shortest time between two calls of a hook, so that none keeps a thread busy, whatever it
/// asks for.
const LEAST: Duration = Duration::from_millis(10);

/// Ready once the executor has polled the shutdown since this was first polled.
pub(super) type PollCheck = Box<dyn FnMut(&Context<'_>) -> Poll<()> + Send>;

/// All hooks of a shutdown, and the stage that they are told of.
#[derive(Default)]
pub(super) struct Hooks {
    all: Vec<Hook>,
    caller: Caller,
    stage: Stage,
    /// The timer of the next call, and when that is due.
    next_call: Option<(Instant, Sleep)>,
    /// Set by a watchdog, which is not polled by the executor itself.
    poll_check: Option<PollCheck>,
    /// The wait until the program is ready for the first time; set while it is not.
    unready: Option<UntilReady>,
}

/// The schedule of a hook.
struct Hook {
    every: Duration,
    /// Where it was registered.
    place: &'static Location<'static>,
    /// When the next call is due; `None` if only an event brings it.
    due: Option<Instant>,
    /// What the hook asked for itself, so that it comes in any case.
    asked: Next,
    /// What the hook was told last, and when.
    told: Option<(Told, Instant)>,
    /// Set once it has panicked, and once nothing more is told.
    gone: bool,
}

/// The call that a hook has asked for.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    /// It did not ask.
    No,
    At(Instant),
    /// The time has come; the call waits until the executor polls the shutdown.
    Overdue,
}

/// What decides whether anything has changed.
type Told = (usize, usize, Option<Duration>, Option<Duration>);

/// What went wrong with the hooks.
#[derive(Default)]
pub(crate) struct Faults {
    /// The messages of those that panicked.
    pub(crate) panics: Vec<String>,
    /// Where one that has not returned was registered.
    pub(crate) blocked: Option<&'static Location<'static>>,
}

/// A phase or a step, and how long it may last.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) phase: Phase,
    pub(super) step: Option<Cow<'static, str>>,
    pub(super) began: Option<Instant>,
    pub(super) ends: Option<Instant>,
    /// How long what follows may last; `None` for no limit.
    pub(super) rest: Option<Duration>,
    /// Set if the stage itself is a reason for an operator to look.
    pub(super) warning: bool,
    /// How much work was alive when aborting began, and 0 in other stages. The event that aborting
    /// has begun reports at least this much in flight, although some of it may have ended by then.
    pub(super) aborted: usize,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            phase: Phase::Running,
            step: None,
            began: None,
            ends: None,
            rest: None,
            warning: false,
            aborted: 0,
        }
    }
}

impl Stage {
    /// Returns whether more than half of a grace period has passed.
    fn is_late(&self, now: Instant) -> bool {
        self.phase == Phase::Draining
            && (self.began.zip(self.ends)).is_some_and(|(began, ends)| {
                now.saturating_duration_since(began) > ends.saturating_duration_since(now)
            })
    }
}

impl Hooks {
    #[track_caller]
    pub(super) fn add(&mut self, every: Duration, hook: impl FnMut(&Progress) + Send + 'static) {
        self.all.push(Hook {
            every: every.max(LEAST),
            place: Location::caller(),
            due: None,
            asked: Next::No,
            told: None,
            gone: false,
        });
        self.caller.add(hook);
    }

    /// Sets how to learn that the executor is not blocked. Without it, the executor itself calls
    /// these methods.
    pub(super) fn watch(
        &mut self,
        poll_check: impl FnMut(&Context<'_>) -> Poll<()> + Send + 'static,
    ) {
        self.poll_check = Some(Box::new(poll_check));
    }

    fn is_empty(&self) -> bool {
        self.all.iter().all(|hook| hook.gone)
    }

    /// Tells all hooks that a stage has begun.
    pub(super) fn enter(
        &mut self,
        drain: &Drain,
        stage: Stage,
        event: impl Into<Cow<'static, str>>,
        warning: bool,
    ) {
        self.stage = stage;
        self.event(drain, event, warning);
        self.stage.aborted = 0;
    }

    /// Changes when the stage is cut, and tells no hook.
    pub(super) fn ends(&mut self, ends: Option<Instant>) {
        self.stage.ends = ends;
    }

    /// Tells all hooks of an event.
    pub(super) fn event(
        &mut self,
        drain: &Drain,
        event: impl Into<Cow<'static, str>>,
        warning: bool,
    ) {
        if self.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut progress = self.progress(drain, now, self.poll_check.is_none());
        progress.event = Some(event.into());
        progress.in_flight = progress.in_flight.max(self.stage.aborted);
        progress.warning |= warning;
        let is_unready = self.stage.phase == Phase::Running && !progress.ready;
        self.unready = is_unready.then(|| UntilReady::new(drain.node()));
        self.call(progress, now, |_| true);
    }

    /// Calls the hooks that are due, and registers the task for the next call. It is never
    /// ready: a hook doesn't move the shutdown. (`timer` is borrowed mutably because it is `Send`
    /// and not `Sync`.)
    pub(super) fn poll(&mut self, drain: &Drain, timer: &mut BoxTimer, cx: &mut Context<'_>) {
        if self.is_empty() {
            self.next_call = None;
            return;
        }
        self.hear(cx);
        self.look_for_readiness(drain, cx);
        if self.all.iter().any(|hook| hook.asked == Next::Overdue) && self.is_polled(cx) {
            self.call_due(drain, Instant::now(), true);
        }
        // Twice: the new timer must be polled. If that is ready as well, the task yields.
        for _ in 0..2 {
            let Some(due) = self.next_due() else {
                self.next_call = None;
                return;
            };
            let sleep = match &mut self.next_call {
                Some((at, sleep)) if *at == due => sleep,
                next => &mut next.insert((due, timer(due))).1,
            };
            if sleep.as_mut().poll(cx) == Poll::Pending {
                return;
            }
            self.next_call = None;
            // The timer decides what time it is.
            let now = Instant::now().max(due);
            let mut asked = false;
            for hook in &mut self.all {
                if matches!(hook.asked, Next::At(at) if at <= now) {
                    hook.asked = Next::Overdue;
                    asked = true;
                }
            }
            let polled = self.poll_check.is_none() || asked && self.is_polled(cx);
            self.call_due(drain, now, polled);
        }
        cx.waker().wake_by_ref();
    }

    /// Takes in what the hooks have answered.
    fn hear(&mut self, cx: &Context<'_>) {
        for (number, answer) in self.caller.answers(cx) {
            let hook = &mut self.all[number];
            match answer {
                Answer::CallAgain(within) => {
                    // The timer decides what time it is.
                    let now = hook.told.map(|(_, at)| at.max(Instant::now()));
                    let at = later(now, within.max(LEAST));
                    hook.asked = match (hook.asked, at) {
                        (Next::No, Some(at)) => Next::At(at),
                        (Next::At(before), Some(at)) => Next::At(before.min(at)),
                        (asked, _) => asked,
                    };
                }
                Answer::Panicked => {
                    hook.gone = true;
                    (hook.due, hook.asked) = (None, Next::No);
                }
            }
        }
    }

    /// Tells the hooks when the program becomes ready for the first time.
    fn look_for_readiness(&mut self, drain: &Drain, cx: &Context<'_>) {
        if (self.unready.as_mut()).is_some_and(|unready| unready.poll(cx).is_ready()) {
            self.event(drain, "ready", false);
        }
    }

    fn is_polled(&mut self, cx: &Context<'_>) -> bool {
        (self.poll_check.as_mut()).is_none_or(|check| check(cx).is_ready())
    }

    /// Returns when the timer of the next call has to fire.
    fn next_due(&self) -> Option<Instant> {
        let asked = self.all.iter().filter_map(|hook| match hook.asked {
            Next::At(at) => Some(at),
            Next::No | Next::Overdue => None,
        });
        let due = self.all.iter().filter_map(|hook| hook.due);
        due.chain(asked).min()
    }

    /// Calls the hooks that are due `now`; those that asked for it only if the executor has
    /// `polled` the shutdown.
    fn call_due(&mut self, drain: &Drain, now: Instant, polled: bool) {
        let progress = self.progress(drain, now, polled);
        let told = told(&progress);
        self.call(progress, now, |hook| {
            let is_due = hook.due.is_some_and(|due| due <= now);
            let asked = polled && hook.asked == Next::Overdue;
            let is_new = || hook.told.is_none_or(|(before, _)| before != told);
            let wanted = asked || is_due && is_new();
            if is_due && !wanted {
                hook.due = later(Some(now), hook.every);
            }
            wanted
        });
    }

    fn progress(&self, drain: &Drain, now: Instant, polled: bool) -> Progress {
        let stage = &self.stage;
        let overview = drain.node().overview();
        let mut oldest = overview.oldest.into_iter();
        let phase_left = stage.ends.map(|ends| ends.saturating_duration_since(now));
        Progress {
            event: None,
            warning: stage.warning || stage.is_late(now),
            phase: stage.phase,
            step: stage.step.clone(),
            ready: drain.readiness().is_ready(),
            in_flight: overview.in_flight,
            idle: overview.idle,
            oldest: oldest.next(),
            next_oldest: oldest.collect(),
            phase_left,
            left: phase_left
                .zip(stage.rest)
                .and_then(|(left, rest)| left.checked_add(rest))
                .filter(|&left| now.checked_add(left).is_some()),
            polled,
            drain: drain.observer(),
            asked: Asked::default(),
        }
    }

    /// Calls the hooks that are `wanted`.
    fn call(
        &mut self,
        progress: Progress,
        now: Instant,
        mut wanted: impl FnMut(&mut Hook) -> bool,
    ) {
        let running = self.stage.phase == Phase::Running;
        let mut hooks = Vec::new();
        for (number, hook) in self.all.iter_mut().enumerate() {
            if hook.gone || !wanted(hook) {
                continue;
            }
            hook.told = Some((told(&progress), now));
            let every = (!running).then_some(hook.every);
            hook.due = every.and_then(|every| later(Some(now), every));
            if progress.polled {
                hook.asked = Next::No;
            }
            hooks.push(number);
        }
        if !hooks.is_empty() {
            self.caller.call(Call { progress, hooks });
        }
    }

    /// Tells the hooks nothing more. Returns whether there is something to wait for.
    pub(super) fn close(&mut self) -> bool {
        self.caller.close();
        for hook in &mut self.all {
            hook.gone = true;
        }
        !self.all.is_empty()
    }

    /// Ready once the hooks have been told everything and were dropped. (It borrows mutably because
    /// hooks are `Send` and not `Sync`.)
    pub(super) fn poll_ended(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.caller.poll_ended(cx)
    }

    /// Blocks until the hooks have been told everything and were dropped, at most until `end`.
    pub(super) fn wait_ended(&self, end: Instant) {
        self.caller.wait_ended(end);
    }

    /// Returns what has gone wrong by now.
    pub(super) fn faults(&self) -> Faults {
        let (panics, blocked) = self.caller.faults();
        let blocked = blocked.map(|number| self.all[number].place);
        Faults { panics, blocked }
    }
}

fn told(progress: &Progress) -> Told {
    (
        progress.in_flight,
        progress.idle,
        progress.left,
        progress.oldest.as_ref().map(|oldest| oldest.age),
    )
}
