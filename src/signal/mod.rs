//! Termination signals as a stream.
//!
//! - **SIGHUP ends the process unless it is caught**, as its default action is to; [`termination`] does not catch it.
//!   A terminal sends it when it is closed, and systemd right after SIGTERM where a unit says `SendSIGHUP=`. Let
//!   [`Shutdown::on`](crate::Shutdown::on) hear it too: `.on(signal::catch([Signal::Hup])?)`; or use it to reload. The
//!   two signals of systemd are one request to stop.
//! - **A SIGINT that was inherited as ignored is caught**: what a shell without job control has started in the background, by
//!   `server &` in a script say, ignores SIGINT until then.

#[cfg(not(windows))]
mod unix;
#[cfg(windows)]
mod windows;

use std::{
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

/// The signals that ask a process to end: SIGTERM and SIGINT; on Windows, Ctrl-C.
///
/// They are caught from this call on, so that one that comes during start-up is kept: call it first of all. (Not one that
/// comes in this very call, in the microsecond in which signal-hook installs its handler: that is lost.)
///
/// The stream yields a request to stop for each signal that comes 250 ms or more after the last one that counted; the others
/// are the same request. Except on Windows, the signal handler itself counts, and ends the process at the third,
/// by the signal's default action or, as PID 1, by exit status 128 + its number. So it does when nothing polls the
/// stream, since a handler of the server's blocks the only thread.
///
/// # Errors
///
/// If the operating system refuses, as when file descriptors have run out.
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
    signals.count();
    Ok(signals)
}

/// Catches `signals` from this call on, and yields each of them.
///
/// Given to [`Shutdown::on`](crate::Shutdown::on) before it is read from, the stream becomes one of requests to stop, like
/// that of [`termination`]. Otherwise no number of signals ends the process.
///
/// # Errors
///
/// If a signal can't be caught on this system, or the operating system refuses.
///
/// ```
/// # use async_drain::signal::{self, Signal};
/// let error = signal::catch([Signal::Kill]).unwrap_err();
/// assert_eq!(error.to_string(), "Kill can't be caught");
/// ```
pub fn catch(signals: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
    let signals: Vec<Signal> = signals.into_iter().collect();
    for signal in &signals {
        // Registering these panics.
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
    // Counted before the stream hears of it: it looks at the count when it is woken.
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

/// A stream of signals, made by [`termination`] and [`catch`].
///
/// Once the last such stream is dropped, or has failed, the signals take their default action again.
#[must_use = "dropping the stream gives the signals their default action back"]
pub struct Signals {
    /// First, to be dropped first: better that a signal ends the process than that nothing hears it.
    caught: Option<Caught>,
    inner: async_signal::Signals,
    /// How many of the requests that the handler has counted have been yielded; `None` while each signal is.
    requests: Option<usize>,
    /// Whether a signal has been yielded that was not counted.
    read: bool,
    /// When the handler had the signal that was yielded last, if it counts.
    last_at: Option<Instant>,
}

impl Signals {
    /// From now on it is the handler that says which signals are requests to stop, and the third ends the process.
    ///
    /// It has counted since the stream was made; so this comes too late once signals have been read.
    pub(crate) fn count(&mut self) {
        #[cfg(unix)]
        if let (Some(caught), false) = (&self.caught, self.read) {
            caught.requests.end_at_third();
            self.requests.get_or_insert(0);
        }
        #[cfg(not(unix))]
        let _ = self;
    }

    /// When the request was made that was yielded last.
    pub(crate) fn last_at(&self) -> Instant {
        self.last_at.unwrap_or_else(Instant::now)
    }

    #[cfg(unix)]
    fn next_request(&mut self) -> Option<Signal> {
        let (caught, requests) = (self.caught.as_ref()?, self.requests.as_mut()?);
        let (signal, age) = caught.requests.get(*requests)?;
        *requests += 1;
        self.last_at = Instant::now().checked_sub(age);
        let mut signals = caught.signals.iter().copied();
        signals.find(|caught| *caught as i32 == signal)
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
                // The handler has counted it before.
                Some(Ok(_)) if self.requests.is_some() => continue,
                Some(Ok(signal)) => {
                    self.read = true;
                    Poll::Ready(Some(signal))
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Deaf from here on: better that a signal ends the process than that nothing does.
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
}

/// While one exists, its signals are the stream's. Afterwards they take their default action again.
struct Caught {
    signals: Vec<Signal>,
    #[cfg(unix)]
    requests: Arc<handler::Requests>,
    #[cfg(unix)]
    counting: Vec<system::Counting>,
}

/// A signal that has ever been caught.
struct Known {
    signal: Signal,
    streams: usize,
    /// Whether `streams` is zero, for the handler, which can't take a lock.
    nobody: Arc<AtomicBool>,
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
                    let nobody = Arc::<AtomicBool>::default();
                    system::default_action(signal as i32, Arc::clone(&nobody))?;
                    known.push(Known {
                        signal,
                        streams: 0,
                        nobody,
                    });
                    known.len() - 1
                }
            };
            known[index].streams += 1;
            // SeqCst, as the handler reads it; the lock orders those who write it.
            known[index].nobody.store(false, Ordering::SeqCst);
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
            known.nobody.store(known.streams == 0, Ordering::SeqCst);
        }
    }
}
