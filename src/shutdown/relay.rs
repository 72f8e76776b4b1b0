//! Passes the steps from the watchdog's thread, which keeps the time, to the task, which alone may
//! poll them (L3).
//!
//! The thread orders a step. The task begins it, polls it and tells how it ended. If its time is up
//! before that, the thread withdraws the order, and the task drops the step.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::steps::{Failure, Planned, Run, Work};

/// Returns the two halves of `steps`: one runs them, the other orders them.
pub(super) fn split(steps: Vec<Planned<Work>>) -> (Worker, Vec<Planned>) {
    let relay = Arc::<Relay>::default();
    let ordered = steps.iter().enumerate().map(|(index, step)| Planned {
        name: step.name.clone(),
        budget: step.budget,
        run: Box::new(Ordered {
            index,
            relay: Arc::clone(&relay),
        }) as Box<dyn Run>,
    });
    let ordered = ordered.collect();
    let work = steps.into_iter().map(|step| step.run).collect();
    let worker = Worker {
        work,
        current: None,
        relay,
    };
    (worker, ordered)
}

#[derive(Default)]
struct Relay(Mutex<State>);

#[derive(Default)]
struct State {
    /// The step that the task is to run, set by the thread. It withdraws the order when the step
    /// has ended or its time is up.
    order: Option<usize>,
    /// The step that the task began last.
    begun: Option<usize>,
    /// How the ordered step ended, set by the task.
    ended: Option<Failure>,
    task: Option<Waker>,
    thread: Option<Waker>,
}

impl Relay {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the lock, and then wakes: a waker is user code (S6).
fn unlock_and_wake(state: MutexGuard<'_, State>, waker: Option<Waker>) {
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Runs the steps in the task.
pub(super) struct Worker {
    work: Vec<Work>,
    /// The step that runs.
    current: Option<usize>,
    relay: Arc<Relay>,
}

impl Worker {
    /// Registers the task for orders. Returns whether there is something to do.
    pub(super) fn register(&self, cx: &Context<'_>) -> bool {
        let task = cx.waker().clone();
        let mut state = self.relay.lock();
        let replaced = state.task.replace(task);
        let is_ordered = state.order.is_some();
        drop(state);
        drop(replaced);
        is_ordered || self.current.is_some()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            let order = self.begin();
            if self.current != order {
                if let Some(over) = mem::replace(&mut self.current, order) {
                    // It has ended, or its time is up.
                    self.work[over].cancel();
                }
            }
            let Some(current) = order else {
                return;
            };
            let Poll::Ready(failure) = self.work[current].poll(cx) else {
                return;
            };
            self.end(current, failure);
        }
    }

    /// Returns the step to run, and tells the thread that it has begun.
    fn begin(&self) -> Option<usize> {
        let mut state = self.relay.lock();
        let order = state.order.filter(|_| state.ended.is_none());
        if order.is_some() && state.begun != order {
            state.begun = order;
            let thread = state.thread.take();
            unlock_and_wake(state, thread);
        }
        order
    }

    fn end(&self, step: usize, failure: Failure) {
        let mut state = self.relay.lock();
        if state.order == Some(step) {
            state.ended = Some(failure);
            let thread = state.thread.take();
            unlock_and_wake(state, thread);
        } else {
            // Its time was up before.
            drop(state);
            drop(failure);
        }
    }
}

/// A step that the task runs, as the thread sees it.
struct Ordered {
    index: usize,
    relay: Arc<Relay>,
}

impl Run for Ordered {
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let thread = cx.waker().clone();
        let mut state = self.relay.lock();
        let replaced = state.thread.replace(thread);
        let mut task = None;
        if state.order != Some(self.index) {
            state.order = Some(self.index);
            task = state.task.take();
        }
        let is_begun = state.begun == Some(self.index);
        unlock_and_wake(state, task);
        drop(replaced);
        if is_begun {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let thread = cx.waker().clone();
        let mut state = self.relay.lock();
        let replaced = state.thread.replace(thread);
        let ended = state.ended.take();
        drop(state);
        drop(replaced);
        ended.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Ordered {
    /// Withdraws the order.
    fn drop(&mut self) {
        let mut state = self.relay.lock();
        if state.order == Some(self.index) {
            state.order = None;
            let (task, ended) = (state.task.take(), state.ended.take());
            unlock_and_wake(state, task);
            drop(ended);
        }
    }
}
