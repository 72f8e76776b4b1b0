//! The requests to stop: from whatever streams they come, they are counted together (L4).

use std::{
    any::Any,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::StopRequest;

/// For how long after a request that counted another one is taken for the same: wrappers, process groups and
/// supervisors send a signal twice.
///
/// The same as that of the signal handler, in `crates/async-drain-os/src/signal.rs`.
const SAME_REQUEST: Duration = Duration::from_millis(250);

/// How many requests are taken from one stream in one poll, so that a stream that is always ready holds nobody up.
const AT_ONCE: usize = 64;

/// What the streams given to [`Shutdown::on`](super::Shutdown::on) ask for.
#[derive(Default)]
pub(super) struct Requests {
    streams: Vec<Pin<Box<dyn Stream<Item = Request> + Send>>>,
    counted: usize,
    /// When the last one that counted was made.
    last: Option<Instant>,
}

/// One item of a stream.
struct Request {
    at: Instant,
    end_process: Box<dyn FnOnce()>,
}

impl Requests {
    pub(super) fn listen<R>(&mut self, mut requests: R)
    where
        R: Stream + Send + 'static,
        R::Item: StopRequest,
    {
        count(&mut requests);
        self.streams.push(Box::pin(Timed { inner: requests }));
    }

    /// Ready when one more request counts: how many these are by now. The third has ended the process, if its
    /// [`StopRequest::end_process`] does.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut next = 0;
        while let Some(stream) = self.streams.get_mut(next) {
            for turn in 0.. {
                if turn == AT_ONCE {
                    cx.waker().wake_by_ref();
                    next += 1;
                    break;
                }
                match stream.as_mut().poll_next(cx) {
                    Poll::Pending => {
                        next += 1;
                        break;
                    }
                    Poll::Ready(None) => {
                        drop(self.streams.swap_remove(next));
                        break;
                    }
                    Poll::Ready(Some(request)) => {
                        if is_another(self.last, request.at) {
                            self.last = Some(request.at);
                            self.counted += 1;
                            if self.counted >= 3 {
                                (request.end_process)();
                            }
                            return Poll::Ready(self.counted);
                        }
                    }
                }
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} streams", self.streams.len())
    }
}

/// Whether a request `at` a time is not the `last` one again.
fn is_another(last: Option<Instant>, at: Instant) -> bool {
    last.is_none_or(|last| at.saturating_duration_since(last) >= SAME_REQUEST)
}

pin_project! {
    /// A stream of requests, each with the time when it was made, as far as that is known.
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
            end_process: Box::new(move || request.end_process()),
        }))
    }
}

/// Has the signal handler count, where `requests` are signals.
fn count(requests: &mut dyn Any) {
    #[cfg(feature = "signal")]
    if let Some(signals) = requests.downcast_mut::<crate::signal::Signals>() {
        signals.count();
    }
    #[cfg(not(feature = "signal"))]
    let _ = requests;
}

/// When the request that `requests` has just yielded was made: the handler knows of a signal, of others we only know that
/// they are here. A blocked executor may see two at once that were made a minute apart.
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

    /// L4: within 250 ms of the last one that counted it is the same request.
    #[test]
    fn requests_are_told_apart_by_their_time() {
        let first = Instant::now();
        let [tick, almost] = [1, 249].map(Duration::from_millis);
        assert!(is_another(None, first));
        assert!(!is_another(Some(first), first));
        assert!(!is_another(Some(first), first + almost));
        assert!(is_another(Some(first), first + SAME_REQUEST));
        // By another stream, of which we hear late.
        assert!(!is_another(Some(first + tick), first));
    }
}
