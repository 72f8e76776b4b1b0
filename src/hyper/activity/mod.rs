//! What a connection is doing. Its socket ([`Io`](super::Io)) and its service
//! ([`DrainService`](super::service::DrainService)) report it, and its watch
//! ([`Closing`](super::closing::Closing)) decides by it. Each has a file here: `socket`, `requests`
//! and `tunnel`, `queries` and `leaving`. `unclosed` belongs to the socket and the watch.
//!
//! | field | HTTP | written by | read by |
//! |---|---|---|---|
//! | `drain`, `spared` | 1, 2 | `new` | service, watch |
//! | `framing` | 1, 2 | socket, service (HTTP/1) | only through `position` |
//! | `position` | 1, 2 | socket, service (HTTP/1) | all |
//! | `socket` | 1, 2 | `io` | all |
//! | `requests` | 1, 2 | service | watch |
//! | `unanswered` | 1, 2 | service; h2, when it has copied a piece of an answer | watch |
//! | `blocked` | 1, 2 | socket | watch |
//! | `starved` | 1, 2 | socket | watch, in HTTP/1 |
//! | `reads` | 2 | socket; watch, before and after a poll | socket |
//! | `ended` | 2 | service | watch |
//! | `flushed` | 2 | watch, after a poll | watch |
//! | `tunnels` | 2 | service; the tunnel's task | watch |
//! | `copied` | 2 | h2; the tunnel's task; cleared by the socket | watch |
//! | `told` | 2 | watch, after a poll | socket |
//! | `reacted` | 2 | socket | watch |
//! | `left` | 1 | watch | socket, watch |
//! | `expects_continue` | 1 | service; cleared by the socket | socket |
//! | `upgradable` | 1 | service | service |
//! | `takes_all` | 1 | service, at an answer's end; cleared by the socket | socket |
//! | `unclosed` | 1 | socket, when hyper drops it | watch |
//! | `over` | 1, 2 | watch | socket, in HTTP/1 |
//! | `leaving` | 1, 2 | watch | service, watch |
//! | `handlers` | 1, 2 | watch | service, watch |
//! | `limits`, `starter` | 1, 2 | watch | service |
//!
//! Until all of the preface of HTTP/2 has arrived, a connection that began like it counts as HTTP/2
//! for `flushed` and `told`, and as HTTP/1 for `left`.
//!
//! What can't be:
//!
//! - `reacted` without `told`. `reacted` beside `left`, since nothing is read once `left` is set.
//! - `unclosed` beside `over`: the watch has closed or dropped it.
//! - More `ended` than `requests`, or more `flushed` than `ended`.
//! - Over HTTP/2, `unanswered` at zero while `ended` lacks a request or `copied` a piece: both are
//!   noted there before they stop being unanswered.

mod leaving;
mod queries;
mod requests;
mod socket;
mod tunnel;
mod unclosed;

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
};

use self::socket::Reads;
pub(super) use self::unclosed::Unclosed;
pub(super) use self::{
    requests::{Buffered, Unanswered},
    tunnel::Tunnel,
};
use super::{
    age::HandlerDrain,
    framing::{Framing, Position},
    limits::SharedLimits,
};
use crate::{
    Drain, Observer, Phase,
    drain::{connection_guard::WorkStarter, node::Node},
    net::Delivery,
};

/// Tracks what a connection is doing: its socket and its service report to it, and
/// [`Watch`](super::Watch) asks it whether the connection is idle.
///
/// hyper knows this too, but doesn't expose it.
// Relaxed throughout: all of it is written and read in the connection's own task, except the ends
// of HTTP/2 streams. A poll that finds them answered (`Acquire`) must see that they `ended`
// (`Release`, in the drop of `Unanswered`), and one that finds no tunnel must see what the last one
// `copied` (`Release`, in the drop of `Tunnel`).
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
    /// What a poll of the connection has read: a `Reads`.
    reads: AtomicU8,
    /// Set while a peer of HTTP/1 waits for `100 Continue` before it sends the body of its request.
    expects_continue: AtomicBool,
    /// Set once a request of HTTP/1 has asked for an upgrade.
    upgradable: AtomicBool,
    /// Set from the end of an answer of an `upgradable` connection until hyper has written it.
    takes_all: AtomicBool,
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
    /// When answers tell the peer to leave: a `Leaving`, set by `Closing`.
    leaving: AtomicU8,
    /// The limits of the connection, set by its watch.
    limits: OnceLock<Arc<SharedLimits>>,
    /// Tells handlers of the connection's age, if that is limited; set by the watch.
    handlers: OnceLock<Box<HandlerDrain>>,
    /// Sets the connection's guard to work and names it after its latest request.
    starter: OnceLock<WorkStarter>,
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
            expects_continue: AtomicBool::default(),
            upgradable: AtomicBool::default(),
            takes_all: AtomicBool::default(),
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

    pub(super) fn set_work_starter(&self, starter: WorkStarter) {
        // A second guard for the same connection would be the caller's mistake; the first stays.
        let _ = self.0.starter.set(starter);
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

    /// Returns whether the connection began like HTTP/2; its first bytes may look like HTTP/2 and
    /// turn out to be HTTP/1.
    #[inline]
    pub(super) fn is_http2(&self) -> bool {
        self.position().is_http2()
    }

    /// Returns whether the connection has become a tunnel as a whole, and is no longer HTTP.
    pub(super) fn is_upgraded(&self) -> bool {
        self.position().is_upgraded()
    }

    /// Returns whether the rest of a request has yet to arrive.
    pub(super) fn is_in_body(&self) -> bool {
        self.position().is_in_body()
    }

    #[inline]
    pub(super) fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn is_answered(&self) -> bool {
        self.0.unanswered.load(Ordering::Acquire) == 0
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
