mod observer;

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

pub use self::observer::Observer;
use crate::{
    Drained, Guard, Phase, Refused, Report, Stragglers,
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
    /// Creates a drain that counts its guards and keeps no record of each.
    #[must_use]
    pub fn new() -> Self {
        Self::with_shards(cores(), false)
    }

    /// Creates a drain that records the label, place and age of each guard, for
    /// [`stragglers`](Self::stragglers) and the report.
    ///
    /// A tracked guard costs a lock that few threads contend for and a look at a clock, and allocates
    /// only if more guards are alive than ever before.
    ///
    /// ```
    /// use async_drain::Drain;
    ///
    /// let drain = Drain::tracked();
    /// let guard = drain.guard()?.labeled("GET /export");
    /// let stragglers = drain.stragglers();
    /// assert_eq!(stragglers.iter().next().unwrap().label.as_deref(), Some("GET /export"));
    /// # drop(guard);
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    #[must_use]
    pub fn tracked() -> Self {
        Self::with_shards(cores(), true)
    }

    /// For the tests of this crate, which are to find the same on every machine.
    #[doc(hidden)]
    #[must_use]
    pub fn with_shards(shards: usize, tracked: bool) -> Self {
        Self::with(Core::new(
            shards.clamp(1, MOST_SHARDS).next_power_of_two(),
            tracked,
        ))
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

    /// Returns a handle that watches this drain and takes guards of it, but can't begin or abort it
    /// and doesn't keep it running.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer::new(self.core())
    }

    /// Creates a guard for work that has already been promised, also while draining.
    ///
    /// # Errors
    ///
    /// Returns [`Drained`] once the drain has drained, and from then on always. While the drain
    /// runs, this never fails.
    #[inline]
    #[track_caller]
    pub fn guard(&self) -> Result<Guard, Drained> {
        let seat = if self.handle.tracked {
            self.core().seat_at(Location::caller())
        } else {
            match tally::own_seat(&self.handle.shards) {
                // E7: Relaxed, as in `Core::created`.
                Some(seat) if !self.handle.level.is_relaxed(Phase::Draining) => Some(seat),
                own => self.core().late_seat(own),
            }
        };
        seat.map(Guard::new).ok_or(Drained)
    }

    /// Creates a guard for new work, which is refused from the moment draining begins.
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] exactly from the moment draining begins. Lame duck refuses nothing.
    ///
    /// ```
    /// # use async_drain::Drain;
    /// let drain = Drain::new();
    /// drain.enter_lame_duck();
    /// assert!(drain.admit().is_ok());
    /// drain.begin();
    /// assert_eq!(drain.admit().unwrap_err().to_string(), "new work refused: the drain is drained");
    /// ```
    #[inline]
    #[track_caller]
    pub fn admit(&self) -> Result<Guard, Refused> {
        self.core().admit()?;
        self.guard().map_err(|Drained| Refused::new(Phase::Drained))
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

    /// Enters lame duck: still accepting, but already unready and telling peers to leave.
    ///
    /// Returns whether this call did it.
    pub fn enter_lame_duck(&self) -> bool {
        self.handle.core.raise(Phase::LameDuck, None)
    }

    /// Begins draining: no new work, and work in flight finishes.
    ///
    /// Returns whether this call did it.
    pub fn begin(&self) -> bool {
        self.handle.core.raise(Phase::Draining, None)
    }

    /// Begins draining and publishes when it will be cut short, for work that reads
    /// [`deadline`](Self::deadline).
    ///
    /// Cutting it short is the caller's task: call [`abort`](Self::abort) then. If a deadline is
    /// already set, the earlier one holds. Returns whether this call began the drain.
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # use async_drain::Drain;
    /// let drain = Drain::new();
    /// let work = drain.guard()?;
    /// let deadline = Instant::now() + Duration::from_secs(10);
    /// drain.begin_with_deadline(deadline);
    /// assert_eq!(work.deadline(), Some(deadline));
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    pub fn begin_with_deadline(&self, deadline: Instant) -> bool {
        self.handle.core.raise(Phase::Draining, Some(deadline))
    }

    /// Begins aborting: cancels the work that is left, and begins draining if nothing has.
    ///
    /// Returns whether this call did it.
    pub fn abort(&self) -> bool {
        self.handle.core.raise(Phase::Aborting, None)
    }

    /// Returns a value that begins draining when it is dropped, e.g. because a task that the program
    /// can't do without has ended or panicked.
    ///
    /// It keeps the drain running as a clone does.
    ///
    /// ```
    /// # use async_drain::Drain;
    /// let drain = Drain::new();
    /// let begin = drain.begin_on_drop();
    /// let worker = std::thread::spawn(move || {
    ///     let _begin = begin;
    ///     panic!("the only worker fails");
    /// });
    /// drain.until_drained().wait();
    /// # worker.join().unwrap_err();
    /// ```
    pub fn begin_on_drop(&self) -> BeginOnDrop {
        BeginOnDrop {
            drain: self.clone(),
        }
    }

    /// Creates a child: a drain that begins with this one, or alone, and that this one waits for.
    ///
    /// A child is a drain of its own. Dropping its last handle begins it, so `drain.child().guard()`
    /// is a guard that reads "draining": keep the child while its work runs. The child does not keep
    /// its parent running either, so a child's child needs the child kept. A child that is created
    /// while this drain is draining is born draining, and drains at once, since it has no guard: for
    /// work that was promised before, take a guard of the parent.
    ///
    /// It is cheap enough for one per connection. Its guards are counted in one place, so they are best
    /// created on few threads.
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

    /// The guards still alive, here and in children: how many, and where the drain [tracks](Self::tracked) them
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
    /// assert_eq!(report.stragglers().total(), 1);
    ///
    /// drop(work); // it was alive when aborting began: another report says the same
    /// let report = block_on(drain.finish(pending::<()>()));
    /// assert_eq!((report.stragglers().total(), report.still_running()), (1, 0));
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
        use crate::shutdown::timer::{later, until};
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

/// Begins a drain when it is dropped; made by [`Drain::begin_on_drop`].
#[must_use = "dropping it begins the drain"]
pub struct BeginOnDrop {
    drain: Drain,
}

impl Drop for BeginOnDrop {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

impl fmt::Debug for BeginOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeginOnDrop")
            .field("phase", &self.drain.phase())
            .finish_non_exhaustive()
    }
}

/// The cores of this machine; asked for once, since the answer is read from several files.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Enough for the largest machines, so that a slip of the hand does not take all memory.
const MOST_SHARDS: usize = 1024;
