use std::{
    fmt,
    future::Future,
    io, mem,
    net::SocketAddr,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_io::Timer;
use futures_core::Stream;

use super::{
    accept::{Accept, IntoAccept, Queue},
    backoff::{Backoff, Failure},
    linger::{Linger, STALL_LIMIT},
    transport::Transport,
};
use crate::{Drain, Guard, UntilAborting, UntilDraining, tree::Held};

/// How long a retired listener waits for handshakes that are under way: two round trips over a slow
/// network. A queue that may still grow is emptied for as long again.
const EMPTYING: Duration = Duration::from_millis(500);

/// How many connections are handed out in a row before other tasks get their turn.
const BURST: usize = 32;

/// A connection that has been accepted, and the guard that was taken for it before anyone else knew
/// of it (Z5).
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection<C: Transport> {
    /// The connection; close it, and nothing of what was written is lost.
    pub io: Linger<C>,
    /// To be held until the last byte is written.
    pub guard: Guard,
    /// The peer's address, where it has one.
    pub peer: Option<SocketAddr>,
}

/// Accepts connections until draining begins, retires the listener without losing one, and ends.
///
/// A stream of [`Connection`]s; made by [`Drain::accept`]. When draining begins, the kernel is told
/// to queue nobody new, those queued are accepted, and the listener is closed; new peers are
/// refused from then on. On Linux it ends when the queue is empty or aborting begins, elsewhere at
/// most half a second after descriptors were last wanting. Errors of a single connection are
/// ignored, and when file descriptors run out it waits and goes on. The one error that it can
/// yield, as its last item, is that the listener does not listen.
///
/// A socket that somebody else holds too, such as a supervisor, a child or another accept loop with
/// an `Arc` of the same listener, is left as it was found. While it retires, usually for a few
/// milliseconds, its peers get no answer on Linux, and their kernel tries again after a second. If
/// the process is killed in between, the filter that does this stays on the socket; a
/// [`Shared`](super::Shared) listener never gets one.
///
/// The drain is not drained before this has ended or is dropped.
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<L: IntoAccept> {
    state: State<L::Accept>,
    drain: Drain,
    draining: UntilDraining,
    aborting: UntilAborting,
    /// Keeps the drain from being drained; given up together with the listener.
    hold: Option<Held>,
    stall_limit: Duration,
    /// Where the accept loop is, for the report.
    place: &'static Location<'static>,
    backoff: Backoff,
    /// How many connections were handed out since it last had to wait.
    burst: usize,
}

/// How far the listener's end has come.
enum State<A> {
    /// Draining has not begun.
    Listening(A),
    /// Retired; what is queued is accepted.
    Emptying(Emptying<A>),
    /// What was given can't be accepted from.
    Failed(io::Error),
    Closed,
}

struct Emptying<A> {
    accept: A,
    stage: Stage,
    /// Ends the present stage; it bounds the second one only where newcomers may still be queued.
    limit: Timer,
    bounded: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Peers whose handshake is under way are waited for.
    Handshakes,
    /// Nobody is waited for: it ends when the queue is empty.
    LastLook,
}

/// What an empty queue means.
enum Empty {
    Wait,
    LookAgain,
    End,
}

impl<A: Accept> Emptying<A> {
    fn new(accept: A, bounded: bool) -> Self {
        Self {
            accept,
            stage: Stage::Handshakes,
            limit: Timer::after(EMPTYING),
            bounded,
        }
    }

    /// Ready when the time to accept the peers that are queued is over.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stage == Stage::Handshakes && Pin::new(&mut self.limit).poll(cx).is_ready() {
            // A process that was held up until now finds the peers that waited for it in its queue.
            self.last_look();
        }
        if self.stage == Stage::LastLook && self.bounded {
            return Pin::new(&mut self.limit).poll(cx).map(|_| ());
        }
        Poll::Pending
    }

    fn last_look(&mut self) {
        self.stage = Stage::LastLook;
        self.limit.set_after(EMPTYING);
    }

    fn empty(&mut self) -> Empty {
        match self.stage {
            Stage::LastLook => Empty::End,
            Stage::Handshakes if self.accept.may_grow() => Empty::Wait,
            Stage::Handshakes => {
                // A peer whose handshake ended between the two looks is queued by now.
                self.last_look();
                Empty::LookAgain
            }
        }
    }
}

impl<A> State<A> {
    fn accept(&mut self) -> Option<&mut A> {
        match self {
            Self::Listening(accept) | Self::Emptying(Emptying { accept, .. }) => Some(accept),
            Self::Failed(_) | Self::Closed => None,
        }
    }
}

