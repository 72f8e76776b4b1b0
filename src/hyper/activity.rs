use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::framing::{Body, Framing};
use crate::{
    Drain, Phase,
    connection_guard::Bell,
    net::{Delivery, Expected},
    tree::Core,
};

/// What a connection is doing: seen by its socket and its service, and asked by [`Watch`](super::Watch) before it takes
/// the connection for idle.
///
/// hyper knows this too and does not tell.
// Relaxed throughout: all of it is written and read in the connection's own task, but for the ends of HTTP/2
// streams: who finds them answered (Acquire) must see that they `ended` (Release, in the drop of `Unanswered`).
#[derive(Clone)]
pub struct Activity(Arc<State>);

struct State {
    core: Arc<Core>,
    /// Where the connection stands in HTTP/1. Apart from HTTP/2 streams, only the connection's task
    /// takes the lock.
    framing: Mutex<Framing>,
    /// Set if the connection's socket is an [`Io`](super::Io), which ends the connection by itself
    /// when its peer is left; what is written here reaches the socket.
    socket: OnceLock<Arc<Delivery>>,
    /// Requests whose head has been read, ever.
    requests: AtomicUsize,
    /// Those whose answer has not been written to hyper's buffer yet, and data of HTTP/2 that h2 has buffered.
    unanswered: AtomicUsize,
    /// How many answers of HTTP/2 were given to h2, and how many of these have left it.
    ended: AtomicUsize,
    flushed: AtomicUsize,
    /// Data of HTTP/2 has left h2 since its buffer was last flushed, into which small frames are copied.
    copied: AtomicBool,
    /// The socket has not taken all that hyper has written.
    blocked: AtomicBool,
    /// The connection was asked to end, and its peer was told: set once all is flushed.
    told: AtomicBool,
    /// Bytes have come since.
    reacted: AtomicBool,
    /// It has idled for too long, and its peer is left.
    left: AtomicBool,
    /// Calls the connection's guard to work, and names it after its last request.
    bell: OnceLock<Bell>,
}

impl Activity {
    /// The activity of one connection, whose work `drain` waits for. It is no handle of the drain.
    #[must_use]
    pub fn new(drain: &Drain) -> Self {
        Self(Arc::new(State {
            core: Arc::clone(drain.core()),
            framing: Mutex::default(),
            socket: OnceLock::new(),
            requests: AtomicUsize::default(),
            unanswered: AtomicUsize::default(),
            ended: AtomicUsize::default(),
            flushed: AtomicUsize::default(),
            copied: AtomicBool::default(),
            blocked: AtomicBool::default(),
            told: AtomicBool::default(),
            reacted: AtomicBool::default(),
            left: AtomicBool::default(),
            bell: OnceLock::new(),
        }))
    }

    pub(super) fn core(&self) -> &Core {
        &self.0.core
    }

    fn framing(&self) -> MutexGuard<'_, Framing> {
        // Nothing in there panics halfway.
        self.0
            .framing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether nothing has begun that is not over: no head begun, no request unanswered, no
    /// body that has yet to come, no byte of an answer unwritten.
    pub(super) fn is_idle(&self) -> bool {
        if !self.is_answered() {
            return false;
        }
        let framing = self.framing();
        if self.0.blocked.load(Ordering::Relaxed) {
            // What a peer of HTTP/2 doesn't read may be nothing but acknowledgements of its own PINGs.
            return framing.is_http2()
                && !self.0.copied.load(Ordering::Relaxed)
                && self.ended() == self.0.flushed.load(Ordering::Relaxed);
        }
        !framing.is_head_begun() && !framing.is_owed()
    }

