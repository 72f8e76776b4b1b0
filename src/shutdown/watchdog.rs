//! Runs the stages in a thread of their own, for programs whose handlers may block all threads of
//! the executor (L3).

use std::{
    error::Error,
    future::{Future, pending, poll_fn},
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use super::{
    ServerEnd, builder::Shutdown, calls::message, relay, stages::Stages, steps::Planned,
    timer::BoxTimer,
};
use crate::{Report, drain::park::Parker};

/// How long the executor may take to poll the task that was woken for the report. After that it
/// counts as blocked.
const POLL_LIMIT: Duration = Duration::from_millis(250);

pub(super) async fn run<F>(
    mut shutdown: Shutdown,
    server: F,
    stuck: impl FnOnce(&Report) + Send + 'static,
) -> io::Result<Report>
where
    F: Future,
    F::Output: ServerEnd,
{
    let handover = Arc::new(Handover::default());
    let parker = Parker::default();
    // Dropped with this future, so that the thread ends even if the future is cancelled.
    let cancel = Cancel {
        thread: parker.waker(),
        handover: Arc::clone(&handover),
    };
    let drain = shutdown.drain.clone();
    let (mut worker, steps) = relay::split(mem::take(&mut shutdown.steps));
    shutdown.hooks.watch({
        let handover = Arc::clone(&handover);
        move |cx| handover.poll_check(cx)
    });
    thread::Builder::new().name("async-drain".into()).spawn({
        let handover = Arc::clone(&handover);
        move || {
            let clock = Clock::default();
            let shutdown = Shutdown {
                timer: clock.timer(),
                ..shutdown
            };
            let watched = watch(shutdown, steps, &handover, stuck);
            clock.block_on(watched, &parker, &handover);
        }
    })?;

    let mut server = pin!(Some(server));
    let report = poll_fn(|cx| {
        let mut report = handover.take(cx);
        if let Some(running) = server.as_mut().as_pin_mut() {
            // Poll it even if the report is here: it may not have been polled since the phase last
            // changed.
            if let Poll::Ready(end) = running.poll(cx) {
                server.set(None);
                match (end.failure(), &mut report) {
                    (Some(error), Some(report)) => report.failed(error),
                    (Some(error), None) => handover.fail(error),
                    (None, _) => {}
                }
                // This wakes the thread, which does the rest.
                drain.begin();
            }
        }
        if worker.register(cx) {
            // A step may close what the server uses. The server was polled above, in the last
            // phase.
            server.set(None);
            worker.poll(cx);
        }
        report.map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    drop(cancel);
    Ok(report)
}

/// Runs the shutdown in the thread, and hands over the report: to the task, or to `stuck`.
async fn watch(
    shutdown: Shutdown,
    steps: Vec<Planned>,
    handover: &Handover,
    stuck: impl FnOnce(&Report),
) {
    let server = pin!(Some(pending::<()>()));
    let mut stages = Stages::with_steps(shutdown, server, steps);
    let report = stages.run().await;
    let poll_by = Instant::now() + POLL_LIMIT;
    let end = if report.is_drained() {
        // Nothing is lost: the executor may stay blocked for the rest of the budget.
        stages.ends().map(|ends| ends.max(poll_by))
    } else {
        Some(poll_by)
    };
    handover.offer(report);
    let taken = stages.wait_for(|cx| handover.poll_taken(cx), end, poll_by);
    if !taken.await {
        handover.give_to(stuck);
    }
}

/// Ends the thread when dropped, i.e. when the task no longer waits for the report.
struct Cancel {
    thread: Waker,
    handover: Arc<Handover>,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        // `Release`, so that what the task did before is visible to the user code that the thread
        // drops; pairs with the loads in `Clock::block_on` and `give_to`. It comes before the wake,
        // since the thread looks at it before it sleeps.
        self.handover.cancelled.store(true, Ordering::Release);
        self.thread.wake_by_ref();
    }
}

/// Passes the report from the thread to the task.
#[derive(Default)]
struct Handover {
    state: Mutex<State>,
    cancelled: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Set by the thread when the shutdown is over, until the task or `stuck` takes it.
    report: Option<Report>,
    /// Set when the task has taken the report.
    taken: bool,
    /// Why the server failed, set by the task.
    failure: Option<Box<dyn Error + Send + Sync>>,
    /// Whether the task has been polled since the thread asked for that.
    poll_check: PollCheck,
    /// Woken when there is a report to take, and to be polled.
    task: Option<Waker>,
    /// Woken when the task has polled.
    thread: Option<Waker>,
}

/// The thread's question whether the executor still polls the task.
#[derive(Clone, Copy, Default, PartialEq)]
enum PollCheck {
    #[default]
    NotAsked,
    Asked,
    /// The task has been polled since.
    Answered,
}

impl Handover {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: Box<dyn Error + Send + Sync>) {
        self.lock().failure = Some(error);
    }

    /// Takes the report, or registers the task for it.
    fn take(&self, cx: &mut Context<'_>) -> Option<Report> {
        let task = cx.waker().clone();
        let (report, replaced, thread) = {
            let mut state = self.lock();
            let report = state.take();
            state.taken |= report.is_some();
            if state.poll_check == PollCheck::Asked {
                state.poll_check = PollCheck::Answered;
            }
            (report, state.task.replace(task), state.thread.take())
        };
        drop(replaced);
        if let Some(thread) = thread {
            thread.wake();
        }
        report
    }

    /// Ready once the task has been polled since this was first called; then it begins anew.
    fn poll_check(&self, cx: &Context<'_>) -> Poll<()> {
        let thread = cx.waker().clone();
        let mut state = self.lock();
        let (polled, task) = match state.poll_check {
            PollCheck::NotAsked => (Poll::Pending, state.task.take()),
            PollCheck::Asked => (Poll::Pending, None),
            PollCheck::Answered => (Poll::Ready(()), None),
        };
        state.poll_check = match polled {
            Poll::Pending => PollCheck::Asked,
            Poll::Ready(()) => PollCheck::NotAsked,
        };
        let replaced = state.thread.replace(thread);
        drop(state);
        drop(replaced);
        if let Some(task) = task {
            task.wake();
        }
        polled
    }

    /// Offers the report to the task.
    fn offer(&self, report: Report) {
        let task = {
            let mut state = self.lock();
            state.report = Some(report);
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Ready once the task has taken the report.
    fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        let thread = cx.waker().clone();
        let mut state = self.lock();
        if state.taken {
            return Poll::Ready(());
        }
        let replaced = state.thread.replace(thread);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Calls `stuck` with the report, unless the task has taken it by now, and then offers it
    /// again, with a line if that panicked (S6).
    fn give_to(&self, stuck: impl FnOnce(&Report)) {
        let report = self.lock().take();
        if let Some(mut report) = report {
            // Pairs with `Cancel::drop`.
            if !self.cancelled.load(Ordering::Acquire) {
                let called = catch_unwind(AssertUnwindSafe(|| stuck(&report)));
                if let Err(payload) = called {
                    report.stuck_panicked(message(payload));
                }
            }
            self.offer(report);
        }
    }
}

impl State {
    fn take(&mut self) -> Option<Report> {
        let mut report = self.report.take()?;
        if let Some(error) = self.failure.take() {
            report.failed(error);
        }
        Some(report)
    }
}

/// The thread's timer: it records the earliest of the deadlines that are polled, and the thread
/// sleeps until then.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<Option<Instant>>>);

struct Sleep {
    deadline: Instant,
    clock: Clock,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= Instant::now() {
            return Poll::Ready(());
        }
        let mut earliest = self.clock.earliest();
        *earliest = Some(earliest.map_or(self.deadline, |other| other.min(self.deadline)));
        Poll::Pending
    }
}

impl Clock {
    fn timer(&self) -> BoxTimer {
        let clock = self.clone();
        Box::new(move |deadline| {
            Box::pin(Sleep {
                deadline,
                clock: clock.clone(),
            })
        })
    }

    /// Returns the earliest deadline that has been polled since the last sleep.
    fn earliest(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a future that uses the timer of this clock, until it resolves or is cancelled.
    fn block_on(&self, future: impl Future<Output = ()>, parker: &Parker, handover: &Handover) {
        let mut future = pin!(future);
        let waker = parker.waker();
        let mut cx = Context::from_waker(&waker);
        // Pairs with `Cancel::drop`.
        while !handover.cancelled.load(Ordering::Acquire) {
            *self.earliest() = None;
            if future.as_mut().poll(&mut cx).is_ready() {
                return;
            }
            let deadline = *self.earliest();
            parker.park(deadline);
        }
    }
}
