use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_io::Timer;
use futures_io::{AsyncRead, AsyncWrite};

use super::{
    acknowledged::Acknowledged,
    backoff::Descriptor,
    expects::{Expected, Expects},
    transport::Transport,
};

/// The longest that a close lingers.
const LIMIT: Duration = Duration::from_secs(2);

/// A connection whose close loses nothing of what was written (Z8).
///
/// A plain close while the peer is still sending makes the kernel reset the connection, and throw away what it has not
/// delivered. So [`poll_close`](AsyncWrite::poll_close) closes for writing, and then reads and discards as long as
/// something can still be lost: while bytes arrive, while the protocol above [expects](Self::expects) more, and while
/// the peer has not acknowledged what was written. It ends at the latest after two seconds. A peer
/// that has everything and keeps its socket open is not waited for, on Linux and Android; elsewhere nothing tells what
/// a peer has, until it closes too.
///
/// Dropping it instead is a plain close; or a reset, while what has been written has [no end of its
/// own](Expects::set_unended).
#[derive(Debug)]
pub struct Linger<C> {
    conn: C,
    close: Close,
    expects: Arc<Expects>,
    /// The socket resets when it is dropped, since what has been written has no end.
    resets: bool,
    // After the connection.
    _descriptor: Descriptor,
}

#[derive(Debug)]
enum Close {
    Open,
    Lingering(Lingering),
    Done,
}

#[derive(Debug)]
struct Lingering {
    acknowledged: Acknowledged,
    /// The connection was idle, and all was acknowledged before we closed: that is all there is to wait for.
    was_over: bool,
    limit: Timer,
    /// The peer was sending when we closed, and may go on.
    arriving: bool,
}

impl<C: Transport> Linger<C> {
    /// Wraps `conn`.
    pub fn new(conn: C) -> Self {
        Self::of(conn, Descriptor::default())
    }

    pub(super) fn of(conn: C, descriptor: Descriptor) -> Self {
        Self {
            conn,
            close: Close::Open,
            expects: Arc::default(),
            resets: false,
            _descriptor: descriptor,
        }
    }

    /// Where the protocol above says what the peer may still send.
    pub fn expects(&self) -> Arc<Expects> {
        Arc::clone(&self.expects)
    }

    /// The connection.
    pub fn get_ref(&self) -> &C {
        &self.conn
    }

    /// Tells the socket what a drop is from now on, before anything is written that changes it: a process that is killed
    /// has no time to.
    #[inline]
    fn heed_unended(&mut self) {
        let unended = self.expects.is_unended();
        if self.resets != unended {
            self.resets = unended;
            self.conn.set_reset_on_drop(unended);
        }
    }

    /// Discards what has arrived; ready when nothing more can.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        /// Enough to empty a socket's buffer of the usual size; then others get their turn.
        const READS: usize = 16;
        let mut scratch = [0; 16 * 1024];
        for _ in 0..READS {
            match uninterrupted(|| Pin::new(&mut self.conn).poll_read(cx, &mut scratch)) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {
                    if let Close::Lingering(lingering) = &mut self.close {
                        lingering.arriving = true;
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_discard(cx).is_ready() {
            return Poll::Ready(());
        }
        let Close::Lingering(lingering) = &mut self.close else {
            return Poll::Ready(());
        };
        let owed = lingering.arriving || self.expects.get() == Expected::Rest;
        let over = lingering.was_over
            || self
                .conn
                .poll_acknowledged(&mut lingering.acknowledged, cx)
                .is_ready();
        if !owed && over {
            return Poll::Ready(());
        }
        Pin::new(&mut lingering.limit).poll(cx).map(|_| ())
    }
}

/// Calls again what a signal has interrupted, which is no failure of the connection (Z10).
fn uninterrupted<T>(mut call: impl FnMut() -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    loop {
        match call() {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl<C: Transport> AsyncRead for Linger<C> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        uninterrupted(|| Pin::new(&mut self.conn).poll_read(cx, buf))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        uninterrupted(|| Pin::new(&mut self.conn).poll_read_vectored(cx, bufs))
    }
}

impl<C: Transport> AsyncWrite for Linger<C> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.heed_unended();
        uninterrupted(|| Pin::new(&mut self.conn).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.heed_unended();
        uninterrupted(|| Pin::new(&mut self.conn).poll_write_vectored(cx, bufs))
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        uninterrupted(|| Pin::new(&mut self.conn).poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Close::Open = this.close {
            this.heed_unended();
            // Looked before the end is written, which has to be acknowledged itself.
            let was_over = this.expects.get() == Expected::Nothing && this.conn.is_acknowledged();
            match uninterrupted(|| this.conn.poll_half_close(cx)) {
                Poll::Pending => return Poll::Pending,
                // The peer has gone: there is nobody to lose anything.
                Poll::Ready(Err(_)) => this.close = Close::Done,
                Poll::Ready(Ok(())) => {
                    this.close = Close::Lingering(Lingering {
                        acknowledged: Acknowledged::default(),
                        was_over,
                        limit: Timer::after(LIMIT),
                        arriving: false,
                    });
                }
            }
        }
        if let Close::Lingering(_) = this.close {
            if this.poll_linger(cx).is_pending() {
                return Poll::Pending;
            }
            this.close = Close::Done;
        }
        Poll::Ready(Ok(()))
    }
}
