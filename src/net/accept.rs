#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_io::Async;
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};

use super::{
    listening::Listening,
    transport::{Plain, Transport},
};

/// Where connections come from, and how that ends.
#[diagnostic::on_unimplemented(
    message = "connections can't be accepted from `{Self}`",
    label = "not a listener",
    note = "use a TCP or Unix listener of std, async-io or smol (feature `async-net`), or an `Arc` of `Async<..>`",
    note = "wrap a stream of connections in `net::Connections::new(stream)`: what is queued in it is lost"
)]
pub trait Accept {
    /// A connection.
    type Conn: Transport;

    /// Polls for the next connection and its peer's address; `None` if there will be no more.
    #[expect(
        clippy::type_complexity,
        reason = "an alias would be one more public name"
    )]
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(Self::Conn, Option<SocketAddr>)>>>;

    /// Stops the queueing of new connections as far as that is possible, and says what is left to
    /// do.
    fn retire(&mut self) -> Queue {
        Queue::Open
    }

    /// Returns whether peers whose handshake is under way may still join a retired queue.
    fn may_grow(&self) -> bool {
        false
    }

    /// Returns whether a connection is queued, if that is known. Asked when accepting fails for
    /// want of descriptors, which doesn't tell.
    fn has_queued(&self) -> Option<bool> {
        None
    }
}

/// What a listener's queue is once it has [retired](Accept::retire).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Nobody new is queued: it is emptied until nothing is left.
    Closed,
    /// Newcomers may still be queued: it is emptied for a bounded time.
    Open,
    /// Somebody else accepts from it, and it is left to them.
    Shared,
}

/// What can be accepted from: a TCP or Unix listener, [`Shared`], [`Connections`] or an [`Accept`].
pub trait IntoAccept {
    /// What it becomes.
    type Accept: Accept;

    /// Makes it ready to accept from.
    ///
    /// # Errors
    ///
    /// If the listener can't be watched by the reactor.
    fn into_accept(self) -> io::Result<Self::Accept>;
}

impl<A: Accept> IntoAccept for A {
    type Accept = A;

    fn into_accept(self) -> io::Result<A> {
        Ok(self)
    }
}

macro_rules! listener {
    ($($listener:ty as $socket:ty: |$given:ident| $into:expr;)*) => {$(
        impl IntoAccept for $listener {
            type Accept = Listening<$socket>;

            fn into_accept(self) -> io::Result<Self::Accept> {
                let $given = self;
                Ok(Listening::new($into))
            }
        }
    )*};
}

listener! {
    Async<TcpListener> as TcpListener: |listener| Arc::new(listener);
    Arc<Async<TcpListener>> as TcpListener: |listener| listener;
    TcpListener as TcpListener: |listener| Arc::new(Async::new(listener)?);
}

#[cfg(unix)]
listener! {
    Async<UnixListener> as UnixListener: |listener| Arc::new(listener);
    Arc<Async<UnixListener>> as UnixListener: |listener| listener;
    UnixListener as UnixListener: |listener| Arc::new(Async::new(listener)?);
}

#[cfg(feature = "async-net")]
listener! {
    async_net::TcpListener as TcpListener: |listener| listener.into();
}

#[cfg(all(feature = "async-net", unix))]
listener! {
    async_net::unix::UnixListener as UnixListener: |listener| listener.into();
}

/// A listener that somebody else accepts from too: a supervisor that passed it on, or another
/// process.
///
/// Draining only stops accepting from it; its queue is left to its other holder. A listener that is
/// shared and not declared so is emptied first, and left as it was found after that. Descriptors
/// that `LISTEN_FDS` names are known to be shared.
///
/// ```
/// # use async_drain::{Drain, net::Shared};
/// # use std::net::TcpListener;
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let successor = listener.try_clone()?;
/// let incoming = Drain::new().accept(Shared(listener));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shared<L>(pub L);

impl<L: IntoAccept> IntoAccept for Shared<L> {
    type Accept = AcceptShared<L::Accept>;

    fn into_accept(self) -> io::Result<Self::Accept> {
        self.0.into_accept().map(AcceptShared)
    }
}

/// Accepts from a [`Shared`] listener.
#[derive(Debug)]
pub struct AcceptShared<A>(A);

impl<A: Accept> Accept for AcceptShared<A> {
    type Conn = A::Conn;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(Self::Conn, Option<SocketAddr>)>>> {
        self.0.poll_accept(cx)
    }

    fn retire(&mut self) -> Queue {
        Queue::Shared
    }
}

/// Accepts from a stream of connections.
///
/// Nothing can stop the listener beneath a stream, or tell what is queued there. So when draining
/// begins, peers that the kernel has connected and the stream hasn't yielded are reset: in three
/// storms on async-std's `listener.incoming()`, 60 of 2,700 requests. Give the listener itself to
/// [`Drain::accept`](crate::Drain::accept) where you can; one of async-std is converted by
/// `std::net::TcpListener::try_from(listener)`.
///
/// ```
/// # use async_drain::{Drain, net::Connections};
/// # use async_io::Async;
/// # use futures_lite::stream;
/// # use std::net::TcpStream;
/// let stream = stream::pending::<std::io::Result<Async<TcpStream>>>();
/// let incoming = Drain::new().accept(Connections::new(stream));
/// ```
#[derive(Debug)]
pub struct Connections<S>(Pin<Box<S>>);

impl<S, C> Connections<S>
where
    S: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Unpin,
{
    /// Wraps `stream`.
    pub fn new(stream: S) -> Self {
        Self(Box::pin(stream))
    }
}

impl<S, C> Accept for Connections<S>
where
    S: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Unpin,
{
    type Conn = Plain<C>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(Self::Conn, Option<SocketAddr>)>>> {
        self.0
            .as_mut()
            .poll_next(cx)
            .map(|next| next.map(|conn| conn.map(|conn| (Plain(conn), None))))
    }
}
