//! Idle connections, and how long they are kept once draining has begun.
//!
//! If the protocol has requests, give each connection a [`ConnectionGuard`], which is at work from
//! the first byte of a request to the last byte of its answer, and an [`IdleTimer`], which tells
//! when an idle connection should be closed. If the requests are unknown, as in a proxy,
//! [`Traffic`] tells when bytes no longer move.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_io::Timer;
use futures_io::{AsyncRead, AsyncWrite};

use super::{linger::Linger, transport::Transport};
pub use crate::drain::connection_guard::ConnectionGuard;
use crate::{Drain, Guard, Phase, drain::node::Node, futures::UntilDraining};

impl ConnectionGuard {
    /// Counts the work as abandoned if `connection` loses bytes once lame duck or draining has
    /// begun.
    ///
    /// The guard reports the loss when it is dropped, and the connection no longer does. Drop the
    /// connection first.
    pub fn with_connection<C: Transport>(self, connection: &mut Linger<C>) -> Self {
        self.delivered_by(connection.delivery())
    }
}

/// How long connections may still send requests after draining has begun.
///
/// A duration that overflows [`Instant`] means no limit.
#[derive(Clone, Copy, Debug)]
pub struct Graces {
    /// How long an idle connection may still send one more request; one second by default. Zero
    /// closes it at once.
    pub keep_alive: Duration,
    /// How long after it was accepted a silent connection may still send its first request; five
    /// seconds by default. It is never shorter than the keep-alive grace.
    pub first_request: Duration,
}

impl Default for Graces {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(1),
            first_request: Duration::from_secs(5),
        }
    }
}

impl Graces {
    /// Returns the time until which a connection that has never sent a request may stay silent. A
    /// TLS handshake is part of that time. A connection that was accepted long ago, such as one
    /// that a browser keeps in reserve, gets the keep-alive grace of an idle one.
    fn first_request(self, accepted: Instant, begun: Instant) -> Option<Instant> {
        let since_accept = accepted.checked_add(self.first_request)?;
        Some(since_accept.max(self.keep_alive(begun)?))
    }

    fn keep_alive(self, idle: Instant) -> Option<Instant> {
        idle.checked_add(self.keep_alive)
    }
}

/// Tells when an idle connection should be closed, once draining has begun.
///
/// In each poll of the connection, first read what has arrived, then tell whether the connection is
/// idle by [`set_idle`](Self::set_idle), and then [`poll`](Self::poll):
///
/// ```
/// use std::{future::poll_fn, io, net::TcpStream, pin::Pin, task::Poll};
/// use async_drain::net::{Linger, idle::{ConnectionGuard, IdleTimer}};
/// use async_io::Async;
/// use futures_lite::{AsyncBufRead, io::BufReader};
///
/// /// Waits for the first byte of the next request. Returns false if there is none, since the peer
/// /// has ended its sending or the connection should be closed.
/// ///
/// /// `timer` was made by `IdleTimer::new(&drain, Graces::default())` when the connection was
/// /// accepted. `silent` is true until the first request.
/// async fn next_request(
///     io: &mut BufReader<Linger<Async<TcpStream>>>,
///     guard: &mut ConnectionGuard,
///     timer: &mut IdleTimer,
///     silent: bool,
/// ) -> io::Result<bool> {
///     guard.rest();
///     let next = poll_fn(|cx| {
///         if let Poll::Ready(bytes) = Pin::new(&mut *io).poll_fill_buf(cx) {
///             return Poll::Ready(bytes.map(|bytes| !bytes.is_empty()));
///         }
///         timer.set_idle(true);
///         timer.poll(silent, cx).map(|()| Ok(false))
///     })
///     .await;
///     timer.set_idle(false);
///     guard.work();
///     next
/// }
/// ```
// Z2 Z4 Z9
#[derive(Debug)]
pub struct IdleTimer {
    idleness: Idleness,
    timer: DeadlineTimer,
}

impl IdleTimer {
    /// Returns a timer for a connection that has just been accepted. It doesn't keep `drain`
    /// running.
    #[must_use]
    pub fn new(drain: &Drain, graces: Graces) -> Self {
        Self::of(drain.node(), graces)
    }

    fn of(node: &Arc<Node>, graces: Graces) -> Self {
        Self {
            idleness: Idleness::new(node, graces),
            timer: DeadlineTimer::default(),
        }
    }

    /// Sets whether the connection is idle: no request has begun, none is unanswered, and every
    /// byte of the answers is written.
    #[inline]
    pub fn set_idle(&mut self, idle: bool) {
        self.idleness.set_idle(idle, false);
    }

