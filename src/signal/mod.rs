//! Termination signals as a stream.
//!
//! - **SIGHUP ends the process unless it is caught**: that is its default action, and
//!   [`termination`] does not catch it. A terminal sends it when it closes, and systemd sends it
//!   right after SIGTERM if a unit has `SendSIGHUP=`. To stop on it, add
//!   `.on(signal::catch([Signal::Hup])?)` to the [`Shutdown`](crate::Shutdown); the two signals of
//!   systemd are one request. A program that reloads on SIGHUP catches it as well.
//! - **SIGINT is caught even if the process inherited it as ignored.** A shell without job control,
//!   e.g. `server &` in a script, starts background processes that way.

#[cfg(not(windows))]
mod unix;
#[cfg(windows)]
mod windows;

use std::{
    borrow::Cow,
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use async_drain_os::signal as handler;
pub use async_signal::Signal;
use futures_core::Stream;
#[cfg(not(windows))]
use unix as system;
#[cfg(windows)]
use windows as system;

use crate::shutdown::StopRequest;

/// Catches the signals that ask a process to end: SIGTERM and SIGINT; on Windows, Ctrl-C.
///
/// They are caught from this call on, so call it first, and no signal during start-up is lost. (A
/// signal during the call itself can be lost, in the microsecond in which signal-hook installs its
/// handler.)
///
/// The stream yields a request to stop for each signal that arrives at least 250 ms after the last
/// one that counted; signals in between are the same request. Except on Windows, the signal handler
/// itself counts, and ends the process at the third request: by the default action of the signal,
/// or, as PID 1, by exit status 128 + its number. It does so even if nothing polls the stream, e.g.
/// because a request handler blocks the only thread.
///
/// # Errors
///
/// If the operating system refuses, e.g. because file descriptors have run out.
///
/// ```no_run
/// # use async_drain::{signal, Drain, Shutdown};
/// let drain = Drain::new();
/// let shutdown = Shutdown::new(&drain).on(signal::termination()?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn termination() -> io::Result<Signals> {
    #[cfg(unix)]
    let mut signals = catch([Signal::Term, Signal::Int])?;
    #[cfg(not(unix))]
    let mut signals = catch([Signal::Int])?;
    signals.count(&mut Together::default());
    Ok(signals)
}

/// Catches signals from this call on, and yields each of them.
///
/// If the stream is given to [`Shutdown::on`](crate::Shutdown::on) before it is read from, it
/// yields requests to stop, like the stream of [`termination`], and the signal handler counts the
/// requests of all such streams of the shutdown together. Otherwise no number of signals ends the
/// process.
///
/// # Errors
///
/// If a signal can't be caught on this system, or if the operating system refuses.
///
/// ```
/// # use async_drain::signal::{self, Signal};
/// let error = signal::catch([Signal::Kill]).unwrap_err();
/// assert_eq!(error.to_string(), "Kill can't be caught");
/// ```
pub fn catch(signals: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
    let signals: Vec<Signal> = signals.into_iter().collect();
    for signal in &signals {
        // signal-hook panics when it is to register one of these.
        if matches!(
            signal,
            Signal::Kill | Signal::Stop | Signal::Ill | Signal::Fpe | Signal::Segv
        ) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{signal:?} can't be caught"),
            ));
        }
    }
    let refused = |error: io::Error| {
        io::Error::new(error.kind(), format!("can't catch {signals:?}: {error}"))
    };
    // Register this handler before the stream's, so that a signal is counted before the stream
    // wakes.
    let caught = Caught::new(&signals).map_err(refused)?;
    let inner = async_signal::Signals::new(&signals).map_err(refused)?;
    Ok(Signals {
        caught: Some(caught),
        inner,
        requests: None,
        read: false,
        last_at: None,
    })
}

/// A stream of signals; returned by [`termination`] and [`catch`].
///
/// Once the last stream of a signal is dropped or has failed, the signal has its default action
/// again.
#[must_use = "dropping the stream gives the signals their default action back"]
pub struct Signals {
    /// First, so that it is dropped first: a signal in between ends the process instead of being
    /// lost. `None` once `inner` has failed.
    caught: Option<Caught>,
    inner: async_signal::Signals,
    /// How many requests that the handler counted were yielded, by this stream or by the one whose
    /// signal made them; `None` if the stream yields each signal. Set by [`count`](Self::count).
    requests: Option<usize>,
    /// Whether a signal was yielded that was not counted.
    read: bool,
    /// When the handler counted the request that was yielded last; `None` before the first.
    last_at: Option<Instant>,
}

