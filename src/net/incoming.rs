//! The accept loop, and the retirement of its listener without losing a connection (Z1 Z9 Z10).

use std::{
    fmt,
    future::Future,
    io, mem,
    net::SocketAddr,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_io::Timer;
use futures_core::Stream;

use super::{
    accept::{Accept, IntoAccept, Queue},
    backoff::{Backoff, Failure},
    linger::{Linger, STALL_LIMIT},
    retire::EMPTYING,
    transport::Transport,
};
use crate::{
    Drain, Guard, Observer,
    drain::{node::Node, presence::Presence},
    futures::{UntilAborting, UntilDraining},
};

/// How many connections are yielded in a row before other tasks get their turn.
const BURST: usize = 32;

/// How many queued connections are accepted before the listener retires. Few are left then, so new
/// peers are without an answer for a short time only.
pub(super) const ACCEPTED_FIRST: usize = 4 * BURST;

/// The longest time between two questions whether a listener can retire. Nothing tells a member of
/// a group that it has its turn, and those behind it wait as well.
const TURN: Duration = Duration::from_millis(4);

/// The longest time between two questions whether handshakes are under way: the kernel lists those
/// of all sockets.
const HANDSHAKE: Duration = Duration::from_millis(64);

/// Panics if `limit` is zero, with which no connection would be accepted.
#[track_caller]
pub(crate) fn check_connections(limit: usize) {
    assert!(
        limit > 0,
        "a limit of 0 connections accepts none; set no limit to accept any number"
    );
}

/// An accepted connection and its guard.
// Z5: the guard was taken before the connection left the accept loop.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection<C: Transport> {
    /// The connection. Its close waits until the peer has everything that was written.
    pub io: Linger<C>,
    /// The guard of the connection. Keep it until the close is over.
    pub guard: Guard,
    /// The address of the peer; `None` for a Unix socket or a stream of connections.
    pub peer: Option<SocketAddr>,
}

/// Yields accepted connections until draining begins, and then retires the listener without losing
/// one.
///
/// [`Drain::accept`] returns this stream of [`Connection`]s. When draining begins, it tells the
/// kernel to stop queueing new connections, yields those in the queue, and closes the listener; new
/// peers are refused from then on. On Linux, the stream of a TCP listener, or of one from
/// [`bind_unix`](super::bind_unix), ends when the queue is empty or aborting begins. Connections
/// can still join the queue of any other, so its stream also ends after a second, or half a second
/// after file descriptors last ran out.
///
/// The drain can't become drained before this stream has ended or is dropped. But the stream is not
/// a handle of the drain: if the last [`Drain`] is dropped, draining begins.
///
/// If another process or accept loop holds the same socket, the socket works for it as before. On
/// Linux, a socket filter keeps new peers out while the listener retires, usually for a few
/// milliseconds: they get no answer, and their kernel tries again after a second. If the process is
/// killed in that time, the filter stays on the socket. A [`Shared`](super::Shared) listener never
/// gets one.
///
/// # Errors
///
/// The stream yields an error only if the listener doesn't listen or the reactor can't watch it,
/// and then as its last item. Errors of a single connection are skipped. If file descriptors run
/// out, the stream waits until one is free. If the system's policy refuses several accepts in a
/// row, it waits for a growing time of up to a second.
///
/// # Cancel safety
///
/// Dropping a future that waits for the next item loses no connection. Dropping the stream closes
/// the listener, and connections in its queue are reset.
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<L: IntoAccept> {
    state: State<L::Accept>,
    drain: Observer,
    draining: UntilDraining,
    aborting: UntilAborting,
    /// Keeps the drain from becoming drained; set until the listener is closed.
    hold: Option<Presence>,
    stall_limit: Duration,
    /// Where `accept` was called: the place of each connection's guard in the report.
    place: &'static Location<'static>,
    backoff: Backoff,
    /// The most connections that may be open while the listener has not retired.
    connections: usize,
    /// How many connections were yielded since the stream last had to wait.
    burst: usize,
}

/// The stage of the listener's retirement.
enum State<A> {
    /// Draining has not begun.
    Listening(A),
    /// Draining has begun, but the listener can't retire yet.
    Retiring(Retiring<A>),
    /// The listener has retired, and the connections in its queue are being accepted.
    Emptying(Emptying<A>),
    /// The listener could not be converted. The first poll yields the error.
    Failed(io::Error),
    Closed,
}

struct Retiring<A> {
    accept: A,
    /// How many more connections are accepted before the listener is asked again to retire; 0 once
    /// the queue was empty.
    left: usize,
    /// Delays the next time that it is asked.
    retry: Retry,
}

struct Emptying<A> {
    accept: A,
    stage: Stage,
    /// Delays the next question whether connection requests are under way.
    retry: Retry,
    /// The longest that the stage may last.
    limit: Instant,
    /// Fires at `limit`. Set only when the stream has to wait: setting a timer wakes the reactor's
    /// thread, which slows the retirement down, and peers get no answer until it is over.
    timer: Option<Timer>,
    /// Set if new connections may still join the queue: then `limit` ends the last look too.
    bounded: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Waits until no connection request is under way.
    RequestsUnderWay,
    /// Accepts until the queue is empty.
    LastLook,
}

