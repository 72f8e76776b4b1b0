use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::FuturesIo;

use super::{activity::Activity, framing::Framing};
use crate::net::{Expected, Expects};

/// A futures-io connection for hyper, watched for what it is doing; made by [`Activity::io`].
pub type Io<C> = FuturesIo<Watched<C>>;

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
        FuturesIo::new(Watched {
            conn,
            activity: self.clone(),
            framing: Framing::default(),
            expects,
        })
    }
}

/// A connection whose reads and writes are noticed.
#[derive(Debug)]
pub struct Watched<C> {
    conn: C,
    activity: Activity,
    framing: Framing,
    expects: Arc<Expects>,
}

impl<C> Watched<C> {
    fn received(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.framing.is_http2_for_good() {
            return;
        }
        self.framing.receive(bytes, self.activity.parsed());
        self.activity.set_http2(self.framing.is_http2());
        self.activity.received();
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.conn).poll_read(cx, buf))?;
        self.received(&buf[..read]);
        Poll::Ready(Ok(read))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
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

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
