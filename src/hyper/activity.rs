use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use super::framing::{Body, Parsed};
use crate::{Drain, Phase, connection_guard::Bell, tree::Core};

/// What a connection is doing: seen by its socket and its service, and asked by [`Watch`](super::Watch) before it takes
/// the connection for idle.
///
/// hyper knows this too and does not tell.
// Relaxed throughout: all of it is written and read in the connection's own task, but for the end of HTTP/2
// streams, and that is only a number which somebody reads later.
#[derive(Clone)]
pub struct Activity(Arc<State>);

struct State {
    core: Arc<Core>,
    http2: AtomicBool,
    /// Requests whose head has been read, ever.
    requests: AtomicUsize,
    /// Those whose answer has not been written to hyper's buffer yet.
    unanswered: AtomicUsize,
    /// Bytes have come since the last answer: a head has begun.
    begun: AtomicBool,
    /// The socket has not taken all that hyper has written.
    blocked: AtomicBool,
    /// It has idled for too long, and its peer is left.
    left: AtomicBool,
    /// Calls the connection's guard to work, and names it after its last request.
    bell: OnceLock<Bell>,
    /// Of the last request; a [`Body`] as a number.
    body: AtomicU64,
}

impl Activity {
    /// The activity of one connection, whose work `drain` waits for. It is no handle of the drain.
    #[must_use]
    pub fn new(drain: &Drain) -> Self {
        Self(Arc::new(State {
            core: Arc::clone(drain.core()),
            http2: AtomicBool::default(),
            requests: AtomicUsize::default(),
            unanswered: AtomicUsize::default(),
            begun: AtomicBool::default(),
            blocked: AtomicBool::default(),
            left: AtomicBool::default(),
            bell: OnceLock::new(),
            body: AtomicU64::default(),
        }))
    }

    pub(super) fn core(&self) -> &Core {
        &self.0.core
    }

    /// Whether nothing has begun that is not over: no head begun, no request unanswered, no byte unwritten.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.is_answered()
            && !self.0.begun.load(Ordering::Relaxed)
            && !self.0.blocked.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn is_http2(&self) -> bool {
        self.0.http2.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn is_answered(&self) -> bool {
        self.0.unanswered.load(Ordering::Relaxed) == 0
    }

    /// Whether what has come is HTTP/2; the first bytes may have looked so and be HTTP/1's after all.
    #[inline]
    pub(super) fn set_http2(&self, http2: bool) {
        if self.is_http2() != http2 {
            self.0.http2.store(http2, Ordering::Relaxed);
            // What came before was no head, but the first bytes of the preface, or the other way round.
            self.0.begun.store(!http2, Ordering::Relaxed);
        }
    }

    /// Bytes have arrived.
    #[inline]
    pub(super) fn received(&self) {
        if !self.is_http2() && self.is_answered() {
            self.0.begun.store(true, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn set_blocked(&self, blocked: bool) {
        self.0.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Asked to end while idle. Of HTTP/1, that is the end: the peer is told nothing and expected to say nothing.
    pub(super) fn leave(&self) {
        self.0.left.store(!self.is_http2(), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_left(&self) -> bool {
        self.0.left.load(Ordering::Relaxed)
    }

    /// What hyper has made of the bytes so far.
    #[inline]
    pub(super) fn parsed(&self) -> Parsed {
        Parsed {
            requests: self.requests(),
            answered: self.is_answered(),
            body: Body::from_number(self.0.body.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn set_bell(&self, bell: Bell) {
        // A second guard for the same connection would be the caller's slip; the first keeps its name.
        let _ = self.0.bell.set(bell);
    }

    /// A head has been read. The request lasts until the value is dropped.
    ///
    /// It counts and is named before its handler is called, which may never return.
    pub(super) fn request(&self, body: Body, name: impl FnOnce(&mut String)) -> Unanswered {
        self.0.body.store(body.number(), Ordering::Relaxed);
        if let Some(bell) = self.0.bell.get() {
            bell.ring(&self.0.core, name);
        }
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.unanswered.fetch_add(1, Ordering::Relaxed);
        Unanswered(self.clone())
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
pub(super) struct Unanswered(Activity);

impl Unanswered {
    #[inline]
    pub(super) fn phase(&self) -> Phase {
        self.0.core().latch.phase()
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let state = &self.0.0;
        // What came meanwhile was the body.
        state.begun.store(false, Ordering::Relaxed);
        state.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}
