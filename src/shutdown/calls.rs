//! The calls of progress hooks, and the thread that makes them: a hook that blocks, e.g. because
//! the reader of a log has stopped, doesn't hold up the shutdown (L3).
//!
//! The shutdown puts what is to be told into a queue and never waits for a hook, except for a
//! bounded time at its very end. The thread tells it in order, drops the hooks when nothing more
//! will come, and ends.

use std::{
    any::Any,
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use super::progress::Progress;
use crate::drain::latch::wake_each;

/// A hook.
pub(super) type Hook = Box<dyn FnMut(&Progress) + Send>;

/// Calls hooks, on a thread of their own if the system has one to spare.
pub(super) struct Caller {
    queue: Arc<Queue>,
    place: Place,
}

/// Where the hooks are called.
enum Place {
    /// Nowhere yet: the first call starts the thread.
    NotStarted(Hooks),
    Thread,
    /// By the shutdown itself, since the system has no thread to spare.
    Here(Hooks),
}

/// What some of the hooks are to be told.
pub(super) struct Call {
    pub(super) progress: Progress,
    /// The numbers of these hooks.
    pub(super) hooks: Vec<usize>,
}

/// The outcome of a call.
pub(super) enum Answer {
    /// The hook wants to be called again within this time.
    CallAgain(Duration),
    /// The hook panicked and was dropped.
    Panicked,
}

impl Default for Caller {
    fn default() -> Self {
        Self {
            queue: Arc::default(),
            place: Place::NotStarted(Hooks(Vec::new())),
        }
    }
}

impl Caller {
    /// Adds a hook. Its number is how many were added before it.
    pub(super) fn add(&mut self, hook: impl FnMut(&Progress) + Send + 'static) {
        if let Place::NotStarted(hooks) = &mut self.place {
            hooks.0.push(Some(Box::new(hook)));
        }
    }

    /// Calls hooks, on their thread.
    pub(super) fn call(&mut self, call: Call) {
        self.start();
        match &mut self.place {
            Place::Here(hooks) => hooks.call(&call, &self.queue),
            _ => self.queue.push(call),
        }
    }

    fn start(&mut self) {
        if !matches!(self.place, Place::NotStarted(_)) {
            return;
        }
        let Place::NotStarted(hooks) = mem::replace(&mut self.place, Place::Thread) else {
            return;
        };
        // If the thread can't be spawned, its closure is dropped, and the hooks must not be.
        self.queue.lock().hooks = Some(hooks);
        let queue = Arc::clone(&self.queue);
        if spawn(move || queue.run()).is_err() {
            if let Some(hooks) = self.queue.lock().hooks.take() {
                self.place = Place::Here(hooks);
            }
        }
    }

    /// Registers the task for answers, and returns those that have come, by the hooks' numbers.
    pub(super) fn answers(&self, cx: &Context<'_>) -> Vec<(usize, Answer)> {
        let task = cx.waker().clone();
        let mut state = self.queue.lock();
        let replaced = state.task.replace(task);
        let answers = mem::take(&mut state.answers);
        drop(state);
        drop(replaced);
        answers
    }

    /// Tells the hooks nothing more, and drops them once they have been told everything.
    pub(super) fn close(&mut self) {
        if let Place::Thread = self.place {
            self.queue.close();
        } else {
            // A hook that is dropped here blocks the shutdown, like one that is called here.
            self.place = Place::Here(Hooks(Vec::new()));
            self.queue.lock().ended = true;
        }
    }

    /// Ready once the hooks have been told everything and were dropped.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let task = cx.waker().clone();
        let mut state = self.queue.lock();
        let replaced = state.task.replace(task);
        let ended = state.ended;
        drop(state);
        drop(replaced);
        if ended {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Blocks until the hooks have been told everything and were dropped, at most until `end`.
    pub(super) fn wait_ended(&self, end: Instant) {
        let mut state = self.queue.lock();
        while !state.ended {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.queue.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns what has gone wrong by now: the messages of the hooks that panicked, and the number
    /// of the one that has not returned.
    pub(super) fn faults(&self) -> (Vec<String>, Option<usize>) {
        let mut state = self.queue.lock();
        let blocked = state.current.filter(|_| !state.ended);
        (mem::take(&mut state.panics), blocked)
    }
}

impl Drop for Caller {
    /// Ends the thread, once the hooks have been told what they were to be told.
    fn drop(&mut self) {
        self.close();
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    #[cfg(all(test, not(any(loom, shuttle))))]
    if tests::NO_THREAD.get() {
        return Err(std::io::ErrorKind::WouldBlock.into());
    }
    let name = "progress hooks".to_owned();
    thread::Builder::new().name(name).spawn(run).map(drop)
}

/// The hooks; `None` in place of one that has panicked. Dropping one is user code, and may panic.
struct Hooks(Vec<Option<Hook>>);

impl Hooks {
    fn call(&mut self, call: &Call, queue: &Queue) {
        for &number in &call.hooks {
            let Some(hook) = &mut self.0[number] else {
                continue;
            };
            queue.begin(number);
            let called = catch_unwind(AssertUnwindSafe(|| hook(&call.progress)));
            let asked = call.progress.asked.take();
            match called {
                Ok(()) => queue.end(number, asked.map(Answer::CallAgain)),
                // A hook that panics is not called again (S6 L3).
                Err(payload) => {
                    queue.lock().panics.push(message(payload));
                    drop_quietly(self.0[number].take());
                    queue.end(number, Some(Answer::Panicked));
                }
            }
        }
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        for hook in mem::take(&mut self.0) {
            drop_quietly(hook);
        }
    }
}

/// Drops a hook, whose drop is user code, so that its panic stays here.
fn drop_quietly(hook: Option<Hook>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(hook))) {
        message(payload);
    }
}

/// Returns the message of a panic.
pub(super) fn message(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<&str>() {
        Ok(text) => return text.to_string(),
        Err(payload) => payload,
    };
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => {
            // Its drop is user code, and may panic again.
            mem::forget(payload);
            "it has no message".to_owned()
        }
    }
}

/// What passes between the shutdown and the thread.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// Signalled when there is something to tell or nothing more will come, and at the end.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The hooks, until the thread takes them.
    hooks: Option<Hooks>,
    /// What is to be told, in order. Only the last may be without an event.
    calls: VecDeque<Call>,
    /// Set by the shutdown when nothing more will come.
    closed: bool,
    /// The hook that is being called or dropped.
    current: Option<usize>,
    /// Set when all hooks have been dropped.
    ended: bool,
    /// The answers that the shutdown has not seen yet.
    answers: Vec<(usize, Answer)>,
    /// The messages of the hooks that panicked.
    panics: Vec<String>,
    /// The task of the shutdown, woken by an answer and at the end.
    task: Option<Waker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call. It replaces the last one in the queue, if that has no event: a slow hook is
    /// told of every event and, in between, only the latest.
    fn push(&self, mut call: Call) {
        let mut state = self.lock();
        let is_old = (state.calls.back()).is_some_and(|last| last.progress.event.is_none());
        let old = is_old.then(|| state.calls.pop_back()).flatten();
        if let Some(old) = &old {
            call.progress.polled |= old.progress.polled;
            for hook in &old.hooks {
                if !call.hooks.contains(hook) {
                    call.hooks.push(*hook);
                }
            }
        }
        state.calls.push_back(call);
        drop(state);
        self.changed.notify_all();
        drop(old);
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Runs the thread.
    fn run(&self) {
        let Some(mut hooks) = self.lock().hooks.take() else {
            return;
        };
        while let Some(call) = self.next() {
            hooks.call(&call, self);
        }
        for (number, hook) in mem::take(&mut hooks.0).into_iter().enumerate() {
            self.begin(number);
            drop_quietly(hook);
        }
        let mut state = self.lock();
        state.ended = true;
        let task = state.task.take();
        drop(state);
        self.changed.notify_all();
        wake_each(task);
    }

    /// Waits for the next call; `None` if nothing more will come.
    fn next(&self) -> Option<Call> {
        let mut state = self.lock();
        loop {
            if let Some(call) = state.calls.pop_front() {
                return Some(call);
            }
            if state.closed {
                return None;
            }
            state = (self.changed.wait(state)).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn begin(&self, hook: usize) {
        self.lock().current = Some(hook);
    }

    fn end(&self, hook: usize, answer: Option<Answer>) {
        let mut state = self.lock();
        state.current = None;
        let task = answer.and_then(|answer| {
            state.answers.push((hook, answer));
            state.task.take()
        });
        drop(state);
        wake_each(task);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::{
        cell::Cell,
        future::{pending, ready},
        sync::mpsc,
        thread,
        time::Duration,
    };

    use futures_lite::future::block_on;

    use crate::{Drain, Shutdown};

    thread_local! {
        /// Set to make each spawn of a thread fail.
        pub(super) static NO_THREAD: Cell<bool> = const { Cell::new(false) };
    }

    /// L3: hooks are called on a thread of their own and, if there is none to be had, where the
    /// shutdown is polled.
    #[test]
    fn without_a_thread_hooks_are_called_by_the_shutdown_itself() {
        for no_thread in [false, true] {
            NO_THREAD.set(no_thread);
            let drain = Drain::new();
            let (tell, told) = mpsc::channel();
            let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>())
                .on_progress(Duration::MAX, move |progress| {
                    let line = progress.to_string();
                    tell.send((line, thread::current().id())).unwrap();
                })
                .on_progress(Duration::MAX, |_| panic!("no disk"))
                .then("flush", Duration::MAX, || ready(()));
            drain.begin();
            let report = block_on(shutdown.run(pending::<()>()));
            NO_THREAD.set(false);
            let text = report.to_string();
            let start = "a progress hook panicked: no disk\ndrained: ";
            assert!(text.starts_with(start), "{text}");
            let told: Vec<_> = told.iter().collect();
            let lines: Vec<_> = told.iter().map(|(line, _)| line.as_str()).collect();
            assert_eq!(lines.len(), 4, "{lines:?}");
            assert!(lines[3].starts_with("step flush took "), "{lines:?}");
            let here = thread::current().id();
            assert!(told.iter().all(|(_, id)| (*id == here) == no_thread));
        }
    }
}
