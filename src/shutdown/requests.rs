//! Requests to stop, counted together whatever streams they come from (L4).

use std::{
    any::Any,
    borrow::Cow,
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::calls::message;

/// A request to stop: an item of the streams that [`Shutdown::on`](crate::Shutdown::on) takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a request to stop",
    label = "the stream yields `{Self}`",
    note = "map the items of the stream to `()`, as in `.on(stream.map(|_| ()))`, or implement `StopRequest` for them"
)]
pub trait StopRequest {
    /// Ends the process: this is the third request.
    fn end_process(&self);

    /// Returns what progress and logs call it, e.g. `SIGTERM`; `a request to stop` by default.
    fn name(&self) -> Cow<'static, str> {
        "a request to stop".into()
    }
}

/// A request without a signal: the third one ends the process with exit status 1.
impl StopRequest for () {
    fn end_process(&self) {
        std::process::exit(1);
    }
}

/// A request that was made within this time of one that counted is the same request: wrappers,
/// process groups and supervisors send a signal twice.
///
/// The signal handler, in `crates/async-drain-os/src/signal.rs`, uses the same value.
const SAME_REQUEST: Duration = Duration::from_millis(250);

/// The most items that one poll takes from a stream, so that a stream that is always ready doesn't
/// monopolize the thread.
const MOST_PER_POLL: usize = 64;

/// Counts the requests of all streams that [`Shutdown::on`](crate::Shutdown::on) was given.
#[derive(Default)]
pub(super) struct Requests {
    streams: Vec<Pin<Box<dyn Stream<Item = Request> + Send>>>,
    /// What the signal handler counts of the streams.
    #[cfg(feature = "signal")]
    together: crate::signal::Together,
    /// When the requests that counted were made. They need not be in order: of two streams, the one
    /// that is polled later may yield the earlier request.
    counted: Vec<Instant>,
    /// The name of the last request that counted.
    name: Cow<'static, str>,
    /// The messages of the streams and requests that panicked. They are user code.
    panics: Vec<String>,
    /// How many of these the hooks have been told of.
    told: usize,
}

/// An item of a stream.
struct Request {
    at: Instant,
    request: Box<dyn StopRequest>,
}

impl Requests {
    /// Adds a stream.
    pub(super) fn listen<R>(&mut self, mut requests: R)
    where
        R: Stream + Send + 'static,
        R::Item: StopRequest,
    {
        self.count_in_handler(&mut requests);
        self.streams.push(Box::pin(Timed { inner: requests }));
    }

    /// Makes the signal handler count, if `requests` is a stream of signals.
    fn count_in_handler(&mut self, requests: &mut dyn Any) {
        #[cfg(feature = "signal")]
        if let Some(signals) = requests.downcast_mut::<crate::signal::Signals>() {
            signals.count(&mut self.together);
        }
        #[cfg(not(feature = "signal"))]
        let _ = (self, requests);
    }

    /// Ready with the number of requests so far when another one counts. From the third on, it
    /// calls [`StopRequest::end_process`] first, which usually doesn't return.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut next = 0;
        while let Some(stream) = self.streams.get_mut(next) {
            for turn in 0.. {
                if turn == MOST_PER_POLL {
                    cx.waker().wake_by_ref();
                    next += 1;
                    break;
                }
                let polled = caught(&mut self.panics, || stream.as_mut().poll_next(cx));
                match polled.unwrap_or(Poll::Ready(None)) {
                    Poll::Pending => {
                        next += 1;
                        break;
                    }
                    Poll::Ready(None) => {
                        let stream = self.streams.swap_remove(next);
                        caught(&mut self.panics, || drop(stream));
                        break;
                    }
                    Poll::Ready(Some(Request { at, request })) => {
                        if is_another(&self.counted, at) {
                            self.counted.push(at);
                            // The handler doesn't hear of other requests than signals.
                            #[cfg(feature = "signal")]
                            self.together.count(at);
                            let counted = self.counted();
                            let name = caught(&mut self.panics, || {
                                if counted >= 3 {
                                    request.end_process();
                                }
                                request.name()
                            });
                            self.name = name.unwrap_or("a request to stop".into());
                            return Poll::Ready(counted);
                        }
                    }
                }
            }
        }
        Poll::Pending
    }

    /// Returns what to tell of the next stream that has panicked; `None` if all has been told.
    pub(super) fn next_panic(&mut self) -> Option<String> {
        let message = self.panics.get(self.told)?;
        self.told += 1;
        Some(format!("a stream of requests to stop panicked: {message}"))
    }

    /// Returns the messages of all panics so far.
    pub(super) fn panics(&self) -> &[String] {
        &self.panics
    }

    /// Returns how many requests have counted.
    pub(super) fn counted(&self) -> usize {
        self.counted.len()
    }

    /// Returns the name of the last request that counted, and its number if it is not the first.
    pub(super) fn last_name(&self) -> Cow<'static, str> {
        match self.counted() {
            0 | 1 => self.name.clone(),
            counted => format!("{}, request {counted} to stop", self.name).into(),
        }
    }
}

impl Drop for Requests {
    /// Drops the streams one by one, so that their panics stay here. The report has been made, and
    /// must not be lost (S6).
    fn drop(&mut self) {
        for stream in mem::take(&mut self.streams) {
            caught(&mut self.panics, || drop(stream));
        }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} streams", self.streams.len())
    }
}

/// Runs user code. If it panics, keeps the message and returns `None`: a panic in one stream must
/// not end the shutdown (S6).
fn caught<T>(panics: &mut Vec<String>, run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|payload| panics.push(message(payload)))
        .ok()
}

/// Returns whether a request made at `at` is a new one, and none of those that have `counted`.
fn is_another(counted: &[Instant], at: Instant) -> bool {
    let mut counted = counted.iter();
    counted.all(|&other| at.max(other) - at.min(other) >= SAME_REQUEST)
}

pin_project! {
    /// Adds to each request of a stream the time at which it was made, if that is known.
    struct Timed<R> {
        #[pin]
        inner: R,
    }
}

impl<R> Stream for Timed<R>
where
    R: Stream + 'static,
    R::Item: StopRequest,
{
    type Item = Request;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Request>> {
        let mut inner = self.project().inner;
        let request = ready!(inner.as_mut().poll_next(cx));
        Poll::Ready(request.map(|request| Request {
            at: made_at(inner.as_ref().get_ref()),
            request: Box::new(request),
        }))
    }
}

/// Returns when the request that `requests` has just yielded was made. The signal handler recorded
/// the time of a signal; any other request was made now. (An executor that was blocked may see two
/// signals at once that were sent a minute apart.)
fn made_at(requests: &dyn Any) -> Instant {
    #[cfg(feature = "signal")]
    if let Some(signals) = requests.downcast_ref::<crate::signal::Signals>() {
        return signals.last_at();
    }
    let _ = requests;
    Instant::now()
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::time::{Duration, Instant};

    use super::{SAME_REQUEST, is_another};

    /// L4: a request within 250 ms of one that counted is the same request, in either direction: of
    /// two streams, the one that is polled later may yield the earlier request.
    #[test]
    fn requests_are_told_apart_by_their_time() {
        let first = Instant::now();
        let [tick, almost] = [1, 249].map(Duration::from_millis);
        let second = first + SAME_REQUEST;
        assert!(is_another(&[], first));
        for (counted, at, is_new) in [
            ([first, first], first, false),
            ([first, first], first + almost, false),
            ([first, first], second, true),
            ([second, second], first + tick, false),
            ([second, second], first, true),
            ([first, second], first, false),
        ] {
            assert_eq!(is_another(&counted, at), is_new);
        }
    }
}
