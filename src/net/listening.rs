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
    time::Instant,
};

use async_io::{Async, ReadableOwned};

#[cfg(unix)]
use super::unix_path::{self, BoundPath};
use super::{
    accept::{Accept, Queue},
    os,
    retire::{self, How, Retirement, Stop, Stopped, borrow},
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
    /// What [`retire`](Accept::retire) has done. The drop undoes it.
    retirement: Retirement,
    /// When draining ends, if that is known.
    deadline: Option<Instant>,
    /// Set by [`bind_unix`].
    #[cfg(unix)]
    path: Option<BoundPath>,
}

/// Which other processes may hold the socket of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    /// None: this process made the socket and never gave its descriptor away.
    #[cfg(unix)]
    None,
    /// Unknown: any descriptor may have been duplicated, passed on or inherited.
    Unknown,
    /// Another process accepts from it too: the caller says so, or `LISTEN_FDS` names it.
    Another,
    /// Unknown, and the socket has siblings in a `SO_REUSEPORT` group, as [`Group`](super::Group)
    /// tells.
    Siblings,
}

/// What TCP and Unix listeners do differently.
pub trait Listener: Sized + 'static {
    /// An accepted connection.
    type Conn: Transport;

    /// Accepts a queued connection without blocking.
    fn accept(&self) -> io::Result<(Self::Conn, Option<SocketAddr>)>;

    /// Stops the queueing of new connections.
    fn stop(&self, holders: Holders, how: How) -> Stop;

    /// Undoes [`stop`](Self::stop) for other holders of the socket; this one is `closing` if no
    /// other in this process is known. If another accept loop of this process has stopped the same
    /// socket, that one undoes it. The result is dropped after the listener.
    fn restore(&self, stopped: &mut Stopped, closing: bool) -> Option<os::Substitute>;

    /// Returns whether connection requests are under way.
    fn may_grow(&self, stopped: &Stopped) -> bool;

    /// Returns whether a connection is queued.
    fn has_queued(&self) -> bool;

    /// Returns whether so many are queued that the kernel may have dropped the end of a handshake.
    fn is_full(&self) -> bool;

    /// Returns whether the listener was passed on by `LISTEN_FDS`.
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
            retirement: Retirement::default(),
            deadline: None,
            #[cfg(unix)]
            path: None,
        }
    }

    fn get(&self) -> Option<&L> {
        self.listener
            .as_ref()
            .map(|listener| listener.as_ref().get_ref())
    }
}

