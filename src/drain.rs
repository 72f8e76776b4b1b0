use std::{
    fmt,
    future::{Future, poll_fn},
    panic::Location,
    pin::pin,
    sync::OnceLock,
    task::Poll,
    thread,
    time::Instant,
};

use crate::{
    Drained, Guard, Phase, Refused, Report, Stragglers, UntilAborting, UntilDrained, UntilDraining,
    UntilLameDuck,
    latch::Level,
    sync::{Arc, Weak},
    tally::{self, Seat},
    tree::Core,
};

/// Hands out [`Guard`]s, begins the end, and knows when the last guard is gone.
///
/// A drain is a handle: clones are the same drain, and dropping the last one begins it, since nobody could any more.
/// Guards and waiting futures are no handles.
///
/// A guard costs about two atomic instructions on a line of its own core; nothing here polls, sleeps or needs
/// a runtime. If all you want is to wait for a known set of tasks, join them; if you want to be told to stop and
/// nothing else, a cancellation token is smaller.
///
/// ```
/// use async_drain::Drain;
///
/// let drain = Drain::new();
/// let guard = drain.guard()?;
///
/// drain.begin();
/// assert!(drain.admit().is_err()); // no new work
/// assert!(drain.guard().is_ok()); // work already promised goes on
/// assert_eq!(drain.in_flight(), 1);
///
/// drop(guard);
/// drain.until_drained().wait();
/// # Ok::<(), async_drain::Drained>(())
/// ```
#[derive(Clone)]
pub struct Drain {
    handle: Arc<Handle>,
}

/// What all clones of a drain share and guards do not: its end begins the drain.
struct Handle {
    shards: Arc<[Weak<Seat>]>,
    level: Arc<Level>,
    tracked: bool,
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.raise_uncounted(Phase::Draining, None);
    }
}

impl Drain {
    /// A drain that counts its guards and does not track them.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts the making of a drain with other than the usual settings.
    pub fn builder() -> Builder {
        Builder {
            track: false,
            shards: None,
        }
    }

    fn with(core: Arc<Core>) -> Self {
        Self {
            handle: Arc::new(Handle {
                shards: Arc::clone(core.shards()),
                level: Arc::clone(core.latch.level()),
                tracked: core.registry.is_some(),
                core,
            }),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// Makes a guard for work that has already been promised: also while draining.
    ///
    /// # Errors
    ///
    /// [`Drained`], and from then on always (S3). While running it never fails (S4).
    #[inline]
    #[track_caller]
    pub fn guard(&self) -> Result<Guard, Drained> {
        let seat = if self.handle.tracked {
            self.core().tracked_seat(Location::caller())
        } else {
            match tally::own_seat(&self.handle.shards) {
                // E7: Relaxed, as in `Core::created`.
                Some(seat) if !self.handle.level.is_relaxed(Phase::Draining) => Some(seat),
                own => self.core().late_seat(own),
            }
        };
        seat.map(Guard::new).ok_or(Drained)
    }

    /// [`guard`](Self::guard) on behalf of somebody who called from `place`.
    #[cfg(feature = "net")]
    pub(crate) fn guard_at(&self, place: &'static Location<'static>) -> Result<Guard, Drained> {
        self.core().seat(place, None).map(Guard::new).ok_or(Drained)
    }

    /// Makes a guard for new work: refused from the moment draining begins.
    ///
    /// # Errors
    ///
    /// [`Refused`], exactly from the moment lame duck ends and draining begins (S4).
    ///
    /// ```
    /// # use async_drain::Drain;
    /// let drain = Drain::new();
    /// drain.lame_duck();
    /// assert!(drain.admit().is_ok());
    /// drain.begin();
    /// assert_eq!(drain.admit().unwrap_err().to_string(), "new work refused: the drain is drained");
    /// ```
    #[inline]
    #[track_caller]
    pub fn admit(&self) -> Result<Guard, Refused> {
        let phase = self.phase();
        if phase >= Phase::Draining {
            return Err(Refused { phase });
        }
        self.guard().map_err(|Drained| Refused {
            phase: Phase::Drained,
        })
    }

    /// How far the end has come.
    #[inline]
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.handle.core.latch.phase()
    }

    /// Whether draining has begun: one load from a line that is written only when the phase changes (C3).
    #[inline]
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.handle.core.latch.is(Phase::Draining)
    }

