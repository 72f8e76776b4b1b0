use std::{borrow::Cow, fmt, panic::Location, sync::Arc as StdArc, time::Instant};

use crate::{
    drain::{
        entry::Entry,
        node::Node,
        phase::Phase,
        seat::Seat,
        sync::{Arc, Weak},
    },
    futures::Guarded,
};

/// Represents one piece of work that must finish before its [`Drain`](crate::Drain) is drained.
///
/// A guard is one pointer. Creating and dropping one allocates nothing and writes to no memory that
/// other cores write to, unless the drain [tracks](crate::Drain::tracked) its guards, or is a
/// [child](crate::Drain::child): its guards share one count, which the first of them allocates. A
/// clone is a guard of its own. A guard does not keep the drain running.
///
/// Work whose guard is dropped is done, whatever dropped it: its own end, a panic, a destructor,
/// another thread, or a task that was cancelled or went down with its executor. The report can't
/// tell these apart. A server can, and does so by `net::idle::ConnectionGuard` (feature `net`).
/// `mem::forget` keeps the drain waiting for ever. In a forked child, guards and drains are copies
/// that count for the child alone: what it does with them leaves those of the parent as they were.
///
/// ```
/// use async_drain::Drain;
///
/// let drain = Drain::new();
/// let guard = drain.guard()?;
/// let worker = std::thread::spawn(move || {
///     // ... the work ...
///     drop(guard);
/// });
/// drain.begin();
/// drain.until_drained().wait();
/// # worker.join().unwrap();
/// # Ok::<(), async_drain::Drained>(())
/// ```
#[must_use = "dropping the guard tells the drain that the work is done"]
pub struct Guard(Arc<Seat>);

impl Guard {
    #[inline]
    pub(crate) fn new(seat: Arc<Seat>) -> Self {
        Self(seat)
    }

    /// Names the work, for [`stragglers`](crate::Drain::stragglers) and the report.
    ///
    /// If the drain does not track its guards, this does nothing; prefer a `&'static str` to a
    /// formatted label there.
    pub fn labeled(self, label: impl Into<Cow<'static, str>>) -> Self {
        if let Some(entry) = self.0.entry() {
            entry.relabel(label.into());
        }
        self
    }

    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.0
    }

    pub(crate) fn into_seat(self) -> Arc<Seat> {
        self.0
    }

    /// Returns the seat without keeping it, if guards are tracked.
    pub(crate) fn tracked_seat(&self) -> Option<Weak<Seat>> {
        self.0.entry()?;
        Some(Arc::downgrade(&self.0))
    }

    pub(crate) fn node(&self) -> &StdArc<Node> {
        self.0.node()
    }

    /// Returns a handle that records a loss of this work's bytes, and does not keep the drain from
    /// being drained.
    pub(crate) fn loss_record(&self) -> LossRecord {
        LossRecord {
            node: StdArc::clone(self.0.node()),
            seat: self.tracked_seat(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.0.node().latch.phase()
    }

    pub(crate) fn relabel(&self, label: impl FnOnce() -> Cow<'static, str>) {
        if let Some(entry) = self.0.entry() {
            entry.relabel(label());
        }
    }

    /// Returns whether draining has begun.
    ///
    /// This is one load from a cache line that is written only when the phase changes.
    #[inline]
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.node().latch.is(Phase::Draining)
    }

    /// Carries this guard with `inner` until the result is dropped, completed or not.
    ///
    /// The result is a future, stream, reader or writer if `inner` is one. To end with a phase as
    /// well, wrap what [`run_until_draining`](Self::run_until_draining) or
    /// [`run_until_aborting`](Self::run_until_aborting) returns.
    ///
    /// ```
    /// # use async_drain::Drain;
    /// # use futures_lite::future::block_on;
    /// let drain = Drain::new();
    /// let work = drain.guard()?.wrap(async { 42 });
    /// assert_eq!(drain.in_flight(), 1);
    /// assert_eq!(block_on(work), 42);
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    pub fn wrap<T>(self, inner: T) -> Guarded<T> {
        Guarded::new(inner, self)
    }

    /// Returns when the current phase will be cut short, if anything has set a limit.
    ///
    /// While draining, that is the end of the grace period. It is set before draining begins.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.node().deadline()
    }
}

/// Records that bytes of a guard's work were lost, for code that does not have the guard.
pub(crate) struct LossRecord {
    node: StdArc<Node>,
    /// Set if guards are tracked.
    seat: Option<Weak<Seat>>,
}

impl LossRecord {
    /// Returns whether the shutdown is under way.
    pub(crate) fn is_stopping(&self) -> bool {
        self.node.latch.phase() > Phase::Running
    }

    /// Records the loss, if the shutdown is under way and aborting has not begun: the guards that
    /// are alive then are recorded by that.
    ///
    /// A guard whose bytes were lost before, and which is still alive when aborting begins, is
    /// recorded twice: a plain guard has no place for a mark. A [`ConnectionGuard`] is recorded
    /// once.
    ///
    /// [`ConnectionGuard`]: super::connection_guard::ConnectionGuard
    pub(crate) fn abandon(&self) {
        if self.is_stopping() {
            let seat = self.seat.as_ref().and_then(Weak::upgrade);
            let entry = seat.as_ref().and_then(|seat| seat.entry());
            self.node.abandon(None, entry);
        }
    }
}

impl Clone for Guard {
    /// Creates another guard of the same drain; it can't be refused. If guards are tracked, it has
    /// the same label, and an age and a place of its own.
    #[inline]
    #[track_caller]
    fn clone(&self) -> Self {
        match self.0.entry() {
            None => Self(Arc::clone(&self.0)),
            Some(entry) => Self(entry.further(Location::caller())),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Guard");
        debug.field("phase", &self.phase());
        if let Some(label) = self.0.entry().and_then(Entry::label) {
            debug.field("label", &label);
        }
        debug.finish_non_exhaustive()
    }
}
