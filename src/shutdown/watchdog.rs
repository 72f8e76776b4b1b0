//! The shutdown's clock in a thread of its own, for programs whose handlers may block all of the executor's (L3).

use std::{
    cell::Cell,
    future::{Future, pending, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_core::Stream;

use super::{Budget, ServerEnd, StopRequest, stages};
use crate::{Drain, Report, park::Parker, time::Timer};

/// How long the report waits to be taken by a task that has been woken for it.
const PATIENCE: Duration = Duration::from_millis(250);

pub(super) async fn run<S, F>(
    drain: Drain,
    budget: Budget,
    requests: S,
    server: F,
    stuck: impl FnOnce(&Report) + Send + 'static,
) -> io::Result<Report>
where
    S: Stream + Send + 'static,
    S::Item: StopRequest,
    F: Future,
    F::Output: ServerEnd,
{
    let result = Arc::new(Handover::default());
    let parker = Parker::default();
    // Dropped with this future, however that ends.
    let cancel = Cancel {
        thread: parker.waker(),
        result: Arc::clone(&result),
    };
    thread::Builder::new().name("async-drain".into()).spawn({
        let (drain, result) = (drain.clone(), Arc::clone(&result));
        move || {
            let clock = Clock::default();
            let shutdown = stages::drive(&drain, budget, clock.clone(), requests, pending::<()>());
            if let Some(report) = clock.block_on(shutdown, &parker, &result.cancelled) {
                result.offer(report, stuck);
            }
        }
    })?;
    let mut server = pin!(Some(server));
    let mut failure = None;
    let mut report = poll_fn(|cx| {
        if let Some(report) = result.take(cx) {
            return Poll::Ready(report);
        }
        if let Some(running) = server.as_mut().as_pin_mut() {
            if let Poll::Ready(end) = running.poll(cx) {
                server.set(None);
                failure = end.failure();
                // The thread goes on from here.
                drain.begin();
            }
        }
        Poll::Pending
    })
    .await;
    drop(cancel);
    if let Some(error) = failure {
        report.failed(error);
    }
    Ok(report)
}

/// Ends the thread if nobody waits for it any more.
struct Cancel {
    thread: Waker,
    result: Arc<Handover>,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        // The thread looks at the flag before it sleeps.
        self.result.cancelled.store(true, Ordering::Release);
        self.thread.wake_by_ref();
    }
}

/// The report on its way from the thread to the task.
#[derive(Default)]
struct Handover {
    state: Mutex<State>,
    taken: Condvar,
    cancelled: AtomicBool,
}

#[derive(Default)]
struct State {
    report: Option<Report>,
    waker: Option<Waker>,
}

impl Handover {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the report, or asks to be woken for it.
    fn take(&self, cx: &mut Context<'_>) -> Option<Report> {
        let waker = cx.waker().clone();
        let (report, replaced) = {
            let mut state = self.lock();
            (state.report.take(), state.waker.replace(waker))
        };
        drop(replaced);
        if report.is_some() {
            self.taken.notify_one();
        }
        report
    }

    /// Offers the report, and gives it to `stuck` if nobody takes it.
    fn offer(&self, report: Report, stuck: impl FnOnce(&Report)) {
        let waker = {
            let mut state = self.lock();
            state.report = Some(report);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        let (mut state, _) = self
            .taken
            .wait_timeout_while(self.lock(), PATIENCE, |state| state.report.is_some())
            .unwrap_or_else(PoisonError::into_inner);
        let left = state.report.take();
        drop(state);
        if let Some(report) = left {
            if !self.cancelled.load(Ordering::Acquire) {
                stuck(&report);
            }
        }
    }
}

/// A clock for one thread, which parks until the time that was asked for.
#[derive(Clone, Default)]
struct Clock(Rc<Cell<Option<Instant>>>);

impl Timer for Clock {
    type Sleep = Sleep;

    fn at(&self, deadline: Instant) -> Sleep {
        Sleep {
            deadline,
            clock: self.clone(),
        }
    }
}

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
        let asked = self.clock.0.get();
        let next = asked.map_or(self.deadline, |asked| asked.min(self.deadline));
        self.clock.0.set(Some(next));
        Poll::Pending
    }
}

impl Clock {
    /// Runs `future`, whose timers are this clock's, unless it is `cancelled`.
    fn block_on<F: Future>(
        &self,
        future: F,
        parker: &Parker,
        cancelled: &AtomicBool,
    ) -> Option<F::Output> {
        let mut future = pin!(future);
        let waker = parker.waker();
        let mut cx = Context::from_waker(&waker);
        while !cancelled.load(Ordering::Acquire) {
            self.0.set(None);
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Some(output);
            }
            parker.park(self.0.get());
        }
        None
    }
}
