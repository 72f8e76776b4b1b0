//! What idle means, and how long it may last once draining has begun.
//!
//! Where a protocol has requests, its connections have a [`ConnectionGuard`], which is at work from
//! the first byte of a request to the last of its answer, and an [`IdleTimer`], which says when an
//! idle peer is to be left. Where it has none, as for a proxy, [`Traffic`] tells when nothing moves
//! any longer.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_io::Timer;
use futures_io::{AsyncRead, AsyncWrite};

pub use crate::connection_guard::ConnectionGuard;
use crate::{Drain, Guard, Phase, UntilDraining, sync::Arc, time, tree::Core};

/// How long connections may still bring requests after draining has begun.
#[derive(Clone, Copy, Debug)]
pub struct Graces {
    /// How long an idle one may place one more; one second by default. Zero closes it at once.
    pub keep_alive: Duration,
    /// How long one that has sent nothing may send its first, from its accept on; five seconds by
    /// default. It is never shorter than the keep-alive grace.
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
    /// Until when a connection may be silent that has never sent a request, a handshake included.
    /// One that has been silent for long, as browsers keep some in reserve, is like any idle one.
    fn first_request(self, accepted: Instant, begun: Instant) -> Option<Instant> {
        let since_accept = time::later(Some(accepted), self.first_request)?;
        Some(since_accept.max(self.keep_alive(begun)?))
    }

    fn keep_alive(self, idle: Instant) -> Option<Instant> {
        time::later(Some(idle), self.keep_alive)
    }
}

/// How long a connection with nothing to do is kept once draining has begun (Z2 Z4 Z9).
///
/// Its user reads what has arrived, tells whether the connection is idle, and then
/// [polls](Self::poll).
#[derive(Debug)]
pub struct IdleTimer {
    draining: UntilDraining,
    pub(crate) graces: Graces,
    accepted: Instant,
    /// When draining was first seen here.
    begun: Option<Instant>,
    idle: Idle,
    alarm: Alarm,
}

impl IdleTimer {
    /// Makes one for a connection that has just been accepted. It is not a handle of the drain.
    #[must_use]
    pub fn new(drain: &Drain, graces: Graces) -> Self {
        Self::of(drain.core(), graces)
    }

    pub(crate) fn of(core: &Arc<Core>, graces: Graces) -> Self {
        Self {
            draining: UntilDraining::new(core),
            graces,
            accepted: Instant::now(),
            begun: None,
            idle: Idle::No,
            alarm: Alarm::default(),
        }
    }

    /// Tells whether the connection is idle: no head begun, no request unanswered, no byte
    /// unwritten.
    pub fn set_idle(&mut self, idle: bool) {
        self.idle = match self.idle {
            _ if !idle => Idle::No,
            Idle::No if self.draining.phase() == Phase::Running => Idle::Long,
            Idle::No => Idle::Since(Instant::now()),
            since => since,
        };
    }

    #[cfg(feature = "hyper")]
    pub(crate) fn idle_after(&self, told: Instant) -> Option<Instant> {
        self.idle.after(told)
    }

    /// Ready when the connection has been idle for too long, and its peer is to be left. `silent`:
    /// it has never brought a request.
    pub fn poll(&mut self, silent: bool, cx: &mut Context<'_>) -> Poll<()> {
        let begun = match self.begun {
            Some(begun) => begun,
            None => {
                ready!(Pin::new(&mut self.draining).poll(cx));
                *self.begun.insert(Instant::now())
            }
        };
        let deadline = match self.idle.after(begun) {
            None => None,
            Some(_) if silent => self.graces.first_request(self.accepted, begun),
            Some(idle) => self.graces.keep_alive(idle),
        };
        self.alarm.poll(deadline, cx)
    }
}

/// Since when a connection is idle.
#[derive(Clone, Copy, Debug)]
enum Idle {
    No,
    /// Since before anybody was told to leave. Since when exactly nobody will ask, and a clock is
    /// not read for each request.
    Long,
    Since(Instant),
}

impl Idle {
    /// From when on it has been idle, of the time after it was `told` to leave.
    fn after(self, told: Instant) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Long => Some(told),
            Self::Since(idle) => Some(idle.max(told)),
        }
    }
}

/// A timer that is set again only when the time has changed.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    set: Option<(Instant, Timer)>,
}

impl Alarm {
    /// Ready at `deadline`; never, if there is none.
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

/// Tells when nothing moves on a connection, or on the two of a proxy: for protocols whose requests
/// aren't known.
///
/// Once draining has begun, and no byte has been read or written for a while, and none waits to be
/// written, [`until_quiet`](Self::until_quiet) ends. A request whose answer takes longer than that
/// is taken for the end, so choose a time that no answer takes.
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
/// # async fn pump(from: impl futures_lite::AsyncRead, to: impl futures_lite::AsyncWrite) -> io::Result<()> {
/// #     let mut to = std::pin::pin!(to);
/// #     copy(from, &mut to).await?;
/// #     to.close().await
/// # }
/// ```
pub struct Traffic {
    core: Arc<Core>,
    made: Instant,
    /// When bytes moved last, in nanoseconds since `made`; kept only once draining has begun.
    moved: AtomicU64,
    /// How many writers have bytes that their peer does not take.
    blocked: AtomicUsize,
}

impl Traffic {
    /// Makes one for the work of `guard`.
    #[must_use]
    pub fn new(guard: &Guard) -> Self {
        Self {
            core: Arc::clone(guard.core()),
            made: Instant::now(),
            moved: AtomicU64::new(0),
            blocked: AtomicUsize::new(0),
        }
    }

    /// Watches the bytes of `io`: a connection, or a half of it.
    pub fn watch<C>(&self, io: C) -> Watched<'_, C> {
        Watched {
            io,
            traffic: self,
            blocked: false,
        }
    }

    /// Waits until draining has begun and no byte has moved for as long as `quiet`. Poll it after
    /// what moves them: what has arrived is to be read first.
    pub fn until_quiet(&self, quiet: Duration) -> UntilQuiet<'_> {
        UntilQuiet {
            traffic: self,
            draining: UntilDraining::new(&self.core),
            begun: None,
            quiet,
            alarm: Alarm::default(),
        }
    }

    // Relaxed throughout: the wait that reads it has a timer of its own and looks again.
    fn note(&self) {
        if self.core.latch.is(Phase::Draining) {
            let since = u64::try_from(self.made.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.moved.store(since, Ordering::Relaxed);
        }
    }

    fn moved(&self) -> Option<Instant> {
        let since = Duration::from_nanos(self.moved.load(Ordering::Relaxed));
        self.made.checked_add(since)
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic")
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}

/// Waits until nothing moves; made by [`Traffic::until_quiet`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct UntilQuiet<'a> {
    traffic: &'a Traffic,
    draining: UntilDraining,
    /// When draining was first seen here.
    begun: Option<Instant>,
    quiet: Duration,
    alarm: Alarm,
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
        // While bytes wait to be written it is not quiet, however long that takes.
        let moved = if this.traffic.blocked.load(Ordering::Relaxed) > 0 {
            Some(now)
        } else {
            this.traffic.moved()
        };
        let since = moved.map_or(begun, |moved| moved.max(begun));
        this.alarm.poll(time::later(Some(since), this.quiet), cx)
    }
}

/// A connection whose bytes [`Traffic`] watches; made by [`Traffic::watch`].
#[derive(Debug)]
pub struct Watched<'a, C> {
    io: C,
    traffic: &'a Traffic,
    /// Whether this is one of those that the traffic counts as blocked.
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
