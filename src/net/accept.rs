//! What connections can be accepted from.

#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use async_io::Async;
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};

use super::{
    listening::{Holders, Listener, Listening},
    transport::{Plain, Transport},
};

/// Accepts connections, and retires without losing one.
///
/// The listeners of std, async-io and smol become one by [`IntoAccept`]. Implement it for other
/// sources of connections, e.g. a listener of another runtime.
pub trait Accept {
    /// An accepted connection.
    type Conn: Transport;

    /// Polls for the next connection and the address of its peer; `None` if no more will come.
    #[expect(
        clippy::type_complexity,
        reason = "an alias would be one more public name"
    )]
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(Self::Conn, Option<SocketAddr>)>>>;

    /// Tells when draining will end, if that is known. It is called before
    /// [`retire`](Self::retire), which should be done by then. By default it does nothing.
    fn retire_by(&mut self, deadline: Instant) {
        let _ = deadline;
    }

    /// Stops the queueing of new connections, as far as that is possible, and returns what is left
    /// to do. By default it stops nothing. It is called again after [`Queue::NotYet`].
    fn retire(&mut self) -> Queue {
        Queue::Open
    }

    /// Returns whether connection requests are under way that may still join a retired queue.
    fn may_grow(&self) -> bool {
        false
    }

    /// Returns whether a connection is queued, if that is known. [`Incoming`](super::Incoming) asks
    /// when accepting fails because file descriptors have run out, since that error comes whether
    /// the queue is empty or not.
    fn has_queued(&self) -> Option<bool> {
        None
    }
}

/// What to do with the queue of a listener that has [retired](Accept::retire).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// No new connections join it: accept until it is empty.
    Closed,
    /// New connections may still join it: accept for a bounded time.
    Open,
    /// Another process accepts from it: stop accepting, and leave the queue alone.
    Shared,
    /// New connections still join it, because something else comes first: accept what is queued,
    /// and call [`retire`](Accept::retire) again when it is empty, or a few milliseconds later.
    NotYet,
}

/// Turns a listener into one that [`Drain::accept`](crate::Drain::accept) can accept from.
///
/// Implemented for the TCP and Unix listeners of std, async-io and (with the feature `async-net`)
/// smol, for an [`Arc`] of async-io's, for [`Shared`], [`Group`], [`Connections`] and every
/// [`Accept`].
#[diagnostic::on_unimplemented(
    message = "connections can't be accepted from `{Self}`",
    label = "not a listener",
    note = "use a TCP or Unix listener of std, async-io or smol (feature `async-net`), or an `Arc` of `Async<..>`",
    note = "wrap a stream of connections in `net::Connections::new(stream)`: what is queued in it is lost"
)]
pub trait IntoAccept {
    /// The source of connections that the listener becomes.
    type Accept: Accept;

    /// Converts the listener.
    ///
    /// # Errors
    ///
    /// If the reactor can't watch it.
    fn into_accept(self) -> io::Result<Self::Accept>;
}

// If an argument implements neither trait, the compiler should say that it is not a listener, and
// not that `Accept` is missing.
#[diagnostic::do_not_recommend]
impl<A: Accept> IntoAccept for A {
    type Accept = A;

    fn into_accept(self) -> io::Result<A> {
        Ok(self)
    }
}

/// A listener of the operating system, in the type of std, async-io or smol.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener of the operating system",
    label = "not a listener",
    note = "use a TCP or Unix listener of std, async-io or smol (feature `async-net`), or an `Arc` of `Async<..>`",
    note = "an `Accept` of your own returns `Queue::Shared` from `retire` instead"
)]
pub trait OsListener {
    /// The std listener inside.
    type Socket: Listener;

    /// Registers the listener with the reactor.
    fn into_async(self) -> io::Result<Arc<Async<Self::Socket>>>;
}

