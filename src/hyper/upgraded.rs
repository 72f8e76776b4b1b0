use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::hyper::rt::{Read, ReadBuf, Write};
use futures_io::{AsyncRead, AsyncWrite};

/// Adapts one of hyper's connections, such as
/// [`hyper::upgrade::Upgraded`](::hyper::upgrade::Upgraded), to futures-io.
///
/// An upgraded connection is no longer the server's, and the server's guard is dropped: give it a
/// guard of its own, taken before the upgrade is answered. Then a WebSocket is told when draining
/// begins, and isn't cut before aborting begins. The same holds for axum: its own feature `ws`
/// needs tokio, so let the handler answer the handshake and take the connection as below.
///
/// ```no_run
/// # use ::hyper::{Request, body::Incoming};
/// # use async_drain::{Drain, hyper::FromHyper};
/// # use futures_lite::AsyncWriteExt;
/// fn upgrade(request: Request<Incoming>, drain: &Drain) -> Result<(), async_drain::Refused> {
///     let guard = drain.admit()?;
///     smol::spawn(async move {
///         let upgraded = hyper::upgrade::on(request).await.map_err(std::io::Error::other)?;
///         let mut io = guard.wrap(FromHyper::new(upgraded));
///         io.write_all(b"good bye\n").await?;
///         io.close().await
///     })
///     .detach();
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct FromHyper<T>(T);

impl<T> FromHyper<T> {
    /// Wraps `io`.
    pub fn new(io: T) -> Self {
        Self(io)
    }

    /// Returns the wrapped connection.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: Read + Unpin> AsyncRead for FromHyper<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.0).poll_read(cx, buf.unfilled()))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<T: Write + Unpin> AsyncWrite for FromHyper<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
