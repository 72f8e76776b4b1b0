#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::{
    io,
    net::{Shutdown, SocketAddr, TcpStream},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use super::acknowledged::Acknowledged;

/// A connection that can be closed for writing alone, and may know what its peer has received.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Sends what is left and the end of the stream; reading goes on.
    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether the peer has acknowledged everything. By default it has, for what the operating system delivers in any
    /// case. Of TCP all systems but Linux and Android can't tell, and it has not.
    fn is_acknowledged(&self) -> bool {
        true
    }

    /// Ready when [`is_acknowledged`](Self::is_acknowledged) says yes, the end of the stream included. `watch` is what
    /// the waiting takes, and belongs to this connection.
    fn poll_acknowledged(&self, watch: &mut Acknowledged, cx: &mut Context<'_>) -> Poll<()> {
        let _ = (watch, cx);
        Poll::Ready(())
    }

    /// Makes the drop of the connection, and the end of its process, a reset rather than an end of the stream, or no
    /// longer. By default it changes nothing: only TCP has resets.
    fn set_reset_on_drop(&self, reset: bool) {
        let _ = reset;
    }

    /// The address that the peer has connected to, where it has one.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

impl Transport for Async<TcpStream> {
    fn poll_half_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_ref().shutdown(Shutdown::Write))
    }

    fn is_acknowledged(&self) -> bool {
        Acknowledged::is(self.get_ref())
    }

    fn poll_acknowledged(&self, watch: &mut Acknowledged, cx: &mut Context<'_>) -> Poll<()> {
        watch.poll(self.get_ref(), cx)
    }

    fn set_reset_on_drop(&self, reset: bool) {
        // It fails only on a socket that is gone already.
        let _ = SockRef::from(self.get_ref()).set_linger(reset.then_some(Duration::ZERO));
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.get_ref().local_addr().ok()
    }
}

#[cfg(unix)]
impl Transport for Async<UnixStream> {
    fn poll_half_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_ref().shutdown(Shutdown::Write))
    }
}

/// A connection of which nothing is known but that it can be read, written and closed.
#[derive(Debug)]
pub struct Plain<C>(pub C);

impl<C: AsyncRead + AsyncWrite + Unpin> Transport for Plain<C> {
    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Plain<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Plain<C> {
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
        Pin::new(&mut self.0).poll_close(cx)
    }
}