macro_rules! listener {
    ($($listener:ty as $socket:ty: |$given:ident| $into:expr;)*) => {$(
        impl OsListener for $listener {
            type Socket = $socket;

            fn into_async(self) -> io::Result<Arc<Async<$socket>>> {
                let $given = self;
                Ok($into)
            }
        }

        impl IntoAccept for $listener {
            type Accept = Listening<$socket>;

            fn into_accept(self) -> io::Result<Self::Accept> {
                self.into_async().map(Listening::new)
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

/// Declares that another process accepts from the listener too, e.g. a supervisor that passed it
/// on.
///
/// When draining begins, this process stops accepting, and leaves the queue to the other one. If a
/// listener is shared without this declaration, this process empties its queue first, and then the
/// others get new connections again. Some of what it has set stays for all holders of the socket:
/// `O_NONBLOCK`, and `SO_REUSEPORT` of one of IPv6. A socket filter of your own is replaced when
/// the listener retires, and is gone afterwards; where no filter can be had, the backlog becomes
/// the longest that the system allows.
///
/// Listeners that were passed on by `LISTEN_FDS` are known to be shared: those that
/// `systemd::listeners` has taken, or, if it has taken none, those whose descriptors have the
/// numbers that it names.
///
/// The `Accept` type of a shared listener is that of the listener itself, so that a program can
/// choose at run time:
///
/// ```
/// # use async_drain::{Drain, net::{IntoAccept, Shared}};
/// # use std::net::TcpListener;
/// # fn main() -> std::io::Result<()> {
/// # let is_passed_on = true;
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let listener = if is_passed_on {
///     Shared(listener).into_accept()?
/// } else {
///     listener.into_accept()?
/// };
/// let drain = Drain::new();
/// let incoming = drain.accept(listener);
/// # Ok(()) }
/// ```
///
/// ```
/// # use async_drain::{Drain, net::Shared};
/// # use std::net::TcpListener;
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let successor = listener.try_clone()?;
/// let drain = Drain::new();
/// let incoming = drain.accept(Shared(listener));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shared<L>(pub L);

impl<L: OsListener> IntoAccept for Shared<L> {
    type Accept = Listening<L::Socket>;

    fn into_accept(self) -> io::Result<Self::Accept> {
        let listener = self.0.into_async()?;
        Ok(Listening::held_by(Holders::Another, listener))
    }
}

/// Declares that the listener is a member of a `SO_REUSEPORT` group, whose other members accept
/// connections at the same address.
///
/// When draining begins, new connections go to the siblings at once, and no peer has to wait, but
/// for a rare one that meets a race in the kernel and connects after a second. So a server can be
/// restarted without a supervisor: start the new process, and stop the old one when the new one
/// listens. Members retire one after another, so all members of a process may be told
/// to stop at the same time: allow some 20 ms for each. A member that doesn't get its turn within
/// three seconds, or half of what is left of the grace period, retires like one without siblings.
///
/// This works on Linux, and needs no privilege. It attaches a BPF program to the group
/// (`SO_ATTACH_REUSEPORT_CBPF`), which replaces one that you have attached. Declare all members:
/// each detaches the program that a sibling has left behind, and a member that joins undeclared may
/// get all new connections of the group, or none. On other systems, if the group has no other
/// member, or if the kernel refuses, the listener retires like one without siblings. The kernel
/// refuses a process that may no longer bind the port, and one that may not use netlink. A listener
/// that is bound to an interface, or to a link-local address, is not steered either.
///
/// ```
/// # use async_drain::{Drain, net::Group};
/// # use socket2::{Domain, Socket, Type};
/// # use std::net::{SocketAddr, TcpListener};
/// # fn main() -> std::io::Result<()> {
/// # #[cfg(unix)] {
/// # let address = SocketAddr::from(([127, 0, 0, 1], 0));
/// let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
/// socket.set_reuse_port(true)?;
/// socket.bind(&address.into())?;
/// socket.listen(1024)?;
/// let drain = Drain::new();
/// let incoming = drain.accept(Group(TcpListener::from(socket)));
/// # }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Group<L>(pub L);

impl<L: OsListener<Socket = TcpListener>> IntoAccept for Group<L> {
    type Accept = Listening<TcpListener>;

    fn into_accept(self) -> io::Result<Self::Accept> {
        self.0.into_async().map(Listening::of_group)
    }
}

/// Accepts from a stream of connections.
///
/// A stream doesn't give access to its listener, so its queue can't be emptied. When draining
/// begins, peers that the kernel has connected and the stream has not yielded are reset: with
/// async-std's `listener.incoming()`, 60 of 2,700 requests under load. If you can, give
/// [`Drain::accept`](crate::Drain::accept) the listener itself;
/// `std::net::TcpListener::try_from(listener)` converts one of async-std.
///
/// ```
/// # use async_drain::{Drain, net::Connections};
/// # use async_io::Async;
/// # use futures_lite::stream;
/// # use std::net::TcpStream;
/// let stream = stream::pending::<std::io::Result<Async<TcpStream>>>();
/// let drain = Drain::new();
/// let incoming = drain.accept(Connections::new(stream));
/// ```
#[derive(Debug)]
pub struct Connections<S>(Pin<Box<S>>);

impl<S, C> Connections<S>
where
    S: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Unpin,
{
    /// Wraps a stream of connections.
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
