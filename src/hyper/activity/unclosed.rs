//! The close of a connection that hyper has dropped without closing it.

use std::{
    pin::Pin,
    sync::{MutexGuard, PoisonError, atomic::Ordering},
    task::{Context, Poll},
};

use futures_io::AsyncWrite;

use super::{super::io::Unclosed, Activity};

impl Activity {
    /// Keeps a connection that hyper has dropped, to be closed by
    /// [`poll_unclosed`](Self::poll_unclosed).
    ///
    /// hyper drops a connection of HTTP/1 whose peer has asked for an upgrade and was not granted
    /// it: at its end, hyper takes it for upgraded all the same, and nobody waits for that.
    pub(in crate::hyper) fn left_unclosed(&self, conn: impl FnOnce() -> Unclosed) {
        let position = self.position();
        if position.is_http2_for_good() || position.is_upgraded() || self.is_over() {
            return;
        }
        self.ends();
        *self.unclosed() = Some(conn());
    }

    /// Returns whether hyper has left the close of the connection to us.
    pub(in crate::hyper) fn is_unclosed(&self) -> bool {
        self.unclosed().is_some()
    }

    /// Closes the connection that hyper has dropped; ready when it is closed, or if there is none.
    pub(in crate::hyper) fn poll_unclosed(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The connection is polled and dropped outside the lock (S6).
        let unclosed = self.unclosed().take();
        if let Some(mut conn) = unclosed {
            if Pin::new(&mut conn).poll_close(cx).is_pending() {
                *self.unclosed() = Some(conn);
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Notes that the watch has ended: what hyper drops from now on is dropped.
    pub(in crate::hyper) fn set_over(&self) {
        self.0.over.store(true, Ordering::Relaxed);
        let unclosed = self.unclosed().take();
        drop(unclosed);
    }

    fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }

    fn unclosed(&self) -> MutexGuard<'_, Option<Unclosed>> {
        // Nothing under this lock panics.
        (self.0.unclosed.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}
