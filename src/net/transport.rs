//! Connections that can be closed for writing and still be read.

#[cfg(windows)]
use std::os::windows::io::{AsSocket, BorrowedSocket};
#[cfg(unix)]
use std::os::{
    fd::{AsFd, BorrowedFd as BorrowedSocket},
    unix::net::UnixStream,
};
use std::{
    io,
    net::{Shutdown, TcpStream},
    pin::Pin,
    task::{Context, Poll},
};

use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};

/// A connection that can end its own stream and go on reading.
///
/// Implemented for the TCP and Unix connections of async-io. For a connection without a socket,
/// `poll_half_close` may call `poll_close`, if the connection can still be read after that.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be closed for writing alone",
    label = "not a `Transport`",
    note = "implement `net::Transport` for it"
)]
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Sends buffered bytes and the end of the stream. The connection can still be read.
    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Returns the socket of the connection, if it has one. The kernel knows what the peer of a TCP
    /// socket has acknowledged.
    ///
    /// By default a connection has no socket, and its bytes count as delivered when it is closed.
    fn socket(&self) -> Option<BorrowedSocket<'_>> {
        None
    }
}

impl Transport for Async<TcpStream> {
    fn poll_half_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_ref().shutdown(Shutdown::Write))
    }

    fn socket(&self) -> Option<BorrowedSocket<'_>> {
        #[cfg(unix)]
        let socket = self.get_ref().as_fd();
        #[cfg(windows)]
        let socket = self.get_ref().as_socket();
        Some(socket)
    }
}

#[cfg(unix)]
impl Transport for Async<UnixStream> {
    fn poll_half_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_ref().shutdown(Shutdown::Write))
    }

    fn socket(&self) -> Option<BorrowedSocket<'_>> {
        Some(self.get_ref().as_fd())
    }
}

/// A connection of [`Connections`](super::Connections), which can be read, written and closed, but
/// has no socket.
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