    /// How many guards are alive, those of [children](Self::child) included.
    ///
    /// A number for people, exact while nobody makes or drops a guard; to wait for zero, use
    /// [`until_drained`](Self::until_drained). It looks at every shard and child.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.handle.core.in_flight()
    }

    /// When the present phase will be cut, if anybody has set a limit.
    ///
    /// While lame duck and draining that is the end of the grace period; while aborting, the end of the abort grace.
    /// It is published before the phase begins (S7).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.handle.core.deadline()
    }

    /// Goes lame duck: still accepting, already unready. Returns whether this call did it.
    pub fn lame_duck(&self) -> bool {
        self.handle.core.raise(Phase::LameDuck, None)
    }

    /// Begins the drain. Returns whether this call did it.
    pub fn begin(&self) -> bool {
        self.handle.core.raise(Phase::Draining, None)
    }

    /// Begins the drain and says when it will be cut, for those who read [`deadline`](Self::deadline); the cutting
    /// is the caller's. Where a deadline has been set, the earlier one holds.
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # use async_drain::Drain;
    /// let drain = Drain::new();
    /// let work = drain.guard()?;
    /// let deadline = Instant::now() + Duration::from_secs(10);
    /// drain.begin_by(deadline);
    /// assert_eq!(work.deadline(), Some(deadline));
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    pub fn begin_by(&self, deadline: Instant) -> bool {
        self.handle.core.raise(Phase::Draining, Some(deadline))
    }

    /// Cuts the work that is left: begins the drain if need be and tells those who wait for aborting. Returns whether
    /// this call did it.
    pub fn abort(&self) -> bool {
        self.handle.core.raise(Phase::Aborting, None)
    }

    /// Waits until lame duck, or a later phase, begins.
    #[inline]
    pub fn until_lame_duck(&self) -> UntilLameDuck {
        UntilLameDuck::new(&self.handle.core)
    }

    /// Waits until draining begins.
    #[inline]
    pub fn until_draining(&self) -> UntilDraining {
        UntilDraining::new(&self.handle.core)
    }

    /// Waits until aborting begins, or until the drain has ended without it.
    #[inline]
    pub fn until_aborting(&self) -> UntilAborting {
        UntilAborting::new(&self.handle.core)
    }

    /// Waits until draining has begun and no guard is left, here or in any child (S2).
    #[inline]
    pub fn until_drained(&self) -> UntilDrained {
        UntilDrained::new(&self.handle.core)
    }

    /// A drain that drains with this one, or alone; this one waits for its guards.
    ///
    /// It is cheap enough for one per connection: it has a single shard, so its guards are best made on few threads.
    /// A child made while this drain is draining is born draining, and having no guard it is drained: for work that
    /// was promised before, take a guard of the parent.
    ///
    /// ```
    /// # use async_drain::Drain;
    /// let server = Drain::new();
    /// let connection = server.child();
    /// let request = connection.guard()?;
    ///
    /// connection.begin(); // alone
    /// assert!(!server.is_draining());
    /// server.begin();
    /// assert_eq!(server.in_flight(), 1);
    /// drop(request);
    /// server.until_drained().wait();
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    #[must_use = "dropping the child begins its drain"]
    pub fn child(&self) -> Self {
        let core = Core::new(1, self.handle.tracked);
        if !self.handle.core.adopt(&core) {
            core.raise(Phase::Draining, self.deadline());
        }
        Self::with(core)
    }

    /// The guards still alive, here and in children: how many, and where the drain [tracks](Builder::track) them
    /// their label, place and age.
    #[must_use]
    pub fn stragglers(&self) -> Stragglers {
        Stragglers::of(&self.handle.core)
    }

    /// Begins the drain and waits until it is drained or `timer` resolves; in the latter case aborts.
    ///
    /// The timer is any future, so no runtime is needed. The report says what was abandoned: the work that was
    /// alive when aborting began, whoever began it, here and in children.
    ///
    /// # Cancel safety
    ///
    /// The drain begins at the first poll and stays begun; dropping the future later only stops the waiting.
    ///
    /// ```
    /// use async_drain::Drain;
    /// use futures_lite::future::{block_on, pending, ready};
    ///
    /// let drain = Drain::new();
    /// let work = drain.guard()?;
    /// let report = block_on(drain.finish(ready(()))); // no patience at all
    /// assert_eq!(report.stragglers().count(), 1);
    ///
    /// drop(work); // it was alive when aborting began: another report says the same
    /// let report = block_on(drain.finish(pending::<()>()));
    /// assert_eq!((report.stragglers().count(), report.left()), (1, 0));
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    pub async fn finish<T: Future>(&self, timer: T) -> Report {
        self.finish_by(None, timer).await
    }

    /// [`finish`](Self::finish) with a timer of the async-io reactor, and the deadline published.
    ///
    /// A duration beyond what the clock can say is no limit.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub async fn finish_within(&self, limit: std::time::Duration) -> Report {
        use crate::time::{later, until};
        let deadline = later(Some(Instant::now()), limit);
        self.finish_by(deadline, until(deadline)).await
    }

    async fn finish_by<T: Future>(&self, deadline: Option<Instant>, timer: T) -> Report {
        let started = Instant::now();
        self.core().raise(Phase::Draining, deadline);
        let mut report = Report::begun(self.core().begun_with());

        let mut timer = pin!(timer);
        let mut drained = self.until_drained();
        let in_time = poll_fn(|cx| {
            if pin!(&mut drained).poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            timer.as_mut().poll(cx).map(|_| false)
        })
        .await;
        report.draining = started.elapsed();
        if !in_time {
            self.abort();
        }
        report.abandoned(self.core().abandoned(), self.in_flight());
        report
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("phase", &self.phase())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// The settings of a [`Drain`].
///
/// ```
/// use async_drain::Drain;
///
/// let drain = Drain::builder().track(true).build();
/// let guard = drain.guard()?.labeled("GET /export");
/// let stragglers = drain.stragglers();
/// assert_eq!(stragglers.iter().next().unwrap().label.as_deref(), Some("GET /export"));
/// # drop(guard);
/// # Ok::<(), async_drain::Drained>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    track: bool,
    shards: Option<usize>,
}

impl Builder {
    /// Whether guards are tracked: their label, place and age, for [`Drain::stragglers`] and the report.
    ///
    /// A tracked guard costs a lock that few others want and a look at the clock, and allocates only when more are
    /// alive than ever before. Off by default.
    pub fn track(mut self, track: bool) -> Self {
        self.track = track;
        self
    }

    /// How many shards the guards are counted on, rounded up to a power of two; the usual number is one per
    /// core. Each takes 640 bytes.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Makes the drain.
    #[must_use]
    pub fn build(self) -> Drain {
        let shards = self
            .shards
            .unwrap_or_else(cores)
            .clamp(1, MOST_SHARDS)
            .next_power_of_two();
        Drain::with(Core::new(shards, self.track))
    }
}

/// The cores of this machine; asked for once, since the answer is read from several files.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Enough for the largest machines, so that a slip of the hand does not take all memory.
const MOST_SHARDS: usize = 1024;