/// What to do when the queue is empty.
enum WhenEmpty {
    Wait,
    LookAgain,
    Close,
}

impl<A: Accept> Emptying<A> {
    fn new(accept: A, bounded: bool) -> Self {
        Self {
            accept,
            stage: Stage::RequestsUnderWay,
            retry: Retry::new(HANDSHAKE),
            limit: Instant::now() + EMPTYING,
            timer: None,
            bounded,
        }
    }

    /// Returns whether the time to empty the queue is over.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if self.stage == Stage::RequestsUnderWay && now >= self.limit {
            // If the process was suspended until now, peers that connected before are in its queue.
            self.last_look();
        }
        self.stage == Stage::LastLook && self.bounded && now >= self.limit
    }

    /// Wakes the task at `limit`.
    fn wake_at_limit(&mut self, cx: &mut Context<'_>) {
        let timer = self.timer.get_or_insert_with(|| Timer::at(self.limit));
        if Pin::new(timer).poll(cx).is_ready() {
            self.timer = None;
            cx.waker().wake_by_ref();
        }
    }

    /// Begins the last look at the queue.
    fn last_look(&mut self) {
        self.stage = Stage::LastLook;
        self.extend(EMPTYING);
    }

    /// Moves `limit` to `time` from now.
    fn extend(&mut self, time: Duration) {
        self.limit = Instant::now() + time;
        self.timer = None;
    }

    /// Goes on when the queue is empty.
    fn when_empty(&mut self, cx: &mut Context<'_>) -> WhenEmpty {
        match self.stage {
            Stage::LastLook => WhenEmpty::Close,
            Stage::RequestsUnderWay if self.retry.is_waiting(cx) => WhenEmpty::Wait,
            Stage::RequestsUnderWay if self.accept.may_grow() => {
                // No event tells that a connection request has ended without a connection.
                self.retry.wait();
                WhenEmpty::LookAgain
            }
            Stage::RequestsUnderWay => {
                // A request that was completed between the two looks is in the queue by now.
                self.last_look();
                WhenEmpty::LookAgain
            }
        }
    }
}

/// The wait between two questions, which grows from one to the next.
struct Retry {
    /// Set while a wait is under way.
    timer: Option<Timer>,
    /// How long the next wait will last.
    wait: Duration,
    /// How long a wait may last at most.
    longest: Duration,
}

impl Retry {
    const SHORTEST: Duration = Duration::from_millis(1);

    fn new(longest: Duration) -> Self {
        Self {
            timer: None,
            wait: Self::SHORTEST,
            longest,
        }
    }

    /// Returns whether a wait is under way. If so, the task is woken when it is over.
    fn is_waiting(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.as_mut();
        let waiting = timer.is_some_and(|timer| Pin::new(timer).poll(cx).is_pending());
        if !waiting {
            self.timer = None;
        }
        waiting
    }

    /// Begins a wait, and doubles the next one.
    fn wait(&mut self) {
        self.timer = Some(Timer::after(self.wait));
        self.wait = (self.wait * 2).min(self.longest);
    }
}

impl<A> State<A> {
    fn accept(&mut self) -> Option<&mut A> {
        match self {
            Self::Listening(accept)
            | Self::Retiring(Retiring { accept, .. })
            | Self::Emptying(Emptying { accept, .. }) => Some(accept),
            Self::Failed(_) | Self::Closed => None,
        }
    }

    /// Returns whether the listener has to be asked to retire now.
    fn is_due(&mut self, draining: bool, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Listening(_) => draining,
            Self::Retiring(retiring) => retiring.left == 0 && !retiring.retry.is_waiting(cx),
            _ => false,
        }
    }
}

impl Drain {
    /// Accepts connections from a listener until draining begins.
    ///
    /// It takes a TCP or Unix listener of std, async-io or (with the feature `async-net`) smol, and
    /// any other [`IntoAccept`]. If the listener can't be used, the stream yields the error.
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
    ///     // Usually in a task of its own, which takes the guard along.
    ///     connection.io.write_all(b"hello\n").await?;
    ///     connection.io.close().await?;
    ///     drop(connection.guard);
    /// }
    /// # Ok(()) }) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "net")))]
    #[track_caller]
    pub fn accept<L: IntoAccept>(&self, listener: L) -> Incoming<L> {
        Incoming::new(self.observer(), listener)
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
    #[track_caller]
    pub(crate) fn new(drain: Observer, listener: L) -> Self {
        let node = drain.node();
        Self {
            state: match listener.into_accept() {
                Ok(accept) => State::Listening(accept),
                Err(error) => State::Failed(error),
            },
            draining: UntilDraining::new(node),
            aborting: UntilAborting::new(node),
            hold: Node::presence(node),
            drain,
            stall_limit: STALL_LIMIT,
            place: Location::caller(),
            backoff: Backoff::default(),
            connections: usize::MAX,
            burst: 0,
        }
    }

    /// Sets how many [connections](Linger) may be open; without limit by default. While there are
    /// that many, new ones wait in the kernel's queue.
    ///
    /// The limit ends when draining begins: what is in the queue is yielded.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is zero, with which the stream would yield none.
    #[track_caller]
    pub fn connections(mut self, limit: usize) -> Self {
        check_connections(limit);
        self.connections = limit;
        self
    }

    /// Sets how long the close of a [connection](Linger) may go on without an acknowledgement by
    /// the peer; two seconds by default.
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = limit;
        self
    }

