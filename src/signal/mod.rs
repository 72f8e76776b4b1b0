//! Termination signals as a stream.

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
};

pub use async_signal::Signal;
use futures_core::Stream;
use signal_hook::low_level;
#[cfg(not(windows))]
use unix as system;
#[cfg(windows)]
use windows as system;

use crate::StopRequest;

/// The signals that ask a process to end: SIGTERM and SIGINT; on Windows, Ctrl-C.
///
/// They are caught from this call on, so that one that comes during start-up is kept: call it first of all. (Not one that
/// comes in this very call, in the microsecond in which signal-hook installs its handler: that is lost.)
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
    return catch([Signal::Term, Signal::Int]);
    #[cfg(not(unix))]
    return catch([Signal::Int]);
}

/// Catches `signals` from this call on.
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
    let inner = async_signal::Signals::new(&signals).map_err(|error| {
        io::Error::new(error.kind(), format!("can't catch {signals:?}: {error}"))
    })?;
    Ok(Signals {
        caught: Some(Caught::new(&signals)?),
        inner,
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
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        loop {
            return match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(signal)) => Poll::Ready(Some(signal)),
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
        // Only an unknown signal is refused, and this one was delivered.
        let _ = low_level::emulate_default_handler(*self as i32);
    }
}

/// While one exists, its signals are the stream's. Afterwards they take their default action again.
struct Caught(Vec<Signal>);

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
        let mut caught = Self(Vec::new());
        for &signal in signals {
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            let index = match known.iter().position(|known| known.signal == signal) {
                Some(index) => index,
                None => {
                    let nobody = Arc::<AtomicBool>::default();
                    system::default_action(signal, Arc::clone(&nobody))?;
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
            caught.0.push(signal);
        }
        Ok(caught)
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        for known in &mut *known {
            known.streams -= self
                .0
                .iter()
                .filter(|signal| **signal == known.signal)
                .count();
            known.nobody.store(known.streams == 0, Ordering::SeqCst);
        }
    }
}
