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

/// From now on Ctrl-C ends the process whenever it comes while `nobody` is set.
///
/// Once async-signal has caught it, its handler keeps it from all others, also when no stream is left. And a handler of
/// the C runtime, signal-hook's, would keep it from async-signal. So one more stream listens, for ever.
pub(super) fn default_action(signal: Signal, nobody: Arc<AtomicBool>) -> io::Result<()> {
    Waker::from(Arc::new(Sentinel {
        signals: Mutex::new(Signals::new([signal])?),
        nobody,
    }))
    .wake();
    Ok(())
}

/// Kept alive by the waker that its own stream holds.
struct Sentinel {
    signals: Mutex<Signals>,
    nobody: Arc<AtomicBool>,
}

impl Wake for Sentinel {
    /// Called by the thread that Windows makes for each Ctrl-C.
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        while let Poll::Ready(Some(Ok(signal))) =
            Pin::new(&mut *signals).poll_next(&mut Context::from_waker(&waker))
        {
            // SeqCst, as those who write it.
            if self.nobody.load(Ordering::SeqCst) {
                signal.end_process();
            }
        }
    }
}