impl Signals {
    /// Yields requests as the signal handler counts them, from now on, those of all streams
    /// `together`; the third one ends the process.
    ///
    /// The handler has counted since the stream was made, so this has no effect once signals have
    /// been read.
    pub(crate) fn count(&mut self, together: &mut Together) {
        #[cfg(unix)]
        if let (Some(caught), false, None | Some(0)) = (&mut self.caught, self.read, self.requests)
        {
            match &together.requests {
                Some(all) => {
                    caught.requests.join(all);
                    caught.requests = Arc::clone(all);
                }
                None => together.requests = Some(Arc::clone(&caught.requests)),
            }
            caught.requests.end_at_third();
            self.requests = Some(0);
        }
        #[cfg(not(unix))]
        let _ = (self, together);
    }

    /// Returns when the request was made that was yielded last.
    pub(crate) fn last_at(&self) -> Instant {
        self.last_at.unwrap_or_else(Instant::now)
    }

    #[cfg(unix)]
    fn next_request(&mut self) -> Option<Signal> {
        let (caught, requests) = (self.caught.as_ref()?, self.requests.as_mut()?);
        loop {
            let (number, age) = caught.requests.get(*requests)?;
            *requests += 1;
            let mut signals = caught.signals.iter().copied();
            // Another stream yields a request that was not made by one of these signals.
            if let Some(signal) = signals.find(|signal| *signal as i32 == number) {
                self.last_at = Instant::now().checked_sub(age);
                return Some(signal);
            }
        }
    }

    #[cfg(not(unix))]
    fn next_request(&mut self) -> Option<Signal> {
        None
    }
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        loop {
            if let Some(signal) = self.next_request() {
                return Poll::Ready(Some(signal));
            }
            return match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                // The handler has counted it before: see `next_request`.
                Some(Ok(_)) if self.requests.is_some() => continue,
                Some(Ok(signal)) => {
                    self.read = true;
                    Poll::Ready(Some(signal))
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The stream can't receive signals any longer: let them end the process.
                Some(Err(_)) | None => {
                    self.caught = None;
                    Poll::Ready(None)
                }
            };
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl StopRequest for Signal {
    fn end_process(&self) {
        handler::end_process(*self as i32);
    }

    fn name(&self) -> Cow<'static, str> {
        match handler::name(*self as i32) {
            Some(name) => name.into(),
            None => format!("signal {}", *self as i32).into(),
        }
    }
}

/// What the signal handler counts of all streams that one shutdown has.
#[derive(Default)]
pub(crate) struct Together {
    /// Those of the first stream of signals, which the others have joined; `None` before it.
    #[cfg(unix)]
    requests: Option<Arc<handler::Requests>>,
}

impl Together {
    /// Counts a request that was made at a given time, unless the handler has counted it.
    pub(crate) fn count(&self, at: Instant) {
        #[cfg(unix)]
        if let Some(requests) = &self.requests {
            requests.count_other(at.elapsed());
        }
        #[cfg(not(unix))]
        let _ = (self, at);
    }
}

/// Keeps signals from their default action while it exists.
struct Caught {
    signals: Vec<Signal>,
    /// What the handler counts, these signals or those of all streams of a shutdown.
    #[cfg(unix)]
    requests: Arc<handler::Requests>,
    #[cfg(unix)]
    counting: Vec<system::Counting>,
}

/// A signal that was caught at some time.
struct Known {
    signal: Signal,
    /// How many [`Caught`] have it.
    streams: usize,
    /// Whether `streams` is zero. The handler, which can't take a lock, reads this.
    unheard: Arc<AtomicBool>,
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

impl Caught {
    fn new(signals: &[Signal]) -> io::Result<Self> {
        let mut caught = Self {
            signals: Vec::new(),
            #[cfg(unix)]
            requests: Arc::default(),
            #[cfg(unix)]
            counting: Vec::new(),
        };
        for &signal in signals {
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            let index = match known.iter().position(|known| known.signal == signal) {
                Some(index) => index,
                None => {
                    let unheard = Arc::<AtomicBool>::default();
                    system::default_while(signal, Arc::clone(&unheard))?;
                    known.push(Known {
                        signal,
                        streams: 0,
                        unheard,
                    });
                    known.len() - 1
                }
            };
            known[index].streams += 1;
            // SeqCst, like the load in the handler. The lock orders the stores.
            known[index].unheard.store(false, Ordering::SeqCst);
            caught.signals.push(signal);
            drop(known);
            #[cfg(unix)]
            if !signals[..caught.signals.len() - 1].contains(&signal) {
                let requests = Arc::clone(&caught.requests);
                let counting = system::Counting::of(signal as i32, requests)?;
                caught.counting.push(counting);
            }
        }
        Ok(caught)
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        for known in &mut *known {
            known.streams -= self
                .signals
                .iter()
                .filter(|signal| **signal == known.signal)
                .count();
            known.unheard.store(known.streams == 0, Ordering::SeqCst);
        }
    }
}
