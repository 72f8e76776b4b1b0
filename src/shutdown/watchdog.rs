//! The shutdown's clock in a thread of its own, for programs whose handlers may block all of the executor's (L3).

use std::{
    error::Error,
    future::{Future, pending, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use super::{ServerEnd, Shutdown, stages::Stages};
use crate::{Report, park::Parker, time::BoxTimer};

/// How long the report waits to be taken by a task that has been woken for it.
const PATIENCE: Duration = Duration::from_millis(250);

pub(super) async fn run<F>(
    shutdown: Shutdown,
    server: F,
    stuck: impl FnOnce(&Report) + Send + 'static,
) -> io::Result<Report>
where
    F: Future,
    F::Output: ServerEnd,
{
    let handover = Arc::new(Handover::default());
    let parker = Parker::default();
    // Dropped with this future, however that ends.
    let cancel = Cancel {
        thread: parker.waker(),
        handover: Arc::clone(&handover),
    };
    let drain = shutdown.drain.clone();
    thread::Builder::new().name("async-drain".into()).spawn({
        let handover = Arc::clone(&handover);
        move || {
            let clock = Clock::default();
            let shutdown = Shutdown {
                timer: clock.timer(),
                ..shutdown
            };
            clock.block_on(watch(shutdown, &handover, stuck), &parker, &handover);
        }
    })?;

    let mut server = pin!(Some(server));
    let report = poll_fn(|cx| {
        let mut report = handover.take(cx);
        if let Some(running) = server.as_mut().as_pin_mut() {
            // Also when all is over: it may be its last poll, and the first in the last phase.
            if let Poll::Ready(end) = running.poll(cx) {
                server.set(None);
                match (end.failure(), &mut report) {
                    (Some(error), Some(report)) => report.failed(error),
                    (Some(error), None) => handover.fail(error),
                    (None, _) => {}
                }
                // The thread goes on from here.
                drain.begin();
            }
        }
        report.map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    drop(cancel);
    Ok(report)
}

/// What the thread does: it runs the shutdown, and sees to it that the report is heard of.
async fn watch(shutdown: Shutdown, handover: &Handover, stuck: impl FnOnce(&Report)) {
    let server = pin!(Some(pending::<()>()));
    let mut stages = Stages::new(shutdown, server);
    let report = stages.run().await;
    let patience = Instant::now() + PATIENCE;
    let end = if report.is_drained() {
        // Nothing is lost yet: whatever blocks the executor may go on, and has the rest of the budget for that.
        stages.ends().map(|ends| ends.max(patience))
    } else {
        Some(patience)
    };
    handover.offer(report);
    let taken = stages.wait_for(|cx| handover.poll_taken(cx), end, patience);
    if !taken.await {
        handover.give_to(stuck);
    }
}

/// Ends the thread if nobody waits for it any more.
struct Cancel {
    thread: Waker,
    handover: Arc<Handover>,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        // The thread looks at the flag before it sleeps.
        self.handover.cancelled.store(true, Ordering::Release);
        self.thread.wake_by_ref();
    }
}

/// The report on its way from the thread to the task.
#[derive(Default)]
struct Handover {
    state: Mutex<State>,
    cancelled: AtomicBool,
}

#[derive(Default)]
struct State {
    report: Option<Report>,
    taken: bool,
    /// Why the server failed, if the task has heard of that.
    failure: Option<Box<dyn Error + Send + Sync>>,
    task: Option<Waker>,
    thread: Option<Waker>,
}

impl Handover {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: Box<dyn Error + Send + Sync>) {
        self.lock().failure = Some(error);
    }

    /// Takes the report, or asks to be woken for it.
    fn take(&self, cx: &mut Context<'_>) -> Option<Report> {
        let task = cx.waker().clone();
        let (report, replaced, thread) = {
            let mut state = self.lock();
            let report = state.take();
            state.taken |= report.is_some();
            (report, state.task.replace(task), state.thread.take())
        };
        drop(replaced);
        if let Some(thread) = thread {
            thread.wake();
        }
        report
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

    /// Ready once the task has the report.
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

    /// Shows the report to `stuck`, unless the task has taken it meanwhile, and offers it again.
    fn give_to(&self, stuck: impl FnOnce(&Report)) {
        let report = self.lock().take();
        if let Some(report) = report {
            if !self.cancelled.load(Ordering::Acquire) {
                stuck(&report);
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

/// A clock for one thread, which sleeps until the time that was asked for.
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
        let mut asked = self.clock.asked();
        *asked = Some(asked.map_or(self.deadline, |asked| asked.min(self.deadline)));
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

    /// The earliest time that was asked for since the last sleep.
    fn asked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `future`, whose timers are this clock's, unless it is cancelled.
    fn block_on(&self, future: impl Future<Output = ()>, parker: &Parker, handover: &Handover) {
        let mut future = pin!(future);
        let waker = parker.waker();
        let mut cx = Context::from_waker(&waker);
        while !handover.cancelled.load(Ordering::Acquire) {
            *self.asked() = None;
            if future.as_mut().poll(&mut cx).is_ready() {
                return;
            }
            let deadline = *self.asked();
            parker.park(deadline);
        }
    }
}