    /// How many answers of HTTP/2 were given to h2. To be asked before the connection is polled, and given to
    /// [`polled`](Self::polled) afterwards.
    pub(super) fn ended(&self) -> usize {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// The connection was polled, and had to wait. What had `ended` before has left h2, unless the socket is blocked.
    /// What has ended since may have come too late for this poll.
    pub(super) fn polled(&self, ended: usize, asked: bool) {
        if !self.0.blocked.load(Ordering::Relaxed) {
            self.0.flushed.store(ended, Ordering::Relaxed);
            if asked {
                self.0.told.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether the peer has sent anything since it was told to leave.
    pub(super) fn has_reacted(&self) -> bool {
        self.0.reacted.load(Ordering::Relaxed)
    }

    /// Returns whether a head has begun, its end has not come, and nothing keeps the peer from
    /// sending it: the requests before it have been answered (Z13). An empty line does not begin a
    /// head.
    ///
    /// So has the preface of HTTP/2, until it is whole.
    pub(super) fn is_reading_head(&self) -> bool {
        if !self.is_answered() {
            return false;
        }
        let framing = self.framing();
        framing.is_in_head() || framing.is_http2() && !framing.is_http2_for_good()
    }

    /// Whether the connection began as HTTP/2 does; the first bytes may look so and turn out to be HTTP/1.
    pub(super) fn is_http2(&self) -> bool {
        self.framing().is_http2()
    }

    #[inline]
    pub(super) fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn is_answered(&self) -> bool {
        self.0.unanswered.load(Ordering::Acquire) == 0
    }

    /// The connection's socket is watched, and hears what is expected of its peer.
    pub(super) fn set_socket(&self, delivery: Arc<Delivery>) {
        // A second socket for the same connection would be the caller's mistake; the first stays.
        let _ = self.0.socket.set(delivery);
    }

    /// The connection is about to be closed, by its own close.
    pub(super) fn ends(&self) {
        if let Some(delivery) = self.0.socket.get() {
            delivery.set_unended(false);
            delivery.expect(if self.framing().is_owed() {
                Expected::Rest
            } else if self.is_left() {
                Expected::Nothing
            } else {
                Expected::Unknown
            });
        }
    }

    /// Bytes have arrived, which hyper has not seen yet.
    pub(super) fn received(&self, bytes: &[u8]) {
        if self.0.told.load(Ordering::Relaxed) && !bytes.is_empty() {
            self.0.reacted.store(true, Ordering::Relaxed);
        }
        self.framing().receive(bytes);
    }

    #[inline]
    pub(super) fn set_blocked(&self, blocked: bool) {
        self.0.blocked.store(blocked, Ordering::Relaxed);
    }

    /// The peer is cut off while idle. If it reads nothing, what it lacks are acknowledgements of its own PINGs.
    pub(super) fn cut(&self) {
        if self.0.blocked.load(Ordering::Relaxed) {
            if let Some(delivery) = self.0.socket.get() {
                delivery.set_answered();
            }
        }
    }

    /// All that h2 had in its buffer is written.
    #[inline]
    pub(super) fn set_flushed(&self) {
        self.0.copied.store(false, Ordering::Relaxed);
    }

    /// Leaves the peer of an idle connection: an HTTP/1 peer is told nothing and expected to say
    /// nothing. Returns whether the connection ends without being asked to, because of its socket.
    pub(super) fn leave(&self) -> bool {
        let left = !self.framing().is_http2_for_good();
        self.0.left.store(left, Ordering::Relaxed);
        left && self.0.socket.get().is_some()
    }

    #[inline]
    pub(super) fn is_left(&self) -> bool {
        self.0.left.load(Ordering::Relaxed)
    }

    pub(super) fn set_bell(&self, bell: Bell) {
        // A second guard for the same connection would be the caller's slip; the first keeps its name.
        let _ = self.0.bell.set(bell);
    }

    /// A head has been read. The request lasts until the value is dropped.
    ///
    /// It counts and is named before its handler is called, which may never return.
    pub(super) fn request(
        &self,
        http2: bool,
        body: Body,
        name: impl FnOnce(&mut String),
    ) -> Unanswered {
        self.framing().parsed(body);
        if let Some(bell) = self.0.bell.get() {
            bell.ring(&self.0.core, name);
        }
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.unanswered.fetch_add(1, Ordering::Relaxed);
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
pub(super) struct Unanswered {
    activity: Activity,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Http1,
    Http2,
    /// A piece of an answer, in the hands of h2.
    Data,
}

impl Unanswered {
    #[inline]
    pub(super) fn phase(&self) -> Phase {
        self.activity.core().latch.phase()
    }

    /// Over HTTP/2: for data of its answer, which h2 is given.
    pub(super) fn until_written(&self) -> Option<Self> {
        (self.of == Of::Http2).then(|| {
            let activity = self.activity.clone();
            activity.0.unanswered.fetch_add(1, Ordering::Relaxed);
            let of = Of::Data;
            Self { activity, of }
        })
    }

    /// Its answer has no end but the connection's.
    pub(super) fn set_unended(&self) {
        if let Some(delivery) = self.activity.0.socket.get() {
            delivery.set_unended(true);
        }
    }

    /// It is answered by a tunnel: what comes from now on is not HTTP's.
    pub(super) fn upgraded(&self) {
        self.activity.framing().upgraded();
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        // First: who finds the connection answered must know that it may not be flushed.
        match self.of {
            Of::Http1 => {}
            Of::Http2 => _ = self.activity.0.ended.fetch_add(1, Ordering::Relaxed),
            Of::Data => self.activity.0.copied.store(true, Ordering::Relaxed),
        }
        self.activity.0.unanswered.fetch_sub(1, Ordering::Release);
    }
}