impl Drain {
    /// Accepts connections from `listener` until draining begins: any TCP or Unix listener of std,
    /// async-io or smol, or what else is [`IntoAccept`].
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
    pub fn accept<L: IntoAccept>(&self, listener: L) -> Incoming<L> {
        Incoming {
            state: match listener.into_accept() {
                Ok(accept) => State::Listening(accept),
                Err(error) => State::Failed(error),
            },
            drain: self.clone(),
            draining: self.until_draining(),
            aborting: self.until_aborting(),
            hold: self.core().hold(),
            stall_limit: STALL_LIMIT,
            place: Location::caller(),
            backoff: Backoff::default(),
            burst: 0,
        }
    }
}

impl<L: IntoAccept> Stream for Incoming<L>
where
    L::Accept: Unpin,
{
    type Item = io::Result<Connection<<L::Accept as Accept>::Conn>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_connection(cx)
    }
}

impl<L: IntoAccept> Unpin for Incoming<L> where L::Accept: Unpin {}

impl<L: IntoAccept> Incoming<L> {
    /// Sets how long the close of a connection waits for acknowledgements if none come; two seconds
    /// by default. See [`Linger`].
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = limit;
        self
    }

    /// Closes the listener first, so that when the drain is drained new peers are refused.
    fn close<T>(&mut self) -> Poll<Option<T>> {
        self.state = State::Closed;
        self.hold = None;
        Poll::Ready(None)
    }

    fn fail<T>(&mut self, error: io::Error) -> Poll<Option<io::Result<T>>> {
        let _: Poll<Option<T>> = self.close();
        Poll::Ready(Some(Err(error)))
    }

    fn retire(&mut self, mut accept: L::Accept) {
        self.state = match accept.retire() {
            Queue::Shared => State::Closed,
            queue => State::Emptying(Emptying::new(accept, queue == Queue::Open)),
        };
        // What had run out may be back by now, and a wait that is long for a server is too long
        // here.
        self.backoff.draining();
    }

    #[expect(clippy::type_complexity, reason = "an item of a stream")]
    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Connection<<L::Accept as Accept>::Conn>>>> {
        loop {
            // The end first: under load there is always one more connection.
            if Pin::new(&mut self.aborting).poll(cx).is_ready() {
                return self.close();
            }
            let draining = Pin::new(&mut self.draining).poll(cx).is_ready();
            match mem::replace(&mut self.state, State::Closed) {
                State::Listening(accept) if draining => self.retire(accept),
                State::Failed(error) => return self.fail(error),
                state => self.state = state,
            }
            if self.burst == BURST {
                self.burst = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let waiting = self.backoff.poll(cx).is_pending();
            if let State::Emptying(emptying) = &mut self.state {
                if emptying.poll_limit(cx).is_ready() {
                    return self.close();
                }
            }
            if waiting {
                return Poll::Pending;
            }
            let Some(accept) = self.state.accept() else {
                return self.close();
            };
            let mut empty = false;
            match accept.poll_accept(cx) {
                Poll::Ready(Some(Ok((conn, peer)))) => {
                    self.backoff.reset();
                    self.burst += 1;
                    // Our hold keeps the drain from being drained; without one it was so before we
                    // began.
                    let Ok(guard) = self.drain.guard_at(self.place) else {
                        return self.close();
                    };
                    return Poll::Ready(Some(Ok(Connection {
                        io: Linger::accepted(conn, guard.record(), self.backoff.descriptor())
                            .stall_limit(self.stall_limit),
                        guard,
                        peer,
                    })));
                }
                Poll::Ready(Some(Err(error))) => match Failure::of(&error) {
                    Failure::OfOne => self.burst += 1,
                    Failure::Exhausted => match (accept.has_queued(), &mut self.state) {
                        // Accepting fails so whether anybody is queued or not.
                        (Some(false), State::Emptying(_)) => empty = true,
                        (Some(true), State::Emptying(emptying)) => {
                            let wait = self.backoff.start();
                            emptying.limit.set_after(wait + EMPTYING);
                        }
                        // Its time is over, and it can't say whether it would ever succeed.
                        (None, State::Emptying(emptying)) if emptying.stage == Stage::LastLook => {
                            return self.close();
                        }
                        _ => {
                            self.backoff.start();
                        }
                    },
                    Failure::OfListener => return self.fail(error),
                },
                Poll::Ready(None) => return self.close(),
                Poll::Pending => empty = true,
            }
            if empty {
                self.burst = 0;
                match &mut self.state {
                    State::Emptying(emptying) => match emptying.empty() {
                        Empty::Wait => return Poll::Pending,
                        Empty::LookAgain => {}
                        Empty::End => return self.close(),
                    },
                    _ => return Poll::Pending,
                }
            }
        }
    }
}

impl<L: IntoAccept> fmt::Debug for Incoming<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("drain", &self.drain)
            .field(
                "state",
                &match self.state {
                    State::Listening(_) => "listening",
                    State::Emptying(_) => "emptying",
                    State::Failed(_) => "failed",
                    State::Closed => "closed",
                },
            )
            .finish_non_exhaustive()
    }
}