    /// Ready when the connection should be closed: draining has begun, and it has been idle for its
    /// grace. `silent` tells that it has never sent a request.
    pub fn poll(&mut self, silent: bool, cx: &mut Context<'_>) -> Poll<()> {
        let begun = ready!(self.idleness.poll_draining(cx));
        self.timer.poll(self.idleness.end(silent, begun), cx)
    }
}

/// Since when a connection has been idle, and when it should be closed: what [`IdleTimer`] knows
/// without its timer.
#[derive(Debug)]
pub(crate) struct Idleness {
    draining: UntilDraining,
    pub(crate) graces: Graces,
    pub(crate) accepted: Instant,
    /// When `poll_draining` first saw that draining has begun.
    begun: Option<Instant>,
    idle: Idle,
}

impl Idleness {
    pub(crate) fn new(node: &Arc<Node>, graces: Graces) -> Self {
        Self {
            draining: UntilDraining::new(node),
            graces,
            accepted: Instant::now(),
            begun: None,
            idle: Idle::No,
        }
    }

    /// Sets whether the connection is idle; if `exactly`, the time is read while the server runs,
    /// too.
    #[inline]
    pub(crate) fn set_idle(&mut self, idle: bool, exactly: bool) {
        self.idle = match self.idle {
            _ if !idle => Idle::No,
            Idle::No if !exactly && self.draining.phase() == Phase::Running => Idle::SinceRunning,
            Idle::No => Idle::Since(Instant::now()),
            since => since,
        };
    }

    /// Ready once draining has begun, with the time when that was first seen.
    pub(crate) fn poll_draining(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        Poll::Ready(match self.begun {
            Some(begun) => begun,
            None => {
                ready!(Pin::new(&mut self.draining).poll(cx));
                *self.begun.insert(Instant::now())
            }
        })
    }

    /// Returns when the connection became idle, or when its peer was `told` to leave, whichever is
    /// later; `None` if it is not idle.
    #[cfg(feature = "hyper")]
    pub(crate) fn since(&self, told: Instant) -> Option<Instant> {
        self.idle.after(told)
    }

    /// Returns when a connection should be closed whose peer was `told` to leave, if it stays idle
    /// until then. `silent` tells that it has never sent a request.
    pub(crate) fn end(&self, silent: bool, told: Instant) -> Option<Instant> {
        let idle = self.idle.after(told)?;
        if silent {
            self.graces.first_request(self.accepted, told)
        } else {
            self.graces.keep_alive(idle)
        }
    }
}

/// Whether a connection is idle, and since when.
#[derive(Clone, Copy, Debug)]
enum Idle {
    No,
    /// Since a time before draining began. The exact time doesn't matter, and this saves reading
    /// the clock for each request.
    SinceRunning,
    Since(Instant),
}

impl Idle {
    /// Returns when it became idle, or `told` if that is later; `None` if it is not idle.
    fn after(self, told: Instant) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::SinceRunning => Some(told),
            Self::Since(idle) => Some(idle.max(told)),
        }
    }
}

/// A timer that is set again only if its deadline has changed.
#[derive(Debug, Default)]
pub(crate) struct DeadlineTimer {
    set: Option<(Instant, Timer)>,
}

impl DeadlineTimer {
    /// Ready at `deadline`; never if it is `None`.
    pub(crate) fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        let (set, timer) = self
            .set
            .get_or_insert_with(|| (deadline, Timer::at(deadline)));
        if *set != deadline {
            *set = deadline;
            timer.set_at(deadline);
        }
        Pin::new(timer).poll(cx).map(|_| ())
    }
}

