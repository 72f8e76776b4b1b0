use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use futures_io::{AsyncRead, AsyncWrite};

use super::{activity::Activity, scratch};
use crate::net::Delivery;

impl Activity {
    /// Makes `conn` ready for hyper and watches it.
    pub fn io<C: AsyncRead + AsyncWrite + Unpin>(&self, conn: C) -> Io<C> {
        self.io_lingering(conn, Arc::default())
    }

    /// The same; `delivery` is that of the [`Linger`](crate::net::Linger) beneath.
    pub(super) fn io_lingering<C: AsyncRead + AsyncWrite + Unpin>(
        &self,
        conn: C,
        delivery: Arc<Delivery>,
    ) -> Io<C> {
        self.set_socket(delivery);
        Io {
            conn,
            activity: self.clone(),
            closed: false,
        }
    }
}

/// A futures-io connection for hyper, watched for what it is doing; made by [`Activity::io`].
#[derive(Debug)]
pub struct Io<C> {
    conn: C,
    activity: Activity,
    /// The connection has ended, by its own close.
    closed: bool,
}

impl<C: AsyncWrite + Unpin> Io<C> {
    /// Closes the connection by its own close (Z8).
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            self.activity.ends();
            let end = ready!(Pin::new(&mut self.conn).poll_close(cx));
            self.closed = true;
            end?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Read for Io<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.activity.is_left() {
            // Whatever reads from it, be it hyper or what looks for the version first, a peer that has been left has
            // nothing to say. Closed here, it ends as it should: who gets no byte may drop it without a word.
            let _ = ready!(self.poll_end(cx));
            return Poll::Ready(Ok(()));
        }
        scratch::with(buf.remaining(), |scratch| {
            let read = ready!(Pin::new(&mut self.conn).poll_read(cx, scratch))?;
            let bytes = &scratch[..read];
            self.activity.received(bytes);
            buf.put_slice(bytes);
            Poll::Ready(Ok(()))
        })
    }
}

impl<C: AsyncWrite + Unpin> Write for Io<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.conn).poll_write(cx, buf);
        self.activity.set_blocked(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.conn).poll_write_vectored(cx, bufs);
        self.activity.set_blocked(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.conn).poll_flush(cx);
        self.activity.set_blocked(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx)
    }
}
