use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use futures_io::{AsyncRead, AsyncWrite};

use super::{activity::Activity, framing::Framing, scratch};
use crate::net::{Expected, Expects};

impl Activity {
    /// Makes `conn` ready for hyper and watches it.
    pub fn io<C: AsyncRead + AsyncWrite + Unpin>(&self, conn: C) -> Io<C> {
        self.io_lingering(conn, Arc::default())
    }

    /// The same; `expects` is [`Linger::expects`](crate::net::Linger::expects) of the connection beneath.
    pub fn io_lingering<C: AsyncRead + AsyncWrite + Unpin>(
        &self,
        conn: C,
        expects: Arc<Expects>,
    ) -> Io<C> {
        Io {
            conn,
            activity: self.clone(),
            framing: Framing::default(),
            expects,
        }
    }
}

/// A futures-io connection for hyper, watched for what it is doing; made by [`Activity::io`].
#[derive(Debug)]
pub struct Io<C> {
    conn: C,
    activity: Activity,
    framing: Framing,
    expects: Arc<Expects>,
}

impl<C> Io<C> {
    fn received(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.framing.is_http2_for_good() {
            return;
        }
        self.framing.receive(bytes, self.activity.parsed());
        self.activity.set_http2(self.framing.is_http2());
        self.activity.received();
    }
}

impl<C: AsyncRead + Unpin> Read for Io<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        scratch::with(buf.remaining(), |scratch| {
            let read = ready!(Pin::new(&mut self.conn).poll_read(cx, scratch))?;
            let bytes = &scratch[..read];
            self.received(bytes);
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
        self.expects
            .set(if self.framing.is_owed(self.activity.parsed()) {
                Expected::Rest
            } else if self.activity.is_left() {
                Expected::Nothing
            } else {
                Expected::Unknown
            });
        Pin::new(&mut self.conn).poll_close(cx)
    }
}
