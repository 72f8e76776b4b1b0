#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_io::Async;
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};

use super::{
    retire,
    transport::{Plain, Transport},
};
use crate::OfStream;

/// Where connections come from, and how that ends.
pub trait Accept {
    /// A connection.
    type Conn: Transport;

    /// The next connection and its peer's address, or `None` if there will be no more.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Accepted<Self::Conn>>>>;

    /// Stops the queueing of new connections; those queued are accepted afterwards. The default knows no queue.
    fn retire(&mut self) {}

    /// Once retired and found empty: whether the queue can still grow, by peers who had begun to connect.
    fn may_grow(&self) -> bool {
        false
    }
}

/// A connection and its peer's address, where it has one.
pub type Accepted<C> = (C, Option<SocketAddr>);

/// What can be accepted from: a TCP or Unix listener of async-io or smol, a stream of connections, or an [`Accept`].
///
/// `K` says which of these it is, and is inferred.
pub trait IntoAccept<K> {
    /// What it becomes.
    type Accept: Accept;

    /// Makes it ready to accept from.
    fn into_accept(self) -> Self::Accept;
}

/// [`IntoAccept`] for what already is an [`Accept`].
#[derive(Debug)]
pub enum OfAccept {}
/// [`IntoAccept`] for a TCP listener.
#[derive(Debug)]
pub enum OfTcpListener {}
/// [`IntoAccept`] for a Unix listener.
#[cfg(unix)]
#[derive(Debug)]
pub enum OfUnixListener {}

impl<A: Accept> IntoAccept<OfAccept> for A {
    type Accept = A;

    fn into_accept(self) -> A {
        self
    }
}

impl<L: Into<Arc<Async<TcpListener>>>> IntoAccept<OfTcpListener> for L {
    type Accept = Tcp;

    fn into_accept(self) -> Tcp {
        Tcp(self.into())
    }
}

#[cfg(unix)]
impl<L: Into<Arc<Async<UnixListener>>>> IntoAccept<OfUnixListener> for L {
    type Accept = Unix;

    fn into_accept(self) -> Unix {
        Unix(self.into())
    }
}

impl<S, C> IntoAccept<OfStream> for S
where
    S: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Unpin,
{
    type Accept = Connections<S>;

    fn into_accept(self) -> Connections<S> {
        Connections(Box::pin(self))
    }
}

/// Accepts from a TCP listener; its connections send without delay (`TCP_NODELAY`).
#[derive(Debug)]
pub struct Tcp(Arc<Async<TcpListener>>);

impl Accept for Tcp {
    type Conn = Async<TcpStream>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Accepted<Self::Conn>>>> {
        poll_io(&self.0, cx, TcpListener::accept).map(|accepted| {
            Some(accepted.and_then(|(stream, peer)| {
                // It fails only where the peer has gone already, and that will show.
                let _ = stream.set_nodelay(true);
                Ok((Async::new(stream)?, Some(peer)))
            }))
        })
    }

    fn retire(&mut self) {
        // If neither way is to be had, the bounded emptying of the queue is what is left.
        let _ = retire::tcp(self.0.get_ref());
    }

    fn may_grow(&self) -> bool {
        retire::handshakes_under_way(self.0.get_ref())
    }
}

/// Accepts from a Unix listener.
#[cfg(unix)]
#[derive(Debug)]
pub struct Unix(Arc<Async<UnixListener>>);

#[cfg(unix)]
impl Accept for Unix {
    type Conn = Async<UnixStream>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Accepted<Self::Conn>>>> {
        poll_io(&self.0, cx, UnixListener::accept)
            .map(|accepted| Some(accepted.and_then(|(stream, _)| Ok((Async::new(stream)?, None)))))
    }

    fn retire(&mut self) {
        let _ = retire::unix(self.0.get_ref());
    }
}

/// Tries first and waits second, since a listener under load is always ready.
fn poll_io<L, T>(
    listener: &Async<L>,
    cx: &mut Context<'_>,
    accept: impl Fn(&L) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match accept(listener.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(listener.poll_readable(cx))?;
            }
            done => return Poll::Ready(done),
        }
    }
}

/// Accepts from a stream of connections; whatever queue that has is its own.
#[derive(Debug)]
pub struct Connections<S>(Pin<Box<S>>);

impl<S, C> Accept for Connections<S>
where
    S: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Unpin,
{
    type Conn = Plain<C>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Accepted<Self::Conn>>>> {
        self.0
            .as_mut()
            .poll_next(cx)
            .map(|next| next.map(|conn| conn.map(|conn| (Plain(conn), None))))
    }
}
