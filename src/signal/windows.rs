//! Ctrl-C, without a handler of the C runtime.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use async_signal::{Signal, Signals};
use futures_core::Stream;

use crate::shutdown::StopRequest;

/// Lets Ctrl-C end the process whenever it arrives while `unheard` is set.
///
/// Once async-signal has caught Ctrl-C, its handler keeps it from all others, even if no stream is
/// left. And a handler of the C runtime, such as signal-hook's, would keep it from async-signal. So
/// one more stream listens for the rest of the process's life.
pub(super) fn default_while(signal: Signal, unheard: Arc<AtomicBool>) -> io::Result<()> {
    Waker::from(Arc::new(Sentinel {
        signals: Mutex::new(Signals::new([signal])?),
        unheard,
    }))
    .wake();
    Ok(())
}

/// Listens for the signal. The waker in its own stream keeps it alive.
struct Sentinel {
    signals: Mutex<Signals>,
    unheard: Arc<AtomicBool>,
}

impl Wake for Sentinel {
    /// Ends the process if no other stream hears the signal. The thread that Windows starts for
    /// each Ctrl-C calls this.
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        while let Poll::Ready(Some(Ok(signal))) =
            Pin::new(&mut *signals).poll_next(&mut Context::from_waker(&waker))
        {
            // SeqCst, like the stores.
            if self.unheard.load(Ordering::SeqCst) {
                signal.end_process();
            }
        }
    }
}
