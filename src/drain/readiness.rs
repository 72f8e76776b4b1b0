//! Whether the program should get new work, as a balancer or Kubernetes asks it.

use std::{
    borrow::Cow,
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;

use crate::drain::{Drain, Observer, latch::wake_each, node::Node, phase::Phase};

impl Drain {
    /// Returns whether the program should get new work: a value to ask at each probe.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness::of(self.node())
    }
}

impl Observer {
    /// Returns whether the program should get new work, as [`Drain::readiness`] does.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness::of(self.node())
    }
}

/// Tells whether the program should get new work, and if not, why.
///
/// [`Drain::readiness`] returns it. All that are made of one drain, and their clones, share the
/// reasons of [`hold`](Self::hold); each has a mode of its own. It doesn't keep the drain running.
///
/// `Display` says `ready`, or `not ready: ` and the reasons.
///
/// ```
/// use async_drain::Drain;
///
/// let drain = Drain::new();
/// let readiness = drain.readiness();
/// let warming_up = readiness.hold("warming up");
/// assert_eq!(readiness.to_string(), "not ready: warming up");
/// drop(warming_up);
/// assert!(readiness.is_ready());
///
/// drain.enter_lame_duck();
/// assert_eq!(readiness.to_string(), "not ready: lame duck");
/// assert!(readiness.kubernetes().is_ready());
/// ```
///
/// # Which mode
///
/// A balancer that probes the program itself has to see it unready before the listener closes. So
/// by default it is unready from lame duck on, and lame duck lasts longer than the balancer takes
/// to notice.
///
/// Kubernetes takes a terminating Pod out of its Service by itself, and may go on to use it if no
/// other Pod is ready ([KEP-1669](https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/1669-proxy-terminating-endpoints)),
/// as long as its readiness probe succeeds. So with [`kubernetes`](Self::kubernetes) it stays ready
/// until draining begins.
///
/// Liveness is not readiness: a program that drains is alive, and must not be restarted.
#[derive(Clone)]
pub struct Readiness {
    node: Arc<Node>,
    /// The phase from which on it is unready.
    until: Phase,
    holds: Arc<Holds>,
}

impl Readiness {
    fn of(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
            until: Phase::LameDuck,
            holds: node.holds(),
        }
    }

    /// Makes it stay ready in lame duck, as Kubernetes wants it: unready once draining begins.
    #[must_use]
    pub fn kubernetes(mut self) -> Self {
        self.until = Phase::Draining;
        self
    }

    /// Returns the phase of the drain.
    #[allow(dead_code, reason = "only probes ask for it")]
    pub(crate) fn phase(&self) -> Phase {
        self.node.latch.phase()
    }

    /// Returns whether the program should get new work.
    ///
    /// It costs two loads and takes no lock.
    #[inline]
    #[must_use]
    pub fn is_ready(&self) -> bool {
        // Relaxed: the answer publishes nothing.
        !self.node.latch.is(self.until) && self.holds.count.load(Ordering::Relaxed) == 0
    }

    /// Keeps the program unready while the returned value lives, e.g. until its caches are warm or
    /// while the database is away; `why` is what a probe is told.
    ///
    /// ```
    /// # use async_drain::{Drain, readiness::Hold};
    /// struct Database {
    ///     readiness: async_drain::Readiness,
    ///     lost: Option<Hold>,
    /// }
    ///
    /// impl Database {
    ///     fn connected(&mut self, connected: bool) {
    ///         self.lost = (!connected).then(|| self.readiness.hold("no database"));
    ///     }
    /// }
    /// # let readiness = Drain::new().readiness();
    /// # let mut database = Database { readiness, lost: None };
    /// # database.connected(false);
    /// # assert!(database.lost.is_some());
    /// ```
    pub fn hold(&self, why: impl Into<Cow<'static, str>>) -> Hold {
        let why = why.into();
        let mut state = self.holds.state();
        let key = state.reasons.insert(why);
        self.holds
            .count
            .store(state.reasons.len(), Ordering::Relaxed);
        drop(state);
        Hold {
            holds: Arc::clone(&self.holds),
            key,
        }
    }

    /// Returns why the program is unready: the phase first, then what holds it; empty if it is
    /// ready.
    #[must_use]
    pub fn reasons(&self) -> Vec<Cow<'static, str>> {
        let phase = self.node.latch.phase();
        let phase = (phase >= self.until).then(|| phase.to_string().into());
        let state = self.holds.state();
        phase
            .into_iter()
            .chain(state.reasons.iter().map(|(_, why)| why.clone()))
            .collect()
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = self.reasons();
        if reasons.is_empty() {
            f.write_str("ready")
        } else {
            write!(f, "not ready: {}", reasons.join(", "))
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("reasons", &self.reasons())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    reasons: Slab<Cow<'static, str>>,
    /// The tasks that wait until the last reason goes; `None` once one was woken.
    waiting: Slab<Option<Waker>>,
}

