//! The close of a connection that hyper has dropped without closing it.

use std::{
    io,
    pin::Pin,
    sync::{MutexGuard, PoisonError, atomic::Ordering},
    task::{Context, Poll, ready},
};

use futures_io::AsyncWrite;

use super::{super::backlog::Backlog, Activity};

/// A connection that hyper has dropped without closing it, and what is still to be written to it.
pub(in crate::hyper) struct Unclosed {
    conn: Box<dyn AsyncWrite + Unpin + Send>,
    backlog: Backlog,
}

impl Unclosed {
    pub(in crate::hyper) fn new(
        conn: Box<dyn AsyncWrite + Unpin + Send>,
        backlog: Backlog,
    ) -> Self {
        Self { conn, backlog }
    }
}

impl Activity {
    /// Notes that hyper has read a request that asks for an upgrade: from now on it may drop the
    /// connection at the end of any answer, with what the socket has not taken.
    pub(in crate::hyper) fn set_upgradable(&self) {
        self.0.upgradable.store(true, Ordering::Relaxed);
    }

    /// Notes that hyper has all of an answer of HTTP/1, in its buffer or written.
    #[inline]
    pub(super) fn answer_ends(&self) {
        if self.0.upgradable.load(Ordering::Relaxed) {
            self.set_takes_all(true);
        }
    }

    /// Sets whether whatever hyper writes is the end of an answer, which it may not keep.
    #[inline]
    pub(in crate::hyper) fn set_takes_all(&self, takes_all: bool) {
        self.0.takes_all.store(takes_all, Ordering::Relaxed);
    }

    pub(in crate::hyper) fn takes_all(&self) -> bool {
        self.0.takes_all.load(Ordering::Relaxed)
    }

    /// Keeps a connection that hyper has dropped, to be closed by
    /// [`poll_unclosed`](Self::poll_unclosed).
    ///
    /// hyper drops a connection of HTTP/1 whose peer has asked for an upgrade and was not granted
    /// it: at its end, hyper takes it for upgraded all the same, and no code waits for that. Nor
    /// does hyper flush it before.
    pub(in crate::hyper) fn left_unclosed(&self, conn: impl FnOnce() -> Unclosed) {
        let position = self.position();
        if position.is_http2_for_good() || position.is_upgraded() || self.is_over() {
            return;
        }
        *self.unclosed() = Some(conn());
    }

    /// Returns whether hyper has left the close of the connection to us.
    pub(in crate::hyper) fn is_unclosed(&self) -> bool {
        self.unclosed().is_some()
    }

    /// Writes what is left of the connection that hyper has dropped, and closes it; ready when it
    /// is closed, or if there is none.
    pub(in crate::hyper) fn poll_unclosed(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The connection is polled and dropped outside the lock (S6).
        let unclosed = self.unclosed().take();
        if let Some(mut unclosed) = unclosed {
            if self.poll_close(&mut unclosed, cx).is_pending() {
                *self.unclosed() = Some(unclosed);
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn poll_close(&self, unclosed: &mut Unclosed, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Unclosed { conn, backlog } = unclosed;
        ready!(backlog.poll_write_to(conn, cx))?;
        self.set_blocked(false);
        self.ends();
        Pin::new(conn).poll_close(cx)
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
