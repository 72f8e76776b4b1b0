use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use ::hyper::header::HeaderValue;
use futures_io::AsyncWrite;

use super::{
    age::HandlerDrain,
    framing::{Body, Framing, Position},
    io::Unclosed,
    limits::SharedLimits,
};
use crate::{
    Drain, Observer, Phase,
    drain::{connection_guard::WorkStarter, node::Node, presence::Presence},
    net::{Delivery, Expected},
};

/// Tracks what a connection is doing: its socket and its service report to it, and
/// [`Watch`](super::Watch) asks it whether the connection is idle.
///
/// hyper knows this too, but doesn't expose it.
// Relaxed throughout: all of it is written and read in the connection's own task, except the ends
// of HTTP/2 streams. A poll that finds them answered (`Acquire`) must see that they `ended`
// (`Release`, in the drop of `Unanswered`).
#[derive(Clone)]
pub struct Activity(Arc<State>);

struct State {
    drain: Observer,
    /// Tracks the position in HTTP/1, or in the frames of HTTP/2. Only the connection's task takes
    /// the lock.
    framing: Mutex<Framing>,
    /// The [`Position`] of `framing`, written whenever it changes.
    position: AtomicU8,
    /// Set if the connection's socket is an [`Io`](super::Io), which closes an idle HTTP/1
    /// connection by itself. What is set in it reaches the socket.
    socket: OnceLock<Arc<Delivery>>,
    /// How many requests' heads have been read.
    requests: AtomicUsize,
    /// How many of these have an answer that is not yet in hyper's buffer, plus the number of
    /// pieces of answers that h2 has buffered.
    unanswered: AtomicUsize,
    /// How many answers h2 has been given.
    ended: AtomicUsize,
    /// How many of these have left h2: set after a poll that found the socket not blocked.
    flushed: AtomicUsize,
    /// How many streams of HTTP/2 are tunnels; hyper runs a task for each.
    tunnels: AtomicUsize,
    /// Set if data has left h2 since the buffer was flushed into which h2 copies small frames.
    copied: AtomicBool,
    /// Set while the socket has not taken all that hyper has written.
    blocked: AtomicBool,
    /// Set while hyper waits for bytes: its last read found none. Cleared only by an
    /// [`Io`](super::Io), and set when that closes.
    starved: AtomicBool,
    /// What a poll of the connection has read: a [`Reads`].
    reads: AtomicU8,
    /// The connection of HTTP/1 that hyper has dropped without closing it, set by its `Io`.
    unclosed: Mutex<Option<Unclosed>>,
    /// Set by the watch when it ends: nothing is put into `unclosed` any longer.
    over: AtomicBool,
    /// Set over HTTP/2 once the connection was asked to end and the GOAWAY is flushed.
    told: AtomicBool,
    /// Set if bytes have arrived since then.
    reacted: AtomicBool,
    /// Set when an idle HTTP/1 connection is to close without a message to its peer.
    left: AtomicBool,
    /// Set if it was accepted in lame duck, which then is not a reason to leave.
    spared: bool,
    /// When answers tell the peer to leave: a [`Leaving`], set by `Closing`.
    leaving: AtomicU8,
    /// The limits of the connection, set by its watch.
    limits: OnceLock<Arc<SharedLimits>>,
    /// Tells handlers of the connection's age, if that is limited; set by the watch.
    handlers: OnceLock<Box<HandlerDrain>>,
    /// Sets the connection's guard to work and names it after its latest request.
    starter: OnceLock<WorkStarter>,
}

/// When answers tell the peer to leave.
struct Leaving;

impl Leaving {
    /// From lame duck on, or from draining on if the connection is spared.
    const BY_PHASE: u8 = 0;
    /// Not before [`set_leaving`](Activity::set_leaving).
    const WHEN_TOLD: u8 = 1;
    const NOW: u8 = 2;
}

/// What a poll of the connection has read.
struct Reads;

impl Reads {
    /// No watch tells where a poll begins and ends.
    const UNBOUNDED: u8 = 0;
    /// A watch polls the connection.
    const IN_POLL: u8 = 1;
    /// A read of this poll has found no bytes: its waker is registered, and further reads are
    /// spared the system call. Only over HTTP/2: h2 reads once for each request that it hands out,
    /// and an upgraded connection of HTTP/1 is read by another task than the watch's.
    const EXHAUSTED: u8 = 2;
}

impl Activity {
    /// Creates the activity of one connection, whose work `drain` waits for. It observes the drain
    /// and doesn't keep it running.
    #[must_use]
    pub fn new(drain: &Drain) -> Self {
        Self::observing(drain.observer())
    }

