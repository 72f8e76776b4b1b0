use std::{borrow::Cow, fmt, panic::Location};

#[cfg(feature = "net")]
use crate::sync::Weak;
use crate::{Phase, futures::Guarded, straggler::Ticket, sync::Arc, tally::Seat, tree::Core};

/// One piece of work that must finish before its [`Drain`](crate::Drain) is drained.
///
/// It is one pointer; making and dropping one allocates nothing and writes to no memory that other cores write (C1),
/// unless the drain [tracks](crate::Drain::tracked) its guards. A clone is a guard of its own.
///
/// Work whose guard is dropped is done, whatever dropped it: its own end, a panic, a destructor, another thread, or a task that
/// was cancelled or went down with its executor. The report can't tell these apart; a server can, and says so by
/// `net::idle::ConnectionGuard` (feature `net`). `mem::forget` keeps
/// the drain waiting for ever. In a forked child guards and drains are copies that count for the child alone: what it
/// does with them leaves the parent's as they were.
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
#[must_use = "dropping the guard says that the work is done"]
pub struct Guard(Arc<Seat>);

impl Guard {
    #[inline]
    pub(crate) fn new(seat: Arc<Seat>) -> Self {
        Self(seat)
    }

    /// Names the work, for [`stragglers`](crate::Drain::stragglers) and the report.
    ///
    /// Where the drain does not track its guards this does nothing; there, prefer a `&'static str` to one that is
    /// made for the purpose.
    pub fn labeled(self, label: impl Into<Cow<'static, str>>) -> Self {
        if let Some(ticket) = self.0.ticket() {
            ticket.relabel(label.into());
        }
        self
    }

    #[cfg(feature = "net")]
    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.0
    }

    #[cfg(feature = "net")]
    pub(crate) fn into_seat(self) -> Arc<Seat> {
        self.0
    }

    /// The seat without keeping it, where guards are tracked.
    #[cfg(feature = "hyper")]
    pub(crate) fn tracked_seat(&self) -> Option<crate::sync::Weak<Seat>> {
        self.0.ticket()?;
        Some(Arc::downgrade(&self.0))
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        self.0.core()
    }

    /// Where a loss of this work's bytes is recorded, without keeping the drain from being drained.
    #[cfg(feature = "net")]
    pub(crate) fn record(&self) -> Record {
        Record {
            core: Arc::clone(self.0.core()),
            seat: self.0.ticket().map(|_| Arc::downgrade(&self.0)),
        }
    }

    #[cfg(feature = "net")]
    pub(crate) fn phase(&self) -> Phase {
        self.0.core().latch.phase()
    }

    #[cfg(feature = "net")]
    pub(crate) fn relabel(&self, label: impl FnOnce() -> Cow<'static, str>) {
        if let Some(ticket) = self.0.ticket() {
            ticket.relabel(label());
        }
    }

    /// Whether draining has begun: one load from a line that is written only when the phase changes (C3).
    #[inline]
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.core().latch.is(Phase::Draining)
    }

    /// Carries this guard with `inner` until the result is dropped, completed or not.
    ///
    /// The result is a future, stream, reader or writer where `inner` is one.
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

    /// When the present phase will be cut, if anybody has set a limit.
    ///
    /// While draining that is the end of the grace period; it is published before draining begins (S7).
    #[must_use]
    pub fn deadline(&self) -> Option<std::time::Instant> {
        self.0.core().deadline()
    }
}

/// Records that work was abandoned whose guard somebody else has.
#[cfg(feature = "net")]
pub(crate) struct Record {
    core: Arc<Core>,
    /// Where guards are tracked.
    seat: Option<Weak<Seat>>,
}

#[cfg(feature = "net")]
impl Record {
    /// Whether the shutdown is under way.
    pub(crate) fn is_stopping(&self) -> bool {
        self.core.latch.phase() > Phase::Running
    }

    /// The guard that is alive when aborting begins is recorded by that.
    pub(crate) fn abandon(&self) {
        if self.is_stopping() {
            let seat = self.seat.as_ref().and_then(Weak::upgrade);
            let ticket = seat.as_ref().and_then(|seat| seat.ticket());
            self.core.abandon(None, ticket);
        }
    }
}

impl Clone for Guard {
    /// A further guard of the same drain; it can't be refused. Where guards are tracked it has the same label, and
    /// an age and a place of its own.
    #[track_caller]
    fn clone(&self) -> Self {
        match self.0.ticket() {
            None => Self(Arc::clone(&self.0)),
            Some(ticket) => Self(ticket.further(Location::caller())),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Guard");
        debug.field("phase", &self.0.core().latch.phase());
        if let Some(label) = self.0.ticket().and_then(Ticket::label) {
            debug.field("label", &label);
        }
        debug.finish_non_exhaustive()
    }
}
