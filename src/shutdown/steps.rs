//! The steps that run, in order, after the drain (L3 L4).

use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Write as _},
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;

use super::{ServerEnd, calls::message, progress::Seconds};

/// Tells how a step of a shutdown ended; the report [lists](crate::Report::steps) them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Step {
    /// The name that [`Shutdown::then`](crate::Shutdown::then) was given.
    pub name: Cow<'static, str>,
    /// How long the step took, the wait for a blocked executor included.
    pub took: Duration,
    /// Why the step failed: its error, or that it panicked, used up its budget, or was not run
    /// because its budget was zero or the executor was blocked. `None` if it succeeded.
    pub failure: Option<Box<dyn Error + Send + Sync>>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, failure, .. } = self;
        let took = Seconds(self.took);
        match failure {
            Some(failure) => {
                let failure = Shown(failure.as_ref());
                write!(f, "step {name} failed after {took}: {failure}")
            }
            None => write!(f, "step {name} took {took}"),
        }
    }
}

/// Displays an error whose text is user code, which may panic: that must not cost the report.
pub(crate) struct Shown<'a>(pub(crate) &'a (dyn Error + Send + Sync));

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let written = catch_unwind(AssertUnwindSafe(|| write!(text, "{}", self.0)));
        match written {
            Ok(Ok(())) => f.write_str(&text),
            Ok(Err(fmt::Error)) => f.write_str("its error has no text"),
            Err(payload) => {
                let message = message(payload);
                let line = message.lines().next().unwrap_or_default();
                write!(f, "the text of its error panicked: {line}")
            }
        }
    }
}

/// Why a step failed; `None` if it did not.
pub(super) type Failure = Option<Box<dyn Error + Send + Sync>>;

/// A step that has not begun.
pub(super) struct Planned<R = Box<dyn Run>> {
    pub(super) name: Cow<'static, str>,
    pub(super) budget: Duration,
    pub(super) run: R,
}

/// Runs the work of a step: here, or in the task that the watchdog's thread watches.
pub(super) trait Run: Send {
    /// Ready once the work has begun.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Ready once the work has ended.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Failure>;
}

type BoxWork = Pin<Box<dyn Future<Output = Failure> + Send>>;

/// The work of a step: user code, whose panics stay here.
pub(super) struct Work(State);

enum State {
    Planned(Box<dyn FnOnce() -> BoxWork + Send>),
    Running(BoxWork),
    Ended,
}

impl Work {
    pub(super) fn new<F>(step: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future + Send + 'static,
        F::Output: ServerEnd,
    {
        Self(State::Planned(Box::new(|| {
            Box::pin(Failing { inner: step() })
        })))
    }

    /// Runs the work until it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            match mem::replace(&mut self.0, State::Ended) {
                State::Planned(step) => self.0 = State::Running(step()),
                other => self.0 = other,
            }
            // It stays in its place: if it panics, `end` drops it outside of the unwind.
            match &mut self.0 {
                State::Running(work) => work.as_mut().poll(cx),
                _ => Poll::Ready(None),
            }
        }));
        let failure = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(failure)) => failure,
            Err(payload) => Some(format!("it panicked: {}", message(payload)).into()),
        };
        Poll::Ready(failure.or(self.end()))
    }

    /// Drops the work, begun or not.
    pub(super) fn cancel(&mut self) {
        self.end();
    }

    /// Drops the work. Returns a failure if that panics.
    fn end(&mut self) -> Failure {
        let work = mem::replace(&mut self.0, State::Ended);
        let payload = catch_unwind(AssertUnwindSafe(|| drop(work))).err()?;
        let message = message(payload);
        Some(format!("it panicked when it was dropped: {message}").into())
    }
}

pin_project! {
    /// Resolves to the failure of a step. It is not an `async` block, which would drop the step in
    /// the unwind of its panic, where a second one aborts the process.
    struct Failing<F> {
        #[pin]
        inner: F,
    }
}

impl<F> Future for Failing<F>
where
    F: Future,
    F::Output: ServerEnd,
{
    type Output = Failure;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Failure> {
        self.project().inner.poll(cx).map(ServerEnd::failure)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.end();
    }
}

impl Run for Work {
    fn poll_begun(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        self.poll(cx)
    }
}

/// Returns how long `steps` may take; `None` if nothing limits them.
pub(super) fn budget<R>(steps: &[Planned<R>]) -> Option<Duration> {
    (steps.iter()).try_fold(Duration::ZERO, |sum, step| sum.checked_add(step.budget))
}