/// What keeps a drain's program unready, and how long its servers wait for idle peers. A node has
/// it once it was asked for it.
#[derive(Default)]
pub(crate) struct Holds {
    /// How many `reasons` there are, written under their lock.
    count: AtomicUsize,
    state: Mutex<State>,
    /// The longest time that a server gives its idle peers while draining, and what it is called.
    idle_limit: Mutex<Option<(&'static str, Duration)>>,
}

impl Holds {
    #[allow(dead_code, reason = "only servers have such a limit")]
    pub(crate) fn note_idle_limit(&self, name: &'static str, limit: Duration) {
        let mut longest = self
            .idle_limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if longest.is_none_or(|(_, longest)| limit > longest) {
            *longest = Some((name, limit));
        }
    }

    pub(crate) fn idle_limit(&self) -> Option<(&'static str, Duration)> {
        *self
            .idle_limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait until nothing holds the program unready. It doesn't look at the phase.
pub(crate) struct UntilReady {
    holds: Arc<Holds>,
    /// The place of the waker, set by the first poll.
    key: Option<usize>,
}

impl UntilReady {
    pub(crate) fn new(node: &Node) -> Self {
        Self {
            holds: node.holds(),
            key: None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let waker = Some(cx.waker().clone());
        let mut state = self.holds.state();
        if state.reasons.is_empty() {
            return Poll::Ready(());
        }
        let replaced = match self.key {
            Some(key) => mem::replace(&mut state.waiting[key], waker),
            None => {
                self.key = Some(state.waiting.insert(waker));
                None
            }
        };
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for UntilReady {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut state = self.holds.state();
        let waker = state.waiting.try_remove(key);
        drop(state);
        drop(waker);
    }
}

/// Keeps the program unready until it is dropped; returned by [`Readiness::hold`].
#[must_use = "dropping it makes the program ready again"]
pub struct Hold {
    holds: Arc<Holds>,
    key: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.holds.state();
        let why = state.reasons.try_remove(self.key);
        self.holds
            .count
            .store(state.reasons.len(), Ordering::Relaxed);
        let mut woken = Vec::new();
        if state.reasons.is_empty() {
            let waiting = state.waiting.iter_mut();
            woken.extend(waiting.filter_map(|(_, waker)| waker.take()));
        }
        drop(state);
        drop(why);
        wake_each(woken);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.holds.state().reasons.get(self.key).cloned();
        f.debug_tuple("Hold").field(&why).finish()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::{
        sync::Arc,
        task::{Context, Wake, Waker},
    };

    use super::UntilReady;
    use crate::Drain;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    /// A server that is dropped while it waits leaves nothing of its task behind.
    #[test]
    fn a_wait_that_is_given_up_keeps_no_waker() {
        let drain = Drain::new();
        let _hold = drain.readiness().hold("warming up");
        let task = Arc::new(Task);
        let mut wait = UntilReady::new(drain.node());
        let waker = Waker::from(Arc::clone(&task));
        assert!(wait.poll(&Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 2);
        drop(wait);
        assert_eq!(Arc::strong_count(&task), 1);
    }
}