impl Listening<TcpListener> {
    /// Accepts from a member of a group.
    pub(super) fn of_group(listener: Arc<Async<TcpListener>>) -> Self {
        let mut this = Self::new(listener);
        if this.holders == Holders::Unknown {
            this.holders = Holders::Siblings;
        }
        if let Some(listener) = this.get() {
            if let Ok(address) = listener.local_addr() {
                os::join(borrow(listener), address);
            }
        }
        this
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

    fn retire_by(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    fn retire(&mut self) -> Queue {
        if self.holders == Holders::Another {
            return Queue::Shared;
        }
        let Some(listener) = &self.listener else {
            return Queue::Closed;
        };
        let listener = listener.as_ref().get_ref();
        self.retirement.advance(
            self.deadline,
            || listener.has_queued(),
            || listener.is_full(),
            |how| listener.stop(self.holders, how),
        )
    }

    fn may_grow(&self) -> bool {
        match (self.get(), &self.retirement) {
            (Some(listener), Retirement::Stopped(stopped)) => listener.may_grow(stopped),
            _ => false,
        }
    }

    fn has_queued(&self) -> Option<bool> {
        match &self.retirement {
            Retirement::Stopped(stopped) if stopped.was_empty => None,
            // If it was shut down with connections, those that are accepted from here hold the
            // drain for as long as they need their descriptors. Then accepting tells.
            _ => self.get().map(L::has_queued),
        }
    }
}

impl<L: Listener> Drop for Listening<L> {
    fn drop(&mut self) {
        // Before the close: until then, no other file can have the number of this one.
        #[cfg(unix)]
        drop(self.path.take());
        // This owns the listener too.
        self.readable = None;
        let (Some(listener), Some(mut stopped)) = (self.listener.take(), self.retirement.take())
        else {
            return;
        };
        // If another loop ends too, it finds this one's listener gone, or still there and restored.
        let turn = retire::one_loop_at_a_time();
        let last = match Arc::try_unwrap(listener) {
            Ok(last) => Ok(last),
            Err(shared) => {
                drop(shared.as_ref().get_ref().restore(&mut stopped, false));
                Err(Arc::into_inner(shared))
            }
        };
        drop(turn);
        // Between the restore and the close, unless a substitute takes them, new connections are
        // queued again, and are reset if no other process holds the socket. Deregister from the
        // reactor first, which keeps that time short.
        match last.map(Async::into_inner) {
            Ok(Ok(listener)) => {
                let substitute = listener.restore(&mut stopped, true);
                drop(listener);
                drop(substitute);
            }
            Ok(Err(_)) => {}
            Err(closed_elsewhere) => drop(closed_elsewhere),
        }
        // A sibling that waited for its turn to retire may do so now.
        drop(stopped);
    }
}

impl<L: Listener> fmt::Debug for Listening<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("holders", &self.holders)
            .field("retirement", &self.retirement)
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

    fn stop(&self, holders: Holders, how: How) -> Stop {
        match holders {
            Holders::Siblings => retire::member(borrow(self), self.local_addr().ok(), how),
            _ => Stop::Done(retire::tcp(borrow(self))),
        }
    }

    fn restore(&self, stopped: &mut Stopped, closing: bool) -> Option<os::Substitute> {
        retire::restore_tcp(borrow(self), stopped, closing)
    }

    fn may_grow(&self, stopped: &Stopped) -> bool {
        retire::may_grow(self.local_addr().ok(), stopped)
    }

    fn has_queued(&self) -> bool {
        retire::has_queued(self)
    }

    fn is_full(&self) -> bool {
        retire::is_full(self.local_addr().ok())
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

    fn stop(&self, holders: Holders, _: How) -> Stop {
        // Shutting a Unix listener down affects all its holders and can't be undone.
        let alone = holders == Holders::None;
        if alone {
            let empty = !self.has_queued();
            let mut stopped = Stopped::new(os::shut_down_unix(self));
            stopped.was_empty = empty && stopped.queue == Queue::Closed;
            Stop::Done(stopped)
        } else {
            Stop::Done(Stopped::new(Queue::Open))
        }
    }

    fn restore(&self, _: &mut Stopped, _: bool) -> Option<os::Substitute> {
        None
    }

    fn may_grow(&self, _: &Stopped) -> bool {
        false
    }

    fn has_queued(&self) -> bool {
        retire::has_queued(self)
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_passed_on(&self) -> bool {
        retire::is_passed_on(self)
    }
}

/// Binds a Unix listener that no other process holds, and that removes its path.
///
/// Only such a listener can refuse new peers before the connections in its queue are accepted. With
/// any other Unix listener, a peer that connects between the last look at the queue and the close
/// is reset. So is, with this one, a peer that connects just before it refuses peers, if file
/// descriptors have run out and none is free within half a second.
///
/// If `path` is a socket on which nobody listens, e.g. since a process was killed, it is replaced.
/// When the listener is dropped, its path is removed, unless another socket has taken its place.
/// (The listeners of std, async-io and smol do neither.) A lock on the directory keeps processes
/// that do this at the same time from removing each other's sockets. It connects to find out
/// whether a process listens: a live server sees a connection without a byte.
///
/// ```
/// # use async_drain::{Drain, net::bind_unix};
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("bind_unix.{}", std::process::id()));
/// let drain = Drain::new();
/// let incoming = drain.accept(bind_unix(&path)?);
/// # drop(incoming);
/// # assert!(!path.exists());
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`AddrInUse`](io::ErrorKind::AddrInUse) if a process listens on `path` or it is not a socket;
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if the directory is locked for a second; otherwise
/// those of [`UnixListener::bind`].
#[cfg(unix)]
pub fn bind_unix(path: impl AsRef<std::path::Path>) -> io::Result<Listening<UnixListener>> {
    let (listener, path) = unix_path::bind(path.as_ref())?;
    let listener = Arc::new(Async::new(listener)?);
    let mut listening = Listening::held_by(Holders::None, listener);
    listening.path = Some(path);
    Ok(listening)
}
