use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_io::Timer;
use futures_core::Stream;

use super::{
    accept::{Accept, IntoAccept},
    backoff::{Backoff, Failure},
    linger::Linger,
};
use crate::{Drain, Guard, UntilAborting, UntilDraining, tree::Held};

/// The longest that a retired listener waits for more: two round trips over a slow network, for those whose handshake was
/// under way. Those who are queued when it is over have as long again to be accepted.
const EMPTYING: Duration = Duration::from_millis(500);

/// How many connections are handed out in a row before other tasks get their turn.
const BURST: usize = 32;

/// A connection that has been accepted, and the guard that was taken for it before anyone else knew of it (Z5).
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection<C> {
    /// The connection; close it, and nothing of what was written is lost.
    pub io: Linger<C>,
    /// To be held until the last byte is written.
    pub guard: Guard,
    /// The peer's address, where it has one.
    pub peer: Option<SocketAddr>,
}

/// Accepts connections until draining begins, retires the listener without losing one, and ends.
///
/// A stream of [`Connection`]s; made by [`Drain::accept`]. When draining begins, the kernel is told to queue nobody
/// new, those queued are accepted, for a bounded time, and the listener is closed (Z1). New peers are refused then.
/// Errors of a single connection are ignored, and when file descriptors run out it waits and goes on (Z10). The
/// one error that it can yield, as its last item, is that the listener does not listen any more.
///
/// The drain is not drained before this has ended or is dropped.
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<A> {
    accept: Option<A>,
    drain: Drain,
    draining: UntilDraining,
    aborting: UntilAborting,
    /// Given up together with the listener.
    hold: Option<Held>,
    inherited: bool,
    /// Where the accept loop is, for the report.
    place: &'static Location<'static>,
    /// Set while retiring.
    emptied: Option<Timer>,
    /// No handshake is under way any more.
    settled: bool,
    /// The time to wait for them is over; who is queued even so waited while the process was held up.
    overdue: bool,
    backoff: Backoff,
    burst: usize,
}

impl Drain {
    /// Accepts connections from `listener` until draining begins: any TCP or Unix listener of async-io or smol, or
    /// a stream of connections.
    ///
    /// ```
    /// # use async_drain::Drain;
    /// # use async_io::Async;
    /// # use futures_lite::{AsyncWriteExt, StreamExt, future::block_on};
    /// # use std::net::TcpListener;
    /// # fn main() -> std::io::Result<()> { block_on(async {
    /// let drain = Drain::new();
    /// let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
    /// let mut incoming = drain.accept(listener);
    /// # drain.begin();
    /// while let Some(connection) = incoming.next().await {
    ///     let mut connection = connection?;
    ///     // Usually in a task of its own, which the guard follows.
    ///     connection.io.write_all(b"hello\n").await?;
    ///     connection.io.close().await?;
    ///     drop(connection.guard);
    /// }
    /// # Ok(()) }) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "net")))]
    #[track_caller]
    pub fn accept<L, K>(&self, listener: L) -> Incoming<L::Accept>
    where
        L: IntoAccept<K>,
    {
        Incoming {
            accept: Some(listener.into_accept()),
            drain: self.clone(),
            draining: self.until_draining(),
            aborting: self.until_aborting(),
            hold: self.core().hold(),
            inherited: false,
            place: Location::caller(),
            emptied: None,
            settled: false,
            overdue: false,
            backoff: Backoff::default(),
            burst: 0,
        }
    }
}

impl<A> Incoming<A> {
    /// Whether the listener was inherited, by socket activation or from a parent: then its queue is its successor's,
    /// and draining merely stops accepting from it.
    pub fn inherited(mut self, inherited: bool) -> Self {
        self.inherited = inherited;
        self
    }

    /// The listener first, so that when the drain is drained new peers are refused.
    fn close(&mut self) {
        self.accept = None;
        self.hold = None;
    }
}

impl<A: Accept + Unpin> Stream for Incoming<A> {
    type Item = io::Result<Connection<A::Conn>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_connection(cx)
    }
}

impl<A: Accept> Incoming<A> {
    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Connection<A::Conn>>>> {
        loop {
            // The end first: under load there is always one more connection.
            if Pin::new(&mut self.aborting).poll(cx).is_ready() {
                self.close();
            }
            let Some(accept) = &mut self.accept else {
                return Poll::Ready(None);
            };
            if self.emptied.is_none() && Pin::new(&mut self.draining).poll(cx).is_ready() {
                if self.inherited {
                    self.close();
                    return Poll::Ready(None);
                }
                accept.retire();
                self.emptied = Some(Timer::after(EMPTYING));
                // What had run out may be back by now, and a wait that is long for a server is too long here.
                self.backoff.hurry();
            }
            if let Some(limit) = &mut self.emptied {
                if Pin::new(&mut *limit).poll(cx).is_ready() {
                    if self.overdue {
                        self.close();
                        return Poll::Ready(None);
                    }
                    self.overdue = true;
                    // Where a retired listener still lets peers in, they must not keep it open for ever.
                    limit.set_after(EMPTYING);
                    continue;
                }
            }
            if self.burst == BURST {
                self.burst = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.backoff.poll(cx).is_pending() {
                if self.overdue {
                    self.close();
                    return Poll::Ready(None);
                }
                return Poll::Pending;
            }
            match accept.poll_accept(cx) {
                Poll::Ready(Some(Ok((conn, peer)))) => {
                    self.backoff.reset();
                    self.burst += 1;
                    // Our hold keeps the drain from being drained; without one it was so before we began.
                    let Ok(guard) = self.drain.guard_at(self.place) else {
                        self.close();
                        return Poll::Ready(None);
                    };
                    return Poll::Ready(Some(Ok(Connection {
                        io: Linger::new(conn),
                        guard,
                        peer,
                    })));
                }
                Poll::Ready(Some(Err(error))) => match Failure::of(&error) {
                    Failure::OfOne => self.burst += 1,
                    Failure::Exhausted => self.backoff.start(),
                    Failure::OfListener => {
                        self.close();
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                Poll::Ready(None) => {
                    self.close();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    self.burst = 0;
                    if self.settled || self.overdue {
                        self.close();
                        return Poll::Ready(None);
                    }
                    if self.emptied.is_none() || accept.may_grow() {
                        return Poll::Pending;
                    }
                    // Whose handshake ended between the two looks is queued by now.
                    self.settled = true;
                }
            }
        }
    }
}

impl<A> fmt::Debug for Incoming<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("drain", &self.drain)
            .field("listening", &self.accept.is_some())
            .finish_non_exhaustive()
    }
}