/// Tells when bytes no longer move on a connection, or on the two connections of a proxy, for
/// protocols whose requests are unknown.
///
/// [`until_quiet`](Self::until_quiet) ends once draining has begun, no byte has been read or
/// written for a given time, and no byte waits to be written. It can't tell a slow answer from an
/// idle connection, so choose a time that is longer than any answer takes.
///
/// ```
/// # use async_drain::{Drain, Guard, net::{Linger, idle::Traffic}};
/// # use async_io::Async;
/// # use futures_lite::{AsyncWriteExt, future::{or, zip}, io::copy};
/// # use std::{io, net::TcpStream, time::Duration};
/// async fn relay(
///     client: &mut Linger<Async<TcpStream>>,
///     server: &mut Linger<Async<TcpStream>>,
///     guard: &Guard,
/// ) -> io::Result<()> {
///     let traffic = Traffic::new(guard);
///     let there = pump(traffic.watch(&*client), traffic.watch(&*server));
///     let back = pump(traffic.watch(&*server), traffic.watch(&*client));
///     let both = async {
///         let (there, back) = zip(there, back).await;
///         there.and(back)
///     };
///     let quiet = async {
///         traffic.until_quiet(Duration::from_secs(1)).await;
///         Ok(())
///     };
///     or(both, quiet).await?;
///     let (client, server) = zip(client.close(), server.close()).await;
///     client.and(server)
/// }
/// # use futures_lite::{AsyncRead, AsyncWrite};
/// # async fn pump(from: impl AsyncRead, to: impl AsyncWrite) -> io::Result<()> {
/// #     let mut to = std::pin::pin!(to);
/// #     copy(from, &mut to).await?;
/// #     to.close().await
/// # }
/// ```
pub struct Traffic {
    node: Arc<Node>,
    created: Instant,
    /// When bytes last moved, in nanoseconds since `created`; zero until draining has begun. Set by
    /// `Watched`.
    moved: AtomicU64,
    /// How many `Watched` wait for their peer to take bytes.
    blocked: AtomicUsize,
}

impl Traffic {
    /// Returns a `Traffic` for the work of `guard`.
    #[must_use]
    pub fn new(guard: &Guard) -> Self {
        Self {
            node: Arc::clone(guard.node()),
            created: Instant::now(),
            moved: AtomicU64::new(0),
            blocked: AtomicUsize::new(0),
        }
    }

    /// Wraps a connection, or one half of it, and records when its bytes move.
    pub fn watch<C>(&self, io: C) -> impl AsyncRead + AsyncWrite + Unpin
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        Watched {
            io,
            traffic: self,
            blocked: false,
        }
    }

    /// Waits until draining has begun and no byte has moved for as long as `quiet`.
    ///
    /// Poll it after the futures that move the bytes, so that bytes that have arrived are read
    /// first.
    pub fn until_quiet(&self, quiet: Duration) -> impl Future<Output = ()> + Unpin {
        UntilQuiet {
            traffic: self,
            draining: UntilDraining::new(&self.node),
            begun: None,
            quiet,
            timer: DeadlineTimer::default(),
        }
    }

    // Relaxed throughout: `UntilQuiet` reads it, and reads it again when its timer fires.
    fn note(&self) {
        if self.node.latch.is(Phase::Draining) {
            let since = u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.moved.store(since, Ordering::Relaxed);
        }
    }

    fn moved(&self) -> Option<Instant> {
        let since = Duration::from_nanos(self.moved.load(Ordering::Relaxed));
        self.created.checked_add(since)
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic")
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}

/// Waits until no bytes move.
#[derive(Debug)]
struct UntilQuiet<'a> {
    traffic: &'a Traffic,
    draining: UntilDraining,
    /// When `poll` first saw that draining has begun.
    begun: Option<Instant>,
    quiet: Duration,
    timer: DeadlineTimer,
}

impl Future for UntilQuiet<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let now = Instant::now();
        let begun = match this.begun {
            Some(begun) => begun,
            None => {
                ready!(Pin::new(&mut this.draining).poll(cx));
                *this.begun.insert(now)
            }
        };
        // While bytes wait to be written, the connection is not quiet, however long that takes.
        let moved = if this.traffic.blocked.load(Ordering::Relaxed) > 0 {
            Some(now)
        } else {
            this.traffic.moved()
        };
        let since = moved.map_or(begun, |moved| moved.max(begun));
        this.timer.poll(since.checked_add(this.quiet), cx)
    }
}

/// A connection that tells [`Traffic`] when its bytes move.
#[derive(Debug)]
struct Watched<'a, C> {
    io: C,
    traffic: &'a Traffic,
    /// Set while its last write is pending: `traffic.blocked` counts it.
    blocked: bool,
}

impl<C> Watched<'_, C> {
    fn set_blocked(&mut self, blocked: bool) {
        if self.blocked != blocked {
            self.blocked = blocked;
            let count = &self.traffic.blocked;
            if blocked {
                count.fetch_add(1, Ordering::Relaxed);
            } else {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn written<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.traffic.note();
        }
        self.set_blocked(result.is_pending());
        result
    }
}

impl<C> Drop for Watched<'_, C> {
    fn drop(&mut self) {
        self.set_blocked(false);
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<'_, C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        self.traffic.note();
        Poll::Ready(read)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<'_, C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.written(flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.io).poll_close(cx);
        self.written(closed)
    }
}
