//! The hooks of a shutdown: when each is called, and with what.
//!
//! A hook is called at each event and, from when the shutdown starts, at most as often as it was
//! registered for, if what it would be told has changed. No timer runs for it while the drain runs,
//! unless the hook asked for its next call. One timer serves all hooks.

use std::{
    any::Any,
    borrow::Cow,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    progress::{Asked, Progress},
    timer::{BoxTimer, Sleep, later},
};
use crate::{Drain, Phase};

/// So that no hook keeps the thread busy, whatever it asks for.
const LEAST: Duration = Duration::from_millis(10);

/// All hooks of a shutdown, and the stage that they are told of.
#[derive(Default)]
pub(super) struct Hooks {
    all: Vec<Hook>,
    stage: Stage,
    /// The timer of the next call, and when that is due.
    beat: Option<(Instant, Sleep)>,
    /// The messages of the hooks that panicked.
    panics: Vec<String>,
}

struct Hook {
    every: Duration,
    call: Box<dyn FnMut(&Progress) + Send>,
    /// When the next call is due; `None` if only an event brings it.
    due: Option<Instant>,
    /// Set if the hook asked for the next call itself, so that it comes in any case.
    asked: bool,
    /// What the hook was told last.
    told: Option<Told>,
}

/// What decides whether anything has changed.
type Told = (usize, usize, Option<Duration>, Option<Duration>);

/// A phase or a step, and how long it may last.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) phase: Phase,
    pub(super) step: Option<Cow<'static, str>>,
    pub(super) began: Option<Instant>,
    pub(super) ends: Option<Instant>,
    /// How long what follows may last; `None` for no limit.
    pub(super) rest: Option<Duration>,
    /// Set if the stage itself is a reason to look.
    pub(super) warning: bool,
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
    pub(super) fn add(&mut self, every: Duration, call: impl FnMut(&Progress) + Send + 'static) {
        self.all.push(Hook {
            every: every.max(LEAST),
            call: Box::new(call),
            due: None,
            asked: false,
            told: None,
        });
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
        if self.all.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut progress = self.progress(drain, now);
        progress.event = Some(event.into());
        progress.warning |= warning;
        self.call(&progress, now, |_| true);
    }

    /// Calls the hooks that are due, and registers the task for the next. It is never ready: a hook
    /// doesn't move the shutdown. (`timer` is exclusive since it can be sent and not shared.)
    pub(super) fn poll(&mut self, drain: &Drain, timer: &mut BoxTimer, cx: &mut Context<'_>) {
        let due = self.all.iter().filter_map(|hook| hook.due).min();
        let Some(mut due) = due else {
            self.beat = None;
            return;
        };
        // Twice: the new timer must be polled. If that is ready as well, the task yields.
        for _ in 0..2 {
            let beat = match &mut self.beat {
                Some((at, sleep)) if *at == due => sleep,
                beat => &mut beat.insert((due, timer(due))).1,
            };
            if beat.as_mut().poll(cx) == Poll::Pending {
                return;
            }
            self.beat = None;
            // The timer decides what time it is.
            let now = Instant::now().max(due);
            let progress = self.progress(drain, now);
            let told = told(&progress);
            self.call(&progress, now, |hook| {
                let is_due = hook.due.is_some_and(|due| due <= now);
                let wanted = is_due && (hook.asked || hook.told != Some(told));
                if is_due && !wanted {
                    hook.due = later(Some(now), hook.every);
                }
                wanted
            });
            match self.all.iter().filter_map(|hook| hook.due).min() {
                Some(next) => due = next,
                None => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Returns the messages of the hooks that panicked.
    pub(super) fn take_panics(&mut self) -> Vec<String> {
        mem::take(&mut self.panics)
    }

    fn progress(&self, drain: &Drain, now: Instant) -> Progress {
        let stage = &self.stage;
        let overview = drain.node().overview();
        let mut oldest = overview.oldest.into_iter();
        let phase_left = stage.ends.map(|ends| ends.saturating_duration_since(now));
        Progress {
            event: None,
            warning: stage.warning || stage.is_late(now),
            phase: stage.phase,
            step: stage.step.clone(),
            in_flight: overview.in_flight,
            idle: overview.idle,
            oldest: oldest.next(),
            next_oldest: oldest.collect(),
            phase_left,
            left: phase_left
                .zip(stage.rest)
                .and_then(|(left, rest)| left.checked_add(rest))
                .filter(|&left| now.checked_add(left).is_some()),
            drain: drain.observer(),
            asked: Asked::default(),
        }
    }

    /// Calls those of the hooks that are wanted. A hook that panics is not called again (S6 L3).
    fn call(
        &mut self,
        progress: &Progress,
        now: Instant,
        mut wanted: impl FnMut(&mut Hook) -> bool,
    ) {
        let running = self.stage.phase == Phase::Running;
        for mut hook in mem::take(&mut self.all) {
            if wanted(&mut hook) {
                let called = catch_unwind(AssertUnwindSafe(|| (hook.call)(progress)));
                if let Err(payload) = called {
                    self.panics.push(message(payload));
                    // Its drop is user code, too.
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(hook))) {
                        mem::forget(payload);
                    }
                    continue;
                }
                hook.told = Some(told(progress));
                let asked = progress.asked.take();
                hook.asked = asked.is_some();
                let every = (!running).then_some(hook.every);
                let next = match (asked.map(|asked| asked.max(LEAST)), every) {
                    (Some(asked), Some(every)) => Some(asked.min(every)),
                    (asked, every) => asked.or(every),
                };
                hook.due = next.and_then(|next| later(Some(now), next));
            }
            self.all.push(hook);
        }
    }
}

impl Drop for Hooks {
    /// Drops each hook, whose drop is user code, so that the panic of one stays here.
    fn drop(&mut self) {
        for hook in mem::take(&mut self.all) {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(hook))) {
                mem::forget(payload);
            }
        }
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

/// Returns the message of a panic.
pub(super) fn message(payload: Box<dyn Any + Send>) -> String {
    let text = (payload.downcast_ref::<&str>().copied())
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("it has no message").to_owned();
    // Its drop is user code, and may panic again.
    mem::forget(payload);
    text
}