    pub(super) fn observing(drain: Observer) -> Self {
        Self(Arc::new(State {
            spared: drain.phase() == Phase::LameDuck,
            leaving: AtomicU8::default(),
            limits: OnceLock::new(),
            handlers: OnceLock::new(),
            drain,
            framing: Mutex::default(),
            position: AtomicU8::default(),
            socket: OnceLock::new(),
            requests: AtomicUsize::default(),
            unanswered: AtomicUsize::default(),
            ended: AtomicUsize::default(),
            flushed: AtomicUsize::default(),
            tunnels: AtomicUsize::default(),
            copied: AtomicBool::default(),
            blocked: AtomicBool::default(),
            starved: AtomicBool::new(true),
            reads: AtomicU8::new(Reads::UNBOUNDED),
            unclosed: Mutex::default(),
            over: AtomicBool::default(),
            told: AtomicBool::default(),
            reacted: AtomicBool::default(),
            left: AtomicBool::default(),
            starter: OnceLock::new(),
        }))
    }

    #[inline]
    pub(super) fn node(&self) -> &Node {
        self.0.drain.node()
    }

    /// Updates what is known of the connection's framing.
    #[inline]
    fn frame(&self, change: impl FnOnce(&mut Framing)) {
        // No update panics halfway.
        let mut framing = (self.0.framing.lock()).unwrap_or_else(PoisonError::into_inner);
        change(&mut framing);
        let position = framing.position().byte();
        self.0.position.store(position, Ordering::Relaxed);
    }

    #[inline]
    fn position(&self) -> Position {
        Position::from_byte(self.0.position.load(Ordering::Relaxed))
    }