    /// Ends the stream. Closes the listener before the drain can become drained, so that new peers
    /// are refused once it is.
    fn close<T>(&mut self) -> Poll<Option<T>> {
        self.state = State::Closed;
        self.hold = None;
        Poll::Ready(None)
    }

    fn fail<T>(&mut self, error: io::Error) -> Poll<Option<io::Result<T>>> {
        let _: Poll<Option<T>> = self.close();
        Poll::Ready(Some(Err(error)))
    }

    /// Asks the listener to retire.
    fn retire(&mut self) {
        let deadline = self.drain.deadline();
        let (mut accept, retry) = match mem::replace(&mut self.state, State::Closed) {
            State::Listening(accept) => (accept, Retry::new(TURN)),
            State::Retiring(mut retiring) => {
                retiring.retry.wait();
                (retiring.accept, retiring.retry)
            }
            state => {
                self.state = state;
                return;
            }
        };
        if let Some(deadline) = deadline {
            accept.retire_by(deadline);
        }
        self.state = match accept.retire() {
            Queue::Shared => State::Closed,
            Queue::NotYet => State::Retiring(Retiring {
                accept,
                left: ACCEPTED_FIRST,
                retry,
            }),
            queue => State::Emptying(Emptying::new(accept, queue == Queue::Open)),
        };
        // Try again at once, and make later waits short: draining doesn't last long.
        self.backoff.draining();
    }

    #[expect(clippy::type_complexity, reason = "an item of a stream")]
    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Connection<<L::Accept as Accept>::Conn>>>> {
        loop {
            // Check for aborting first: under load there is always one more connection.
            if Pin::new(&mut self.aborting).poll(cx).is_ready() {
                return self.close();
            }
            let draining = Pin::new(&mut self.draining).poll(cx).is_ready();
            if self.state.is_due(draining, cx) {
                self.retire();
            }
            match mem::replace(&mut self.state, State::Closed) {
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
                if emptying.is_over() {
                    return self.close();
                }
                if waiting {
                    emptying.wake_at_limit(cx);
                }
            }
            let full = matches!(self.state, State::Listening(_))
                && self.backoff.poll_room(self.connections, cx).is_pending();
            if waiting || full {
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
                    if let State::Retiring(retiring) = &mut self.state {
                        retiring.left = retiring.left.saturating_sub(1);
                    }
                    // This fails only if the drain was drained before the stream was made: later,
                    // the stream itself keeps it from becoming drained.
                    let Ok(guard) = Node::guard(self.drain.node(), self.place) else {
                        return self.close();
                    };
                    return Poll::Ready(Some(Ok(Connection {
                        io: Linger::accepted(conn, guard.loss_record(), self.backoff.descriptor())
                            .stall_limit(self.stall_limit),
                        guard,
                        peer,
                    })));
                }
                Poll::Ready(Some(Err(error))) => match self.backoff.failed(&error) {
                    Failure::Transient => self.burst += 1,
                    Failure::Exhausted => match (accept.has_queued(), &mut self.state) {
                        // Accepting fails the same way whether the queue is empty or not.
                        (Some(false), State::Emptying(_)) => empty = true,
                        (Some(true), State::Emptying(emptying)) => {
                            let wait = self.backoff.start();
                            emptying.extend(wait + EMPTYING);
                        }
                        (_, State::Retiring(retiring)) => {
                            retiring.left = 0;
                            self.backoff.start();
                        }
                        // The time to wait for requests is over, and whether the queue is empty is
                        // unknown.
                        (None, State::Emptying(emptying)) if emptying.stage == Stage::LastLook => {
                            return self.close();
                        }
                        _ => {
                            self.backoff.start();
                        }
                    },
                    Failure::Permanent => return self.fail(error),
                },
                Poll::Ready(None) => return self.close(),
                Poll::Pending => empty = true,
            }
            if empty {
                self.burst = 0;
                match &mut self.state {
                    State::Retiring(retiring) => {
                        retiring.left = 0;
                        if retiring.retry.is_waiting(cx) {
                            return Poll::Pending;
                        }
                    }
                    State::Emptying(emptying) => match emptying.when_empty(cx) {
                        WhenEmpty::Wait => {
                            emptying.wake_at_limit(cx);
                            return Poll::Pending;
                        }
                        WhenEmpty::LookAgain => {}
                        WhenEmpty::Close => return self.close(),
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
                    State::Retiring(_) => "retiring",
                    State::Emptying(_) => "emptying",
                    State::Failed(_) => "failed",
                    State::Closed => "closed",
                },
            )
            .finish_non_exhaustive()
    }
}
