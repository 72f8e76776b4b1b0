//! Accepts from a TCP or Unix listener, retires it, and restores it for its other holders.

#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::{
    fmt,
    future::Future,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_io::{Async, ReadableOwned};

use super::{
    accept::{Accept, Queue},
    os, retire,
    transport::Transport,
};

/// Accepts from a TCP or Unix listener. TCP connections send without delay (`TCP_NODELAY`).
pub struct Listening<L: Listener> {
    /// `None` only during the drop.
    listener: Option<Arc<Async<L>>>,
    /// Set while this waits for the next connection. Several accept loops may wait on one listener,
    /// each with a registration of its own.
    readable: Option<ReadableOwned<L>>,
    holders: Holders,
    /// What [`retire`](Accept::retire) returned, once it was called. The drop undoes it.
    retired: Option<Queue>,
}

/// Which other processes may hold the socket of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holders {
    /// None: this process made the socket and never gave its descriptor away.
    #[cfg(unix)]
    None,
    /// Unknown: any descriptor may have been duplicated, passed on or inherited.
    Unknown,
    /// Another process accepts from it too: the caller says so, or `LISTEN_FDS` names it.
    Another,
}

/// What TCP and Unix listeners do differently.
pub trait Listener: Sized + 'static {
    /// An accepted connection.
    type Conn: Transport;

    /// Accepts a queued connection without blocking.
    fn accept(&self) -> io::Result<(Self::Conn, Option<SocketAddr>)>;

    /// Stops the queueing of new connections; `alone` tells that no other process can hold the
    /// socket.
    fn retire(&self, alone: bool) -> Queue;

    /// Undoes [`retire`](Self::retire) for other holders of the socket.
    fn restore(&self, retired: Queue);

    /// Returns whether connection requests are under way.
    fn may_grow(&self) -> bool;

    /// Returns whether a connection is queued.
    fn has_queued(&self) -> bool;

    /// Returns whether `LISTEN_FDS` names the listener.
    fn is_passed_on(&self) -> bool;
}

impl<L: Listener> Listening<L> {
    pub(crate) fn new(listener: Arc<Async<L>>) -> Self {
        let holders = if listener.get_ref().is_passed_on() {
            Holders::Another
        } else {
            Holders::Unknown
        };
        Self::held_by(holders, listener)
    }

    pub(crate) fn held_by(holders: Holders, listener: Arc<Async<L>>) -> Self {
        Self {
            listener: Some(listener),
            readable: None,
            holders,
            retired: None,
        }
    }

    fn get(&self) -> Option<&L> {
        self.listener
            .as_ref()
            .map(|listener| listener.as_ref().get_ref())
    }
}

impl<L: Listener> Accept for Listening<L> {
    type Conn = L::Conn;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(Self::Conn, Option<SocketAddr>)>>> {
        let Some(listener) = &self.listener else {
            return Poll::Ready(None);
        };
        // Try before waiting: under load a listener is always ready.
        loop {
            match listener.as_ref().get_ref().accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let readable = self
                        .readable
                        .get_or_insert_with(|| Arc::clone(listener).readable_owned());
                    ready!(Pin::new(readable).poll(cx))?;
                    self.readable = None;
                }
                done => return Poll::Ready(Some(done)),
            }
        }
    }

    fn retire(&mut self) -> Queue {
        if self.holders == Holders::Another {
            return Queue::Shared;
        }
        let alone = match self.holders {
            #[cfg(unix)]
            Holders::None => true,
            _ => false,
        };
        self.retired = self.get().map(|listener| listener.retire(alone));
        self.retired.unwrap_or(Queue::Closed)
    }

    fn may_grow(&self) -> bool {
        self.get().is_some_and(L::may_grow)
    }

    fn has_queued(&self) -> Option<bool> {
        self.get().map(L::has_queued)
    }
}

impl<L: Listener> Drop for Listening<L> {
    fn drop(&mut self) {
        // This owns the listener too.
        self.readable = None;
        let (Some(listener), Some(retired)) = (self.listener.take(), self.retired) else {
            return;
        };
        // Between the restore and the close, new connections are queued again, and are reset if no
        // other process holds the socket. Deregister from the reactor first, which keeps that
        // time short.
        match Arc::try_unwrap(listener).map(Async::into_inner) {
            Ok(Ok(listener)) => listener.restore(retired),
            Ok(Err(_)) => {}
            Err(shared) => shared.as_ref().get_ref().restore(retired),
        }
    }
}

impl<L: Listener> fmt::Debug for Listening<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("holders", &self.holders)
            .field("retired", &self.retired)
            .finish_non_exhaustive()
    }
}

impl Listener for TcpListener {
    type Conn = Async<TcpStream>;

    fn accept(&self) -> io::Result<(Self::Conn, Option<SocketAddr>)> {
        let (stream, peer) = TcpListener::accept(self)?;
        // This fails only if the peer has gone already; the next read or write will tell.
        let _ = stream.set_nodelay(true);
        Ok((Async::new(stream)?, Some(peer)))
    }

    fn retire(&self, _: bool) -> Queue {
        retire::tcp(self)
    }

    fn restore(&self, retired: Queue) {
        retire::restore_tcp(self, retired);
    }

    fn may_grow(&self) -> bool {
        os::connection_requests_under_way(self)
    }

    fn has_queued(&self) -> bool {
        retire::has_queued(self)
    }

    fn is_passed_on(&self) -> bool {
        retire::is_passed_on(self)
    }
}

#[cfg(unix)]
impl Listener for UnixListener {
    type Conn = Async<UnixStream>;

    fn accept(&self) -> io::Result<(Self::Conn, Option<SocketAddr>)> {
        let (stream, _) = UnixListener::accept(self)?;
        Ok((Async::new(stream)?, None))
    }

    fn retire(&self, alone: bool) -> Queue {
        // Shutting a Unix listener down affects all its holders and can't be undone.
        if alone {
            os::shut_down_unix(self)
        } else {
            Queue::Open
        }
    }

    fn restore(&self, _: Queue) {}

    fn may_grow(&self) -> bool {
        false
    }

    fn has_queued(&self) -> bool {
        retire::has_queued(self)
    }

    fn is_passed_on(&self) -> bool {
        retire::is_passed_on(self)
    }
}

/// Binds a Unix listener that no other process holds.
///
/// Only such a listener can refuse new peers before the connections in its queue are accepted. With
/// any other Unix listener, a peer that connects between the last look at the queue and the close
/// is reset.
///
/// ```
/// # use async_drain::{Drain, net::bind_unix};
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("bind_unix.{}", std::process::id()));
/// let drain = Drain::new();
/// let incoming = drain.accept(bind_unix(&path)?);
/// # std::fs::remove_file(path)?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// Those of [`UnixListener::bind`].
#[cfg(unix)]
pub fn bind_unix(path: impl AsRef<std::path::Path>) -> io::Result<Listening<UnixListener>> {
    let listener = Async::<UnixListener>::bind(path)?;
    Ok(Listening::held_by(Holders::None, Arc::new(listener)))
}