    /// Returns whether nothing is under way: no head has begun, no request is unanswered, no body
    /// has yet to arrive, and no byte of an answer is unwritten.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        if !self.is_answered() {
            return false;
        }
        let position = self.position();
        if self.0.blocked.load(Ordering::Relaxed) {
            // What a peer of HTTP/2 doesn't read may be nothing but acknowledgements of its own
            // PINGs.
            return position.is_http2()
                && !position.is_head_begun()
                && !self.0.copied.load(Ordering::Relaxed)
                && self.ended() == self.0.flushed.load(Ordering::Relaxed);
        }
        !position.is_head_begun() && !position.is_in_body()
    }

    /// Notes that a watch begins to poll the connection. Pass the result, which is how many answers
    /// h2 has been given, to [`polled`](Self::polled) afterwards.
    #[inline]
    pub(super) fn poll_begins(&self) -> usize {
        if !self.is_http2() {
            return 0;
        }
        self.0.reads.store(Reads::IN_POLL, Ordering::Relaxed);
        self.ended()
    }

    fn ended(&self) -> usize {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Returns whether a read has found no bytes since the poll of the connection began.
    #[inline]
    pub(super) fn is_exhausted(&self) -> bool {
        self.0.reads.load(Ordering::Relaxed) == Reads::EXHAUSTED
    }

    /// Notes that the connection was polled and has to wait: the answers that had `ended` before
    /// have left h2, unless the socket is blocked. One that has ended since may have come too late
    /// for this poll.
    #[inline]
    pub(super) fn polled(&self, ended: usize, asked: bool) {
        if self.is_http2() {
            self.polled_http2(ended, asked);
        }
    }

    fn polled_http2(&self, ended: usize, asked: bool) {
        self.0.reads.store(Reads::UNBOUNDED, Ordering::Relaxed);
        if !self.0.blocked.load(Ordering::Relaxed) {
            self.0.flushed.store(ended, Ordering::Relaxed);
            if asked {
                self.0.told.store(true, Ordering::Relaxed);
            }
        }
        if let Some(delivery) = self.0.socket.get() {
            delivery.set_own(self.is_written());
        }
    }

    /// Returns whether all answers of HTTP/2 have left h2, and no tunnel writes: until the next
    /// request, whatever is written belongs to HTTP/2 itself.
    fn is_written(&self) -> bool {
        self.is_answered()
            && self.ended() == self.0.flushed.load(Ordering::Relaxed)
            && !self.0.copied.load(Ordering::Relaxed)
            && !self.has_tunnel()
            && self.position().is_http2_for_good()
    }

    /// Returns how many bytes the peer had acknowledged, and how many it had not, when a read or
    /// write last waited for it after it was asked to leave.
    pub(super) fn acknowledged(&self) -> (usize, usize) {
        (self.0.socket.get()).map_or((0, 0), |delivery| delivery.acknowledged())
    }

    /// Returns whether the peer has sent anything since it was told to leave.
    pub(super) fn has_reacted(&self) -> bool {
        self.0.reacted.load(Ordering::Relaxed)
    }

    /// Returns whether a stream of HTTP/2 is a tunnel, which keeps the connection open (Z6).
    pub(super) fn has_tunnel(&self) -> bool {
        self.0.tunnels.load(Ordering::Acquire) > 0
    }

    /// Returns whether a head is incomplete and nothing keeps the peer from sending the rest: the
    /// requests before it have been answered (Z13). An empty line does not begin a head.
    ///
    /// The preface of HTTP/2 counts as a head until it and the frame behind it are complete. A head
    /// of HTTP/2 doesn't wait for answers, but it may have to wait until the peer reads: h2 may
    /// read nothing before that.
    #[inline]
    pub(super) fn is_reading_head(&self) -> bool {
        let position = self.position();
        position.is_in_head()
            && (self.is_answered()
                || position.is_in_http2_head() && !self.0.blocked.load(Ordering::Relaxed))
    }

    /// Returns whether hyper has gone to sleep over bytes of HTTP/1 that it has read, though no
    /// request is unanswered: nothing will wake it, and it is to be polled again.
    ///
    /// If the end of an answer becomes ready at the wrong moment, hyper 1.12 writes it after its
    /// last look at what to do next. That write goes on to read, and what it reads is not parsed.
    #[inline]
    pub(super) fn is_stalled(&self) -> bool {
        !self.0.starved.load(Ordering::Relaxed) && self.is_answered() && {
            let position = self.position();
            !position.is_http2_for_good()
                && !position.is_in_body()
                && !position.is_upgraded()
                && !self.0.blocked.load(Ordering::Relaxed)
        }
    }

    /// Returns whether the connection began like HTTP/2; its first bytes may look like HTTP/2 and
    /// turn out to be HTTP/1.
    #[inline]
    pub(super) fn is_http2(&self) -> bool {
        self.position().is_http2()
    }

    #[inline]
    pub(super) fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn is_answered(&self) -> bool {
        self.0.unanswered.load(Ordering::Acquire) == 0
    }

    /// Notes that the connection's socket is watched, and is told what its peer may still send.
    pub(super) fn set_socket(&self, delivery: Arc<Delivery>) {
        // A second socket for the same connection would be the caller's mistake; the first stays.
        let _ = self.0.socket.set(delivery);
    }

    /// Notes that the connection is about to be closed, by its own close.
    pub(super) fn ends(&self) {
        self.set_starved(true);
        if let Some(delivery) = self.0.socket.get() {
            delivery.set_unended(false);
            delivery.expect(if self.position().is_in_body() {
                Expected::Rest
            } else if self.is_left() {
                Expected::Nothing
            } else {
                Expected::Unknown
            });
        }
    }

    /// Keeps a connection that hyper has dropped, to be closed by
    /// [`poll_unclosed`](Self::poll_unclosed).
    ///
    /// hyper drops a connection of HTTP/1 whose peer has asked for an upgrade and was not granted
    /// it: at its end, hyper takes it for upgraded all the same, and nobody waits for that.
    pub(super) fn left_unclosed(&self, conn: impl FnOnce() -> Unclosed) {
        let position = self.position();
        if position.is_http2_for_good() || position.is_upgraded() || self.is_over() {
            return;
        }
        self.ends();
        *self.unclosed() = Some(conn());
    }

    /// Returns whether hyper has left the close of the connection to us.
    pub(super) fn is_unclosed(&self) -> bool {
        self.unclosed().is_some()
    }

    /// Closes the connection that hyper has dropped; ready when it is closed, or if there is none.
    pub(super) fn poll_unclosed(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The connection is polled and dropped outside the lock (S6).
        let unclosed = self.unclosed().take();
        if let Some(mut conn) = unclosed {
            if Pin::new(&mut conn).poll_close(cx).is_pending() {
                *self.unclosed() = Some(conn);
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Notes that the watch has ended: what hyper drops from now on is dropped.
    pub(super) fn set_over(&self) {
        self.0.over.store(true, Ordering::Relaxed);
        let unclosed = self.unclosed().take();
        drop(unclosed);
    }

    fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }

    fn unclosed(&self) -> MutexGuard<'_, Option<Unclosed>> {
        // Nothing under this lock panics.
        (self.0.unclosed.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `bytes` have arrived, which hyper has not seen yet.
    #[inline]
    pub(super) fn received(&self, bytes: &[u8]) {
        let position = self.position();
        if position.is_upgraded() {
            return;
        }
        if position.is_http2_for_good() && self.0.told.load(Ordering::Relaxed) && !bytes.is_empty()
        {
            self.0.reacted.store(true, Ordering::Relaxed);
        }
        self.frame(|framing| {
            if position.is_parsed_later() {
                framing.parsed(Body::None);
            }
            framing.receive(bytes);
        });
    }

    /// Notes whether a read of hyper's has found no bytes.
    #[inline]
    pub(super) fn set_starved(&self, starved: bool) {
        self.0.starved.store(starved, Ordering::Relaxed);
        if starved && self.position().is_http2_for_good() {
            self.exhausted();
        }
    }

    fn exhausted(&self) {
        if self.0.reads.load(Ordering::Relaxed) == Reads::IN_POLL {
            self.0.reads.store(Reads::EXHAUSTED, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn set_blocked(&self, blocked: bool) {
        self.0.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Notes that all of h2's buffer has been written.
    #[inline]
    pub(super) fn set_flushed(&self) {
        self.0.copied.store(false, Ordering::Relaxed);
    }

    /// Makes an idle connection end: an HTTP/1 peer is told nothing, and nothing more is expected
    /// of it. Returns whether the socket ends the connection, so that hyper need not be asked to.
    pub(super) fn leave(&self) -> bool {
        let left = !self.position().is_http2_for_good();
        self.0.left.store(left, Ordering::Relaxed);
        let socket = self.0.socket.get();
        if let (false, Some(delivery)) = (left, socket) {
            delivery.watch();
        }
        left && socket.is_some()
    }

    #[inline]
    pub(super) fn is_left(&self) -> bool {
        self.0.left.load(Ordering::Relaxed)
    }

    /// Returns whether answers tell the peer to leave.
    #[inline]
    pub(super) fn is_leaving(&self) -> bool {
        match self.0.leaving.load(Ordering::Relaxed) {
            Leaving::BY_PHASE => self.node().latch.is(if self.0.spared {
                Phase::Draining
            } else {
                Phase::LameDuck
            }),
            leaving => leaving == Leaving::NOW,
        }
    }

    /// Has answers tell the peer to leave from now on.
    pub(super) fn set_leaving(&self) {
        self.0.leaving.store(Leaving::NOW, Ordering::Relaxed);
    }

    /// Sets the limits of the connection. If its age is limited, handlers are told, and the result
    /// keeps their drain from being drained.
    pub(super) fn set_limits(&self, limits: &Arc<SharedLimits>) -> Option<Presence> {
        // A second watch for the same connection would be the caller's mistake.
        if self.0.limits.set(Arc::clone(limits)).is_err() {
            return None;
        }
        if !limits.spread.is_zero() && self.0.leaving.load(Ordering::Relaxed) == Leaving::BY_PHASE {
            self.0.leaving.store(Leaving::WHEN_TOLD, Ordering::Relaxed);
        }
        limits.age?;
        let (handlers, presence) = HandlerDrain::new(&self.0.drain);
        let _ = self.0.handlers.set(Box::new(handlers));
        presence
    }

    /// Returns what tells handlers of the connection's age, if that is limited.
    #[inline]
    pub(super) fn handlers(&self) -> Option<&HandlerDrain> {
        self.0.handlers.get().map(|handlers| &**handlers)
    }

    /// Returns whether the connection has become a tunnel as a whole, and is no longer HTTP.
    pub(super) fn is_upgraded(&self) -> bool {
        self.position().is_upgraded()
    }

    /// Returns whether the connection was accepted in lame duck, which then is not a reason to
    /// leave.
    pub(super) fn is_spared(&self) -> bool {
        self.0.spared
    }

    /// Returns the idle limit that answers advertise, if there is one.
    #[inline]
    pub(super) fn advertised(&self) -> Option<&HeaderValue> {
        self.0.limits.get()?.advertised.as_ref()
    }

    pub(super) fn set_work_starter(&self, starter: WorkStarter) {
        // A second guard for the same connection would be the caller's mistake; the first stays.
        let _ = self.0.starter.set(starter);
    }

    /// Notes that hyper has parsed a head, which announces `body`.
    #[inline]
    fn parsed(&self, body: Body) {
        if body == Body::None && self.position().is_head_alone() {
            // The common case takes no lock.
            let parsed = Position::PARSED.byte();
            self.0.position.store(parsed, Ordering::Relaxed);
        } else {
            self.frame(|framing| framing.parsed(body));
        }
    }

    /// Notes that a head has been read, which announces `body`; `None` over HTTP/2. The request is
    /// unanswered until the value is dropped.
    ///
    /// It is counted and named before its handler is called, which may never return.
    #[inline]
    pub(super) fn request(&self, body: Option<Body>, name: impl FnOnce(&mut String)) -> Unanswered {
        let http2 = body.is_none();
        if let Some(body) = body {
            self.parsed(body);
        }
        if let Some(starter) = self.0.starter.get() {
            starter.start(self.node(), name);
        }
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.unanswered.fetch_add(1, Ordering::Relaxed);
        if http2 {
            if let Some(delivery) = self.0.socket.get() {
                delivery.set_own(false);
            }
        }
        Unanswered {
            activity: self.clone(),
            of: if http2 { Of::Http2 } else { Of::Http1 },
        }
    }
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activity")
            .field("http2", &self.is_http2())
            .field("requests", &self.requests())
            .field("idle", &self.is_idle())
            .finish_non_exhaustive()
    }
}

/// A request that has not been answered.
#[derive(Debug)]
pub struct Unanswered {
    activity: Activity,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Http1,
    Http2,
    /// A request of HTTP/2 whose answer opens a tunnel.
    Tunnel,
}

impl Unanswered {
    #[inline]
    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Returns what keeps the request unanswered until h2 has written a piece of its answer; `None`
    /// over HTTP/1.
    #[inline]
    pub(super) fn until_written(&self) -> Option<Buffered> {
        (self.of == Of::Http2).then(|| Buffered::new(&self.activity))
    }

    /// Notes that the answer ends only with the connection.
    pub(super) fn set_unended(&self) {
        if let Some(delivery) = self.activity.0.socket.get() {
            delivery.set_unended(true);
        }
    }

    /// Notes that the answer makes a tunnel of the whole connection, or of a stream over HTTP/2.
    pub(super) fn upgraded(&mut self) {
        if self.of == Of::Http2 {
            self.of = Of::Tunnel;
            Tunnel::announce(&self.activity);
        } else {
            self.activity.frame(Framing::upgraded);
        }
    }
}

impl Drop for Unanswered {
    #[inline]
    fn drop(&mut self) {
        // Before `unanswered`: a poll that finds the connection answered must know that the answer
        // may not be flushed.
        match self.of {
            Of::Http1 => {}
            Of::Http2 => _ = self.activity.0.ended.fetch_add(1, Ordering::Relaxed),
            Of::Tunnel => {
                self.activity.0.ended.fetch_add(1, Ordering::Relaxed);
                // hyper drops the answer last: by then it has spawned the tunnel's task, or it
                // never will.
                drop(Tunnel::next());
            }
        }
        self.activity.0.unanswered.fetch_sub(1, Ordering::Release);
    }
}

/// A piece of an answer of HTTP/2 that h2 has buffered.
#[derive(Debug)]
pub(super) struct Buffered(Activity);

impl Buffered {
    fn new(activity: &Activity) -> Self {
        activity.0.unanswered.fetch_add(1, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        // Before `unanswered`, as above.
        self.0.0.copied.store(true, Ordering::Relaxed);
        self.0.0.unanswered.fetch_sub(1, Ordering::Release);
    }
}

thread_local! {
    /// The tunnel whose task hyper is about to spawn: set by the answer that opens it, and taken in
    /// the same poll of its stream.
    static NEXT_TUNNEL: Cell<Option<Tunnel>> = const { Cell::new(None) };
}

/// A stream of HTTP/2 that has become a tunnel. The task that hyper spawns to write to it keeps
/// this for as long as the stream lives.
///
/// hyper spawns that task through the server's executor, and nothing tells its connection.
#[derive(Debug)]
pub(super) struct Tunnel(Activity);

impl Tunnel {
    /// Notes that the next task to be spawned is that of a tunnel of this connection.
    fn announce(activity: &Activity) {
        activity.0.tunnels.fetch_add(1, Ordering::Relaxed);
        let tunnel = Self(activity.clone());
        // If the thread is ending, the thread-local is gone, and so is the executor.
        let _ = NEXT_TUNNEL.try_with(|next| next.set(Some(tunnel)));
    }

    /// Returns the tunnel of the task that is being spawned, if it has one.
    pub(super) fn next() -> Option<Self> {
        NEXT_TUNNEL.try_with(Cell::take).ok().flatten()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // Its last bytes may be in h2's buffer.
        self.0.0.copied.store(true, Ordering::Relaxed);
        self.0.0.tunnels.fetch_sub(1, Ordering::Release);
    }
}
